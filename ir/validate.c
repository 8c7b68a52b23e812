/* What must hold of a graph between passes. A failure after a pass is the
 * pass's mistake, before the first one the input's: both get a sentence, since
 * .cg text comes from users too. */
#include <string.h>

#include "ir/graph.h"

typedef struct checker {
    const cg_graph *g;
    const char *after;
    unsigned char *defined; /* value id -> visible at this point */
    const cg_dim *dims;     /* last ones found good, (rank) of them: */
    int rank;               /* types of neighbours share them */
} checker;

static cg_err broken(const checker *c, const cg_node *n, const char *what,
                     const char *name)
{
    return cg_fail(CG_EFORMAT, "%s%s%snode '%s': %s '%s'",
                   c->after ? "after pass " : "", c->after ? c->after : "",
                   c->after ? ": " : "", n ? n->name : "output", what, name);
}

static inline cg_err check_type(checker *c, const cg_node *n,
                                const cg_type *t, const char *name)
{
    if (t->rank < -1 || t->rank > CG_MAX_RANK)
        return broken(c, n, "rank out of range of", name);
    if (t->channel < -1 || (t->rank >= 0 && t->channel >= t->rank))
        return broken(c, n, "channel axis out of range of", name);
    if (t->dims == c->dims && t->rank == c->rank)
        return CG_OK;
    for (int i = 0; i < t->rank; i++)
        if (cg_dim_known(t->dims[i]) && t->dims[i] < 0)
            return broken(c, n, "negative dim of", name);
    c->dims = t->dims;
    c->rank = t->rank;
    return CG_OK;
}

static inline cg_err check_operand(checker *c, const cg_node *n,
                                   const cg_operand *o)
{
    if (!o->v)
        return CG_OK;
    if (o->v->id >= c->g->values.len || c->g->values.data[o->v->id] != o->v)
        return broken(c, n, "operand of another graph:", o->v->name);
    if (o->v->role != CG_ROLE_CONST && !c->defined[o->v->id])
        return broken(c, n, "used before it is defined:", o->v->name);
    if (o->view)
        CG_TRY(check_type(c, n, o->view, o->v->name));
    return CG_OK;
}

static cg_err check_arity(const checker *c, const cg_node *n)
{
    const cg_op_info *info = &cg_op_table[n->op];
    if (n->n_in < info->min_in ||
        (info->max_in != CG_VARIADIC && n->n_in > info->max_in))
        return broken(c, n, "wrong number of inputs for", info->name);
    return CG_OK;
}

static cg_err check_node(checker *c, const cg_node *n,
                         const cg_region *r)
{
    if (n->op >= CG_OP_COUNT)
        return broken(c, n, "unknown operator of", n->name);
    if (n->region != r)
        return broken(c, n, "listed in a region that is not its own:",
                      n->name);
    CG_TRY(check_arity(c, n));
    for (uint32_t k = 0; k < n->n_in; k++)
        CG_TRY(check_operand(c, n, &n->in[k]));
    for (uint32_t k = 0; k < n->n_out; k++) {
        const cg_value *v = n->out[k];
        if (!v)
            continue;
        if (v->def != n || v->out != k || v->role != CG_ROLE_NODE)
            return broken(c, n, "output belongs elsewhere:", v->name);
        if (c->defined[v->id])
            return broken(c, n, "defined twice:", v->name);
        CG_TRY(check_type(c, n, &v->type, v->name));
    }
    return CG_OK;
}

static void define(checker *c, const cg_node *n, unsigned char on)
{
    for (uint32_t k = 0; k < n->n_out; k++)
        if (n->out[k])
            c->defined[n->out[k]->id] = on;
}

static cg_err check_region(checker *c, const cg_region *r, int depth);

static cg_err check_bodies(checker *c, const cg_node *n, int depth)
{
    for (int a = 0; a < n->n_attr; a++)
        if (n->attr[a].kind == CG_ATTR_REGION)
            CG_TRY(check_region(c, n->attr[a].region, depth));
    return CG_OK;
}

static cg_err check_region(checker *c, const cg_region *r, int depth)
{
    if (depth > 64)
        return cg_fail(CG_ELIMIT, "more than 64 nested graphs");
    for (size_t i = 0; i < r->inputs.len; i++)
        c->defined[r->inputs.data[i]->id] = 1;
    for (size_t i = 0; i < r->nodes.len; i++) {
        const cg_node *n = r->nodes.data[i];
        CG_TRY(check_node(c, n, r));
        if (cg_has_bodies(c->g))
            CG_TRY(check_bodies(c, n, depth + 1));
        define(c, n, 1);
    }
    for (size_t i = 0; i < r->outputs.len; i++) {
        cg_operand o = {.v = r->outputs.data[i]};
        if (!o.v)
            return broken(c, NULL, "missing", "output");
        CG_TRY(check_operand(c, NULL, &o));
        cg_port port = cg_region_output(r, i);
        CG_TRY(check_type(c, NULL, &port.type, port.name));
    }
    /* what a body defines is not visible outside of it */
    for (size_t i = 0; i < r->nodes.len && r != c->g->main; i++)
        define(c, r->nodes.data[i], 0);
    return CG_OK;
}

cg_err cg_graph_validate(const cg_graph *g, const char *after)
{
    checker c = {.g = g, .after = after};
    c.defined = cg_xcalloc(g->values.len, 1);
    cg_err err = check_region(&c, g->main, 0);
    cg_xfree(c.defined);
    return err;
}
