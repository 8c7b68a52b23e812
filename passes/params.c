/* Parameters of a graph: the elements of the constants its nodes read, each
 * constant once.
 *
 * Where a constant was computed from others (a transposed, normalised or
 * concatenated weight), those are the parameters. Settings are none: shapes,
 * scales, bounds, running statistics, the states that recurrent nets start
 * from (zeros, which some exporters write out). A constant beside data counts when it
 * is an initializer of more than one element; in a weight's place it counts
 * always. */
#include "passes/params.h"

typedef struct slots {
    uint32_t weight, setting; /* bit k: operand k; bit 31: all from 31 on */
} slots;

/* Operands that are not plain data. */
static const slots table[CG_OP_COUNT] = {
    [CG_OP_CONV] = {0x6, 0},
    [CG_OP_DEPTHWISE] = {0x6, 0},
    [CG_OP_CONV_TRANSPOSE] = {0x6, 0},
    [CG_OP_DEFORM_CONV] = {0xa, 0},
    [CG_OP_CAUSAL_CONV] = {0x6, 0},
    [CG_OP_MATMUL] = {0x7, 0},
    [CG_OP_GEMM] = {0x7, 0},
    [CG_OP_MATMUL_NBITS] = {0x22, 0x1c},
    [CG_OP_EINSUM] = {0xffffffff, 0},
    [CG_OP_PACKED_ATTENTION] = {0x6, 0},
    [CG_OP_MULTI_HEAD_ATTENTION] = {0x8, 0},
    [CG_OP_GROUP_QUERY_ATTENTION] = {0, 0x1e0},
    [CG_OP_EMBEDDING] = {0x1, 0x2},
    [CG_OP_LSTM] = {0x8e, 0x70},
    [CG_OP_GRU] = {0xe, 0x30},
    [CG_OP_RNN] = {0xe, 0x30},
    [CG_OP_BATCHNORM] = {0x6, 0x18},
    [CG_OP_GROUPNORM] = {0x6, 0},
    [CG_OP_LAYERNORM] = {0x6, 0},
    [CG_OP_RMSNORM] = {0x2, 0},
    [CG_OP_PRELU] = {0x2, 0},
    [CG_OP_ROTARY_EMBEDDING] = {0, 0x1e},
    [CG_OP_CLIP] = {0, 0x6},
    [CG_OP_POW] = {0, 0x2},
    [CG_OP_CUM_SUM] = {0, 0x2},
    [CG_OP_CUM_PROD] = {0, 0x2},
    [CG_OP_RESHAPE] = {0, 0x2},
    [CG_OP_EXPAND] = {0, 0x2},
    [CG_OP_TILE] = {0, 0x2},
    [CG_OP_SLICE] = {0, 0x1e},
    [CG_OP_PAD] = {0, 0xe},
    [CG_OP_RESIZE] = {0, 0xe},
    [CG_OP_ONE_HOT] = {0, 0x6},
    [CG_OP_NON_MAX_SUPPRESSION] = {0, 0x1c},
    [CG_OP_QUANTIZE_LINEAR] = {0, 0x6},
    [CG_OP_DEQUANTIZE_LINEAR] = {0, 0x6},
    [CG_OP_CENTER_CROP_PAD] = {0, 0x2},
    [CG_OP_TRILU] = {0, 0x2},
    [CG_OP_DFT] = {0, 0x6},
    [CG_OP_STFT] = {0, 0xe},
};

static cg_slot slot_in(const slots *s, size_t k)
{
    uint32_t bit = UINT32_C(1) << (k < 31 ? k : 31);
    return s->weight & bit    ? CG_SLOT_WEIGHT
           : s->setting & bit ? CG_SLOT_SETTING
                              : CG_SLOT_DATA;
}

cg_slot cg_param_slot(cg_op op, size_t k)
{
    return slot_in(&table[op], k);
}

/* -- counting ----------------------------------------------------------- */

typedef struct counter {
    cg_graph *g;
    uint8_t *seen;  /* value id -> its sources are taken */
    uint8_t *taken; /* value id -> counted already */
    CG_ARRAY(const cg_value *) stack;
} counter;

static bool is_float(const cg_value *v)
{
    return cg_dtype_kind_of(v->type.dtype) == CG_DTYPE_FLOAT;
}

/* A number without axes belongs to a formula rather than to the network; a
 * learned factor has the shape (1). */
static bool single(const cg_value *v) { return v->type.rank == 0; }

static cg_dim take(counter *c, const cg_value *v)
{
    bool ok;
    if (c->taken[v->id])
        return 0;
    c->taken[v->id] = 1;
    cg_dim n = cg_type_count(c->g, &v->type, &ok);
    return ok ? n : 0;
}

/* Takes the sources of a computed constant: float initializers below it. What
 * was looked at once has given all it has. */
static cg_dim take_sources(counter *c, const cg_value *v)
{
    cg_dim sum = 0;
    c->stack.len = 0;
    cg_array_push(&c->stack, v);
    while (c->stack.len) {
        const cg_value *x = c->stack.data[--c->stack.len];
        if (x->role != CG_ROLE_CONST || c->seen[x->id])
            continue;
        c->seen[x->id] = 1;
        if (!x->made_by) {
            if (x->is_weight && is_float(x) && !single(x))
                sum = cg_dim_add(c->g, sum, take(c, x));
            continue;
        }
        const slots *s = &table[x->made_by->op];
        for (uint32_t k = 0; k < x->made_by->n_in; k++)
            if (x->made_by->in[k].v && slot_in(s, k) != CG_SLOT_SETTING)
                cg_array_push(&c->stack, x->made_by->in[k].v);
    }
    return sum;
}

static cg_dim constant(counter *c, const cg_value *v, cg_slot slot)
{
    if (v->made_by && v->is_weight)
        return take_sources(c, v);
    if (slot == CG_SLOT_WEIGHT || (v->is_weight && is_float(v) && !single(v)))
        return take(c, v);
    return 0;
}

static void count_node(counter *c, cg_node *n)
{
    const slots *s = &table[n->op];
    n->params = 0;
    for (uint32_t k = 0; k < n->n_in; k++) {
        cg_slot slot = slot_in(s, k);
        if (n->in[k].v && n->in[k].v->role == CG_ROLE_CONST &&
            slot != CG_SLOT_SETTING)
            n->params = cg_dim_add(c->g, n->params,
                                   constant(c, n->in[k].v, slot));
    }
}

/* Bodies of a node are counted before it and belong to it. Depth is bounded
 * by the validator. */
static cg_dim count_region(counter *c, cg_region *r)
{
    cg_dim sum = 0;
    for (size_t i = 0; i < r->nodes.len; i++) {
        cg_node *n = r->nodes.data[i];
        count_node(c, n);
        for (int a = 0; a < n->n_attr; a++)
            if (n->attr[a].kind == CG_ATTR_REGION)
                n->params = cg_dim_add(
                    c->g, n->params, count_region(c, n->attr[a].region));
        sum = cg_dim_add(c->g, sum, n->params);
    }
    return sum;
}

void cg_count_params(cg_graph *g)
{
    counter c = {.g = g};
    c.seen = cg_xcalloc(g->values.len, 1);
    c.taken = cg_xcalloc(g->values.len, 1);
    g->params = count_region(&c, g->main);
    cg_xfree(c.seen);
    cg_xfree(c.taken);
    cg_array_free(&c.stack);
}
