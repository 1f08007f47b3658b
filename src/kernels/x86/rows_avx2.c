#define ROWS(name) name##_avx2
#include "kernels/x86/vec_avx2.h"

#include "kernels/rows_body.h"

extern const cr_rows cr_rows_avx2;
const cr_rows cr_rows_avx2 = ROWS_RECORD("avx2");
