/* Ultralytics' data set form, as their documentation and loaders describe it:
 *
 *     data.yaml     path: ROOT   train: images/train   val: images/val   names: {0: circle, ...}
 *     ROOT/images/val/7.jpg      a picture
 *     ROOT/labels/val/7.txt      its objects, a line each; parts of the picture's size:
 *         class cx cy w h                      a box
 *         class x1 y1 x2 y2 x3 y3 ...          a polygon: segments, and the four corners of
 *                                              oriented boxes; the box is the upright one around
 *         class cx cy w h x1 y1 [v1] x2 ...    keypoints, where data.yaml has kpt_shape: [K, 2 or 3];
 *                                              v 0: not labelled (without v: x or y is below 0)
 *
 * A split is a folder (walked with its subfolders), a .txt list of pictures, or a list of those.
 * `path` is taken relative to data.yaml. Repeated lines of a label file count once, as there. */
#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <yaml.h>

#include "base/file.h"
#include "eval/keypoint_pairs.h"
#include "eval/label_shapes.h"
#include "eval/picture_size.h"

enum {
    YAML_LIMIT = 4 << 20,
    TEXT_LIMIT = 256 << 20,
    DEPTH_MAX = 32,
    FOLDERS_MAX = 1 << 16, /* links may make loops */
    CLASSES_MAX = 1 << 20,
    KEYPOINTS_MAX = 1000
};

/* A position a little outside the picture is rounding, not an error. */
static const double SLACK = 0.01;

typedef struct picture {
    char *path, *name; /* name: below the split's folder */
} picture;

typedef struct yolo {
    const char *yaml; /* data.yaml, for messages */
    const char *root;
    yaml_document_t *doc;
    cr_labels *labels;
    cr_arena arena;
    picture *pictures;
    size_t picture_count, picture_cap, label_files, folders;
    size_t keypoints, keypoint_dims; /* kpt_shape; 0: none */
    double *numbers;                 /* of a line, behind the class */
    size_t number_cap;
} yolo;

/* ---- paths ----------------------------------------------------------------------------------- */

static bool is_folder(const char *path)
{
    struct stat info;
    return !stat(path, &info) && S_ISDIR(info.st_mode);
}

static bool is_file(const char *path)
{
    struct stat info;
    return !stat(path, &info) && S_ISREG(info.st_mode);
}

static bool exists(const char *path)
{
    struct stat info;
    return !stat(path, &info);
}

static char *folder_of(cr_arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) return cr_arena_strdup(arena, ".");
    return cr_arena_strndup(arena, path, slash == path ? 1 : (size_t)(slash - path));
}

static char *join(cr_arena *arena, const char *folder, const char *path)
{
    if (path[0] == '/') return cr_arena_strdup(arena, path);
    if (!strncmp(path, "./", 2)) path += 2;
    return cr_arena_printf(arena, "%s/%s", folder, path);
}

static bool has_ending(const char *path, const char *ending)
{
    const size_t n = strlen(path), m = strlen(ending);
    return n > m && !strcasecmp(path + n - m, ending);
}

static bool is_picture(const char *path)
{
    return has_ending(path, ".jpg") || has_ending(path, ".jpeg") || has_ending(path, ".png");
}

static bool is_foreign_picture(const char *path)
{
    static const char *const endings[] = {".bmp", ".webp", ".tif",  ".tiff", ".dng",
                                          ".mpo", ".heic", ".avif", ".jp2"};
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++)
        if (has_ending(path, endings[i])) return true;
    return false;
}

/* ---- the list of pictures -------------------------------------------------------------------- */

static cr_status add_picture(yolo *y, const char *path, const char *name, cr_error *err)
{
    CR_CHECK(!is_foreign_picture(path), err, CR_ERR_UNSUPPORTED,
             "%s: only JPEG and PNG pictures can be evaluated; convert it", path);
    if (!is_picture(path)) return CR_OK;
    const picture p = {cr_arena_strdup(&y->arena, path), cr_arena_strdup(&y->arena, name)};
    if (!p.path || !p.name ||
        !cr_grow((void **)&y->pictures, &y->picture_cap, y->picture_count, sizeof p))
        return CR_NOMEM(err);
    y->pictures[y->picture_count++] = p;
    return CR_OK;
}

static cr_status walk_folder(yolo *y, const char *folder, const char *name, int depth,
                             cr_error *err)
{
    CR_CHECK(depth < DEPTH_MAX, err, CR_ERR_LIMIT, "%s: more than %d folders deep", folder,
             DEPTH_MAX);
    CR_CHECK(y->folders++ < FOLDERS_MAX, err, CR_ERR_LIMIT, "%s: more than %d folders", y->yaml,
             FOLDERS_MAX);
    DIR *dir = opendir(folder);
    CR_CHECK(dir, err, CR_ERR_IO, "%s: cannot list: %s", folder, strerror(errno));
    cr_status st = CR_OK;
    for (struct dirent *e; st == CR_OK && (e = readdir(dir));) {
        if (e->d_name[0] == '.') continue;
        const char *path = cr_arena_printf(&y->arena, "%s/%s", folder, e->d_name);
        const char *below = cr_arena_printf(&y->arena, "%s%s%s", name, *name ? "/" : "", e->d_name);
        if (!path || !below)
            st = CR_NOMEM(err);
        else if (is_folder(path))
            st = walk_folder(y, path, below, depth + 1, err);
        else
            st = add_picture(y, path, below, err);
    }
    closedir(dir);
    return st;
}

static cr_status read_list(yolo *y, const char *path, cr_error *err)
{
    unsigned char *bytes;
    size_t size;
    CR_TRY(cr_file_read(path, TEXT_LIMIT, &bytes, &size, err));
    const char *folder = folder_of(&y->arena, path);
    cr_status st = folder ? CR_OK : CR_NOMEM(err);
    char *rest = (char *)bytes;
    for (char *line; st == CR_OK && (line = strtok_r(rest, "\r\n", &rest));) {
        const char *picture_path = join(&y->arena, folder, line);
        if (!picture_path)
            st = CR_NOMEM(err);
        else
            st = add_picture(y, picture_path, line, err);
    }
    cr_free(bytes);
    return st;
}

/* One entry of a split. Roboflow writes "../val/images" for a folder beside data.yaml; Ultralytics'
 * loader then tries it without the "../", and so do we. */
static cr_status read_source(yolo *y, const char *source, cr_error *err)
{
    const char *path = join(&y->arena, y->root, source);
    if (!path) return CR_NOMEM(err);
    if (!exists(path) && !strncmp(source, "../", 3)) {
        path = join(&y->arena, y->root, source + 3);
        if (!path) return CR_NOMEM(err);
    }
    if (is_folder(path)) return walk_folder(y, path, "", 0, err);
    CR_CHECK(exists(path), err, CR_ERR_IO, "%s: \"%s\" leads to %s, which does not exist", y->yaml,
             source, path);
    CR_CHECK(has_ending(path, ".txt"), err, CR_ERR_FORMAT,
             "%s: \"%s\" is neither a folder nor a .txt list", y->yaml, source);
    return read_list(y, path, err);
}

/* ---- data.yaml ------------------------------------------------------------------------------- */

/* The node's text, or NULL if it is no scalar or holds a NUL. */
static const char *text_of(const yaml_node_t *node)
{
    if (!node || node->type != YAML_SCALAR_NODE) return NULL;
    const char *text = (const char *)node->data.scalar.value;
    return strlen(text) == node->data.scalar.length ? text : NULL;
}

static yaml_node_t *member(yolo *y, yaml_node_t *map, const char *key)
{
    const yaml_node_pair_t *pair = map->data.mapping.pairs.start;
    for (; pair < map->data.mapping.pairs.top; pair++) {
        const char *name = text_of(yaml_document_get_node(y->doc, pair->key));
        if (name && !strcmp(name, key)) return yaml_document_get_node(y->doc, pair->value);
    }
    return NULL;
}

static bool is_empty(const yaml_node_t *node)
{
    const char *text = text_of(node);
    return !node || (text && (!*text || !strcmp(text, "~") || !strcmp(text, "null")));
}

static cr_status find_root(yolo *y, yaml_node_t *map, cr_error *err)
{
    const char *here = folder_of(&y->arena, y->yaml);
    if (!here) return CR_NOMEM(err);
    y->root = here;
    const yaml_node_t *node = member(y, map, "path");
    if (is_empty(node)) return CR_OK;
    const char *path = text_of(node);
    CR_CHECK(path, err, CR_ERR_FORMAT, "%s: \"path\" is not a text", y->yaml);
    y->root = join(&y->arena, here, path);
    if (!y->root) return CR_NOMEM(err);
    if (!is_folder(y->root)) y->root = here;
    return CR_OK;
}

static cr_status read_split(yolo *y, yaml_node_t *map, cr_error *err)
{
    static const char *const splits[] = {"val", "test", "train"};
    const bool train = y->labels->parts & CR_LABEL_TRAIN;
    yaml_node_t *node = NULL;
    const char *split = NULL;
    for (size_t i = train ? 2 : 0; i < 3 && is_empty(node); i++)
        node = member(y, map, split = splits[i]);
    CR_CHECK(!is_empty(node), err, CR_ERR_FORMAT,
             train ? "%s: \"train\" is not there" : "%s: none of val, test and train is there",
             y->yaml);
    if (node->type != YAML_SEQUENCE_NODE) {
        const char *source = text_of(node);
        CR_CHECK(source, err, CR_ERR_FORMAT, "%s: \"%s\" is not a path", y->yaml, split);
        return read_source(y, source, err);
    }
    const yaml_node_item_t *item = node->data.sequence.items.start;
    for (; item < node->data.sequence.items.top; item++) {
        const char *source = text_of(yaml_document_get_node(y->doc, *item));
        CR_CHECK(source, err, CR_ERR_FORMAT, "%s: \"%s\" is not a list of paths", y->yaml, split);
        CR_TRY(read_source(y, source, err));
    }
    return CR_OK;
}

static bool parse_index(const char *text, int64_t *out)
{
    if (!text || !*text || strlen(text) > 9 || strspn(text, "0123456789") != strlen(text))
        return false;
    *out = strtol(text, NULL, 10);
    return *out < CLASSES_MAX;
}

static cr_status read_name_list(yolo *y, const yaml_node_t *names, cr_error *err)
{
    const yaml_node_item_t *item = names->data.sequence.items.start;
    for (int64_t id = 0; item < names->data.sequence.items.top; item++, id++) {
        const char *name = text_of(yaml_document_get_node(y->doc, *item));
        CR_CHECK(name && id < CLASSES_MAX, err, CR_ERR_FORMAT, "%s: name %lld is not a text",
                 y->yaml, (long long)id);
        CR_TRY(cr_labels_add_category(y->labels, id, name, err));
    }
    return CR_OK;
}

static cr_status read_names(yolo *y, yaml_node_t *map, cr_error *err)
{
    const yaml_node_t *names = member(y, map, "names");
    CR_CHECK(names && names->type != YAML_SCALAR_NODE, err, CR_ERR_FORMAT,
             "%s: \"names\" is missing or not a list of class names", y->yaml);
    if (names->type == YAML_SEQUENCE_NODE) return read_name_list(y, names, err);
    const yaml_node_pair_t *pair = names->data.mapping.pairs.start;
    for (; pair < names->data.mapping.pairs.top; pair++) {
        int64_t id;
        const char *name = text_of(yaml_document_get_node(y->doc, pair->value));
        CR_CHECK(parse_index(text_of(yaml_document_get_node(y->doc, pair->key)), &id) && name, err,
                 CR_ERR_FORMAT, "%s: an entry of \"names\" is not \"NUMBER: TEXT\"", y->yaml);
        CR_TRY(cr_labels_add_category(y->labels, id, name, err));
    }
    return CR_OK;
}

static cr_status read_keypoint_shape(yolo *y, yaml_node_t *map, cr_error *err)
{
    const yaml_node_t *node = member(y, map, "kpt_shape");
    if (is_empty(node)) return CR_OK;
    int64_t shape[2] = {0, 0};
    bool ok = node->type == YAML_SEQUENCE_NODE &&
              node->data.sequence.items.top - node->data.sequence.items.start == 2;
    for (int i = 0; ok && i < 2; i++)
        ok = parse_index(
            text_of(yaml_document_get_node(y->doc, node->data.sequence.items.start[i])), &shape[i]);
    CR_CHECK(ok && shape[0] >= 1 && shape[0] <= KEYPOINTS_MAX && (shape[1] == 2 || shape[1] == 3),
             err, CR_ERR_FORMAT, "%s: \"kpt_shape\" is not [COUNT, 2 or 3]", y->yaml);
    y->keypoints = (size_t)shape[0];
    y->keypoint_dims = (size_t)shape[1];
    return CR_OK;
}

static cr_status read_flip_index(yolo *y, yaml_node_t *map, cr_error *err)
{
    int pair[KEYPOINTS_MAX];
    const yaml_node_t *node = member(y, map, "flip_idx");
    if (!(y->labels->parts & CR_LABEL_TRAIN) || !y->keypoints || is_empty(node)) return CR_OK;
    const bool list = node->type == YAML_SEQUENCE_NODE;
    const yaml_node_item_t *item = list ? node->data.sequence.items.start : NULL;
    bool ok = list && node->data.sequence.items.top - item == (ptrdiff_t)y->keypoints;
    for (size_t k = 0; ok && k < y->keypoints; k++) {
        int64_t value = 0;
        ok = parse_index(text_of(yaml_document_get_node(y->doc, item[k])), &value);
        pair[k] = (int)value;
    }
    CR_CHECK(ok, err, CR_ERR_FORMAT, "%s: \"flip_idx\" is not a list of %zu keypoints", y->yaml,
             y->keypoints);
    const cr_status st = cr_labels_add_pairs(y->labels, pair, y->keypoints, err);
    return st == CR_ERR_FORMAT ? cr_fail_prefix(err, st, "%s: \"flip_idx\"", y->yaml) : st;
}

static cr_status read_document(yolo *y, cr_error *err)
{
    yaml_node_t *map = yaml_document_get_root_node(y->doc);
    CR_CHECK(map && map->type == YAML_MAPPING_NODE, err, CR_ERR_FORMAT,
             "%s: not a data.yaml: it must hold \"val: FOLDER\" and \"names: ...\"", y->yaml);
    CR_TRY(read_names(y, map, err));
    CR_TRY(read_keypoint_shape(y, map, err));
    CR_TRY(read_flip_index(y, map, err));
    CR_TRY(find_root(y, map, err));
    return read_split(y, map, err);
}

static cr_status read_yaml(yolo *y, cr_error *err)
{
    unsigned char *bytes;
    size_t size;
    CR_TRY(cr_file_read(y->yaml, YAML_LIMIT, &bytes, &size, err));
    cr_status st;
    yaml_parser_t parser;
    yaml_document_t doc;
    if (!yaml_parser_initialize(&parser)) {
        cr_free(bytes);
        return CR_NOMEM(err);
    }
    yaml_parser_set_input_string(&parser, bytes, size);
    if (yaml_parser_load(&parser, &doc)) {
        y->doc = &doc;
        st = read_document(y, err);
        y->doc = NULL;
        yaml_document_delete(&doc);
    } else {
        st = cr_fail(err, CR_ERR_FORMAT, "%s: not YAML, line %zu: %s", y->yaml,
                     parser.problem_mark.line + 1, parser.problem ? parser.problem : "malformed");
    }
    yaml_parser_delete(&parser);
    cr_free(bytes);
    return st;
}

/* ---- label files ----------------------------------------------------------------------------- */

/* .../images/... with .jpg -> .../labels/... with .txt (the last /images/ counts). */
static char *label_path(cr_arena *arena, const char *path)
{
    const char *found = NULL;
    for (const char *p = path; (p = strstr(p, "/images/")); p++) found = p;
    const size_t stem = (size_t)(strrchr(path, '.') - path);
    if (!found) return cr_arena_printf(arena, "%.*s.txt", (int)stem, path);
    const size_t head = (size_t)(found - path), tail = head + strlen("/images/");
    return cr_arena_printf(arena, "%.*s/labels/%.*s.txt", (int)head, path, (int)(stem - tail),
                           path + tail);
}

typedef struct extent {
    double x0, y0, x1, y1;
} extent;

/* The numbers of a line after the class; false: something else. */
static cr_status read_line_numbers(yolo *y, char *rest, size_t *n, bool *ok, cr_error *err)
{
    *n = 0;
    *ok = true;
    for (char *word; *ok && (word = strtok_r(rest, " \t", &rest)); ++*n) {
        char *end;
        if (!cr_grow((void **)&y->numbers, &y->number_cap, *n, sizeof *y->numbers))
            return CR_NOMEM(err);
        y->numbers[*n] = strtod(word, &end);
        *ok = !*end && isfinite(y->numbers[*n]);
    }
    return CR_OK;
}

static bool all_inside(const double *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(v[i] >= -SLACK && v[i] <= 1 + SLACK)) return false;
    return true;
}

static extent extent_of_box(const double v[4])
{
    return (extent){v[0] - v[2] / 2, v[1] - v[3] / 2, v[0] + v[2] / 2, v[1] + v[3] / 2};
}

static extent extent_of_polygon(const double *v, size_t n)
{
    extent e = {INFINITY, INFINITY, -INFINITY, -INFINITY};
    for (size_t i = 0; i < n; i += 2) {
        e.x0 = fmin(e.x0, v[i]), e.x1 = fmax(e.x1, v[i]);
        e.y0 = fmin(e.y0, v[i + 1]), e.y1 = fmax(e.y1, v[i + 1]);
    }
    return e;
}

/* Keypoints in pixels, [K, 3]. A keypoint far outside is a mistake; a little below 0 says "none". */
static cr_status take_keypoints(yolo *y, const cr_label_image *image, cr_label_box *box, bool *ok,
                                cr_error *err)
{
    double *out = cr_arena_alloc(&y->labels->arena, 3 * y->keypoints * sizeof *out);
    if (!out) return CR_NOMEM(err);
    const double *v = y->numbers + 4;
    for (size_t k = 0; k < y->keypoints; k++, v += y->keypoint_dims) {
        const bool there = v[0] >= 0 && v[1] >= 0;
        const double seen = y->keypoint_dims == 3 ? v[2] : there ? 2 : 0;
        *ok = *ok && fabs(v[0]) <= 2 && fabs(v[1]) <= 2 && (seen == 0 || seen == 1 || seen == 2);
        out[3 * k] = v[0] * image->width;
        out[3 * k + 1] = v[1] * image->height;
        out[3 * k + 2] = seen;
    }
    box->keypoints = out;
    box->keypoint_count = y->keypoints;
    return CR_OK;
}

static cr_status take_polygon(yolo *y, size_t n, const cr_label_image *image, cr_label_box *box,
                              cr_error *err)
{
    for (size_t i = 0; i < n; i++) y->numbers[i] *= i & 1 ? image->height : image->width;
    const size_t corners = n / 2;
    if (n == 8 && (y->labels->parts & CR_LABEL_CORNERS))
        CR_TRY(cr_labels_corners(y->labels, y->numbers, box, true, err));
    if (!(y->labels->parts & CR_LABEL_MASKS)) return CR_OK;
    const cr_polygons polygon = {y->numbers, &corners, 1};
    return cr_labels_polygons(y->labels, &polygon, image->width, image->height, box, true, err);
}

static cr_status read_line(yolo *y, const char *path, size_t line_number, char *line,
                           const cr_label_image *image, cr_error *err)
{
    cr_label_box box = {.image_id = image->id};
    size_t n;
    bool ok;
    const char *class_text = strtok_r(line, " \t", &line);
    if (!class_text) return CR_OK;
    const unsigned parts = y->labels->parts;
    CR_TRY(read_line_numbers(y, line, &n, &ok, err));
    const bool posed = y->keypoints && n == 4 + y->keypoints * y->keypoint_dims;
    const bool polygon = !posed && !y->keypoints && n >= 6 && n % 2 == 0;
    ok = ok && parse_index(class_text, &box.category_id) && (n == 4 || posed || polygon) &&
         all_inside(y->numbers, polygon ? n : 4);
    if (ok) {
        const extent e = polygon ? extent_of_polygon(y->numbers, n) : extent_of_box(y->numbers);
        box.x = e.x0 * image->width;
        box.y = e.y0 * image->height;
        box.w = (e.x1 - e.x0) * image->width;
        box.h = (e.y1 - e.y0) * image->height;
        box.area = box.w * box.h * (parts & CR_LABEL_KEYPOINTS ? CR_COCO_BODY_SHARE : 1);
    }
    if (ok && posed && (parts & CR_LABEL_KEYPOINTS))
        CR_TRY(take_keypoints(y, image, &box, &ok, err));
    CR_CHECK(ok, err, CR_ERR_FORMAT,
             "%s line %zu: not \"class cx cy w h\"%s with numbers from 0 to 1", path, line_number,
             y->keypoints ? " and keypoints as kpt_shape says" : " or a polygon");
    if (polygon && (parts & (CR_LABEL_MASKS | CR_LABEL_CORNERS))) {
        const cr_status st = take_polygon(y, n, image, &box, err);
        if (st != CR_OK) return cr_fail_prefix(err, st, "%s line %zu", path, line_number);
    }
    return cr_labels_add_box(y->labels, &box, err);
}

static cr_status read_lines(yolo *y, const char *path, const cr_label_image *image, cr_error *err)
{
    unsigned char *bytes;
    size_t size;
    CR_TRY(cr_file_read(path, TEXT_LIMIT, &bytes, &size, err));
    cr_status st = strlen((const char *)bytes) == size
                       ? CR_OK
                       : cr_fail(err, CR_ERR_FORMAT, "%s: not a text file", path);
    char *at = (char *)bytes;
    for (size_t number = 1; st == CR_OK && *at; number++) {
        char *line = at;
        at += strcspn(at, "\n");
        if (*at) *at++ = 0;
        line[strcspn(line, "\r")] = 0;
        st = read_line(y, path, number, line, image, err);
    }
    cr_free(bytes);
    return st;
}

static int by_box(const void *a, const void *b)
{
    const cr_label_box *p = a, *q = b;
    const double x[5] = {(double)p->category_id, p->x, p->y, p->w, p->h};
    const double z[5] = {(double)q->category_id, q->x, q->y, q->w, q->h};
    for (int i = 0; i < 5; i++)
        if (x[i] != z[i]) return x[i] < z[i] ? -1 : 1;
    if (!p->mask != !q->mask) return p->mask ? 1 : -1;
    const int masks = p->mask ? strcmp(p->mask->counts, q->mask->counts) : 0;
    if (masks) return masks;
    if (p->keypoint_count != q->keypoint_count) return p->keypoint_count < q->keypoint_count ? -1 : 1;
    for (size_t k = 0; k < 3 * p->keypoint_count; k++)
        if (p->keypoints[k] != q->keypoints[k]) return p->keypoints[k] < q->keypoints[k] ? -1 : 1;
    if (!p->corners != !q->corners) return p->corners ? 1 : -1;
    for (int k = 0; p->corners && k < 8; k++)
        if (p->corners[k] != q->corners[k]) return p->corners[k] < q->corners[k] ? -1 : 1;
    return 0;
}

/* Drops repeated boxes from place `first` on and numbers the rest. */
static void tidy_boxes(cr_labels *l, size_t first)
{
    cr_label_box *b = l->boxes + first;
    const size_t n = l->box_count - first;
    if (!n) return;
    qsort(b, n, sizeof *b, by_box);
    size_t kept = 1;
    for (size_t i = 1; i < n; i++)
        if (by_box(&b[i], &b[kept - 1])) b[kept++] = b[i];
    l->box_count = first + kept;
    for (size_t i = first; i < l->box_count; i++) l->boxes[i].id = (int64_t)i + 1;
}

static cr_status read_picture(yolo *y, const picture *p, cr_error *err)
{
    cr_label_image image = {
        .id = (int64_t)y->labels->image_count + 1, .file_name = p->name, .path = p->path};
    CR_CHECK(is_file(p->path), err, CR_ERR_IO, "%s: not a regular file", p->path);
    const cr_status st = cr_picture_size(p->path, &image.width, &image.height, err);
    const bool broken = st != CR_OK && st != CR_ERR_MEMORY && y->labels->parts & CR_LABEL_TRAIN;
    if (st != CR_OK && !broken) return st;
    if (broken) image.width = image.height = 0;
    CR_TRY(cr_labels_add_image(y->labels, &image, err));
    if (broken) return CR_OK;
    const char *path = label_path(&y->arena, p->path);
    if (!path) return CR_NOMEM(err);
    if (!is_file(path)) return CR_OK;
    y->label_files++;
    const size_t first = y->labels->box_count;
    CR_TRY(read_lines(y, path, &image, err));
    tidy_boxes(y->labels, first);
    return CR_OK;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const picture *)a)->path, ((const picture *)b)->path);
}

static cr_status read_pictures(yolo *y, cr_error *err)
{
    CR_CHECK(y->picture_count, err, CR_ERR_FORMAT, "%s: no JPEG or PNG picture below %s", y->yaml,
             y->root);
    qsort(y->pictures, y->picture_count, sizeof *y->pictures, by_path);
    for (size_t i = 0; i < y->picture_count; i++) CR_TRY(read_picture(y, &y->pictures[i], err));
    const char *example = label_path(&y->arena, y->pictures[0].path);
    if (!example) return CR_NOMEM(err);
    CR_CHECK(y->label_files, err, CR_ERR_FORMAT,
             "%s: not one label file for %zu pictures; there is no %s", y->yaml, y->picture_count,
             example);
    return CR_OK;
}

cr_status cr_labels_read_yolo(const char *path, cr_labels *l, cr_error *err)
{
    yolo y = {.yaml = path, .labels = l};
    const locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!plain) return CR_NOMEM(err);
    const locale_t before = uselocale(plain); /* strtod must read points, not commas */
    cr_status st = read_yaml(&y, err);
    if (st == CR_OK) st = read_pictures(&y, err);
    uselocale(before);
    freelocale(plain);
    cr_free(y.pictures);
    cr_free(y.numbers);
    cr_arena_free(&y.arena);
    return st;
}
