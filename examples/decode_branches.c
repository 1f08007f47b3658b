/* Decodes a detached model (crayon quantize --head detach) by hand: decode_branches MODEL.onnx
 * PICTURE
 *
 * What an own host has to do; crayon's detectors do it by themselves. Boxes are distances from a
 * cell's point, each the mean of a softmax over bins. No suppression of overlapping boxes here. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "crayon/runtime.h"

/* Channel c of branch b at a cell. */
static float at(const cr_output *o, const cr_branch *b, int c, int64_t cell)
{
    return o->data[((int64_t)b->first + c) * o->dim[2] * o->dim[3] + cell];
}

static float distance(const cr_branches *all, const cr_output *o, const cr_branch *b, int side,
                      int64_t cell)
{
    float sum = 0, mean = 0;
    if (all->bins == 1) return at(o, b, side, cell);
    for (int i = 0; i < all->bins; i++) {
        const float e = expf(at(o, b, side * all->bins + i, cell));
        sum += e;
        mean += e * all->bin_value[i];
    }
    return mean / sum;
}

static void print_level(const cr_branches *all, const cr_output *boxes, const cr_branch *b,
                        const cr_output *scores, const cr_branch *s)
{
    const int64_t width = boxes->dim[3], cells = boxes->dim[2] * width;
    for (int64_t cell = 0; cell < cells; cell++)
        for (int c = 0; c < s->channels; c++) {
            const float x = at(scores, s, c, cell), p = s->logits ? 1 / (1 + expf(-x)) : x;
            if (p < .25f) continue;
            const float px = (float)(cell % width) + all->offset;
            const float py = (float)(cell / width) + all->offset;
            printf("class %d score %.2f box %.1f %.1f %.1f %.1f\n", c, (double)p,
                   (double)((px - distance(all, boxes, b, 0, cell)) * (float)b->stride),
                   (double)((py - distance(all, boxes, b, 1, cell)) * (float)b->stride),
                   (double)((px + distance(all, boxes, b, 2, cell)) * (float)b->stride),
                   (double)((py + distance(all, boxes, b, 3, cell)) * (float)b->stride));
        }
}

int main(int argc, char **argv)
{
    cr_error err = {0};
    cr_model *model = NULL;
    cr_runner *runner = NULL;
    cr_image picture = {0};
    cr_placement place;
    cr_output out[CR_MAX_BRANCHES];
    if (argc != 3) return fprintf(stderr, "usage: decode_branches MODEL.onnx PICTURE\n"), 2;
    cr_status st = cr_model_open(argv[1], NULL, &model, &err);
    const cr_branches *all = st == CR_OK ? cr_model_get_info(model)->head.branches : NULL;
    if (st == CR_OK && (!all || all->exponent)) return puts("no branches of distances"), 1;
    if (st == CR_OK) st = cr_image_read(argv[2], &picture, &err);
    if (st == CR_OK) st = cr_runner_create(model, 0, &runner, &err);
    if (st == CR_OK)
        st = cr_preprocess_run(&cr_model_get_info(model)->preprocess, &picture,
                               cr_runner_input(runner, 0, NULL), &place, &err);
    if (st == CR_OK) st = cr_runner_run(runner, &err);
    for (int i = 0; st == CR_OK && i < all->count; i++)
        st = cr_runner_output(runner, (size_t)all->items[i].output, &out[i], &err);
    for (int i = 0; st == CR_OK && i < all->count; i++)
        for (int k = 0; k < all->count; k++)
            if (all->items[i].part == CR_BRANCH_BOX && all->items[k].part == CR_BRANCH_SCORE &&
                all->items[i].stride == all->items[k].stride)
                print_level(all, &out[i], &all->items[i], &out[k], &all->items[k]);
    cr_runner_free(&runner);
    cr_image_free(&picture);
    cr_model_free(&model);
    if (st != CR_OK) fprintf(stderr, "decode_branches: %s\n", err.message);
    return st == CR_OK ? 0 : 1;
}
