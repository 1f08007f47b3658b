/* Options that planning reads: of quantize, and of every verb that plans. One table
 * (plan_options.c) gives their names, their values and where they go; their help stands beside it.
 */
#ifndef CRAYON_CLI_PLAN_OPTIONS_H
#define CRAYON_CLI_PLAN_OPTIONS_H

#include "cli.h"
#include "crayon/quantize.h"

enum { CLI_MAX_GLOBS = 64, CLI_MAX_OPTIONS = 96, CLI_OPT_PLAN = 2000 };

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

/* Values as they are written, for reports. */
const char *cli_weights_name(cr_weight_type t);
const char *cli_activations_name(cr_activation_type t);
const char *cli_granularity_name(cr_granularity g);
const char *cli_calibration_name(cr_calibration c);
const char *cli_rounding_name(cr_rounding r);

#endif
