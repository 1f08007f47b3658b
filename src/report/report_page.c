/* The page around the sections: head, style, links, cards, facts, and the file.
 *
 * HTML is written as it comes into memory, by plain functions; a template language or a tree of
 * elements would be more code than the page. Whatever comes from files or from the user goes through
 * cr_report_text. The content security policy lets nothing be fetched, should a name slip through. */
#define _POSIX_C_SOURCE 200809L
#include "report/report_page.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "crayon/cpu.h"
#include "report_css.h"
#include "report_js.h"

/* ---- text ---- */

/* Bytes of the UTF-8 character at s, 0 if it is none (overlong forms, surrogates, beyond U+10FFFF), or
 * one that changes the direction of what follows. */
static size_t utf8_length(const unsigned char *s)
{
    const unsigned lead = s[0];
    const size_t n = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    if (lead == 0xe0 && s[1] < 0xa0) return 0;
    if (lead == 0xed && s[1] > 0x9f) return 0;
    if (lead == 0xe2 && s[1] == 0x80 && s[2] >= 0xaa && s[2] <= 0xae) return 0; /* turns text around */
    if (lead == 0xe2 && s[1] == 0x81 && s[2] >= 0xa6 && s[2] <= 0xa9) return 0;
    if (lead == 0xf0 && s[1] < 0x90) return 0;
    if (lead == 0xf4 && s[1] > 0x8f) return 0;
    return n;
}

static const char *entity(unsigned char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return c < 0x20 || c == 0x7f ? "\xef\xbf\xbd" : NULL;
    }
}

static void put_text(FILE *f, const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *)text;
    for (size_t i = 0; i < n;) {
        const size_t length = utf8_length(s + i);
        const char *replaced = length ? entity(s[i]) : "\xef\xbf\xbd";
        if (replaced)
            fputs(replaced, f);
        else
            fwrite(s + i, 1, length, f);
        i += length ? length : 1;
    }
}

void cr_report_text(FILE *f, const char *text)
{
    put_text(f, text, strlen(text));
}

static bool inside_character(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

void cr_report_name(FILE *f, const char *text, size_t most)
{
    const size_t n = strlen(text);
    if (n <= most) {
        put_text(f, text, n);
        return;
    }
    size_t head = most / 3, tail = n - (most - head);
    while (head && inside_character(text[head])) head--;
    while (tail < n && inside_character(text[tail])) tail++;
    put_text(f, text, head);
    fputs("\xe2\x80\xa6", f);
    put_text(f, text + tail, n - tail);
}

const char *cr_report_count(double n, char text[32])
{
    static const char *const suffixes[] = {"", " k", " M", " G", " T"};
    int k = 0;
    while (k < 4 && fabs(n) >= 1000) n /= 1000, k++;
    snprintf(text, 32, k && fabs(n) < 100 ? "%.1f%s" : "%.0f%s", n, suffixes[k]);
    return text;
}

/* ---- sections ---- */

void cr_report_begin(cr_report_page *p, const char *id, const char *title, const char *lead)
{
    if (p->sections < CR_REPORT_SECTIONS) {
        p->ids[p->sections] = id;
        p->titles[p->sections++] = title;
    }
    fprintf(p->body, "<section id=\"%s\"><h2>%s</h2>\n", id, title);
    if (lead) fprintf(p->body, "<p class=\"lead\">%s</p>\n", lead);
}

void cr_report_end(cr_report_page *p)
{
    fputs("</section>\n", p->body);
}

/* What has become better: green; worse: red; within a thousandth: neither. */
static void put_change(FILE *f, const cr_report_card *c)
{
    if (!isfinite(c->before) || !isfinite(c->after) || !(c->before > 0) || !(c->after > 0)) return;
    const double ratio = c->smaller_is_better ? c->before / c->after : c->after / c->before;
    const char *tone = ratio > 1.001 ? "good" : ratio < .999 ? "bad" : "";
    if (c->smaller_is_better)
        fprintf(f, "<span class=\"tag %s\">%.2f&times; %s</span>", tone, ratio >= 1 ? ratio : 1 / ratio,
                ratio >= 1 ? "less" : "more");
    else
        fprintf(f, "<span class=\"tag %s\">%+.*f</span>", tone, c->digits, c->after - c->before);
}

static void put_card(FILE *f, const cr_report_card *c)
{
    fputs("<div class=\"card\"><div class=\"name\">", f);
    cr_report_text(f, c->name);
    fputs("</div><div class=\"figure\">", f);
    if (isfinite(c->before)) fprintf(f, "<span class=\"was\">%.*f &rarr;</span> ", c->digits, c->before);
    if (isfinite(c->after))
        fprintf(f, "<b>%.*f</b> ", c->digits, c->after);
    else
        fputs("<b>&ndash;</b> ", f);
    fputs("<small>", f);
    cr_report_text(f, c->unit);
    fputs("</small></div>", f);
    put_change(f, c);
    if (*c->note) {
        fputs("<p>", f);
        cr_report_text(f, c->note);
        fputs("</p>", f);
    }
    fputs("</div>\n", f);
}

void cr_report_cards(cr_report_page *p, const cr_report_card *cards, size_t count)
{
    if (!count) return;
    fputs("<div class=\"cards\">\n", p->body);
    for (size_t i = 0; i < count; i++) put_card(p->body, &cards[i]);
    fputs("</div>\n", p->body);
}

void cr_report_facts(cr_report_page *p, const char *title, const cr_report_fact *facts, size_t count)
{
    cr_report_begin(p, "done", "What was done", NULL);
    fputs("<pre class=\"command\">", p->body);
    cr_report_text(p->body, p->command);
    fputs("</pre>\n", p->body);
    if (count) {
        fputs("<table class=\"facts\"><caption>", p->body);
        cr_report_text(p->body, title);
        fputs("</caption><tbody>\n", p->body);
    }
    for (size_t i = 0; i < count; i++) {
        fputs("<tr><th scope=\"row\">", p->body);
        cr_report_text(p->body, facts[i].name);
        fputs("</th><td>", p->body);
        cr_report_text(p->body, facts[i].value);
        fputs("</td></tr>\n", p->body);
    }
    if (count) fputs("</tbody></table>\n", p->body);
    cr_report_end(p);
}

/* ---- the whole ---- */

cr_status cr_report_open(const char *title, const char *command, cr_report_page **out, cr_error *err)
{
    *out = NULL;
    cr_report_page *p = cr_calloc(1, sizeof *p);
    if (!p) return CR_NOMEM(err);
    p->title = cr_arena_strdup(&p->arena, title);
    p->command = cr_arena_strdup(&p->arena, command);
    p->body = open_memstream(&p->bytes, &p->size);
    if (!p->title || !p->command || !p->body) {
        cr_report_close(&p);
        return CR_NOMEM(err);
    }
    *out = p;
    return CR_OK;
}

void cr_report_close(cr_report_page **page)
{
    cr_report_page *p = *page;
    if (!p) return;
    if (p->body) fclose(p->body);
    free(p->bytes);
    cr_arena_free(&p->arena);
    cr_free(p);
    *page = NULL;
}

static void put_head(FILE *f, const cr_report_page *p)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
          "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
          "<meta name=\"color-scheme\" content=\"light dark\">\n<title>",
          f);
    cr_report_text(f, p->title);
    fprintf(f, "</title>\n<style>\n%s</style></head><body>\n<header><div class=\"brand\">"
               "<i></i><i></i><i></i><i></i>crayon</div><h1>",
            (const char *)report_css);
    cr_report_text(f, p->title);
    fputs("</h1><p>", f);
    char day[64] = "";
    const time_t now = time(NULL);
    struct tm parts;
    if (gmtime_r(&now, &parts)) strftime(day, sizeof day, "%Y-%m-%d %H:%M UTC", &parts);
    fprintf(f, "%s &middot; crayon %s &middot; ", day, cr_version());
    cr_report_text(f, cr_cpu_name());
    fprintf(f, " (%s)</p><nav>", cr_cpu_level_name());
    for (size_t i = 0; i < p->sections; i++)
        fprintf(f, "<a href=\"#%s\">%s</a>", p->ids[i], p->titles[i]);
    fputs("</nav></header>\n<main>\n", f);
}

cr_status cr_report_save(cr_report_page *p, const char *path, cr_error *err)
{
    cr_outfile *file = NULL;
    if (fflush(p->body) || ferror(p->body)) return CR_NOMEM(err);
    CR_TRY(cr_outfile_open(path, &file, err));
    FILE *f = cr_outfile_stream(file);
    put_head(f, p);
    fwrite(p->bytes, 1, p->size, f);
    fprintf(f, "</main>\n<script>\n%s</script></body></html>\n", (const char *)report_js);
    return cr_outfile_commit(&file, err);
}
