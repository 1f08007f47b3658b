/* stats.json: {"format": "crayon-stats", "version": 1, "pictures": n, "tensors": {name: {...}}}.
 * Histogram counts are run-length free: only the bins between the first and last used are listed. */
#include <limits.h>
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "quant/json_io.h"
#include "quant/stats.h"

enum { MAX_CHANNELS = 1 << 16 }; /* a file's short list must not ask for much memory */

static json_t *histogram_json(const cr_histogram *h)
{
    int last = h->bins - 1;
    while (last > 0 && !h->counts[last]) last--;
    json_t *counts = json_array();
    for (int k = 0; k <= last; k++)
        json_array_append_new(counts, json_integer((json_int_t)h->counts[k]));
    return json_pack("{s:i, s:I, s:o}", "exponent", h->exponent, "first", (json_int_t)h->first,
                     "counts", counts);
}

static json_t *doubles_json(const double *v, size_t n)
{
    json_t *a = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(a, json_real(v[i]));
    return a;
}

/* A channel without values has extremes that no file can hold: null. */
static json_t *range_json(const float *v, const cr_tensor_stats *t)
{
    json_t *a = json_array();
    for (int64_t c = 0; c < t->channels; c++)
        json_array_append_new(a, t->channel_min[c] > t->channel_max[c] ? json_null()
                                                                       : json_real((double)v[c]));
    return a;
}

static void write_channels(const cr_tensor_stats *t, json_t *o)
{
    const size_t n = (size_t)t->channels;
    json_object_set_new(o, "channel_min", range_json(t->channel_min, t));
    json_object_set_new(o, "channel_max", range_json(t->channel_max, t));
    json_object_set_new(o, "channel_sum_min", doubles_json(t->channel_sum_min, n));
    json_object_set_new(o, "channel_sum_max", doubles_json(t->channel_sum_max, n));
    if (!t->channel) return;
    json_t *a = json_array();
    for (size_t c = 0; c < n; c++)
        json_array_append_new(a, cr_histogram_is_empty(&t->channel[c])
                                     ? json_null()
                                     : histogram_json(&t->channel[c]));
    json_object_set_new(o, "channel_histograms", a);
}

static json_t *tensor_json(const cr_tensor_stats *t)
{
    json_t *o = json_object();
    json_object_set_new(o, "pictures", json_integer((json_int_t)t->pictures));
    json_object_set_new(o, "count", json_integer((json_int_t)t->count));
    json_object_set_new(o, "bad", json_integer((json_int_t)t->bad));
    if (cr_histogram_is_empty(&t->all)) return o;
    json_object_set_new(o, "min", json_real((double)t->all.min));
    json_object_set_new(o, "max", json_real((double)t->all.max));
    json_object_set_new(o, "sum_min", json_real(t->sum_min));
    json_object_set_new(o, "sum_max", json_real(t->sum_max));
    json_object_set_new(o, "histogram", histogram_json(&t->all));
    if (t->channels) write_channels(t, o);
    return o;
}

cr_status cr_stats_write(const cr_stats *s, const char *path, cr_error *err)
{
    json_t *root = json_pack("{s:s, s:i, s:I, s:b}", "format", "crayon-stats", "version", 1,
                             "pictures", (json_int_t)s->pictures, "converged", (int)s->converged);
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

/* Counts, exponent and place of a histogram whose min, max and counts[] are set up; `total`: how
 * many values it must hold, or NULL for any number. */
static bool read_histogram(const json_t *o, const uint64_t *total, cr_histogram *h)
{
    const json_t *counts = json_object_get(o, "counts");
    const json_int_t e = json_integer_value(json_object_get(o, "exponent"));
    const size_t n = json_array_size(counts);
    uint64_t sum = 0;
    if (e < -126 || e > 127 || n == 0 || n > (size_t)h->bins) return false;
    h->exponent = (int)e;
    h->first = json_integer_value(json_object_get(o, "first"));
    for (size_t k = 0; k < n; k++) {
        const json_int_t c = json_integer_value(json_array_get(counts, k));
        if (c < 0 || __builtin_add_overflow(sum, (uint64_t)c, &sum)) return false;
        h->counts[k] = (uint64_t)c;
    }
    return cr_histogram_valid(h, total ? *total : sum);
}

static bool read_doubles(const json_t *a, double *v, size_t n)
{
    if (json_array_size(a) != n) return false;
    for (size_t i = 0; i < n; i++) {
        v[i] = json_number_value(json_array_get(a, i));
        if (!json_is_number(json_array_get(a, i)) || !isfinite(v[i])) return false;
    }
    return true;
}

/* null: a channel without values, which keeps its empty range. */
static bool read_ranges(const json_t *o, cr_tensor_stats *t)
{
    const json_t *lo = json_object_get(o, "channel_min"), *hi = json_object_get(o, "channel_max");
    const size_t n = (size_t)t->channels;
    if (json_array_size(lo) != n || json_array_size(hi) != n) return false;
    for (size_t c = 0; c < n; c++) {
        const json_t *a = json_array_get(lo, c), *b = json_array_get(hi, c);
        if (json_is_null(a) && json_is_null(b)) continue;
        if (!json_is_number(a) || !json_is_number(b)) return false;
        t->channel_min[c] = (float)json_number_value(a);
        t->channel_max[c] = (float)json_number_value(b);
        if (!isfinite(t->channel_min[c]) || !isfinite(t->channel_max[c]) ||
            t->channel_min[c] > t->channel_max[c])
            return false;
    }
    return true;
}

static bool read_channels(const json_t *o, cr_tensor_stats *t)
{
    const size_t n = (size_t)t->channels;
    const json_t *list = json_object_get(o, "channel_histograms");
    if (!read_ranges(o, t) ||
        !read_doubles(json_object_get(o, "channel_sum_min"), t->channel_sum_min, n) ||
        !read_doubles(json_object_get(o, "channel_sum_max"), t->channel_sum_max, n))
        return false;
    if (list && json_array_size(list) != n) return false;
    for (size_t c = 0; list && c < n; c++) {
        const json_t *h = json_array_get(list, c);
        if (json_is_null(h)) continue;
        t->channel[c].min = t->channel_min[c];
        t->channel[c].max = t->channel_max[c];
        if (!read_histogram(h, NULL, &t->channel[c])) return false;
    }
    return true;
}

static bool read_tensor(const json_t *o, cr_tensor_stats *t)
{
    if (!read_count(o, "pictures", &t->pictures) || !read_count(o, "count", &t->count) ||
        !read_count(o, "bad", &t->bad))
        return false;
    const json_t *h = json_object_get(o, "histogram");
    if (!h) return t->count == 0;
    t->all.min = (float)json_number_value(json_object_get(o, "min"));
    t->all.max = (float)json_number_value(json_object_get(o, "max"));
    t->sum_min = json_number_value(json_object_get(o, "sum_min"));
    t->sum_max = json_number_value(json_object_get(o, "sum_max"));
    if (!isfinite(t->all.min) || !isfinite(t->all.max) || t->pictures == 0) return false;
    return read_histogram(h, &t->count, &t->all) && (!t->channels || read_channels(o, t));
}

static cr_status add_tensor(cr_stats *s, const char *path, const char *name, const json_t *o,
                            cr_error *err)
{
    const size_t channels = json_array_size(json_object_get(o, "channel_min"));
    CR_CHECK(!cr_stats_find(s, name), err, CR_ERR_FORMAT, "%s: tensor '%s' is there twice", path,
             name);
    CR_CHECK(channels <= MAX_CHANNELS, err, CR_ERR_LIMIT, "%s: tensor '%s' has %zu channels", path,
             name, channels);
    cr_tensor_stats *t = cr_stats_get(s, name, (int64_t)channels);
    if (!t || (json_object_get(o, "channel_histograms") && !cr_stats_split(s, t)))
        return CR_NOMEM(err);
    CR_CHECK(read_tensor(o, t), err, CR_ERR_FORMAT, "%s: tensor '%s' is malformed", path, name);
    return CR_OK;
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
    if (st == CR_OK) s->converged = json_is_true(json_object_get(root, "converged"));
    json_object_foreach(json_object_get(root, "tensors"), name, o)
    {
        if (st != CR_OK) break;
        st = add_tensor(s, path, name, o, err);
    }
    json_decref(root);
    if (st != CR_OK) cr_stats_release(&s);
    *out = s;
    return st;
}
