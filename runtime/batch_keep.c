/* The nodes of a batch that stand for others, unpacked from their containers.
 *
 * Within a graph the container says which nodes agree for how many rounds
 * (cg_features.parent, level). Nodes that lead a colour of a round that is
 * wanted are kept, sorted by their level, so that the leaders of a round are
 * the first so many; edges lead to those who stand for their ends. */
#include <string.h>

#include "runtime/batch_maker.h"
#include "runtime/dataset_format.h"

enum { FETCH = 4096 }; /* bytes of a network that are sent for */

static void reserve_item(cg_maker *b, size_t n)
{
    if (n <= b->item_cap)
        return;
    b->item_cap = n + n / 2;
    CG_MAKER_GROW(b->place, b->item_cap);
    CG_MAKER_GROW(b->order, b->item_cap);
    CG_MAKER_GROW(b->origin, b->item_cap);
}

/* Sums of these are keys: mixed twice, as once leaves small numbers in simple
 * proportions. */
static uint64_t number_hash(size_t s)
{
    uint64_t hash = cg_mix64(cg_mix64(s + 0x9e3779b97f4a7c15u));
    return hash & ~(uint64_t)CG_MAKER_LONE;
}

static void reserve_kept(cg_maker *b, size_t nodes, size_t edges)
{
    if (nodes + 1 > b->node_cap) {
        size_t n = b->node_cap = 2 * nodes + 1;
        CG_MAKER_GROW(b->leader, n);
        CG_MAKER_GROW(b->token, n);
        CG_MAKER_GROW(b->count, n);
        CG_MAKER_GROW(b->start, n);
        CG_MAKER_GROW(b->state, n);
        CG_MAKER_GROW(b->next, n);
        CG_MAKER_GROW(b->lone, n);
        CG_MAKER_GROW(b->lone_next, n);
        CG_MAKER_GROW(b->hash, n);
        CG_MAKER_GROW(b->key, n);
        CG_MAKER_GROW(b->seek, n);
        CG_MAKER_GROW(b->alone, n);
        CG_MAKER_GROW(b->hash_of, n);
        for (size_t s = 0; s < n; s++)
            b->hash_of[s] = number_hash(s);
    }
    if (edges + CG_MAKER_FEW + 1 > b->edge_cap) {
        b->edge_cap = 2 * edges + CG_MAKER_FEW + 1;
        CG_MAKER_GROW(b->pred, b->edge_cap);
        CG_MAKER_GROW(b->sum, b->edge_cap);
    }
}

/* Sorts nodes by level, those over `top` last, as order; place: of the kept
 * node that stands for each, origin: the place of its parent. */
static void sort_nodes(cg_maker *b, cg_part *p, unsigned top)
{
    const cg_item *g = &b->item;
    uint32_t n = g->n_nodes, first = p->first, at[CG_ROUNDS_MAX + 3] = {0};
    uint32_t *place = b->place, *order = b->order, *origin = b->origin;
    for (uint32_t v = 0; v < n; v++)
        at[g->level[v] < top ? g->level[v] : top + (g->level[v] > top)]++;
    for (unsigned l = 0, sum = 0; l <= top + 1; l++) {
        uint32_t here = at[l];
        at[l] = sum;
        sum += here;
        if (l <= top)
            p->lead[l] = sum;
    }
    memset(b->count + first, 0, p->lead[top] * sizeof *b->count);
    for (uint32_t v = 0; v < n; v++) { /* a parent comes before, and is of a
                                          lower level */
        unsigned level = g->level[v];
        bool kept = level <= top;
        uint32_t i = at[kept ? level : top + 1]++;
        uint32_t from = place[g->parent[v]];
        uint32_t to = kept ? first + i : from;
        order[i] = v;
        origin[i] = from;
        place[v] = to;
        b->count[to]++;
    }
}

/* Networks drawn at random lie anywhere in a large file: sends for what tells
 * where a network is, for its topology, for its bytes. (Inlined, as a call
 * without effect would be left out.) */
static inline __attribute__((always_inline)) void expect_graph(cg_pick pick,
                                                               int step)
{
    const cg_set_graph *g = &pick.set->graph[pick.index];
    if (step == 0) {
        __builtin_prefetch(g);
        return;
    }
    const cg_set_topology *t = &pick.set->topology[g->topology];
    if (step == 1) {
        __builtin_prefetch(t);
        return;
    }
    const unsigned char *const *data = pick.set->store->data;
    uint32_t width = cg_set_width(t->n_nodes);
    uint32_t nodes = t->n_nodes * (g->token_bytes + width + 1);
    uint32_t edges = (t->n_nodes + t->n_edges) * width;
    for (uint32_t i = 0; i < nodes && i < FETCH; i += 64)
        __builtin_prefetch(data[CG_SECTION_NODES] + g->nodes + i);
    for (uint32_t i = 0; i < edges && i < FETCH; i += 64)
        __builtin_prefetch(data[CG_SECTION_EDGES] + t->edges + i);
}

static void keep_graph(cg_maker *b, cg_pick pick, unsigned top, bool plain,
                       cg_part *p)
{
    const cg_item *g = &b->item;
    cg_set_get(pick.set, pick.index, &b->item);
    if (plain)
        memset(b->item.level, 0, g->n_nodes);
    *p = (cg_part){.set = pick.set, .first = (uint32_t)b->n_kept,
                .n_nodes = g->n_nodes};
    reserve_item(b, g->n_nodes);
    reserve_kept(b, b->n_kept + g->n_nodes, b->n_edges + g->n_edges);
    memset(b->place, 0, sizeof *b->place); /* node 0's parent is itself */
    sort_nodes(b, p, top);
    uint32_t e = (uint32_t)b->n_edges, first = p->first;
    for (unsigned l = 0, i = 0; l <= top; l++) {
        for (; i < p->lead[l]; i++) {
            uint32_t v = b->order[i];
            b->leader[first + i] = b->origin[i];
            b->token[first + i] = g->token[v];
            b->start[first + i] = e;
            for (uint32_t k = g->start[v]; k < g->start[v + 1]; k++)
                b->pred[e++] = b->place[g->pred[k]];
        }
        p->edges[l] = e - (uint32_t)b->n_edges;
    }
    b->n_edges = e;
    b->n_kept += p->lead[top];
    b->start[b->n_kept] = e;
}

void cg_maker_keep(cg_maker *b, const cg_pick *graphs, int n, unsigned top,
                   bool plain)
{
    b->n_kept = b->n_edges = 0;
    if ((size_t)n > b->part_cap) {
        b->part_cap = (size_t)n;
        CG_MAKER_GROW(b->part, b->part_cap);
    }
    for (int i = 0; i < n; i++)
        expect_graph(graphs[i], 0);
    for (int i = 0; i < n; i++)
        expect_graph(graphs[i], 1);
    for (int i = 0; i < n; i++) {
        if (i + 2 < n)
            expect_graph(graphs[i + 2], 2);
        keep_graph(b, graphs[i], top, plain, &b->part[i]);
    }
    reserve_kept(b, b->n_kept, b->n_edges);
    memset(b->pred + b->n_edges, 0, CG_MAKER_FEW * sizeof *b->pred);
}
