/* The graph and its shapes as JSON, for other programs (docs/cg.md). Written
 * directly: the forms are small, and a document tree of a large graph would
 * cost more than the graph. */
#include <inttypes.h>

#include "ir/json.h"
#include "ir/quote.h"
#include "ir/text.h"
#include "ir/text_names.h"

void cg_print_json_string(FILE *f, const char *s)
{
    fputc('"', f);
    while (*s) {
        unsigned char c = (unsigned char)*s;
        size_t n = cg_utf8_len(s);
        if (n == 0)
            fputs("\\ufffd", f);
        else if (c == '"' || c == '\\')
            fprintf(f, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            fprintf(f, "\\u%04x", c);
        else
            fwrite(s, 1, n, f);
        s += n ? n : 1;
    }
    fputc('"', f);
}

void cg_json_dim(FILE *f, cg_graph *g, cg_dim d)
{
    if (cg_dim_known(d))
        fprintf(f, "%" PRId64, d);
    else
        cg_print_json_string(f, cg_dim_str(g, d));
}

void cg_json_hash(FILE *f, const cg_graph *g)
{
    fprintf(f, "\"%016" PRIx64 "%016" PRIx64 "\"", g->hash[0], g->hash[1]);
}

static void print_dims(FILE *f, cg_graph *g, const cg_dim *d, int n)
{
    fputc('[', f);
    for (int i = 0; i < n; i++) {
        fputs(i ? ", " : "", f);
        cg_json_dim(f, g, d[i]);
    }
    fputc(']', f);
}

/* -- shapes ---------------------------------------------------------------- */

/* A dim that is a name alone prints as the file spells it. */
static void print_shape_dim(FILE *f, cg_graph *g, cg_dim d)
{
    const char *name = NULL;
    if (!cg_dim_known(d)) {
        cg_dim_cause c = cg_dim_why(g, d);
        if (c.symbol && !c.why && cg_dim_symbol(g, c.symbol) == d)
            name = c.symbol;
    }
    if (name)
        cg_print_json_string(f, name);
    else
        cg_json_dim(f, g, d);
}

/* Sequences and optionals show the dims of their elements, under a key. */
static const char *const shape_open[] = {
    [CG_KIND_TENSOR] = "[",
    [CG_KIND_SPARSE] = "[",
    [CG_KIND_SEQUENCE] = "{\"seq_of\": [",
    [CG_KIND_OPTIONAL] = "{\"optional_of\": [",
};

static void print_shape(FILE *f, cg_graph *g, const cg_type *t)
{
    if (t->kind == CG_KIND_MAP || t->rank < 0) {
        fputs("null", f);
        return;
    }
    fputs(shape_open[t->kind], f);
    for (int k = 0; k < t->rank; k++) {
        fputs(k ? ", " : "", f);
        print_shape_dim(f, g, t->dims[k]);
    }
    fputs(shape_open[t->kind][0] == '{' ? "]}" : "]", f);
}

void cg_print_shapes(FILE *f, cg_graph *g)
{
    bool first = true;
    fputc('{', f);
    for (size_t i = 0; i < g->values.len; i++) {
        const cg_value *v = g->values.data[i];
        if (!v->listed)
            continue;
        fputs(first ? "" : ", ", f);
        first = false;
        cg_print_json_string(f, v->name);
        fputs(": ", f);
        print_shape(f, g, &v->type);
    }
    fputs("}\n", f);
}

/* -- the graph ------------------------------------------------------------- */

static void print_string_or_null(FILE *f, const char *s)
{
    if (s)
        cg_print_json_string(f, s);
    else
        fputs("null", f);
}

static void print_hwc(FILE *f, cg_graph *g, const char *key, bool known,
                      const cg_dim hwc[3])
{
    fprintf(f, ", \"%s\": ", key);
    if (known)
        print_dims(f, g, hwc, 3);
    else
        fputs("null", f);
}

static void print_head(FILE *f, uint32_t id, const char *name, const char *op)
{
    fprintf(f, "%s\n    {\"id\": %" PRIu32 ", \"name\": ", id ? "," : "", id);
    cg_print_json_string(f, name);
    fputs(", \"op\": ", f);
    cg_print_json_string(f, op);
}

static void print_pair(FILE *f, const char *key, const int64_t v[2])
{
    fprintf(f, ", \"%s\": [%" PRId64 ", %" PRId64 "]", key, v[0], v[1]);
}

static void print_geometry(FILE *f, cg_graph *g, const cg_geometry *m)
{
    print_pair(f, "kernel", m->kernel);
    print_pair(f, "stride", m->stride);
    print_pair(f, "dilation", m->dilation);
    fprintf(f, ", \"pad\": [%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64
               "], \"groups\": %" PRId64 ", \"weight\": ",
            m->pad[0], m->pad[1], m->pad[2], m->pad[3], m->groups);
    if (m->weight[0] == 0)
        fputs("null", f);
    else
        print_dims(f, g, m->weight, 4);
    fprintf(f, ", \"bias\": %s", m->bias ? "true" : "false");
}

static void print_costs(FILE *f, cg_graph *g, cg_dim macs, cg_dim flops,
                        cg_dim params)
{
    fputs("\"macs\": ", f);
    cg_json_dim(f, g, macs);
    fputs(", \"flops\": ", f);
    cg_json_dim(f, g, flops);
    fputs(", \"params\": ", f);
    cg_json_dim(f, g, params);
    fputc('}', f);
}

/* An Input or Output: in and out are the tensor. */
static void print_end(FILE *f, cg_graph *g, uint32_t id, const char *op,
                      cg_port port)
{
    cg_dim hwc[3];
    cg_geometry none = {.kernel = {1, 1}, .stride = {1, 1},
                        .dilation = {1, 1}, .groups = 1};
    bool known = cg_type_hwc(g, &port.type, hwc);
    print_head(f, id, port.name, op);
    print_hwc(f, g, "in", known, hwc);
    print_hwc(f, g, "out", known, hwc);
    print_geometry(f, g, &none);
    fputs(", ", f);
    print_costs(f, g, 0, 0, 0);
}

static void print_node(FILE *f, cg_graph *g, uint32_t id, const cg_node *n)
{
    cg_dim in[3], out[3];
    cg_geometry m;
    bool has_in = cg_node_in_hwc(g, n, in);
    bool has_out = cg_node_out_hwc(g, n, out);
    cg_node_geometry(g, n, &m);
    print_head(f, id, n->name, cg_op_name(n->op));
    if (n->source) {
        fputs(", \"source\": ", f);
        cg_print_json_string(f, n->source);
    }
    print_hwc(f, g, "in", has_in, in);
    print_hwc(f, g, "out", has_out, out);
    print_geometry(f, g, &m);
    fputs(", ", f);
    print_costs(f, g, n->macs, n->flops, n->params);
}

static void print_nodes(FILE *f, cg_graph *g)
{
    const cg_region *r = g->main;
    uint32_t id = 0;
    fputs("  \"nodes\": [", f);
    for (size_t i = 0; i < r->inputs.len; i++)
        print_end(f, g, id++, "Input", cg_region_input(r, i));
    for (size_t i = 0; i < r->nodes.len; i++)
        print_node(f, g, id++, r->nodes.data[i]);
    for (size_t i = 0; i < r->outputs.len; i++)
        print_end(f, g, id++, "Output", cg_region_output(r, i));
    fputs("\n  ],\n", f);
}

static void print_edges(FILE *f, const cg_graph *g)
{
    cg_edges e;
    cg_edges_make(&e, g);
    fputs("  \"edges\": [", f);
    for (uint32_t i = 0; i < e.n_edges; i++)
        fprintf(f, "%s%s[%" PRIu32 ", %" PRIu32 "]", i ? "," : "",
                i % 8 ? " " : "\n    ", e.edge[i][0], e.edge[i][1]);
    fputs("\n  ],\n", f);
    cg_edges_free(&e);
}

static void print_warnings(FILE *f, const cg_graph *g)
{
    fputs("  \"warnings\": [", f);
    for (size_t i = 0; i < g->warnings.len; i++) {
        const cg_warning *w = &g->warnings.data[i];
        fprintf(f, "%s\n    {\"node\": ", i ? "," : "");
        print_string_or_null(f, w->node);
        fputs(", \"text\": ", f);
        cg_print_json_string(f, w->text);
        fputc('}', f);
    }
    fputs(g->warnings.len ? "\n  ]\n" : "]\n", f);
}

void cg_print_json(FILE *f, cg_graph *g)
{
    fputs("{\n  \"format\": \"cg/1\",\n  \"name\": ", f);
    cg_print_json_string(f, g->name);
    fputs(",\n  \"producer\": ", f);
    print_string_or_null(f, g->producer);
    fputs(",\n", f);
    print_nodes(f, g);
    print_edges(f, g);
    fputs("  \"totals\": {", f);
    print_costs(f, g, g->macs, g->flops, g->params);
    fputs(",\n  \"spectrum\": [", f);
    for (int i = 0; i < CG_SPECTRUM_LEN; i++) {
        fputs(i ? ", " : "", f);
        cg_print_double(f, g->spectrum[i]);
    }
    fputs("],\n  \"hash\": ", f);
    cg_json_hash(f, g);
    fputs(",\n", f);
    print_warnings(f, g);
    fputs("}\n", f);
}
