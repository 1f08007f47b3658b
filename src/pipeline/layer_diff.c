/* Layer by layer: both models see the same pictures; for each activation that both have, the energy
 * of the reference, of the difference, and the inner products are summed over all pictures.
 *
 * One picture's activations of the first model are kept until the second has run (40 MB for YOLOv8n
 * at 640), so memory does not grow with the number of pictures. */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "crayon/runtime.h"
#include "pipeline/model_impl.h"
#include "runtime/runtime.h"

typedef struct track {
    const char *name;
    float *kept;      /* a's values on the current picture */
    int64_t count;
    double aa, bb, ab, dd;
    uint64_t elements;
    bool fresh;       /* b's value of the current picture is in `seen` */
    float *seen;
} track;

typedef struct comparison {
    track *tracks;
    size_t count, cap;
    bool out_of_memory;
} comparison;

static track *find_track(comparison *c, const char *name)
{
    for (size_t i = 0; i < c->count; i++)
        if (!strcmp(c->tracks[i].name, name)) return &c->tracks[i];
    return NULL;
}

static bool hold(float **buffer, int64_t *count, const cr_view *v)
{
    const int64_t n = v->rows * v->cols;
    if (!*buffer || *count != n) {
        float *grown = cr_realloc(*buffer, (size_t)n * sizeof *grown);
        if (!grown) return false;
        *buffer = grown;
        *count = n;
    }
    cr_view_to_f32(v, *buffer);
    return true;
}

static void see_a(void *user, const cr_view *v)
{
    comparison *c = user;
    if (v->tensor->data) return;
    track *t = find_track(c, v->tensor->name);
    if (!t) {
        if (!cr_grow((void **)&c->tracks, &c->cap, c->count, sizeof *c->tracks)) {
            c->out_of_memory = true;
            return;
        }
        t = &c->tracks[c->count++];
        *t = (track){.name = v->tensor->name};
    }
    if (!hold(&t->kept, &t->count, v)) c->out_of_memory = true;
}

/* A tensor may be shown twice (float, then quantized): the last one counts, so sums wait. */
static void see_b(void *user, const cr_view *v)
{
    comparison *c = user;
    track *t = v->tensor->data ? NULL : find_track(c, v->tensor->name);
    if (!t || t->count != v->rows * v->cols) return;
    int64_t n = t->count;
    if (!t->seen && !(t->seen = cr_malloc((size_t)n * sizeof *t->seen))) {
        c->out_of_memory = true;
        return;
    }
    cr_view_to_f32(v, t->seen);
    t->fresh = true;
}

static void add_up(comparison *c)
{
    for (size_t i = 0; i < c->count; i++) {
        track *t = &c->tracks[i];
        if (!t->fresh) continue;
        for (int64_t k = 0; k < t->count; k++) {
            const double a = (double)t->kept[k], b = (double)t->seen[k];
            t->aa += a * a;
            t->bb += b * b;
            t->ab += a * b;
            t->dd += (a - b) * (a - b);
        }
        t->elements += (uint64_t)t->count;
        t->fresh = false;
    }
}

typedef struct pair {
    cr_program *program[2];
    cr_session *session[2];
    cr_observer observer[2];
} pair;

static cr_status open_pair(pair *p, const cr_model *const m[2], cr_pool *pool, comparison *c,
                           cr_error *err)
{
    p->observer[0] = (cr_observer){see_a, c};
    p->observer[1] = (cr_observer){see_b, c};
    for (int i = 0; i < 2; i++) {
        const cr_program_options o = {.threads = cr_pool_threads(pool), .bf16 = m[i]->bf16};
        CR_TRY(cr_program_compile(cr_model_graph(m[i]), m[i]->recipe, &o, &p->program[i], err));
        CR_TRY(cr_session_open(p->program[i], pool, &p->session[i], err));
        cr_session_set_observer(p->session[i], &p->observer[i]);
    }
    return CR_OK;
}

static cr_status run_picture(pair *p, const cr_model *const m[2], const char *path, comparison *c,
                             cr_error *err)
{
    cr_image img;
    CR_TRY(cr_image_read(path, &img, err));
    cr_status st = CR_OK;
    for (int i = 0; i < 2 && st == CR_OK; i++) {
        st = cr_preprocess_run(&m[0]->info.preprocess, &img, cr_session_input_data(p->session[i], 0),
                               NULL, err);
        if (st == CR_OK) st = cr_session_execute(p->session[i], err);
    }
    cr_image_free(&img);
    if (st == CR_OK && c->out_of_memory) st = CR_NOMEM(err);
    if (st == CR_OK) add_up(c);
    return st;
}

static cr_layer_diff finish(const track *t)
{
    cr_layer_diff d = {t->name, INFINITY, 1, t->elements};
    if (t->dd > 0) d.sqnr_db = t->aa > 0 ? 10 * log10(t->aa / t->dd) : -INFINITY;
    if (t->aa > 0 || t->bb > 0) d.cosine = t->aa > 0 && t->bb > 0 ? t->ab / sqrt(t->aa * t->bb) : 0;
    return d;
}

static cr_status check_pair(const cr_model *const m[2], cr_error *err)
{
    for (int i = 0; i < 2; i++)
        CR_CHECK(m[i]->graph->input_count == 1 && m[i]->graph->inputs[0]->dtype == CR_DT_F32 &&
                     m[i]->info.batch == 1,
                 err, CR_ERR_UNSUPPORTED, "%s: comparing needs one picture as input",
                 m[i]->info.path);
    CR_CHECK(cr_shape_equal(&m[0]->graph->inputs[0]->shape, &m[1]->graph->inputs[0]->shape), err,
             CR_ERR_ARGUMENT, "the two models have inputs of different sizes");
    return CR_OK;
}

cr_status cr_compare_layers(const cr_model *a, const cr_model *b, const cr_image_list *pictures,
                            size_t limit, int threads, const cr_progress *progress,
                            void (*see)(void *user, const cr_layer_diff *diff), void *user,
                            cr_error *err)
{
    const cr_model *const m[2] = {a, b};
    CR_TRY(check_pair(m, err));
    cr_status st = CR_OK;
    comparison c = {0};
    pair p = {0};
    cr_pool *pool = NULL;
    bool shared = false;
    CR_TRY_GOTO(cr_pool_create(threads, &pool, err), done);
    CR_TRY_GOTO(open_pair(&p, m, pool, &c, err), done);
    const size_t n = limit && limit < pictures->count ? limit : pictures->count;
    for (size_t i = 0; i < n; i++) {
        CR_TRY_GOTO(run_picture(&p, m, pictures->paths[i], &c, err), done);
        if (!cr_report(progress, "comparing", i + 1, n)) {
            st = cr_fail(err, CR_ERR_CANCELLED, "cancelled");
            goto done;
        }
    }
    for (size_t i = 0; i < c.count; i++) {
        if (!c.tracks[i].elements) continue;
        const cr_layer_diff d = finish(&c.tracks[i]);
        shared = true;
        see(user, &d);
    }
    if (!shared)
        st = cr_fail(err, CR_ERR_ARGUMENT, "the two models share no tensor name: not the same graph");
done:
    for (int i = 0; i < 2; i++) {
        cr_session_close(&p.session[i]);
        cr_program_free(&p.program[i]);
    }
    cr_pool_free(&pool);
    for (size_t i = 0; i < c.count; i++) {
        cr_free(c.tracks[i].kept);
        cr_free(c.tracks[i].seen);
    }
    cr_free(c.tracks);
    return st;
}
