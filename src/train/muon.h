/* Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"): momentum
 * whose update, seen as a matrix, is made orthogonal: all its singular values become nearly 1, so
 * that directions which the gradient rarely shows are learnt as fast as the others. Five steps of a
 * quintic Newton-Schulz iteration with the paper's coefficients,
 *
 *     x <- a x + (b y + c y y) x,   y = x x^T,   a = 3.4445, b = -4.7750, c = 2.0315
 *
 * on the smaller side of the matrix. For the weights of hidden layers, as [outputs, the rest];
 * everything else is better off with AdamW. */
#ifndef CR_TRAIN_MUON_H
#define CR_TRAIN_MUON_H

#include "base/threads.h"

typedef struct cr_muon cr_muon;

typedef struct cr_muon_matrix {
    int64_t rows, cols;
} cr_muon_matrix;

/* For matrices of these n sizes. NULL: no memory. */
cr_muon *cr_muon_create(const cr_muon_matrix *matrices, size_t n);
void cr_muon_free(cr_muon **m);

/* Makes x [rows, cols] orthogonal in place. The result does not depend on the number of threads. */
void cr_muon_orthogonal(cr_muon *m, cr_pool *pool, float *x, int64_t rows, int64_t cols);
/* Where the caller may put the elements of the largest matrix. */
float *cr_muon_room(cr_muon *m);

#endif
