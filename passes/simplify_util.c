/* Helpers of pass simplify: reading through aliases, rewriting nodes. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "passes/simplify.h"

/* -- reading ------------------------------------------------------------ */

cg_value *cg_rw_follow(cg_rewrite *rw, cg_value *v)
{
    cg_value *end = v;
    while (rw->alias[end->id])
        end = rw->alias[end->id];
    /* later look-ups of the chain take one step */
    while (v != end) {
        cg_value *next = rw->alias[v->id];
        rw->alias[v->id] = end;
        v = next;
    }
    return end;
}

cg_operand cg_rw_in(cg_rewrite *rw, const cg_node *n, size_t k)
{
    cg_operand o = {0};
    if (k >= n->n_in || !n->in[k].v)
        return o;
    o = n->in[k];
    o.v = cg_rw_value(rw, o.v);
    return o;
}

uint32_t cg_rw_uses(cg_rewrite *rw, cg_value *v)
{
    return rw->uses[cg_rw_value(rw, v)->id];
}

cg_type cg_rw_type(cg_operand o)
{
    if (!o.v)
        return cg_type_none();
    return o.view ? *o.view : o.v->type;
}

bool cg_same_dims(const cg_type *a, const cg_type *b)
{
    return a->rank == b->rank &&
           (a->rank <= 0 ||
            memcmp(a->dims, b->dims, sizeof(cg_dim) * (size_t)a->rank) == 0);
}

bool cg_rw_same(cg_rewrite *rw, cg_operand a, cg_operand b)
{
    if (!a.v || !b.v || cg_rw_value(rw, a.v) != cg_rw_value(rw, b.v))
        return false;
    if (!a.view && !b.view)
        return true;
    cg_type ta = cg_rw_type(a), tb = cg_rw_type(b);
    return cg_same_dims(&ta, &tb) && ta.channel == tb.channel;
}

cg_node *cg_rw_def_any(cg_rewrite *rw, cg_operand o)
{
    if (!o.v)
        return NULL;
    cg_value *v = cg_rw_value(rw, o.v);
    if (v->role != CG_ROLE_NODE || v->out != 0 || v->def->dead)
        return NULL;
    if (o.view && !cg_same_dims(o.view, &v->type))
        return NULL;
    return v->def;
}

cg_node *cg_rw_def(cg_rewrite *rw, cg_operand o, cg_op op)
{
    cg_node *n = cg_rw_def_any(rw, o);
    return n && n->op == op ? n : NULL;
}

cg_node *cg_rw_only(cg_rewrite *rw, cg_operand o, cg_op op)
{
    cg_node *n = cg_rw_def(rw, o, op);
    return n && cg_rw_uses(rw, o.v) == 1 ? n : NULL;
}

bool cg_rw_const(cg_rewrite *rw, cg_operand o)
{
    return o.v && cg_rw_value(rw, o.v)->role == CG_ROLE_CONST;
}

/* -- constants ---------------------------------------------------------- */

bool cg_near(double a, double b)
{
    return fabs(a - b) <= 2e-3 * fabs(b);
}

static double first_element(const cg_value *v)
{
    const cg_data *d = v->data;
    if (!d || d->n < 1)
        return NAN;
    double x = d->f ? d->f[0] : 1;
    if (d->i)
        x = cg_dim_known(d->i[0]) ? x * (double)d->i[0] : NAN;
    return d->f || d->i ? x : NAN;
}

bool cg_rw_scalar(cg_rewrite *rw, cg_operand o, double *x)
{
    *x = NAN;
    if (!cg_rw_const(rw, o))
        return false;
    const cg_value *v = cg_rw_value(rw, o.v);
    if (v->type.rank < 0)
        return false;
    for (int i = 0; i < v->type.rank; i++)
        if (v->type.dims[i] != 1)
            return false;
    *x = first_element(v);
    return true;
}

bool cg_rw_is(cg_rewrite *rw, cg_operand o, double x)
{
    double c;
    return cg_rw_scalar(rw, o, &c) && (c == x || cg_near(c, x));
}

bool cg_rw_ints(const cg_node *n, size_t k, int64_t *out, size_t *len)
{
    const cg_data *d = cg_in_data(n, k);
    if (!d || !d->i || d->f || d->n > 2 * CG_MAX_RANK)
        return false;
    for (size_t i = 0; i < d->n; i++) {
        if (!cg_dim_known(d->i[i]))
            return false;
        out[i] = d->i[i];
    }
    *len = d->n;
    return true;
}

bool cg_rw_along(cg_rewrite *rw, const cg_node *n, size_t k, const cg_type *t,
                 int axis)
{
    cg_operand o = cg_rw_in(rw, n, k);
    if (!cg_rw_const(rw, o) || axis < 0 || axis >= t->rank)
        return false;
    cg_type c = cg_rw_type(o);
    if (c.rank < 0 || c.rank > t->rank)
        return false;
    int64_t shift = cg_attr_int(n, "broadcast_axis", t->rank - c.rank);
    if (shift < 0 || shift > t->rank - c.rank)
        return false;
    bool seen = t->dims[axis] == 1;
    for (int i = 0; i < c.rank; i++) {
        bool here = i + shift == axis;
        if (c.dims[i] != (here ? t->dims[axis] : 1))
            return false;
        seen |= here;
    }
    return seen;
}

bool cg_rw_axes(const cg_node *n, int *axes, int *len)
{
    cg_type t = cg_in_type(n, 0);
    int64_t v[2 * CG_MAX_RANK];
    size_t count = 0;
    if (t.rank < 0 || (cg_in(n, 1) && !cg_rw_ints(n, 1, v, &count)))
        return false;
    bool all = count == 0 && !cg_attr_int(n, "noop_with_empty_axes", 0);
    bool in[CG_MAX_RANK] = {0};
    for (size_t i = 0; i < count; i++) {
        if (v[i] < -t.rank || v[i] >= t.rank)
            return false;
        in[v[i] < 0 ? v[i] + t.rank : v[i]] = true;
    }
    *len = 0;
    for (int i = 0; i < t.rank; i++)
        if (all || in[i])
            axes[(*len)++] = i;
    return true;
}

/* -- rewriting ---------------------------------------------------------- */

void cg_rw_grow(cg_rewrite *rw)
{
    size_t want = rw->g->values.len + 1, cap = rw->cap; /* never NULL */
    if (want <= cap)
        return;
    want += want / 2 + 16;
    rw->alias = cg_xrealloc(rw->alias, want * sizeof *rw->alias);
    rw->uses = cg_xrealloc(rw->uses, want * sizeof *rw->uses);
    memset(rw->alias + cap, 0, (want - cap) * sizeof *rw->alias);
    memset(rw->uses + cap, 0, (want - cap) * sizeof *rw->uses);
    rw->cap = want;
}

void cg_rw_alias(cg_rewrite *rw, cg_value *v, cg_value *to)
{
    to = cg_rw_value(rw, to);
    if (v == to)
        return;
    rw->uses[to->id] += rw->uses[v->id];
    rw->uses[v->id] = 0;
    rw->alias[v->id] = to;
}

static bool unread(cg_rewrite *rw, const cg_node *n)
{
    for (uint32_t k = 0; k < n->n_out; k++)
        if (n->out[k] && rw->uses[n->out[k]->id] > 0)
            return false;
    return true;
}

/* Takes back one reading of v; its producer is queued when that was the last.
 * Producers with bodies wait for the sweep, which knows what they capture. */
static void unuse(cg_rewrite *rw, cg_value *v)
{
    v = cg_rw_value(rw, v);
    if (rw->uses[v->id] == 0 || --rw->uses[v->id] > 0 ||
        v->role != CG_ROLE_NODE)
        return;
    if (cg_op_table[v->def->op].class != CG_CLASS_CONTROL && !v->def->dead &&
        unread(rw, v->def))
        cg_array_push(&rw->queue, v->def);
}

static void drain(cg_rewrite *rw)
{
    while (rw->queue.len) {
        cg_node *n = rw->queue.data[--rw->queue.len];
        if (n->dead)
            continue;
        n->dead = true;
        for (uint32_t k = 0; k < n->n_in; k++)
            if (n->in[k].v)
                unuse(rw, n->in[k].v);
    }
}

void cg_rw_kill(cg_rewrite *rw, cg_node *n)
{
    cg_array_push(&rw->queue, n);
    drain(rw);
}

bool cg_rw_forward(cg_rewrite *rw, cg_node *n, size_t k)
{
    cg_operand o = cg_rw_in(rw, n, k);
    if (!o.v || !n->out[0])
        return false;
    cg_rw_alias(rw, n->out[0], o.v);
    cg_rw_kill(rw, n);
    return true;
}

void cg_rw_set_inputs(cg_rewrite *rw, cg_node *n, const cg_operand *in,
                      size_t n_in)
{
    cg_operand *old = n->in;
    uint32_t n_old = n->n_in;
    n->in = cg_arena_array(&rw->g->arena, cg_operand, n_in);
    n->n_in = (uint32_t)n_in;
    for (size_t k = 0; k < n_in; k++) {
        n->in[k] = in[k];
        if (!in[k].v)
            continue;
        n->in[k].v = cg_rw_value(rw, in[k].v);
        rw->uses[n->in[k].v->id]++;
    }
    for (uint32_t k = 0; k < n_old; k++)
        if (old[k].v)
            unuse(rw, old[k].v);
    drain(rw);
}

void cg_rw_become(cg_rewrite *rw, cg_node *n, cg_op op, const cg_operand *in,
                  size_t n_in)
{
    n->op = (uint16_t)op;
    n->n_attr = n->attr_cap = 0;
    cg_rw_set_inputs(rw, n, in, n_in);
}

void cg_rw_take(cg_rewrite *rw, cg_node *n, const cg_node *from, size_t at,
                cg_operand extra)
{
    cg_operand in[CG_MAX_RANK] = {0};
    size_t count = from->n_in > at ? from->n_in : at + 1;
    assert(count <= CG_MAX_RANK); /* weights and norms have a few inputs */
    for (size_t k = 0; k < from->n_in; k++)
        in[k] = cg_rw_in(rw, from, k);
    in[at] = extra;
    n->op = from->op;
    n->name = from->name;
    n->source = from->source;
    cg_attrs_copy(rw->g, n, from);
    cg_rw_set_inputs(rw, n, in, count);
}

const cg_type *cg_rw_view(cg_rewrite *rw, cg_type t)
{
    return cg_arena_dup(&rw->g->arena, &t, sizeof t);
}

cg_type cg_rw_swapped(cg_rewrite *rw, cg_type t)
{
    if (t.rank < 2)
        return t;
    cg_dim dims[CG_MAX_RANK];
    memcpy(dims, t.dims, sizeof *dims * (size_t)t.rank);
    dims[t.rank - 2] = t.dims[t.rank - 1];
    dims[t.rank - 1] = t.dims[t.rank - 2];
    cg_type out = cg_type_tensor(rw->g, t.dtype, t.rank, dims);
    out.channel = t.channel == t.rank - 1   ? (int8_t)(t.rank - 2)
                  : t.channel == t.rank - 2 ? (int8_t)(t.rank - 1)
                                            : t.channel;
    return out;
}
