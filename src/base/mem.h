/* Memory: overflow-checked sizes, aligned blocks, an arena for things that die together. */
#ifndef CR_BASE_MEM_H
#define CR_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CR_ALIGN = 64 }; /* every data block starts on a cache line */

/* a*b into *out; false on overflow. */
static inline bool cr_mul_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline size_t cr_round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

/* malloc/calloc/realloc that tests can make fail (cr_alloc_fail_after). Free with cr_free. */
void *cr_malloc(size_t n);
void *cr_calloc(size_t count, size_t size);
void *cr_realloc(void *p, size_t n);
char *cr_strdup(const char *s);
void cr_free(void *p);

/* 64-byte aligned block of at least n bytes (n 0 gives a valid block); free with cr_aligned_free. */
void *cr_aligned_alloc(size_t n);
void cr_aligned_free(void *p);
/* Gives what was freed back to the system, where the C library keeps it otherwise. */
void cr_memory_trim(void);

/* Test hook: the n-th allocation from now on and all later ones fail; n < 0 turns it off. */
void cr_alloc_fail_after(long n);

/* Grows *items (element size `size`) so that count+1 elements fit; *cap is updated. False: no memory. */
bool cr_grow(void **items, size_t *cap, size_t count, size_t size);

/* Arena: allocations of any size that are freed all at once. Blocks are 16-byte aligned, zeroed. */
typedef struct cr_arena {
    struct cr_arena_block *head;
    size_t used;
} cr_arena;

void *cr_arena_alloc(cr_arena *a, size_t n);                     /* NULL: no memory */
char *cr_arena_strndup(cr_arena *a, const char *s, size_t n);
char *cr_arena_strdup(cr_arena *a, const char *s);
char *cr_arena_printf(cr_arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void cr_arena_free(cr_arena *a);                                 /* frees all, resets to empty */

#endif
