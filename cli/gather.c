/* What several processes have found, put together in the order of the pictures: cli_collect gives
 * each process of an MPI run a stretch of them. */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "crayon/cluster.h"

size_t cli_share_begin(size_t n, int rank)
{
    const size_t r = (size_t)rank, ranks = (size_t)cr_cluster_size();
    return n / ranks * r + n % ranks * r / ranks;
}

typedef struct header {
    size_t count, keypoints;
    bool masks, ranks, corners;
} header;

static void put(FILE *f, const void *bytes, size_t size, size_t n)
{
    if (n) fwrite(bytes, size, n, f);
}

static void pack(FILE *f, const cli_boxes *b)
{
    const header h = {b->count, b->points ? b->keypoints : 0, b->masks, b->ranks, b->corners};
    put(f, &h, sizeof h, 1);
    put(f, b->items, sizeof *b->items, b->count);
    put(f, b->points, sizeof *b->points, b->count * 3 * h.keypoints);
    put(f, b->corners, 8 * sizeof *b->corners, h.corners ? b->count : 0);
    put(f, b->ranks, sizeof *b->ranks, h.ranks ? b->count : 0);
    for (size_t i = 0; b->masks && i < b->count; i++) {
        const cr_coco_mask *m = &b->masks[i];
        put(f, m, sizeof *m, 1);
        put(f, m->counts, 1, strlen(m->counts) + 1);
    }
}

/* Appends n elements to what `*items` holds. */
static bool append(void *items, size_t count, const char **at, size_t size, size_t n)
{
    void **list = items, *grown = realloc(*list, (count + n + 1) * size);
    if (!grown) return false;
    *list = grown;
    if (n) memcpy((char *)grown + count * size, *at, n * size);
    *at += n * size;
    return true;
}

static bool append_masks(cli_boxes *b, const char **at, size_t n)
{
    cr_coco_mask *grown = realloc(b->masks, (b->count + n + 1) * sizeof *grown);
    if (!grown) return false;
    b->masks = grown;
    for (size_t i = 0; i < n; i++) {
        cr_coco_mask *m = &grown[b->count + i];
        memcpy(m, *at, sizeof *m);
        *at += sizeof *m;
        m->counts = strdup(*at);
        if (!m->counts) return false;
        *at += strlen(*at) + 1;
    }
    return true;
}

static bool unpack(cli_boxes *b, const void *bytes)
{
    const char *at = bytes;
    header h;
    memcpy(&h, at, sizeof h);
    at += sizeof h;
    const size_t each = 3 * h.keypoints;
    bool ok = append(&b->items, b->count, &at, sizeof *b->items, h.count);
    if (ok && each)
        ok = append(&b->points, b->count * each, &at, sizeof *b->points, h.count * each);
    if (ok && h.corners)
        ok = append(&b->corners, b->count * 8, &at, sizeof *b->corners, h.count * 8);
    if (ok && h.ranks) ok = append(&b->ranks, b->count, &at, sizeof *b->ranks, h.count);
    if (ok && h.masks) ok = append_masks(b, &at, h.count);
    if (!ok) return false;
    b->count += h.count;
    if (h.keypoints) b->keypoints = h.keypoints;
    return true;
}

static cr_status gather(const cli_boxes *mine, cli_boxes *all, cr_error *err)
{
    char *packed = NULL;
    size_t bytes = 0;
    cr_cluster_part *parts = NULL;
    FILE *f = open_memstream(&packed, &bytes);
    if (f) pack(f, mine);
    const bool packs = f && !fclose(f);
    cr_status st = packs ? CR_OK : cli_error(err, CR_ERR_MEMORY, "out of memory");
    st = cr_cluster_agree(st, err);
    if (st == CR_OK) st = cr_cluster_gather(packed, bytes, &parts, err);
    for (int r = 0; st == CR_OK && r < cr_cluster_size(); r++)
        if (!unpack(all, parts[r].bytes)) st = cli_error(err, CR_ERR_MEMORY, "out of memory for detections");
    free(parts);
    free(packed);
    return st;
}

cr_status cli_boxes_gather(cli_boxes *boxes, cr_status status, cr_error *err)
{
    if (cr_cluster_size() == 1) return status;
    cli_boxes all = {0};
    status = cr_cluster_agree(status, err);
    if (status == CR_OK) status = gather(boxes, &all, err);
    cli_boxes_free(boxes);
    *boxes = all;
    return status;
}
