#define ROWS(name) rows_bf16_##name##_neon
#include "kernels/arm/vec_bf16_neon.h"

#include "kernels/rows_bf16_body.h"

extern const cr_rows_bf16 cr_rows_bf16_neon;
const cr_rows_bf16 cr_rows_bf16_neon = ROWS_RECORD("neon");
