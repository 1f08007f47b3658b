/* A checkpoint's file: numbered pieces of memory, and the task they belong to.
 *
 *     "CRAYONts"  u32 version  u32 pieces  u64 task  u64 bytes[pieces]  the pieces  u64 FNV-1a
 *
 * Little-endian, as the machines that this runs on. The sum covers all bytes before it, so a file
 * that was cut or damaged is refused as a whole and never half taken over; it is written beside the
 * old one and renamed over it. Rejected: one file per step with a link to the newest, which needs
 * twice the space and a rule for what to delete. */
#ifndef CR_TRAIN_TRAIN_STATE_H
#define CR_TRAIN_TRAIN_STATE_H

#include "base/error.h"

enum { CR_STATE_PIECES = 64 };

typedef struct cr_state_piece {
    const void *data;
    size_t bytes;
} cr_state_piece;

cr_status cr_train_state_write(const char *path, uint64_t task, const cr_state_piece *pieces,
                               size_t n, cr_error *err);

/* A file that was read and found whole. The pieces point into `bytes`, which cr_train_state_free
 * frees; they are not aligned. */
typedef struct cr_train_state {
    unsigned char *bytes;
    uint64_t task;
    size_t count;
    cr_state_piece piece[CR_STATE_PIECES];
} cr_train_state;

cr_status cr_train_state_read(const char *path, cr_train_state *out, cr_error *err);
/* The same from memory, which is borrowed; `name` for messages. */
cr_status cr_train_state_parse(const char *name, const unsigned char *bytes, size_t size,
                               cr_train_state *out, cr_error *err);
void cr_train_state_free(cr_train_state *s);

/* FNV-1a, to make a task's number out of what it depends on. Start with 0. */
uint64_t cr_train_hash(uint64_t hash, const void *bytes, size_t n);

#endif
