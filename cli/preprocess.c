/* How pictures are prepared: declared by hand (--preprocess), and doubted aloud. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* ---- --preprocess ---- */

static bool take_fit(const char *word, cr_preprocess *p)
{
    for (cr_fit fit = CR_FIT_LETTERBOX; fit <= CR_FIT_CENTERCROP; fit++)
        if (!strcmp(word, cr_fit_name(fit))) {
            p->fit = fit;
            return true;
        }
    return false;
}

static void set_all(float *v, float r, float g, float b)
{
    v[0] = r;
    v[1] = g;
    v[2] = b;
}

/* "a/b/c" in the order of planes, or one number for all. */
static bool take_numbers(const char *text, bool positive, float out[3])
{
    char *end = (char *)text;
    for (int c = 0; c < 3; c++) {
        const char *const from = c ? end + 1 : text;
        out[c] = strtof(from, &end);
        if (end == from || !(out[c] >= -1e6f && out[c] <= 1e6f) || (positive && !(out[c] > 0)))
            return false;
        if (c == 0 && !*end) {
            set_all(out, out[0], out[0], out[0]);
            return true;
        }
        if (*end != (c < 2 ? '/' : 0)) return false;
    }
    return true;
}

static bool take_word(const char *word, cr_preprocess *p, bool *imagenet)
{
    if (take_fit(word, p)) return true;
    if (!strcmp(word, "rgb") || !strcmp(word, "bgr")) {
        p->bgr = word[0] == 'b';
        return true;
    }
    if (!strncmp(word, "mean=", 5)) return take_numbers(word + 5, false, p->mean);
    if (!strncmp(word, "std=", 4)) return take_numbers(word + 4, true, p->div);
    if (!strncmp(word, "pad=", 4)) {
        char *end;
        const long pad = strtol(word + 4, &end, 10);
        p->pad = (uint8_t)pad;
        return end != word + 4 && !*end && pad >= 0 && pad <= 255;
    }
    *imagenet = !strcmp(word, "imagenet");
    const bool unit = !strcmp(word, "0..1"), bytes = !strcmp(word, "0..255");
    if (!*imagenet && !unit && !bytes) return false;
    set_all(p->mean, 0, 0, 0);
    set_all(p->div, unit ? 255 : 1, unit ? 255 : 1, unit ? 255 : 1);
    return true;
}

bool cli_preprocess_parse(const char *text, cr_preprocess *p)
{
    char copy[256];
    bool imagenet = false;
    if (strlen(text) >= sizeof copy) return false;
    strcpy(copy, text);
    for (char *word = copy, *next; word; word = next) {
        bool this_one = false;
        next = strchr(word, ',');
        if (next) *next++ = 0;
        if (!take_word(word, p, &this_one)) return false;
        imagenet |= this_one;
    }
    if (imagenet) { /* in the order of planes, which may have been said behind it */
        set_all(p->mean, p->bgr ? 103.53f : 123.675f, 116.28f, p->bgr ? 123.675f : 103.53f);
        set_all(p->div, p->bgr ? 57.375f : 58.395f, 57.12f, p->bgr ? 58.395f : 57.375f);
    }
    return true;
}

/* ---- doubts ---- */

static void doubt_preprocess(const cr_preprocess_check *c)
{
    char declared[160], better[160], times[32] = "far more";
    if (!c->best) return;
    cli_preprocess_text(&c->candidates[0].preprocess, declared, sizeof declared);
    cli_preprocess_text(&c->candidates[c->best].preprocess, better, sizeof better);
    if (c->gain < 100) snprintf(times, sizeof times, "%.2f times as much", c->gain);
    cli_warn("the model sees better with '%s' than with '%s' (it finds %s that it finds again in the "
             "mirror): see --preprocess",
             better, declared, times);
}

static void doubt_pictures(size_t count, const cr_picture_check *c)
{
    enum { FEW = 16 };
    if (count < FEW)
        cli_warn("%zu picture%s to calibrate with; some hundred that look like the real ones are "
                 "better",
                 count, count == 1 ? "" : "s");
    if (c->looked_at >= FEW && c->alike * 2 > c->looked_at)
        cli_warn("%zu of %zu pictures are nearly the same as others", c->alike, c->looked_at);
    if (c->grey * 2 > c->looked_at)
        cli_warn("%zu of %zu pictures are grey", c->grey, c->looked_at);
    if (c->empty * 8 > c->looked_at)
        cli_warn("%zu of %zu pictures show a single colour", c->empty, c->looked_at);
}

cr_status cli_doubt(const cr_model *model, const cr_image_list *pictures, int threads,
                    cli_doubts *out, cr_error *err)
{
    const cr_progress progress = cli_progress();
    out->count = pictures->count;
    const cr_status st = cr_pictures_check(pictures, &out->pictures, err);
    return st == CR_OK
               ? cr_preprocess_try(model, pictures, threads, &progress, &out->preprocess, err)
               : st;
}

void cli_doubts_print(const cli_doubts *d)
{
    if (!d->count) return;
    doubt_pictures(d->count, &d->pictures);
    doubt_preprocess(&d->preprocess);
}
