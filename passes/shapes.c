/* Pass shapes: the type of every value, and the elements of small ones.
 *
 * One walk in topological order: a node's shape rule, then its fold rule, so
 * that a shape computed by Shape, Gather, Concat is there when Reshape asks.
 * Control flow is inlined in the same walk (an If often folds only because of
 * what was folded before it), with a stack of node lists instead of recursion.
 * A type stored in the file is believed only where nothing could be computed:
 * exporters leave stale ones behind. */
#include <string.h>

#include "passes/control.h"
#include "passes/passes.h"
#include "passes/shape_rules.h"

static const struct {
    cg_shape_rule *shape;
    cg_fold_rule *fold;
} rules[CG_OP_COUNT] = {
#define CG_OP(id, name, min, max, shape, fold, flops, class)                  \
    {cg_shape_##shape, cg_fold_##fold},
#include "ir/ops.def"
#undef CG_OP
};

/* -- one node -------------------------------------------------------------- */

static cg_err check_inputs(const cg_node *n)
{
    const cg_op_info *op = &cg_op_table[n->op];
    if (n->n_in < op->min_in)
        return cg_fail(CG_EFORMAT, "needs %d inputs, has %u", op->min_in,
                       n->n_in);
    if (op->max_in != CG_VARIADIC && n->n_in > op->max_in)
        return cg_fail(CG_EFORMAT, "takes at most %d inputs, has %u",
                       op->max_in, n->n_in);
    /* what a loop reads may be left out although there is more behind it */
    for (uint32_t k = 0; k < op->min_in && op->class != CG_CLASS_CONTROL; k++)
        if (!n->in[k].v)
            return cg_fail(CG_EFORMAT, "input %u is missing", k);
    return CG_OK;
}

/* Takes from the file's type what the computed one lacks. `why` stays, so
 * that a report can tell declared shapes from computed ones. */
static void fill_from_declared(cg_graph *g, cg_value *v)
{
    const cg_type *d = &v->declared;
    cg_dim dims[CG_MAX_RANK];
    bool taken = false;
    if (v->type.dtype == CG_UNDEFINED)
        v->type.dtype = d->dtype;
    if (v->type.rank < 0 && v->type.kind == CG_KIND_TENSOR)
        v->type.kind = d->kind;
    if (d->rank < 0 || v->type.kind != d->kind)
        return;
    if (v->type.rank < 0) {
        v->type.rank = d->rank;
        v->type.dims = d->dims;
        return;
    }
    for (int i = 0; i < d->rank && v->type.rank == d->rank; i++) {
        bool take = cg_dim_is_unknown(g, v->type.dims[i]) &&
                    !cg_dim_is_unknown(g, d->dims[i]);
        dims[i] = take ? d->dims[i] : v->type.dims[i];
        taken = taken || take;
    }
    if (!taken)
        return;
    cg_type t = cg_type_tensor(g, v->type.dtype, d->rank, dims);
    t.kind = v->type.kind;
    v->type = t;
}

static void forget(const cg_node *n)
{
    for (uint32_t k = 0; k < n->n_out; k++) {
        cg_value *v = n->out[k];
        if (!v)
            continue;
        v->type = cg_type_none();
        v->data = NULL;
        v->seq = NULL;
        v->why_node = n;
        v->why = "not computed";
    }
}

static cg_err check_output(cg_graph *g, const cg_value *v)
{
    for (int i = 0; i < v->type.rank; i++)
        if (cg_dim_known(v->type.dims[i]) && v->type.dims[i] < 0)
            return cg_fail(CG_EFORMAT, "output %u would have shape %s",
                           v->out, cg_shape_str(g, &v->type));
    return CG_OK;
}

cg_err cg_infer_node(cg_graph *g, cg_node *n)
{
    forget(n);
    cg_err err = check_inputs(n);
    if (err == CG_OK && n->n_out)
        err = rules[n->op].shape(g, n);
    for (uint32_t k = 0; k < n->n_out && err == CG_OK; k++) {
        if (!n->out[k])
            continue;
        err = check_output(g, n->out[k]);
        fill_from_declared(g, n->out[k]);
    }
    if (err == CG_OK && n->n_out)
        err = rules[n->op].fold(g, n);
    if (err != CG_OK)
        return cg_fail_in(err, "node '%s' (%s)", n->name,
                          n->source ? n->source
                                    : cg_attr_string(n, "kind",
                                                     cg_op_name(n->op)));
    return CG_OK;
}

/* -- regions --------------------------------------------------------------- */

typedef struct frame {
    cg_node_list list;
    size_t next;
    cg_unroll *loop; /* gives the next list when this one is done */
} frame;

typedef CG_ARRAY(frame) frames;

static void pop(frames *s)
{
    frame *f = &s->data[--s->len];
    cg_unroll_free(f->loop);
    cg_array_free(&f->list);
}

/* Tries to replace a control-flow node by other nodes. */
static cg_err expand(cg_graph *g, frames *s, cg_node *n, bool *done)
{
    frame f = {0};
    *done = false;
    if (n->op == CG_OP_IF)
        CG_TRY(cg_inline_if(g, n, &f.list, done));
    else if (n->op == CG_OP_LOOP || n->op == CG_OP_SCAN ||
             n->op == CG_OP_SEQUENCE_MAP)
        *done = (f.loop = cg_unroll_start(g, n)) != NULL;
    if (*done)
        cg_array_push(s, f);
    return CG_OK;
}

static cg_err visit(cg_graph *g, cg_region *r, frames *s, cg_node *n)
{
    bool expanded;
    if (cg_op_table[n->op].class == CG_CLASS_CONTROL && !cg_is_control(n)) {
        CG_TRY(expand(g, s, n, &expanded));
        if (expanded)
            return CG_OK;
        cg_make_control(g, n);
    }
    cg_array_push(&r->nodes, n);
    return cg_infer_node(g, n);
}

static cg_err walk(cg_graph *g, cg_region *r, frames *s)
{
    while (s->len) {
        frame *f = &s->data[s->len - 1];
        if (f->next < f->list.len) {
            cg_node *n = f->list.data[f->next++];
            if (!n->dead)
                CG_TRY(visit(g, r, s, n));
        } else if (f->loop) {
            bool done;
            f->list.len = f->next = 0;
            CG_TRY(cg_unroll_next(g, f->loop, &f->list, &done));
            if (done) {
                cg_unroll_free(f->loop);
                f->loop = NULL;
            }
        } else {
            pop(s);
        }
    }
    return CG_OK;
}

cg_err cg_infer_region(cg_graph *g, cg_region *r)
{
    frames s = {0};
    frame f = {0};
    memcpy(&f.list, &r->nodes, sizeof f.list);
    memset(&r->nodes, 0, sizeof r->nodes);
    cg_array_push(&s, f);
    cg_err err = walk(g, r, &s);
    /* after an error: what was not reached stays in the region */
    while (s.len) {
        f = s.data[s.len - 1];
        for (; f.next < f.list.len; f.next++)
            cg_array_push(&r->nodes, f.list.data[f.next]);
        pop(&s);
    }
    cg_array_free(&s);
    return err;
}

/* -- the pass -------------------------------------------------------------- */

static bool contradicts(const cg_type *t, const cg_type *d)
{
    if (t->rank < 0 || d->rank < 0 || t->kind != d->kind)
        return false;
    if (t->rank != d->rank)
        return true;
    for (int i = 0; i < t->rank; i++)
        if (!cg_dims_agree(t->dims[i], d->dims[i]))
            return true;
    return false;
}

/* One warning however many there are: a stale batch size contradicts all. */
static void report_contradictions(cg_graph *g)
{
    const cg_value *first = NULL;
    size_t count = 0;
    for (size_t i = 0; i < g->values.len; i++) {
        const cg_value *v = g->values.data[i];
        if (v->role != CG_ROLE_NODE || !v->def || v->def->dead ||
            !contradicts(&v->type, &v->declared))
            continue;
        count++;
        if (!first)
            first = v;
    }
    if (!first)
        return;
    const char *more =
        count > 1 ? cg_arena_printf(&g->arena, ", and %zu more like it",
                                    count - 1) : "";
    cg_warn(g, first->def,
            "the file says %s is %s, computed is %s, which is used%s",
            first->name, cg_shape_str(g, &first->declared),
            cg_shape_str(g, &first->type), more);
}

cg_err cg_pass_shapes(cg_graph *g)
{
    CG_TRY(cg_infer_region(g, g->main));
    report_contradictions(g);
    cg_graph_sweep(g, false);
    return CG_OK;
}
