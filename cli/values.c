/* Values of options, and what is wrong with them. Apart from common.c because the Python package takes
 * its options from the same table (plan_options.c) and hears of mistakes through its own cli_usage. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

bool cli_integer(const char *option, const char *text, long long low, long long high,
                 long long *out)
{
    char *end;
    errno = 0;
    *out = strtoll(text, &end, 10);
    if (end != text && !*end && !errno && *out >= low && *out <= high) return true;
    cli_usage("--%s: '%s' is not a whole number from %lld to %lld", option, text, low, high);
    return false;
}

bool cli_real(const char *option, const char *text, double low, double high, double *out)
{
    char *end;
    *out = strtod(text, &end);
    if (end != text && !*end && isfinite(*out) && *out >= low && *out <= high) return true;
    cli_usage("--%s: '%s' is not a number from %g to %g", option, text, low, high);
    return false;
}

bool cli_seed(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    if (*text >= '0' && *text <= '9' && !*end && !errno) return true;
    cli_usage("--seed: '%s' is not a whole number from 0 to 2^64 - 1", text);
    return false;
}

bool cli_choice(const char *option, const char *text, const char *const *values, int *out)
{
    char list[256] = "";
    for (int i = 0; values[i]; i++) {
        if (!strcmp(values[i], text)) {
            *out = i;
            return true;
        }
        const size_t n = strlen(list);
        snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "", values[i]);
    }
    cli_usage("--%s: no value '%s'; values: %s", option, text, list);
    return false;
}
