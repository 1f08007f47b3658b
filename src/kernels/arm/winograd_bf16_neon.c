#define WINO(name) winograd_bf16_##name##_neon
#include "kernels/arm/vec_bf16_neon.h"

#include "kernels/winograd_bf16_body.h"

extern const cr_winograd_bf16_kernel cr_winograd_bf16_neon;
const cr_winograd_bf16_kernel cr_winograd_bf16_neon = WINO_RECORD("neon");
