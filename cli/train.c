/* crayon train: a detector or classifier from labelled pictures. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "crayon/train.h"

static const char help[] =
    "usage: crayon train --arch NAME|MODEL --data DATA -o OUT [options]\n"
    "\n"
    "Learns from labelled pictures: an architecture from scratch, or a float model file further on.\n"
    "The weights kept are the averaged ones of the moment that scored best on pictures kept apart;\n"
    "of a model those that it came with, if nothing scores better.\n"
    "\n"
    "  --arch NAME          pico (240 thousand weights, strides 8 and 16), yolov8n, yolov8s or\n"
    "                       yolov8m; with -seg, -pose or -cls for masks, keypoints or classes\n"
    "  --data DATA          an Ultralytics data.yaml, a folder of pictures per class, or the folder\n"
    "                       of pictures that --labels speaks of\n"
    "  --labels FILE        COCO instances.json or a folder of Pascal VOC .xml files\n"
    "  --val DATA           other pictures to judge by, given in the same ways (a tenth of --data,\n"
    "                       at most 500, which then are not trained on)\n"
    "  --val-labels FILE    their labels\n"
    "  -o, --output OUT     the model, in the format of its ending (.onnx)\n"
    "  --imgsz N|HxW        input of the architecture (640; classifiers 224)\n"
    "  --epochs N           times that every picture is seen (100)\n"
    "  --steps N            length in steps instead\n"
    "  --minutes M          length in minutes instead\n"
    "  --batch N            pictures per step (16)\n"
    "  --pass N             pictures at once; gradients of passes add up (an architecture: all,\n"
    "                       since its normalization is over them; a model: 1)\n"
    "  --optimiser O        muon (matrices by Muon, the rest by AdamW), adamw or sgd (muon)\n"
    "  --rate R             highest learning rate (muon .02, adamw .001, sgd .01; a tenth of it for\n"
    "                       a model)\n"
    "  --augment A          none, flip (mirrored or not), symmetry (the eight of the square, where\n"
    "                       up, down, left and right are alike), or yolo (mosaic, scale, shift,\n"
    "                       mirror and colour, as YOLOv8 is trained) (flip)\n"
    "  --validate-every N   steps between validations (an epoch, or a twentieth of the run)\n"
    "  --patience N         stop after N validations without a better one (0: never)\n"
    "  --checkpoint FILE    keep all that is needed to go on in FILE, once a minute\n"
    "  --checkpoint-every N every N steps as well\n"
    "  --resume             go on from --checkpoint, to the same bits, if it is there\n"
    "  --seed S             0 to 2^64 - 1 (0)\n"
    "  --report F.html      a page with the curves\n"
    "  --json               print JSON\n"
    "  --threads N          threads to use (all cores); results do not depend on it\n"
    "  --cpu LEVEL          use no instructions above this level: c, avx2, avx512, ...\n"
    "  --help               this text\n"
    "\n"
    "JSON: {\"output\", \"metric\", \"best\", \"best_step\", \"steps\", \"seconds\", \"pictures\", \"judged\",\n"
    "\"objects\", \"missing\", \"broken\", \"unknown\", \"left_out\", \"validations\": [{\"step\", \"score\"}]}.\n"
    "\n"
    "example: a detector of drawn shapes\n"
    "  crayon synth shapes -n 4000 --seed 1\n"
    "  crayon train --arch pico --imgsz 256 --data shapes/images --labels shapes/instances.json \\\n"
    "      --augment symmetry --epochs 12 --checkpoint shapes.state --resume -o shapes.onnx\n";

enum {
    OPT_ARCH = 256,
    OPT_DATA,
    OPT_LABELS,
    OPT_VAL,
    OPT_VAL_LABELS,
    OPT_EPOCHS,
    OPT_STEPS,
    OPT_MINUTES,
    OPT_BATCH,
    OPT_PASS,
    OPT_OPTIMISER,
    OPT_RATE,
    OPT_AUGMENT,
    OPT_VALIDATE,
    OPT_PATIENCE,
    OPT_CHECKPOINT,
    OPT_CHECKPOINT_EVERY,
    OPT_RESUME,
    OPT_SEED,
    OPT_REPORT,
    OPT_JSON
};

static const struct option options[] = {{"arch", required_argument, NULL, OPT_ARCH},
                                        {"data", required_argument, NULL, OPT_DATA},
                                        {"labels", required_argument, NULL, OPT_LABELS},
                                        {"val", required_argument, NULL, OPT_VAL},
                                        {"val-labels", required_argument, NULL, OPT_VAL_LABELS},
                                        {"output", required_argument, NULL, 'o'},
                                        {"epochs", required_argument, NULL, OPT_EPOCHS},
                                        {"steps", required_argument, NULL, OPT_STEPS},
                                        {"minutes", required_argument, NULL, OPT_MINUTES},
                                        {"batch", required_argument, NULL, OPT_BATCH},
                                        {"pass", required_argument, NULL, OPT_PASS},
                                        {"optimiser", required_argument, NULL, OPT_OPTIMISER},
                                        {"rate", required_argument, NULL, OPT_RATE},
                                        {"augment", required_argument, NULL, OPT_AUGMENT},
                                        {"validate-every", required_argument, NULL, OPT_VALIDATE},
                                        {"patience", required_argument, NULL, OPT_PATIENCE},
                                        {"checkpoint", required_argument, NULL, OPT_CHECKPOINT},
                                        {"checkpoint-every", required_argument, NULL,
                                         OPT_CHECKPOINT_EVERY},
                                        {"resume", no_argument, NULL, OPT_RESUME},
                                        {"seed", required_argument, NULL, OPT_SEED},
                                        {"report", required_argument, NULL, OPT_REPORT},
                                        {"json", no_argument, NULL, OPT_JSON},
                                        CLI_COMMON_OPTIONS};

typedef struct job {
    cli_common common;
    cr_train_options train;
    const char *data, *labels, *val, *val_labels, *out, *report;
    char *command;
    bool json;
} job;

static int take_count(const char *name, long long low, long long high, int *out)
{
    long long n;
    if (!cli_integer(name, optarg, low, high, &n)) return CLI_USAGE;
    *out = (int)n;
    return CLI_DONE;
}

static int take_length(int code, cr_train_options *t)
{
    long long n;
    switch (code) {
    case OPT_EPOCHS:
        return cli_real("epochs", optarg, 1e-6, 1e6, &t->epochs) ? CLI_DONE : CLI_USAGE;
    case OPT_MINUTES:
        return cli_real("minutes", optarg, 1e-3, 1e6, &t->minutes) ? CLI_DONE : CLI_USAGE;
    case OPT_STEPS:
        if (!cli_integer("steps", optarg, 1, 1000000000, &n)) return CLI_USAGE;
        t->steps = n;
        return CLI_DONE;
    case OPT_CHECKPOINT_EVERY:
        if (!cli_integer("checkpoint-every", optarg, 1, 1000000000, &n)) return CLI_USAGE;
        t->checkpoint_every = n;
        return CLI_DONE;
    default:
        if (!cli_integer("validate-every", optarg, 1, 1000000000, &n)) return CLI_USAGE;
        t->validate_every = n;
        return CLI_DONE;
    }
}

static int take_method(int code, job *j)
{
    static const char *const optimisers[] = {"muon", "adamw", "sgd", NULL};
    static const char *const augments[] = {"none", "flip", "symmetry", "yolo", NULL};
    cr_train_options *t = &j->train;
    int choice;
    switch (code) {
    case OPT_OPTIMISER:
        if (!cli_choice("optimiser", optarg, optimisers, &choice)) return CLI_USAGE;
        t->optimiser = (cr_train_optimiser)choice;
        return CLI_DONE;
    case OPT_AUGMENT:
        if (!cli_choice("augment", optarg, augments, &choice)) return CLI_USAGE;
        t->augment = (cr_train_augment)choice;
        return CLI_DONE;
    case OPT_RATE:
        return cli_real("rate", optarg, 1e-9, 1e3, &t->rate) ? CLI_DONE : CLI_USAGE;
    case OPT_BATCH:
        return take_count("batch", 1, 1024, &t->batch);
    case OPT_PASS:
        return take_count("pass", 1, 1024, &t->pass);
    default:
        return take_count("patience", 0, 1000000, &t->patience);
    }
}

static int take_option(int code, char **argv, job *j)
{
    const char **const texts[] = {[OPT_ARCH - OPT_ARCH] = &j->train.arch,
                                  [OPT_DATA - OPT_ARCH] = &j->data,
                                  [OPT_LABELS - OPT_ARCH] = &j->labels,
                                  [OPT_VAL - OPT_ARCH] = &j->val,
                                  [OPT_VAL_LABELS - OPT_ARCH] = &j->val_labels};
    if (code >= OPT_ARCH && code <= OPT_VAL_LABELS) {
        *texts[code - OPT_ARCH] = optarg;
        return CLI_DONE;
    }
    switch (code) {
    case 'o':
        j->out = optarg;
        return CLI_DONE;
    case OPT_EPOCHS:
    case OPT_STEPS:
    case OPT_MINUTES:
    case OPT_VALIDATE:
    case OPT_CHECKPOINT_EVERY:
        return take_length(code, &j->train);
    case OPT_CHECKPOINT:
        j->train.checkpoint = optarg;
        return CLI_DONE;
    case OPT_RESUME:
        j->train.resume = true;
        return CLI_DONE;
    case OPT_SEED:
        return cli_seed(optarg, &j->train.seed) ? CLI_DONE : CLI_USAGE;
    case OPT_REPORT:
        j->report = optarg;
        return CLI_DONE;
    case OPT_JSON:
        j->json = true;
        return CLI_DONE;
    default:
        if (code >= OPT_BATCH && code <= OPT_PATIENCE) return take_method(code, j);
        return cli_common_option(code, argv, &j->common);
    }
}

static int check(job *j, int given, char **argv)
{
    cr_train_options *t = &j->train;
    if (given > 1) return cli_usage("one model or --arch is needed, %d models given", given);
    if (given) t->model = argv[0];
    if (!t->arch == !t->model) return cli_usage("either --arch or a model is needed");
    if (!j->data) return cli_usage("--data is needed");
    if (!j->out) return cli_usage("-o is needed");
    if (j->val_labels && !j->val) return cli_usage("--val-labels needs --val");
    if (t->resume && !t->checkpoint) return cli_usage("--resume needs --checkpoint");
    if (t->pass && t->batch % t->pass)
        return cli_usage("--batch %d is no whole number of passes of %d", t->batch, t->pass);
    if (t->model && cli_same_file(t->model, j->out))
        return cli_usage("-o %s would overwrite the model", j->out);
    t->data = j->labels ? j->labels : j->data;
    t->images = j->labels ? j->data : NULL;
    t->val = j->val_labels ? j->val_labels : j->val;
    t->val_images = j->val_labels ? j->val : NULL;
    return CLI_DONE;
}

/* ---- what came of it ---- */

static void print_text(const job *j, const cr_train_result *r)
{
    printf("trained    %lld steps on %zu pictures with %zu objects, %.0f s\n", (long long)r->steps,
           r->pictures, r->objects, r->seconds);
    if (r->missing || r->broken || r->unknown || r->left_out)
        printf("left out   %zu pictures not there, %zu unreadable, %zu objects of unknown classes, "
               "%lld steps\n",
               r->missing, r->broken, r->unknown, (long long)r->left_out);
    printf("best       %s %.4f on %zu pictures, after step %lld\n", r->metric, r->best, r->judged,
           (long long)r->best_step);
    printf("written    %s, %.2f MB\n", j->out, cli_size_of(j->out) / 1e6);
}

static void print_json(const job *j, const cr_train_result *r)
{
    cli_json o = {.out = stdout};
    cli_json_open(&o, NULL, '{');
    cli_json_string(&o, "output", j->out);
    cli_json_string(&o, "metric", r->metric);
    cli_json_real(&o, "best", r->best);
    cli_json_integer(&o, "best_step", r->best_step);
    cli_json_integer(&o, "steps", r->steps);
    cli_json_real(&o, "seconds", r->seconds);
    cli_json_integer(&o, "pictures", (long long)r->pictures);
    cli_json_integer(&o, "judged", (long long)r->judged);
    cli_json_integer(&o, "objects", (long long)r->objects);
    cli_json_integer(&o, "missing", (long long)r->missing);
    cli_json_integer(&o, "broken", (long long)r->broken);
    cli_json_integer(&o, "unknown", (long long)r->unknown);
    cli_json_integer(&o, "left_out", r->left_out);
    cli_json_open(&o, "validations", '[');
    for (size_t i = 0; i < r->mark_count; i++) {
        cli_json_open(&o, NULL, '{');
        cli_json_integer(&o, "step", r->marks[i].step);
        cli_json_real(&o, "score", r->marks[i].score);
        cli_json_close(&o, '}');
    }
    cli_json_close(&o, ']');
    cli_json_close(&o, '}');
    printf("\n");
}

static cr_status write_page(const job *j, const cr_train_result *r, cr_error *err)
{
    cr_report_page *page = NULL;
    if (!j->report) return CR_OK;
    cr_status st = cr_report_open(cli_base_name(j->out), j->command ? j->command : "", &page, err);
    if (st == CR_OK) {
        cr_report_training(page, r);
        st = cr_report_save(page, j->report, err);
    }
    cr_report_close(&page);
    return st;
}

static cr_status run(job *j, cr_error *err)
{
    cr_train_result r;
    j->train.height = j->common.height;
    j->train.width = j->common.width;
    j->train.threads = j->common.threads;
    j->train.progress = cli_progress();
    j->train.say = cli_say_line;
    j->train.warn = cli_warn_line;
    cr_status st = j->report ? cli_check_writable(j->report, err) : CR_OK;
    if (st == CR_OK) st = cli_check_writable(j->out, err);
    if (st == CR_OK) st = cr_train(&j->train, j->out, &r, err);
    if (st != CR_OK) return st;
    cli_progress_clear();
    if (j->json)
        print_json(j, &r);
    else
        print_text(j, &r);
    st = write_page(j, &r, err);
    cr_train_result_free(&r);
    return st;
}

int cmd_train(int argc, char **argv)
{
    job j = {.train = cr_train_options_default()};
    cr_error err = {0};
    int code;
    opterr = 0;
    while ((code = getopt_long(argc, argv, ":o:", options, NULL)) != -1) {
        const int status = take_option(code, argv, &j);
        if (status != CLI_DONE) return status;
        if (j.common.help) return cli_help(help);
    }
    const int status = check(&j, argc - optind, argv + optind);
    if (status != CLI_DONE) return status;
    j.command = cli_command_text(argc, argv);
    const cr_status st = run(&j, &err);
    free(j.command);
    return st == CR_OK ? CLI_DONE : cli_fail(&err);
}
