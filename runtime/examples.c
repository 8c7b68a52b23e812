/* Labelled networks: from sets, and their parts. */
#include "runtime/examples.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"

enum { SPLIT_STREAM = 3 };

static cg_err find_label(const cg_set *s, const char *label, int *column)
{
    static const char *const usual[] = {"accuracy", "test_accuracy",
                                        "cifar10_test"};
    *column = label ? cg_set_label(s, label) : -1;
    for (size_t i = 0; !label && i < 3 && *column < 0; i++)
        *column = cg_set_label(s, usual[i]);
    if (*column >= 0)
        return CG_OK;
    if (label)
        return cg_fail(CG_EUSAGE, "%s has no label '%s'", s->path, label);
    return cg_fail(CG_EUSAGE, "%s has no label named accuracy, test_accuracy "
                   "or cifar10_test; name one", s->path);
}

static void reserve(cg_examples *e, uint32_t n)
{
    e->pick = cg_xrealloc(e->pick, (n + 1) * sizeof *e->pick);
    e->accuracy = cg_xrealloc(e->accuracy, (n + 1) * sizeof(double));
    e->flops = cg_xrealloc(e->flops, (n + 1) * sizeof(double));
    e->params = cg_xrealloc(e->params, (n + 1) * sizeof(double));
}

static void append(cg_examples *e, cg_pick p, double accuracy)
{
    const cg_set_graph *g = &p.set->graph[p.index];
    e->pick[e->n] = p;
    e->accuracy[e->n] = accuracy;
    e->flops[e->n] = g->flops;
    e->params[e->n++] = g->params;
}

cg_err cg_examples_of(cg_examples *e, const cg_set *s, const char *label,
                      bool labelled)
{
    int column = -1;
    double most = 0;
    *e = (cg_examples){0};
    if (labelled || label)
        CG_TRY(find_label(s, label, &column));
    const double *y = s->label;
    for (uint32_t i = 0; i < s->n_graphs && column >= 0; i++)
        most = fmax(most, y[(size_t)i * s->n_labels + (size_t)column]);
    double unit = most <= 1 ? 100 : 1;
    reserve(e, s->n_graphs);
    for (uint32_t i = 0; i < s->n_graphs; i++) {
        double a = column < 0 ? NAN
                              : y[(size_t)i * s->n_labels + (size_t)column];
        if (labelled && isnan(a))
            continue;
        if (a < 0 || a > 100 || isnan(s->graph[i].flops)) {
            cg_examples_free(e);
            return a < 0 || a > 100
                ? cg_fail(CG_EFORMAT, "%s: network '%.80s' has the label %g, "
                          "which is no accuracy", s->path, cg_set_name(s, i),
                          a)
                : cg_fail(CG_EFORMAT, "%s: network '%.80s' has FLOPs that are "
                          "not known", s->path, cg_set_name(s, i));
        }
        append(e, (cg_pick){s, i}, a * unit);
    }
    if (e->n > 0)
        return CG_OK;
    cg_examples_free(e);
    return cg_fail(CG_EFORMAT, "%s has no network with a label", s->path);
}

void cg_examples_add(cg_examples *a, const cg_examples *b)
{
    reserve(a, a->n + b->n);
    for (uint32_t i = 0; i < b->n; i++)
        append(a, b->pick[i], b->accuracy[i]);
}

cg_examples cg_examples_pick(const cg_examples *e, const uint32_t *index,
                             uint32_t n)
{
    cg_examples out = {0};
    reserve(&out, n);
    for (uint32_t i = 0; i < n; i++)
        append(&out, e->pick[index[i]], e->accuracy[index[i]]);
    return out;
}

void cg_examples_free(cg_examples *e)
{
    cg_xfree(e->pick);
    cg_xfree(e->accuracy);
    cg_xfree(e->flops);
    cg_xfree(e->params);
    *e = (cg_examples){0};
}

uint32_t *cg_shuffled(uint32_t n, uint64_t seed, uint64_t stream)
{
    uint32_t *order = cg_xcalloc((size_t)n + 1, sizeof *order);
    cg_rng r = cg_rng_make(seed, stream);
    for (uint32_t i = 0; i < n; i++)
        order[i] = i;
    for (uint32_t i = n; i > 1; i--) {
        uint32_t k = cg_rng_below(&r, i), t = order[i - 1];
        order[i - 1] = order[k];
        order[k] = t;
    }
    return order;
}

void cg_split_make(cg_split *s, const cg_examples *e, uint32_t limit,
                   uint64_t seed)
{
    uint32_t n = limit && limit < e->n ? limit : e->n;
    uint32_t *order = cg_shuffled(e->n, seed, SPLIT_STREAM);
    uint32_t train = n - 2 * (n / 10), valid = n / 10;
    s->train = cg_examples_pick(e, order, train);
    s->valid = cg_examples_pick(e, order + train, valid);
    s->test = cg_examples_pick(e, order + train + valid, valid);
    cg_xfree(order);
}

void cg_split_free(cg_split *s)
{
    cg_examples_free(&s->train);
    cg_examples_free(&s->valid);
    cg_examples_free(&s->test);
}
