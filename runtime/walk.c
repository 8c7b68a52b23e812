/* Expected numbers of visits and links of a random walk: one pass over the
 * nodes, last first, as every edge leads to an earlier node. */
#include "runtime/walk.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/map.h"

enum { RARE = 50 }; /* less than one network in so many has it: chance */

/* -- numbered keys --------------------------------------------------------- */

typedef struct keys {
    CG_ARRAY(uint64_t) list; /* in the order they came */
    uint32_t *slot;          /* (slots) 1 + place in the list; 0: free */
    size_t slots;            /* a power of two */
} keys;

static size_t slot_of(const keys *k, uint64_t key)
{
    size_t i = cg_mix64(key) & (k->slots - 1);
    while (k->slot[i] && k->list.data[k->slot[i] - 1] != key)
        i = (i + 1) & (k->slots - 1);
    return i;
}

static void grow(keys *k)
{
    k->slots = k->slots ? 2 * k->slots : 256;
    cg_xfree(k->slot);
    k->slot = cg_xcalloc(k->slots, sizeof *k->slot);
    for (size_t i = 0; i < k->list.len; i++)
        k->slot[slot_of(k, k->list.data[i])] = (uint32_t)(i + 1);
}

/* Its place in the list, the end of it for a new one. */
static size_t place_of(keys *k, uint64_t key)
{
    if (2 * (k->list.len + 1) > k->slots)
        grow(k);
    size_t i = slot_of(k, key);
    if (!k->slot[i]) {
        cg_array_push(&k->list, key);
        k->slot[i] = (uint32_t)k->list.len;
    }
    return k->slot[i] - 1;
}

static void forget(keys *k)
{
    if (k->slots)
        memset(k->slot, 0, k->slots * sizeof *k->slot);
    k->list.len = 0;
}

static void free_keys(keys *k)
{
    cg_array_free(&k->list);
    cg_xfree(k->slot);
}

/* -- walking --------------------------------------------------------------- */

struct cg_walk {
    const cg_set *set;
    uint64_t *kind;         /* (set->n_tokens); 0: not asked for yet */
    cg_item item;
    CG_ARRAY(double) here;  /* how often it comes to a node */
    CG_ARRAY(bool) read;    /* by a later node */
    keys met;
    CG_ARRAY(double) times; /* of what was met */
};

cg_walk *cg_walk_new(void)
{
    return cg_xcalloc(1, sizeof(cg_walk));
}

void cg_walk_free(cg_walk *w)
{
    if (!w)
        return;
    cg_xfree(w->kind);
    cg_item_free(&w->item);
    cg_array_free(&w->here);
    cg_array_free(&w->read);
    free_keys(&w->met);
    cg_array_free(&w->times);
    cg_xfree(w);
}

static const char *name_of(unsigned op)
{
    return op < CG_OP_COUNT          ? cg_op_name((cg_op)op)
           : op == CG_TOKEN_INPUT    ? "input"
           : op == CG_TOKEN_OUTPUT   ? "output" : "";
}

static int halvings(const cg_token *t)
{
    uint32_t size = t->out[0] > t->out[1] ? t->out[0] : t->out[1];
    return size && t->hw_max
               ? (int)lround(log2((double)t->hw_max / size)) : -1;
}

/* Even, and exact as a double. */
static uint64_t kind_of(const cg_token *t)
{
    char text[256];
    int n = snprintf(text, sizeof text, "%s %s %ux%u %ux%u /%ux%u d%ux%u %d %d",
                     name_of(t->op), name_of(t->act), t->weight[0],
                     t->weight[1], t->kernel[0], t->kernel[1], t->stride[0],
                     t->stride[1], t->dilation[0], t->dilation[1],
                     t->groups > 1, halvings(t));
    uint64_t key = cg_hash64(text, (size_t)n, 0) >> 12 << 1;
    return key ? key : 2;
}

static uint64_t link_of(uint64_t from, uint64_t to)
{
    return cg_mix64(from + cg_mix64(to)) >> 12 << 1 | 1;
}

static uint64_t kind_at(cg_walk *w, uint32_t v)
{
    uint32_t token = w->item.token[v];
    if (!w->kind[token])
        w->kind[token] = kind_of(&w->set->token[token]);
    return w->kind[token];
}

static void meet(cg_walk *w, uint64_t key, double times)
{
    size_t at = place_of(&w->met, key);
    if (at == w->times.len)
        cg_array_push(&w->times, 0);
    w->times.data[at] += times;
}

/* Outputs are what nobody reads. */
static void start(cg_walk *w)
{
    const cg_item *g = &w->item;
    double ends = 0;
    cg_array_reserve(&w->here, g->n_nodes);
    cg_array_reserve(&w->read, g->n_nodes);
    for (uint32_t v = 0; v < g->n_nodes; v++)
        w->read.data[v] = false;
    for (uint32_t e = 0; e < g->n_edges; e++)
        w->read.data[g->pred[e]] = true;
    for (uint32_t v = 0; v < g->n_nodes; v++)
        ends += !w->read.data[v];
    for (uint32_t v = 0; v < g->n_nodes; v++)
        w->here.data[v] = w->read.data[v] ? 0 : 1 / ends;
}

static void leave(cg_walk *w, uint32_t v)
{
    const cg_item *g = &w->item;
    uint32_t first = g->start[v], end = g->start[v + 1];
    uint64_t kind = kind_at(w, v);
    meet(w, kind, w->here.data[v]);
    for (uint32_t e = first; e < end; e++) {
        double share = w->here.data[v] / (end - first);
        w->here.data[g->pred[e]] += share;
        meet(w, link_of(kind, kind_at(w, g->pred[e])), share);
    }
}

/* What is met is then in w->met and w->times. */
static void go(cg_walk *w, cg_pick network)
{
    if (w->set != network.set) {
        cg_xfree(w->kind);
        w->set = network.set;
        w->kind = cg_xcalloc((size_t)w->set->n_tokens + 1, sizeof *w->kind);
    }
    cg_set_get(w->set, network.index, &w->item);
    forget(&w->met);
    w->times.len = 0;
    start(w);
    for (uint32_t v = w->item.n_nodes; v-- > 0;)
        leave(w, v);
}

/* -- columns --------------------------------------------------------------- */

typedef struct found {
    uint64_t key;
    double networks, sum, squares; /* of those that have it */
} found;

static bool is_link(uint64_t key)
{
    return key & 1;
}

/* The commonest of each sort first. */
static int by_networks(const void *a, const void *b)
{
    const found *x = a, *y = b;
    if (is_link(x->key) != is_link(y->key))
        return is_link(x->key) - is_link(y->key);
    if (x->networks != y->networks)
        return x->networks > y->networks ? -1 : 1;
    return (x->key > y->key) - (x->key < y->key);
}

static int by_key(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (x[0] > y[0]) - (x[0] < y[0]);
}

/* The variance of a number that is always the same is rounding. */
static bool differs(const found *f, double n, double *mean, double *scale)
{
    *mean = f->sum / n;
    double variance = f->squares / n - *mean * *mean;
    *scale = 1 / sqrt(variance);
    return variance > 1e-12 * *mean * *mean;
}

static cg_walk_columns choose(found *f, size_t all, double n)
{
    cg_walk_columns c = {0};
    c.column = cg_xcalloc(3 * 2 * CG_WALK_MOST, sizeof *c.column);
    if (all > 0)
        qsort(f, all, sizeof *f, by_networks);
    for (size_t i = 0; i < all; i++) {
        size_t *count = is_link(f[i].key) ? &c.links : &c.visits;
        double mean, scale, *column = c.column + 3 * (c.visits + c.links);
        if (f[i].networks * RARE < n || *count == CG_WALK_MOST ||
            !differs(&f[i], n, &mean, &scale))
            continue;
        column[0] = (double)f[i].key;
        column[1] = mean;
        column[2] = scale;
        ++*count;
    }
    size_t row = 3 * sizeof *c.column;
    qsort(c.column, c.visits, row, by_key);
    qsort(c.column + 3 * c.visits, c.links, row, by_key);
    return c;
}

cg_walk_columns cg_walk_columns_of(const cg_examples *family)
{
    keys all = {0};
    CG_ARRAY(found) list = {0};
    cg_walk *w = cg_walk_new();
    for (uint32_t i = 0; i < family->n; i++) {
        go(w, family->pick[i]);
        for (size_t k = 0; k < w->times.len; k++) {
            uint64_t key = w->met.list.data[k];
            size_t at = place_of(&all, key);
            if (at == list.len)
                cg_array_push(&list, (found){.key = key});
            found *f = &list.data[at];
            f->networks++;
            f->sum += w->times.data[k];
            f->squares += w->times.data[k] * w->times.data[k];
        }
    }
    cg_walk_columns c = choose(list.data, list.len, family->n);
    cg_walk_free(w);
    free_keys(&all);
    cg_array_free(&list);
    return c;
}

void cg_walk_fill(cg_walk *w, const cg_walk_columns *c, cg_pick network,
                  double *x)
{
    memset(x, 0, (c->visits + c->links) * sizeof *x);
    go(w, network);
    for (size_t k = 0; k < w->times.len; k++) {
        double key = (double)w->met.list.data[k];
        bool link = is_link(w->met.list.data[k]);
        const double *column = bsearch(
            &key, c->column + (link ? 3 * c->visits : 0),
            link ? c->links : c->visits, 3 * sizeof *column, by_key);
        if (column)
            x[(column - c->column) / 3] = w->times.data[k];
    }
    for (size_t j = 0; j < c->visits + c->links; j++)
        x[j] = (x[j] - c->column[3 * j + 1]) * c->column[3 * j + 2];
}
