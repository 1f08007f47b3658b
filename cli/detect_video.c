/* crayon detect on video: frames through crayon/live.h, a line of summary. */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "crayon/serve.h"
#include "detect.h"

static cr_live *running; /* for the signal handler */

static void stop_running(void)
{
    if (running) cr_live_stop(running);
}

/* --save: a folder gets a file of the source's name, a name of a video is the file. */
static cr_status target_of(const detect_job *j, const char *source, char **out, cr_error *err)
{
    const char *save = j->set.save, *base = cli_base_name(source);
    const bool named = cr_live_is_source(base) && strcmp(base, "-") && strchr(base, '.');
    struct stat s;
    *out = NULL;
    if (!save) return CR_OK;
    const bool folder = stat(save, &s) ? !cr_live_is_source(save) : S_ISDIR(s.st_mode);
    const size_t size = strlen(save) + strlen(base) + 16;
    *out = malloc(size);
    if (!*out) return cli_error(err, CR_ERR_MEMORY, "out of memory");
    if (!folder)
        snprintf(*out, size, "%s", save);
    else
        snprintf(*out, size, "%s%s%s", save, save[strlen(save) - 1] == '/' ? "" : "/",
                 named ? base : "live.mp4");
    const cr_status st = folder ? cli_make_folder(save, err) : CR_OK;
    if (st != CR_OK || !cli_same_file(source, *out)) return st;
    return cli_error(err, CR_ERR_ARGUMENT, "--save %s: would overwrite the source", save);
}

typedef struct view {
    detect_job *job;
    char source[512];       /* as it is shown */
    long long frames, most; /* frames: so far; most: expected, 0 if unknown */
    int width, height;
    cr_server *server; /* NULL without --serve */
    cr_live *live;
    cli_window *window;       /* NULL without --view */
    cr_detect_options detect; /* as the window's keys have left it */
    cli_on_detect *hook;      /* NULL without --on-detect */
    char clip[1100];          /* that the last frame was in */
    cr_status status;         /* of what went wrong in see() */
    cr_error err;
} view;

/* ---- --view ---- */

/* The frame as it is drawn, beside --save's files or here. */
static cr_status save_frame(const view *v, const cr_live_frame *f, cr_error *err)
{
    const char *save = v->job->set.save, *base = cli_base_name(v->source);
    struct stat s;
    char path[1200];
    const bool folder = save && !stat(save, &s) && S_ISDIR(s.st_mode);
    const char *slash = save && !folder ? strrchr(save, '/') : NULL;
    const int n = folder ? (int)strlen(save) : slash ? (int)(slash - save) : 1;
    cr_image picture = {0};
    snprintf(path, sizeof path, "%.*s/%.200s-%06lld.png", n, folder || slash ? save : ".",
             strcmp(base, "-") ? base : "live", f->index);
    cr_status st = cr_live_picture_to_image(f->picture, &picture, err);
    if (st == CR_OK) st = cr_image_write(path, &picture, err);
    cr_image_free(&picture);
    cli_progress_clear();
    if (st == CR_OK) fprintf(stderr, "crayon: saved %s\n", path);
    return st;
}

static cr_status move_conf(view *v, int steps, cr_error *err)
{
    const float conf = v->detect.conf + .05f * (float)steps;
    v->detect.conf = conf < .01f ? .01f : conf > .95f ? .95f : conf;
    return cr_live_set_detect(v->live, &v->detect, err);
}

/* Shows the frame and does what keys ask for, for as long as the view is paused; *on: do not quit.
 * A picture that cannot be saved is a warning, not the end of a run. */
static cr_status show_window(view *v, const cr_live_frame *f, bool *on, cr_error *err)
{
    char title[320];
    cli_wish wish;
    snprintf(title, sizeof title, "%.200s  %.1f FPS  confidence %.2f", v->source, f->fps,
             (double)v->detect.conf);
    cr_status st = cli_window_show(v->window, f->picture, title, err);
    do {
        if (st != CR_OK) return st;
        wish = cli_window_poll(v->window);
        if (wish.conf_steps) st = move_conf(v, wish.conf_steps, err);
        cr_error why;
        if (wish.save && save_frame(v, f, &why) != CR_OK) cli_warn("%s", why.message);
        *on = !wish.quit && cli_step("detecting", (uint64_t)v->frames, (uint64_t)v->most);
    } while (wish.paused && *on);
    return st;
}

/* ---- --on-detect ---- */

static char *json_line(const view *v, const cr_live_frame *f)
{
    char *line = NULL;
    size_t size;
    FILE *to = open_memstream(&line, &size);
    if (!to) return NULL;
    detect_write_json(v->job, to, v->source, f->index, f->width, f->height, f->found,
                      f->clip);
    return fclose(to) ? NULL : line;
}

static void tell_hook(const view *v, const cr_live_frame *f)
{
    if (f->appeared) {
        char *line = json_line(v, f);
        if (line) cli_on_detect_take(v->hook, line);
    }
    cli_on_detect_step(v->hook);
}

/* ---- --clip ---- */

static const char *clip_folder(const detect_job *j)
{
    return j->set.live.clip_folder ? j->set.live.clip_folder : "clips";
}

static void tell_clip(view *v, const cr_live_frame *f)
{
    const bool fresh = f->clip && strcmp(f->clip, v->clip);
    snprintf(v->clip, sizeof v->clip, "%s", f->clip ? f->clip : "");
    if (!fresh) return;
    cli_progress_clear();
    fprintf(stderr, "crayon: clip %s\n", v->clip);
}

/* ---- a run ---- */

static bool see(void *user, const cr_live_frame *f)
{
    view *v = user;
    v->width = f->width;
    v->height = f->height;
    if (v->job->json.stream)
        detect_write_json(v->job, v->job->json.stream, v->source, f->index, f->width, f->height,
                          f->found, f->clip);
    if (v->server) cr_server_show(v->server, f);
    if (v->hook) tell_hook(v, f);
    if (v->job->set.live.clip > 0) tell_clip(v, f);
    bool on = true;
    if (v->window) v->status = show_window(v, f, &on, &v->err);
    return on && v->status == CR_OK &&
           cli_step("detecting", (uint64_t)++v->frames, (uint64_t)v->most) &&
           !(v->job->json.stream && ferror(v->job->json.stream));
}

static void print_counts(const detect_job *j, const cr_live_report *r, FILE *to)
{
    if (j->set.live.track) fprintf(to, "tracks       %d\n", r->tracks);
    for (int i = 0; i < j->set.live.zone_count; i++) {
        const cr_zone_counts *n = &r->zones[i];
        if (j->set.live.zones[i].points == 2)
            fprintf(to, "line %d       %lld to its right, %lld to its left\n", i + 1, n->forward,
                    n->backward);
        else
            fprintf(to, "zone %d       %lld in, %lld out, %lld inside at the end\n", i + 1,
                    n->forward, n->backward, n->inside);
    }
}

static void print_summary(const detect_job *j, const view *v, const char *saved,
                          const cr_live_report *r)
{
    FILE *to = j->json.stream == stdout ? stderr : stdout;
    cli_progress_clear();
    fprintf(to, "%s %dx%d: %lld frames in %.1f s, %.1f FPS, model %.1f ms a frame",
            cli_base_name(v->source), v->width, v->height, r->frames, r->seconds,
            r->seconds > 0 ? (double)r->frames / r->seconds : 0, r->model_ms);
    if (r->newest) fprintf(to, ", shown %.1f ms after it came", r->latency_ms);
    if (r->dropped) fprintf(to, ", %lld dropped for newer ones", r->dropped);
    if (r->losses) fprintf(to, ", lost %d times", r->losses);
    fputc('\n', to);
    print_counts(j, r, to);
    if (v->hook) cli_on_detect_print(v->hook, to);
    if (j->set.live.clip > 0)
        fprintf(to, "clips        %lld in %s\n", r->clips, clip_folder(j));
    if (saved) fprintf(to, "saved        %s (%s)\n", saved, r->codec);
    if (r->audio_left_out) cli_warn("%s: cannot hold the source's sound, which is left out", saved);
}

static cr_status open_server(view *v, cr_live *live, cr_error *err)
{
    const detect_job *j = v->job;
    const cr_model_info *info = cr_model_get_info(j->model);
    cr_server_options o = cr_server_options_default();
    if (!j->set.serve) return CR_OK;
    o.address = j->set.serve;
    o.token = j->set.token;
    o.title = cli_base_name(v->source);
    o.names = j->names;
    o.name_count = j->name_count;
    o.class_count = info->head.classes;
    o.model = cli_base_name(j->set.model_path);
    o.versus = j->versus ? cli_base_name(j->set.versus) : NULL;
    o.detect = j->set.detect;
    const cr_status st = cr_server_create(live, &o, &v->server, err);
    if (st == CR_OK) {
        fprintf(stderr, "crayon: serving %s\n", cr_server_url(v->server));
        fflush(stderr);
    }
    return st;
}

/* A file in the window runs at its own pace, every frame of it, so that it can be paused. */
static cr_live_options options_of(const detect_job *j, const char *source, const char *saved)
{
    cr_live_options o = j->set.live;
    o.threads = j->set.common.threads;
    o.detect = j->set.detect;
    o.names = j->names;
    o.name_count = j->name_count;
    o.save = saved;
    o.clip_folder = clip_folder(j);
    o.panel = !j->set.no_panel;
    o.versus = j->versus;
    o.pictures = j->set.serve || j->set.view;
    if (j->set.serve || j->set.view) o.realtime = true;
    if (j->set.view && !j->set.serve && o.mode == CR_LIVE_AUTO && !cr_live_is_stream(source))
        o.mode = CR_LIVE_EVERY_FRAME;
    return o;
}

cr_status detect_video(detect_job *j, const char *source, cr_error *err)
{
    view v = {.job = j, .most = j->set.live.limit, .detect = j->set.detect};
    char *saved;
    cr_live_label(source, v.source, sizeof v.source);
    cr_status st = target_of(j, source, &saved, err);
    const cr_live_options o = options_of(j, source, saved);
    cr_live *live = NULL;
    if (st == CR_OK && o.clip > 0) st = cli_make_folder(o.clip_folder, err);
    if (st == CR_OK && j->set.on_detect)
        st = cli_on_detect_create(j->set.on_detect, j->set.every, &v.hook, err);
    if (st == CR_OK && j->set.view) st = cli_window_open(&v.window, err);
    if (st == CR_OK) st = cr_live_create(j->model, source, &o, &live, err);
    if (st == CR_OK) st = open_server(&v, live, err);
    if (st == CR_OK) {
        running = v.live = live;
        cli_at_interrupt(stop_running);
        st = cr_live_run(live, see, &v, err);
        cli_at_interrupt(NULL);
        running = NULL;
    }
    cli_window_close(&v.window);
    cr_server_free(&v.server);
    if (v.hook) cli_on_detect_finish(v.hook);
    if (st == CR_OK && v.status != CR_OK) {
        st = v.status;
        *err = v.err;
    }
    if (st == CR_OK) {
        const cr_live_report r = cr_live_get_report(live);
        print_summary(j, &v, saved, &r);
    }
    cli_on_detect_free(&v.hook);
    cr_live_free(&live);
    free(saved);
    return st;
}
