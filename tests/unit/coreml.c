/* Core ML packages, read back by this file's own reading: programs are well formed, each form of
 * storing weights gives their numbers bit for bit, folders are replaced whole or not at all. What
 * coremltools says to them: tests/peers/coreml.sh. */
#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "coreml/coreml.h"
#include "coreml/weight_blob.h"
#include "cr_coreml.pb-c.h"
#include "graph/names.h"
#include "graph/recipe.h"
#include "onnx/qdq.h"
#include "quant/palette.h"
#include "unit/random_net.h"

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != CR_OK) fail_msg("%s: %s", #call, err.message);                               \
    } while (0)

/* ---- reading ---- */

typedef struct package {
    unsigned char *model, *weights;
    size_t model_size, weights_size;
    int level;
    CrCoreml__Model *m;
    const CrCoreml__Block *block;
} package;

static void package_free(package *p)
{
    cr_coreml__model__free_unpacked(p->m, NULL);
    cr_free(p->model);
    cr_free(p->weights);
}

static cr_status package_make(const cr_graph *g, const cr_coreml_options *o, package *p,
                              cr_error *err)
{
    *p = (package){0};
    const cr_status st = cr_coreml_serialize(g, o, &p->model, &p->model_size, &p->weights,
                                             &p->weights_size, &p->level, err);
    if (st != CR_OK) return st;
    p->m = cr_coreml__model__unpack(NULL, p->model_size, p->model);
    assert_non_null(p->m);
    const CrCoreml__Model *inner = p->m->pipeline ? p->m->pipeline->models[0] : p->m;
    const CrCoreml__Function *f = inner->ml_program->functions[0]->value;
    assert_int_equal(inner->specification_version, p->level + 1);
    p->block = f->block_specializations[0]->value;
    assert_string_equal(f->opset, f->block_specializations[0]->key);
    return CR_OK;
}

static uint64_t get(const unsigned char *b, size_t at, int bytes)
{
    uint64_t v = 0;
    for (int i = bytes - 1; i >= 0; i--) v = v << 8 | b[at + (size_t)i];
    return v;
}

/* A value's elements as they are stored, packed. */
static const unsigned char *stored(const package *p, const CrCoreml__Value *v, size_t *size)
{
    if (!v->blob_file_value) {
        const CrCoreml__TensorValue *t = v->immediate_value->tensor;
        *size = t->floats ? t->floats->n_values * 4
                : t->ints ? t->ints->n_values * 4
                          : t->bytes->values.len;
        return t->floats ? (void *)t->floats->values
               : t->ints ? (void *)t->ints->values
                         : t->bytes->values.data;
    }
    const uint64_t at = v->blob_file_value->offset;
    assert_string_equal(v->blob_file_value->file_name, "@model_path/weights/weight.bin");
    assert_true(at % 64 == 0 && at >= 64 && at + 64 <= p->weights_size);
    assert_true(get(p->weights, at, 4) == CR_BLOB_SENTINEL);
    *size = get(p->weights, at + 8, 8);
    const uint64_t data = get(p->weights, at + 16, 8);
    assert_true(data % 64 == 0 && data + *size <= p->weights_size);
    assert_true(get(p->weights, at + 24, 8) < 8);
    return p->weights + data;
}

static size_t elements(const CrCoreml__ValueType *t)
{
    size_t n = 1;
    for (size_t i = 0; i < t->tensor_type->n_dimensions; i++)
        n *= t->tensor_type->dimensions[i]->constant->size;
    return n;
}

static const CrCoreml__Value *part(const CrCoreml__Operation *op, const char *key)
{
    for (size_t i = 0; i < op->n_attributes; i++)
        if (!strcmp(op->attributes[i]->key, key)) return op->attributes[i]->value;
    for (size_t i = 0; i < op->n_inputs; i++)
        if (!strcmp(op->inputs[i]->key, key)) return op->inputs[i]->value->arguments[0]->value;
    return NULL;
}

static float number(const package *p, const CrCoreml__Value *v, size_t i)
{
    size_t size;
    const unsigned char *b = stored(p, v, &size);
    float f;
    assert_true(v->type->tensor_type->data_type == 10 || v->type->tensor_type->data_type == 11);
    if (v->type->tensor_type->data_type == 10) return cr_f16_to_f32((uint16_t)get(b, 2 * i, 2));
    memcpy(&f, b + 4 * i, 4);
    return f;
}

static int bits_of(int type)
{
    return type == 25 || type == 35 ? 4 : type == 36 ? 2 : type == 37 ? 1 : type == 38 ? 6 : 8;
}

static int code(const package *p, const CrCoreml__Value *v, size_t i, int bits, bool is_signed)
{
    size_t size;
    const unsigned char *b = stored(p, v, &size);
    int c = 0;
    for (int k = 0; k < bits; k++) {
        const size_t at = i * (size_t)bits + (size_t)k;
        assert_true(at / 8 < size);
        c |= (b[at / 8] >> (at % 8) & 1) << k;
    }
    return is_signed && c >= 1 << (bits - 1) ? c - (1 << bits) : c;
}

/* Where element i of a tensor lies in a grid of fewer cells per dimension. */
static size_t cell(const CrCoreml__TensorType *t, const CrCoreml__TensorType *grid, size_t i)
{
    size_t at = 0, step = 1;
    for (size_t d = t->n_dimensions; d-- > 0;) {
        const size_t n = t->dimensions[d]->constant->size, m = grid->dimensions[d]->constant->size;
        assert_true(n % m == 0);
        at += i % n / (n / m) * step;
        i /= n;
        step *= m;
    }
    return at;
}

/* Element i of what a constant operation stands for, by the definitions of MIL. */
static float element(const package *p, const CrCoreml__Operation *op, size_t i)
{
    if (!strcmp(op->type, "const")) return number(p, part(op, "val"), i);
    if (!strcmp(op->type, "constexpr_cast")) return number(p, part(op, "source_val"), i);
    const CrCoreml__TensorType *whole = op->outputs[0]->type->tensor_type;
    if (!strcmp(op->type, "constexpr_affine_dequantize")) {
        const CrCoreml__Value *q = part(op, "quantized_data"), *s = part(op, "scale");
        const size_t axis = (size_t)part(op, "axis")->immediate_value->tensor->ints->values[0];
        size_t inner = 1;
        for (size_t d = axis + 1; d < whole->n_dimensions; d++)
            inner *= whole->dimensions[d]->constant->size;
        const size_t k = elements(s->type) > 1 ? i / inner % elements(s->type) : 0;
        const bool is_signed = q->type->tensor_type->data_type == 21;
        return (float)(code(p, q, i, 8, is_signed) -
                       code(p, part(op, "zero_point"), k, 8, is_signed)) *
               number(p, s, k);
    }
    if (!strcmp(op->type, "constexpr_blockwise_shift_scale")) {
        const CrCoreml__Value *q = part(op, "data"), *s = part(op, "scale"),
                              *z = part(op, "offset");
        const int type = q->type->tensor_type->data_type, bits = bits_of(type);
        const size_t k = cell(whole, s->type->tensor_type, i);
        const bool is_signed = type == 21 || type == 25;
        const int zero = z ? code(p, z, k, bits, is_signed) : 0;
        return (float)(code(p, q, i, bits, is_signed) - zero) * number(p, s, k);
    }
    assert_string_equal(op->type, "constexpr_lut_to_dense");
    const CrCoreml__Value *q = part(op, "indices"), *lut = part(op, "lut");
    if (part(op, "shape")) {
        int bits = 0;
        while (1u << bits < elements(lut->type)) bits++;
        return number(p, lut, (size_t)code(p, q, i, bits, false));
    }
    const int bits = bits_of(q->type->tensor_type->data_type);
    CrCoreml__TensorType grid = *lut->type->tensor_type;
    grid.n_dimensions -= 2;
    return number(p, lut, (cell(whole, &grid, i) << bits) + (size_t)code(p, q, i, bits, false));
}

static const CrCoreml__Operation *operation(const package *p, const char *type, size_t which)
{
    for (size_t i = 0; i < p->block->n_operations; i++)
        if (!strcmp(p->block->operations[i]->type, type) && !which--)
            return p->block->operations[i];
    fail_msg("no operation %s", type);
    return NULL;
}

/* The constant behind an argument of an operation. */
static const CrCoreml__Operation *constant(const package *p, const CrCoreml__Operation *op,
                                           const char *key)
{
    for (size_t k = 0; k < op->n_inputs; k++) {
        if (strcmp(op->inputs[k]->key, key)) continue;
        const char *name = op->inputs[k]->value->arguments[0]->name;
        for (size_t i = 0; i < p->block->n_operations; i++)
            if (!strcmp(p->block->operations[i]->outputs[0]->name, name))
                return p->block->operations[i];
    }
    fail_msg("%s has no constant %s", op->type, key);
    return NULL;
}

static bool is_identifier(const char *s)
{
    if (!*s || (*s >= '0' && *s <= '9')) return false;
    for (; *s; s++)
        if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9') ||
              *s == '_'))
            return false;
    return true;
}

/* Every name is an identifier, given once, and known where it is used. */
static void check_program(const package *p)
{
    const CrCoreml__Model *inner = p->m->pipeline ? p->m->pipeline->models[0] : p->m;
    const CrCoreml__Function *f = inner->ml_program->functions[0]->value;
    cr_names known = {0};
    for (size_t i = 0; i < f->n_inputs; i++) cr_names_put(&known, f->inputs[i]->name, (void *)f);
    for (size_t i = 0; i < p->block->n_operations; i++) {
        const CrCoreml__Operation *op = p->block->operations[i];
        assert_true(op->n_outputs > 0);
        for (size_t k = 0; k < op->n_inputs; k++)
            for (size_t j = 0; j < op->inputs[k]->value->n_arguments; j++) {
                const CrCoreml__Argument__Binding *b = op->inputs[k]->value->arguments[j];
                if (b->name && !cr_names_get(&known, b->name))
                    fail_msg("%s reads %s before it is there", op->type, b->name);
                assert_true(b->name || b->value);
            }
        for (size_t k = 0; k < op->n_outputs; k++) {
            const char *name = op->outputs[k]->name;
            if (!is_identifier(name)) fail_msg("'%s' is no identifier", name);
            if (cr_names_get(&known, name)) fail_msg("'%s' is given twice", name);
            cr_names_put(&known, name, (void *)op);
        }
    }
    for (size_t i = 0; i < p->block->n_outputs; i++)
        assert_non_null(cr_names_get(&known, p->block->outputs[i]));
    cr_names_free(&known);
}

/* ---- graphs ---- */

/* x [1, 40, 6, 6] through a 1x1 convolution to 48 channels. */
static cr_graph *small_graph(cr_tensor **weight)
{
    cr_rng r;
    cr_rng_seed(&r, 11);
    cr_graph *g = graph_new();
    cr_tensor *x = graph_input(g, "in/put.0", shape_of(4, 1, 40, 6, 6));
    *weight = const_random(g, &r, "weight", shape_of(4, 48, 40, 1, 1), -1, 1);
    cr_tensor *bias = const_random(g, &r, "bias", shape_of(1, 48), -1, 1);
    cr_tensor *y = done(graph_node(g, CR_OP_Conv, 1, 3, x, *weight, bias));
    graph_output(g, apply1(g, CR_OP_Relu, y));
    graph_ready(g);
    return g;
}

typedef struct form {
    cr_dtype type;
    int axis;
    int64_t block;
    bool zero;
    int level;
    const char *op;
} form;

static const form forms[] = {
    {CR_DT_I8, 0, 0, false, 6, "constexpr_affine_dequantize"},
    {CR_DT_I8, -1, 0, false, 6, "constexpr_affine_dequantize"},
    {CR_DT_U8, 0, 0, true, 6, "constexpr_affine_dequantize"},
    {CR_DT_U8, -1, 0, true, 6, "constexpr_affine_dequantize"},
    {CR_DT_I4, 0, 0, false, 8, "constexpr_blockwise_shift_scale"},
    {CR_DT_U4, 0, 0, true, 8, "constexpr_blockwise_shift_scale"},
    {CR_DT_I4, 1, 8, false, 8, "constexpr_blockwise_shift_scale"},
    {CR_DT_U4, 1, 16, true, 8, "constexpr_blockwise_shift_scale"}, /* 40 is no multiple of 16 */
    {CR_DT_I8, 1, 64, false, 8, "constexpr_blockwise_shift_scale"},
    {CR_DT_I2, 0, 0, false, 8, "constexpr_lut_to_dense"},
    {CR_DT_U2, 1, 16, true, 8, "constexpr_lut_to_dense"},
    {CR_DT_I1, 0, 0, false, 8, "constexpr_lut_to_dense"},
};

static cr_recipe *recipe_of(const form *f, const cr_tensor *w)
{
    cr_recipe *r;
    cr_error err;
    float scale[48 * 40];
    int32_t zero[48 * 40];
    const size_t blocks = f->block ? (size_t)(40 + f->block - 1) / (size_t)f->block : 0;
    const size_t count = f->axis < 0 ? 1 : f->block ? 48 * blocks : 48;
    int32_t lo, hi;
    cr_qtype_range(f->type, &lo, &hi);
    for (size_t i = 0; i < count; i++) {
        scale[i] = (2.F + (float)(i % 7) / 10) / (float)(hi - lo);
        zero[i] = f->zero ? (hi + lo + 1) / 2 : 0;
    }
    const cr_qparams q = {.type = f->type,
                          .axis = f->axis,
                          .count = count,
                          .scale = scale,
                          .zero_point = zero,
                          .block = f->block};
    OK(cr_recipe_create(&r, &err));
    OK(cr_recipe_add(r, w->name, true, &q, "", &err));
    return r;
}

/* ---- tests ---- */

static void floats_as_they_are(void **state)
{
    (void)state;
    cr_error err;
    cr_tensor *w;
    cr_graph *g = small_graph(&w);
    package p;
    OK(package_make(g, NULL, &p, &err));
    check_program(&p);
    assert_int_equal(p.level, 5);
    const CrCoreml__Operation *c = constant(&p, operation(&p, "conv", 0), "weight");
    assert_string_equal(c->type, "const");
    for (size_t i = 0; i < 48 * 40; i++)
        assert_true(element(&p, c, i) == ((const float *)w->data)[i]);
    assert_true(get(p.weights, 0, 4) == 2 && get(p.weights, 4, 4) == 2); /* weight, bias; version */
    assert_string_equal(p.m->description->input[0]->name, "in_put_0");
    package_free(&p);
    cr_graph_free(&g);
}

static void integers_give_their_values(void **state)
{
    (void)state;
    cr_error err;
    for (size_t k = 0; k < sizeof forms / sizeof *forms; k++) {
        cr_tensor *w;
        cr_graph *g = small_graph(&w), *written;
        cr_recipe *r = recipe_of(&forms[k], w);
        package p;
        float want[48 * 40];
        cr_fake_quantize(w, &r->entries[0].q, want);
        OK(cr_qdq_write(g, r, &written, &err));
        OK(package_make(written, NULL, &p, &err));
        check_program(&p);
        assert_int_equal(p.level, forms[k].level);
        const CrCoreml__Operation *c = constant(&p, operation(&p, "conv", 0), "weight");
        assert_string_equal(c->type, forms[k].op);
        for (size_t i = 0; i < 48 * 40; i++)
            if (element(&p, c, i) != want[i])
                fail_msg("form %zu, element %zu: %g, not %g", k, i, (double)element(&p, c, i),
                         (double)want[i]);
        package_free(&p);
        cr_recipe_release(&r);
        cr_graph_free(&written);
        cr_graph_free(&g);
    }
}

static void wide_codes_are_refused(void **state)
{
    (void)state;
    cr_error err;
    cr_tensor *w;
    cr_graph *g = small_graph(&w), *written;
    const form wide = {CR_DT_I16, 0, 0, false, 0, NULL};
    cr_recipe *r = recipe_of(&wide, w);
    package p;
    OK(cr_qdq_write(g, r, &written, &err));
    assert_int_equal(package_make(written, NULL, &p, &err), CR_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "weight"));
    cr_recipe_release(&r);
    cr_graph_free(&written);
    cr_graph_free(&g);
}

/* 8-bit activations: quantize and dequantize stand between, with the recipe's numbers. */
static void activations_are_quantized(void **state)
{
    (void)state;
    cr_error err;
    cr_tensor *w;
    cr_graph *g = small_graph(&w), *written;
    const cr_qparams q = {.type = CR_DT_U8,
                          .axis = -1,
                          .count = 1,
                          .scale = (float[]){.25F},
                          .zero_point = (int32_t[]){7}};
    cr_recipe *r;
    package p;
    OK(cr_recipe_create(&r, &err));
    OK(cr_recipe_add(r, "in/put.0", false, &q, "", &err));
    OK(cr_qdq_write(g, r, &written, &err));
    OK(package_make(written, NULL, &p, &err));
    check_program(&p);
    assert_int_equal(p.level, 7);
    const char *const both[] = {"quantize", "dequantize"};
    for (int i = 0; i < 2; i++) {
        const CrCoreml__Operation *op = operation(&p, both[i], 0);
        assert_true(element(&p, constant(&p, op, "scale"), 0) == .25F);
        const CrCoreml__Value *zero = part(constant(&p, op, "zero_point"), "val");
        assert_int_equal(code(&p, zero, 0, 8, false), 7);
    }
    package_free(&p);
    cr_recipe_release(&r);
    cr_graph_free(&written);
    cr_graph_free(&g);
}

/* Float16 arithmetic: one cast in, one out, weights rounded to nearest even. */
static void half_arithmetic(void **state)
{
    (void)state;
    cr_error err;
    cr_tensor *w;
    cr_graph *g = small_graph(&w);
    const bool float32[2] = {false, false};
    const cr_coreml_options o = {.float32 = float32};
    package p;
    OK(package_make(g, &o, &p, &err));
    check_program(&p);
    assert_int_equal(p.level, 6);
    const CrCoreml__Operation *c = constant(&p, operation(&p, "conv", 0), "weight");
    assert_int_equal(c->outputs[0]->type->tensor_type->data_type, 10);
    for (size_t i = 0; i < 48 * 40; i++)
        assert_true(element(&p, c, i) == cr_f16_to_f32(cr_f32_to_f16(((const float *)w->data)[i])));
    size_t casts = 0;
    for (size_t i = 0; i < p.block->n_operations; i++)
        casts += !strcmp(p.block->operations[i]->type, "cast");
    assert_int_equal(casts, 2);
    package_free(&p);
    cr_graph_free(&g);
}

static void palettes_lose_nothing_more(void **state)
{
    (void)state;
    cr_error err;
    for (int bits = 1; bits <= 8; bits += bits == 1 ? 1 : 2) {
        cr_tensor *w;
        cr_graph *g = small_graph(&w);
        const cr_coreml_options o = {.palette_bits = bits};
        cr_palette_made made;
        package p;
        OK(cr_palette_graph(g, bits, false, NULL, &g->arena, &made, &err));
        assert_true(made.weights == 1 && made.left == 0 && !made.scale_count);
        OK(package_make(g, &o, &p, &err));
        check_program(&p);
        const CrCoreml__Operation *c = constant(&p, operation(&p, "conv", 0), "weight");
        assert_string_equal(c->type, "constexpr_lut_to_dense");
        assert_int_equal(elements(part(c, "lut")->type), 1 << bits);
        for (size_t i = 0; i < 48 * 40; i++)
            assert_true(element(&p, c, i) == ((const float *)w->data)[i]);
        package_free(&p);
        cr_graph_free(&g);
    }
}

/* The values are exact products of the palette's and the scales', and those come back. */
static void palettes_behind_scales(void **state)
{
    (void)state;
    cr_error err;
    for (int bits = 1; bits <= 8; bits += bits == 1 ? 1 : 2) {
        cr_tensor *w;
        cr_graph *g = small_graph(&w);
        float *v = w->data;
        cr_palette_made made;
        package p;
        for (size_t i = 0; i < 48 * 40; i++) v[i] *= (float)(1 + i / 40); /* outputs differ in scale */
        OK(cr_palette_graph(g, bits, true, NULL, &g->arena, &made, &err));
        assert_true(made.weights == 1 && made.scale_count == 1 && made.scales[0].count == 48);
        assert_true(made.scales[0].scale[47] > 20 * made.scales[0].scale[0]);
        const cr_coreml_options o = {.palette_bits = bits, .scales = made.scales, .scale_count = 1};
        OK(package_make(g, &o, &p, &err));
        check_program(&p);
        assert_int_equal(p.level, 8);
        const CrCoreml__Operation *c = constant(&p, operation(&p, "conv", 0), "weight");
        assert_string_equal(c->type, "constexpr_blockwise_shift_scale");
        const CrCoreml__Operation *lut = constant(&p, c, "data");
        assert_int_equal(elements(part(lut, "lut")->type), 1 << bits);
        assert_int_equal(elements(part(c, "scale")->type), 48);
        for (size_t i = 0; i < 48 * 40; i++)
            assert_true(element(&p, lut, i) * made.scales[0].scale[i / 40] == v[i]);
        package_free(&p);
        cr_graph_free(&g);
    }
}

static double palette_error(const float *v, size_t n, const float *palette, int count)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        float q = v[i];
        cr_palette_apply(&q, 1, palette, count);
        sum += ((double)v[i] - q) * ((double)v[i] - q);
    }
    return sum;
}

/* k-means reaches what is known of the best quantizers: for a normal distribution 16 levels leave
 * .009501 and 4 levels .1175 of the variance (Max 1960, table I). 4 % above is sampling. */
static void palettes_are_near_the_best(void **state)
{
    (void)state;
    enum { N = 20000 };
    static float v[N];
    static const struct {
        int bits;
        double best;
    } known[] = {{2, .1175}, {4, .009501}};
    cr_error err;
    cr_rng r;
    double energy = 0;
    cr_rng_seed(&r, 3);
    for (size_t i = 0; i < N; i++) {
        v[i] = (float)(sqrt(-2 * log(cr_rng_range(&r, 1e-12, 1))) *
                       cos(6.283185307 * cr_rng_range(&r, 0, 1)));
        energy += (double)v[i] * v[i];
    }
    for (int k = 0; k < 2; k++) {
        float palette[256];
        int count;
        OK(cr_palette_fit(v, N, known[k].bits, palette, &count, &err));
        assert_int_equal(count, 1 << known[k].bits);
        const double lost = palette_error(v, N, palette, count) / energy;
        assert_true(lost > .96 * known[k].best && lost < 1.04 * known[k].best);
    }
}

static void palette_of_few_values(void **state)
{
    (void)state;
    const float v[] = {3, 1, 3, 1, 1, 2.5F};
    cr_error err;
    float palette[256];
    int count;
    OK(cr_palette_fit(v, 6, 2, palette, &count, &err));
    assert_int_equal(count, 3);
    assert_true(palette[0] == 1 && palette[1] == 2.5F && palette[2] == 3);
    float between = 1.75F;
    cr_palette_apply(&between, 1, palette, count);
    assert_true(between == 1); /* halfway: the smaller one */
}

/* Networks of all kinds: written well formed, or refused by the name of a node. */
static void random_networks(void **state)
{
    (void)state;
    size_t made = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        cr_error err = {0};
        cr_graph *g = random_net(seed, false, false);
        bool *float32 = calloc(g->node_count + 1, sizeof *float32);
        for (size_t i = 0; i < g->node_count; i++) float32[i] = (i * 7 + seed) % 5 == 0;
        const cr_coreml_options o = {.float32 = seed % 2 ? float32 : NULL};
        package p, again;
        const cr_status st = package_make(g, &o, &p, &err);
        if (st == CR_OK) {
            made++;
            check_program(&p);
            OK(package_make(g, &o, &again, &err));
            assert_int_equal(p.model_size, again.model_size);
            assert_memory_equal(p.model, again.model, p.model_size);
            assert_memory_equal(p.weights, again.weights, p.weights_size);
            package_free(&again);
            package_free(&p);
        } else {
            assert_int_equal(st, CR_ERR_UNSUPPORTED);
            assert_non_null(strchr(err.message, '\''));
        }
        free(float32);
        cr_graph_free(&g);
    }
    assert_true(made >= 20);
}

static void packing_bits(void **state)
{
    (void)state;
    const uint8_t codes[] = {1, 2, 63, 0, 5};
    unsigned char six[4] = {0}, four[3] = {0};
    cr_blob_pack(codes, 5, 6, six);
    assert_true(six[0] == 0x81 && six[1] == 0xF0 && six[2] == 0x03 && six[3] == 0x05);
    cr_blob_pack(codes, 5, 4, four);
    assert_true(four[0] == 0x21 && four[1] == 0x0F && four[2] == 0x05);
}

static void memory_runs_out(void **state)
{
    (void)state;
    cr_error err;
    cr_tensor *w;
    cr_graph *g = small_graph(&w);
    package p;
    cr_status st = CR_ERR_MEMORY;
    long n = 0;
    for (; st != CR_OK && n < 5000; n++) {
        cr_alloc_fail_after(n);
        st = package_make(g, NULL, &p, &err);
        cr_alloc_fail_after(-1);
        assert_true(st == CR_OK || st == CR_ERR_MEMORY);
    }
    assert_true(st == CR_OK && n > 5);
    package_free(&p);
    cr_graph_free(&g);
}

static bool exists(const char *path)
{
    struct stat s;
    return !lstat(path, &s);
}

static int entries(const char *path)
{
    int n = 0;
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void folders_are_whole(void **state)
{
    (void)state;
    char folder[] = "/tmp/crayon-coreml-XXXXXX", path[256], file[512];
    cr_error err;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a.mlpackage", folder);
    OK(cr_coreml_package(path, "model", 5, "weights", 7, &err));
    snprintf(file, sizeof file, "%s/Data/com.apple.CoreML/weights/weight.bin", path);
    assert_true(exists(file) && entries(folder) == 1);
    OK(cr_coreml_package(path, "other", 5, NULL, 0, &err)); /* in its place, weights gone */
    assert_true(!exists(file) && entries(folder) == 1);
    snprintf(file, sizeof file, "%s/Data/notes.txt", path);
    OK(cr_file_write(file, "mine", 4, &err));
    assert_int_equal(cr_coreml_package(path, "third", 5, NULL, 0, &err), CR_ERR_IO);
    assert_true(exists(file) && entries(folder) == 1);
    unlink(file);
    OK(cr_coreml_package(path, "third", 5, NULL, 0, &err));
    snprintf(file, sizeof file, "%s/file", folder);
    OK(cr_file_write(file, "mine", 4, &err));
    assert_int_equal(cr_coreml_package(file, "model", 5, NULL, 0, &err), CR_ERR_IO);
    unlink(file);
    const char *const rest[] = {"Data/com.apple.CoreML/model.mlmodel", "Manifest.json",
                                "Data/com.apple.CoreML", "Data", ""};
    for (int i = 0; i < 5; i++) {
        snprintf(file, sizeof file, "%s/%s", path, rest[i]);
        assert_int_equal(remove(file), 0);
    }
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floats_as_they_are),
        cmocka_unit_test(integers_give_their_values),
        cmocka_unit_test(wide_codes_are_refused),
        cmocka_unit_test(activations_are_quantized),
        cmocka_unit_test(half_arithmetic),
        cmocka_unit_test(palettes_lose_nothing_more),
        cmocka_unit_test(palettes_behind_scales),
        cmocka_unit_test(palettes_are_near_the_best),
        cmocka_unit_test(palette_of_few_values),
        cmocka_unit_test(random_networks),
        cmocka_unit_test(packing_bits),
        cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(folders_are_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
