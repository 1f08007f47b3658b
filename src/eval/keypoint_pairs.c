#include "eval/keypoint_pairs.h"

#include <string.h>
#include <strings.h>

enum { NAMES_MAX = 1000 };

cr_status cr_labels_add_pairs(cr_labels *l, const int *pair, size_t n, cr_error *err)
{
    for (size_t k = 0; k < n; k++)
        CR_CHECK(pair[k] >= 0 && (size_t)pair[k] < n && pair[pair[k]] == (int)k, err, CR_ERR_FORMAT,
                 "the mirror of keypoint %zu is not mirrored to it", k);
    if (l->pairs) {
        if (l->pair_count != n || memcmp(l->pairs, pair, n * sizeof *pair)) l->mixed_pairs = true;
        return CR_OK;
    }
    l->pairs = cr_arena_alloc(&l->arena, (n + 1) * sizeof *pair);
    if (!l->pairs) return CR_NOMEM(err);
    memcpy(l->pairs, pair, n * sizeof *pair);
    l->pair_count = n;
    return CR_OK;
}

const int *cr_labels_keypoint_pairs(const cr_labels *l, size_t *count)
{
    const bool known = l->pairs && !l->mixed_pairs;
    *count = known ? l->pair_count : 0;
    return known ? l->pairs : NULL;
}

/* Is `b` the name `a` with its first "left" turned into "right"? */
static bool is_other_side(const char *a, const char *b)
{
    const size_t n = strlen(a);
    for (size_t i = 0; i + 4 <= n; i++)
        if (!strncasecmp(a + i, "left", 4))
            return strlen(b) == n + 1 && !strncasecmp(a, b, i) && !strncasecmp(b + i, "right", 5) &&
                   !strcasecmp(a + i + 4, b + i + 5);
    return false;
}

static const char *name_at(const json_t *names, size_t k)
{
    const char *name = json_string_value(json_array_get(names, k));
    return name ? name : "";
}

cr_status cr_labels_pair_names(cr_labels *l, const json_t *names, cr_error *err)
{
    const size_t n = json_array_size(names);
    int pair[NAMES_MAX];
    bool any = false;
    if (n > NAMES_MAX) return CR_OK;
    for (size_t k = 0; k < n; k++) pair[k] = (int)k;
    for (size_t a = 0; a < n; a++)
        for (size_t b = 0; b < n; b++)
            if (pair[a] == (int)a && pair[b] == (int)b &&
                is_other_side(name_at(names, a), name_at(names, b))) {
                pair[a] = (int)b;
                pair[b] = (int)a;
                any = true;
            }
    return any ? cr_labels_add_pairs(l, pair, n, err) : CR_OK;
}
