/* What shape rules are written with: outputs, axes, broadcasting, data. */
#include <string.h>

#include "passes/shape_rules.h"

/* -- outputs --------------------------------------------------------------- */

static cg_value *output(const cg_node *n, size_t k)
{
    return k < n->n_out ? n->out[k] : NULL;
}

void cg_out_type(cg_graph *g, cg_node *n, size_t k, cg_type t)
{
    cg_value *v = output(n, k);
    (void)g;
    if (!v)
        return;
    t.channel = -1;
    v->type = t;
    v->why_node = NULL;
    v->why = NULL;
    if (t.rank < 0) {
        v->why_node = n;
        v->why = "not computed";
    }
}

void cg_out_tensor(cg_graph *g, cg_node *n, size_t k, int dtype, int rank,
                   const cg_dim *dims)
{
    if (output(n, k))
        cg_out_type(g, n, k, cg_type_tensor(g, dtype, rank, dims));
}

void cg_out_unknown(cg_graph *g, cg_node *n, size_t k, int dtype,
                    const char *why)
{
    cg_value *v = output(n, k);
    if (!v)
        return;
    cg_type t = cg_type_none();
    t.dtype = (uint8_t)dtype;
    cg_out_type(g, n, k, t);
    v->why = why;
}

void cg_out_rank(cg_graph *g, cg_node *n, size_t k, int dtype, int rank,
                 const char *why)
{
    cg_dim dims[CG_MAX_RANK];
    if (!output(n, k))
        return;
    for (int i = 0; i < rank; i++)
        dims[i] = cg_dim_unknown(g, n, why);
    cg_out_tensor(g, n, k, dtype, rank, dims);
}

void cg_out_blocked(cg_graph *g, cg_node *n, size_t k, size_t from, int dtype)
{
    cg_value *v = output(n, k);
    const cg_value *cause = cg_in(n, from);
    cg_out_unknown(g, n, k, dtype, "no shape in the file");
    if (!v || !cause)
        return;
    v->why_node = cause->why ? cause->why_node : cause->def;
    if (cause->why)
        v->why = cause->why;
}

bool cg_blocked(cg_graph *g, cg_node *n, size_t k)
{
    if (!cg_in(n, k) || cg_in_type(n, k).rank >= 0)
        return false;
    for (size_t i = 0; i < n->n_out; i++)
        cg_out_blocked(g, n, i, k, CG_UNDEFINED);
    return true;
}

void cg_out_like(cg_graph *g, cg_node *n, size_t k, size_t from, int dtype)
{
    cg_type t = cg_in_type(n, from);
    if (dtype >= 0)
        t.dtype = (uint8_t)dtype;
    if (t.rank >= 0) {
        cg_out_type(g, n, k, t);
        return;
    }
    cg_out_blocked(g, n, k, from, t.dtype);
    if (output(n, k))
        output(n, k)->type.kind = t.kind;
}

void cg_out_seq(cg_graph *g, cg_node *n, size_t k, const cg_type *elem,
                size_t len)
{
    cg_value *v = output(n, k);
    if (!v)
        return;
    cg_type t = len ? elem[0] : cg_type_none();
    for (size_t i = 1; i < len; i++)
        if (!cg_type_equal(&t, &elem[i]))
            t = cg_type_unify(g, n, &t, &elem[i], "elements differ");
    t.kind = CG_KIND_SEQUENCE;
    cg_out_type(g, n, k, t);
    cg_seq *s = cg_arena_new(&g->arena, cg_seq);
    s->n = len;
    s->elem = cg_arena_dup(&g->arena, elem, len * sizeof *elem);
    v->seq = s;
}

/* -- reading --------------------------------------------------------------- */

const char *cg_shape_str(cg_graph *g, const cg_type *t)
{
    if (t->rank < 0)
        return "[...]";
    const char *text = "[";
    for (int i = 0; i < t->rank; i++)
        text = cg_arena_printf(&g->arena, "%s%s%s", text, i ? "," : "",
                               cg_dim_str(g, t->dims[i]));
    return cg_arena_printf(&g->arena, "%s]", text);
}

bool cg_dim_is_unknown(cg_graph *g, cg_dim d)
{
    return !cg_dim_known(d) && cg_dim_why(g, d).why != NULL;
}

bool cg_dims_agree(cg_dim a, cg_dim b)
{
    return a == b || !cg_dim_known(a) || !cg_dim_known(b);
}

cg_dim cg_in_dim(cg_graph *g, cg_node *n, size_t k, int axis)
{
    cg_type t = cg_in_type(n, k);
    if (axis < 0)
        axis += t.rank;
    if (t.rank >= 0 && axis >= 0 && axis < t.rank)
        return t.dims[axis];
    const cg_value *v = cg_in(n, k);
    if (v && v->why)
        return cg_dim_unknown(g, v->why_node ? v->why_node : n, v->why);
    return cg_dim_unknown(g, n, "input of unknown shape");
}

int cg_in_dtype(const cg_node *n, size_t k, int otherwise)
{
    int dtype = cg_in_type(n, k).dtype;
    return dtype != CG_UNDEFINED ? dtype : otherwise;
}

cg_err cg_want_rank(const cg_node *n, size_t k, const char *what, int lo,
                    int hi)
{
    int rank = cg_in_type(n, k).rank;
    if (rank < 0 || (rank >= lo && rank <= hi))
        return CG_OK;
    if (lo == hi)
        return cg_fail(CG_EFORMAT, "%s has rank %d, must be %d", what, rank,
                       lo);
    if (rank < lo)
        return cg_fail(CG_EFORMAT, "%s has rank %d, must be at least %d",
                       what, rank, lo);
    return cg_fail(CG_EFORMAT, "%s has rank %d, must be at most %d", what,
                   rank, hi);
}

cg_err cg_want_equal(cg_graph *g, cg_dim a, cg_dim b, const char *what)
{
    if (cg_dims_agree(a, b))
        return CG_OK;
    return cg_fail(CG_EFORMAT, "%s: %s and %s differ", what, cg_dim_str(g, a),
                   cg_dim_str(g, b));
}

bool cg_in_scalar(const cg_node *n, size_t k, cg_dim *out)
{
    const cg_data *d = cg_in_data(n, k);
    if (!d || d->n != 1 || !d->i || d->f)
        return false;
    *out = d->i[0];
    return true;
}

cg_err cg_want_ints(const cg_node *n, const char *name, const int64_t **v,
                    size_t *len)
{
    *v = cg_attr_ints(n, name, len);
    if (!*v && cg_attr_find(n, name))
        return cg_fail(CG_EFORMAT, "attribute %s is not a list of integers",
                       name);
    return CG_OK;
}

cg_err cg_axis(const cg_node *n, int64_t axis, int rank, int *out)
{
    (void)n; /* cg_infer_node puts its name before every error */
    if (axis < -rank || axis >= rank)
        return cg_fail(CG_EFORMAT,
                       "axis %lld is out of range for rank %d",
                       (long long)axis, rank);
    *out = (int)(axis < 0 ? axis + rank : axis);
    return CG_OK;
}

/* Where both broadcast and neither is 1 they are equal; where one is 1 the
 * other counts: the larger of two, also for symbols (which are >= 1). */
cg_err cg_broadcast_dim(cg_graph *g, cg_dim a, cg_dim b, cg_dim *out)
{
    *out = a;
    if (a == b || b == 1)
        return CG_OK;
    *out = b;
    if (a == 1)
        return CG_OK;
    if (cg_dim_known(a) && cg_dim_known(b))
        return cg_fail(CG_EFORMAT, "dims %s and %s do not broadcast",
                       cg_dim_str(g, a), cg_dim_str(g, b));
    if (cg_dim_known(a) || cg_dim_known(b))
        *out = cg_dim_known(a) ? a : b;
    else
        *out = cg_dim_max(g, a, b);
    return CG_OK;
}

cg_err cg_broadcast(cg_graph *g, const cg_type *a, const cg_type *b,
                    cg_dim *dims, int *rank)
{
    int r = a->rank > b->rank ? a->rank : b->rank;
    for (int i = 1; i <= r; i++) {
        cg_dim x = i <= a->rank ? a->dims[a->rank - i] : 1;
        cg_dim y = i <= b->rank ? b->dims[b->rank - i] : 1;
        if (cg_broadcast_dim(g, x, y, &dims[r - i]) != CG_OK)
            return cg_fail(CG_EFORMAT, "shapes %s and %s do not broadcast",
                           cg_shape_str(g, a), cg_shape_str(g, b));
    }
    *rank = r;
    return CG_OK;
}

/* -- types ----------------------------------------------------------------- */

cg_type cg_type_unify(cg_graph *g, const cg_node *n, const cg_type *a,
                      const cg_type *b, const char *why)
{
    cg_type t = cg_type_none();
    t.kind = a->kind;
    t.dtype = a->dtype == b->dtype ? a->dtype : CG_UNDEFINED;
    if (a->kind != b->kind || a->rank != b->rank || a->rank < 0)
        return t;
    cg_dim dims[CG_MAX_RANK];
    for (int i = 0; i < a->rank; i++)
        dims[i] = a->dims[i] == b->dims[i] ? a->dims[i]
                                           : cg_dim_unknown(g, n, why);
    cg_type u = cg_type_tensor(g, t.dtype, a->rank, dims);
    u.kind = t.kind;
    return u;
}

/* -- data ------------------------------------------------------------------ */

bool cg_data_float(const cg_data *d, size_t k, double *out)
{
    if (!d->f && !d->i)
        return false;
    if (d->i && !cg_dim_known(d->i[k]))
        return false;
    *out = (d->f ? d->f[k] : 1.0) * (d->i ? (double)d->i[k] : 1.0);
    return true;
}

cg_data *cg_data_new(cg_graph *g, int dtype, size_t n)
{
    if (n > CG_DATA_MAX)
        return NULL;
    cg_data *d = cg_arena_new(&g->arena, cg_data);
    d->n = n;
    switch (cg_dtype_kind_of(dtype)) {
    case CG_DTYPE_INT:
        d->i = cg_arena_array(&g->arena, cg_dim, n);
        return d;
    case CG_DTYPE_FLOAT:
        d->f = cg_arena_array(&g->arena, double, n);
        return d;
    case CG_DTYPE_STRING:
        d->s = cg_arena_array(&g->arena, const char *, n);
        return d;
    default:
        return NULL;
    }
}

void cg_out_data(cg_node *n, size_t k, const cg_data *d)
{
    cg_value *v = output(n, k);
    if (v)
        v->data = d;
}
