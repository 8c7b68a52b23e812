/* Pass simplify: from what an exporter wrote to atomic operators.
 *
 * Exporters spell one network in many ways; the CG must not show which. The
 * pass expands fused attention, turns what depends on constants only into
 * constants, merges patterns (patterns.def), shares equal operators, and at
 * last drops data movement, whose types stay as views on the consumers.
 *
 * Every step is one walk in topological order that rewrites nodes in place and
 * keeps an alias for each value that disappears, so a walk is linear and most
 * graphs are done in two. A worklist of rewritable nodes would save the second
 * walk and cost the order that patterns rely on. */
#include <string.h>

#include "passes/passes.h"
#include "passes/simplify.h"

#define MAX_ROUNDS 10

typedef struct pattern {
    cg_op op;
    cg_pattern_fn *match;
    cg_when when;
} pattern;

static const pattern patterns[] = {
#define CG_PATTERN(op, fn, when, line) {CG_OP_##op, cg_match_##fn, when},
#include "passes/patterns.def"
#undef CG_PATTERN
};
#define N_PATTERNS (sizeof patterns / sizeof patterns[0])

/* First and one past the last row of each operator's, for speed: most
 * operators have none. */
typedef struct pattern_span {
    uint16_t from, to;
    bool settles; /* one of them is CG_SETTLED */
} pattern_span;

static void find_spans(pattern_span *spans)
{
    memset(spans, 0, sizeof *spans * CG_OP_COUNT);
    for (uint16_t i = 0; i < N_PATTERNS; i++) {
        pattern_span *s = &spans[patterns[i].op];
        if (s->to == 0)
            s->from = i;
        s->to = (uint16_t)(i + 1);
        s->settles |= (patterns[i].when & CG_SETTLED) != 0;
    }
}

typedef struct walker {
    cg_rewrite rw;
    pattern_span spans[CG_OP_COUNT];
    bool clean; /* nothing changed since the last sweep */
    bool waits; /* a pattern may see more when channel axes are settled */
    bool (*each)(struct walker *w, cg_node *n);
    cg_pattern_fn *only; /* of cg_rw_each, and its root */
    cg_op only_op;
} walker;

/* Operands are redirected through aliases. Where movement was dropped on the
 * way, the reader keeps the type it had. */
static void resolve_operands(cg_rewrite *rw, cg_node *n)
{
    for (uint32_t k = 0; k < n->n_in; k++) {
        cg_operand *o = &n->in[k];
        if (!o->v || !rw->alias[o->v->id])
            continue;
        cg_value *to = cg_rw_value(rw, o->v);
        const cg_type *seen = &o->v->type;
        if (!o->view && seen->rank >= 0 && to->role != CG_ROLE_CONST &&
            (!cg_same_dims(seen, &to->type) ||
             seen->channel != to->type.channel))
            o->view = seen;
        o->v = to;
    }
}

static bool match_patterns(walker *w, cg_node *n)
{
    cg_when now = w->rw.views ? CG_VIEWED : CG_RAW;
    bool any = false;
    w->waits |= w->spans[n->op].settles;
    for (int limit = 0; limit < 16 && !n->dead; limit++) {
        pattern_span s = w->spans[n->op];
        bool hit = false;
        for (uint16_t i = s.from; i < s.to && !hit; i++)
            hit = patterns[i].op == n->op && (patterns[i].when & now) &&
                  patterns[i].match(&w->rw, n);
        if (!hit)
            break;
        any = true;
        w->rw.changes++;
    }
    return any;
}

static bool merge(walker *w, cg_node *n)
{
    if (cg_simplify_constant(&w->rw, n))
        return true;
    match_patterns(w, n);
    return n->dead || (!w->rw.views && cg_simplify_equal(&w->rw, n));
}

static bool move(walker *w, cg_node *n)
{
    return cg_simplify_move(&w->rw, n);
}

/* Depth is bounded by the validator's limit on nested graphs. */
static void walk_region(walker *w, cg_region *r)
{
    for (size_t i = 0; i < r->nodes.len; i++) {
        cg_node *n = r->nodes.data[i];
        if (n->dead)
            continue;
        resolve_operands(&w->rw, n);
        for (int a = 0; a < n->n_attr; a++)
            if (n->attr[a].kind == CG_ATTR_REGION)
                walk_region(w, n->attr[a].region);
        w->rw.changes += w->each(w, n);
    }
    for (size_t i = 0; i < r->outputs.len; i++)
        if (r->outputs.data[i])
            cg_region_redirect(r, i, cg_rw_value(&w->rw, r->outputs.data[i]));
}

static void count_uses(cg_rewrite *rw)
{
    cg_graph *g = rw->g;
    memset(rw->uses, 0, rw->cap * sizeof *rw->uses);
    for (size_t i = 0; i < g->regions.len; i++) {
        cg_region *r = g->regions.data[i];
        if (r->owner && r->owner->dead)
            continue;
        for (size_t j = 0; j < r->nodes.len; j++)
            for (uint32_t k = 0; k < r->nodes.data[j]->n_in; k++)
                if (r->nodes.data[j]->in[k].v)
                    rw->uses[r->nodes.data[j]->in[k].v->id]++;
        for (size_t j = 0; j < r->outputs.len; j++)
            if (r->outputs.data[j])
                rw->uses[r->outputs.data[j]->id]++;
    }
}

static void sweep(walker *w)
{
    if (!w->clean)
        cg_graph_sweep(w->rw.g, true);
    w->clean = true;
}

/* One walk; the number of changes it made. */
static size_t walk(walker *w, bool (*each)(walker *w, cg_node *n))
{
    cg_rewrite *rw = &w->rw;
    if (!w->clean)
        cg_graph_sweep(rw->g, false);
    cg_rw_grow(rw);
    memset(rw->alias, 0, rw->cap * sizeof *rw->alias);
    count_uses(rw);
    cg_cse_reset(rw);
    rw->changes = 0;
    w->each = each;
    walk_region(w, rw->g->main);
    w->clean = w->clean && rw->changes == 0;
    return rw->changes;
}

static void walker_free(walker *w)
{
    cg_cse_free(&w->rw);
    cg_array_free(&w->rw.queue);
    cg_xfree(w->rw.alias);
    cg_xfree(w->rw.uses);
    cg_xfree(w);
}

static bool match_one(walker *w, cg_node *n)
{
    return n->op == w->only_op && w->only(&w->rw, n);
}

void cg_rw_each(cg_graph *g, cg_op op, cg_pattern_fn *match)
{
    walker *w = cg_xcalloc(1, sizeof *w);
    w->rw.g = g;
    w->rw.views = true;
    w->only = match;
    w->only_op = op;
    walk(w, match_one);
    cg_graph_sweep(g, cg_has_bodies(g)); /* else kill has found all */
    walker_free(w);
}

/* If, Loop and Scan that did not fold are one kind of node. */
static void name_control(cg_graph *g)
{
    for (size_t i = 0; i < g->nodes.len; i++) {
        cg_node *n = g->nodes.data[i];
        if (n->dead || cg_op_table[n->op].class != CG_CLASS_CONTROL ||
            n->op == CG_OP_CONTROL)
            continue;
        n->source = cg_op_name(n->op);
        n->op = CG_OP_CONTROL;
    }
}

/* Merges to a fixed point; the number of changes. What died with a body it
 * captured values for is found by the sweep. */
static size_t merge_all(walker *w)
{
    size_t all = 0, changes;
    sweep(w);
    for (int i = 0; i < MAX_ROUNDS && (changes = walk(w, merge)) > 0; i++)
        all += changes;
    sweep(w);
    return all;
}

cg_err cg_pass_simplify(cg_graph *g)
{
    CG_TRY(cg_simplify_expand(g));
    walker *w = cg_xcalloc(1, sizeof *w);
    w->rw.g = g;
    find_spans(w->spans);
    /* Merged norms are better seeds than their parts: look again, so that
     * exports with and without them agree on every channel axis. */
    bool merged = merge_all(w) > 0;
    if (merged)
        cg_pass_hwc(g);
    w->rw.settled = true;
    if (merged || w->waits)
        merge_all(w);
    w->rw.views = true;
    if (cg_has_moves(g) && walk(w, move))
        merge_all(w);
    if (cg_simplify_sums(&w->rw))
        w->clean = false;
    sweep(w);
    cg_simplify_rows(&w->rw);
    name_control(g);
    walker_free(w);
    return CG_OK;
}
