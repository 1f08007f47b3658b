/* The keys of --view, on SDL's dummy screen; without SDL: its one line. */
#define _POSIX_C_SOURCE 200809L
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../cli/window.c"

cr_status cli_error(cr_error *err, cr_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    err->status = status;
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    return status;
}

#ifdef CRAYON_WITH_SDL

static cli_window *open_dummy(void)
{
    cli_window *w = NULL;
    cr_error err;
    setenv("SDL_VIDEODRIVER", "dummy", 1);
    assert_int_equal(cli_window_open(&w, &err), CR_OK);
    return w;
}

static void press(SDL_Keycode key, bool repeat)
{
    SDL_Event e = {.type = SDL_KEYDOWN};
    e.key.keysym.sym = key;
    e.key.repeat = repeat;
    SDL_PushEvent(&e);
}

static void shows(int width, int height)
{
    cli_window *w = open_dummy();
    cr_error err = {0};
    const size_t luma = (size_t)width * (size_t)height, chroma = (luma / 4 + (size_t)width);
    uint8_t *bytes = malloc(luma + 2 * chroma);
    memset(bytes, 128, luma + 2 * chroma);
    const int half = (width + 1) / 2;
    const cr_live_picture p = {
        {bytes, bytes + luma, bytes + luma + chroma}, {width, half, half}, width, height, true};
    for (int i = 0; i < 3; i++)
        if (cli_window_show(w, &p, "title", &err) != CR_OK) fail_msg("%s", err.message);
    assert_string_equal(SDL_GetWindowTitle(w->window), "title");
    uint8_t pixel[4] = {0};
    const SDL_Rect one = {0, 0, 1, 1};
    render(w);
    assert_int_equal(SDL_RenderReadPixels(w->renderer, &one, SDL_PIXELFORMAT_RGB24, pixel, 4), 0);
    assert_in_range(pixel[0], 125, 135); /* luma 128 of 16..235 is grey 130 */
    assert_in_range(pixel[1], 125, 135);
    cli_window_close(&w);
    assert_null(w);
    free(bytes);
}

static void pictures_are_shown(void **state)
{
    shows(64, 48);
    shows(33, 17);
    shows(4000, 3000);
}

static void keys_are_wishes(void **state)
{
    cli_window *w = open_dummy();
    cli_window_poll(w);
    press(SDLK_PLUS, false);
    press(SDLK_EQUALS, true);
    press(SDLK_KP_MINUS, false);
    press(SDLK_s, false);
    press(SDLK_x, false);
    cli_wish wish = cli_window_poll(w);
    assert_int_equal(wish.conf_steps, 1);
    assert_true(wish.save && !wish.quit && !wish.paused);
    wish = cli_window_poll(w);
    assert_true(!wish.save && !wish.conf_steps);
    press(SDLK_q, false);
    assert_true(cli_window_poll(w).quit);
    SDL_PushEvent(&(SDL_Event){.type = SDL_QUIT});
    assert_true(cli_window_poll(w).quit);
    cli_window_close(&w);
}

static void space_pauses(void **state)
{
    cli_window *w = open_dummy();
    press(SDLK_SPACE, false);
    press(SDLK_SPACE, true); /* held down */
    assert_true(cli_window_poll(w).paused);
    assert_true(cli_window_poll(w).paused);
    press(SDLK_SPACE, false);
    assert_false(cli_window_poll(w).paused);
    cli_window_close(&w);
}

static void no_screen_is_one_line(void **state)
{
    cli_window *w;
    cr_error err = {0};
    setenv("SDL_VIDEODRIVER", "none_such", 1);
    assert_int_equal(cli_window_open(&w, &err), CR_ERR_IO);
    assert_null(w);
    assert_non_null(strstr(err.message, "--serve"));
}

#else

static void without_sdl(void **state)
{
    cli_window *w;
    cr_error err = {0};
    assert_int_equal(cli_window_open(&w, &err), CR_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "without SDL2"));
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifdef CRAYON_WITH_SDL
        cmocka_unit_test(pictures_are_shown),
        cmocka_unit_test(keys_are_wishes),
        cmocka_unit_test(space_pauses),
        cmocka_unit_test(no_screen_is_one_line),
#else
        cmocka_unit_test(without_sdl),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
