#include "pipeline/suppression_tail.h"

#include "base/error.h"

typedef struct tail {
    cr_graph *g;
    const cr_head *head;
    bool no_memory;
} tail;

/* The one result of a new node; its shape is inferred later. */
static cr_tensor *apply(tail *t, cr_op_kind kind, const char *stem, cr_tensor *const *in, int n_in)
{
    cr_node *n = cr_graph_add_node(t->g, kind, "", n_in, 1, 1);
    cr_tensor *out = cr_graph_new_tensor(t->g, stem, CR_DT_F32, cr_shape_unknown());
    for (int i = 0; n && i < n_in; i++) {
        n->in[i] = in[i];
        t->no_memory |= !in[i];
    }
    if (!n || !out) {
        t->no_memory = true;
        return NULL;
    }
    n->out[0] = out;
    n->n_attrs = 0;
    return out;
}

static cr_tensor *binary(tail *t, cr_op_kind kind, cr_tensor *a, cr_tensor *b)
{
    return apply(t, kind, "suppression", (cr_tensor *[]){a, b}, 2);
}

static cr_tensor *list(tail *t, const int64_t *v, size_t n)
{
    return cr_graph_const_i64(t->g, "suppression", v, n);
}

/* Columns first .. first + count of [1, N, C]. */
static cr_tensor *columns(tail *t, cr_tensor *x, int64_t first, int64_t count)
{
    const int64_t end = first + count, axis = 2;
    return apply(t, CR_OP_Slice, "suppression",
                 (cr_tensor *[]){x, list(t, &first, 1), list(t, &end, 1), list(t, &axis, 1)}, 4);
}

static cr_tensor *rows_first(tail *t, cr_tensor *x)
{
    const int64_t perm[] = {0, 2, 1};
    cr_tensor *y = apply(t, CR_OP_Transpose, "suppression", &x, 1);
    cr_node *n = t->g->nodes[t->g->node_count - 1];
    if (!y || !cr_attr_set_ints(t->g, &n->attrs[0], "perm", perm, 3)) t->no_memory = true;
    n->n_attrs = 1;
    return y;
}

static cr_tensor *constant(tail *t, int64_t rows, int64_t width)
{
    cr_tensor *c =
        cr_graph_new_const(t->g, "suppression", CR_DT_F32, (cr_shape){3, {1, rows, width}});
    if (!c) t->no_memory = true;
    return c;
}

static cr_tensor *joined(tail *t, cr_tensor *a, cr_tensor *b)
{
    cr_tensor *y = apply(t, CR_OP_Concat, "suppression", (cr_tensor *[]){a, b}, 2);
    cr_node *n = t->g->nodes[t->g->node_count - 1];
    cr_attr_set_int(&n->attrs[0], "axis", 2);
    n->n_attrs = 1;
    return y;
}

/* YOLOX's cells in pixels: (offset + cell) * stride, exp(size) * stride, strides 8, 16, 32 (64). */
static cr_tensor *decode_cells(tail *t, cr_tensor *out, int64_t rows, cr_error *err)
{
    cr_tensor *cell = constant(t, rows, 2), *stride = constant(t, rows, 1);
    int64_t row = 0;
    for (int s = 8; s <= 64 && cell && stride && row < rows; s *= 2) {
        const int w = (t->head->input_width + s - 1) / s, h = (t->head->input_height + s - 1) / s;
        for (int i = 0; i < w * h && row < rows; i++, row++) {
            ((float *)cell->data)[2 * row] = (float)(i % w);
            ((float *)cell->data)[2 * row + 1] = (float)(i / w);
            ((float *)stride->data)[row] = (float)s;
        }
    }
    if (row != rows) {
        cr_fail(err, CR_ERR_UNSUPPORTED, "%lld rows are no grid of strides 8 to 64",
                (long long)rows);
        return NULL;
    }
    cr_tensor *offset = columns(t, out, 0, 2), *size = columns(t, out, 2, 2);
    cr_tensor *centre = binary(t, CR_OP_Mul, binary(t, CR_OP_Add, offset, cell), stride);
    cr_tensor *extent = apply(t, CR_OP_Exp, "suppression", &size, 1);
    return joined(t, centre, binary(t, CR_OP_Mul, extent, stride));
}

static cr_tensor *flat(tail *t, const char *name, cr_tensor *x, int64_t rows, int64_t width)
{
    const int64_t shape[] = {rows, width};
    return apply(t, CR_OP_Reshape, name, (cr_tensor *[]){x, list(t, shape, 2)}, 2);
}

/* Pixels to parts of the picture. */
static cr_tensor *normalized(tail *t, cr_tensor *boxes)
{
    cr_tensor *factor = constant(t, 1, 4);
    for (int i = 0; factor && i < 4; i++)
        ((float *)factor->data)[i] =
            1 / (float)(i % 2 ? t->head->input_height : t->head->input_width);
    return binary(t, CR_OP_Mul, boxes, factor);
}

static cr_status check_head(const cr_graph *g, const cr_head *h, cr_error *err)
{
    const char *why = NULL;
    switch (h->kind) {
    case CR_HEAD_YOLOV8:
    case CR_HEAD_YOLOV5:
    case CR_HEAD_YOLOX:
        if (h->masks || h->oriented) why = "suppression would lose masks or angles";
        break;
    case CR_HEAD_POSE:
        why = "suppression would lose the keypoints";
        break;
    case CR_HEAD_END2END:
        why = "the model suppresses by itself";
        break;
    default:
        why = "its head gives no boxes that suppression could take";
    }
    CR_CHECK(!why, err, CR_ERR_UNSUPPORTED, "no suppression for this model: %s", why);
    CR_CHECK(
        g->output_count == 1 && g->outputs[0]->shape.rank == 3 && g->outputs[0]->shape.dim[0] == 1,
        err, CR_ERR_UNSUPPORTED, "no suppression for this model: it takes one picture and output");
    return CR_OK;
}

cr_status cr_suppression_tail(cr_graph *g, const cr_model_info *info, cr_error *err)
{
    tail t = {.g = g, .head = &info->head};
    CR_TRY(check_head(g, t.head, err));
    const cr_head_kind kind = t.head->kind;
    const int64_t nc = t.head->classes;
    cr_tensor *out = g->outputs[0];
    if (kind == CR_HEAD_YOLOV8 && !t.head->transposed) out = rows_first(&t, out);
    const cr_shape *s = &g->outputs[0]->shape;
    const int64_t rows = kind == CR_HEAD_YOLOV8 && !t.head->transposed ? s->dim[2] : s->dim[1];
    cr_tensor *boxes =
        kind == CR_HEAD_YOLOX ? decode_cells(&t, out, rows, err) : columns(&t, out, 0, 4);
    if (!boxes && !t.no_memory) return CR_ERR_UNSUPPORTED;
    cr_tensor *scores = columns(&t, out, kind == CR_HEAD_YOLOV8 ? 4 : 5, nc);
    if (kind != CR_HEAD_YOLOV8) scores = binary(&t, CR_OP_Mul, scores, columns(&t, out, 4, 1));
    scores = flat(&t, "confidence", scores, rows, nc);
    boxes = flat(&t, "coordinates", normalized(&t, boxes), rows, 4);
    cr_tensor **outputs = cr_arena_alloc(&g->arena, 2 * sizeof *outputs);
    if (t.no_memory || !scores || !boxes || !outputs) return CR_NOMEM(err);
    outputs[0] = scores;
    outputs[1] = boxes;
    g->outputs = outputs;
    g->output_count = 2;
    CR_TRY(cr_graph_index(g, err));
    return cr_graph_infer(g, err);
}
