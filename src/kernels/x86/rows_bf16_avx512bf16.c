#define ROWS(name) rows_bf16_##name##_avx512bf16
#include "kernels/x86/vec_bf16_avx512.h"

#include "kernels/rows_bf16_body.h"

extern const cr_rows_bf16 cr_rows_bf16_avx512bf16;
const cr_rows_bf16 cr_rows_bf16_avx512bf16 = ROWS_RECORD("avx512bf16");
