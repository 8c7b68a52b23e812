/* The order of nodes. ONNX wants them sorted; producers do not always obey.
 * Names that a graph attribute takes from around it count as inputs of the
 * node that has it, so they are collected first, once for each graph. */
#include <string.h>

#include "frontend/onnx/import.h"

typedef struct names {
    CG_ARRAY(const char *) list;
} names;

typedef struct capture { /* of one graph, in scratch memory */
    const char **name;
    size_t n;
} capture;

static const capture *captures(cg_importer *imp, const Onnx__GraphProto *p);

/* What the node takes from around it: inputs, and captures of its graphs. */
static void add_reads(cg_importer *imp, const Onnx__NodeProto *n, names *to)
{
    for (size_t i = 0; i < n->n_input; i++)
        if (*n->input[i])
            cg_array_push(&to->list, n->input[i]);
    for (size_t i = 0; i < n->n_attribute; i++) {
        const Onnx__AttributeProto *a = n->attribute[i];
        const capture *c = a->g ? captures(imp, a->g) : NULL;
        for (size_t k = 0; c && k < c->n; k++)
            cg_array_push(&to->list, c->name[k]);
        for (size_t j = 0; j < a->n_graphs; j++) {
            c = captures(imp, a->graphs[j]);
            for (size_t k = 0; k < c->n; k++)
                cg_array_push(&to->list, c->name[k]);
        }
    }
}

static void define(cg_map *m, const char *name)
{
    if (name && *name)
        cg_map_put(m, name, m);
}

static void own_names(const Onnx__GraphProto *p, cg_map *own)
{
    for (size_t i = 0; i < p->n_input; i++)
        define(own, p->input[i]->name);
    for (size_t i = 0; i < p->n_initializer; i++)
        define(own, p->initializer[i]->name);
    for (size_t i = 0; i < p->n_sparse_initializer; i++)
        if (p->sparse_initializer[i]->values)
            define(own, p->sparse_initializer[i]->values->name);
    for (size_t i = 0; i < p->n_node; i++)
        for (size_t k = 0; k < p->node[i]->n_output; k++)
            define(own, p->node[i]->output[k]);
}

/* Recursion is as deep as graphs are nested, which the skimmer bounds. */
static const capture *captures(cg_importer *imp, const Onnx__GraphProto *p)
{
    char *key = cg_arena_printf(&imp->scratch, "%p", (const void *)p);
    capture *c = cg_map_get(&imp->captures, key);
    if (c)
        return c;
    cg_map own = {0};
    names reads = {0};
    own_names(p, &own);
    for (size_t i = 0; i < p->n_node; i++)
        add_reads(imp, p->node[i], &reads);
    for (size_t i = 0; i < p->n_output; i++)
        if (p->output[i]->name)
            cg_array_push(&reads.list, p->output[i]->name);
    c = cg_arena_new(&imp->scratch, capture);
    size_t kept = 0;
    for (size_t i = 0; i < reads.list.len; i++)
        if (!cg_map_get(&own, reads.list.data[i])) {
            define(&own, reads.list.data[i]); /* once is enough */
            reads.list.data[kept++] = reads.list.data[i];
        }
    c->name = cg_arena_dup(&imp->scratch, reads.list.data,
                           kept * sizeof *c->name);
    c->n = kept;
    cg_array_free(&reads.list);
    cg_map_free(&own);
    cg_map_put(&imp->captures, key, c);
    return c;
}

typedef struct sorter {
    Onnx__NodeProto **nodes;
    size_t n;
    cg_map writer;   /* name -> node index + 1 */
    uint32_t *start; /* (n + 1) into dep */
    CG_ARRAY(uint32_t) dep; /* nodes that each node reads */
    bool sorted;
} sorter;

static cg_err collect_writers(sorter *s, const cg_scope *scope)
{
    for (size_t i = 0; i < s->n; i++) {
        const Onnx__NodeProto *p = s->nodes[i];
        for (size_t k = 0; k < p->n_output; k++) {
            const char *name = p->output[k];
            if (!*name)
                continue;
            if (cg_map_get(&s->writer, name))
                return cg_fail(CG_EFORMAT, "two nodes write '%s'", name);
            if (cg_map_get(&scope->values, name))
                return cg_fail(CG_EFORMAT, "a node writes '%s', which is an "
                               "input or initializer", name);
            cg_map_put(&s->writer, name, (void *)(uintptr_t)(i + 1));
        }
    }
    return CG_OK;
}

static void collect_deps(cg_importer *imp, sorter *s)
{
    names reads = {0};
    s->sorted = true;
    for (size_t i = 0; i < s->n; i++) {
        s->start[i] = (uint32_t)s->dep.len;
        reads.list.len = 0;
        add_reads(imp, s->nodes[i], &reads);
        for (size_t k = 0; k < reads.list.len; k++) {
            uintptr_t w = (uintptr_t)cg_map_get(&s->writer,
                                                reads.list.data[k]);
            if (!w)
                continue;
            cg_array_push(&s->dep, (uint32_t)(w - 1));
            s->sorted &= w - 1 < i;
        }
    }
    s->start[s->n] = (uint32_t)s->dep.len;
    cg_array_free(&reads.list);
}

/* Depth first with a stack of our own, in the order of the file: what is
 * sorted already keeps its place. */
static cg_err sort(sorter *s, uint32_t *order)
{
    enum { NEW, OPEN, DONE };
    unsigned char *state = cg_xcalloc(s->n, 1);
    uint32_t *next = cg_xcalloc(s->n, sizeof *next);
    CG_ARRAY(uint32_t) stack = {0};
    size_t done = 0, cycle = SIZE_MAX;
    for (size_t root = 0; root < s->n && cycle == SIZE_MAX; root++) {
        if (state[root] == NEW)
            cg_array_push(&stack, (uint32_t)root);
        while (stack.len && cycle == SIZE_MAX) {
            uint32_t i = stack.data[stack.len - 1];
            if (state[i] == NEW) {
                state[i] = OPEN;
                next[i] = s->start[i];
            }
            if (state[i] == DONE || next[i] == s->start[i + 1]) {
                if (state[i] == OPEN)
                    order[done++] = i;
                state[i] = DONE;
                stack.len--;
                continue;
            }
            uint32_t d = s->dep.data[next[i]++];
            if (state[d] == OPEN)
                cycle = d;
            else if (state[d] == NEW)
                cg_array_push(&stack, d);
        }
    }
    cg_array_free(&stack);
    cg_xfree(state);
    cg_xfree(next);
    if (cycle == SIZE_MAX)
        return CG_OK;
    const Onnx__NodeProto *p = s->nodes[cycle];
    return cg_fail(CG_EFORMAT, "node '%s' depends on its own output '%s' (a "
                   "cycle)", p->name && *p->name ? p->name : p->op_type,
                   p->n_output ? p->output[0] : "");
}

cg_err cg_onnx_order(cg_importer *imp, Onnx__NodeProto **nodes, size_t n,
                     const cg_scope *scope, uint32_t **order)
{
    sorter s = {.nodes = nodes, .n = n};
    cg_err err = collect_writers(&s, scope);
    if (err == CG_OK) {
        s.start = cg_xcalloc(n + 1, sizeof *s.start);
        collect_deps(imp, &s);
        *order = cg_arena_array(&imp->scratch, uint32_t, n);
        for (size_t i = 0; i < n; i++)
            (*order)[i] = (uint32_t)i;
        if (!s.sorted)
            err = sort(&s, *order);
    }
    cg_map_free(&s.writer);
    cg_xfree(s.start);
    cg_array_free(&s.dep);
    return err;
}
