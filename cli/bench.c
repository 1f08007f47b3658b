/* crayon bench: time and memory of a model's run, pictures and decoding left out.
 *
 * Every model is measured in a child process of its own: the peak memory is then that model's, and
 * no model leaves a warm cache, fragmented heap or spinning thread to the next. The child's result
 * comes back through a pipe as text, printed only if the child succeeded. */
#define _DEFAULT_SOURCE
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"
#include "crayon/cpu.h"

static const char help[] =
    "usage: crayon bench MODEL... [options]\n"
    "\n"
    "Measures how long one run of each model takes, how long it takes to load, and the most\n"
    "memory that its process had. Reading and decoding pictures are not part of it.\n"
    "\n"
    "  --runs N             runs to measure (50, or as many as 20 seconds allow, at least 5)\n"
    "  --warmup N           runs before them (5)\n"
    "  --batch N            pictures per run, where the model allows it\n"
    "  --layers             each step as well: time, multiply-adds, share of this CPU's peak, "
    "bytes\n"
    "  --svg FILE           draw the steps under this machine's roofs (.svg or .png); one model\n"
    "  --report F.html      a page with the time of each step and the graph; one model\n"
    "  --pipeline PICTURE   time from this file to boxes instead, by stages\n"
    "  --json               print JSON\n" CLI_PRECISION_HELP CLI_COMMON_HELP "\n"
    "JSON: [{\"model\", \"precision\", \"threads\", \"batch\", \"cpu\", \"level\", \"runs\",\n"
    "\"median_ms\", \"min_ms\", \"p95_ms\", \"load_ms\", \"first_result_ms\", \"peak_rss_mb\"}],\n"
    "MB being 1024*1024 bytes;\n"
    "--layers adds \"layers\": [{\"node\", \"op\", \"tensor\", \"kernel\", \"type\", \"ms\", "
    "\"macs\",\n"
    "\"bytes\", \"gops\", \"peak_share\", \"ops_per_byte\"}] in the order in which they run, ms "
    "being\n"
    "medians, \"convolutions\": {\"ms\", \"gops\", \"peak_share\"}, \"other_ms\" and \"peaks\".\n"
    "Peaks are measured by loops that do nothing but multiply, add or read; multiply-adds are\n"
    "counted as ONNX defines the operator, so Winograd's convolutions may exceed the peak.\n"
    "--pipeline gives medians \"decode_ms\", \"letterbox_ms\", \"run_ms\", \"head_ms\", "
    "\"total_ms\"\n"
    "and the count \"boxes\".\n"
    "\n"
    "example: what does INT8 bring on two threads?\n"
    "  crayon bench yolov8n.onnx yolov8n-int8.onnx --threads 2\n"
    "and which layers are far from what this CPU can do?\n"
    "  crayon bench yolov8n-int8.onnx --layers --svg roofline.svg\n";

typedef struct settings {
    cli_common common;
    long long runs, warmup; /* runs 0: by time */
    const char *pipeline;   /* a picture's path, or NULL */
    bool layers, json;
    const char *svg, *report;
    char *command;
} settings;

typedef struct figures {
    double load_ms, first_ms, min_ms, median_ms, p95_ms, peak_rss_mb;
    size_t runs;
    int threads, batch;
} figures;

enum { DEFAULT_RUNS = 50, LEAST_RUNS = 5 };
static const double time_limit_ms = 20000;

/* ---- options ---- */

enum { OPT_RUNS = 256, OPT_WARMUP, OPT_LAYERS, OPT_SVG, OPT_BATCH, OPT_PIPELINE, OPT_REPORT, OPT_JSON };

static const struct option options[] = {{"runs", required_argument, NULL, OPT_RUNS},
                                        {"warmup", required_argument, NULL, OPT_WARMUP},
                                        {"layers", no_argument, NULL, OPT_LAYERS},
                                        {"batch", required_argument, NULL, OPT_BATCH},
                                        {"svg", required_argument, NULL, OPT_SVG},
                                        {"pipeline", required_argument, NULL, OPT_PIPELINE},
                                        {"report", required_argument, NULL, OPT_REPORT},
                                        {"json", no_argument, NULL, OPT_JSON},
                                        CLI_PRECISION_OPTION,
                                        CLI_COMMON_OPTIONS};

static int take_option(int code, char **argv, settings *s)
{
    long long n;
    switch (code) {
    case OPT_BATCH:
        if (!cli_integer("batch", optarg, 1, 1024, &n)) return CLI_USAGE;
        s->common.batch = (int)n;
        return CLI_DONE;
    case OPT_RUNS:
        return cli_integer("runs", optarg, 1, 1000000, &s->runs) ? CLI_DONE : CLI_USAGE;
    case OPT_WARMUP:
        return cli_integer("warmup", optarg, 0, 1000000, &s->warmup) ? CLI_DONE : CLI_USAGE;
    case OPT_LAYERS:
        s->layers = true;
        return CLI_DONE;
    case OPT_PIPELINE:
        s->pipeline = optarg;
        return CLI_DONE;
    case OPT_REPORT:
        s->report = optarg;
        return CLI_DONE;
    case OPT_SVG:
        s->svg = optarg;
        return CLI_DONE;
    case OPT_JSON:
        s->json = true;
        return CLI_DONE;
    default:
        return cli_common_option(code, argv, &s->common);
    }
}

/* ---- measuring, in the child ---- */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static cr_status time_runs(const settings *s, cr_runner *runner, figures *out, cr_error *err)
{
    const size_t most = s->runs ? (size_t)s->runs : DEFAULT_RUNS;
    double *ms = malloc(most * sizeof *ms);
    cr_status st = ms ? CR_OK : cli_error(err, CR_ERR_MEMORY, "out of memory");
    const double start = cli_now_ms();
    size_t n = 0;
    while (st == CR_OK && n < most) {
        const double before = cli_now_ms();
        st = cr_runner_run(runner, err);
        const double after = cli_now_ms();
        ms[n++] = after - before;
        if (!s->runs && n >= LEAST_RUNS && after - start > time_limit_ms) break;
        if (st == CR_OK && !cli_step("measuring", n, most))
            st = cli_error(err, CR_ERR_CANCELLED, "cancelled");
    }
    cli_progress_clear();
    if (st == CR_OK) {
        qsort(ms, n, sizeof *ms, by_value);
        out->runs = n;
        out->min_ms = ms[0];
        out->median_ms = n % 2 ? ms[n / 2] : (ms[n / 2 - 1] + ms[n / 2]) / 2;
        out->p95_ms = ms[(n * 95 + 99) / 100 - 1];
    }
    free(ms);
    return st;
}

static void write_json(FILE *f, const char *path, const char *precision, const figures *x,
                       const cli_layers *layers)
{
    cli_json out = {.out = f};
    cli_json_open(&out, NULL, '{');
    cli_json_string(&out, "model", path);
    cli_json_string(&out, "precision", precision);
    cli_json_integer(&out, "threads", x->threads);
    cli_json_integer(&out, "batch", x->batch);
    cli_json_string(&out, "cpu", cr_cpu_name());
    cli_json_string(&out, "level", cr_cpu_level_name());
    cli_json_integer(&out, "runs", (long long)x->runs);
    cli_json_real(&out, "median_ms", x->median_ms);
    cli_json_real(&out, "min_ms", x->min_ms);
    cli_json_real(&out, "p95_ms", x->p95_ms);
    cli_json_real(&out, "load_ms", x->load_ms);
    cli_json_real(&out, "first_result_ms", x->first_ms);
    cli_json_real(&out, "peak_rss_mb", x->peak_rss_mb);
    if (layers) cli_layers_json(&out, layers);
    cli_json_close(&out, '}');
}

static void write_text(FILE *f, const char *path, const char *precision, const figures *x,
                       const cli_layers *layers)
{
    fprintf(f,
            "%-28s %-10s median %8.2f ms  min %8.2f  p95 %8.2f  load %6.1f ms  first result %6.1f  "
            "peak %6.1f MB  (%zu runs)\n",
            cli_base_name(path), precision, x->median_ms, x->min_ms, x->p95_ms, x->load_ms,
            x->first_ms, x->peak_rss_mb, x->runs);
    if (layers) cli_layers_text(f, layers);
}

static int effective_threads(const settings *s)
{
    return s->common.threads ? s->common.threads : cr_cpu_count();
}

/* Time from nothing to the first result. */
static cr_status first_run(cr_runner *runner, figures *x, cr_error *err)
{
    const double before = cli_now_ms();
    const cr_status st = cr_runner_run(runner, err);
    x->first_ms = x->load_ms + cli_now_ms() - before;
    return st;
}

static cr_status draw(const settings *s, const char *path, const char *precision,
                      const cli_layers *layers, cr_error *err)
{
    char title[256];
    snprintf(title, sizeof title, "%s, %s, on %s (%s)", cli_base_name(path), precision,
             cr_cpu_name(), cr_cpu_level_name());
    return cr_roofline_draw(&layers->peaks, layers->steps, layers->count, title, s->svg, err);
}

static cr_status write_report(const settings *s, const cr_model *model, const figures *x,
                              const cli_layers *layers, cr_error *err)
{
    const cr_report_card cards[] = {
        {"Median", "ms", NAN, x->median_ms, 2, true, ""},
        {"Fastest", "ms", NAN, x->min_ms, 2, true, ""},
        {"95 of 100 within", "ms", NAN, x->p95_ms, 2, true, ""},
        {"First result", "ms", NAN, x->first_ms, 1, true, "loading included"},
        {"Memory", "MB", NAN, x->peak_rss_mb, 1, true, "the most that the process had"}};
    const cr_model_info *info = cr_model_get_info(model);
    char what[512], how[128];
    cr_report_page *page = NULL;
    snprintf(what, sizeof what, "%.300s: %.60s, %.60s", info->path, info->family, info->precision);
    snprintf(how, sizeof how, "%zu, %d threads, %d pictures each", x->runs, x->threads, x->batch);
    const cr_report_fact facts[] = {{"Model", what}, {"Runs", how}};
    cr_status st = cr_report_open(cli_base_name(info->path), s->command ? s->command : "", &page, err);
    if (st == CR_OK) {
        cr_report_cards(page, cards, sizeof cards / sizeof cards[0]);
        cr_report_facts(page, "Measurement", facts, 2);
        cr_report_times(page, layers->steps, layers->count, &layers->peaks);
        st = cr_report_graph(page, model, err);
    }
    if (st == CR_OK) st = cr_report_save(page, s->report, err);
    cr_report_close(&page);
    return st;
}

static int measure(const settings *s, const char *path, FILE *out)
{
    cr_model *model = NULL;
    cr_runner *runner = NULL;
    cr_error err = {0};
    figures x = {.threads = effective_threads(s)};
    cli_layers layers = {0};
    if (s->pipeline)
        return cli_bench_pipeline_run(
            &(cli_bench_pipeline){&s->common, s->pipeline, s->runs, s->warmup, s->json}, path, out);
    const double start = cli_now_ms();
    cr_status st = cli_open_model(path, &s->common, &model, &err);
    if (st == CR_OK && !s->report) cr_model_give_weights(model); /* the report reads its recipe */
    if (st == CR_OK) st = cr_runner_create(model, s->common.threads, &runner, &err);
    x.load_ms = cli_now_ms() - start;
    if (model) x.batch = cr_model_get_info(model)->batch;
    if (st == CR_OK) cli_fill_noise(model, runner);
    if (st == CR_OK) st = first_run(runner, &x, &err);
    for (long long i = 0; st == CR_OK && i < s->warmup; i++) st = cr_runner_run(runner, &err);
    if (st == CR_OK) st = time_runs(s, runner, &x, &err);
    struct rusage usage;
    if (!getrusage(RUSAGE_SELF, &usage)) x.peak_rss_mb = (double)usage.ru_maxrss / 1024;
    if (st == CR_OK && (s->layers || s->svg || s->report))
        st = cli_layers_measure(runner, x.runs, s->common.threads, &layers, &err);
    if (st == CR_OK && s->svg)
        st = draw(s, path, cr_model_get_info(model)->precision, &layers, &err);
    if (st == CR_OK && s->report) st = write_report(s, model, &x, &layers, &err);
    if (st == CR_OK)
        (s->json ? write_json : write_text)(out, path, cr_model_get_info(model)->precision, &x,
                                            s->layers ? &layers : NULL);
    cli_layers_free(&layers);
    cr_runner_free(&runner);
    cr_model_free(&model);
    return st == CR_OK ? CLI_DONE : cli_fail(&err);
}

/* ---- the parent ---- */

/* Everything that comes through the pipe, as a string to be freed; NULL: out of memory. */
static char *read_all(int fd)
{
    size_t used = 0, cap = 1 << 16;
    char *text = malloc(cap);
    for (ssize_t n = 1; text && n > 0;) {
        if (used + 1 >= cap) {
            char *grown = realloc(text, cap *= 2);
            if (!grown) free(text);
            text = grown;
            if (!text) break;
        }
        n = read(fd, text + used, cap - used - 1);
        if (n > 0) used += (size_t)n;
    }
    if (text) text[used] = 0;
    return text;
}

static void run_child(const settings *s, const char *path, int fd)
{
    FILE *out = fdopen(fd, "w");
    int status = out ? measure(s, path, out) : CLI_FAILED;
    if (out && fclose(out)) status = CLI_FAILED;
    _exit(status);
}

/* Runs one model in a child; *text is what it printed. Returns an exit status. */
static int bench_model(const settings *s, const char *path, char **text)
{
    int ends[2];
    if (pipe(ends)) return cli_failf("%s: cannot make a pipe for its process", path);
    fflush(stdout);
    const pid_t child = fork();
    if (child < 0) {
        close(ends[0]);
        close(ends[1]);
        return cli_failf("%s: cannot start a process to measure it in", path);
    }
    if (child == 0) {
        close(ends[0]);
        run_child(s, path, ends[1]);
    }
    close(ends[1]);
    *text = read_all(ends[0]);
    close(ends[0]);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFSIGNALED(status))
        return cli_failf("%s: its process was ended by signal %d", path, WTERMSIG(status));
    if (!*text) return cli_failf("out of memory");
    return WEXITSTATUS(status);
}

/* Before minutes of measuring, not behind them. */
static int check_files(const settings *s, int models)
{
    cr_error err = {0};
    if (s->report && models > 1) return cli_usage("--report shows one model (%d given)", models);
    if (s->report && s->pipeline) return cli_usage("--report goes without --pipeline");
    if (s->report && cli_check_writable(s->report, &err) != CR_OK) return cli_fail(&err);
    const char *dot = s->svg ? strrchr(s->svg, '.') : NULL;
    if (!s->svg) return CLI_DONE;
    if (models > 1) return cli_usage("--svg draws one model (%d given)", models);
    if (!dot || (strcasecmp(dot, ".svg") && strcasecmp(dot, ".png")))
        return cli_usage("--svg: '%s' ends in neither .svg nor .png", s->svg);
    return cli_check_writable(s->svg, &err) == CR_OK ? CLI_DONE : cli_fail(&err);
}

int cmd_bench(int argc, char **argv)
{
    settings s = {.warmup = 5};
    for (int c; (c = getopt_long(argc, argv, ":", options, NULL)) != -1;) {
        const int status = take_option(c, argv, &s);
        if (status) return status;
    }
    if (s.common.help) return cli_help(help);
    if (s.common.batch > 1 && s.pipeline) return cli_usage("--pipeline goes without --batch");
    if (optind >= argc) return cli_usage("a model file is missing");
    int status = check_files(&s, argc - optind);
    if (status) return status;
    s.command = cli_command_text(argc, argv);
    char **texts = calloc((size_t)(argc - optind), sizeof *texts);
    status = texts ? CLI_DONE : cli_failf("out of memory");
    for (int i = optind; status == CLI_DONE && i < argc; i++)
        status = bench_model(&s, argv[i], &texts[i - optind]);
    if (status == CLI_DONE && !s.json)
        printf("%s, %s, %d threads\n", cr_cpu_name(), cr_cpu_level_name(), effective_threads(&s));
    for (int i = optind; status == CLI_DONE && i < argc; i++)
        printf("%s%s%s", s.json ? (i == optind ? "[" : ",\n ") : "", texts[i - optind],
               s.json && i == argc - 1 ? "]\n" : "");
    for (int i = optind; texts && i < argc; i++) free(texts[i - optind]);
    free(texts);
    free(s.command);
    return status;
}
