/* The graph as a picture: a box per node, coloured by what it computes in; report.js zooms it. */
#include <string.h>

#include "graph/recipe.h"
#include "pipeline/model_impl.h"
#include "report/graph_layout.h"
#include "report/report_page.h"

enum { STEP = 58, BOX_W = 132, BOX_H = 34, MARGIN = 20, MOST_BOXES = 20000 };

typedef enum paint { PAINT_INT8, PAINT_INT4, PAINT_INT16, PAINT_FUSED, PAINT_WEIGHTS, PAINT_FLOAT, PAINT_PORT, PAINTS } paint;

static const struct {
    const char *style, *text;
} paints[PAINTS] = {{"q8", "8-bit integers"}, {"q4", "weights of fewer than 8 bits"}, {"q16", "16-bit integers"},
                    {"fu", "float, behind the sums of an integer layer"},
                    {"qw", "integer weights, float arithmetic"}, {"fl", "float"}, {"io", "input, output"}};

typedef struct drawing {
    const cr_graph *graph;             /* with the recipe's steps: what runs */
    const cr_recipe_entry **entries;   /* by tensor id */
    int inputs, nodes, all; /* boxes: inputs, nodes, outputs */
    cr_layout_edge *edges;
    size_t edge_count;
    cr_layout layout;
} drawing;

/* ---- from the graph to boxes and edges ---- */

static int box_of(const drawing *d, const cr_tensor *t)
{
    if (t->producer) return d->inputs + t->producer->index;
    for (int i = 0; i < d->inputs; i++)
        if (d->graph->inputs[i] == t) return i;
    return -1;
}

static void add_edge(drawing *d, const cr_tensor *t, int to)
{
    const int from = t ? box_of(d, t) : -1;
    if (from < 0) return;
    const size_t last = d->edge_count;
    for (size_t e = last; e-- > 0 && d->edges[e].to == to && last - e <= 64;)
        if (d->edges[e].from == from) return;
    d->edges[d->edge_count++] = (cr_layout_edge){.from = from, .to = to};
}

static cr_status find_edges(drawing *d, cr_error *err)
{
    const cr_graph *g = d->graph;
    size_t most = g->output_count + 1;
    for (size_t i = 0; i < g->node_count; i++) most += (size_t)g->nodes[i]->n_in;
    d->edges = cr_calloc(most, sizeof *d->edges);
    if (!d->edges) return CR_NOMEM(err);
    for (size_t i = 0; i < g->node_count; i++)
        for (int k = 0; k < g->nodes[i]->n_in; k++) add_edge(d, g->nodes[i]->in[k], d->inputs + (int)i);
    for (size_t i = 0; i < g->output_count; i++) add_edge(d, g->outputs[i], d->inputs + d->nodes + (int)i);
    return CR_OK;
}

/* ---- boxes ---- */

static const cr_recipe_entry *entry_of(const drawing *d, const cr_tensor *t)
{
    return t ? d->entries[t->id] : NULL;
}

static const cr_recipe_entry *weight_of(const drawing *d, const cr_node *n)
{
    return n->n_in > 1 && n->in[1] && n->in[1]->data ? entry_of(d, n->in[1]) : NULL;
}

/* An activation between the sums of an integer layer and codes: no tensor of floats need exist. */
static bool is_epilogue(const drawing *d, const cr_node *n)
{
    const cr_tensor *x = n->n_in ? n->in[0] : NULL;
    const cr_node *layer = x ? x->producer : NULL;
    return (n->op->flags & CR_OPF_UNARY) && layer && x->uses == 1 && weight_of(d, layer) && layer->in[0] &&
           entry_of(d, layer->in[0]);
}

/* What has no weight moves or maps what it reads. */
static paint paint_of(const drawing *d, const cr_node *n)
{
    const cr_recipe_entry *in = n->n_in ? entry_of(d, n->in[0]) : NULL, *weight = weight_of(d, n);
    if (weight && !in) return PAINT_WEIGHTS;
    if (!in && is_epilogue(d, n)) return PAINT_FUSED;
    if (!in || ((n->op->flags & CR_OPF_HEAVY) && !weight)) return PAINT_FLOAT;
    if (cr_dtype_size(in->q.type) > 1) return PAINT_INT16;
    const bool bytes = !weight || weight->q.type == CR_DT_I8 || weight->q.type == CR_DT_U8;
    return bytes ? PAINT_INT8 : PAINT_INT4;
}

static const char *type_of(const drawing *d, const cr_tensor *t)
{
    const cr_recipe_entry *e = entry_of(d, t);
    return e ? cr_dtype_key(e->q.type) : t ? cr_dtype_key(t->dtype) : "nothing";
}

static void put_box(FILE *f, const drawing *d, int box, paint p, const char *op, const char *shape)
{
    const double x = d->layout.x[box] - BOX_W / 2.0 + MARGIN;
    const int y = d->layout.rank[box] * STEP + MARGIN;
    fprintf(f, "<g class=\"%s\"><rect x=\"%.1f\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"6\"/><text x=\"%.1f\" "
               "y=\"%d\">", paints[p].style, x, y, BOX_W, BOX_H, x + BOX_W / 2.0, y + 15);
    cr_report_name(f, op, 18);
    fprintf(f, "</text><text class=\"s\" x=\"%.1f\" y=\"%d\">", x + BOX_W / 2.0, y + 28);
    cr_report_name(f, shape, 22);
    fputs("</text><title>", f);
}

static paint put_node(FILE *f, const drawing *d, const cr_node *n)
{
    char text[96];
    const cr_tensor *x = n->n_in ? n->in[0] : NULL, *y = n->n_out ? n->out[0] : NULL;
    const char *shape = y ? cr_shape_text(&y->shape, text, sizeof text) : "";
    const cr_recipe_entry *weight = weight_of(d, n);
    const uint64_t macs = cr_node_macs(n);
    const paint p = paint_of(d, n);
    put_box(f, d, d->inputs + n->index, p, n->op->name, shape);
    cr_report_text(f, n->name);
    fprintf(f, "\n%s %s\nreads %s, gives %s", n->op->name, shape, type_of(d, x), type_of(d, y));
    if (weight) fprintf(f, ", weights %s", cr_dtype_key(weight->q.type));
    if (macs) fprintf(f, "\n%s multiply-adds", cr_report_count((double)macs, text));
    fputs("</title></g>\n", f);
    return p;
}

static void put_port(FILE *f, const drawing *d, int box, const cr_tensor *t)
{
    char shape[96];
    put_box(f, d, box, PAINT_PORT, t->name, cr_shape_text(&t->shape, shape, sizeof shape));
    cr_report_text(f, t->name);
    fprintf(f, "\n%s %s</title></g>\n", cr_dtype_key(t->dtype), shape);
}

static void put_edge(FILE *f, const drawing *d, const cr_layout_edge *e)
{
    const cr_layout *l = &d->layout;
    double x = l->x[e->from] + MARGIN;
    int y = l->rank[e->from] * STEP + MARGIN + BOX_H;
    fprintf(f, "M%.0f %d", x, y);
    for (int i = 0; i <= e->ways; i++) {
        const double next = (i < e->ways ? l->way[e->first + (size_t)i] : l->x[e->to]) + MARGIN;
        const int top = (l->rank[e->from] + 1 + i) * STEP + MARGIN, middle = (y + top) / 2;
        fprintf(f, "C%.0f %d %.0f %d %.0f %d", x, middle, next, middle, next, top);
        if (i < e->ways) fprintf(f, "v%d", BOX_H);
        x = next;
        y = top + BOX_H;
    }
}

static void put_keys(FILE *f, const size_t seen[PAINTS])
{
    fputs("<p class=\"keys\">", f);
    for (int p = 0; p < PAINT_PORT; p++)
        if (seen[p])
            fprintf(f, "<span class=\"key\"><i class=\"%s\"></i>%s: %zu</span>", paints[p].style, paints[p].text,
                    seen[p]);
    fputs("</p>\n", f);
}

static void put_drawing(FILE *f, const drawing *d)
{
    const cr_graph *g = d->graph;
    size_t seen[PAINTS] = {0};
    const double width = d->layout.width + 2 * MARGIN;
    const int height = d->layout.ranks * STEP + 2 * MARGIN;
    fprintf(f, "<div class=\"zoomer\"><div class=\"buttons\"><button type=\"button\" data-zoom=\"in\" "
               "aria-label=\"closer\">+</button><button type=\"button\" data-zoom=\"out\" aria-label=\"farther\">"
               "&minus;</button><button type=\"button\" data-zoom=\"all\">all</button></div><svg id=\"net\" "
               "tabindex=\"0\" viewBox=\"0 0 %.0f %d\" data-w=\"%.0f\" data-h=\"%d\"><path class=\"edges\" d=\"",
            width, height, width, height);
    for (size_t e = 0; e < d->edge_count; e++) put_edge(f, d, &d->edges[e]);
    fputs("\"/>\n", f);
    for (int i = 0; i < d->inputs; i++) put_port(f, d, i, g->inputs[i]);
    for (size_t i = 0; i < g->node_count; i++) seen[put_node(f, d, g->nodes[i])]++;
    for (size_t i = 0; i < g->output_count; i++) put_port(f, d, d->inputs + d->nodes + (int)i, g->outputs[i]);
    fputs("</svg><p id=\"about\">Drag to move, wheel or two fingers to zoom, click on a node for what it is.</p></div>\n", f);
    put_keys(f, seen);
}

cr_status cr_report_graph(cr_report_page *p, const cr_model *m, cr_error *err)
{
    drawing d = {.graph = cr_model_graph(m)};
    const size_t all = d.graph->input_count + d.graph->node_count + d.graph->output_count;
    CR_TRY(cr_recipe_bind(m->recipe, d.graph, &d.entries, err));
    cr_report_begin(p, "graph", "Graph", NULL);
    cr_status st = all <= MOST_BOXES ? CR_OK : CR_ERR_LIMIT;
    if (st == CR_OK) {
        d.inputs = (int)d.graph->input_count;
        d.nodes = (int)d.graph->node_count;
        d.all = (int)all;
        st = find_edges(&d, err);
    }
    if (st == CR_OK) st = cr_layout_make(d.all, d.edges, d.edge_count, &d.layout, err);
    if (st == CR_OK) put_drawing(p->body, &d);
    if (st == CR_ERR_LIMIT) {
        fprintf(p->body, "<p class=\"lead\">Its %zu nodes are too many to be drawn.</p>\n", d.graph->node_count);
        st = CR_OK;
    }
    cr_report_end(p);
    cr_layout_free(&d.layout);
    cr_free(d.edges);
    cr_free(d.entries);
    return st;
}
