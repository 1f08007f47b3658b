#define _GNU_SOURCE
#include "base/cpu.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

static const char *const keys[CR_CPU_LEVELS] = {"c",   "avx2", "avxvnni", "avx512", "avx512vnni",
                                                "avx512vbmi", "avx512bf16", "amx", "neon", "dotprod", "i8mm"};

const char *cr_cpu_level_key(cr_cpu_level level) { return keys[level]; }

#define BIT(level) (1u << (level))

#if defined(__x86_64__)

static unsigned long long xgetbv0(void)
{
    unsigned lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (unsigned long long)hi << 32 | lo;
}

/* Linux hands out the AMX tile state only to processes that ask for it. */
static bool amx_permission(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

static unsigned detect(void)
{
    unsigned a, b, c, d, flags = BIT(CR_CPU_C);
    if (!__get_cpuid(1, &a, &b, &c, &d)) return flags;
    const bool osxsave = c & bit_OSXSAVE, fma = c & bit_FMA, f16c = c & bit_F16C;
    if (!osxsave || !fma || !f16c) return flags;
    const unsigned long long state = xgetbv0();
    const bool ymm = (state & 0x6) == 0x6, zmm = (state & 0xe6) == 0xe6;
    const bool tiles = (state & 0x60000) == 0x60000;
    unsigned b7, c7, d7, a71 = 0, tmp;
    if (!__get_cpuid_count(7, 0, &a, &b7, &c7, &d7)) return flags;
    if (a >= 1) __get_cpuid_count(7, 1, &a71, &tmp, &c, &d);
    if (!ymm || !(b7 & bit_AVX2)) return flags;
    flags |= BIT(CR_CPU_AVX2);
    if (a71 & 1u << 4) flags |= BIT(CR_CPU_AVXVNNI);
    const unsigned f512 = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    if (!zmm || (b7 & f512) != f512) return flags;
    flags |= BIT(CR_CPU_AVX512);
    if (!(c7 & 1u << 11)) return flags; /* VNNI */
    flags |= BIT(CR_CPU_AVX512VNNI);
    if (!(c7 & 1u << 1)) return flags; /* VBMI */
    flags |= BIT(CR_CPU_AVX512VBMI);
    if (!(a71 & 1u << 5)) return flags; /* AVX512_BF16 */
    flags |= BIT(CR_CPU_AVX512BF16);
    if (tiles && (d7 & 1u << 24) && (d7 & 1u << 25) && (d7 & 1u << 22) && amx_permission())
        flags |= BIT(CR_CPU_AMX);
    return flags;
}

#elif defined(__aarch64__)

static unsigned detect(void)
{
    unsigned flags = BIT(CR_CPU_C) | BIT(CR_CPU_NEON);
    if (getauxval(AT_HWCAP) & 1ul << 20) flags |= BIT(CR_CPU_DOTPROD);  /* HWCAP_ASIMDDP */
    if (getauxval(AT_HWCAP2) & 1ul << 13) flags |= BIT(CR_CPU_I8MM);    /* HWCAP2_I8MM */
    return flags;
}

#else
static unsigned detect(void) { return BIT(CR_CPU_C); }
#endif

static unsigned hardware_flags;
static atomic_uint mask = ~0u;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int find_level(const char *name)
{
    for (int i = 0; i < CR_CPU_LEVELS; i++)
        if (!strcmp(name, keys[i])) return i;
    return -1;
}

static void init(void)
{
    hardware_flags = detect();
    const char *wish = getenv("CRAYON_CPU");
    const int level = wish ? find_level(wish) : -1;
    if (level >= 0) atomic_store(&mask, (2u << level) - 1);
}

unsigned cr_cpu_hardware(void)
{
    pthread_once(&once, init);
    return hardware_flags;
}

unsigned cr_cpu_flags(void) { return cr_cpu_hardware() & atomic_load(&mask); }

cr_status cr_cpu_limit(const char *level, cr_error *err)
{
    const int i = find_level(level);
    CR_CHECK(i >= 0, err, CR_ERR_ARGUMENT,
             "unknown CPU level '%s' (c avx2 avxvnni avx512 avx512vnni avx512vbmi avx512bf16 amx neon dotprod "
             "i8mm)",
             level);
    CR_CHECK(cr_cpu_has(cr_cpu_hardware(), (cr_cpu_level)i), err, CR_ERR_ARGUMENT,
             "this CPU does not have level '%s'", level);
    atomic_store(&mask, (2u << i) - 1);
    return CR_OK;
}

const char *cr_cpu_level_name(void)
{
    const unsigned flags = cr_cpu_flags();
    int best = 0;
    for (int i = 0; i < CR_CPU_LEVELS; i++)
        if (flags >> i & 1) best = i;
    return keys[best];
}

static char name[96];
static pthread_once_t name_once = PTHREAD_ONCE_INIT;

static void read_name(void)
{
    snprintf(name, sizeof name, "unknown CPU");
    FILE *f = fopen("/proc/cpuinfo", "r");
    if (!f) return;
    char line[256];
    while (fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) || !colon || strlen(colon) < 3) continue;
        snprintf(name, sizeof name, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        break;
    }
    fclose(f);
}

const char *cr_cpu_name(void)
{
    pthread_once(&name_once, read_name);
    return name;
}

int cr_cpu_count(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "r");
    long quota, period;
    if (f) {
        if (fscanf(f, "%ld %ld", &quota, &period) == 2 && period > 0 && quota > 0) {
            const int cap = (int)((quota + period - 1) / period);
            if (cap < n) n = cap;
        }
        fclose(f);
    }
    return n < 1 ? 1 : n;
}
