/* Who speaks of which network. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "runtime/voices.h"

#define NEAR(a, b) assert_true(fabs((a) - (b)) < 1e-9)
#define V(id) o.voice[CG_MEMBER_##id]

enum { N = 40 };

static cg_model m;
static cg_opinions o;
static cg_embedded d;
static cg_examples e;
static cg_set set;
static cg_pick pick[N];
static uint32_t family[N];
static double distance[N], strange[N], near[N];

/* nb101, the largest, and another family; net1 has seen nb101 alone. */
static int setup(void **state)
{
    (void)state;
    memset(&m, 0, sizeof m);
    for (int k = 0; k < CG_MEMBER_COUNT; k++)
        m.member[k].info = &cg_member_table[k];
    m.member[CG_MEMBER_net1].trained = m.member[CG_MEMBER_net2].trained =
        m.member[CG_MEMBER_ridge].trained = true;
    m.member[CG_MEMBER_net1].sets = CG_NET_LARGEST;
    cg_array_push(&m.families.list, ((cg_family){.networks = 100}));
    cg_array_push(&m.families.list, ((cg_family){.networks = 10}));
    o.n = N;
    for (int k = 0; k < CG_MEMBER_COUNT; k++)
        if (m.member[k].trained)
            o.score[k] = cg_xcalloc(N, sizeof(double));
    for (int i = 0; i < N; i++) {
        pick[i] = (cg_pick){&set, (uint32_t)i};
        family[i] = 0;
        strange[i] = distance[i] = 0;
        near[i] = 1;
        V(net1) = V(net2) = V(ridge) = NULL;
        o.score[CG_MEMBER_net1][i] = o.score[CG_MEMBER_net2][i] = i;
    }
    e = (cg_examples){N, pick, NULL, NULL, NULL};
    d = (cg_embedded){.e = &e, .kin = {family, distance, strange, near}};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cg_families_free(&m.families);
    cg_opinions_free(&o);
    return 0;
}

static void who_has_seen_it(void **state)
{
    (void)state;
    family[1] = 1;
    cg_voices_set(&o, &m, &d);
    NEAR(V(net1)[0], 1);
    NEAR(V(net2)[0], 1);
    NEAR(V(ridge)[0], 0);
    NEAR(V(net1)[1], 0); /* has not seen the other family */
    NEAR(V(net2)[1], 1);
    NEAR(V(ridge)[1], 0);
}

/* The ridge counts as all nets that speak, of 2 here, times strangeness. */
static void strangers(void **state)
{
    (void)state;
    o.n = 3;
    strange[0] = .25, strange[1] = 4, strange[2] = 1, family[2] = 1;
    near[1] = near[2] = 1 / 16.;
    cg_voices_set(&o, &m, &d);
    NEAR(V(net1)[0], 1);
    NEAR(V(net2)[0], 1);
    NEAR(V(ridge)[0], .25);
    NEAR(V(net1)[1], 1);
    NEAR(V(net2)[1], 1 / 16.);
    NEAR(V(ridge)[1], 4 * (1 + 1 / 16.) / 2);
    NEAR(V(net1)[2], 0);
    NEAR(V(net2)[2], 1);
    NEAR(V(ridge)[2], .5);
}

static void nobody_knows(void **state)
{
    (void)state;
    m.member[CG_MEMBER_net2].sets = CG_NET_LARGEST;
    family[0] = 1;
    strange[0] = .5;
    cg_voices_set(&o, &m, &d);
    NEAR(V(net1)[0], 1);
    NEAR(V(net2)[0], 1);
    NEAR(V(ridge)[0], 1);
}

/* Correlation r of the nets over a set: the ridge's voice over r^4, at most
 * 10^4 times; of too few networks nothing is concluded. */
static void nets_that_disagree(void **state)
{
    (void)state;
    for (int i = 0; i < N; i++) {
        family[i] = 1;
        strange[i] = 1;
        o.score[CG_MEMBER_net1][i] = (i % 2 ? 1 : -1) + (i / 2 % 2 ? 1 : -1);
        o.score[CG_MEMBER_net2][i] = i % 2;
    }
    m.member[CG_MEMBER_net1].sets = CG_NET_ALL;
    cg_voices_set(&o, &m, &d);
    NEAR(V(net1)[7], 1);
    NEAR(V(ridge)[7], 4); /* r = sqrt(1/2) */
    for (int i = 0; i < N; i++)
        o.score[CG_MEMBER_net1][i] = i / 2 % 2;
    cg_voices_set(&o, &m, &d);
    assert_true(fabs(V(ridge)[7] - 1e4) < 1e-6);
    o.n = CG_FAMILY_LEAST - 1;
    cg_voices_set(&o, &m, &d);
    NEAR(V(ridge)[7], 1);
}

static void models_without_nets(void **state)
{
    (void)state;
    m.member[CG_MEMBER_net1].trained = m.member[CG_MEMBER_net2].trained = false;
    d.kin = (cg_kinship){0};
    cg_voices_set(&o, &m, &d);
    NEAR(V(ridge)[0], 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(who_has_seen_it), TEST(strangers), TEST(nobody_knows),
        TEST(nets_that_disagree), TEST(models_without_nets)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
