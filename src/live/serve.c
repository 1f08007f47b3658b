/* The live view: libmicrohttpd, one thread per connection, so that a viewer who reads slowly blocks
 * its own thread and nothing else.
 *
 * Requests are hostile. Paths are compared with a short list and never touch the file system;
 * bodies have at most 4 kB; headers are limited by libmicrohttpd's memory per connection. Without a
 * token only this machine is served, under a name of its own (so that a web page elsewhere cannot
 * reach it by a name that resolves to 127.0.0.1), and settings are taken from pages of the same
 * origin alone. */
#define _POSIX_C_SOURCE 200809L
#include "crayon/serve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"
#include "live/serve_state.h"
#include "live_page.h"

enum { MAX_BODY = 4096, VIEWERS = 128, IDLE_S = 30, CONNECTION_MEMORY = 32768 };

struct cr_server {
    struct MHD_Daemon *daemon;
    cr_live *live;
    cr_server_options o;
    char *token, *title, *model, *versus;
    char url[128];
    bool local; /* bound to this machine alone */
    cr_board board;
    bool has_board;
    pthread_mutex_t lock; /* of o.detect */
    int *classes;
};

cr_server_options cr_server_options_default(void)
{
    return (cr_server_options){.address = "127.0.0.1:8080",
                               .title = "Crayon",
                               .model = "",
                               .detect = cr_detect_options_default(),
                               .viewers = VIEWERS};
}

/* ---- JSON ---- */

static json_t *detection_json(const cr_server *s, const cr_detection *d)
{
    const char *name = (size_t)d->class_id < s->o.name_count ? s->o.names[d->class_id] : "";
    json_t *j = json_pack("{s:i, s:s, s:f, s:[f,f,f,f]}", "class", d->class_id, "name", name,
                          "score", (double)d->score, "box", (double)d->box[0], (double)d->box[1],
                          (double)d->box[2], (double)d->box[3]);
    if (j && d->track) json_object_set_new(j, "id", json_integer(d->track));
    return j;
}

static json_t *detections_json(const cr_server *s, const cr_detections *found)
{
    json_t *list = json_array();
    for (size_t i = 0; i < found->count; i++)
        json_array_append_new(list, detection_json(s, &found->items[i]));
    return list;
}

static char *frame_json(const cr_server *s, const cr_live_frame *f)
{
    json_t *j = json_pack("{s:I, s:f, s:i, s:i, s:f, s:f, s:f, s:I, s:i, s:o}", "frame",
                          (json_int_t)f->index, "time", f->time, "width", f->width, "height",
                          f->height, "fps", f->fps, "model_ms", f->model_ms, "latency_ms",
                          f->latency_ms, "dropped", (json_int_t)f->dropped, "losses", f->losses,
                          "detections", detections_json(s, f->found));
    if (j && f->versus_found)
        json_object_set_new(j, "versus",
                            json_pack("{s:f, s:o}", "model_ms", f->versus_ms, "detections",
                                      detections_json(s, f->versus_found)));
    char *text = j ? json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(7)) : NULL;
    json_decref(j);
    return text;
}

static char *state_json(cr_server *s)
{
    json_t *names = json_array(), *classes = json_null();
    for (size_t i = 0; i < s->o.name_count; i++)
        json_array_append_new(names, json_string(s->o.names[i]));
    pthread_mutex_lock(&s->lock);
    const cr_detect_options d = s->o.detect;
    if (d.class_count) {
        classes = json_array();
        for (size_t i = 0; i < d.class_count; i++)
            json_array_append_new(classes, json_integer(s->classes[i]));
    }
    pthread_mutex_unlock(&s->lock);
    json_t *j =
        json_pack("{s:s, s:s, s:o, s:f, s:f, s:o}", "title", s->title, "model", s->model, "names",
                  names, "conf", (double)d.conf, "iou", (double)d.iou, "classes", classes);
    if (j && s->versus) json_object_set_new(j, "versus", json_string(s->versus));
    char *text = j ? json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(7)) : NULL;
    json_decref(j);
    return text;
}

/* ---- answers ---- */

static enum MHD_Result reply(struct MHD_Connection *c, unsigned code, struct MHD_Response *r,
                             const char *type)
{
    if (!r) return MHD_NO;
    MHD_add_response_header(r, "Content-Type", type);
    MHD_add_response_header(r, "Cache-Control", "no-store");
    MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(r, "Referrer-Policy", "no-referrer"); /* addresses may hold the token */
    MHD_add_response_header(r, "Content-Security-Policy",
                            "default-src 'self'; script-src 'unsafe-inline'; style-src "
                            "'unsafe-inline'; frame-ancestors 'none'");
    const enum MHD_Result done = MHD_queue_response(c, code, r);
    MHD_destroy_response(r);
    return done;
}

static enum MHD_Result reply_text(struct MHD_Connection *c, unsigned code, const char *text)
{
    return reply(c, code,
                 MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_MUST_COPY),
                 "text/plain; charset=utf-8");
}

static enum MHD_Result reply_json(struct MHD_Connection *c, char *text)
{
    if (!text) return reply_text(c, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory\n");
    return reply(c, MHD_HTTP_OK,
                 MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE),
                 "application/json");
}

typedef struct viewer {
    cr_server *server;
    cr_feed feed;
    unsigned long long number;
    cr_blob *blob;
    size_t at;
} viewer;

static ssize_t send_feed(void *user, uint64_t position, char *to, size_t room)
{
    viewer *v = user;
    (void)position;
    while (!v->blob || v->at == v->blob->size) {
        cr_blob_release(v->blob);
        v->at = 0;
        v->blob = cr_board_wait(&v->server->board, v->feed, &v->number);
        if (v->server->board.closing) return MHD_CONTENT_READER_END_OF_STREAM;
        if (v->blob) continue;
        memcpy(to, "\r\n", 2); /* nothing yet: is the viewer still there? */
        return 2;
    }
    const size_t left = v->blob->size - v->at, n = left < room ? left : room;
    memcpy(to, v->blob->bytes + v->at, n);
    v->at += n;
    return (ssize_t)n;
}

static void end_feed(void *user)
{
    viewer *v = user;
    cr_board_leave(&v->server->board, v->feed);
    cr_blob_release(v->blob);
    cr_free(v);
}

static enum MHD_Result reply_feed(cr_server *s, struct MHD_Connection *c, cr_feed feed)
{
    viewer *v = cr_calloc(1, sizeof *v);
    if (!v) return MHD_NO;
    v->server = s;
    v->feed = feed;
    cr_board_join(&s->board, feed);
    struct MHD_Response *r =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 65536, send_feed, v, end_feed);
    if (!r) end_feed(v);
    return reply(c, MHD_HTTP_OK, r,
                 feed == CR_FEED_EVENTS ? "text/event-stream"
                                        : "multipart/x-mixed-replace; boundary=frame");
}

static enum MHD_Result get_page(cr_server *s, struct MHD_Connection *c)
{
    (void)s;
    return reply(c, MHD_HTTP_OK,
                 MHD_create_response_from_buffer(sizeof live_page - 1, (void *)live_page,
                                                 MHD_RESPMEM_PERSISTENT),
                 "text/html; charset=utf-8");
}

static enum MHD_Result get_stream(cr_server *s, struct MHD_Connection *c)
{
    const char *side = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "side");
    if (side && (strcmp(side, "versus") || !s->versus))
        return reply_text(c, MHD_HTTP_NOT_FOUND, "there is no such side\n");
    return reply_feed(s, c, side ? CR_FEED_VERSUS : CR_FEED_LIVE);
}

static enum MHD_Result get_events(cr_server *s, struct MHD_Connection *c)
{
    return reply_feed(s, c, CR_FEED_EVENTS);
}

static enum MHD_Result get_state(cr_server *s, struct MHD_Connection *c)
{
    return reply_json(c, state_json(s));
}

static enum MHD_Result get_snapshot(cr_server *s, struct MHD_Connection *c)
{
    cr_blob *b = cr_board_snapshot(&s->board);
    if (!b) return reply_text(c, MHD_HTTP_SERVICE_UNAVAILABLE, "no picture yet\n");
    struct MHD_Response *r =
        MHD_create_response_from_buffer(b->body_size, b->bytes + b->body_at, MHD_RESPMEM_MUST_COPY);
    cr_blob_release(b);
    return reply(c, MHD_HTTP_OK, r, "image/jpeg");
}

/* A label's value: quotes, backslashes and ends of line escaped. */
static void put_label(FILE *f, const char *text)
{
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') fputc('\\', f);
        if (*text == '\n')
            fputs("\\n", f);
        else
            fputc(*text, f);
    }
}

static void put_metrics(cr_server *s, FILE *f)
{
    cr_board *b = &s->board;
    pthread_mutex_lock(&b->lock);
    const cr_live_frame *x = &b->figures;
    fprintf(f, "# TYPE crayon_frames_total counter\ncrayon_frames_total %llu\n", b->frames);
    fprintf(f, "# TYPE crayon_dropped_total counter\ncrayon_dropped_total %lld\n", x->dropped);
    fprintf(f, "# TYPE crayon_losses_total counter\ncrayon_losses_total %d\n", x->losses);
    fprintf(f, "# TYPE crayon_fps gauge\ncrayon_fps %.3f\n", x->fps);
    fprintf(f, "# TYPE crayon_model_seconds gauge\ncrayon_model_seconds %.6f\n", x->model_ms / 1e3);
    fprintf(f, "# TYPE crayon_latency_seconds gauge\ncrayon_latency_seconds %.6f\n",
            x->latency_ms / 1e3);
    fprintf(f, "# TYPE crayon_viewers gauge\ncrayon_viewers %d\n",
            b->viewers[CR_FEED_LIVE] + b->viewers[CR_FEED_VERSUS]);
    fputs("# TYPE crayon_objects gauge\n", f);
    for (int i = 0; i < b->class_count; i++) {
        if (!b->counts[i]) continue;
        fprintf(f, "crayon_objects{class=\"");
        if ((size_t)i < s->o.name_count)
            put_label(f, s->o.names[i]);
        else
            fprintf(f, "%d", i);
        fprintf(f, "\"} %d\n", b->counts[i]);
    }
    pthread_mutex_unlock(&b->lock);
}

static enum MHD_Result get_metrics(cr_server *s, struct MHD_Connection *c)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    if (!f) return MHD_NO;
    put_metrics(s, f);
    if (fclose(f)) return MHD_NO;
    return reply(c, MHD_HTTP_OK, MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_FREE),
                 "text/plain; version=0.0.4");
}

/* ---- settings ---- */

static bool read_share(const json_t *j, const char *key, float *out)
{
    const json_t *v = json_object_get(j, key);
    if (!v) return true;
    if (!json_is_number(v)) return false;
    const double x = json_number_value(v);
    if (!(x >= 0 && x <= 1)) return false;
    *out = (float)x;
    return true;
}

/* null: all of them. An empty list is refused: it would look like "all". */
static bool read_classes(const cr_server *s, const json_t *j, int **classes, size_t *count)
{
    *classes = NULL;
    *count = 0;
    if (!j || json_is_null(j)) return true;
    const size_t n = json_array_size(j);
    if (!json_is_array(j) || !n || n > (size_t)s->o.class_count) return false;
    *classes = cr_malloc(n * sizeof **classes);
    for (; *classes && *count < n; (*count)++) {
        const json_t *v = json_array_get(j, *count);
        const json_int_t id = json_is_integer(v) ? json_integer_value(v) : -1;
        if (id < 0 || id >= s->o.class_count) return false;
        (*classes)[*count] = (int)id;
    }
    return *classes != NULL;
}

static bool apply_settings(cr_server *s, const json_t *j)
{
    int *classes = NULL;
    size_t count = 0;
    if (!json_is_object(j)) return false;
    pthread_mutex_lock(&s->lock);
    cr_detect_options d = s->o.detect;
    const json_t *list = json_object_get(j, "classes");
    bool ok = read_share(j, "conf", &d.conf) && read_share(j, "iou", &d.iou) &&
              read_classes(s, list, &classes, &count);
    if (list) {
        d.classes = classes;
        d.class_count = count;
    }
    ok = ok && cr_live_set_detect(s->live, &d, NULL) == CR_OK;
    if (ok) s->o.detect = d;
    if (ok && list) { /* the former list goes in place of the refused one */
        int *former = s->classes;
        s->classes = classes;
        classes = former;
    }
    cr_free(classes);
    pthread_mutex_unlock(&s->lock);
    return ok;
}

typedef struct body {
    size_t size;
    bool too_long;
    char text[MAX_BODY];
} body;

static enum MHD_Result post_settings(cr_server *s, struct MHD_Connection *c, const body *b)
{
    if (b->too_long) return reply_text(c, MHD_HTTP_CONTENT_TOO_LARGE, "the body is too long\n");
    json_t *j = json_loadb(b->text, b->size, JSON_REJECT_DUPLICATES, NULL);
    const bool ok = j && apply_settings(s, j);
    json_decref(j);
    if (!ok)
        return reply_text(c, MHD_HTTP_BAD_REQUEST,
                          "settings are {\"conf\": 0..1, \"iou\": 0..1, \"classes\": [0, ...] or "
                          "null}\n");
    return reply_json(c, state_json(s));
}

/* ---- who may ---- */

/* Takes as long for every wrong token of a length. */
static bool equal(const char *given, const char *wanted)
{
    const size_t n = strlen(wanted);
    if (strlen(given) != n) return false;
    unsigned char difference = 0;
    for (size_t i = 0; i < n; i++) difference |= (unsigned char)(given[i] ^ wanted[i]);
    return !difference;
}

static bool has_token(const cr_server *s, struct MHD_Connection *c)
{
    static const char bearer[] = "Bearer ";
    if (!s->token) return true;
    const char *given = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "token");
    const char *header = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Authorization");
    if (header && !strncasecmp(header, bearer, sizeof bearer - 1))
        given = header + sizeof bearer - 1;
    return given && equal(given, s->token);
}

static bool is_own_name(const char *host)
{
    static const char *const names[] = {"127.0.0.1", "localhost", "[::1]"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const size_t n = strlen(names[i]);
        if (!strncasecmp(host, names[i], n) && (!host[n] || host[n] == ':')) return true;
    }
    return false;
}

static bool is_own_origin(struct MHD_Connection *c, const char *host)
{
    const char *origin = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Origin");
    const char *rest = origin ? strstr(origin, "://") : NULL;
    return !origin || (host && rest && !strcasecmp(rest + 3, host));
}

/* ---- requests ---- */

typedef struct route {
    const char *path;
    enum MHD_Result (*get)(cr_server *s, struct MHD_Connection *c);
} route;

static const route routes[] = {
    {"/", get_page},       {"/stream", get_stream},     {"/detections", get_events},
    {"/state", get_state}, {"/snapshot", get_snapshot}, {"/metrics", get_metrics},
};

static enum MHD_Result answer_get(cr_server *s, struct MHD_Connection *c, const char *path)
{
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        if (!strcmp(path, routes[i].path)) return routes[i].get(s, c);
    return reply_text(c, MHD_HTTP_NOT_FOUND, "there is no such page\n");
}

static void keep_body(body *b, const char *data, size_t size)
{
    if (size > sizeof b->text - b->size) {
        b->too_long = true;
        return;
    }
    memcpy(b->text + b->size, data, size);
    b->size += size;
}

static enum MHD_Result answer(void *user, struct MHD_Connection *c, const char *path,
                              const char *method, const char *version, const char *data,
                              size_t *size, void **state)
{
    cr_server *s = user;
    (void)version;
    if (!*state) { /* the headers are there, the body is not */
        *state = cr_calloc(1, sizeof(body));
        return *state ? MHD_YES : MHD_NO;
    }
    if (*size) {
        keep_body(*state, data, *size);
        *size = 0;
        return MHD_YES;
    }
    const char *host = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Host");
    if (!has_token(s, c)) return reply_text(c, MHD_HTTP_UNAUTHORIZED, "a token is needed\n");
    if (!s->token && !(host && is_own_name(host)))
        return reply_text(c, MHD_HTTP_FORBIDDEN, "this name is not served\n");
    if (!strcmp(method, "GET") || !strcmp(method, "HEAD")) return answer_get(s, c, path);
    if (strcmp(method, "POST") || strcmp(path, "/settings"))
        return reply_text(c, MHD_HTTP_METHOD_NOT_ALLOWED, "GET, or POST to /settings\n");
    if (!is_own_origin(c, host))
        return reply_text(c, MHD_HTTP_FORBIDDEN, "settings are taken from the own page only\n");
    return post_settings(s, c, *state);
}

static void request_done(void *user, struct MHD_Connection *c, void **state,
                         enum MHD_RequestTerminationCode why)
{
    (void)user;
    (void)c;
    (void)why;
    cr_free(*state);
    *state = NULL;
}

/* ---- beginning and end ---- */

/* "HOST:PORT" into its parts; an empty host is 127.0.0.1. */
static cr_status split(const char *address, char *host, size_t size, char *port, size_t port_size,
                       cr_error *err)
{
    const char *colon = strrchr(address, ':');
    const char *begin = address, *end = colon;
    if (colon && *begin == '[' && colon > begin && colon[-1] == ']') {
        begin++;
        end--;
    }
    const size_t n = colon ? (size_t)(end - begin) : 0;
    CR_CHECK(colon && colon[1] && strspn(colon + 1, "0123456789") == strlen(colon + 1) &&
                 strlen(colon + 1) < port_size && atoi(colon + 1) < 65536 && n < size,
             err, CR_ERR_ARGUMENT, "'%s' is not HOST:PORT, as in 127.0.0.1:8080", address);
    snprintf(host, size, "%.*s", (int)n, begin);
    if (!n) snprintf(host, size, "127.0.0.1");
    snprintf(port, port_size, "%s", colon + 1);
    return CR_OK;
}

static bool is_local(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24 == 127;
    return a->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

static cr_status listen_on(cr_server *s, const struct addrinfo *a, cr_error *err)
{
    s->local = is_local(a->ai_addr);
    CR_CHECK(s->local || s->token, err, CR_ERR_ARGUMENT,
             "%s: other machines could look too: that needs a token", s->o.address);
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION;
    if (a->ai_family == AF_INET6) flags |= MHD_USE_IPv6;
    errno = 0;
    s->daemon = MHD_start_daemon(flags, 0, NULL, NULL, answer, s, MHD_OPTION_SOCK_ADDR, a->ai_addr,
                                 MHD_OPTION_CONNECTION_LIMIT, (unsigned)s->o.viewers,
                                 MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S,
                                 MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
                                 MHD_OPTION_THREAD_STACK_SIZE, (size_t)256 * 1024,
                                 MHD_OPTION_NOTIFY_COMPLETED, request_done, NULL, MHD_OPTION_END);
    CR_CHECK(s->daemon, err, CR_ERR_IO, "%s: cannot listen: %s", s->o.address,
             errno ? strerror(errno) : "no thread or socket");
    return CR_OK;
}

static void name_url(cr_server *s, const char *host)
{
    const union MHD_DaemonInfo *port = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_BIND_PORT);
    const bool v6 = strchr(host, ':');
    snprintf(s->url, sizeof s->url, "http://%s%s%s:%u/", v6 ? "[" : "", host, v6 ? "]" : "",
             port ? port->port : 0);
}

static cr_status start(cr_server *s, cr_error *err)
{
    char host[80], port[8];
    struct addrinfo *found = NULL;
    const struct addrinfo wanted = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
                                    .ai_socktype = SOCK_STREAM};
    CR_TRY(split(s->o.address, host, sizeof host, port, sizeof port, err));
    const int code = getaddrinfo(host, port, &wanted, &found);
    CR_CHECK(!code, err, CR_ERR_ARGUMENT, "%s: %s", s->o.address, gai_strerror(code));
    const cr_status st = listen_on(s, found, err);
    freeaddrinfo(found);
    if (st == CR_OK) name_url(s, host);
    return st;
}

static cr_status prepare(cr_server *s, cr_error *err)
{
    const cr_server_options *o = &s->o;
    CR_CHECK(!o->token || *o->token, err, CR_ERR_ARGUMENT, "the token is empty");
    s->token = o->token ? cr_strdup(o->token) : NULL;
    s->title = cr_strdup(o->title);
    s->model = cr_strdup(o->model);
    s->versus = o->versus ? cr_strdup(o->versus) : NULL;
    const size_t bytes = o->detect.class_count * sizeof *s->classes;
    s->classes = bytes ? cr_malloc(bytes) : NULL;
    if (s->classes) memcpy(s->classes, o->detect.classes, bytes);
    s->o.detect.classes = s->classes;
    if ((o->token && !s->token) || !s->title || !s->model || (o->versus && !s->versus) ||
        (bytes && !s->classes))
        return CR_NOMEM(err);
    s->has_board = true;
    CR_TRY(cr_board_init(&s->board, o->class_count, err));
    return start(s, err);
}

cr_status cr_server_create(cr_live *live, const cr_server_options *options, cr_server **out,
                           cr_error *err)
{
    *out = NULL;
    cr_server *s = cr_calloc(1, sizeof *s);
    if (!s) return CR_NOMEM(err);
    s->live = live;
    s->o = *options;
    pthread_mutex_init(&s->lock, NULL);
    const cr_status st = prepare(s, err);
    if (st == CR_OK)
        *out = s;
    else
        cr_server_free(&s);
    return st;
}

const char *cr_server_url(const cr_server *s)
{
    return s->url;
}

void cr_server_show(cr_server *s, const cr_live_frame *f)
{
    pthread_mutex_lock(&s->board.lock);
    const bool listeners = s->board.viewers[CR_FEED_EVENTS] > 0;
    pthread_mutex_unlock(&s->board.lock);
    char *event = listeners ? frame_json(s, f) : NULL;
    cr_board_show(&s->board, f, event);
    free(event);
}

void cr_server_free(cr_server **sp)
{
    if (!*sp) return;
    cr_server *s = *sp;
    if (s->has_board) cr_board_close(&s->board);
    if (s->daemon) MHD_stop_daemon(s->daemon);
    if (s->has_board) cr_board_destroy(&s->board);
    pthread_mutex_destroy(&s->lock);
    cr_free(s->classes);
    cr_free(s->token);
    cr_free(s->title);
    cr_free(s->model);
    cr_free(s->versus);
    cr_free(s);
    *sp = NULL;
}
