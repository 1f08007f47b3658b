#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *cr_version(void) { return CR_VERSION; }

const char *cr_status_name(cr_status status)
{
    switch (status) {
    case CR_OK: return "ok";
    case CR_ERR_ARGUMENT: return "bad argument";
    case CR_ERR_IO: return "input/output error";
    case CR_ERR_FORMAT: return "malformed data";
    case CR_ERR_UNSUPPORTED: return "unsupported";
    case CR_ERR_MEMORY: return "out of memory";
    case CR_ERR_LIMIT: return "limit exceeded";
    case CR_ERR_CANCELLED: return "cancelled";
    case CR_ERR_INTERNAL: return "internal error";
    }
    return "unknown status";
}

static void one_line(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f) *text = '?';
}

cr_status cr_fail(cr_error *err, cr_status status, const char *fmt, ...)
{
    if (!err) return status;
    va_list args;
    va_start(args, fmt);
    err->status = status;
    vsnprintf(err->message, sizeof err->message, fmt, args);
    va_end(args);
    one_line(err->message);
    return status;
}

cr_status cr_fail_prefix(cr_error *err, cr_status status, const char *fmt, ...)
{
    if (!err) return status;
    char prefix[256], old[sizeof err->message];
    va_list args;
    va_start(args, fmt);
    vsnprintf(prefix, sizeof prefix, fmt, args);
    va_end(args);
    memcpy(old, err->message, sizeof old);
    old[sizeof old - 1] = 0;
    return cr_fail(err, status, "%s: %s", prefix, old);
}

bool cr_report(const cr_progress *p, const char *what, uint64_t done, uint64_t total)
{
    return !p || !p->fn || p->fn(p->user, what, done, total);
}
