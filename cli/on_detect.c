/* `detect --on-detect COMMAND`: runs a command when something appears (cr_live_frame.appeared).
 *
 * The command is `sh -c COMMAND`; the frame's JSON line is its standard input, an
 * unlinked file, so that nobody waits for anybody. `{json}` in the command becomes the parameter
 * $1, never text that the shell reads: labels come with models and may hold anything.
 *
 * One command runs at a time, and none sooner than --every seconds after the last one began. What
 * appears meanwhile waits, the newest replacing the older, until the command may run again. Each
 * has a process group of its own and is reaped here; at the end it gets two seconds to finish. Its
 * output goes to standard error: standard output is for results.
 *
 * Rejected: a pipe to one lasting command (that is `--json - | command`), a thread (nothing here
 * waits). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "detect.h"

extern char **environ;

enum { MAX_ARGUMENT = 100000, END_MS = 2000, KILL_MS = 300, LOOK_MS = 10 };

struct cli_on_detect {
    char *command; /* with $1 for {json} */
    bool as_argument;
    double every_ms, begun_ms;
    pid_t running;         /* 0: none */
    char *waiting; /* a JSON line; NULL: none */
    long long begun, failed, replaced;
    bool warned;
};

/* ---- the command ---- */

enum { PLAIN, SINGLE, DOUBLE };

/* Which quotes are open behind the character. */
static int quotes_after(int state, char c)
{
    if (c == '\'' && state != DOUBLE) return state == SINGLE ? PLAIN : SINGLE;
    if (c == '"' && state != SINGLE) return state == DOUBLE ? PLAIN : DOUBLE;
    return state;
}

/* {json} becomes "$1", inside double quotes $1: a parameter is not read again by the shell. Single
 * quotes would keep it as it is, so there it is refused. */
static cr_status write_command(cli_on_detect *d, const char *text, cr_error *err)
{
    static const char mark[] = "{json}";
    int state = PLAIN;
    char *to = d->command = malloc(strlen(text) + 1);
    if (!to) return cli_error(err, CR_ERR_MEMORY, "out of memory");
    while (*text) {
        if (!strncmp(text, mark, sizeof mark - 1)) {
            if (state == SINGLE)
                return cli_error(err, CR_ERR_ARGUMENT,
                                 "--on-detect: {json} stands in single quotes, where the shell "
                                 "replaces nothing; use double ones or none");
            to = stpcpy(to, state == DOUBLE ? "$1" : "\"$1\"");
            text += sizeof mark - 1;
            d->as_argument = true;
        } else if (*text == '\\' && state != SINGLE && text[1]) {
            *to++ = *text++;
            *to++ = *text++;
        } else {
            state = quotes_after(state, *text);
            *to++ = *text++;
        }
    }
    *to = 0;
    return CR_OK;
}

cr_status cli_on_detect_create(const char *command, double every, cli_on_detect **out,
                               cr_error *err)
{
    cli_on_detect *d = calloc(1, sizeof *d);
    *out = d;
    if (!d) return cli_error(err, CR_ERR_MEMORY, "out of memory");
    d->every_ms = every * 1e3;
    d->begun_ms = -1e15;
    const cr_status st = write_command(d, command, err);
    if (st != CR_OK) cli_on_detect_free(out);
    return st;
}

static void failed(cli_on_detect *d, const char *why)
{
    d->failed++;
    if (!d->warned) cli_warn("--on-detect: %s", why);
    d->warned = true;
}

static void ended(cli_on_detect *d, int status)
{
    char text[64];
    d->running = 0;
    if (WIFEXITED(status) && !WEXITSTATUS(status)) return;
    if (WIFEXITED(status))
        snprintf(text, sizeof text, "the command ended with exit status %d", WEXITSTATUS(status));
    else
        snprintf(text, sizeof text, "the command was ended by signal %d", WTERMSIG(status));
    failed(d, text);
}

static void reap(cli_on_detect *d)
{
    int status;
    if (d->running && waitpid(d->running, &status, WNOHANG) == d->running) ended(d, status);
}

/* A file without a name that holds the line, read from its beginning. */
static FILE *file_of(const char *line)
{
    FILE *f = tmpfile();
    if (!f) return NULL;
    if (fputs(line, f) < 0 || fflush(f)) {
        fclose(f);
        return NULL;
    }
    rewind(f);
    return f;
}

static int spawn(cli_on_detect *d, int input, char *line)
{
    char shell[] = "sh", option[] = "-c";
    char *const argv[] = {shell, option, d->command, shell, line, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    sigset_t usual;
    sigemptyset(&usual);
    sigaddset(&usual, SIGINT);
    sigaddset(&usual, SIGPIPE);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, input, 0);
    posix_spawn_file_actions_adddup2(&files, 2, 1);
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 34)
    posix_spawn_file_actions_addclosefrom_np(&files, 3);
#endif
    posix_spawnattr_init(&how);
    posix_spawnattr_setpgroup(&how, 0);
    posix_spawnattr_setsigdefault(&how, &usual);
    posix_spawnattr_setflags(&how, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
    const int code = posix_spawn(&d->running, "/bin/sh", &files, &how, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&how);
    if (code) d->running = 0;
    return code;
}

static void begin(cli_on_detect *d)
{
    char *line = d->waiting;
    d->waiting = NULL;
    FILE *input = file_of(line);
    line[strcspn(line, "\n")] = 0;
    d->begun_ms = cli_now_ms();
    d->begun++;
    if (!input)
        failed(d, "cannot make a temporary file for the JSON line");
    else if (d->as_argument && strlen(line) > MAX_ARGUMENT)
        failed(d, "a frame's JSON is too long for {json}; read it from standard input");
    else {
        const int code = spawn(d, fileno(input), d->as_argument ? line : NULL);
        if (code) failed(d, strerror(code));
    }
    if (input) fclose(input);
    free(line);
}

/* ---- from outside ---- */

void cli_on_detect_take(cli_on_detect *d, char *line)
{
    if (d->waiting) d->replaced++;
    free(d->waiting);
    d->waiting = line;
}

void cli_on_detect_step(cli_on_detect *d)
{
    reap(d);
    if (d->waiting && !d->running && cli_now_ms() - d->begun_ms >= d->every_ms) begin(d);
}

static bool wait_for_end(cli_on_detect *d, double ms)
{
    const double end = cli_now_ms() + ms;
    while (d->running && cli_now_ms() < end) {
        nanosleep(&(struct timespec){0, LOOK_MS * 1000000L}, NULL);
        reap(d);
    }
    return !d->running;
}

static bool let_end(cli_on_detect *d)
{
    if (wait_for_end(d, END_MS)) return true;
    kill(-d->running, SIGTERM);
    if (!wait_for_end(d, KILL_MS)) kill(-d->running, SIGKILL);
    wait_for_end(d, END_MS);
    return false;
}

/* What waits may still run, if the one before it has ended in time and --every allows it. */
void cli_on_detect_finish(cli_on_detect *d)
{
    if (!let_end(d) || !d->waiting || cli_now_ms() - d->begun_ms < d->every_ms) return;
    begin(d);
    let_end(d);
}

void cli_on_detect_print(const cli_on_detect *d, FILE *to)
{
    fprintf(to, "on-detect    %lld commands", d->begun);
    if (d->failed) fprintf(to, ", %lld failed", d->failed);
    if (d->replaced + !!d->waiting)
        fprintf(to, ", %lld sightings passed over", d->replaced + !!d->waiting);
    fputc('\n', to);
}

void cli_on_detect_free(cli_on_detect **dp)
{
    if (!*dp) return;
    cli_on_detect *d = *dp;
    if (d->running) cli_on_detect_finish(d);
    free(d->command);
    free(d->waiting);
    free(d);
    *dp = NULL;
}
