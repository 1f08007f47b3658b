/* Measures this machine's roofs with the loops of kernels/peak.h. The fastest of several short runs
 * counts: a run that another program interrupted says nothing about the CPU. */
#include <stdatomic.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/error.h"
#include "base/mem.h"
#include "kernels/peak.h"
#include "runtime/program.h"

enum { TRIES = 15, BLOCK = 512 };
static const double slice_s = 200e-6; /* of one try: long against a clock reading */
static const size_t far_least = (size_t)64 << 20, far_most = (size_t)128 << 20;

static double seconds(void)
{
    return (double)cr_profile_now() * 1e-9;
}

/* Operations per second of one core. Rounds double until a try lasts long enough. */
static double core_rate(double (*loop)(int64_t))
{
    double best = 0;
    int64_t rounds = 256;
    for (int tries = 0; loop && tries < TRIES;) {
        const double begin = seconds(), macs = loop(rounds), took = seconds() - begin;
        if (took > 0 && 2 * macs / took > best) best = 2 * macs / took;
        if (took < slice_s && rounds < 1 << 18)
            rounds *= 2;
        else
            tries++;
    }
    return best;
}

static atomic_uint_fast64_t sink; /* what was read is used, for all that the compiler knows */

static double cache_rate(const cr_peak_kernel *k, const unsigned char *data, size_t bytes)
{
    double best = 0;
    for (int i = 0; i < 20 * TRIES; i++) {
        const double begin = seconds();
        atomic_store(&sink, k->read(data, bytes));
        const double took = seconds() - begin;
        if (took > 0 && (double)bytes / took > best) best = (double)bytes / took;
    }
    return best;
}

typedef struct far_job {
    const cr_peak_kernel *kernel;
    unsigned char *data;
    size_t share; /* bytes of one thread */
} far_job;

static void read_share(void *ctx, size_t index, int worker)
{
    const far_job *j = ctx;
    atomic_store(&sink, j->kernel->read(j->data + index * j->share, j->share));
}

static void touch_share(void *ctx, size_t index, int worker)
{
    const far_job *j = ctx;
    for (size_t i = 0; i < j->share; i += 4096) j->data[index * j->share + i] = 1;
}

static double memory_rate(cr_pool *pool, far_job *job, size_t bytes)
{
    const size_t threads = (size_t)cr_pool_threads(pool);
    double best = 0;
    job->share = bytes / threads / BLOCK * BLOCK;
    cr_pool_run(pool, threads, touch_share, job);
    for (int i = 0; i < 4; i++) {
        const double begin = seconds();
        cr_pool_run(pool, threads, read_share, job);
        const double took = seconds() - begin, rate = (double)(job->share * threads) / took;
        if (took > 0 && rate > best) best = rate;
    }
    return best;
}

static size_t cache_bytes(int name, size_t fallback)
{
    const long n = sysconf(name);
    return n > 0 ? (size_t)n : fallback;
}

/* Half of an L2, which other things use too; several times what is left of an L3. */
static void buffer_sizes(size_t *near, size_t *far)
{
    size_t l2 = (size_t)256 << 10, l3 = 0;
#ifdef _SC_LEVEL2_CACHE_SIZE
    l2 = cache_bytes(_SC_LEVEL2_CACHE_SIZE, l2);
    l3 = cache_bytes(_SC_LEVEL3_CACHE_SIZE, l3);
#endif
    *near = l2 / 2 / BLOCK * BLOCK;
    *far = 2 * l3 < far_least ? far_least : 2 * l3 > far_most ? far_most : 2 * l3;
}

cr_status cr_peaks_measure(int threads, cr_peaks *out, cr_error *err)
{
    const cr_peak_kernel k = cr_peak_choose(cr_cpu_flags());
    cr_pool *pool = NULL;
    size_t near, far;
    CR_TRY(cr_pool_create(threads, &pool, err));
    buffer_sizes(&near, &far);
    far_job job = {.kernel = &k, .data = cr_aligned_alloc(far > near ? far : near)};
    if (!job.data) {
        cr_pool_free(&pool);
        return CR_NOMEM(err);
    }
    const double n = cr_pool_threads(pool);
    *out = (cr_peaks){.threads = cr_pool_threads(pool)};
    out->memory_bytes = memory_rate(pool, &job, far);
    out->cache_bytes = n * cache_rate(&k, job.data, near);
    out->ops[CR_MATH_FLOAT32] = n * core_rate(k.f32);
    out->ops[CR_MATH_INT8] = n * core_rate(k.s8);
    out->ops[CR_MATH_BFLOAT16] = k.bf16 ? n * core_rate(k.bf16) : out->ops[CR_MATH_FLOAT32];
    cr_aligned_free(job.data);
    cr_pool_free(&pool);
    return CR_OK;
}
