/* quantize --max-drop, --int16-layers: pictures that judge, the search, and what it prints. */
#define _POSIX_C_SOURCE 200809L
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "crayon/cluster.h"
#include "plan_options.h"

const char cli_budget_help[] =
    "  --max-drop PTS       the cheapest precision of each layer (int4 weights, int8, int16\n"
    "                       activations, float) that loses at most PTS points (hundredths) of\n"
    "                       agreement with the float model, measured on half of the pictures,\n"
    "                       which calibration does not see, weighing by the time that each layer\n"
    "                       takes on this CPU; prints what it tried\n"
    "  --labels FILE        --max-drop is in points of mAP50-95 (instances.json, data.yaml)\n"
    "  --int16-layers N     at most N activations in 16 bits, those that matter most; alone: as\n"
    "                       many as that, all else as planned\n"
    "  --no-int4            --max-drop: no weights of 4 bits\n"
    "  --times FILE         --max-drop: use the times in FILE; if there is none, measure and\n"
    "                       write it. With it a plan does not depend on the machine's mood\n";

enum { OPT_MAX_DROP, OPT_LABELS, OPT_INT16_LAYERS, OPT_NO_INT4, OPT_TIMES, OPT_COUNT };

static const struct option names[OPT_COUNT] = {{"max-drop", required_argument, NULL, 0},
                                               {"labels", required_argument, NULL, 0},
                                               {"int16-layers", required_argument, NULL, 0},
                                               {"no-int4", no_argument, NULL, 0},
                                               {"times", required_argument, NULL, 0}};

enum { JUDGES = 128 }; /* pictures at most */

cli_budget cli_budget_default(void)
{
    cli_budget b = {.options = cr_budget_options_default()};
    b.options.max_drop = -1;
    return b;
}

void cli_budget_join(struct option *list)
{
    while (list->name) list++;
    for (int i = 0; i < OPT_COUNT; i++) {
        *list = names[i];
        list++->val = CLI_OPT_BUDGET + i;
    }
    *list = (struct option){0};
}

bool cli_budget_take(int code, cli_budget *b, int *status)
{
    long long n;
    *status = CLI_DONE;
    switch (code - CLI_OPT_BUDGET) {
    case OPT_MAX_DROP:
        if (!cli_real("max-drop", optarg, 0, 100, &b->options.max_drop)) *status = CLI_USAGE;
        return true;
    case OPT_LABELS:
        b->labels_path = optarg;
        return true;
    case OPT_INT16_LAYERS:
        if (cli_integer("int16-layers", optarg, 0, INT_MAX, &n))
            b->options.int16_layers = (long)n;
        else
            *status = CLI_USAGE;
        return true;
    case OPT_NO_INT4:
        b->options.no_int4 = true;
        return true;
    case OPT_TIMES:
        b->options.times = optarg;
        return true;
    default:
        return false;
    }
}

bool cli_budget_given(const cli_budget *b)
{
    return b->options.max_drop >= 0 || b->options.int16_layers >= 0;
}

int cli_budget_check(const cli_budget *b, bool calibrates, bool pictures)
{
    const bool budget = b->options.max_drop >= 0;
    if ((b->labels_path || b->options.no_int4 || b->options.times) && !budget)
        return cli_usage("--labels, --no-int4 and --times belong to --max-drop");
    if (!cli_budget_given(b)) return CLI_DONE;
    if (cr_cluster_size() > 1)
        return cli_usage("--max-drop and --int16-layers measure: they run in one process, without mpirun");
    if (!calibrates)
        return cli_usage("--max-drop and --int16-layers plan: not with this mode or --recipe");
    if (!pictures) return cli_usage("--images is missing: the loss is measured on pictures");
    return CLI_DONE;
}

/* A seeded generator of its own (splitmix64, Steele et al. 2014): the program sees no more of the
 * library than its users. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

cr_status cli_budget_divide(cli_budget *b, const cr_image_list *all, uint64_t seed, bool halve,
                            cr_image_list *calibration, cr_error *err)
{
    const size_t n = all->count;
    size_t want = halve ? n / 2 : n, left = n;
    if (want > JUDGES) want = JUDGES;
    uint64_t state = seed;
    b->apart = halve;
    b->judges.paths = calloc(n + 1, sizeof *b->judges.paths);
    if (!b->judges.paths) return cli_error(err, CR_ERR_MEMORY, "out of memory");
    for (size_t i = 0; i < n;
         i++, left--) { /* selection sampling: in order, each set equally likely */
        const bool mine = next_random(&state) % left < want - b->judges.count;
        cr_image_list *to = mine ? &b->judges : calibration;
        if (mine || halve) to->paths[to->count++] = all->paths[i];
    }
    if (b->judges.count && (calibration->count || !halve)) return CR_OK;
    return cli_error(err, CR_ERR_ARGUMENT,
                     "%zu pictures: a budget needs some to calibrate and others to measure", n);
}

cr_status cli_budget_plan(cli_budget *b, cr_model *model, const cr_stats *stats,
                          const cr_quantize_options *options, cr_error *err)
{
    const cr_progress progress = cli_progress();
    cr_status st = CR_OK;
    b->options.threads = options->threads;
    if (b->labels_path) st = cr_labels_load(b->labels_path, &b->labels, err);
    b->options.labels = b->labels;
    if (st == CR_OK)
        st = cr_quantize_within(model, stats, options, &b->judges, &b->options, &progress,
                                &b->report, err);
    cli_progress_clear();
    return st;
}

static int fastest_first(const void *a, const void *b)
{
    const cr_budget_point *x = a, *y = b;
    if (x->ms != y->ms) return x->ms < y->ms ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static void print_point(const cli_budget *b, const cr_budget_point *p)
{
    printf("%c %9.4f", p->chosen && !b->report.kept_float ? '*' : ' ',
           b->report.reference - p->drop / 100);
    if (isnan(p->deviation))
        fputs("            ", stdout);
    else
        printf(" +- %.4f   ", p->deviation / 100);
    printf("%9.3f ms %9.2f MB  %4zu %4zu %5zu %5zu\n", p->ms, (double)p->bytes / 1e6, p->int4,
           p->int8, p->int16, p->floats);
}

static bool beats(const cr_budget_point *a, const cr_budget_point *b)
{
    return a->drop <= b->drop && a->ms <= b->ms && a->bytes <= b->bytes &&
           (a->drop < b->drop || a->ms < b->ms || a->bytes < b->bytes);
}

/* Does no other plan that was tried beat it, or equal it before it? */
static bool is_pareto(const cr_budget_report *r, size_t i)
{
    const cr_budget_point *p = &r->points[i];
    for (size_t k = 0; k < r->count; k++) {
        const cr_budget_point *q = &r->points[k];
        const bool equal = q->drop == p->drop && q->ms == p->ms && q->bytes == p->bytes;
        if (beats(q, p) || (equal && k < i)) return false;
    }
    return true;
}

void cli_budget_print(const cli_budget *b)
{
    const cr_budget_report *r = &b->report;
    const char *what = b->labels ? "mAP50-95" : "agreement";
    printf("layers       %zu; %zu plans tried on %zu pictures%s; those that no other beats:\n",
           r->layers, r->count, r->pictures, b->apart ? " that calibration did not see" : "");
    printf("  %9s                 time      size      int4 int8 int16 float\n", what);
    qsort(r->points, r->count, sizeof *r->points, fastest_first);
    for (size_t i = 0; i < r->count; i++)
        if (r->points[i].chosen || is_pareto(r, i)) print_point(b, &r->points[i]);
    printf("%c %9.4f            %9.3f ms %9.2f MB  %4d %4d %5d %5zu\n", r->kept_float ? '*' : ' ',
           r->reference, r->float_ms, (double)r->float_bytes / 1e6, 0, 0, 0, r->layers);
    if (r->measured_ms > 0)
        printf("time         %.2f ms, float %.2f ms (whole runs in turn)\n", r->measured_ms,
               r->measured_float_ms);
    if (r->kept_float) printf("kept float   %s\n", r->why_float);
    if (!r->within) puts("budget       not met by any plan of these choices: this is the closest");
}

void cli_budget_free(cli_budget *b)
{
    free(b->judges.paths);
    cr_labels_free(&b->labels);
    cr_budget_report_free(&b->report);
}
