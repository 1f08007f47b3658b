/* bench --layers: where a run's time goes, against what this CPU could do. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { SLOWEST = 10 };

static double ms_of(const cr_step_time *t)
{
    return (double)t->ns * 1e-6;
}

static bool is_convolution(const cr_step_time *t)
{
    return t->macs && !strncmp(t->op, "Conv", 4);
}

static double peak_share(const cli_layers *l, const cr_step_time *t)
{
    return cr_step_rate(t) / l->peaks.ops[t->math];
}

/* Conversions have no node of their own: the tensor that they write says where they are. */
static const char *label(const cr_step_time *t)
{
    return *t->node ? t->node : t->tensor;
}

/* Zeros would be kind to no one's caches or tables. */
void cli_fill_noise(const cr_model *model, cr_runner *runner)
{
    uint32_t state = 12345;
    for (size_t i = 0; i < cr_model_port_count(model, CR_PORT_INPUT); i++) {
        size_t bytes = 0;
        float *data = cr_runner_input(runner, i, &bytes);
        if (!data || strcmp(cr_model_port(model, CR_PORT_INPUT, i).dtype, "float32")) continue;
        for (size_t k = 0; k < bytes / sizeof *data; k++) {
            state = state * 1664525u + 1013904223u;
            data[k] = (float)(state >> 8) / 16777216.0f;
        }
    }
}

cr_status cli_layers_measure(cr_runner *runner, size_t runs, int threads, cli_layers *out,
                             cr_error *err)
{
    cr_status st = cr_runner_profile(runner, runs, err);
    for (size_t run = 0; st == CR_OK && run < runs; run++) {
        st = cr_runner_run(runner, err);
        if (st == CR_OK && !cli_step("timing layers", run + 1, runs))
            st = cli_error(err, CR_ERR_CANCELLED, "cancelled");
    }
    cli_progress_clear();
    if (st == CR_OK) st = cr_peaks_measure(threads, &out->peaks, err);
    if (st != CR_OK) return st;
    out->count = cr_runner_step_count(runner);
    out->steps = calloc(out->count + 1, sizeof *out->steps);
    if (!out->steps) return cli_error(err, CR_ERR_MEMORY, "out of memory");
    for (size_t i = 0; i < out->count; i++) out->steps[i] = cr_runner_step(runner, i);
    return CR_OK;
}

void cli_layers_free(cli_layers *l)
{
    free(l->steps);
    *l = (cli_layers){0};
}

/* ---- totals ---- */

typedef struct totals {
    double ms, conv_ms, conv_least_ms; /* least: at the peaks */
    double conv_macs;
} totals;

static totals add_up(const cli_layers *l)
{
    totals t = {0};
    for (size_t i = 0; i < l->count; i++) {
        const cr_step_time *s = &l->steps[i];
        t.ms += ms_of(s);
        if (!is_convolution(s)) continue;
        t.conv_ms += ms_of(s);
        t.conv_macs += (double)s->macs;
        t.conv_least_ms += 2e3 * (double)s->macs / l->peaks.ops[s->math];
    }
    return t;
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

/* ---- text ---- */

static void print_step(FILE *f, const cli_layers *l, const cr_step_time *t, double all_ms)
{
    fprintf(f, "  %8.4f ms %5.1f %%", ms_of(t), 100 * ratio(ms_of(t), all_ms));
    if (t->macs)
        fprintf(f, " %8.1f %6.1f %%", cr_step_rate(t) * 1e-9, 100 * peak_share(l, t));
    else
        fprintf(f, " %8s %6s  ", "", "");
    fprintf(f, " %8.3f", (double)t->bytes / (1024 * 1024));
    if (t->macs && t->bytes)
        fprintf(f, " %7.1f", 2 * (double)t->macs / (double)t->bytes);
    else
        fprintf(f, " %7s", "");
    fprintf(f, "  %-8s  %-26s %s\n", cr_math_name(t->math), t->kernel, label(t));
}

static void print_heading(FILE *f, const char *what)
{
    fprintf(f, "  %s\n  %11s %7s %8s %8s %8s %7s  %-8s  %-26s %s\n", what, "median", "share",
            "GOPS", "of peak", "MB", "ops/B", "type", "kernel", "node");
}

static int slowest_first(const void *a, const void *b)
{
    const uint64_t x = ((const cr_step_time *)a)->ns, y = ((const cr_step_time *)b)->ns;
    return (x < y) - (x > y);
}

static void print_slowest(FILE *f, const cli_layers *l, double all_ms)
{
    cr_step_time *sorted = malloc((l->count + 1) * sizeof *sorted);
    if (!sorted) return;
    memcpy(sorted, l->steps, l->count * sizeof *sorted);
    qsort(sorted, l->count, sizeof *sorted, slowest_first);
    print_heading(f, "the slowest:");
    for (size_t i = 0; i < l->count && i < SLOWEST; i++) print_step(f, l, &sorted[i], all_ms);
    free(sorted);
}

void cli_layers_text(FILE *f, const cli_layers *l)
{
    const totals t = add_up(l);
    const double *ops = l->peaks.ops;
    print_heading(f, "in the order in which they run:");
    for (size_t i = 0; i < l->count; i++) print_step(f, l, &l->steps[i], t.ms);
    print_slowest(f, l, t.ms);
    fprintf(f, "  convolutions  %8.3f ms  %7.1f GOPS  %5.1f %% of peak\n", t.conv_ms,
            ratio(t.conv_macs * 2e-6, t.conv_ms), 100 * ratio(t.conv_least_ms, t.conv_ms));
    fprintf(f, "  other steps   %8.3f ms  (%.1f %%)\n", t.ms - t.conv_ms,
            100 * ratio(t.ms - t.conv_ms, t.ms));
    fprintf(
        f,
        "  peaks here    int8 %.0f GOPS, float32 %.0f, bfloat16 %.0f; L2 %.0f GB/s, memory %.0f "
        "GB/s; %d threads\n",
        ops[CR_MATH_INT8] * 1e-9, ops[CR_MATH_FLOAT32] * 1e-9, ops[CR_MATH_BFLOAT16] * 1e-9,
        l->peaks.cache_bytes * 1e-9, l->peaks.memory_bytes * 1e-9, l->peaks.threads);
}

/* ---- JSON ---- */

static void json_step(cli_json *out, const cli_layers *l, const cr_step_time *t)
{
    cli_json_open(out, NULL, '{');
    cli_json_string(out, "node", t->node);
    cli_json_string(out, "op", t->op);
    cli_json_string(out, "tensor", t->tensor);
    cli_json_string(out, "kernel", t->kernel);
    cli_json_string(out, "type", cr_math_name(t->math));
    cli_json_real(out, "ms", ms_of(t));
    cli_json_integer(out, "macs", (long long)t->macs);
    cli_json_integer(out, "bytes", (long long)t->bytes);
    cli_json_real(out, "gops", cr_step_rate(t) * 1e-9);
    cli_json_real(out, "peak_share", peak_share(l, t));
    cli_json_real(out, "ops_per_byte", ratio(2 * (double)t->macs, (double)t->bytes));
    cli_json_close(out, '}');
}

void cli_layers_json(cli_json *out, const cli_layers *l)
{
    const totals t = add_up(l);
    const cr_peaks *p = &l->peaks;
    cli_json_open(out, "layers", '[');
    for (size_t i = 0; i < l->count; i++) json_step(out, l, &l->steps[i]);
    cli_json_close(out, ']');
    cli_json_open(out, "convolutions", '{');
    cli_json_real(out, "ms", t.conv_ms);
    cli_json_real(out, "gops", ratio(t.conv_macs * 2e-6, t.conv_ms));
    cli_json_real(out, "peak_share", ratio(t.conv_least_ms, t.conv_ms));
    cli_json_close(out, '}');
    cli_json_real(out, "other_ms", t.ms - t.conv_ms);
    cli_json_open(out, "peaks", '{');
    for (int m = 0; m < CR_MATH_COUNT; m++) {
        char key[32];
        snprintf(key, sizeof key, "%s_gops", cr_math_name((cr_math)m));
        cli_json_real(out, key, p->ops[m] * 1e-9);
    }
    cli_json_real(out, "l2_gb_per_s", p->cache_bytes * 1e-9);
    cli_json_real(out, "memory_gb_per_s", p->memory_bytes * 1e-9);
    cli_json_close(out, '}');
}
