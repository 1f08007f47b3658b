/* crayon compare --certify: the table of tensors whose integers differ. */
#include "cli.h"

enum { SHOWN = 20 };

static void print_pair(const cr_parity *p, const char *what)
{
    printf("%s: %llu of %llu integer tensors identical", what, (unsigned long long)p->identical,
           (unsigned long long)p->tensors);
    if (p->differing)
        printf(", %llu of %llu codes differ", (unsigned long long)p->differing,
               (unsigned long long)p->elements);
    printf("; %llu of %llu float tensors\n", (unsigned long long)p->equal_floats,
           (unsigned long long)p->floats);
    if (!p->count) return;
    puts("  differing   elements  largest     why     from tie  tensor");
    for (size_t i = 0; i < p->count && i < SHOWN; i++) {
        const cr_tensor_parity *t = &p->list[i];
        const bool floats = t->why == CR_DIFFERENCE_FLOAT;
        printf("  %9llu %10llu  ", (unsigned long long)t->differing, (unsigned long long)t->elements);
        if (floats)
            printf("%7.1e  %6s  %9s  %s (%s)\n", t->steps, cr_difference_name(t->why), "", t->tensor, t->op);
        else
            printf("%7.0f  %6s  %9.1e  %s (%s)\n", t->steps, cr_difference_name(t->why), t->from_tie,
                   t->tensor, t->op);
    }
    if (p->count > SHOWN) printf("  and %zu more (--json has all)\n", p->count - SHOWN);
}

static void print_json_pair(cli_json *out, const char *key, const cr_parity *p)
{
    cli_json_open(out, key, '{');
    cli_json_integer(out, "tensors", (long long)p->tensors);
    cli_json_integer(out, "identical", (long long)p->identical);
    cli_json_integer(out, "elements", (long long)p->elements);
    cli_json_integer(out, "differing", (long long)p->differing);
    cli_json_integer(out, "floats", (long long)p->floats);
    cli_json_integer(out, "equal_floats", (long long)p->equal_floats);
    cli_json_open(out, "list", '[');
    for (size_t i = 0; i < p->count; i++) {
        const cr_tensor_parity *t = &p->list[i];
        cli_json_open(out, NULL, '{');
        cli_json_string(out, "tensor", t->tensor);
        cli_json_string(out, "node", t->node);
        cli_json_string(out, "op", t->op);
        cli_json_integer(out, "elements", (long long)t->elements);
        cli_json_integer(out, "differing", (long long)t->differing);
        cli_json_real(out, "steps", t->steps);
        cli_json_real(out, "from_tie", t->from_tie);
        cli_json_string(out, "why", cr_difference_name(t->why));
        cli_json_close(out, '}');
    }
    cli_json_close(out, ']');
    cli_json_close(out, '}');
}

static void print_json(const cr_certificate *c)
{
    cli_json out = {.out = stdout};
    cli_json_open(&out, NULL, '{');
    cli_json_integer(&out, "images", (long long)c->pictures);
    print_json_pair(&out, "a", &c->pair[CR_PARITY_A]);
    print_json_pair(&out, "b", &c->pair[CR_PARITY_B]);
    print_json_pair(&out, "files", &c->pair[CR_PARITY_FILES]);
    cli_json_close(&out, '}');
    putchar('\n');
}

cr_status cli_certify(const cr_model *a, const cr_model *b, const cr_image_list *pictures,
                      size_t limit, int threads, bool json, cr_error *err)
{
    cr_certificate c;
    const cr_progress progress = cli_progress();
    const cr_status st = cr_certify(a, b, pictures, limit, threads, &progress, &c, err);
    if (st != CR_OK) return st;
    if (json) {
        print_json(&c);
    } else {
        printf("certificate, %zu pictures, layer by layer from the same integers\n", c.pictures);
        print_pair(&c.pair[CR_PARITY_A], "A, session and reference");
        print_pair(&c.pair[CR_PARITY_B], "B, session and reference");
        print_pair(&c.pair[CR_PARITY_FILES], "A's session and B's reference");
    }
    cr_certificate_free(&c);
    return CR_OK;
}
