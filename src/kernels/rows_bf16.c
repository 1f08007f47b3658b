/* The portable rows of bfloat16, and the choice of a record. */
#include "kernels/rows_bf16.h"

#include "kernels/vec_bf16_c.h"

#define ROWS(name) rows_bf16_##name##_c
#include "kernels/rows_bf16_body.h"

static const cr_rows_bf16 rows_bf16_c = ROWS_RECORD("c");

#define CR_ROWS_BF16_ONLY
#define KERNEL_RECORD cr_rows_bf16
#define KERNEL_C      rows_bf16_c
#define KERNEL_LEVEL  cr_rows_bf16_level
#define KERNEL_SELECT cr_rows_bf16_get
#include "kernels/select.h"
