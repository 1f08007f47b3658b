#define VMATH(name) vmath_##name##_avx512
#include "kernels/x86/vec_avx512.h"

#include "kernels/vmath_body.h"

extern const cr_vmath cr_vmath_avx512;
const cr_vmath cr_vmath_avx512 = VMATH_RECORD("avx512");
