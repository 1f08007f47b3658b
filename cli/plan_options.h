/* Options that planning reads: of quantize, and of every verb that plans. One table
 * (plan_options.c) gives their names, their values and where they go; their help stands beside it.
 */
#ifndef CRAYON_CLI_PLAN_OPTIONS_H
#define CRAYON_CLI_PLAN_OPTIONS_H

#include "cli.h"
#include "crayon/quantize.h"
#include "crayon/search.h"

enum { CLI_MAX_GLOBS = 64, CLI_MAX_OPTIONS = 96, CLI_OPT_PLAN = 2000, CLI_OPT_BUDGET = 3000,
       CLI_OPT_EXPORT = 4000 };

typedef struct cli_plan {
    cr_quantize_options options; /* its lists point into this struct: see cli_plan_finish */
    const char *keep_float[CLI_MAX_GLOBS], *only[CLI_MAX_GLOBS];
    cr_layer_choice layers[CLI_MAX_GLOBS];
    bool given; /* one of these options stood on the command line */
} cli_plan;

cli_plan cli_plan_default(void);

extern const char cli_plan_help[];

/* Writes `own` (a verb's own options, which end in zeros) and all plan options to `out`. */
void cli_plan_join(const struct option *own, struct option out[CLI_MAX_OPTIONS]);

/* Takes what getopt_long returned: false if it is no plan option. *status is CLI_DONE, or the exit
 * status with the message printed. */
bool cli_plan_take(int code, cli_plan *p, int *status);

/* Points the lists of p->options to those of p: call it where p has come to rest. */
void cli_plan_finish(cli_plan *p);

/* ---- budgets (quantize_budget.c) ---- */

typedef struct cli_budget {
    cr_budget_options options;
    const char *labels_path;
    cr_labels *labels;
    cr_image_list judges; /* the pictures that measure; paths borrowed */
    bool apart;           /* calibration did not see them */
    cr_budget_report report;
} cli_budget;

extern const char cli_budget_help[];

cli_budget cli_budget_default(void);
void cli_budget_join(struct option *list); /* appends its options */
bool cli_budget_take(int code, cli_budget *b, int *status);
bool cli_budget_given(const cli_budget *b);
/* Usage: does it fit the rest of the command line? */
int cli_budget_check(const cli_budget *b, bool calibrates, bool pictures);
/* halve: a seeded half of the pictures judges and the other half goes to `calibration`, whose paths
 * have room for all; else all of them judge. */
cr_status cli_budget_divide(cli_budget *b, const cr_image_list *all, uint64_t seed, bool halve,
                            cr_image_list *calibration, cr_error *err);
cr_status cli_budget_plan(cli_budget *b, cr_model *model, const cr_stats *stats,
                          const cr_quantize_options *options, cr_error *err);
void cli_budget_print(const cli_budget *b);
void cli_budget_free(cli_budget *b);

/* Values as they are written, for reports. */
const char *cli_weights_name(cr_weight_type t);
const char *cli_activations_name(cr_activation_type t);
const char *cli_granularity_name(cr_granularity g);
const char *cli_calibration_name(cr_calibration c);
const char *cli_rounding_name(cr_rounding r);

/* ---- exports (export_options.c) ---- */

extern const char cli_export_help[];
void cli_export_join(struct option *list); /* appends its options */
bool cli_export_take(int code, cr_export_options *o, int *status);

/* ---- what goes together (option_fit.c) ---- */

/* The target of a static plan where none is named: what the format's runtimes compute. */
cr_target cli_target_for(const char *path, const cr_export_options *o);

/* Each is CLI_DONE, or the exit status with the message printed: an option that what is to be written, or
 * the mode, would pass over. */
int cli_fits_format(const char *path, const cr_export_options *o);
int cli_fits_widths(const char *path, const cr_export_options *o, const cr_quantize_options *plan, long int16_layers);
int cli_fits_mode(const char *mode, const cr_quantize_options *o); /* of modes without ranges */
/* Can single layers have activations of 16 bits there? */
bool cli_has_wide_layers(const char *path, const cr_export_options *o, cr_target target);

#endif
