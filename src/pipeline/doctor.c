/* The findings of a quantized model: what each kind is called, why it hurts and what mends it, and
 * all looks in one list. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "pipeline/findings.h"
#include "pipeline/model_impl.h"

typedef struct ailment {
    const char *key, *harm, *why, *mend;
    cr_fixable fixable;
} ailment;

static const ailment ailments[CR_FINDING_KINDS] = {
    [CR_FINDING_BAD_SCALE] = {"bad-scale", "wrong",
                              "everything behind it becomes zero or NaN",
                              "crayon quantize --fix --images DIR measures the range again",
                              CR_FIXABLE_WITH_PICTURES},
    [CR_FINDING_WRONG_AXIS] = {"wrong-axis", "wrong",
                               "integer kernels have one scale per output channel: runtimes refuse "
                               "the file, or multiply floats",
                               "crayon quantize --fix", CR_FIXABLE},
    [CR_FINDING_OLD_OPSET] = {"old-opset", "wrong",
                              "QuantizeLinear has an axis from opset 13 on: runtimes refuse the "
                              "file, or take one scale for all channels",
                              "crayon quantize --fix writes opset 13", CR_FIXABLE},
    [CR_FINDING_SHARED_SCALE] = {"shared-scale", "accuracy",
                                 "the larger values set the step, and the smaller ones have few "
                                 "codes left: objects vanish or boxes jump",
                                 "crayon quantize --fix (--head auto keeps both float, --head "
                                 "quantize gives each its own scale)",
                                 CR_FIXABLE},
    [CR_FINDING_COARSE_BOXES] = {"coarse-boxes", "accuracy",
                                 "256 codes over a whole picture are steps of pixels: precision at "
                                 "high IoU falls",
                                 "crayon quantize --fix (--head auto: float; --head quantize: 16 "
                                 "bits)",
                                 CR_FIXABLE},
    [CR_FINDING_QUANTIZED_DFL] = {"quantized-dfl", "accuracy",
                                  "a side of a box is the mean over bins of a softmax: rounding its "
                                  "many small probabilities moves every side",
                                  "crayon quantize --fix (--head auto keeps it float)", CR_FIXABLE},
    [CR_FINDING_CUT_ACTIVATION] = {"cut-activation", "accuracy",
                                   "up to three roundings where one suffices, and no kernel that "
                                   "does convolution and activation at once",
                                   "crayon quantize --fix", CR_FIXABLE},
    [CR_FINDING_COARSE_WEIGHTS] = {"coarse-weights", "accuracy",
                                   "the widest output channel sets the step of all others: narrow "
                                   "ones are left with few values",
                                   "crayon quantize of the float model (--granularity channel): "
                                   "what was lost is not in this file",
                                   CR_FIXABLE_FROM_FLOAT},
    [CR_FINDING_UNFUSED_PAIR] = {"unfused-pair", "speed",
                                 "the rounding is paid for and the product is computed in floats",
                                 "crayon quantize --fix --images DIR", CR_FIXABLE_WITH_PICTURES},
    [CR_FINDING_SIGNED_ACTIVATIONS] = {"signed-activations", "speed",
                                       "x86 without AVX-VNNI-INT8 multiplies unsigned by signed "
                                       "bytes: int8 by int8 costs other runtimes an extra pass, or "
                                       "saturates before VNNI",
                                       "crayon quantize --fix --activations uint8", CR_FIXABLE},
    [CR_FINDING_INTEGER_OPERATOR] = {"integer-operator", "speed",
                                     "CPUs have no fast kernel for it, and a pass over the input "
                                     "finds its range in every run",
                                     "crayon quantize --fix --images DIR plans fixed ranges",
                                     CR_FIXABLE_WITH_PICTURES},
    [CR_FINDING_DEAD_PAIR] = {"dead-pair", "speed",
                              "it changes nothing, or rounds what was rounded; runtimes execute it "
                              "or lose a fusion by it",
                              "crayon quantize --fix", CR_FIXABLE},
    [CR_FINDING_STORED_FLOAT] = {"stored-float", "size",
                                 "the file holds 32 bits for every weight of 8",
                                 "crayon quantize --fix writes the codes", CR_FIXABLE},
};

cr_status cr_findings_add(cr_findings *f, cr_finding_kind kind, const char *node,
                          const char *tensor, cr_error *err, const char *what, ...)
{
    char text[320];
    va_list args;
    va_start(args, what);
    vsnprintf(text, sizeof text, what, args);
    va_end(args);
    if (!cr_grow((void **)&f->list, &f->cap, f->count, sizeof *f->list)) return CR_NOMEM(err);
    const ailment *a = &ailments[kind];
    cr_finding *x = &f->list[f->count];
    *x = (cr_finding){kind, a->key, a->harm, cr_arena_strdup(f->arena, node),
                      cr_arena_strdup(f->arena, tensor), cr_arena_strdup(f->arena, text), a->why,
                      a->mend, a->fixable};
    if (!x->node || !x->tensor || !x->what) return CR_NOMEM(err);
    f->count++;
    return CR_OK;
}

static cr_status examine(cr_patient *p, const cr_recipe *r, cr_error *err)
{
    const cr_graph *g = p->graph;
    CR_TRY(cr_recipe_bind(r, g, &p->entries, err));
    CR_TRY(cr_roles_find(g, &p->roles, err));
    CR_TRY(cr_head_parts_find(g, p->roles, NULL, &p->parts, err));
    p->only = cr_calloc(g->tensor_count + 1, sizeof *p->only);
    if (!p->only) return CR_NOMEM(err);
    for (size_t i = 0; i < g->node_count; i++)
        for (int k = 0; k < g->nodes[i]->n_in; k++) {
            const cr_tensor *t = g->nodes[i]->in[k];
            if (t && t->uses == 1) p->only[t->id] = g->nodes[i];
        }
    return CR_OK;
}

static void release(cr_patient *p)
{
    cr_free(p->entries);
    cr_free(p->roles);
    cr_free(p->only);
    cr_head_parts_release(&p->parts);
}

cr_status cr_doctor_recipe(const cr_graph *g, const cr_recipe *r, int opset, cr_findings *f,
                           cr_error *err)
{
    cr_patient p = {.graph = g, .opset = opset};
    cr_status st = examine(&p, r, err);
    if (st == CR_OK) st = cr_doctor_head(&p, f, err);
    if (st == CR_OK) st = cr_doctor_activations(&p, f, err);
    if (st == CR_OK) st = cr_doctor_weights(&p, f, err);
    if (st == CR_OK) st = cr_doctor_kernels(&p, f, err);
    release(&p);
    return st;
}

/* By kind; within a kind as found, which the list's own addresses keep. */
static void sort_by_kind(const cr_findings *f, cr_finding *out)
{
    size_t n = 0;
    for (int k = 0; k < CR_FINDING_KINDS; k++)
        for (size_t i = 0; i < f->count; i++)
            if ((int)f->list[i].kind == k) out[n++] = f->list[i];
}

cr_status cr_model_findings(cr_model *m, cr_finding **out, size_t *count, cr_error *err)
{
    *out = NULL;
    *count = 0;
    cr_findings f = {.arena = &m->arena};
    cr_status st = CR_OK;
    for (size_t i = 0; st == CR_OK && i < m->notes.count; i++) {
        if (!cr_grow((void **)&f.list, &f.cap, f.count, sizeof *f.list)) st = CR_NOMEM(err);
        else f.list[f.count++] = m->notes.list[i];
    }
    if (st == CR_OK && m->recipe)
        st = cr_doctor_recipe(cr_model_graph(m), m->recipe, m->info.opset, &f, err);
    if (st == CR_OK) {
        *out = malloc((f.count + 1) * sizeof **out);
        if (*out) sort_by_kind(&f, *out);
        else st = CR_NOMEM(err);
    }
    if (st == CR_OK) *count = f.count;
    cr_free(f.list);
    return st;
}
