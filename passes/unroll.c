/* Inlining of control flow: branches whose condition is known, loops whose
 * iterations are.
 *
 * Whether a while loop goes on is only known when an iteration has been
 * inferred, so unrolling is a dialogue with cg_infer_region, and may have to
 * take everything back. Not done up front on the body alone: exporters write
 * conditions (i < n) that only fold with the numbers of their iteration. */
#include "passes/control.h"

#include <string.h>

#include "passes/clone.h"
#include "passes/shape_rules.h"

struct cg_unroll {
    cg_node *n;
    cg_region *body;
    int64_t trip;       /* iterations; -1: until the condition is false */
    int64_t made;
    size_t size;        /* nodes that one iteration adds */
    size_t n_state, n_each; /* carried values, outputs made per iteration */
    size_t n_inputs;    /* Scan: of what is iterated over */
    cg_value **state;   /* (n_state) */
    CG_ARRAY(cg_value *) each; /* (made, n_each) */
    cg_value *cond;     /* of the next iteration; NULL: true */
    cg_clone_map map;
    size_t first_node, first_made, first_warning;
};

/* -- nodes not yet in their region ----------------------------------------- */

/* The newest node of n's region goes to the list instead. */
static void set_aside(cg_region *r, cg_node_list *list, cg_node *n)
{
    r->nodes.len--;
    cg_array_push(list, n);
}

/* A node of one output: the value `as`, or a fresh one. */
static cg_value *new_node(cg_graph *g, const cg_node *like,
                          cg_node_list *list, cg_op op, cg_value *const *in,
                          size_t n_in, int64_t axis, cg_value *as)
{
    const char *fresh[] = {NULL}, *none[] = {""};
    cg_node *n = cg_node_new(g, like->region, op, NULL, in, n_in,
                             as ? none : fresh, 1);
    n->name = like->name;
    if (op == CG_OP_GATHER || op == CG_OP_CONCAT)
        cg_attr_set_int(g, n, "axis", axis);
    if (as) {
        n->out[0] = as;
        as->def = n;
        as->out = 0;
    }
    set_aside(like->region, list, n);
    return n->out[0];
}

static cg_value *scalar(cg_graph *g, int dtype, int64_t i)
{
    cg_data *d = cg_data_new(g, dtype, 1);
    d->i[0] = i;
    return cg_value_const(g, NULL, cg_type_tensor(g, dtype, 0, NULL), d);
}

static void retire(cg_graph *g, cg_node *n)
{
    n->dead = true;
    memset(n->out, 0, n->n_out * sizeof *n->out);
    for (int a = 0; a < n->n_attr; a++)
        if (n->attr[a].kind == CG_ATTR_REGION)
            cg_region_drop(g, n->attr[a].region);
}

/* -- If -------------------------------------------------------------------- */

cg_err cg_inline_if(cg_graph *g, cg_node *n, cg_node_list *list, bool *done)
{
    cg_dim cond;
    *done = false;
    if (!cg_in_scalar(n, 0, &cond) || !cg_dim_known(cond))
        return CG_OK;
    cg_region *r = cg_attr_region(n, cond ? "then_branch" : "else_branch");
    if (!r || r->outputs.len < n->n_out || r->inputs.len)
        return CG_OK; /* the shape rule says what is wrong */
    for (size_t i = 0; i < r->nodes.len; i++) {
        cg_node *m = r->nodes.data[i];
        m->region = n->region;
        for (int a = 0; a < m->n_attr; a++)
            if (m->attr[a].kind == CG_ATTR_REGION)
                m->attr[a].region->parent = n->region;
        cg_array_push(list, m);
    }
    r->nodes.len = 0;
    for (uint32_t k = 0; k < n->n_out; k++)
        if (n->out[k])
            new_node(g, n, list, CG_OP_IDENTITY, &r->outputs.data[k], 1, 0,
                     n->out[k]);
    retire(g, n);
    *done = true;
    return CG_OK;
}

/* -- loops ----------------------------------------------------------------- */

static bool start_loop(cg_unroll *u)
{
    cg_dim trip = -1, cond = 1;
    size_t extra = u->n->n_in < 2 ? u->n->n_in : 2;
    u->n_state = u->n->n_in - extra;
    if (u->body->inputs.len != u->n_state + 2 ||
        u->body->outputs.len < u->n_state + 1)
        return false;
    if (cg_in(u->n, 0)) {
        if (!cg_in_scalar(u->n, 0, &trip) || !cg_dim_known(trip))
            return false;
        if (trip < 0)
            trip = 0;
    }
    if (cg_in(u->n, 1) &&
        (!cg_in_scalar(u->n, 1, &cond) || !cg_dim_known(cond)))
        return false;
    u->trip = cond ? trip : 0;
    u->n_each = u->body->outputs.len - 1 - u->n_state;
    return true;
}

static bool start_scan(cg_unroll *u)
{
    int64_t inputs = cg_attr_int(u->n, "num_scan_inputs", 0);
    const int64_t *axes;
    size_t n_axes;
    int axis;
    if (inputs < 1 || inputs > (int64_t)u->n->n_in)
        return false;
    u->n_inputs = (size_t)inputs;
    u->n_state = u->n->n_in - u->n_inputs;
    if (u->body->inputs.len != u->n->n_in ||
        u->body->outputs.len < u->n_state)
        return false;
    u->n_each = u->body->outputs.len - u->n_state;
    axes = cg_attr_ints(u->n, "scan_input_axes", &n_axes);
    cg_type t = cg_in_type(u->n, u->n_state);
    if (t.rank < 1 || cg_axis(u->n, n_axes ? axes[0] : 0, t.rank, &axis))
        return false;
    u->trip = cg_dim_known(t.dims[axis]) ? t.dims[axis] : -1;
    return u->trip >= 0 &&
           (n_axes == 0 || n_axes == u->n_inputs);
}

static bool start_map(cg_unroll *u)
{
    const cg_value *v = cg_in(u->n, 0);
    if (!v || !v->seq || u->body->inputs.len != u->n->n_in)
        return false;
    u->n_inputs = u->n->n_in;
    u->n_each = u->body->outputs.len;
    u->trip = (int64_t)v->seq->n;
    return true;
}

/* Small enough, nothing left out, and no empty stack whose shape only the
 * body's own inference would tell. */
static bool worth_it(const cg_graph *g, cg_unroll *u)
{
    u->size = cg_region_size(u->body) + u->n_inputs + u->n_each;
    if (g->cloned > CG_CLONE_MAX || u->size > CG_UNROLL_MAX ||
        (u->trip == 0 && u->n_each) || u->n->n_out > u->n_state + u->n_each)
        return false;
    for (size_t k = 0; k < u->n_state; k++)
        if (!cg_in(u->n, u->n->n_in - u->n_inputs - u->n_state + k))
            return false;
    for (size_t k = 0; k < u->n_inputs; k++)
        if (!cg_in(u->n, u->n->n_in - u->n_inputs + k))
            return false;
    /* a Loop with a large bound may still stop by its condition */
    bool stops = u->n->op == CG_OP_LOOP &&
                 u->body->outputs.data[0]->role == CG_ROLE_NODE;
    size_t most = CG_UNROLL_MAX / (u->size ? u->size : 1);
    return stops || (u->trip >= 0 && (size_t)u->trip <= most);
}

cg_unroll *cg_unroll_start(cg_graph *g, cg_node *n)
{
    cg_unroll *u = cg_xcalloc(1, sizeof *u);
    u->n = n;
    u->body = cg_attr_region(n, "body");
    bool ok = u->body != NULL;
    if (ok && n->op == CG_OP_LOOP)
        ok = start_loop(u);
    else if (ok && n->op == CG_OP_SCAN)
        ok = start_scan(u);
    else
        ok = ok && n->op == CG_OP_SEQUENCE_MAP && start_map(u);
    if (!ok || !worth_it(g, u)) {
        cg_unroll_free(u);
        return NULL;
    }
    u->state = cg_xcalloc(u->n_state + 1, sizeof *u->state);
    for (size_t k = 0; k < u->n_state; k++)
        u->state[k] = cg_in(n, n->n_in - u->n_inputs - u->n_state + k);
    cg_clone_map_init(&u->map, u->body);
    u->first_node = n->region->nodes.len;
    u->first_made = g->nodes.len;
    u->first_warning = g->warnings.len;
    return u;
}

void cg_unroll_free(cg_unroll *u)
{
    if (!u)
        return;
    cg_clone_map_free(&u->map);
    cg_array_free(&u->each);
    cg_xfree(u->state);
    cg_xfree(u);
}

/* -- one iteration --------------------------------------------------------- */

static int64_t list_at(const cg_node *n, const char *name, size_t k)
{
    size_t len;
    const int64_t *v = cg_attr_ints(n, name, &len);
    return k < len ? v[k] : 0;
}

/* What input k of those iterated over is in this iteration. */
static cg_value *element(cg_graph *g, cg_unroll *u, cg_node_list *list,
                         size_t k)
{
    cg_value *all = cg_in(u->n, u->n_state + k);
    int64_t i = u->made;
    if (u->n->op == CG_OP_SEQUENCE_MAP) {
        if (all->type.kind != CG_KIND_SEQUENCE)
            return all;
        cg_value *in[] = {all, scalar(g, CG_I64, i)};
        return new_node(g, u->n, list, CG_OP_SEQUENCE_AT, in, 2, 0, NULL);
    }
    if (list_at(u->n, "scan_input_directions", k))
        i = u->trip - 1 - i;
    cg_value *in[] = {all, scalar(g, CG_I64, i)};
    return new_node(g, u->n, list, CG_OP_GATHER, in, 2,
                    list_at(u->n, "scan_input_axes", k), NULL);
}

static void iterate(cg_graph *g, cg_unroll *u, cg_node_list *list)
{
    const cg_region *b = u->body;
    size_t at = 0, out = 0;
    if (u->n->op == CG_OP_LOOP) {
        cg_clone_map_set(&u->map, b->inputs.data[at++],
                         scalar(g, CG_I64, u->made));
        cg_clone_map_set(&u->map, b->inputs.data[at++],
                         scalar(g, CG_BOOL, 1));
        out = 1;
    }
    for (size_t k = 0; k < u->n_state; k++)
        cg_clone_map_set(&u->map, b->inputs.data[at++], u->state[k]);
    for (size_t k = 0; k < u->n_inputs; k++)
        cg_clone_map_set(&u->map, b->inputs.data[at++],
                         element(g, u, list, k));
    for (size_t i = 0; i < b->nodes.len; i++) {
        cg_node *from = b->nodes.data[i];
        set_aside(u->n->region, list,
                  cg_node_clone(g, &u->map, from, u->n->region));
    }
    for (size_t k = 0; k < u->n_state; k++)
        u->state[k] = cg_clone_map_get(&u->map, b->outputs.data[out++]);
    for (size_t k = 0; k < u->n_each; k++)
        cg_array_push(&u->each,
                      cg_clone_map_get(&u->map, b->outputs.data[out++]));
    if (u->n->op == CG_OP_LOOP)
        u->cond = cg_clone_map_get(&u->map, b->outputs.data[0]);
    u->made++;
}

/* -- the end --------------------------------------------------------------- */

/* Output k of those made per iteration: stacked along a new axis, or a
 * sequence. */
static void join(cg_graph *g, cg_unroll *u, cg_node_list *list, size_t k)
{
    uint32_t out = (uint32_t)(u->n_state + k);
    if (out >= u->n->n_out || !u->n->out[out])
        return;
    bool seq = u->n->op == CG_OP_SEQUENCE_MAP;
    int64_t axis = list_at(u->n, "scan_output_axes", k);
    bool back = list_at(u->n, "scan_output_directions", k) != 0;
    cg_value *at = cg_value_ints(g, NULL, &axis, 1);
    size_t count = (size_t)u->made;
    cg_value **all = cg_xcalloc(count + 1, sizeof *all);
    for (size_t i = 0; i < count; i++) {
        cg_value *in[] = {u->each.data[i * u->n_each + k], at};
        all[back ? count - 1 - i : i] =
            seq ? in[0]
                : new_node(g, u->n, list, CG_OP_UNSQUEEZE, in, 2, 0, NULL);
    }
    new_node(g, u->n, list, seq ? CG_OP_SEQUENCE_CONSTRUCT : CG_OP_CONCAT,
             all, count, axis, u->n->out[out]);
    cg_xfree(all);
}

static void finish(cg_graph *g, cg_unroll *u, cg_node_list *list)
{
    for (uint32_t k = 0; k < u->n_state && k < u->n->n_out; k++)
        if (u->n->out[k])
            new_node(g, u->n, list, CG_OP_IDENTITY, &u->state[k], 1, 0,
                     u->n->out[k]);
    for (size_t k = 0; k < u->n_each; k++)
        join(g, u, list, k);
    retire(g, u->n);
}

/* Everything since the start goes; the node becomes a Control. */
static void take_back(cg_graph *g, cg_unroll *u, cg_node_list *list)
{
    cg_region *r = u->n->region;
    for (size_t i = u->first_node; i < r->nodes.len; i++)
        retire(g, r->nodes.data[i]);
    r->nodes.len = u->first_node;
    g->warnings.len = u->first_warning;
    cg_make_control(g, u->n);
    cg_array_push(list, u->n);
}

cg_err cg_unroll_next(cg_graph *g, cg_unroll *u, cg_node_list *list,
                      bool *done)
{
    const cg_data *cond = u->cond ? u->cond->data : NULL;
    bool unknown = u->cond && (!cond || cond->n != 1 || !cond->i ||
                               !cg_dim_known(cond->i[0]));
    bool last = u->made == u->trip ||
                (cond && !unknown && cond->i[0] == 0);
    *done = true;
    if (last && (u->made > 0 || u->n_each == 0))
        finish(g, u, list);
    else if (last || unknown || g->cloned > CG_CLONE_MAX ||
             g->nodes.len - u->first_made + u->size > CG_UNROLL_MAX)
        take_back(g, u, list);
    else {
        *done = false;
        iterate(g, u, list);
    }
    return CG_OK;
}

bool cg_is_control(const cg_node *n)
{
    return n->op == CG_OP_CONTROL || cg_attr_find(n, "kind");
}

void cg_make_control(cg_graph *g, cg_node *n)
{
    cg_attr_set_string(g, n, "kind", cg_op_name(n->op));
    if (n->op != CG_OP_SEQUENCE_MAP)
        n->op = CG_OP_CONTROL;
}
