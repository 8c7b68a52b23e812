/* The zoo's codes: what is drawn parses and prints the same, what is not a
 * code is refused with a position, and whatever parses builds a valid graph. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "frontend/zoo/zoo.h"
#include "passes/passes.h"

#define SAMPLES 50
#define TRIES 1000

static const cg_zoo_opts no_options;

/* Parses, and if it is a code builds it, runs the passes, prints it again. */
static bool try_code(const cg_zoo_family *f, const char *code, bool passes)
{
    _Alignas(16) char arch[CG_ZOO_ARCH_MAX] = {0};
    char again[CG_ZOO_CODE_MAX];
    cg_net net;
    if (f->parse(code, arch) != CG_OK) {
        if (strncmp(cg_error(), "position ", 9) != 0)
            fail_msg("%s '%s': %s", f->name, code, cg_error());
        return false;
    }
    f->print(arch, again);
    assert_string_equal(again, code);
    if (cg_zoo_build(f, &no_options, code, &net) != CG_OK) {
        assert_non_null(strstr(cg_error(), f->name));
        return false;
    }
    assert_int_equal(cg_graph_validate(net.graph, NULL), CG_OK);
    if (passes &&
        cg_run_passes(net.graph, CG_HAS(flops) | CG_HAS(hash), NULL) != CG_OK)
        fail_msg("%s '%s': %s", f->name, code, cg_error());
    cg_graph_free(net.graph);
    return true;
}

static void draw(const cg_zoo_family *f, uint64_t seed, int mutations,
                 char *code)
{
    _Alignas(16) char arch[CG_ZOO_ARCH_MAX] = {0};
    cg_rng r = cg_rng_make(seed, 7);
    f->sample(&r, &no_options, arch);
    for (int i = 0; i < mutations; i++)
        f->mutate(&r, &no_options, arch);
    f->print(arch, code);
}

static void test_examples(void **state)
{
    (void)state;
    for (size_t i = 0; i < cg_zoo_n_families; i++)
        if (!try_code(cg_zoo_families[i], cg_zoo_families[i]->example, true))
            fail_msg("%s", cg_error());
}

/* The types the builders set are those that pass shapes finds. */
static void test_samples(void **state)
{
    (void)state;
    for (size_t i = 0; i < cg_zoo_n_families; i++) {
        char code[CG_ZOO_CODE_MAX], same[CG_ZOO_CODE_MAX];
        int built = 0;
        for (uint64_t k = 0; k < SAMPLES; k++) {
            draw(cg_zoo_families[i], k, (int)(k % 3), code);
            draw(cg_zoo_families[i], k, (int)(k % 3), same);
            assert_string_equal(code, same);
            built += try_code(cg_zoo_families[i], code, true);
        }
        assert_true(built > SAMPLES / 2); /* nb201 may have no path */
    }
}

static void test_mutated_text(void **state)
{
    (void)state;
    cg_rng r = cg_rng_make(1, 1);
    for (size_t i = 0; i < cg_zoo_n_families; i++) {
        for (int k = 0; k < TRIES; k++) {
            char code[CG_ZOO_CODE_MAX];
            draw(cg_zoo_families[i], (uint64_t)k % 17, 0, code);
            size_t n = strlen(code);
            for (uint32_t e = 1 + cg_rng_below(&r, 3); e > 0 && n > 0; e--) {
                uint32_t at = cg_rng_below(&r, (uint32_t)n);
                uint32_t what = cg_rng_below(&r, 3);
                if (what == 0) { /* from elsewhere in the code */
                    code[at] = code[cg_rng_below(&r, (uint32_t)n)];
                } else if (what == 1) {
                    code[at] = (char)(1 + cg_rng_below(&r, 255));
                } else {
                    memmove(code + at, code + at + 1, n - at);
                    n--;
                }
            }
            try_code(cg_zoo_families[i], code, false);
        }
    }
}

static void test_random_bytes(void **state)
{
    (void)state;
    cg_rng r = cg_rng_make(2, 2);
    for (size_t i = 0; i < cg_zoo_n_families; i++) {
        for (int k = 0; k < TRIES; k++) {
            char code[CG_ZOO_CODE_MAX];
            uint32_t n = cg_rng_below(&r, k % 10 ? 60 : CG_ZOO_CODE_MAX);
            for (uint32_t c = 0; c < n; c++)
                code[c] = (char)(1 + cg_rng_below(&r, 255));
            code[n] = '\0';
            try_code(cg_zoo_families[i], code, false);
        }
    }
}

static void test_find(void **state)
{
    (void)state;
    const cg_zoo_family *f;
    cg_zoo_opts o;
    assert_int_equal(cg_zoo_find("ofa_mbv3:width=1.2", &f, &o), CG_OK);
    assert_string_equal(f->name, "ofa_mbv3");
    assert_true(cg_zoo_number(&o, "width", 1) == 1.2);
    assert_int_equal(cg_zoo_find("resnet", &f, &o), CG_EUSAGE);
    assert_non_null(strstr(cg_error(), "nb101, nb201"));
    assert_int_equal(cg_zoo_find("nb101:colour=3", &f, &o), CG_EUSAGE);
    assert_int_equal(cg_zoo_find("ofa_mbv3:width", &f, &o), CG_EUSAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_mutated_text),
        cmocka_unit_test(test_random_bytes),
        cmocka_unit_test(test_find),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
