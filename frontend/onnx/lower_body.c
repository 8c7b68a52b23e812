/* Constants, and operators with bodies: their arities must fit. */
#include <string.h>

#include "frontend/onnx/lower.h"

/* -- Constant ------------------------------------------------------------ */

enum { /* AttributeProto.AttributeType */
    FLOAT = 1, INT = 2, STRING = 3, TENSOR = 4, FLOATS = 6, INTS = 7,
    STRINGS = 8, SPARSE_TENSOR = 11,
};

static cg_data *new_data(cg_onnx_node *n, size_t len)
{
    cg_data *d = cg_arena_new(&n->imp->g->arena, cg_data);
    d->n = len;
    return d;
}

static const cg_data *constant_floats(cg_onnx_node *n, const float *v,
                                      size_t len)
{
    cg_data *d = new_data(n, len);
    d->f = cg_arena_array(&n->imp->g->arena, double, len);
    for (size_t i = 0; i < len; i++)
        d->f[i] = v[i];
    return d;
}

static const cg_data *constant_ints(cg_onnx_node *n, const int64_t *v,
                                    size_t len)
{
    cg_data *d = new_data(n, len);
    d->i = cg_arena_array(&n->imp->g->arena, cg_dim, len);
    for (size_t i = 0; i < len; i++)
        d->i[i] = v[i] < CG_DIM_MIN ? CG_DIM_MIN : v[i];
    return d;
}

static const cg_data *constant_strings(cg_onnx_node *n,
                                       const ProtobufCBinaryData *v, size_t len)
{
    cg_arena *a = &n->imp->g->arena;
    cg_data *d = new_data(n, len);
    d->s = cg_arena_array(a, const char *, len);
    for (size_t i = 0; i < len; i++)
        d->s[i] = cg_arena_strndup(a, (const char *)v[i].data, v[i].len);
    return d;
}

/* The value of value_int, value_floats...; the rank is that of the kind. */
static cg_err from_attr(cg_onnx_node *n, const cg_onnx_attr *a,
                        const char *name, cg_value **out)
{
    const Onnx__AttributeProto *p = a->p;
    if (a->type == TENSOR && p->t)
        return cg_onnx_tensor(n->imp, p->t, name, out);
    if (a->type == SPARSE_TENSOR && p->sparse_tensor)
        return cg_onnx_sparse(n->imp, p->sparse_tensor, name, out);
    bool list = a->type == FLOATS || a->type == INTS || a->type == STRINGS;
    int dtype = a->type == FLOAT || a->type == FLOATS ? CG_F32
                : a->type == INT || a->type == INTS   ? CG_I64
                                                      : CG_STRING;
    size_t len = !list              ? 1
                 : dtype == CG_F32  ? p->n_floats
                 : dtype == CG_I64  ? p->n_ints
                                    : p->n_strings;
    if (!list && a->type != FLOAT && a->type != INT && a->type != STRING)
        return cg_fail(CG_EFORMAT, "attribute '%s' holds no value", a->name);
    cg_dim dim = (cg_dim)len;
    const cg_data *d = NULL;
    if (len <= CG_DATA_MAX)
        d = dtype == CG_F32   ? constant_floats(n, list ? p->floats : &p->f,
                                                len)
            : dtype == CG_I64 ? constant_ints(n, list ? p->ints : &p->i, len)
                              : constant_strings(n, list ? p->strings : &p->s,
                                                 len);
    *out = cg_value_const(n->imp->g, name,
                          cg_type_tensor(n->imp->g, dtype, list, &dim), d);
    (*out)->is_weight = true;
    return CG_OK;
}

/* A value, not a node. */
cg_err cg_onnx_to_constant(cg_onnx_node *n, const cg_onnx_row *row)
{
    static const char *const names[] = {
        "value", "value_int", "value_ints", "value_float", "value_floats",
        "value_string", "value_strings", "sparse_value"};
    cg_value *v;
    (void)row;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const cg_onnx_attr *a = cg_onnx_find(n, names[i]);
        if (!a)
            continue;
        if (n->n_out != 1)
            return cg_fail(CG_EFORMAT, "has %zu outputs", n->n_out);
        CG_TRY(from_attr(n, a, n->out[0], &v));
        v->is_weight = false; /* a literal: a parameter only as a weight */
        cg_onnx_bind_name(n->scope, n->p->output[0], v);
        return CG_OK;
    }
    return cg_fail(CG_EFORMAT, "attribute 'value' is required but missing");
}

/* -- bodies -------------------------------------------------------------- */

static cg_err check_body(const cg_node *to, const char *name, size_t n_in,
                         size_t n_out)
{
    const cg_region *r = cg_attr_region(to, name);
    if (!r)
        return cg_fail(CG_EFORMAT, "attribute '%s' is required but missing",
                       name);
    if (r->inputs.len != n_in)
        return cg_fail(CG_EFORMAT, "%s has %zu inputs, needs %zu", name,
                       r->inputs.len, n_in);
    if (r->outputs.len != n_out)
        return cg_fail(CG_EFORMAT, "%s has %zu outputs, needs %zu", name,
                       r->outputs.len, n_out);
    return CG_OK;
}

/* Outputs that nobody reads may be left out at the end of the node's list, in
 * the body they are there: the node gets them too. */
static size_t full_outputs(const cg_onnx_node *n, const char *body,
                           size_t extra)
{
    const cg_onnx_attr *a = cg_onnx_find(n, body);
    size_t there = a && a->p->g ? a->p->g->n_output : 0;
    there = there > extra ? there - extra : 0;
    return n->n_out < there ? there : n->n_out;
}

/* Appends unnamed outputs up to `want`. */
static void pad_outputs(cg_onnx_node *n, size_t want)
{
    if (want <= n->n_out || want > 65536)
        return;
    const char **out = cg_xcalloc(want, sizeof *out);
    for (size_t i = 0; i < want; i++)
        out[i] = i < n->n_out ? n->out[i] : "";
    cg_xfree((void *)n->out);
    n->out = out;
    n->n_out = want;
}

/* Every output named "" beyond the file's list is left out of the node. */
static cg_err emit_with_body(cg_onnx_node *n, cg_op op, const char *body,
                             size_t extra, cg_node **to)
{
    size_t listed = n->n_out;
    pad_outputs(n, full_outputs(n, body, extra));
    size_t padded = n->n_out;
    n->n_out = padded;
    cg_err err = cg_onnx_emit(n, op, to);
    n->n_out = listed;
    return err;
}

cg_err cg_onnx_to_if(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_node *to;
    CG_TRY(emit_with_body(n, row->op, "then_branch", 0, &to));
    CG_TRY(check_body(to, "then_branch", 0, to->n_out));
    return check_body(to, "else_branch", 0, to->n_out);
}

/* (trip count, condition, carried...); the body has (iteration, condition,
 * carried...) and gives (condition, carried..., scanned...). */
cg_err cg_onnx_to_loop(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_node *to;
    while (n->n_in < 2)
        cg_onnx_set_in(n, n->n_in, NULL);
    size_t carried = n->p->n_input > 2 ? n->p->n_input - 2 : 0;
    while (n->n_in < carried + 2)
        cg_onnx_set_in(n, n->n_in, NULL);
    CG_TRY(emit_with_body(n, row->op, "body", 1, &to));
    if (to->n_out < carried)
        return cg_fail(CG_EFORMAT, "has %u outputs for %zu carried values",
                       to->n_out, carried);
    return check_body(to, "body", carried + 2, to->n_out + 1);
}

/* Opset 8 had sequence lengths first and a batch axis everywhere; with a batch
 * of one that is the Scan of today between Squeeze and Unsqueeze. */
static cg_err scan_8(cg_onnx_node *n, const cg_onnx_row *row)
{
    static const int64_t zero = 0;
    cg_node *to;
    cg_value *axis = cg_onnx_ints(n, &zero, 1);
    size_t n_in = n->n_in ? n->n_in - 1 : 0;
    cg_value **in = cg_xcalloc(n_in, sizeof *in);
    for (size_t i = 0; i < n_in; i++)
        if (n->in[i + 1])
            in[i] = cg_onnx_step(n, CG_OP_SQUEEZE, 2, n->in[i + 1],
                                 axis)->out[0];
    const char **names = cg_xcalloc(n->n_out, sizeof *names);
    for (size_t k = 0; k < n->n_out; k++)
        names[k] = cg_onnx_unique(n->imp, n->name);
    to = cg_node_new(n->imp->g, n->scope->region, row->op, n->name, in, n_in,
                     names, n->n_out);
    cg_xfree(in);
    cg_xfree((void *)names);
    for (size_t i = 0; i < n->n_attr; i++)
        if (strcmp(n->attr[i].name, "directions") == 0)
            n->attr[i].name = "scan_input_directions";
    CG_TRY(cg_onnx_copy_attrs(n, to, true));
    for (size_t k = 0; k < n->n_out; k++)
        cg_onnx_finish(n, k, CG_OP_UNSQUEEZE, 2, to->out[k], axis);
    return check_body(to, "body", n_in, to->n_out);
}

cg_err cg_onnx_to_scan(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_node *to;
    if (n->version < 9)
        return scan_8(n, row);
    CG_TRY(emit_with_body(n, row->op, "body", 0, &to));
    int64_t scanned = cg_attr_int(to, "num_scan_inputs", 0);
    if (scanned < 1 || scanned > (int64_t)to->n_in)
        return cg_fail(CG_EFORMAT, "num_scan_inputs is %lld for %u inputs",
                       (long long)scanned, to->n_in);
    return check_body(to, "body", to->n_in, to->n_out);
}

cg_err cg_onnx_to_sequence_map(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_node *to;
    CG_TRY(emit_with_body(n, row->op, "body", 0, &to));
    return check_body(to, "body", to->n_in, to->n_out);
}
