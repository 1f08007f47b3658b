/* A synthetic scene in three steps: shapes (what there is), scene (where it is and what is seen of
 * it), paint (pixels). Internal to the synthetic data set. */
#ifndef CR_VISION_SYNTH_SCENE_H
#define CR_VISION_SYNTH_SCENE_H

#include <cairo.h>

#include "base/error.h"
#include "base/rng.h"
#include "crayon/image.h"
#include "crayon/synth.h"

enum { CR_SHAPES = 5, CR_MAX_KEYPOINTS = 6, CR_MAX_INSTANCES = 10 };

typedef struct cr_point {
    double x, y;
} cr_point;

typedef struct cr_colour {
    double r, g, b; /* 0..1 */
} cr_colour;

/* One class. Coordinates are in a unit space in which the shape lies within the circle of diameter
 * 1 around the origin. `param` (0..1) varies the proportions of one instance. */
typedef struct cr_shape {
    const char *name;
    void (*outline)(cairo_t *cr, double param); /* appends one closed path */
    /* Details inside the outline (which is the clip), over the filled shape; may be NULL. */
    void (*detail)(cairo_t *cr, double param, cr_colour fill);
    double smallest;        /* diameter in pixels from which the shape can be told */
    int keypoints, turning; /* the first `turning` ones are interchangeable by rotation */
    const char *keypoint_names[CR_MAX_KEYPOINTS];
    cr_point keypoint[CR_MAX_KEYPOINTS];
    int bones, bone[CR_MAX_KEYPOINTS][2]; /* skeleton: 1-based keypoints */
} cr_shape;

extern const cr_shape cr_shapes[CR_SHAPES];

typedef struct cr_polygon {
    cr_point *at;
    size_t count, capacity;
} cr_polygon;

typedef struct cr_instance {
    const cr_shape *shape;
    double param;
    cairo_matrix_t place; /* unit space -> pixels */
    cr_colour fill, second;
    int style;          /* see synth_paint.c */
    cr_polygon outline; /* inside the picture, 0.01 px grid */
    double x1, y1, x2, y2, area;
    cr_point keypoint[CR_MAX_KEYPOINTS];
    int visible[CR_MAX_KEYPOINTS]; /* COCO: 0 outside, 1 covered, 2 visible */
} cr_instance;

/* Instances in drawing order: later ones lie above. */
typedef struct cr_scene {
    int width, height;
    cr_colour sky, ground; /* ends of the background's gradient */
    cr_instance instance[CR_MAX_INSTANCES];
    int count;
} cr_scene;

/* Draws lots for a whole scene. `index` chooses the class when the task is CLASSIFY. */
cr_status cr_scene_make(cr_rng *rng, const cr_synth_options *options, int index, cr_scene *scene,
                        cr_error *err);
void cr_scene_free(cr_scene *scene);

/* Renders the scene, with clutter, blur and noise, into a new picture. */
cr_status cr_scene_paint(const cr_scene *scene, cr_rng *rng, cr_image *out, cr_error *err);

cr_colour cr_colour_random(cr_rng *rng);
double cr_colour_distance(cr_colour a, cr_colour b);

/* What a camera does to a picture: defocus, exposure, sensor noise; each only sometimes. */
cr_status cr_degrade(cr_image *img, cr_rng *rng, cr_error *err);

#endif
