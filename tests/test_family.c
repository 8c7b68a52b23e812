/* How networks stand to the families of a model, and by whose moments their
 * structure is standardised. */
#include "tests/numbers.h"

#include <stdio.h>

#include "runtime/family.h"

enum { S = CG_STRUCTURE_COUNT, MANY = 2 * CG_FAMILY_LEAST };

/* Every number of "near" has mean 0 and deviation 1, of "far" 10 and 1; of both
 * together 5 and the root of 26, a tenth of which widens each. */
static const double widened = 1.122497216032182415675; /* sqrt(1 + .26) */

static cg_families f;
static cg_set set[3];
static cg_pick pick[MANY];
static double x[MANY * S];
static cg_examples e;
static cg_kinship k;

static int setup(void **state)
{
    static const char *const names[] = {"near", "far"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        cg_family one = {.networks = 100};
        snprintf(one.name, sizeof one.name, "%s", names[i]);
        for (int j = 0; j < S; j++)
            one.structure.mean[j] = 10 * i, one.structure.sd[j] = 1;
        cg_array_push(&f.list, one);
    }
    cg_families_join(&f);
    set[0].family = "near", set[1].family = "onnx", set[2].family = "another";
    e = (cg_examples){.pick = pick};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cg_families_free(&f);
    return 0;
}

/* One more network of a set, of which every number is `value`. */
static void add(const cg_set *s, double value)
{
    for (int j = 0; j < S; j++)
        x[e.n * S + (uint32_t)j] = value;
    pick[e.n++].set = s;
}

static void place(void)
{
    cg_families_place(&f, &e, x, &k);
}

static void is(uint32_t i, uint32_t family, double distance, double strange,
               double nearness, double standardised)
{
    assert_int_equal(k.family[i], family);
    near(k.distance[i], distance, 1e-12);
    near(k.strange[i], strange, 1e-12);
    near(k.near[i], nearness, 1e-12);
    for (int j = 0; j < S; j++)
        near(x[i * S + (uint32_t)j], standardised, 1e-12);
}

static void by_name(void **state)
{
    (void)state;
    add(&set[0], 2);
    add(&set[0], 9);
    place();
    is(0, 0, 2 / widened, 0, 1, 2);
    is(1, 0, 9 / widened, 0, 1, 9); /* whatever is nearer */
    cg_kinship_free(&k);
}

/* Each to its nearest, and the stranger the more by all together. */
static void few(void **state)
{
    (void)state;
    double half = (1.25 + .375) * widened, far = 6 * widened, s = sqrt(26);
    add(&set[1], widened);
    add(&set[1], half);
    add(&set[1], 10 + far);
    place();
    is(0, 0, 1, 0, 1, widened);
    is(1, 0, 1.625, .5, 1, (half - 2.5) / (1 + .5 * (s - 1)));
    is(2, 1, 6, 4, 1. / 256, (5 + far) / s);
    cg_kinship_free(&k);
}

/* What has images as large as those of a family belongs to it, though it is
 * built like another; where they are like no family's it does not matter. */
static void by_task(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        add(&set[1], 0);
        x[i * S + CG_STRUCTURE_image] = 1.5 + 3.5 * i; /* 1.5, 5, 8.5 */
    }
    place();
    assert_int_equal(k.family[0], 0);
    assert_int_equal(k.family[1], 0);
    assert_int_equal(k.family[2], 1);
    near(k.distance[2], sqrt(((S - 1) * 100 + 2.25) / S) / widened, 1e-12);
    cg_kinship_free(&k);
}

/* One family for all, the nearest to them together, and one strangeness;
 * they are standardised among themselves. */
static void many(void **state)
{
    (void)state;
    for (int i = 0; i < MANY; i++)
        add(&set[2], i % 2 ? -14 : 2);
    place();
    for (uint32_t i = 0; i < MANY; i++)
        is(i, 0, (i % 2 ? 14 : 2) / widened, 1,
           pow(3 * widened / 8, 8), i % 2 ? -1 : 1);
    cg_kinship_free(&k);
}

/* A file is of no family, whatever a training set was called. */
static void files(void **state)
{
    (void)state;
    snprintf(f.list.data[1].name, CG_FAMILY_NAME, "onnx");
    add(&set[1], 1);
    place();
    assert_int_equal(k.family[0], 0);
    cg_kinship_free(&k);
}

/* A model that was tuned knows one family, the last. */
static void tuned(void **state)
{
    (void)state;
    cg_label label = {.sd = 1};
    for (int i = 0; i < MANY; i++)
        add(&set[2], i % 2 ? 98 : 102);
    cg_families_tune(&f, &e, x, &label);
    assert_string_equal(f.list.data[2].name, "another");
    e.n = 0;
    add(&set[1], 104);
    place();
    assert_int_equal(k.family[0], 2);
    near(k.near[0], 1, 0);
    near(x[0], 2, 1e-12);
    cg_kinship_free(&k);
    cg_families_untune(&f);
    assert_int_equal(f.list.len, 2);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {TEST(by_name), TEST(few), TEST(by_task),
                                       TEST(many), TEST(files), TEST(tuned)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
