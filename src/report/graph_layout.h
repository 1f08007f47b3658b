/* Places for the nodes of a directed acyclic graph in layers, and ways for its edges. */
#ifndef CR_REPORT_GRAPH_LAYOUT_H
#define CR_REPORT_GRAPH_LAYOUT_H

#include "base/error.h"

typedef struct cr_layout_edge {
    int from, to;     /* nodes; from < to */
    size_t first;     /* of its ways */
    int ways;         /* points between its ends, one per layer that it crosses */
} cr_layout_edge;

typedef struct cr_layout {
    int *rank;        /* by node, 0 at the top */
    double *x;        /* by node, its centre; >= 0 */
    double *way;      /* x of each way, in the order of edges and layers */
    int ranks;
    double width;     /* of the whole */
} cr_layout;

enum { CR_LAYOUT_NODE = 150, CR_LAYOUT_WAY = 16 }; /* widths, with the room beside them */

/* Nodes are 0..nodes-1 in a topological order. Fills first and ways of the edges. CR_ERR_LIMIT: too
 * large to be drawn with any sense. Free *out in any case. */
cr_status cr_layout_make(int nodes, cr_layout_edge *edges, size_t edge_count, cr_layout *out,
                         cr_error *err);
void cr_layout_free(cr_layout *layout);

#endif
