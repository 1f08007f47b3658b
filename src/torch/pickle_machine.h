/* The state of a pickle's stack machine, shared by the files that run it: pickle.c (the operations)
 * and pickle_call.c (what a call of a known name means). */
#ifndef CR_TORCH_PICKLE_MACHINE_H
#define CR_TORCH_PICKLE_MACHINE_H

#include "base/error.h"
#include "torch/pickle.h"

enum { CR_PKL_MAX_VALUES = 1 << 21, CR_PKL_MAX_MARKS = 1000, CR_PKL_MAX_NAME = 256 };

typedef struct cr_pkl_machine {
    const unsigned char *bytes, *at, *end;
    const unsigned char *op; /* of the running opcode, for messages */
    cr_arena *arena;
    cr_error *err;
    cr_pkl **stack;
    size_t depth, stack_cap;
    size_t marks[CR_PKL_MAX_MARKS], mark_count;
    cr_pkl **memo;
    size_t memo_count, memo_cap;
    size_t values;
    cr_pkl_storage *storages;
} cr_pkl_machine;

/* Gives `status`, with a message that says where; the compiler sees that it is no success. */
#define CR_PKL_FAIL(m, status, ...)                                                                \
    do {                                                                                           \
        cr_pkl_fail((m), (status), __VA_ARGS__);                                                   \
        return (status);                                                                           \
    } while (0)
#define CR_PKL_NEED(cond, m, ...)                                                                  \
    do {                                                                                           \
        if (!(cond)) CR_PKL_FAIL(m, CR_ERR_FORMAT, __VA_ARGS__);                                   \
    } while (0)

/* Fills err: "pickle, byte N: ...". */
void cr_pkl_fail(cr_pkl_machine *m, cr_status status, const char *fmt, ...) CR_PRINTF(3, 4);

cr_status cr_pkl_make(cr_pkl_machine *m, cr_pkl_kind kind, cr_pkl **out);
cr_status cr_pkl_make_object(cr_pkl_machine *m, const cr_pkl_name *cls, cr_pkl **out);
/* A LIST, TUPLE or SET of what n pointers say. */
cr_status cr_pkl_make_sequence(cr_pkl_machine *m, cr_pkl_kind kind, cr_pkl *const *items, size_t n,
                               cr_pkl **out);
cr_status cr_pkl_append(cr_pkl_machine *m, cr_pkl *list, cr_pkl *item);
bool cr_pkl_is_sequence(const cr_pkl *v);                    /* LIST, TUPLE or SET; NULL is none */
const cr_pkl *cr_pkl_argument(const cr_pkl *args, size_t i); /* NULL beyond the end */

/* f(*args), args a TUPLE. What has no meaning here is refused. */
cr_status cr_pkl_call_name(cr_pkl_machine *m, const cr_pkl_name *f, const cr_pkl *args,
                           cr_pkl **out);
cr_status cr_pkl_refuse_call(cr_pkl_machine *m, const cr_pkl_name *f);

#endif
