#define ROWS(name) rows_bf16_##name##_avx2
#include "kernels/x86/vec_bf16_avx2.h"

#include "kernels/rows_bf16_body.h"

extern const cr_rows_bf16 cr_rows_bf16_avx2;
const cr_rows_bf16 cr_rows_bf16_avx2 = ROWS_RECORD("avx2");
