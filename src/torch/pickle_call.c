/* A pickle's values: how they are made, and what the call of a known name gives. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "torch/pickle_machine.h"

void cr_pkl_fail(cr_pkl_machine *m, cr_status status, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    cr_fail(m->err, status, "pickle, byte %zu: %s", (size_t)(m->op - m->bytes), text);
}

/* Items count too: a long list may be copied by many short operations. */
static cr_status count(cr_pkl_machine *m, size_t n)
{
    m->values += n;
    if (m->values > CR_PKL_MAX_VALUES)
        CR_PKL_FAIL(m, CR_ERR_LIMIT, "more than %d values", CR_PKL_MAX_VALUES);
    return CR_OK;
}

cr_status cr_pkl_make(cr_pkl_machine *m, cr_pkl_kind kind, cr_pkl **out)
{
    CR_TRY(count(m, 1));
    *out = cr_arena_alloc(m->arena, sizeof **out);
    if (!*out) return CR_NOMEM(m->err);
    (*out)->kind = kind;
    return CR_OK;
}

cr_status cr_pkl_append(cr_pkl_machine *m, cr_pkl *list, cr_pkl *item)
{
    CR_TRY(count(m, 1));
    if (list->list.count == list->list.cap) {
        const size_t cap = list->list.cap ? 2 * list->list.cap : 4;
        cr_pkl **grown = cr_arena_alloc(m->arena, cap * sizeof *grown);
        if (!grown) return CR_NOMEM(m->err);
        if (list->list.count) memcpy(grown, list->list.item, list->list.count * sizeof *grown);
        list->list.item = grown;
        list->list.cap = cap;
    }
    list->list.item[list->list.count++] = item;
    return CR_OK;
}

cr_status cr_pkl_make_sequence(cr_pkl_machine *m, cr_pkl_kind kind, cr_pkl *const *items, size_t n,
                               cr_pkl **out)
{
    CR_TRY(cr_pkl_make(m, kind, out));
    CR_TRY(count(m, n));
    if (!n) return CR_OK;
    (*out)->list.item = cr_arena_alloc(m->arena, n * sizeof *items);
    if (!(*out)->list.item) return CR_NOMEM(m->err);
    memcpy((*out)->list.item, items, n * sizeof *items);
    (*out)->list.count = (*out)->list.cap = n;
    return CR_OK;
}

const cr_pkl *cr_pkl_argument(const cr_pkl *args, size_t i)
{
    return i < args->list.count ? args->list.item[i] : NULL;
}

bool cr_pkl_is_sequence(const cr_pkl *v)
{
    return v && (v->kind == CR_PKL_LIST || v->kind == CR_PKL_TUPLE || v->kind == CR_PKL_SET);
}

cr_status cr_pkl_make_object(cr_pkl_machine *m, const cr_pkl_name *cls, cr_pkl **out)
{
    CR_TRY(cr_pkl_make(m, CR_PKL_OBJECT, out));
    (*out)->object.cls = cls;
    return CR_OK;
}

/* ---- what calling means ---- */

static cr_status call_dict(cr_pkl_machine *m, const cr_pkl *args, cr_pkl **out)
{
    const cr_pkl *pairs = cr_pkl_argument(args, 0);
    CR_TRY(cr_pkl_make(m, CR_PKL_DICT, out));
    for (size_t i = 0; cr_pkl_is_sequence(pairs) && i < pairs->list.count; i++) {
        const cr_pkl *pair = pairs->list.item[i];
        CR_PKL_NEED(cr_pkl_is_sequence(pair) && pair->list.count == 2, m,
                    "an ordered dict's item is no pair");
        CR_TRY(cr_pkl_append(m, *out, pair->list.item[0]));
        CR_TRY(cr_pkl_append(m, *out, pair->list.item[1]));
    }
    return CR_OK;
}

static cr_status call_sequence(cr_pkl_machine *m, cr_pkl_kind kind, const cr_pkl *args,
                               cr_pkl **out)
{
    const cr_pkl *items = cr_pkl_argument(args, 0);
    const bool some = cr_pkl_is_sequence(items);
    return cr_pkl_make_sequence(m, kind, some ? items->list.item : NULL,
                                some ? items->list.count : 0, out);
}

/* The view must lie inside its storage, and hold no element twice more than the storage does:
 * expanded tensors are not stored as parameters, but would be a way to ask for memory. */
static cr_status check_view(cr_pkl_machine *m, const cr_pkl_tensor *t)
{
    int64_t last = t->offset, count = 1;
    bool ok = t->offset >= 0, empty = false;
    for (int d = 0; d < t->rank; d++) empty |= t->size[d] == 0;
    for (int d = 0; ok && d < t->rank; d++) {
        int64_t reach;
        ok = t->size[d] >= 0 && t->stride[d] >= 0;
        if (!ok || empty) continue;
        ok = !__builtin_mul_overflow(t->size[d] - 1, t->stride[d], &reach) &&
             !__builtin_add_overflow(last, reach, &last) &&
             !__builtin_mul_overflow(count, t->size[d], &count);
    }
    CR_PKL_NEED(ok && (empty || (last < t->storage->count && count <= t->storage->count)), m,
                "a tensor reaches beyond its storage");
    return CR_OK;
}

static cr_status call_tensor(cr_pkl_machine *m, const cr_pkl *args, cr_pkl **out)
{
    const cr_pkl *storage = cr_pkl_argument(args, 0), *size = cr_pkl_argument(args, 2),
                 *stride = cr_pkl_argument(args, 3);
    CR_PKL_NEED(storage && storage->kind == CR_PKL_STORAGE && cr_pkl_is_sequence(size) &&
                    cr_pkl_is_sequence(stride),
                m, "a tensor is made of something else than storage, size and stride");
    CR_PKL_NEED(size->list.count == stride->list.count && size->list.count <= CR_PKL_MAX_RANK, m,
                "a tensor has %zu dimensions and %zu strides", size->list.count,
                stride->list.count);
    CR_TRY(cr_pkl_make(m, CR_PKL_TENSOR, out));
    cr_pkl_tensor *t = &(*out)->tensor;
    t->storage = &storage->storage;
    t->offset = cr_pkl_int(cr_pkl_argument(args, 1), -1);
    t->rank = (int)size->list.count;
    for (int d = 0; d < t->rank; d++) {
        t->size[d] = cr_pkl_int(size->list.item[d], -1);
        t->stride[d] = cr_pkl_int(stride->list.item[d], -1);
        if (t->size[d] == 1 && t->stride[d] > 0) t->stride[d] = 0; /* is never stepped by */
    }
    return check_view(m, t);
}

cr_status cr_pkl_refuse_call(cr_pkl_machine *m, const cr_pkl_name *f)
{
    CR_PKL_FAIL(m, CR_ERR_UNSUPPORTED,
                "calls '%.80s.%.80s': refused (nothing in a pickle is executed)", f->module,
                f->name);
}

/* A module's class, or a module. */
static bool is_record(const cr_pkl *v)
{
    if (v && v->kind == CR_PKL_NAME) return v->name.call == CR_CALL_RECORD;
    return v && v->kind == CR_PKL_OBJECT && v->object.cls->call == CR_CALL_RECORD;
}

cr_status cr_pkl_call_name(cr_pkl_machine *m, const cr_pkl_name *f, const cr_pkl *args,
                           cr_pkl **out)
{
    const cr_pkl *first = cr_pkl_argument(args, 0);
    switch (f->call) {
    case CR_CALL_DICT:
        return call_dict(m, args, out);
    case CR_CALL_SET:
        return call_sequence(m, CR_PKL_SET, args, out);
    case CR_CALL_TUPLE:
        return call_sequence(m, CR_PKL_TUPLE, args, out);
    case CR_CALL_TENSOR:
        return call_tensor(m, args, out);
    case CR_CALL_OPAQUE:
        return cr_pkl_make_object(m, f, out);
    case CR_CALL_FIRST:
        CR_PKL_NEED(first, m, "'%s' without arguments", f->name);
        *out = args->list.item[0];
        return CR_OK;
    case CR_CALL_METHOD:
        if (!is_record(first)) return cr_pkl_refuse_call(m, f);
        return cr_pkl_make_object(m, f, out);
    case CR_CALL_INSTANCE:
        CR_PKL_NEED(first && first->kind == CR_PKL_NAME, m, "an instance of what is no class");
        if (first->name.call != CR_CALL_RECORD) return cr_pkl_refuse_call(m, &first->name);
        return cr_pkl_make_object(m, &first->name, out);
    case CR_CALL_RECORD: /* SimpleNamespace's heirs: class(), then their attributes */
        if (args->list.count) return cr_pkl_refuse_call(m, f);
        return cr_pkl_make_object(m, f, out);
    default:
        return cr_pkl_refuse_call(m, f);
    }
}
