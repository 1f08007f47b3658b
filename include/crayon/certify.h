/* A certificate of parity: which integers of two quantized models, or of two ways to run one, differ.
 *
 *     cr_certificate c;
 *     if (cr_certify(a, b, &pictures, 2, 0, NULL, &c, &err) == CR_OK) ...
 *     cr_certificate_free(&c);
 *
 * Both models see the same pictures. Model a's session (fast kernels, fused) gives the values; then one
 * node after the other is run by the reference operators (src/ops), each fed with those same
 * values, and what it gives is held against the session's. So a difference has its cause in that
 * layer, and none adds up. Three comparisons: a's reference, b's session against b's reference, and
 * b's reference fed by a's session: what the two files mean. */
#ifndef CRAYON_CERTIFY_H
#define CRAYON_CERTIFY_H

#include "crayon/image.h"
#include "crayon/model.h"
#include "crayon/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum cr_difference {
    CR_DIFFERENCE_TIE,     /* the value lies within 1e-4 of a step from the middle of two codes */
    CR_DIFFERENCE_FUSED,   /* behind tensors that the session does not make: several nodes, one rounding */
    CR_DIFFERENCE_FLOAT,   /* a tensor of floats: sums in another order, an activation's last bits */
    CR_DIFFERENCE_RECIPE,  /* the tensor has other scales or another type */
    CR_DIFFERENCE_OTHER    /* none of these: a fault */
} cr_difference;

/* "tie", "fused", "float", "recipe", "other" */
CR_API const char *cr_difference_name(cr_difference why);

/* A tensor that differs somewhere. */
typedef struct cr_tensor_parity {
    const char *tensor, *node, *op; /* what the reference ran last to make it; owned by the certificate */
    uint64_t elements, differing;
    double steps;    /* the largest difference, in steps of its scale; of floats: over the largest value */
    double from_tie; /* the largest distance of a differing value from a tie, in steps; 0 for floats */
    cr_difference why;
} cr_tensor_parity;

typedef enum cr_parity_pair {
    CR_PARITY_A,    /* a's session, a's reference */
    CR_PARITY_B,    /* b's session, b's reference */
    CR_PARITY_FILES /* a's session, b's reference: tensors of the same name */
} cr_parity_pair;

typedef struct cr_parity {
    uint64_t tensors, identical;   /* with integers (an entry in the recipe) */
    uint64_t elements, differing;  /* of those tensors */
    uint64_t floats, equal_floats; /* tensors without */
    cr_tensor_parity *list; /* those that differ, in the order of the graph */
    size_t count;
} cr_parity;

typedef struct cr_certificate {
    cr_parity pair[3]; /* by cr_parity_pair */
    size_t pictures;
    void *memory;
} cr_certificate;

/* The first `limit` pictures (0: all); the reference takes seconds for each. CR_ERR_ARGUMENT: neither
 * model has a recipe, or their inputs differ. Free *out with cr_certificate_free. */
CR_API cr_status cr_certify(const cr_model *a, const cr_model *b, const cr_image_list *pictures,
                            size_t limit, int threads, const cr_progress *progress,
                            cr_certificate *out, cr_error *err);
CR_API void cr_certificate_free(cr_certificate *c);

#ifdef __cplusplus
}
#endif
#endif
