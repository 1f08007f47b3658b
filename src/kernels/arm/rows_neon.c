#define ROWS(name) name##_neon
#include "kernels/arm/vec_neon.h"

#include "kernels/rows_body.h"

extern const cr_rows cr_rows_neon;
const cr_rows cr_rows_neon = ROWS_RECORD("neon");
