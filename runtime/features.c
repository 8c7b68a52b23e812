#include "runtime/features.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/map.h"
#include "runtime/colours.h"

#define MAX_NODES ((uint32_t)1 << 24)
#define DROPPED UINT32_MAX

static const char *const form_names[] = {"folded", "fused"};

const char *cg_form_name(cg_form f) { return form_names[f]; }

int cg_form_find(const char *name)
{
    for (int i = 0; i < 2; i++)
        if (strcmp(name, form_names[i]) == 0)
            return i;
    return -1;
}

/* -- tokens ---------------------------------------------------------------- */

static uint32_t size_of(cg_dim d)
{
    return !cg_dim_known(d) || d < 0 ? 0
           : d > UINT32_MAX          ? UINT32_MAX
                                     : (uint32_t)d;
}

static void set_sizes(uint32_t *to, bool known, const cg_dim *d, int n)
{
    for (int i = 0; i < n; i++)
        to[i] = known ? size_of(d[i]) : 0;
}

static cg_token plain_token(uint32_t op)
{
    return (cg_token){.op = (uint16_t)op, .act = CG_TOKEN_OPS,
                      .kernel = {1, 1}, .stride = {1, 1},
                      .dilation = {1, 1}, .groups = 1};
}

static cg_token port_token(cg_graph *g, uint32_t op, cg_port port)
{
    cg_token t = plain_token(op);
    cg_dim hwc[3];
    bool known = cg_type_hwc(g, &port.type, hwc);
    set_sizes(t.in, known, hwc, 3);
    set_sizes(t.out, known, hwc, 3);
    t.rank = port.type.rank > 0 ? (uint16_t)port.type.rank : 0;
    return t;
}

static void set_output(cg_graph *g, cg_token *t, const cg_node *n)
{
    cg_dim hwc[3];
    set_sizes(t->out, cg_node_out_hwc(g, n, hwc), hwc, 3);
    t->rank = 0;
    for (uint32_t k = n->n_out; k-- > 0;)
        if (n->out[k])
            t->rank = n->out[k]->type.rank > 0
                          ? (uint16_t)n->out[k]->type.rank : 0;
}

static cg_token node_token(cg_graph *g, const cg_node *n)
{
    cg_token t = plain_token(n->op);
    cg_dim hwc[3];
    cg_geometry m;
    set_sizes(t.in, cg_node_in_hwc(g, n, hwc), hwc, 3);
    set_output(g, &t, n);
    cg_node_geometry(g, n, &m);
    set_sizes(t.weight, true, m.weight, 4);
    set_sizes(t.kernel, true, m.kernel, 2);
    set_sizes(t.stride, true, m.stride, 2);
    set_sizes(t.dilation, true, m.dilation, 2);
    t.groups = size_of(m.groups);
    t.bias = m.bias;
    t.macs = cg_dim_known(n->macs) ? (float)n->macs : 0;
    return t;
}

/* Everything is seen relative to the largest of its network. */
static void set_maxima(cg_token *t, uint32_t n)
{
    uint32_t hw = 0, c = 0;
    for (uint32_t v = 0; v < n; v++)
        for (int side = 0; side < 2; side++) {
            const uint32_t *d = side ? t[v].out : t[v].in;
            uint32_t larger = d[0] > d[1] ? d[0] : d[1];
            hw = larger > hw ? larger : hw;
            c = d[2] > c ? d[2] : c;
        }
    for (uint32_t v = 0; v < n; v++) {
        t[v].hw_max = hw;
        t[v].c_max = c;
    }
}

/* -- which nodes there are ------------------------------------------------- */

/* The graph's nodes and edges, and what becomes of them. */
typedef struct outline {
    cg_graph *g;
    cg_edges e;
    uint32_t *first;  /* (nodes + 1) edges by producer */
    uint32_t *number; /* (nodes) in the features; DROPPED; of an activation
                         that is folded: its operator's */
    uint32_t *act;    /* (nodes) the activation folded into it; 0: none */
    uint32_t n;       /* nodes that are left */
} outline;

/* Node v of the CG; NULL for inputs and outputs. */
static const cg_node *node_at(const outline *o, uint32_t v)
{
    uint32_t k = v - o->e.n_inputs;
    return v >= o->e.n_inputs && k < o->g->main->nodes.len
               ? o->g->main->nodes.data[k]
               : NULL;
}

static bool takes_activation(const cg_node *n)
{
    return n && (n->op == CG_OP_CONV || n->op == CG_OP_DEPTHWISE ||
                 n->op == CG_OP_CONV_TRANSPOSE || n->op == CG_OP_MATMUL);
}

/* The activation that alone reads v, and reads nothing else; 0: none. */
static uint32_t activation_of(const outline *o, const uint32_t *n_in,
                              uint32_t v)
{
    const cg_node *n = node_at(o, v);
    if (!takes_activation(n) || o->first[v + 1] - o->first[v] != 1)
        return 0;
    uint32_t w = o->e.edge[o->first[v]][1];
    const cg_node *a = node_at(o, w);
    if (!a || n_in[w] != 1 || cg_op_table[a->op].class != CG_CLASS_ACTIVATION)
        return 0;
    const cg_value *x = cg_in(a, 0);
    return x && x->role == CG_ROLE_NODE && x->def == n ? w : 0;
}

static void fold_activations(outline *o)
{
    uint32_t *n_in = cg_xcalloc(o->e.n_nodes, sizeof *n_in);
    for (uint32_t i = 0; i < o->e.n_edges; i++)
        n_in[o->e.edge[i][1]]++;
    for (uint32_t v = 0; v < o->e.n_nodes; v++)
        if ((o->act[v] = activation_of(o, n_in, v)))
            o->number[o->act[v]] = DROPPED;
    cg_xfree(n_in);
}

static void outline_make(outline *o, cg_graph *g, cg_form form)
{
    *o = (outline){.g = g};
    cg_edges_make(&o->e, g);
    uint32_t n = o->e.n_nodes;
    o->first = cg_xcalloc((size_t)n + 1, sizeof *o->first);
    o->number = cg_xcalloc(n, sizeof *o->number);
    o->act = cg_xcalloc(n, sizeof *o->act);
    for (uint32_t i = 0; i < o->e.n_edges; i++)
        o->first[o->e.edge[i][0] + 1]++;
    for (uint32_t v = 0; v < n; v++)
        o->first[v + 1] += o->first[v];
    if (form == CG_FORM_FUSED)
        fold_activations(o);
    for (uint32_t v = 0; v < n; v++)
        if (o->number[v] != DROPPED)
            o->number[v] = o->n++;
    for (uint32_t v = 0; v < n; v++)
        if (o->act[v])
            o->number[o->act[v]] = o->number[v];
}

static void outline_free(outline *o)
{
    cg_edges_free(&o->e);
    cg_xfree(o->first);
    cg_xfree(o->number);
    cg_xfree(o->act);
}

/* Whether v is a node of the features, not folded into another. */
static bool stays(const outline *o, uint32_t v, uint32_t next)
{
    return o->number[v] == next;
}

static void fill_tokens(const outline *o, cg_token *t)
{
    cg_graph *g = o->g;
    uint32_t out = o->e.n_nodes - o->e.n_outputs, next = 0;
    for (uint32_t v = 0; v < o->e.n_nodes; v++) {
        if (!stays(o, v, next))
            continue;
        cg_token *to = &t[next++];
        if (v < o->e.n_inputs)
            *to = port_token(g, CG_TOKEN_INPUT, cg_region_input(g->main, v));
        else if (v >= out)
            *to = port_token(g, CG_TOKEN_OUTPUT,
                             cg_region_output(g->main, v - out));
        else
            *to = node_token(g, node_at(o, v));
        if (o->act[v]) {
            to->act = node_at(o, o->act[v])->op;
            set_output(g, to, node_at(o, o->act[v]));
        }
    }
    set_maxima(t, next);
}

/* Calls for each edge in the order of the producers that are left: a folded
 * activation's edges are its operator's, which had no other. */
static void each_edge(const outline *o, uint32_t *start, uint32_t *pred)
{
    uint32_t next = 0;
    for (uint32_t v = 0; v < o->e.n_nodes; v++) {
        if (!stays(o, v, next))
            continue;
        uint32_t from = o->act[v] ? o->act[v] : v;
        for (uint32_t i = o->first[from]; i < o->first[from + 1]; i++) {
            uint32_t to = o->number[o->e.edge[i][1]];
            if (pred)
                pred[start[to]] = next;
            start[to]++;
        }
        next++;
    }
}

/* In-edges, by a counting sort that keeps the order of producers. */
static void fill_edges(const outline *o, uint32_t *start, uint32_t *pred)
{
    uint32_t sum = 0;
    memset(start, 0, ((size_t)o->n + 1) * sizeof *start);
    each_edge(o, start, NULL);
    for (uint32_t v = 0; v < o->n; v++) {
        uint32_t count = start[v];
        start[v] = sum;
        sum += count;
    }
    each_edge(o, start, pred);
    memmove(start + 1, start, o->n * sizeof *start);
    start[0] = 0;
}

/* -- the features ---------------------------------------------------------- */

static bool live(const cg_region *r)
{
    for (; r->owner; r = r->parent)
        if (r->owner->dead)
            return false;
    return true;
}

/* A body that runs nobody knows how often costs nobody knows what. */
static cg_err check_loops(const cg_graph *g)
{
    for (size_t i = 1; i < g->regions.len; i++) {
        const cg_region *r = g->regions.data[i];
        const cg_node *n = r->owner;
        if (n && live(r) && cg_attr_region(n, "body") == r &&
            cg_attr_int(n, "trip_count", -1) < 0)
            return cg_fail(CG_EUNSUPPORTED, "node '%s': the cost of this %s "
                           "is not known: how often it runs depends on data",
                           n->name, cg_op_name(n->op));
    }
    return CG_OK;
}

static double total(cg_dim d) { return cg_dim_known(d) ? (double)d : NAN; }

/* One block holds all arrays, the widest first. */
static void allocate(cg_features *f, uint32_t n, uint32_t n_edges)
{
    size_t words = 2 * (size_t)n + 1 + n_edges;
    char *p = cg_xcalloc(1, n * sizeof *f->token +
                            words * sizeof(uint32_t) + n);
    *f = (cg_features){.n_nodes = n, .n_edges = n_edges};
    f->token = (cg_token *)p;
    f->start = (uint32_t *)(f->token + n);
    f->pred = f->start + n + 1;
    f->parent = f->pred + n_edges;
    f->level = (uint8_t *)(f->parent + n);
}

static void set_topology(cg_features *f)
{
    for (int i = 0; i < 2; i++) {
        uint64_t h = cg_hash64(f->start,
                               ((size_t)f->n_nodes + 1) * sizeof *f->start,
                               0x746f706f + (uint64_t)i);
        f->topology[i] = cg_hash64(f->pred, f->n_edges * sizeof *f->pred, h);
    }
}

static uint32_t edges_left(const outline *o)
{
    uint32_t n = o->e.n_edges;
    for (uint32_t v = 0; v < o->e.n_nodes; v++)
        n -= o->act[v] != 0;
    return n;
}

cg_err cg_features_make(cg_features *f, cg_graph *g, cg_form form)
{
    assert(g->facts);
    *f = (cg_features){0};
    const cg_region *r = g->main;
    if (r->inputs.len + r->nodes.len + r->outputs.len > MAX_NODES)
        return cg_fail(CG_ELIMIT, "more than %" PRIu32 " nodes", MAX_NODES);
    CG_TRY(check_loops(g));
    outline o;
    outline_make(&o, g, form);
    allocate(f, o.n, edges_left(&o));
    fill_tokens(&o, f->token);
    fill_edges(&o, f->start, f->pred);
    outline_free(&o);
    cg_colours_make(f->n_nodes, f->token, f->start, f->pred, f->parent,
                    f->level);
    f->params = total(g->params);
    f->macs = total(g->macs);
    f->flops = total(g->flops);
    memcpy(f->hash, g->hash, sizeof f->hash);
    set_topology(f);
    return CG_OK;
}

void cg_features_free(cg_features *f)
{
    cg_xfree(f->token);
    *f = (cg_features){0};
}
