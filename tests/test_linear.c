/* The ridge on structure: weights for all families together and for each, and
 * whose speak of which network. */
#include "tests/numbers.h"

#include <stdio.h>

#include "runtime/members.h"

enum { A = 40, B = 24, N = A + B, S = CG_STRUCTURE_COUNT,
       READ = CG_STRUCTURE_layers, UNREAD = CG_STRUCTURE_depth };

static cg_model *m;
static cg_embedded d;
static cg_examples e;
static double accuracy[N], flops[N], distance[N], strange[N], near_[N];
static uint32_t family[N];
static float s[N * S];

/* In family 0 layers are worth .8 of a deviation each, in family 1 -.4; the
 * pattern has mean 0 and deviation 1, and what is left is orthogonal to it. */
static int setup(void **state)
{
    static cg_dev *dev;
    cg_config c = cg_config_default;
    good(cg_config_set(&c, "members=ridge"));
    good(cg_config_set(&c, "ridge=layers"));
    good(cg_config_set(&c, "ridge_penalty=1"));
    good(cg_config_set(&c, "label=accuracy"));
    good(cg_dev_open(&dev, "cpu", 1));
    good(cg_model_new(&m, dev, &c));
    good(cg_member_alloc(m, &m->member[CG_MEMBER_ridge]));
    cg_array_push(&m->families.list,
                  ((cg_family){.networks = A, .label = {.sd = 1}}));
    cg_array_push(&m->families.list,
                  ((cg_family){.networks = B, .label = {.sd = 1}}));
    for (uint32_t i = 0; i < N; i++) {
        double x = i & 1 ? 1 : -1, other = i & 2 ? 1 : -1;
        family[i] = i >= A;
        near_[i] = 1;
        s[i * S + READ] = (float)x;
        s[i * S + UNREAD] = (float)other;
        accuracy[i] = (family[i] ? -.4 : .8) * x + .1 * other;
    }
    e = (cg_examples){.n = N, .accuracy = accuracy, .flops = flops};
    d = (cg_embedded){.e = &e, .s = s,
                      .kin = {family, distance, strange, near_}};
    good(cg_linear_fit(m, &m->member[CG_MEMBER_ridge], &d));
    m->member[CG_MEMBER_ridge].label.sd = 1;
    m->member[CG_MEMBER_ridge].trained = true;
    *state = dev;
    return 0;
}

static int teardown(void **state)
{
    cg_model_free(m);
    cg_dev_close(*state);
    return 0;
}

static double slope(int k)
{
    return m->families.list.data[k].slope[READ];
}

/* A penalty of 1 for each network halves them; families count the same. */
static void weights(void **state)
{
    (void)state;
    near(slope(0), .4, 1e-9);
    near(slope(1), -.2, 1e-9);
    near((double)m->member[CG_MEMBER_ridge].params.x[0], .1, 1e-7);
    near(m->families.list.data[0].slope[UNREAD], 0, 0);
}

static void whose_speak(void **state)
{
    (void)state;
    double score[N], mean[S];
    near_[1] = 0;
    near_[A + 1] = .5;
    good(cg_linear_scores(m, &m->member[CG_MEMBER_ridge], &d, score));
    near(score[0], -.4, 1e-7);
    near(score[1], .1, 1e-7);
    near(score[A], .2, 1e-7);
    near(score[A + 1], -.05, 1e-7);
    good(cg_linear_slope(m, &d, mean));
    near(mean[READ], (39 * .4 + .1 - 23 * .2 - .05) / N, 1e-7);
    near(mean[UNREAD], 0, 0);
}

/* A file that is older knows those of all alone. */
static void unknown(void **state)
{
    (void)state;
    double score[N];
    m->families.list.data[0].slope[READ] = NAN;
    good(cg_linear_scores(m, &m->member[CG_MEMBER_ridge], &d, score));
    near(score[1], .1, 1e-7);
    near(score[A + 1], -.2, 1e-7);
}

static void kept_in_the_file(void **state)
{
    const char *path = "linear.safetensors";
    cg_model *copy;
    good(cg_model_save(m, path, NULL));
    good(cg_model_load(&copy, *state, path, NULL));
    assert_int_equal(remove(path), 0);
    for (size_t k = 0; k < 2; k++)
        assert_memory_equal(copy->families.list.data[k].slope,
                            m->families.list.data[k].slope,
                            sizeof(double) * S);
    cg_model_free(copy);
}

/* From one network nothing is learnt. */
static void too_few(void **state)
{
    (void)state;
    double all = (double)m->member[CG_MEMBER_ridge].params.x[0];
    for (uint32_t i = A + 1; i < N; i++)
        family[i] = 0;
    m->families.list.data[1].networks = 1;
    good(cg_linear_fit(m, &m->member[CG_MEMBER_ridge], &d));
    assert_true((double)m->member[CG_MEMBER_ridge].params.x[0] != all);
    near(slope(1), (double)m->member[CG_MEMBER_ridge].params.x[0], 1e-7);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(weights), TEST(whose_speak), TEST(unknown),
        TEST(kept_in_the_file), TEST(too_few)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
