/* Random networks as Core ML packages, with what the reference makes of them:
 *
 *     peers-coreml_nets FOLDER COUNT
 *
 * FOLDER gets net-S.mlpackage, net-S.in.bin and net-S.outK.bin (float32) per seed S; networks with
 * an operator that Core ML has no form of are left out. Prints a line per network that was written.
 */
#include <stdint.h>

#include "coreml/coreml.h"
#include "ops/ref.h"
#include "runtime/runtime.h"
#include "unit/random_net.h"

static void save(const char *folder, uint64_t seed, const char *what, const void *data, size_t size)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/net-%llu.%s.bin", folder, (unsigned long long)seed, what);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, size, f) != size) graph_fail(path, "cannot write");
    fclose(f);
}

static void run(const cr_graph *g, const char *folder, uint64_t seed)
{
    cr_tensor out[GRAPH_IO] = {0};
    cr_error err;
    cr_rng rng;
    const size_t n = (size_t)cr_shape_count(&g->inputs[0]->shape);
    float *x = malloc(n * sizeof *x);
    const float *inputs[] = {x};
    cr_rng_seed(&rng, seed + 1000);
    for (size_t i = 0; i < n; i++) x[i] = (float)cr_rng_range(&rng, -2, 2);
    if (cr_reference_run(g, NULL, inputs, out, NULL, &err) != CR_OK) graph_fail("run", err.message);
    save(folder, seed, "in", x, n * sizeof *x);
    for (size_t i = 0; i < g->output_count; i++) {
        char what[32];
        const size_t count = (size_t)cr_shape_count(&out[i].shape);
        float *wide = malloc(count * sizeof *wide + 1);
        for (size_t k = 0; k < count; k++) wide[k] = (float)cr_tensor_get_f64(&out[i], k);
        snprintf(what, sizeof what, "out%zu", i);
        save(folder, seed, what, wide, count * sizeof *wide);
        free(wide);
        cr_tensor_drop_data(&out[i]);
    }
    free(x);
}

int main(int argc, char **argv)
{
    if (argc != 3) return fprintf(stderr, "usage: peers-coreml_nets FOLDER COUNT\n"), 2;
    for (uint64_t seed = 0; seed < (uint64_t)atoi(argv[2]); seed++) {
        char path[4096];
        cr_error err;
        cr_graph *g = random_net(seed, false, false);
        snprintf(path, sizeof path, "%s/net-%llu.mlpackage", argv[1], (unsigned long long)seed);
        const cr_status st = cr_coreml_write(g, NULL, path, &err);
        if (st == CR_OK) {
            run(g, argv[1], seed);
            printf("%llu %zu\n", (unsigned long long)seed, g->output_count);
        } else if (st != CR_ERR_UNSUPPORTED) {
            graph_fail(path, err.message);
        }
        cr_graph_free(&g);
    }
    return 0;
}
