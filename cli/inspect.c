/* crayon inspect: what is in a model file, and how it will be used. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "crayon/quantize.h"

static const char help[] =
    "usage: crayon inspect MODEL [options]\n"
    "       crayon inspect RECIPE.json [--json]\n"
    "       crayon inspect STATS.json --plot TENSOR -o OUT.svg|OUT.png\n"
    "\n"
    "Says what a model file holds: inputs, outputs, operators, parameters, multiply-adds, types,\n"
    "what kind of model it seems to be, how pictures are prepared for it and how that is known.\n"
    "Operators are those of the prepared graph: constants folded, batch norms and activations\n"
    "fused. Below stands what is wrong with a quantized file, whoever wrote it: where, why it hurts\n"
    "and what mends it.\n"
    "\n"
    "A recipe (crayon quantize --save-recipe) is explained tensor by tensor, in the order of the graph:\n"
    "type, scales and zero points, the range that the codes reach, the role of what makes it, why it is\n"
    "quantized or stays float, and how weights were rounded.\n"
    "\n"
    "  --layers             one line per node\n"
    "  --placement          that explanation for a quantized model, whoever quantized it\n"
    "  --json               print JSON\n"
    "  --plot TENSOR        draw what calibration saw of that tensor, and the range that each\n"
    "                       method chooses from it (STATS.json: crayon quantize --save-stats)\n"
    "  -o, --output FILE    where to, with --plot: a name that ends in .svg or "
    ".png\n" CLI_COMMON_HELP "\n"
    "examples:\n"
    "  crayon inspect yolov8n-int8.onnx --layers\n"
    "  crayon inspect recipe.json\n"
    "  crayon inspect stats.json --plot images -o images.svg\n";

enum { OPT_LAYERS = 256, OPT_PLACEMENT, OPT_JSON, OPT_PLOT };

static const struct option options[] = {{"layers", no_argument, NULL, OPT_LAYERS},
                                        {"placement", no_argument, NULL, OPT_PLACEMENT},
                                        {"json", no_argument, NULL, OPT_JSON},
                                        {"plot", required_argument, NULL, OPT_PLOT},
                                        {"output", required_argument, NULL, 'o'},
                                        CLI_COMMON_OPTIONS};

typedef struct settings {
    cli_common common;
    bool layers, placement, json;
    const char *plot, *out;
} settings;

static void shape_text(const cr_port_info *p, char *text, size_t size)
{
    size_t used = 0;
    snprintf(text, size, p->rank < 0 ? "unknown" : p->rank ? "" : "scalar");
    for (int d = 0; d < p->rank && used < size; d++) {
        const char *cross = d ? "x" : "";
        const int n = p->dim[d] < 0 ? snprintf(text + used, size - used, "%s?", cross)
                                    : snprintf(text + used, size - used, "%s%lld", cross,
                                               (long long)p->dim[d]);
        used += n > 0 ? (size_t)n : 0;
    }
}

/* ---- text ---- */

static void print_ports(const cr_model *model, cr_port port, const char *label)
{
    for (size_t i = 0; i < cr_model_port_count(model, port); i++) {
        const cr_port_info p = cr_model_port(model, port, i);
        char shape[160];
        shape_text(&p, shape, sizeof shape);
        printf("%-14s %s %s %s\n", i ? "" : label, p.name, p.dtype, shape);
    }
}

static void print_names(const cr_model_info *info)
{
    enum { SHOWN = 6 };
    printf("%-14s %zu", "classes", info->name_count);
    for (size_t i = 0; i < info->name_count && i < SHOWN; i++)
        printf("%s %s", i ? "," : ":", info->names[i]);
    puts(info->name_count > SHOWN ? ", ..." : "");
}

/* ---- the head's roles ---- */

typedef struct head_row { /* all parts of one role */
    const char *role;
    size_t channels, convs;
    const char *shown[3]; /* the first convolutions */
} head_row;

enum { MAX_ROLES = 8 };

static size_t sum_roles(const cr_head_part_info *parts, size_t count, head_row rows[MAX_ROLES])
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        size_t k = 0;
        while (k < n && strcmp(rows[k].role, parts[i].role)) k++;
        if (k == n) rows[n++] = (head_row){.role = parts[i].role};
        bool again = false; /* an anchor's part: the convolution is listed already */
        for (size_t b = 0; b < i; b++)
            again |= !strcmp(parts[b].node, parts[i].node) && !strcmp(parts[b].role, parts[i].role);
        rows[k].channels += (size_t)parts[i].count;
        if (!again && rows[k].convs < 3) rows[k].shown[rows[k].convs] = parts[i].node;
        rows[k].convs += !again;
    }
    return n;
}

static cr_status print_head(cr_model *model, cr_error *err)
{
    head_row rows[MAX_ROLES];
    cr_head_part_info *parts;
    size_t count;
    const cr_status st = cr_model_head_parts(model, &parts, &count, err);
    if (st != CR_OK) return st;
    const size_t n = sum_roles(parts, count, rows);
    for (size_t i = 0; i < n; i++) {
        printf("%-14s %s: %zu channels of", i ? "" : "head", rows[i].role, rows[i].channels);
        for (size_t k = 0; k < rows[i].convs && k < 3; k++)
            printf("%s %s", k ? "," : "", rows[i].shown[k]);
        puts(rows[i].convs > 3 ? ", ..." : "");
    }
    free(parts);
    return CR_OK;
}

static cr_status write_head(cli_json *j, cr_model *model, cr_error *err)
{
    cr_head_part_info *parts;
    size_t count;
    const cr_status st = cr_model_head_parts(model, &parts, &count, err);
    if (st != CR_OK) return st;
    cli_json_open(j, "head", '[');
    for (size_t i = 0; i < count; i++) {
        cli_json_open(j, NULL, '{');
        cli_json_string(j, "role", parts[i].role);
        cli_json_string(j, "node", parts[i].node);
        cli_json_string(j, "shape", parts[i].shape);
        cli_json_integer(j, "first", parts[i].first);
        cli_json_integer(j, "count", parts[i].count);
        cli_json_close(j, '}');
    }
    cli_json_close(j, ']');
    free(parts);
    return CR_OK;
}

/* ---- text, all of it ---- */

static void print_summary(const cr_model *model)
{
    const cr_model_info *info = cr_model_get_info(model);
    char text[160];
    printf("%-14s %s, %.2f MB\n", "file", info->path, (double)info->file_bytes / 1e6);
    printf("%-14s %s", "format", info->format);
    if (info->opset) printf(" opset %d, IR %d", info->opset, info->ir_version);
    printf(", by %s\n", info->producer && *info->producer ? info->producer : "unknown");
    printf("%-14s %s%s%s\n", "family", info->family, *info->task ? ", task " : "", info->task);
    print_ports(model, CR_PORT_INPUT, "inputs");
    print_ports(model, CR_PORT_OUTPUT, "outputs");
    cli_preprocess_text(&info->preprocess, text, sizeof text);
    printf("%-14s %s (%s)\n", "preprocessing", text, info->preprocess_why);
    if (info->name_count) print_names(info);
    printf("%-14s %llu parameters, %.3f GMAC per run, %zu nodes, %zu tensors\n", "size",
           (unsigned long long)info->parameters, (double)info->macs / 1e9, info->nodes,
           info->tensors);
    printf("%-14s %s", "precision", info->precision);
    if (info->quantized)
        printf(": recipe with %zu activations and %zu weights", info->activation_entries,
               info->weight_entries);
    printf("\n%-14s", "operators");
    for (size_t i = 0; i < info->op_count; i++)
        printf("%s %zu %s", i ? "," : "", info->ops[i].count, info->ops[i].op);
    putchar('\n');
}

static cr_status print_layers(const cr_model *model, cr_error *err)
{
    const size_t n = cr_model_get_info(model)->nodes;
    printf("\n%-18s %-18s %10s %9s  %-24s %-6s %s\n", "operator", "output", "parameters", "MMAC",
           "types in, weight, out", "role", "node");
    for (size_t i = 0; i < n; i++) {
        cr_layer_info layer;
        char types[64];
        const cr_status st = cr_model_layer(model, i, &layer, err);
        if (st != CR_OK) return st;
        snprintf(types, sizeof types, "%s %s %s", layer.input_type,
                 *layer.weight_type ? layer.weight_type : "-", layer.output_type);
        printf("%-18s %-18s %10llu %9.2f  %-24s %-6s %s\n", layer.op, layer.shape,
               (unsigned long long)layer.parameters, (double)layer.macs / 1e6, types, layer.role,
               layer.name);
    }
    return CR_OK;
}

/* ---- JSON ---- */

static void write_ports(cli_json *j, const char *key, const cr_model *model, cr_port port)
{
    cli_json_open(j, key, '[');
    for (size_t i = 0; i < cr_model_port_count(model, port); i++) {
        const cr_port_info p = cr_model_port(model, port, i);
        cli_json_open(j, NULL, '{');
        cli_json_string(j, "name", p.name);
        cli_json_string(j, "type", p.dtype);
        cli_json_open(j, "shape", '[');
        for (int d = 0; d < p.rank; d++) cli_json_integer(j, NULL, p.dim[d]);
        cli_json_close(j, ']');
        cli_json_close(j, '}');
    }
    cli_json_close(j, ']');
}

static void write_preprocess(cli_json *j, const cr_model_info *info)
{
    const cr_preprocess *p = &info->preprocess;
    cli_json_open(j, "preprocess", '{');
    cli_json_string(j, "fit", cr_fit_name(p->fit));
    cli_json_integer(j, "width", p->width);
    cli_json_integer(j, "height", p->height);
    cli_json_string(j, "order", p->bgr ? "BGR" : "RGB");
    cli_json_open(j, "mean", '[');
    for (int c = 0; c < 3; c++) cli_json_float(j, NULL, p->mean[c]);
    cli_json_close(j, ']');
    cli_json_open(j, "std", '[');
    for (int c = 0; c < 3; c++) cli_json_float(j, NULL, p->div[c]);
    cli_json_close(j, ']');
    cli_json_integer(j, "pad", p->pad);
    cli_json_string(j, "why", info->preprocess_why);
    cli_json_close(j, '}');
}

static void write_summary(cli_json *j, const cr_model *model)
{
    const cr_model_info *info = cr_model_get_info(model);
    cli_json_string(j, "model", info->path);
    cli_json_integer(j, "bytes", (long long)info->file_bytes);
    cli_json_string(j, "format", info->format);
    cli_json_string(j, "producer", info->producer ? info->producer : "");
    cli_json_integer(j, "opset", info->opset);
    cli_json_integer(j, "ir_version", info->ir_version);
    cli_json_string(j, "family", info->family);
    cli_json_string(j, "task", info->task);
    write_ports(j, "inputs", model, CR_PORT_INPUT);
    write_ports(j, "outputs", model, CR_PORT_OUTPUT);
    write_preprocess(j, info);
    cli_json_open(j, "names", '[');
    for (size_t i = 0; i < info->name_count; i++) cli_json_string(j, NULL, info->names[i]);
    cli_json_close(j, ']');
    cli_json_integer(j, "parameters", (long long)info->parameters);
    cli_json_integer(j, "macs", (long long)info->macs);
    cli_json_integer(j, "nodes", (long long)info->nodes);
    cli_json_string(j, "precision", info->precision);
    cli_json_bool(j, "quantized", info->quantized);
    cli_json_integer(j, "activation_entries", (long long)info->activation_entries);
    cli_json_integer(j, "weight_entries", (long long)info->weight_entries);
    cli_json_open(j, "operators", '{');
    for (size_t i = 0; i < info->op_count; i++)
        cli_json_integer(j, info->ops[i].op, (long long)info->ops[i].count);
    cli_json_close(j, '}');
}

static cr_status write_layers(cli_json *j, const cr_model *model, cr_error *err)
{
    const size_t n = cr_model_get_info(model)->nodes;
    cli_json_open(j, "layers", '[');
    for (size_t i = 0; i < n; i++) {
        cr_layer_info layer;
        const cr_status st = cr_model_layer(model, i, &layer, err);
        if (st != CR_OK) return st;
        cli_json_open(j, NULL, '{');
        cli_json_string(j, "node", layer.name);
        cli_json_string(j, "op", layer.op);
        cli_json_string(j, "output", layer.output);
        cli_json_string(j, "shape", layer.shape);
        cli_json_integer(j, "parameters", (long long)layer.parameters);
        cli_json_integer(j, "macs", (long long)layer.macs);
        cli_json_string(j, "role", layer.role);
        cli_json_string(j, "input_type", layer.input_type);
        cli_json_string(j, "weight_type", layer.weight_type);
        cli_json_string(j, "output_type", layer.output_type);
        cli_json_close(j, '}');
    }
    cli_json_close(j, ']');
    return CR_OK;
}

static cr_status print_json(cr_model *model, bool layers, const cr_recipe_view *recipe,
                            const cli_findings *findings, cr_error *err)
{
    cli_json j = {.out = stdout};
    cli_json_open(&j, NULL, '{');
    write_summary(&j, model);
    cr_status st = write_head(&j, model, err);
    cli_findings_json(&j, findings);
    if (st == CR_OK && layers) st = write_layers(&j, model, err);
    if (recipe) cli_placement_json(&j, recipe);
    cli_json_close(&j, '}');
    putchar('\n');
    return st;
}

/* ---- the verb ---- */

static int take_option(int code, char **argv, settings *s)
{
    switch (code) {
    case OPT_LAYERS:
        s->layers = true;
        return CLI_DONE;
    case OPT_PLACEMENT:
        s->placement = true;
        return CLI_DONE;
    case OPT_JSON:
        s->json = true;
        return CLI_DONE;
    case OPT_PLOT:
        s->plot = optarg;
        return CLI_DONE;
    case 'o':
        s->out = optarg;
        return CLI_DONE;
    default:
        return cli_common_option(code, argv, &s->common);
    }
}

static int check_usage(const settings *s, int files, const char *first)
{
    if (!s->plot && files != 1) return cli_usage("one model file is needed (%d given)", files);
    if (!s->plot && s->out) return cli_usage("-o %s: goes with --plot only", s->out);
    if (!s->plot && cli_is_recipe_name(first) && (s->layers || s->placement))
        return cli_usage("%s: --layers and --placement are for models", first);
    if (!s->plot) return CLI_DONE;
    if (files != 1) return cli_usage("--plot needs one file of statistics (%d given)", files);
    if (!s->out) return cli_usage("--plot needs -o OUT.svg or OUT.png");
    if (s->layers || s->placement || s->json)
        return cli_usage("--plot goes without --layers, --placement and --json");
    return CLI_DONE;
}

static int draw_plot(const char *path, const settings *s)
{
    cr_error err = {0};
    cr_stats *stats = NULL;
    cr_status st = cr_stats_load(path, &stats, &err);
    if (st == CR_OK) st = cr_stats_plot(stats, s->plot, s->out, &err);
    cr_stats_free(&stats);
    return st == CR_OK ? CLI_DONE : cli_fail(&err);
}

/* A file that nothing can run is shown as it would be mended: its findings say what is wrong. */
static cr_status open_broken_too(const char *path, const settings *s, cr_model **model,
                                 cr_error *err)
{
    cli_common common = s->common;
    const cr_status st = cli_open_model(path, &common, model, err);
    if (st != CR_ERR_FORMAT) return st;
    cr_error ignored;
    common.mend = true;
    return cli_open_model(path, &common, model, &ignored) == CR_OK ? CR_OK : st;
}

static int print_model(const char *path, const settings *s)
{
    cr_error err = {0};
    cr_model *model = NULL;
    cr_recipe_view *recipe = NULL;
    cli_findings findings = {0};
    cr_status st = open_broken_too(path, s, &model, &err);
    if (st == CR_OK && s->placement) st = cr_recipe_view_model(model, &recipe, &err);
    if (st == CR_OK) st = cli_findings_get(model, &findings, &err);
    if (st == CR_OK && s->json) st = print_json(model, s->layers, recipe, &findings, &err);
    if (st == CR_OK && !s->json) print_summary(model);
    if (st == CR_OK && !s->json) st = print_head(model, &err);
    if (st == CR_OK && !s->json) cli_findings_text(&findings);
    if (st == CR_OK && !s->json && s->layers) st = print_layers(model, &err);
    if (st == CR_OK && !s->json && recipe) cli_placement_text(recipe);
    cr_recipe_view_free(&recipe);
    cli_findings_free(&findings);
    cr_model_free(&model);
    return st == CR_OK ? CLI_DONE : cli_fail(&err);
}

int cmd_inspect(int argc, char **argv)
{
    settings s = {0};
    for (int c; (c = getopt_long(argc, argv, ":o:", options, NULL)) != -1;) {
        const int status = take_option(c, argv, &s);
        if (status) return status;
    }
    if (s.common.help) return cli_help(help);
    const int wrong = check_usage(&s, argc - optind, argv[optind]);
    if (wrong) return wrong;
    if (!s.plot && cli_is_recipe_name(argv[optind])) return cli_inspect_recipe(argv[optind], s.json);
    return s.plot ? draw_plot(argv[optind], &s) : print_model(argv[optind], &s);
}
