/* Throws damaged OpenVINO models at the reader.
 *
 *     fuzz-openvino N SEED [FILE.xml]
 *
 * The small network of tests/unit/ir_models.h (and a file with the .bin beside it) is damaged N times: numbers
 * and words in quotes are exchanged for telling ones, elements dropped, doubled or moved, bytes set,
 * the end cut off; the .bin is cut, too. What is still read goes the way of a model: prepared, taken
 * apart, examined. Nothing may crash, leak or read outside (build with -DCRAYON_SANITIZE=ON), and what
 * is refused is one line. With -DCRAYON_LIBFUZZER it is a libFuzzer target instead. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/rng.h"
#include "onnx/qdq.h"
#include "openvino/openvino.h"
#include "ops/ref.h"
#include "pipeline/findings.h"
#include "unit/ir_models.h"

enum { MAX_FILE = 1 << 24 };

typedef struct tally {
    long read, prepared;
} tally;

static void check(cr_status st, const cr_error *err)
{
    if (st != CR_OK && (!err->message[0] || strchr(err->message, '\n'))) abort();
}

static void use(cr_graph *g, tally *t)
{
    cr_error err = {0};
    cr_recipe *r = NULL;
    cr_arena arena = {0};
    cr_findings found = {.arena = &arena};
    cr_status st = cr_doctor_file(g, t->read & 1, &found, &err);
    if (st == CR_OK) st = cr_graph_prepare(g, cr_op_run, &err);
    if (st == CR_OK) st = cr_qdq_read(g, &r, &err);
    if (st == CR_OK) st = cr_graph_infer(g, &err);
    if (st == CR_OK) t->prepared++;
    if (st == CR_OK && r) st = cr_doctor_recipe(g, r, 0, &found, &err);
    check(st, &err);
    cr_free(found.list);
    cr_arena_free(&arena);
    cr_recipe_release(&r);
}

static void try_model(const char *xml, size_t xml_size, const void *bin, size_t bin_size, tally *t)
{
    cr_error err = {0};
    cr_graph *g;
    const cr_status st = cr_openvino_parse(xml, xml_size, bin, bin_size, "fuzz", NULL, cr_op_run, &g, &err);
    check(st, &err);
    if (st != CR_OK) {
        if (g) abort();
        return;
    }
    t->read++;
    use(g, t);
    cr_graph_free(&g);
}

#ifdef CRAYON_LIBFUZZER
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    tally t = {0};
    static unsigned char bin[4096];
    try_model((const char *)bytes, size, bin, sizeof bin, &t);
    return 0;
}
#else

typedef struct text {
    char *at;
    size_t size, room;
} text;

/* [from, to) becomes `with`, as far as there is room. */
static void splice(text *t, size_t from, size_t to, const char *with, size_t n)
{
    if (from > to || to > t->size || t->size - (to - from) + n > t->room) return;
    memmove(t->at + from + n, t->at + to, t->size - to);
    memcpy(t->at + from, with, n);
    t->size = t->size - (to - from) + n;
}

/* The quotes around the value that follows a place; false: there is none. */
static bool find_value(const text *t, size_t near, size_t *from, size_t *to)
{
    const char *a = memchr(t->at + near, '"', t->size - near);
    const char *b = a ? memchr(a + 1, '"', t->size - (size_t)(a + 1 - t->at)) : NULL;
    if (!b) return false;
    *from = (size_t)(a + 1 - t->at);
    *to = (size_t)(b - t->at);
    return true;
}

/* The line around a place. */
static void find_line(const text *t, size_t near, size_t *from, size_t *to)
{
    *from = *to = near;
    while (*from > 0 && t->at[*from - 1] != '\n') --*from;
    while (*to < t->size && t->at[*to] != '\n') ++*to;
    if (*to < t->size) ++*to;
}

static const char *const telling[] = {
    "0", "1", "-1", "2", "3", "7", "8", "255", "256", "65536", "2147483647", "-2147483648", "4294967296",
    "9223372036854775807", "-9223372036854775808", "1,1", "0,0,0", "1,2,3,4,5,6,7,8,9", "", "?", "1e300",
    "nan", "true", "false", "f32", "f16", "i4", "u4", "i8", "u8", "i64", "boolean", "valid", "same_upper",
    "scales", "nearest", "opset1", "opset8", "opset99", "Add", "Const", "Convolution", "GroupConvolution",
    "FakeQuantize", "MatMul", "Reshape", "Result", "Parameter", "StridedSlice", "Interpolate", "Concat",
    "VariadicSplit", "Split", "Transpose", "Squeeze", "Unsqueeze", "Gather", "Multiply", "Subtract", "Convert",
    "TopK", "Tile", "Pad", "Broadcast", "PRelu", "BatchNormInference", "ReduceMean", "ShapeOf", "Slice",
    "ConvolutionBackpropData", "GroupConvolutionBackpropData", "AvgPool", "Clamp", "Range", "Select", "Mod"};

static void damage(cr_rng *rng, text *t)
{
    size_t from, to, other, end;
    char line[512];
    if (t->size < 8) return;
    const size_t near = cr_rng_below(rng, (uint32_t)t->size);
    const uint32_t choice = cr_rng_below(rng, 12);
    if (choice < 6) { /* a value */
        const char *with = telling[cr_rng_below(rng, sizeof telling / sizeof *telling)];
        if (find_value(t, near, &from, &to)) splice(t, from, to, with, strlen(with));
    } else if (choice < 8) { /* a value from elsewhere */
        if (!find_value(t, near, &from, &to) ||
            !find_value(t, cr_rng_below(rng, (uint32_t)t->size), &other, &end) || end - other > sizeof line)
            return;
        memcpy(line, t->at + other, end - other);
        splice(t, from, to, line, end - other);
    } else if (choice < 10) { /* a line is dropped, or stands elsewhere as well */
        find_line(t, near, &from, &to);
        if (choice == 8 || to - from > sizeof line) {
            splice(t, from, to, "", 0);
            return;
        }
        memcpy(line, t->at + from, to - from);
        find_line(t, cr_rng_below(rng, (uint32_t)t->size), &other, &end);
        splice(t, other, other, line, to - from);
    } else if (choice == 10) {
        t->at[near] = (char)cr_rng_below(rng, 256);
    } else if (!cr_rng_below(rng, 8)) {
        t->size = near;
    }
}

static void fuzz(const char *name, const char *xml, size_t size, const unsigned char *bin, size_t bin_size,
                 long rounds, cr_rng *rng)
{
    tally t = {0};
    for (long r = 0; r < rounds; r++) {
        text copy = {malloc(size + 8192), size, size + 8192};
        memcpy(copy.at, xml, size);
        for (uint32_t k = 1 + cr_rng_below(rng, 4); k > 0; k--) damage(rng, &copy);
        char *exact = malloc(copy.size + 1); /* so that a read behind the end is seen */
        memcpy(exact, copy.at, copy.size);
        const size_t left = cr_rng_below(rng, 8) ? bin_size : cr_rng_below(rng, (uint32_t)bin_size + 1);
        unsigned char *exact_bin = malloc(left + 1);
        memcpy(exact_bin, bin, left);
        try_model(exact, copy.size, exact_bin, left, &t);
        free(exact_bin);
        free(exact);
        free(copy.at);
    }
    printf("%s: %ld damaged copies, %ld read, %ld prepared\n", name, rounds, t.read, t.prepared);
}

static int fuzz_file(const char *path, long rounds, cr_rng *rng)
{
    unsigned char *xml, *bin = NULL;
    size_t size, bin_size = 0;
    cr_error err;
    char name[4096];
    snprintf(name, sizeof name, "%.*s.bin", (int)(strlen(path) > 4 ? strlen(path) - 4 : 0), path);
    if (cr_file_read(path, MAX_FILE, &xml, &size, &err) != CR_OK ||
        cr_file_read(name, MAX_FILE, &bin, &bin_size, &err) != CR_OK) {
        fprintf(stderr, "fuzz-openvino: %s\n", err.message);
        return 1;
    }
    fuzz(path, (char *)xml, size, bin, bin_size, rounds, rng);
    cr_free(xml);
    cr_free(bin);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fputs("usage: fuzz-openvino N SEED [FILE.xml]\n", stderr);
        return 2;
    }
    const long rounds = strtol(argv[1], NULL, 10);
    cr_rng rng;
    cr_rng_seed(&rng, strtoull(argv[2], NULL, 10));
    if (argc > 3) return fuzz_file(argv[3], rounds, &rng);
    ir_model *m = ir_small_network();
    const char *xml = ir_text(m, "<model_info><labels value=\"a b_c\"/></model_info>");
    fuzz("network", xml, strlen(xml), m->bin, m->bin_used, rounds, &rng);
    ir_free(m);
    return 0;
}
#endif
