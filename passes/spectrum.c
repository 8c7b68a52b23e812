/* Pass spectrum: the 21 smallest eigenvalues of the normalised Laplacian, a
 * fingerprint of how a network is wired.
 *
 * A general eigensolver on the whole graph loses multiplicities, which for a
 * Laplacian are facts about the graph, so structure is used first: every
 * connected component gives the eigenvalue 0 exactly once, isolated nodes
 * included, and the other eigenvalues are the union of those of the
 * components. With 21 components nothing is left to compute. Small components
 * are solved densely (spectrum_dense.c), large ones by shift-invert Lanczos
 * whose result is counted by Sylvester's law of inertia (spectrum_sparse.c).
 * See F. Chung, Spectral Graph Theory, 1997, chapter 1. */
#include "passes/spectrum.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "passes/passes.h"

#define Q CG_SPECTRUM_LEN

/* Undirected simple graph as sorted neighbour lists: two counting sorts, by
 * one end and then by the other, leave every list sorted. */
typedef struct lists {
    uint32_t n;
    uint32_t *start; /* (n + 1) */
    uint32_t *adj;
} lists;

static void fill_starts(uint32_t *start, uint32_t n)
{
    uint32_t sum = 0;
    for (uint32_t v = 0; v <= n; v++) {
        uint32_t count = start[v];
        start[v] = sum;
        sum += count;
    }
}

static void transpose(uint32_t n, const uint32_t *start, const uint32_t *adj,
                      uint32_t *to_start, uint32_t *to_adj)
{
    memcpy(to_start, start, (n + 1) * sizeof *start); /* symmetric: same */
    for (uint32_t v = 0; v < n; v++)
        for (uint32_t k = start[v]; k < start[v + 1]; k++)
            to_adj[to_start[adj[k]]++] = v;
    memmove(to_start + 1, to_start, n * sizeof *to_start);
    to_start[0] = 0;
}

static void drop_repeats(lists *l)
{
    uint32_t to = 0, from = 0;
    for (uint32_t v = 0; v < l->n; v++) {
        uint32_t first = to;
        for (; from < l->start[v + 1]; from++)
            if (to == first || l->adj[to - 1] != l->adj[from])
                l->adj[to++] = l->adj[from];
        l->start[v] = first;
    }
    l->start[l->n] = to;
}

static lists lists_make(uint32_t n, const uint32_t (*edge)[2], size_t n_edges)
{
    lists l = { n, cg_xcalloc((size_t)n + 1, sizeof(uint32_t)), NULL };
    uint32_t *start = cg_xcalloc((size_t)n + 1, sizeof *start);
    uint32_t *adj = cg_xcalloc(2 * n_edges + 1, sizeof *adj);
    l.adj = cg_xcalloc(2 * n_edges + 1, sizeof *adj);
    for (size_t e = 0; e < n_edges; e++)
        if (edge[e][0] != edge[e][1]) {
            start[edge[e][0]]++;
            start[edge[e][1]]++;
        }
    fill_starts(start, n);
    for (size_t e = 0; e < n_edges; e++)
        if (edge[e][0] != edge[e][1]) {
            adj[start[edge[e][0]]++] = edge[e][1];
            adj[start[edge[e][1]]++] = edge[e][0];
        }
    memmove(start + 1, start, n * sizeof *start);
    start[0] = 0;
    transpose(n, start, adj, l.start, l.adj);
    drop_repeats(&l);
    cg_xfree(adj);
    cg_xfree(start);
    return l;
}

static void lists_free(lists *l)
{
    cg_xfree(l->start);
    cg_xfree(l->adj);
}

/* Node order in which every component is one run, breadth first; run[c] is
 * where component c starts. Returns the number of components. */
static uint32_t components(const lists *l, uint32_t *order, uint32_t *run)
{
    uint8_t *seen = cg_xcalloc((size_t)l->n + 1, 1);
    uint32_t count = 0, head = 0, tail = 0;
    for (uint32_t root = 0; root < l->n; root++) {
        if (seen[root])
            continue;
        run[count++] = tail;
        seen[root] = 1;
        for (order[tail++] = root; head < tail; head++) {
            uint32_t v = order[head];
            for (uint32_t k = l->start[v]; k < l->start[v + 1]; k++)
                if (!seen[l->adj[k]]) {
                    seen[l->adj[k]] = 1;
                    order[tail++] = l->adj[k];
                }
        }
    }
    run[count] = tail;
    cg_xfree(seen);
    return count;
}

/* The component of order[0 .. n), nodes renumbered ascending by old number so
 * that neighbour lists stay sorted; `rank` is scratch for one number a node. */
static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static cg_component component_make(const lists *l, uint32_t *order, uint32_t n,
                                   uint32_t *rank)
{
    cg_component c = { n, cg_xcalloc((size_t)n + 1, sizeof(uint32_t)), NULL };
    qsort(order, n, sizeof *order, by_number);
    size_t total = 0;
    for (uint32_t k = 0; k < n; k++) {
        rank[order[k]] = k;
        total += l->start[order[k] + 1] - l->start[order[k]];
    }
    c.adj = cg_xcalloc(total + 1, sizeof *c.adj);
    uint32_t at = 0;
    for (uint32_t k = 0; k < n; k++) {
        uint32_t v = order[k];
        for (uint32_t e = l->start[v]; e < l->start[v + 1]; e++)
            c.adj[at++] = rank[l->adj[e]];
        c.start[k + 1] = at;
    }
    return c;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Eigenvalues of all components; at most Q - 1 of them, so at most
 * (Q - 1) Q values, from which the smallest are kept. */
static cg_err solve(const lists *l, uint32_t *order, const uint32_t *run,
                    uint32_t count, uint32_t dense_max, double *out)
{
    double all[(Q - 1) * Q + Q];
    size_t len = 0;
    cg_err err = CG_OK;
    uint32_t *rank = cg_xcalloc((size_t)l->n + 1, sizeof *rank);
    for (uint32_t i = 0; i < count && err == CG_OK; i++) {
        uint32_t n = run[i + 1] - run[i];
        /* the other components' zeros come before anything else of this */
        uint32_t want = Q - count + 1, k = n < want ? n : want;
        if (n == 1) {
            all[len++] = 0;
            continue;
        }
        cg_component c = component_make(l, order + run[i], n, rank);
        err = n <= dense_max || n < 2 * Q
                  ? cg_spectrum_dense(&c, (int)k, all + len)
                  : cg_spectrum_sparse(&c, (int)k, all + len);
        len += k;
        cg_xfree(c.start);
        cg_xfree(c.adj);
    }
    cg_xfree(rank);
    CG_TRY(err);
    qsort(all, len, sizeof *all, by_value);
    for (size_t i = 0; i < Q; i++)
        out[i] = i < len ? all[i] : 2.0;
    return CG_OK;
}

cg_err cg_spectrum_limit(uint32_t n, const uint32_t (*edge)[2],
                         size_t n_edges, uint32_t dense_max,
                         double out[CG_SPECTRUM_LEN])
{
    if (n_edges > INT32_MAX / 4 || n > INT32_MAX / 4)
        return cg_fail(CG_ELIMIT, "spectrum: %u nodes and %zu edges are more "
                       "than the sparse solver can index", n, n_edges);
    lists l = lists_make(n, edge, n_edges);
    uint32_t *order = cg_xcalloc((size_t)n + 1, sizeof *order);
    uint32_t *run = cg_xcalloc((size_t)n + 2, sizeof *run);
    uint32_t count = components(&l, order, run);
    cg_err err = CG_OK;
    if (count >= Q)
        memset(out, 0, Q * sizeof *out);
    else
        err = solve(&l, order, run, count, dense_max, out);
    cg_xfree(run);
    cg_xfree(order);
    lists_free(&l);
    return err;
}

cg_err cg_spectrum(uint32_t n, const uint32_t (*edge)[2], size_t n_edges,
                   double out[CG_SPECTRUM_LEN])
{
    return cg_spectrum_limit(n, edge, n_edges, CG_SPECTRUM_DENSE, out);
}

cg_err cg_pass_spectrum(cg_graph *g)
{
    cg_edges e;
    cg_edges_make(&e, g);
    cg_err err = cg_spectrum(e.n_nodes, (const uint32_t(*)[2])e.edge,
                             e.n_edges, g->spectrum);
    cg_edges_free(&e);
    return err;
}
