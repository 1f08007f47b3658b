/* The compiled AMX kernel on CPUs without AMX: its tile instructions are illegal there, and a
 * signal handler decodes and carries them out (Intel SDM volume 2: TILELOADD, TILESTORED, TILEZERO,
 * TDPBUSD, LDTILECFG, TILERELEASE). What the model of amx_model.h cannot see is checked here: the
 * order of operands, the configuration's bytes, and that the compiler keeps loads and stores in
 * order. Sums must equal those of the C kernel. The rest of the kernel needs AVX-512. */
#define _GNU_SOURCE
#include "harness.h"

#if defined(__x86_64__)

#include <signal.h>
#include <ucontext.h>
#include <unistd.h>

extern const cr_conv_s8_kernel cr_conv_s8_amx;

static struct {
    bool configured;
    long products;
    unsigned char tile[8][16][64];
} amx;

/* A VEX instruction of map 0F38: C4, two bytes of prefix, opcode, ModRM, maybe SIB and offset. */
typedef struct instruction {
    int prefix, opcode, mode, reg, rm, vvvv;
    unsigned char *memory;
    int64_t step;
    const unsigned char *end;
} instruction;

enum { PREFIX_NONE, PREFIX_66, PREFIX_F3, PREFIX_F2 };

static void refuse(const char *what)
{
    static const char text[] = "amx_trap: an instruction that is not understood: ";
    if (write(2, text, sizeof text - 1) < 0 || write(2, what, strlen(what)) < 0) _exit(4);
    _exit(3);
}

static const int registers[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                  REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                  REG_R12, REG_R13, REG_R14, REG_R15};

static int64_t offset32(const unsigned char **p)
{
    int32_t x;
    memcpy(&x, *p, sizeof x);
    *p += sizeof x;
    return x;
}

static void decode_memory(instruction *i, const unsigned char *p, const unsigned char *code,
                          const greg_t *g)
{
    const int x = !(code[1] & 0x40) << 3, b = !(code[1] & 0x20) << 3;
    int64_t base;
    if (i->rm == 4) {
        const int sib = *p++, index = (sib >> 3 & 7) | x, low = sib & 7;
        i->step = index == 4 ? 0 : (int64_t)g[registers[index]] << (sib >> 6);
        base = low == 5 && i->mode == 0 ? offset32(&p) : g[registers[low | b]];
    } else if (i->rm == 5 && i->mode == 0) {
        base = offset32(&p);
        base += (int64_t)(intptr_t)p;
    } else {
        base = g[registers[i->rm | b]];
    }
    if (i->mode == 1) base += (signed char)*p++;
    if (i->mode == 2) base += offset32(&p);
    i->memory = (unsigned char *)(intptr_t)base;
    i->end = p;
}

static instruction decode(const unsigned char *code, const greg_t *g)
{
    if (code[0] != 0xC4 || (code[1] & 0x1F) != 2 || code[2] & 0x84) refuse("no VEX.128.0F38.W0");
    instruction i = {.prefix = code[2] & 3, .opcode = code[3], .mode = code[4] >> 6};
    i.vvvv = ~code[2] >> 3 & 15;
    i.reg = code[4] >> 3 & 7;
    i.rm = code[4] & 7;
    i.end = code + 5;
    if (i.mode != 3) decode_memory(&i, i.end, code, g);
    return i;
}

static void configure(const instruction *i)
{
    unsigned char want[64] = {1};
    for (int t = 0; t < 8; t++) {
        want[16 + 2 * t] = 64;
        want[48 + t] = 16;
    }
    if (memcmp(i->memory, want, sizeof want)) refuse("tile shapes");
    amx.configured = true;
    memset(amx.tile, 0, sizeof amx.tile);
}

static void release_or_zero(const instruction *i)
{
    if (i->prefix == PREFIX_NONE && i->reg == 0) {
        amx.configured = false;
        memset(amx.tile, 0, sizeof amx.tile);
    } else if (i->prefix == PREFIX_F2 && i->rm == 0 && amx.configured) {
        memset(amx.tile[i->reg], 0, sizeof *amx.tile);
    } else {
        refuse("49");
    }
}

static void load_or_store(const instruction *i)
{
    if (i->mode == 3 || i->rm != 4 || !amx.configured) refuse("4B");
    for (int r = 0; r < 16; r++) {
        unsigned char *row = i->memory + r * i->step;
        if (i->prefix == PREFIX_F2)
            memcpy(amx.tile[i->reg][r], row, 64);
        else if (i->prefix == PREFIX_F3)
            memcpy(row, amx.tile[i->reg][r], 64);
        else
            refuse("4B prefix");
    }
}

static void multiply_tiles(const instruction *i)
{
    if (i->prefix != PREFIX_66 || i->mode != 3 || !amx.configured) refuse("5E");
    if (i->reg == i->rm || i->reg == i->vvvv || i->rm == i->vvvv) refuse("5E with equal tiles");
    for (int m = 0; m < 16; m++)
        for (int n = 0; n < 16; n++) {
            uint32_t sum;
            memcpy(&sum, &amx.tile[i->reg][m][4 * n], sizeof sum);
            for (int k = 0; k < 64; k++)
                sum += (uint32_t)(amx.tile[i->rm][m][k] *
                                  (int8_t)amx.tile[i->vvvv][k / 4][4 * n + k % 4]);
            memcpy(&amx.tile[i->reg][m][4 * n], &sum, sizeof sum);
        }
    amx.products++;
}

static void on_illegal(int signal_number, siginfo_t *info, void *context)
{
    greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
    const instruction i = decode((const unsigned char *)(intptr_t)g[REG_RIP], g);
    if (i.opcode == 0x49 && i.mode != 3 && i.prefix == PREFIX_NONE)
        configure(&i);
    else if (i.opcode == 0x49 && i.mode == 3)
        release_or_zero(&i);
    else if (i.opcode == 0x4B)
        load_or_store(&i);
    else if (i.opcode == 0x5E)
        multiply_tiles(&i);
    else
        refuse("opcode");
    g[REG_RIP] = (greg_t)(intptr_t)i.end;
}

static void sums_of(const cr_conv_s8_kernel *kernel, const cr_conv_geometry *g,
                    const cr_conv_s8_params *p, const uint8_t *in, int32_t *out)
{
    cr_conv_s8 *c;
    assert_int_equal(cr_conv_s8_create_with(kernel, g, p, 1u << CR_CPU_C, &c, NULL), CR_OK);
    guarded scratch = guarded_alloc(cr_conv_s8_scratch(c, 1), false);
    cr_conv_s8_run(c, in, 0, out, 0, scratch.data, NULL);
    guarded_free(&scratch);
    cr_conv_s8_free(c);
}

static void compare(const cr_conv_geometry *g, cr_rng *rng)
{
    const size_t in = span_of(g->n * g->h * g->w, g->ld_in, g->cin);
    const size_t weights = (size_t)(g->cout * g->cin * g->kh * g->kw);
    const size_t out = (size_t)(g->n * g->oh * g->ow * g->cout);
    guarded gi = guarded_alloc(in, true);
    int8_t *w = malloc(weights);
    int32_t *want = malloc(out * sizeof *want), *got = malloc(out * sizeof *got);
    fill_u8(gi.data, in, UNIFORM, rng);
    fill_s8(w, weights, UNIFORM, rng);
    const cr_conv_s8_params p = {.weights = w, .zero_in = 77, .raw_out = true};
    sums_of(cr_conv_s8_level(CR_CPU_C), g, &p, gi.data, want);
    sums_of(&cr_conv_s8_amx, g, &p, gi.data, got);
    assert_memory_equal(want, got, out * sizeof *want);
    guarded_free(&gi);
    free(w);
    free(want);
    free(got);
}

static void test_trapped(void **state)
{
    static const int64_t cins[] = {3, 4, 16, 21, 64, 65, 128};
    const bool real = level_runs(CR_CPU_AMX);
    if (!level_runs(CR_CPU_AVX512)) {
        print_message("SKIP level amx, trapped: no AVX-512 on this CPU\n");
        return;
    }
    struct sigaction action = {.sa_sigaction = on_illegal, .sa_flags = SA_SIGINFO}, before;
    if (!real) assert_int_equal(sigaction(SIGILL, &action, &before), 0);
    cr_rng rng;
    cr_rng_seed(&rng, 5);
    for (int i = 0; i < 70; i++) {
        cr_conv_geometry g = {.h = 1 + cr_rng_below(&rng, 4), .w = 3 + cr_rng_below(&rng, 70)};
        g.cin = cins[i % 7];
        g.cout = 1 + cr_rng_below(&rng, 70);
        g.ld_in = g.cin + (i & 8);
        g.kh = g.kw = i & 1 ? 3 : 1;
        g.pad_top = g.pad_left = g.kw / 2;
        g.stride_h = g.stride_w = i & 2 ? 2 : 1;
        finish_geometry(&g);
        compare(&g, &rng);
    }
    if (real) return;
    assert_true(amx.products > 0 && !amx.configured);
    assert_int_equal(sigaction(SIGILL, &before, NULL), 0);
}

#else

static void test_trapped(void **state)
{
    print_message("SKIP level amx, trapped: not an x86-64 CPU\n");
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_trapped)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
