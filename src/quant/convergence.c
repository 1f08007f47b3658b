#include "quant/convergence.h"

#include "base/error.h"
#include "quant/range.h"

enum { CALM_BLOCKS = 2, LEVELS = 256 };
#define MOST_REGRET .005

struct cr_convergence {
    cr_interval *before; /* of each tensor of the statistics; 0..0 while it has none */
    size_t count;
    int calm;            /* blocks in a row with little regret */
};

cr_status cr_convergence_create(cr_convergence **out, cr_error *err)
{
    *out = cr_calloc(1, sizeof **out);
    return *out ? CR_OK : CR_NOMEM(err);
}

void cr_convergence_free(cr_convergence **c)
{
    if (!c || !*c) return;
    cr_free((*c)->before);
    cr_free(*c);
    *c = NULL;
}

static double error_of(const cr_tensor_stats *t, const cr_interval *v)
{
    return cr_range_error(&t->all, v->lo, v->hi, LEVELS, false, 2);
}

/* A tensor that was constant zero until now has everything to regret. */
static double regret(const cr_tensor_stats *t, const cr_interval *before, const cr_interval *now)
{
    if (!(before->hi > before->lo)) return 1;
    const double least = error_of(t, now);
    return least > 0 ? error_of(t, before) / least - 1 : 0;
}

static cr_status first_check(cr_convergence *c, const cr_stats *s, cr_error *err)
{
    cr_free(c->before);
    c->before = cr_calloc(s->count, sizeof *c->before);
    c->count = s->count;
    c->calm = -1; /* nothing to compare with yet */
    return c->before || !s->count ? CR_OK : CR_NOMEM(err);
}

cr_status cr_convergence_check(cr_convergence *c, const cr_stats *s, bool *converged, cr_error *err)
{
    const cr_range_want want = {.method = CR_CALIB_MSE, .levels = LEVELS};
    double sum = 0;
    size_t tensors = 0;
    *converged = false;
    if (c->count != s->count) CR_TRY(first_check(c, s, err));
    for (size_t i = 0; i < s->count; i++) {
        const cr_tensor_stats *t = &s->tensors[i];
        cr_interval now;
        if (t->bad || !t->count) continue;
        CR_TRY(cr_range_choose(t, &want, &now, err));
        if (!(now.hi > now.lo)) continue;
        sum += regret(t, &c->before[i], &now);
        tensors++;
        c->before[i] = now;
    }
    const bool calm = c->calm >= 0 && sum <= MOST_REGRET * (double)tensors;
    c->calm = calm ? c->calm + 1 : 0;
    *converged = c->calm >= CALM_BLOCKS;
    return CR_OK;
}
