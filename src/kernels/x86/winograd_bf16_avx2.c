#define WINO(name) winograd_bf16_##name##_avx2
#include "kernels/x86/vec_bf16_avx2.h"

#include "kernels/winograd_bf16_body.h"

extern const cr_winograd_bf16_kernel cr_winograd_bf16_avx2;
const cr_winograd_bf16_kernel cr_winograd_bf16_avx2 = WINO_RECORD("avx2");
