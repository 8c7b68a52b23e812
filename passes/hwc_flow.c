/* Pass hwc, one operator at a time: seeds, and where an axis goes. */
#include <string.h>

#include "passes/hwc.h"

/* -- seeds -------------------------------------------------------------- */

typedef enum family { NONE, IMAGE, LAST, MATRIX, RESIZE, PRELU, LAYER } family;

/* Operators that know where their channel is. Attention, recurrent and matrix
 * operators have it last, those on images at axis 1. */
static const uint8_t families[CG_OP_COUNT] = {
    [CG_OP_CONV] = IMAGE,
    [CG_OP_DEPTHWISE] = IMAGE,
    [CG_OP_CONV_TRANSPOSE] = IMAGE,
    [CG_OP_DEFORM_CONV] = IMAGE,
    [CG_OP_CAUSAL_CONV] = IMAGE,
    [CG_OP_MAXPOOL] = IMAGE,
    [CG_OP_AVGPOOL] = IMAGE,
    [CG_OP_LPPOOL] = IMAGE,
    [CG_OP_GLOBAL_AVGPOOL] = IMAGE,
    [CG_OP_GLOBAL_MAXPOOL] = IMAGE,
    [CG_OP_GLOBAL_LPPOOL] = IMAGE,
    [CG_OP_MAX_UNPOOL] = IMAGE,
    [CG_OP_BATCHNORM] = IMAGE,
    [CG_OP_INSTANCENORM] = IMAGE,
    [CG_OP_GROUPNORM] = IMAGE,
    [CG_OP_LRN] = IMAGE,
    [CG_OP_DEPTH_TO_SPACE] = IMAGE,
    [CG_OP_SPACE_TO_DEPTH] = IMAGE,
    [CG_OP_GRID_SAMPLE] = IMAGE,
    [CG_OP_ROI_ALIGN] = IMAGE,
    [CG_OP_MAX_ROI_POOL] = IMAGE,
    [CG_OP_COL2IM] = IMAGE,
    [CG_OP_CROSS_ENTROPY_LOSS] = IMAGE,
    [CG_OP_NLL_LOSS] = IMAGE,
    [CG_OP_MATMUL] = MATRIX,
    [CG_OP_GEMM] = MATRIX,
    [CG_OP_MATMUL_NBITS] = MATRIX,
    [CG_OP_EINSUM] = LAST,
    [CG_OP_ATTENTION] = LAST,
    [CG_OP_MULTI_HEAD_ATTENTION] = LAST,
    [CG_OP_GROUP_QUERY_ATTENTION] = LAST,
    [CG_OP_PACKED_ATTENTION] = LAST,
    [CG_OP_LINEAR_ATTENTION] = LAST,
    [CG_OP_FLEX_ATTENTION] = LAST,
    [CG_OP_ROTARY_EMBEDDING] = LAST,
    [CG_OP_EMBEDDING] = LAST,
    [CG_OP_LSTM] = LAST,
    [CG_OP_GRU] = LAST,
    [CG_OP_RNN] = LAST,
    [CG_OP_RESIZE] = RESIZE,
    [CG_OP_PRELU] = PRELU,
    [CG_OP_LAYERNORM] = LAYER,
    [CG_OP_RMSNORM] = LAYER,
};

static int image_axis(int rank) { return rank >= 2 ? 1 : -1; }

/* The axis that is not scaled, where scales are known: 1 or the last. */
static int resize_axis(const cg_node *n, int rank)
{
    const cg_data *s = cg_in_data(n, 2);
    if (rank < 3 || !s || !s->f || (int)s->n != rank)
        return -1;
    if (s->f[1] == 1)
        return 1;
    return s->f[rank - 1] == 1 ? rank - 1 : -1;
}

/* The axis along which the slope varies: (C,1,1) is axis 1 of an image, (C)
 * the last axis of whatever it is. */
static int slope_axis(const cg_node *n, int rank)
{
    cg_type slope = cg_in_type(n, 1);
    for (int i = 0; i < slope.rank && slope.rank <= rank; i++)
        if (slope.dims[i] != 1)
            return i + rank - slope.rank;
    return -1;
}

static int layer_axis(const cg_node *n, int rank)
{
    int64_t axis = cg_attr_int(n, "axis", -1);
    return axis == -1 || axis == rank - 1 ? rank - 1 : -1;
}

static int seed(const cg_node *n, int rank)
{
    switch ((family)families[n->op]) {
    case IMAGE:
        return image_axis(rank);
    case LAST:
    case MATRIX:
        return rank - 1;
    case RESIZE:
        return resize_axis(n, rank);
    case PRELU:
        return slope_axis(n, rank);
    case LAYER:
        return layer_axis(n, rank);
    default:
        return -1;
    }
}

/* A look-up in a table of weights gives rows of features. */
static bool looks_up(const cg_node *n)
{
    const cg_value *t = cg_in(n, 0);
    return n->op == CG_OP_GATHER && t && t->role == CG_ROLE_CONST &&
           cg_dtype_kind_of(t->type.dtype) == CG_DTYPE_FLOAT &&
           t->type.rank == 2;
}

int cg_hwc_seed_out(const cg_node *n, uint32_t k)
{
    int rank = n->out[k]->type.rank;
    if (looks_up(n))
        return rank - 1;
    return k == 0 || families[n->op] == LAST ? seed(n, rank) : -1;
}

int cg_hwc_seed_in(const cg_node *n, uint32_t k)
{
    int rank = n->in[k].v->type.rank;
    if (families[n->op] == MATRIX && k == 0 && cg_attr_int(n, "transA", 0))
        return rank - 2;
    if (k == 0)
        return families[n->op] == LAST && n->op == CG_OP_EINSUM
                   ? -1
                   : seed(n, rank);
    /* keys and values */
    return families[n->op] == LAST && n->op != CG_OP_EINSUM && k < 3 &&
                   cg_op_table[n->op].class == CG_CLASS_COMPUTE
               ? rank - 1
               : -1;
}

/* -- shapes seen as products -------------------------------------------- */

/* Products of the dims before and after each boundary between axes; two
 * boundaries of a reshaped tensor are the same where either agrees. */
typedef struct bounds {
    int rank;
    cg_dim before[CG_MAX_RANK + 1], after[CG_MAX_RANK + 1];
} bounds;

static void measure(cg_graph *g, const cg_type *t, bounds *b)
{
    b->rank = t->rank;
    b->before[0] = b->after[t->rank] = 1;
    for (int i = 0; i < t->rank; i++)
        b->before[i + 1] = cg_dim_mul(g, b->before[i], t->dims[i]);
    for (int i = t->rank; i-- > 0;)
        b->after[i] = cg_dim_mul(g, b->after[i + 1], t->dims[i]);
}

static bool meet(const bounds *a, int i, const bounds *b, int j)
{
    return a->before[i] == b->before[j] || a->after[i] == b->after[j];
}

/* An axis of the same extent at the same place. */
static int same_axis(const cg_type *from, const bounds *f, int axis,
                     const cg_type *to, const bounds *t)
{
    for (int j = 0; j < to->rank; j++)
        if (to->dims[j] == from->dims[axis] && meet(f, axis, t, j) &&
            meet(f, axis + 1, t, j + 1))
            return j;
    return -1;
}

/* The axis that `axis` and neighbours were merged into. The batch does not
 * count as a neighbour unless it is 1. */
static int merged_axis(const cg_type *from, const bounds *f, int axis,
                       const cg_type *to, const bounds *t)
{
    for (int j = 0; j < to->rank; j++) {
        int start = -1, end = -1;
        for (int i = axis; i >= 0 && start < 0; i--)
            if (meet(f, i, t, j))
                start = i;
        for (int i = axis + 1; i <= from->rank && end < 0; i++)
            if (meet(f, i, t, j + 1))
                end = i;
        if (start < 0 || end < 0 || to->dims[j] == 1)
            continue;
        if (start == 0 && axis > 0 && from->dims[0] != 1)
            continue;
        return j;
    }
    return -1;
}

/* The last of the axes that `axis` was split into. */
static int split_axis(const bounds *f, int axis, const cg_type *to,
                      const bounds *t)
{
    int start = -1, end = -1;
    for (int j = 0; j <= to->rank; j++) {
        if (start < 0 && meet(f, axis, t, j))
            start = j;
        if (meet(f, axis + 1, t, j))
            end = j;
    }
    if (start < 0 || end <= start)
        return -1;
    while (end - 1 > start && to->dims[end - 1] == 1)
        end--;
    return end - 1;
}

static int reshaped_axis(cg_graph *g, const cg_type *from, int axis,
                         const cg_type *to)
{
    if (from->rank < 0 || to->rank < 1 || axis >= from->rank)
        return -1;
    bounds f, t;
    measure(g, from, &f);
    measure(g, to, &t);
    int j = same_axis(from, &f, axis, to, &t);
    if (j < 0 && from->dims[axis] != 1)
        j = merged_axis(from, &f, axis, to, &t);
    if (j < 0 && from->dims[axis] != 1)
        j = split_axis(&f, axis, to, &t);
    return j;
}

/* -- flow --------------------------------------------------------------- */

typedef struct step {
    cg_graph *g;
    const cg_node *n;
    const cg_type *from, *to;
    uint32_t k; /* the operand, in either direction */
    int axis;
    bool back;
} step;

static int flow_same(const step *s)
{
    return s->from->rank == s->to->rank && s->k == 0 ? s->axis : -1;
}

static int flow_any_same(const step *s)
{
    return s->from->rank == s->to->rank ? s->axis : -1;
}

static int flow_broadcast(const step *s)
{
    if (s->to->rank < 0 || s->from->rank < 0)
        return -1;
    int axis = s->axis + s->to->rank - s->from->rank;
    /* backwards, an operand that is broadcast along the channel does not say
     * so: it may be a mask of another layout, but of this alignment */
    return axis;
}

static int flow_transpose(const step *s)
{
    size_t len;
    const int64_t *perm = cg_attr_ints(s->n, "perm", &len);
    int rank = s->from->rank;
    if (rank != s->to->rank || (perm && len != (size_t)rank))
        return -1;
    for (int j = 0; j < rank; j++) {
        int64_t source = perm ? perm[j] : rank - 1 - j;
        if (s->back && j == s->axis)
            return (int)source;
        if (!s->back && source == s->axis)
            return j;
    }
    return -1;
}

static int flow_reshape(const step *s)
{
    return s->k == 0 ? reshaped_axis(s->g, s->from, s->axis, s->to) : -1;
}

/* Axes that go, of the operand: by attribute or by input 1. */
static bool removed_axes(const cg_node *n, int rank, bool gone[CG_MAX_RANK])
{
    const cg_data *d = cg_in_data(n, 1);
    memset(gone, 0, CG_MAX_RANK * sizeof *gone);
    if (cg_op_table[n->op].class == CG_CLASS_REDUCE &&
        cg_attr_find(n, "axis")) {
        int64_t axis = cg_attr_int(n, "axis", 0);
        axis += axis < 0 ? rank : 0;
        if (axis >= 0 && axis < rank)
            gone[axis] = true;
        return true;
    }
    if (!d || !d->i)
        return false;
    for (size_t i = 0; i < d->n; i++) {
        if (!cg_dim_known(d->i[i]) || d->i[i] < -rank || d->i[i] >= rank)
            return false;
        gone[d->i[i] < 0 ? d->i[i] + rank : d->i[i]] = true;
    }
    return true;
}

static int flow_reduce(const step *s)
{
    const cg_type *in = s->back ? s->to : s->from;
    const cg_type *out = s->back ? s->from : s->to;
    bool gone[CG_MAX_RANK];
    if (s->k != 0 || in->rank < 0 || out->rank < 0)
        return -1;
    if (in->rank == out->rank)
        return s->axis;
    if (!removed_axes(s->n, in->rank, gone))
        return -1;
    for (int i = 0, j = 0; i < in->rank; i++) {
        if (gone[i])
            continue;
        if (s->back ? j == s->axis : i == s->axis)
            return s->back ? i : j;
        j++;
    }
    return -1;
}

/* data[.., indices, ..] at one axis: the axes behind it shift. */
static int flow_gather(const step *s)
{
    const cg_type *in = s->back ? s->to : s->from;
    int shift = (s->back ? s->from->rank : s->to->rank) - in->rank;
    if (s->k != 0 || in->rank < 0)
        return -1;
    int64_t axis = cg_attr_int(s->n, "axis", 0);
    axis += axis < 0 ? in->rank : 0;
    if (s->axis < axis)
        return s->axis;
    if (s->back)
        return s->axis - shift > axis ? s->axis - shift : -1;
    if (s->axis == axis)
        return shift == 0 ? s->axis : -1;
    return s->axis + shift;
}

typedef int flow_fn(const step *s);

/* By class, then exceptions by operator. */
static flow_fn *const by_class[] = {
    [CG_CLASS_NORM] = flow_same,
    [CG_CLASS_ACTIVATION] = flow_same,
    [CG_CLASS_UNARY] = flow_same,
    [CG_CLASS_ELEMENTWISE] = flow_broadcast,
    [CG_CLASS_POOL] = flow_same,
    [CG_CLASS_REDUCE] = flow_reduce,
    [CG_CLASS_MOVE] = flow_same,
    [CG_CLASS_JOIN] = flow_any_same,
    [CG_CLASS_SAMPLE] = flow_same,
    [CG_CLASS_OTHER] = NULL,
};

static flow_fn *const by_op[CG_OP_COUNT] = {
    [CG_OP_IDENTITY] = flow_same,
    [CG_OP_MEAN] = flow_reduce,
    [CG_OP_RESHAPE] = flow_reshape,
    [CG_OP_FLATTEN] = flow_reshape,
    [CG_OP_SQUEEZE] = flow_reshape,
    [CG_OP_UNSQUEEZE] = flow_reshape,
    [CG_OP_TRANSPOSE] = flow_transpose,
    [CG_OP_EXPAND] = flow_broadcast,
    [CG_OP_GATHER] = flow_gather,
    [CG_OP_GATHER_ELEMENTS] = flow_same,
    [CG_OP_SCATTER_ELEMENTS] = flow_any_same,
    [CG_OP_SCATTER_ND] = flow_same,
    [CG_OP_TENSOR_SCATTER] = flow_same,
    [CG_OP_RANDOM_LIKE] = flow_same,
};

static int flow(const step *s)
{
    int class = cg_op_table[s->n->op].class;
    flow_fn *fn = by_op[s->n->op];
    if (!fn && class < (int)(sizeof by_class / sizeof by_class[0]))
        fn = by_class[class];
    int axis = fn ? fn(s) : -1;
    return axis >= 0 && axis < s->to->rank ? axis : -1;
}

int cg_hwc_forward(cg_graph *g, const cg_node *n, uint32_t k, uint32_t i,
                   int axis)
{
    step s = {g, n, &n->in[k].v->type, &n->out[i]->type, k, axis, false};
    return flow(&s);
}

int cg_hwc_backward(cg_graph *g, const cg_node *n, uint32_t k, uint32_t i,
                    int axis)
{
    step s = {g, n, &n->out[i]->type, &n->in[k].v->type, k, axis, true};
    return flow(&s);
}
