#include "graph/names.h"

#include <string.h>

struct cr_names_slot {
    const char *key; /* NULL: empty */
    void *value;
};

/* FNV-1a, then a multiply-shift so that the low bits depend on all of it. */
static size_t hash(const char *s)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *s; s++) h = (h ^ (unsigned char)*s) * 0x100000001b3u;
    return (size_t)((h ^ h >> 32) * 0x9e3779b97f4a7c15u >> 16);
}

static struct cr_names_slot *find(const cr_names *m, const char *key)
{
    size_t i = hash(key) & (m->cap - 1);
    while (m->slots[i].key && strcmp(m->slots[i].key, key)) i = (i + 1) & (m->cap - 1);
    return &m->slots[i];
}

void *cr_names_get(const cr_names *m, const char *key)
{
    return m->cap ? find(m, key)->value : NULL;
}

static bool grow(cr_names *m)
{
    cr_names next = {.cap = m->cap ? 2 * m->cap : 64};
    next.slots = cr_calloc(next.cap, sizeof *next.slots);
    if (!next.slots) return false;
    for (size_t i = 0; i < m->cap; i++)
        if (m->slots[i].key) *find(&next, m->slots[i].key) = m->slots[i];
    next.count = m->count;
    cr_free(m->slots);
    *m = next;
    return true;
}

bool cr_names_put(cr_names *m, const char *key, void *value)
{
    if (2 * (m->count + 1) > m->cap && !grow(m)) return false;
    struct cr_names_slot *slot = find(m, key);
    if (!slot->key) m->count++;
    *slot = (struct cr_names_slot){key, value};
    return true;
}

void cr_names_free(cr_names *m)
{
    cr_free(m->slots);
    *m = (cr_names){0};
}
