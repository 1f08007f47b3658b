/* Questions about a pickle's values. */
#include <math.h>
#include <string.h>

#include "torch/pickle.h"

bool cr_pkl_is_text(const cr_pkl *v, const char *text)
{
    return v && v->kind == CR_PKL_STRING && v->text.n == strlen(text) &&
           !memcmp(v->text.s, text, v->text.n);
}

const cr_pkl *cr_pkl_get(const cr_pkl *dict, const char *key)
{
    if (!dict || dict->kind != CR_PKL_DICT) return NULL;
    for (size_t i = dict->list.count; i >= 2; i -= 2)
        if (cr_pkl_is_text(dict->list.item[i - 2], key)) return dict->list.item[i - 1];
    return NULL;
}

int64_t cr_pkl_int(const cr_pkl *v, int64_t fallback)
{
    if (!v) return fallback;
    if (v->kind == CR_PKL_INT || v->kind == CR_PKL_BOOL) return v->i;
    if (v->kind == CR_PKL_FLOAT && fabs(v->f) < 1e15 && v->f == floor(v->f)) return (int64_t)v->f;
    return fallback;
}

double cr_pkl_float(const cr_pkl *v, double fallback)
{
    if (!v) return fallback;
    if (v->kind == CR_PKL_FLOAT) return v->f;
    return v->kind == CR_PKL_INT || v->kind == CR_PKL_BOOL ? (double)v->i : fallback;
}

const char *cr_pkl_class(const cr_pkl *v)
{
    return v && v->kind == CR_PKL_OBJECT ? v->object.cls->name : "";
}
