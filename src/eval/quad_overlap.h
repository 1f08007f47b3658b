/* Boxes that lie at an angle, as their four corners x, y in turn (either way round). */
#ifndef CR_EVAL_QUAD_OVERLAP_H
#define CR_EVAL_QUAD_OVERLAP_H

/* At least 0. */
double cr_quad_area(const double corners[8]);

/* The area that both cover. */
double cr_quad_both(const double a[8], const double b[8]);

/* x, y, w, h of the upright box around. */
void cr_quad_box(const double corners[8], double out[4]);

#endif
