/* Pass flops: multiply-adds, floating-point operations and parameters of each
 * node, by the rules that ops.def names, and their sums. A node with bodies
 * has the sum of their nodes, so bodies come first. */
#include "passes/cost.h"
#include "passes/params.h"
#include "passes/passes.h"

static cg_flops_rule *const rules[CG_OP_COUNT] = {
#define CG_OP(id, name, min, max, shape, fold, flops, class)                  \
    [CG_OP_##id] = cg_flops_##flops,
#include "ir/ops.def"
#undef CG_OP
};

/* Nesting is bounded by the validator. */
static cg_err count_region(cg_graph *g, cg_region *r)
{
    for (size_t i = 0; i < r->nodes.len; i++) {
        cg_node *n = r->nodes.data[i];
        for (int a = 0; a < n->n_attr; a++)
            if (n->attr[a].kind == CG_ATTR_REGION)
                CG_TRY(count_region(g, n->attr[a].region));
        CG_TRY(rules[n->op](g, n));
    }
    return CG_OK;
}

typedef struct constants {
    CG_ARRAY(const cg_node *) stack;
    uint8_t *seen; /* node id */
} constants;

static void push(constants *c, const cg_value *v)
{
    if (!v || v->role != CG_ROLE_CONST || !v->made_by ||
        c->seen[v->made_by->id])
        return;
    c->seen[v->made_by->id] = 1;
    cg_array_push(&c->stack, v->made_by);
}

/* Products of constants (an LSTM step from a zero state) are no nodes, but
 * whoever runs the file computes them: they are in the totals. */
static cg_err count_constants(cg_graph *g)
{
    constants c = {.seen = cg_xcalloc(g->nodes.len, 1)};
    cg_err err = CG_OK;
    for (size_t i = 0; i < g->regions.len; i++) {
        const cg_region *r = g->regions.data[i];
        for (size_t j = 0; j < r->nodes.len; j++)
            for (uint32_t k = 0; k < r->nodes.data[j]->n_in; k++)
                push(&c, r->nodes.data[j]->in[k].v);
        for (size_t j = 0; j < r->outputs.len; j++)
            push(&c, r->outputs.data[j]);
    }
    while (c.stack.len && err == CG_OK) {
        cg_node *n = (cg_node *)c.stack.data[--c.stack.len];
        for (uint32_t k = 0; k < n->n_in; k++)
            push(&c, n->in[k].v);
        int class = cg_op_table[n->op].class;
        if (class != CG_CLASS_COMPUTE && class != CG_CLASS_RECURRENT)
            continue;
        err = rules[n->op](g, n);
        g->macs = cg_dim_add(g, g->macs, n->macs);
        g->flops = cg_dim_add(g, g->flops, n->flops);
    }
    cg_array_free(&c.stack);
    cg_xfree(c.seen);
    return err;
}

cg_err cg_pass_flops(cg_graph *g)
{
    CG_TRY(count_region(g, g->main));
    g->macs = g->flops = 0;
    for (size_t i = 0; i < g->main->nodes.len; i++) {
        const cg_node *n = g->main->nodes.data[i];
        g->macs = cg_dim_add(g, g->macs, n->macs);
        g->flops = cg_dim_add(g, g->flops, n->flops);
    }
    cg_count_params(g);
    return count_constants(g);
}
