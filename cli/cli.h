/* What the verbs of the program share. The program sees the public headers only.
 *
 * A verb is `int cmd_NAME(int argc, char **argv)`, argv[0] being the verb itself; it returns the
 * exit status: 0 done, 1 failed (one line on stderr), 2 wrong usage. Results go to stdout, progress
 * and messages to stderr. */
#ifndef CRAYON_CLI_H
#define CRAYON_CLI_H

#include <getopt.h>
#include <stdio.h>

#include "crayon/certify.h"
#include "crayon/check.h"
#include "crayon/doctor.h"
#include "crayon/eval.h"
#include "crayon/quantize.h"
#include "crayon/report.h"
#include "crayon/runtime.h"
#include "crayon/status.h"

#if defined(__GNUC__)
#define CLI_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define CLI_PRINTF(text, first)
#endif

enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

int cmd_quantize(int argc, char **argv);
int cmd_qat(int argc, char **argv);
int cmd_detect(int argc, char **argv);
int cmd_watch(int argc, char **argv);
int cmd_eval(int argc, char **argv);
int cmd_compare(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_convert(int argc, char **argv);
int cmd_synth(int argc, char **argv);
int cmd_train(int argc, char **argv);

/* ---- messages -------------------------------------------------------------------------------- */

/* From now on all but errors is another process's to print; errors name this one. */
void cli_be_quiet(int rank);

/* Prints "crayon: MESSAGE" as one line on stderr; returns CLI_FAILED. */
int cli_fail(const cr_error *err);
int cli_failf(const char *format, ...) CLI_PRINTF(1, 2);

/* Prints "crayon: VERB: MESSAGE; see 'crayon VERB --help'" on stderr; returns CLI_USAGE. */
int cli_usage(const char *format, ...) CLI_PRINTF(1, 2);

/* Prints "crayon: warning: MESSAGE" as one line on stderr. */
void cli_warn(const char *format, ...) CLI_PRINTF(1, 2);

/* The library's callbacks: a warning, and a line about how the work goes, on stderr as it is. */
void cli_warn_line(void *unused, const char *line);
void cli_say_line(void *unused, const char *line);

/* Names the verb for cli_usage. */
void cli_set_verb(const char *verb);

/* Prints a help text on stdout; returns CLI_DONE. */
int cli_help(const char *text);

/* ---- progress and interruption --------------------------------------------------------------- */

/* A bar with rate and ETA on stderr; silent when stderr is no terminal, and for actions that take
 * under a second. Cancels after Ctrl-C. */
cr_progress cli_progress(void);

/* One step of a loop of the program's own; false: Ctrl-C was pressed. */
bool cli_step(const char *what, uint64_t done, uint64_t total);

/* Removes the bar, so that other text may be printed. */
void cli_progress_clear(void);

/* Calls fn, which must be safe in a signal handler, at the first Ctrl-C; NULL: no more. */
void cli_at_interrupt(void (*fn)(void));

double cli_now_ms(void); /* monotonic */

/* ---- options --------------------------------------------------------------------------------- */

typedef struct cli_common {
    int threads;       /* 0: all cores */
    int height, width; /* --imgsz; 0: not given */
    int batch;         /* bench --batch; 0: not given */
    cr_precision precision;
    const char *preprocess; /* --preprocess, which has been parsed once; NULL: not given */
    bool mend; /* read broken quantized files, too */
    bool help;
} cli_common;

enum { CLI_OPT_HELP = 1000, CLI_OPT_CPU, CLI_OPT_THREADS, CLI_OPT_IMGSZ, CLI_OPT_PRECISION,
       CLI_OPT_PREPROCESS };

/* clang-format off */
#define CLI_COMMON_OPTIONS                                                                         \
    {"help", no_argument, NULL, CLI_OPT_HELP}, {"cpu", required_argument, NULL, CLI_OPT_CPU},      \
    {"threads", required_argument, NULL, CLI_OPT_THREADS},                                         \
    {"imgsz", required_argument, NULL, CLI_OPT_IMGSZ},                                             \
    {"preprocess", required_argument, NULL, CLI_OPT_PREPROCESS}, {NULL, 0, NULL, 0}
/* clang-format on */

/* Of verbs that run float models fast, in front of the common ones. */
#define CLI_PRECISION_OPTION {"precision", required_argument, NULL, CLI_OPT_PRECISION}
#define CLI_PRECISION_HELP                                                                         \
    "  --precision P        arithmetic of float models: float32, bf16, or auto, which is bf16\n"    \
    "                       where the CPU has instructions for it (float32)\n"

#define CLI_FORMAT_HELP                                                                            \
    "  --format F           qdq: ONNX with QuantizeLinear/DequantizeLinear; qoperator: ONNX with\n"      \
    "                       QLinearConv and its like, for ONNX Runtime; tflite; coreml: .mlpackage;\n" \
    "                       openvino: .xml and .bin; ncnn: .param and .bin (from OUT's ending)\n"

#define CLI_COMMON_HELP                                                                            \
    "  --imgsz N|HxW        input size, where the model file leaves it open\n"                     \
    "  --preprocess P,...   how pictures are prepared, where the model does not say or says it\n"   \
    "                       wrongly: letterbox, stretch, topleft or centercrop; rgb or bgr; 0..1,\n" \
    "                       0..255, imagenet, or mean=A/B/C, std=A/B/C per plane; pad=N\n"          \
    "  --threads N          threads to use (all cores)\n"                                          \
    "  --cpu LEVEL          use no instructions above this level: c, avx2, avx512, ...\n"          \
    "  --help               this text\n"

/* What getopt_long returned and no case of the verb took: a common option, or a mistake. Returns
 * CLI_DONE to go on (or common->help is set), else the exit status, with the message printed. */
int cli_common_option(int code, char **argv, cli_common *common);

/* Values; on a mistake they print what is wrong with --OPTION and return false. */
bool cli_integer(const char *option, const char *text, long long low, long long high,
                 long long *out);
bool cli_real(const char *option, const char *text, double low, double high, double *out);
bool cli_seed(const char *text, uint64_t *out); /* of --seed */
/* `values` ends with NULL; *out is the index of the one that equals `text`. */
bool cli_choice(const char *option, const char *text, const char *const *values, int *out);

/* ---- models and pictures --------------------------------------------------------------------- */

cr_status cli_open_model(const char *path, const cli_common *common, cr_model **out, cr_error *err);

/* Bytes of a file, or of all files in a folder and below; 0 if there is none. */
double cli_size_of(const char *path);

/* Two names of one file: writing OUT would destroy the source. */
bool cli_same_file(const char *a, const char *b);

/* Changes what a comma-separated list of --preprocess names; false: it is no such list. */
bool cli_preprocess_parse(const char *text, cr_preprocess *preprocess);

/* Would the model see better with other preprocessing, are the pictures good to calibrate with? The
 * answers become warnings, which are printed when the work has succeeded: a failure is one line. */
typedef struct cli_doubts {
    size_t count; /* pictures; 0: nothing was looked at */
    cr_picture_check pictures;
    cr_preprocess_check preprocess;
} cli_doubts;
cr_status cli_doubt(const cr_model *model, const cr_image_list *pictures, int threads,
                    cli_doubts *out, cr_error *err);
void cli_doubts_print(const cli_doubts *doubts);

/* "letterbox 640x640 RGB /255" */
void cli_preprocess_text(const cr_preprocess *pre, char *text, size_t size);

/* Name of a class, from `names` or as a number in `buffer`. */
const char *cli_class_name(const char *const *names, size_t count, int class_id, char buffer[16]);

/* Last component of a path. */
const char *cli_base_name(const char *path);

/* A picture and what a model's input is made of. */
typedef struct cli_fitted {
    cr_image picture;
    uint8_t *pixels; /* of cr_preprocess_pixels */
    cr_placement place;
    double fit_ms; /* what that took */
} cli_fitted;

/* Reads and fits a list of pictures in order; with more than one thread, each while the one before
 * it is in use. `paths` must outlive the reader. */
typedef struct cli_reader cli_reader;
cr_status cli_reader_open(cli_reader **out, char *const *paths, size_t count,
                          const cr_preprocess *preprocess, int threads, cr_error *err);
/* The next of at most `count` pictures; *out is the reader's, valid until the next call. */
cr_status cli_reader_next(cli_reader *reader, cli_fitted **out, cr_error *err);
void cli_reader_close(cli_reader **reader);

/* ---- measuring ------------------------------------------------------------------------------- */

/* Detections of one model on a list of pictures: image_id is ids[i] (or i + 1 if ids is NULL),
 * category_id is the model's class. A classifier gives its best class as one box of score 1. */
enum { CLI_RANKS = 5 };

typedef struct cli_boxes {
    cr_coco_box *items;
    size_t count, cap;
    double *points; /* [count, keypoints, 3]; NULL: not a pose */
    size_t keypoints, point_cap;
    cr_coco_mask *masks; /* [count], texts owned; NULL: no segmentation, or options->no_masks */
    size_t mask_cap;
    double *corners; /* [count, 4, 2]; NULL: boxes stand upright */
    size_t corner_cap;
    int (*ranks)[CLI_RANKS]; /* [count] of a classifier: its best classes, -1 behind the last */
    size_t rank_cap;
} cli_boxes;

typedef struct cli_pictures {
    char *const *paths;
    const int64_t *ids;
    size_t count;
} cli_pictures;

/* ---- several processes (gather.c) ---- */

/* Where the pictures of a process begin; those of the next one behind them. */
size_t cli_share_begin(size_t n, int rank);
/* Boxes of all processes, in the order of the pictures, in place of this one's. status: of this
 * process; the first failure is everyone's. */
cr_status cli_boxes_gather(cli_boxes *boxes, cr_status status, cr_error *err);

cr_status cli_collect(const cr_model *model, int threads, const cli_pictures *pictures,
                      const cr_detect_options *options, const char *what, cli_boxes *out,
                      cr_error *err);
void cli_boxes_free(cli_boxes *boxes);
/* Detections and their shapes, not a classifier's ranks. */
cr_status cli_boxes_copy(const cli_boxes *from, cli_boxes *to, cr_error *err);
/* A view. */
cr_coco_results cli_results(const cli_boxes *boxes);
/* Category k of a box becomes ids[k]; boxes of classes from n on or with CR_NO_CATEGORY go. */
void cli_boxes_rename(cli_boxes *boxes, const int64_t *ids, size_t n);

/* How far two models agree on the same pictures, a being the truth: cr_coco_agreement's mAP50-95,
 * for classifiers the share of equal best classes. NaN: a found nothing. */
cr_status cli_agreement(const cr_model *model, const cli_boxes *a, const cli_boxes *b, double *out,
                        cr_error *err);

/* What else than upright boxes is compared, in words; NULL: nothing. */
typedef struct cli_shape_text {
    const char *name, *key, *by; /* "masks", of the JSON, "by ..." */
} cli_shape_text;
const cli_shape_text *cli_shape(const cli_boxes *boxes);

/* What both have to be compared by; boxes if nothing else. */
cr_coco_metric cli_common_metric(const cli_boxes *a, const cli_boxes *b);
/* The same of keypoints, oriented boxes or masks; NaN where there are none. */
cr_status cli_shape_agreement(const cli_boxes *a, const cli_boxes *b, double *out, cr_error *err);

/* `bench --pipeline`: prints one model's figures to `out`; runs 0 is as many as 20 seconds allow. */
typedef struct cli_bench_pipeline {
    const cli_common *common;
    const char *picture;
    long long runs, warmup;
    bool json;
} cli_bench_pipeline;

int cli_bench_pipeline_run(const cli_bench_pipeline *b, const char *model, FILE *out);

/* ---- output ---------------------------------------------------------------------------------- */

/* A file that appears whole or not at all. "-" is stdout; devices and pipes are written directly.
 */
typedef struct cli_file {
    FILE *stream;
    char *temp; /* NULL: written directly */
    const char *path;
} cli_file;

cr_status cli_file_open(cli_file *file, const char *path, cr_error *err);
cr_status cli_file_commit(cli_file *file, cr_error *err); /* closes in any case */
void cli_file_abort(cli_file *file);                      /* fine after a commit */

/* Fails now if a file could not be made there later, after long work. */
cr_status cli_check_writable(const char *path, cr_error *err);

cr_status cli_make_folder(const char *path, cr_error *err);

/* JSON, written as it comes. Values that are not finite become null, bytes that are no UTF-8 become
 * U+FFFD. Keys are needed inside objects and NULL inside arrays. */
typedef struct cli_json {
    FILE *out;
    int depth;
    bool filled[16];
} cli_json;

void cli_json_open(cli_json *j, const char *key, char bracket); /* '{' or '[' */
void cli_json_close(cli_json *j, char bracket);                 /* '}' or ']' */
void cli_json_string(cli_json *j, const char *key, const char *text);
void cli_json_integer(cli_json *j, const char *key, long long value);
void cli_json_real(cli_json *j, const char *key, double value); /* all 17 digits it needs */
void cli_json_float(cli_json *j, const char *key, float value); /* shortest of float32 */
void cli_json_bool(cli_json *j, const char *key, bool value);
void cli_json_null(cli_json *j, const char *key);

/* ---- findings (findings.c) -------------------------------------------------------------------- */

typedef struct cli_findings {
    cr_finding *list; /* one kind behind the other */
    size_t count;
} cli_findings;

cr_status cli_findings_get(cr_model *model, cli_findings *out, cr_error *err);
void cli_findings_text(const cli_findings *f);
void cli_findings_json(cli_json *j, const cli_findings *f);
/* Two lines: the kinds of `before` that have fewer places in `after`, and what `after` has. */
void cli_findings_print_mended(const cli_findings *before, const cli_findings *after);
void cli_findings_free(cli_findings *f);

/* ---- placement of a recipe (inspect_recipe.c) ------------------------------------------------ */

/* Files that end in .json are recipes. */
bool cli_is_recipe_name(const char *path);
int cli_inspect_recipe(const char *path, bool as_json);
void cli_placement_text(const cr_recipe_view *v);
/* Members of an open object. */
void cli_placement_json(cli_json *j, const cr_recipe_view *v);

/* ---- compare --certify ---------------------------------------------------------------------- */

cr_status cli_certify(const cr_model *a, const cr_model *b, const cr_image_list *pictures,
                      size_t limit, int threads, bool json, cr_error *err);

/* ---- bench --layers ------------------------------------------------------------------------- */

typedef struct cli_layers {
    cr_step_time *steps; /* in execution order; NULL: not measured */
    size_t count;
    cr_peaks peaks;
} cli_layers;

/* Medians of `runs` runs, and this machine's peaks. Names belong to the runner. */
cr_status cli_layers_measure(cr_runner *runner, size_t runs, int threads, cli_layers *out,
                             cr_error *err);
void cli_layers_text(FILE *f, const cli_layers *layers);
void cli_layers_json(cli_json *out, const cli_layers *layers);
void cli_layers_free(cli_layers *layers);

/* Noise between 0 and 1 into float inputs, the same on every run. */
void cli_fill_noise(const cr_model *model, cr_runner *runner);

/* ---- --report (report_parts.c, NAME_report.c) ------------------------------------------------- */

/* "crayon" and argv, quoted for a shell; the caller frees it. NULL: out of memory. */
char *cli_command_text(int argc, char **argv);

typedef struct cli_speed {
    double before_ms, after_ms; /* medians; before is NaN without a model */
    cli_layers layers;          /* of the second */
    cr_runner *runner;          /* owns the layers' names */
} cli_speed;

/* Runs both in turn; before may be NULL. */
cr_status cli_speed_measure(const cr_model *before, const cr_model *after, int threads,
                            cli_speed *out, cr_error *err);
void cli_speed_free(cli_speed *s);

typedef struct cli_diffs {
    cr_layer_diff *list; /* in order of execution; names are the first model's */
    size_t count, cap;
    bool no_memory;
    cr_layer_costs costs; /* names are the second's */
} cli_diffs;

/* On a few of the pictures. Empty for models that cannot be compared so. */
cr_status cli_diffs_measure(const cr_model *before, const cr_model *after,
                            const cr_image_list *pictures, int threads, cli_diffs *out,
                            cr_error *err);
void cli_diffs_free(cli_diffs *d);

typedef struct cli_eval_report {
    const char *path, *command, *labels_path;
    int threads;
    const cr_model *model, *other; /* other: NULL without --against */
    const cr_labels *labels;
    const cli_pictures *pictures;
    cr_detect_options options;
    cr_coco_metric metric;
    const cli_boxes *boxes, *other_boxes;           /* by category of the labels */
    const cli_boxes *boxes_classes, *other_classes; /* by class of the model; with other only */
    const cr_coco_metrics *metrics;
    const cr_coco_class *classes;
    double agreement;
    const int64_t *answers;     /* of a classifier: the category of each picture; NULL: a detector */
    double top[2], other_top[2]; /* its top 1 and top 5; NaN: no other */
    /* what cli_eval_report_write measures itself */
    cr_coco_metrics other_metrics;
    cr_coco_curves curves, other_curves;
    cr_coco_class *other_rows;
    cli_speed speed;
    cli_diffs diffs;
} cli_eval_report;

cr_status cli_eval_report_write(cli_eval_report *r, cr_error *err);

cr_status cli_error(cr_error *err, cr_status status, const char *format, ...) CLI_PRINTF(3, 4);

#endif
