#define _DEFAULT_SOURCE /* madvise */
#include "base/mem.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

static atomic_long fail_after = -1;

static bool may_alloc(void)
{
    long left = atomic_load_explicit(&fail_after, memory_order_relaxed);
    if (left < 0) return true;
    if (left == 0) return false;
    atomic_store_explicit(&fail_after, left - 1, memory_order_relaxed);
    return true;
}

void cr_alloc_fail_after(long n) { atomic_store(&fail_after, n); }

static const size_t large = (size_t)4 << 20;

/* A large block asks for large pages: a session's memory, or a model file, is then mapped by a few
 * page faults instead of thousands. Advice only; where the system has none, nothing changes. */
static void *alloc_large(size_t n)
{
    const size_t page = (size_t)2 << 20;
    void *p = aligned_alloc(page, cr_round_up(n, page));
#if defined(MADV_HUGEPAGE)
    if (p) madvise(p, n / page * page, MADV_HUGEPAGE);
#endif
    return p;
}

void *cr_malloc(size_t n)
{
    if (!may_alloc()) return NULL;
    return n >= large && n <= SIZE_MAX / 2 ? alloc_large(n) : malloc(n ? n : 1);
}

void *cr_calloc(size_t count, size_t size)
{
    return may_alloc() ? calloc(count ? count : 1, size ? size : 1) : NULL;
}

void *cr_realloc(void *p, size_t n) { return may_alloc() ? realloc(p, n ? n : 1) : NULL; }

char *cr_strdup(const char *s)
{
    const size_t n = strlen(s) + 1;
    char *copy = cr_malloc(n);
    if (copy) memcpy(copy, s, n);
    return copy;
}

void cr_free(void *p) { free(p); }

void *cr_aligned_alloc(size_t n)
{
    if (n > SIZE_MAX / 2 || !may_alloc()) return NULL;
    if (n >= large) return alloc_large(n);
    return aligned_alloc(CR_ALIGN, cr_round_up(n ? n : 1, CR_ALIGN));
}

void cr_aligned_free(void *p) { free(p); }

void cr_memory_trim(void)
{
#if defined(__GLIBC__)
    malloc_trim(0);
#endif
}

bool cr_grow(void **items, size_t *cap, size_t count, size_t size)
{
    if (count < *cap) return true;
    size_t next = *cap ? *cap * 2 : 8, bytes;
    if (next <= *cap || !cr_mul_size(next, size, &bytes)) return false;
    void *grown = cr_realloc(*items, bytes);
    if (!grown) return false;
    *items = grown;
    *cap = next;
    return true;
}

struct cr_arena_block {
    struct cr_arena_block *next;
    size_t size, used;
    _Alignas(16) unsigned char bytes[];
};

void *cr_arena_alloc(cr_arena *a, size_t n)
{
    enum { BLOCK = 64 << 10 };
    if (n > SIZE_MAX / 2) return NULL;
    n = cr_round_up(n ? n : 1, 16);
    if (!a->head || a->head->size - a->head->used < n) {
        const size_t size = n > BLOCK ? n : BLOCK;
        struct cr_arena_block *b = cr_calloc(1, sizeof *b + size);
        if (!b) return NULL;
        b->size = size;
        b->next = a->head;
        a->head = b;
    }
    void *p = a->head->bytes + a->head->used;
    a->head->used += n;
    a->used += n;
    return p;
}

char *cr_arena_strndup(cr_arena *a, const char *s, size_t n)
{
    char *copy = cr_arena_alloc(a, n + 1);
    if (copy && n) memcpy(copy, s, n);
    return copy;
}

char *cr_arena_strdup(cr_arena *a, const char *s) { return cr_arena_strndup(a, s, strlen(s)); }

char *cr_arena_printf(cr_arena *a, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *text = n < 0 ? NULL : cr_arena_alloc(a, (size_t)n + 1);
    if (!text) return NULL;
    va_start(args, fmt);
    vsnprintf(text, (size_t)n + 1, fmt, args);
    va_end(args);
    return text;
}

void cr_arena_free(cr_arena *a)
{
    while (a->head) {
        struct cr_arena_block *next = a->head->next;
        cr_free(a->head);
        a->head = next;
    }
    a->used = 0;
}
