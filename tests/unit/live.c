/* The live pipeline over a source of the test's own: order, newest frames only, losses, stops. */
#define _POSIX_C_SOURCE 200809L
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <libavutil/frame.h>

#include "live/frame_queue.h"
#include "live/frame_source.h"

enum { WIDTH = 64, HEIGHT = 48 };

static cr_model *open_sample(void)
{
    cr_error err;
    cr_model *m = NULL;
    if (cr_model_open("sample/shapes.onnx", NULL, &m, &err) != CR_OK) {
        print_message("SKIP: %s\n", err.message);
        skip();
    }
    return m;
}

/* Grey frames whose brightness tells their number. */
typedef struct fake {
    int frames;    /* until the end */
    int lose_at;   /* every lose_at-th frame is a failure instead; 0: none */
    double gap_ms; /* between frames */
    int made, opened, closed, failures;
    bool open;
} fake;

static cr_status fake_open(void *user, const atomic_bool *stop, cr_error *err)
{
    fake *f = user;
    assert_false(f->open);
    f->open = true;
    f->opened++;
    return CR_OK;
}

static void fake_close(void *user)
{
    fake *f = user;
    assert_true(f->open);
    f->open = false;
    f->closed++;
}

static cr_status fake_next(void *user, AVFrame *out, double *time, bool *more, cr_error *err)
{
    fake *f = user;
    assert_true(f->open);
    *more = f->made < f->frames;
    if (!*more) return CR_OK;
    if (f->lose_at && f->made / f->lose_at > f->failures) {
        f->failures++;
        err->status = CR_ERR_IO;
        strcpy(err->message, "lost");
        return CR_ERR_IO;
    }
    const long ns = (long)(f->gap_ms * 1e6);
    if (ns) nanosleep(&(struct timespec){0, ns}, NULL);
    out->format = AV_PIX_FMT_YUV420P;
    out->width = WIDTH;
    out->height = HEIGHT;
    assert_int_equal(av_frame_get_buffer(out, 0), 0);
    for (int p = 0; p < 3; p++)
        memset(out->data[p], p ? 128 : f->made % 200 + 20,
               (size_t)out->linesize[p] * (p ? HEIGHT / 2 : HEIGHT));
    *time = f->made++ / 30.0;
    return CR_OK;
}

typedef struct seen {
    long long count, last, stop_after;
    double slow_ms;
    bool ordered, bright;
} seen;

static bool see(void *user, const cr_live_frame *f)
{
    seen *s = user;
    s->ordered &= f->index > s->last;
    s->last = f->index;
    if (f->picture) /* the middle of the right side: nothing is drawn there */
        s->bright &= f->picture->plane[0][(HEIGHT - 2) * f->picture->stride[0] + WIDTH - 2] ==
                     f->index % 200 + 20;
    if (s->slow_ms > 0) nanosleep(&(struct timespec){0, (long)(s->slow_ms * 1e6)}, NULL);
    return ++s->count != s->stop_after;
}

static cr_live_report run(fake *f, cr_live_options o, bool live, seen *s)
{
    cr_model *m = open_sample();
    const cr_frame_source source = {f, live, fake_open, fake_next, fake_close, NULL};
    cr_live *l = NULL;
    cr_error err = {0};
    *s = (seen){.last = -1,
                .ordered = true,
                .bright = true,
                .stop_after = s->stop_after,
                .slow_ms = s->slow_ms};
    o.detect.conf = .99f; /* nothing is found, nothing drawn */
    assert_int_equal(cr_live_create_from(m, &source, &o, &l, &err), CR_OK);
    assert_int_equal(cr_live_run(l, see, s, &err), CR_OK);
    const cr_live_report r = cr_live_get_report(l);
    assert_int_not_equal(cr_live_run(l, see, s, &err), CR_OK);
    cr_live_free(&l);
    assert_int_equal(f->opened, f->closed);
    cr_model_free(&m);
    return r;
}

static void every_frame_comes_out_in_order(void **state)
{
    for (int threads = 1; threads <= 5; threads += 2) {
        fake f = {.frames = 60};
        seen s = {0};
        cr_live_options o = cr_live_options_default();
        o.threads = threads;
        o.pictures = true;
        const cr_live_report r = run(&f, o, false, &s);
        assert_int_equal(s.count, 60);
        assert_int_equal(r.frames, 60);
        assert_int_equal(r.dropped, 0);
        assert_true(s.ordered && s.bright);
    }
}

static void stride_and_limit_choose_frames(void **state)
{
    fake f = {.frames = 100};
    seen s = {0};
    cr_live_options o = cr_live_options_default();
    o.stride = 7;
    o.limit = 5;
    run(&f, o, false, &s);
    assert_int_equal(s.count, 5);
    assert_int_equal(s.last, 28);
}

static void a_slow_viewer_gets_the_newest(void **state)
{
    fake f = {.frames = 120, .gap_ms = 2};
    seen s = {.slow_ms = 20};
    cr_live_options o = cr_live_options_default();
    o.mode = CR_LIVE_NEWEST;
    const cr_live_report r = run(&f, o, false, &s);
    assert_true(s.ordered);
    assert_true(s.count < 120);
    assert_int_equal(s.count + r.dropped, 120);
    assert_int_equal(s.last, 119);
}

static void lost_sources_come_back(void **state)
{
    fake f = {.frames = 510, .lose_at = 10};
    seen s = {.stop_after = 0};
    cr_live_options o = cr_live_options_default();
    o.mode = CR_LIVE_EVERY_FRAME;
    o.wait = 0;
    o.losses = 51; /* the end of the frames is a loss, too */
    const cr_live_report r = run(&f, o, true, &s);
    assert_int_equal(f.failures, 50);
    assert_int_equal(s.count, 510);
    assert_true(s.ordered);
    assert_int_equal(r.losses, 51);
}

static void a_viewer_may_stop_it(void **state)
{
    fake f = {.frames = 1 << 30};
    seen s = {.stop_after = 9};
    const cr_live_report r = run(&f, cr_live_options_default(), false, &s);
    assert_true(s.ordered);
    assert_true(r.frames >= 9 && r.frames < 9 + 16);
}

static bool pause_once(void *user, const cr_live_frame *f)
{
    if (f->index == 5) nanosleep(&(struct timespec){0, 900000000L}, NULL);
    return true;
}

/* 31 frames are a second; the 0.9 of the pause come on top, but for the frames in the queue. */
static void a_pause_moves_the_clock(void **state)
{
    cr_model *m = open_sample();
    fake f = {.frames = 31};
    const cr_frame_source source = {&f, false, fake_open, fake_next, fake_close, NULL};
    cr_live_options o = cr_live_options_default();
    cr_live *l = NULL;
    cr_error err = {0};
    o.threads = 2;
    o.realtime = true;
    o.mode = CR_LIVE_EVERY_FRAME;
    assert_int_equal(cr_live_create_from(m, &source, &o, &l, &err), CR_OK);
    assert_int_equal(cr_live_run(l, pause_once, NULL, &err), CR_OK);
    const cr_live_report r = cr_live_get_report(l);
    assert_int_equal(r.frames, 31);
    assert_true(r.seconds > 1.5);
    cr_live_free(&l);
    cr_model_free(&m);
}

/* Corners of the colour cube of both standards and ranges, at an odd size. BT.601: ITU-R BT.601-7,
 * 2.5; BT.709: ITU-R BT.709-6, 3. swscale's fixed point is within 2 of them. */
static void pictures_become_rgb(void **state)
{
    const struct {
        uint8_t yuv[3];
        bool bt709, full;
        uint8_t rgb[3];
    } cases[] = {
        {{16, 128, 128}, false, false, {0, 0, 0}},  {{235, 128, 128}, true, false, {255, 255, 255}},
        {{0, 128, 128}, false, true, {0, 0, 0}},    {{255, 128, 128}, false, true, {255, 255, 255}},
        {{81, 90, 240}, false, false, {255, 0, 0}}, {{63, 102, 240}, true, false, {255, 0, 0}},
        {{76, 85, 255}, false, true, {254, 0, 0}},  {{41, 240, 110}, false, false, {0, 0, 255}},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        uint8_t luma[7 * 5], u[4 * 3], v[4 * 3];
        memset(luma, cases[c].yuv[0], sizeof luma);
        memset(u, cases[c].yuv[1], sizeof u);
        memset(v, cases[c].yuv[2], sizeof v);
        const cr_live_picture p = {{luma, u, v}, {7, 4, 4}, 7, 5, cases[c].bt709, cases[c].full};
        cr_image out = {0};
        cr_error err;
        assert_int_equal(cr_live_picture_to_image(&p, &out, &err), CR_OK);
        assert_int_equal(out.width * out.height, 35);
        for (int i = 0; i < 35 * 3; i++)
            if (abs(out.rgb[i] - cases[c].rgb[i % 3]) > 2)
                fail_msg("case %zu, byte %d: %d", c, i, out.rgb[i]);
        cr_image_free(&out);
    }
}

static void streams_are_told_from_files(void **state)
{
    assert_true(cr_live_is_stream("rtsp://camera/x") && cr_live_is_stream("/dev/video0"));
    assert_false(cr_live_is_stream("street.webm") || cr_live_is_stream("-") ||
                 cr_live_is_stream("bus.jpg"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pause_moves_the_clock),
        cmocka_unit_test(pictures_become_rgb),
        cmocka_unit_test(streams_are_told_from_files),
        cmocka_unit_test(every_frame_comes_out_in_order),
        cmocka_unit_test(stride_and_limit_choose_frames),
        cmocka_unit_test(a_slow_viewer_gets_the_newest),
        cmocka_unit_test(lost_sources_come_back),
        cmocka_unit_test(a_viewer_may_stop_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
