/* Little OpenVINO models for tests, put together as text: layers get ids in the order in which they
 * are added, edges follow from their inputs. */
#ifndef CR_TESTS_IR_MODELS_H
#define CR_TESTS_IR_MODELS_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct ir_model {
    char *layers, *edges;
    size_t layers_used, edges_used;
    unsigned char bin[1 << 16];
    size_t bin_used;
    int count;
    char *xml; /* ir_text */
} ir_model;

enum { IR_ROOM = 1 << 20 };

/* An output: layer id, port. Constants, parameters: port 0. */
typedef struct ir_out {
    int layer, port;
} ir_out;

static inline void ir_print(char *text, size_t *used, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    *used += (size_t)vsnprintf(text + *used, IR_ROOM - *used, format, args);
    va_end(args);
    if (*used >= IR_ROOM) abort();
}

static inline ir_model *ir_new(void)
{
    ir_model *m = calloc(1, sizeof *m);
    m->layers = calloc(1, IR_ROOM);
    m->edges = calloc(1, IR_ROOM);
    return m;
}

static inline void ir_free(ir_model *m)
{
    free(m->layers);
    free(m->edges);
    free(m->xml);
    free(m);
}

static inline ir_out ir_input(ir_model *m, const char *name, const char *shape)
{
    ir_print(m->layers, &m->layers_used,
             "<layer id=\"%d\" name=\"%s\" type=\"Parameter\" version=\"opset1\"><data shape=\"%s\" "
             "element_type=\"f32\"/><output><port id=\"0\" precision=\"FP32\" names=\"%s\"/></output>"
             "</layer>\n",
             m->count, name, shape, name);
    return (ir_out){m->count++, 0};
}

static inline ir_out ir_const(ir_model *m, const char *type, const char *shape, const void *bytes,
                              size_t size)
{
    if (m->bin_used + size > sizeof m->bin) abort();
    memcpy(m->bin + m->bin_used, bytes, size);
    ir_print(m->layers, &m->layers_used,
             "<layer id=\"%d\" name=\"const_%d\" type=\"Const\" version=\"opset1\"><data "
             "element_type=\"%s\" shape=\"%s\" offset=\"%zu\" size=\"%zu\"/><output><port id=\"0\"/>"
             "</output></layer>\n",
             m->count, m->count, type, shape, m->bin_used, size);
    m->bin_used += size;
    return (ir_out){m->count++, 0};
}

static inline ir_out ir_float(ir_model *m, float v)
{
    return ir_const(m, "f32", "", &v, sizeof v);
}

/* data: attributes as text, or "". Inputs have ports 0.., outputs follow. */
static inline ir_out ir_layer(ir_model *m, const char *type, const char *opset, const char *data,
                              int n_out, int n_in, ...)
{
    va_list args;
    va_start(args, n_in);
    ir_print(m->layers, &m->layers_used,
             "<layer id=\"%d\" name=\"%s_%d\" type=\"%s\" version=\"%s\">", m->count, type, m->count,
             type, opset);
    if (*data) ir_print(m->layers, &m->layers_used, "<data %s/>", data);
    ir_print(m->layers, &m->layers_used, "<input>");
    for (int i = 0; i < n_in; i++) {
        const ir_out from = va_arg(args, ir_out);
        ir_print(m->layers, &m->layers_used, "<port id=\"%d\"><dim>1</dim></port>", i);
        ir_print(m->edges, &m->edges_used,
                 "<edge from-layer=\"%d\" from-port=\"%d\" to-layer=\"%d\" to-port=\"%d\"/>\n",
                 from.layer, from.port, m->count, i);
    }
    ir_print(m->layers, &m->layers_used, "</input><output>");
    for (int i = 0; i < n_out; i++)
        ir_print(m->layers, &m->layers_used, "<port id=\"%d\" precision=\"FP32\"/>", n_in + i);
    ir_print(m->layers, &m->layers_used, "</output></layer>\n");
    va_end(args);
    return (ir_out){m->count++, n_in};
}

static inline void ir_result(ir_model *m, ir_out from)
{
    ir_layer(m, "Result", "opset1", "", 0, 1, from);
}

/* The whole file; the model keeps it. */
static inline const char *ir_text(ir_model *m, const char *facts)
{
    free(m->xml);
    const size_t room = m->layers_used + m->edges_used + strlen(facts) + 200;
    m->xml = malloc(room);
    snprintf(m->xml, room,
             "<?xml version=\"1.0\"?>\n<net name=\"m\" version=\"11\">\n<layers>\n%s</layers>\n<edges>\n"
             "%s</edges>\n<rt_info>%s</rt_info>\n</net>\n",
             m->layers, m->edges, facts);
    return m->xml;
}

#define IR_ONE "opset1"

/* x (1x4x8x8) -> FakeQuantize -> Convolution with compressed weights, a bias, Swish -> depthwise with
 * u8 weights and zero points -> a split by sizes that follow from the shape -> Concat -> pooled,
 * reshaped -> a product with 4-bit blocks. What a quantized detector's file is made of. */
static inline ir_model *ir_small_network(void)
{
    ir_model *m = ir_new();
    const ir_out x = ir_input(m, "x", "1,4,8,8");
    const ir_out q = ir_layer(m, "FakeQuantize", IR_ONE, "levels=\"256\"", 1, 5, x, ir_float(m, 0),
                              ir_float(m, 2.55f), ir_float(m, 0), ir_float(m, 2.55f));
    signed char codes[6 * 4 * 9];
    unsigned char codes8[6 * 9], packed[3 * 2 * 4];
    float scale[6], bias[6], scale4[3 * 2];
    for (size_t i = 0; i < sizeof codes; i++) codes[i] = (signed char)(i * 37 % 255) - 127;
    for (size_t i = 0; i < sizeof codes8; i++) codes8[i] = (unsigned char)(i * 29 % 256);
    for (size_t i = 0; i < sizeof packed; i++) packed[i] = (unsigned char)(i * 53 % 256);
    for (int i = 0; i < 6; i++) scale[i] = .004f * (float)(i + 1), bias[i] = .1f * (float)(i - 3);
    for (int i = 0; i < 6; i++) scale4[i] = .02f * (float)(i + 1);
    const ir_out w = ir_layer(
        m, "Multiply", IR_ONE, "", 1, 2,
        ir_layer(m, "Convert", IR_ONE, "destination_type=\"f32\"", 1, 1,
                 ir_const(m, "i8", "6,4,3,3", codes, sizeof codes)),
        ir_const(m, "f32", "6,1,1,1", scale, sizeof scale));
    const char *window = "strides=\"1,1\" dilations=\"1,1\" pads_begin=\"1,1\" pads_end=\"1,1\"";
    ir_out y = ir_layer(m, "Convolution", IR_ONE, window, 1, 2, q, w);
    y = ir_layer(m, "Add", IR_ONE, "", 1, 2, y, ir_const(m, "f32", "1,6,1,1", bias, sizeof bias));
    y = ir_layer(m, "Swish", "opset4", "", 1, 1, y);
    y = ir_layer(m, "FakeQuantize", IR_ONE, "levels=\"256\"", 1, 5, y, ir_float(m, -1.28f),
                 ir_float(m, 1.27f), ir_float(m, -1.28f), ir_float(m, 1.27f));
    const unsigned char zero = 128;
    const ir_out shifted = ir_layer(
        m, "Subtract", IR_ONE, "", 1, 2,
        ir_layer(m, "Convert", IR_ONE, "destination_type=\"f32\"", 1, 1,
                 ir_const(m, "u8", "6,1,1,3,3", codes8, sizeof codes8)),
        ir_layer(m, "Convert", IR_ONE, "destination_type=\"f32\"", 1, 1,
                 ir_const(m, "u8", "", &zero, 1)));
    const ir_out dw = ir_layer(m, "Multiply", IR_ONE, "", 1, 2, shifted,
                               ir_const(m, "f32", "6,1,1,1,1", scale, sizeof scale));
    y = ir_layer(m, "GroupConvolution", IR_ONE, window, 1, 2, y, dw);
    const long long one = 1, whole = 3, two[2] = {1, 3};
    const ir_out axis = ir_const(m, "i64", "", &one, sizeof one);
    const ir_out shape = ir_layer(m, "ShapeOf", "opset3", "output_type=\"i64\"", 1, 1, y);
    ir_out size = ir_layer(m, "Gather", "opset8", "batch_dims=\"0\"", 1, 3, shape,
                           ir_const(m, "i64", "1", &one, sizeof one),
                           ir_const(m, "i64", "", (long long[]){0}, 8));
    size = ir_layer(m, "Divide", IR_ONE, "", 1, 2, size, ir_const(m, "i64", "", &whole, 8));
    size = ir_layer(m, "Concat", IR_ONE, "axis=\"0\"", 1, 2, size,
                    ir_const(m, "i64", "1", (long long[]){-1}, 8));
    ir_out parts = ir_layer(m, "VariadicSplit", IR_ONE, "", 2, 3, y, axis, size);
    y = ir_layer(m, "Concat", IR_ONE, "axis=\"1\"", 1, 2, (ir_out){parts.layer, parts.port + 1},
                 parts);
    y = ir_layer(m, "MaxPool", "opset8",
                 "kernel=\"2,2\" strides=\"2,2\" dilations=\"1,1\" pads_begin=\"0,0\" pads_end=\"0,0\"", 2,
                 1, y);
    y = ir_layer(m, "Reshape", IR_ONE, "special_zero=\"true\"", 1, 2, y,
                 ir_const(m, "i64", "2", (long long[]){-1, 16}, 16));
    const ir_out w4 = ir_layer(
        m, "Reshape", IR_ONE, "special_zero=\"false\"", 1, 2,
        ir_layer(m, "Multiply", IR_ONE, "", 1, 2,
                 ir_layer(m, "Convert", IR_ONE, "destination_type=\"f32\"", 1, 1,
                          ir_const(m, "i4", "3,2,8", packed, sizeof packed)),
                 ir_const(m, "f32", "3,2,1", scale4, sizeof scale4)),
        ir_const(m, "i64", "2", (long long[]){3, 16}, 16));
    (void)two;
    y = ir_layer(m, "MatMul", IR_ONE, "transpose_a=\"false\" transpose_b=\"true\"", 1, 2, y, w4);
    ir_result(m, y);
    return m;
}

#endif
