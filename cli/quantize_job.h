/* crayon quantize, its three parts: the work (quantize.c), the lines that tell of it
 * (quantize_lines.c) and the page (quantize_report.c). */
#ifndef CRAYON_CLI_QUANTIZE_JOB_H
#define CRAYON_CLI_QUANTIZE_JOB_H

#include "cli.h"
#include "plan_options.h"

enum { HELD_APART = 16 };

typedef enum mode { MODE_STATIC, MODE_WEIGHTS, MODE_DYNAMIC, MODE_FP16, MODE_BF16, MODE_FP16_GRAPH } mode;
/* Names of modes, targets and activations, NULL behind the last. */
extern const char *const quantize_modes[], *const quantize_targets[], *const quantize_activations[];

typedef struct quantize_job {
    cli_common common;
    cli_plan plan;
    cli_budget budget;
    int mode;
    const char *model_path, *out, *images, *stats_in, *stats_out, *recipe_in, *recipe_out;
    cr_model *model;
    cr_stats *stats;
    cr_image_list pictures;
    cr_image_list calibration;  /* paths borrowed from `pictures` */
    char *measured[HELD_APART]; /* the same */
    size_t measured_count;
    bool no_check;
    cli_doubts doubts;
    bool apart; /* calibration did not see the measured ones */
    int target, io, activation;
    size_t swapped; /* SiLUs that became another activation */
    bool target_given, io_given;
    bool fix, match_scores;
    cli_findings found, left;
    cli_boxes seen_file; /* --fix: what the file found as it was */
    double file_agreement;
    cr_score_match scores, objects;
    cli_boxes seen_float, seen_int;
    cr_quantize_report report;
    cr_tune_report tuned;
    cr_half_report half;
    cr_palette_report palette;
    cr_export_options export;
    double calibration_s, agreement, shapes;
    /* --report */
    const char *report_path;
    char *command;
    cr_model *original; /* the float model, in the target's form */
    cli_speed speed;
    cli_diffs diffs;
} quantize_job;

static inline bool is_half(const quantize_job *j)
{
    return j->mode > MODE_DYNAMIC;
}

/* Bits of the palettes that --weights asks for; 0: none. */
static inline int palette_bits(const quantize_job *j)
{
    switch (j->plan.options.weights) {
    case CR_WEIGHTS_PALETTE8:
        return 8;
    case CR_WEIGHTS_PALETTE6:
        return 6;
    case CR_WEIGHTS_PALETTE4:
        return 4;
    default:
        return 0;
    }
}

/* Were pictures set apart, and do the outputs mean something? */
static inline bool can_measure(const quantize_job *j)
{
    return j->measured_count && cr_model_get_info(j->model)->head.kind != CR_HEAD_NONE;
}

/* The lines on stdout, when all is done. */
void quantize_print(const quantize_job *j);

/* What the page tells beyond the lines: speed, layers, sensitivity. Before anything is written. */
cr_status quantize_report_measure(quantize_job *j, cr_error *err);
/* Writes the page, when the model is written. */
cr_status quantize_report_write(quantize_job *j, cr_error *err);

#endif
