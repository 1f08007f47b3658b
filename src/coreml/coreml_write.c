/* The model around a program: features, metadata, and for detectors a pipeline with suppression.
 *
 * Pictures come in as 0..255 in [1, 3, H, W], whatever the program computes in; the first
 * operations subtract the mean and divide. */
#include <stdlib.h>
#include <string.h>

#include "coreml/mil_graph.h"

enum {
    ARRAY_FLOAT32 = 65568,
    ARRAY_INT32 = 131104,
    COLOUR_RGB = 20,
    COLOUR_BGR = 30,
    SPECIFICATION_OF_LEVEL = 1 /* CoreML5 came with specification 6 */
};

#define RAW_CONFIDENCE  "raw_confidence"
#define RAW_COORDINATES "raw_coordinates"
#define LABEL           "classLabel"
#define PROBABILITIES   "classLabel_probs"

typedef struct builder {
    cr_coreml_writer w;
    const cr_graph *g;
    const cr_coreml_options *o;
    CrCoreml__NamedValueType **inputs;
    const char **outputs; /* values that the program gives */
    size_t output_count;
} builder;

static void *take(builder *b, size_t n)
{
    void *p = cr_arena_alloc(&b->w.mil.arena, n);
    if (!p) b->w.mil.no_memory = true;
    return p;
}

#define NEW(b, var, type, init)                                                                    \
    type *var = take(b, sizeof *var);                                                              \
    if (!var) return NULL;                                                                         \
    init(var)

/* ---- the program's ends ---- */

static bool is_image(const builder *b, size_t i)
{
    return b->o->image && i == 0;
}

/* (pixels - mean) / div, where they are not 0 and 1; by channel where channels differ. */
static const char *per_channel(builder *b, const char *stem, const float *v, cr_mil_type type)
{
    const bool one = v[0] == v[1] && v[0] == v[2];
    if (one) return cr_mil_float(&b->w.mil, type, v[0]);
    const cr_tensor t = {.dtype = CR_DT_F32, .shape = {4, {1, 3, 1, 1}}, .data = (void *)v};
    const char *name = cr_mil_identifier(&b->w.mil, stem);
    cr_coreml_constant(&b->w, &t, type, name);
    return name;
}

static const char *prepare_step(builder *b, const char *op_type, const char *x, const char *y,
                                cr_mil_type type, const cr_shape *s)
{
    cr_mil *m = &b->w.mil;
    const char *name = cr_mil_identifier(m, op_type[0] == 's' ? "pixels_centred" : "pixels_scaled");
    cr_mil_op *op = cr_mil_begin(m, op_type, name, 2, 1);
    cr_mil_arg(m, op, "x", x);
    cr_mil_arg(m, op, "y", y);
    cr_mil_out(m, op, name, type, s);
    return name;
}

/* In the type that the first layer computes in: whole numbers to 255 are exact in float16 too. */
static void prepare_pixels(builder *b, const cr_tensor *t)
{
    const float *mean = b->o->mean, *div = b->o->div;
    cr_mil_type type = CR_MIL_F32;
    for (size_t i = 0; i < b->g->node_count && b->o->float32; i++)
        if (b->g->nodes[i]->in[0] == t) type = cr_coreml_floats(&b->w, b->g->nodes[i]);
    const char *x = cr_coreml_want(&b->w, t, type);
    if (mean[0] != 0 || mean[1] != 0 || mean[2] != 0)
        x = prepare_step(b, "sub", x, per_channel(b, "mean", mean, type), type, &t->shape);
    if (div[0] != 1 || div[1] != 1 || div[2] != 1)
        x = prepare_step(b, "real_div", x, per_channel(b, "deviation", div, type), type, &t->shape);
    cr_coreml_value *v = &b->w.values[t->id];
    memset(v->name, 0, sizeof v->name);
    v->native = type;
    v->name[type == CR_MIL_F16 ? CR_COREML_HALF : CR_COREML_FLOAT] = x;
}

static cr_status add_inputs(builder *b, cr_error *err)
{
    cr_mil *m = &b->w.mil;
    b->inputs = take(b, (b->g->input_count + 1) * sizeof *b->inputs);
    for (size_t i = 0; b->inputs && i < b->g->input_count; i++) {
        const cr_tensor *t = b->g->inputs[i];
        const cr_mil_type type = cr_coreml_type(t->dtype, CR_MIL_F32);
        CR_CHECK(type != CR_MIL_BOOL, err, CR_ERR_UNSUPPORTED, "input '%s': Core ML takes no bool",
                 t->name);
        CR_CHECK(cr_shape_known(&t->shape) && t->shape.rank <= 5, err, CR_ERR_UNSUPPORTED,
                 "input '%s': Core ML packages need fixed sizes of up to 5 dimensions", t->name);
        cr_coreml_value *v = &b->w.values[t->id];
        v->native = type;
        v->name[type == CR_MIL_F32 ? CR_COREML_FLOAT : CR_COREML_INT] = v->feature;
        b->inputs[i] = cr_mil_named_type(m, v->feature, cr_mil_tensor_type(m, type, &t->shape));
        if (is_image(b, i)) prepare_pixels(b, t);
    }
    return b->inputs && !m->no_memory ? CR_OK : CR_NOMEM(err);
}

/* Identifiers of inputs and outputs are taken before any other, so they are kept where they can be.
 */
static void name_features(builder *b)
{
    static const char *const raw[] = {RAW_CONFIDENCE, RAW_COORDINATES};
    const cr_graph *g = b->g;
    if (b->o->classifier) {
        cr_mil_identifier(&b->w.mil, LABEL);
        cr_mil_identifier(&b->w.mil, PROBABILITIES);
    }
    for (size_t i = 0; i < g->input_count; i++)
        b->w.values[g->inputs[i]->id].feature = cr_mil_identifier(&b->w.mil, g->inputs[i]->name);
    for (size_t i = 0; i < g->output_count; i++) {
        cr_coreml_value *v = &b->w.values[g->outputs[i]->id];
        const char *stem = b->o->suppress && i < 2 ? raw[i] : g->outputs[i]->name;
        if (!v->feature) v->feature = cr_mil_identifier(&b->w.mil, stem);
    }
}

static CrCoreml__ValueType *string_type(builder *b)
{
    return cr_mil_tensor_type(&b->w.mil, CR_MIL_STRING, &(cr_shape){0});
}

static CrCoreml__Value *label_list(builder *b)
{
    NEW(b, v, CrCoreml__Value, cr_coreml__value__init);
    NEW(b, type, CrCoreml__ValueType, cr_coreml__value_type__init);
    NEW(b, list, CrCoreml__ListType, cr_coreml__list_type__init);
    NEW(b, length, CrCoreml__Dimension, cr_coreml__dimension__init);
    NEW(b, size, CrCoreml__Dimension__Constant, cr_coreml__dimension__constant__init);
    NEW(b, now, CrCoreml__Value__Immediate, cr_coreml__value__immediate__init);
    NEW(b, values, CrCoreml__ListValue, cr_coreml__list_value__init);
    v->type = type;
    type->list_type = list;
    list->type = string_type(b);
    list->length = length;
    length->constant = size;
    size->has_size = true;
    size->size = b->o->label_count;
    v->immediate_value = now;
    now->list = values;
    values->values = take(b, b->o->label_count * sizeof *values->values + 1);
    if (!values->values) return NULL;
    for (size_t i = 0; i < b->o->label_count; i++)
        values->values[values->n_values++] = cr_mil_string_value(&b->w.mil, b->o->labels[i]);
    return v;
}

static CrCoreml__ValueType *probabilities_type(builder *b)
{
    NEW(b, v, CrCoreml__ValueType, cr_coreml__value_type__init);
    NEW(b, d, CrCoreml__DictionaryType, cr_coreml__dictionary_type__init);
    v->dictionary_type = d;
    d->key_type = string_type(b);
    d->value_type = cr_mil_tensor_type(&b->w.mil, CR_MIL_F64, &(cr_shape){0});
    return v;
}

/* The label in place of output 0. */
static void classify(builder *b)
{
    cr_mil *m = &b->w.mil;
    cr_mil_op *op = cr_mil_begin(m, "classify", LABEL, 2, 2);
    cr_mil_arg(m, op, "probabilities", b->outputs[0]);
    cr_mil_arg_value(m, op, "classes", label_list(b));
    CrCoreml__NamedValueType *label = cr_mil_named_type(m, LABEL, string_type(b));
    CrCoreml__NamedValueType *all = cr_mil_named_type(m, PROBABILITIES, probabilities_type(b));
    const char **outputs = take(b, 2 * sizeof *outputs);
    if (!op || !label || !all || !outputs) {
        m->no_memory = true;
        return;
    }
    op->outputs[op->n_outputs++] = label;
    op->outputs[op->n_outputs++] = all;
    outputs[0] = LABEL;
    outputs[1] = PROBABILITIES;
    b->outputs = outputs;
    b->output_count = 2;
}

static CrCoreml__Program *make_program(builder *b)
{
    NEW(b, p, CrCoreml__Program, cr_coreml__program__init);
    NEW(b, fe, CrCoreml__FunctionEntry, cr_coreml__function_entry__init);
    NEW(b, f, CrCoreml__Function, cr_coreml__function__init);
    NEW(b, be, CrCoreml__BlockEntry, cr_coreml__block_entry__init);
    NEW(b, block, CrCoreml__Block, cr_coreml__block__init);
    p->functions = take(b, sizeof *p->functions);
    f->block_specializations = take(b, sizeof *f->block_specializations);
    f->opset = cr_arena_printf(&b->w.mil.arena, "CoreML%d", b->w.level);
    if (!p->functions || !f->block_specializations || !f->opset) return NULL;
    p->has_version = true;
    p->version = 1;
    p->functions[p->n_functions++] = fe;
    fe->key = (char *)"main";
    fe->value = f;
    f->inputs = b->inputs;
    f->n_inputs = b->g->input_count;
    f->block_specializations[f->n_block_specializations++] = be;
    be->key = f->opset;
    be->value = block;
    block->outputs = (char **)b->outputs;
    block->n_outputs = b->output_count;
    block->operations = b->w.mil.ops;
    block->n_operations = b->w.mil.op_count;
    return p;
}

/* ---- features ---- */

static CrCoreml__FeatureDescription *feature(builder *b, const char *name, const char *what)
{
    NEW(b, f, CrCoreml__FeatureDescription, cr_coreml__feature_description__init);
    NEW(b, t, CrCoreml__FeatureType, cr_coreml__feature_type__init);
    f->name = (char *)name;
    f->short_description = (char *)what;
    f->type = t;
    return f;
}

static CrCoreml__FeatureDescription *array_feature(builder *b, const char *name, const char *what,
                                                   const cr_shape *s, bool floats)
{
    CrCoreml__FeatureDescription *f = feature(b, name, what);
    NEW(b, a, CrCoreml__ArrayFeature, cr_coreml__array_feature__init);
    if (!f) return NULL;
    f->type->multi_array_type = a;
    a->has_data_type = true;
    a->data_type = floats ? ARRAY_FLOAT32 : ARRAY_INT32;
    a->shape = take(b, (size_t)s->rank * sizeof *a->shape + 1);
    if (!a->shape) return NULL;
    a->n_shape = (size_t)s->rank;
    memcpy(a->shape, s->dim, a->n_shape * sizeof *a->shape);
    return f;
}

static CrCoreml__FeatureDescription *image_feature(builder *b, const char *name, const cr_shape *s)
{
    CrCoreml__FeatureDescription *f = feature(b, name, "the picture, fitted to this size");
    NEW(b, i, CrCoreml__ImageFeature, cr_coreml__image_feature__init);
    if (!f) return NULL;
    f->type->image_type = i;
    i->has_width = i->has_height = i->has_color_space = true;
    i->height = s->dim[2];
    i->width = s->dim[3];
    i->color_space = b->o->bgr ? COLOUR_BGR : COLOUR_RGB;
    return f;
}

static CrCoreml__FeatureDescription *number_feature(builder *b, const char *name, const char *what)
{
    CrCoreml__FeatureDescription *f = feature(b, name, what);
    NEW(b, d, CrCoreml__DoubleFeature, cr_coreml__double_feature__init);
    if (!f) return NULL;
    f->type->double_type = d;
    f->type->has_is_optional = f->type->is_optional = true;
    return f;
}

/* Any number of rows: what suppression leaves. */
static CrCoreml__FeatureDescription *rows_feature(builder *b, const char *name, const char *what,
                                                  int64_t columns)
{
    CrCoreml__FeatureDescription *f = array_feature(b, name, what, &(cr_shape){0}, true);
    NEW(b, r, CrCoreml__ArrayFeature__ShapeRange, cr_coreml__array_feature__shape_range__init);
    r->size_ranges = take(b, 2 * sizeof *r->size_ranges);
    if (!f || !r->size_ranges) return NULL;
    for (int i = 0; i < 2; i++) {
        NEW(b, s, CrCoreml__SizeRange, cr_coreml__size_range__init);
        s->has_lower_bound = s->has_upper_bound = true;
        s->lower_bound = i ? (uint64_t)columns : 0;
        s->upper_bound = i ? columns : -1;
        r->size_ranges[r->n_size_ranges++] = s;
    }
    f->type->multi_array_type->shape_range = r;
    return f;
}

static const char *first_of(const char *a, const char *b)
{
    return a ? a : b ? b : "";
}

static CrCoreml__Metadata *metadata(builder *b)
{
    const cr_graph *g = b->g;
    NEW(b, m, CrCoreml__Metadata, cr_coreml__metadata__init);
    m->short_description = (char *)first_of(b->o->description, cr_graph_meta(g, "description"));
    m->author = (char *)first_of(b->o->author, cr_graph_meta(g, "author"));
    m->license = (char *)first_of(b->o->license, cr_graph_meta(g, "license"));
    m->version_string = (char *)first_of(b->o->version, cr_graph_meta(g, "version"));
    m->user_defined = take(b, (g->meta_count + 2) * sizeof *m->user_defined);
    if (!m->user_defined) return NULL;
    for (size_t i = 0; i <= g->meta_count; i++) {
        NEW(b, e, CrCoreml__StringEntry, cr_coreml__string_entry__init);
        const bool own = i == g->meta_count;
        e->key = (char *)(own ? "com.github.apple.coremltools.source" : g->meta[2 * i]);
        e->value = (char *)(own ? "crayon " CR_VERSION : g->meta[2 * i + 1]);
        m->user_defined[m->n_user_defined++] = e;
    }
    return m;
}

static CrCoreml__ModelDescription *description(builder *b, size_t inputs, size_t outputs)
{
    NEW(b, d, CrCoreml__ModelDescription, cr_coreml__model_description__init);
    d->input = take(b, (inputs + 1) * sizeof *d->input);
    d->output = take(b, (outputs + 1) * sizeof *d->output);
    return d->input && d->output ? d : NULL;
}

static void add_input(CrCoreml__ModelDescription *d, CrCoreml__FeatureDescription *f)
{
    if (f) d->input[d->n_input++] = f;
}

static void add_output(CrCoreml__ModelDescription *d, CrCoreml__FeatureDescription *f)
{
    if (f) d->output[d->n_output++] = f;
}

static void describe_inputs(builder *b, CrCoreml__ModelDescription *d)
{
    for (size_t i = 0; i < b->g->input_count; i++) {
        const cr_tensor *t = b->g->inputs[i];
        const char *name = b->w.values[t->id].feature;
        add_input(d, is_image(b, i)
                         ? image_feature(b, name, &t->shape)
                         : array_feature(b, name, "", &t->shape, cr_dtype_is_float(t->dtype)));
    }
}

static CrCoreml__FeatureDescription *label_feature(builder *b)
{
    CrCoreml__FeatureDescription *f = feature(b, LABEL, "the likeliest class");
    NEW(b, s, CrCoreml__StringFeature, cr_coreml__string_feature__init);
    if (f) f->type->string_type = s;
    return f;
}

static CrCoreml__FeatureDescription *probabilities_feature(builder *b)
{
    CrCoreml__FeatureDescription *f = feature(b, PROBABILITIES, "probability of each class");
    NEW(b, d, CrCoreml__DictionaryFeature, cr_coreml__dictionary_feature__init);
    NEW(b, s, CrCoreml__StringFeature, cr_coreml__string_feature__init);
    d->string_key_type = s;
    if (f) f->type->dictionary_type = d;
    return f;
}

static void describe_outputs(builder *b, CrCoreml__ModelDescription *d)
{
    if (b->o->classifier) {
        add_output(d, label_feature(b));
        add_output(d, probabilities_feature(b));
        d->predicted_feature_name = (char *)LABEL;
        d->predicted_probabilities_name = (char *)PROBABILITIES;
        return;
    }
    for (size_t i = 0; i < b->g->output_count; i++) {
        const cr_tensor *t = b->g->outputs[i];
        add_output(d, array_feature(b, b->outputs[i], "", &t->shape, cr_dtype_is_float(t->dtype)));
    }
}

/* ---- models ---- */

static CrCoreml__Model *new_model(builder *b, CrCoreml__ModelDescription *d)
{
    NEW(b, m, CrCoreml__Model, cr_coreml__model__init);
    m->has_specification_version = true;
    m->specification_version = b->w.level + SPECIFICATION_OF_LEVEL;
    m->description = d;
    return d ? m : NULL;
}

static CrCoreml__Model *program_model(builder *b)
{
    CrCoreml__ModelDescription *d = description(b, b->g->input_count, b->g->output_count + 1);
    CrCoreml__Model *m = new_model(b, d);
    if (!m) return NULL;
    describe_inputs(b, d);
    describe_outputs(b, d);
    d->metadata = metadata(b);
    m->ml_program = make_program(b);
    return m->ml_program && d->metadata ? m : NULL;
}

#define IOU_NAME        "iouThreshold"
#define CONFIDENCE_NAME "confidenceThreshold"
#define IOU_TEXT        "boxes that overlap a better one by more are dropped; 0 to 1"
#define CONFIDENCE_TEXT "boxes below are dropped; 0 to 1"
#define SCORES_TEXT     "scores of each class, a row per box"
#define BOXES_TEXT      "centre x, y, width, height, as parts of the picture, a row per box"

static void threshold_inputs(builder *b, CrCoreml__ModelDescription *d)
{
    add_input(d, number_feature(b, IOU_NAME, IOU_TEXT));
    add_input(d, number_feature(b, CONFIDENCE_NAME, CONFIDENCE_TEXT));
}

static void suppressed_outputs(builder *b, CrCoreml__ModelDescription *d)
{
    add_output(d, rows_feature(b, "confidence", SCORES_TEXT, b->g->outputs[0]->shape.dim[1]));
    add_output(d, rows_feature(b, "coordinates", BOXES_TEXT, 4));
}

static CrCoreml__Model *suppression_model(builder *b)
{
    CrCoreml__ModelDescription *d = description(b, 4, 2);
    CrCoreml__Model *m = new_model(b, d);
    NEW(b, s, CrCoreml__NonMaximumSuppression, cr_coreml__non_maximum_suppression__init);
    NEW(b, pick, CrCoreml__NonMaximumSuppression__PickTop,
        cr_coreml__non_maximum_suppression__pick_top__init);
    NEW(b, labels, CrCoreml__StringVector, cr_coreml__string_vector__init);
    if (!m) return NULL;
    for (int i = 0; i < 2; i++)
        add_input(d, array_feature(b, b->outputs[i], "", &b->g->outputs[i]->shape, true));
    threshold_inputs(b, d);
    suppressed_outputs(b, d);
    m->non_maximum_suppression = s;
    pick->has_per_class = pick->per_class = true;
    s->pick_top = pick;
    labels->n_vector = b->o->label_count;
    labels->vector = (char **)b->o->labels;
    s->string_class_labels = labels;
    s->has_iou_threshold = s->has_confidence_threshold = true;
    s->iou_threshold = b->o->iou;
    s->confidence_threshold = b->o->confidence;
    s->confidence_input = (char *)b->outputs[0];
    s->coordinates_input = (char *)b->outputs[1];
    s->iou_threshold_input = (char *)IOU_NAME;
    s->confidence_threshold_input = (char *)CONFIDENCE_NAME;
    s->confidence_output = (char *)"confidence";
    s->coordinates_output = (char *)"coordinates";
    return m;
}

static CrCoreml__Model *pipeline_model(builder *b)
{
    CrCoreml__ModelDescription *d = description(b, b->g->input_count + 2, 2);
    CrCoreml__Model *m = new_model(b, d);
    NEW(b, p, CrCoreml__Pipeline, cr_coreml__pipeline__init);
    p->models = take(b, 2 * sizeof *p->models);
    p->names = take(b, 2 * sizeof *p->names);
    if (!m || !p->models || !p->names) return NULL;
    p->models[0] = program_model(b);
    p->models[1] = suppression_model(b);
    p->names[0] = (char *)"detector";
    p->names[1] = (char *)"suppression";
    p->n_models = p->n_names = 2;
    describe_inputs(b, d);
    threshold_inputs(b, d);
    suppressed_outputs(b, d);
    d->metadata = metadata(b);
    m->pipeline = p;
    return p->models[0] && p->models[1] && d->metadata ? m : NULL;
}

/* ---- everything ---- */

static cr_status check_options(const cr_graph *g, const cr_coreml_options *o, cr_error *err)
{
    const cr_shape *in = g->input_count ? &g->inputs[0]->shape : NULL;
    const cr_shape *out = g->output_count ? &g->outputs[0]->shape : NULL;
    CR_CHECK(in && out, err, CR_ERR_ARGUMENT, "a Core ML program needs an input and an output");
    CR_CHECK(!o->image || (in->rank == 4 && in->dim[0] == 1 && in->dim[1] == 3), err,
             CR_ERR_UNSUPPORTED, "input '%s' is no picture [1, 3, height, width]",
             g->inputs[0]->name);
    CR_CHECK(!o->classifier || cr_shape_count(out) == (int64_t)o->label_count, err, CR_ERR_ARGUMENT,
             "output '%s' has not one value per class", g->outputs[0]->name);
    CR_CHECK(!o->suppress ||
                 (g->output_count == 2 && out->rank == 2 && g->outputs[1]->shape.rank == 2 &&
                  g->outputs[1]->shape.dim[1] == 4 && out->dim[1] == (int64_t)o->label_count),
             err, CR_ERR_ARGUMENT, "suppression needs scores [N, classes] and boxes [N, 4]");
    return CR_OK;
}

static cr_status build(builder *b, CrCoreml__Model **out, cr_error *err)
{
    b->w.g = b->g;
    b->w.o = b->o;
    b->w.values = take(b, b->g->tensor_count * sizeof *b->w.values + 1);
    if (!b->w.values) return CR_NOMEM(err);
    CR_TRY(check_options(b->g, b->o, err));
    CR_TRY(cr_coreml_find_level(&b->w, err));
    name_features(b);
    CR_TRY(add_inputs(b, err));
    CR_TRY(cr_coreml_write_nodes(&b->w, &b->outputs, err));
    b->output_count = b->g->output_count;
    if (b->o->classifier) classify(b);
    *out = b->w.mil.no_memory ? NULL : b->o->suppress ? pipeline_model(b) : program_model(b);
    return *out && !b->w.mil.no_memory ? CR_OK : CR_NOMEM(err);
}

static cr_status pack(builder *b, const CrCoreml__Model *m, unsigned char **model,
                      size_t *model_size, unsigned char **weights, size_t *weights_size,
                      cr_error *err)
{
    *model_size = cr_coreml__model__get_packed_size(m);
    CR_CHECK(*model_size <= INT32_MAX, err, CR_ERR_LIMIT,
             "the program takes %zu bytes, protobuf ends at 2 GiB", *model_size);
    *model = cr_malloc(*model_size + 1);
    if (!*model) return CR_NOMEM(err);
    cr_coreml__model__pack(m, *model);
    *weights = b->w.mil.weights.bytes;
    *weights_size = b->w.mil.weights.size;
    b->w.mil.weights = (cr_blob_file){0};
    return CR_OK;
}

cr_status cr_coreml_serialize(const cr_graph *g, const cr_coreml_options *o, unsigned char **model,
                              size_t *model_size, unsigned char **weights, size_t *weights_size,
                              int *level, cr_error *err)
{
    static const cr_coreml_options defaults;
    builder b = {.g = g, .o = o ? o : &defaults};
    CrCoreml__Model *m = NULL;
    *model = *weights = NULL;
    *model_size = *weights_size = 0;
    cr_status st = build(&b, &m, err);
    if (st == CR_OK) st = pack(&b, m, model, model_size, weights, weights_size, err);
    if (level) *level = b.w.level;
    cr_mil_free(&b.w.mil);
    return st;
}

cr_status cr_coreml_write(const cr_graph *g, const cr_coreml_options *o, const char *path,
                          cr_error *err)
{
    unsigned char *model, *weights;
    size_t model_size, weights_size;
    cr_status st =
        cr_coreml_serialize(g, o, &model, &model_size, &weights, &weights_size, NULL, err);
    if (st == CR_OK) st = cr_coreml_package(path, model, model_size, weights, weights_size, err);
    cr_free(model);
    cr_free(weights);
    return st;
}
