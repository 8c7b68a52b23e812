/* Attributes of nodes: short lists, found by name. */
#include <string.h>

#include "ir/graph.h"

/* Names that are not copied. Linkers merge equal literals, so that who asks for
 * one of these has the same pointer most of the time. */
static const char *const usual[] = {
    "axis", "dilations", "group", "keepdims", "kernel_shape", "pads", "perm",
    "strides"};

/* Most differ in the first letter, and a call costs more than a look. */
static inline bool same_name(const char *a, const char *b)
{
    return a == b || (a[0] == b[0] && strcmp(a, b) == 0);
}

const cg_attr *cg_attr_find(const cg_node *n, const char *name)
{
    for (int i = 0; i < n->n_attr; i++)
        if (same_name(n->attr[i].name, name))
            return &n->attr[i];
    return NULL;
}

static const char *keep_name(cg_graph *g, const char *name)
{
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        if (same_name(usual[i], name))
            return usual[i];
    return cg_arena_strdup(&g->arena, name);
}

static const cg_attr *find_kind(const cg_node *n, const char *name,
                                cg_attr_kind kind)
{
    const cg_attr *a = cg_attr_find(n, name);
    return a && a->kind == kind ? a : NULL;
}

int64_t cg_attr_int(const cg_node *n, const char *name, int64_t otherwise)
{
    const cg_attr *a = find_kind(n, name, CG_ATTR_INT);
    return a ? a->ints[0] : otherwise;
}

double cg_attr_float(const cg_node *n, const char *name, double otherwise)
{
    const cg_attr *a = find_kind(n, name, CG_ATTR_FLOAT);
    return a ? a->floats[0] : otherwise;
}

const char *cg_attr_string(const cg_node *n, const char *name,
                           const char *otherwise)
{
    const cg_attr *a = find_kind(n, name, CG_ATTR_STRING);
    return a ? a->strings[0] : otherwise;
}

const int64_t *cg_attr_ints(const cg_node *n, const char *name, size_t *len)
{
    const cg_attr *a = find_kind(n, name, CG_ATTR_INTS);
    *len = a ? a->n : 0;
    return a ? a->ints : NULL;
}

const double *cg_attr_floats(const cg_node *n, const char *name, size_t *len)
{
    const cg_attr *a = find_kind(n, name, CG_ATTR_FLOATS);
    *len = a ? a->n : 0;
    return a ? a->floats : NULL;
}

cg_region *cg_attr_region(const cg_node *n, const char *name)
{
    const cg_attr *a = find_kind(n, name, CG_ATTR_REGION);
    return a ? a->region : NULL;
}

/* The slot of an attribute, made if it is not there. */
static cg_attr *slot(cg_graph *g, cg_node *n, const char *name)
{
    cg_attr *a = (cg_attr *)cg_attr_find(n, name);
    if (a)
        return a;
    if (n->n_attr == n->attr_cap) {
        uint32_t room = n->n_attr < 4 ? 4 : 2 * (uint32_t)n->n_attr;
        cg_attr *more = cg_arena_array(&g->arena, cg_attr, room);
        if (n->n_attr)
            memcpy(more, n->attr, n->n_attr * sizeof *more);
        n->attr = more;
        n->attr_cap = room;
    }
    a = &n->attr[n->n_attr++];
    a->name = keep_name(g, name);
    return a;
}

static void set_ints(cg_graph *g, cg_node *n, const char *name,
                     cg_attr_kind kind, const int64_t *v, size_t len)
{
    int64_t *ints = cg_arena_dup(&g->arena, v, len * sizeof *v);
    cg_attr *a = slot(g, n, name);
    a->kind = (uint8_t)kind;
    a->n = (uint32_t)len;
    a->ints = ints;
}

static void set_floats(cg_graph *g, cg_node *n, const char *name,
                       cg_attr_kind kind, const double *v, size_t len)
{
    double *floats = cg_arena_dup(&g->arena, v, len * sizeof *v);
    cg_attr *a = slot(g, n, name);
    a->kind = (uint8_t)kind;
    a->n = (uint32_t)len;
    a->floats = floats;
}

static void set_strings(cg_graph *g, cg_node *n, const char *name,
                        cg_attr_kind kind, const char *const *v, size_t len)
{
    const char **s = cg_arena_array(&g->arena, const char *, len);
    for (size_t i = 0; i < len; i++)
        s[i] = cg_arena_strdup(&g->arena, v[i]);
    cg_attr *a = slot(g, n, name);
    a->kind = (uint8_t)kind;
    a->n = (uint32_t)len;
    a->strings = s;
}

void cg_attr_set_int(cg_graph *g, cg_node *n, const char *name, int64_t v)
{
    set_ints(g, n, name, CG_ATTR_INT, &v, 1);
}

void cg_attr_set_ints(cg_graph *g, cg_node *n, const char *name,
                      const int64_t *v, size_t len)
{
    set_ints(g, n, name, CG_ATTR_INTS, v, len);
}

void cg_attr_set_float(cg_graph *g, cg_node *n, const char *name, double v)
{
    set_floats(g, n, name, CG_ATTR_FLOAT, &v, 1);
}

void cg_attr_set_floats(cg_graph *g, cg_node *n, const char *name,
                        const double *v, size_t len)
{
    set_floats(g, n, name, CG_ATTR_FLOATS, v, len);
}

void cg_attr_set_string(cg_graph *g, cg_node *n, const char *name,
                        const char *v)
{
    set_strings(g, n, name, CG_ATTR_STRING, &v, 1);
}

void cg_attr_set_strings(cg_graph *g, cg_node *n, const char *name,
                         const char *const *v, size_t len)
{
    set_strings(g, n, name, CG_ATTR_STRINGS, v, len);
}

void cg_attr_set_value(cg_graph *g, cg_node *n, const char *name, cg_value *v)
{
    cg_attr *a = slot(g, n, name);
    a->kind = CG_ATTR_VALUE;
    a->n = 1;
    a->value = v;
}

void cg_attr_set_region(cg_graph *g, cg_node *n, const char *name,
                        cg_region *r)
{
    cg_attr *a = slot(g, n, name);
    a->kind = CG_ATTR_REGION;
    a->n = 1;
    a->region = r;
    r->owner = n;
}

void cg_attr_set_type(cg_graph *g, cg_node *n, const char *name, cg_type t)
{
    cg_type *copy = cg_arena_dup(&g->arena, &t, sizeof t);
    cg_attr *a = slot(g, n, name);
    a->kind = CG_ATTR_TYPE;
    a->n = 1;
    a->type = copy;
}

void cg_attrs_copy(cg_graph *g, cg_node *to, const cg_node *from)
{
    to->n_attr = to->attr_cap = from->n_attr;
    to->attr = cg_arena_dup(&g->arena, from->attr,
                            from->n_attr * sizeof *from->attr);
}

void cg_attr_remove(cg_node *n, const char *name)
{
    const cg_attr *a = cg_attr_find(n, name);
    if (!a)
        return;
    size_t at = (size_t)(a - n->attr);
    memmove(&n->attr[at], &n->attr[at + 1],
            (n->n_attr - at - 1) * sizeof *n->attr);
    n->n_attr--;
}
