/* Graphs and nodes: names become values. A nested graph sees the names around
 * it; a function body sees only its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frontend/onnx/import.h"

cg_value cg_onnx_absent = {.name = ""};

const char *cg_onnx_domain(const char *domain)
{
    return !domain || strcmp(domain, "ai.onnx") == 0 ? "" : domain;
}

/* -- names --------------------------------------------------------------- */

cg_value *cg_onnx_lookup(const cg_scope *s, const char *name)
{
    for (; s; s = s->parent) {
        cg_value *v = cg_map_get(&s->values, name);
        if (v)
            return v;
    }
    return NULL;
}

void cg_onnx_bind_name(cg_scope *s, const char *name, cg_value *v)
{
    if (!*name)
        return;
    cg_map_put(&s->values, name, v);
    if (s->listed)
        v->listed = true;
}

static void take(cg_importer *imp, const char *name)
{
    if (name && *name && !cg_map_get(&imp->names, name))
        cg_map_put(&imp->names, name, (void *)(uintptr_t)1);
}

/* As deep as graphs are nested, which the skimmer bounds. */
static void take_all(cg_importer *imp, const Onnx__GraphProto *p)
{
    for (size_t i = 0; i < p->n_input; i++)
        take(imp, p->input[i]->name);
    for (size_t i = 0; i < p->n_initializer; i++)
        take(imp, p->initializer[i]->name);
    for (size_t i = 0; i < p->n_node; i++) {
        const Onnx__NodeProto *n = p->node[i];
        for (size_t k = 0; k < n->n_output; k++)
            take(imp, n->output[k]);
        for (size_t k = 0; k < n->n_attribute; k++)
            if (n->attribute[k]->g)
                take_all(imp, n->attribute[k]->g);
    }
}

const char *cg_onnx_unique(cg_importer *imp, const char *name)
{
    if (!imp->names.len)
        take_all(imp, imp->model->graph);
    uintptr_t used = (uintptr_t)cg_map_get(&imp->names, name);
    const char *base = cg_arena_strdup(&imp->scratch, name);
    const char *fresh = base;
    if (used) {
        do
            fresh = cg_arena_printf(&imp->scratch, "%s#%zu", base,
                                    (size_t)++used);
        while (cg_map_get(&imp->names, fresh));
        cg_map_put(&imp->names, base, (void *)used);
    }
    cg_map_put(&imp->names, fresh, (void *)(uintptr_t)1);
    return fresh;
}

/* The name a value gets that a node of this scope writes. */
static const char *out_name(cg_importer *imp, const cg_scope *s,
                            const char *name)
{
    const char *renamed = cg_map_get(&s->renames, name);
    if (renamed || !*name)
        return renamed ? renamed : name;
    if (!*s->prefix)
        return name;
    return cg_onnx_unique(imp, cg_arena_printf(&imp->scratch, "%s%s",
                                               s->prefix, name));
}

/* -- opsets -------------------------------------------------------------- */

static int64_t find_version(const cg_opsets *sets, const char *domain)
{
    for (size_t i = 0; i < sets->n; i++)
        if (strcmp(cg_onnx_domain(sets->list[i]->domain), domain) == 0 &&
            sets->list[i]->version > 0)
            return sets->list[i]->version;
    return 0;
}

int64_t cg_onnx_version(cg_importer *imp, const cg_scope *s,
                        const char *domain)
{
    cg_opsets model = {imp->model->opset_import, imp->model->n_opset_import};
    int64_t v = find_version(&s->opsets, domain);
    if (!v)
        v = find_version(&model, domain);
    if (v || *domain)
        return v ? v : 1;
    /* files older than opset_import itself */
    if (imp->model->ir_version > 0 && imp->model->ir_version < 3)
        return 1;
    if (!imp->warned_opset)
        cg_warn(imp->g, NULL, "opset_import names no version of ai.onnx; the "
                "newest (%d) is assumed", CG_ONNX_NEWEST);
    imp->warned_opset = true;
    return CG_ONNX_NEWEST;
}

/* -- nodes --------------------------------------------------------------- */

static cg_err read_inputs(cg_onnx_node *n)
{
    const Onnx__NodeProto *p = n->p;
    n->in = cg_xcalloc(p->n_input + CG_ONNX_ROOM, sizeof *n->in);
    n->n_in = p->n_input;
    for (size_t i = 0; i < p->n_input; i++) {
        if (!*p->input[i])
            continue;
        cg_value *v = cg_onnx_lookup(n->scope, p->input[i]);
        if (!v)
            return cg_fail(CG_EFORMAT, "input '%s' is not defined: no input, "
                           "initializer or node output has that name",
                           p->input[i]);
        n->in[i] = v == &cg_onnx_absent ? NULL : v;
    }
    while (n->n_in && !n->in[n->n_in - 1])
        n->n_in--;
    return CG_OK;
}

static void read_outputs(cg_onnx_node *n)
{
    const Onnx__NodeProto *p = n->p;
    n->out = cg_xcalloc(p->n_output, sizeof *n->out);
    n->n_out = p->n_output;
    for (size_t i = 0; i < p->n_output; i++)
        n->out[i] = out_name(n->imp, n->scope, p->output[i]);
    while (n->n_out && !*n->out[n->n_out - 1])
        n->n_out--;
}

static void read_name(cg_onnx_node *n)
{
    cg_arena *a = &n->imp->scratch;
    const Onnx__NodeProto *p = n->p;
    const char *prefix = n->scope->prefix;
    if (p->name && *p->name)
        n->name = *prefix ? cg_arena_printf(a, "%s%s", prefix, p->name)
                          : p->name;
    else
        n->name = cg_arena_printf(a, "%s%s_%s", prefix, n->type,
                                  p->n_output ? p->output[0] : "");
}

static cg_err over_limits(cg_importer *imp)
{
    if (++imp->n_nodes > imp->max_nodes)
        return cg_fail(CG_ELIMIT, "more than %zu nodes", imp->max_nodes);
    /* names, constants and attributes of inlined functions count too */
    size_t used = imp->g->arena.used + imp->scratch.used;
    size_t most = imp->max_bytes + imp->max_bytes / 2;
    if (used > most)
        return cg_fail(CG_ELIMIT, "the graph needs more than %zu MiB",
                       most >> 20);
    return CG_OK;
}

static cg_err convert(cg_onnx_node *n)
{
    if (!n->p->op_type || !*n->p->op_type)
        return cg_fail(CG_EFORMAT, "has no op_type");
    CG_TRY(over_limits(n->imp));
    CG_TRY(cg_onnx_attrs(n));
    CG_TRY(read_inputs(n));
    read_outputs(n);
    cg_function *f = cg_onnx_function(n->imp, n->p);
    return f ? cg_onnx_inline(n, f) : cg_onnx_lower(n);
}

static cg_err one_node(cg_importer *imp, const Onnx__NodeProto *p, cg_scope *s)
{
    cg_onnx_node n = {.imp = imp, .scope = s, .p = p};
    n.type = p->op_type ? p->op_type : "";
    n.domain = cg_onnx_domain(p->domain);
    n.version = cg_onnx_version(imp, s, n.domain);
    read_name(&n);
    cg_err err = convert(&n);
    cg_xfree(n.in);
    cg_xfree((void *)n.out);
    cg_xfree(n.attr);
    if (err == CG_OK || imp->located)
        return err;
    imp->located = true; /* calls and bodies around it need not be named */
    return cg_fail_in(err, "node '%.300s' (%.80s)", n.name, n.type);
}

cg_err cg_onnx_nodes(cg_importer *imp, Onnx__NodeProto **nodes, size_t n,
                     const uint32_t *order, cg_scope *s)
{
    for (size_t i = 0; i < n; i++)
        CG_TRY(one_node(imp, nodes[order[i]], s));
    return CG_OK;
}

/* -- graphs -------------------------------------------------------------- */

static cg_err add_initializer(cg_importer *imp, const char *name,
                              const Onnx__TensorProto *dense,
                              const Onnx__SparseTensorProto *sparse,
                              cg_scope *s)
{
    cg_value *v;
    if (!name || !*name)
        return cg_fail(CG_EFORMAT, "an initializer has no name");
    if (cg_map_get(&s->values, name))
        cg_warn(imp->g, NULL, "initializer '%s' is there twice; the last "
                "counts", name);
    const char *full = out_name(imp, s, name);
    if (dense)
        CG_TRY(cg_onnx_tensor(imp, dense, full, &v));
    else
        CG_TRY(cg_onnx_sparse(imp, sparse, full, &v));
    cg_onnx_bind_name(s, name, v);
    return CG_OK;
}

cg_err cg_onnx_initializers(cg_importer *imp, const Onnx__GraphProto *p,
                            cg_scope *s)
{
    for (size_t i = 0; i < p->n_initializer; i++)
        CG_TRY(add_initializer(imp, p->initializer[i]->name, p->initializer[i],
                               NULL, s));
    for (size_t i = 0; i < p->n_sparse_initializer; i++) {
        const Onnx__SparseTensorProto *t = p->sparse_initializer[i];
        CG_TRY(add_initializer(imp, t->values ? t->values->name : NULL, NULL,
                               t, s));
    }
    return CG_OK;
}

cg_err cg_onnx_declare(cg_importer *imp, Onnx__ValueInfoProto **info, size_t n,
                       cg_scope *s)
{
    for (size_t i = 0; i < n; i++) {
        const char *name = info[i]->name;
        cg_value *v = name ? cg_map_get(&s->values, name) : NULL;
        if (v && v->role == CG_ROLE_NODE && v->declared.rank < 0)
            CG_TRY(cg_onnx_type(imp, info[i]->type, v->name, &v->declared));
    }
    return CG_OK;
}

cg_err cg_onnx_outputs(cg_importer *imp, const Onnx__GraphProto *p,
                       cg_scope *s)
{
    for (size_t i = 0; i < p->n_output; i++) {
        const char *name = p->output[i]->name;
        cg_value *v = name && *name ? cg_onnx_lookup(s, name) : NULL;
        if (!v || v == &cg_onnx_absent)
            return cg_fail(CG_EFORMAT, "graph output '%s' is produced by no "
                           "node", name ? name : "");
        cg_array_push(&s->region->outputs, v);
    }
    return cg_onnx_declare(imp, p->output, p->n_output, s);
}

static cg_err body_inputs(cg_importer *imp, const Onnx__GraphProto *p,
                          cg_scope *s)
{
    for (size_t i = 0; i < p->n_input; i++) {
        const char *name = p->input[i]->name;
        if (!name || !*name)
            return cg_fail(CG_EFORMAT, "an input has no name");
        cg_value *v = cg_map_get(&s->values, name);
        if (v && v->role == CG_ROLE_INPUT)
            return cg_fail(CG_EFORMAT, "input '%s' is there twice", name);
        if (v)
            continue; /* an initializer: that is its value */
        v = cg_value_input(imp->g, s->region, out_name(imp, s, name),
                           cg_type_none());
        CG_TRY(cg_onnx_type(imp, p->input[i]->type, v->name, &v->declared));
        cg_onnx_bind_name(s, name, v);
    }
    return CG_OK;
}

static cg_err fill_body(cg_importer *imp, const Onnx__GraphProto *p,
                        cg_scope *s)
{
    uint32_t *order;
    CG_TRY(cg_onnx_initializers(imp, p, s));
    CG_TRY(body_inputs(imp, p, s));
    CG_TRY(cg_onnx_order(imp, p->node, p->n_node, s, &order));
    CG_TRY(cg_onnx_nodes(imp, p->node, p->n_node, order, s));
    CG_TRY(cg_onnx_outputs(imp, p, s));
    return cg_onnx_declare(imp, p->value_info, p->n_value_info, s);
}

cg_err cg_onnx_body(cg_importer *imp, const Onnx__GraphProto *p,
                    cg_scope *outer, cg_region **out)
{
    if (outer->depth >= CG_ONNX_DEPTH_MAX - 1)
        return cg_fail(CG_ELIMIT, "graphs are nested more than %d deep",
                       CG_ONNX_DEPTH_MAX);
    cg_scope s = {.parent = outer,
                  .region = *out = cg_region_new(imp->g, outer->region),
                  .prefix = outer->prefix,
                  .opsets = outer->opsets,
                  .call = outer->call,
                  .depth = outer->depth + 1,
                  .calls = outer->calls};
    cg_err err = fill_body(imp, p, &s);
    cg_map_free(&s.values);
    return err;
}
