/* crayon detect, its two halves: pictures (detect.c) and video (detect_video.c). */
#ifndef CRAYON_CLI_DETECT_H
#define CRAYON_CLI_DETECT_H

#include "cli.h"
#include "crayon/live.h"
#include "crayon/class_names.h"

typedef struct detect_settings {
    cli_common common;
    cr_detect_options detect;
    const char *model_path, *class_list, *label_path, *save, *json;
    cr_live_options live; /* of video */
    const char *serve, *token, *versus, *on_detect;
    double every; /* seconds between commands of --on-detect */
    bool no_panel, view;
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
    cr_class_names labels; /* of the label file */
    int *classes;
    cli_file json;
} detect_job;

/* One line of JSON for a picture or frame; clip: cr_live_frame's, or NULL. */
void detect_write_json(const detect_job *j, FILE *to, const char *path, long long frame, int width,
                       int height, const cr_detections *found, const char *clip);
/* " 4 person, 1 bus" on `to`: classes in the order of their best detection. */
void detect_print_counts(const detect_job *j, const cr_detections *found, FILE *to);

/* Runs a video, camera or stream through; the job's model, classes and JSON stream are open. */
cr_status detect_video(detect_job *j, const char *source, cr_error *err);

/* ---- --view (window.c) ---- */

typedef struct cli_window cli_window;
typedef struct cli_wish { /* keys since the last poll */
    bool quit, save, paused;
    int conf_steps; /* + and - */
} cli_wish;
/* The window itself appears with the first picture. Errors: IO (no screen), UNSUPPORTED (no SDL). */
cr_status cli_window_open(cli_window **out, cr_error *err);
cr_status cli_window_show(cli_window *w, const cr_live_picture *p, const char *title,
                          cr_error *err);
/* While the view is paused this waits a moment. */
cli_wish cli_window_poll(cli_window *w);
void cli_window_close(cli_window **w);

/* ---- --on-detect (on_detect.c) ---- */

typedef struct cli_on_detect cli_on_detect;
/* `every`: seconds from one command's beginning to the next one's, at least. */
cr_status cli_on_detect_create(const char *command, double every, cli_on_detect **out,
                               cr_error *err);
/* A JSON line (malloc, now the hook's) for the next command. */
void cli_on_detect_take(cli_on_detect *d, char *line);
/* Once per frame: reaps the command that has ended, begins the next one. Never waits. */
void cli_on_detect_step(cli_on_detect *d);
/* The last command has two seconds to end. */
void cli_on_detect_finish(cli_on_detect *d);
void cli_on_detect_print(const cli_on_detect *d, FILE *to);
void cli_on_detect_free(cli_on_detect **d);

#endif
