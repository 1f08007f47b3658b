/* crayon detect, its two halves: pictures (detect.c) and video (detect_video.c). */
#ifndef CRAYON_CLI_DETECT_H
#define CRAYON_CLI_DETECT_H

#include "cli.h"
#include "crayon/live.h"

typedef struct detect_settings {
    cli_common common;
    cr_detect_options detect;
    const char *model_path, *class_list, *label_path, *save, *json;
    cr_live_options live; /* of video */
    const char *serve, *token, *versus;
    bool no_panel;
} detect_settings;

typedef struct detect_job {
    detect_settings set;
    cr_model *model, *versus;
    cr_detector *detector;
    cli_reader *reader;
    cr_image_list *sources;
    int source_count;
    char **paths; /* of all sources, owned by them */
    size_t path_count;
    const char *const *names; /* of classes: the model's or the label file's */
    size_t name_count;
    char *label_text; /* holds the label file's names */
    char **label_names;
    int *classes;
    cli_file json;
} detect_job;

/* One line of JSON for a picture or frame. */
void detect_write_json(detect_job *j, const char *path, long long frame, int width, int height,
                       const cr_detections *found);
/* " 4 person, 1 bus" on `to`: classes in the order of their best detection. */
void detect_print_counts(const detect_job *j, const cr_detections *found, FILE *to);

/* Runs a video, camera or stream through; the job's model, classes and JSON stream are open. */
cr_status detect_video(detect_job *j, const char *source, cr_error *err);

#endif
