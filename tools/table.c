#include "tools/table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ir/gaps.h"

/* 11684712 as "11.68 M"; a symbolic count as its expression. */
static const char *human(cg_graph *g, cg_dim d)
{
    static const char *const unit[] = {"", " k", " M", " G", " T", " P", " E"};
    if (!cg_dim_known(d)) {
        const char *s = cg_dim_str(g, d);
        return strlen(s) <= 10 ? s : "symbolic";
    }
    double x = (double)d;
    int u = 0;
    for (; x >= 999.5 && u < 6; u++)
        x /= 1000;
    const char *fmt = u == 0     ? "%.0f%s"
                      : x < 9.995 ? "%.3f%s"
                      : x < 99.95 ? "%.2f%s"
                                  : "%.1f%s";
    char buf[32];
    snprintf(buf, sizeof buf, fmt, x, unit[u]);
    return cg_arena_strdup(&g->arena, buf);
}

/* 11684712 as "11,684,712". */
static const char *exact(cg_graph *g, cg_dim d)
{
    if (!cg_dim_known(d))
        return cg_dim_str(g, d);
    char digits[24], out[32];
    int n = snprintf(digits, sizeof digits, "%" PRId64, d), w = 0;
    for (int i = 0; i < n; i++) {
        out[w++] = digits[i];
        if ((n - 1 - i) % 3 == 0 && i != n - 1 && digits[i] != '-')
            out[w++] = ',';
    }
    out[w] = '\0';
    return cg_arena_strdup(&g->arena, out);
}

/* Names come from the file: no control characters on a terminal. */
static void print_name(FILE *f, const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            fprintf(f, "\\x%02x", (unsigned char)*s);
        else
            fputc(*s, f);
}

static void print_port(FILE *f, cg_graph *g, const char *what,
                       cg_port port)
{
    const cg_type *t = &port.type;
    fprintf(f, "  %-8s ", what);
    print_name(f, port.name);
    fprintf(f, "  %s%s", cg_dtype_name(t->dtype), t->rank < 0 ? "*" : "[");
    for (int i = 0; i < t->rank; i++)
        fprintf(f, "%s%s", i ? "," : "", cg_dim_str(g, t->dims[i]));
    fputs(t->rank < 0 ? "\n" : "]\n", f);
}

typedef struct row {
    uint32_t count;
    cg_dim params, macs, flops;
    const char *name;
} row;

static double weight_of(cg_dim d) { return cg_dim_known(d) ? (double)d : 1e300; }

static int by_cost(const void *a, const void *b)
{
    const row *x = a, *y = b;
    double fx = weight_of(x->flops), fy = weight_of(y->flops);
    if (fx != fy)
        return fx > fy ? -1 : 1;
    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    return strcmp(x->name, y->name);
}

static size_t collect(cg_graph *g, row *rows)
{
    row by_op[CG_OP_COUNT] = {0};
    for (size_t i = 0; i < g->main->nodes.len; i++) {
        const cg_node *n = g->main->nodes.data[i];
        row *r = &by_op[n->op];
        r->count++;
        r->params = cg_dim_add(g, r->params, n->params);
        r->macs = cg_dim_add(g, r->macs, n->macs);
        r->flops = cg_dim_add(g, r->flops, n->flops);
    }
    size_t len = 0;
    for (int op = 0; op < CG_OP_COUNT; op++)
        if (by_op[op].count) {
            rows[len] = by_op[op];
            rows[len++].name = cg_op_name((cg_op)op);
        }
    qsort(rows, len, sizeof *rows, by_cost);
    return len;
}

static void print_rows(FILE *f, cg_graph *g)
{
    row rows[CG_OP_COUNT];
    size_t n = collect(g, rows);
    if (n == 0)
        return;
    fprintf(f, "\n  %-18s %6s %10s %10s %10s %7s\n", "operator", "count",
            "params", "MACs", "FLOPs", "FLOPs %");
    for (size_t i = 0; i < n; i++) {
        const row *r = &rows[i];
        fprintf(f, "  %-18s %6u %10s %10s %10s", r->name, r->count,
                human(g, r->params), human(g, r->macs), human(g, r->flops));
        if (cg_dim_known(r->flops) && cg_dim_known(g->flops) && g->flops > 0)
            fprintf(f, " %7.2f", 100.0 * (double)r->flops / (double)g->flops);
        fputc('\n', f);
    }
}

#define MAX_GAPS 8

static void print_gaps(FILE *f, cg_graph *g)
{
    size_t n;
    const cg_gap *gap = cg_graph_gaps(g, &n);
    if (n)
        fputs("\n  not known\n", f);
    for (size_t i = 0; i < n && i < MAX_GAPS; i++) {
        fputs("    ", f);
        if (gap[i].because) {
            print_name(f, gap[i].because);
            fputs(": ", f);
        }
        fprintf(f, "%s (%s)\n", gap[i].what, gap[i].why);
    }
    if (n > MAX_GAPS)
        fprintf(f, "    and %zu more: see --stats\n", n - MAX_GAPS);
}

void cg_print_table(FILE *f, cg_graph *g, const char *file)
{
    cg_edges e;
    cg_edges_make(&e, g);
    print_name(f, file);
    if (g->producer || g->opset) {
        fputs("  (", f);
        if (g->producer)
            print_name(f, g->producer);
        if (g->opset)
            fprintf(f, "%sopset %" PRId64, g->producer ? ", " : "", g->opset);
        fputc(')', f);
    }
    fputc('\n', f);
    for (size_t i = 0; i < g->main->inputs.len; i++)
        print_port(f, g, "input", cg_region_input(g->main, i));
    for (size_t i = 0; i < g->main->outputs.len; i++)
        print_port(f, g, "output", cg_region_output(g->main, i));
    fprintf(f, "  %-8s %u\n  %-8s %u\n", "nodes", e.n_nodes, "edges",
            e.n_edges);
    cg_edges_free(&e);
    fprintf(f, "  %-8s %s\n", "params", exact(g, g->params));
    fprintf(f, "  %-8s %s\n", "MACs", exact(g, g->macs));
    fprintf(f, "  %-8s %s\n", "FLOPs", exact(g, g->flops));
    fprintf(f, "  %-8s %016" PRIx64 "%016" PRIx64 "\n", "hash", g->hash[0],
            g->hash[1]);
    print_rows(f, g);
    print_gaps(f, g);
}
