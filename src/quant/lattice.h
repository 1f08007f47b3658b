/* The codes of one output's weights, and their scales, for a quadratic error:
 *
 *     e(codes, scales) = (t - v)^T H (t - v),   v[i] = codes[i] * scale[block[i]]
 *
 * H = R^T R is shared by all outputs that read the same inputs (rounding.h); t is what v shall be.
 * Values lie on a grid whose directions R gives, hence the name. */
#ifndef CR_QUANT_LATTICE_H
#define CR_QUANT_LATTICE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct cr_lattice {
    int64_t k, blocks;
    const float *h;        /* [k][k]: H below the diagonal, R from it on to the right */
    const float *diagonal; /* [k] of H */
    const int32_t *block;  /* [k] whose scale */
    int32_t lo, hi;        /* codes with their zero point, as stored */
    int sweeps;            /* of coordinate descent */
    bool scales;           /* choose them as well */
} cr_lattice;

/* Of one output; [k] or [blocks] each. The caller sets target, scale and zero; the result is in codes
 * (less their zero points) and scale. */
typedef struct cr_lattice_row {
    double *target, *codes, *rest, *best_codes, *scale, *planned, *best_scale, *normal;
    float *error;
    int32_t *zero;
    double least;          /* scales never fall below this part of what they were planned to be */
} cr_lattice_row;

/* One block of memory for all of a row's arrays; NULL target: out of memory. */
cr_lattice_row cr_lattice_row_create(int64_t k, int64_t blocks);
void cr_lattice_row_free(cr_lattice_row *r);

/* Nearest plane, then descent; with `scales` for the best of several sizes of the grid, then scales
 * and codes in turn. Gives the error e. */
double cr_lattice_fit(const cr_lattice *l, cr_lattice_row *r);

#endif
