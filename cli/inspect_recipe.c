/* crayon inspect RECIPE.json, crayon inspect MODEL --placement: what is quantized how, and why. */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "crayon/quantize.h"

/* ---- sums ---- */

typedef struct kind { /* entries alike */
    const char *type;
    bool is_weight, dynamic;
    size_t count, by_channel, by_block;
} kind;

enum { MAX_KINDS = 16 };

static size_t sum_kinds(const cr_recipe_view *v, kind kinds[MAX_KINDS])
{
    size_t n = 0;
    for (size_t i = 0; i < v->row_count; i++) {
        const cr_recipe_row *r = &v->rows[i];
        if (!r->quantized) continue;
        size_t k = 0;
        while (k < n && (strcmp(kinds[k].type, r->type) || kinds[k].is_weight != r->is_weight ||
                         kinds[k].dynamic != r->dynamic))
            k++;
        if (k == MAX_KINDS) continue;
        if (k == n) kinds[n++] = (kind){.type = r->type, .is_weight = r->is_weight, .dynamic = r->dynamic};
        kinds[k].count++;
        kinds[k].by_block += r->block > 0;
        kinds[k].by_channel += !r->block && r->scales > 1;
    }
    return n;
}

/* How many weights were rounded how, as their entries say. */
static void print_rounding(const cr_recipe_view *v)
{
    enum { SHOWN = 4 };
    const char *how[SHOWN];
    size_t count[SHOWN], n = 0;
    for (size_t i = 0; i < v->row_count; i++) {
        const cr_recipe_row *r = &v->rows[i];
        if (!r->quantized || !r->is_weight || !*r->why) continue;
        size_t k = 0;
        while (k < n && strcmp(how[k], r->why)) k++;
        if (k == SHOWN) continue;
        if (k == n) how[n] = r->why, count[n++] = 0;
        count[k]++;
    }
    for (size_t k = 0; k < n; k++) printf("%s %zu %s", k ? "," : ";", count[k], how[k]);
}

static void print_kinds(const cr_recipe_view *v, bool weights)
{
    kind kinds[MAX_KINDS];
    const size_t n = sum_kinds(v, kinds);
    size_t all = 0, done = 0;
    for (size_t i = 0; i < v->row_count; i++) {
        const cr_recipe_row *r = &v->rows[i];
        if (r->is_weight != weights) continue;
        all++;
        done += r->quantized;
    }
    printf("%-14s %zu of %zu quantized", weights ? "weights" : "activations", done, all);
    for (size_t k = 0; k < n; k++) {
        if (kinds[k].is_weight != weights) continue;
        printf(", %zu %s", kinds[k].count, kinds[k].type);
        if (kinds[k].dynamic) fputs(" by each run's range", stdout);
        if (kinds[k].by_channel) printf(" (%zu with a scale per channel)", kinds[k].by_channel);
        if (kinds[k].by_block) printf(" (%zu with a scale per block)", kinds[k].by_block);
    }
    if (weights) print_rounding(v);
    putchar('\n');
}

static void print_facts(const cr_recipe_view *v)
{
    printf("%-14s", "made by");
    for (size_t i = 0; i < v->fact_count; i++)
        printf("%s %s %s", i ? "," : "", v->facts[2 * i], v->facts[2 * i + 1]);
    puts(v->fact_count ? "" : " unknown");
    for (size_t i = 0; i < v->step_count; i++)
        printf("%-14s %s\n", i ? "" : "changes", v->steps[i]);
}

/* ---- the table ---- */

static void scales_text(const cr_recipe_row *r, char *text, size_t size)
{
    if (!r->quantized || r->dynamic) snprintf(text, size, "%s", r->dynamic ? "each run" : "-");
    else if (r->block) snprintf(text, size, "%zu, blocks of %lld", r->scales, r->block);
    else if (r->scales > 1) snprintf(text, size, "%zu, axis %d", r->scales, r->axis);
    else snprintf(text, size, "%.4g", r->scale_min);
}

static void range_text(const cr_recipe_row *r, char *text, size_t size)
{
    if (!r->quantized || r->dynamic) snprintf(text, size, "-");
    else snprintf(text, size, "%.4g .. %.4g", r->lo, r->hi);
}

static void zeros_text(const cr_recipe_row *r, char *text, size_t size)
{
    if (!r->quantized || r->dynamic) snprintf(text, size, "-");
    else if (r->zero_min == r->zero_max) snprintf(text, size, "%d", r->zero_min);
    else snprintf(text, size, "%d..%d", r->zero_min, r->zero_max);
}

static void print_row(const cr_recipe_row *r)
{
    char scales[64], range[64], zeros[32];
    scales_text(r, scales, sizeof scales);
    range_text(r, range, sizeof range);
    zeros_text(r, zeros, sizeof zeros);
    printf("%-7s %-16s %-20s %-20s %-9s %-16s %-9s %-22s %s: %s\n", r->is_weight ? "weight" : "value", r->op,
           r->role, r->shape, r->type, scales, zeros, range, r->tensor, r->why);
}

void cli_placement_text(const cr_recipe_view *v)
{
    print_facts(v);
    print_kinds(v, false);
    print_kinds(v, true);
    printf("\n%-7s %-16s %-20s %-20s %-9s %-16s %-9s %-22s %s\n", "", "operator", "role", "shape", "type",
           "scales", "zero", "range", "tensor: why");
    for (size_t i = 0; i < v->row_count; i++) print_row(&v->rows[i]);
}

/* ---- JSON ---- */

static void write_row(cli_json *j, const cr_recipe_row *r)
{
    cli_json_open(j, NULL, '{');
    cli_json_string(j, "tensor", r->tensor);
    cli_json_bool(j, "weight", r->is_weight);
    cli_json_string(j, "shape", r->shape);
    cli_json_string(j, "op", r->op);
    cli_json_string(j, "node", r->node);
    cli_json_string(j, "role", r->role);
    cli_json_string(j, "type", r->type);
    cli_json_string(j, "why", r->why);
    cli_json_bool(j, "quantized", r->quantized);
    if (r->quantized) {
        cli_json_bool(j, "dynamic", r->dynamic);
        cli_json_bool(j, "replaced", r->replaced);
        cli_json_integer(j, "axis", r->axis);
        cli_json_integer(j, "scales", (long long)r->scales);
        cli_json_integer(j, "block", r->block);
        cli_json_float(j, "scale_min", (float)r->scale_min);
        cli_json_float(j, "scale_max", (float)r->scale_max);
        cli_json_integer(j, "zero_min", r->zero_min);
        cli_json_integer(j, "zero_max", r->zero_max);
        cli_json_float(j, "lo", (float)r->lo);
        cli_json_float(j, "hi", (float)r->hi);
    }
    cli_json_close(j, '}');
}

void cli_placement_json(cli_json *j, const cr_recipe_view *v)
{
    cli_json_open(j, "facts", '{');
    for (size_t i = 0; i < v->fact_count; i++) cli_json_string(j, v->facts[2 * i], v->facts[2 * i + 1]);
    cli_json_close(j, '}');
    cli_json_open(j, "changes", '[');
    for (size_t i = 0; i < v->step_count; i++) cli_json_string(j, NULL, v->steps[i]);
    cli_json_close(j, ']');
    cli_json_open(j, "placement", '[');
    for (size_t i = 0; i < v->row_count; i++) write_row(j, &v->rows[i]);
    cli_json_close(j, ']');
}

/* ---- a file ---- */

bool cli_is_recipe_name(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && !strcmp(dot, ".json");
}

int cli_inspect_recipe(const char *path, bool as_json)
{
    cr_error err = {0};
    cr_recipe_view *v = NULL;
    if (cr_recipe_view_file(path, &v, &err) != CR_OK) return cli_fail(&err);
    if (as_json) {
        cli_json j = {.out = stdout};
        cli_json_open(&j, NULL, '{');
        cli_json_string(&j, "recipe", path);
        cli_placement_json(&j, v);
        cli_json_close(&j, '}');
        putchar('\n');
    } else {
        printf("%-14s %s\n", "recipe", path);
        cli_placement_text(v);
    }
    cr_recipe_view_free(&v);
    return CLI_DONE;
}
