/* Patterns: activations that exporters spell out. All are written on products
 * and sums (simplify_algebra.c), so order and constants folded into each other
 * do not matter. */
#include <math.h>

#include "passes/simplify.h"

static bool become_unary(cg_rewrite *rw, cg_node *n, cg_op op, cg_operand x)
{
    cg_rw_become(rw, n, op, &x, 1);
    return true;
}

/* -- Clip --------------------------------------------------------------- */

static bool bound(cg_rewrite *rw, const cg_node *n, size_t k, double open,
                  double *x)
{
    cg_operand o = cg_rw_in(rw, n, k);
    *x = open;
    if (!o.v)
        return true;
    if (!cg_rw_scalar(rw, o, x) || isnan(*x))
        return false;
    if (fabs(*x) > 1e30)
        *x = *x > 0 ? INFINITY : -INFINITY;
    return true;
}

/* Clip(a*x + 1/2, 0, 1) with a about 1/6 or 1/5. */
static bool unit_clip(cg_rewrite *rw, cg_node *n)
{
    cg_terms s = cg_rw_sum(rw, cg_rw_in(rw, n, 0));
    if (s.n != 1 || !cg_near(s.c, 0.5))
        return false;
    cg_terms p = cg_rw_product(rw, s.f[0]);
    if (p.n != 1 || !(cg_near(p.c, 1.0 / 6) || cg_near(p.c, 0.2)))
        return false;
    return become_unary(rw, n, CG_OP_HARDSIGMOID, p.f[0]);
}

bool cg_match_clip(cg_rewrite *rw, cg_node *n)
{
    double lo, hi;
    cg_operand x = cg_rw_in(rw, n, 0);
    if (!bound(rw, n, 1, -INFINITY, &lo) || !bound(rw, n, 2, INFINITY, &hi))
        return false;
    if (lo == -INFINITY && hi == INFINITY)
        return cg_rw_forward(rw, n, 0);
    if (lo == 0 && hi == 1)
        return unit_clip(rw, n);
    cg_node *relu = cg_rw_def(rw, x, CG_OP_RELU);
    if (relu && lo <= 0) {
        lo = 0;
        x = cg_rw_in(rw, relu, 0);
    }
    if (lo == 0 && cg_near(hi, 6))
        return become_unary(rw, n, CG_OP_RELU6, x);
    if (lo == 0 && hi == INFINITY)
        return become_unary(rw, n, CG_OP_RELU, x);
    return false;
}

bool cg_match_clip_min_max(cg_rewrite *rw, cg_node *n)
{
    double limit = n->op == CG_OP_MIN ? 6 : 0;
    cg_op inner = n->op == CG_OP_MIN ? CG_OP_RELU : CG_OP_MIN;
    for (uint32_t k = 0; k < 2 && n->n_in == 2; k++) {
        cg_operand x = cg_rw_in(rw, n, k);
        cg_type t = cg_rw_type(x);
        if (!cg_rw_is(rw, cg_rw_in(rw, n, 1 - k), limit) || !n->out[0] ||
            !cg_same_dims(&t, &n->out[0]->type))
            continue;
        cg_node *p = cg_rw_def(rw, x, inner);
        if (p && p->op == CG_OP_RELU)
            return become_unary(rw, n, CG_OP_RELU6, cg_rw_in(rw, p, 0));
        for (uint32_t j = 0; p && p->n_in == 2 && j < 2; j++)
            if (cg_rw_is(rw, cg_rw_in(rw, p, 1 - j), 6))
                return become_unary(rw, n, CG_OP_RELU6, cg_rw_in(rw, p, j));
        if (n->op == CG_OP_MAX)
            return become_unary(rw, n, CG_OP_RELU, x);
    }
    return false;
}

/* Before opset 12 there was no GreaterOrEqual. */
bool cg_match_negated(cg_rewrite *rw, cg_node *n)
{
    cg_node *less = cg_rw_def(rw, cg_rw_in(rw, n, 0), CG_OP_LESS);
    cg_node *c = less ? less
                      : cg_rw_def(rw, cg_rw_in(rw, n, 0), CG_OP_GREATER);
    if (!c || cg_attr_find(c, "broadcast_axis"))
        return false;
    cg_operand in[2] = {cg_rw_in(rw, c, 0), cg_rw_in(rw, c, 1)};
    cg_rw_become(rw, n, less ? CG_OP_GREATER_OR_EQUAL : CG_OP_LESS_OR_EQUAL,
                 in, 2);
    return true;
}

/* -- sigmoids ----------------------------------------------------------- */

/* The x of ReLU6(x + 3). */
static bool shifted_relu6(cg_rewrite *rw, cg_operand o, cg_operand *x)
{
    cg_node *r = cg_rw_def(rw, o, CG_OP_RELU6);
    if (!r)
        return false;
    cg_node *add = cg_rw_def_any(rw, cg_rw_in(rw, r, 0));
    if (!add)
        return false;
    cg_terms s = cg_rw_sum_of(rw, add);
    *x = s.f[0];
    return s.n == 1 && cg_near(s.c, 3);
}

bool cg_match_hard_sigmoid(cg_rewrite *rw, cg_node *n)
{
    cg_terms p = cg_rw_product_of(rw, n);
    cg_operand x;
    if (p.n != 1 || !cg_near(p.c, 1.0 / 6) ||
        !shifted_relu6(rw, p.f[0], &x))
        return false;
    return become_unary(rw, n, CG_OP_HARDSIGMOID, x);
}

/* Factor i is op(the other factor). */
static bool gated(cg_rewrite *rw, const cg_terms *p, cg_op op, cg_operand *x)
{
    for (int i = 0; i < 2 && p->n == 2 && cg_near(p->c, 1); i++) {
        cg_node *gate = cg_rw_def(rw, p->f[i], op);
        *x = p->f[1 - i];
        if (gate && cg_rw_same(rw, cg_rw_in(rw, gate, 0), *x))
            return true;
    }
    return false;
}

bool cg_match_swish(cg_rewrite *rw, cg_node *n)
{
    cg_terms p = cg_rw_product_of(rw, n);
    cg_operand x;
    return gated(rw, &p, CG_OP_SIGMOID, &x) &&
           become_unary(rw, n, CG_OP_SWISH, x);
}

bool cg_match_swish_quotient(cg_rewrite *rw, cg_node *n)
{
    cg_operand x = cg_rw_in(rw, n, 0);
    cg_node *add = cg_rw_def(rw, cg_rw_in(rw, n, 1), CG_OP_ADD);
    if (!add)
        return false;
    cg_terms s = cg_rw_sum_of(rw, add);
    if (s.n != 1 || s.c != 1)
        return false;
    cg_node *e = cg_rw_def(rw, s.f[0], CG_OP_EXP);
    cg_node *neg = e ? cg_rw_def(rw, cg_rw_in(rw, e, 0), CG_OP_NEG) : NULL;
    if (!neg || !cg_rw_same(rw, cg_rw_in(rw, neg, 0), x))
        return false;
    return become_unary(rw, n, CG_OP_SWISH, x);
}

bool cg_match_hard_swish(cg_rewrite *rw, cg_node *n)
{
    cg_terms p = cg_rw_product_of(rw, n);
    cg_operand x, y;
    if (gated(rw, &p, CG_OP_HARDSIGMOID, &x))
        return become_unary(rw, n, CG_OP_HARDSWISH, x);
    for (int i = 0; i < 2 && p.n == 2 && cg_near(p.c, 1.0 / 6); i++)
        if (shifted_relu6(rw, p.f[i], &y) && cg_rw_same(rw, y, p.f[1 - i]))
            return become_unary(rw, n, CG_OP_HARDSWISH, y);
    return false;
}

bool cg_match_mish(cg_rewrite *rw, cg_node *n)
{
    cg_terms p = cg_rw_product_of(rw, n);
    for (int i = 0; i < 2 && p.n == 2 && cg_near(p.c, 1); i++) {
        cg_node *t = cg_rw_def(rw, p.f[i], CG_OP_TANH);
        cg_node *s = t ? cg_rw_def(rw, cg_rw_in(rw, t, 0), CG_OP_SOFTPLUS)
                       : NULL;
        if (s && cg_rw_same(rw, cg_rw_in(rw, s, 0), p.f[1 - i]))
            return become_unary(rw, n, CG_OP_MISH, p.f[1 - i]);
    }
    return false;
}

/* -- GeLU --------------------------------------------------------------- */

static bool erf_of(cg_rewrite *rw, const cg_node *f, cg_operand x)
{
    cg_terms p = cg_rw_product(rw, cg_rw_in(rw, f, 0));
    return f->op == CG_OP_ERF && p.n == 1 && cg_near(p.c, M_SQRT1_2) &&
           cg_rw_same(rw, p.f[0], x);
}

/* c * x^power, and nothing else. */
static bool is_power(cg_rewrite *rw, cg_operand o, cg_operand x, double c,
                     size_t power)
{
    cg_terms p = cg_rw_product(rw, o);
    if (p.n != power || !cg_near(p.c, c))
        return false;
    for (size_t i = 0; i < power; i++)
        if (!cg_rw_same(rw, p.f[i], x))
            return false;
    return true;
}

/* sqrt(2/pi) * (x + 0.044715 x^3), or sqrt(2/pi) x (1 + 0.044715 x^2). */
static bool tanh_of(cg_rewrite *rw, const cg_node *f, cg_operand x)
{
    cg_terms p = cg_rw_product(rw, cg_rw_in(rw, f, 0));
    if (f->op != CG_OP_TANH || !cg_near(p.c, 0.7978845608))
        return false;
    for (size_t i = 0; i < p.n && p.n <= 2; i++) {
        cg_terms s = cg_rw_sum(rw, p.f[i]);
        if (p.n == 2) {
            if (cg_rw_same(rw, p.f[1 - i], x) && s.n == 1 && s.c == 1 &&
                is_power(rw, s.f[0], x, 0.044715, 2))
                return true;
        } else if (s.n == 2 && s.c == 0) {
            for (int j = 0; j < 2; j++)
                if (cg_rw_same(rw, s.f[1 - j], x) &&
                    is_power(rw, s.f[j], x, 0.044715, 3))
                    return true;
        }
    }
    return false;
}

/* What no factor 0.5 was found for in the first round has it in the weights
 * behind it, where onnxsim moves it. */
bool cg_match_gelu(cg_rewrite *rw, cg_node *n)
{
    cg_terms p = cg_rw_product_of(rw, n);
    bool factor = rw->settled ? p.c == p.c : cg_near(p.c, 0.5);
    for (int i = 0; i < 2 && p.n == 2 && factor; i++) {
        cg_operand x = p.f[1 - i];
        cg_node *add = cg_rw_def(rw, p.f[i], CG_OP_ADD);
        if (!add)
            continue;
        cg_terms s = cg_rw_sum_of(rw, add);
        cg_node *f = s.n == 1 && s.c == 1 ? cg_rw_def_any(rw, s.f[0]) : NULL;
        if (f && (erf_of(rw, f, x) || tanh_of(rw, f, x)))
            return become_unary(rw, n, CG_OP_GELU, x);
    }
    return false;
}
