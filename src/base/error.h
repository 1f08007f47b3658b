/* Error plumbing: the only way failures travel in this tree.
 *
 *     CR_CHECK(n > 0, err, CR_ERR_FORMAT, "%s: empty tensor", name);   fail unless the condition holds
 *     CR_TRY(cr_file_read(path, limit, &bytes, &size, err));           pass a failure on
 *
 * A function that owns things has one `goto done` clean-up label and uses CR_TRY_GOTO. */
#ifndef CR_BASE_ERROR_H
#define CR_BASE_ERROR_H

#include "crayon/status.h"

#if defined(__GNUC__)
#define CR_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define CR_PRINTF(fmt, args)
#endif

/* Fills *err (if not NULL) and returns `status`. The text is cut at the buffer's end, control
 * characters (names come from hostile files) are replaced by '?', so it always is one line. */
cr_status cr_fail(cr_error *err, cr_status status, const char *fmt, ...) CR_PRINTF(3, 4);

/* Puts "prefix: " in front of an existing message; returns err's status (or `status` without err). */
cr_status cr_fail_prefix(cr_error *err, cr_status status, const char *fmt, ...) CR_PRINTF(3, 4);

#define CR_CHECK(cond, err, status, ...)                                                           \
    do {                                                                                           \
        if (!(cond)) return cr_fail((err), (status), __VA_ARGS__);                                 \
    } while (0)

#define CR_TRY(expr)                                                                               \
    do {                                                                                           \
        const cr_status cr_try_st_ = (expr);                                                       \
        if (cr_try_st_ != CR_OK) return cr_try_st_;                                                \
    } while (0)

/* Needs a `cr_status st` in scope; jumps to `label` with st set when expr fails. */
#define CR_TRY_GOTO(expr, label)                                                                   \
    do {                                                                                           \
        st = (expr);                                                                               \
        if (st != CR_OK) goto label;                                                               \
    } while (0)

#define CR_NOMEM(err) cr_fail((err), CR_ERR_MEMORY, "out of memory (%s:%d)", __func__, __LINE__)

/* Reports progress; false means "cancelled". Safe with NULL. */
bool cr_report(const cr_progress *p, const char *what, uint64_t done, uint64_t total);

#endif
