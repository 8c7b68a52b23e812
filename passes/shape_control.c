/* Shapes of control flow that stays: bodies are inferred with types that hold
 * for every iteration.
 *
 * What a loop carries may change its shape. The body is inferred on copies,
 * each time with the types so far widened by what comes out (a dim that
 * changes becomes unknown), until nothing changes; only then on the body
 * itself, since inference inlines what folds and must not do so with types
 * that hold for one iteration only. */
#include <string.h>

#include "passes/clone.h"
#include "passes/control.h"
#include "passes/shape_rules.h"

static const char varies[] = "changes between iterations";

/* -- bodies ---------------------------------------------------------------- */

static bool is_loop(const cg_node *n)
{
    return n->op == CG_OP_LOOP ||
           strcmp(cg_attr_string(n, "kind", ""), "Loop") == 0;
}

static cg_err infer_with(cg_graph *g, const cg_node *n, cg_region *body,
                         const cg_type *types)
{
    for (size_t i = 0; i < body->inputs.len; i++) {
        cg_value *v = body->inputs.data[i];
        v->type = types[i];
        v->data = NULL;
        v->seq = NULL;
        v->why_node = types[i].rank < 0 ? n : NULL;
        v->why = types[i].rank < 0 ? varies : NULL;
    }
    if (is_loop(n)) { /* the condition is true wherever the body runs */
        cg_data *yes = cg_data_new(g, CG_BOOL, 1);
        yes->i[0] = 1;
        body->inputs.data[1]->data = yes;
    }
    return cg_infer_region(g, body);
}

/* *t becomes what it has in common with `u`; a dim that varied already does
 * not vary once more. */
static bool widen(cg_graph *g, const cg_node *n, cg_type *t, const cg_type *u)
{
    cg_type to = cg_type_none();
    cg_dim dims[CG_MAX_RANK] = {0};
    bool changed = false;
    to.kind = t->kind;
    to.dtype = t->dtype == u->dtype ? t->dtype : CG_UNDEFINED;
    if (t->rank < 0 && (t->dtype == to.dtype))
        return false;
    if (t->rank == u->rank && t->rank >= 0) {
        for (int i = 0; i < t->rank; i++) {
            cg_dim d = t->dims[i];
            bool loose = cg_dim_is_unknown(g, d) &&
                         cg_dim_why(g, d).why == varies &&
                         cg_dim_why(g, d).node == n;
            dims[i] = d == u->dims[i] || loose ? d
                                               : cg_dim_unknown(g, n, varies);
            changed = changed || dims[i] != d;
        }
        to = cg_type_tensor(g, to.dtype, t->rank, dims);
        to.kind = t->kind;
    } else {
        changed = true;
    }
    changed = changed || to.dtype != t->dtype;
    *t = to;
    return changed;
}

/* Widens the `count` carried types, which are body inputs from first_in on
 * and body outputs from first_out on, until they hold for all iterations. */
static cg_err settle(cg_graph *g, const cg_node *n, cg_region *body,
                     cg_type *types, size_t first_in, size_t first_out,
                     size_t count)
{
    bool changed = count > 0;
    for (int round = 0; changed && round < 4; round++) {
        if (g->cloned > CG_CLONE_MAX)
            break;
        size_t warnings = g->warnings.len;
        cg_region *probe = cg_region_clone(g, body, body->parent);
        CG_TRY(infer_with(g, n, probe, types));
        changed = false;
        for (size_t k = 0; k < count; k++) {
            const cg_value *out = probe->outputs.data[first_out + k];
            if (widen(g, n, &types[first_in + k], &out->type))
                changed = true;
        }
        cg_region_drop(g, probe);
        g->warnings.len = warnings;
    }
    for (size_t k = 0; changed && k < count; k++) {
        uint8_t kind = types[first_in + k].kind;
        types[first_in + k] = cg_type_none();
        types[first_in + k].kind = kind;
    }
    return CG_OK;
}

/* A type that a body gives, as seen from outside: what depends on data inside
 * may differ in each iteration. `in`: the type that went in, or NULL. */
static cg_type outside(cg_graph *g, const cg_node *n, const cg_type *t,
                       const cg_type *in)
{
    cg_dim dims[CG_MAX_RANK];
    for (int i = 0; i < t->rank; i++) {
        bool kept = in && in->rank == t->rank && in->dims[i] == t->dims[i] &&
                    cg_dim_is_unknown(g, t->dims[i]) &&
                    cg_dim_why(g, t->dims[i]).why != varies;
        dims[i] = kept || !cg_dim_is_unknown(g, t->dims[i])
                      ? t->dims[i] : cg_dim_unknown(g, n, varies);
    }
    cg_type to = *t;
    if (t->rank >= 0)
        to = cg_type_tensor(g, t->dtype, t->rank, dims);
    to.kind = t->kind;
    return to;
}

/* -- If -------------------------------------------------------------------- */

/* A branch that cannot run for these shapes is not taken by a model that
 * works (exporters leave such branches): it has no say, and a warning. */
static cg_err infer_branch(cg_graph *g, cg_node *n, cg_region *r, bool *ok)
{
    if (!r)
        return cg_fail(CG_EFORMAT, "a branch is missing");
    if (r->outputs.len < n->n_out)
        return cg_fail(CG_EFORMAT, "a branch has %zu outputs, needs %u",
                       r->outputs.len, n->n_out);
    *ok = cg_infer_region(g, r) == CG_OK;
    return CG_OK;
}

static cg_err shape_if(cg_graph *g, cg_node *n)
{
    cg_region *r[2] = {cg_attr_region(n, "then_branch"),
                       cg_attr_region(n, "else_branch")};
    bool ok[2];
    for (int i = 0; i < 2; i++) {
        CG_TRY(infer_branch(g, n, r[i], &ok[i]));
        if (!ok[i] && i == 1 && !ok[0])
            return CG_EFORMAT;
        if (!ok[i])
            cg_warn(g, n, "%s cannot run: %s",
                    i ? "else_branch" : "then_branch", cg_error());
    }
    for (uint32_t k = 0; k < n->n_out; k++) {
        const cg_value *a = r[ok[0] ? 0 : 1]->outputs.data[k];
        const cg_value *b = r[ok[1] ? 1 : 0]->outputs.data[k];
        cg_type t = cg_type_equal(&a->type, &b->type)
                        ? a->type
                        : cg_type_unify(g, n, &a->type, &b->type,
                                        "depends on the branch");
        if (t.rank < 0 && t.kind == CG_KIND_TENSOR)
            cg_out_unknown(g, n, k, t.dtype, "depends on the branch");
        else
            cg_out_type(g, n, k, t);
    }
    return CG_OK;
}

/* -- Loop ------------------------------------------------------------------ */

typedef struct loop {
    cg_region *body;
    size_t n_state, n_each;
    cg_type *types;  /* of the body's inputs; arena */
    cg_dim trip;     /* iterations */
    bool once;       /* at least one */
} loop;

static cg_err body_of(cg_node *n, loop *l, size_t inputs, size_t outputs)
{
    if (!l->body)
        return cg_fail(CG_EFORMAT, "attribute body is missing");
    if (l->body->inputs.len != inputs)
        return cg_fail(CG_EFORMAT, "body has %zu inputs, needs %zu",
                       l->body->inputs.len, inputs);
    if (l->body->outputs.len < outputs)
        return cg_fail(CG_EFORMAT, "body has %zu outputs, needs %zu",
                       l->body->outputs.len, outputs);
    l->n_each = l->body->outputs.len - outputs;
    if (n->n_out > l->n_state + l->n_each)
        return cg_fail(CG_EFORMAT, "has %u outputs, the body gives %zu",
                       n->n_out, l->n_state + l->n_each);
    return CG_OK;
}

/* What is carried comes out as the body gives it, or as it went in where
 * there may be no iteration. */
static void out_states(cg_graph *g, cg_node *n, const loop *l, size_t first_in,
                       size_t first_out, size_t operand)
{
    for (size_t k = 0; k < l->n_state && k < n->n_out; k++) {
        cg_type in = cg_in_type(n, operand + k);
        cg_type t = l->body->outputs.data[first_out + k]->type;
        t = outside(g, n, &t, &l->types[first_in + k]);
        if (!l->once && !cg_type_equal(&t, &in))
            t = cg_type_unify(g, n, &in, &t, varies);
        if (t.rank < 0 && t.kind == CG_KIND_TENSOR)
            cg_out_unknown(g, n, k, t.dtype, varies);
        else
            cg_out_type(g, n, k, t);
    }
}

/* Output k: what the body gives, stacked along `axis`. */
static cg_err out_stacked(cg_graph *g, cg_node *n, size_t k, cg_type each,
                          cg_dim count, int64_t at)
{
    cg_dim dims[CG_MAX_RANK];
    int axis;
    each = outside(g, n, &each, NULL);
    if (each.rank < 0) {
        cg_out_unknown(g, n, k, each.dtype, varies);
        return CG_OK;
    }
    if (each.rank >= CG_MAX_RANK)
        return cg_fail(CG_EFORMAT, "rank %d is too large", each.rank);
    CG_TRY(cg_axis(n, at, each.rank + 1, &axis));
    for (int i = 0; i <= each.rank; i++)
        dims[i] = i == axis ? count : each.dims[i > axis ? i - 1 : i];
    cg_out_tensor(g, n, k, each.dtype, each.rank + 1, dims);
    return CG_OK;
}

/* How often, once the body is inferred: M, unless the condition stops it. */
static void count_trips(cg_graph *g, cg_node *n, loop *l)
{
    static const char why[] = "number of iterations";
    cg_dim cond = 1;
    const cg_data *goes_on = l->body->outputs.data[0]->data;
    bool starts = !cg_in(n, 1) ||
                  (cg_in_scalar(n, 1, &cond) && cg_dim_known(cond) && cond);
    bool stays = goes_on && goes_on->n == 1 && goes_on->i &&
                 cg_dim_known(goes_on->i[0]) && goes_on->i[0];
    l->once = false;
    l->trip = cg_dim_unknown(g, n, why);
    if (!cond) {
        l->trip = 0;
    } else if (cg_in(n, 0)) {
        cg_dim m;
        bool known = cg_in_scalar(n, 0, &m);
        l->once = starts && known && cg_dim_known(m) && m > 0;
        if (known && ((starts && stays) || (cg_dim_known(m) && m <= 0)))
            l->trip = cg_dim_known(m) && m < 0 ? 0 : m;
    } else {
        l->once = starts;
    }
    if (cg_dim_known(l->trip))
        cg_attr_set_int(g, n, "trip_count", l->trip);
}

static cg_err shape_loop(cg_graph *g, cg_node *n)
{
    loop l = {.body = cg_attr_region(n, "body")};
    l.n_state = n->n_in < 2 ? 0 : n->n_in - 2;
    CG_TRY(body_of(n, &l, l.n_state + 2, l.n_state + 1));
    l.types = cg_arena_array(&g->arena, cg_type, l.n_state + 2);
    l.types[0] = cg_type_tensor(g, CG_I64, 0, NULL);
    l.types[1] = cg_type_tensor(g, CG_BOOL, 0, NULL);
    for (size_t k = 0; k < l.n_state; k++)
        l.types[k + 2] = cg_in_type(n, k + 2);
    CG_TRY(settle(g, n, l.body, l.types, 2, 1, l.n_state));
    CG_TRY(infer_with(g, n, l.body, l.types));
    count_trips(g, n, &l);
    out_states(g, n, &l, 2, 1, 2);
    for (size_t k = l.n_state; k < n->n_out; k++)
        CG_TRY(out_stacked(g, n, k, l.body->outputs.data[k + 1]->type, l.trip,
                           0));
    return CG_OK;
}

/* -- Scan ------------------------------------------------------------------ */

static int64_t list_at(const cg_node *n, const char *name, size_t k)
{
    size_t len;
    const int64_t *v = cg_attr_ints(n, name, &len);
    return k < len ? v[k] : 0;
}

/* Type of one element of operand k along its scan axis, and the axis' size. */
static cg_err scan_element(cg_graph *g, cg_node *n, size_t k, size_t nth,
                           cg_type *elem, cg_dim *len)
{
    cg_type t = cg_in_type(n, k);
    cg_dim dims[CG_MAX_RANK];
    int axis;
    *elem = t;
    *len = cg_in_dim(g, n, k, 0);
    if (t.rank < 0)
        return CG_OK;
    CG_TRY(cg_axis(n, list_at(n, "scan_input_axes", nth), t.rank, &axis));
    *len = t.dims[axis];
    for (int i = 0, to = 0; i < t.rank; i++)
        if (i != axis)
            dims[to++] = t.dims[i];
    *elem = cg_type_tensor(g, t.dtype, t.rank - 1, dims);
    return CG_OK;
}

static cg_err scan_inputs(cg_graph *g, cg_node *n, loop *l)
{
    for (size_t k = 0; k < l->n_state; k++)
        l->types[k] = cg_in_type(n, k);
    for (size_t k = l->n_state; k < n->n_in; k++) {
        cg_dim len;
        CG_TRY(scan_element(g, n, k, k - l->n_state, &l->types[k], &len));
        if (k > l->n_state)
            CG_TRY(cg_want_equal(g, l->trip, len, "lengths of scan inputs"));
        if (k == l->n_state || (cg_dim_known(len) && !cg_dim_known(l->trip)))
            l->trip = len;
    }
    return CG_OK;
}

static cg_err shape_scan(cg_graph *g, cg_node *n)
{
    loop l = {.body = cg_attr_region(n, "body")};
    int64_t inputs = cg_attr_int(n, "num_scan_inputs", 0);
    if (inputs < 1 || inputs > (int64_t)n->n_in)
        return cg_fail(CG_EFORMAT, "num_scan_inputs is %lld of %u inputs",
                       (long long)inputs, n->n_in);
    l.n_state = n->n_in - (size_t)inputs;
    CG_TRY(body_of(n, &l, n->n_in, l.n_state));
    l.types = cg_arena_array(&g->arena, cg_type, n->n_in);
    CG_TRY(scan_inputs(g, n, &l));
    CG_TRY(settle(g, n, l.body, l.types, 0, 0, l.n_state));
    CG_TRY(infer_with(g, n, l.body, l.types));
    l.once = cg_dim_known(l.trip) && l.trip > 0;
    if (cg_dim_known(l.trip))
        cg_attr_set_int(g, n, "trip_count", l.trip);
    out_states(g, n, &l, 0, 0, 0);
    for (size_t k = l.n_state; k < n->n_out; k++)
        CG_TRY(out_stacked(g, n, k, l.body->outputs.data[k]->type, l.trip,
                           list_at(n, "scan_output_axes", k - l.n_state)));
    return CG_OK;
}

/* -- SequenceMap ----------------------------------------------------------- */

cg_err cg_shape_sequence_map(cg_graph *g, cg_node *n)
{
    loop l = {.body = cg_attr_region(n, "body")};
    CG_TRY(body_of(n, &l, n->n_in, 0));
    l.types = cg_arena_array(&g->arena, cg_type, n->n_in);
    for (size_t k = 0; k < n->n_in; k++) {
        l.types[k] = cg_in_type(n, k);
        l.types[k].kind = CG_KIND_TENSOR;
    }
    CG_TRY(infer_with(g, n, l.body, l.types));
    for (size_t k = 0; k < n->n_out; k++) {
        cg_type t = outside(g, n, &l.body->outputs.data[k]->type, NULL);
        t.kind = CG_KIND_SEQUENCE;
        cg_out_type(g, n, k, t);
    }
    return CG_OK;
}

/* -- rules ----------------------------------------------------------------- */

cg_err cg_shape_if(cg_graph *g, cg_node *n) { return shape_if(g, n); }

cg_err cg_shape_loop(cg_graph *g, cg_node *n) { return shape_loop(g, n); }

cg_err cg_shape_scan(cg_graph *g, cg_node *n) { return shape_scan(g, n); }

/* `kind` says what it was; a Control without it came from elsewhere. */
cg_err cg_shape_control(cg_graph *g, cg_node *n)
{
    const char *kind = cg_attr_string(n, "kind", "");
    if (strcmp(kind, "If") == 0)
        return shape_if(g, n);
    if (strcmp(kind, "Loop") == 0)
        return shape_loop(g, n);
    if (strcmp(kind, "Scan") == 0)
        return shape_scan(g, n);
    for (size_t k = 0; k < n->n_out; k++)
        cg_out_unknown(g, n, k, CG_UNDEFINED, "unknown kind of control flow");
    return CG_OK;
}
