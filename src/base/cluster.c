/* Which run this process belongs to: what MPI launchers put into the environment of what they start
 * says so, before MPI is asked. */
#define _GNU_SOURCE
#include "crayon/cluster.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cluster_calls.h"
#include "base/error.h"
#include "base/mem.h"

enum { MOST_RANKS = 4096 };
static const char no_answer[] = "MPI: the ranks do not answer";

static const cr_cluster_calls *calls; /* NULL: alone */
static int own_rank, ranks = 1;

int cr_cluster_rank(void)
{
    return own_rank;
}

int cr_cluster_size(void)
{
    return ranks;
}

void cr_cluster_leave(void)
{
    own_rank = 0;
    ranks = 1;
}

/* Ranks there are by the launcher's word; 1: no launcher. */
static int launched(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *text = getenv(names[i]);
        if (text) return atoi(text);
    }
    return 1;
}

static const cr_cluster_calls *load_from(const char *folder)
{
    char path[4200];
    snprintf(path, sizeof path, "%slibcrayon_mpi.so", folder);
    void *module = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    return module ? dlsym(module, "cr_cluster_mpi") : NULL;
}

/* The folder of the file that this code is in, with its slash; "" if it cannot be told. */
static void own_folder(char *out, size_t size)
{
    Dl_info here;
    const char *name = dladdr((void *)&calls, &here) && here.dli_fname ? here.dli_fname : "";
    char program[4096];
    if (!strchr(name, '/')) { /* found through PATH */
        const ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
        program[n > 0 ? n : 0] = 0;
        name = program;
    }
    const char *slash = strrchr(name, '/');
    snprintf(out, size, "%.*s", slash ? (int)(slash - name) + 1 : 0, name);
}

/* Beside the file that this code is in, where it is installed with it, or where libraries are. */
static const cr_cluster_calls *load(void)
{
    char folder[4096], libraries[4112];
    const cr_cluster_calls *c = NULL;
    own_folder(folder, sizeof folder);
    snprintf(libraries, sizeof libraries, "%s../lib/", folder);
    if (*folder) c = load_from(folder);
    if (*folder && !c) c = load_from(libraries);
    return c ? c : load_from("");
}

/* Whoever failed must not wait for the others, who may be waiting for it. */
static void at_exit(int status, void *unused)
{
    (void)unused;
    if (!status) calls->end();
}

cr_status cr_cluster_start(cr_error *err)
{
    if (calls || launched() < 2) return CR_OK;
    const cr_cluster_calls *c = load();
    CR_CHECK(c, err, CR_ERR_UNSUPPORTED,
             "started by mpirun, but this Crayon was built without MPI (libcrayon_mpi.so)");
    CR_CHECK(c->start(&own_rank, &ranks) && ranks <= MOST_RANKS, err, CR_ERR_IO,
             "MPI cannot be started (for up to %d processes)", MOST_RANKS);
    calls = c;
    on_exit(at_exit, NULL);
    return CR_OK;
}

/* The parts and room for their bytes in one block; *places: where those of each rank go. */
static cr_cluster_part *make_parts(const size_t *sizes, char **places)
{
    const size_t head = cr_round_up((size_t)ranks * sizeof(cr_cluster_part), CR_ALIGN);
    size_t all = head;
    for (int r = 0; r < ranks; r++) all += cr_round_up(sizes[r], CR_ALIGN);
    cr_cluster_part *parts = aligned_alloc(CR_ALIGN, all);
    if (!parts) return NULL;
    char *at = (char *)parts + head;
    for (int r = 0; r < ranks; at += cr_round_up(sizes[r++], CR_ALIGN)) {
        places[r] = at;
        parts[r] = (cr_cluster_part){at, sizes[r]};
    }
    return parts;
}

cr_status cr_cluster_gather(const void *mine, size_t size, cr_cluster_part **parts, cr_error *err)
{
    size_t sizes[MOST_RANKS] = {size};
    char *places[MOST_RANKS];
    *parts = NULL;
    CR_CHECK(ranks == 1 || calls->gather_size(size, sizes), err, CR_ERR_IO, "%s", no_answer);
    cr_cluster_part *made = make_parts(sizes, places);
    if (!made) return CR_NOMEM(err);
    if (ranks == 1 && size) memcpy(places[0], mine, size);
    if (ranks > 1 && !calls->gather(mine, places, sizes)) {
        free(made);
        return cr_fail(err, CR_ERR_IO, "%s", no_answer);
    }
    *parts = made;
    return CR_OK;
}

cr_status cr_cluster_agree(cr_status status, cr_error *err)
{
    if (ranks == 1) return status;
    cr_error mine = {.status = status};
    if (status != CR_OK && err) mine = *err;
    mine.status = status;
    cr_cluster_part *parts;
    CR_TRY(cr_cluster_gather(&mine, sizeof mine, &parts, err));
    cr_status st = CR_OK;
    for (int r = 0; r < ranks && st == CR_OK; r++) {
        const cr_error *said = parts[r].bytes;
        st = said->status;
        if (st != CR_OK && err) *err = *said;
    }
    free(parts);
    return st;
}
