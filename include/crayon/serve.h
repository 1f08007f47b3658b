/* A live view in the browser: cr_live's frames on a small web server.
 *
 *     cr_server_options o = cr_server_options_default();
 *     o.address = "127.0.0.1:8080";
 *     cr_server_create(live, &o, &server, &err);
 *     cr_live_run(live, see, server, &err);            see() calls cr_server_show(server, frame)
 *     cr_server_free(&server);
 *
 *     GET  /            the page                       GET /detections   server-sent events, JSON
 *     GET  /stream      MJPEG (?side=versus)           GET /metrics      Prometheus text
 *     GET  /snapshot    the newest picture, JPEG       GET /state        JSON: settings and figures
 *     POST /settings    {"conf": .3, "iou": .5, "classes": [0, 2] or null}
 *
 * Each viewer has a thread of the server's and takes the newest frame when it is ready for one, so
 * slow ones slow nobody. Pictures are encoded once for all, and only while somebody looks. */
#ifndef CRAYON_SERVE_H
#define CRAYON_SERVE_H

#include "crayon/live.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cr_server_options {
    const char *address;      /* "HOST:PORT", ":PORT", "[::1]:PORT"; port 0: any free one */
    const char *token;        /* asked of everybody: ?token=..., or Authorization: Bearer ... */
    const char *title;        /* of the page */
    const char *const *names; /* of classes */
    size_t name_count;
    int class_count;
    const char *model, *versus; /* names of the models; versus NULL: one only */
    cr_detect_options detect;   /* what the sliders begin with */
    int viewers;                /* connections at a time; 128 */
} cr_server_options;
CR_API cr_server_options cr_server_options_default(void);

typedef struct cr_server cr_server;
/* Addresses of other than this machine need a token (CR_ERR_ARGUMENT). CR_ERR_IO: cannot be bound.
 * `live` gets the settings that viewers choose. */
CR_API cr_status cr_server_create(cr_live *live, const cr_server_options *options, cr_server **out,
                                  cr_error *err);
/* "http://127.0.0.1:8080/" */
CR_API const char *cr_server_url(const cr_server *server);
/* From cr_live_run's see(): the frame that viewers get next. Needs cr_live_options.pictures. */
CR_API void cr_server_show(cr_server *server, const cr_live_frame *frame);
CR_API void cr_server_free(cr_server **server);

#ifdef __cplusplus
}
#endif
#endif
