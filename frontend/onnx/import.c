/* The model as a whole: inputs and what the caller says of them, then the main
 * graph. */
#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "frontend/onnx/import.h"

#define DEFAULT_NODES ((size_t)4000000)
#define DEFAULT_BYTES ((size_t)1 << 30)

/* -- the batch ----------------------------------------------------------- */

static bool batch_like(const char *name)
{
    static const char *const names[] = {"n", "b", "bs", "none", "?", "-1"};
    char low[64] = "";
    for (size_t i = 0; name[i] && i + 1 < sizeof low; i++)
        low[i] = (char)tolower((unsigned char)name[i]);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(low, names[i]) == 0)
            return true;
    return strstr(low, "batch") || strncmp(low, "unk__", 5) == 0 ||
           strncmp(low, "dynamic_axes", 12) == 0;
}

static const cg_input_shape *shape_option(const cg_importer *imp,
                                          const char *name)
{
    const cg_onnx_opts *o = imp->opts;
    for (size_t i = 0; i < o->n_shapes; i++)
        if (strcmp(o->shapes[i].name, name) == 0)
            return &o->shapes[i];
    return NULL;
}

static bool bound_option(const cg_importer *imp, const char *symbol)
{
    for (size_t i = 0; i < imp->opts->n_dims; i++)
        if (strcmp(imp->opts->dims[i].name, symbol) == 0 ||
            strcmp(imp->opts->dims[i].name, "*") == 0)
            return true;
    return false;
}

static const Onnx__TensorShapeProto *file_shape(const Onnx__ValueInfoProto *i)
{
    const Onnx__TypeProto *t = i->type;
    return t && t->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE
               ? t->tensor_type->shape
               : NULL;
}

/* The symbol an input's axis has, NULL where the file gives a number. */
static const char *axis_symbol(cg_importer *imp, const Onnx__ValueInfoProto *i,
                               size_t axis)
{
    const Onnx__TensorShapeProto__Dimension *d = file_shape(i)->dim[axis];
    if (d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE &&
        d->dim_value >= 0)
        return NULL;
    if (d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM &&
        *d->dim_param)
        return d->dim_param;
    return cg_arena_printf(&imp->scratch, "%s.%zu", i->name, axis);
}

static void bind(cg_importer *imp, cg_map *bound, const char *symbol,
                 int64_t value)
{
    if (!symbol || bound_option(imp, symbol) || cg_map_get(bound, symbol))
        return;
    cg_map_put(bound, symbol, bound);
    cg_dim_bind(imp->g, symbol, value);
}

/* Symbols get their values before the first type is read: those that the
 * caller gave a value, those of inputs whose shape was given, and the batch. */
static void bind_symbols(cg_importer *imp, Onnx__ValueInfoProto **inputs,
                         size_t n)
{
    const cg_onnx_opts *o = imp->opts;
    cg_map bound = {0};
    for (size_t i = 0; i < o->n_dims; i++)
        if (strcmp(o->dims[i].name, "*") != 0 && o->dims[i].value >= 0)
            cg_dim_bind(imp->g, o->dims[i].name, o->dims[i].value);
    for (size_t i = 0; i < n; i++) {
        const cg_input_shape *given = shape_option(imp, inputs[i]->name);
        const Onnx__TensorShapeProto *s = file_shape(inputs[i]);
        if (given && s && s->n_dim == (size_t)given->rank)
            for (size_t k = 0; k < s->n_dim; k++)
                bind(imp, &bound, axis_symbol(imp, inputs[i], k),
                     given->dims[k]);
    }
    for (size_t i = 0; i < n; i++) {
        const Onnx__TensorShapeProto *s = file_shape(inputs[i]);
        const char *symbol =
            s && s->n_dim >= 2 ? axis_symbol(imp, inputs[i], 0) : NULL;
        bool named = symbol && s->dim[0]->value_case ==
            ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM &&
            *s->dim[0]->dim_param;
        if (symbol && (!named || batch_like(symbol)))
            bind(imp, &bound, symbol, 1);
    }
    cg_map_free(&bound);
}

/* -- inputs -------------------------------------------------------------- */

static cg_err given_type(const cg_importer *imp, const cg_input_shape *given,
                         cg_type *t)
{
    int64_t count;
    if (t->rank >= 0 && t->rank != given->rank)
        return cg_fail(CG_EUSAGE, "input '%s' has rank %d, the shape given for "
                       "it has %d", given->name, t->rank, given->rank);
    CG_TRY(cg_onnx_dims(given->name, given->dims, (size_t)given->rank, &count));
    *t = cg_type_tensor(imp->g, t->dtype, given->rank, given->dims);
    return CG_OK;
}

static cg_err add_input(cg_importer *imp, const Onnx__ValueInfoProto *p,
                        cg_scope *s)
{
    cg_type t;
    CG_TRY(cg_onnx_type(imp, p->type, p->name, &t));
    const cg_input_shape *given = shape_option(imp, p->name);
    if (given)
        CG_TRY(given_type(imp, given, &t));
    cg_value *v = cg_value_input(imp->g, s->region, p->name, t);
    if (t.rank < 0 && t.kind == CG_KIND_TENSOR)
        v->why = "the file gives no shape for this input";
    cg_onnx_bind_name(s, p->name, v);
    return CG_OK;
}

static cg_err unknown_input(Onnx__ValueInfoProto **inputs, size_t n,
                            const char *name)
{
    char list[600];
    size_t len = 0;
    list[0] = '\0';
    for (size_t i = 0; i < n && len < sizeof list - 80; i++)
        len += (size_t)snprintf(list + len, sizeof list - len, "%s%.60s",
                                i ? ", " : "", inputs[i]->name);
    return cg_fail(CG_EUSAGE, "a shape is given for '%s', which is no input; "
                   "inputs are: %s", name, list);
}

static bool has_symbol(cg_importer *imp, Onnx__ValueInfoProto **inputs,
                       size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        const Onnx__TensorShapeProto *s = file_shape(inputs[i]);
        for (size_t k = 0; s && k < s->n_dim; k++) {
            const char *symbol = axis_symbol(imp, inputs[i], k);
            if (symbol && strcmp(symbol, name) == 0)
                return true;
        }
    }
    return false;
}

static cg_err check_options(cg_importer *imp, Onnx__ValueInfoProto **inputs,
                            size_t n)
{
    for (size_t k = 0; k < imp->opts->n_dims; k++) {
        const char *name = imp->opts->dims[k].name;
        if (strcmp(name, "*") != 0 && !has_symbol(imp, inputs, n, name))
            cg_warn(imp->g, NULL, "no input has a dim named '%s'", name);
    }
    for (size_t k = 0; k < imp->opts->n_shapes; k++) {
        bool found = false;
        for (size_t i = 0; i < n && !found; i++)
            found = strcmp(inputs[i]->name, imp->opts->shapes[k].name) == 0;
        if (!found)
            return unknown_input(inputs, n, imp->opts->shapes[k].name);
    }
    return CG_OK;
}

/* Inputs that are not initializers, in the order of the file. */
static cg_err real_inputs(cg_importer *imp, cg_scope *s,
                          Onnx__ValueInfoProto ***out, size_t *n)
{
    const Onnx__GraphProto *p = imp->model->graph;
    cg_map seen = {0};
    cg_err err = CG_OK;
    *out = cg_arena_array(&imp->scratch, Onnx__ValueInfoProto *, p->n_input);
    *n = 0;
    for (size_t i = 0; i < p->n_input && err == CG_OK; i++) {
        const char *name = p->input[i]->name;
        if (!name || !*name)
            err = cg_fail(CG_EFORMAT, "a graph input has no name");
        else if (cg_map_get(&seen, name))
            err = cg_fail(CG_EFORMAT, "graph input '%s' is there twice", name);
        else if (!cg_map_get(&s->values, name))
            (*out)[(*n)++] = p->input[i];
        cg_map_put(&seen, name ? name : "", &seen);
    }
    cg_map_free(&seen);
    return err;
}

static cg_err add_inputs(cg_importer *imp, cg_scope *s)
{
    Onnx__ValueInfoProto **inputs;
    size_t n;
    CG_TRY(real_inputs(imp, s, &inputs, &n));
    CG_TRY(check_options(imp, inputs, n));
    bind_symbols(imp, inputs, n);
    for (size_t i = 0; i < n; i++)
        CG_TRY(add_input(imp, inputs[i], s));
    return CG_OK;
}

/* -- the model ----------------------------------------------------------- */

static void describe(cg_importer *imp)
{
    cg_graph *g = imp->g;
    const Onnx__ModelProto *m = imp->model;
    const char *version = m->producer_version ? m->producer_version : "";
    if (m->producer_name && *m->producer_name)
        g->producer = cg_arena_printf(&g->arena, "%s%s%s", m->producer_name,
                                      *version ? " " : "", version);
    g->ir_version = m->ir_version;
    for (size_t i = 0; i < m->n_opset_import; i++)
        if (!*cg_onnx_domain(m->opset_import[i]->domain))
            g->opset = m->opset_import[i]->version;
    if (g->opset > CG_ONNX_NEWEST)
        cg_warn(g, NULL, "opset %lld is newer than this program, which knows "
                "%d", (long long)g->opset, CG_ONNX_NEWEST);
}

static cg_err import_main(cg_importer *imp, cg_scope *s)
{
    const Onnx__GraphProto *p = imp->model->graph;
    uint32_t *order;
    describe(imp);
    CG_TRY(cg_onnx_functions(imp));
    CG_TRY(cg_onnx_initializers(imp, p, s));
    CG_TRY(add_inputs(imp, s));
    CG_TRY(cg_onnx_order(imp, p->node, p->n_node, s, &order));
    CG_TRY(cg_onnx_nodes(imp, p->node, p->n_node, order, s));
    CG_TRY(cg_onnx_outputs(imp, p, s));
    return cg_onnx_declare(imp, p->value_info, p->n_value_info, s);
}

static cg_err import_model(cg_importer *imp, const unsigned char *data,
                           size_t size)
{
    cg_wire_limits limits = {imp->max_nodes, imp->max_bytes};
    Onnx__ModelProto *model;
    unsigned char *skim;
    size_t skim_size;
    CG_TRY(cg_wire_skim(data, size, &limits, &skim, &skim_size));
    cg_err err = cg_onnx_unpack(&imp->scratch, skim, skim_size, &model);
    cg_xfree(skim);
    CG_TRY(err);
    if (!model->graph)
        return cg_fail(CG_EFORMAT, "not an ONNX model: it has no graph");
    imp->model = model;
    imp->g = cg_graph_new(model->graph->name);
    cg_onnx_row_table(imp);
    cg_onnx_attr_table(imp);
    cg_scope s = {.region = imp->g->main, .prefix = "", .listed = true,
                  .opsets = {model->opset_import, model->n_opset_import}};
    err = import_main(imp, &s);
    cg_map_free(&s.values);
    return err;
}

cg_err cg_import_onnx_memory(const void *data, size_t size, const char *dir,
                             const cg_onnx_opts *opts, cg_graph **out)
{
    static const cg_onnx_opts none;
    cg_importer imp = {.opts = opts ? opts : &none, .dir = -1};
    imp.max_nodes = imp.opts->max_nodes ? imp.opts->max_nodes : DEFAULT_NODES;
    imp.max_bytes = imp.opts->max_skim_bytes ? imp.opts->max_skim_bytes
                                             : DEFAULT_BYTES;
    if (dir)
        imp.dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cg_err err = import_model(&imp, data, size);
    if (imp.dir >= 0)
        close(imp.dir);
    cg_map_free(&imp.functions);
    cg_map_free(&imp.captures);
    cg_map_free(&imp.rows);
    cg_map_free(&imp.attrs);
    cg_map_free(&imp.files);
    cg_map_free(&imp.names);
    cg_arena_free(&imp.scratch);
    if (err != CG_OK)
        cg_graph_free(imp.g);
    *out = err == CG_OK ? imp.g : NULL;
    return err;
}

/* The directory of a path; NULL for "-". On the heap. */
static char *directory(const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t n = !slash ? 1 : slash == path ? 1 : (size_t)(slash - path);
    if (strcmp(path, "-") == 0)
        return NULL;
    char *dir = cg_xcalloc(n + 1, 1);
    memcpy(dir, slash ? path : ".", n);
    return dir;
}

cg_err cg_import_onnx(const char *path, const cg_onnx_opts *opts,
                      cg_graph **out)
{
    cg_file_map file;
    *out = NULL;
    CG_TRY(cg_file_open(&file, path, DEFAULT_BYTES));
    char *dir = directory(path);
    cg_err err = cg_import_onnx_memory(file.data, file.size, dir, opts, out);
    cg_xfree(dir);
    cg_file_close(&file);
    return err;
}
