/* Messages, progress, options and small helpers of the verbs. */
#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "crayon/cpu.h"

/* ---- messages ---- */

static const char *current_verb = "crayon";

void cli_set_verb(const char *verb)
{
    current_verb = verb;
}

static int quiet_rank; /* of a process that is not the first */

void cli_be_quiet(int rank)
{
    quiet_rank = rank;
    if (!freopen("/dev/null", "w", stdout)) fclose(stdout);
}

/* A message is one line whatever a file's names hold: control characters become '?'. It is written
 * at once, so that lines of several processes stay whole. */
static void print_line(const char *text)
{
    char line[2048], rank[32] = "";
    cli_progress_clear();
    if (quiet_rank) snprintf(rank, sizeof rank, "process %d: ", quiet_rank);
    snprintf(line, sizeof line - 1, "crayon: %s%s", rank, text);
    char *c = line;
    for (; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 127) *c = '?';
    *c++ = '\n';
    fwrite(line, 1, (size_t)(c - line), stderr);
}

int cli_fail(const cr_error *err)
{
    print_line(err->message[0] ? err->message : cr_status_name(err->status));
    return CLI_FAILED;
}

int cli_failf(const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    print_line(text);
    return CLI_FAILED;
}

void cli_warn(const char *format, ...)
{
    char text[768], line[800];
    va_list args;
    if (quiet_rank) return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(line, sizeof line, "warning: %s", text);
    print_line(line);
}

void cli_warn_line(void *unused, const char *line)
{
    (void)unused;
    cli_warn("%s", line);
}

void cli_say_line(void *unused, const char *line)
{
    (void)unused;
    if (quiet_rank) return;
    cli_progress_clear();
    fprintf(stderr, "%s\n", line);
}

int cli_usage(const char *format, ...)
{
    char text[768], line[1024];
    va_list args;
    if (quiet_rank) return CLI_USAGE; /* all processes have the same options */
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    snprintf(line, sizeof line, "%s: %s; see 'crayon %s --help'", current_verb, text, current_verb);
    print_line(line);
    return CLI_USAGE;
}

cr_status cli_error(cr_error *err, cr_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    err->status = status;
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    return status;
}

int cli_help(const char *text)
{
    fputs(text, stdout);
    return CLI_DONE;
}

/* ---- progress ---- */

static volatile sig_atomic_t interrupted;

static void (*at_interrupt)(void);

static void on_interrupt(int signal_number)
{
    interrupted = 1;
    if (at_interrupt) at_interrupt();
}

/* The first Ctrl-C asks to stop at the next step; the second one is the system's. */
static void catch_interrupt(void)
{
    static bool caught;
    if (caught) return;
    caught = true;
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
}

void cli_at_interrupt(void (*fn)(void))
{
    at_interrupt = fn;
    catch_interrupt();
}

double cli_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static struct {
    char what[32];
    double start_ms, drawn_ms;
    bool visible;
} bar;

void cli_progress_clear(void)
{
    if (bar.visible) fputs("\r\033[K", stderr);
    bar.visible = false;
    bar.what[0] = 0;
}

enum { BAR_WIDTH = 30 };

static void draw_bar(const char *what, uint64_t done, uint64_t total, double seconds)
{
    char cells[BAR_WIDTH + 1];
    const double rate = (double)done / seconds;
    if (total) {
        const int full = (int)((double)BAR_WIDTH * (double)done / (double)total);
        for (int i = 0; i < BAR_WIDTH; i++) cells[i] = i < full ? '#' : '.';
        cells[BAR_WIDTH] = 0;
        fprintf(stderr, "\r\033[K%s [%s] %llu/%llu  %.1f/s", what, cells, (unsigned long long)done,
                (unsigned long long)total, rate);
        if (rate > 0) fprintf(stderr, "  ETA %.0f s", (double)(total - done) / rate);
    } else {
        fprintf(stderr, "\r\033[K%s %llu  %.1f/s", what, (unsigned long long)done, rate);
    }
    fflush(stderr);
    bar.visible = true;
}

static bool report(void *user, const char *what, uint64_t done, uint64_t total)
{
    catch_interrupt();
    if (interrupted) return false;
    if (quiet_rank || !isatty(STDERR_FILENO)) return true;
    const double now = cli_now_ms();
    if (strncmp(bar.what, what, sizeof bar.what - 1)) {
        cli_progress_clear();
        snprintf(bar.what, sizeof bar.what, "%s", what);
        bar.start_ms = now;
    }
    if (total && done >= total)
        cli_progress_clear();
    else if (now - bar.start_ms > 1000 && now - bar.drawn_ms > 100) {
        draw_bar(what, done, total, (now - bar.start_ms) / 1000);
        bar.drawn_ms = now;
    }
    return true;
}

cr_progress cli_progress(void)
{
    catch_interrupt();
    return (cr_progress){.fn = report};
}

bool cli_step(const char *what, uint64_t done, uint64_t total)
{
    return report(NULL, what, done, total);
}

/* ---- options ---- */

static bool parse_size(const char *text, int *height, int *width)
{
    int h = 0, w = 0, used = 0;
    if (sscanf(text, "%5dx%5d%n", &h, &w, &used) == 2 && !text[used]) {
        *height = h;
        *width = w;
    } else if (sscanf(text, "%5d%n", &h, &used) == 1 && !text[used]) {
        *height = *width = h;
    }
    return *height >= 1 && *width >= 1 && *height <= 16384 && *width <= 16384;
}

int cli_common_option(int code, char **argv, cli_common *common)
{
    static const char *const precisions[] = {"float32", "bf16", "auto", NULL};
    long long n;
    int choice;
    cr_error err;
    switch (code) {
    case CLI_OPT_HELP:
        common->help = true;
        return CLI_DONE;
    case CLI_OPT_CPU:
        if (cr_cpu_limit(optarg, &err) == CR_OK) return CLI_DONE;
        return cli_usage("--cpu: %s", err.message);
    case CLI_OPT_THREADS:
        if (!cli_integer("threads", optarg, 1, 256, &n)) return CLI_USAGE;
        common->threads = (int)n;
        return CLI_DONE;
    case CLI_OPT_PRECISION:
        if (!cli_choice("precision", optarg, precisions, &choice)) return CLI_USAGE;
        common->precision = (cr_precision)choice;
        return CLI_DONE;
    case CLI_OPT_PREPROCESS: {
        cr_preprocess unused = cr_preprocess_default(1, 1);
        common->preprocess = optarg;
        if (cli_preprocess_parse(optarg, &unused)) return CLI_DONE;
        return cli_usage("--preprocess: '%s' is no list of letterbox, stretch, topleft, centercrop, "
                         "rgb, bgr, 0..1, 0..255, imagenet, mean=A/B/C, std=A/B/C, pad=N", optarg);
    }
    case CLI_OPT_IMGSZ:
        if (parse_size(optarg, &common->height, &common->width)) return CLI_DONE;
        return cli_usage("--imgsz: '%s' is neither N nor HxW", optarg);
    case ':':
        return cli_usage("option '%s' needs a value", argv[optind - 1]);
    default:
        /* getopt has stepped over a long option, but not over the rest of a cluster like -xy */
        if (optopt > 0 && optopt < 256) return cli_usage("no option '-%c'", optopt);
        return cli_usage("no option '%s'", argv[optind - 1]);
    }
}

/* ---- models and pictures ---- */

cr_status cli_open_model(const char *path, const cli_common *common, cr_model **out, cr_error *err)
{
    cr_model_options options = cr_model_options_default();
    options.height = common->height;
    options.width = common->width;
    options.precision = common->precision;
    options.batch = common->batch;
    options.mend = common->mend;
    const cr_status st = cr_model_open(path, &options, out, err);
    if (st != CR_OK || !common->preprocess) return st;
    cr_preprocess pre = cr_model_get_info(*out)->preprocess;
    cli_preprocess_parse(common->preprocess, &pre);
    cr_model_set_preprocess(*out, &pre);
    return CR_OK;
}

void cli_preprocess_text(const cr_preprocess *pre, char *text, size_t size)
{
    const char *order = pre->bgr ? "BGR" : "RGB";
    const float *m = pre->mean, *d = pre->div;
    const int n =
        snprintf(text, size, "%s %dx%d %s", cr_fit_name(pre->fit), pre->height, pre->width, order);
    if (n < 0 || (size_t)n >= size) return;
    if (m[0] == 0 && m[1] == 0 && m[2] == 0 && d[0] == d[1] && d[1] == d[2]) {
        if (d[0] == 1)
            snprintf(text + n, size - (size_t)n, " 0..255");
        else
            snprintf(text + n, size - (size_t)n, " /%g", d[0]);
    } else {
        snprintf(text + n, size - (size_t)n, " mean %g,%g,%g std %g,%g,%g", m[0], m[1], m[2], d[0],
                 d[1], d[2]);
    }
}

const char *cli_class_name(const char *const *names, size_t count, int class_id, char buffer[16])
{
    if (class_id >= 0 && (size_t)class_id < count) return names[class_id];
    snprintf(buffer, 16, "%d", class_id);
    return buffer;
}

const char *cli_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

bool cli_same_file(const char *a, const char *b)
{
    struct stat x, y;
    return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

enum { MAX_FOLDERS = 16 }; /* one in the other */

static double size_below(const char *path, int depth)
{
    struct stat s;
    char part[4096];
    if (lstat(path, &s)) return 0;
    if (!S_ISDIR(s.st_mode)) return (double)s.st_size;
    DIR *d = depth < MAX_FOLDERS ? opendir(path) : NULL;
    double sum = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        const int n = snprintf(part, sizeof part, "%s/%s", path, e->d_name);
        if (n > 0 && (size_t)n < sizeof part) sum += size_below(part, depth + 1);
    }
    if (d) closedir(d);
    return sum;
}

/* Of the .bin beside an OpenVINO IR's .xml or ncnn's .param. */
static double size_beside(const char *path)
{
    char bin[4096];
    struct stat s;
    const char *dot = strrchr(path, '.');
    const size_t stem = dot ? (size_t)(dot - path) : 0;
    if (!stem || stem + 5 > sizeof bin || (strcmp(dot, ".xml") && strcmp(dot, ".param"))) return 0;
    snprintf(bin, sizeof bin, "%.*s.bin", (int)stem, path);
    return stat(bin, &s) ? 0 : (double)s.st_size;
}

double cli_size_of(const char *path)
{
    struct stat s;
    if (stat(path, &s)) return 0;
    return S_ISDIR(s.st_mode) ? size_below(path, 0) : (double)s.st_size + size_beside(path);
}
