/* Elements of known tensors, and the index maps fold rules are made of.
 *
 * A runtime computes shapes in int64 and in f32; floor(H * scale) is only
 * right when every intermediate is rounded as the runtime rounds it, so each
 * result goes through cg_elem_fit. Symbolic floats stay "number times integer
 * expression", which is all that the usual detours through float need
 * (sizes times scale factors, halves, ceilings to multiples). */
#include "passes/fold.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "passes/shape_rules.h"

cg_elem cg_elem_int(cg_dim i)
{
    return (cg_elem){ .f = 1, .i = i };
}

cg_elem cg_elem_float(double f)
{
    return (cg_elem){ .f = f, .i = 1 };
}

cg_elem cg_elem_scaled(double f, cg_dim i)
{
    if (f == 0)
        return cg_elem_float(f);
    if (cg_dim_known(i))
        return cg_elem_float(i == 1 ? f : f * (double)i);
    return (cg_elem){ .f = f, .i = i };
}

bool cg_elem_known(cg_elem e)
{
    return cg_dim_known(e.i);
}

bool cg_elem_opaque(cg_elem e)
{
    return isnan(e.f) && !cg_dim_known(e.i);
}

cg_elem cg_elem_get(const cg_data *d, size_t k)
{
    assert(k < d->n);
    if (d->s)
        return (cg_elem){ .i = 0, .s = d->s[k] };
    if (d->f)
        return cg_elem_scaled(d->f[k], d->i ? d->i[k] : 1);
    return cg_elem_int(d->i[k]);
}

void cg_elem_put(cg_graph *g, cg_data *d, size_t k, cg_elem e)
{
    assert(k < d->n);
    if (d->s) {
        d->s[k] = e.s;
        return;
    }
    if (!d->f) {
        d->i[k] = e.i;
        return;
    }
    d->f[k] = e.f;
    /* Most float tensors are plain numbers: the factors come when needed. */
    if (!d->i && e.i != 1) {
        d->i = cg_arena_array(&g->arena, cg_dim, d->n);
        for (size_t j = 0; j < d->n; j++)
            d->i[j] = 1;
    }
    if (d->i)
        d->i[k] = e.i;
}

/* Bits of the significand, the hidden one included; 0: as double. */
static int significand_bits(int dtype)
{
    switch (dtype) {
    case CG_F16: return 11;
    case CG_BF16: return 8;
    case CG_F8E4M3FN:
    case CG_F8E4M3FNUZ: return 4;
    case CG_F8E5M2:
    case CG_F8E5M2FNUZ: return 3;
    case CG_F4E2M1: return 2;
    case CG_F8E8M0: return 1;
    default: return 0;
    }
}

double cg_round_float(int dtype, double x)
{
    if (dtype == CG_F32)
        return (float)x;
    int bits = significand_bits(dtype);
    if (!bits || !isfinite(x))
        return x;
    int exponent;
    double m = frexp(x, &exponent);
    return ldexp(nearbyint(ldexp(m, bits)), exponent - bits);
}

cg_dim cg_wrap_int(int dtype, cg_dim v)
{
    int bits = cg_dtype_bits(dtype);
    if (!cg_dim_known(v))
        return v;
    if (dtype == CG_BOOL)
        return v != 0;
    if (bits <= 0 || bits >= 64)
        return v;
    uint64_t mask = (UINT64_C(1) << bits) - 1, low = (uint64_t)v & mask;
    bool sign = dtype == CG_I8 || dtype == CG_I16 || dtype == CG_I32 ||
                dtype == CG_I4 || dtype == CG_I2;
    if (sign && low >> (bits - 1))
        return (cg_dim)low - (cg_dim)mask - 1;
    return (cg_dim)low;
}

cg_elem cg_elem_fit(int dtype, cg_elem e)
{
    if (cg_dtype_kind_of(dtype) == CG_DTYPE_FLOAT)
        e.f = cg_round_float(dtype, e.f);
    else if (cg_dtype_kind_of(dtype) == CG_DTYPE_INT)
        e.i = cg_wrap_int(dtype, e.i);
    return e;
}

int64_t cg_trunc_int(double x)
{
    if (isnan(x))
        return 0;
    if (x >= 0x1p63)
        return INT64_MAX;
    if (x <= (double)CG_DIM_MIN)
        return CG_DIM_MIN;
    return (int64_t)x;
}

/* f as a fraction p/q: exactly with a power of two below, or to f32 precision
 * with a small q (a factor of 1/3 was never exact in the file either). */
static bool fraction(double f, int64_t *p, int64_t *q)
{
    if (!(fabs(f) < 0x1p31))
        return false;
    for (int64_t d = 1; d <= 1 << 16; d *= 2)
        if (f * (double)d == nearbyint(f * (double)d)) {
            *p = (int64_t)(f * (double)d);
            *q = d;
            return true;
        }
    for (int64_t d = 3; d <= 100; d++) {
        double near = nearbyint(f * (double)d);
        if (near != 0 && fabs(f * (double)d - near) <= 6e-8 * fabs(near)) {
            *p = (int64_t)near;
            *q = d;
            return true;
        }
    }
    return false;
}

/* The integer part of what is not known: the cause is that of the float. */
static cg_dim not_said(cg_graph *g, const cg_node *n, double f, cg_dim i)
{
    cg_dim_cause c = cg_dim_why(g, i);
    if (isnan(f) && c.node)
        return cg_dim_unknown(g, c.node, c.why);
    return cg_dim_unknown(g, n, "a symbolic size times a fraction");
}

cg_dim cg_floor_scaled(cg_graph *g, const cg_node *n, double f, cg_dim i)
{
    int64_t p, q;
    if (cg_dim_known(i))
        return cg_trunc_int(floor(f * (double)i));
    if (!fraction(f, &p, &q))
        return not_said(g, n, f, i);
    return cg_dim_floordiv(g, cg_dim_mul(g, p, i), q);
}

cg_dim cg_ceil_scaled(cg_graph *g, const cg_node *n, double f, cg_dim i)
{
    int64_t p, q;
    if (cg_dim_known(i))
        return cg_trunc_int(ceil(f * (double)i));
    if (!fraction(f, &p, &q))
        return not_said(g, n, f, i);
    return cg_dim_ceildiv(g, cg_dim_mul(g, p, i), q);
}

bool cg_dim_surely_ge(cg_graph *g, cg_dim a, cg_dim b)
{
    if (a == b)
        return true;
    if (cg_dim_known(a) && cg_dim_known(b))
        return a >= b;
    int c = cg_dim_compare(g, a, b);
    return c == 0 || c == 1 ||
           (c == 2 && cg_dim_compare(g, cg_dim_add(g, a, 1), b) == 1);
}

/* Offsets up to this are taken to lie inside a symbolic dim. */
#define SMALL_OFFSET 8

bool cg_dim_taken_ge(cg_graph *g, cg_dim a, cg_dim b)
{
    if (cg_dim_surely_ge(g, a, b))
        return true;
    if ((cg_dim_known(a) && cg_dim_known(b)) || cg_dim_is_unknown(g, a) ||
        cg_dim_is_unknown(g, b))
        return false;
    return !cg_dim_known(b) ||
           cg_dim_surely_ge(g, cg_dim_add(g, a, SMALL_OFFSET), b);
}

cg_dim cg_dim_not_negative(cg_graph *g, cg_dim d)
{
    return cg_dim_taken_ge(g, d, 0) ? d : cg_dim_max(g, d, 0);
}

bool cg_small_dims(const cg_type *t, int64_t *dims, size_t *count)
{
    if (t->rank < 0 || t->kind != CG_KIND_TENSOR)
        return false;
    uint64_t n = 1;
    bool empty = false;
    for (int a = 0; a < t->rank; a++) {
        if (!cg_dim_known(t->dims[a]) || t->dims[a] < 0)
            return false;
        dims[a] = t->dims[a];
        empty |= dims[a] == 0;
    }
    for (int a = 0; a < t->rank && !empty; a++) {
        if (dims[a] > CG_DATA_MAX)
            return false;
        n *= (uint64_t)dims[a];
        if (n > CG_DATA_MAX)
            return false;
    }
    *count = empty ? 0 : (size_t)n;
    return true;
}

/* Elements per graph (32 MB), and per tensor what is free. */
#define FOLD_BUDGET (UINT64_C(1) << 22)
#define FOLD_FREE 64

cg_data *cg_fold_room(cg_graph *g, int dtype, size_t n)
{
    if (n > FOLD_FREE) {
        if (n > CG_DATA_MAX || g->folded + n > FOLD_BUDGET)
            return NULL;
        g->folded += n;
    }
    return cg_data_new(g, dtype, n);
}

const cg_data *cg_small_in(const cg_node *n, size_t k, int64_t *dims)
{
    const cg_data *d = cg_in_data(n, k);
    cg_type t = cg_in_type(n, k);
    size_t count;
    if (!d || !cg_small_dims(&t, dims, &count) || count != d->n)
        return NULL;
    return d;
}

void cg_row_strides(int rank, const int64_t *dims, int64_t *stride)
{
    int64_t s = 1;
    for (int a = rank - 1; a >= 0; a--) {
        stride[a] = s;
        s *= dims[a] ? dims[a] : 1;
    }
}

/* Advances a row-major counter; keeps *at, the strided position, in step. */
static void advance(int rank, const int64_t *dims, const int64_t *stride,
                    int64_t *index, int64_t *at)
{
    for (int a = rank - 1; a >= 0; a--) {
        *at += stride[a];
        if (++index[a] < dims[a])
            return;
        *at -= stride[a] * dims[a];
        index[a] = 0;
    }
}

bool cg_broadcast_map(const cg_node *n, size_t k, const cg_type *out,
                      uint16_t *map)
{
    int64_t dims[CG_MAX_RANK], in[CG_MAX_RANK], row[CG_MAX_RANK];
    int64_t stride[CG_MAX_RANK] = { 0 }, index[CG_MAX_RANK] = { 0 }, at = 0;
    size_t count, n_in;
    cg_type t = cg_in_type(n, k);
    if (!cg_small_dims(out, dims, &count) || !cg_small_dims(&t, in, &n_in) ||
        t.rank > out->rank)
        return false;
    /* Old models say at which axis the second operand begins. */
    int64_t shift = out->rank - t.rank;
    if (k == 1 && cg_attr_find(n, "broadcast_axis")) {
        shift = cg_attr_int(n, "broadcast_axis", 0);
        if (shift < 0)
            shift += out->rank;
        if (shift < 0 || shift > out->rank - t.rank)
            return false;
    }
    cg_row_strides(t.rank, in, row);
    for (int a = 0; a < t.rank; a++)
        if (in[a] == dims[shift + a])
            stride[shift + a] = row[a];
        else if (in[a] != 1)
            return false;
    for (size_t j = 0; j < count; j++) {
        map[j] = (uint16_t)at;
        advance(out->rank, dims, stride, index, &at);
    }
    return true;
}

void cg_fold_strided(cg_graph *g, cg_node *n, size_t k, const cg_data *src,
                     int rank, const int64_t *dims, const int64_t *stride,
                     int64_t base)
{
    int64_t index[2 * CG_MAX_RANK] = { 0 }, at = base;
    uint64_t count = 1;
    for (int a = 0; a < rank; a++)
        if (dims[a] == 0)
            count = 0;
    for (int a = 0; a < rank && count; a++) {
        if (dims[a] > CG_DATA_MAX)
            return;
        count *= (uint64_t)dims[a];
        if (count > CG_DATA_MAX)
            return;
    }
    if (k >= n->n_out || !n->out[k])
        return;
    cg_data *d = cg_fold_room(g, n->out[k]->type.dtype, (size_t)count);
    if (!d)
        return;
    for (size_t j = 0; j < count; j++) {
        cg_elem_put(g, d, j, cg_elem_get(src, (size_t)at));
        advance(rank, dims, stride, index, &at);
    }
    cg_out_data(n, k, d);
}

cg_err cg_axes_mask(const cg_node *n, int rank, uint64_t *mask, bool *known)
{
    const cg_data *d = cg_in_data(n, 1);
    bool none = !cg_in(n, 1) || (d && d->n == 0);
    *mask = 0;
    *known = true;
    if (none) {
        if (!cg_attr_int(n, "noop_with_empty_axes", 0) && rank > 0)
            *mask = UINT64_MAX >> (64 - rank);
        return CG_OK;
    }
    if (!d || !d->i) {
        *known = false;
        return CG_OK;
    }
    for (size_t j = 0; j < d->n; j++) {
        int a;
        if (!cg_dim_known(d->i[j])) {
            *known = false;
            return CG_OK;
        }
        CG_TRY(cg_axis(n, d->i[j], rank, &a));
        *mask |= UINT64_C(1) << a;
    }
    return CG_OK;
}

/* -- lists ---------------------------------------------------------------- */

static const char blind_reason[] = "depends on values known only at run time";

/* Goes back through operators that leave a list's elements as they are. */
static const cg_value *list_source(const cg_value *v)
{
    for (int hop = 0; hop < 8; hop++) {
        const cg_node *d = v->role == CG_ROLE_NODE && !v->data ? v->def : NULL;
        bool same = d && d->n_in >= 1 && d->in[0].v &&
                    (d->op == CG_OP_IDENTITY || d->op == CG_OP_CAST ||
                     d->op == CG_OP_UNSQUEEZE || d->op == CG_OP_SQUEEZE ||
                     d->op == CG_OP_RESHAPE || d->op == CG_OP_FLATTEN);
        if (!same || cg_dtype_kind_of(d->in[0].v->type.dtype) != CG_DTYPE_INT)
            return v;
        v = d->in[0].v;
    }
    return v;
}

/* How many elements a value has, if few; -1 otherwise. */
static int list_length(const cg_value *v)
{
    int64_t dims[CG_MAX_RANK];
    size_t count;
    if (v->data)
        return v->data->n <= CG_MAX_RANK ? (int)v->data->n : -1;
    if (!cg_small_dims(&v->type, dims, &count) || count > CG_MAX_RANK)
        return -1;
    return (int)count;
}

static void list_add(const cg_node *n, cg_list *l, const cg_value *v, int len)
{
    const cg_value *src = list_source(v);
    const cg_data *d = src->data;
    for (int j = 0; j < len; j++, l->n++) {
        bool seen = d && !d->f && !d->s && d->n == (size_t)len;
        l->blind[l->n] = !seen;
        l->d[l->n] = seen ? d->i[j] : 0;
        l->from[l->n] = src->role == CG_ROLE_NODE && src->def ? src->def : n;
    }
}

cg_dim cg_list_dim(cg_graph *g, const cg_list *l, int k)
{
    return l->blind[k] ? cg_dim_unknown(g, l->from[k], blind_reason) : l->d[k];
}

/* True when v is a Concat of parts of known length that make up `len`. */
static bool list_of_parts(const cg_value *v, int len)
{
    if (v->role != CG_ROLE_NODE || v->data || v->def->op != CG_OP_CONCAT ||
        v->type.rank != 1)
        return false;
    int sum = 0;
    for (uint32_t k = 0; k < v->def->n_in; k++) {
        const cg_value *part = v->def->in[k].v;
        int m = part ? list_length(part) : -1;
        if (m < 0 || (sum += m) > len)
            return false;
    }
    return sum == len;
}

cg_err cg_in_list(const cg_node *n, size_t k, cg_list *l, bool *ok)
{
    cg_value *v = cg_in(n, k);
    cg_type t = cg_in_type(n, k);
    l->n = 0;
    *ok = false;
    if (!v)
        return CG_OK;
    if (t.rank > 1)
        return cg_fail(CG_EFORMAT, "input %zu must be a list, not of rank %d",
                       k, t.rank);
    if (t.rank == 1 && cg_dim_known(t.dims[0]) && t.dims[0] > CG_MAX_RANK)
        return cg_fail(CG_ELIMIT, "input %zu names %lld axes, more than %d", k,
                       (long long)t.dims[0], CG_MAX_RANK);
    const cg_data *d = cg_in_data(n, k);
    if (d && (d->f || d->s))
        return cg_fail(CG_EFORMAT, "input %zu must hold integers", k);
    int len = list_length(v);
    if (len < 0)
        return CG_OK;
    *ok = true;
    const cg_value *src = list_source(v);
    if (!list_of_parts(src, len)) {
        list_add(n, l, v, len);
        return CG_OK;
    }
    for (uint32_t j = 0; j < src->def->n_in; j++)
        list_add(n, l, src->def->in[j].v, list_length(src->def->in[j].v));
    return CG_OK;
}
