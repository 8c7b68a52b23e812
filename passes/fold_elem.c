/* Folding of element-wise operators and reductions.
 *
 * Shape arithmetic is a small part of ONNX: sums, products, quotients,
 * comparisons and choices over a handful of integers, at times by way of
 * floats. Each operator is one function over one or two elements, which says
 * the exact result where it can and an unknown with its reason where it
 * cannot; the drivers below do broadcasting and types. */
#include <math.h>
#include <string.h>

#include "passes/fold.h"
#include "passes/shape.h"

/* A fold rule that maps an element function. */
#define RULE(name, map, fn)                                                   \
    cg_err cg_fold_##name(cg_graph *g, cg_node *n)                            \
    {                                                                         \
        return map(g, n, fn);                                                 \
    }

cg_elem_ctx cg_elem_context(cg_graph *g, cg_node *n, size_t operand)
{
    int dtype = cg_in_type(n, operand).dtype;
    bool is_float = cg_dtype_kind_of(dtype) == CG_DTYPE_FLOAT;
    return (cg_elem_ctx){ g, n, dtype, is_float };
}

cg_elem cg_elem_unknown(const cg_elem_ctx *c, cg_elem a, cg_elem b,
                        const char *why)
{
    if (c->is_float && cg_elem_opaque(a))
        return a;
    if (c->is_float && cg_elem_opaque(b))
        return b;
    cg_dim u = cg_dim_unknown(c->g, c->n, why);
    return (cg_elem){ .f = c->is_float ? NAN : 1, .i = u };
}

/* Room for output 0, if it is small, its type is known and it has no data
 * yet. */
cg_data *cg_numbers_out(cg_graph *g, cg_node *n)
{
    int64_t dims[CG_MAX_RANK];
    size_t count;
    if (n->n_out < 1 || !n->out[0])
        return NULL;
    const cg_type *t = &n->out[0]->type;
    cg_dtype_kind kind = cg_dtype_kind_of(t->dtype);
    if ((kind != CG_DTYPE_INT && kind != CG_DTYPE_FLOAT) ||
        !cg_small_dims(t, dims, &count))
        return NULL;
    return cg_fold_room(g, t->dtype, count);
}

/* Data of operand k that is numbers of the kind its type says. */
const cg_data *cg_numbers_in(const cg_node *n, size_t k)
{
    int64_t dims[CG_MAX_RANK];
    const cg_data *d = cg_small_in(n, k, dims);
    if (!d || d->s)
        return NULL;
    bool is_float =
        cg_dtype_kind_of(cg_in_type(n, k).dtype) == CG_DTYPE_FLOAT;
    return is_float == (d->f != NULL) ? d : NULL;
}

/* -- drivers -------------------------------------------------------------- */

cg_err cg_elem_map1(cg_graph *g, cg_node *n, cg_elem_fn1 *fn)
{
    const cg_data *in = cg_numbers_in(n, 0);
    cg_data *d = in ? cg_numbers_out(g, n) : NULL;
    if (!d || d->n != in->n)
        return CG_OK;
    cg_elem_ctx c = cg_elem_context(g, n, 0);
    for (size_t k = 0; k < d->n; k++) {
        cg_elem e;
        CG_TRY(fn(&c, cg_elem_get(in, k), &e));
        cg_elem_put(g, d, k, cg_elem_fit(n->out[0]->type.dtype, e));
    }
    cg_out_data(n, 0, d);
    return CG_OK;
}

/* out[j] = fn(operand a, operand b) over the broadcast of both. */
cg_err cg_elem_map2(cg_graph *g, cg_node *n, cg_elem_fn2 *fn)
{
    uint16_t ma[CG_DATA_MAX], mb[CG_DATA_MAX];
    const cg_data *a = cg_numbers_in(n, 0), *b = cg_numbers_in(n, 1);
    cg_data *d = a && b ? cg_numbers_out(g, n) : NULL;
    if (!d || !cg_broadcast_map(n, 0, &n->out[0]->type, ma) ||
        !cg_broadcast_map(n, 1, &n->out[0]->type, mb))
        return CG_OK;
    cg_elem_ctx c = cg_elem_context(g, n, 0);
    for (size_t k = 0; k < d->n; k++) {
        cg_elem e;
        CG_TRY(fn(&c, cg_elem_get(a, ma[k]), cg_elem_get(b, mb[k]), &e));
        cg_elem_put(g, d, k, cg_elem_fit(n->out[0]->type.dtype, e));
    }
    cg_out_data(n, 0, d);
    return CG_OK;
}

/* Left to right over any number of operands, rounding at every step. */
static cg_err fold_nary(cg_graph *g, cg_node *n, cg_elem_fn2 *fn)
{
    uint16_t map[CG_DATA_MAX];
    for (uint32_t k = 0; k < n->n_in; k++)
        if (!cg_numbers_in(n, k))
            return CG_OK;
    cg_data *d = n->n_in ? cg_numbers_out(g, n) : NULL;
    if (!d)
        return CG_OK;
    cg_elem_ctx c = cg_elem_context(g, n, 0);
    int dtype = n->out[0]->type.dtype;
    for (uint32_t k = 0; k < n->n_in; k++) {
        const cg_data *in = cg_numbers_in(n, k);
        if (!cg_broadcast_map(n, k, &n->out[0]->type, map))
            return CG_OK;
        for (size_t j = 0; j < d->n; j++) {
            cg_elem e = cg_elem_get(in, map[j]);
            if (k > 0)
                CG_TRY(fn(&c, cg_elem_get(d, j), e, &e));
            cg_elem_put(g, d, j, cg_elem_fit(dtype, e));
        }
    }
    cg_out_data(n, 0, d);
    return CG_OK;
}

/* -- arithmetic ----------------------------------------------------------- */

static bool whole(double x)
{
    return fabs(x) < 0x1p31 && x == nearbyint(x);
}

/* Both factors as whole multiples of one positive unit: the finer of the two,
 * or a power of two. */
static bool common_unit(double a, double b, double *unit)
{
    double fine = fmin(fabs(a), fabs(b));
    if (fine > 0 && whole(a / fine) && whole(b / fine)) {
        *unit = fine;
        return true;
    }
    for (*unit = 1; *unit > 0x1p-17; *unit /= 2)
        if (whole(a / *unit) && whole(b / *unit))
            return true;
    return false;
}

/* The integer expression that is e in this unit. */
static cg_dim in_units(cg_graph *g, cg_elem e, double unit)
{
    return cg_dim_mul(g, (cg_dim)(e.f / unit), e.i);
}

/* a + sign * b of floats that may be symbolic. */
static bool combine(cg_graph *g, cg_elem a, cg_elem b, int sign, cg_elem *out)
{
    double unit;
    if (cg_elem_known(a) && cg_elem_known(b)) {
        *out = cg_elem_float(a.f + sign * b.f);
        return true;
    }
    b.f *= sign;
    if (a.f == 0 || b.f == 0)
        *out = b.f == 0 ? a : b;
    else if (common_unit(a.f, b.f, &unit))
        *out = cg_elem_scaled(unit, cg_dim_add(g, in_units(g, a, unit),
                                               in_units(g, b, unit)));
    else
        return false;
    return true;
}

static cg_err add_sub(const cg_elem_ctx *c, cg_elem a, cg_elem b, int sign,
                      cg_elem *out)
{
    if (!c->is_float)
        *out = cg_elem_int(sign > 0 ? cg_dim_add(c->g, a.i, b.i)
                                    : cg_dim_sub(c->g, a.i, b.i));
    else if (!combine(c->g, a, b, sign, out))
        *out = cg_elem_unknown(c, a, b, "a sum of fractions of symbolic sizes");
    return CG_OK;
}

cg_err cg_elem_add(const cg_elem_ctx *c, cg_elem a, cg_elem b, cg_elem *out)
{
    return add_sub(c, a, b, 1, out);
}

static cg_err sub(const cg_elem_ctx *c, cg_elem a, cg_elem b, cg_elem *out)
{
    return add_sub(c, a, b, -1, out);
}

cg_err cg_elem_mul(const cg_elem_ctx *c, cg_elem a, cg_elem b, cg_elem *out)
{
    bool opaque = c->is_float && (cg_elem_opaque(a) || cg_elem_opaque(b));
    if (opaque && a.f != 0 && b.f != 0) {
        *out = cg_elem_unknown(c, a, b, NULL);
        return CG_OK;
    }
    cg_dim i = cg_dim_mul(c->g, a.i, b.i);
    *out = c->is_float ? cg_elem_scaled(cg_round_float(c->dtype, a.f * b.f), i)
                       : cg_elem_int(i);
    return CG_OK;
}

/* ONNX divides integers towards zero. A symbolic numerator is a size or made
 * of sizes: where its sign is open, only an input too small for the network
 * makes it negative, so the floor is what is meant. */
static cg_dim divide(const cg_elem_ctx *c, cg_dim a, cg_dim b)
{
    cg_dim q;
    if (cg_dim_known(a) && cg_dim_known(b))
        return b == -1 ? cg_dim_sub(c->g, 0, a) : a / b;
    if (cg_dim_divides(c->g, a, b, &q))
        return q;
    if (cg_dim_known(b) && b < 0)
        return cg_dim_sub(c->g, 0, cg_dim_floordiv(c->g, a, -b));
    if (cg_dim_compare(c->g, a, 0) == -1)
        return cg_dim_ceildiv(c->g, a, b);
    return cg_dim_floordiv(c->g, a, b);
}

static cg_err divide_elem(const cg_elem_ctx *c, cg_elem a, cg_elem b,
                          cg_elem *out)
{
    cg_dim q;
    if (!c->is_float) {
        if (b.i == 0)
            return cg_fail(CG_EFORMAT, "an integer is divided by zero");
        *out = cg_elem_int(divide(c, a.i, b.i));
    } else if (cg_elem_opaque(a) || cg_elem_opaque(b)) {
        *out = cg_elem_unknown(c, a, b, NULL);
    } else if (cg_elem_known(b)) {
        *out = cg_elem_known(a) || b.f != 0
                   ? cg_elem_scaled(cg_round_float(c->dtype, a.f / b.f), a.i)
                   : cg_elem_unknown(c, a, b, "a size divided by zero");
    } else if (a.f == 0) {
        *out = cg_elem_float(0);
    } else if (cg_dim_divides(c->g, a.i, b.i, &q)) {
        *out = cg_elem_scaled(cg_round_float(c->dtype, a.f / b.f), q);
    } else {
        *out = cg_elem_unknown(c, a, b, "a quotient of symbolic sizes");
    }
    return CG_OK;
}

static cg_err modulo(const cg_elem_ctx *c, cg_elem a, cg_elem b, cg_elem *out)
{
    bool fmod_rule = cg_attr_int(c->n, "fmod", 0) != 0;
    cg_dim q;
    if (c->is_float) {
        *out = cg_elem_known(a) && cg_elem_known(b)
                   ? cg_elem_float(fmod(a.f, b.f))
                   : cg_elem_unknown(c, a, b, "a remainder of symbolic sizes");
    } else if (b.i == 0) {
        return cg_fail(CG_EFORMAT, "an integer is taken modulo zero");
    } else if (cg_dim_known(a.i) && cg_dim_known(b.i)) {
        cg_dim r = b.i == -1 ? 0 : a.i % b.i;
        /* fmod takes the sign of the dividend, Python of the divisor. */
        if (!fmod_rule && r != 0 && (r < 0) != (b.i < 0))
            r += b.i;
        *out = cg_elem_int(r);
    } else if (cg_dim_divides(c->g, a.i, b.i, &q)) {
        *out = cg_elem_int(0);
    } else if (fmod_rule && !cg_dim_surely_ge(c->g, a.i, 0)) {
        *out = cg_elem_unknown(c, a, b, "a remainder of open sign");
    } else {
        *out = cg_elem_int(cg_dim_mod(c->g, a.i, b.i));
    }
    return CG_OK;
}

static cg_err negate(const cg_elem_ctx *c, cg_elem a, cg_elem *out)
{
    *out = c->is_float ? (cg_elem){ .f = -a.f, .i = a.i }
                       : cg_elem_int(cg_dim_sub(c->g, 0, a.i));
    return CG_OK;
}

/* -1, 0, 1 as cg_dim_compare; 2 not known (NaN among it). */
int cg_elem_compare(const cg_elem_ctx *c, cg_elem a, cg_elem b)
{
    cg_elem d;
    if (!c->is_float)
        return cg_dim_compare(c->g, a.i, b.i);
    if (cg_elem_known(a) && cg_elem_known(b))
        return a.f < b.f ? -1 : a.f > b.f ? 1 : a.f == b.f ? 0 : 2;
    if (!combine(c->g, a, b, -1, &d))
        return 2;
    int s = cg_elem_known(d) ? (d.f > 0) - (d.f < 0)
                             : cg_dim_compare(c->g, d.i, 0);
    return s == 2 || cg_elem_known(d) || d.f > 0 ? s : -s;
}

/* a >= b: 1 yes, 0 no, 2 not known. */
int cg_elem_ge(const cg_elem_ctx *c, cg_elem a, cg_elem b)
{
    int s = cg_elem_compare(c, a, b);
    if (s != 2)
        return s >= 0;
    return !c->is_float && cg_dim_surely_ge(c->g, a.i, b.i) ? 1 : 2;
}

static cg_err max_min(const cg_elem_ctx *c, cg_elem a, cg_elem b, bool max,
                      cg_elem *out)
{
    int ge = cg_elem_ge(c, a, b), le = cg_elem_ge(c, b, a);
    double unit = 1;
    if (c->is_float && cg_elem_known(a) && cg_elem_known(b))
        *out = isnan(a.f) ? a : isnan(b.f) ? b : (a.f > b.f) == max ? a : b;
    else if (ge == 1 || le == 0)
        *out = max ? a : b;
    else if (le == 1 || ge == 0)
        *out = max ? b : a;
    else if (!c->is_float)
        *out = cg_elem_int(max ? cg_dim_max(c->g, a.i, b.i)
                               : cg_dim_min(c->g, a.i, b.i));
    else if (common_unit(a.f, b.f, &unit)) {
        cg_dim x = in_units(c->g, a, unit), y = in_units(c->g, b, unit);
        *out = cg_elem_scaled(unit, max ? cg_dim_max(c->g, x, y)
                                        : cg_dim_min(c->g, x, y));
    } else
        *out = cg_elem_unknown(c, a, b, "the larger of two symbolic sizes");
    return CG_OK;
}

cg_err cg_elem_max(const cg_elem_ctx *c, cg_elem a, cg_elem b, cg_elem *out)
{
    return max_min(c, a, b, true, out);
}

cg_err cg_elem_min(const cg_elem_ctx *c, cg_elem a, cg_elem b, cg_elem *out)
{
    return max_min(c, a, b, false, out);
}

/* base ** e for integers, by squaring; gives up where it does not fit. */
static cg_dim int_power(cg_graph *g, cg_dim base, int64_t e)
{
    cg_dim r = 1;
    for (; e; e >>= 1) {
        if (e & 1)
            r = cg_dim_mul(g, r, base);
        if (e > 1)
            base = cg_dim_mul(g, base, base);
    }
    return r;
}

static cg_err power(const cg_elem_ctx *c, cg_elem a, cg_elem b, cg_elem *out)
{
    bool float_exp =
        cg_dtype_kind_of(cg_in_type(c->n, 1).dtype) == CG_DTYPE_FLOAT;
    if (!cg_elem_known(b)) {
        *out = cg_elem_unknown(c, a, b, "a power with a symbolic exponent");
        return CG_OK;
    }
    double e = float_exp ? b.f : (double)b.i;
    bool small = whole(e) && e >= 0 && e <= 64;
    if (!c->is_float && small)
        *out = cg_elem_int(int_power(c->g, a.i, (int64_t)e));
    else if (!c->is_float && cg_elem_known(a))
        *out = cg_elem_int(cg_trunc_int(pow((double)a.i, e)));
    else if (c->is_float && cg_elem_known(a))
        *out = cg_elem_float(pow(a.f, e));
    else if (c->is_float && small && !cg_elem_opaque(a))
        *out = cg_elem_scaled(pow(a.f, e),
                              int_power(c->g, a.i, (int64_t)e));
    else
        *out = cg_elem_unknown(c, a, b, "a power of a symbolic size");
    return CG_OK;
}

RULE(add, fold_nary, cg_elem_add)
RULE(sub, cg_elem_map2, sub)
RULE(mul, fold_nary, cg_elem_mul)
RULE(max, fold_nary, cg_elem_max)
RULE(min, fold_nary, cg_elem_min)
RULE(div, cg_elem_map2, divide_elem)
RULE(mod, cg_elem_map2, modulo)
RULE(pow, cg_elem_map2, power)
RULE(neg, cg_elem_map1, negate)

/* -- functions of one number ---------------------------------------------- */

/* Applies fn where the number is known, in double; cg_elem_fit rounds. */
static cg_err fold_function(cg_graph *g, cg_node *n, double (*fn)(double))
{
    const cg_data *in = cg_numbers_in(n, 0);
    cg_data *d = in ? cg_numbers_out(g, n) : NULL;
    cg_elem_ctx c = cg_elem_context(g, n, 0);
    if (!d || d->n != in->n || !c.is_float || !d->f)
        return CG_OK;
    for (size_t k = 0; k < d->n; k++) {
        cg_elem e = cg_elem_get(in, k);
        if (cg_elem_known(e))
            e = cg_elem_float(fn(e.f));
        else
            e = cg_elem_unknown(&c, e, e, "a function of a symbolic size");
        cg_elem_put(g, d, k, cg_elem_fit(c.dtype, e));
    }
    cg_out_data(n, 0, d);
    return CG_OK;
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double reciprocal(double x)
{
    return 1 / x;
}

RULE(sqrt, fold_function, sqrt)
RULE(exp, fold_function, exp)
RULE(log, fold_function, log)
RULE(erf, fold_function, erf)
RULE(sin, fold_function, sin)
RULE(cos, fold_function, cos)
RULE(tanh, fold_function, tanh)
RULE(sigmoid, fold_function, sigmoid)
RULE(reciprocal, fold_function, reciprocal)

static cg_err floor_elem(const cg_elem_ctx *c, cg_elem a, cg_elem *out)
{
    *out = a;
    if (c->is_float && cg_elem_known(a))
        *out = cg_elem_float(floor(a.f));
    else if (c->is_float)
        *out = cg_elem_scaled(1, cg_floor_scaled(c->g, c->n, a.f, a.i));
    return CG_OK;
}

static cg_err ceil_elem(const cg_elem_ctx *c, cg_elem a, cg_elem *out)
{
    *out = a;
    if (c->is_float && cg_elem_known(a))
        *out = cg_elem_float(ceil(a.f));
    else if (c->is_float)
        *out = cg_elem_scaled(1, cg_ceil_scaled(c->g, c->n, a.f, a.i));
    return CG_OK;
}

static cg_err round_elem(const cg_elem_ctx *c, cg_elem a, cg_elem *out)
{
    if (cg_elem_known(a) || !c->is_float)
        *out = c->is_float ? cg_elem_float(nearbyint(a.f)) : a;
    else if (whole(a.f))
        *out = a;
    else
        *out = cg_elem_unknown(c, a, a, "a rounded fraction of a size");
    return CG_OK;
}

static cg_err sign_elem(const cg_elem_ctx *c, cg_elem a, cg_elem *out)
{
    cg_elem zero = c->is_float ? cg_elem_float(0) : cg_elem_int(0);
    int s = cg_elem_compare(c, a, zero);
    if (s == 2)
        *out = cg_elem_unknown(c, a, a, "the sign of a symbolic size");
    else
        *out = c->is_float ? cg_elem_float(s) : cg_elem_int(s);
    return CG_OK;
}

static cg_err relu_elem(const cg_elem_ctx *c, cg_elem a, cg_elem *out)
{
    return cg_elem_max(c, a, c->is_float ? cg_elem_float(0) : cg_elem_int(0),
                   out);
}

static cg_err abs_elem(const cg_elem_ctx *c, cg_elem a, cg_elem *out)
{
    cg_elem minus;
    CG_TRY(negate(c, a, &minus));
    return cg_elem_max(c, a, minus, out);
}

RULE(floor, cg_elem_map1, floor_elem)
RULE(ceil, cg_elem_map1, ceil_elem)
RULE(round, cg_elem_map1, round_elem)
RULE(sign, cg_elem_map1, sign_elem)
RULE(relu, cg_elem_map1, relu_elem)
RULE(abs, cg_elem_map1, abs_elem)

static cg_err clip_elem(const cg_elem_ctx *c, cg_elem a, cg_elem *out)
{
    const cg_data *low = cg_in_data(c->n, 1), *high = cg_in_data(c->n, 2);
    *out = a;
    if (low)
        CG_TRY(cg_elem_max(c, *out, cg_elem_get(low, 0), out));
    if (high)
        CG_TRY(cg_elem_min(c, *out, cg_elem_get(high, 0), out));
    return CG_OK;
}

cg_err cg_fold_clip(cg_graph *g, cg_node *n)
{
    for (size_t k = 1; k <= 2; k++) {
        const cg_data *d = cg_in_data(n, k);
        if (cg_in(n, k) && (!d || d->n != 1 || !cg_numbers_in(n, k)))
            return CG_OK;
    }
    return cg_elem_map1(g, n, clip_elem);
}

