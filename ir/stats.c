/* --stats: totals, operators, and what is not known. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ir/gaps.h"
#include "ir/json.h"
#include "ir/text.h"

#define MAX_ENTRIES 20

static void print_gap(FILE *f, const cg_gap *gap)
{
    const char *const key[] = {"{\"node\": ", ", \"what\": ",
                               ", \"because\": ", ", \"why\": "};
    const char *const text[] = {gap->node, gap->what, gap->because, gap->why};
    for (int i = 0; i < 4; i++) {
        fputs(key[i], f);
        if (text[i])
            cg_print_json_string(f, text[i]);
        else
            fputs("null", f);
    }
    fputc('}', f);
}

static void print_unresolved(FILE *f, cg_graph *g)
{
    size_t n;
    const cg_gap *gaps = cg_graph_gaps(g, &n);
    fprintf(f, "\"complete\": %s, \"unresolved\": [", n ? "false" : "true");
    for (size_t i = 0; i < n && i < MAX_ENTRIES; i++) {
        fputs(i ? ", " : "", f);
        print_gap(f, &gaps[i]);
    }
    if (n > MAX_ENTRIES) {
        cg_gap more = {.what = cg_arena_printf(&g->arena, "%zu more",
                                               n - MAX_ENTRIES)};
        fputs(", ", f);
        print_gap(f, &more);
    }
    fputc(']', f);
}

typedef struct op_count {
    const char *name;
    size_t n;
} op_count;

static int by_count(const void *a, const void *b)
{
    const op_count *x = a, *y = b;
    if (x->n != y->n)
        return x->n > y->n ? -1 : 1;
    return strcmp(x->name, y->name);
}

static void print_ops(FILE *f, const cg_graph *g)
{
    op_count ops[CG_OP_COUNT];
    for (int i = 0; i < CG_OP_COUNT; i++)
        ops[i] = (op_count){cg_op_name((cg_op)i), 0};
    for (size_t i = 0; i < g->main->nodes.len; i++)
        if (!g->main->nodes.data[i]->dead)
            ops[g->main->nodes.data[i]->op].n++;
    qsort(ops, CG_OP_COUNT, sizeof *ops, by_count);
    fputs("\"ops\": {", f);
    for (int i = 0; i < CG_OP_COUNT && ops[i].n; i++)
        fprintf(f, "%s\"%s\": %zu", i ? ", " : "", ops[i].name, ops[i].n);
    fputs("}, ", f);
}

void cg_print_stats(FILE *f, cg_graph *g, const char *file)
{
    cg_edges e;
    cg_edges_make(&e, g);
    fputs("{\"file\": ", f);
    cg_print_json_string(f, file);
    fprintf(f, ", \"nodes\": %" PRIu32 ", \"edges\": %" PRIu32, e.n_nodes,
            e.n_edges);
    cg_edges_free(&e);
    fputs(", \"params\": ", f);
    cg_json_dim(f, g, g->params);
    fputs(", \"macs\": ", f);
    cg_json_dim(f, g, g->macs);
    fputs(", \"flops\": ", f);
    cg_json_dim(f, g, g->flops);
    fputs(", \"hash\": ", f);
    cg_json_hash(f, g);
    fputs(", ", f);
    print_ops(f, g);
    print_unresolved(f, g);
    fputs("}\n", f);
}
