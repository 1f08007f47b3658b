/* A classifier's answers beside the labels' or another model's: which class is taken for which, and the
 * pictures where the two differ.
 *
 * Pairs (left, right) are sorted and counted, so memory goes by pictures, not by the square of the
 * classes; the square is shown where it fits on a page. */
#include <stdlib.h>
#include <string.h>

#include "report/report_image.h"
#include "report/report_page.h"

enum { SQUARE_MAX = 24, PAIRS_MAX = 12, LARGEST = 320, NAME_MAX_CHARS = 24 };

typedef struct pair {
    int left, right;
    size_t count;
} pair;

typedef struct confusion {
    const cr_report_answers *a;
    pair *pairs; /* by left, then right */
    size_t count;
    size_t *left, *right, *same; /* per class, the last one: none of them */
    size_t equal;
} confusion;

static int by_classes(const void *x, const void *y)
{
    const pair *a = x, *b = y;
    if (a->left != b->left) return a->left < b->left ? -1 : 1;
    return (a->right > b->right) - (a->right < b->right);
}

static int by_count(const void *x, const void *y)
{
    const pair *a = x, *b = y;
    return a->count != b->count ? (a->count > b->count ? -1 : 1) : by_classes(x, y);
}

/* Classes from 0 on; name_count: none of them. */
static int class_of(const cr_report_answers *a, int k)
{
    return k < 0 || (size_t)k >= a->name_count ? (int)a->name_count : k;
}

static bool differs(const cr_report_answers *a, size_t picture)
{
    return class_of(a, a->left[picture]) != class_of(a, a->right[picture]);
}

static void confusion_free(confusion *c)
{
    cr_free(c->pairs);
    cr_free(c->left);
    cr_free(c->right);
    cr_free(c->same);
}

static cr_status count_pairs(const cr_report_answers *a, confusion *c, cr_error *err)
{
    const size_t classes = a->name_count + 1;
    *c = (confusion){.a = a,
                     .pairs = cr_calloc(a->count + 1, sizeof *c->pairs),
                     .left = cr_calloc(classes, sizeof *c->left),
                     .right = cr_calloc(classes, sizeof *c->right),
                     .same = cr_calloc(classes, sizeof *c->same)};
    if (!c->pairs || !c->left || !c->right || !c->same) return CR_NOMEM(err);
    for (size_t i = 0; i < a->count; i++) {
        const pair p = {class_of(a, a->left[i]), class_of(a, a->right[i]), 1};
        c->pairs[i] = p;
        c->left[p.left]++;
        c->right[p.right]++;
        c->same[p.left] += p.left == p.right;
        c->equal += p.left == p.right;
    }
    qsort(c->pairs, a->count, sizeof *c->pairs, by_classes);
    for (size_t i = 0; i < a->count; i++) {
        pair *last = c->count ? &c->pairs[c->count - 1] : NULL;
        if (last && !by_classes(last, &c->pairs[i]))
            last->count++;
        else
            c->pairs[c->count++] = c->pairs[i];
    }
    return CR_OK;
}

static void put_class(FILE *f, const cr_report_answers *a, int k)
{
    if ((size_t)k < a->name_count)
        cr_report_name(f, a->names[k], NAME_MAX_CHARS);
    else
        fputs("<i>another</i>", f);
}

static void put_share(FILE *f, size_t part, size_t whole)
{
    if (whole)
        fprintf(f, "<td class=\"n\">%.3f</td>", (double)part / (double)whole);
    else
        fputs("<td class=\"n\">&ndash;</td>", f);
}

/* ---- the square ---- */

static size_t count_of(const confusion *c, int left, int right)
{
    const pair key = {left, right, 0};
    const pair *found = bsearch(&key, c->pairs, c->count, sizeof key, by_classes);
    return found ? found->count : 0;
}

static void put_cell(FILE *f, const confusion *c, int left, int right)
{
    const size_t n = count_of(c, left, right);
    if (!n) {
        fputs("<td class=\"n cell\"></td>", f);
        return;
    }
    const int percent = (int)(70.0 * (double)n / (double)c->left[left] + .5);
    fprintf(f, "<td class=\"n cell %s\" style=\"--v:%d%%\">%zu</td>", left == right ? "same" : "other",
            percent, n);
}

/* Rows: the left side; columns: the right one. Classes that neither has are left out. */
static void put_square(FILE *f, const confusion *c)
{
    const int n = (int)c->a->name_count + 1;
    fputs("<div class=\"wide\"><table class=\"square\"><thead><tr><th>", f);
    cr_report_text(f, c->a->left_name);
    fputs(" &darr; ", f);
    cr_report_text(f, c->a->right_name);
    fputs(" &rarr;</th>", f);
    for (int k = 0; k < n; k++) {
        if (!c->left[k] && !c->right[k]) continue;
        fputs("<th class=\"n\">", f);
        put_class(f, c->a, k);
        fputs("</th>", f);
    }
    fputs("</tr></thead><tbody>\n", f);
    for (int k = 0; k < n; k++) {
        if (!c->left[k]) continue;
        fputs("<tr><th scope=\"row\">", f);
        put_class(f, c->a, k);
        fputs("</th>", f);
        for (int i = 0; i < n; i++)
            if (c->left[i] || c->right[i]) put_cell(f, c, k, i);
        fputs("</tr>\n", f);
    }
    fputs("</tbody></table></div>\n", f);
}

/* ---- tables ---- */

static cr_status put_pairs(FILE *f, const confusion *c, cr_error *err)
{
    pair *list = cr_calloc(c->count + 1, sizeof *list);
    size_t n = 0;
    if (!list) return CR_NOMEM(err);
    for (size_t i = 0; i < c->count; i++)
        if (c->pairs[i].left != c->pairs[i].right) list[n++] = c->pairs[i];
    if (n) qsort(list, n, sizeof *list, by_count);
    if (n) fputs("<div class=\"wide\"><table><caption>Most often confused</caption><thead><tr><th>", f);
    if (n) cr_report_text(f, c->a->left_name);
    if (n) fputs("</th><th>", f);
    if (n) cr_report_text(f, c->a->right_name);
    if (n) fputs("</th><th class=\"n\">pictures</th><th class=\"n\">of</th></tr></thead><tbody>\n", f);
    for (size_t i = 0; i < n && i < PAIRS_MAX; i++) {
        fputs("<tr><td>", f);
        put_class(f, c->a, list[i].left);
        fputs("</td><td>", f);
        put_class(f, c->a, list[i].right);
        fprintf(f, "</td><td class=\"n\">%zu</td><td class=\"n\">%zu</td></tr>\n", list[i].count,
                c->left[list[i].left]);
    }
    if (n) fputs("</tbody></table></div>\n", f);
    cr_free(list);
    return CR_OK;
}

static void put_classes(cr_report_page *p, const confusion *c)
{
    FILE *f = p->body;
    cr_report_begin(p, "classes", "Classes", "Recall: of the pictures of a class, the share that was found as "
                                             "such. Precision: of those found as such, the share that is right. A "
                                             "click on a heading sorts.");
    fputs("<div class=\"wide tall\"><table class=\"sort\"><thead><tr><th>class</th><th class=\"n\">pictures</th>"
          "<th class=\"n\">recall</th><th class=\"n\">precision</th></tr></thead><tbody>\n", f);
    for (size_t k = 0; k < c->a->name_count; k++) {
        if (!c->left[k] && !c->right[k]) continue;
        fputs("<tr><td>", f);
        put_class(f, c->a, (int)k);
        fprintf(f, "</td><td class=\"n\">%zu</td>", c->left[k]);
        put_share(f, c->same[k], c->left[k]);
        put_share(f, c->same[k], c->right[k]);
        fputs("</tr>\n", f);
    }
    fputs("</tbody></table></div>\n", f);
    cr_report_end(p);
}

/* ---- pictures ---- */

typedef struct mistake {
    size_t picture;
    double sure;
} mistake;

static int surest_first(const void *x, const void *y)
{
    const mistake *a = x, *b = y;
    if (a->sure != b->sure) return a->sure > b->sure ? -1 : 1;
    return (a->picture > b->picture) - (a->picture < b->picture);
}

static void put_answer(FILE *f, const cr_report_answers *a, const char *who, int k, const float *score)
{
    fputs("<div>", f);
    cr_report_text(f, who);
    fputs(": ", f);
    put_class(f, a, class_of(a, k));
    if (score) fprintf(f, " %.2f", (double)*score);
    fputs("</div>", f);
}

static cr_status put_mistake(FILE *f, const cr_report_answers *a, size_t i, cr_error *err)
{
    const char *path = a->paths[i], *slash = strrchr(path, '/');
    cr_image img;
    double fx, fy;
    CR_TRY(cr_report_image_read(path, LARGEST, &img, &fx, &fy, err));
    fputs("<figure class=\"answer\">", f);
    const cr_status st = cr_report_image_put(f, path, &img, err);
    fputs("<figcaption><b>", f);
    cr_report_name(f, slash ? slash + 1 : path, 40);
    fputs("</b>", f);
    put_answer(f, a, a->left_name, a->left[i], a->left_score ? &a->left_score[i] : NULL);
    put_answer(f, a, a->right_name, a->right[i], a->right_score ? &a->right_score[i] : NULL);
    fputs("</figcaption></figure>\n", f);
    cr_image_free(&img);
    return st;
}

static cr_status put_mistakes(cr_report_page *p, const confusion *c, size_t most, cr_error *err)
{
    const cr_report_answers *a = c->a;
    mistake *list = cr_calloc(a->count + 1, sizeof *list);
    size_t n = 0;
    if (!list) return CR_NOMEM(err);
    for (size_t i = 0; i < a->count; i++)
        if (differs(a, i)) list[n++] = (mistake){i, a->right_score ? (double)a->right_score[i] : 0};
    if (n) qsort(list, n, sizeof *list, surest_first);
    cr_report_begin(p, "pictures", "Pictures", NULL);
    fprintf(p->body, "<p class=\"lead\">Where the two differ: %zu of %zu pictures, the surest answers first.</p>\n"
                     "<div class=\"grid\">\n", n, a->count);
    cr_status st = CR_OK;
    for (size_t i = 0; i < n && i < most && st == CR_OK; i++) st = put_mistake(p->body, a, list[i].picture, err);
    fputs("</div>\n", p->body);
    cr_report_end(p);
    cr_free(list);
    return st;
}

cr_status cr_report_confusion(cr_report_page *p, const cr_report_answers *a, size_t most, cr_error *err)
{
    confusion c = {.a = a};
    if (!a->count) return CR_OK;
    cr_status st = count_pairs(a, &c, err);
    if (st == CR_OK) {
        cr_report_begin(p, "confusion", "Confusion", NULL);
        fputs("<p class=\"lead\">", p->body);
        cr_report_text(p->body, a->left_name);
        fputs(" and ", p->body);
        cr_report_text(p->body, a->right_name);
        fprintf(p->body, " name the same class on %zu of %zu pictures.</p>\n", c.equal, a->count);
        if (a->name_count <= SQUARE_MAX) put_square(p->body, &c);
        st = put_pairs(p->body, &c, err);
        cr_report_end(p);
    }
    if (st == CR_OK) put_classes(p, &c);
    if (st == CR_OK) st = put_mistakes(p, &c, most, err);
    confusion_free(&c);
    return st;
}
