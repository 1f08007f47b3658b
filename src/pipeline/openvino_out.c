/* A model as OpenVINO IR: in which types, and with the facts that OpenVINO's Model API and
 * Ultralytics' exporter put beside a detector (model_info). */
#include "pipeline/openvino_out.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "openvino/ir_write.h"

enum { MAX_FACTS = 8 };

/* "person traffic_light": names are divided by blanks. */
static char *labels_of(const cr_model_info *info, cr_arena *arena)
{
    size_t size = 1;
    for (size_t i = 0; i < info->name_count; i++) size += strlen(info->names[i]) + 1;
    char *text = cr_arena_alloc(arena, size);
    size_t used = 0;
    for (size_t i = 0; text && i < info->name_count; i++) {
        used += (size_t)snprintf(text + used, size - used, "%s%s", i ? " " : "", info->names[i]);
        for (char *c = text + used - strlen(info->names[i]); *c; c++)
            if (*c == ' ') *c = '_';
    }
    return text;
}

/* As Ultralytics' exporter writes them: pictures in RGB, 0..1, letterboxed. */
static size_t find_facts(const cr_model *m, cr_arena *arena, const char *facts[2 * MAX_FACTS])
{
    const cr_model_info *info = &m->info;
    size_t n = 0;
    const char *labels = info->name_count ? labels_of(info, arena) : NULL;
    if (labels) {
        facts[2 * n] = "labels";
        facts[2 * n++ + 1] = labels;
    }
    if (!info->family || strncmp(info->family, "YOLOv", 5)) return n;
    static const char *const yolo[][2] = {
        {"model_type", "YOLO"}, {"reverse_input_channels", "YES"}, {"pad_value", "114"},
        {"scale_values", "255"}, {"iou_threshold", "0.7"}, {"resize_type", "fit_to_window_letterbox"}};
    const bool picture = !info->task || strcmp(info->task, "classify");
    for (size_t i = 0; i < (picture ? 6u : 5u); i++) {
        facts[2 * n] = yolo[i][0];
        facts[2 * n++ + 1] = yolo[i][1];
    }
    return n;
}

cr_status cr_openvino_export(const cr_model *m, const cr_export_options *o, const char *path,
                             cr_error *err)
{
    (void)o;
    cr_arena arena = {0};
    const char *facts[2 * MAX_FACTS];
    const size_t count = find_facts(m, &arena, facts);
    const cr_openvino_write_options w = {.half = cr_model_half_type(m), .info = facts, .info_count = count};
    const cr_status st = cr_openvino_write(cr_model_graph(m), m->recipe, &w, path, err);
    cr_arena_free(&arena);
    return st;
}
