/* A restricted reader of Python pickles: what torch.save writes becomes a tree of values.
 *
 * A pickle is a program for a stack machine that may name and call any Python function; here
 * nothing is ever called. A name (GLOBAL) is looked up in two lists (pickle_names.c): functions
 * whose meaning is known (an ordered dict, a tensor over a storage, a path ...), each carried out
 * by us, and packages whose classes hold a model's modules, which become records of (class name,
 * attributes) without behaviour. Every other name ends the reading with one line.
 *
 * Values may share and even contain each other, as Python's do: whoever walks them bounds his
 * depth. */
#ifndef CR_TORCH_PICKLE_H
#define CR_TORCH_PICKLE_H

#include "base/mem.h"
#include "crayon/status.h"

typedef enum cr_pkl_kind {
    CR_PKL_NONE,
    CR_PKL_BOOL,
    CR_PKL_INT,
    CR_PKL_FLOAT,
    CR_PKL_STRING, /* text, and bytes */
    CR_PKL_LIST,
    CR_PKL_TUPLE,
    CR_PKL_SET,
    CR_PKL_DICT,    /* item[2i] is a key, item[2i+1] its value; a later equal key wins */
    CR_PKL_NAME,    /* a function or class, itself */
    CR_PKL_OBJECT,  /* an instance: class, attributes */
    CR_PKL_STORAGE, /* elements in the container, named by key */
    CR_PKL_TENSOR   /* a view of a storage */
} cr_pkl_kind;

/* What calling a name means. */
typedef enum cr_pkl_call {
    CR_CALL_NEVER,  /* a value only: a dtype, a storage type, a function kept as an attribute */
    CR_CALL_RECORD, /* a class that may be instantiated (NEWOBJ), never called */
    CR_CALL_DICT,
    CR_CALL_SET,
    CR_CALL_TUPLE,
    CR_CALL_TENSOR,    /* (storage, offset, size, stride, ...) */
    CR_CALL_FIRST,     /* gives back its first argument: Parameter(tensor, ...) */
    CR_CALL_SECOND_OF, /* f(function, type, args, state): the call of `function` with args */
    CR_CALL_INSTANCE,  /* copyreg._reconstructor(class, object, None) */
    CR_CALL_METHOD, /* getattr(class, "name"), of a module class only: an object without meaning */
    CR_CALL_OPAQUE  /* an object that nobody looks into: a path, a device, a NumPy scalar */
} cr_pkl_call;

typedef struct cr_pkl_name {
    const char *module, *name; /* 0-terminated, in the arena */
    cr_pkl_call call;
} cr_pkl_name;

enum { CR_PKL_MAX_RANK = 8 };

typedef struct cr_pkl cr_pkl;

typedef struct cr_pkl_storage {
    const char *type;                  /* "FloatStorage" */
    const char *key;                   /* of the container */
    int64_t count;                     /* elements */
    const struct cr_pkl_storage *next; /* of the same pickle */
} cr_pkl_storage;

typedef struct cr_pkl_tensor {
    const cr_pkl_storage *storage;
    int64_t offset; /* in elements, as the strides */
    int rank;
    int64_t size[CR_PKL_MAX_RANK], stride[CR_PKL_MAX_RANK];
} cr_pkl_tensor;

struct cr_pkl {
    cr_pkl_kind kind;
    union {
        int64_t i; /* BOOL, INT */
        double f;
        struct {
            const char *s; /* 0-terminated; may hold zeros */
            size_t n;
        } text;
        struct {
            cr_pkl **item;
            size_t count, cap;
        } list; /* LIST, TUPLE, SET; DICT: 2 per entry */
        cr_pkl_name name;
        struct {
            const cr_pkl_name *cls;
            cr_pkl *state; /* NULL: no BUILD */
        } object;
        cr_pkl_storage storage;
        cr_pkl_tensor tensor;
    };
};

/* What a name may do: false if it is not known, and reading ends. */
bool cr_pkl_lookup(const char *module, const char *name, cr_pkl_call *call);

typedef struct cr_pickle {
    cr_pkl *root;
    size_t size;                    /* of the pickle, with its STOP */
    const cr_pkl_storage *storages; /* all that it names */
} cr_pickle;

/* Reads one pickle from the start of `bytes`. Values live in the arena. Errors: FORMAT (truncated,
 * not a pickle), UNSUPPORTED (a name that is not known, an operation that no checkpoint needs),
 * LIMIT, MEMORY; the message says at which byte. */
cr_status cr_pkl_read(const unsigned char *bytes, size_t size, cr_arena *arena, cr_pickle *out,
                      cr_error *err);

/* The value of a string key, NULL if there is none, or `dict` is NULL or no dict. Linear. */
const cr_pkl *cr_pkl_get(const cr_pkl *dict, const char *key);
bool cr_pkl_is_text(const cr_pkl *v, const char *text);
/* INT and BOOL, and FLOAT without a fraction; `fallback` for anything else. */
int64_t cr_pkl_int(const cr_pkl *v, int64_t fallback);
double cr_pkl_float(const cr_pkl *v, double fallback);
/* The class name of an OBJECT ("Conv2d"), "" for others. */
const char *cr_pkl_class(const cr_pkl *v);

#endif
