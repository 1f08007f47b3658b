/* crayon detect on video: frames through crayon/live.h, a line of summary. */
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
} view;

static bool see(void *user, const cr_live_frame *f)
{
    view *v = user;
    v->width = f->width;
    v->height = f->height;
    if (v->job->json.stream)
        detect_write_json(v->job, v->source, f->index, f->width, f->height, f->found);
    if (v->server) cr_server_show(v->server, f);
    return cli_step("detecting", (uint64_t)++v->frames, (uint64_t)v->most) &&
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

static cr_live_options options_of(const detect_job *j, const char *saved)
{
    cr_live_options o = j->set.live;
    o.threads = j->set.common.threads;
    o.detect = j->set.detect;
    o.names = j->names;
    o.name_count = j->name_count;
    o.save = saved;
    o.panel = !j->set.no_panel;
    o.versus = j->versus;
    o.pictures = j->set.serve;
    if (j->set.serve) o.realtime = true;
    return o;
}

cr_status detect_video(detect_job *j, const char *source, cr_error *err)
{
    view v = {.job = j, .most = j->set.live.limit};
    char *saved;
    cr_live_label(source, v.source, sizeof v.source);
    cr_status st = target_of(j, source, &saved, err);
    const cr_live_options o = options_of(j, saved);
    cr_live *live = NULL;
    if (st == CR_OK) st = cr_live_create(j->model, source, &o, &live, err);
    if (st == CR_OK) st = open_server(&v, live, err);
    if (st == CR_OK) {
        running = live;
        cli_at_interrupt(stop_running);
        st = cr_live_run(live, see, &v, err);
        cli_at_interrupt(NULL);
        running = NULL;
    }
    cr_server_free(&v.server);
    if (st == CR_OK) {
        const cr_live_report r = cr_live_get_report(live);
        print_summary(j, &v, saved, &r);
    }
    cr_live_free(&live);
    free(saved);
    return st;
}
