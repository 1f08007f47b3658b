/* Decodes a detached TFLite model (crayon quantize -o MODEL.tflite --head detach --io int8) where there is
 * no Crayon, from the bytes that any TFLite runtime gives: one box and one score tensor per stride.
 *
 *     decode_nhwc [H W STRIDE BOXES.bin SCALE ZERO SCORES.bin SCALE ZERO]...
 *
 * Tensors are int8 [1,H,W,C]; SCALE and ZERO are their quantization. Which output is which, and strides,
 * stand in the metadata ("crayon.branches"); boxes are distances over bins 0, 1, 2, ... from a cell's middle.
 * Logits are compared as codes; a softmax needs their differences alone, hence one table, no zero point. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static const float least_score = .25f;

typedef struct tensor {
    int8_t *code; /* [cells][channels] */
    int channels, zero;
    float scale;
} tensor;

static int read_tensor(tensor *t, char **a, long cells)
{
    FILE *f = fopen(a[0], "rb");
    long size = 0;
    if (f && !fseek(f, 0, SEEK_END)) size = ftell(f);
    *t = (tensor){NULL, cells > 0 ? (int)(size / cells) : 0, atoi(a[2]), strtof(a[1], NULL)};
    if (f && t->channels > 0 && t->scale > 0 && (t->code = malloc((size_t)size))) {
        rewind(f);
        size -= (long)fread(t->code, 1, (size_t)size, f);
    }
    if (f) fclose(f);
    return t->code && !size ? 1 : (fprintf(stderr, "decode_nhwc: %s: not such a tensor\n", a[0]), 0);
}

/* The mean of a softmax over bins; e[d] = exp(-scale * d). */
static float distance(const int8_t *bin, int bins, const float e[256])
{
    float sum = 0, mean = 0;
    int most = INT8_MIN;
    for (int i = 0; i < bins; i++) most = bin[i] > most ? bin[i] : most;
    for (int i = 0; i < bins; i++) {
        sum += e[most - bin[i]];
        mean += e[most - bin[i]] * (float)i;
    }
    return mean / sum;
}

static void print_level(const tensor *boxes, const tensor *scores, long cells, int width, float stride)
{
    const float logit = logf(least_score / (1 - least_score)) / scores->scale + (float)scores->zero;
    const int bins = boxes->channels / 4;
    float e[256], side[4];
    for (int d = 0; d < 256; d++) e[d] = expf(-boxes->scale * (float)d);
    for (long i = 0; i < cells * scores->channels; i++) {
        if ((float)scores->code[i] < logit) continue;
        const long cell = i / scores->channels;
        const float x = (float)(cell % width) + .5f, y = (float)(cell / width) + .5f;
        for (int k = 0; k < 4; k++) side[k] = distance(boxes->code + (cell * 4 + k) * bins, bins, e);
        printf("class %ld score %.3f box %.2f %.2f %.2f %.2f\n", i % scores->channels,
               1 / (1 + exp((double)scores->scale * (scores->zero - scores->code[i]))),
               (double)((x - side[0]) * stride), (double)((y - side[1]) * stride),
               (double)((x + side[2]) * stride), (double)((y + side[3]) * stride));
    }
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc % 9 != 1)
        return fputs("usage: decode_nhwc [H W STRIDE BOXES.bin SCALE ZERO SCORES.bin SCALE ZERO]...\n", stderr), 2;
    for (char **a = argv + 1; *a; a += 9) {
        const long cells = atol(a[0]) * atol(a[1]);
        tensor boxes = {NULL, 0, 0, 0}, scores = boxes;
        const int good = read_tensor(&boxes, a + 3, cells) && read_tensor(&scores, a + 6, cells);
        if (good) print_level(&boxes, &scores, cells, atoi(a[1]), strtof(a[2], NULL));
        free(boxes.code), free(scores.code);
        if (!good) return 1;
    }
    return 0;
}
