/* Configurations: what is printed reads back equal, whatever the values; what
 * is wrong is said with its place and changes nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/rng.h"
#include "runtime/config.h"

static const struct bound {
    const char *name, *type;
    double least, most;
} bounds[] = {
#define CG_WORD(id, word)
#define CG_KEY(name, type, init, least, most, line) {#name, #type, least, most},
#include "runtime/config.def"
#undef CG_WORD
#undef CG_KEY
};
#define N_KEYS (sizeof bounds / sizeof *bounds)

static void refused(cg_config *c, const char *text, const char *sentence)
{
    cg_config before = *c;
    assert_int_equal(cg_config_parse(c, text, "my.conf"), CG_EFORMAT);
    assert_string_equal(cg_error(), sentence);
    assert_null(cg_config_differs(c, &before));
}

static void round_trip(const cg_config *c)
{
    cg_config again = cg_config_default;
    char *text = cg_config_print(c);
    if (cg_config_parse(&again, text, "printed") != CG_OK)
        fail_msg("%s\n%s", cg_error(), text);
    if (cg_config_differs(c, &again))
        fail_msg("%s is not the same in\n%s", cg_config_differs(c, &again),
                 text);
    cg_xfree(text);
}

/* One value of the key, at `t` of its range; as a file would have it. */
static void spell(const struct bound *b, double t, char *out, size_t size)
{
    double x = b->least + t * (b->most - b->least);
    if (strcmp(b->type, "word") == 0)
        snprintf(out, size, "%s", cg_word_name((cg_word)(x + 0.5)));
    else if (strcmp(b->type, "bool") == 0)
        snprintf(out, size, "%s", t >= 0.5 ? "true" : "false");
    else if (strcmp(b->type, "int") == 0)
        snprintf(out, size, "%.0f", x);
    else if (strcmp(b->type, "float") == 0)
        snprintf(out, size, "%.17g", x);
    else
        snprintf(out, size, "\" a#b = \\\"%d\\\" \\\\ \\n\\xff\"",
                 (int)(t * 1000));
}

static void test_every_key(void **state)
{
    (void)state;
    cg_rng r = cg_rng_make(3, 1);
    for (int round = 0; round < 200; round++) {
        cg_config c = cg_config_default;
        for (size_t i = 0; i < N_KEYS; i++) {
            char value[128], line[256];
            double t = round < 2 ? round : cg_rng_below(&r, 1u << 30) * 0x1p-30;
            spell(&bounds[i], t, value, sizeof value);
            snprintf(line, sizeof line, "%s=%s", bounds[i].name, value);
            if (cg_config_set(&c, line) != CG_OK)
                fail_msg("%s", cg_error());
        }
        assert_non_null(cg_config_differs(&c, &cg_config_default));
        round_trip(&c);
    }
}

/* A default outside its own range could not be written down. */
static void test_defaults(void **state)
{
    (void)state;
    cg_config c = cg_config_default;
#define CG_WORD(id, word)
#define CG_KEY(name, type, init, least, most, line) \
    assert_true(in_range_##type(&c.name, least, most));
#define in_range_int(p, a, b) (*(p) >= (a) && *(p) <= (b))
#define in_range_float(p, a, b) (*(p) >= (a) && *(p) <= (b))
#define in_range_bool(p, a, b) (*(p) == (a) || *(p) == (b))
#define in_range_word(p, a, b) ((int)*(p) >= (int)(a) && *(p) <= (b))
#define in_range_text(p, a, b) in_range_int(&(int){(int)strlen(*(p))}, a, b)
#include "runtime/config.def"
#undef CG_WORD
#undef CG_KEY
    char *text = cg_config_print(&c);
    assert_string_equal(text, "");
    cg_xfree(text);
}

static void test_reading(void **state)
{
    (void)state;
    cg_config c = cg_config_default;
    assert_int_equal(cg_config_parse(&c,
        "# all of it\r\n\n  gnn_layers=3 # three\r\n\tlr   =  2e-3\n"
        "residual = true\nlabel_column = val#2 # here\nloss= huber", "x"),
                     CG_OK);
    assert_int_equal(c.gnn_layers, 3);
    assert_true(c.lr == 2e-3);
    assert_true(c.residual);
    assert_string_equal(c.label_column, "val#2");
    assert_int_equal(c.loss, CG_WORD_LOSS_HUBER);
    assert_int_equal(cg_config_set(&c, "label_column = \"\" # none"), CG_OK);
    char *text = cg_config_print(&c);
    assert_string_equal(text, "gnn_layers = 3\nresidual = true\nlr = 0.002\n"
                              "loss = huber\n");
    cg_xfree(text);
}

static void test_refused(void **state)
{
    (void)state;
    cg_config c = cg_config_default;
    c.tau = 0.07;
    refused(&c, "lr = 0.1\n\ngnn_layer = 3", "my.conf, line 3: there is no key "
            "'gnn_layer'; the nearest is 'gnn_layers'");
    refused(&c, "warm_up = 3", "my.conf, line 1: there is no key 'warm_up'; "
            "the nearest is 'warmup'");
    refused(&c, "lr = fast", "my.conf, line 1: lr is a number, not 'fast'");
    refused(&c, "lr =", "my.conf, line 1: lr is a number, not ''");
    refused(&c, "lr = 1e-4x", "my.conf, line 1: lr is a number, not '1e-4x'");
    refused(&c, "lr = nan", "my.conf, line 1: lr = nan is out of range, which "
            "is 0 to 10");
    refused(&c, "lr = -1", "my.conf, line 1: lr = -1 is out of range, which is "
            "0 to 10");
    refused(&c, "batch = 0", "my.conf, line 1: batch = 0 is out of range, "
            "which is 1 to 65536");
    refused(&c, "batch = 99999999999999999999", "my.conf, line 1: batch = "
            "99999999999999999999 is out of range, which is 1 to 65536");
    refused(&c, "batch = 4294967424", "my.conf, line 1: batch = 4294967424 is "
            "out of range, which is 1 to 65536");
    refused(&c, "batch = 1.5", "my.conf, line 1: batch is a whole number, not "
            "'1.5'");
    refused(&c, "norm = yes", "my.conf, line 1: norm is true or false, not "
            "'yes'");
    refused(&c, "label = adam", "my.conf, line 1: label is one of accuracy, "
            "error_log, flops_transform, not 'adam'");
    refused(&c, "lr = 1\n#\nlr = 1", "my.conf, line 3: lr is set in line 1 "
            "already");
    refused(&c, "learn", "my.conf, line 1: 'learn' is not 'key = value'");
    refused(&c, "lr # = 3", "my.conf, line 1: 'lr # = 3' is not "
            "'key = value'");
    refused(&c, "label_column = \"x", "my.conf, line 1: the value of "
            "label_column is no quoted text");
    refused(&c, "label_column = \"x\" y", "my.conf, line 1: 'y' is behind the "
            "value of label_column");
    assert_int_equal(cg_config_set(&c, "lr=x"), CG_EUSAGE);
    assert_string_equal(cg_error(), "--set lr=x: lr is a number, not 'x'");
    assert_int_equal(cg_config_set(&c, ""), CG_EUSAGE);
    assert_true(c.tau == 0.07 && c.lr == cg_config_default.lr);
}

static void test_long_text(void **state)
{
    (void)state;
    cg_config c = cg_config_default;
    char line[400];
    memset(line, 'x', sizeof line);
    memcpy(line, "label_column=", 13);
    line[13 + 255] = '\0';
    assert_int_equal(cg_config_set(&c, line), CG_OK);
    assert_int_equal(strlen(c.label_column), 255);
    round_trip(&c);
    line[13 + 255] = 'x';
    line[13 + 256] = '\0';
    assert_int_equal(cg_config_set(&c, line), CG_EUSAGE);
    assert_non_null(strstr(cg_error(), "256 bytes; it can have 0 to 255"));
}

static void write_text(const char *path, const char *text, size_t n)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void test_names(void **state)
{
    (void)state;
    char dir[] = "/tmp/gennape-config-XXXXXX";
    cg_config c = cg_config_default;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(chdir(dir), 0);
    assert_int_equal(cg_config_load(&c, "paper"), CG_OK);
    assert_null(cg_config_differs(&c, &cg_config_default));
    assert_int_equal(mkdir("best", 0777), 0);
    if (cg_config_load(&c, "best") != CG_OK)
        fail_msg("%s", cg_error());
    assert_int_equal(c.form, CG_WORD_FORM_FUSED);
    round_trip(&c);
    assert_int_equal(rmdir("best"), 0);
    assert_int_equal(cg_config_load(&c, "bset"), CG_EUSAGE);
    assert_string_equal(cg_error(), "bset: neither a file nor one of the "
                                    "configurations built in (paper, best)");

    c = cg_config_default;
    write_text("paper", "heads = 4\n", 10); /* a file comes first */
    assert_int_equal(cg_config_load(&c, "paper"), CG_OK);
    assert_int_equal(c.heads, 4);
    write_text("paper", "heads = 4\0\n", 11);
    assert_int_equal(cg_config_load(&c, "paper"), CG_EFORMAT);
    assert_string_equal(cg_error(), "paper: has a NUL byte: no text");
    write_text("paper", "\n\nheads = a\n", 12);
    assert_int_equal(cg_config_load(&c, "paper"), CG_EFORMAT);
    assert_string_equal(cg_error(), "paper, line 3: heads is a whole number, "
                                    "not 'a'");
    assert_int_equal(unlink("paper"), 0);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(rmdir(dir), 0);
}

/* Whatever the text says, the outcome is a configuration or a sentence. */
static void test_damaged_text(void **state)
{
    (void)state;
    static const char some[] = "lr = 2e-3 # x\nlabel_column = \"a\\x41\"\n"
                               "loss = huber\nbatch=12\nnorm = true\n";
    cg_rng r = cg_rng_make(5, 1);
    int fine = 0, bad = 0;
    for (int k = 0; k < 20000; k++) {
        char text[sizeof some];
        memcpy(text, some, sizeof some);
        for (uint32_t e = 1 + cg_rng_below(&r, 4); e > 0; e--)
            text[cg_rng_below(&r, sizeof some - 1)] =
                cg_rng_below(&r, 2) ? some[cg_rng_below(&r, sizeof some)]
                                    : (char)cg_rng_below(&r, 256);
        cg_config c = cg_config_default;
        if (cg_config_parse(&c, text, "x") == CG_OK) {
            fine++;
            round_trip(&c);
        } else {
            bad++;
            assert_memory_equal(cg_error(), "x, line ", 8);
        }
    }
    assert_true(fine > 100 && bad > 100);
}

static void test_help(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    cg_config_help(f, &cg_config_default);
    fclose(f);
    const char *at = text;
    for (size_t i = 0; i < N_KEYS; i++) { /* in the order of the table */
        char line[128];
        snprintf(line, sizeof line, "%s = ", bounds[i].name);
        at = strstr(at, line);
        assert_non_null(at);
    }
    assert_non_null(strstr(text, "the regression (mse, huber)"));
    assert_non_null(strstr(at, "best"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_key),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_reading),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_long_text),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_damaged_text),
        cmocka_unit_test(test_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
