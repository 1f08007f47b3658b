#include "live/appear.h"

#include <string.h>

#include "base/error.h"
#include "base/mem.h"

static cr_status new_track(cr_appear *a, int id, bool *fresh, cr_error *err)
{
    const size_t at = (size_t)id / 8;
    const unsigned char bit = (unsigned char)(1 << id % 8);
    if (at >= a->track_bytes) {
        const size_t size = at * 2 + 64;
        unsigned char *bits = cr_realloc(a->tracks, size);
        if (!bits) return CR_NOMEM(err);
        memset(bits + a->track_bytes, 0, size - a->track_bytes);
        a->tracks = bits;
        a->track_bytes = size;
    }
    if (!(a->tracks[at] & bit)) *fresh = true;
    a->tracks[at] |= bit;
    return CR_OK;
}

static bool had_class(const cr_appear *a, int id)
{
    for (size_t i = 0; i < a->class_count; i++)
        if (a->classes[i] == id) return true;
    return false;
}

static cr_status keep_classes(cr_appear *a, const cr_detections *found, cr_error *err)
{
    if (found->count > a->class_capacity) {
        int *classes = cr_realloc(a->classes, found->count * sizeof *classes);
        if (!classes) return CR_NOMEM(err);
        a->classes = classes;
        a->class_capacity = found->count;
    }
    a->class_count = found->count;
    for (size_t i = 0; i < found->count; i++) a->classes[i] = found->items[i].class_id;
    return CR_OK;
}

cr_status cr_appear_look(cr_appear *a, const cr_detections *found, bool *appeared, cr_error *err)
{
    *appeared = false;
    for (size_t i = 0; i < found->count; i++) {
        const cr_detection *x = &found->items[i];
        if (x->track > 0)
            CR_TRY(new_track(a, x->track, appeared, err));
        else if (!had_class(a, x->class_id))
            *appeared = true;
    }
    return keep_classes(a, found, err);
}

void cr_appear_clear(cr_appear *a)
{
    cr_free(a->tracks);
    cr_free(a->classes);
    *a = (cr_appear){0};
}
