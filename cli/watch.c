/* crayon watch: a live run on a terminal, for people on ssh: figures, a plot of the delays, what is
 * found, and a coarse picture where there is room. Without a terminal: a line per second.
 *
 * Plain ANSI sequences, no terminal library: an alternate screen, absolute position, erased line
 * ends, written as one piece ten times a second. Every way out restores the terminal: the end, q,
 * Ctrl-C, SIGTERM, SIGHUP. Names of classes come with models, so control characters are taken out
 * of them. */
#define _DEFAULT_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "cli.h"
#include "crayon/class_names.h"
#include "crayon/live.h"

static const char help[] =
    "usage: crayon watch MODEL SOURCE [options]\n"
    "\n"
    "Shows a live run in a terminal: frames per second, milliseconds, a plot of the delays, what "
    "is\n"
    "found, and a coarse picture if the terminal is wide enough (COLORTERM=truecolor: in all\n"
    "colours). A source is a video file, which runs at its own pace, a camera (0, /dev/video0), a\n"
    "stream (rtsp://, http://) or - for video on standard input. q or Ctrl-C ends it. When "
    "standard\n"
    "output is no terminal, a line is printed per second.\n"
    "\n"
    "  --conf P             keep detections of at least this score, 0..1 (0.25)\n"
    "  --iou P              of two boxes of one class that overlap more, keep the better (0.7)\n"
    "  --labels FILE        class names for a model that has none: one per line, or a data.yaml\n"
    "  --limit N            stop after N frames\n"
    "  --losses N           open a lost camera or stream again N times (for ever)\n"
    "  --raw WxH[:FMT][@R]  standard input or file of raw frames (FMT yuv420p, rate R 30)\n"
    "  --no-picture         figures only\n" CLI_PRECISION_HELP CLI_COMMON_HELP "\n"
    "example:\n"
    "  $ crayon watch yolov8n-int8.onnx street.webm | head -n 1\n"
    "  1.0 s  30.0 FPS  model 20.1 ms  latency 23.4 ms  dropped 0  lost 0  3 person, 2 car\n";

enum { OPT_CONF = 256, OPT_IOU, OPT_LABELS, OPT_LIMIT, OPT_LOSSES, OPT_RAW, OPT_NO_PICTURE };

static const struct option options[] = {{"conf", required_argument, NULL, OPT_CONF},
                                        {"iou", required_argument, NULL, OPT_IOU},
                                        {"labels", required_argument, NULL, OPT_LABELS},
                                        {"limit", required_argument, NULL, OPT_LIMIT},
                                        {"losses", required_argument, NULL, OPT_LOSSES},
                                        {"raw", required_argument, NULL, OPT_RAW},
                                        {"no-picture", no_argument, NULL, OPT_NO_PICTURE},
                                        CLI_PRECISION_OPTION,
                                        CLI_COMMON_OPTIONS};

enum {
    HISTORY = 240,   /* frames in the plot: two per column */
    PLOT_ROWS = 4,   /* of four dots each */
    TEXT_WIDTH = 60, /* the figures need so many columns */
    MOST_WIDTH = 500,
    REDRAW_MS = 100,
    LINE_MS = 1000
};

typedef struct watch {
    cli_common common;
    const char *label_path;
    bool no_picture;
    cr_live_options live;
    cr_model *model;
    cr_class_names labels;
    const char *const *names;
    size_t name_count;
    char source[256];
    bool terminal, utf8, colours, truecolour;
    double begin_ms, shown_ms;
    long long frames;
    double latency[HISTORY]; /* a ring: frames % HISTORY is next */
} watch;

/* ---- the terminal ---- */

static const char enter_screen[] = "\033[?1049h\033[?25l\033[2J";
static const char leave_screen[] = "\033[0m\033[?25h\033[?1049l";
static struct termios before;
static volatile sig_atomic_t screen_on, keys_on, asked;
static cr_live *running;

/* Safe in a signal handler. */
static void restore_terminal(void)
{
    if (screen_on && write(STDOUT_FILENO, leave_screen, sizeof leave_screen - 1) < 0) return;
    screen_on = 0;
    if (keys_on) tcsetattr(STDIN_FILENO, TCSANOW, &before);
    keys_on = 0;
}

/* The first signal ends the run in order, a second one at once. */
static void on_signal(int number)
{
    if (asked) {
        restore_terminal();
        _exit(128 + number);
    }
    asked = 1;
    if (running) cr_live_stop(running);
}

static void catch_signals(void)
{
    const struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

/* Keys come one by one and are not shown; Ctrl-C stays a signal. */
static void take_terminal(const watch *w)
{
    if (!w->terminal) return;
    if (isatty(STDIN_FILENO) && !tcgetattr(STDIN_FILENO, &before)) {
        struct termios t = before;
        t.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
        t.c_cc[VMIN] = t.c_cc[VTIME] = 0;
        t.c_cc[VSUSP] = _POSIX_VDISABLE;
        keys_on = !tcsetattr(STDIN_FILENO, TCSANOW, &t);
    }
    screen_on = 1;
    fputs(enter_screen, stdout);
    fflush(stdout);
}

static bool quit_pressed(void)
{
    char key;
    while (keys_on && read(STDIN_FILENO, &key, 1) == 1)
        if (key == 'q') return true;
    return false;
}

static void size_of_terminal(int *width, int *height)
{
    struct winsize size = {0};
    ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    *width = size.ws_col >= 20 && size.ws_col <= MOST_WIDTH ? size.ws_col : 80;
    *height = size.ws_row >= 4 ? size.ws_row : 24;
}

static bool says(const char *variable, const char *a, const char *b)
{
    const char *text = getenv(variable);
    return text && (strstr(text, a) || strstr(text, b));
}

static void look_around(watch *w)
{
    const char *all = getenv("LC_ALL"), *type = getenv("LC_CTYPE");
    const char *which = all && *all ? "LC_ALL" : type && *type ? "LC_CTYPE" : "LANG";
    const char *term = getenv("TERM");
    w->terminal = isatty(STDOUT_FILENO) && !(term && !strcmp(term, "dumb"));
    w->utf8 = says(which, "UTF-8", "utf8");
    w->colours = !getenv("NO_COLOR");
    w->truecolour = says("COLORTERM", "truecolor", "24bit");
}

/* ---- text ---- */

/* At most `room` characters; control characters, also the two-byte ones, become '?'. */
static int put_text(FILE *to, const char *text, int room)
{
    int used = 0;
    for (const unsigned char *s = (const unsigned char *)text; *s; s++) {
        const bool inside = (*s & 0xc0) == 0x80; /* of a character of several bytes */
        if (!inside && used++ == room) return room;
        if (s[0] == 0xc2 && s[1] >= 0x80 && s[1] < 0xa0)
            s++, fputc('?', to);
        else
            fputc(*s < ' ' || *s == 127 ? '?' : *s, to);
    }
    return used;
}

/* Classes of a frame with how many there are, most first. */
typedef struct tally {
    int class_id, count;
} tally;

static int more_first(const void *a, const void *b)
{
    const tally *x = a, *y = b;
    return x->count != y->count ? (x->count < y->count) - (x->count > y->count)
                                : (x->class_id > y->class_id) - (x->class_id < y->class_id);
}

static size_t count_classes(const cr_detections *found, tally *out, size_t most)
{
    size_t n = 0;
    for (size_t i = 0; i < found->count; i++) {
        size_t k = 0;
        while (k < n && out[k].class_id != found->items[i].class_id) k++;
        if (k == most) continue;
        if (k == n) out[n++] = (tally){found->items[i].class_id, 0};
        out[k].count++;
    }
    qsort(out, n, sizeof *out, more_first);
    return n;
}

enum { MOST_CLASSES = 64 };

static void print_line(const watch *w, const cr_live_frame *f, double now)
{
    tally seen[MOST_CLASSES];
    char number[16];
    const size_t n = count_classes(f->found, seen, MOST_CLASSES);
    printf("%.1f s  %.1f FPS  model %.1f ms  latency %.1f ms  dropped %lld  lost %d  ",
           (now - w->begin_ms) / 1e3, f->fps, f->model_ms, f->latency_ms, f->dropped, f->losses);
    for (size_t i = 0; i < n; i++) {
        printf("%s%d ", i ? ", " : "", seen[i].count);
        put_text(stdout, cli_class_name(w->names, w->name_count, seen[i].class_id, number), 60);
    }
    puts(n ? "" : "nothing");
    fflush(stdout);
}

/* ---- the screen ---- */

static void end_line(FILE *to)
{
    fputs("\033[K\r\n", to);
}

static void put_utf8(FILE *to, unsigned code)
{
    fputc((int)(0xe0 | code >> 12), to);
    fputc((int)(0x80 | (code >> 6 & 63)), to);
    fputc((int)(0x80 | (code & 63)), to);
}

/* Dots of a braille cell that are filled up to `level` of 4, left and right column:
 * https://www.unicode.org/charts/PDF/U2800.pdf numbers them 1 2 3 7 and 4 5 6 8 downwards. */
static unsigned braille(int left, int right)
{
    static const unsigned char from_below[2][5] = {{0, 0x40, 0x44, 0x46, 0x47},
                                                   {0, 0x80, 0xa0, 0xb0, 0xb8}};
    return 0x2800u + from_below[0][left] + from_below[1][right];
}

static int level_in_row(double value, double most, int row)
{
    const int dots = (int)(value / most * PLOT_ROWS * 4 + .5) - (PLOT_ROWS - 1 - row) * 4;
    return dots < 0 ? 0 : dots > 4 ? 4 : dots;
}

static void draw_plot(const watch *w, FILE *to, int columns)
{
    const long long known = w->frames < 2 * columns ? w->frames : 2 * columns;
    double most = 1;
    for (long long i = w->frames - known; i < w->frames; i++)
        if (w->latency[i % HISTORY] > most) most = w->latency[i % HISTORY];
    fprintf(to, "latency of the last %lld frames, up to %.0f ms", known, most);
    end_line(to);
    for (int row = 0; row < PLOT_ROWS; row++) {
        for (int c = 0; c < columns; c++) {
            int level[2];
            for (int side = 0; side < 2; side++) {
                const long long i = w->frames - 2 * columns + 2 * c + side;
                level[side] = i < 0 ? 0 : level_in_row(w->latency[i % HISTORY], most, row);
            }
            if (w->utf8)
                put_utf8(to, braille(level[0], level[1]));
            else
                fputc(" .:|#"[level[0] > level[1] ? level[0] : level[1]], to);
        }
        end_line(to);
    }
}

static void draw_classes(const watch *w, const cr_live_frame *f, FILE *to, int width, int rows)
{
    tally seen[MOST_CLASSES];
    char number[16];
    const size_t n = count_classes(f->found, seen, MOST_CLASSES);
    for (size_t i = 0; i < (size_t)rows; i++) {
        if (i < n) {
            const char *name = cli_class_name(w->names, w->name_count, seen[i].class_id, number);
            fprintf(to, "%4d ", seen[i].count);
            fprintf(to, "%*s", 16 - put_text(to, name, 15), "");
            for (int k = 0; k < seen[i].count && k < width - 22; k++)
                if (w->utf8)
                    put_utf8(to, 0x2588);
                else
                    fputc('#', to);
        } else if (!i)
            fputs("   0 nothing", to);
        end_line(to);
    }
}

/* ---- the picture ---- */

static int clamp_byte(double v)
{
    return v < 0 ? 0 : v > 255 ? 255 : (int)(v + .5);
}

/* RGB of the block of the picture under a half cell, from up to 4 x 4 samples. */
static void colour_of(const cr_live_picture *p, int x0, int y0, int x1, int y1, int rgb[3])
{
    double sum[3] = {0};
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 4; k++) {
            const int y = y0 + (y1 - y0) * (2 * i + 1) / 8, x = x0 + (x1 - x0) * (2 * k + 1) / 8;
            sum[0] += p->plane[0][y * p->stride[0] + x] / 16.;
            sum[1] += p->plane[1][y / 2 * p->stride[1] + x / 2] / 16.;
            sum[2] += p->plane[2][y / 2 * p->stride[2] + x / 2] / 16.;
        }
    const double luma = p->full_range ? sum[0] : (sum[0] - 16) * (255. / 219);
    const double chroma = p->full_range ? 1 : 255. / 224;
    const double u = (sum[1] - 128) * chroma, v = (sum[2] - 128) * chroma;
    const double kr = p->bt709 ? .2126 : .299, kb = p->bt709 ? .0722 : .114;
    rgb[0] = clamp_byte(luma + 2 * (1 - kr) * v);
    rgb[1] = clamp_byte(luma - (2 * kb * (1 - kb) * u + 2 * kr * (1 - kr) * v) / (1 - kr - kb));
    rgb[2] = clamp_byte(luma + 2 * (1 - kb) * u);
}

/* ground: 38 for the character, 48 for what is behind it. */
static void set_colour(const watch *w, FILE *to, int ground, const int rgb[3])
{
    if (w->truecolour)
        fprintf(to, "\033[%d;2;%d;%d;%dm", ground, rgb[0], rgb[1], rgb[2]);
    else /* the cube of 6 x 6 x 6 */
        fprintf(to, "\033[%d;5;%dm", ground,
                16 + 36 * ((rgb[0] * 5 + 127) / 255) + 6 * ((rgb[1] * 5 + 127) / 255) +
                    (rgb[2] * 5 + 127) / 255);
}

/* A cell is about twice as high as it is wide, so its two halves are square pixels. */
static void draw_picture(const watch *w, const cr_live_picture *p, FILE *to, int columns, int rows)
{
    if (columns * p->height > 2 * rows * p->width) columns = 2 * rows * p->width / p->height;
    if (columns > p->width) columns = p->width;
    if (columns < 1) return;
    rows = columns * p->height / (2 * p->width);
    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < columns; c++) {
            const int x0 = c * p->width / columns, x1 = (c + 1) * p->width / columns;
            int half[2][3];
            for (int i = 0; i < 2; i++)
                colour_of(p, x0, (2 * r + i) * p->height / (2 * rows), x1,
                          (2 * r + i + 1) * p->height / (2 * rows), half[i]);
            set_colour(w, to, 48, half[1]);
            if (w->utf8) set_colour(w, to, 38, half[0]);
            if (w->utf8)
                put_utf8(to, 0x2580);
            else
                fputc(' ', to);
        }
        fputs("\033[0m", to);
        end_line(to);
    }
}

static void draw_screen(const watch *w, const cr_live_frame *f, double now)
{
    int width, height;
    char *text = NULL;
    size_t size;
    size_of_terminal(&width, &height);
    FILE *to = open_memstream(&text, &size);
    if (!to) return;
    const int plot = width < HISTORY / 2 ? width : HISTORY / 2;
    const int used = 2 + 1 + PLOT_ROWS, left = height - used - 1;
    const bool picture = f->picture && width >= TEXT_WIDTH && left >= 12;
    const int classes = left < 1 ? 0 : picture ? 4 : left;
    fputs("\033[H", to);
    put_text(to, w->source, width - 30 > 8 ? width - 30 : 8);
    fprintf(to, "  %dx%d  %.0f s  q quits", f->width, f->height, (now - w->begin_ms) / 1e3);
    end_line(to);
    fprintf(to, "%.1f FPS  %.1f ms  dropped %lld  lost %d", f->fps, f->model_ms, f->dropped,
            f->losses);
    end_line(to);
    if (left >= 0) draw_plot(w, to, plot);
    draw_classes(w, f, to, plot, classes);
    if (picture) draw_picture(w, f->picture, to, width, left - classes);
    fputs("\033[J", to);
    if (!fclose(to)) {
        fwrite(text, 1, size, stdout);
        fflush(stdout);
    }
    free(text);
}

/* ---- the run ---- */

static bool see(void *user, const cr_live_frame *f)
{
    watch *w = user;
    const double now = cli_now_ms();
    if (!w->frames) w->begin_ms = w->shown_ms = now;
    w->latency[w->frames++ % HISTORY] = f->latency_ms;
    if (w->frames == 1 && w->terminal) take_terminal(w);
    const bool due = now - w->shown_ms >= (w->terminal ? REDRAW_MS : LINE_MS);
    if (due || (w->terminal && w->frames == 1)) {
        w->shown_ms = now;
        if (w->terminal)
            draw_screen(w, f, now);
        else
            print_line(w, f, now);
    }
    return !ferror(stdout) && !asked && !quit_pressed();
}

static cr_status prepare(watch *w, char **argv, cr_error *err)
{
    cr_status st = cli_open_model(argv[0], &w->common, &w->model, err);
    if (st == CR_OK && w->label_path) st = cr_class_names_read(w->label_path, &w->labels, err);
    if (st != CR_OK) return st;
    const cr_model_info *info = cr_model_get_info(w->model);
    w->names = w->label_path ? (const char *const *)w->labels.items : info->names;
    w->name_count = w->label_path ? w->labels.count : info->name_count;
    cr_live_label(argv[1], w->source, sizeof w->source);
    w->live.threads = w->common.threads;
    w->live.realtime = true;
    w->live.names = w->names;
    w->live.name_count = w->name_count;
    w->live.pictures = w->terminal && w->colours && !w->no_picture;
    return CR_OK;
}

static cr_status run(watch *w, const char *source, cr_error *err)
{
    cr_live *live = NULL;
    if (!w->live.raw && !cr_live_is_source(source))
        return cli_error(err, CR_ERR_ARGUMENT,
                         "%s: no video, camera or stream; 'crayon detect' "
                         "takes pictures",
                         source);
    cr_status st = cr_live_create(w->model, source, &w->live, &live, err);
    if (st == CR_OK) {
        running = live;
        catch_signals();
        st = cr_live_run(live, see, w, err);
        running = NULL;
    }
    restore_terminal();
    if (st == CR_OK) {
        const cr_live_report r = cr_live_get_report(live);
        printf("%lld frames in %.1f s, %.1f FPS, model %.1f ms, latency %.1f ms, dropped %lld, "
               "lost %d times\n",
               r.frames, r.seconds, r.seconds > 0 ? (double)r.frames / r.seconds : 0, r.model_ms,
               r.latency_ms, r.dropped, r.losses);
    }
    cr_live_free(&live);
    return st;
}

static int take_option(int code, char **argv, watch *w)
{
    double real;
    long long n;
    switch (code) {
    case OPT_CONF:
        if (!cli_real("conf", optarg, 0, 1, &real)) return CLI_USAGE;
        w->live.detect.conf = (float)real;
        return CLI_DONE;
    case OPT_IOU:
        if (!cli_real("iou", optarg, 0, 1, &real)) return CLI_USAGE;
        w->live.detect.iou = (float)real;
        return CLI_DONE;
    case OPT_LABELS:
        w->label_path = optarg;
        return CLI_DONE;
    case OPT_LIMIT:
        return cli_integer("limit", optarg, 1, 1LL << 60, &w->live.limit) ? CLI_DONE : CLI_USAGE;
    case OPT_LOSSES:
        if (!cli_integer("losses", optarg, 0, 1000000, &n)) return CLI_USAGE;
        w->live.losses = (int)n;
        return CLI_DONE;
    case OPT_RAW:
        w->live.raw = optarg;
        return CLI_DONE;
    case OPT_NO_PICTURE:
        w->no_picture = true;
        return CLI_DONE;
    default:
        return cli_common_option(code, argv, &w->common);
    }
}

int cmd_watch(int argc, char **argv)
{
    watch w = {.live = cr_live_options_default()};
    cr_error err = {0};
    for (int c; (c = getopt_long(argc, argv, ":", options, NULL)) != -1;) {
        const int status = take_option(c, argv, &w);
        if (status) return status;
    }
    if (w.common.help) return cli_help(help);
    if (argc - optind != 2) return cli_usage("a model and one video, camera or stream are needed");
    look_around(&w);
    cr_status st = prepare(&w, argv + optind, &err);
    if (st == CR_OK) st = run(&w, argv[optind + 1], &err);
    cr_class_names_free(&w.labels);
    cr_model_free(&w.model);
    return st == CR_OK ? CLI_DONE : cli_fail(&err);
}
