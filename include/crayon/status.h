/* Status codes, error details, progress and cancellation: what every other header builds on.
 *
 * Functions that can fail return a cr_status and take a `cr_error *` as their last argument (NULL
 * if the caller does not want the text). There is no global error state. Nothing in the library
 * calls exit or abort because of a user's data. */
#ifndef CRAYON_STATUS_H
#define CRAYON_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define CR_API __attribute__((visibility("default")))
#else
#define CR_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum cr_status {
    CR_OK = 0,
    CR_ERR_ARGUMENT = 1,    /* the caller asked for something that makes no sense */
    CR_ERR_IO = 2,          /* a file could not be read or written */
    CR_ERR_FORMAT = 3,      /* a file's content is malformed */
    CR_ERR_UNSUPPORTED = 4, /* well formed, but uses something Crayon does not have */
    CR_ERR_MEMORY = 5,      /* an allocation failed */
    CR_ERR_LIMIT = 6,       /* a safety limit (size, rank, count) was exceeded */
    CR_ERR_CANCELLED = 7,   /* the progress callback asked to stop */
    CR_ERR_INTERNAL = 8     /* a broken invariant: a bug in Crayon */
} cr_status;

/* Detail of one failure. `message` is one line: what, where, what to do. */
typedef struct cr_error {
    cr_status status;
    char message[480];
} cr_error;

/* Short English name of a status ("ok", "malformed file", ...); never NULL. */
CR_API const char *cr_status_name(cr_status status);

/* Called now and then by long functions. `what` is a short noun ("calibrating"), `done` of `total`
 * units are finished (`total` 0: unknown). Return false to cancel: the function then cleans up
 * and returns CR_ERR_CANCELLED. May be called from the thread that called the function only. */
typedef bool (*cr_progress_fn)(void *user, const char *what, uint64_t done, uint64_t total);

typedef struct cr_progress {
    cr_progress_fn fn; /* NULL: no reports */
    void *user;
} cr_progress;

/* "0.1.0"; compare with CR_VERSION to find a header/library mismatch. */
#define CR_VERSION "0.1.0"
CR_API const char *cr_version(void);

#ifdef __cplusplus
}
#endif
#endif
