/* ncnn out: files that are whole and well formed, the bytes of each form of weights, what is refused.
 * What ncnn makes of them: tests/peers/ncnn_models.py. */
#define _POSIX_C_SOURCE 200809L /* mkdtemp */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "graph/recipe.h"
#include "ncnn/ncnn_write.h"
#include "unit/pair_folder.h"
#include "unit/random_net.h"

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != CR_OK) fail_msg("%s: %s", #call, err.message);                               \
    } while (0)

static int make_folder(void **state)
{
    (void)state;
    return make_pair_folder("param");
}

static void read_bytes(const char *name, unsigned char **bytes, size_t *size)
{
    cr_error err;
    OK(cr_file_read(name, 1 << 26, bytes, size, &err));
}

/* ---- a .param ---- */

enum { MAX_BLOBS = 2000, MAX_WORD = 256 };

typedef struct param { /* what has been read of one */
    char made[MAX_BLOBS][MAX_WORD];
    bool read[MAX_BLOBS];
    size_t count;
    size_t weights; /* bytes that its layers want of the .bin, float32 */
} param;

static size_t find_blob(const param *p, const char *name)
{
    size_t i = 0;
    while (i < p->count && strcmp(p->made[i], name)) i++;
    return i;
}

/* The whole number behind " KEY="; `fallback` without. */
static long key_of(const char *line, const char *key, long fallback)
{
    char word[16];
    snprintf(word, sizeof word, " %s=", key);
    const char *at = strstr(line, word);
    return at ? strtol(at + strlen(word), NULL, 10) : fallback;
}

static size_t weights_of(const char *type, const char *line)
{
    const bool conv = strstr(type, "onvolution") != NULL; /* De- as well */
    if (conv) return 4 + 4 * (size_t)key_of(line, "6", 0) +
                     4 * (size_t)(key_of(line, "5", 0) * key_of(line, "0", 0));
    if (!strcmp(type, "InnerProduct"))
        return 4 + 4 * (size_t)key_of(line, "2", 0) +
               4 * (size_t)(key_of(line, "1", 0) * key_of(line, "0", 0));
    if (!strcmp(type, "MemoryData"))
        return 4 * (size_t)(key_of(line, "0", 1) * key_of(line, "1", 1) * key_of(line, "2", 1) *
                            key_of(line, "11", 1));
    if (!strcmp(type, "BatchNorm")) return 16 * (size_t)key_of(line, "0", 0);
    if (!strcmp(type, "PReLU")) return 4 * (size_t)key_of(line, "0", 0);
    if (!strcmp(type, "GroupNorm")) return 8 * (size_t)key_of(line, "1", 0);
    if (strstr(type, "Norm")) return 8 * (size_t)key_of(line, "0", 0);
    return 0;
}

static void take_layer(param *p, char *line)
{
    char type[MAX_WORD], name[MAX_WORD], blob[MAX_WORD];
    int n_in, n_out, at, step;
    assert_int_equal(sscanf(line, "%255s %255s %d %d%n", type, name, &n_in, &n_out, &at), 4);
    for (int k = 0; k < n_in + n_out; k++, at += step) {
        assert_int_equal(sscanf(line + at, "%255s%n", blob, &step), 1);
        const size_t i = find_blob(p, blob);
        if (k < n_in) { /* made before, read by nobody else */
            assert_true(i < p->count && !p->read[i]);
            p->read[i] = true;
        } else {
            assert_true(i == p->count && p->count < MAX_BLOBS);
            memcpy(p->made[p->count++], blob, sizeof blob);
        }
    }
    for (const char *c = line + at; *c; c++) /* " key=value" and nothing else */
        if (*c == ' ') assert_true(c[1] == '-' || (c[1] >= '0' && c[1] <= '9'));
    p->weights += weights_of(type, line + at);
}

static void read_param(param *p)
{
    size_t size, layers = 0, counted = 0, blobs = 0;
    unsigned char *text;
    read_bytes(path, &text, &size);
    char *rest = (char *)text;
    memset(p, 0, sizeof *p);
    for (int row = 0; *rest; row++) {
        char *end = strchr(rest, '\n');
        assert_non_null(end);
        *end = 0;
        if (row == 0) assert_string_equal(rest, "7767517");
        if (row == 1) assert_int_equal(sscanf(rest, "%zu %zu", &layers, &blobs), 2);
        if (row > 1) take_layer(p, rest), counted++;
        rest = end + 1;
    }
    assert_true(counted == layers && p->count == blobs);
    cr_free(text);
}

static void random_networks(void **state)
{
    (void)state;
    static param p;
    int written = 0;
    for (uint64_t seed = 0; seed < 300; seed++) {
        cr_error err;
        cr_graph *g = random_net(seed, false, false);
        remove(path);
        remove(bin);
        const cr_status st = cr_ncnn_write(g, NULL, NULL, path, &err);
        if (st == CR_OK) {
            unsigned char *b;
            size_t size;
            written++;
            read_param(&p);
            read_bytes(bin, &b, &size);
            cr_free(b);
            assert_int_equal(size, p.weights);
            for (size_t i = 0; i < g->output_count; i++) { /* there to be asked for */
                const size_t at = find_blob(&p, g->outputs[i]->name);
                assert_true(at < p.count && !p.read[at]);
            }
        } else {
            assert_int_equal(st, CR_ERR_UNSUPPORTED);
            assert_non_null(strchr(err.message, '\''));
            assert_true(access(path, F_OK) && access(bin, F_OK)); /* neither file */
        }
        cr_graph_free(&g);
    }
    assert_in_range(written, 60, 300);
}

/* ---- weights ---- */

enum { OUTS = 3, WEIGHTS = OUTS * 5 };

static cr_graph *one_convolution(cr_tensor **weight)
{
    cr_rng r;
    cr_rng_seed(&r, 7);
    cr_graph *g = graph_new();
    cr_tensor *x = graph_input(g, "x", shape_of(4, 1, 5, 4, 4));
    *weight = const_random(g, &r, "weight", shape_of(4, OUTS, 5, 1, 1), -1, 1);
    cr_tensor *bias = const_random(g, &r, "bias", shape_of(1, OUTS), -1, 1);
    graph_output(g, done(graph_node(g, CR_OP_Conv, 1, 3, x, *weight, bias)));
    graph_ready(g);
    return g;
}

static uint32_t word_at(const unsigned char *b, size_t at)
{
    uint32_t v;
    memcpy(&v, b + at, sizeof v);
    return v;
}

static void integers_and_scales(void **state)
{
    (void)state;
    static const int32_t zero[OUTS];
    const float own[OUTS] = {1.f / 128, 1.f / 64, 1.f / 32}, step = .25f;
    const float per_unit[OUTS + 1] = {128, 64, 32, 4};
    cr_tensor *weight;
    cr_error err;
    cr_graph *g = one_convolution(&weight);
    cr_recipe *r;
    int32_t codes[WEIGHTS];
    size_t size;
    const cr_qparams w = {CR_DT_I8, 0, OUTS, (float *)own, (int32_t *)zero};
    const cr_qparams x = {CR_DT_I8, -1, 1, (float *)&step, (int32_t *)zero};
    OK(cr_recipe_create(&r, &err));
    OK(cr_recipe_add(r, "weight", true, &w, "", &err));
    OK(cr_recipe_add(r, "x", false, &x, "", &err));
    OK(cr_ncnn_write(g, r, NULL, path, &err));
    unsigned char *b;
    read_bytes(bin, &b, &size);
    assert_int_equal(size, 4 + 16 + 4 * OUTS + 4 * (OUTS + 1)); /* 15 codes are filled up to 16 */
    assert_int_equal(word_at(b, 0), 0x000D4B38);
    cr_quantize_tensor(weight, &w, codes);
    for (int i = 0; i < WEIGHTS; i++) assert_int_equal((int8_t)b[4 + i], codes[i]);
    assert_memory_equal(b + 20, g->nodes[0]->in[2]->data, 4 * OUTS);
    assert_memory_equal(b + 20 + 4 * OUTS, per_unit, sizeof per_unit);
    cr_free(b);
    read_bytes(path, &b, &size);
    assert_int_equal(key_of(strstr((char *)b, "Convolution"), "8", 0), 2);
    cr_free(b);
    cr_recipe_release(&r);
    cr_graph_free(&g);
}

static void sixteen_bits(void **state)
{
    (void)state;
    cr_tensor *weight;
    cr_error err;
    cr_graph *g = one_convolution(&weight);
    float *v = weight->data;
    size_t size;
    for (int i = 0; i < WEIGHTS; i++) v[i] = cr_f16_to_f32(cr_f32_to_f16(v[i]));
    OK(cr_ncnn_write(g, NULL, &(cr_ncnn_write_options){.half = CR_DT_F16}, path, &err));
    unsigned char *b;
    read_bytes(bin, &b, &size);
    assert_int_equal(size, 4 + 32 + 4 * OUTS);
    assert_int_equal(word_at(b, 0), 0x01306B47);
    for (int i = 0; i < WEIGHTS; i++)
        assert_true(cr_f16_to_f32((uint16_t)(b[4 + 2 * i] | b[5 + 2 * i] << 8)) == v[i]);
    cr_free(b);
    v[3] = 1.00001f; /* would lose something: floats then */
    OK(cr_ncnn_write(g, NULL, &(cr_ncnn_write_options){.half = CR_DT_F16}, path, &err));
    read_bytes(bin, &b, &size);
    assert_int_equal(word_at(b, 0), 0);
    assert_memory_equal(b + 4, v, sizeof(float) * WEIGHTS);
    cr_free(b);
    cr_graph_free(&g);
}

static void tables_of_values(void **state)
{
    (void)state;
    enum { N = 40 * 40 };
    cr_error err;
    cr_rng r;
    float table[256];
    size_t size;
    cr_rng_seed(&r, 9);
    cr_graph *g = graph_new();
    cr_tensor *x = graph_input(g, "x", shape_of(4, 1, 40, 2, 2));
    cr_tensor *weight = const_random(g, &r, "weight", shape_of(4, 40, 40, 1, 1), -1, 1);
    float *v = weight->data;
    for (int i = 0; i < N; i++) v[i] = (float)(int)(v[i] * 100) / 8;
    graph_output(g, done(graph_node(g, CR_OP_Conv, 1, 2, x, weight)));
    graph_ready(g);
    OK(cr_ncnn_write(g, NULL, &(cr_ncnn_write_options){.tables = true}, path, &err));
    unsigned char *b;
    read_bytes(bin, &b, &size);
    assert_int_equal(size, 4 + sizeof table + N);
    const uint32_t tag = word_at(b, 0);
    assert_int_equal((tag & 255) + (tag >> 8 & 255) + (tag >> 16 & 255) + (tag >> 24), 1);
    memcpy(table, b + 4, sizeof table);
    for (int i = 0; i < N; i++) assert_true(table[b[4 + sizeof table + i]] == v[i]);
    cr_free(b);
    cr_graph_free(&g);
}

/* ---- refusals ---- */

static void refuse(const cr_qparams *x, const cr_qparams *w, const char *why)
{
    cr_tensor *weight;
    cr_error err;
    cr_graph *g = one_convolution(&weight);
    cr_recipe *r;
    remove(path);
    OK(cr_recipe_create(&r, &err));
    if (x) OK(cr_recipe_add(r, "x", false, x, "", &err));
    OK(cr_recipe_add(r, "weight", true, w, "", &err));
    assert_int_equal(cr_ncnn_write(g, r, NULL, path, &err), CR_ERR_UNSUPPORTED);
    if (!strstr(err.message, why)) fail_msg("%s", err.message);
    assert_true(access(path, F_OK));
    cr_recipe_release(&r);
    cr_graph_free(&g);
}

static void recipes_that_it_cannot_say(void **state)
{
    (void)state;
    float scale[5] = {.1f, .2f, .3f, .4f, .5f};
    int32_t zero[5] = {0}, three[5] = {3, 3, 3, 3, 3};
    const cr_qparams fine = {CR_DT_I8, -1, 1, scale, zero}, byte = {CR_DT_U8, -1, 1, scale, zero};
    const cr_qparams moved = {CR_DT_I8, -1, 1, scale, three};
    const cr_qparams channels = {CR_DT_I8, 1, 5, scale, zero};
    const cr_qparams dynamic = {CR_DT_U8, -1, 1, (float[]){1}, zero, .dynamic = true};
    const cr_qparams unsigned_weight = {CR_DT_U8, -1, 1, scale, three};
    refuse(NULL, &fine, "quantized alone");
    refuse(&byte, &fine, "'x' is uint8");
    refuse(&moved, &fine, "zero point 3");
    refuse(&channels, &fine, "scale per channel");
    refuse(&dynamic, &fine, "anew in every run");
    refuse(&fine, &unsigned_weight, "'weight' is uint8");
    refuse(&fine, &channels, "another axis");
}

static void memory_runs_out(void **state)
{
    (void)state;
    cr_error err;
    cr_status st = CR_ERR_MEMORY;
    uint64_t seed = 0;
    cr_graph *g = random_net(seed, false, false);
    while (cr_ncnn_write(g, NULL, NULL, path, &err) != CR_OK) {
        cr_graph_free(&g);
        g = random_net(++seed, false, false);
    }
    remove(path);
    remove(bin);
    long n = 0;
    for (; st != CR_OK && n < 20000; n++) {
        cr_alloc_fail_after(n);
        st = cr_ncnn_write(g, NULL, &(cr_ncnn_write_options){.tables = true}, path, &err);
        cr_alloc_fail_after(-1);
        if (st == CR_OK) break;
        assert_int_equal(st, CR_ERR_MEMORY);
        assert_true(access(path, F_OK) && access(bin, F_OK));
    }
    assert_true(n > 10);
    assert_int_equal(st, CR_OK);
    cr_graph_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_networks),  cmocka_unit_test(integers_and_scales),
        cmocka_unit_test(sixteen_bits),     cmocka_unit_test(tables_of_values),
        cmocka_unit_test(recipes_that_it_cannot_say), cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_pair_folder);
}
