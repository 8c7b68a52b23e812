/* Patterns: normalisations written as means, differences and roots, and the
 * weights that follow them. */
#include <math.h>
#include <string.h>

#include "passes/simplify.h"

static bool is_mean(const cg_node *n)
{
    return n && (n->op == CG_OP_REDUCE_MEAN || n->op == CG_OP_MEAN);
}

/* The a of Sqrt(a) or a^(1/2). */
static bool root_of(cg_rewrite *rw, cg_operand o, cg_operand *a)
{
    cg_node *n = cg_rw_def_any(rw, o);
    double half;
    if (!n || (n->op != CG_OP_SQRT && n->op != CG_OP_POW))
        return false;
    *a = cg_rw_in(rw, n, 0);
    return n->op == CG_OP_SQRT ||
           (cg_rw_scalar(rw, cg_rw_in(rw, n, 1), &half) && half == 0.5);
}

/* The a of 1/Sqrt(a), however it is written. */
static bool inverse_root_of(cg_rewrite *rw, cg_operand o, cg_operand *a)
{
    cg_node *n = cg_rw_def_any(rw, o);
    double c;
    if (!n)
        return false;
    if (n->op == CG_OP_RECIPROCAL)
        return root_of(rw, cg_rw_in(rw, n, 0), a);
    if (n->op == CG_OP_DIV && cg_rw_is(rw, cg_rw_in(rw, n, 0), 1))
        return root_of(rw, cg_rw_in(rw, n, 1), a);
    if (n->op != CG_OP_POW || !cg_rw_scalar(rw, cg_rw_in(rw, n, 1), &c) ||
        c != -0.5)
        return false;
    *a = cg_rw_in(rw, n, 0);
    return true;
}

/* The x of mean(x * x) + eps, and the node that takes the mean. */
static cg_node *mean_square(cg_rewrite *rw, cg_operand o, cg_operand *x,
                            double *eps)
{
    cg_node *m = cg_rw_def_any(rw, o);
    *eps = 0;
    if (m && m->op == CG_OP_ADD) {
        cg_terms s = cg_rw_sum_of(rw, m);
        if (s.n != 1)
            return NULL;
        *eps = s.c;
        m = cg_rw_def_any(rw, s.f[0]);
    }
    if (!is_mean(m))
        return NULL;
    cg_node *square = cg_rw_def_any(rw, cg_rw_in(rw, m, 0));
    if (!square)
        return NULL;
    cg_terms p = cg_rw_product_of(rw, square);
    if (p.n != 2 || p.c != 1 || !cg_rw_same(rw, p.f[0], p.f[1]))
        return NULL;
    *x = p.f[0];
    return m;
}

/* The x of x - mean(x). */
static bool centred(cg_rewrite *rw, cg_operand d, cg_operand *x)
{
    cg_node *sub = cg_rw_def(rw, d, CG_OP_SUB);
    if (!sub)
        return false;
    *x = cg_rw_in(rw, sub, 0);
    cg_node *m = cg_rw_def_any(rw, cg_rw_in(rw, sub, 1));
    return is_mean(m) && cg_rw_same(rw, cg_rw_in(rw, m, 0), *x);
}

/* -- the norms ---------------------------------------------------------- */

static bool trailing(const int *axes, int len, int rank)
{
    for (int i = 0; i < len; i++)
        if (axes[i] != rank - len + i)
            return false;
    return len > 0;
}

/* The axes a LayerNorm normalises over, as marks. */
static void norm_axes(const cg_node *n, int rank, bool in[CG_MAX_RANK])
{
    size_t len;
    const int64_t *axes = cg_attr_ints(n, "axes", &len);
    int64_t first = cg_attr_int(n, "axis", -1);
    first += first < 0 ? rank : 0;
    for (int i = 0; i < rank; i++)
        in[i] = !axes && i >= first;
    for (size_t i = 0; i < len; i++)
        if (axes[i] >= 0 && axes[i] < rank)
            in[axes[i]] = true;
}

static bool made_up(cg_rewrite *rw, cg_operand o)
{
    return cg_rw_const(rw, o) && !o.v->is_weight;
}

/* Exporters write group and affine-free norms as InstanceNormalization with
 * literal scale and bias: those are no weights, and hide those that follow. */
bool cg_match_unit_weights(cg_rewrite *rw, cg_node *n)
{
    cg_operand x = cg_rw_in(rw, n, 0);
    if (n->n_in < 3 || !made_up(rw, cg_rw_in(rw, n, 1)) ||
        !made_up(rw, cg_rw_in(rw, n, 2)))
        return false;
    cg_rw_set_inputs(rw, n, &x, 1);
    return true;
}

/* Over all of space and not over channels: InstanceNorm. Known only when the
 * channel is. */
bool cg_match_instancenorm(cg_rewrite *rw, cg_node *n)
{
    cg_operand x = cg_rw_in(rw, n, 0);
    cg_type t = cg_rw_type(x);
    bool in[CG_MAX_RANK];
    if (!rw->settled || t.rank < 3 || t.channel < 1 || n->n_in > 1)
        return false;
    norm_axes(n, t.rank, in);
    for (int i = 0; i < t.rank; i++)
        if (in[i] != (i != 0 && i != t.channel))
            return false;
    double eps = cg_attr_float(n, "epsilon", 1e-5);
    cg_rw_become(rw, n, CG_OP_INSTANCENORM, &x, 1);
    cg_attr_set_float(rw->g, n, "epsilon", eps);
    return true;
}

/* n becomes a norm of x, normalised over the axes that `mean` reduces. Axes
 * that are not the last ones are kept as an attribute. */
static bool become_norm(cg_rewrite *rw, cg_node *n, cg_op op, cg_operand x,
                        const cg_node *mean, double eps)
{
    cg_type t = cg_rw_type(x);
    int axes[CG_MAX_RANK], len;
    if (t.rank < 1 || !n->out[0] || !cg_same_dims(&t, &n->out[0]->type) ||
        !cg_rw_axes(mean, axes, &len) || len == 0)
        return false;
    int64_t wide[CG_MAX_RANK];
    for (int i = 0; i < len; i++)
        wide[i] = axes[i];
    cg_rw_become(rw, n, op, &x, 1);
    if (trailing(axes, len, t.rank))
        cg_attr_set_int(rw->g, n, "axis", axes[0]);
    else
        cg_attr_set_ints(rw->g, n, "axes", wide, (size_t)len);
    if (isfinite(eps))
        cg_attr_set_float(rw->g, n, "epsilon", eps);
    return true;
}

/* Splits n = d / root or d * inverse root; *w is a constant factor, if any. */
static bool quotient(cg_rewrite *rw, const cg_node *n, cg_operand *d,
                     cg_operand *a, cg_operand *w)
{
    *w = (cg_operand){0};
    if (n->op == CG_OP_DIV) {
        *d = cg_rw_in(rw, n, 0);
        return root_of(rw, cg_rw_in(rw, n, 1), a);
    }
    cg_terms p = cg_rw_product_of(rw, n);
    if (p.n < 2 || p.n > 3 || p.c != 1)
        return false;
    int root = -1;
    for (int i = 0; i < (int)p.n; i++)
        if (inverse_root_of(rw, p.f[i], a))
            root = i;
        else if (p.n == 3 && cg_rw_const(rw, p.f[i]))
            *w = p.f[i];
        else
            *d = p.f[i];
    return root >= 0 && d->v && (p.n == 2 || w->v);
}

static void add_weight(cg_rewrite *rw, cg_node *n, size_t k, cg_operand w)
{
    cg_operand in[3] = {cg_rw_in(rw, n, 0), cg_rw_in(rw, n, 1),
                        cg_rw_in(rw, n, 2)};
    in[k] = w;
    cg_rw_set_inputs(rw, n, in, k + 1);
}

bool cg_match_layernorm(cg_rewrite *rw, cg_node *n)
{
    cg_operand d = {0}, a, w, square, x;
    double eps;
    if (!quotient(rw, n, &d, &a, &w))
        return false;
    cg_node *m = mean_square(rw, a, &square, &eps);
    if (!m || !cg_rw_same(rw, square, d) || !centred(rw, d, &x) ||
        !become_norm(rw, n, CG_OP_LAYERNORM, x, m, eps))
        return false;
    if (w.v)
        add_weight(rw, n, 1, w);
    return true;
}

bool cg_match_rmsnorm(cg_rewrite *rw, cg_node *n)
{
    cg_operand d = {0}, a, w, square;
    double eps;
    if (!quotient(rw, n, &d, &a, &w))
        return false;
    cg_node *m = mean_square(rw, a, &square, &eps);
    if (!m || !cg_rw_same(rw, square, d) ||
        !become_norm(rw, n, CG_OP_RMSNORM, d, m, eps))
        return false;
    if (w.v)
        add_weight(rw, n, 1, w);
    return true;
}

/* r = 1/Sqrt(variance + eps), perhaps times gamma; Keras computes
 * x*r + (beta - mean*r). */
static bool scaled_root(cg_rewrite *rw, cg_operand r, cg_operand *a,
                        cg_operand *gamma)
{
    *gamma = (cg_operand){0};
    if (inverse_root_of(rw, r, a))
        return true;
    cg_node *mul = cg_rw_def(rw, r, CG_OP_MUL);
    for (uint32_t k = 0; mul && mul->n_in == 2 && k < 2; k++) {
        *gamma = cg_rw_in(rw, mul, 1 - k);
        if (cg_rw_const(rw, *gamma) &&
            inverse_root_of(rw, cg_rw_in(rw, mul, k), a))
            return true;
    }
    return false;
}

/* The other operand of a Mul that has r as one. */
static bool times(cg_rewrite *rw, cg_operand o, cg_operand r, cg_operand *x)
{
    cg_node *mul = cg_rw_def(rw, o, CG_OP_MUL);
    for (uint32_t k = 0; mul && mul->n_in == 2 && k < 2; k++) {
        *x = cg_rw_in(rw, mul, 1 - k);
        if (cg_rw_same(rw, cg_rw_in(rw, mul, k), r))
            return true;
    }
    return false;
}

static bool shifted(cg_rewrite *rw, cg_node *n, cg_operand xr,
                    const cg_node *sub)
{
    cg_operand beta = cg_rw_in(rw, sub, 0), r, mean, x, a, gamma, square, y;
    cg_node *mr = cg_rw_def(rw, cg_rw_in(rw, sub, 1), CG_OP_MUL);
    double eps;
    for (uint32_t k = 0; mr && mr->n_in == 2 && k < 2; k++) {
        r = cg_rw_in(rw, mr, k);
        mean = cg_rw_in(rw, mr, 1 - k);
        if (!times(rw, xr, r, &x) || !scaled_root(rw, r, &a, &gamma))
            continue;
        cg_node *m = cg_rw_def_any(rw, mean);
        cg_node *var = mean_square(rw, a, &square, &eps);
        if (!is_mean(m) || !cg_rw_same(rw, cg_rw_in(rw, m, 0), x) || !var ||
            !centred(rw, square, &y) || !cg_rw_same(rw, x, y) ||
            !become_norm(rw, n, CG_OP_LAYERNORM, x, var, eps))
            continue;
        cg_operand in[3] = {x, gamma, beta};
        cg_rw_set_inputs(rw, n, in, 3);
        return true;
    }
    return false;
}

bool cg_match_layernorm_shifted(cg_rewrite *rw, cg_node *n)
{
    for (uint32_t k = 0; k < 2 && n->n_in == 2; k++) {
        cg_node *sub = cg_rw_def(rw, cg_rw_in(rw, n, 1 - k), CG_OP_SUB);
        if (sub && cg_rw_const(rw, cg_rw_in(rw, sub, 0)) &&
            shifted(rw, n, cg_rw_in(rw, n, k), sub))
            return true;
    }
    return false;
}

/* -- groups ------------------------------------------------------------- */

/* (N, C, ...) -> (N, G, -1) -> InstanceNorm -> (N, C, ...). The scale of ones
 * that an exporter makes up goes. */
bool cg_match_groupnorm(cg_rewrite *rw, cg_node *n)
{
    cg_node *norm = cg_rw_def(rw, cg_rw_in(rw, n, 0), CG_OP_INSTANCENORM);
    cg_node *first = norm ? cg_rw_def(rw, cg_rw_in(rw, norm, 0),
                                      CG_OP_RESHAPE)
                          : NULL;
    if (!first || !n->out[0])
        return false;
    cg_operand x = cg_rw_in(rw, first, 0);
    cg_type t = cg_rw_type(x), groups = cg_in_type(norm, 0);
    if (t.rank < 2 || groups.rank < 2 || !cg_dim_known(groups.dims[1]) ||
        !cg_same_dims(&t, &n->out[0]->type))
        return false;
    if (t.dims[1] == groups.dims[1]) { /* one channel a group */
        cg_operand in[3] = {x, cg_rw_in(rw, norm, 1), cg_rw_in(rw, norm, 2)};
        cg_rw_become(rw, n, CG_OP_INSTANCENORM, in, norm->n_in);
        return true;
    }
    int64_t g = groups.dims[1];
    cg_rw_become(rw, n, CG_OP_GROUPNORM, &x, 1);
    cg_attr_set_int(rw->g, n, "num_groups", g);
    return true;
}

/* -- weights ------------------------------------------------------------ */

/* May a constant vary along this axis of a norm's output? */
static bool weighted_axis(const cg_node *norm, const cg_type *t, int axis)
{
    if (norm->op == CG_OP_GROUPNORM || norm->op == CG_OP_INSTANCENORM)
        return axis == (t->channel >= 0 ? t->channel : 1);
    bool in[CG_MAX_RANK];
    norm_axes(norm, t->rank, in);
    return in[axis];
}

static bool fits_norm(const cg_node *norm, cg_operand c, const cg_type *t)
{
    cg_type w = cg_rw_type(c);
    if (w.rank < 0 || w.rank > t->rank)
        return false;
    bool varies = false;
    for (int i = 0; i < w.rank; i++) {
        int axis = i + t->rank - w.rank;
        if (w.dims[i] == 1)
            continue;
        if (w.dims[i] != t->dims[axis] || !weighted_axis(norm, t, axis))
            return false;
        varies = true;
    }
    return varies;
}

static bool has_weights(cg_op op)
{
    return op == CG_OP_LAYERNORM || op == CG_OP_RMSNORM ||
           op == CG_OP_GROUPNORM || op == CG_OP_INSTANCENORM;
}

/* n = norm op constant: the constant becomes the norm's operand `slot`. */
static bool take_weight(cg_rewrite *rw, cg_node *n, size_t slot)
{
    for (uint32_t k = 0; k < 2 && n->n_in == 2; k++) {
        cg_operand x = cg_rw_in(rw, n, k), c = cg_rw_in(rw, n, 1 - k);
        cg_node *norm = cg_rw_def_any(rw, x);
        cg_type t = cg_rw_type(x);
        if (!norm || !has_weights(norm->op) || norm->n_in > slot ||
            norm->region != n->region ||
            (slot == 2 && norm->op == CG_OP_RMSNORM) ||
            cg_rw_uses(rw, x.v) != 1 || !cg_rw_const(rw, c) ||
            !fits_norm(norm, c, &t) || !n->out[0] ||
            !cg_same_dims(&t, &n->out[0]->type))
            continue;
        cg_rw_take(rw, n, norm, slot, c);
        return true;
    }
    return false;
}

bool cg_match_norm_scale(cg_rewrite *rw, cg_node *n)
{
    return take_weight(rw, n, 1);
}

bool cg_match_norm_bias(cg_rewrite *rw, cg_node *n)
{
    return take_weight(rw, n, 2);
}

/* -- BatchNorm ---------------------------------------------------------- */

/* Which operand of n is data, the other a constant per channel of it. */
static int per_channel(cg_rewrite *rw, const cg_node *n)
{
    for (uint32_t k = 0; k < 2 && n->n_in == 2; k++) {
        cg_type t = cg_rw_type(cg_rw_in(rw, n, k));
        if (t.rank >= 2 && t.channel > 0 && cg_dim_known(t.dims[t.channel]) &&
            t.dims[t.channel] > 1 && n->out[0] &&
            cg_same_dims(&t, &n->out[0]->type) &&
            cg_rw_along(rw, n, 1 - k, &t, t.channel))
            return (int)k;
    }
    return -1;
}

bool cg_match_batchnorm(cg_rewrite *rw, cg_node *n)
{
    int k = per_channel(rw, n);
    if (k < 0)
        return false;
    cg_node *mul = cg_rw_only(rw, cg_rw_in(rw, n, (size_t)k), CG_OP_MUL);
    int j = mul ? per_channel(rw, mul) : -1;
    if (j < 0 || cg_rw_const(rw, cg_rw_in(rw, mul, (size_t)j)))
        return false;
    cg_operand in[3] = {cg_rw_in(rw, mul, (size_t)j),
                        cg_rw_in(rw, mul, (size_t)(1 - j)),
                        cg_rw_in(rw, n, (size_t)(1 - k))};
    cg_type t = cg_rw_type(in[0]);
    const cg_type *vector = cg_rw_view(
        rw, cg_type_tensor(rw->g, t.dtype, 1, &t.dims[t.channel]));
    in[1].view = in[2].view = vector;
    cg_rw_become(rw, n, CG_OP_BATCHNORM, in, 3);
    return true;
}
