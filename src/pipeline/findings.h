/* How findings are collected. Two looks at a model: at the file's nodes before anything is prepared
 * (doctor_file.c: what reading normalizes or drops must be noted before it is gone), and at the float
 * graph with its recipe (doctor_head.c, doctor_kernels.c). */
#ifndef CR_PIPELINE_FINDINGS_H
#define CR_PIPELINE_FINDINGS_H

#include "crayon/doctor.h"
#include "graph/graph.h"
#include "graph/recipe.h"
#include "quant/head_parts.h"
#include "quant/roles.h"

typedef struct cr_findings {
    cr_arena *arena; /* of strings; borrowed */
    cr_finding *list;
    size_t count, cap;
} cr_findings;

/* Adds one; the names are copied. */
cr_status cr_findings_add(cr_findings *f, cr_finding_kind kind, const char *node,
                          const char *tensor, cr_error *err, const char *what, ...)
    __attribute__((format(printf, 6, 7)));

/* What the nodes of an ONNX file say, as they were read: indexed, not prepared. mend: makes of g what
 * can be read and run: right axes, no impossible scales. */
cr_status cr_doctor_file(cr_graph *g, bool mend, cr_findings *f, cr_error *err);

/* A graph with its recipe; opset: of the file. */
cr_status cr_doctor_recipe(const cr_graph *g, const cr_recipe *r, int opset, cr_findings *f,
                           cr_error *err);

/* What the looks at a recipe share. */
typedef struct cr_patient {
    const cr_graph *graph;
    const cr_recipe_entry **entries; /* by tensor id */
    cr_role *roles;                  /* by node index */
    cr_head_parts parts;
    cr_node **only;                  /* by tensor id: its reader, NULL if it has none or several */
    int opset;                       /* of the file */
} cr_patient;

cr_status cr_doctor_head(const cr_patient *p, cr_findings *f, cr_error *err);
cr_status cr_doctor_activations(const cr_patient *p, cr_findings *f, cr_error *err);
cr_status cr_doctor_weights(const cr_patient *p, cr_findings *f, cr_error *err);
cr_status cr_doctor_kernels(const cr_patient *p, cr_findings *f, cr_error *err);

static inline const cr_recipe_entry *cr_patient_entry(const cr_patient *p, const cr_tensor *t)
{
    return t ? p->entries[t->id] : NULL;
}

/* Has it codes of 8 bits or fewer? */
static inline bool cr_is_coarse(const cr_recipe_entry *e)
{
    return e && cr_dtype_size(e->q.type) == 1;
}

#endif
