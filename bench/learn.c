/* bench_learn: what a trained member says, how fast, and on how many states.
 *
 *   print SET MODEL MEMBER                a line for each network: a score, or
 *                                         for `encoder` the embedding
 *   rate SET MODEL MEMBER THREADS ROUNDS N
 *       networks per second of wall and of CPU time, a line for each round
 *       over the first N (0: all): embedding for `encoder`, scores for a
 *       regressor of graphs, both with the making of the batches
 *   shapes SET MODEL MEMBER BATCH         of batches drawn at random, a mean
 *       per batch: nodes, states after each round, tokens that attend, sum of
 *       squares of those of a graph */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/model.h"

enum { SHAPE_BATCHES = 32 };

typedef struct run {
    cg_set *set;
    cg_examples e;
    cg_model *m;
    cg_member *x;
    cg_member_id id;
    cg_embedded d;
    double *score;
    int threads, number[3]; /* what follows MEMBER; 0 */
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
                       .rounds = r->x->gnn.layers, .train = true,
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

static const struct {
    const char *name;
    cg_err (*run)(run *r);
} commands[] = {{"print", print}, {"rate", rate}, {"shapes", shapes}};

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
    if (argc < 5) {
        fputs("usage: bench_learn print|rate|shapes SET MODEL MEMBER "
              "[NUMBER...]\n", stderr);
        return 2;
    }
    for (int i = 5; i < argc && i < 8; i++)
        r.number[i - 5] = atoi(argv[i]);
    if (strcmp(argv[1], "rate") == 0)
        r.threads = r.number[0];
    cg_err err = cg_dev_open(&dev, "cpu", r.threads);
    if (err == CG_OK)
        err = go(&r, dev, argv);
    if (err != CG_OK)
        fprintf(stderr, "bench_learn: %s\n", cg_error());
    cg_xfree(r.score);
    cg_embedded_free(&r.d);
    cg_model_free(r.m);
    cg_examples_free(&r.e);
    cg_set_close(r.set);
    cg_dev_close(dev);
    return err == CG_OK ? 0 : 1;
}
