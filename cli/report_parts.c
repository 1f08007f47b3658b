/* What the reports of quantize, eval and bench share: the command line, speed, layers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { SPEED_RUNS = 25, WARM_RUNS = 3, COST_PICTURES = 4, DIFF_PICTURES = 4 };
static const double speed_limit_ms = 8000;

/* ---- the command ---- */

static bool is_plain(const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./,:=+@%";
    return *word && !word[strspn(word, plain)];
}

/* As a shell takes it: 'it'\''s' where it has to be quoted. */
static char *add_word(char *at, const char *word)
{
    const bool plain = is_plain(word);
    *at++ = ' ';
    if (!plain) *at++ = '\'';
    for (; *word; word++) {
        if (*word == '\'') {
            memcpy(at, "'\\''", 4);
            at += 4;
        } else {
            *at++ = *word;
        }
    }
    if (!plain) *at++ = '\'';
    return at;
}

char *cli_command_text(int argc, char **argv)
{
    size_t size = sizeof "crayon";
    for (int i = 0; i < argc; i++) size += 4 * strlen(argv[i]) + 3;
    char *text = malloc(size), *at = text;
    if (!text) return NULL;
    memcpy(at, "crayon", 6);
    at += 6;
    for (int i = 0; i < argc; i++) at = add_word(at, argv[i]);
    *at = 0;
    return text;
}

/* ---- speed ---- */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static cr_status timed_run(cr_runner *runner, double *ms, cr_error *err)
{
    const double start = cli_now_ms();
    const cr_status st = cr_runner_run(runner, err);
    *ms = cli_now_ms() - start;
    return st;
}

/* In turn, so that whatever else the machine does meets both. */
static cr_status time_both(cr_runner *const runners[2], double median[2], cr_error *err)
{
    double ms[2][SPEED_RUNS] = {{0}}, spare;
    const double start = cli_now_ms();
    int n = 0;
    for (int i = 0; i < WARM_RUNS; i++)
        for (int k = 0; k < 2; k++) {
            const cr_status st = runners[k] ? timed_run(runners[k], &spare, err) : CR_OK;
            if (st != CR_OK) return st;
        }
    while (n < SPEED_RUNS && (n < 3 || cli_now_ms() - start < speed_limit_ms)) {
        for (int k = 0; k < 2; k++) {
            const cr_status st = runners[k] ? timed_run(runners[k], &ms[k][n], err) : CR_OK;
            if (st != CR_OK) return st;
        }
        if (!cli_step("timing", (uint64_t)++n, SPEED_RUNS))
            return cli_error(err, CR_ERR_CANCELLED, "cancelled");
    }
    cli_progress_clear();
    for (int k = 0; k < 2; k++) {
        qsort(ms[k], (size_t)n, sizeof ms[k][0], by_value);
        median[k] = runners[k] ? ms[k][n / 2] : NAN;
    }
    return CR_OK;
}

cr_status cli_speed_measure(const cr_model *before, const cr_model *after, int threads, cli_speed *out,
                            cr_error *err)
{
    const cr_model *const models[2] = {before, after};
    cr_runner *runners[2] = {NULL, NULL};
    double median[2];
    cr_status st = CR_OK;
    *out = (cli_speed){0};
    for (int k = 0; k < 2 && st == CR_OK; k++) {
        if (!models[k]) continue;
        st = cr_runner_create(models[k], threads, &runners[k], err);
        if (st == CR_OK) cli_fill_noise(models[k], runners[k]);
    }
    if (st == CR_OK) st = time_both(runners, median, err);
    if (st == CR_OK) {
        out->before_ms = median[0];
        out->after_ms = median[1];
        st = cli_layers_measure(runners[1], SPEED_RUNS / 2, threads, &out->layers, err);
    }
    out->runner = runners[1];
    cr_runner_free(&runners[0]);
    return st;
}

void cli_speed_free(cli_speed *s)
{
    cli_layers_free(&s->layers);
    cr_runner_free(&s->runner);
}

/* ---- layers ---- */

static void see(void *user, const cr_layer_diff *diff)
{
    cli_diffs *d = user;
    if (d->count == d->cap) {
        const size_t cap = d->cap ? 2 * d->cap : 256;
        cr_layer_diff *grown = realloc(d->list, cap * sizeof *grown);
        if (!grown) {
            d->no_memory = true;
            return;
        }
        d->list = grown;
        d->cap = cap;
    }
    d->list[d->count++] = *diff;
}

/* Models that cannot be compared layer by layer (several inputs, no names in common) have no such
 * section; that is no reason to fail. */
static bool is_no_answer(cr_status st)
{
    return st == CR_ERR_ARGUMENT || st == CR_ERR_UNSUPPORTED;
}

cr_status cli_diffs_measure(const cr_model *before, const cr_model *after, const cr_image_list *pictures,
                            int threads, cli_diffs *out, cr_error *err)
{
    const cr_progress progress = cli_progress();
    const cr_cost_options costs = {COST_PICTURES, false, threads};
    *out = (cli_diffs){0};
    if (!pictures->count) return CR_OK;
    cr_status st = cr_compare_layers(before, after, pictures, DIFF_PICTURES, threads, &progress, see, out, err);
    if (is_no_answer(st)) return CR_OK;
    if (st == CR_OK && out->no_memory) return cli_error(err, CR_ERR_MEMORY, "out of memory");
    if (st == CR_OK && cr_model_get_info(after)->quantized) {
        st = cr_rank_layers(before, after, pictures, &costs, &progress, &out->costs, err);
        if (is_no_answer(st)) st = CR_OK;
    }
    return st;
}

void cli_diffs_free(cli_diffs *d)
{
    free(d->list);
    cr_layer_costs_free(&d->costs);
    *d = (cli_diffs){0};
}
