/* crayon VERB ...: finds the verb and runs it. */
#include <errno.h>
#include <string.h>

#include "cli.h"
#include "crayon/cluster.h"

typedef struct verb {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
    bool together; /* several processes of an MPI run work on it; else the first alone does */
} verb;

static const verb verbs[] = {
    {"quantize", cmd_quantize, "make an INT8 model from a float one and a folder of pictures",
     true},
    {"qat", cmd_qat, "quantize, then train with the rounding in the loop; no labels", true},
    {"detect", cmd_detect, "find objects in pictures and video"},
    {"watch", cmd_watch, "follow a camera or video in the terminal"},
    {"eval", cmd_eval, "measure a model on labelled pictures (COCO metrics)", true},
    {"compare", cmd_compare, "how far do two models agree, layer by layer if wanted"},
    {"bench", cmd_bench, "measure speed and memory"},
    {"convert", cmd_convert, "write a model in another format, as it is"},
    {"inspect", cmd_inspect, "say what is in a model file"},
    {"train", cmd_train, "learn from labelled pictures, from scratch or from a model", true},
    {"synth", cmd_synth, "render labelled pictures to try things on"},
};
enum { VERB_COUNT = sizeof verbs / sizeof *verbs };

static int program_help(void)
{
    fputs("crayon: quantizes object detectors, runs them, and measures what they still see.\n\n"
          "usage: crayon VERB ... [options]\n\n",
          stdout);
    for (int i = 0; i < VERB_COUNT; i++) printf("  %-10s %s\n", verbs[i].name, verbs[i].summary);
    fputs("\n'crayon VERB --help' explains a verb; 'crayon --version' prints the version.\n\n"
          "example: a model, unlabelled pictures, one command, then the result at work\n"
          "  crayon quantize yolov8n.onnx -o yolov8n-int8.onnx --images pictures/\n"
          "  crayon detect yolov8n-int8.onnx street.jpg --save found/\n",
          stdout);
    return CLI_DONE;
}

static const verb *find_verb(const char *name)
{
    for (int i = 0; i < VERB_COUNT; i++)
        if (!strcmp(verbs[i].name, name)) return &verbs[i];
    return NULL;
}

static int no_such_verb(const char *name)
{
    fprintf(stderr, "crayon: no verb '%s'; verbs:", name);
    for (int i = 0; i < VERB_COUNT; i++) fprintf(stderr, "%s %s", i ? "," : "", verbs[i].name);
    fputs("; see 'crayon --help'\n", stderr);
    return CLI_USAGE;
}

/* Of several processes the first one speaks; false: this one has nothing to do. */
static bool take_part(const verb *v)
{
    if (cr_cluster_size() == 1) return true;
    const bool first = cr_cluster_rank() == 0;
    if (!v || !v->together) cr_cluster_leave();
    if (!first && v && v->together) cli_be_quiet(cr_cluster_rank());
    return first || (v && v->together);
}

static int run(int argc, char **argv)
{
    const verb *v = argc > 1 ? find_verb(argv[1]) : NULL;
    cr_error err;
    if (cr_cluster_start(&err) != CR_OK) return cli_fail(&err);
    if (!take_part(v)) return CLI_DONE;
    if (argc < 2) {
        fputs("crayon: a verb is missing; see 'crayon --help'\n", stderr);
        return CLI_USAGE;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help"))
        return program_help();
    if (!strcmp(argv[1], "--version")) {
        printf("crayon %s\n", cr_version());
        return CLI_DONE;
    }
    if (!v) return no_such_verb(argv[1]);
    cli_set_verb(v->name);
    return v->run(argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
    const int status = run(argc, argv);
    if (fflush(stdout) || ferror(stdout)) {
        if (status) return status;
        return cli_failf("standard output: cannot write: %s", strerror(errno));
    }
    return status;
}
