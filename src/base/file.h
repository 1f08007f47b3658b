/* Files: bounded reads, and writes that are complete or do not happen. */
#ifndef CR_BASE_FILE_H
#define CR_BASE_FILE_H

#include <stdio.h>

#include "crayon/status.h"

/* Reads a whole regular file of at most `limit` bytes. *bytes has a 0 after its end and is freed
 * with cr_free. */
cr_status cr_file_read(const char *path, size_t limit, unsigned char **bytes, size_t *size,
                       cr_error *err);

/* Reads `size` bytes at `offset` into `out`; fails if the file is shorter. */
cr_status cr_file_read_at(const char *path, uint64_t offset, size_t size, void *out, cr_error *err);

/* A file under a temporary name beside its target. Commit flushes to disk and renames over the
 * target; abort (or a failed commit) removes the temporary file and leaves the target as it was.
 * What is no regular file (/dev/stdout, /dev/null, a FIFO) is never replaced: it is written as the
 * bytes come. Of several processes (crayon/cluster.h) the first one's file is kept. */
typedef struct cr_outfile cr_outfile;
cr_status cr_outfile_open(const char *path, cr_outfile **out, cr_error *err);
FILE *cr_outfile_stream(cr_outfile *f);
const char *cr_outfile_temp_path(const cr_outfile *f); /* for libraries that open files by name */
cr_status cr_outfile_commit(cr_outfile **f, cr_error *err); /* always frees and nulls *f */
void cr_outfile_abort(cr_outfile **f);

/* open + write + commit. */
cr_status cr_file_write(const char *path, const void *bytes, size_t size, cr_error *err);

/* mkdir -p; fine when it exists. */
cr_status cr_mkdirs(const char *path, cr_error *err);

#endif
