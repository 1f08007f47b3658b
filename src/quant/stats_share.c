/* Ranks send their statistics as they lie in memory: they are the same program on machines of one
 * kind. Merging is exact, so that neither the order nor the division among ranks matters. */
#include "quant/stats_share.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "crayon/cluster.h"

/* Writes where `to` is, else only counts. */
typedef struct packer {
    char *to;
    size_t size;
} packer;

static void put(packer *p, const void *bytes, size_t n)
{
    if (p->to && n) memcpy(p->to + p->size, bytes, n);
    p->size += n;
}

typedef struct packed_tensor {
    size_t name_length;
    bool split;
    cr_tensor_stats t; /* numbers alone: pointers mean nothing elsewhere */
} packed_tensor;

static void pack_tensor(packer *p, const cr_tensor_stats *t)
{
    packed_tensor head = {strlen(t->name), t->channel != NULL, *t};
    const size_t n = (size_t)t->channels;
    put(p, &head, sizeof head);
    put(p, t->name, head.name_length);
    put(p, t->all.counts, (size_t)t->all.bins * sizeof *t->all.counts);
    put(p, t->channel_min, n * sizeof *t->channel_min);
    put(p, t->channel_max, n * sizeof *t->channel_max);
    put(p, t->channel_sum_min, n * sizeof *t->channel_sum_min);
    put(p, t->channel_sum_max, n * sizeof *t->channel_sum_max);
    for (size_t c = 0; t->channel && c < n; c++) {
        put(p, &t->channel[c], sizeof t->channel[c]);
        put(p, t->channel[c].counts, (size_t)t->channel[c].bins * sizeof(uint64_t));
    }
}

static size_t pack(const cr_stats *s, char *to)
{
    packer p = {to, 0};
    put(&p, &s->pictures, sizeof s->pictures);
    put(&p, &s->count, sizeof s->count);
    for (size_t i = 0; i < s->count; i++) pack_tensor(&p, &s->tensors[i]);
    return p.size;
}

static const char *take(const char **at, void *out, size_t n)
{
    const char *from = *at;
    if (out && n) memcpy(out, from, n);
    *at += n;
    return from;
}

/* The histogram that was sent, over counts of the receiver's. */
static void take_histogram(const char **at, cr_histogram *h, const cr_histogram *sent)
{
    uint64_t *const counts = h->counts;
    *h = *sent;
    h->counts = counts;
    take(at, counts, (size_t)h->bins * sizeof *counts);
}

static cr_status unpack_tensor(cr_stats *s, const char **at, cr_error *err)
{
    packed_tensor head;
    take(at, &head, sizeof head);
    char *name = cr_arena_alloc(&s->arena, head.name_length + 1);
    if (!name) return CR_NOMEM(err);
    take(at, name, head.name_length);
    name[head.name_length] = 0;
    cr_tensor_stats *t = cr_stats_get(s, name, head.t.channels);
    if (!t || (head.split && !t->channel && !cr_stats_split(s, t))) return CR_NOMEM(err);
    const size_t n = (size_t)head.t.channels;
    t->pictures = head.t.pictures;
    t->count = head.t.count;
    t->bad = head.t.bad;
    t->sum_min = head.t.sum_min;
    t->sum_max = head.t.sum_max;
    take_histogram(at, &t->all, &head.t.all);
    take(at, t->channel_min, n * sizeof *t->channel_min);
    take(at, t->channel_max, n * sizeof *t->channel_max);
    take(at, t->channel_sum_min, n * sizeof *t->channel_sum_min);
    take(at, t->channel_sum_max, n * sizeof *t->channel_sum_max);
    for (size_t c = 0; head.split && c < n; c++) {
        cr_histogram sent;
        take(at, &sent, sizeof sent);
        take_histogram(at, &t->channel[c], &sent);
    }
    return CR_OK;
}

static cr_status merge_packed(cr_stats *whole, const void *bytes, cr_error *err)
{
    const char *at = bytes;
    cr_stats *s;
    size_t count;
    CR_TRY(cr_stats_create(&s, err));
    take(&at, &s->pictures, sizeof s->pictures);
    take(&at, &count, sizeof count);
    cr_status st = CR_OK;
    for (size_t i = 0; st == CR_OK && i < count; i++) st = unpack_tensor(s, &at, err);
    if (st == CR_OK) st = cr_stats_merge(whole, s, err);
    cr_stats_release(&s);
    return st;
}

cr_status cr_stats_share(cr_stats *whole, const cr_stats *part, cr_status status, cr_error *err)
{
    if (cr_cluster_size() == 1) return status == CR_OK ? cr_stats_merge(whole, part, err) : status;
    const size_t bytes = status == CR_OK ? pack(part, NULL) : 0;
    char *mine = cr_malloc(bytes + 1);
    if (status == CR_OK && !mine) status = CR_NOMEM(err);
    if (status == CR_OK) pack(part, mine);
    cr_cluster_part *parts = NULL;
    cr_status st = cr_cluster_agree(status, err);
    if (st == CR_OK) st = cr_cluster_gather(mine, bytes, &parts, err);
    for (int r = 0; st == CR_OK && r < cr_cluster_size(); r++)
        st = merge_packed(whole, parts[r].bytes, err);
    free(parts);
    cr_free(mine);
    return st;
}
