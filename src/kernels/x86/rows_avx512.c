#define ROWS(name) name##_avx512
#include "kernels/x86/vec_avx512.h"

#include "kernels/rows_body.h"

extern const cr_rows cr_rows_avx512;
const cr_rows cr_rows_avx512 = ROWS_RECORD("avx512");
