/* Throws damaged descriptions of a detached head (metadata CR_META_BRANCHES) at their reader, and
 * what was accepted at the decoder.
 *
 *     fuzz-branches N [SEED]
 *
 * The seed describes a box and a score branch per stride of a small graph. Each run damages one to
 * four bytes; half of the damage changes digits only, so that much of it stays JSON. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/rng.h"
#include "pipeline/model_impl.h"

enum { SIDE = 64, LEVELS = 2 };

static void die(const char *why)
{
    fprintf(stderr, "%s\n", why);
    abort();
}

static cr_graph *make_graph(void)
{
    cr_error err;
    cr_graph *g;
    static cr_tensor *inputs[1], *outputs[2 * LEVELS];
    if (cr_graph_create(&g, &err) != CR_OK) die(err.message);
    g->inputs = inputs;
    g->outputs = outputs;
    inputs[g->input_count++] =
        cr_graph_add_tensor(g, "x", CR_DT_F32, (cr_shape){4, {1, 3, SIDE, SIDE}});
    for (int i = 0; i < 2 * LEVELS; i++) {
        const int64_t cells = SIDE / (8 << i / 2);
        char name[8];
        snprintf(name, sizeof name, "%d", i);
        outputs[g->output_count++] =
            cr_graph_add_tensor(g, name, CR_DT_F32, (cr_shape){4, {1, 16, cells, cells}});
    }
    return g;
}

static const char *make_seed(const cr_graph *g, cr_arena *arena)
{
    cr_error err;
    const char *text;
    cr_branches b = {.bins = 4, .bin_value = {0, 1, 2, 3}, .offset = .5f, .keypoint_scale = 2};
    const cr_head head = {.classes = 3, .keypoints = 2, .keypoint_dims = 3};
    const cr_model_info info = {.family = "seed", .preprocess = cr_preprocess_default(SIDE, SIDE)};
    for (int i = 0; i < LEVELS; i++) {
        b.items[b.count++] = (cr_branch){CR_BRANCH_BOX, 2 * i, 0, 16, 8 << i, false};
        b.items[b.count++] = (cr_branch){CR_BRANCH_SCORE, 2 * i + 1, 0, 3, 8 << i, true};
        b.items[b.count++] = (cr_branch){CR_BRANCH_OBJECT, 2 * i + 1, 3, 1, 8 << i, true};
        b.items[b.count++] = (cr_branch){CR_BRANCH_KEYPOINT, 2 * i + 1, 4, 6, 8 << i, true};
    }
    if (cr_branches_write(g, &head, &b, &info, &text, arena, &err) != CR_OK) die(err.message);
    return text;
}

static void damage(cr_rng *rng, char *text)
{
    const size_t n = strlen(text);
    const bool digits = cr_rng_below(rng, 2);
    for (uint64_t k = 1 + cr_rng_below(rng, 4); k > 0; k--) {
        size_t at = cr_rng_below(rng, n);
        while (digits && !(text[at] >= '0' && text[at] <= '9')) at = (at + 1) % n;
        text[at] =
            digits ? (char)('0' + cr_rng_below(rng, 10)) : (char)(1 + cr_rng_below(rng, 255));
    }
}

/* Outputs of ones of exactly the size that the graph says. */
static void decode(const cr_graph *g, const cr_head *h)
{
    cr_error err;
    cr_output outs[2 * LEVELS] = {0};
    float *data[2 * LEVELS];
    cr_detections found = {0};
    const cr_placement place = {SIDE, SIDE, 1, 1, 0, 0};
    const cr_detect_options o = cr_detect_options_eval();
    for (int i = 0; i < 2 * LEVELS; i++) {
        const cr_shape *s = &g->outputs[i]->shape;
        const int64_t n = cr_shape_count(s);
        data[i] = malloc((size_t)n * sizeof(float));
        for (int64_t k = 0; k < n; k++) data[i][k] = 1;
        outs[i] = (cr_output){.data = data[i], .rank = 4};
        memcpy(outs[i].dim, s->dim, sizeof outs[i].dim);
    }
    if (cr_head_decode(h, outs, 2 * LEVELS, &place, &o, &found, &err) == CR_OK)
        cr_detections_free(&found);
    for (int i = 0; i < 2 * LEVELS; i++) free(data[i]);
}

int main(int argc, char **argv)
{
    const long runs = argc > 1 ? strtol(argv[1], NULL, 10) : 1000;
    const uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    cr_arena arena = {0};
    cr_graph *g = make_graph();
    const char *seed = make_seed(g, &arena);
    long accepted = 0;
    for (long i = 0; i < runs; i++) {
        cr_error err = {0};
        cr_rng rng;
        cr_arena own = {0};
        cr_head head = {0};
        cr_branches b = {0};
        cr_preprocess pre = cr_preprocess_default(SIDE, SIDE);
        const char *family = "none";
        bool found;
        char *text = strdup(seed);
        cr_rng_seed(&rng, first + (uint64_t)i);
        if (i) damage(&rng, text);
        cr_graph_set_meta(g, CR_META_BRANCHES, text);
        if (cr_branches_read(g, &head, &b, &pre, &family, &found, &own, &err) == CR_OK) {
            accepted++;
            decode(g, &head);
        } else if (!err.message[0] || strchr(err.message, '\n')) {
            die("a message that is not one line");
        }
        g->meta_count = 0;
        free(text);
        cr_arena_free(&own);
    }
    if (!accepted) die("even the seed was refused");
    printf("%ld of %ld descriptions accepted\n", accepted, runs);
    cr_arena_free(&arena);
    cr_graph_free(&g);
    return 0;
}
