/* What is wrong with a quantized model, as text and as JSON: kinds, each with its places. */
#include <stdlib.h>

#include "cli.h"

enum { SHOWN = 3 };

cr_status cli_findings_get(cr_model *model, cli_findings *out, cr_error *err)
{
    return cr_model_findings(model, &out->list, &out->count, err);
}

void cli_findings_free(cli_findings *f)
{
    free(f->list);
    *f = (cli_findings){0};
}

/* The end of the run of one kind that begins at i. */
static size_t kind_end(const cli_findings *f, size_t i)
{
    size_t end = i;
    while (end < f->count && f->list[end].kind == f->list[i].kind) end++;
    return end;
}

void cli_findings_text(const cli_findings *f)
{
    size_t kinds = 0;
    for (size_t i = 0; i < f->count; i = kind_end(f, i)) kinds++;
    if (!f->count) return;
    printf("\nfindings       %zu kind%s in %zu place%s\n", kinds, kinds == 1 ? "" : "s", f->count,
           f->count == 1 ? "" : "s");
    for (size_t i = 0; i < f->count;) {
        const size_t end = kind_end(f, i), most = end - i > SHOWN + 1 ? i + SHOWN : end;
        const cr_finding *x = &f->list[i];
        printf("%s (%s): %s\n", x->key, x->harm, x->why);
        for (size_t k = i; k < most; k++)
            printf("  %s: %s\n", f->list[k].node, f->list[k].what);
        if (most < end) printf("  and %zu more (--json lists all)\n", end - most);
        printf("  mend: %s\n", x->mend);
        i = end;
    }
}

void cli_findings_json(cli_json *j, const cli_findings *f)
{
    static const char *const fixable[] = {"yes", "with pictures", "from the float model"};
    cli_json_open(j, "findings", '[');
    for (size_t i = 0; i < f->count; i++) {
        const cr_finding *x = &f->list[i];
        cli_json_open(j, NULL, '{');
        cli_json_string(j, "finding", x->key);
        cli_json_string(j, "harm", x->harm);
        cli_json_string(j, "node", x->node);
        cli_json_string(j, "tensor", x->tensor);
        cli_json_string(j, "what", x->what);
        cli_json_string(j, "why", x->why);
        cli_json_string(j, "mend", x->mend);
        cli_json_string(j, "fixable", fixable[x->fixable]);
        cli_json_close(j, '}');
    }
    cli_json_close(j, ']');
}

static size_t count_kind(const cli_findings *f, cr_finding_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < f->count; i++) n += f->list[i].kind == kind;
    return n;
}

void cli_findings_print_mended(const cli_findings *before, const cli_findings *after)
{
    size_t said = 0;
    fputs("mended      ", stdout);
    for (size_t i = 0; i < before->count; i = kind_end(before, i)) {
        const size_t had = count_kind(before, before->list[i].kind);
        const size_t has = count_kind(after, before->list[i].kind);
        if (has < had) printf("%s %s %zu", said++ ? "," : "", before->list[i].key, had - has);
    }
    puts(said ? "" : " nothing");
    if (!after->count) return;
    fputs("left        ", stdout);
    for (size_t i = 0; i < after->count; i = kind_end(after, i))
        printf("%s %s %zu", i ? "," : "", after->list[i].key, kind_end(after, i) - i);
    putchar('\n');
}
