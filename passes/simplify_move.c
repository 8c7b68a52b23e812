/* The last steps of simplify: data movement goes, sums become n-ary.
 *
 * A movement operator's readers read its input and keep the type they saw as
 * their operand's view, so costs and HWC do not change. Padding, triangular
 * masks and overlapping folds make new numbers: they stay. */
#include <string.h>

#include "passes/simplify.h"

static bool constant_from(cg_rewrite *rw, const cg_node *n, uint32_t k)
{
    for (; k < n->n_in; k++)
        if (n->in[k].v && !cg_rw_const(rw, cg_rw_in(rw, n, k)))
            return false;
    return true;
}

static bool drop(cg_rewrite *rw, cg_node *n, size_t k)
{
    cg_operand x = cg_rw_in(rw, n, k);
    if (!x.v)
        return false;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i])
            cg_rw_alias(rw, n->out[i], x.v);
    cg_rw_kill(rw, n);
    return true;
}

static bool drop_moves(cg_rewrite *rw, cg_node *n)
{
    return drop(rw, n, 0);
}

/* By data, which elements move where is a result of the network. */
static bool drop_fixed(cg_rewrite *rw, cg_node *n)
{
    return constant_from(rw, n, 1) && drop(rw, n, 0);
}

/* data[indices] = updates with constant indices is movement where one of the
 * two is a constant; with both from the network it joins them. */
static bool drop_scatter(cg_rewrite *rw, cg_node *n)
{
    if (!cg_rw_const(rw, cg_rw_in(rw, n, 1)) ||
        strcmp(cg_attr_string(n, "reduction", "none"), "none") != 0)
        return false;
    if (cg_rw_const(rw, cg_rw_in(rw, n, 0)))
        return drop(rw, n, 2);
    return cg_rw_const(rw, cg_rw_in(rw, n, 2)) && drop(rw, n, 0);
}

static bool drop_element(cg_rewrite *rw, cg_node *n)
{
    cg_node *split = cg_rw_def(rw, cg_rw_in(rw, n, 0),
                               CG_OP_SPLIT_TO_SEQUENCE);
    if (!split || !n->out[0] || !constant_from(rw, n, 1))
        return false;
    cg_rw_alias(rw, n->out[0], cg_rw_in(rw, split, 0).v);
    cg_rw_kill(rw, n);
    return true;
}

static bool (*const movers[CG_OP_COUNT])(cg_rewrite *rw, cg_node *n) = {
    [CG_OP_RESHAPE] = drop_moves,
    [CG_OP_FLATTEN] = drop_moves,
    [CG_OP_SQUEEZE] = drop_moves,
    [CG_OP_UNSQUEEZE] = drop_moves,
    [CG_OP_TRANSPOSE] = drop_moves,
    [CG_OP_EXPAND] = drop_moves,
    [CG_OP_TILE] = drop_moves,
    [CG_OP_SLICE] = drop_moves,
    [CG_OP_SPLIT] = drop_moves,
    [CG_OP_BIT_CAST] = drop_moves,
    [CG_OP_CROP] = drop_moves,
    [CG_OP_DEPTH_TO_SPACE] = drop_moves,
    [CG_OP_SPACE_TO_DEPTH] = drop_moves,
    [CG_OP_REVERSE_SEQUENCE] = drop_fixed,
    [CG_OP_GATHER] = drop_fixed,
    [CG_OP_GATHER_ELEMENTS] = drop_fixed,
    [CG_OP_GATHER_ND] = drop_fixed,
    [CG_OP_COMPRESS] = drop_fixed,
    [CG_OP_SCATTER_ELEMENTS] = drop_scatter,
    [CG_OP_SCATTER_ND] = drop_scatter,
    [CG_OP_SEQUENCE_AT] = drop_element,
};

bool cg_simplify_move(cg_rewrite *rw, cg_node *n)
{
    return movers[n->op] && movers[n->op](rw, n);
}

bool cg_has_moves(const cg_graph *g)
{
    for (size_t i = 0; i < g->nodes.len; i++)
        if (!g->nodes.data[i]->dead && movers[g->nodes.data[i]->op])
            return true;
    return false;
}

/* -- sums --------------------------------------------------------------- */

typedef CG_ARRAY(cg_operand) operands;

#define MAX_COPIES 64 /* of a sum in the one it melts into */

typedef struct summand {
    cg_operand o;
    uint32_t times;  /* it stands among its node's operands */
    uint32_t copies; /* of it in the whole sum */
} summand;

typedef CG_ARRAY(summand) summands;

/* The Add below operand o that melts into n: n is its only reader. n may read
 * it several times: sharing equal operators makes x + y + (x + y) so. Every
 * copy of an Add comes here with the same numbers, so all of them melt or
 * none; x = x + x, 200 times, ends at MAX_COPIES. */
static cg_node *melting(cg_rewrite *rw, const cg_node *n, const summand *t)
{
    cg_node *p = cg_rw_def(rw, t->o, CG_OP_ADD);
    return p && cg_rw_uses(rw, t->o.v) == t->times &&
                   (t->times == 1 || t->copies <= MAX_COPIES) &&
                   p->region == n->region &&
                   !cg_attr_find(p, "broadcast_axis") &&
                   !cg_attr_find(n, "broadcast_axis")
               ? p
               : NULL;
}

/* Last operand first, so that they come off the stack in order. */
static void push_operands(cg_rewrite *rw, summands *stack, const cg_node *n,
                          uint32_t copies)
{
    for (uint32_t k = n->n_in; k-- > 0;) {
        summand t = {n->in[k], n->n_in > MAX_COPIES, 0};
        for (uint32_t i = 0; i < n->n_in && n->n_in <= MAX_COPIES; i++)
            t.times += t.o.v && cg_rw_same(rw, n->in[i], t.o);
        t.copies = t.times > 1 ? copies * t.times : copies;
        cg_array_push(stack, t);
    }
}

/* Operands of the whole tree of Adds below n, left to right. A stack of
 * operands, since a chain can be as long as the graph. */
static void collect_terms(cg_rewrite *rw, cg_node *n, operands *out)
{
    summands stack = {0};
    CG_ARRAY(cg_node *) gone = {0};
    push_operands(rw, &stack, n, 1);
    while (stack.len) {
        summand t = stack.data[--stack.len];
        cg_node *p = t.o.v ? melting(rw, n, &t) : NULL;
        if (!p) {
            cg_array_push(out, t.o);
            continue;
        }
        push_operands(rw, &stack, p, t.copies);
        cg_array_push(&gone, p);
    }
    for (size_t i = 0; i < gone.len; i++)
        gone.data[i]->dead = true;
    cg_array_free(&stack);
    cg_array_free(&gone);
}

static bool reads_add(cg_rewrite *rw, const cg_node *n)
{
    for (uint32_t k = 0; k < n->n_in; k++)
        if (cg_rw_def(rw, n->in[k], CG_OP_ADD))
            return true;
    return false;
}

bool cg_simplify_sums(cg_rewrite *rw)
{
    bool any = false;
    cg_graph *g = rw->g;
    for (size_t i = 0; i < g->regions.len; i++) {
        cg_region *r = g->regions.data[i];
        for (size_t j = r->nodes.len; j-- > 0;) {
            cg_node *n = r->nodes.data[j];
            if (n->dead || n->op != CG_OP_ADD || !reads_add(rw, n))
                continue;
            operands terms = {0};
            collect_terms(rw, n, &terms);
            if (terms.len > n->n_in) {
                n->in = cg_arena_dup(&g->arena, terms.data,
                                     terms.len * sizeof *terms.data);
                n->n_in = (uint32_t)terms.len;
                any = true;
            }
            cg_array_free(&terms);
        }
    }
    return any;
}
