/* crayon detect: objects in pictures, as lines, as JSON, or drawn into copies of the pictures. */
#define _XOPEN_SOURCE 700
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "detect.h"

static const char help[] =
    "usage: crayon detect MODEL SOURCE... [options]\n"
    "\n"
    "Finds objects in pictures and video. A source is a JPEG or PNG file, a folder, a .txt list, "
    "a\n"
    "quoted glob pattern, a video file, a camera (0, /dev/video0), a stream (rtsp://, http://) or "
    "-\n"
    "for video on standard input. Prints one line per picture (a classifier's five best classes,\n"
    "else counts), a summary of a video.\n"
    "\n"
    "  --conf P             keep detections of at least this score, 0..1 (0.25)\n"
    "  --iou P              of two boxes of one class that overlap more, keep the better (0.7)\n"
    "  --max-det N          at most so many per picture (300)\n"
    "  --classes LIST       only these classes: names or numbers, separated by commas\n"
    "  --labels FILE        class names for a model that has none: one per line, or a data.yaml\n"
    "  --save DIR           write pictures and videos there, with the boxes drawn; of one video\n"
    "                       also the file to write: out.mp4\n"
    "  --json FILE|-        write one JSON object per picture and line; - is standard "
    "output\n"
    "  --preset NAME        --save: libx264's effort: ultrafast, superfast (half the bytes for "
    "half\n"
    "                       as much time again), veryfast, ... (ultrafast)\n"
    "  --decoder D          video: auto: the hardware's where that works; software; or vaapi, "
    "cuda,\n"
    "                       videotoolbox, d3d11va, drm, v4l2m2m (auto)\n"
    "  --start S            video: leave out the first S seconds\n"
    "  --stride N           video: look at every N-th frame only (1)\n"
    "  --limit N            video: stop after N frames\n"
    "  --every-frame        cameras, streams: look at every frame, however late\n"
    "  --newest             files: look at the newest frame only, like a camera's\n"
    "  --losses N           open a lost camera or stream again N times (for ever)\n"
    "  --raw WxH[:FMT][@R]  standard input or file of raw frames (FMT yuv420p, rate R 30)\n"
    "  --track              number objects and follow them from frame to frame (ByteTrack)\n"
    "  --count X,Y,X,Y,...  count what crosses a line (two points), or is in a zone (three and\n"
    "                       more), in pixels; may be given up to 8 times; implies --track\n"
    "  --realtime           files: at the pace of the video, as from a camera\n"
    "  --serve HOST:PORT    video: a page with the live picture, thresholds, classes and figures\n"
    "                       (:8080 is this machine alone), at the pace of the video\n"
    "  --token T            what --serve asks of viewers; needed for other machines\n"
    "  --versus MODEL       --serve: another model on the same frames, side by side\n"
    "  --view               video: a window; space pauses, + and - move the confidence, s saves "
    "the\n"
    "                       frame as PNG (beside --save's), q quits\n"
    "  --on-detect COMMAND  video: run it by sh when something appears: a new track, else a class\n"
    "                       that the frame before had not. The frame's JSON line is its standard\n"
    "                       input, and {json} in it one parameter. One at a time\n"
    "  --every S            --on-detect: at least S seconds from one command to the next (0)\n"
    "  --clip S             video: a clip of everything that appears, drawn, without sound, from "
    "S\n"
    "                       seconds before it to S seconds after the last that did\n"
    "  --clips DIR          --clip: where to (clips)\n"
    "  --no-panel           do not draw frames per second and milliseconds\n" CLI_PRECISION_HELP
        CLI_COMMON_HELP "\n"
    "JSON: {\"image\", \"frame\", \"width\", \"height\", \"detections\": [{\"class\", \"name\", "
    "\"score\",\n"
    "\"box\": [x1, y1, x2, y2]}]}, boxes in pixels of the source, best first; pose models add\n"
    "\"keypoints\": [[x, y, score], ...], segmentation \"mask\": {\"size\", \"counts\"} as COCO "
    "codes\n"
    "it, oriented boxes \"corners\": [[x, y], ...], --track \"id\"; classifiers have no \"box\".\n"
    "--clip: frames have the path of their clip, \"clip\", from the one in which something appears\n"
    "to the clip's last; those before it were printed when nobody knew of a clip.\n"
    "\n"
    "example:\n"
    "  $ crayon detect yolov8n.onnx bus.jpg --save found/\n"
    "  bus.jpg 810x1080: 4 person, 1 bus  23.4 ms\n"
    "  $ crayon detect yolov8n-int8.onnx street.webm --save out.mp4\n"
    "  street.webm 1280x720: 313 frames in 3.6 s, 86.9 FPS, model 20.1 ms a frame\n"
    "  saved        out.mp4 (libx264)\n";

/* ---- options ---- */

enum {
    OPT_CONF = 256,
    OPT_IOU,
    OPT_MAX_DET,
    OPT_CLASSES,
    OPT_LABELS,
    OPT_SAVE,
    OPT_JSON,
    OPT_START,
    OPT_STRIDE,
    OPT_LIMIT,
    OPT_EVERY_FRAME,
    OPT_NEWEST,
    OPT_LOSSES,
    OPT_RAW,
    OPT_NO_PANEL,
    OPT_REALTIME,
    OPT_SERVE,
    OPT_TOKEN,
    OPT_VERSUS,
    OPT_TRACK,
    OPT_PRESET,
    OPT_DECODER,
    OPT_COUNT,
    OPT_VIEW,
    OPT_ON_DETECT,
    OPT_EVERY,
    OPT_CLIP,
    OPT_CLIPS
};

static const struct option options[] = {{"conf", required_argument, NULL, OPT_CONF},
                                        {"iou", required_argument, NULL, OPT_IOU},
                                        {"max-det", required_argument, NULL, OPT_MAX_DET},
                                        {"classes", required_argument, NULL, OPT_CLASSES},
                                        {"labels", required_argument, NULL, OPT_LABELS},
                                        {"save", required_argument, NULL, OPT_SAVE},
                                        {"json", required_argument, NULL, OPT_JSON},
                                        {"start", required_argument, NULL, OPT_START},
                                        {"stride", required_argument, NULL, OPT_STRIDE},
                                        {"limit", required_argument, NULL, OPT_LIMIT},
                                        {"every-frame", no_argument, NULL, OPT_EVERY_FRAME},
                                        {"newest", no_argument, NULL, OPT_NEWEST},
                                        {"losses", required_argument, NULL, OPT_LOSSES},
                                        {"raw", required_argument, NULL, OPT_RAW},
                                        {"no-panel", no_argument, NULL, OPT_NO_PANEL},
                                        {"realtime", no_argument, NULL, OPT_REALTIME},
                                        {"serve", required_argument, NULL, OPT_SERVE},
                                        {"token", required_argument, NULL, OPT_TOKEN},
                                        {"versus", required_argument, NULL, OPT_VERSUS},
                                        {"preset", required_argument, NULL, OPT_PRESET},
                                        {"decoder", required_argument, NULL, OPT_DECODER},
                                        {"track", no_argument, NULL, OPT_TRACK},
                                        {"count", required_argument, NULL, OPT_COUNT},
                                        {"view", no_argument, NULL, OPT_VIEW},
                                        {"on-detect", required_argument, NULL, OPT_ON_DETECT},
                                        {"every", required_argument, NULL, OPT_EVERY},
                                        {"clip", required_argument, NULL, OPT_CLIP},
                                        {"clips", required_argument, NULL, OPT_CLIPS},
                                        CLI_PRECISION_OPTION,
                                        CLI_COMMON_OPTIONS};

static int take_decoder(const char *text, cr_live_options *o)
{
    static const char *const decoders[] = {"auto",    "software", "vaapi",   "cuda", "videotoolbox",
                                           "d3d11va", "drm",      "v4l2m2m", NULL};
    int which;
    if (!cli_choice("decoder", text, decoders, &which)) return CLI_USAGE;
    o->decoder = decoders[which];
    return CLI_DONE;
}

static int take_preset(const char *text, cr_live_options *o)
{
    static const char *const presets[] = {"ultrafast", "superfast", "veryfast", "faster",
                                          "fast",      "medium",    "slow",     NULL};
    int which;
    if (!cli_choice("preset", text, presets, &which)) return CLI_USAGE;
    o->preset = presets[which];
    return CLI_DONE;
}

/* "0,360,1280,360": points of a line or zone. */
static int take_zone(const char *text, cr_live_options *o)
{
    cr_zone z = {0};
    const char *rest = text;
    for (int i = 0; i < CR_MAX_ZONE_POINTS; i++) {
        int used = 0;
        if (sscanf(rest, "%f,%f%n", &z.x[i], &z.y[i], &used) != 2) break;
        rest += used;
        z.points++;
        if (*rest != ',') break;
        rest++;
    }
    if (*rest || z.points < 2)
        return cli_usage("--count: '%s' is not X,Y,X,Y or more points, up to %d", text,
                         CR_MAX_ZONE_POINTS);
    if (o->zone_count == CR_MAX_ZONES)
        return cli_usage("--count: at most %d lines and zones", CR_MAX_ZONES);
    o->zones[o->zone_count++] = z;
    return CLI_DONE;
}

static int take_video_option(int code, char **argv, detect_settings *s)
{
    long long n;
    switch (code) {
    case OPT_START:
        return cli_real("start", optarg, 0, 1e9, &s->live.start) ? CLI_DONE : CLI_USAGE;
    case OPT_STRIDE:
        return cli_integer("stride", optarg, 1, 1000000, &s->live.stride) ? CLI_DONE : CLI_USAGE;
    case OPT_LIMIT:
        return cli_integer("limit", optarg, 1, 1LL << 60, &s->live.limit) ? CLI_DONE : CLI_USAGE;
    case OPT_EVERY_FRAME:
        s->live.mode = CR_LIVE_EVERY_FRAME;
        return CLI_DONE;
    case OPT_NEWEST:
        s->live.mode = CR_LIVE_NEWEST;
        return CLI_DONE;
    case OPT_LOSSES:
        if (!cli_integer("losses", optarg, 0, 1000000, &n)) return CLI_USAGE;
        s->live.losses = (int)n;
        return CLI_DONE;
    case OPT_RAW:
        s->live.raw = optarg;
        return CLI_DONE;
    case OPT_DECODER:
        return take_decoder(optarg, &s->live);
    case OPT_PRESET:
        return take_preset(optarg, &s->live);
    case OPT_TRACK:
        s->live.track = true;
        return CLI_DONE;
    case OPT_COUNT:
        s->live.track = true;
        return take_zone(optarg, &s->live);
    case OPT_REALTIME:
        s->live.realtime = true;
        return CLI_DONE;
    case OPT_SERVE:
        s->serve = optarg;
        return CLI_DONE;
    case OPT_TOKEN:
        s->token = optarg;
        return CLI_DONE;
    case OPT_VERSUS:
        s->versus = optarg;
        return CLI_DONE;
    case OPT_VIEW:
        s->view = true;
        return CLI_DONE;
    case OPT_ON_DETECT:
        s->on_detect = optarg;
        return CLI_DONE;
    case OPT_EVERY:
        return cli_real("every", optarg, 0, 1e9, &s->every) ? CLI_DONE : CLI_USAGE;
    case OPT_CLIP:
        return cli_real("clip", optarg, .1, 300, &s->live.clip) ? CLI_DONE : CLI_USAGE;
    case OPT_CLIPS:
        s->live.clip_folder = optarg;
        return CLI_DONE;
    case OPT_NO_PANEL:
        s->no_panel = true;
        return CLI_DONE;
    default:
        return cli_common_option(code, argv, &s->common);
    }
}

static int take_option(int code, char **argv, detect_settings *s)
{
    double real;
    long long n;
    switch (code) {
    case OPT_CONF:
        if (!cli_real("conf", optarg, 0, 1, &real)) return CLI_USAGE;
        s->detect.conf = (float)real;
        return CLI_DONE;
    case OPT_IOU:
        if (!cli_real("iou", optarg, 0, 1, &real)) return CLI_USAGE;
        s->detect.iou = (float)real;
        return CLI_DONE;
    case OPT_MAX_DET:
        if (!cli_integer("max-det", optarg, 1, 1000000, &n)) return CLI_USAGE;
        s->detect.max_detections = (int)n;
        return CLI_DONE;
    case OPT_CLASSES:
        s->class_list = optarg;
        return CLI_DONE;
    case OPT_LABELS:
        s->label_path = optarg;
        return CLI_DONE;
    case OPT_SAVE:
        s->save = optarg;
        return CLI_DONE;
    case OPT_JSON:
        s->json = optarg;
        return CLI_DONE;
    default:
        return take_video_option(code, argv, s);
    }
}

/* ---- class names ---- */

static cr_status load_labels(detect_job *j, cr_error *err)
{
    const cr_status st = cr_class_names_read(j->set.label_path, &j->labels, err);
    j->names = (const char *const *)j->labels.items;
    j->name_count = j->labels.count;
    return st;
}

static int class_by_name(const detect_job *j, const char *name)
{
    for (size_t i = 0; i < j->name_count; i++)
        if (!strcmp(j->names[i], name)) return (int)i;
    char *end;
    const long n = strtol(name, &end, 10);
    const int classes = cr_model_get_info(j->model)->head.classes;
    return end != name && !*end && n >= 0 && n < classes ? (int)n : -1;
}

static cr_status choose_classes(detect_job *j, cr_error *err)
{
    char *list = strdup(j->set.class_list), *rest = list;
    j->classes = malloc((strlen(j->set.class_list) + 1) * sizeof *j->classes);
    cr_status st = CR_OK;
    if (!list || !j->classes) st = cli_error(err, CR_ERR_MEMORY, "out of memory");
    size_t n = 0;
    for (char *name; st == CR_OK && (name = strtok_r(rest, ",", &rest));) {
        const int id = class_by_name(j, name + strspn(name, " "));
        if (id < 0)
            st = cli_error(err, CR_ERR_ARGUMENT, "--classes: %s has no class '%s'",
                           j->set.model_path, name);
        j->classes[n++] = id;
    }
    free(list);
    if (st == CR_OK && !n) st = cli_error(err, CR_ERR_ARGUMENT, "--classes: the list is empty");
    j->set.detect.classes = j->classes;
    j->set.detect.class_count = n;
    return st;
}

/* ---- sources ---- */

static cr_status open_sources(detect_job *j, int count, char **specs, cr_error *err)
{
    size_t total = 0;
    j->sources = calloc((size_t)count, sizeof *j->sources);
    if (!j->sources) return cli_error(err, CR_ERR_MEMORY, "out of memory");
    for (; j->source_count < count; j->source_count++) {
        const cr_status st =
            cr_image_list_open(specs[j->source_count], &j->sources[j->source_count], err);
        if (st != CR_OK) return st;
        total += j->sources[j->source_count].count;
    }
    j->paths = malloc(total * sizeof *j->paths);
    if (!j->paths) return cli_error(err, CR_ERR_MEMORY, "out of memory");
    for (int i = 0; i < count; i++)
        for (size_t k = 0; k < j->sources[i].count; k++)
            j->paths[j->path_count++] = j->sources[i].paths[k];
    return CR_OK;
}

static int by_base_name(const void *a, const void *b)
{
    return strcmp(cli_base_name(*(char *const *)a), cli_base_name(*(char *const *)b));
}

/* Two pictures of one name would overwrite each other in --save DIR. */
static cr_status check_names_differ(const detect_job *j, cr_error *err)
{
    const size_t n = j->path_count;
    char **sorted = malloc(n * sizeof *sorted);
    if (!sorted) return cli_error(err, CR_ERR_MEMORY, "out of memory");
    memcpy(sorted, j->paths, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_base_name);
    cr_status st = CR_OK;
    for (size_t i = 1; st == CR_OK && i < n; i++)
        if (!by_base_name(&sorted[i - 1], &sorted[i]))
            st = cli_error(err, CR_ERR_ARGUMENT,
                           "--save %s: %s and %s would get the same name; save them apart",
                           j->set.save, sorted[i - 1], sorted[i]);
    free(sorted);
    return st;
}

/* ---- results ---- */

static void write_keypoints(cli_json *out, const float *keypoints, int count)
{
    cli_json_open(out, "keypoints", '[');
    for (int k = 0; k < count; k++) {
        cli_json_open(out, NULL, '[');
        for (int i = 0; i < 3; i++) cli_json_float(out, NULL, keypoints[3 * k + i]);
        cli_json_close(out, ']');
    }
    cli_json_close(out, ']');
}

static void write_corners(cli_json *out, const float corners[8])
{
    cli_json_open(out, "corners", '[');
    for (int k = 0; k < 4; k++) {
        cli_json_open(out, NULL, '[');
        cli_json_float(out, NULL, corners[2 * k]);
        cli_json_float(out, NULL, corners[2 * k + 1]);
        cli_json_close(out, ']');
    }
    cli_json_close(out, ']');
}

/* COCO's form; left out if there is no memory for it. */
static void write_mask(cli_json *out, const cr_mask *mask, int width, int height)
{
    char *counts;
    if (cr_mask_to_rle(mask, width, height, &counts, NULL) != CR_OK) return;
    cli_json_open(out, "mask", '{');
    cli_json_open(out, "size", '[');
    cli_json_integer(out, NULL, height);
    cli_json_integer(out, NULL, width);
    cli_json_close(out, ']');
    cli_json_string(out, "counts", counts);
    cli_json_close(out, '}');
    free(counts);
}

void detect_write_json(const detect_job *j, FILE *to, const char *path, long long frame, int width,
                       int height, const cr_detections *found, const char *clip)
{
    const bool classify = cr_model_get_info(j->model)->head.kind == CR_HEAD_CLASSIFY;
    cli_json out = {.out = to};
    char number[16];
    cli_json_open(&out, NULL, '{');
    cli_json_string(&out, "image", path);
    cli_json_integer(&out, "frame", frame);
    cli_json_integer(&out, "width", width);
    cli_json_integer(&out, "height", height);
    if (clip) cli_json_string(&out, "clip", clip);
    cli_json_open(&out, "detections", '[');
    for (size_t i = 0; i < found->count; i++) {
        const cr_detection *d = &found->items[i];
        cli_json_open(&out, NULL, '{');
        cli_json_integer(&out, "class", d->class_id);
        cli_json_string(&out, "name", cli_class_name(j->names, j->name_count, d->class_id, number));
        cli_json_float(&out, "score", d->score);
        if (!classify) {
            cli_json_open(&out, "box", '[');
            for (int k = 0; k < 4; k++) cli_json_float(&out, NULL, d->box[k]);
            cli_json_close(&out, ']');
        }
        if (d->oriented) write_corners(&out, d->corners);
        if (d->mask) write_mask(&out, d->mask, width, height);
        if (d->track) cli_json_integer(&out, "id", d->track);
        if (d->keypoints) write_keypoints(&out, d->keypoints, found->keypoint_count);
        cli_json_close(&out, '}');
    }
    cli_json_close(&out, ']');
    cli_json_close(&out, '}');
    fputc('\n', to);
}

void detect_print_counts(const detect_job *j, const cr_detections *found, FILE *to)
{
    char number[16];
    bool first = true;
    if (!found->count) fputs(" nothing", to);
    for (size_t i = 0; i < found->count; i++) {
        const int id = found->items[i].class_id;
        size_t count = 0;
        bool seen = false;
        for (size_t k = 0; k < found->count; k++) {
            if (found->items[k].class_id != id) continue;
            if (k < i) seen = true;
            count++;
        }
        if (seen) continue;
        fprintf(to, "%s %zu %s", first ? "" : ",", count,
                cli_class_name(j->names, j->name_count, id, number));
        first = false;
    }
}

static void print_line(const detect_job *j, const char *path, const cli_fitted *fitted,
                       const cr_detections *found, bool classify)
{
    char number[16];
    const cr_detect_times t = cr_detector_times(j->detector);
    cli_progress_clear();
    printf("%s %dx%d:", cli_base_name(path), fitted->picture.width, fitted->picture.height);
    if (!classify) detect_print_counts(j, found, stdout);
    for (size_t i = 0; classify && i < found->count; i++)
        printf("%s %s %.2f", i ? "," : "",
               cli_class_name(j->names, j->name_count, found->items[i].class_id, number),
               (double)found->items[i].score);
    printf("  %.1f ms\n", fitted->fit_ms + t.preprocess_ms + t.run_ms + t.decode_ms);
}

/* The annotated copy never goes over the picture itself. */
static cr_status save_picture(const detect_job *j, const char *path, cr_image *picture,
                              const cr_detections *found, cr_error *err)
{
    char target[PATH_MAX], real_source[PATH_MAX], real_target[PATH_MAX];
    const int n = snprintf(target, sizeof target, "%s/%s", j->set.save, cli_base_name(path));
    if (n < 0 || (size_t)n >= sizeof target)
        return cli_error(err, CR_ERR_ARGUMENT, "--save %.200s: the path is too long", j->set.save);
    if (realpath(path, real_source) && realpath(target, real_target) &&
        !strcmp(real_source, real_target))
        return cli_error(err, CR_ERR_ARGUMENT,
                         "--save %s: would overwrite the source %s; give another folder",
                         j->set.save, path);
    const cr_status st = cr_draw_detections(picture, found, j->names, j->name_count, err);
    return st == CR_OK ? cr_image_write(target, picture, err) : st;
}

/* ---- the run ---- */

static cr_status run_picture(detect_job *j, size_t index, cr_error *err)
{
    const char *path = j->paths[index];
    const bool classify = cr_model_get_info(j->model)->head.kind == CR_HEAD_CLASSIFY;
    cli_fitted *fitted;
    cr_detections found = {0};
    cr_status st = cli_reader_next(j->reader, &fitted, err);
    if (st != CR_OK) return st;
    cr_image *const picture = &fitted->picture;
    st = cr_detector_run_pixels(j->detector, fitted->pixels, &fitted->place, &j->set.detect, &found,
                                err);
    if (st == CR_OK && j->set.save) st = save_picture(j, path, picture, &found, err);
    if (st == CR_OK && j->json.stream)
        detect_write_json(j, j->json.stream, path, (long long)index, picture->width,
                          picture->height, &found, NULL);
    if (st == CR_OK && j->json.stream != stdout) print_line(j, path, fitted, &found, classify);
    cr_detections_free(&found);
    if (st == CR_OK && !cli_step("detecting", index + 1, j->path_count))
        st = cli_error(err, CR_ERR_CANCELLED, "cancelled");
    return st;
}

static cr_status prepare(detect_job *j, cr_error *err)
{
    cr_status st = cli_open_model(j->set.model_path, &j->set.common, &j->model, err);
    if (st != CR_OK) return st;
    j->names = cr_model_get_info(j->model)->names;
    j->name_count = cr_model_get_info(j->model)->name_count;
    if (j->set.label_path) st = load_labels(j, err);
    if (st == CR_OK && j->set.class_list) st = choose_classes(j, err);
    if (st == CR_OK && j->set.json) st = cli_file_open(&j->json, j->set.json, err);
    if (st == CR_OK && j->set.versus)
        st = cli_open_model(j->set.versus, &j->set.common, &j->versus, err);
    return st;
}

static cr_status detect_pictures(detect_job *j, int count, char **sources, cr_error *err)
{
    cr_status st = open_sources(j, count, sources, err);
    if (st == CR_OK) st = cr_detector_create(j->model, j->set.common.threads, &j->detector, err);
    if (st == CR_OK && j->set.save) st = check_names_differ(j, err);
    if (st == CR_OK && j->set.save) st = cli_make_folder(j->set.save, err);
    if (st == CR_OK)
        st = cli_reader_open(&j->reader, j->paths, j->path_count,
                             &cr_model_get_info(j->model)->preprocess, j->set.common.threads, err);
    for (size_t i = 0; st == CR_OK && i < j->path_count; i++) st = run_picture(j, i, err);
    return st;
}

/* Videos one after the other; pictures all at once, since they share a folder to save to. */
static cr_status detect_all(detect_job *j, int count, char **sources, cr_error *err)
{
    int videos = 0;
    cr_status st = CR_OK;
    for (int i = 0; i < count; i++) videos += j->set.live.raw || cr_live_is_source(sources[i]);
    if (j->set.serve && (!videos || count > 1))
        return cli_error(err, CR_ERR_ARGUMENT, "--serve shows one video, camera or stream");
    const char *only = j->set.view ? "view" : j->set.on_detect ? "on-detect" : "clip";
    if (!videos && (j->set.view || j->set.on_detect || j->set.live.clip > 0))
        return cli_error(err, CR_ERR_ARGUMENT, "--%s is for videos, cameras and streams", only);
    if (!videos || count == 1) { /* each video makes detectors of its own */
        cr_model_give_weights(j->model);
        if (j->versus) cr_model_give_weights(j->versus);
    }
    if (!videos) return detect_pictures(j, count, sources, err);
    if (videos < count)
        return cli_error(err, CR_ERR_ARGUMENT, "pictures and videos in one run: run them apart");
    for (int i = 0; st == CR_OK && i < count; i++) st = detect_video(j, sources[i], err);
    return st;
}

static void release(detect_job *j)
{
    cli_file_abort(&j->json);
    cli_reader_close(&j->reader);
    cr_detector_free(&j->detector);
    cr_model_free(&j->versus);
    cr_model_free(&j->model);
    for (int i = 0; i < j->source_count; i++) cr_image_list_free(&j->sources[i]);
    free(j->sources);
    free(j->paths);
    cr_class_names_free(&j->labels);
    free(j->classes);
}

int cmd_detect(int argc, char **argv)
{
    detect_job j = {
        .set = {.detect = cr_detect_options_default(), .live = cr_live_options_default()}};
    cr_error err = {0};
    for (int c; (c = getopt_long(argc, argv, ":", options, NULL)) != -1;) {
        const int status = take_option(c, argv, &j.set);
        if (status) return status;
    }
    if (j.set.common.help) return cli_help(help);
    if (argc - optind < 1) return cli_usage("a model file is missing");
    if ((j.set.token || j.set.versus) && !j.set.serve)
        return cli_usage("--%s goes with --serve", j.set.token ? "token" : "versus");
    if (j.set.live.clip_folder && j.set.live.clip <= 0)
        return cli_usage("--clips goes with --clip");
    if (j.set.every > 0 && !j.set.on_detect) return cli_usage("--every goes with --on-detect");
    if (argc - optind < 2) return cli_usage("a picture, folder, video or other source is missing");
    j.set.model_path = argv[optind];
    cr_status st = prepare(&j, &err);
    if (st == CR_OK) st = detect_all(&j, argc - optind - 1, argv + optind + 1, &err);
    if (st == CR_OK && j.json.stream) st = cli_file_commit(&j.json, &err);
    release(&j);
    return st == CR_OK ? CLI_DONE : cli_fail(&err);
}
