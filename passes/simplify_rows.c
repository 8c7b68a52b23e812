/* Last but one step of simplify: rows of a matrix get back the axes they had.
 *
 * A linear layer over (N, L, C) is a MatMul in one export and, in another, a
 * Reshape to (N*L, C), a Gemm, what follows element by element, and a Reshape
 * back. With the movement dropped the two differ in the types between. The
 * rows of a MatMul by a constant and of what is done to each element do not
 * know of each other, so such a chain takes the shape in which it is read, or
 * else the shape of what it reads. */
#include <string.h>

#include "passes/simplify.h"

typedef struct rows {
    cg_rewrite *rw;
    const cg_type **was; /* (values) type before, NULL: not changed */
} rows;

static bool same_hwc(cg_graph *g, const cg_type *a, const cg_type *b)
{
    cg_dim x[3], y[3];
    return cg_type_hwc(g, a, x) && cg_type_hwc(g, b, y) &&
           memcmp(x, y, sizeof x) == 0;
}

/* `flat` is (rows, C) of the (..., C) that is `t`, and it shows. */
static bool flattens(cg_graph *g, const cg_type *flat, const cg_type *t)
{
    if (flat->rank != 2 || t->rank < 3 || t->channel != t->rank - 1 ||
        t->dims[t->rank - 1] != flat->dims[1])
        return false;
    cg_type lead = *t;
    lead.rank--;
    bool ok;
    return cg_type_count(g, &lead, &ok) == flat->dims[0] && ok &&
           !same_hwc(g, flat, t);
}

/* Does to each row the same: the other operands are constants that vary along
 * the last axis at most. */
static bool row_wise(const cg_node *n)
{
    cg_class class = cg_op_table[n->op].class;
    bool matmul = n->op == CG_OP_MATMUL && !cg_attr_int(n, "transA", 0);
    if (n->n_out != 1 || !n->out[0] || n->out[0]->type.rank != 2 ||
        n->op == CG_OP_CUM_SUM || n->op == CG_OP_CUM_PROD ||
        (!matmul && class != CG_CLASS_ACTIVATION && class != CG_CLASS_UNARY &&
         class != CG_CLASS_ELEMENTWISE))
        return false;
    for (uint32_t k = 1; k < n->n_in; k++) {
        cg_value *v = n->in[k].v;
        if (v && (v->role != CG_ROLE_CONST ||
                  cg_in_type(n, k).rank > (matmul && k == 1 ? 2 : 1)))
            return false;
    }
    return true;
}

/* (rows, C) with the rows of `like`. */
static cg_type unflat(cg_graph *g, const cg_type *flat, const cg_type *like)
{
    cg_dim dims[CG_MAX_RANK];
    int last = like->rank - 1;
    memcpy(dims, like->dims, sizeof *dims * (size_t)last);
    dims[last] = flat->dims[1];
    cg_type t = cg_type_tensor(g, flat->dtype, like->rank, dims);
    t.channel = (int8_t)last;
    return t;
}

/* -- backward: as it is read ------------------------------------------------ */

/* The one shape in which everybody reads the matrix v, or NULL. */
static const cg_type *read_as(rows *r, const cg_uses *u, const cg_value *v)
{
    const cg_type *t = NULL;
    for (uint32_t i = u->start[v->id]; i < u->start[v->id + 1]; i++) {
        const cg_use *use = &u->list[i];
        const cg_type *view = use->node ? use->node->in[use->index].view : NULL;
        if (!view || (t ? !cg_same_dims(t, view)
                        : !flattens(r->rw->g, &v->type, view)))
            return NULL;
        t = view;
    }
    return t;
}

static void pull(rows *r, const cg_uses *u, cg_node *n)
{
    cg_operand *x = n->in;
    if (!n->n_in || !x->v || x->v->role == CG_ROLE_CONST || !row_wise(n))
        return;
    cg_type seen = cg_in_type(n, 0);
    cg_value *v = n->out[0];
    const cg_type *t = seen.rank == 2 ? read_as(r, u, v) : NULL;
    if (!t)
        return;
    v->type = unflat(r->rw->g, &v->type, t);
    for (uint32_t i = u->start[v->id]; i < u->start[v->id + 1]; i++)
        u->list[i].node->in[u->list[i].index].view = NULL;
    cg_type view = unflat(r->rw->g, &seen, t);
    bool plain = cg_same_dims(&view, &x->v->type) &&
                 view.channel == x->v->type.channel;
    x->view = plain ? NULL : cg_rw_view(r->rw, view);
}

/* -- forward: as what it reads ----------------------------------------------- */

static void retype(rows *r, cg_value *v, const cg_type *like)
{
    r->was[v->id] = cg_rw_view(r->rw, v->type);
    v->type = unflat(r->rw->g, &v->type, like);
}

/* Operand k sees what it saw before, by a view where that is another type. */
static void keep_view(rows *r, cg_operand *o)
{
    if (!o->v)
        return;
    if (!o->view && r->was[o->v->id])
        o->view = r->was[o->v->id];
    if (o->view && cg_same_dims(o->view, &o->v->type) &&
        o->view->channel == o->v->type.channel)
        o->view = NULL;
}

/* The chain goes on at n: it reads rows, by a view or from a chain. */
static bool extend(rows *r, cg_node *n)
{
    cg_operand *x = n->in;
    if (!n->n_in || !x->v || x->v->role == CG_ROLE_CONST)
        return false;
    const cg_type *seen = x->view ? x->view : r->was[x->v->id];
    if (!seen || !row_wise(n) || !flattens(r->rw->g, seen, &x->v->type))
        return false;
    x->view = NULL;
    retype(r, n->out[0], &x->v->type);
    return true;
}

static void visit(rows *r, cg_node *n)
{
    for (uint32_t k = extend(r, n) ? 1 : 0; k < n->n_in; k++)
        keep_view(r, &n->in[k]);
}

/* Somebody reads a matrix as something else: only there can a chain end. */
static bool any_matrix_read(const cg_graph *g)
{
    for (size_t i = 0; i < g->nodes.len; i++) {
        const cg_node *n = g->nodes.data[i];
        for (uint32_t k = 0; k < n->n_in && !n->dead; k++)
            if (n->in[k].view && n->in[k].v && n->in[k].v->type.rank == 2)
                return true;
    }
    return false;
}

static void pull_all(rows *r)
{
    cg_graph *g = r->rw->g;
    cg_uses u;
    cg_uses_make(&u, g);
    for (size_t j = g->main->nodes.len; j-- > 0;)
        pull(r, &u, g->main->nodes.data[j]);
    cg_uses_free(&u);
}

void cg_simplify_rows(cg_rewrite *rw)
{
    cg_graph *g = rw->g;
    rows r = {.rw = rw};
    if (any_matrix_read(g))
        pull_all(&r);
    r.was = cg_xcalloc(g->values.len, sizeof *r.was);
    for (size_t i = 0; i < g->regions.len; i++) {
        cg_region *region = g->regions.data[i];
        for (size_t j = 0; j < region->nodes.len; j++)
            if (!region->nodes.data[j]->dead)
                visit(&r, region->nodes.data[j]);
        for (size_t k = 0; k < region->outputs.len; k++) {
            const cg_value *v = region->outputs.data[k];
            cg_port port = cg_region_output(region, k);
            if (r.was[v->id] && port.name == v->name) {
                port.type = *r.was[v->id];
                cg_region_set_port(region, k, port);
            }
        }
    }
    cg_xfree(r.was);
}
