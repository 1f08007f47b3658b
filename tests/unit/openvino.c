/* OpenVINO IR: what quantized files are made of becomes the recipe that they say, with the values that
 * the format's formulas give; what is wrong is one clear line. Layers against OpenVINO itself:
 * tests/peers/openvino_layers.py. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "graph/recipe.h"
#include "onnx/qdq.h"
#include "openvino/openvino.h"
#include "ops/ref.h"
#include "runtime/runtime.h"
#include "unit/ir_models.h"

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != CR_OK) fail_msg("%s: %s", #call, err.message);                               \
    } while (0)

static cr_graph *parse(ir_model *m, const char *facts)
{
    cr_error err;
    cr_graph *g;
    const char *xml = ir_text(m, facts);
    OK(cr_openvino_parse(xml, strlen(xml), m->bin, m->bin_used, "memory", NULL, cr_op_run, &g, &err));
    return g;
}

static cr_recipe *take_apart(cr_graph *g)
{
    cr_error err;
    cr_recipe *r;
    OK(cr_graph_prepare(g, cr_op_run, &err));
    OK(cr_qdq_read(g, &r, &err));
    return r;
}

static const cr_recipe_entry *only_entry(const cr_recipe *r, bool is_weight)
{
    const cr_recipe_entry *found = NULL;
    for (size_t i = 0; r && i < r->count; i++)
        if (r->entries[i].is_weight == is_weight) {
            assert_null(found);
            found = &r->entries[i];
        }
    return found;
}

/* The message of a file that must be refused. */
static void refused(const char *xml, const ir_model *m, cr_status status, const char *part)
{
    cr_error err = {0};
    cr_graph *g = (cr_graph *)1;
    const cr_status st = cr_openvino_parse(xml, strlen(xml), m ? m->bin : NULL, m ? m->bin_used : 0,
                                           "memory", NULL, cr_op_run, &g, &err);
    if (st != status || !strstr(err.message, part)) fail_msg("%d: %s", st, err.message);
    assert_null(g);
    assert_int_equal(strncmp(err.message, "memory: ", 8), 0);
    assert_null(strchr(err.message, '\n'));
}

/* ---- FakeQuantize ---- */

typedef struct range_case {
    float low, high, out_low, out_high;
    const char *levels;
    cr_dtype type; /* CR_DT_NONE: no entry, the formula stands in the graph */
    int32_t zero;
} range_case;

static float fake(const range_case *c, float x)
{
    const float levels = (float)atoi(c->levels);
    const float cut = x < c->low ? c->low : x > c->high ? c->high : x;
    return nearbyintf((cut - c->low) / (c->high - c->low) * (levels - 1)) / (levels - 1) *
               (c->out_high - c->out_low) +
           c->out_low;
}

static ir_out add_fake(ir_model *m, ir_out x, const range_case *c)
{
    char data[64];
    snprintf(data, sizeof data, "levels=\"%s\" auto_broadcast=\"numpy\"", c->levels);
    return ir_layer(m, "FakeQuantize", "opset1", data, 1, 5, x, ir_float(m, c->low),
                    ir_float(m, c->high), ir_float(m, c->out_low), ir_float(m, c->out_high));
}

static void run_graph(const cr_graph *g, const float *x, float *y)
{
    cr_error err;
    cr_tensor out = {.name = "out"};
    OK(cr_reference_run(g, NULL, (const float *const[]){x}, &out, NULL, &err));
    memcpy(y, out.data, 64 * sizeof *y);
    cr_tensor_drop_data(&out);
}

static void fake_quantize(void **state)
{
    (void)state;
    static const range_case cases[] = {
        {0, 2.55f, 0, 2.55f, "256", CR_DT_U8, 0},
        {-1.28f, 1.27f, -1.28f, 1.27f, "256", CR_DT_U8, 128},
        {-1.27f, 1.27f, -1.27f, 1.27f, "255", CR_DT_I8, 0},
        {-.5f, 2.05f, -.5f, 2.05f, "256", CR_DT_U8, 50},
        {0, 65.535f, 0, 65.535f, "65536", CR_DT_U16, 0},
        {-.333f, 2.2f, -.333f, 2.2f, "256", CR_DT_NONE, 0}, /* zero lies between two codes */
        {.5f, 1.5f, .5f, 1.5f, "256", CR_DT_NONE, 0},       /* and here outside of all */
        {0, 1, 0, 1, "17", CR_DT_NONE, 0},
        {0, 2.55f, 0, 5.1f, "256", CR_DT_NONE, 0}, /* stretched: codes, but no one scale */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const range_case *c = &cases[i];
        ir_model *m = ir_new();
        ir_result(m, add_fake(m, ir_input(m, "x", "1,1,8,8"), c));
        cr_graph *g = parse(m, "");
        float x[64], y[64];
        for (int k = 0; k < 64; k++) x[k] = (float)(k - 20) * .0731371f; /* no ties */
        cr_graph *plain = parse(m, "");
        cr_error err;
        OK(cr_graph_prepare(plain, cr_op_run, &err));
        run_graph(plain, x, y);
        /* of 255 levels a pair has one code more, which values below the range reach */
        for (int k = 0; k < 64; k++)
            if (!(c->type == CR_DT_I8 && x[k] < c->low) &&
                fabsf(y[k] - fake(c, x[k])) > 1e-5f) /* float32 of values up to 66 */
                fail_msg("case %zu: %g gives %g, not %g", i, x[k], y[k], fake(c, x[k]));
        cr_graph_free(&plain);
        cr_recipe *r = take_apart(g);
        const cr_recipe_entry *e = only_entry(r, false);
        assert_true((e != NULL) == (c->type != CR_DT_NONE));
        if (e) {
            assert_int_equal(e->q.type, c->type);
            assert_int_equal(e->q.zero_point[0], c->zero);
        }
        cr_recipe_release(&r);
        cr_graph_free(&g);
        ir_free(m);
    }
}

/* Ranges per channel of a constant: codes with a scale per channel. */
static void fake_quantized_weights(void **state)
{
    (void)state;
    ir_model *m = ir_new();
    float w[6], low[3], high[3];
    for (int c = 0; c < 3; c++) {
        high[c] = .127f * (float)(c + 1);
        low[c] = -.128f * (float)(c + 1);
        w[2 * c] = .05f * (float)(c + 1);
        w[2 * c + 1] = -.1f * (float)(c + 1);
    }
    const ir_out l = ir_const(m, "f32", "3,1,1,1", low, sizeof low);
    const ir_out h = ir_const(m, "f32", "3,1,1,1", high, sizeof high);
    const ir_out q = ir_layer(m, "FakeQuantize", "opset1", "levels=\"256\"", 1, 5,
                              ir_const(m, "f32", "3,2,1,1", w, sizeof w), l, h, l, h);
    ir_result(m, ir_layer(m, "Convolution", "opset1", "strides=\"1,1\"", 1, 2,
                          ir_input(m, "x", "1,2,4,4"), q));
    cr_graph *g = parse(m, "");
    cr_recipe *r = take_apart(g);
    const cr_recipe_entry *e = only_entry(r, true);
    assert_non_null(e);
    assert_int_equal(e->q.type, CR_DT_I8);
    assert_int_equal(e->q.axis, 0);
    assert_int_equal(e->q.count, 3);
    const float *values = g->nodes[0]->in[1]->data;
    for (int i = 0; i < 6; i++) assert_true(fabsf(values[i] - w[i]) < 1e-6f);
    cr_recipe_release(&r);
    cr_graph_free(&g);
    ir_free(m);
}

/* ---- a network ---- */

static void network(void **state)
{
    (void)state;
    ir_model *m = ir_small_network();
    cr_graph *g = parse(m, "<model_info><labels value=\"cat traffic_light\"/><model_type value=\"YOLO\"/>"
                           "</model_info>");
    assert_string_equal(cr_graph_meta(g, "names"), "{0: 'cat', 1: 'traffic light'}");
    assert_string_equal(cr_graph_meta(g, "task"), "detect");
    assert_string_equal(g->inputs[0]->name, "x");
    cr_recipe *r = take_apart(g);
    size_t weights = 0, activations = 0, convs = 0;
    for (size_t i = 0; i < r->count; i++) {
        const cr_recipe_entry *e = &r->entries[i];
        weights += e->is_weight;
        activations += !e->is_weight;
        if (e->is_weight && e->q.type == CR_DT_I4) {
            assert_int_equal(e->q.block, 8);
            assert_int_equal(e->q.axis, 0); /* turned: [16, 3] */
        }
        if (e->is_weight && e->q.type == CR_DT_U8) assert_int_equal(e->q.zero_point[3], 128);
    }
    for (size_t i = 0; i < g->node_count; i++) {
        const cr_node *n = g->nodes[i];
        if (n->op->kind != CR_OP_Conv) continue;
        convs++;
        assert_int_equal(n->n_in, cr_attr_int(n, "group", 1) == 1 ? 3 : 2); /* the Add is its bias */
    }
    assert_int_equal(convs, 2);
    assert_int_equal(weights, 3);
    assert_int_equal(activations, 2);
    assert_int_equal(g->outputs[0]->shape.dim[1], 3);
    cr_recipe_release(&r);
    cr_graph_free(&g);
    ir_free(m);
}

/* Codes are passed on by what moves them: pairs behind Split, Concat, pooling. */
static void moved_codes(void **state)
{
    (void)state;
    static const range_case same = {0, 2.55f, 0, 2.55f, "256", CR_DT_U8, 0},
                            other = {0, 5.1f, 0, 5.1f, "256", CR_DT_U8, 0};
    for (int differ = 0; differ < 2; differ++) {
        ir_model *m = ir_new();
        const ir_out a = add_fake(m, ir_input(m, "a", "1,2,4,4"), &same);
        const ir_out b = add_fake(m, ir_input(m, "b", "1,2,4,4"), differ ? &other : &same);
        ir_result(m, ir_layer(m, "Concat", "opset1", "axis=\"1\"", 1, 2, a, b));
        cr_graph *g = parse(m, "");
        cr_recipe *r = take_apart(g);
        assert_int_equal(r->count, differ ? 2 : 3);
        cr_recipe_release(&r);
        cr_graph_free(&g);
        ir_free(m);
    }
}

/* ---- what is refused ---- */

static char *replaced(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    if (!at) fail_msg("no '%s'", from);
    char *out = malloc(strlen(text) + strlen(to) + 1);
    sprintf(out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return out;
}

static void refusals(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
        cr_status status;
        const char *part;
    } cases[] = {
        {"<?xml version=\"1.0\"?>", "<!DOCTYPE net [<!ENTITY a \"b\">]>", CR_ERR_FORMAT, "document type"},
        {"<net", "<nut", CR_ERR_FORMAT, "root"},
        {"</layers>", "", CR_ERR_FORMAT, "line"},
        {"Swish\" version=\"opset4", "Swish\" version=\"opset99", CR_ERR_UNSUPPORTED, "Swish of opset99"},
        {"type=\"Swish", "type=\"Swoosh", CR_ERR_UNSUPPORTED, "Swoosh"},
        {"layer id=\"1\"", "layer id=\"0\"", CR_ERR_FORMAT, "id 0"},
        {"from-layer=\"0\"", "from-layer=\"77\"", CR_ERR_FORMAT, "no such port"},
        {"from-layer=\"0\"", "from-layer=\"x\"", CR_ERR_FORMAT, "four numbers"},
        {"offset=\"0\"", "offset=\"-4\"", CR_ERR_FORMAT, "bytes at -4"},
        {"offset=\"0\"", "offset=\"999999\"", CR_ERR_FORMAT, ".bin"},
        {"levels=\"256\"", "levels=\"1\"", CR_ERR_FORMAT, "levels"},
        {"strides=\"1,1\"", "strides=\"1,1,1,1\"", CR_ERR_FORMAT, "strides"},
        {"strides=\"1,1\"", "strides=\"1,one\"", CR_ERR_FORMAT, "strides"},
        {"shape=\"1,4,8,8\"", "shape=\"1,4,?,8\"", CR_ERR_ARGUMENT, "--imgsz"},
        {"element_type=\"i8\"", "element_type=\"nf4\"", CR_ERR_UNSUPPORTED, "nf4"},
        {"<layers>", "<layers><layer id=\"900\" type=\"If\" version=\"opset8\"><then_body/></layer>",
         CR_ERR_UNSUPPORTED, "body"},
    };
    ir_model *m = ir_small_network();
    const char *text = ir_text(m, "");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *bad = replaced(text, cases[i].from, cases[i].to);
        refused(bad, m, cases[i].status, cases[i].part);
        free(bad);
    }
    ir_free(m);
    refused("", NULL, CR_ERR_FORMAT, "line");
}

static void cycle(void **state)
{
    (void)state;
    ir_model *m = ir_new();
    const ir_out a = ir_layer(m, "Relu", "opset1", "", 1, 1, (ir_out){1, 1});
    ir_result(m, ir_layer(m, "Relu", "opset1", "", 1, 1, a));
    refused(ir_text(m, ""), m, CR_ERR_FORMAT, "reads what it makes");
    ir_free(m);
}

/* Layers that all read one large constant must not make it thousands of times larger. */
static void shared_constants(void **state)
{
    (void)state;
    ir_model *m = ir_new();
    static unsigned char big[60000];
    ir_const(m, "i8", "60000", big, sizeof big);
    for (int i = 0; i < 800; i++) {
        m->bin_used = 0;
        const ir_out c = ir_const(m, "i4", "120000", big, sizeof big);
        ir_result(m, ir_layer(m, "Relu", "opset1", "", 1, 1,
                              ir_layer(m, "Convert", "opset1", "destination_type=\"f32\"", 1, 1, c)));
    }
    refused(ir_text(m, ""), m, CR_ERR_LIMIT, "memory");
    ir_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fake_quantize), cmocka_unit_test(fake_quantized_weights),
        cmocka_unit_test(network),       cmocka_unit_test(moved_codes),
        cmocka_unit_test(refusals),      cmocka_unit_test(cycle),
        cmocka_unit_test(shared_constants),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
