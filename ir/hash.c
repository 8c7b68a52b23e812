/* A 128-bit hash of a CG that sees operators, shapes and edges, but no names
 * and no order: two exports of one network must agree.
 *
 * The graph is a DAG, so one sweep along the edges gives every node a hash of
 * all that leads to it, one sweep back a hash of all it leads to; together they
 * tell apart nearly all that Weisfeiler-Leman refinement tells apart after as
 * many rounds as the graph is deep, in linear time. Two rounds over whole
 * neighbourhoods add what lies beside those paths. Sets of hashes are combined
 * by adding scattered values, which needs no order. Both 64-bit halves go
 * through all steps with different constants.
 *
 * Bodies of If, Loop, Scan are graphs of their own, hashed first; their hash
 * is a fact of the node that owns them. */
#include "ir/hash.h"

#include <stdlib.h>
#include <string.h>

typedef struct key {
    uint64_t a, b;
} key;

static inline key key_of(uint64_t x)
{
    return (key){cg_mix64(x + 0x9e3779b97f4a7c15u),
                 cg_mix64(x ^ 0xd1b54a32d192ed03u)};
}

/* Order matters: h then x. */
static inline key then(key h, key x)
{
    return (key){cg_mix64(h.a * 0x9fb21c651e98df25u + x.a),
                 cg_mix64((h.b ^ x.b) * 0xff51afd7ed558ccdu + (h.b >> 7))};
}

/* Adds x to a set; `role` keeps sets of different meaning apart. */
static inline void set_add(key *set, key x, uint64_t role)
{
    set->a += cg_mix64(x.a ^ (role * 0xa0761d6478bd642fu));
    set->b += cg_mix64(x.b + (role * 0xe7037ed1a0b428dbu));
}

static key key_of_text(const char *s)
{
    size_t n = strlen(s);
    return (key){cg_hash64(s, n, 1), cg_hash64(s, n, 2)};
}

/* -- facts of one node ----------------------------------------------------- */

/* Numbers by value, named symbols by name. What depends on data is named
 * after nodes, so it counts as unknown only. */
static key dim_key(cg_graph *g, cg_dim d)
{
    if (cg_dim_known(d))
        return key_of((uint64_t)d);
    return cg_dim_why(g, d).why ? key_of_text("?")
                                : key_of_text(cg_dim_str(g, d));
}

static key add_dims(cg_graph *g, key h, bool known, const cg_dim *d, int n)
{
    if (!known)
        return then(h, key_of_text("unknown"));
    for (int i = 0; i < n; i++)
        h = then(h, dim_key(g, d[i]));
    return h;
}

static key add_ints(key h, const int64_t *v, int n)
{
    for (int i = 0; i < n; i++)
        h = then(h, key_of((uint64_t)v[i]));
    return h;
}

static key end_facts(cg_graph *g, const char *op, cg_port port)
{
    cg_dim hwc[3];
    bool known = cg_type_hwc(g, &port.type, hwc);
    return add_dims(g, key_of_text(op), known, hwc, 3);
}

/* All but names and bodies. Equal facts are equal bytes up to FACTS_SIZE. */
typedef struct facts {
    int64_t op, in_known, out_known;
    cg_dim in[3], out[3];
    cg_geometry m;
} facts;
#define FACTS_SIZE (offsetof(facts, m.bias) + sizeof(bool))

static void find_facts(cg_graph *g, const cg_node *n, facts *f)
{
    f->op = n->op;
    f->in_known = cg_node_in_hwc(g, n, f->in);
    f->out_known = cg_node_out_hwc(g, n, f->out);
    cg_node_geometry(g, n, &f->m);
}

static key key_of_facts(cg_graph *g, const facts *f, const char *source)
{
    key h = key_of_text(cg_op_name((cg_op)f->op));
    if (source)
        h = then(h, key_of_text(source));
    h = add_dims(g, h, f->in_known, f->in, 3);
    h = add_dims(g, h, f->out_known, f->out, 3);
    h = add_ints(h, f->m.kernel, 2);
    h = add_ints(h, f->m.stride, 2);
    h = add_ints(h, f->m.dilation, 2);
    h = add_ints(h, f->m.pad, 4);
    h = add_ints(h, &f->m.groups, 1);
    h = add_dims(g, h, true, f->m.weight, 4);
    return then(h, key_of(f->m.bias));
}

/* A network repeats its layers, a family those of its other networks, and to
 * look costs a tenth of making a key: the last facts seen in each slot. Only
 * those without symbols, which mean something in their graph alone. */
#define MEMO_BITS 9

typedef struct memo {
    facts facts;
    key key;
    bool used;
} memo;

static bool all_known(const facts *f)
{
    for (int i = 0; i < 3; i++)
        if (!cg_dim_known(f->in[i]) || !cg_dim_known(f->out[i]))
            return false;
    for (int i = 0; i < 4; i++)
        if (!cg_dim_known(f->m.weight[i]))
            return false;
    return true;
}

static size_t slot_of(const facts *f)
{
    const uint64_t odd = 0x9fb21c651e98df25u;
    uint64_t h = (uint64_t)f->op * 3 + f->m.bias;
    for (int i = 0; i < 3; i++)
        h = h * 127 + (uint64_t)f->in[i] * 31 + (uint64_t)f->out[i];
    for (int i = 0; i < 2; i++)
        h = h * 127 + (uint64_t)f->m.kernel[i] * 31 +
            (uint64_t)f->m.stride[i];
    return (h * 127 + (uint64_t)f->m.weight[2]) * odd >> (64 - MEMO_BITS);
}

static key node_facts(cg_graph *g, const cg_node *n, key bodies)
{
    static _Thread_local memo memos[1 << MEMO_BITS];
    facts f;
    find_facts(g, n, &f);
    if (n->source || !all_known(&f))
        return then(key_of_facts(g, &f, n->source), bodies);
    memo *m = &memos[slot_of(&f)];
    if (!m->used || memcmp(&m->facts, &f, FACTS_SIZE) != 0)
        *m = (memo){f, key_of_facts(g, &f, NULL), true};
    return then(m->key, bodies);
}

/* -- one region ------------------------------------------------------------ */

typedef uint32_t pair[2];

typedef struct hasher {
    cg_graph *g;
    key *bodies;     /* (nodes) set of the hashes of a node's bodies */
    uint32_t *home;  /* (values) 1 + region that defines it */
    uint32_t *index; /* (values) its maker among that region's CG nodes */
    uint32_t *node_home;  /* (nodes) 1 + region that lists it */
    uint32_t *node_index; /* (nodes) index among the region's CG nodes */
} hasher;

static uint32_t region_size(const cg_region *r)
{
    return (uint32_t)(r->inputs.len + r->nodes.len + r->outputs.len);
}

static void region_facts(const hasher *s, const cg_region *r, key *h)
{
    for (size_t i = 0; i < r->inputs.len; i++)
        *h++ = end_facts(s->g, "Input", cg_region_input(r, i));
    for (size_t i = 0; i < r->nodes.len; i++) {
        const cg_node *n = r->nodes.data[i];
        *h++ = node_facts(s->g, n, s->bodies[n->id]);
    }
    for (size_t i = 0; i < r->outputs.len; i++)
        *h++ = end_facts(s->g, "Output", cg_region_output(r, i));
}

/* Edges are sorted by producer, and nodes are in topological order: when a
 * sweep reaches a node, all that leads to it has been added up. Forward and
 * back are chains of multiplications that wait for each other, which side by
 * side take half the time. */
static void sweep(const key *fact, uint32_t n, const pair *edge,
                  size_t n_edges, key *fore, key *back)
{
    memset(fore, 0, n * sizeof *fore);
    memset(back, 0, n * sizeof *back);
    size_t e = 0, f = n_edges;
    for (uint32_t i = 0, j = n; j-- > 0; i++) {
        fore[i] = then(fact[i], fore[i]);
        for (; e < n_edges && edge[e][0] == i; e++)
            set_add(&fore[edge[e][1]], fore[i], 1);
        for (; f > 0 && edge[f - 1][0] == j; f--)
            set_add(&back[j], back[edge[f - 1][1]], 2);
        back[j] = then(fact[j], back[j]);
    }
}

static void refine(key *h, uint32_t n, const pair *edge, size_t n_edges,
                   key *sum)
{
    memset(sum, 0, n * sizeof *sum);
    for (size_t e = 0; e < n_edges; e++) {
        set_add(&sum[edge[e][1]], h[edge[e][0]], 3);
        set_add(&sum[edge[e][0]], h[edge[e][1]], 4);
    }
    for (uint32_t i = 0; i < n; i++)
        h[i] = then(h[i], sum[i]);
}

static key hash_region(const hasher *s, const cg_region *r, const pair *edge,
                       size_t n_edges)
{
    uint32_t n = region_size(r);
    key *fact = cg_xcalloc(n, sizeof *fact);
    key *fore = cg_xcalloc(n, sizeof *fore);
    key *back = cg_xcalloc(n, sizeof *back);
    region_facts(s, r, fact);
    sweep(fact, n, edge, n_edges, fore, back);
    for (uint32_t i = 0; i < n; i++)
        fore[i] = then(fore[i], back[i]);
    for (int round = 0; round < 2; round++)
        refine(fore, n, edge, n_edges, back);
    key all = {0, 0};
    for (uint32_t i = 0; i < n; i++)
        set_add(&all, fore[i], 5);
    cg_xfree(fact);
    cg_xfree(fore);
    cg_xfree(back);
    return then(then(key_of(n), key_of(n_edges)), all);
}

/* -- bodies ---------------------------------------------------------------- */

typedef struct body_edge {
    uint32_t region;
    pair ends;
} body_edge;

typedef CG_ARRAY(body_edge) body_edges;

static void number_values(hasher *s)
{
    for (uint32_t i = 0; i < s->g->regions.len; i++) {
        const cg_region *r = s->g->regions.data[i];
        uint32_t at = 0;
        for (size_t k = 0; k < r->inputs.len; k++) {
            s->home[r->inputs.data[k]->id] = i + 1;
            s->index[r->inputs.data[k]->id] = at++;
        }
        for (size_t k = 0; k < r->nodes.len; k++, at++) {
            const cg_node *n = r->nodes.data[k];
            s->node_home[n->id] = i + 1;
            s->node_index[n->id] = at;
            for (uint32_t j = 0; j < n->n_out; j++) {
                if (!n->out[j])
                    continue;
                s->home[n->out[j]->id] = i + 1;
                s->index[n->out[j]->id] = at;
            }
        }
    }
}

/* The use of v by CG node `to` of region `in`, as an edge of the region that
 * defines v: there the reader is the node whose body holds the use. */
static void add_use(hasher *s, body_edges *e, const cg_value *v, uint32_t in,
                    uint32_t to)
{
    uint32_t home = v ? s->home[v->id] : 0;
    if (home <= 1) /* a constant, or of the main region: cg_edges has it */
        return;
    for (int up = 0; in + 1 != home && up < 64; up++) {
        const cg_node *owner = s->g->regions.data[in]->owner;
        if (!owner || !s->node_home[owner->id])
            return;
        to = s->node_index[owner->id];
        in = s->node_home[owner->id] - 1;
    }
    if (in + 1 == home)
        cg_array_push(e, ((body_edge){in, {s->index[v->id], to}}));
}

static int by_region(const void *x, const void *y)
{
    const body_edge *a = x, *b = y;
    uint32_t p[3] = {a->region, a->ends[0], a->ends[1]};
    uint32_t q[3] = {b->region, b->ends[0], b->ends[1]};
    for (int i = 0; i < 3; i++)
        if (p[i] != q[i])
            return p[i] < q[i] ? -1 : 1;
    return 0;
}

static void collect_edges(hasher *s, body_edges *e)
{
    for (uint32_t i = 1; i < s->g->regions.len; i++) {
        const cg_region *r = s->g->regions.data[i];
        uint32_t at = (uint32_t)r->inputs.len;
        for (size_t k = 0; k < r->nodes.len; k++, at++)
            for (uint32_t j = 0; j < r->nodes.data[k]->n_in; j++)
                add_use(s, e, r->nodes.data[k]->in[j].v, i, at);
        for (size_t k = 0; k < r->outputs.len; k++, at++)
            add_use(s, e, r->outputs.data[k], i, at);
    }
    if (e->len)
        qsort(e->data, e->len, sizeof *e->data, by_region);
    size_t w = 0;
    for (size_t i = 0; i < e->len; i++)
        if (i == 0 || by_region(&e->data[i], &e->data[w - 1]) != 0)
            e->data[w++] = e->data[i];
    e->len = w;
}

/* The attribute that holds a body; NULL if its owner let it go. */
static const cg_attr *attr_of(const cg_region *r)
{
    for (int i = 0; r->owner && i < r->owner->n_attr; i++)
        if (r->owner->attr[i].kind == CG_ATTR_REGION &&
            r->owner->attr[i].region == r)
            return &r->owner->attr[i];
    return NULL;
}

#define MAX_DEPTH 64 /* as in cg_graph_validate */

static int depth_of(const cg_region *r)
{
    int depth = 0;
    while (r->parent && depth < MAX_DEPTH) {
        r = r->parent;
        depth++;
    }
    return depth;
}

/* Region numbers, innermost first, since a body is a fact of its owner. */
static uint32_t *inside_out(const cg_graph *g)
{
    size_t count[MAX_DEPTH + 2] = {0}, n = g->regions.len;
    uint32_t *order = cg_xcalloc(n, sizeof *order);
    for (size_t i = 0; i < n; i++)
        count[MAX_DEPTH - depth_of(g->regions.data[i]) + 1]++;
    for (int d = 0; d <= MAX_DEPTH; d++)
        count[d + 1] += count[d];
    for (uint32_t i = 0; i < n; i++)
        order[count[MAX_DEPTH - depth_of(g->regions.data[i])]++] = i;
    return order;
}

static void hash_bodies(hasher *s)
{
    size_t n = s->g->regions.len;
    body_edges e = {0};
    collect_edges(s, &e);
    pair *ends = cg_xcalloc(e.len, sizeof *ends);
    size_t *start = cg_xcalloc(n + 1, sizeof *start); /* edges by region */
    for (size_t i = 0; i < e.len; i++) {
        memcpy(ends[i], e.data[i].ends, sizeof ends[i]);
        start[e.data[i].region + 1] = i + 1;
    }
    for (size_t i = 1; i <= n; i++)
        if (start[i] < start[i - 1])
            start[i] = start[i - 1];
    uint32_t *order = inside_out(s->g);
    for (size_t k = 0; k < n; k++) {
        uint32_t i = order[k];
        const cg_region *r = s->g->regions.data[i];
        const cg_attr *a = attr_of(r);
        if (!a || r->owner->dead)
            continue;
        key h = hash_region(s, r, (const pair *)ends + start[i],
                            start[i + 1] - start[i]);
        set_add(&s->bodies[r->owner->id], then(h, key_of_text(a->name)), 6);
    }
    cg_xfree(order);
    cg_xfree(start);
    cg_xfree(ends);
    cg_array_free(&e);
}

void cg_graph_hash(cg_graph *g, uint64_t hash[2])
{
    hasher s = {.g = g};
    s.bodies = cg_xcalloc(g->nodes.len, sizeof *s.bodies);
    if (g->regions.len > 1) {
        s.home = cg_xcalloc(g->values.len, sizeof *s.home);
        s.index = cg_xcalloc(g->values.len, sizeof *s.index);
        s.node_home = cg_xcalloc(g->nodes.len, sizeof *s.node_home);
        s.node_index = cg_xcalloc(g->nodes.len, sizeof *s.node_index);
        number_values(&s);
        hash_bodies(&s);
    }
    cg_edges e;
    cg_edges_make(&e, g);
    key h = hash_region(&s, g->main, (const pair *)e.edge, e.n_edges);
    cg_edges_free(&e);
    hash[0] = h.a;
    hash[1] = h.b;
    cg_xfree(s.bodies);
    cg_xfree(s.home);
    cg_xfree(s.index);
    cg_xfree(s.node_home);
    cg_xfree(s.node_index);
}
