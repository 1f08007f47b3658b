/* What the ranks of a run give each other. Alone it is a run of one; tests/cli/mpi.sh starts the same
 * program by mpirun. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crayon/cluster.h"

/* Bytes of rank r: none of rank 2, and of no other a number that alignment likes. */
static size_t size_of(int r)
{
    return r == 2 ? 0 : (size_t)(r + 1) * 1001;
}

static unsigned char byte_of(int r, size_t i)
{
    return (unsigned char)((size_t)r * 31 + i * 7);
}

static void parts_lie_apart(void **state)
{
    (void)state;
    cr_error err;
    cr_cluster_part *parts;
    const int own = cr_cluster_rank();
    const size_t size = size_of(own);
    unsigned char *mine = malloc(size + 1);
    assert_non_null(mine);
    for (size_t i = 0; i < size; i++) mine[i] = byte_of(own, i);
    assert_int_equal(cr_cluster_gather(mine, size, &parts, &err), CR_OK);
    free(mine);
    for (int r = 0; r < cr_cluster_size(); r++) {
        const unsigned char *bytes = parts[r].bytes;
        assert_int_equal(parts[r].size, size_of(r));
        assert_int_equal((uintptr_t)bytes % 64, 0);
        for (size_t i = 0; i < parts[r].size; i++) assert_int_equal(bytes[i], byte_of(r, i));
    }
    free(parts);
    assert_int_equal(cr_cluster_gather(NULL, 0, &parts, &err), CR_OK);
    assert_int_equal(parts[own].size, 0);
    free(parts);
}

/* The last rank fails; every other one hears why. */
static void one_failure_is_everyones(void **state)
{
    (void)state;
    cr_error err = {0};
    const bool last = cr_cluster_rank() == cr_cluster_size() - 1;
    if (last) err = (cr_error){.status = CR_ERR_FORMAT, .message = "no picture"};
    assert_int_equal(cr_cluster_agree(last ? CR_ERR_FORMAT : CR_OK, &err), CR_ERR_FORMAT);
    assert_string_equal(err.message, "no picture");
    assert_int_equal(cr_cluster_agree(CR_OK, &err), CR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_lie_apart),
        cmocka_unit_test(one_failure_is_everyones),
    };
    cr_error err;
    if (cr_cluster_start(&err) != CR_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (!failed && cr_cluster_rank() == 0) printf("%d processes\n", cr_cluster_size());
    return failed;
}
