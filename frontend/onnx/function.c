/* Model-local functions: inlined where they are called.
 *
 * Functions are measured before anything is inlined, each once: a call chain
 * that comes back to itself is an error, and so is a body that doubles forty
 * times over, at the price of forty additions. */
#include <stdio.h>
#include <string.h>

#include "frontend/onnx/import.h"

#define NO_LIMIT UINT64_MAX

static char *function_key(cg_importer *imp, const char *domain,
                          const char *name, const char *overload)
{
    return cg_arena_printf(&imp->scratch, "%s\n%s\n%s", cg_onnx_domain(domain),
                           name ? name : "", overload);
}

cg_function *cg_onnx_function(cg_importer *imp, const Onnx__NodeProto *n)
{
    if (!imp->functions.len || !n->op_type)
        return NULL;
    const char *domain = cg_onnx_domain(n->domain);
    const char *overload = cg_onnx_node_overload(&imp->scratch, n);
    char key[512];
    int len = snprintf(key, sizeof key, "%s\n%s\n%s", domain, n->op_type,
                       overload);
    return cg_map_get(&imp->functions,
                      len >= 0 && (size_t)len < sizeof key
                          ? key
                          : function_key(imp, domain, n->op_type, overload));
}

/* -- measuring ----------------------------------------------------------- */

typedef struct extent {
    uint64_t nodes;
    int depth;
} extent;

static cg_err measure(cg_importer *imp, Onnx__NodeProto **nodes, size_t n,
                      int open, extent *out);

static cg_err measure_function(cg_importer *imp, cg_function *f, int open)
{
    const char *name = f->p->name ? f->p->name : "";
    extent e = {0};
    if (f->measured)
        return CG_OK;
    if (f->open)
        return cg_fail(CG_EFORMAT, "function '%s' calls itself", name);
    f->open = true;
    CG_TRY(measure(imp, f->p->node, f->p->n_node, open + 1, &e));
    f->open = false;
    f->measured = true;
    f->nodes = e.nodes;
    f->depth = e.depth + 1;
    if (f->depth > CG_ONNX_DEPTH_MAX)
        return cg_fail(CG_ELIMIT, "functions call each other more than %d deep",
                       CG_ONNX_DEPTH_MAX);
    return CG_OK;
}

static cg_err measure_graphs(cg_importer *imp, const Onnx__NodeProto *n,
                             int open, extent *out)
{
    for (size_t i = 0; i < n->n_attribute; i++) {
        const Onnx__GraphProto *g = n->attribute[i]->g;
        if (g)
            CG_TRY(measure(imp, g->node, g->n_node, open + 1, out));
    }
    return CG_OK;
}

static cg_err measure(cg_importer *imp, Onnx__NodeProto **nodes, size_t n,
                      int open, extent *out)
{
    if (open > 2 * CG_ONNX_DEPTH_MAX)
        return cg_fail(CG_ELIMIT, "functions and graphs are nested more than "
                       "%d deep", 2 * CG_ONNX_DEPTH_MAX);
    for (size_t i = 0; i < n; i++) {
        cg_function *f = cg_onnx_function(imp, nodes[i]);
        uint64_t more = 1;
        if (f) {
            CG_TRY(measure_function(imp, f, open));
            more = f->nodes + 1;
            if (f->depth > out->depth)
                out->depth = f->depth;
        }
        if (__builtin_add_overflow(out->nodes, more, &out->nodes) ||
            out->nodes > NO_LIMIT / 2)
            out->nodes = NO_LIMIT / 2;
        CG_TRY(measure_graphs(imp, nodes[i], open, out));
    }
    return CG_OK;
}

static cg_err read_function(cg_importer *imp, const Onnx__FunctionProto *p)
{
    cg_function *f = cg_arena_new(&imp->scratch, cg_function);
    f->p = p;
    f->n_defaults = cg_onnx_function_defaults(&imp->scratch, p, &f->defaults);
    char *key = function_key(imp, p->domain, p->name,
                             cg_onnx_function_overload(&imp->scratch, p));
    if (cg_map_get(&imp->functions, key))
        return cg_fail(CG_EFORMAT, "function '%s' is defined twice",
                       p->name ? p->name : "");
    cg_map_put(&imp->functions, key, f);
    return CG_OK;
}

cg_err cg_onnx_functions(cg_importer *imp)
{
    const Onnx__ModelProto *m = imp->model;
    extent e = {0};
    for (size_t i = 0; i < m->n_functions; i++)
        CG_TRY(read_function(imp, m->functions[i]));
    if (!m->n_functions)
        return CG_OK; /* the skimmer counted the nodes */
    CG_TRY(measure(imp, m->graph->node, m->graph->n_node, 0, &e));
    if (e.nodes > imp->max_nodes)
        return cg_fail(CG_ELIMIT, "more than %zu nodes once functions are "
                       "inlined", imp->max_nodes);
    return CG_OK;
}

/* -- inlining ------------------------------------------------------------ */

static cg_err bind_inputs(const cg_onnx_node *n, const cg_function *f,
                          cg_scope *s)
{
    const Onnx__FunctionProto *p = f->p;
    if (n->n_in > p->n_input || n->n_out > p->n_output)
        return cg_fail(CG_EFORMAT, "function '%s' takes %zu inputs and gives "
                       "%zu outputs, the call has %zu and %zu", p->name,
                       p->n_input, p->n_output, n->n_in, n->n_out);
    for (size_t i = 0; i < p->n_input; i++)
        cg_onnx_bind_name(s, p->input[i],
                          i < n->n_in && n->in[i] ? n->in[i] : &cg_onnx_absent);
    for (size_t i = 0; i < n->n_out; i++)
        if (*n->out[i] && *p->output[i])
            cg_map_put(&s->renames, p->output[i], (void *)n->out[i]);
    return CG_OK;
}

/* What the call writes. An output that is an input or a constant of the
 * function, or given out twice, still is a tensor of its own at the call. */
static cg_err bind_outputs(cg_onnx_node *n, const cg_function *f, cg_scope *s)
{
    cg_graph *g = n->imp->g;
    for (size_t i = 0; i < n->n_out; i++) {
        if (!*n->out[i])
            continue;
        cg_value *v = cg_onnx_lookup(s, f->p->output[i]);
        if (!v || v == &cg_onnx_absent)
            return cg_fail(CG_EFORMAT, "function '%s' does not produce its "
                           "output '%s'", f->p->name, f->p->output[i]);
        if (strcmp(v->name, n->out[i]) != 0)
            v = cg_node_new(g, n->scope->region, CG_OP_IDENTITY, n->name, &v,
                            1, &n->out[i], 1)->out[0];
        cg_onnx_bind_name(n->scope, n->p->output[i], v);
    }
    return CG_OK;
}

static cg_err inline_body(cg_onnx_node *n, cg_function *f, cg_scope *s)
{
    Onnx__ValueInfoProto **info;
    CG_TRY(bind_inputs(n, f, s));
    if (!f->order)
        CG_TRY(cg_onnx_order(n->imp, f->p->node, f->p->n_node, s, &f->order));
    CG_TRY(cg_onnx_nodes(n->imp, f->p->node, f->p->n_node, f->order, s));
    size_t n_info = cg_onnx_function_values(&n->imp->scratch, f->p, &info);
    CG_TRY(cg_onnx_declare(n->imp, info, n_info, s));
    return bind_outputs(n, f, s);
}

cg_err cg_onnx_inline(cg_onnx_node *n, cg_function *f)
{
    cg_onnx_call call = {f, n->attr, n->n_attr};
    cg_scope s = {
        .region = n->scope->region,
        .prefix = cg_arena_printf(&n->imp->scratch, "%s/", n->name),
        .opsets = {f->p->opset_import, f->p->n_opset_import},
        .call = &call,
        .depth = n->scope->depth,
        .calls = n->scope->calls + 1,
    };
    cg_err err = inline_body(n, f, &s);
    cg_map_free(&s.values);
    cg_map_free(&s.renames);
    return err;
}
