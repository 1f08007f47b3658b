/* The reference operators: slow, obvious, never optimised. They define what every operator means;
 * fast kernels and exported files are held against them.
 *
 * One cr_eval_<stem> per stem of ops.inc, in the file named after it. float16 and bfloat16 need no
 * code in the operators: cr_op_run widens such inputs to float32, runs, and rounds the outputs. */
#ifndef CR_OPS_REF_H
#define CR_OPS_REF_H

#include "graph/graph.h"

/* Runs one node on data: infers output shapes from the actual inputs, allocates the outputs' data
 * (cr_tensor_alloc; an output that already has data of the right size is reused), evaluates.
 * `call->out[i]` are tensors that the caller owns. */
cr_status cr_op_run(const cr_op_call *call, cr_error *err);

/* Evaluates one node into outputs whose dtype, shape and data are ready. */
cr_status cr_op_eval(const cr_op_call *call, cr_error *err);

#endif
