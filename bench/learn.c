/* bench_learn [--device D] [--precision P] COMMAND: what a trained member says,
 * how fast, and on how many states.
 *
 *   print SET MODEL MEMBER                a line for each network: a score, or
 *                                         for `encoder` the embedding
 *   rate SET MODEL MEMBER THREADS ROUNDS N
 *       networks per second of wall and of CPU time, a line for each round
 *       over the first N (0: all): embedding for `encoder`, scores for a
 *       regressor of graphs, both with the making of the batches
 *   steps SET MODEL MEMBER THREADS ROUNDS N BATCH
 *       the same of a regressor of graphs with batches that were made
 *       beforehand: training steps of BATCH networks, then predictions of 512
 *       at a time; wall and CPU of each. It spoils the model in memory.
 *   shapes SET MODEL MEMBER BATCH         of batches drawn at random, a mean
 *       per batch: nodes, states after each round, tokens that attend, sum of
 *       squares of those of a graph
 *   floors SET MODEL MEMBER BATCH N       what steps have to move and to
 *       multiply (tests/counted.h): MEMBER learns anew, an epoch of 8 tenths
 *       of N networks, and then looks at N as for `rate`. Two lines, `step`
 *       and `inference`: networks, kernels, bytes, operations of products,
 *       bytes uploaded, all of them per step. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/train.h"
#include "tests/counted.h"

enum { SHAPE_BATCHES = 32, PREDICT_BATCH = 512, NUMBERS = 4 };

typedef struct run {
    cg_set *set;
    cg_examples e;
    cg_model *m;
    cg_member *x;
    cg_member_id id;
    cg_embedded d;
    double *score;
    float *rows; /* on their way to the device */
    int threads, number[NUMBERS]; /* what follows MEMBER; 0 */
} run;

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static cg_err predict(run *r)
{
    if (r->id != CG_MEMBER_encoder)
        return cg_model_scores(r->m, r->id, &r->d, r->score);
    cg_embedded_free(&r->d);
    return cg_model_embed(r->m, &r->e, &r->d);
}

static cg_err print(run *r)
{
    /* of embeddings a regressor of graphs has no use */
    if (r->x->info->kind != CG_KIND_GRAPH)
        CG_TRY(cg_model_embed(r->m, &r->e, &r->d));
    CG_TRY(predict(r));
    size_t width = (size_t)r->d.width;
    for (uint32_t i = 0; i < r->e.n; i++) {
        if (r->id == CG_MEMBER_encoder)
            for (size_t k = 0; k < width; k++)
                printf("%.9g ", (double)r->d.h[i * width + k]);
        else
            printf("%.9g", r->score[i]);
        putchar('\n');
    }
    return CG_OK;
}

static cg_err rate(run *r)
{
    uint32_t n = (uint32_t)r->number[2];
    r->e.n = n && n < r->e.n ? n : r->e.n;
    for (int i = 0; i < r->number[1]; i++) {
        double wall = seconds(CLOCK_MONOTONIC);
        double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
        CG_TRY(predict(r));
        printf("%.0f %.0f\n", r->e.n / (seconds(CLOCK_MONOTONIC) - wall),
               r->e.n / (seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu));
    }
    return CG_OK;
}

/* -- batches made beforehand ----------------------------------------------- */

typedef struct kept {
    cg_batcher *batcher;
    cg_batch batch;
} kept;

static kept *keep(run *r, uint32_t size, bool train, size_t *n)
{
    cg_batch_opts o = {.message = r->x->info->message,
                       .rounds = r->x->gnn.layers,
                       .residual = r->x->gnn.residual,
                       .back = train && r->m->dev->wants_back};
    *n = r->e.n / size;
    kept *k = cg_xcalloc(*n + 1, sizeof *k);
    for (size_t i = 0; i < *n; i++) {
        k[i].batcher = cg_batcher_new();
        cg_batch_make(k[i].batcher, r->e.pick + i * size, (int)size, &o,
                      &k[i].batch);
    }
    return k;
}

static void free_kept(kept *k, size_t n)
{
    for (size_t i = 0; i < n; i++)
        cg_batcher_free(k[i].batcher);
    cg_xfree(k);
}

static cg_var *regress(run *r, cg_tape *t, kept *k)
{
    cg_params *p = &r->x->params;
    const cg_inputs *in = &r->m->inputs;
    size_t width = (size_t)in->width, n = (size_t)k->batch.n_states[0];
    float *x = cg_dev_work(r->m->dev, n * width * sizeof *x);
    r->rows = cg_xrealloc(r->rows, (n * width + 1) * sizeof *x);
    cg_batch_upload(k->batcher, r->m->dev, &k->batch);
    for (size_t i = 0; i < n; i++)
        cg_inputs_fill(in, &r->x->inputs, k->batch.token[i],
                       r->rows + i * width);
    cg_dev_upload(r->m->dev, x, r->rows, n * width * sizeof *x);
    cg_var *h = cg_tape_linear(t, cg_tape_input(t, x, (int)n, in->width),
                               cg_params_var(p, r->x->embed), NULL,
                               CG_ACT_NONE);
    h = cg_gnn_forward(&r->x->gnn, p, t, &k->batch, h);
    return cg_mlp_forward(&r->x->head, p, t, h);
}

/* One pass over the batches; targets are 0. */
static cg_err pass(run *r, kept *k, size_t n, bool train)
{
    static const cg_adamw adam = {.lr = 1e-4f, .b1 = .9f, .b2 = .999f,
                                  .eps = 1e-8f, .clip = 5};
    cg_params *p = &r->x->params;
    float y[PREDICT_BATCH];
    for (size_t i = 0; i < n; i++) {
        cg_tape *t = &r->m->tape;
        cg_tape_begin(t, r->m->dev, train, i);
        cg_params_zero_grad(p);
        cg_var *out = regress(r, t, &k[i]);
        if (!train) {
            cg_dev_download(r->m->dev, y, out->x,
                            (size_t)out->rows * sizeof *y);
            continue;
        }
        float *zero = cg_dev_work(r->m->dev, (size_t)out->rows * sizeof *y);
        cg_k_fill(r->m->dev, (size_t)out->rows, 0, zero);
        cg_tape_mse(t, out, zero, 1);
        cg_tape_backward(t);
        cg_params_step(p, &adam);
    }
    return cg_dev_sync(r->m->dev);
}

/* Its regressor takes the mean over the nodes and nothing else. */
static bool reads_graphs_alone(cg_member *x)
{
    if (x->info->kind != CG_KIND_GRAPH)
        return false;
    const cg_var *from = cg_params_var(&x->params, x->gnn.b[x->gnn.layers - 1]);
    return cg_params_var(&x->params, x->head.w[0])->rows == from->cols;
}

static cg_err steps(run *r)
{
    uint32_t n = (uint32_t)r->number[2], size = (uint32_t)r->number[3];
    if (!reads_graphs_alone(r->x) || size == 0)
        return cg_fail(CG_EUSAGE, "steps: a regressor that reads graphs "
                       "alone, and BATCH");
    r->e.n = n && n < r->e.n ? n : r->e.n;
    size_t n_train, n_predict;
    CG_TRY(cg_params_learn(&r->x->params));
    kept *train = keep(r, size, true, &n_train);
    kept *predict = keep(r, PREDICT_BATCH, false, &n_predict);
    cg_err err = CG_OK;
    for (int i = 0; i < r->number[1] && err == CG_OK; i++) {
        for (int k = 0; k < 2 && err == CG_OK; k++) {
            double wall = seconds(CLOCK_MONOTONIC);
            double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
            err = k == 0 ? pass(r, train, n_train, true)
                         : pass(r, predict, n_predict, false);
            double graphs = k == 0 ? (double)n_train * size
                                   : (double)n_predict * PREDICT_BATCH;
            printf("%.0f %.0f%c", graphs / (seconds(CLOCK_MONOTONIC) - wall),
                   graphs / (seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu),
                   " \n"[k]);
        }
    }
    free_kept(train, n_train);
    free_kept(predict, n_predict);
    return err;
}

/* -- shapes ---------------------------------------------------------------- */

static void add_shapes(const cg_batch *b, double *sum)
{
    *sum++ += (double)b->n_nodes;
    for (int i = 0; i <= b->rounds; i++)
        *sum++ += b->n_states[i];
    *sum++ += b->groups.n_tokens;
    *sum++ += (double)b->groups.n_square;
}

static cg_err shapes(run *r)
{
    uint32_t n = (uint32_t)r->number[0];
    if (n == 0 || n > r->e.n)
        return cg_fail(CG_EUSAGE, "a batch has 1 to %u networks", r->e.n);
    cg_batch_opts o = {.message = r->x->info->message,
                       .rounds = r->x->gnn.layers,
                       .copies = r->id == CG_MEMBER_encoder ? 2 : 0};
    double sum[CG_ROUNDS_MAX + 4] = {0};
    cg_pick *pick = cg_xcalloc(n, sizeof *pick);
    for (uint64_t k = 0; k < SHAPE_BATCHES; k++) {
        uint32_t *order = cg_shuffled(r->e.n, 1, k);
        for (uint32_t i = 0; i < n; i++)
            pick[i] = r->e.pick[order[i]];
        cg_batch_make(r->m->batcher, pick, (int)n, &o, &r->m->batch);
        add_shapes(&r->m->batch, sum);
        cg_xfree(order);
    }
    cg_xfree(pick);
    for (int i = 0; i < o.rounds + 4; i++)
        printf("%.1f ", sum[i] / SHAPE_BATCHES);
    putchar('\n');
    return CG_OK;
}

/* -- floors ---------------------------------------------------------------- */

static void say_counted(const char *what, uint32_t graphs, const counted *c)
{
    double n = (double)c->steps;
    printf("%s %.1f %.1f %.0f %.0f %.0f\n", what, graphs / n,
           (double)c->kernels / n, c->bytes / n, c->operations / n,
           c->uploaded / n);
}

static cg_err learn_counted(run *r, const cg_config *c, uint32_t n)
{
    cg_train_hooks silent = {0};
    cg_examples labelled;
    cg_split split;
    cg_model *m = NULL;
    counted learning;
    CG_TRY(cg_examples_of(&labelled, r->set, NULL, true));
    cg_split_make(&split, &labelled, n, 1);
    counted_begin(r->m->dev);
    cg_err err = cg_model_new(&m, r->m->dev, c);
    if (err == CG_OK)
        err = cg_train(m, &split, &(cg_progress){0}, &silent);
    counted_end(&learning, NULL);
    if (err == CG_OK)
        say_counted("step", split.train.n, &learning);
    cg_model_free(m);
    cg_split_free(&split);
    cg_examples_free(&labelled);
    return err;
}

static cg_err floors(run *r)
{
    cg_config c = r->m->config;
    counted looking;
    uint32_t n = (uint32_t)r->number[1];
    n = n && n < r->e.n ? n : r->e.n;
    if (r->number[0] < 2)
        return cg_fail(CG_EUSAGE, "floors: BATCH of 2 or more");
    snprintf(c.members, sizeof c.members, "%s", r->x->info->name);
    c.batch = c.cl_batch = r->number[0];
    c.epochs = c.cl_epochs = 1;
    CG_TRY(learn_counted(r, &c, n));
    r->e.n = n;
    counted_begin(r->m->dev);
    cg_err err = predict(r);
    counted_end(NULL, &looking);
    if (err == CG_OK)
        say_counted("inference", n, &looking);
    return err;
}

static const struct {
    const char *name;
    cg_err (*run)(run *r);
} commands[] = {{"print", print}, {"rate", rate}, {"steps", steps},
                 {"shapes", shapes}, {"floors", floors}};

static cg_err load(run *r, cg_dev *dev, char **argv)
{
    int member = cg_member_find(argv[4]);
    if (member < 0)
        return cg_fail(CG_EUSAGE, "no member '%s'", argv[4]);
    CG_TRY(cg_set_open(&r->set, argv[2]));
    CG_TRY(cg_examples_of(&r->e, r->set, NULL, false));
    CG_TRY(cg_model_load(&r->m, dev, argv[3], NULL));
    r->id = (cg_member_id)member;
    r->x = &r->m->member[member];
    if (!r->x->trained)
        return cg_fail(CG_EUSAGE, "%s has no member '%s'", argv[3], argv[4]);
    r->d = (cg_embedded){.e = &r->e};
    r->score = cg_xcalloc((size_t)r->e.n + 1, sizeof *r->score);
    return CG_OK;
}

static cg_err go(run *r, cg_dev *dev, char **argv)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(commands[i].name, argv[1]) == 0) {
            CG_TRY(load(r, dev, argv));
            return commands[i].run(r);
        }
    return cg_fail(CG_EUSAGE, "no command '%s'", argv[1]);
}

int main(int argc, char **argv)
{
    run r = {.threads = 1};
    cg_dev *dev = NULL;
    const char *device = "cpu", *precision = "float32";
    for (; argc > 2 && strncmp(argv[1], "--", 2) == 0; argc -= 2, argv += 2)
        *(strcmp(argv[1], "--device") ? &precision : &device) = argv[2];
    if (argc < 5) {
        fputs("usage: bench_learn [--device D] [--precision P] "
              "print|rate|steps|shapes|floors SET MODEL MEMBER "
              "[NUMBER...]\n", stderr);
        return 2;
    }
    for (int i = 5; i < argc && i < 5 + NUMBERS; i++)
        r.number[i - 5] = atoi(argv[i]);
    if (strcmp(argv[1], "rate") == 0 || strcmp(argv[1], "steps") == 0)
        r.threads = r.number[0];
    cg_err err = cg_dev_open(&dev, device, r.threads);
    if (err == CG_OK)
        err = cg_dev_precision(dev, precision);
    if (err == CG_OK)
        err = go(&r, dev, argv);
    if (err != CG_OK)
        fprintf(stderr, "bench_learn: %s\n", cg_error());
    cg_xfree(r.score);
    cg_xfree(r.rows);
    cg_embedded_free(&r.d);
    cg_model_free(r.m);
    cg_examples_free(&r.e);
    cg_set_close(r.set);
    cg_dev_close(dev);
    return err == CG_OK ? 0 : 1;
}
