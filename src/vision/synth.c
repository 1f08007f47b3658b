/* Writing a synthetic data set: one picture after the other, labels last.
 *
 * Picture i draws its own random stream from (seed, i), so data sets of different lengths share
 * their beginning, and a picture can be made again alone. JPEG rather than PNG: it is what real
 * pictures are, a tenth of the size, and libjpeg's encoder is deterministic. */
#include <jansson.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"
#include "vision/synth_scene.h"

enum { MAX_COUNT = 1000000, MIN_SIDE = 64, MAX_SIDE = 4096 };

const char *cr_synth_task_name(cr_synth_task task)
{
    static const char *const names[CR_SYNTH_TASKS] = {"detect", "segment", "pose", "classify"};
    return (unsigned)task < CR_SYNTH_TASKS ? names[task] : NULL;
}

cr_synth_options cr_synth_options_default(void)
{
    return (cr_synth_options){.count = 100, .task = CR_SYNTH_DETECT};
}

/* A data set that is being written. */
typedef struct writer {
    const char *dir;
    const cr_synth_options *options;
    json_t *images, *annotations; /* owned */
} writer;

static cr_status check_options(const cr_synth_options *o, cr_error *err)
{
    CR_CHECK(cr_synth_task_name(o->task), err, CR_ERR_ARGUMENT, "synth: no task %d", (int)o->task);
    CR_CHECK(o->count >= 1 && o->count <= MAX_COUNT, err, CR_ERR_ARGUMENT,
             "synth: %d pictures asked for, between 1 and %d are possible", o->count, MAX_COUNT);
    if (o->width == 0 && o->height == 0) return CR_OK;
    CR_CHECK(o->width >= MIN_SIDE && o->width <= MAX_SIDE && o->height >= MIN_SIDE &&
                 o->height <= MAX_SIDE,
             err, CR_ERR_ARGUMENT, "synth: size %dx%d, each side must have %d to %d pixels",
             o->width, o->height, MIN_SIDE, MAX_SIDE);
    return CR_OK;
}

static const char *folder_of(const writer *w, int index)
{
    return w->options->task == CR_SYNTH_CLASSIFY ? cr_shapes[index % CR_SHAPES].name : "images";
}

static char *picture_path(cr_arena *a, const writer *w, int index)
{
    return cr_arena_printf(a, "%s/%s/%06d.jpg", w->dir, folder_of(w, index), index);
}

/* Makes the folders; refuses those in which a longer run has left pictures. */
static cr_status prepare(const writer *w, cr_arena *a, cr_error *err)
{
    const int folders = w->options->task == CR_SYNTH_CLASSIFY ? CR_SHAPES : 1;
    for (int i = 0; i < folders; i++) {
        const char *folder = cr_arena_printf(a, "%s/%s", w->dir, folder_of(w, i));
        if (!folder) return CR_NOMEM(err);
        CR_TRY(cr_mkdirs(folder, err));
    }
    const char *next = picture_path(a, w, w->options->count);
    if (!next) return CR_NOMEM(err);
    struct stat info;
    CR_CHECK(stat(next, &info), err, CR_ERR_ARGUMENT,
             "%s: more pictures than the %d asked for are there already; choose an empty folder",
             next, w->options->count);
    return CR_OK;
}

/* Gives back the list, or NULL if memory ran out while it was filled. */
static json_t *finished(json_t *list, int bad)
{
    if (!bad) return list;
    json_decref(list);
    return NULL;
}

static json_t *polygon_json(const cr_polygon *p)
{
    json_t *list = json_array();
    int bad = 0;
    for (size_t i = 0; i < p->count; i++) {
        bad |= json_array_append_new(list, json_real(p->at[i].x));
        bad |= json_array_append_new(list, json_real(p->at[i].y));
    }
    return finished(list, bad);
}

/* x,y,v per keypoint; 0,0,0 for those outside, as COCO does. */
static int set_keypoints(json_t *annotation, const cr_instance *it)
{
    const int n = it->shape->keypoints;
    json_t *list = json_array();
    int labelled = 0, bad = 0;
    for (int i = 0; i < n; i++) {
        const int v = it->visible[i];
        bad |= json_array_append_new(list, json_real(v ? round(it->keypoint[i].x * 100) / 100 : 0));
        bad |= json_array_append_new(list, json_real(v ? round(it->keypoint[i].y * 100) / 100 : 0));
        bad |= json_array_append_new(list, json_integer(v));
        labelled += v > 0;
    }
    bad |= json_object_set_new(annotation, "keypoints", list);
    return bad | json_object_set_new(annotation, "num_keypoints", json_integer(labelled));
}

static json_t *annotation_json(const cr_instance *it, int image, size_t id)
{
    json_t *o = json_pack("{s:I,s:i,s:i,s:[f,f,f,f],s:f,s:i,s:[o]}", "id", (json_int_t)id,
                          "image_id", image, "category_id", (int)(it->shape - cr_shapes) + 1,
                          "bbox", it->x1, it->y1, it->x2 - it->x1, it->y2 - it->y1, "area",
                          it->area, "iscrowd", 0, "segmentation", polygon_json(&it->outline));
    return finished(o, o && it->shape->keypoints && set_keypoints(o, it));
}

static cr_status add_labels(writer *w, int index, const cr_scene *s, cr_error *err)
{
    char name[32];
    snprintf(name, sizeof name, "%06d.jpg", index);
    int bad = json_array_append_new(w->images,
                                    json_pack("{s:i,s:s,s:i,s:i}", "id", index + 1, "file_name",
                                              name, "width", s->width, "height", s->height));
    for (int i = 0; i < s->count && !bad; i++)
        bad = json_array_append_new(
            w->annotations,
            annotation_json(&s->instance[i], index + 1, json_array_size(w->annotations) + 1));
    return bad ? CR_NOMEM(err) : CR_OK;
}

static void seed_picture(cr_rng *rng, uint64_t seed, int index)
{
    uint64_t stream = (uint64_t)index;
    cr_rng_seed(rng, cr_splitmix64(&seed) ^ cr_splitmix64(&stream));
}

static cr_status write_picture(writer *w, int index, cr_error *err)
{
    cr_rng rng;
    cr_scene scene = {0};
    cr_image img = {0};
    cr_arena a = {0};
    seed_picture(&rng, w->options->seed, index);
    cr_status st = cr_scene_make(&rng, w->options, index, &scene, err);
    const char *path = picture_path(&a, w, index);
    if (st == CR_OK && !path) st = CR_NOMEM(err);
    if (st == CR_OK) st = cr_scene_paint(&scene, &rng, &img, err);
    if (st == CR_OK) st = cr_image_write(path, &img, err);
    if (st == CR_OK && w->options->task != CR_SYNTH_CLASSIFY)
        st = add_labels(w, index, &scene, err);
    cr_arena_free(&a);
    cr_image_free(&img);
    cr_scene_free(&scene);
    return st;
}

static json_t *category_json(int index)
{
    const cr_shape *shape = &cr_shapes[index];
    json_t *o =
        json_pack("{s:i,s:s,s:s}", "id", index + 1, "name", shape->name, "supercategory", "shape");
    if (!o || !shape->keypoints) return o;
    json_t *names = json_array(), *bones = json_array();
    int bad = 0;
    for (int i = 0; i < shape->keypoints; i++)
        bad |= json_array_append_new(names, json_string(shape->keypoint_names[i]));
    for (int i = 0; i < shape->bones; i++)
        bad |=
            json_array_append_new(bones, json_pack("[i,i]", shape->bone[i][0], shape->bone[i][1]));
    bad |= json_object_set_new(o, "keypoints", names);
    bad |= json_object_set_new(o, "skeleton", bones);
    return finished(o, bad);
}

static json_t *document(const writer *w)
{
    const cr_synth_options *o = w->options;
    char seed[32];
    int bad = 0;
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)o->seed);
    json_t *categories = json_array();
    for (int i = 0; i < CR_SHAPES; i++) bad |= json_array_append_new(categories, category_json(i));
    return json_pack("{s:{s:s,s:s,s:s,s:s},s:O,s:O,s:o}", "info", "description",
                     "Crayon synthetic scenes", "version", CR_VERSION, "task",
                     cr_synth_task_name(o->task), "seed", seed, "images", w->images, "annotations",
                     w->annotations, "categories", finished(categories, bad));
}

static cr_status write_labels(const writer *w, cr_error *err)
{
    cr_arena a = {0};
    cr_outfile *file = NULL;
    json_t *root = document(w);
    const char *path = cr_arena_printf(&a, "%s/instances.json", w->dir);
    cr_status st = root && path ? CR_OK : CR_NOMEM(err);
    if (st == CR_OK) st = cr_outfile_open(path, &file, err);
    if (st == CR_OK) {
        /* 8 digits hold coordinates below 4096 with their two decimals */
        const size_t flags = JSON_COMPACT | JSON_REAL_PRECISION(8);
        if (json_dumpf(root, cr_outfile_stream(file), flags) && !ferror(cr_outfile_stream(file))) {
            cr_outfile_abort(&file);
            st = CR_NOMEM(err);
        }
    }
    if (st == CR_OK) {
        fputc('\n', cr_outfile_stream(file));
        st = cr_outfile_commit(&file, err);
    }
    json_decref(root);
    cr_arena_free(&a);
    return st;
}

cr_status cr_synth_write(const char *dir, const cr_synth_options *options,
                         const cr_progress *progress, cr_error *err)
{
    CR_CHECK(dir && *dir && options, err, CR_ERR_ARGUMENT, "synth: no folder to write to");
    CR_TRY(check_options(options, err));
    cr_arena a = {0};
    writer w = {dir, options, json_array(), json_array()};
    cr_status st = w.images && w.annotations ? prepare(&w, &a, err) : CR_NOMEM(err);
    for (int i = 0; i < options->count && st == CR_OK; i++) {
        if (!cr_report(progress, "rendering", (uint64_t)i, (uint64_t)options->count))
            st = cr_fail(err, CR_ERR_CANCELLED, "%s: cancelled after %d pictures", dir, i);
        else
            st = write_picture(&w, i, err);
    }
    if (st == CR_OK && options->task != CR_SYNTH_CLASSIFY) st = write_labels(&w, err);
    if (st == CR_OK)
        cr_report(progress, "rendering", (uint64_t)options->count, (uint64_t)options->count);
    json_decref(w.images);
    json_decref(w.annotations);
    cr_arena_free(&a);
    return st;
}
