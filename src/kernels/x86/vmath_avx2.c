#define VMATH(name) vmath_##name##_avx2
#include "kernels/x86/vec_avx2.h"

#include "kernels/vmath_body.h"

extern const cr_vmath cr_vmath_avx2;
const cr_vmath cr_vmath_avx2 = VMATH_RECORD("avx2");
