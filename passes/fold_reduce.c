/* Folding of reductions and running sums: ReduceProd over a part of a shape
 * is how exporters count elements. */
#include <string.h>

#include "passes/fold.h"
#include "passes/shape.h"

/* For every element of operand 0 the output element it goes to. */
static void reduce_map(int rank, const int64_t *dims, uint64_t mask,
                       size_t count, uint16_t *map)
{
    int64_t stride[CG_MAX_RANK];
    int64_t s = 1;
    for (int a = rank - 1; a >= 0; a--) {
        bool gone = mask >> a & 1;
        stride[a] = gone ? 0 : s;
        s *= gone ? 1 : dims[a];
    }
    for (size_t k = 0; k < count; k++) {
        int64_t rest = (int64_t)k, at = 0;
        for (int a = rank - 1; a >= 0; a--) {
            at += rest % dims[a] * stride[a];
            rest /= dims[a];
        }
        map[k] = (uint16_t)at;
    }
}

/* start: the value of an empty reduction; NULL: it has none. */
static cg_err fold_reduce(cg_graph *g, cg_node *n, cg_elem_fn2 *fn,
                          const double *start)
{
    uint16_t map[CG_DATA_MAX];
    int64_t dims[CG_MAX_RANK];
    bool known, begun[CG_DATA_MAX] = { false };
    uint64_t mask;
    const cg_data *in = cg_numbers_in(n, 0) ? cg_small_in(n, 0, dims) : NULL;
    if (!in)
        return CG_OK;
    int rank = cg_in_type(n, 0).rank;
    CG_TRY(cg_axes_mask(n, rank, &mask, &known));
    cg_data *d = known ? cg_numbers_out(g, n) : NULL;
    if (!d || (in->n == 0 && !start) || (!d->f) != (!in->f))
        return CG_OK;
    cg_elem_ctx c = cg_elem_context(g, n, 0);
    if (in->n)
        reduce_map(rank, dims, mask, in->n, map);
    for (size_t k = 0; k < d->n && start; k++)
        cg_elem_put(g, d, k, d->f ? cg_elem_float(*start)
                                  : cg_elem_int((cg_dim)*start));
    for (size_t k = 0; k < in->n; k++) {
        cg_elem e = cg_elem_get(in, k);
        if (begun[map[k]])
            CG_TRY(fn(&c, cg_elem_get(d, map[k]), e, &e));
        begun[map[k]] = true;
        cg_elem_put(g, d, map[k], cg_elem_fit(c.dtype, e));
    }
    cg_out_data(n, 0, d);
    return CG_OK;
}

cg_err cg_fold_reduce_sum(cg_graph *g, cg_node *n)
{
    static const double zero = 0;
    return fold_reduce(g, n, cg_elem_add, &zero);
}
cg_err cg_fold_reduce_prod(cg_graph *g, cg_node *n)
{
    static const double one = 1;
    return fold_reduce(g, n, cg_elem_mul, &one);
}
cg_err cg_fold_reduce_max(cg_graph *g, cg_node *n)
{
    return fold_reduce(g, n, cg_elem_max, NULL);
}
cg_err cg_fold_reduce_min(cg_graph *g, cg_node *n)
{
    return fold_reduce(g, n, cg_elem_min, NULL);
}

cg_err cg_fold_cumsum(cg_graph *g, cg_node *n)
{
    int64_t dims[CG_MAX_RANK], stride[CG_MAX_RANK];
    const cg_data *in = cg_numbers_in(n, 0) ? cg_small_in(n, 0, dims) : NULL;
    const cg_data *axis = cg_in_data(n, 1);
    int rank = cg_in_type(n, 0).rank, a;
    if (!in || !axis || axis->n != 1 || !axis->i || axis->f || rank < 1 ||
        !cg_dim_known(axis->i[0]))
        return CG_OK;
    CG_TRY(cg_axis(n, axis->i[0], rank, &a));
    cg_data *d = cg_numbers_out(g, n);
    if (!d || d->n != in->n)
        return CG_OK;
    cg_row_strides(rank, dims, stride);
    bool exclusive = cg_attr_int(n, "exclusive", 0) != 0;
    bool reverse = cg_attr_int(n, "reverse", 0) != 0;
    cg_elem_ctx c = cg_elem_context(g, n, 0);
    cg_elem zero = c.is_float ? cg_elem_float(0) : cg_elem_int(0);
    for (size_t j = 0; j < in->n; j++) {
        /* Neighbours along the axis are `stride` apart; walk its way. */
        size_t k = reverse ? in->n - 1 - j : j;
        int64_t at = (int64_t)k / stride[a] % dims[a];
        bool first = at == (reverse ? dims[a] - 1 : 0);
        size_t prev = (size_t)((int64_t)k + (reverse ? stride[a] : -stride[a]));
        cg_elem e = cg_elem_get(in, exclusive && !first ? prev : k);
        if (first)
            e = exclusive ? zero : e;
        else
            CG_TRY(cg_elem_add(&c, cg_elem_get(d, prev), e, &e));
        cg_elem_put(g, d, k, cg_elem_fit(c.dtype, e));
    }
    cg_out_data(n, 0, d);
    return CG_OK;
}
