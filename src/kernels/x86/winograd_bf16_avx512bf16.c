#define WINO(name) winograd_bf16_##name##_avx512bf16
#include "kernels/x86/vec_bf16_avx512.h"

#include "kernels/winograd_bf16_body.h"

extern const cr_winograd_bf16_kernel cr_winograd_bf16_avx512bf16;
const cr_winograd_bf16_kernel cr_winograd_bf16_avx512bf16 = WINO_RECORD("avx512bf16");
