/* The window of `detect --view`: SDL shows the frame's own YUV planes, so no pixel is converted
 * here.
 *
 * SDL lives in the program alone, not in the library, and a build without it (CRAYON_WITH_SDL off)
 * answers with one line. Without waiting for the screen (vsync), which would hold the frames back.
 */
#include <stdlib.h>

#include "detect.h"

#ifndef CRAYON_WITH_SDL

cr_status cli_window_open(cli_window **out, cr_error *err)
{
    *out = NULL;
    return cli_error(
        err, CR_ERR_UNSUPPORTED,
        "--view: this crayon was built without SDL2; --serve :8080 shows the picture in "
        "a browser, 'crayon watch' in a terminal");
}

cr_status cli_window_show(cli_window *w, const cr_live_picture *p, const char *title, cr_error *err)
{
    return CR_OK;
}

cli_wish cli_window_poll(cli_window *w)
{
    return (cli_wish){0};
}

void cli_window_close(cli_window **w) {}

#else

#include <SDL.h>

enum { PAUSE_MS = 30 };

struct cli_window {
    SDL_Window *window;
    SDL_Renderer *renderer;
    SDL_Texture *texture;
    int width, height; /* of the texture */
    bool paused;
};

static cr_status sdl_error(cr_error *err, const char *what)
{
    return cli_error(
        err, CR_ERR_IO,
        "--view: %s: %s; --serve :8080 shows the picture in a browser, 'crayon watch' in "
        "a terminal",
        what, SDL_GetError());
}

cr_status cli_window_open(cli_window **out, cr_error *err)
{
    *out = NULL;
    SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1"); /* Ctrl-C stays the program's */
    SDL_SetHint(SDL_HINT_VIDEO_ALLOW_SCREENSAVER, "1");
    if (SDL_Init(SDL_INIT_VIDEO)) return sdl_error(err, "no screen");
    *out = calloc(1, sizeof **out);
    if (*out) return CR_OK;
    SDL_Quit();
    return cli_error(err, CR_ERR_MEMORY, "out of memory");
}

void cli_window_close(cli_window **wp)
{
    if (!*wp) return;
    cli_window *w = *wp;
    if (w->texture) SDL_DestroyTexture(w->texture);
    if (w->renderer) SDL_DestroyRenderer(w->renderer);
    if (w->window) SDL_DestroyWindow(w->window);
    SDL_Quit();
    free(w);
    *wp = NULL;
}

/* As large as the picture, or as the screen allows. */
static bool make_window(cli_window *w, int width, int height)
{
    SDL_Rect room = {.w = width, .h = height};
    SDL_GetDisplayUsableBounds(0, &room);
    double scale = 1;
    if (width > room.w && room.w > 0) scale = (double)room.w / width;
    if (height * scale > room.h && room.h > 0) scale = (double)room.h / height;
    w->window = SDL_CreateWindow("crayon", SDL_WINDOWPOS_CENTERED, SDL_WINDOWPOS_CENTERED,
                                 (int)(width * scale), (int)(height * scale),
                                 SDL_WINDOW_RESIZABLE | SDL_WINDOW_ALLOW_HIGHDPI);
    if (!w->window) return false;
    w->renderer = SDL_CreateRenderer(w->window, -1, 0);
    if (!w->renderer) w->renderer = SDL_CreateRenderer(w->window, -1, SDL_RENDERER_SOFTWARE);
    return w->renderer != NULL;
}

/* SDL has three conversions; a texture takes the one of the moment when it is made. */
static SDL_YUV_CONVERSION_MODE conversion_of(const cr_live_picture *p)
{
    if (p->full_range && !p->bt709) return SDL_YUV_CONVERSION_JPEG;
    return p->bt709 ? SDL_YUV_CONVERSION_BT709 : SDL_YUV_CONVERSION_BT601;
}

static bool fit_texture(cli_window *w, const cr_live_picture *p)
{
    if (w->texture && w->width == p->width && w->height == p->height) return true;
    if (w->texture) SDL_DestroyTexture(w->texture);
    SDL_SetYUVConversionMode(conversion_of(p));
    SDL_SetHint(SDL_HINT_RENDER_SCALE_QUALITY, "1");
    w->texture = SDL_CreateTexture(w->renderer, SDL_PIXELFORMAT_IYUV, SDL_TEXTUREACCESS_STREAMING,
                                   p->width, p->height);
    w->width = p->width;
    w->height = p->height;
    return w->texture && !SDL_RenderSetLogicalSize(w->renderer, p->width, p->height);
}

static void render(cli_window *w)
{
    if (!w->texture) return;
    SDL_RenderClear(w->renderer);
    SDL_RenderCopy(w->renderer, w->texture, NULL, NULL);
    SDL_RenderPresent(w->renderer);
}

cr_status cli_window_show(cli_window *w, const cr_live_picture *p, const char *title, cr_error *err)
{
    if (!w->window && !make_window(w, p->width, p->height)) return sdl_error(err, "no window");
    if (!fit_texture(w, p) ||
        SDL_UpdateYUVTexture(w->texture, NULL, p->plane[0], p->stride[0], p->plane[1], p->stride[1],
                             p->plane[2], p->stride[2]))
        return sdl_error(err, "no picture");
    SDL_SetWindowTitle(w->window, title);
    render(w);
    return CR_OK;
}

static void take_key(cli_window *w, const SDL_KeyboardEvent *key, cli_wish *wish)
{
    switch (key->keysym.sym) {
    case SDLK_q:
    case SDLK_ESCAPE:
        wish->quit = true;
        break;
    case SDLK_SPACE:
        w->paused = key->repeat ? w->paused : !w->paused;
        break;
    case SDLK_s:
        wish->save = true;
        break;
    case SDLK_PLUS:
    case SDLK_EQUALS: /* + without shift on many keyboards */
    case SDLK_KP_PLUS:
        wish->conf_steps++;
        break;
    case SDLK_MINUS:
    case SDLK_KP_MINUS:
        wish->conf_steps--;
        break;
    default:
        break;
    }
}

cli_wish cli_window_poll(cli_window *w)
{
    cli_wish wish = {0};
    SDL_Event e;
    if (w->paused) SDL_WaitEventTimeout(NULL, PAUSE_MS);
    while (SDL_PollEvent(&e)) {
        if (e.type == SDL_QUIT) wish.quit = true;
        if (e.type == SDL_WINDOWEVENT && e.window.event == SDL_WINDOWEVENT_EXPOSED) render(w);
        if (e.type == SDL_KEYDOWN) take_key(w, &e.key, &wish);
    }
    wish.paused = w->paused;
    return wish;
}

#endif
