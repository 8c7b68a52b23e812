/* Opinions put together: weights, scores, agreement, against numbers made by
 * hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "runtime/finetune.h"

#define N 4
#define NEAR(a, b) assert_true(fabs((a) - (b)) < 1e-12)

static double kgnn[N] = {1, 2, 3, 4}, pair[N] = {4, 3, 2, 1};
static double flops[N] = {9, 9, 9, 9}, cl[N] = {5, 5, 6, 6};
static double percent[N] = {90, 91, 92, 93}, other[N] = {80, 81, 82, 83};

static cg_opinions some(void)
{
    return (cg_opinions){
        .n = N,
        .score = {[CG_MEMBER_kgnn] = kgnn, [CG_MEMBER_cl_pair] = pair,
                  [CG_MEMBER_flops] = flops, [CG_MEMBER_cl] = cl},
        .accuracy = {[CG_MEMBER_kgnn] = percent, [CG_MEMBER_cl] = other}};
}

static void equal_weights(void **state)
{
    (void)state;
    double w[CG_MEMBER_COUNT];
    cg_opinions o = some();
    cg_ensemble_weights(&o, NULL, w);
    for (int i = 0; i < CG_MEMBER_COUNT; i++)
        NEAR(w[i], i == CG_MEMBER_kgnn || i == CG_MEMBER_cl_pair ||
                           i == CG_MEMBER_flops ? 1 / 3. : 0);
}

static void weights_by_tau(void **state)
{
    (void)state;
    const double y[N] = {10, 20, 30, 40};
    double w[CG_MEMBER_COUNT];
    cg_opinions o = some();
    cg_ensemble_weights(&o, y, w); /* tau 1, -1, and none */
    double sum = exp(1) + exp(-1) + 1;
    NEAR(w[CG_MEMBER_kgnn], exp(1) / sum);
    NEAR(w[CG_MEMBER_cl_pair], exp(-1) / sum);
    NEAR(w[CG_MEMBER_flops], 1 / sum);
    NEAR(w[CG_MEMBER_cl], 0);
}

/* Who has none of GENNAPE's members is judged by those that are there. */
static void others(void **state)
{
    (void)state;
    double w[CG_MEMBER_COUNT];
    cg_opinions o = some();
    o.score[CG_MEMBER_kgnn] = o.score[CG_MEMBER_cl_pair] = NULL;
    o.score[CG_MEMBER_params] = pair;
    cg_ensemble_weights(&o, NULL, w);
    for (int i = 0; i < CG_MEMBER_COUNT; i++)
        NEAR(w[i], i == CG_MEMBER_cl || i == CG_MEMBER_flops ? .5 : 0);
}

static void scores(void **state)
{
    (void)state;
    double w[CG_MEMBER_COUNT] = {[CG_MEMBER_kgnn] = .5,
                                 [CG_MEMBER_cl_pair] = .25,
                                 [CG_MEMBER_flops] = .25};
    double score[N], accuracy[N], sd = sqrt(1.25);
    cg_opinions o = some();
    cg_ensemble_score(&o, w, score);
    cg_ensemble_accuracy(&o, w, accuracy);
    for (int i = 0; i < N; i++) {
        NEAR(score[i], .25 * (kgnn[i] - 2.5) / sd); /* flops adds nothing */
        NEAR(accuracy[i], percent[i]);
    }
    w[CG_MEMBER_kgnn] = 0;
    cg_ensemble_accuracy(&o, w, accuracy);
    assert_true(isnan(accuracy[0]));
}

static void alone(void **state)
{
    (void)state;
    static cg_model m;
    double score[N], agreement[N], w[CG_MEMBER_COUNT];
    cg_opinions o = some();
    cg_model_weights(&m, &o, w); /* not tuned: equal */
    for (int i = 0; i < CG_MEMBER_COUNT; i++) {
        m.member[i].info = &cg_member_table[i];
        m.member[i].said_mean = m.member[i].said_sd = NAN;
    }
    m.flops_mean = 8;
    m.flops_sd = 1;
    assert_int_equal(cg_ensemble_alone(&m, &o, w, score, agreement),
                     CG_EUSAGE);
    m.member[CG_MEMBER_kgnn].said_mean = 1;
    m.member[CG_MEMBER_kgnn].said_sd = 2;
    m.member[CG_MEMBER_cl_pair].said_mean = 0;
    m.member[CG_MEMBER_cl_pair].said_sd = 0; /* it says nothing */
    assert_int_equal(cg_ensemble_alone(&m, &o, w, score, agreement), CG_OK);
    for (int i = 0; i < N; i++) {
        double z = (kgnn[i] - 1) / 2;
        NEAR(score[i], (z + 1) / 2);
        NEAR(agreement[i], 1 / (1 + fabs(z - 1) / 2));
    }
    m.tuned = true;
    m.member[CG_MEMBER_kgnn].weight = .6;
    m.member[CG_MEMBER_cl_pair].weight = .2;
    m.member[CG_MEMBER_flops].weight = .2;
    m.member[CG_MEMBER_flops].said_mean = 7; /* of the family tuned to */
    m.member[CG_MEMBER_flops].said_sd = 4;
    cg_model_weights(&m, &o, w);
    assert_int_equal(cg_ensemble_alone(&m, &o, w, score, agreement), CG_OK);
    for (int i = 0; i < N; i++) {
        double z = (kgnn[i] - 1) / 2; /* weights 3/4 and 1/4 */
        NEAR(score[i], .75 * z + .25 * .5);
        NEAR(agreement[i], 1 / (1 + sqrt(3) / 4 * fabs(z - .5)));
    }
    o.score[CG_MEMBER_flops] = NULL;
    assert_int_equal(cg_ensemble_alone(&m, &o, w, score, agreement), CG_OK);
    assert_true(isnan(agreement[0]));
}

static void who_is_there(void **state)
{
    (void)state;
    static cg_model m;
    for (int i = 0; i < CG_MEMBER_COUNT; i++)
        m.member[i].info = &cg_member_table[i];
    m.member[CG_MEMBER_flops].trained = true;
    m.member[CG_MEMBER_encoder].trained = true;
    m.member[CG_MEMBER_gcn].trained = true;
    assert_false(cg_ensemble_there(&m));
    assert_false(cg_member_speaks(&m, CG_MEMBER_encoder));
    assert_true(cg_member_speaks(&m, CG_MEMBER_gcn));
    m.member[CG_MEMBER_cl_t].trained = true;
    assert_true(cg_ensemble_there(&m));
    assert_int_equal(cg_finetune_check(10, 8), CG_OK);
    assert_int_equal(cg_finetune_check(10, 9), CG_EUSAGE);
    assert_int_equal(cg_finetune_check(10, 1), CG_EUSAGE);
    assert_int_equal(cg_finetune_check(1, 2), CG_EUSAGE);
}

enum { ALL = 30, SOME = 12 };

/* Labelled networks that have FLOPs and nothing else. */
static cg_examples family(double *cost)
{
    static cg_set_graph graph[ALL];
    static cg_set set = {.n_graphs = ALL, .graph = graph};
    static cg_pick pick[ALL];
    static double y[ALL];
    for (uint32_t i = 0; i < ALL; i++) {
        pick[i] = (cg_pick){&set, i};
        y[i] = i;
        graph[i].flops = graph[i].params = cost[i] = 1e6 * (i * 7 % ALL);
    }
    return (cg_examples){ALL, pick, y, cost, cost};
}

/* Samples and rest share nothing and are the family together; seeds differ. */
static void samples(void **state)
{
    (void)state;
    double cost[ALL];
    uint32_t seen[2] = {0};
    cg_dev *dev;
    cg_model *m;
    cg_examples e = family(cost);
    cg_embedded d = {.e = &e};
    assert_int_equal(cg_dev_open(&dev, "cpu", 1), CG_OK);
    assert_int_equal(cg_model_new(&m, dev, &cg_config_default), CG_OK);
    for (uint64_t seed = 0; seed < 2; seed++) {
        cg_tuned t;
        uint32_t is_sample = 0, is_rest = 0;
        assert_int_equal(cg_finetune_try(&t, m, &d, SOME, seed, -1, NULL,
                                         NULL), CG_OK);
        assert_int_equal(t.samples.n, SOME);
        assert_int_equal(t.rest.n, ALL - SOME);
        for (uint32_t i = 0; i < SOME; i++)
            is_sample |= UINT32_C(1) << t.samples.pick[i].index;
        for (uint32_t i = 0; i < ALL - SOME; i++) {
            is_rest |= UINT32_C(1) << t.rest.pick[i].index;
            NEAR(t.on_rest.score[CG_MEMBER_flops][i],
                 log10(cost[t.rest.pick[i].index] + 1));
        }
        assert_int_equal(is_sample & is_rest, 0);
        assert_int_equal(is_sample | is_rest, (UINT32_C(1) << ALL) - 1);
        assert_null(t.on_rest.score[CG_MEMBER_kgnn]); /* not trained */
        seen[seed] = is_sample;
        cg_tuned_free(&t);
    }
    assert_int_not_equal(seen[0], seen[1]);
    cg_model_free(m);
    cg_dev_close(dev);
}

/* What tuning leaves in a model, and in its file. */
static void kept(void **state)
{
    (void)state;
    double cost[ALL], mean = 0, w[CG_MEMBER_COUNT];
    const char *path = "kept.safetensors";
    const cg_tune_hooks hooks = {0};
    cg_dev *dev;
    cg_model *m;
    cg_tuned t;
    cg_examples e = family(cost);
    cg_embedded d = {.e = &e};
    for (int i = 0; i < ALL; i++)
        mean += log10(cost[i] + 1) / ALL;
    assert_int_equal(cg_dev_open(&dev, "cpu", 1), CG_OK);
    assert_int_equal(cg_model_new(&m, dev, &cg_config_default), CG_OK);
    assert_int_equal(cg_finetune_members(m), 0);
    assert_int_equal(cg_finetune_model(&t, m, &d, 1, 0, &hooks), CG_EUSAGE);
    assert_int_equal(cg_finetune_model(&t, m, &d, ALL + 1, 0, &hooks),
                     CG_EUSAGE);
    assert_false(m->tuned);
    assert_int_equal(cg_finetune_model(&t, m, &d, ALL, 0, &hooks), CG_OK);
    assert_int_equal(t.rest.n, 0);
    assert_int_equal(cg_model_save(m, path, NULL), CG_OK);
    cg_model_free(m);
    assert_int_equal(cg_model_load(&m, dev, path, NULL), CG_OK);
    assert_int_equal(remove(path), 0);
    assert_true(m->tuned);
    NEAR(m->member[CG_MEMBER_flops].said_mean, mean);
    cg_model_weights(m, &t.on_samples, w);
    for (int i = 0; i < CG_MEMBER_COUNT; i++)
        NEAR(w[i], i == CG_MEMBER_flops); /* parameters are no member */
    cg_tuned_free(&t);
    cg_model_free(m);
    cg_dev_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_weights), cmocka_unit_test(weights_by_tau),
        cmocka_unit_test(others),        cmocka_unit_test(scores),
        cmocka_unit_test(alone),         cmocka_unit_test(who_is_there),
        cmocka_unit_test(samples),       cmocka_unit_test(kept)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
