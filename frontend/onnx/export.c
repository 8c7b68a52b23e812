/* ONNX out: the model.
 *
 * Lengths stand before messages, so the graph is made in memory, but for its
 * weights, whose lengths follow from their dims; those are streamed behind it.
 * protobuf joins repeated fields wherever they stand. */
#include "frontend/onnx/export.h"

#include <string.h>

#include "frontend/onnx/export_parts.h"

#define OPSET 18 /* at least: reductions take their axes as an input */
#define ML_VERSION 3
#define PROTOBUF_MAX INT32_MAX /* bytes of a message that protobuf reads */

enum { MODEL_IR = 1, MODEL_PRODUCER, MODEL_GRAPH = 7, MODEL_OPSET };
enum { GRAPH_NAME = 2, GRAPH_INPUT = 11, GRAPH_OUTPUT };

/* -- inputs and outputs --------------------------------------------------- */

static cg_err write_inputs(cg_export *x)
{
    const cg_region *r = x->g->main;
    for (size_t i = 0; i < r->inputs.len; i++) {
        const cg_value *v = r->inputs.data[i];
        cg_port port = cg_region_input(r, i);
        for (int a = 0; a < port.type.rank; a++) {
            cg_dim d = port.type.dims[a];
            cg_dim_cause why = {0};
            if (!cg_dim_known(d))
                why = cg_dim_why(x->g, d);
            if (why.symbol && cg_dim_symbol(x->g, why.symbol) != d)
                return cg_fail(CG_EUNSUPPORTED, "input '%s' cannot be written "
                               "as ONNX: its dim %s is no plain symbol",
                               port.name, cg_dim_str(x->g, d));
        }
        x->name[v->id] = cg_export_unique(x, port.name);
        x->dtype[v->id] = (uint8_t)cg_export_dtype(v->type.dtype);
        cg_put_value(x, GRAPH_INPUT, x->name[v->id], &port.type);
    }
    return CG_OK;
}

static bool same_type(const cg_type *a, const cg_type *b)
{
    return a->rank == b->rank && a->dtype == b->dtype &&
           (a->rank <= 0 || memcmp(a->dims, b->dims,
                                   sizeof *a->dims * (size_t)a->rank) == 0);
}

/* `port` is v under another name for a dim that data decides. */
static bool renames(cg_graph *g, const cg_type *port, const cg_type *v)
{
    for (int i = 0; i < port->rank && port->rank == v->rank; i++)
        if (port->dims[i] != v->dims[i] &&
            (cg_dim_known(port->dims[i]) || cg_dim_known(v->dims[i]) ||
             !cg_dim_why(g, v->dims[i]).why))
            return false;
    return port->rank == v->rank;
}

/* Outputs have their names before others take them; a value that is an output
 * as it stands is made under that name. */
static const char **reserve_outputs(cg_export *x)
{
    const cg_region *r = x->g->main;
    const char **names = cg_arena_array(&x->scratch, const char *,
                                        r->outputs.len);
    for (size_t k = 0; k < r->outputs.len; k++) {
        const cg_value *v = r->outputs.data[k];
        cg_port port = cg_region_output(r, k);
        names[k] = cg_export_unique(x, port.name);
        if (v->role == CG_ROLE_NODE && !x->name[v->id] &&
            same_type(&port.type, &v->type))
            x->name[v->id] = names[k];
    }
    return names;
}

static cg_err write_output(cg_export *x, size_t k, const char *name)
{
    const cg_value *v = x->g->main->outputs.data[k];
    cg_port port = cg_region_output(x->g->main, k);
    const char *from;
    int have = x->dtype[v->id], want = cg_export_dtype(port.type.dtype);
    if (v->role == CG_ROLE_CONST)
        CG_TRY(cg_export_const(x, v, 0, want, &from, &have));
    from = x->name[v->id];
    if (strcmp(from, name) == 0) {
        port.type.dtype = (uint8_t)have; /* what was undefined or tiny */
    } else if (port.type.kind == CG_KIND_TENSOR) {
        if (!renames(x->g, &port.type, &v->type))
            CG_TRY(cg_export_move(x, &v->type, &port.type, &from));
        if (have != want)
            from = cg_export_cast(x, from, want);
    }
    if (strcmp(from, name) != 0)
        cg_export_call(x, "Identity", from, NULL, NULL, name);
    cg_put_value(x, GRAPH_OUTPUT, name, &port.type);
    return CG_OK;
}

/* -- the graph ------------------------------------------------------------ */

static cg_err write_graph(cg_export *x)
{
    const cg_region *r = x->g->main;
    cg_put_text(&x->body, GRAPH_NAME, x->g->name ? x->g->name : "graph");
    CG_TRY(write_inputs(x));
    const char **names = reserve_outputs(x);
    for (size_t i = 0; i < r->nodes.len; i++) {
        x->at = r->nodes.data[i];
        if (!x->at->dead)
            CG_TRY(cg_export_op(x));
    }
    x->at = NULL;
    x->mirrored = SIZE_MAX;
    for (size_t k = 0; k < r->outputs.len; k++)
        CG_TRY(write_output(x, k, names[k]));
    return CG_OK;
}

/* -- the model ------------------------------------------------------------ */

/* The IR version that came with an opset: readers check the pair. */
static int64_t ir_version(int64_t opset)
{
    static const struct { int64_t opset, ir; } first[] = {
        {28, 14}, {25, 13}, {24, 12}, {23, 11}, {21, 10}, {19, 9}};
    for (size_t i = 0; i < sizeof first / sizeof *first; i++)
        if (opset >= first[i].opset)
            return first[i].ir;
    return 8;
}

static void put_opset(cg_bytes *b, const char *domain, int64_t version)
{
    cg_bytes id = {0};
    if (*domain)
        cg_put_text(&id, 1, domain);
    cg_put_int(&id, 2, version);
    cg_put_bytes(b, MODEL_OPSET, id.data, id.len);
    cg_array_free(&id);
}

static void write_model(cg_export *x, FILE *f)
{
    cg_bytes head = {0};
    uint64_t size = x->body.len + cg_export_weights_size(x);
    cg_put_int(&head, MODEL_IR, ir_version(x->opset));
    cg_put_text(&head, MODEL_PRODUCER, "gennape");
    put_opset(&head, "", x->opset);
    for (size_t i = 0; i < x->domains.len; i++) {
        const char *d = x->domains.data[i];
        put_opset(&head, d, strcmp(d, "ai.onnx.ml") == 0 ? ML_VERSION : 1);
    }
    cg_put_head(&head, MODEL_GRAPH, size);
    fwrite(head.data, 1, head.len, f);
    fwrite(x->body.data, 1, x->body.len, f);
    cg_export_weights_write(x, f);
    cg_array_free(&head);
    if (size > PROTOBUF_MAX)
        cg_warn(x->g, NULL, "the model has over 2 GiB, which readers made "
                "with protobuf refuse; without weights it is small");
}

cg_err cg_export_onnx(FILE *f, cg_graph *g, const cg_export_opts *opts)
{
    cg_export x = {.g = g, .opset = OPSET};
    if (opts)
        x.opts = *opts;
    cg_arena_init(&x.scratch);
    x.name = cg_xcalloc(g->values.len, sizeof *x.name);
    x.dtype = cg_xcalloc(g->values.len, sizeof *x.dtype);
    cg_err err = write_graph(&x);
    if (err == CG_OK)
        write_model(&x, f);
    if (err == CG_OK && ferror(f))
        err = cg_fail(CG_EIO, "cannot write the model");
    cg_array_free(&x.body);
    cg_array_free(&x.node);
    cg_array_free(&x.weights);
    cg_array_free(&x.domains);
    cg_map_free(&x.names);
    cg_map_free(&x.nodes);
    cg_map_free(&x.seen);
    cg_map_free(&x.symbols);
    cg_map_free(&x.literals);
    cg_xfree(x.name);
    cg_xfree(x.dtype);
    cg_arena_free(&x.scratch);
    return err;
}
