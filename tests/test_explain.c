/* Explanations, and the known networks of a model: chains of convolutions that
 * a small model of nets and a ridge learns. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/colours.h"
#include "runtime/explain.h"
#include "runtime/train.h"

#define S CG_STRUCTURE_COUNT
#define NEAR(a, b, tolerance) assert_true(fabs((a) - (b)) <= (tolerance))
enum { FEW = 30, MANY = 120, FAMILIES = 2 };

static const char *const settings[] = {
    "members=net1,net2,ridge", "structure=macs,depth", "ridge=layers,params",
    "limit=0", "epochs=1", "batch=16", "gnn_layers=2", "gnn_width=8",
    "embed_width=8", "regressor_layers=2", "regressor_width=8"};

/* -- networks -------------------------------------------------------------- */

/* A chain of `layers` convolutions; each family has its kernel and width. */
static void add_chain(cg_set_builder *b, uint32_t i, uint32_t layers,
                      uint32_t kernel)
{
    cg_token token[16] = {0};
    uint32_t start[17] = {0}, pred[16], parent[16], width = 8 + i % 7;
    uint8_t level[16];
    char name[40];
    cg_features f = {.n_nodes = layers, .n_edges = layers - 1, .token = token,
                     .start = start, .pred = pred, .parent = parent,
                     .level = level, .has_spectrum = true,
                     .topology = {layers, 1}};
    double macs = 256. * kernel * kernel * width * width, y = 80 + layers;
    for (uint32_t v = 0; v < layers; v++) {
        token[v] = (cg_token){
            .op = CG_OP_CONV, .act = CG_TOKEN_OPS, .rank = 4,
            .in = {16, 16, width}, .out = {16, 16, width},
            .weight = {kernel, kernel, width, width}, .groups = 1,
            .kernel = {kernel, kernel}, .stride = {1, 1}, .dilation = {1, 1},
            .hw_max = 16, .c_max = width, .macs = (float)macs};
        start[v + 1] = v;
        pred[v] = v;
    }
    cg_colours_make(layers, token, start, pred, parent, level);
    f.macs = layers * macs;
    f.flops = 2 * f.macs;
    f.params = f.macs / 256;
    y += .1 * width + .01 * kernel;
    snprintf(name, sizeof name, "%u layers of %u, \xc3\xa9\n%u", layers, width,
             i);
    cg_set_builder_add(b, &f, name, &y);
}

static cg_set *make_set(const char *family, uint32_t n, uint32_t kernel)
{
    const char *labels[] = {"accuracy"};
    cg_set *s;
    cg_set_builder *b = cg_set_builder_new(family, CG_FORM_FOLDED, labels, 1);
    for (uint32_t i = 0; i < n; i++)
        add_chain(b, i, 2 + i * 5 % 13, kernel);
    assert_int_equal(cg_set_builder_finish(b, &s), CG_OK);
    cg_set_builder_free(b);
    return s;
}

/* -- a model --------------------------------------------------------------- */

typedef struct lot {
    cg_dev *dev;
    cg_set *set[FAMILIES], *other;
    cg_split split;
    cg_model *m;
    cg_examples e; /* of no family of the model */
    cg_embedded d;
    cg_opinions said;
    double weight[CG_MEMBER_COUNT];
} lot;

static cg_model *train(lot *l, const char *more)
{
    cg_config c = cg_config_default;
    cg_progress from = {0};
    cg_train_hooks hooks = {0};
    cg_model *m;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        assert_int_equal(cg_config_set(&c, settings[i]), CG_OK);
    if (more)
        assert_int_equal(cg_config_set(&c, more), CG_OK);
    assert_int_equal(cg_model_new(&m, l->dev, &c), CG_OK);
    assert_int_equal(cg_train(m, &l->split, &from, &hooks), CG_OK);
    return m;
}

static void ask(lot *l, cg_model *m)
{
    cg_opinions_free(&l->said);
    cg_embedded_free(&l->d);
    assert_int_equal(cg_model_embed(m, &l->e, &l->d), CG_OK);
    assert_int_equal(cg_opinions_ask_alone(&l->said, m, &l->d), CG_OK);
    cg_model_weights(m, &l->said, l->weight);
}

static int setup(void **state)
{
    static lot l;
    cg_examples all = {0};
    assert_int_equal(cg_dev_open(&l.dev, "cpu", 1), CG_OK);
    for (int k = 0; k < FAMILIES; k++) {
        cg_examples e;
        l.set[k] = make_set(k ? "small" : "large", k ? FEW : MANY,
                            k ? 3 : 5);
        assert_int_equal(cg_examples_of(&e, l.set[k], NULL, true), CG_OK);
        cg_examples_add(&all, &e);
        cg_examples_free(&e);
    }
    cg_split_make(&l.split, &all, 0, 1);
    cg_examples_free(&all);
    l.other = make_set("networks", 5, 1);
    assert_int_equal(cg_examples_of(&l.e, l.other, NULL, false), CG_OK);
    l.m = train(&l, NULL);
    ask(&l, l.m);
    *state = &l;
    return 0;
}

static int teardown(void **state)
{
    lot *l = *state;
    cg_opinions_free(&l->said);
    cg_embedded_free(&l->d);
    cg_examples_free(&l->e);
    cg_split_free(&l->split);
    cg_model_free(l->m);
    cg_dev_close(l->dev);
    cg_set_close(l->other);
    for (int k = 0; k < FAMILIES; k++)
        cg_set_close(l->set[k]);
    return 0;
}

/* -- known networks -------------------------------------------------------- */

/* The network of the training part that is known network k: of its family, and
 * with the number at the end of its name. */
static uint32_t origin(const lot *l, const cg_known *known, uint32_t k)
{
    const cg_examples *e = &l->split.train;
    const char *family = l->m->families.list.data[known->family[k]].name;
    const char *number = strrchr(known->name[k], '?') + 1;
    for (uint32_t i = 0; i < e->n; i++) {
        const cg_pick *p = &e->pick[i];
        const char *name = cg_set_name(p->set, p->index);
        if (strcmp(p->set->family, family) == 0 &&
            strcmp(strchr(name, '\n') + 1, number) == 0)
            return i;
    }
    fail();
    return 0;
}

static void drawn(void **state)
{
    const lot *l = *state;
    const cg_known *k = &l->m->known;
    uint32_t count[FAMILIES] = {0}, small = 0;
    for (uint32_t i = 0; i < l->split.train.n; i++)
        small += l->split.train.pick[i].set == l->set[1];
    for (uint32_t i = 0; i < k->n; i++) {
        uint32_t from = origin(l, k, i);
        const cg_pick *p = &l->split.train.pick[from];
        double x[S];
        cg_structure_of(p->set, p->index, x);
        count[p->set == l->set[1]]++;
        assert_memory_equal(x, k->structure + (size_t)i * S, sizeof x);
        assert_true(k->accuracy[i] == l->split.train.accuracy[from]);
        assert_non_null(strstr(k->name[i], ", ???")); /* two bytes, newline */
    }
    assert_int_equal(count[0], CG_KNOWN_OF_FAMILY);
    assert_int_equal(count[1], small);
    assert_int_equal(k->width, 16);
    assert_true(k->h_sd[0] > 0 || k->h_sd[1] > 0);
}

static void drawn_by_seed(void **state)
{
    lot *l = *state;
    const cg_known *k = &l->m->known;
    cg_known again = {0};
    cg_model *m = train(l, "seed=1");
    assert_int_equal(m->known.n, k->n);
    assert_memory_equal(m->known.h, k->h, k->n * k->width * sizeof *k->h);
    assert_memory_equal(m->known.accuracy, k->accuracy, k->n * sizeof(double));
    cg_model_free(m);
    uint32_t *family = cg_xcalloc(l->split.train.n, sizeof *family);
    for (uint64_t seed = 1; seed < 3; seed++) { /* one family, no embedding */
        cg_known_draw(&again, &l->split.train, family, 1, NULL, 16, seed);
        assert_int_equal(again.n, CG_KNOWN_OF_FAMILY);
        assert_int_equal(again.width, 0);
        assert_memory_not_equal(again.accuracy, k->accuracy,
                                again.n * sizeof(double));
    }
    cg_xfree(family);
    cg_known_free(&again);
}

static void nearest(void **state)
{
    const lot *l = *state;
    const cg_known *k = &l->m->known;
    const double *sd = l->m->families.all.sd;
    for (uint32_t i = 0; i < k->n; i++) {
        const double *x = k->structure + (size_t)i * S;
        const float *h = k->h + i * k->width;
        cg_near near[3];
        for (int by_h = 0; by_h < 2; by_h++) {
            assert_int_equal(cg_known_nearest(k, x, sd, by_h ? h : NULL,
                                              k->width, 3, near), 3);
            /* itself, or one that is built the same */
            assert_memory_equal(k->structure + (size_t)near[0].known * S, x,
                                S * sizeof *x);
            assert_true(near[0].distance == 0);
            assert_true(near[0].known <= i);
            assert_true(near[0].distance <= near[1].distance &&
                        near[1].distance <= near[2].distance);
        }
    }
    cg_near all[MANY + FEW], one;
    assert_int_equal(cg_known_nearest(k, k->structure, sd, k->h, k->width,
                                      MANY + FEW, all), k->n);
    assert_int_equal(cg_known_nearest(k, k->structure, sd, k->h + k->width,
                                      k->width, 1, &one), 1);
    assert_true(one.distance == 0);
}

/* By hand: h of two columns, one of which says nothing. */
static void distances(void **state)
{
    (void)state;
    float h[] = {0, 0, 3, 100}, mine[] = {1, 7};
    double sd[] = {.5, 0}, x[2 * S] = {[0] = 3, [S] = 9}, at[S] = {[0] = 1};
    double unit[S];
    for (int c = 0; c < S; c++)
        unit[c] = 1;
    cg_known k = {.n = 2, .width = 2, .h = h, .h_sd = sd, .structure = x};
    cg_near near[2];
    assert_int_equal(cg_known_nearest(&k, at, unit, mine, 2, 2, near), 2);
    assert_int_equal(near[0].known, 0);
    NEAR(near[0].distance, 2, 1e-12);
    NEAR(near[1].distance, 4, 1e-12);
    assert_int_equal(cg_known_nearest(&k, at, unit, mine, 3, 2, near), 2);
    NEAR(near[0].distance, 2 / sqrt(S), 1e-12);
    NEAR(near[1].distance, 8 / sqrt(S), 1e-12);
}

static void in_files(void **state)
{
    const lot *l = *state;
    const char *path = "known.safetensors";
    const cg_known *k = &l->m->known;
    cg_known none = {0}, kept = *k;
    cg_model *m;
    assert_int_equal(cg_model_save(l->m, path, NULL), CG_OK);
    assert_int_equal(cg_model_load(&m, l->dev, path, NULL), CG_OK);
    assert_int_equal(m->known.n, k->n);
    assert_int_equal(m->known.width, k->width);
    for (uint32_t i = 0; i < k->n; i++)
        assert_string_equal(m->known.name[i], k->name[i]);
    assert_memory_equal(m->known.family, k->family, k->n * sizeof(uint32_t));
    assert_memory_equal(m->known.accuracy, k->accuracy, k->n * sizeof(double));
    assert_memory_equal(m->known.structure, k->structure,
                        k->n * S * sizeof(double));
    assert_memory_equal(m->known.h, k->h, k->n * k->width * sizeof(float));
    assert_memory_equal(m->known.h_sd, k->h_sd, k->width * sizeof(double));
    cg_model_free(m);
    l->m->known = none; /* as older files are */
    assert_int_equal(cg_model_save(l->m, path, NULL), CG_OK);
    assert_int_equal(cg_model_load(&m, l->dev, path, NULL), CG_OK);
    assert_int_equal(m->known.n, 0);
    cg_model_free(m);
    l->m->known = kept;
    l->m->known.family[1] = FAMILIES;
    assert_int_equal(cg_model_save(l->m, path, NULL), CG_OK);
    assert_int_equal(cg_model_load(&m, l->dev, path, NULL), CG_EFORMAT);
    assert_null(m);
    l->m->known.family[1] = kept.family[0];
    assert_int_equal(remove(path), 0);
}

/* -- explanations ---------------------------------------------------------- */

static void memberships(void **state)
{
    (void)state;
    double u[3];
    cg_explain_memberships((double[]){1, 2, 2}, 3, u);
    NEAR(u[0], 2 / 3., 1e-12);
    NEAR(u[1], 1 / 6., 1e-12);
    NEAR(u[2], 1 / 6., 1e-12);
    cg_explain_memberships((double[]){0, 5, 0}, 3, u);
    NEAR(u[0], .5, 0);
    NEAR(u[1], 0, 0);
    NEAR(u[2], .5, 0);
    cg_explain_memberships((double[]){1e-200, 1e200}, 2, u);
    NEAR(u[0], 1, 1e-12);
}

static void check(const cg_explained *x, const cg_model *m, double score)
{
    double sum = 0, weights = 0, shares = 0;
    bool read[S] = {0};
    NEAR(x->score, score, 1e-9);
    for (int k = 0; k < CG_MEMBER_COUNT; k++) {
        sum += x->member[k].counts ? x->member[k].weight * x->member[k].z : 0;
        weights += x->member[k].weight;
    }
    NEAR(sum, score, 1e-9);
    NEAR(weights, 1, 1e-12);
    assert_int_equal(x->families, m->families.list.len);
    for (size_t k = 0; k < x->families; k++)
        shares += x->membership[k];
    NEAR(shares, 1, 1e-12);
    for (int j = 0; j < x->read.n; j++) {
        read[x->read.k[j]] = true;
        assert_true(j == 0 || fabs(x->change[x->read.k[j]]) <=
                                  fabs(x->change[x->read.k[j - 1]]));
    }
    for (int k = 0; k < S; k++)
        assert_true(read[k] || x->change[k] == 0);
}

/* One at a time, and among the others. */
static void explained(void **state)
{
    lot *l = *state;
    double score[5], agreement[5];
    cg_explain_task t = {l->m, &l->d, &l->said, l->weight, false};
    for (int among = 0; among < 2; among++) {
        t.among = among;
        if (among)
            cg_ensemble_score(&l->said, l->weight, score);
        else
            assert_int_equal(cg_ensemble_alone(l->m, &l->said, l->weight,
                                               score, agreement), CG_OK);
        for (uint32_t i = 0; i < l->e.n; i++) {
            cg_explained x;
            double most = 0;
            assert_int_equal(cg_explain(&x, &t, i), CG_OK);
            check(&x, l->m, score[i]);
            assert_int_equal(x.read.n, 4); /* of the nets and the ridge */
            assert_int_equal(x.n_near, CG_EXPLAIN_NEAR);
            assert_true(x.member[CG_MEMBER_net1].counts);
            assert_true(x.member[CG_MEMBER_net1].accuracy ==
                        l->said.accuracy[CG_MEMBER_net1][i]);
            assert_false(x.member[CG_MEMBER_flops].counts);
            for (int k = 0; k < S; k++)
                most = fmax(most, fabs(x.change[k]));
            assert_true(most > 1e-3);
            cg_explained_free(&x);
        }
    }
}

/* A ridge alone is a sum: each number has its part of the score. */
static void sums(void **state)
{
    lot *l = *state;
    double score[5], agreement[5];
    cg_model *m = train(l, "members=ridge");
    ask(l, m);
    cg_explain_task t = {m, &l->d, &l->said, l->weight, false};
    const cg_member *ridge = &m->member[CG_MEMBER_ridge];
    const cg_kinship *kin = &l->d.kin;
    assert_int_equal(cg_ensemble_alone(m, &l->said, l->weight, score,
                                       agreement), CG_OK);
    for (uint32_t i = 0; i < l->e.n; i++) {
        cg_explained x;
        double left = score[i];
        assert_int_equal(cg_explain(&x, &t, i), CG_OK);
        check(&x, m, score[i]);
        assert_int_equal(x.read.n, 2);
        for (int j = 0; j < m->ridge.n; j++) {
            int k = m->ridge.k[j];
            double w = (double)ridge->params.x[j];
            w += kin->near[i] *
                 (m->families.list.data[kin->family[i]].slope[k] - w);
            double part = x.member[CG_MEMBER_ridge].weight * w * x.z[k] /
                          ridge->said_sd;
            NEAR(x.change[k], part, 1e-6);
            left -= part;
        }
        NEAR(x.graph, left, 1e-6);
        cg_explained_free(&x);
    }
    cg_model_free(m);
    ask(l, l->m);
}

/* A net for several sets is left out where there is one. */
static void of_several_sets(void **state)
{
    lot *l = *state;
    cg_split both = l->split;
    cg_model *m = train(l, "net_sets=largest|several");
    assert_true(m->member[CG_MEMBER_net2].trained);
    cg_model_free(m);
    cg_examples e;
    assert_int_equal(cg_examples_of(&e, l->set[0], NULL, true), CG_OK);
    cg_split_make(&l->split, &e, 0, 1);
    cg_examples_free(&e);
    m = train(l, "net_sets=largest|several");
    assert_true(m->member[CG_MEMBER_net1].trained);
    assert_false(m->member[CG_MEMBER_net2].trained);
    assert_true(m->member[CG_MEMBER_ridge].trained);
    cg_model_free(m);
    cg_split_free(&l->split);
    l->split = both;
}

static cg_err keep(void *user, const cg_progress *p)
{
    *(cg_progress *)user = *p;
    return CG_OK;
}

/* A training that goes on behind its last stage has what stages learnt. */
static void goes_on(void **state)
{
    lot *l = *state;
    cg_progress last = {0};
    cg_train_hooks hooks = {.checkpoint = keep, .user = &last};
    cg_model *m = train(l, NULL);
    double slope[FAMILIES];
    for (int k = 0; k < FAMILIES; k++) {
        slope[k] = m->families.list.data[k].slope[CG_STRUCTURE_layers];
        assert_true(slope[k] != 0);
    }
    assert_int_equal(cg_train(m, &l->split, &last, &hooks), CG_OK);
    assert_int_equal(last.stage, 3);
    assert_int_equal(cg_train(m, &l->split, &last, &hooks), CG_OK);
    for (int k = 0; k < FAMILIES; k++)
        assert_true(slope[k] ==
                    m->families.list.data[k].slope[CG_STRUCTURE_layers]);
    cg_model_free(m);
}

/* Who reads no structure is not moved by any. */
static void unread(void **state)
{
    lot *l = *state;
    cg_explained x;
    double score[5], agreement[5];
    cg_model *m = train(l, "structure=");
    m->ridge.n = 0;
    m->member[CG_MEMBER_ridge].trained = false;
    ask(l, m);
    cg_explain_task t = {m, &l->d, &l->said, l->weight, false};
    assert_int_equal(cg_ensemble_alone(m, &l->said, l->weight, score,
                                       agreement), CG_OK);
    assert_int_equal(cg_explain(&x, &t, 2), CG_OK);
    check(&x, m, score[2]);
    assert_int_equal(x.read.n, 0);
    assert_true(x.graph == x.score);
    cg_explained_free(&x);
    cg_model_free(m);
    ask(l, l->m);
}

static void plain(void **state)
{
    (void)state;
    NEAR(cg_structure_plain(CG_STRUCTURE_layers, log2(1 + 53.)), 53, 1e-9);
    NEAR(cg_structure_plain(CG_STRUCTURE_macs, 9.25), 9.25, 0);
    NEAR(cg_structure_plain(CG_STRUCTURE_kernel, 1.5), 1.5, 0);
    assert_int_equal(cg_structure_find("depthwise", 5), CG_STRUCTURE_depth);
    assert_int_equal(cg_structure_find("depths", 6), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drawn),     cmocka_unit_test(drawn_by_seed),
        cmocka_unit_test(nearest),   cmocka_unit_test(distances),
        cmocka_unit_test(in_files),  cmocka_unit_test(memberships),
        cmocka_unit_test(explained), cmocka_unit_test(sums),
        cmocka_unit_test(unread),    cmocka_unit_test(plain),
        cmocka_unit_test(of_several_sets), cmocka_unit_test(goes_on)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
