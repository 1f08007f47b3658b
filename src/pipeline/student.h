/* A model as it is trained: its graph up to the tensors that a teacher speaks of, on a tape, with
 * the rounding of its recipe if it has one; and the way back into the model. */
#ifndef CR_PIPELINE_STUDENT_H
#define CR_PIPELINE_STUDENT_H

#include "pipeline/distill_parts.h"
#include "pipeline/judge.h"
#include "train/fake_quant.h"
#include "train/trainer.h"

typedef struct cr_student {
    cr_model *model;
    cr_fake_quant *rounded; /* NULL: a float model */
    cr_graph *graph;        /* outputs: the plan's names, in that order */
    cr_tape *tape;
    cr_trained *list;
    size_t n;
    int64_t count; /* numbers in all of the list */
} cr_student;

/* height, width: of the pictures in training. Tells the plan's parts the student's names. The model
 * must outlive *out and keep its recipe until then. */
cr_status cr_student_open(cr_model *model, cr_distill_plan *plan, int height, int width,
                          cr_pool *pool, cr_student **out, cr_error *err);
void cr_student_close(cr_student **s);

/* What the tape's values are worth as a model. */
cr_status cr_student_judge(cr_student *s, cr_judge *judge, bool exact, cr_verdict *out,
                           cr_error *err);
/* The tape's values become the model's. Nothing else can be done with the student then. */
cr_status cr_student_graduate(cr_student *s, cr_error *err);

/* All numbers of the list, one after the other, from and to memory. */
void cr_student_copy_out(const cr_student *s, float *values);
void cr_student_copy_in(const cr_student *s, const float *values);

/* Gives a graph with one input [1,3,H,W] another size; CR_ERR_UNSUPPORTED: it was made for its own.
 */
cr_status cr_graph_resize(cr_graph *g, int height, int width, cr_error *err);

#endif
