/* Part of rows_body.h: what dynamic quantization needs. */

/* Dynamic quantization: s is what is added (the bias), zp what the sums lack. */
CR_INLINE void ROWS(finish_live_part)(float *y, const int32_t *acc, const cr_finish_area *area,
                                      int rows, int n, VF m, VF s, VI zp, const cr_act *act,
                                      const cr_act_kind kind)
{
    VF v[V_GROUP];
    V_EACH
    {
        const int32_t *row = acc + (g < rows ? g : rows - 1) * area->ld_in;
        v[g] = V_MUL(VI_TO_F(VI_ADD(n == VN ? VI_LOAD(row) : VI_LOAD_N(row, n), zp)), m);
        v[g] = V_ADD(v[g], s);
    }
    ROWS(act_group)(v, kind, V_SET1(act->a), V_SET1(act->b));
    V_EACH if (g < rows) ROWS(store)(y + g * area->ld_out, v[g], n);
}

CR_INLINE void ROWS(finish_live_as)(float *y, const int32_t *acc, const cr_finish_area *area,
                                    const cr_finish *f, const cr_act_kind kind)
{
    const cr_finish own = *f;
#define ROWS_LIVE(y, acc, area, rows, n, i, r)                                                     \
    ROWS(finish_live_part)(y, acc, area, rows, n, m, s, zp, &own.act, kind)
    ROWS_FINISH(ROWS_LIVE)
#undef ROWS_LIVE
}

static void ROWS(finish_live)(float *y, const int32_t *acc, const cr_finish_area *area,
                              const cr_finish *f)
{
    switch (f->act.kind) {
#define ROWS_AS(kind)                                                                              \
    case kind:                                                                                     \
        ROWS(finish_live_as)(y, acc, area, f, kind);                                               \
        break;
        ROWS_KINDS
#undef ROWS_AS
    }
}

/* ---- one row ---- */

static void ROWS(range)(const float *x, size_t n, float *lo, float *hi)
{
    enum { LINES = 4 };
    VF top[LINES], bottom[LINES]; /* bottom: of the negated values, so that one NaN rule serves */
    float part[2][VN];
    size_t i = 0;
    for (int k = 0; k < LINES; k++) top[k] = V_SET1(*hi), bottom[k] = V_SET1(0 - *lo);
    for (; i + LINES * VN <= n; i += LINES * VN)
        for (int k = 0; k < LINES; k++) {
            const VF v = V_LOAD(x + i + (size_t)k * VN);
            top[k] = V_MAX_NUM(v, top[k]);
            bottom[k] = V_MAX_NUM(V_SUB(V_SET1(0), v), bottom[k]);
        }
    for (; i + VN <= n; i += VN) {
        const VF v = V_LOAD(x + i);
        top[0] = V_MAX_NUM(v, top[0]);
        bottom[0] = V_MAX_NUM(V_SUB(V_SET1(0), v), bottom[0]);
    }
    for (int k = 1; k < LINES; k++) {
        top[0] = V_MAX_NUM(top[k], top[0]);
        bottom[0] = V_MAX_NUM(bottom[k], bottom[0]);
    }
    V_STORE(part[0], top[0]);
    V_STORE(part[1], bottom[0]);
    for (int k = 0; k < VN; k++) {
        *hi = part[0][k] > *hi ? part[0][k] : *hi;
        *lo = 0 - part[1][k] < *lo ? 0 - part[1][k] : *lo;
    }
    for (; i < n; i++) {
        *lo = x[i] < *lo ? x[i] : *lo;
        *hi = x[i] > *hi ? x[i] : *hi;
    }
}
