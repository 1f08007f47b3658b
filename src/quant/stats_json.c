/* stats.json: {"format": "crayon-stats", "version": 1, "pictures": n, "tensors": {name: {...}}}.
 * Histogram counts are run-length free: only the bins between the first and last used are listed. */
#include <limits.h>
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "quant/json_io.h"
#include "quant/stats.h"

static json_t *histogram_json(const cr_tensor_stats *t)
{
    int last = CR_HIST_BINS - 1;
    while (last > 0 && !t->counts[last]) last--;
    json_t *counts = json_array();
    for (int k = 0; k <= last; k++)
        json_array_append_new(counts, json_integer((json_int_t)t->counts[k]));
    return json_pack("{s:i, s:I, s:o}", "exponent", t->exponent, "first", (json_int_t)t->first,
                     "counts", counts);
}

static json_t *tensor_json(const cr_tensor_stats *t)
{
    json_t *o = json_object();
    json_object_set_new(o, "pictures", json_integer((json_int_t)t->pictures));
    json_object_set_new(o, "count", json_integer((json_int_t)t->count));
    json_object_set_new(o, "bad", json_integer((json_int_t)t->bad));
    if (t->exponent == INT32_MIN) return o;
    json_object_set_new(o, "min", json_real((double)t->min));
    json_object_set_new(o, "max", json_real((double)t->max));
    json_object_set_new(o, "sum_min", json_real(t->sum_min));
    json_object_set_new(o, "sum_max", json_real(t->sum_max));
    json_object_set_new(o, "histogram", histogram_json(t));
    if (t->channels) {
        json_object_set_new(o, "channel_min", cr_json_floats(t->channel_min, (size_t)t->channels));
        json_object_set_new(o, "channel_max", cr_json_floats(t->channel_max, (size_t)t->channels));
    }
    return o;
}

cr_status cr_stats_write(const cr_stats *s, const char *path, cr_error *err)
{
    json_t *root = json_pack("{s:s, s:i, s:I}", "format", "crayon-stats", "version", 1, "pictures",
                             (json_int_t)s->pictures);
    json_t *tensors = json_object();
    for (size_t i = 0; i < s->count; i++)
        json_object_set_new(tensors, s->tensors[i].name, tensor_json(&s->tensors[i]));
    json_object_set_new(root, "tensors", tensors);
    const cr_status st = cr_json_write(path, root, err);
    json_decref(root);
    return st;
}

static bool read_count(const json_t *o, const char *key, uint64_t *out)
{
    const json_t *v = json_object_get(o, key);
    if (!json_is_integer(v) || json_integer_value(v) < 0) return false;
    *out = (uint64_t)json_integer_value(v);
    return true;
}

/* Merging trusts what the recorder promises: the window begins at the smallest value's bin, ends
 * before the largest's neighbour, and the counts add up. */
static bool histogram_fits(const cr_tensor_stats *t)
{
    const double reach = ldexp(1, 30 + t->exponent);
    uint64_t sum = 0;
    if (fabs((double)t->min) > reach || fabs((double)t->max) > reach) return false;
    const int64_t first = (int64_t)floor(ldexp((double)t->min, -t->exponent));
    const int64_t last = (int64_t)floor(ldexp((double)t->max, -t->exponent));
    if (t->first != first || last - first >= CR_HIST_BINS) return false;
    for (int64_t k = 0; k < CR_HIST_BINS; k++)
        if ((k > last - first && t->counts[k]) || __builtin_add_overflow(sum, t->counts[k], &sum))
            return false;
    return sum == t->count;
}

static bool read_histogram(const json_t *h, cr_tensor_stats *t)
{
    const json_t *counts = json_object_get(h, "counts");
    const json_int_t e = json_integer_value(json_object_get(h, "exponent"));
    const size_t n = json_array_size(counts);
    if (e < -126 || e > 127 || n == 0 || n > CR_HIST_BINS) return false;
    t->exponent = (int)e;
    t->first = json_integer_value(json_object_get(h, "first"));
    for (size_t k = 0; k < n; k++) {
        const json_int_t c = json_integer_value(json_array_get(counts, k));
        if (c < 0) return false;
        t->counts[k] = (uint64_t)c;
    }
    return histogram_fits(t);
}

static bool read_tensor(const json_t *o, cr_tensor_stats *t)
{
    if (!read_count(o, "pictures", &t->pictures) || !read_count(o, "count", &t->count) ||
        !read_count(o, "bad", &t->bad))
        return false;
    const json_t *h = json_object_get(o, "histogram");
    if (!h) return t->count == 0;
    t->min = (float)json_number_value(json_object_get(o, "min"));
    t->max = (float)json_number_value(json_object_get(o, "max"));
    t->sum_min = json_number_value(json_object_get(o, "sum_min"));
    t->sum_max = json_number_value(json_object_get(o, "sum_max"));
    if (!isfinite(t->min) || !isfinite(t->max) || t->min > t->max || t->pictures == 0) return false;
    if (!read_histogram(h, t)) return false;
    const size_t n = (size_t)t->channels;
    return !n || (cr_json_get_floats(json_object_get(o, "channel_min"), t->channel_min, n) &&
                  cr_json_get_floats(json_object_get(o, "channel_max"), t->channel_max, n));
}

cr_status cr_stats_read(const char *path, cr_stats **out, cr_error *err)
{
    json_t *root, *o;
    const char *name;
    *out = NULL;
    CR_TRY(cr_json_read(path, "crayon-stats", &root, err));
    cr_stats *s = NULL;
    cr_status st = cr_stats_create(&s, err);
    if (st == CR_OK && !read_count(root, "pictures", &s->pictures))
        st = cr_fail(err, CR_ERR_FORMAT, "%s: no number of pictures", path);
    json_object_foreach(json_object_get(root, "tensors"), name, o)
    {
        if (st != CR_OK) break;
        const size_t channels = json_array_size(json_object_get(o, "channel_min"));
        cr_tensor_stats *t = cr_stats_get(s, name, (int64_t)channels);
        if (!t) st = CR_NOMEM(err);
        else if (!read_tensor(o, t))
            st = cr_fail(err, CR_ERR_FORMAT, "%s: tensor '%s' is malformed", path, name);
    }
    json_decref(root);
    if (st != CR_OK) cr_stats_release(&s);
    *out = s;
    return st;
}
