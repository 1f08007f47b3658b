/* A folder of the test's own for a format of two files, the second one's name ending in .bin. Include
 * it behind cmocka.h and unistd.h. */
#ifndef TESTS_UNIT_PAIR_FOLDER_H
#define TESTS_UNIT_PAIR_FOLDER_H

#include <stdio.h>
#include <stdlib.h>

static char folder[64], path[96], bin[96];

static inline int make_pair_folder(const char *ending)
{
    snprintf(folder, sizeof folder, "/tmp/crayon-%s-XXXXXX", ending);
    if (!mkdtemp(folder)) return 1;
    snprintf(path, sizeof path, "%s/m.%s", folder, ending);
    snprintf(bin, sizeof bin, "%s/m.bin", folder);
    return 0;
}

static inline int drop_pair_folder(void **state)
{
    (void)state;
    remove(path);
    remove(bin);
    return rmdir(folder);
}

#endif
