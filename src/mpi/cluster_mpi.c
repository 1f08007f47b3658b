/* The MPI side of base/cluster.c, a module of its own: programs that run alone never load MPI,
 * which costs some ten libraries and as many milliseconds. */
#include <mpi.h>
#include <string.h>

#include "base/cluster_calls.h"

enum { PIECE = 1 << 30 }; /* MPI counts in int */

static int ranks;

static bool start(int *rank, int *size)
{
    int given, begun;
    if (MPI_Initialized(&begun) ||
        (!begun && MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &given)))
        return false;
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    const bool ok = !MPI_Comm_rank(MPI_COMM_WORLD, rank) && !MPI_Comm_size(MPI_COMM_WORLD, size);
    ranks = *size;
    return ok;
}

static bool gather_size(size_t mine, size_t *sizes)
{
    const unsigned long long n = mine;
    unsigned long long all[4096];
    if (ranks > (int)(sizeof all / sizeof *all)) return false;
    if (MPI_Allgather(&n, 1, MPI_UNSIGNED_LONG_LONG, all, 1, MPI_UNSIGNED_LONG_LONG,
                      MPI_COMM_WORLD))
        return false;
    for (int r = 0; r < ranks; r++) sizes[r] = (size_t)all[r];
    return true;
}

/* One rank after the other sends its bytes to all. */
static bool gather(const void *mine, char *const *all, const size_t *sizes)
{
    int rank;
    if (MPI_Comm_rank(MPI_COMM_WORLD, &rank)) return false;
    for (int r = 0; r < ranks; r++) {
        char *at = all[r];
        if (r == rank && sizes[r]) memcpy(at, mine, sizes[r]);
        for (size_t left = sizes[r]; left;) {
            const size_t n = left < PIECE ? left : PIECE;
            if (MPI_Bcast(at, (int)n, MPI_BYTE, r, MPI_COMM_WORLD)) return false;
            at += n;
            left -= n;
        }
    }
    return true;
}

static void end(void)
{
    MPI_Finalize();
}

__attribute__((visibility("default")))
const cr_cluster_calls cr_cluster_mpi = {start, gather_size, gather, end};
