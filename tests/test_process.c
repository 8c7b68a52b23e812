/* Fine-tuning of a model of nets: what the Gaussian process learns, that it
 * survives a file, and that trying leaves no trace. */
#include "tests/numbers.h"

#include <stdio.h>
#include <stdlib.h>

#include "runtime/colours.h"
#include "runtime/finetune.h"
#include "runtime/metrics.h"
#include "runtime/train.h"
#include "runtime/walk.h"

enum { HOME = 60, AWAY = 301, SAMPLES = 14, DEEP = 30 }; /* AWAY: > a block */

/* -- networks -------------------------------------------------------------- */

/* A chain of `depth` layers; every `skip`th is read again two further on. */
static cg_features chain(uint32_t depth, uint32_t skip, int64_t width)
{
    cg_features f = {.n_nodes = depth, .params = 1e3 * depth * (double)width,
                     .macs = 1e5 * depth * (double)(width + skip)};
    f.flops = 2 * f.macs;
    f.token = cg_xcalloc(depth, sizeof *f.token);
    f.start = cg_xcalloc((size_t)depth + 1, sizeof *f.start);
    f.pred = cg_xcalloc(2 * (size_t)depth, sizeof *f.pred);
    f.parent = cg_xcalloc(depth, sizeof *f.parent);
    f.level = cg_xcalloc(depth, 1);
    for (uint32_t v = 0; v < depth; v++) {
        f.token[v] = (cg_token){
            .op = v % skip ? CG_OP_CONV : CG_OP_RELU, .act = CG_TOKEN_OPS,
            .groups = 1, .rank = 4, .macs = 1e5};
        if (v % skip)
            f.token[v].weight[0] = f.token[v].weight[1] = 3,
            f.token[v].weight[2] = f.token[v].weight[3] = (uint32_t)width;
        if (v > 1 && v % skip == 0)
            f.pred[f.n_edges++] = v - 2;
        if (v > 0)
            f.pred[f.n_edges++] = v - 1;
        f.start[v + 1] = f.n_edges;
    }
    f.topology[0] = depth;
    f.topology[1] = skip;
    cg_colours_make(f.n_nodes, f.token, f.start, f.pred, f.parent, f.level);
    return f;
}

static void chain_free(cg_features *f)
{
    cg_xfree(f->token);
    cg_xfree(f->start);
    cg_xfree(f->pred);
    cg_xfree(f->parent);
    cg_xfree(f->level);
}

/* Deeper is better, and wider a little; the fewer nodes are read twice the
 * worse, by `skipping` points for each node from one to the next. */
static cg_set *make_set(const char *family, uint32_t n, int64_t width,
                        double skipping)
{
    const char *labels[] = {"accuracy"};
    cg_set_builder *b = cg_set_builder_new(family, CG_FORM_FOLDED, labels, 1);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t depth = 3 + i * 7 % DEEP, skip = 2 + i % 3;
        cg_features f = chain(depth, skip, width + i % 5);
        double y = 70 + .6 * depth + .5 * (i % 5) - skipping * skip;
        char name[16];
        snprintf(name, sizeof name, "%u", i);
        cg_set_builder_add(b, &f, name, &y);
        chain_free(&f);
    }
    cg_set *s;
    good(cg_set_builder_finish(b, &s));
    cg_set_builder_free(b);
    return s;
}

/* -- a model of nets ------------------------------------------------------- */

typedef struct world {
    cg_dev *dev;
    cg_set *home, *away, *twin; /* twin: away by another name */
    cg_examples all; /* of away */
    cg_model *m;
    cg_embedded d;
} world;

static cg_config configuration(void)
{
    static const char *const keys[] = {
        "members=net1,net2,ridge", "gnn_width=12", "embed_width=8",
        "gnn_layers=3", "regressor_width=8", "regressor_layers=2", "epochs=3",
        "batch=8", "lr=0.01", "structure=depth,macs", "label=error_log"};
    cg_config c = cg_config_default;
    for (size_t i = 0; i < LEN(keys); i++)
        good(cg_config_set(&c, keys[i]));
    return c;
}

static int setup(void **state)
{
    static world w;
    cg_examples e;
    cg_split split;
    cg_config c = configuration();
    good(cg_dev_open(&w.dev, "cpu", 1));
    w.home = make_set("home", HOME, 16, 0);
    w.away = make_set("away", AWAY, 64, 4);
    w.twin = make_set("twin", AWAY, 64, 4);
    good(cg_examples_of(&e, w.home, NULL, true));
    good(cg_examples_of(&w.all, w.away, NULL, true));
    cg_split_make(&split, &e, 0, 1);
    good(cg_model_new(&w.m, w.dev, &c));
    good(cg_train(w.m, &split, &(cg_progress){0}, &(cg_train_hooks){0}));
    good(cg_model_embed(w.m, &w.all, &w.d));
    cg_split_free(&split);
    cg_examples_free(&e);
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    world *w = *state;
    cg_embedded_free(&w->d);
    cg_model_free(w->m);
    cg_examples_free(&w->all);
    cg_set_close(w->home);
    cg_set_close(w->away);
    cg_set_close(w->twin);
    cg_dev_close(w->dev);
    return 0;
}

/* A file's bytes; heap. */
static char *bytes_of(const cg_model *m, size_t *size)
{
    const char *path = "process.safetensors";
    good(cg_model_save(m, path, NULL));
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    char *bytes = cg_xcalloc(*size + 1, 1);
    rewind(f);
    assert_int_equal(fread(bytes, 1, *size, f), *size);
    fclose(f);
    assert_int_equal(remove(path), 0);
    return bytes;
}

static cg_model *reloaded(const world *w, const cg_model *m)
{
    const char *path = "process.safetensors";
    cg_model *copy;
    good(cg_model_save(m, path, NULL));
    good(cg_model_load(&copy, w->dev, path, NULL));
    assert_int_equal(remove(path), 0);
    return copy;
}

/* The model as it came from training, tuned to n networks. */
static cg_model *tuned(const world *w, const cg_embedded *d, uint32_t n,
                       cg_tuned *t)
{
    cg_model *m = reloaded(w, w->m);
    good(cg_finetune_model(t, m, d, n, 5, &(cg_tune_hooks){0}));
    return m;
}

/* Score and accuracy (n each) as of one network after the other; heap. */
static double *alone(cg_model *m, const cg_examples *e)
{
    double weight[CG_MEMBER_COUNT];
    double *out = cg_xcalloc(3 * (size_t)e->n, sizeof *out);
    cg_embedded d;
    cg_opinions o;
    good(cg_model_embed(m, e, &d));
    good(cg_opinions_ask_alone(&o, m, &d));
    cg_model_weights(m, &o, weight);
    for (int i = 0; i < CG_MEMBER_COUNT; i++)
        near(weight[i], i == CG_MEMBER_tuned, 0);
    good(cg_ensemble_alone(m, &o, weight, out, out + 2 * e->n));
    cg_ensemble_accuracy(&o, weight, out + e->n);
    for (uint32_t i = 0; i < e->n; i++)
        assert_true(out[2 * e->n + i] > 0 && out[2 * e->n + i] < 1);
    cg_opinions_free(&o);
    cg_embedded_free(&d);
    return out;
}

/* -- tests ----------------------------------------------------------------- */

static void learns(void **state)
{
    const world *w = *state;
    cg_tuned t;
    assert_int_equal(cg_finetune_members(w->m), 1);
    cg_model *m = tuned(w, &w->d, SAMPLES, &t);
    const double *said = t.on_rest.score[CG_MEMBER_tuned];
    const double *before = t.on_rest.score[CG_MEMBER_ridge];
    assert_int_equal(t.rest.n, AWAY - SAMPLES);
    double srcc = cg_srcc(t.rest.accuracy, said, t.rest.n);
    assert_true(srcc > .95 &&
                srcc > cg_srcc(t.rest.accuracy, before, t.rest.n));
    assert_true(cg_mae(t.rest.accuracy, t.on_rest.accuracy[CG_MEMBER_tuned],
                       t.rest.n) < 1.5);
    assert_true(m->tuned && m->families.tuned);
    assert_int_equal(m->families.list.len, 2);
    assert_string_equal(m->families.list.data[1].name, "away");
    cg_tuned_free(&t);
    cg_model_free(m);
}

/* Of the columns of one group (AWAY, c), standardised before their view: the
 * view leaves components that do not go together, and the square of what their
 * variances are is what the principal components' are, which sum up to one for
 * each column. */
static void viewed(const double *z, size_t c, double varied)
{
    double sum = 0;
    for (size_t a = 0; a < c; a++)
        for (size_t b = 0; b < c; b++) {
            double both = 0;
            for (size_t i = 0; i < AWAY; i++)
                both += z[i * c + a] * z[i * c + b] / AWAY;
            if (a != b)
                near(both, 0, 1e-6);
            else
                sum += both * both;
        }
    near(sum, varied, 1e-3 * varied); /* but for components of no size */
}

/* z (AWAY, c) = rows of raw (AWAY, c) through a view (c, c). */
static void look_through(const double *view, const double *raw, size_t c,
                         double *z)
{
    memset(z, 0, AWAY * c * sizeof *z);
    for (size_t i = 0; i < AWAY; i++)
        for (size_t k = 0; k < c; k++)
            for (size_t j = 0; j < c; j++)
                z[i * c + k] += view[k * c + j] * raw[i * c + j];
}

/* What the process sees of a net: its states, standardised over the family,
 * through the view. */
static void states_seen(void **state)
{
    const world *w = *state;
    cg_tuned t;
    cg_model *m = tuned(w, &w->d, SAMPLES, &t);
    const cg_process *p = &m->process;
    size_t c = p->width, all = p->nets * c;
    double *raw = cg_xcalloc(2 * AWAY * c, sizeof *raw), *z = raw + AWAY * c;
    assert_true(p->nets == 2 && w->d.width == (int)all);
    for (size_t net = 0; net < 2; net++) {
        double varied = 0;
        for (size_t j = 0; j < c; j++) {
            double sum = 0, squares = 0;
            for (size_t i = 0; i < AWAY; i++)
                sum += (double)w->d.h[i * all + net * c + j] / AWAY;
            for (size_t i = 0; i < AWAY; i++) {
                raw[i * c + j] = (double)w->d.h[i * all + net * c + j] - sum;
                squares += raw[i * c + j] * raw[i * c + j] / AWAY;
            }
            varied += squares > 0;
            for (size_t i = 0; i < AWAY && squares > 0; i++)
                raw[i * c + j] /= sqrt(squares);
        }
        look_through(p->view + net * c * c, raw, c, z);
        viewed(z, c, varied);
        for (uint32_t i = 0; i < t.samples.n; i++)
            for (size_t k = 0; k < c; k++)
                near(p->x[i * p->d + net * c + k],
                     z[t.samples.pick[i].index * c + k], 1e-6);
    }
    cg_xfree(raw);
    cg_tuned_free(&t);
    cg_model_free(m);
}

/* And of a walk (tests/test_walk.c), and structure behind that. */
static void walks_seen(void **state)
{
    const world *w = *state;
    cg_tuned t;
    cg_model *m = tuned(w, &w->d, SAMPLES, &t);
    const cg_process *p = &m->process;
    size_t at = p->nets * p->width, c[] = {p->visits, p->links};
    const cg_walk_columns columns = {p->visits, p->links, p->walk};
    const double *view = p->view + p->nets * p->width * p->width;
    cg_walk *walk = cg_walk_new();
    assert_true(c[0] == 2 && c[1] >= 3); /* a layer or not; what follows it */
    assert_int_equal(p->d, at + c[0] + c[1] + 2 + 1);
    double *x = cg_xcalloc(c[0] + c[1], sizeof *x);
    double *raw = cg_xcalloc(4 * AWAY * c[1], sizeof *raw);
    for (size_t k = 0; k < 2; k++) {
        double *z = raw + 2 * AWAY * c[1];
        for (uint32_t i = 0; i < AWAY; i++) {
            cg_walk_fill(walk, &columns, w->all.pick[i], x);
            memcpy(raw + i * c[k], x + (k ? c[0] : 0), c[k] * sizeof *x);
        }
        look_through(view, raw, c[k], z);
        viewed(z, c[k], (double)c[k]);
        for (uint32_t i = 0; i < t.samples.n; i++)
            for (size_t j = 0; j < c[k]; j++)
                near(p->x[i * p->d + at + j],
                     z[t.samples.pick[i].index * c[k] + j], 1e-9);
        view += c[k] * c[k];
        at += c[k];
    }
    cg_walk_free(walk);
    cg_xfree(x);
    cg_xfree(raw);
    cg_tuned_free(&t);
    cg_model_free(m);
}

/* What is said is b z + GP(t - b z), with z the last feature. */
static void leans(void **state)
{
    const world *w = *state;
    cg_tuned t;
    cg_model *m = tuned(w, &w->d, SAMPLES, &t);
    const cg_process *p = &m->process;
    const cg_label *label = &m->member[CG_MEMBER_tuned].label;
    double zt = 0, zz = 0, mean = 0, *y = p->y, said, far;
    for (size_t i = 0; i < SAMPLES; i++) {
        double z = p->x[(i + 1) * p->d - 1];
        double target = cg_label_of(label, t.samples.accuracy[i],
                                    t.samples.flops[i]);
        zt += z * target;
        zz += z * z;
        mean += y[i] / SAMPLES;
    }
    double b = fmax(0, (zt + 2.4) / (zz + 3));
    for (size_t i = 0; i < SAMPLES; i++) {
        double z = p->x[(i + 1) * p->d - 1];
        near(y[i] + b * z, cg_label_of(label, t.samples.accuracy[i],
                                       t.samples.flops[i]), 1e-9);
        good(cg_gp_predict(&p->gp, p->x + i * p->d, 1, &said, NULL));
        near(said + b * z, t.on_samples.score[CG_MEMBER_tuned][i], 1e-9);
    }
    double *away = cg_xcalloc(p->d, sizeof *away);
    for (size_t j = 0; j < p->d; j++)
        away[j] = 1e6;
    good(cg_gp_predict(&p->gp, away, 1, &far, NULL));
    near(far, mean, 1e-9); /* far from all samples the order is left */
    cg_xfree(away);
    cg_tuned_free(&t);
    cg_model_free(m);
}

/* A file keeps it all, and a network is judged the same without the others. */
static void kept(void **state)
{
    const world *w = *state;
    cg_tuned t;
    cg_model *m = tuned(w, &w->d, SAMPLES, &t);
    cg_model *copy = reloaded(w, m);
    double *here = alone(m, &w->all), *there = alone(copy, &w->all);
    cg_examples renamed; /* whatever a network's set is called */
    good(cg_examples_of(&renamed, w->twin, NULL, true));
    assert_memory_equal(here, there, 2 * AWAY * sizeof *here);
    for (uint32_t i = 0; i < AWAY; i += 9) {
        cg_examples one = cg_examples_pick(&renamed, &i, 1);
        double *single = alone(copy, &one);
        near(single[0], here[i], 1e-4);
        near(single[1], here[AWAY + i], 1e-3);
        cg_xfree(single);
        cg_examples_free(&one);
    }
    assert_true(fabs(here[0] - here[1]) > .01);
    cg_examples_free(&renamed);
    cg_xfree(here);
    cg_xfree(there);
    cg_tuned_free(&t);
    cg_model_free(copy);
    cg_model_free(m);
}

/* Trying says what tuning for good comes to, and changes nothing: neither a
 * model as it was trained, nor one that was tuned already. */
static void put_back(void **state)
{
    const world *w = *state;
    cg_tuned tried, t;
    cg_model *m = tuned(w, &w->d, SAMPLES, &t);
    cg_model *both[] = {w->m, m};
    for (int k = 0; k < 2; k++) {
        size_t size, again;
        cg_embedded d;
        char *before = bytes_of(both[k], &size);
        good(cg_model_embed(both[k], &w->all, &d));
        good(cg_finetune_try(&tried, both[k], &d, SAMPLES, 5, -1, NULL,
                             NULL));
        assert_memory_equal(tried.on_rest.score[CG_MEMBER_tuned],
                            t.on_rest.score[CG_MEMBER_tuned],
                            t.rest.n * sizeof(double));
        cg_tuned_free(&tried);
        good(cg_finetune_try(&tried, both[k], &d, SAMPLES, 6, -1, NULL,
                             NULL)); /* with other samples */
        cg_tuned_free(&tried);
        char *after = bytes_of(both[k], &again);
        assert_int_equal(size, again);
        assert_memory_equal(before, after, size);
        cg_embedded_free(&d);
        cg_xfree(before);
        cg_xfree(after);
    }
    assert_false(w->m->member[CG_MEMBER_tuned].trained);
    cg_tuned_free(&t);
    cg_model_free(m);
}

/* What there is nothing to be learnt from: labels that are all the same, two
 * networks, one network several times. */
static void little(void **state)
{
    world *w = *state;
    static const uint32_t twice[] = {3, 3, 3, 3, 3, 8, 8, 8};
    double same[AWAY];
    cg_tuned t;
    cg_embedded d = w->d;
    cg_examples constant = w->all;
    for (int i = 0; i < AWAY; i++)
        same[i] = 91.7;
    constant.accuracy = same;
    d.e = &constant;
    cg_model *m = tuned(w, &d, SAMPLES, &t);
    double *said = alone(m, &w->all);
    for (int i = 0; i < AWAY; i++) {
        near(said[i], 0, 0);
        near(said[AWAY + i], 91.7, 1e-9);
    }
    cg_xfree(said);
    cg_tuned_free(&t);
    cg_model_free(m);
    for (uint32_t n = 2; n <= LEN(twice); n += 6) {
        cg_examples e;
        cg_embedded some;
        cg_embedded_pick(&w->d, n == 2 ? (uint32_t[]){3, 8} : twice, n, &e,
                         &some);
        m = tuned(w, &some, n, &t);
        said = alone(m, &e);
        assert_true(said[0] != said[n - 1]);
        assert_int_equal(said[0] < said[n - 1],
                         e.accuracy[0] < e.accuracy[n - 1]);
        cg_xfree(said);
        cg_tuned_free(&t);
        cg_model_free(m);
        cg_embedded_free(&some);
        cg_examples_free(&e);
    }
}

/* Networks without a label are of the family, and no samples. */
static void unlabelled(void **state)
{
    world *w = *state;
    double some[AWAY];
    cg_tuned t;
    cg_embedded d = w->d;
    cg_examples e = w->all;
    cg_model *m = reloaded(w, w->m);
    for (int i = 0; i < AWAY; i++)
        some[i] = i % 3 ? NAN : w->all.accuracy[i];
    e.accuracy = some;
    d.e = &e;
    assert_int_equal(cg_finetune_model(&t, m, &d, AWAY / 3 + 2, 5,
                                       &(cg_tune_hooks){0}), CG_EUSAGE);
    cg_model_free(m);
    m = tuned(w, &d, AWAY / 3 + 1, &t);
    for (uint32_t i = 0; i < t.samples.n; i++)
        assert_false(isnan(t.samples.accuracy[i]));
    assert_int_equal(t.rest.n, AWAY - t.samples.n);
    double *x = cg_structures_of(&w->all), mean = 0;
    for (int i = 0; i < AWAY; i++)
        mean += x[i * CG_STRUCTURE_COUNT + CG_STRUCTURE_depth] / AWAY;
    near(m->families.list.data[1].structure.mean[CG_STRUCTURE_depth], mean,
         1e-9);
    cg_xfree(x);
    cg_tuned_free(&t);
    cg_model_free(m);
}

static void refuse(const world *w, cg_model *m, const char *word)
{
    const char *path = "process.safetensors";
    cg_model *copy;
    good(cg_model_save(m, path, NULL));
    bad(cg_model_load(&copy, w->dev, path, NULL), word);
    assert_null(copy);
    assert_int_equal(remove(path), 0);
}

static void damaged(void **state)
{
    const world *w = *state;
    cg_tuned t;
    cg_model *m = tuned(w, &w->d, SAMPLES, &t);
    cg_process *p = &m->process;
    double x = p->x[1], theta = p->theta[0], mean = p->walk[1];
    p->x[1] = NAN;
    refuse(w, m, "tuned.x: value 1 is nan");
    p->x[1] = x;
    p->theta[0] = -1;
    refuse(w, m, "parameter 0 is -1");
    p->theta[0] = theta;
    p->walk[1] = INFINITY;
    refuse(w, m, "tuned.walk: value 1 is inf");
    p->walk[1] = mean;
    p->number[0] = 1; /* one sample */
    refuse(w, m, "tuned.number");
    cg_tuned_free(&t);
    cg_model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(learns),   cmocka_unit_test(states_seen),
        cmocka_unit_test(walks_seen), cmocka_unit_test(leans),
        cmocka_unit_test(kept),     cmocka_unit_test(put_back),
        cmocka_unit_test(little),   cmocka_unit_test(unlabelled),
        cmocka_unit_test(damaged)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
