/* What kind of model is this, and how does it want its pictures?
 *
 * Metadata decide where there are some (Ultralytics writes task, names, imgsz, kpt_shape as Python
 * literals). Without them the outputs' shapes tell the head (vision/heads.c), and each head's
 * family has one customary preprocessing. The source of the decision is always said.
 *
 * Where a shape has several meanings, the operators behind the last convolutions decide: [1, N, 5 +
 * nc] is raw YOLOX if only sigmoids and data movement are there, YOLOX decoded inside if there is
 * an Exp, and YOLOv6 (Meituan's export) if there is other arithmetic. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "pipeline/model_impl.h"

/* ---- Python literals ---- */

static const char *skip_space(const char *s)
{
    while (*s && strchr(" \t\r\n", *s)) s++;
    return s;
}

/* Reads a quoted string; returns the character behind it, or NULL. *text is in the arena. */
static const char *read_quoted(cr_arena *arena, const char *s, const char **text)
{
    const char quote = *s;
    if (quote != '\'' && quote != '"') return NULL;
    char *out = cr_arena_alloc(arena, strlen(s));
    size_t n = 0;
    for (s++; out && *s && *s != quote; s++) {
        if (*s == '\\' && s[1]) s++;
        out[n++] = *s;
    }
    *text = out;
    return out && *s == quote ? s + 1 : NULL;
}

enum { MAX_CLASSES = 100000 };

typedef struct name_list {
    const char **items;
    size_t count, cap;
} name_list;

static bool set_name(cr_arena *arena, name_list *l, size_t index, const char *name)
{
    if (index >= MAX_CLASSES) return false;
    if (index >= l->cap) {
        const size_t cap = index * 2 + 16;
        const char **grown = cr_arena_alloc(arena, cap * sizeof *grown);
        if (!grown) return false;
        if (l->count) memcpy(grown, l->items, l->count * sizeof *grown);
        l->items = grown;
        l->cap = cap;
    }
    l->items[index] = name;
    if (index >= l->count) l->count = index + 1;
    return true;
}

/* {0: 'person', 1: "it's", ...} or ['person', ...]. Holes get a number as their name. */
static bool parse_names(cr_arena *arena, const char *s, name_list *l)
{
    s = skip_space(s);
    const bool dict = *s == '{';
    if (!dict && *s != '[') return false;
    s = skip_space(s + 1);
    for (size_t next = 0; *s && *s != '}' && *s != ']'; next++) {
        if (dict) {
            char *end;
            const long key = strtol(s, &end, 10);
            if (end == s || key < 0) return false;
            next = (size_t)key;
            s = skip_space(end);
            if (*s++ != ':') return false;
            s = skip_space(s);
        }
        const char *name = NULL;
        s = read_quoted(arena, s, &name);
        if (!s || !set_name(arena, l, next, name)) return false;
        s = skip_space(s);
        if (*s == ',') s = skip_space(s + 1);
    }
    for (size_t i = 0; i < l->count; i++)
        if (!l->items[i] && !(l->items[i] = cr_arena_printf(arena, "%zu", i))) return false;
    return l->count > 0;
}

static int first_number(const char *s)
{
    while (s && *s && !isdigit((unsigned char)*s)) s++;
    return s ? atoi(s) : 0;
}

/* ---- the decision ---- */

static void set_colours(cr_preprocess *p, bool bgr, const float mean[3], const float div[3])
{
    p->bgr = bgr;
    memcpy(p->mean, mean, sizeof p->mean);
    memcpy(p->div, div, sizeof p->div);
}

static void imagenet(cr_preprocess *p)
{
    static const float mean[3] = {123.675f, 116.28f, 103.53f}, div[3] = {58.395f, 57.12f, 57.375f};
    set_colours(p, false, mean, div);
}

static void classifier_preprocess(cr_model_info *info, bool ultralytics)
{
    info->preprocess.fit = CR_FIT_CENTERCROP;
    if (!ultralytics) imagenet(&info->preprocess);
}

/* Families that share a head kind with an older one. */
typedef enum relative { ITSELF, YOLOX_DECODED, YOLOV6, PICODET, RTDETR } relative;

static void yolox_preprocess(cr_preprocess *p)
{
    static const float zero[3] = {0, 0, 0}, one[3] = {1, 1, 1};
    p->fit = CR_FIT_TOPLEFT;
    set_colours(p, true, zero, one);
}

static void choose_preprocess(cr_model_info *info, bool ultralytics, relative like)
{
    static const float nano_mean[3] = {103.53f, 116.28f, 123.675f},
                       nano_div[3] = {57.375f, 57.12f, 58.395f};
    cr_preprocess *p = &info->preprocess;
    info->preprocess_why = ultralytics ? "metadata" : "customary for this family";
    if (like == PICODET || like == RTDETR) {
        p->fit = CR_FIT_STRETCH;
        if (like == PICODET) imagenet(p);
        return;
    }
    switch (info->head.kind) {
    case CR_HEAD_YOLOX:
        yolox_preprocess(p);
        return;
    case CR_HEAD_YOLOV5:
        if (like == YOLOX_DECODED) yolox_preprocess(p);
        return;
    case CR_HEAD_NANODET:
        p->pad = 0;
        set_colours(p, true, nano_mean, nano_div);
        return;
    case CR_HEAD_CLASSIFY:
        classifier_preprocess(info, ultralytics);
        return;
    case CR_HEAD_NONE:
        if (!ultralytics) info->preprocess_why = "assumed: the head is unknown";
        return;
    default:
        return;
    }
}

static const char *family_name(const cr_head *h, relative like)
{
    if (like != ITSELF)
        return like == PICODET  ? "PicoDet detector"
               : like == RTDETR ? "RT-DETR detector"
               : like == YOLOV6 ? "YOLOv6-style detector"
                                : "YOLOX detector";
    switch (h->kind) {
    case CR_HEAD_YOLOV8:
        return h->oriented ? "YOLOv8-style detector of oriented boxes" : "YOLOv8-style detector";
    case CR_HEAD_YOLOV5:
        return "YOLOv5-style detector";
    case CR_HEAD_YOLOX:
        return "YOLOX detector";
    case CR_HEAD_POSE:
        return "YOLOv8-style pose estimator";
    case CR_HEAD_NANODET:
        return "NanoDet detector";
    case CR_HEAD_END2END:
        return "end-to-end detector";
    case CR_HEAD_CLASSIFY:
        return "classifier";
    default:
        return "unknown";
    }
}

/* Which of the families with this head's shape it is; a decoded YOLOX head becomes YOLOv5's.
 * Ultralytics names the head's class in the metadata: "RTDETRDecoder". */
static relative find_relative(cr_model *m)
{
    const cr_graph *g = m->graph;
    bool exponent = false, arithmetic = false;
    const char *decoder = cr_graph_meta(g, "head");
    if (m->info.head.kind == CR_HEAD_END2END && decoder && !strcmp(decoder, "RTDETRDecoder")) {
        m->info.head.fractions = true;
        return RTDETR;
    }
    if (m->info.head.kind == CR_HEAD_NANODET) return g->output_count == 8 ? PICODET : ITSELF;
    if (m->info.head.kind != CR_HEAD_YOLOX) return ITSELF;
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_op_kind kind = g->nodes[i]->op->kind;
        if (m->roles[i] != CR_ROLE_DECODE) continue;
        exponent = exponent || kind == CR_OP_Exp;
        arithmetic = arithmetic || kind == CR_OP_Exp || kind == CR_OP_Mul || kind == CR_OP_Sub;
    }
    if (!arithmetic) return ITSELF;
    m->info.head.kind = CR_HEAD_YOLOV5;
    return exponent ? YOLOX_DECODED : YOLOV6;
}

static const char *task_name(const cr_head *h)
{
    if (h->oriented) return "obb";
    switch (h->kind) {
    case CR_HEAD_NONE:
        return "";
    case CR_HEAD_POSE:
        return "pose";
    case CR_HEAD_CLASSIFY:
        return "classify";
    default:
        return "detect";
    }
}

static cr_status choose_names(cr_model *m, cr_error *err)
{
    static const char *const coco[] = {
#include "pipeline/coco_names.inc"
    };
    name_list l = {0};
    const char *text = cr_graph_meta(m->graph, "names");
    if (text && parse_names(&m->arena, text, &l)) {
        m->info.names = l.items;
        m->info.name_count = l.count;
    } else if (m->info.head.classes == 80) {
        m->info.names = coco;
        m->info.name_count = 80;
    }
    return CR_OK;
}

enum { MAX_OUTPUTS = 32 };

static cr_status guess_head(cr_model *m, const char *task, cr_error *err)
{
    const cr_graph *g = m->graph;
    cr_output outs[MAX_OUTPUTS] = {0};
    const int keypoints = first_number(cr_graph_meta(g, "kpt_shape"));
    if (g->output_count > MAX_OUTPUTS) return CR_OK;
    for (size_t i = 0; i < g->output_count; i++) {
        const cr_shape *s = &g->outputs[i]->shape;
        if (!cr_shape_known(s) || g->outputs[i]->dtype != CR_DT_F32) return CR_OK;
        outs[i].rank = s->rank;
        memcpy(outs[i].dim, s->dim, sizeof outs[i].dim);
    }
    name_list l = {0};
    const char *names = cr_graph_meta(g, "names");
    if (names) parse_names(&m->arena, names, &l);
    cr_error ignored;
    if (cr_head_guess(outs, g->output_count, task, (int)l.count, keypoints,
                      m->info.preprocess.width, m->info.preprocess.height, &m->info.head,
                      &ignored) != CR_OK)
        m->info.head = (cr_head){.kind = CR_HEAD_NONE};
    return CR_OK;
}

cr_status cr_family_guess(cr_model *m, cr_error *err)
{
    cr_model_info *info = &m->info;
    const cr_graph *g = m->graph;
    info->preprocess = cr_preprocess_default(1, 1);
    info->batch = 1;
    info->task = "";
    info->family = "unknown";
    info->preprocess_why = "the input is not a picture";
    if (g->input_count < 1) return CR_OK;
    const cr_shape *in = &g->inputs[0]->shape;
    if (in->rank != 4 || in->dim[1] != 3 || in->dim[2] < 1 || in->dim[3] < 1 ||
        in->dim[2] > 1 << 16 || in->dim[3] > 1 << 16)
        return CR_OK;
    info->batch = (int)in->dim[0];
    info->preprocess = cr_preprocess_default((int)in->dim[3], (int)in->dim[2]);
    const char *task = cr_graph_meta(g, "task");
    const char *author = cr_graph_meta(g, "author");
    const bool ultralytics = (author && strstr(author, "Ultralytics")) ||
                             (task && cr_graph_meta(g, "names") && cr_graph_meta(g, "stride"));
    CR_TRY(guess_head(m, task, err));
    const relative like = find_relative(m);
    CR_TRY(cr_box_scale_find(g, m->roles, &info->head, err));
    choose_preprocess(info, ultralytics, like);
    info->family = family_name(&info->head, like);
    bool detached;
    CR_TRY(cr_branches_read(g, &info->head, &m->branches, &info->preprocess, &info->family,
                            &detached, &m->arena, err));
    if (detached) info->preprocess_why = "metadata";
    info->task = task ? task : task_name(&info->head);
    return choose_names(m, err);
}
