/* Pictures of a list, decoded and fitted ahead of their turn.
 *
 * One thread beside the model's reads picture i + 1 while picture i is in use: two slots, so there
 * are never more than two pictures in memory. They come out in the order of the list and a mistake
 * in one comes at its turn, so nothing but the time depends on the thread. With one thread, or
 * where none can be started, the caller's own reads each picture when it is asked for. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "cli.h"
#include "crayon/cpu.h"

typedef struct slot {
    cli_fitted fitted;
    cr_status status;
    cr_error err;
} slot;

struct cli_reader {
    char *const *paths;
    size_t count;
    cr_image_reader *images;
    cr_preprocess preprocess;
    slot slots[2]; /* picture i is in slots[i % 2] */
    size_t taken;  /* pictures given out */
    bool threaded;
    pthread_t thread;
    pthread_mutex_t lock; /* over what follows */
    pthread_cond_t changed;
    size_t loaded; /* pictures in slots so far */
    bool stop;
};

static void load(const cli_reader *r, size_t index, slot *s)
{
    cli_fitted *const f = &s->fitted;
    cr_image_free(&f->picture);
    s->status = cr_image_reader_read(r->images, r->paths[index], &f->picture, &s->err);
    if (s->status != CR_OK) return;
    const double start = cli_now_ms();
    s->status = cr_preprocess_pixels(&r->preprocess, &f->picture, f->pixels, &f->place, &s->err);
    f->fit_ms = cli_now_ms() - start;
}

/* The slot of picture i is free once picture i - 1 has been asked for. */
static void *read_ahead(void *user)
{
    cli_reader *const r = user;
    pthread_mutex_lock(&r->lock);
    while (!r->stop && r->loaded < r->count) {
        const size_t index = r->loaded;
        if (index > r->taken) {
            pthread_cond_wait(&r->changed, &r->lock);
            continue;
        }
        pthread_mutex_unlock(&r->lock);
        load(r, index, &r->slots[index % 2]);
        pthread_mutex_lock(&r->lock);
        r->loaded++;
        pthread_cond_broadcast(&r->changed);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* Signals stay with the main thread, so that Ctrl-C never cuts a read short. */
static bool start_thread(cli_reader *r)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    const bool started = !pthread_create(&r->thread, NULL, read_ahead, r);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return started;
}

cr_status cli_reader_open(cli_reader **out, char *const *paths, size_t count,
                          const cr_preprocess *preprocess, int threads, cr_error *err)
{
    const size_t bytes = (size_t)preprocess->width * (size_t)preprocess->height * 3;
    const bool ahead = count > 1 && (threads ? threads : cr_cpu_count()) > 1;
    cli_reader *r = *out = calloc(1, sizeof *r);
    if (!r) return cli_error(err, CR_ERR_MEMORY, "out of memory");
    r->paths = paths;
    r->count = count;
    r->preprocess = *preprocess;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    const cr_status st = cr_image_reader_create(&r->images, err);
    if (st != CR_OK) {
        cli_reader_close(out);
        return st;
    }
    for (int i = 0; i < 2; i++)
        if (!(r->slots[i].fitted.pixels = malloc(bytes))) {
            cli_reader_close(out);
            return cli_error(err, CR_ERR_MEMORY, "out of memory");
        }
    r->threaded = ahead && start_thread(r);
    return CR_OK;
}

/* Waits until picture `index` is loaded and lets the thread go on with the one after it. */
static void await(cli_reader *r, size_t index)
{
    pthread_mutex_lock(&r->lock);
    r->taken = index + 1;
    pthread_cond_broadcast(&r->changed);
    while (r->loaded <= index) pthread_cond_wait(&r->changed, &r->lock);
    pthread_mutex_unlock(&r->lock);
}

cr_status cli_reader_next(cli_reader *r, cli_fitted **out, cr_error *err)
{
    const size_t index = r->taken;
    slot *const s = &r->slots[index % 2];
    if (r->threaded) {
        await(r, index);
    } else {
        cr_image_free(&r->slots[1 - index % 2].fitted.picture);
        load(r, index, s);
        r->taken++;
    }
    *out = &s->fitted;
    if (s->status != CR_OK) *err = s->err;
    return s->status;
}

void cli_reader_close(cli_reader **reader)
{
    cli_reader *const r = *reader;
    if (!r) return;
    if (r->threaded) {
        pthread_mutex_lock(&r->lock);
        r->stop = true;
        pthread_cond_broadcast(&r->changed);
        pthread_mutex_unlock(&r->lock);
        pthread_join(r->thread, NULL);
    }
    for (int i = 0; i < 2; i++) {
        cr_image_free(&r->slots[i].fitted.picture);
        free(r->slots[i].fitted.pixels);
    }
    cr_image_reader_free(&r->images);
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    free(r);
    *reader = NULL;
}
