/* What libcrayon_mpi gives to base/cluster.c: MPI is loaded by those runs alone that it started. */
#ifndef CR_BASE_CLUSTER_CALLS_H
#define CR_BASE_CLUSTER_CALLS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct cr_cluster_calls {
    bool (*start)(int *rank, int *size);
    /* Sizes of all ranks' parts first, then rank r's sizes[r] bytes to all[r]; false on failure. */
    bool (*gather_size)(size_t mine, size_t *sizes);
    bool (*gather)(const void *mine, char *const *all, const size_t *sizes);
    void (*end)(void);
} cr_cluster_calls;

/* Exported by the module under this name. */
extern const cr_cluster_calls cr_cluster_mpi;

#endif
