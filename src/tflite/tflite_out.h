/* The file while it is being made. Shared by the writer's files only. */
#ifndef CR_TFLITE_TFLITE_OUT_H
#define CR_TFLITE_TFLITE_OUT_H

#include "graph/nn_rules.h"
#include "graph/recipe.h"
#include "tflite/tflite_layout.h"
#include "tflite/tflite_schema.h"
#include "tflite/tflite_write.h"

/* What a tensor's elements are: float32 (q NULL), or codes. */
typedef struct cr_tfl_form {
    cr_tfl_type type;
    float scale;
    int32_t zero_point;
    const cr_qparams *axis; /* a scale per index of an axis: weights. NULL else */
    int file_axis;
} cr_tfl_form;

static inline cr_tfl_form cr_tfl_float(void)
{
    return (cr_tfl_form){.type = CR_TFL_F32};
}

static inline bool cr_tfl_is_int(const cr_tfl_form *f)
{
    return f->type == CR_TFL_I8 || f->type == CR_TFL_I16;
}

typedef struct cr_tfl_tensor {
    const char *name;
    cr_tfl_form form;
    int rank;
    int32_t dim[CR_MAX_RANK];
    const void *data; /* NULL: computed */
    size_t bytes;
} cr_tfl_tensor;

typedef struct cr_tfl_field { /* of an operator's options */
    int slot;
    char kind; /* 'b' 8 bits, 'i' int32, 'f' float32 */
    double value;
} cr_tfl_field;

enum { CR_TFL_MAX_FIELDS = 8 };

typedef struct cr_tfl_operator {
    cr_tfl_op code;
    int version;
    int *in, *out; /* -1: absent */
    int n_in, n_out;
    cr_tfl_field field[CR_TFL_MAX_FIELDS];
    int fields;
} cr_tfl_operator;

/* One way in which a tensor of the graph is in the file. */
typedef struct cr_tfl_variant {
    int index;
    cr_tfl_form form;
    cr_layout layout;
    struct cr_tfl_variant *next;
} cr_tfl_variant;

typedef struct cr_tfl_out {
    const cr_graph *g;
    const cr_tfl_write_options *options;
    const cr_recipe_entry **entry; /* by tensor id */
    cr_tfl_variant **variants;     /* by tensor id; the first is how it was made */
    bool *done;                    /* by node index: fused into an earlier one */
    cr_tfl_tensor *tensors;
    size_t tensor_count, tensor_cap;
    cr_tfl_operator *ops;
    size_t op_count, op_cap;
    int inputs[CR_MAX_RANK], outputs[64];
    struct cr_tfl_zeros { /* vectors of zero points that are in the FlatBuffer already */
        size_t count;
        uint32_t ref;
    } zeros[64];
    int zero_vectors;
    cr_arena arena;
    bool failed; /* out of memory */
} cr_tfl_out;

/* Building blocks. Indexes of tensors in the file; -1 after a failure, which o->failed keeps. */
int cr_tfl_new_tensor(cr_tfl_out *o, const char *name, const cr_tfl_form *form,
                      const cr_shape *shape, const cr_layout *layout);
int cr_tfl_new_i32(cr_tfl_out *o, const char *name, const int32_t *values, int rows, int cols);
cr_tfl_operator *cr_tfl_new_op(cr_tfl_out *o, cr_tfl_op code, int n_in, int n_out);
void cr_tfl_set(cr_tfl_operator *op, int slot, char kind, double value);

bool cr_tfl_form_equal(const cr_tfl_form *a, const cr_tfl_form *b);
cr_tfl_type cr_tfl_type_of(cr_dtype t); /* -1: TFLite has none */
cr_tfl_form cr_tfl_form_of(const cr_qparams *q);
/* As the recipe says: codes, or float32. */
cr_tfl_form cr_tfl_stored_form(const cr_tfl_out *o, const cr_tensor *t);

/* The tensor t of the graph in that form and order, converted and transposed where it is not. */
int cr_tfl_get(cr_tfl_out *o, const cr_tensor *t, const cr_tfl_form *form, const cr_layout *layout);
/* The order in which t lies as it was made; that of constants is plain. */
cr_layout cr_tfl_layout_of(const cr_tfl_out *o, const cr_tensor *t);
/* A new tensor for t, made by the operator that is appended next or was appended last; where `form`
 * is not what the recipe says, a QUANTIZE follows by cr_tfl_made. */
int cr_tfl_make(cr_tfl_out *o, const cr_tensor *t, const cr_tfl_form *form,
                const cr_layout *layout);
void cr_tfl_made(cr_tfl_out *o, const cr_tensor *t);
/* t is another name of what is in the file already. */
void cr_tfl_rename(cr_tfl_out *o, const cr_tensor *t, int index, const cr_tfl_form *form,
                   const cr_layout *layout);

/* Weights in the order of the file: file axis i is graph axis order[i]. With an entry: codes. */
int cr_tfl_weight(cr_tfl_out *o, const cr_tensor *w, const cr_qparams *q, const int *order,
                  int rank, const int32_t *dims, int file_axis);

cr_status cr_tfl_lower_node(cr_tfl_out *o, const cr_node *n, cr_error *err);
/* Convolutions, gemms (tflite_weights.c). */
cr_status cr_tfl_lower_conv(cr_tfl_out *o, const cr_node *n, cr_error *err);
cr_status cr_tfl_lower_gemm(cr_tfl_out *o, const cr_node *n, cr_error *err);
/* Movement (tflite_move.c). */
cr_status cr_tfl_lower_reshape(cr_tfl_out *o, const cr_node *n, cr_error *err);
cr_status cr_tfl_lower_transpose(cr_tfl_out *o, const cr_node *n, cr_error *err);
cr_status cr_tfl_lower_copy(cr_tfl_out *o, const cr_node *n, cr_error *err);
cr_status cr_tfl_lower_slice(cr_tfl_out *o, const cr_node *n, cr_error *err);
cr_status cr_tfl_lower_split(cr_tfl_out *o, const cr_node *n, cr_error *err);
cr_status cr_tfl_lower_gather(cr_tfl_out *o, const cr_node *n, cr_error *err);
cr_status cr_tfl_lower_pad(cr_tfl_out *o, const cr_node *n, cr_error *err);
cr_status cr_tfl_lower_resize(cr_tfl_out *o, const cr_node *n, cr_error *err);
cr_status cr_tfl_lower_depth_space(cr_tfl_out *o, const cr_node *n, cr_error *err);
/* Codes are moved as they are: the form of the input. */
cr_tfl_form cr_tfl_moved_form(const cr_tfl_out *o, const cr_tensor *in, const cr_tensor *out);
/* Input 0 to output 0 by an operator of one input, in one order. */
void cr_tfl_one_to_one(cr_tfl_out *o, const cr_node *n, cr_tfl_op code, const cr_tfl_form *in,
                       const cr_tfl_form *out, const cr_layout *l, cr_tfl_operator **op);
int64_t cr_tfl_axis_of(const cr_node *n, const char *name, int64_t fallback, int rank);
cr_op_call cr_tfl_call_of(const cr_node *n);
cr_status cr_tfl_refuse(const cr_node *n, const char *why, cr_error *err);

/* Does TFLite's SAME pad this window as the node does; is it padded at all? */
bool cr_tfl_same(const cr_window *w);
bool cr_tfl_unpadded(const cr_window *w);

/* The activation behind n that its operator can apply itself: its fused number, and in *end the
 * tensor that then comes out. */
int cr_tfl_fused_activation(cr_tfl_out *o, const cr_node *n, const cr_tensor **end);

/* NULL: the device runs this operator; else why it does not. */
const char *cr_tfl_device_refuses(const cr_tfl_out *o, const cr_tfl_operator *op, cr_tfl_device d);

#endif
