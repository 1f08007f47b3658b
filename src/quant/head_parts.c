/* From facts (head_trace.c) to meaning. Per channel, the first rule that fits:
 *
 *   a map of its own, finer than every other branch      prototype
 *   softmax, then a mean over bins                       box distribution (DFL; Li et al. 2020)
 *   sine or cosine taken of it                           angle of an oriented box
 *   coordinate arithmetic: grid, exponent, square        box; beyond the box's four columns: keypoint
 *   sigmoid or softmax                                   score; beside keypoints: their visibility
 *   as it is, where boxes are decoded inside             mask coefficient (score, if there is no other)
 *   as it is, where the host decodes                     4 channels: box, 4 * bins: distribution
 *
 * Where nothing is decoded inside (branches given as they are), scores are the channels whose
 * typical value is well below zero: a detector's scores are trained from a prior of a per cent or
 * less, a logit of -4.6 (Lin et al. 2017, "Focal loss", 4.1), and on any picture most cells are
 * background; box values have no such bias.
 *
 * Objectness is a score that stands alone: a branch of one channel beside another branch of scores,
 * or, with boxes and scores from one convolution (anchors), the first column behind the box. */
#include "quant/head_parts.h"

#include <string.h>

#include "base/error.h"
#include "quant/head_trace.h"

static const double background = -1.0; /* a typical value below it means a score's logit */

typedef struct finder {
    const cr_graph *graph;
    const cr_stats *stats;
    cr_head_trace trace;
    cr_part *part; /* by channel */
    bool boxes_decoded, scores_inside;
} finder;

const char *cr_part_name(cr_part p)
{
    static const char *const names[CR_PART_COUNT] = {
        "other",      "box",      "box distribution", "score",
        "objectness", "keypoint", "mask coefficient", "prototype",
        "angle"};
    return p < CR_PART_COUNT ? names[p] : names[CR_PART_OTHER];
}

static bool is_coordinate(unsigned facts)
{
    return (facts & CR_FACT_COORDINATE) != 0;
}

static bool is_distribution(unsigned facts)
{
    return (facts & CR_FACT_SOFTMAX) && (facts & CR_FACT_MEAN);
}

static bool is_score(unsigned facts)
{
    return !is_coordinate(facts) && !is_distribution(facts) &&
           (facts & (CR_FACT_SIGMOID | CR_FACT_SOFTMAX | CR_FACT_SCORES));
}

static const cr_channel *channel(const finder *f, const cr_source *s, size_t c)
{
    return &f->trace.channels[s->first + c];
}

static void look_around(finder *f)
{
    for (size_t c = 0; c < f->trace.channel_count; c++) {
        const unsigned facts = f->trace.channels[c].facts;
        f->boxes_decoded |= is_distribution(facts) || is_coordinate(facts);
        f->scores_inside |= is_score(facts);
    }
}

/* One convolution per level, given as it is: the finest of them is no map of prototypes. */
static bool one_branch_per_level(const finder *f)
{
    for (size_t k = 0; k < f->graph->output_count; k++)
        if (f->graph->outputs[k]->shape.rank != 4) return false;
    for (size_t i = 0; i < f->trace.source_count; i++)
        for (size_t k = 0; k < i; k++)
            if (f->trace.sources[i].cells == f->trace.sources[k].cells) return false;
    return true;
}

/* An output of its own [N,C,H,W] with more cells than any other branch. */
static bool is_prototype(const finder *f, const cr_source *s)
{
    const int output = channel(f, s, 0)->output;
    if (output < 0 || f->graph->outputs[output]->shape.rank != 4 || one_branch_per_level(f))
        return false;
    for (size_t i = 0; i < f->trace.source_count; i++) {
        const cr_source *other = &f->trace.sources[i];
        if (other != s && (other->cells >= s->cells || channel(f, other, 0)->output == output))
            return false;
    }
    return true;
}

/* Do other branches give the box, so that coordinates of this one from column 4 on are points? */
static bool is_keypoint(const finder *f, const cr_channel *c)
{
    bool box_before = false;
    if (c->column < 4 || c->output < 0) return false;
    for (size_t i = 0; i < f->trace.channel_count && !box_before; i++) {
        const cr_channel *o = &f->trace.channels[i];
        box_before = is_distribution(o->facts) ||
                     (is_coordinate(o->facts) && o->column >= 0 && o->column < 4);
    }
    return box_before;
}

/* ---- branches that the host decodes ---- */

static double typical_value(const finder *f, const cr_source *s)
{
    const cr_tensor_stats *t = f->stats ? cr_stats_find(f->stats, s->node->out[0]->name) : NULL;
    double sum = 0, count = 0;
    for (int k = 0; t && k < CR_HIST_BINS; k++) {
        sum += (double)t->all.counts[k] * cr_stats_bin(t, k);
        count += (double)t->all.counts[k];
    }
    if (count > 0) return sum / count;
    const cr_tensor *bias = s->node->n_in > 2 ? s->node->in[2] : NULL;
    if (!bias || !bias->data) return 0;
    const int64_t n = cr_shape_count(&bias->shape);
    for (int64_t i = 0; i < n; i++) sum += cr_tensor_get_f64(bias, (size_t)i);
    return n ? sum / (double)n : 0;
}

static size_t count_raw(const finder *f, const cr_source *s)
{
    size_t n = 0;
    for (size_t c = 0; c < s->channels; c++) {
        const unsigned facts = channel(f, s, c)->facts;
        n += !is_score(facts) && !is_coordinate(facts) && !is_distribution(facts);
    }
    return n;
}

/* All branches have as many channels: a box, an object and scores for each of three anchors? */
static bool are_anchors(const finder *f)
{
    const cr_source *s = f->trace.sources;
    for (size_t i = 0; i < f->trace.source_count; i++)
        if (s[i].channels != s[0].channels || count_raw(f, &s[i]) != s[i].channels) return false;
    return f->trace.source_count > 1 && s[0].channels % 3 == 0 && s[0].channels / 3 > 5;
}

static cr_part raw_part(const finder *f, const cr_source *s, size_t c)
{
    const size_t raw = count_raw(f, s);
    if (f->boxes_decoded) return f->scores_inside ? CR_PART_MASK : CR_PART_SCORE;
    if (f->trace.source_count == 1 && raw == s->channels && s->cells == 1) return CR_PART_SCORE;
    if (!f->scores_inside && are_anchors(f)) {
        const size_t k = c % (s->channels / 3);
        return k < 4 ? CR_PART_BOX : k == 4 ? CR_PART_OBJECT : CR_PART_SCORE;
    }
    if (!f->scores_inside && typical_value(f, s) < background) return CR_PART_SCORE;
    if (raw == 4) return CR_PART_BOX;
    return raw % 4 == 0 ? CR_PART_DFL : CR_PART_OTHER;
}

/* ---- one channel, then objectness ---- */

static cr_part find_part(const finder *f, const cr_source *s, size_t c)
{
    const cr_channel *ch = channel(f, s, c);
    if (is_distribution(ch->facts)) return CR_PART_DFL;
    if (ch->facts & CR_FACT_ANGLE) return CR_PART_ANGLE;
    if (is_coordinate(ch->facts)) return is_keypoint(f, ch) ? CR_PART_KEYPOINT : CR_PART_BOX;
    return is_score(ch->facts) ? CR_PART_SCORE : raw_part(f, s, c);
}

static size_t count_part(const finder *f, const cr_source *s, cr_part p)
{
    size_t n = 0;
    for (size_t c = 0; c < s->channels; c++) n += f->part[s->first + c] == p;
    return n;
}

static void set_scores(finder *f, const cr_source *s, cr_part p)
{
    for (size_t c = 0; c < s->channels; c++)
        if (f->part[s->first + c] == CR_PART_SCORE) f->part[s->first + c] = p;
}

/* Boxes and scores from one convolution: the first of the score columns, where there are more. */
static void find_object_column(finder *f, const cr_source *s)
{
    int first = -1, last = -1;
    for (size_t c = 0; c < s->channels; c++) {
        const int column = channel(f, s, c)->column;
        if (f->part[s->first + c] != CR_PART_SCORE || column < 0) continue;
        first = first < 0 || column < first ? column : first;
        last = column > last ? column : last;
    }
    for (size_t c = 0; first < last && c < s->channels; c++)
        if (f->part[s->first + c] == CR_PART_SCORE && channel(f, s, c)->column == first)
            f->part[s->first + c] = CR_PART_OBJECT;
}

/* A branch of one score, with another branch of scores over the same cells and behind it. */
static bool stands_before(const finder *f, const cr_source *one, const cr_source *other)
{
    if (other == one || other->cells != one->cells) return false;
    const size_t scores = count_part(f, other, CR_PART_SCORE);
    if (!scores || scores != other->channels) return false;
    const cr_channel *a = channel(f, one, 0), *b = channel(f, other, 0);
    return scores > 1 || (a->output >= 0 && a->output == b->output && a->column < b->column);
}

static void find_objects(finder *f)
{
    for (size_t i = 0; i < f->trace.source_count; i++) {
        const cr_source *s = &f->trace.sources[i];
        if (count_part(f, s, CR_PART_BOX) && !count_part(f, s, CR_PART_OBJECT))
            find_object_column(f, s);
        bool alone = false;
        for (size_t k = 0; k < f->trace.source_count && s->channels == 1; k++)
            alone |=
                f->part[s->first] == CR_PART_SCORE && stands_before(f, s, &f->trace.sources[k]);
        if (alone) f->part[s->first] = CR_PART_OBJECT;
    }
}

static void find_parts(finder *f)
{
    look_around(f);
    for (size_t i = 0; i < f->trace.source_count; i++) {
        const cr_source *s = &f->trace.sources[i];
        const bool map = is_prototype(f, s);
        for (size_t c = 0; c < s->channels; c++)
            f->part[s->first + c] = map ? CR_PART_PROTOTYPE : find_part(f, s, c);
        if (count_part(f, s, CR_PART_KEYPOINT)) set_scores(f, s, CR_PART_KEYPOINT);
    }
    find_objects(f);
}

/* ---- the answer ---- */

static cr_status list_runs(const finder *f, cr_head_parts *out, cr_error *err)
{
    out->runs = cr_calloc(f->trace.channel_count + 1, sizeof *out->runs);
    if (!out->runs) return CR_NOMEM(err);
    for (size_t i = 0; i < f->trace.source_count; i++) {
        const cr_source *s = &f->trace.sources[i];
        for (size_t c = 0; c < s->channels; c++) {
            const cr_part p = f->part[s->first + c];
            if (c && p == f->part[s->first + c - 1])
                out->runs[out->count - 1].count++;
            else
                out->runs[out->count++] = (cr_part_run){s->node, (int)c, 1, p};
        }
    }
    return CR_OK;
}

static cr_status list_carried(finder *f, cr_head_parts *out, cr_error *err)
{
    const cr_graph *g = f->graph;
    out->carried = cr_calloc(g->tensor_count, sizeof *out->carried);
    if (!out->carried) return CR_NOMEM(err);
    for (size_t i = 0; i < g->tensor_count; i++) {
        const float *labels = f->trace.labels[i];
        const int64_t n = labels ? cr_shape_count(&g->tensors[i]->shape) : 0;
        for (int64_t k = 0; k < n; k++)
            if (labels[k] > 0) out->carried[i] |= 1u << f->part[(size_t)labels[k] - 1];
    }
    out->absolute = f->trace.absolute;
    f->trace.absolute = NULL;
    return CR_OK;
}

cr_status cr_head_parts_find(const cr_graph *g, const cr_role *roles, const cr_stats *stats,
                             cr_head_parts *out, cr_error *err)
{
    finder f = {.graph = g, .stats = stats};
    *out = (cr_head_parts){0};
    CR_TRY(cr_head_trace_run(g, roles, &f.trace, err));
    cr_status st = CR_OK;
    f.part = cr_calloc(f.trace.channel_count + 1, sizeof *f.part);
    if (!f.part) {
        st = CR_NOMEM(err);
        goto done;
    }
    find_parts(&f);
    CR_TRY_GOTO(list_runs(&f, out, err), done);
    CR_TRY_GOTO(list_carried(&f, out, err), done);
done:
    cr_free(f.part);
    cr_head_trace_release(&f.trace);
    if (st != CR_OK) cr_head_parts_release(out);
    return st;
}

void cr_head_parts_release(cr_head_parts *p)
{
    cr_free(p->runs);
    cr_free(p->carried);
    cr_free(p->absolute);
    *p = (cr_head_parts){0};
}
