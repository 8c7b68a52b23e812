/* First step of simplify: operators that stand for several atomic ones.
 *
 * Attention, in all its spellings, becomes MatMul, Softmax, MatMul (with the
 * projection, the cache's Concat and the mask's Add where the operator has
 * them); Gemm and MatMulNBits become MatMul. New nodes are appended and the
 * region is sorted once at the end. */
#include <string.h>

#include "passes/simplify.h"

typedef struct expander {
    cg_graph *g;
    cg_node *n; /* being expanded */
    bool appended;
} expander;

static cg_operand whole(cg_value *v) { return (cg_operand){.v = v}; }

static cg_operand seen_as(expander *e, cg_value *v, cg_type t)
{
    return (cg_operand){v, cg_arena_dup(&e->g->arena, &t, sizeof t)};
}

static cg_type tensor(expander *e, int dtype, int channel, int rank,
                      const cg_dim *dims)
{
    cg_type t = cg_type_tensor(e->g, dtype, rank, dims);
    t.channel = (int8_t)channel;
    return t;
}

/* A new node; its output is `out`, taken from the expanded node, or fresh. */
static cg_value *emit(expander *e, cg_op op, const cg_operand *in, size_t n_in,
                      cg_type type, cg_value *out)
{
    cg_node *n = cg_node_bare(e->g, e->n->region, op, n_in, 1);
    n->name = e->n->name;
    memcpy(n->in, in, n_in * sizeof *in);
    if (out) {
        out->def = n;
        out->out = 0;
        n->out[0] = out;
    }
    if (!out || out->type.rank < 0)
        n->out[0]->type = type;
    e->appended = true;
    return n->out[0];
}

/* -- attention ---------------------------------------------------------- */

typedef struct heads {
    cg_dim batch, q_heads, kv_heads, lq, lk, d, dv;
    int dtype;
    cg_operand q, k, v; /* as 4-d views (batch, heads, length, size) */
    cg_value *mask;     /* added to the scores, or NULL */
} heads;

static cg_type head_type(expander *e, const heads *h, cg_dim n, cg_dim len,
                         cg_dim size)
{
    return tensor(e, h->dtype, 3, 4, (cg_dim[]){h->batch, n, len, size});
}

/* K and V as all query heads see them, K transposed. */
static void attend(expander *e, const heads *h, cg_value *out)
{
    cg_type kt = tensor(e, h->dtype, 2, 4,
                        (cg_dim[]){h->batch, h->q_heads, h->d, h->lk});
    cg_type score = head_type(e, h, h->q_heads, h->lq, h->lk);
    cg_operand in[2] = {h->q, seen_as(e, h->k.v, kt)};
    cg_value *s = emit(e, CG_OP_MATMUL, in, 2, score, NULL);
    if (h->mask) {
        cg_operand add[2] = {whole(s), whole(h->mask)};
        s = emit(e, CG_OP_ADD, add, 2, score, NULL);
    }
    cg_operand scores = whole(s);
    s = emit(e, CG_OP_SOFTMAX, &scores, 1, score, NULL);
    cg_attr_set_int(e->g, s->def, "axis", -1);
    cg_type v = head_type(e, h, h->q_heads, h->lk, h->dv);
    cg_operand av[2] = {whole(s), seen_as(e, h->v.v, v)};
    cg_type heads_out = head_type(e, h, h->q_heads, h->lq, h->dv);
    if (out->type.rank != 3) {
        emit(e, CG_OP_MATMUL, av, 2, heads_out, out);
        return;
    }
    /* side by side again, as an unfused export writes it */
    s = emit(e, CG_OP_MATMUL, av, 2, heads_out, NULL);
    cg_operand by_head = whole(s);
    s = emit(e, CG_OP_TRANSPOSE, &by_head, 1,
             tensor(e, h->dtype, 3, 4,
                    (cg_dim[]){h->batch, h->lq, h->q_heads, h->dv}), NULL);
    cg_attr_set_ints(e->g, s->def, "perm", (int64_t[]){0, 2, 1, 3}, 4);
    cg_operand flat[2] = {whole(s),
                          whole(cg_value_ints(e->g, NULL, out->type.dims, 3))};
    emit(e, CG_OP_RESHAPE, flat, 2, out->type, out);
}

/* past + new along the length; `out` is the present cache, or NULL. */
static cg_operand append_past(expander *e, const heads *h, cg_operand fresh,
                              cg_value *past, cg_value *out, cg_dim size)
{
    cg_type t = head_type(e, h, h->kv_heads, h->lk, size);
    if (!past) {
        if (out)
            emit(e, CG_OP_IDENTITY, &fresh, 1, t, out);
        return fresh;
    }
    cg_operand in[2] = {whole(past), fresh};
    cg_value *v = emit(e, CG_OP_CONCAT, in, 2, t, out);
    cg_attr_set_int(e->g, v->def, "axis", 2);
    return seen_as(e, v, t);
}

static cg_value *out_at(const cg_node *n, uint32_t k)
{
    return k < n->n_out ? n->out[k] : NULL;
}

static cg_dim divided(expander *e, cg_dim a, cg_dim b)
{
    cg_dim q;
    if (b != 0 && cg_dim_divides(e->g, a, b, &q))
        return q;
    return cg_dim_unknown(e->g, e->n, "size of a head");
}

/* Length with the cache: of the present output, of past + new, or new. */
static cg_dim total_length(expander *e, uint32_t present, size_t past,
                           cg_dim fresh)
{
    cg_value *v = out_at(e->n, present);
    if (v && v->type.rank >= 2)
        return v->type.dims[v->type.rank - 2];
    cg_type p = cg_in_type(e->n, past);
    return p.rank >= 2 ? cg_dim_add(e->g, p.dims[p.rank - 2], fresh) : fresh;
}

static void finish_attention(expander *e, heads *h, cg_dim fresh, size_t past,
                             uint32_t present)
{
    h->lk = total_length(e, present, past, fresh);
    h->k = append_past(e, h, h->k, cg_in(e->n, past), out_at(e->n, present),
                       h->d);
    h->v = append_past(e, h, h->v, cg_in(e->n, past + 1),
                       out_at(e->n, present + 1), h->dv);
    attend(e, h, e->n->out[0]);
    e->n->dead = true;
}

/* ai.onnx Attention and FlexAttention: 3-d with head counts as attributes, or
 * 4-d. */
static bool expand_attention(expander *e)
{
    cg_node *n = e->n;
    cg_type q = cg_in_type(n, 0), k = cg_in_type(n, 1), v = cg_in_type(n, 2);
    if (q.rank != k.rank || q.rank != v.rank ||
        (q.rank != 3 && q.rank != 4) || !n->out[0] || out_at(n, 3))
        return false; /* a network that reads the scores keeps the operator */
    heads h = {.dtype = q.dtype, .batch = q.dims[0]};
    bool flat = q.rank == 3;
    h.q_heads = flat ? cg_attr_int(n, "q_num_heads", 0) : q.dims[1];
    h.kv_heads = flat ? cg_attr_int(n, "kv_num_heads", 0) : k.dims[1];
    if (h.q_heads == 0 || h.kv_heads == 0)
        return false;
    h.lq = q.dims[flat ? 1 : 2];
    cg_dim fresh = k.dims[flat ? 1 : 2];
    h.d = flat ? divided(e, q.dims[2], h.q_heads) : q.dims[3];
    h.dv = flat ? divided(e, v.dims[2], h.kv_heads) : v.dims[3];
    h.q = seen_as(e, cg_in(n, 0), head_type(e, &h, h.q_heads, h.lq, h.d));
    h.k = seen_as(e, cg_in(n, 1), head_type(e, &h, h.kv_heads, fresh, h.d));
    h.v = seen_as(e, cg_in(n, 2), head_type(e, &h, h.kv_heads, fresh, h.dv));
    h.mask = cg_in(n, 3);
    finish_attention(e, &h, fresh, 4, 1);
    return true;
}

/* Part of a bias that several projections share, as a constant of its own. */
static cg_operand biased(expander *e, cg_operand x, cg_type t, cg_value *bias,
                         cg_dim size)
{
    if (!bias || bias->role != CG_ROLE_CONST)
        return x;
    cg_value *part = cg_value_const(
        e->g, NULL, cg_type_tensor(e->g, t.dtype, 1, &size), NULL);
    part->is_weight = bias->is_weight;
    cg_operand in[2] = {x, whole(part)};
    return whole(emit(e, CG_OP_ADD, in, 2, t, NULL));
}

/* com.microsoft MultiHeadAttention: key and value may be packed into the
 * query (B, L, H, 3, d), into the key (B, L, H, 2, d), or be a cache
 * (B, H, L, d). */
static bool expand_multi_head(expander *e)
{
    cg_node *n = e->n;
    cg_type q = cg_in_type(n, 0), k = cg_in_type(n, 1), v = cg_in_type(n, 2);
    heads h = {.dtype = q.dtype, .q_heads = cg_attr_int(n, "num_heads", 0)};
    h.kv_heads = h.q_heads;
    if (q.rank < 3 || h.q_heads <= 0 || !n->out[0] || out_at(n, 3))
        return false;
    h.batch = q.dims[0];
    h.lq = q.dims[1];
    cg_value *kv = cg_in(n, 1) ? cg_in(n, 1) : cg_in(n, 0);
    cg_value *vv = cg_in(n, 2) ? cg_in(n, 2) : kv;
    h.d = q.rank == 5 ? q.dims[4] : divided(e, q.dims[2], h.q_heads);
    cg_dim fresh = k.rank < 0 ? h.lq : k.dims[k.rank == 4 ? 2 : 1];
    h.dv = v.rank == 3   ? divided(e, v.dims[2], h.q_heads)
           : v.rank == 4 ? v.dims[3]
                         : h.d;
    cg_operand parts[3] = {whole(cg_in(n, 0)), whole(kv), whole(vv)};
    cg_type types[3] = {q, k, v};
    cg_value *bias = cg_in(n, 3);
    for (int i = 0; i < 3 && bias; i++)
        if (types[i].rank == 3)
            parts[i] = biased(e, parts[i], types[i], bias, types[i].dims[2]);
    h.q = seen_as(e, parts[0].v, head_type(e, &h, h.q_heads, h.lq, h.d));
    h.k = seen_as(e, parts[1].v, head_type(e, &h, h.q_heads, fresh, h.d));
    h.v = seen_as(e, parts[2].v, head_type(e, &h, h.q_heads, fresh, h.dv));
    h.mask = cg_in(n, 5);
    finish_attention(e, &h, fresh, 6, 1);
    return true;
}

static cg_operand rotated(expander *e, const heads *h, cg_operand x, cg_dim n,
                          cg_dim len)
{
    cg_value *cos = cg_in(e->n, 7), *sin = cg_in(e->n, 8);
    if (!cg_attr_int(e->n, "do_rotary", 0) || !cos || !sin)
        return x;
    cg_type t = head_type(e, h, n, len, h->d);
    cg_operand in[3] = {x, whole(cos), whole(sin)};
    return seen_as(e, emit(e, CG_OP_ROTARY_EMBEDDING, in, 3, t, NULL), t);
}

/* com.microsoft GroupQueryAttention: fewer key heads than query heads; keys
 * and values may be packed behind the query. */
static bool expand_group_query(expander *e)
{
    cg_node *n = e->n;
    cg_type q = cg_in_type(n, 0), k = cg_in_type(n, 1);
    heads h = {.dtype = q.dtype, .q_heads = cg_attr_int(n, "num_heads", 0),
               .kv_heads = cg_attr_int(n, "kv_num_heads", 0)};
    if (q.rank != 3 || h.q_heads <= 0 || h.kv_heads <= 0 || !n->out[0])
        return false;
    h.batch = q.dims[0];
    h.lq = q.dims[1];
    bool packed = k.rank != 3;
    cg_dim all = packed ? cg_dim_add(e->g, h.q_heads,
                                     cg_dim_mul(e->g, 2, h.kv_heads))
                        : h.q_heads;
    h.d = h.dv = divided(e, q.dims[2], all);
    cg_dim fresh = packed ? h.lq : k.dims[1];
    cg_value *kv = packed ? cg_in(n, 0) : cg_in(n, 1);
    cg_value *vv = cg_in(n, 2) ? cg_in(n, 2) : kv;
    h.q = seen_as(e, cg_in(n, 0), head_type(e, &h, h.q_heads, h.lq, h.d));
    h.k = seen_as(e, kv, head_type(e, &h, h.kv_heads, fresh, h.d));
    h.v = seen_as(e, vv, head_type(e, &h, h.kv_heads, fresh, h.d));
    h.q = rotated(e, &h, h.q, h.q_heads, h.lq);
    h.k = rotated(e, &h, h.k, h.kv_heads, fresh);
    h.mask = cg_in(n, 10);
    finish_attention(e, &h, fresh, 3, 1);
    return true;
}

/* Part of a packed constant: its last dim is `size`. NULL stays NULL. */
static cg_value *part_of(expander *e, const cg_value *packed, cg_dim size)
{
    if (!packed)
        return NULL;
    cg_dim dims[CG_MAX_RANK];
    int rank = packed->type.rank;
    memcpy(dims, packed->type.dims, sizeof *dims * (size_t)rank);
    dims[rank - 1] = size;
    cg_value *v = cg_value_const(
        e->g, packed->name, tensor(e, packed->type.dtype, -1, rank, dims),
        NULL);
    v->is_weight = packed->is_weight;
    return v;
}

/* One of the three projections that were fused. */
static cg_operand project(expander *e, const heads *h, cg_dim size)
{
    cg_node *n = e->n;
    cg_dim width = cg_dim_mul(e->g, size, h->q_heads);
    cg_operand in[3] = {n->in[0], whole(part_of(e, cg_in(n, 1), width)),
                        whole(part_of(e, cg_in(n, 2), width))};
    cg_type t = tensor(e, h->dtype, 2, 3,
                       (cg_dim[]){h->batch, h->lq, width});
    cg_value *v = emit(e, CG_OP_MATMUL, in, in[2].v ? 3 : 2, t, NULL);
    return seen_as(e, v, head_type(e, h, h->q_heads, h->lq, size));
}

static bool known_matrix(const cg_node *n, size_t k, int rank)
{
    const cg_value *v = cg_in(n, k);
    return v && v->role == CG_ROLE_CONST && v->type.rank == rank;
}

/* com.microsoft Attention: onnxruntime's and onnxsim's fusers make it from
 * three projections and the attention behind them, and so it is taken apart
 * again. */
static bool expand_packed(expander *e)
{
    cg_node *n = e->n;
    cg_type x = cg_in_type(n, 0), w = cg_in_type(n, 1);
    heads h = {.dtype = x.dtype, .q_heads = cg_attr_int(n, "num_heads", 0)};
    if (x.rank != 3 || !known_matrix(n, 1, 2) || h.q_heads <= 0 ||
        (cg_in(n, 2) && !known_matrix(n, 2, 1)) || !n->out[0])
        return false;
    size_t n_sizes;
    const int64_t *sizes = cg_attr_ints(n, "qkv_hidden_sizes", &n_sizes);
    h.kv_heads = h.q_heads;
    h.batch = x.dims[0];
    h.lq = x.dims[1];
    cg_dim third = divided(e, w.dims[1], 3);
    h.d = divided(e, n_sizes == 3 ? sizes[0] : third, h.q_heads);
    h.dv = divided(e, n_sizes == 3 ? sizes[2] : third, h.q_heads);
    h.q = project(e, &h, h.d);
    h.k = project(e, &h, h.d);
    h.v = project(e, &h, h.dv);
    h.mask = cg_in(n, 5);
    cg_value *past = cg_in(n, 4), *present = out_at(n, 1);
    h.lk = total_length(e, 1, 4, h.lq);
    if (past || present) {
        cg_operand kv = append_past(e, &h, h.k, past, present, h.d);
        if (past)
            h.k.v = h.v.v = kv.v;
    }
    attend(e, &h, n->out[0]);
    n->dead = true;
    return true;
}

/* -- Gemm, MatMulNBits -------------------------------------------------- */

/* An operand with its last two axes exchanged, instead of transA, transB. */
static cg_operand untransposed(expander *e, cg_node *n, size_t k,
                               const char *name)
{
    cg_operand o = n->in[k];
    cg_type t = cg_in_type(n, k);
    if (!cg_attr_int(n, name, 0) || t.rank < 2)
        return o;
    cg_rewrite rw = {.g = e->g};
    cg_type swapped = cg_rw_swapped(&rw, t);
    return seen_as(e, o.v, swapped);
}

static bool expand_matmul(expander *e)
{
    cg_node *n = e->n;
    for (size_t k = 0; k < 2; k++) {
        const char *name = k ? "transB" : "transA";
        n->in[k] = untransposed(e, n, k, name);
        if (cg_in_type(n, k).rank >= 2)
            cg_attr_remove(n, name);
    }
    cg_attr_remove(n, "alpha");
    return true;
}

/* C as long as the rows is a bias; any other C is an Add of its own. */
static bool is_bias(const cg_node *n)
{
    cg_type b = cg_in_type(n, 1), c = cg_in_type(n, 2);
    if (b.rank != 2 || c.rank < 1 || n->in[2].v->role != CG_ROLE_CONST)
        return false;
    for (int i = 0; i + 1 < c.rank; i++)
        if (c.dims[i] != 1)
            return false;
    return c.dims[c.rank - 1] == b.dims[1];
}

static bool expand_gemm(expander *e)
{
    cg_node *n = e->n;
    double beta = cg_attr_float(n, "beta", 1);
    expand_matmul(e);
    cg_attr_remove(n, "beta");
    n->op = CG_OP_MATMUL;
    if (!cg_in(n, 2) || beta == 0) {
        n->n_in = 2;
    } else if (!is_bias(n) && n->out[0]) {
        cg_value *y = n->out[0];
        cg_value *product = emit(e, CG_OP_MATMUL, n->in, 2, y->type, NULL);
        product->def->name = n->name;
        n->op = CG_OP_ADD;
        n->in[0] = whole(product);
        n->in[1] = n->in[2];
        n->n_in = 2;
    }
    return true;
}

/* The packed weight is a constant of K x N elements of its input's type. */
static bool expand_nbits(expander *e)
{
    cg_node *n = e->n;
    cg_dim dims[2] = {cg_attr_int(n, "K", 0), cg_attr_int(n, "N", 0)};
    cg_value *packed = cg_in(n, 1);
    if (!packed || packed->role != CG_ROLE_CONST || dims[0] <= 0 ||
        dims[1] <= 0)
        return false;
    cg_value *w = cg_value_const(
        e->g, NULL, cg_type_tensor(e->g, cg_in_type(n, 0).dtype, 2, dims),
        NULL);
    w->is_weight = true;
    n->in[1] = whole(w);
    n->in[2] = n->n_in > 5 ? n->in[5] : whole(NULL);
    n->n_in = n->in[2].v ? 3 : 2;
    n->n_attr = 0;
    n->op = CG_OP_MATMUL;
    return true;
}

/* -- the walk ----------------------------------------------------------- */

static bool (*const expansions[CG_OP_COUNT])(expander *e) = {
    [CG_OP_ATTENTION] = expand_attention,
    [CG_OP_FLEX_ATTENTION] = expand_attention,
    [CG_OP_MULTI_HEAD_ATTENTION] = expand_multi_head,
    [CG_OP_GROUP_QUERY_ATTENTION] = expand_group_query,
    [CG_OP_PACKED_ATTENTION] = expand_packed,
    [CG_OP_GEMM] = expand_gemm,
    [CG_OP_MATMUL] = expand_matmul,
    [CG_OP_MATMUL_NBITS] = expand_nbits,
};

static cg_err expand_region(cg_graph *g, cg_region *r)
{
    expander e = {.g = g};
    size_t n_nodes = r->nodes.len; /* not what is appended */
    for (size_t i = 0; i < n_nodes; i++) {
        e.n = r->nodes.data[i];
        if (expansions[e.n->op] && !e.n->dead)
            expansions[e.n->op](&e);
    }
    return e.appended ? cg_region_sort(g, r) : CG_OK;
}

cg_err cg_simplify_expand(cg_graph *g)
{
    for (size_t i = 0; i < g->regions.len; i++)
        CG_TRY(expand_region(g, g->regions.data[i]));
    return CG_OK;
}
