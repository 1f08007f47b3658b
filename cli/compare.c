/* crayon compare: do two models see the same, and where do they start to differ. */
#define _POSIX_C_SOURCE 200809L
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "crayon/quantize.h"
#include "crayon/search.h"

static const char help[] =
    "usage: crayon compare A B --images DIR [options]\n"
    "\n"
    "Runs two models over the same pictures. The agreement is the COCO metric with A's detections\n"
    "(score 0.25 or more) as the truth; for classifiers the share of equal best classes. B may be\n"
    "a recipe.json: then it is A's graph with that recipe. --precision is for B; A is the truth.\n"
    "\n"
    "  --images DIR         folder, picture, .txt list or pattern\n"
    "  --limit N            the first N pictures only\n"
    "  --layers             what each quantized layer of B costs at the output, dearest first;\n"
    "                       and signal-to-noise ratio (dB) and cosine of every tensor that both\n"
    "                       models have, worst first\n"
    "  --exact              --layers: the agreement of each case as well, on all the pictures\n"
    "                       (without: the error alone, on the first 8)\n"
    "  --certify            which integers differ: each model's fast session and the plain reference,\n"
    "                       and the two files, layer by layer from the same integers; a difference\n"
    "                       is a tie (the value lies between two codes), fused (several nodes, one\n"
    "                       rounding), float (order of sums) or recipe (other scales). Seconds per\n"
    "                       picture and model: the first 2, unless --limit says otherwise\n"
    "  --json               print JSON\n" CLI_PRECISION_HELP CLI_COMMON_HELP "\n"
    "The cost at the output is measured with only this layer quantized (\"alone\") and with all "
    "but\n"
    "it (\"without\"). Its error is the energy of what changes in the scores and boxes of all "
    "candidate\n"
    "detections over the energy of the scores; errors of layers nearly add up.\n"
    "\n"
    "JSON: {\"images\", \"agreement\", \"layers\": [{\"tensor\", \"sqnr_db\", \"cosine\", "
    "\"elements\"}],\n"
    "\"costs\": {\"images\", \"error\", \"agreement\", \"layers\": [{\"node\", "
    "\"alone_error\",\n"
    "\"without_error\", \"alone_agreement\", \"without_agreement\"}]}}; \"agreement\" is null for "
    "models with\n"
    "unknown outputs, \"sqnr_db\" null for equal tensors, \"costs\" null if B is float.\n"
    "--certify: {\"images\", \"a\", \"b\", \"files\"}, each {\"tensors\", \"identical\", \"elements\",\n"
    "\"differing\", \"floats\", \"equal_floats\", \"list\": [{\"tensor\", \"node\", \"op\", \"elements\",\n"
    "\"differing\", \"steps\", \"from_tie\", \"why\"}]}.\n"
    "\n"
    "example: which layers lose most?\n"
    "  crayon compare yolov8n.onnx recipe.json --images pictures/ --layers --limit 8\n";

typedef struct layer {
    char *tensor;
    double sqnr_db, cosine;
    uint64_t elements;
} layer;

typedef struct job {
    cli_common common;
    const char *images;
    long long limit;
    bool layers, exact, certify, json;
    cr_model *a, *b;
    cr_image_list pictures;
    size_t count;     /* pictures used */
    double agreement; /* NaN: cannot be measured */
    const char *why_not;
    layer *list;
    size_t layer_count, layer_cap;
    bool no_memory;
    cr_layer_costs costs;
} job;

/* ---- options ---- */

enum { OPT_IMAGES = 256, OPT_LIMIT, OPT_LAYERS, OPT_EXACT, OPT_CERTIFY, OPT_JSON };
enum { FEW = 8, CERTIFIED = 2 };

static const struct option options[] = {{"images", required_argument, NULL, OPT_IMAGES},
                                        {"limit", required_argument, NULL, OPT_LIMIT},
                                        {"layers", no_argument, NULL, OPT_LAYERS},
                                        {"exact", no_argument, NULL, OPT_EXACT},
                                        {"certify", no_argument, NULL, OPT_CERTIFY},
                                        {"json", no_argument, NULL, OPT_JSON},
                                        CLI_PRECISION_OPTION,
                                        CLI_COMMON_OPTIONS};

static int take_option(int code, char **argv, job *j)
{
    switch (code) {
    case OPT_IMAGES:
        j->images = optarg;
        return CLI_DONE;
    case OPT_LIMIT:
        return cli_integer("limit", optarg, 1, INT_MAX, &j->limit) ? CLI_DONE : CLI_USAGE;
    case OPT_LAYERS:
        j->layers = true;
        return CLI_DONE;
    case OPT_EXACT:
        j->exact = true;
        return CLI_DONE;
    case OPT_CERTIFY:
        j->certify = true;
        return CLI_DONE;
    case OPT_JSON:
        j->json = true;
        return CLI_DONE;
    default:
        return cli_common_option(code, argv, &j->common);
    }
}

/* ---- measuring ---- */

static cr_status open_second(job *j, const char *a_path, const char *b_path, cr_error *err)
{
    const char *dot = strrchr(b_path, '.');
    if (!dot || strcmp(dot, ".json")) return cli_open_model(b_path, &j->common, &j->b, err);
    const cr_status st = cli_open_model(a_path, &j->common, &j->b, err);
    return st == CR_OK ? cr_model_load_recipe(j->b, b_path, err) : st;
}

static cr_status measure_agreement(job *j, cr_error *err)
{
    const cr_head_kind kind = cr_model_get_info(j->a)->head.kind;
    const cr_detect_options o = cr_detect_options_eval();
    const cli_pictures pictures = {j->pictures.paths, NULL, j->count};
    cli_boxes seen[2] = {{0}, {0}};
    j->why_not = "agreement: not measured (no known, common kind of output)";
    if (kind == CR_HEAD_NONE || kind != cr_model_get_info(j->b)->head.kind) return CR_OK;
    j->why_not = "agreement: not measured (the first model found nothing)";
    cr_status st = cli_collect(j->a, j->common.threads, &pictures, &o, "running A", &seen[0], err);
    if (st == CR_OK)
        st = cli_collect(j->b, j->common.threads, &pictures, &o, "running B", &seen[1], err);
    if (st == CR_OK) st = cli_agreement(j->a, &seen[0], &seen[1], &j->agreement, err);
    for (int i = 0; i < 2; i++) cli_boxes_free(&seen[i]);
    return st;
}

static void see_layer(void *user, const cr_layer_diff *diff)
{
    job *j = user;
    if (j->layer_count == j->layer_cap) {
        const size_t cap = j->layer_cap ? j->layer_cap * 2 : 256;
        layer *grown = realloc(j->list, cap * sizeof *grown);
        if (!grown) {
            j->no_memory = true;
            return;
        }
        j->list = grown;
        j->layer_cap = cap;
    }
    char *name = strdup(diff->tensor);
    if (!name) {
        j->no_memory = true;
        return;
    }
    j->list[j->layer_count++] = (layer){name, diff->sqnr_db, diff->cosine, diff->elements};
}

/* NaN is the worst, then the lowest ratio. */
static int worst_first(const void *a, const void *b)
{
    const double x = ((const layer *)a)->sqnr_db, y = ((const layer *)b)->sqnr_db;
    if (isnan(x) || isnan(y)) return isnan(y) - isnan(x);
    return (x > y) - (x < y);
}

static cr_status measure_layers(job *j, cr_error *err)
{
    const cr_progress progress = cli_progress();
    const cr_status st = cr_compare_layers(j->a, j->b, &j->pictures, j->count, j->common.threads,
                                           &progress, see_layer, j, err);
    if (st != CR_OK) return st;
    if (j->no_memory) return cli_error(err, CR_ERR_MEMORY, "out of memory");
    if (j->layer_count) qsort(j->list, j->layer_count, sizeof *j->list, worst_first);
    return CR_OK;
}

static cr_status measure_costs(job *j, cr_error *err)
{
    const cr_progress progress = cli_progress();
    const bool few = !j->exact && j->count > FEW;
    const cr_cost_options o = {few ? FEW : j->count, j->exact, j->common.threads};
    if (!cr_model_get_info(j->b)->quantized) return CR_OK;
    return cr_rank_layers(j->a, j->b, &j->pictures, &o, &progress, &j->costs, err);
}

static cr_status measure(job *j, const char *a_path, const char *b_path, cr_error *err)
{
    cli_common first = j->common;
    first.precision = CR_PRECISION_FLOAT32;
    cr_status st = cli_open_model(a_path, &first, &j->a, err);
    if (st == CR_OK) st = open_second(j, a_path, b_path, err);
    if (st == CR_OK) st = cr_image_list_open(j->images, &j->pictures, err);
    if (st != CR_OK) return st;
    j->count = j->pictures.count;
    if (j->limit && (size_t)j->limit < j->count) j->count = (size_t)j->limit;
    if (j->certify)
        return cli_certify(j->a, j->b, &j->pictures, j->limit ? j->count : CERTIFIED, j->common.threads,
                           j->json, err);
    st = measure_agreement(j, err);
    if (st == CR_OK && j->layers) st = measure_layers(j, err);
    return st == CR_OK && j->layers ? measure_costs(j, err) : st;
}

/* ---- results ---- */

static void print_costs_json(cli_json *out, const cr_layer_costs *c)
{
    cli_json_open(out, "costs", '{');
    cli_json_integer(out, "images", (long long)c->pictures);
    cli_json_real(out, "error", c->all.error);
    cli_json_real(out, "agreement", c->all.agreement);
    cli_json_open(out, "layers", '[');
    for (size_t i = 0; i < c->count; i++) {
        const cr_layer_cost *l = &c->layers[i];
        cli_json_open(out, NULL, '{');
        cli_json_string(out, "node", l->node);
        cli_json_real(out, "alone_error", l->alone.error);
        cli_json_real(out, "without_error", l->without.error);
        cli_json_real(out, "alone_agreement", l->alone.agreement);
        cli_json_real(out, "without_agreement", l->without.agreement);
        cli_json_close(out, '}');
    }
    cli_json_close(out, ']');
    cli_json_close(out, '}');
}

static void print_json(const job *j)
{
    cli_json out = {.out = stdout};
    cli_json_open(&out, NULL, '{');
    cli_json_integer(&out, "images", (long long)j->count);
    cli_json_real(&out, "agreement", j->agreement);
    if (j->layers) {
        cli_json_open(&out, "layers", '[');
        for (size_t i = 0; i < j->layer_count; i++) {
            cli_json_open(&out, NULL, '{');
            cli_json_string(&out, "tensor", j->list[i].tensor);
            cli_json_real(&out, "sqnr_db", j->list[i].sqnr_db);
            cli_json_real(&out, "cosine", j->list[i].cosine);
            cli_json_integer(&out, "elements", (long long)j->list[i].elements);
            cli_json_close(&out, '}');
        }
        cli_json_close(&out, ']');
        if (j->costs.count)
            print_costs_json(&out, &j->costs);
        else
            cli_json_null(&out, "costs");
    }
    cli_json_close(&out, '}');
    putchar('\n');
}

static void print_agreement_of(const cr_output_cost *c, bool exact)
{
    if (exact && isnan(c->agreement)) printf("  %9s", "-");
    if (exact && !isnan(c->agreement)) printf("  %9.4f", c->agreement);
}

static void print_costs(const cr_layer_costs *c, bool exact)
{
    double sum = 0;
    for (size_t i = 0; i < c->count; i++) sum += c->layers[i].alone.error;
    printf("cost at the output, %zu pictures; all layers together: error %.6f", c->pictures,
           c->all.error);
    if (exact && !isnan(c->all.agreement)) printf(", agreement %.4f", c->all.agreement);
    printf("\n   share  error alone");
    if (exact) printf("  agreement");
    printf("  error without");
    if (exact) printf("  agreement");
    puts("  layer");
    for (size_t i = 0; i < c->count; i++) {
        const cr_layer_cost *l = &c->layers[i];
        printf("%6.1f %%  %11.6f", sum > 0 ? 100 * l->alone.error / sum : 0, l->alone.error);
        print_agreement_of(&l->alone, exact);
        printf("  %13.6f", l->without.error);
        print_agreement_of(&l->without, exact);
        printf("  %s\n", l->node);
    }
}

static void print_text(const job *j, const char *a_path, const char *b_path)
{
    const bool classify = cr_model_get_info(j->a)->head.kind == CR_HEAD_CLASSIFY;
    printf("%s and %s, %zu pictures\n", cli_base_name(a_path), cli_base_name(b_path), j->count);
    if (isnan(j->agreement))
        puts("agreement: not measured (no known, common kind of output)");
    else if (j->agreement < 0)
        puts("agreement: not measured (the first model found nothing)");
    else
        printf("agreement %.4f %s\n", j->agreement, classify ? "(equal best class)" : "mAP50-95");
    if (!j->layers) return;
    if (j->costs.count) print_costs(&j->costs, j->exact);
    puts("SQNR dB    cosine  elements  tensor");
    for (size_t i = 0; i < j->layer_count; i++) {
        const layer *l = &j->list[i];
        if (isinf(l->sqnr_db) && l->sqnr_db > 0)
            fputs("  equal", stdout);
        else
            printf("%7.2f", l->sqnr_db);
        printf("  %8.6f %9llu  %s\n", l->cosine, (unsigned long long)l->elements, l->tensor);
    }
}

static void release(job *j)
{
    for (size_t i = 0; i < j->layer_count; i++) free(j->list[i].tensor);
    free(j->list);
    cr_layer_costs_free(&j->costs);
    cr_image_list_free(&j->pictures);
    cr_model_free(&j->a);
    cr_model_free(&j->b);
}

int cmd_compare(int argc, char **argv)
{
    job j = {.agreement = NAN};
    cr_error err = {0};
    for (int c; (c = getopt_long(argc, argv, ":", options, NULL)) != -1;) {
        const int status = take_option(c, argv, &j);
        if (status) return status;
    }
    if (j.common.help) return cli_help(help);
    if (argc - optind != 2) return cli_usage("two models are needed (%d given)", argc - optind);
    if (!j.images) return cli_usage("--images is missing");
    if (j.exact && !j.layers) return cli_usage("--exact belongs to --layers");
    if (j.certify && j.layers) return cli_usage("--certify and --layers are two reports: one at a time");
    const char *a = argv[optind], *b = argv[optind + 1];
    const cr_status st = measure(&j, a, b, &err);
    if (st == CR_OK && !j.certify) j.json ? print_json(&j) : print_text(&j, a, b);
    release(&j);
    return st == CR_OK ? CLI_DONE : cli_fail(&err);
}
