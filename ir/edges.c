/* Use lists, the CG's edge list, sweeping and sorting. */
#include <stdlib.h>
#include <string.h>

#include "ir/graph.h"

/* -- uses ----------------------------------------------------------------- */

typedef void visit_fn(cg_uses *u, const cg_value *v, cg_use use);

static void count_use(cg_uses *u, const cg_value *v, cg_use use)
{
    (void)use;
    u->start[v->id + 1]++;
}

static void store_use(cg_uses *u, const cg_value *v, cg_use use)
{
    u->list[u->start[v->id]++] = use;
}

static void visit_uses(cg_uses *u, const cg_graph *g, visit_fn *visit)
{
    for (size_t i = 0; i < g->regions.len; i++) {
        cg_region *r = g->regions.data[i];
        if (r->owner && r->owner->dead)
            continue;
        for (size_t j = 0; j < r->nodes.len; j++) {
            cg_node *n = r->nodes.data[j];
            for (uint32_t k = 0; k < n->n_in && !n->dead; k++)
                if (n->in[k].v)
                    visit(u, n->in[k].v, (cg_use){n, r, k});
        }
        for (uint32_t k = 0; k < r->outputs.len; k++)
            if (r->outputs.data[k])
                visit(u, r->outputs.data[k], (cg_use){NULL, r, k});
    }
}

void cg_uses_make(cg_uses *u, const cg_graph *g)
{
    size_t n = g->values.len;
    u->start = cg_xcalloc(n + 1, sizeof *u->start);
    u->list = NULL;
    visit_uses(u, g, count_use);
    for (size_t i = 0; i < n; i++)
        u->start[i + 1] += u->start[i];
    u->list = cg_xcalloc(u->start[n], sizeof *u->list);
    /* storing moves start[v] to its end, which is start[v + 1] */
    visit_uses(u, g, store_use);
    memmove(u->start + 1, u->start, n * sizeof *u->start);
    u->start[0] = 0;
}

void cg_uses_free(cg_uses *u)
{
    cg_xfree(u->start);
    cg_xfree(u->list);
    *u = (cg_uses){0};
}

size_t cg_uses_count(const cg_uses *u, const cg_value *v)
{
    return u->start[v->id + 1] - u->start[v->id];
}

/* -- sweeping ---------------------------------------------------------------- */

typedef struct marker {
    bool *live;      /* (nodes) */
    cg_node **stack; /* (nodes), each comes here once */
    size_t len;
} marker;

static inline void mark_value(marker *m, const cg_value *v)
{
    cg_node *n = v ? v->def : NULL;
    if (n && !m->live[n->id]) {
        m->live[n->id] = true;
        m->stack[m->len++] = n;
    }
}

static void mark_region(marker *m, const cg_region *r)
{
    for (size_t i = 0; i < r->outputs.len; i++)
        mark_value(m, r->outputs.data[i]);
}

static void mark_bodies(marker *m, const cg_node *n)
{
    for (int a = 0; a < n->n_attr; a++)
        if (n->attr[a].kind == CG_ATTR_REGION)
            mark_region(m, n->attr[a].region);
}

/* Marks dead every node that no output of the main region depends on. */
static void mark_unreachable(cg_graph *g)
{
    marker m = {.live = cg_xcalloc(g->nodes.len, 1)};
    m.stack = cg_xrealloc(NULL, g->nodes.len * sizeof *m.stack);
    mark_region(&m, g->main);
    while (m.len) {
        const cg_node *n = m.stack[--m.len];
        for (uint32_t k = 0; k < n->n_in; k++)
            mark_value(&m, n->in[k].v);
        if (cg_has_bodies(g))
            mark_bodies(&m, n);
    }
    for (size_t i = 0; i < g->nodes.len; i++)
        if (!m.live[i])
            g->nodes.data[i]->dead = true;
    cg_xfree(m.live);
    cg_xfree(m.stack);
}

void cg_graph_sweep(cg_graph *g, bool unreachable)
{
    if (unreachable)
        mark_unreachable(g);
    for (size_t i = 0; i < g->regions.len; i++) {
        cg_region *r = g->regions.data[i];
        size_t w = 0;
        for (size_t j = 0; j < r->nodes.len; j++)
            if (!r->nodes.data[j]->dead)
                r->nodes.data[w++] = r->nodes.data[j];
        r->nodes.len = w;
    }
}

/* -- sorting ------------------------------------------------------------------- */

/* For each node of r, which nodes of r it waits for: producers of what it or
 * its bodies read. Bodies are flattened onto their owner in r. */
typedef struct sorter {
    cg_region *r;
    uint32_t *at;      /* node id -> 1 + index in r of it or its owner */
    uint32_t *waiting; /* (nodes of r) unfinished producers */
    CG_ARRAY(uint32_t) from; /* edge producer -> consumer */
    CG_ARRAY(uint32_t) to;
} sorter;

static void own(sorter *s, cg_graph *g)
{
    for (uint32_t i = 0; i < s->r->nodes.len; i++)
        s->at[s->r->nodes.data[i]->id] = i + 1;
    /* regions are made outside in, so owners come before their bodies */
    for (size_t i = 0; i < g->regions.len; i++) {
        cg_region *b = g->regions.data[i];
        if (!b->owner || !s->at[b->owner->id] || b == s->r)
            continue;
        for (size_t j = 0; j < b->nodes.len; j++)
            s->at[b->nodes.data[j]->id] = s->at[b->owner->id];
    }
}

static void depend(sorter *s, const cg_value *v, uint32_t consumer)
{
    if (!v || !v->def || !s->at[v->def->id])
        return;
    uint32_t producer = s->at[v->def->id] - 1;
    if (producer == consumer && v->def->region != s->r)
        return; /* within one body */
    cg_array_push(&s->from, producer);
    cg_array_push(&s->to, consumer);
}

static void collect(sorter *s, cg_graph *g)
{
    for (size_t i = 0; i < g->regions.len; i++) {
        cg_region *b = g->regions.data[i];
        uint32_t owner = b->owner ? s->at[b->owner->id] : 0;
        if (b != s->r && !owner)
            continue;
        for (size_t j = 0; j < b->nodes.len; j++) {
            cg_node *n = b->nodes.data[j];
            for (uint32_t k = 0; k < n->n_in; k++)
                depend(s, n->in[k].v, s->at[n->id] - 1);
        }
        if (b != s->r)
            for (size_t j = 0; j < b->outputs.len; j++)
                depend(s, b->outputs.data[j], owner - 1);
    }
}

/* Kahn's algorithm; a heap would give the stablest order, but visiting ready
 * nodes by a second pass over indices keeps sorted input untouched. */
static size_t emit(sorter *s, cg_node **out)
{
    size_t n = s->r->nodes.len, done = 0, e = s->from.len;
    uint32_t *start = cg_xcalloc(n + 2, sizeof *start);
    uint32_t *next = cg_xcalloc(e, sizeof *next);
    for (size_t i = 0; i < e; i++) {
        start[s->from.data[i] + 2]++;
        s->waiting[s->to.data[i]]++;
    }
    for (size_t i = 0; i < n; i++)
        start[i + 2] += start[i + 1];
    for (size_t i = 0; i < e; i++)
        next[start[s->from.data[i] + 1]++] = s->to.data[i];
    uint32_t *queue = cg_xcalloc(n, sizeof *queue);
    size_t tail = 0;
    for (uint32_t i = 0; i < n; i++)
        if (!s->waiting[i])
            queue[tail++] = i;
    for (; done < tail; done++) {
        uint32_t i = queue[done];
        out[done] = s->r->nodes.data[i];
        for (uint32_t k = start[i]; k < start[i + 1]; k++)
            if (--s->waiting[next[k]] == 0)
                queue[tail++] = next[k];
    }
    cg_xfree(start);
    cg_xfree(next);
    cg_xfree(queue);
    return done;
}

static bool already_sorted(const sorter *s)
{
    for (size_t i = 0; i < s->from.len; i++)
        if (s->from.data[i] >= s->to.data[i])
            return false;
    return true;
}

cg_err cg_region_sort(cg_graph *g, cg_region *r)
{
    sorter s = {.r = r};
    size_t n = r->nodes.len;
    s.at = cg_xcalloc(g->nodes.len, sizeof *s.at);
    s.waiting = cg_xcalloc(n, sizeof *s.waiting);
    own(&s, g);
    collect(&s, g);
    cg_err err = CG_OK;
    if (!already_sorted(&s)) {
        cg_node **out = cg_xcalloc(n, sizeof *out);
        if (emit(&s, out) == n) {
            memcpy(r->nodes.data, out, n * sizeof *out);
        } else {
            const cg_node *bad = NULL;
            for (size_t i = 0; i < n && !bad; i++)
                if (s.waiting[i])
                    bad = r->nodes.data[i];
            err = cg_fail(CG_EFORMAT, "node '%s' is part of a cycle",
                          bad->name);
        }
        cg_xfree(out);
    }
    cg_xfree(s.at);
    cg_xfree(s.waiting);
    cg_array_free(&s.from);
    cg_array_free(&s.to);
    return err;
}

/* -- the CG's edges ----------------------------------------------------------- */

typedef struct edge_maker {
    cg_edges *e;
    uint32_t *number; /* value id -> 1 + CG node that makes it */
    size_t cap;
} edge_maker;

static void add_edge(edge_maker *m, const cg_value *v, uint32_t to)
{
    if (!v || !m->number[v->id])
        return;
    if (m->e->n_edges == m->cap)
        m->e->edge = cg_array_grow(m->e->edge, &m->cap, m->cap + 1,
                                   sizeof *m->e->edge);
    m->e->edge[m->e->n_edges][0] = m->number[v->id] - 1;
    m->e->edge[m->e->n_edges++][1] = to;
}

/* Edges into a node with bodies also come from what its bodies capture. */
static void add_captures(edge_maker *m, const cg_graph *g,
                         const uint32_t *node_number)
{
    for (size_t i = 0; i < g->regions.len; i++) {
        const cg_region *r = g->regions.data[i];
        const cg_node *top = r->owner;
        while (top && !top->dead && top->region != g->main)
            top = top->region->owner;
        uint32_t to = top && !top->dead ? node_number[top->id] : 0;
        if (!to)
            continue;
        for (size_t j = 0; j < r->nodes.len; j++)
            for (uint32_t k = 0; k < r->nodes.data[j]->n_in; k++)
                add_edge(m, r->nodes.data[j]->in[k].v, to - 1);
        for (size_t j = 0; j < r->outputs.len; j++)
            add_edge(m, r->outputs.data[j], to - 1);
    }
}

/* Counting sort by one end, stable: linear, where qsort was a fifth of what
 * hashing a graph takes. */
static void sort_by_end(cg_edges *e, int end, uint32_t *count,
                        uint32_t (*to)[2])
{
    memset(count, 0, (e->n_nodes + 1) * sizeof *count);
    for (uint32_t i = 0; i < e->n_edges; i++)
        count[e->edge[i][end] + 1]++;
    for (uint32_t i = 0; i < e->n_nodes; i++)
        count[i + 1] += count[i];
    for (uint32_t i = 0; i < e->n_edges; i++)
        memcpy(to[count[e->edge[i][end]]++], e->edge[i], sizeof *to);
}

static void unique_edges(cg_edges *e)
{
    uint32_t(*sorted)[2] = cg_xcalloc(e->n_edges, sizeof *sorted);
    uint32_t(*edge)[2] = e->edge;
    uint32_t *count = cg_xcalloc(e->n_nodes + 1, sizeof *count);
    sort_by_end(e, 1, count, sorted);
    e->edge = sorted;
    sort_by_end(e, 0, count, edge);
    e->edge = edge;
    uint32_t w = 0;
    for (uint32_t i = 0; i < e->n_edges; i++)
        if (w == 0 || memcmp(edge[i], edge[w - 1], sizeof *edge) != 0)
            memmove(edge[w++], edge[i], sizeof *edge);
    e->n_edges = w;
    cg_xfree(sorted);
    cg_xfree(count);
}

void cg_edges_make(cg_edges *e, const cg_graph *g)
{
    const cg_region *r = g->main;
    *e = (cg_edges){.n_inputs = (uint32_t)r->inputs.len,
                    .n_outputs = (uint32_t)r->outputs.len};
    e->n_nodes = e->n_inputs + (uint32_t)r->nodes.len + e->n_outputs;
    edge_maker m = {.e = e};
    e->edge = cg_array_grow(NULL, &m.cap, 2 * e->n_nodes, sizeof *e->edge);
    m.number = cg_xcalloc(g->values.len, sizeof *m.number);
    uint32_t *node_number = cg_xcalloc(g->nodes.len, sizeof *node_number);
    for (uint32_t i = 0; i < e->n_inputs; i++)
        m.number[r->inputs.data[i]->id] = i + 1;
    for (uint32_t i = 0; i < r->nodes.len; i++) {
        const cg_node *n = r->nodes.data[i];
        node_number[n->id] = e->n_inputs + i + 1;
        for (uint32_t k = 0; k < n->n_out; k++)
            if (n->out[k])
                m.number[n->out[k]->id] = e->n_inputs + i + 1;
    }
    for (uint32_t i = 0; i < r->nodes.len; i++)
        for (uint32_t k = 0; k < r->nodes.data[i]->n_in; k++)
            add_edge(&m, r->nodes.data[i]->in[k].v, e->n_inputs + i);
    add_captures(&m, g, node_number);
    for (uint32_t i = 0; i < e->n_outputs; i++)
        add_edge(&m, r->outputs.data[i],
                 e->n_inputs + (uint32_t)r->nodes.len + i);
    unique_edges(e);
    cg_xfree(m.number);
    cg_xfree(node_number);
}

void cg_edges_free(cg_edges *e)
{
    cg_xfree(e->edge);
    *e = (cg_edges){0};
}
