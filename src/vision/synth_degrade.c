/* Defocus, exposure and sensor noise. Floating point in a fixed order, so the bytes are the same
 * every time. */
#include <math.h>

#include "base/mem.h"
#include "vision/synth_scene.h"

enum { REACH = 4, TAPS = 2 * REACH + 1 };

static void gaussian(double sigma, float tap[TAPS])
{
    double sum = 0, raw[TAPS];
    for (int i = 0; i < TAPS; i++) {
        raw[i] = exp(-0.5 * (i - REACH) * (i - REACH) / (sigma * sigma));
        sum += raw[i];
    }
    for (int i = 0; i < TAPS; i++) tap[i] = (float)(raw[i] / sum);
}

/* One line of n pixels, `step` bytes apart, borders repeated. `line` holds n + 2 * REACH bytes. */
static void blur_line(uint8_t *at, int n, size_t step, const float tap[TAPS], uint8_t *line)
{
    for (int i = -REACH; i < n + REACH; i++)
        line[i + REACH] = at[(size_t)(i < 0 ? 0 : i >= n ? n - 1 : i) * step];
    for (int i = 0; i < n; i++) {
        float sum = 0.5f;
        for (int k = 0; k < TAPS; k++) sum += tap[k] * (float)line[i + k];
        at[(size_t)i * step] = (uint8_t)(sum > 255.0f ? 255.0f : sum);
    }
}

static cr_status blur(cr_image *img, double sigma, cr_error *err)
{
    const int longer = img->width > img->height ? img->width : img->height;
    uint8_t *line = cr_malloc((size_t)longer + 2 * REACH);
    if (!line) return CR_NOMEM(err);
    float tap[TAPS];
    gaussian(sigma, tap);
    const size_t row = 3 * (size_t)img->width;
    for (size_t y = 0; y < (size_t)img->height; y++)
        for (int c = 0; c < 3; c++) blur_line(img->rgb + y * row + c, img->width, 3, tap, line);
    for (size_t x = 0; x < row; x++) blur_line(img->rgb + x, img->height, row, tap, line);
    cr_free(line);
    return CR_OK;
}

static uint8_t to_byte(double v)
{
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v + 0.5);
}

static void expose(cr_image *img, double contrast, double brightness)
{
    uint8_t table[256];
    for (int i = 0; i < 256; i++) table[i] = to_byte((i - 128) * contrast + 128 + brightness);
    const size_t n = 3 * (size_t)img->width * (size_t)img->height;
    for (size_t i = 0; i < n; i++) img->rgb[i] = table[img->rgb[i]];
}

/* Noise per channel is a sum of three 7-bit uniform numbers (standard deviation 64.0), close
 * enough to a Gaussian; one random word serves a pixel. */
static void add_noise(cr_image *img, double sigma, cr_rng *rng)
{
    const size_t pixels = (size_t)img->width * (size_t)img->height;
    for (size_t i = 0; i < pixels; i++) {
        uint64_t bits = cr_rng_u64(rng);
        for (int c = 0; c < 3; c++, bits >>= 21) {
            const double sum = (double)((bits & 127) + (bits >> 7 & 127) + (bits >> 14 & 127));
            uint8_t *p = &img->rgb[3 * i + (size_t)c];
            *p = to_byte(*p + (sum - 190.5) * (sigma / 64));
        }
    }
}

cr_status cr_degrade(cr_image *img, cr_rng *rng, cr_error *err)
{
    if (cr_rng_unit(rng) < 0.4) CR_TRY(blur(img, cr_rng_range(rng, 0.4, 1.3), err));
    if (cr_rng_unit(rng) < 0.5) {
        const double contrast = cr_rng_range(rng, 0.6, 1.25);
        expose(img, contrast, cr_rng_range(rng, -35, 35));
    }
    if (cr_rng_unit(rng) < 0.6) add_noise(img, cr_rng_range(rng, 2, 14), rng);
    return CR_OK;
}
