#define VMATH(name) vmath_##name##_neon
#include "kernels/arm/vec_neon.h"

#include "kernels/vmath_body.h"

extern const cr_vmath cr_vmath_neon;
const cr_vmath cr_vmath_neon = VMATH_RECORD("neon");
