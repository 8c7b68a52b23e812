/* Learning and predicting on a device whose memory is not the host's: the bits
 * of the CPU, nothing that waits or allocates in a step, and what is done when
 * its memory runs out. */
#include "tests/sets.h"
#include "tests/apart.h"
#include "tests/numbers.h"

#include <unistd.h>

#include "base/io.h"
#include "runtime/finetune.h"
#include "runtime/train.h"

enum { NETWORKS = 80, TRAINED = NETWORKS * 8 / 10 };

/* -- networks and models --------------------------------------------------- */

static cg_set *make_set(void)
{
    static const char *const names[] = {"nb101", "two_path"};
    const char *labels[] = {"accuracy"};
    cg_set_builder *b = cg_set_builder_new("mixed", CG_FORM_FOLDED, labels, 1);
    for (uint64_t i = 0; cg_set_builder_len(b) < NETWORKS; i++) {
        char code[CG_ZOO_CODE_MAX];
        const cg_zoo_family *f;
        cg_zoo_opts o;
        cg_features x;
        good(cg_zoo_find(names[i % LEN(names)], &f, &o));
        cg_graph *g = sample_graph(f, i, code);
        good(cg_features_make(&x, g, CG_FORM_FOLDED));
        double y = 60 + 3 * log10(x.flops);
        x.has_spectrum = true; /* some numbers that differ */
        for (size_t k = 0; k < CG_SPECTRUM_LEN; k++)
            x.spectrum[k] = fmod(.1 * (double)((i + 1) * (k + 1)), 2);
        cg_set_builder_add(b, &x, code, &y);
        cg_features_free(&x);
        cg_graph_free(g);
    }
    cg_set *s;
    good(cg_set_builder_finish(b, &s));
    cg_set_builder_free(b);
    return s;
}

static cg_config configuration(const char *members, const char *more)
{
    static const char *const keys[] = {
        "gnn_width=8", "embed_width=8", "gnn_layers=2", "regressor_width=8",
        "regressor_layers=2", "epochs=2", "batch=16", "cl_width=8", "ffn=8",
        "heads=2", "cl_layers=2", "cl_epochs=2", "cl_batch=16",
        "project_width=8", "pca=3", "fcm_clusters=2", "fcm_m=2",
        "class_clusters=2", "class_m=2", "head_layers=1", "head_width=8",
        "class_width=8", "class_out=2", "head_epochs=2", "head_batch=16",
        "finetune_epochs=2", "structure=depth,macs"};
    cg_config c = cg_config_default;
    for (size_t i = 0; i < LEN(keys); i++)
        good(cg_config_set(&c, keys[i]));
    snprintf(c.members, sizeof c.members, "%s", members);
    if (*more)
        good(cg_config_set(&c, more));
    return c;
}

static const char everyone[] = "encoder,cl,cl_fcm_t,cl_fcm_pair,kgnn,gcn,gin,"
                               "ridge";

/* What was said on the way: the last warning, and the losses. */
typedef struct heard {
    char warning[200];
    int warnings;
    int64_t steps;
    double loss[512];
} heard;

static void hear_warning(void *user, const char *text)
{
    heard *h = user;
    snprintf(h->warning, sizeof h->warning, "%s", text);
    h->warnings++;
}

static void hear_loss(void *user, int64_t step, double loss,
                      const uint32_t *row, int n)
{
    heard *h = user;
    assert_true(n > 0 && row[0] < NETWORKS && step >= 0);
    assert_true(h->steps < (int64_t)LEN(h->loss));
    h->loss[h->steps++] = loss;
}

static cg_err train(cg_model **m, cg_dev *dev, const cg_examples *e,
                    const cg_config *c, heard *h)
{
    cg_split split;
    cg_train_hooks hooks = {.user = h, .warning = hear_warning,
                            .trace = hear_loss};
    *h = (heard){.steps = 0};
    cg_split_make(&split, e, 0, 1);
    good(cg_model_new(m, dev, c));
    cg_err err = cg_train(*m, &split, &(cg_progress){0}, &hooks);
    cg_split_free(&split);
    return err;
}

static void *bytes_of(const cg_model *m, size_t *size)
{
    const char *path = "apart.safetensors";
    cg_file_map f;
    good(cg_model_save(m, path, &(cg_progress){0}));
    good(cg_file_open(&f, path, 0));
    void *copy = cg_xcalloc(f.size, 1);
    memcpy(copy, f.data, *size = f.size);
    cg_file_close(&f);
    unlink(path);
    return copy;
}

/* What a member says; heap. */
static double *said(cg_model *m, cg_member_id id, const cg_examples *e)
{
    cg_embedded d;
    double *score = cg_xcalloc(e->n, sizeof *score);
    good(cg_model_embed(m, e, &d));
    good(cg_model_scores(m, id, &d, score));
    cg_embedded_free(&d);
    return score;
}

typedef struct world {
    cg_set *set;
    cg_examples all;
    cg_dev *cpu;
    apart *apart;
} world;

/* -- the same -------------------------------------------------------------- */

static void check_scores(world *w, cg_model *a, cg_model *b)
{
    for (int i = 0; i < CG_MEMBER_COUNT; i++) {
        if (!cg_member_speaks(a, (cg_member_id)i))
            continue;
        double *x = said(a, (cg_member_id)i, &w->all);
        double *y = said(b, (cg_member_id)i, &w->all);
        assert_memory_equal(x, y, w->all.n * sizeof *x);
        cg_xfree(x);
        cg_xfree(y);
    }
}

static void check_bytes(const cg_model *a, const cg_model *b)
{
    size_t n, size;
    void *x = bytes_of(a, &n), *y = bytes_of(b, &size);
    assert_int_equal(n, size);
    assert_memory_equal(x, y, n);
    cg_xfree(x);
    cg_xfree(y);
}

static void tune(const world *w, cg_model *m)
{
    cg_tune_hooks silent = {0};
    cg_embedded d;
    cg_tuned t;
    good(cg_model_embed(m, &w->all, &d));
    good(cg_finetune_model(&t, m, &d, 6, 1, &silent));
    cg_tuned_free(&t);
    cg_embedded_free(&d);
}

static cg_model *reloaded(world *w, const cg_model *m)
{
    cg_model *copy;
    good(cg_model_save(m, "apart.safetensors", NULL));
    good(cg_model_load(&copy, &w->apart->dev, "apart.safetensors", NULL));
    unlink("apart.safetensors");
    return copy;
}

static void same(void **state)
{
    static const char *const members[] = {everyone, "net1,net2,ridge"};
    world *w = *state;
    static heard mine, its;
    for (size_t k = 0; k < LEN(members); k++) {
        cg_config c = configuration(members[k], "");
        cg_model *a, *b;
        good(train(&a, w->cpu, &w->all, &c, &mine));
        good(train(&b, &w->apart->dev, &w->all, &c, &its));
        assert_int_equal(mine.steps, its.steps);
        assert_memory_equal(mine.loss, its.loss, sizeof mine.loss);
        check_bytes(a, b);
        check_scores(w, a, b);
        tune(w, a);
        tune(w, b);
        check_bytes(a, b);
        cg_model *copy = reloaded(w, a);
        check_scores(w, a, copy);
        cg_model_free(copy);
        cg_model_free(a);
        cg_model_free(b);
    }
}

/* -- quiet ----------------------------------------------------------------- */

/* What one more epoch of a member costs, with a trace. */
static apart more(world *w, const char *members, const char *few,
                  const char *many, int epochs)
{
    static heard h;
    apart cost[2];
    for (int k = 0; k < 2; k++) {
        cg_config c = configuration(members, k ? many : few);
        cg_model *m;
        apart before = *w->apart;
        good(train(&m, &w->apart->dev, &w->all, &c, &h));
        cost[k] = *w->apart;
        cost[k].allocs -= before.allocs;
        cost[k].syncs -= before.syncs;
        cost[k].uploads -= before.uploads;
        cost[k].downloads -= before.downloads;
        cost[k].steps -= before.steps;
        cg_model_free(m);
    }
    apart more = cost[1];
    more.allocs = (more.allocs - cost[0].allocs) / epochs;
    more.syncs = (more.syncs - cost[0].syncs) / epochs;
    more.uploads = (more.uploads - cost[0].uploads) / epochs;
    more.downloads = (more.downloads - cost[0].downloads) / epochs;
    more.steps = (more.steps - cost[0].steps) / epochs;
    return more;
}

/* An epoch: losses are read once and so are predictions of the networks that
 * are watched. */
static void quiet(void **state)
{
    world *w = *state;
    apart x = more(w, "kgnn", "epochs=1", "epochs=5", 4);
    int64_t steps = (TRAINED + 15) / 16;
    assert_int_equal(x.steps, steps + 1);
    assert_int_equal(x.allocs, 0);
    assert_true(x.syncs <= 2 && x.downloads <= 2);
    assert_int_equal(x.uploads, 3 * steps + 2); /* batch, structure, labels */
    x = more(w, "encoder", "cl_epochs=1", "cl_epochs=5", 4);
    assert_int_equal(x.steps, steps);
    assert_int_equal(x.allocs, 0);
    assert_true(x.syncs <= 1 && x.downloads <= 1);
    assert_int_equal(x.uploads, 3 * steps); /* batch, alpha, FLOPs */
}

/* -- out of memory --------------------------------------------------------- */

/* Trains again with less and less memory for a step; *least is the last that
 * was enough for it. */
static size_t shrink(world *w, const cg_config *c, size_t from, heard *h,
                     cg_model **m)
{
    size_t limit = from;
    for (;; limit -= limit / 8) {
        w->apart->limit = limit;
        good(train(m, &w->apart->dev, &w->all, c, h));
        if (h->warnings > 0)
            return limit;
        cg_model_free(*m);
    }
}

static void check_losses(const heard *a, const heard *b)
{
    assert_int_equal(a->steps, b->steps);
    for (int64_t i = 0; i < a->steps; i++)
        near(a->loss[i], b->loss[i], 1e-3 * b->loss[i]);
}

/* The sum of the parts' gradients is the batch's. */
static void parts(void **state)
{
    world *w = *state;
    static heard whole, half;
    cg_config c = configuration("kgnn", "");
    cg_model *a, *b;
    good(train(&a, &w->apart->dev, &w->all, &c, &whole));
    assert_int_equal(whole.warnings, 0);
    shrink(w, &c, 1 << 20, &half, &b);
    assert_int_equal(half.warnings, 1);
    assert_non_null(strstr(half.warning, "16 networks at a time"));
    assert_non_null(strstr(half.warning, "2 parts"));
    assert_null(strstr(half.warning, "compared"));
    check_losses(&half, &whole);
    near(half.loss[0], whole.loss[0], 1e-6 * whole.loss[0]);
    double *x = said(a, CG_MEMBER_kgnn, &w->all);
    double *y = said(b, CG_MEMBER_kgnn, &w->all);
    for (uint32_t i = 0; i < w->all.n; i++)
        near(y[i], x[i], 1e-2 + 1e-3 * fabs(x[i]));
    cg_xfree(x);
    cg_xfree(y);
    cg_model_free(a);
    cg_model_free(b);
}

/* Also where the first part of a batch fits, and the second does not. */
static void second_part(void **state)
{
    world *w = *state;
    static heard whole, h;
    cg_config c = configuration("kgnn", "");
    cg_model *m;
    good(train(&m, &w->apart->dev, &w->all, &c, &whole));
    cg_model_free(m);
    w->apart->fail[0] = w->apart->steps + 1; /* the batch */
    w->apart->fail[1] = w->apart->steps + 4; /* a reset, a part, this one */
    good(train(&m, &w->apart->dev, &w->all, &c, &h));
    assert_non_null(strstr(h.warning, "4 parts"));
    check_losses(&h, &whole);
    cg_model_free(m);
}

/* Where networks are compared that is said, and no part is of one network. */
static void compared(void **state)
{
    world *w = *state;
    static heard h;
    cg_model *m;
    cg_config c = configuration("encoder", "");
    size_t limit = shrink(w, &c, 1 << 20, &h, &m);
    assert_non_null(strstr(h.warning, "not compared"));
    cg_model_free(m);
    for (w->apart->limit = limit;; w->apart->limit /= 2) {
        cg_err err = train(&m, &w->apart->dev, &w->all, &c, &h);
        cg_model_free(m);
        if (err == CG_OK)
            continue;
        assert_int_equal(err, CG_ELIMIT);
        assert_string_equal(cg_error(), "contrastive encoder, 2 networks at a "
                            "time: apart: no memory");
        return;
    }
}

/* Predictions are of fewer networks at a time, and the same. */
static void fewer(void **state)
{
    world *w = *state;
    static heard h;
    cg_config c = configuration("kgnn", "");
    cg_model *m;
    good(train(&m, &w->apart->dev, &w->all, &c, &h));
    double *x = said(m, CG_MEMBER_kgnn, &w->all);
    assert_int_equal(m->at_once, CG_PREDICT_BATCH);
    w->apart->limit = 1 << 20;
    while (m->at_once > NETWORKS / 4) {
        w->apart->limit -= w->apart->limit / 8;
        double *y = said(m, CG_MEMBER_kgnn, &w->all);
        for (uint32_t i = 0; i < w->all.n; i++)
            near(y[i], x[i], 1e-4);
        cg_xfree(y);
    }
    cg_embedded d;
    w->apart->limit = 64;
    good(cg_model_embed(m, &w->all, &d));
    assert_int_equal(cg_model_scores(m, CG_MEMBER_kgnn, &d, x), CG_ELIMIT);
    w->apart->limit = 1 << 20; /* and it is usable again */
    good(cg_model_scores(m, CG_MEMBER_kgnn, &d, x));
    cg_embedded_free(&d);
    cg_xfree(x);
    cg_model_free(m);
}

static int setup(void **state)
{
    static world w;
    w.set = make_set();
    good(cg_examples_of(&w.all, w.set, NULL, true));
    good(cg_dev_open(&w.cpu, "cpu", 1));
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    world *w = *state;
    cg_examples_free(&w->all);
    cg_set_close(w->set);
    cg_dev_close(w->cpu);
    return 0;
}

static int open_device(void **state)
{
    world *w = *state;
    good(apart_open(&w->apart));
    return 0;
}

static int close_device(void **state)
{
    world *w = *state;
    apart_close(w->apart);
    return 0;
}

#define ON_DEVICE(test)                                                       \
    cmocka_unit_test_setup_teardown(test, open_device, close_device)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_DEVICE(same),
        ON_DEVICE(quiet),
        ON_DEVICE(parts),
        ON_DEVICE(second_part),
        ON_DEVICE(compared),
        ON_DEVICE(fewer),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
