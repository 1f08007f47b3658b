/* The table of file formats: one row says how a format's content is recognized, read and written.
 *
 * A reader gives the graph that is in the file in ONNX's terms: operators of graph/ops.inc, NCHW,
 * metadata in the graph, names kept. What is quantized stands in it as QuantizeLinear and
 * DequantizeLinear, as in a QDQ file: preparation and cr_qdq_read take float graph and recipe out of
 * that, the same way for every format. (Rejected: a reader that gives float graph and recipe itself;
 * preparation renames and removes the tensors that the recipe would name.)
 *
 * A writer is given the model: cr_model_graph and the recipe, or `stored` where there is none. */
#ifndef CR_PIPELINE_FORMATS_H
#define CR_PIPELINE_FORMATS_H

#include "crayon/quantize.h"
#include "pipeline/model_impl.h"

enum { CR_FORMAT_HEAD = 64 };

typedef struct cr_format_probe {
    const char *path;
    bool folder;
    unsigned char head[CR_FORMAT_HEAD]; /* the first bytes of a file */
    size_t size;                        /* how many there are, up to CR_FORMAT_HEAD */
} cr_format_probe;

typedef struct cr_format {
    const char *name;   /* "ONNX" */
    const char *key;    /* as --format names it: "qdq" */
    const char *ending; /* ".onnx"; where two rows have one ending, it means the first */
    /* NULL: the content does not tell; the ending decides. */
    bool (*recognize)(const cr_format_probe *probe);
    /* NULL: not read. The graph is indexed; shapes are not inferred. */
    cr_status (*read)(const char *path, const cr_model_options *o, cr_graph **out, cr_error *err);
    /* NULL: not written. The file appears complete or not at all. options is never NULL. */
    cr_status (*write)(const cr_model *m, const cr_export_options *options, const char *path,
                       cr_error *err);
} cr_format;

/* By content first, then by ending; a file that is neither is read as ONNX, whose reader says what is
 * wrong with it. CR_ERR_IO if it cannot be opened, CR_ERR_UNSUPPORTED for a format that is only written. */
cr_status cr_format_of_file(const char *path, const cr_format **out, cr_error *err);

/* By options->format, else by the ending of path. CR_ERR_ARGUMENT names the formats that there are. */
cr_status cr_format_for_export(const char *path, const cr_export_options *options,
                               const cr_format **out, cr_error *err);

#endif
