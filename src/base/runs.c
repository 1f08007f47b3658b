/* COCO's text for run lengths (rleToString and rleFrString of pycocotools' maskApi.c define it):
 * from the fourth run on, the difference to the run before the last; five bits a character, lowest
 * first, the sixth bit says that more follow, counted from '0'. */
#include "base/runs.h"

#include <stdlib.h>

#include "base/mem.h"

enum { GROUPS = 7 }; /* of five bits: a difference of two 32-bit numbers has 33 */

void cr_runs_free(cr_runs *r)
{
    cr_free(r->length);
    *r = (cr_runs){0};
}

static bool push(cr_runs *r, uint32_t length)
{
    if (!cr_grow((void **)&r->length, &r->cap, r->count, sizeof *r->length)) return false;
    r->length[r->count++] = length;
    return true;
}

bool cr_runs_add(cr_runs *r, bool on, uint32_t length)
{
    if (!r->count && on && !push(r, 0)) return false;
    if (!length && r->count) return true;
    if (r->count && ((r->count - 1) & 1) == on) {
        r->length[r->count - 1] += length;
        return true;
    }
    return push(r, length);
}

char *cr_runs_to_text(const cr_runs *r)
{
    char *text = malloc(GROUPS * r->count + 1), *to = text;
    for (size_t i = 0; text && i < r->count; i++) {
        int64_t v = (int64_t)r->length[i] - (i > 2 ? (int64_t)r->length[i - 2] : 0);
        for (bool more = true; more;) {
            const int bits = (int)(v & 31);
            v >>= 5;
            more = bits & 16 ? v != -1 : v != 0;
            *to++ = (char)('0' + (bits | (more ? 32 : 0)));
        }
    }
    if (text) *to = 0;
    return text;
}

/* One number; the place behind it, or NULL. */
static const char *read_number(const char *at, int64_t *out)
{
    uint64_t value = 0;
    for (int k = 0; k < GROUPS; k++) {
        const int bits = *at - '0';
        if (bits < 0 || bits > 63) return NULL;
        at++;
        value |= (uint64_t)(bits & 31) << (5 * k);
        if (bits & 32) continue;
        if (bits & 16) value |= ~UINT64_C(0) << (5 * (k + 1));
        *out = (int64_t)value;
        return at;
    }
    return NULL;
}

cr_status cr_runs_from_text(const char *text, uint32_t pixels, cr_runs *out, cr_error *err)
{
    int64_t v, before[2] = {0, 0}; /* the last but one, the last */
    uint32_t left = pixels;
    const char *at = text;
    for (size_t i = 0; *at; i++) {
        const char *next = read_number(at, &v);
        CR_CHECK(next, err, CR_ERR_FORMAT, "no run length at character %zu", (size_t)(at - text));
        if (i > 2) v += before[0];
        CR_CHECK(v >= 0 && v <= left, err, CR_ERR_FORMAT,
                 "run %zu is %lld long where %u pixels are left", i, (long long)v, left);
        if (!cr_runs_add(out, i & 1, (uint32_t)v)) return CR_NOMEM(err);
        left -= (uint32_t)v;
        before[0] = before[1];
        before[1] = v;
        at = next;
    }
    CR_CHECK(!left, err, CR_ERR_FORMAT, "the runs end %u pixels too early", left);
    return CR_OK;
}
