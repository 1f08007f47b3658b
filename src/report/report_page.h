/* What the sections of a report are written with. */
#ifndef CR_REPORT_REPORT_PAGE_H
#define CR_REPORT_REPORT_PAGE_H

#include <stdio.h>

#include "base/error.h"
#include "base/mem.h"
#include "crayon/report.h"

enum { CR_REPORT_SECTIONS = 32 };

struct cr_report_page {
    cr_arena arena;
    const char *title, *command;
    FILE *body; /* in memory; failures show when the page is saved */
    char *bytes;
    size_t size;
    const char *ids[CR_REPORT_SECTIONS], *titles[CR_REPORT_SECTIONS];
    size_t sections;
};

/* Text of any origin: markup is escaped, control characters and what is not UTF-8 are replaced. Good
 * between tags and inside of double quotes. */
void cr_report_text(FILE *f, const char *text);
/* The same, the middle of long names left out. */
void cr_report_name(FILE *f, const char *text, size_t most);

/* `id` and `title` are constants of ours, lead is a sentence in HTML or NULL. */
void cr_report_begin(cr_report_page *page, const char *id, const char *title, const char *lead);
void cr_report_end(cr_report_page *page);

/* "1.2 k", "3.4 M". */
const char *cr_report_count(double n, char text[32]);

#endif
