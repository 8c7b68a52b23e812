/* Graphviz: one box per node with its operator, output (H, W, C) and kernel,
 * coloured by what kind of operator it is. */
#include <inttypes.h>

#include "ir/text.h"

static const char *const colours[] = {
    [CG_CLASS_IO] = "#eeeeee",         [CG_CLASS_COMPUTE] = "#9ec5e8",
    [CG_CLASS_NORM] = "#d9c7e8",       [CG_CLASS_ACTIVATION] = "#f4c7a1",
    [CG_CLASS_UNARY] = "#f8e0c8",      [CG_CLASS_ELEMENTWISE] = "#c9e4b4",
    [CG_CLASS_POOL] = "#a8dbd3",       [CG_CLASS_REDUCE] = "#c5e8e3",
    [CG_CLASS_MOVE] = "#f2f2f2",       [CG_CLASS_JOIN] = "#f0e68c",
    [CG_CLASS_INDEX] = "#e8dfb0",      [CG_CLASS_SAMPLE] = "#b8d8c8",
    [CG_CLASS_SHAPE] = "#ffffff",      [CG_CLASS_RECURRENT] = "#8fb0d8",
    [CG_CLASS_CONTROL] = "#e8a8a8",    [CG_CLASS_SEQUENCE] = "#dddddd",
    [CG_CLASS_RANDOM] = "#e0e0f0",     [CG_CLASS_OTHER] = "#f5b5c5",
};

/* Text inside a quoted label or tooltip. */
static void print_escaped(FILE *f, const char *s)
{
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            fprintf(f, "\\%c", c);
        else
            fputc(c < 0x20 || c == 0x7f ? ' ' : c, f);
    }
}

static void print_hwc(FILE *f, cg_graph *g, bool known, const cg_dim hwc[3])
{
    fputs("\\n", f);
    for (int i = 0; i < 3 && known; i++) {
        fputs(i ? " x " : "", f);
        print_escaped(f, cg_dim_str(g, hwc[i]));
    }
    if (!known)
        fputc('?', f);
}

static void print_box(FILE *f, uint32_t id, const char *op)
{
    fprintf(f, "    n%" PRIu32 " [label=\"", id);
    print_escaped(f, op);
}

static void print_close(FILE *f, cg_class class, const char *name)
{
    fprintf(f, "\", fillcolor=\"%s\", tooltip=\"", colours[class]);
    print_escaped(f, name);
    fputs("\"];\n", f);
}

static void print_end(FILE *f, cg_graph *g, uint32_t id, const char *op,
                      cg_port port)
{
    cg_dim hwc[3];
    bool known = cg_type_hwc(g, &port.type, hwc);
    print_box(f, id, op);
    print_hwc(f, g, known, hwc);
    print_close(f, CG_CLASS_IO, port.name);
}

static void print_node(FILE *f, cg_graph *g, uint32_t id, const cg_node *n)
{
    cg_dim hwc[3];
    cg_geometry m;
    bool known = cg_node_out_hwc(g, n, hwc);
    cg_node_geometry(g, n, &m);
    print_box(f, id, n->source ? n->source : cg_op_name(n->op));
    if (m.kernel[0] != 1 || m.kernel[1] != 1)
        fprintf(f, " %" PRId64 "x%" PRId64, m.kernel[0], m.kernel[1]);
    if (m.stride[0] != 1 || m.stride[1] != 1)
        fprintf(f, " /%" PRId64, m.stride[0]);
    print_hwc(f, g, known, hwc);
    print_close(f, cg_op_table[n->op].class, n->name);
}

void cg_print_dot(FILE *f, cg_graph *g)
{
    const cg_region *r = g->main;
    uint32_t id = 0;
    fputs("digraph \"", f);
    print_escaped(f, g->name);
    fputs("\" {\n    rankdir=TB;\n    node [shape=box, style=\"rounded,filled"
          "\", fontname=\"Helvetica\", fontsize=10];\n", f);
    for (size_t i = 0; i < r->inputs.len; i++)
        print_end(f, g, id++, "Input", cg_region_input(r, i));
    for (size_t i = 0; i < r->nodes.len; i++)
        print_node(f, g, id++, r->nodes.data[i]);
    for (size_t i = 0; i < r->outputs.len; i++)
        print_end(f, g, id++, "Output", cg_region_output(r, i));
    cg_edges e;
    cg_edges_make(&e, g);
    for (uint32_t i = 0; i < e.n_edges; i++)
        fprintf(f, "    n%" PRIu32 " -> n%" PRIu32 ";\n", e.edge[i][0],
                e.edge[i][1]);
    cg_edges_free(&e);
    fputs("}\n", f);
}
