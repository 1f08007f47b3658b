/* The unpickler: what each operation gives, what is bounded, and memory that runs out. Files that
 * are hostile as a whole are in tests/cli/bad_checkpoints.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "torch/checkpoint.h"
#include "torch/torch.h"

/* Reads a string literal's bytes (without its 0). */
#define READ(arena, text, p, err)                                                                  \
    cr_pkl_read((const unsigned char *)(text), sizeof(text) - 1, (arena), (p), (err))

static void expect_int(const char *bytes, size_t n, int64_t want)
{
    cr_arena a = {0};
    cr_error err = {0};
    cr_pickle p;
    assert_int_equal(cr_pkl_read((const unsigned char *)bytes, n, &a, &p, &err), CR_OK);
    assert_int_equal(p.root->kind, CR_PKL_INT);
    assert_int_equal(p.root->i, want);
    assert_int_equal(p.size, n);
    cr_arena_free(&a);
}

static void numbers(void **state)
{
    (void)state;
    expect_int("\x80\x02K\xff.", 5, 255);
    expect_int("\x80\x02M\x01\x02.", 6, 513);
    expect_int("\x80\x02J\xfe\xff\xff\xff.", 8, -2);
    expect_int("\x80\x02\x8a\x00.", 5, 0);
    expect_int("\x80\x02\x8a\x01\x80.", 6, -128);
    expect_int("\x80\x02\x8a\x02\x80\x00.", 7, 128);
    expect_int("\x80\x02\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80.", 13, INT64_MIN);
    cr_arena a = {0};
    cr_pickle p;
    assert_int_equal(READ(&a, "\x80\x02G\xbf\xf8\0\0\0\0\0\0.", &p, NULL), CR_OK);
    assert_true(cr_pkl_float(p.root, 0) == -1.5);
    assert_int_equal(cr_pkl_int(p.root, 7), 7);
    assert_int_equal(READ(&a, "\x80\x02G\x40\x08\0\0\0\0\0\0.", &p, NULL), CR_OK);
    assert_int_equal(cr_pkl_int(p.root, 7), 3);
    cr_arena_free(&a);
}

static void dicts(void **state)
{
    (void)state;
    cr_arena a = {0};
    cr_pickle p;
    /* {"a": 1, "b": [2, 3], "a": 4}, the second pair by SETITEM: a later key wins */
    assert_int_equal(READ(&a, "\x80\x02}(U\001aK\001U\001b](K\002K\003euU\001aK\004s.", &p, NULL),
                     CR_OK);
    assert_int_equal(cr_pkl_int(cr_pkl_get(p.root, "a"), 0), 4);
    const cr_pkl *list = cr_pkl_get(p.root, "b");
    assert_int_equal(list->kind, CR_PKL_LIST);
    assert_int_equal(list->list.count, 2);
    assert_int_equal(cr_pkl_int(list->list.item[1], 0), 3);
    assert_null(cr_pkl_get(p.root, "c"));
    assert_null(cr_pkl_get(list, "a"));
    /* an ordered dict of pairs, and one by memo that holds itself */
    assert_int_equal(READ(&a,
                          "\x80\x02"
                          "ccollections\nOrderedDict\n](U\001xK\005\x86"
                          "e\x85R.",
                          &p, NULL),
                     CR_OK);
    assert_int_equal(cr_pkl_int(cr_pkl_get(p.root, "x"), 0), 5);
    assert_int_equal(READ(&a, "\x80\x02}q\001U\004selfh\001s.", &p, NULL), CR_OK);
    assert_ptr_equal(cr_pkl_get(p.root, "self"), p.root);
    cr_arena_free(&a);
}

static void objects(void **state)
{
    (void)state;
    cr_arena a = {0};
    cr_pickle p;
    assert_int_equal(READ(&a,
                          "\x80\x02"
                          "cultralytics.nn.modules.conv\nConv\n)\x81}U\001iK\003sb.",
                          &p, NULL),
                     CR_OK);
    assert_string_equal(cr_pkl_class(p.root), "Conv");
    assert_int_equal(cr_pkl_int(cr_pkl_get(p.root->object.state, "i"), 0), 3);
    /* state of a class with slots: (dict, slots) */
    assert_int_equal(READ(&a,
                          "\x80\x02"
                          "ctorch.nn.modules.conv\nConv2d\n)\x81}U\001iK\003sN\x86"
                          "b.",
                          &p, NULL),
                     CR_OK);
    assert_int_equal(cr_pkl_int(cr_pkl_get(p.root->object.state, "i"), 0), 3);
    cr_arena_free(&a);
}

static void tensors(void **state)
{
    (void)state;
    cr_arena a = {0};
    cr_error err = {0};
    cr_pickle p;
#define STORED "(U\007storagectorch\nHalfStorage\nU\0010U\003cpuK\x06tQ"
#define REBUILT                                                                                    \
    "\x80\x02"                                                                                     \
    "ctorch._utils\n_rebuild_tensor_v2\n("
    assert_int_equal(READ(&a,
                          REBUILT STORED "K\000K\002K\003\x86K\003K\001\x86\x89"
                                         "ccollections\nOrderedDict\n)RtR.",
                          &p, &err),
                     CR_OK);
    assert_int_equal(p.root->kind, CR_PKL_TENSOR);
    assert_int_equal(p.root->tensor.size[1], 3);
    assert_string_equal(p.root->tensor.storage->type, "HalfStorage");
    assert_ptr_equal(p.storages, p.root->tensor.storage);
    /* one element further it would leave the storage */
    assert_int_equal(READ(&a, REBUILT STORED "K\001K\002K\003\x86K\003K\001\x86tR.", &p, &err),
                     CR_ERR_FORMAT);
    assert_non_null(strstr(err.message, "beyond its storage"));
    /* no elements at all: anywhere */
    assert_int_equal(READ(&a, REBUILT STORED "K\007K\000\x85K\001\x85tR.", &p, &err), CR_OK);
    /* a dimension of one is never stepped over, whatever its stride */
    assert_int_equal(
        READ(&a, REBUILT STORED "K\000K\001\x85\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85tR.", &p,
             &err),
        CR_OK);
    assert_int_equal(p.root->tensor.stride[0], 0);
    cr_arena_free(&a);
}

static void names(void **state)
{
    (void)state;
    static const char *const refused[][2] = {{"os", "system"},
                                             {"posix", "system"},
                                             {"nt", "system"},
                                             {"builtins", "eval"},
                                             {"builtins", "exec"},
                                             {"__builtin__", "compile"},
                                             {"builtins", "__import__"},
                                             {"subprocess", "Popen"},
                                             {"importlib", "import_module"},
                                             {"torch", "load"},
                                             {"torch.hub", "load"},
                                             {"torch.storage", "_load_from_bytes"},
                                             {"torch.jit", "load"},
                                             {"pickle", "loads"},
                                             {"numpy", "load"},
                                             {"ultralytics", "os.system"},
                                             {"ultralyticsx.nn", "Conv"},
                                             {"torch.nn.modulesx", "Conv2d"},
                                             {"models.yolo.os", "system"},
                                             {"", ""},
                                             {"torch.nn.functional", "F.os"},
                                             {"torch", "Storage.x"}};
    cr_pkl_call call;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (cr_pkl_lookup(refused[i][0], refused[i][1], &call))
            fail_msg("%s.%s is known", refused[i][0], refused[i][1]);
    assert_true(cr_pkl_lookup("torch.nn.modules.conv", "Conv2d", &call) && call == CR_CALL_RECORD);
    assert_true(cr_pkl_lookup("ultralytics.nn.tasks", "DetectionModel", &call) &&
                call == CR_CALL_RECORD);
    assert_true(cr_pkl_lookup("torch", "BFloat16Storage", &call) && call == CR_CALL_NEVER);
    assert_true(cr_pkl_lookup("torch.nn.functional", "silu", &call) && call == CR_CALL_NEVER);
}

/* A checkpoint of one convolution 1x1 without bias, in the older container. */
#define PAIR(key, value) "U" key value
static const char one_conv[] =
    "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
    "\x80\x02M\xe9\x03."
    "\x80\x02}U\x0dlittle_endian\x88s."
    "\x80\x02"
    "}U\005model" /* {"model": DetectionModel */
    "cultralytics.nn.tasks\nDetectionModel\n)\x81}(" PAIR(
        "\x08_modules",
        "}U\005model"
        "ctorch.nn.modules.container\nSequential\n)\x81}" PAIR(
            "\x08_modules",
            "}U\0010"
            "ctorch.nn.modules.conv\nConv2d\n)\x81}(" PAIR("\x01"
                                                           "f",
                                                           "J\xff\xff\xff\xff")
                PAIR("\x0b_parameters", "}U\006weight"
                                        "ctorch._utils\n_rebuild_tensor_v2\n(("
                                        "U\007storagectorch\nFloatStorage\nU\0017U\003cpuK\003tQ"
                                        "K\000(K\001K\003K\001K\001t(K\003K\001K\001K\001t\x89"
                                        "}tRs") "ubs") "sbs") PAIR("\005names", "]U\001xa")
        PAIR("\004args", "}U\005imgszK\x08s") "ubs."
                                              "\x80\x02]U\0017a."
                                              "\x03\0\0\0\0\0\0\0"
                                              "\0\0\x80\x3f"
                                              "\0\0\0\x40"
                                              "\0\0\0\xbf";

static void whole_model(void **state)
{
    (void)state;
    cr_error err = {0};
    cr_graph *g = NULL;
    const cr_status st =
        cr_torch_parse((const unsigned char *)one_conv, sizeof one_conv - 1, "t", NULL, &g, &err);
    if (st != CR_OK) fail_msg("%s", err.message);
    assert_int_equal(g->node_count, 1);
    assert_string_equal(g->nodes[0]->name, "/model.0/Conv");
    assert_string_equal(g->nodes[0]->in[1]->name, "model.0.weight");
    const float *w = g->nodes[0]->in[1]->data;
    assert_true(w[0] == 1 && w[1] == 2 && w[2] == -0.5f);
    assert_string_equal(cr_graph_meta(g, "names"), "{0: 'x'}");
    assert_string_equal(cr_graph_meta(g, "imgsz"), "[8, 8]");
    assert_string_equal(g->outputs[0]->name, "output0");
    cr_graph_free(&g);
}

/* Every prefix is refused with one line: each byte is needed. */
static void prefixes(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof one_conv - 1; n++) {
        cr_error err = {0};
        cr_graph *g = NULL;
        unsigned char *exact = cr_malloc(n + 1);
        memcpy(exact, one_conv, n);
        const cr_status st = cr_torch_parse(exact, n, "t", NULL, &g, &err);
        cr_free(exact);
        assert_int_not_equal(st, CR_OK);
        assert_null(g);
        assert_true(err.message[0] && !strchr(err.message, '\n'));
    }
}

static void no_memory(void **state)
{
    (void)state;
    long n = 0;
    for (;; n++) {
        cr_error err = {0};
        cr_graph *g = NULL;
        cr_alloc_fail_after(n);
        const cr_status st = cr_torch_parse((const unsigned char *)one_conv, sizeof one_conv - 1,
                                            "t", NULL, &g, &err);
        cr_alloc_fail_after(-1);
        if (st == CR_OK) {
            cr_graph_free(&g);
            break;
        }
        if (st != CR_ERR_MEMORY) fail_msg("allocation %ld: status %d, %s", n, st, err.message);
        assert_null(g);
    }
    assert_true(n > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),  cmocka_unit_test(dicts),     cmocka_unit_test(objects),
        cmocka_unit_test(tensors),  cmocka_unit_test(names),     cmocka_unit_test(whole_model),
        cmocka_unit_test(prefixes), cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests_name("pickle", tests, NULL, NULL);
}
