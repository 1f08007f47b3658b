/* The stack machine of pickles, protocols 2 to 5, without the power to call anything.
 *
 * One loop over the opcodes; a table of them tells how many bytes of operand each has. Values and
 * containers live in the caller's arena, stack and memo are here. What a hostile stream can make us
 * allocate is bounded: each opcode makes at most one value, values are counted, memo slots are
 * numbered below the stream's length, and pairs and items are pointers that were on the stack.
 * Nothing here recurses, so nesting costs no stack.
 *
 * Refused: text opcodes of protocols 0 and 1 that torch.save never wrote (INT, STRING, INST ...),
 * extension codes, out-of-band buffers. */
#include <inttypes.h>
#include <string.h>

#include "torch/pickle_machine.h"

/* ---- values ---- */

static cr_status push(cr_pkl_machine *m, cr_pkl *v)
{
    if (!cr_grow((void **)&m->stack, &m->stack_cap, m->depth, sizeof *m->stack))
        return CR_NOMEM(m->err);
    m->stack[m->depth++] = v;
    return CR_OK;
}

/* What lies below the last mark belongs to somebody else. */
static size_t floor_of(const cr_pkl_machine *m)
{
    return m->mark_count ? m->marks[m->mark_count - 1] : 0;
}

static cr_status pop(cr_pkl_machine *m, cr_pkl **out)
{
    CR_PKL_NEED(m->depth > floor_of(m), m, "takes from an empty stack");
    *out = m->stack[--m->depth];
    return CR_OK;
}

static cr_status top(cr_pkl_machine *m, cr_pkl **out)
{
    CR_PKL_NEED(m->depth > floor_of(m), m, "looks at an empty stack");
    *out = m->stack[m->depth - 1];
    return CR_OK;
}

static cr_status push_int(cr_pkl_machine *m, cr_pkl_kind kind, int64_t i)
{
    cr_pkl *v;
    CR_TRY(cr_pkl_make(m, kind, &v));
    v->i = i;
    return push(m, v);
}

static cr_status push_float(cr_pkl_machine *m, double f)
{
    cr_pkl *v;
    CR_TRY(cr_pkl_make(m, CR_PKL_FLOAT, &v));
    v->f = f;
    return push(m, v);
}

/* ---- operands ---- */

static cr_status take(cr_pkl_machine *m, size_t n, const unsigned char **out)
{
    CR_PKL_NEED(n <= (size_t)(m->end - m->at), m, "the stream ends in the middle");
    *out = m->at;
    m->at += n;
    return CR_OK;
}

static uint64_t little(const unsigned char *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

/* An unsigned number of `width` bytes: an index, a length. */
static cr_status take_number(cr_pkl_machine *m, size_t width, uint64_t *out)
{
    const unsigned char *p;
    CR_TRY(take(m, width, &p));
    *out = little(p, width);
    return CR_OK;
}

static cr_status push_text(cr_pkl_machine *m, size_t width)
{
    uint64_t n;
    const unsigned char *p;
    cr_pkl *v;
    CR_TRY(take_number(m, width, &n));
    CR_PKL_NEED(n <= (uint64_t)(m->end - m->at), m, "a string is longer than the stream");
    CR_TRY(take(m, (size_t)n, &p));
    CR_TRY(cr_pkl_make(m, CR_PKL_STRING, &v));
    char *copy = cr_arena_alloc(m->arena, (size_t)n + 1);
    if (!copy) return CR_NOMEM(m->err);
    if (n) memcpy(copy, p, (size_t)n);
    v->text.s = copy;
    v->text.n = (size_t)n;
    return push(m, v);
}

/* Two's complement of any length; above 64 bits it becomes a float. */
static cr_status push_long(cr_pkl_machine *m, size_t width)
{
    uint64_t n;
    const unsigned char *p;
    CR_TRY(take_number(m, width, &n));
    CR_PKL_NEED(n <= (uint64_t)(m->end - m->at), m, "a number is longer than the stream");
    CR_TRY(take(m, (size_t)n, &p));
    if (n > 8) {
        double f = 0;
        for (size_t i = (size_t)n; i-- > 0;) f = f * 256 + p[i];
        return push_float(m, f);
    }
    uint64_t v = little(p, (size_t)n);
    if (n && n < 8 && p[n - 1] & 0x80) v |= UINT64_MAX << (8 * n);
    return push_int(m, CR_PKL_INT, (int64_t)v);
}

static cr_status push_double(cr_pkl_machine *m)
{
    const unsigned char *p;
    uint64_t bits = 0;
    double f;
    CR_TRY(take(m, 8, &p));
    for (int i = 0; i < 8; i++) bits = bits << 8 | p[i];
    memcpy(&f, &bits, sizeof f);
    return push_float(m, f);
}

/* ---- memo ---- */

static cr_status memo_put(cr_pkl_machine *m, uint64_t index)
{
    cr_pkl *v;
    CR_TRY(top(m, &v));
    CR_PKL_NEED(index < (uint64_t)(m->end - m->bytes), m,
                "memo slot %" PRIu64 " in a stream this short", index);
    while (m->memo_count <= index) {
        if (!cr_grow((void **)&m->memo, &m->memo_cap, m->memo_count, sizeof *m->memo))
            return CR_NOMEM(m->err);
        m->memo[m->memo_count++] = NULL;
    }
    m->memo[index] = v;
    return CR_OK;
}

static cr_status memo_get(cr_pkl_machine *m, uint64_t index)
{
    CR_PKL_NEED(index < m->memo_count && m->memo[index], m, "memo slot %" PRIu64 " is empty",
                index);
    return push(m, m->memo[index]);
}

/* ---- containers ---- */

static cr_status pop_mark(cr_pkl_machine *m, size_t *from)
{
    CR_PKL_NEED(m->mark_count > 0, m, "takes a mark that is not there");
    *from = m->marks[--m->mark_count];
    return CR_OK;
}

static cr_status sequence_from(cr_pkl_machine *m, cr_pkl_kind kind, size_t from)
{
    cr_pkl *v;
    CR_TRY(cr_pkl_make_sequence(m, kind, m->stack + from, m->depth - from, &v));
    m->depth = from;
    return push(m, v);
}

static cr_status marked_sequence(cr_pkl_machine *m, cr_pkl_kind kind)
{
    size_t from;
    CR_TRY(pop_mark(m, &from));
    return sequence_from(m, kind, from);
}

static cr_status short_tuple(cr_pkl_machine *m, size_t n)
{
    CR_PKL_NEED(m->depth >= floor_of(m) + n, m, "takes from an empty stack");
    return sequence_from(m, CR_PKL_TUPLE, m->depth - n);
}

/* Items of a list or set, or pairs of a dict, move from the stack into the container below. */
static cr_status add_items(cr_pkl_machine *m, size_t from, bool pairs)
{
    cr_pkl *to;
    const size_t n = m->depth - from;
    CR_PKL_NEED(from > floor_of(m), m, "adds to a container that is not there");
    to = m->stack[from - 1];
    if (pairs) {
        CR_PKL_NEED(to->kind == CR_PKL_DICT, m, "sets items of what is no dict");
        CR_PKL_NEED(n % 2 == 0, m, "a key has no value");
    } else {
        CR_PKL_NEED(to->kind == CR_PKL_LIST || to->kind == CR_PKL_SET, m,
                    "appends to what is no list");
    }
    for (size_t i = 0; i < n; i++) CR_TRY(cr_pkl_append(m, to, m->stack[from + i]));
    m->depth = from;
    return CR_OK;
}

static cr_status add_marked(cr_pkl_machine *m, bool pairs)
{
    size_t from;
    CR_TRY(pop_mark(m, &from));
    return add_items(m, from, pairs);
}

static cr_status add_last(cr_pkl_machine *m, size_t n, bool pairs)
{
    CR_PKL_NEED(m->depth >= floor_of(m) + n, m, "takes from an empty stack");
    return add_items(m, m->depth - n, pairs);
}

static cr_status marked_dict(cr_pkl_machine *m)
{
    size_t from;
    cr_pkl *v;
    CR_TRY(pop_mark(m, &from));
    CR_PKL_NEED((m->depth - from) % 2 == 0, m, "a key has no value");
    CR_TRY(cr_pkl_make_sequence(m, CR_PKL_LIST, m->stack + from, m->depth - from, &v));
    v->kind = CR_PKL_DICT;
    m->depth = from;
    return push(m, v);
}

/* ---- names ---- */

static cr_status push_name(cr_pkl_machine *m, const char *module, const char *name)
{
    cr_pkl_call call;
    cr_pkl *v;
    if (!cr_pkl_lookup(module, name, &call))
        CR_PKL_FAIL(
            m, CR_ERR_UNSUPPORTED,
            "names '%.80s.%.80s', which no checkpoint of a detector needs: refused (only tensors, "
            "plain containers and module classes are read)",
            module, name);
    CR_TRY(cr_pkl_make(m, CR_PKL_NAME, &v));
    v->name = (cr_pkl_name){module, name, call};
    return push(m, v);
}

static cr_status take_line(cr_pkl_machine *m, char **out)
{
    const size_t left = (size_t)(m->end - m->at);
    const unsigned char *stop = memchr(m->at, '\n', left);
    CR_PKL_NEED(stop, m, "the stream ends in the middle");
    CR_PKL_NEED(stop - m->at <= CR_PKL_MAX_NAME, m, "a name has %zu characters",
                (size_t)(stop - m->at));
    *out = cr_arena_strndup(m->arena, (const char *)m->at, (size_t)(stop - m->at));
    m->at = stop + 1;
    return *out ? CR_OK : CR_NOMEM(m->err);
}

static cr_status op_global(cr_pkl_machine *m)
{
    char *module, *name;
    CR_TRY(take_line(m, &module));
    CR_TRY(take_line(m, &name));
    return push_name(m, module, name);
}

static cr_status op_stack_global(cr_pkl_machine *m)
{
    cr_pkl *module, *name;
    CR_TRY(pop(m, &name));
    CR_TRY(pop(m, &module));
    CR_PKL_NEED(name->kind == CR_PKL_STRING && module->kind == CR_PKL_STRING, m,
                "a name is no string");
    CR_PKL_NEED(strlen(name->text.s) == name->text.n && strlen(module->text.s) == module->text.n &&
                    name->text.n <= CR_PKL_MAX_NAME && module->text.n <= CR_PKL_MAX_NAME,
                m, "a name is too long or holds a zero");
    return push_name(m, module->text.s, name->text.s);
}

/* ---- objects ---- */

static cr_status op_reduce(cr_pkl_machine *m)
{
    cr_pkl *args, *f, *v;
    CR_TRY(pop(m, &args));
    CR_TRY(pop(m, &f));
    CR_PKL_NEED(f->kind == CR_PKL_NAME, m, "calls what is no function");
    CR_PKL_NEED(args->kind == CR_PKL_TUPLE, m, "arguments are no tuple");
    if (f->name.call == CR_CALL_SECOND_OF) {
        const cr_pkl *inner = cr_pkl_argument(args, 0);
        cr_pkl *rest = args->list.count > 2 ? args->list.item[2] : NULL;
        CR_PKL_NEED(inner && inner->kind == CR_PKL_NAME && inner->name.call != CR_CALL_SECOND_OF &&
                        rest && rest->kind == CR_PKL_TUPLE,
                    m, "'%s' with arguments of another kind", f->name.name);
        CR_TRY(cr_pkl_call_name(m, &inner->name, rest, &v));
    } else {
        CR_TRY(cr_pkl_call_name(m, &f->name, args, &v));
    }
    return push(m, v);
}

static cr_status op_newobj(cr_pkl_machine *m, bool keywords)
{
    cr_pkl *args, *cls, *v;
    if (keywords) CR_TRY(pop(m, &v));
    CR_TRY(pop(m, &args));
    CR_TRY(pop(m, &cls));
    CR_PKL_NEED(cls->kind == CR_PKL_NAME && args->kind == CR_PKL_TUPLE, m,
                "an instance of what is no class");
    switch (cls->name.call) {
    case CR_CALL_RECORD:
    case CR_CALL_OPAQUE:
        CR_TRY(cr_pkl_make_object(m, &cls->name, &v));
        break;
    case CR_CALL_DICT:
        CR_TRY(cr_pkl_make(m, CR_PKL_DICT, &v));
        break;
    default:
        return cr_pkl_refuse_call(m, &cls->name);
    }
    return push(m, v);
}

/* Attributes of a dict or tensor (hooks, metadata) say nothing about a model. */
static cr_status op_build(cr_pkl_machine *m)
{
    cr_pkl *state, *v;
    CR_TRY(pop(m, &state));
    CR_TRY(top(m, &v));
    if (v->kind == CR_PKL_DICT || v->kind == CR_PKL_TENSOR) return CR_OK;
    CR_PKL_NEED(v->kind == CR_PKL_OBJECT, m, "gives attributes to what has none");
    /* with __slots__ the state is a pair, of which the first is the dict */
    if (state->kind == CR_PKL_TUPLE && state->list.count == 2 &&
        state->list.item[0]->kind == CR_PKL_DICT)
        state = state->list.item[0];
    v->object.state = state;
    return CR_OK;
}

/* ('storage', torch.HalfStorage, '17', 'cpu', 4096), and in the old container a view (None) more.
 */
static cr_status op_persistent(cr_pkl_machine *m)
{
    cr_pkl *id, *v;
    CR_TRY(pop(m, &id));
    const cr_pkl *type = cr_pkl_is_sequence(id) ? cr_pkl_argument(id, 1) : NULL,
                 *key = type ? cr_pkl_argument(id, 2) : NULL,
                 *view = type ? cr_pkl_argument(id, 5) : NULL;
    CR_PKL_NEED(key && cr_pkl_is_text(cr_pkl_argument(id, 0), "storage") &&
                    type->kind == CR_PKL_NAME && key->kind == CR_PKL_STRING &&
                    strlen(key->text.s) == key->text.n,
                m, "a persistent id is no storage");
    if (view && view->kind != CR_PKL_NONE)
        CR_PKL_FAIL(m, CR_ERR_UNSUPPORTED, "storage '%.40s' is a view of another one", key->text.s);
    CR_TRY(cr_pkl_make(m, CR_PKL_STORAGE, &v));
    v->storage = (cr_pkl_storage){type->name.name, key->text.s,
                                  cr_pkl_int(cr_pkl_argument(id, 4), -1), m->storages};
    m->storages = &v->storage;
    CR_PKL_NEED(v->storage.count >= 0, m, "storage '%.40s' has no size", key->text.s);
    return push(m, v);
}

/* ---- the loop ---- */

static cr_status op_mark(cr_pkl_machine *m)
{
    if (m->mark_count == CR_PKL_MAX_MARKS)
        CR_PKL_FAIL(m, CR_ERR_LIMIT, "more than %d open marks", CR_PKL_MAX_MARKS);
    m->marks[m->mark_count++] = m->depth;
    return CR_OK;
}

static cr_status op_pop(cr_pkl_machine *m)
{
    cr_pkl *v;
    if (m->mark_count && m->depth == floor_of(m)) {
        m->mark_count--;
        return CR_OK;
    }
    return pop(m, &v);
}

static cr_status op_pop_mark(cr_pkl_machine *m)
{
    CR_TRY(pop_mark(m, &m->depth));
    return CR_OK;
}

static cr_status op_dup(cr_pkl_machine *m)
{
    cr_pkl *v;
    CR_TRY(top(m, &v));
    return push(m, v);
}

static cr_status op_empty(cr_pkl_machine *m, cr_pkl_kind kind)
{
    cr_pkl *v;
    CR_TRY(cr_pkl_make(m, kind, &v));
    return push(m, v);
}

static cr_status indexed(cr_pkl_machine *m, size_t width,
                         cr_status (*use)(cr_pkl_machine *, uint64_t))
{
    uint64_t index;
    CR_TRY(take_number(m, width, &index));
    return use(m, index);
}

static cr_status push_unsigned(cr_pkl_machine *m, uint64_t v)
{
    return push_int(m, CR_PKL_INT, (int64_t)v);
}

static cr_status push_signed32(cr_pkl_machine *m, uint64_t v)
{
    return push_int(m, CR_PKL_INT, (int32_t)(uint32_t)v);
}

static cr_status op_proto(cr_pkl_machine *m, uint64_t version)
{
    if (version > 5)
        CR_PKL_FAIL(m, CR_ERR_UNSUPPORTED, "pickle protocol %" PRIu64 "; 2 to 5 are read", version);
    return CR_OK;
}

static cr_status op_frame(cr_pkl_machine *m, uint64_t length)
{
    CR_PKL_NEED(length <= (uint64_t)(m->end - m->at), m, "a frame is longer than the stream");
    return CR_OK;
}

static cr_status run_op(cr_pkl_machine *m, unsigned char op)
{
    switch (op) {
    case 0x80:
        return indexed(m, 1, op_proto);
    case 0x95:
        return indexed(m, 8, op_frame);
    case '(':
        return op_mark(m);
    case '0':
        return op_pop(m);
    case '1':
        return op_pop_mark(m);
    case '2':
        return op_dup(m);
    case 'N':
        return op_empty(m, CR_PKL_NONE);
    case 0x88:
        return push_int(m, CR_PKL_BOOL, 1);
    case 0x89:
        return push_int(m, CR_PKL_BOOL, 0);
    case 'J':
        return indexed(m, 4, push_signed32);
    case 'K':
        return indexed(m, 1, push_unsigned);
    case 'M':
        return indexed(m, 2, push_unsigned);
    case 0x8a:
        return push_long(m, 1);
    case 0x8b:
        return push_long(m, 4);
    case 'G':
        return push_double(m);
    case 'U':
    case 0x8c:
    case 'C':
        return push_text(m, 1);
    case 'T':
    case 'X':
    case 'B':
        return push_text(m, 4);
    case 0x8d:
    case 0x8e:
    case 0x96:
        return push_text(m, 8);
    case ']':
        return op_empty(m, CR_PKL_LIST);
    case ')':
        return op_empty(m, CR_PKL_TUPLE);
    case '}':
        return op_empty(m, CR_PKL_DICT);
    case 0x8f:
        return op_empty(m, CR_PKL_SET);
    case 'l':
        return marked_sequence(m, CR_PKL_LIST);
    case 't':
        return marked_sequence(m, CR_PKL_TUPLE);
    case 0x91:
        return marked_sequence(m, CR_PKL_SET);
    case 'd':
        return marked_dict(m);
    case 0x85:
        return short_tuple(m, 1);
    case 0x86:
        return short_tuple(m, 2);
    case 0x87:
        return short_tuple(m, 3);
    case 'a':
        return add_last(m, 1, false);
    case 's':
        return add_last(m, 2, true);
    case 'e':
    case 0x90:
        return add_marked(m, false);
    case 'u':
        return add_marked(m, true);
    case 'q':
        return indexed(m, 1, memo_put);
    case 'r':
        return indexed(m, 4, memo_put);
    case 0x94:
        return memo_put(m, m->memo_count);
    case 'h':
        return indexed(m, 1, memo_get);
    case 'j':
        return indexed(m, 4, memo_get);
    case 'c':
        return op_global(m);
    case 0x93:
        return op_stack_global(m);
    case 'R':
        return op_reduce(m);
    case 0x81:
        return op_newobj(m, false);
    case 0x92:
        return op_newobj(m, true);
    case 'b':
        return op_build(m);
    case 'Q':
        return op_persistent(m);
    default:
        CR_PKL_FAIL(m, CR_ERR_UNSUPPORTED,
                    "operation 0x%02x, which torch.save does not write: refused", op);
    }
}

static cr_status run(cr_pkl_machine *m, cr_pkl **out)
{
    for (;;) {
        m->op = m->at;
        CR_PKL_NEED(m->at < m->end, m, "the stream ends before its STOP");
        const unsigned char op = *m->at++;
        if (op == '.') break;
        CR_TRY(run_op(m, op));
    }
    CR_PKL_NEED(m->depth == 1 && !m->mark_count, m, "%zu values are left at STOP, not one",
                m->depth);
    *out = m->stack[0];
    return CR_OK;
}

cr_status cr_pkl_read(const unsigned char *bytes, size_t size, cr_arena *arena, cr_pickle *out,
                      cr_error *err)
{
    cr_pkl_machine *m = cr_calloc(1, sizeof *m);
    *out = (cr_pickle){0};
    if (!m) return CR_NOMEM(err);
    m->bytes = m->at = m->op = bytes;
    m->end = bytes + size;
    m->arena = arena;
    m->err = err;
    const cr_status st = run(m, &out->root);
    out->size = (size_t)(m->at - bytes);
    out->storages = m->storages;
    cr_free(m->stack);
    cr_free(m->memo);
    cr_free(m);
    return st;
}
