#include "train/loss_classify.h"

#include <math.h>
#include <string.h>

typedef struct row {
    cr_dtype real;
    const cr_raw *logits;
    size_t picture;
    int classes;
} row;

static double logit(const row *r, int k)
{
    return cr_raw_get(r->logits, r->real, cr_raw_at(r->logits, r->picture, (size_t)k, 0));
}

/* The loss of one picture times `weight`; *right: its class has the largest logit, the first of
 * equals. */
static double picture_loss(const row *r, int class_id, double smoothing, double weight, bool *right)
{
    double sum = 0, loss = 0;
    int top = 0;
    for (int k = 1; k < r->classes; k++)
        if (logit(r, k) > logit(r, top)) top = k;
    const double most = logit(r, top);
    for (int k = 0; k < r->classes; k++) sum += exp(logit(r, k) - most);
    for (int k = 0; k < r->classes; k++) {
        const double target = (k == class_id ? 1 - smoothing : 0) + smoothing / r->classes;
        const double x = logit(r, k) - most;
        loss -= target * (x - log(sum));
        if (r->logits->grad)
            cr_raw_put(r->logits, r->real, cr_raw_at(r->logits, r->picture, (size_t)k, 0),
                       weight * (exp(x) / sum - target));
    }
    *right = top == class_id;
    return weight * loss;
}

cr_status cr_loss_classify(cr_dtype real, const cr_raw *logits, int pictures, int classes,
                           const int *class_id, double smoothing, cr_loss_parts *parts,
                           cr_error *err)
{
    memset(parts, 0, sizeof *parts);
    CR_CHECK(
        (real == CR_DT_F32 || real == CR_DT_F64) && logits->value && pictures >= 1 && classes >= 1,
        err, CR_ERR_ARGUMENT, "classification loss: %d pictures, %d classes", pictures, classes);
    CR_CHECK(smoothing >= 0 && smoothing <= 1, err, CR_ERR_ARGUMENT,
             "classification loss: smoothing %g is not within 0..1", smoothing);
    cr_raw_clear(logits, real, (size_t)pictures, (size_t)classes, 1);
    if (!cr_raw_finite(logits, real, (size_t)pictures, (size_t)classes, 1)) {
        parts->broken = "classes";
        parts->total = NAN;
        return CR_OK;
    }
    for (int p = 0; p < pictures; p++) {
        const row r = {real, logits, (size_t)p, classes};
        bool right = false;
        if (class_id[p] < 0 || class_id[p] >= classes) continue;
        parts->classes += picture_loss(&r, class_id[p], smoothing, 1. / pictures, &right);
        parts->positives += right;
    }
    parts->total = parts->classes;
    return CR_OK;
}
