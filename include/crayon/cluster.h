/* Several processes on one task: the ranks of an MPI run (mpirun -n 4 crayon ...), on one machine
 * or many. Without MPI a process is rank 0 of 1, and all of this costs nothing.
 *
 * Calibration (cr_calibrate) divides its pictures among the ranks by itself; every rank ends with
 * the same statistics, bit for bit those of one process. What a program divides itself, it puts
 * together with cr_cluster_gather. Functions that gather must be called by all ranks in the same
 * order; only rank 0 writes files. */
#ifndef CRAYON_CLUSTER_H
#define CRAYON_CLUSTER_H

#include <stddef.h>

#include "crayon/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Joins the run that this process was started for, if it was; once, before anything else. It ends
 * with the process: those that exit with another status than 0 do not wait for the others.
 * CR_ERR_UNSUPPORTED: started by mpirun, but Crayon was built without MPI. */
CR_API cr_status cr_cluster_start(cr_error *err);
/* This process is alone from now on, whatever the others do. */
CR_API void cr_cluster_leave(void);

CR_API int cr_cluster_rank(void); /* 0 .. size - 1 */
CR_API int cr_cluster_size(void);

/* What one rank gave. */
typedef struct cr_cluster_part {
    const void *bytes; /* aligned to 64 bytes */
    size_t size;
} cr_cluster_part;

/* *parts: [cr_cluster_size()], what each rank gave, by rank; one block of the caller's, free(). */
CR_API cr_status cr_cluster_gather(const void *mine, size_t size, cr_cluster_part **parts,
                                   cr_error *err);
/* What the first rank that failed says, on all ranks; CR_OK if none did. */
CR_API cr_status cr_cluster_agree(cr_status status, cr_error *err);

#ifdef __cplusplus
}
#endif
#endif
