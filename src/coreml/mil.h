/* Building a MIL program (Core ML's "ML Program"): values, constants, operations.
 *
 * A value is its name, an identifier that is unique in the program. Functions that make something
 * return NULL when memory runs out and take NULL for an argument that could not be made; the
 * program remembers it (`no_memory`), so that callers check once, at the end. Everything but the
 * weights lives in the arena.
 *
 * A small constant that is wanted twice is written once: the key of its content finds it. Data of
 * 16 or more elements of 8 bits up go to the weight file, as Core ML's own tools do from 10
 * elements on. */
#ifndef CR_COREML_MIL_H
#define CR_COREML_MIL_H

#include "coreml/weight_blob.h"
#include "cr_coreml.pb-c.h"
#include "graph/graph.h"
#include "graph/names.h"

/* MIL's numbers of element types. */
typedef enum cr_mil_type {
    CR_MIL_BOOL = 1,
    CR_MIL_STRING = 2,
    CR_MIL_F16 = 10,
    CR_MIL_F32 = 11,
    CR_MIL_F64 = 12,
    CR_MIL_I8 = 21,
    CR_MIL_I32 = 23,
    CR_MIL_I4 = 25,
    CR_MIL_U8 = 31,
    CR_MIL_U32 = 33,
    CR_MIL_U4 = 35,
    CR_MIL_U2 = 36,
    CR_MIL_U1 = 37,
    CR_MIL_U6 = 38
} cr_mil_type;

typedef struct cr_mil {
    cr_arena arena;
    cr_blob_file weights;
    CrCoreml__Operation **ops;
    size_t op_count, op_cap;
    cr_names used;   /* identifiers that are taken */
    cr_names shared; /* small constants by content */
    bool no_memory;
} cr_mil;

typedef CrCoreml__Operation cr_mil_op;

void cr_mil_free(cr_mil *m);

const char *cr_mil_type_name(cr_mil_type t); /* "fp32", as cast and quantize name it */
size_t cr_mil_type_bits(cr_mil_type t);

/* A new identifier made of `stem`: what is no letter, digit or '_' becomes '_'. */
const char *cr_mil_identifier(cr_mil *m, const char *stem);

CrCoreml__ValueType *cr_mil_tensor_type(cr_mil *m, cr_mil_type t, const cr_shape *s);
CrCoreml__NamedValueType *cr_mil_named_type(cr_mil *m, const char *name, CrCoreml__ValueType *type);

/* ---- small constants ---- */

const char *cr_mil_int(cr_mil *m, int64_t v);
const char *cr_mil_ints(cr_mil *m, const int64_t *v, size_t n); /* [n] */
const char *cr_mil_bool(cr_mil *m, bool v);
const char *cr_mil_bools(cr_mil *m, const bool *v, size_t n); /* [n] */
const char *cr_mil_string(cr_mil *m, const char *v);
const char *cr_mil_float(cr_mil *m, cr_mil_type t, float v); /* F16 or F32 */

/* A value of elements as stored: little-endian, types of fewer than 8 bits packed. Immediate when
 * small, else in the weight file. */
CrCoreml__Value *cr_mil_value(cr_mil *m, cr_mil_type t, const cr_shape *s, const void *data);
CrCoreml__Value *cr_mil_string_value(cr_mil *m, const char *v);

/* A constant under a name that is taken already. */
void cr_mil_const(cr_mil *m, const char *name, cr_mil_type t, const cr_shape *s, const void *data);

/* ---- operations ---- */

/* Appends an operation with room for `inputs` inputs and `outputs` outputs. */
cr_mil_op *cr_mil_begin(cr_mil *m, const char *type, const char *name, size_t inputs,
                        size_t outputs);
void cr_mil_arg(cr_mil *m, cr_mil_op *op, const char *key, const char *value);
void cr_mil_arg_list(cr_mil *m, cr_mil_op *op, const char *key, const char *const *values,
                     size_t n);
void cr_mil_arg_value(cr_mil *m, cr_mil_op *op, const char *key, CrCoreml__Value *value);
/* What operations that stand for constants have in place of inputs. */
void cr_mil_attribute(cr_mil *m, cr_mil_op *op, const char *key, CrCoreml__Value *value);
void cr_mil_out(cr_mil *m, cr_mil_op *op, const char *name, cr_mil_type t, const cr_shape *s);

#endif
