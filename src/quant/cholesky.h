/* Systems with symmetric positive definite matrices. */
#ifndef CR_QUANT_CHOLESKY_H
#define CR_QUANT_CHOLESKY_H

#include <stdbool.h>
#include <stdint.h>

/* h [n][n] = R^T R, from the upper triangle and into it; what lies below the diagonal stays. float32
 * bears the condition numbers that damping leaves (2 n / damping or so). false: not positive definite. */
bool cr_cholesky(float *h, int64_t n);
/* x = (R^T R)^-1 x */
void cr_cholesky_solve(const float *r, int64_t n, double *x);

/* sum a[i] b[i]; the order of the sum is the same everywhere. */
double cr_dot(const float *a, const double *b, int64_t n);
float cr_dot_f32(const float *a, const float *b, int64_t n);

#endif
