/* What a graph does not know. A user of an incomplete graph wants causes, not
 * a list of everything behind them, so gaps are grouped by the node that made
 * them. */
#include "ir/gaps.h"

#include <string.h>

#define MAX_CAUSES 8 /* of one expression */

typedef struct group {
    const char *because; /* node, unknown or symbol */
    const char *first;   /* first node it affects */
    const char *why;
    bool symbol;
    size_t ranks, dims, macs; /* tensors, tensors, nodes */
    bool loop;                /* whose iterations are not known */
} group;

typedef struct report {
    cg_graph *g;
    CG_ARRAY(group *) groups;
    cg_map nodes, symbols; /* cause -> group */
    cg_arena *arena;
} report;

static group *group_of(report *r, const char *because, bool symbol,
                       const char *first, const char *why)
{
    cg_map *m = symbol ? &r->symbols : &r->nodes;
    group *x = cg_map_get(m, because);
    if (!x) {
        x = cg_arena_new(r->arena, group);
        *x = (group){.because = because, .first = first, .why = why,
                     .symbol = symbol};
        cg_map_put(m, because, x);
        cg_array_push(&r->groups, x);
    }
    if (!x->why)
        x->why = why;
    return x;
}

/* -- collecting ------------------------------------------------------------ */

static const char *no_rule(report *r, const cg_node *n)
{
    return cg_arena_printf(r->arena, "no rule for %s",
                           n->source ? n->source : "this operator");
}

static void add_rank(report *r, const cg_node *n, const cg_value *v)
{
    const cg_node *from = v->why_node ? v->why_node : n;
    const char *why = v->why;
    if (!why)
        why = from->op == CG_OP_CUSTOM ? no_rule(r, from)
                                       : "its shape is not known";
    group_of(r, from->name, false, n->name, why)->ranks++;
}

/* Each unknown of a tensor's dims once, however many dims have it. Named
 * symbols in shapes are no gap. */
static void add_dims(report *r, const cg_node *n, const cg_type *t)
{
    group *seen[MAX_CAUSES];
    size_t n_seen = 0;
    for (int i = 0; i < t->rank; i++) {
        cg_dim_cause c[MAX_CAUSES];
        size_t k = cg_dim_causes(r->g, t->dims[i], c, MAX_CAUSES);
        for (size_t j = 0; j < k && c[j].why; j++) {
            const char *who = c[j].node ? c[j].node->name : c[j].symbol;
            group *x = group_of(r, who, false, n->name, c[j].why);
            bool again = n_seen == MAX_CAUSES;
            for (size_t s = 0; s < n_seen; s++)
                again = again || seen[s] == x;
            if (again)
                continue;
            seen[n_seen++] = x;
            x->dims++;
        }
    }
}

static void add_macs(report *r, const cg_node *n)
{
    cg_dim_cause c[MAX_CAUSES];
    size_t k = cg_dim_causes(r->g, n->macs, c, MAX_CAUSES);
    group *last = NULL;
    for (size_t j = 0; j < k; j++) {
        const char *who = c[j].node ? c[j].node->name : c[j].symbol;
        group *x = group_of(r, who, !c[j].why, n->name, c[j].why);
        if (x != last)
            x->macs++;
        last = x;
    }
}

static void collect_node(report *r, const cg_node *n)
{
    for (uint32_t k = 0; k < n->n_out; k++) {
        const cg_value *v = n->out[k];
        if (!v || v->type.kind != CG_KIND_TENSOR)
            continue;
        if (v->type.rank < 0)
            add_rank(r, n, v);
        else
            add_dims(r, n, &v->type);
    }
    add_macs(r, n);
    if (n->op == CG_OP_CUSTOM)
        group_of(r, n->name, false, n->name, no_rule(r, n));
    if (n->op == CG_OP_CONTROL && cg_attr_region(n, "body") &&
        !cg_attr_find(n, "trip_count"))
        group_of(r, n->name, false, n->name, "counted per iteration")->loop =
            true;
}

/* -- wording --------------------------------------------------------------- */

static const char *plural(size_t n) { return n == 1 ? "" : "s"; }

static const char *what_of(report *r, const group *x)
{
    cg_arena *a = r->arena;
    const char *s = "", *sep = "";
    if (x->symbol)
        return cg_arena_printf(a, "symbolic dimension %s", x->because);
    if (x->ranks) {
        s = cg_arena_printf(a, "shape of %zu tensor%s", x->ranks,
                            plural(x->ranks));
        sep = ", ";
    }
    if (x->dims) {
        s = cg_arena_printf(a, "%s%sdims of %zu tensor%s", s, sep, x->dims,
                            plural(x->dims));
        sep = ", ";
    }
    if (x->macs) {
        s = cg_arena_printf(a, "%s%smacs of %zu node%s", s, sep, x->macs,
                            plural(x->macs));
        sep = ", ";
    }
    if (x->loop)
        s = cg_arena_printf(a, "%s%siterations of a loop", s, sep);
    return *s ? s : "macs and flops of 1 node";
}

static cg_gap gap_of(report *r, const group *x)
{
    cg_gap gap = {x->first, what_of(r, x), x->because, x->why};
    if (x->symbol) {
        gap.because = NULL;
        gap.why = cg_arena_printf(r->arena, "macs of %zu node%s depend on it",
                                  x->macs, plural(x->macs));
    }
    return gap;
}

const cg_gap *cg_graph_gaps(cg_graph *g, size_t *n)
{
    report r = {.g = g, .arena = &g->arena};
    for (size_t i = 0; i < g->main->nodes.len; i++)
        if (!g->main->nodes.data[i]->dead)
            collect_node(&r, g->main->nodes.data[i]);
    *n = r.groups.len;
    cg_gap *gaps = cg_arena_array(&g->arena, cg_gap, *n);
    for (size_t i = 0; i < *n; i++)
        gaps[i] = gap_of(&r, r.groups.data[i]);
    cg_array_free(&r.groups);
    cg_map_free(&r.nodes);
    cg_map_free(&r.symbols);
    return gaps;
}
