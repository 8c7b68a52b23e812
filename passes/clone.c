/* Copies of regions, and dropping them. */
#include "passes/clone.h"

size_t cg_region_size(const cg_region *r)
{
    size_t n = r->nodes.len;
    for (size_t i = 0; i < r->nodes.len; i++) {
        const cg_node *node = r->nodes.data[i];
        for (int a = 0; a < node->n_attr; a++)
            if (node->attr[a].kind == CG_ATTR_REGION)
                n += cg_region_size(node->attr[a].region);
    }
    return n;
}

void cg_region_drop(cg_graph *g, cg_region *r)
{
    for (size_t i = 0; i < r->nodes.len; i++) {
        cg_node *n = r->nodes.data[i];
        n->dead = true;
        for (int a = 0; a < n->n_attr; a++)
            if (n->attr[a].kind == CG_ATTR_REGION)
                cg_region_drop(g, n->attr[a].region);
    }
    r->nodes.len = r->inputs.len = r->outputs.len = 0;
}

/* -- map ------------------------------------------------------------------- */

static void widen(cg_clone_map *m, const cg_value *v)
{
    if (v->id < m->lo)
        m->lo = v->id;
    if (v->id >= m->hi)
        m->hi = v->id + 1;
}

static void widen_region(cg_clone_map *m, const cg_region *r)
{
    for (size_t i = 0; i < r->inputs.len; i++)
        widen(m, r->inputs.data[i]);
    for (size_t i = 0; i < r->nodes.len; i++) {
        const cg_node *n = r->nodes.data[i];
        for (uint32_t k = 0; k < n->n_out; k++)
            if (n->out[k])
                widen(m, n->out[k]);
        for (int a = 0; a < n->n_attr; a++)
            if (n->attr[a].kind == CG_ATTR_REGION)
                widen_region(m, n->attr[a].region);
    }
}

void cg_clone_map_init(cg_clone_map *m, const cg_region *body)
{
    m->lo = UINT32_MAX;
    m->hi = 0;
    widen_region(m, body);
    if (m->hi < m->lo)
        m->lo = m->hi;
    m->to = cg_xcalloc(m->hi - m->lo + 1, sizeof *m->to);
}

void cg_clone_map_free(cg_clone_map *m)
{
    cg_xfree(m->to);
    m->to = NULL;
}

void cg_clone_map_set(cg_clone_map *m, const cg_value *from, cg_value *to)
{
    m->to[from->id - m->lo] = to;
}

cg_value *cg_clone_map_get(const cg_clone_map *m, cg_value *v)
{
    if (v && v->id >= m->lo && v->id < m->hi && m->to[v->id - m->lo])
        return m->to[v->id - m->lo];
    return v;
}

/* -- copies ---------------------------------------------------------------- */

static cg_region *clone_into(cg_graph *g, cg_clone_map *m,
                             const cg_region *body, cg_region *parent);

static void clone_attrs(cg_graph *g, cg_clone_map *m, cg_node *to,
                        const cg_node *from)
{
    cg_attrs_copy(g, to, from);
    for (int a = 0; a < from->n_attr; a++) {
        if (from->attr[a].kind != CG_ATTR_REGION)
            continue;
        to->attr[a].region =
            clone_into(g, m, from->attr[a].region, to->region);
        to->attr[a].region->owner = to;
    }
}

/* Fresh values have made-up names; what the file declares holds for every
 * iteration only where nothing can be computed. */
cg_node *cg_node_clone(cg_graph *g, cg_clone_map *m, const cg_node *from,
                       cg_region *r)
{
    cg_node *n = cg_node_bare(g, r, from->op, 0, 0);
    n->name = from->name;
    n->source = from->source;
    n->n_in = from->n_in;
    n->in = cg_arena_array(&g->arena, cg_operand, n->n_in);
    for (uint32_t k = 0; k < n->n_in; k++) {
        n->in[k] = from->in[k];
        n->in[k].v = cg_clone_map_get(m, from->in[k].v);
    }
    n->n_out = from->n_out;
    n->out = cg_arena_array(&g->arena, cg_value *, n->n_out);
    for (uint32_t k = 0; k < n->n_out; k++) {
        if (!from->out[k])
            continue;
        cg_value *v = cg_value_new(g, NULL);
        v->role = CG_ROLE_NODE;
        v->def = n;
        v->out = k;
        if (from->op == CG_OP_CUSTOM)
            v->declared = from->out[k]->declared;
        n->out[k] = v;
        cg_clone_map_set(m, from->out[k], v);
    }
    clone_attrs(g, m, n, from);
    g->cloned++;
    return n;
}

static cg_region *clone_into(cg_graph *g, cg_clone_map *m,
                             const cg_region *body, cg_region *parent)
{
    cg_region *r = cg_region_new(g, parent);
    for (size_t i = 0; i < body->inputs.len; i++) {
        const cg_value *v = body->inputs.data[i];
        cg_value *to = cg_value_input(g, r, NULL, v->type);
        to->declared = v->declared;
        cg_clone_map_set(m, v, to);
    }
    for (size_t i = 0; i < body->nodes.len; i++)
        if (!body->nodes.data[i]->dead)
            cg_node_clone(g, m, body->nodes.data[i], r);
    for (size_t i = 0; i < body->outputs.len; i++)
        cg_array_push(&r->outputs,
                      cg_clone_map_get(m, body->outputs.data[i]));
    return r;
}

cg_region *cg_region_clone(cg_graph *g, const cg_region *body,
                           cg_region *parent)
{
    cg_clone_map m;
    cg_clone_map_init(&m, body);
    cg_region *r = clone_into(g, &m, body, parent);
    r->owner = body->owner;
    cg_clone_map_free(&m);
    return r;
}
