/* Graphs, regions, values, types. */
#include "ir/graph.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct dtype_info {
    const char *name;
    int bits;
    cg_dtype_kind kind;
} dtype_info;

static const dtype_info dtypes[] = {
#define CG_DTYPE(id, number, name, bits, kind)                                \
    [number] = {name, bits, CG_DTYPE_##kind},
#include "ir/dtypes.def"
#undef CG_DTYPE
};
#define N_DTYPES ((int)(sizeof dtypes / sizeof dtypes[0]))

bool cg_dtype_valid(int dtype) { return dtype > 0 && dtype < N_DTYPES; }

const char *cg_dtype_name(int dtype)
{
    return cg_dtype_valid(dtype) ? dtypes[dtype].name : dtypes[0].name;
}

int cg_dtype_find(const char *name)
{
    for (int i = 0; i < N_DTYPES; i++)
        if (strcmp(dtypes[i].name, name) == 0)
            return i;
    return -1;
}

int cg_dtype_bits(int dtype)
{
    return cg_dtype_valid(dtype) ? dtypes[dtype].bits : 0;
}

cg_dtype_kind cg_dtype_kind_of(int dtype)
{
    return cg_dtype_valid(dtype) ? dtypes[dtype].kind : CG_DTYPE_NONE;
}

cg_region *cg_region_new(cg_graph *g, cg_region *parent)
{
    cg_region *r = cg_arena_new(&g->arena, cg_region);
    r->parent = parent;
    cg_array_push(&g->regions, r);
    return r;
}

void cg_region_set_port(cg_region *r, size_t k, cg_port port)
{
    while (r->ports.len <= k)
        cg_array_push(&r->ports, (cg_port){0});
    r->ports.data[k] = port;
}

cg_port cg_region_output(const cg_region *r, size_t k)
{
    if (k < r->ports.len && r->ports.data[k].name)
        return r->ports.data[k];
    const cg_value *v = r->outputs.data[k];
    return (cg_port){v->name, v->type};
}

cg_port cg_region_input(const cg_region *r, size_t k)
{
    const cg_value *v = r->inputs.data[k];
    return (cg_port){v->name, v->type};
}

void cg_region_redirect(cg_region *r, size_t k, cg_value *v)
{
    if (r->outputs.data[k] == v)
        return;
    cg_region_set_port(r, k, cg_region_output(r, k));
    r->outputs.data[k] = v;
}

cg_graph *cg_graph_new(const char *name)
{
    cg_graph *g = cg_xcalloc(1, sizeof *g);
    cg_arena_init(&g->arena);
    g->name = cg_arena_strdup(&g->arena, name ? name : "");
    g->main = cg_region_new(g, NULL);
    return g;
}

void cg_graph_free(cg_graph *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < g->regions.len; i++) {
        cg_region *r = g->regions.data[i];
        cg_array_free(&r->nodes);
        cg_array_free(&r->inputs);
        cg_array_free(&r->outputs);
        cg_array_free(&r->ports);
    }
    cg_array_free(&g->regions);
    cg_array_free(&g->values);
    cg_array_free(&g->nodes);
    cg_array_free(&g->warnings);
    cg_arena_free(&g->arena);
    cg_xfree(g);
}

cg_type cg_type_tensor(cg_graph *g, int dtype, int rank, const cg_dim *dims)
{
    cg_type t = cg_type_none();
    t.dtype = (uint8_t)dtype;
    t.rank = (int8_t)rank;
    if (rank > 0)
        t.dims = cg_arena_dup(&g->arena, dims, sizeof *dims * (size_t)rank);
    return t;
}

/* "v12", written from its end. */
static const char *made_up(cg_arena *a, uint32_t id)
{
    char *s = (char *)cg_arena_raw(a, 16) + 15;
    *s = 0;
    do
        *--s = (char)('0' + id % 10);
    while (id /= 10);
    *--s = 'v';
    return s;
}

cg_value *cg_value_new(cg_graph *g, const char *name)
{
    cg_value *v = cg_arena_new(&g->arena, cg_value);
    v->id = (uint32_t)g->values.len;
    v->name = name && *name ? cg_arena_strdup(&g->arena, name)
                            : made_up(&g->arena, v->id);
    /* byte by byte: a type that is copied just after it was written stalls */
    v->type.rank = v->type.channel = -1;
    v->declared.rank = v->declared.channel = -1;
    cg_array_push(&g->values, v);
    return v;
}

cg_value *cg_value_input(cg_graph *g, cg_region *r, const char *name,
                         cg_type type)
{
    cg_value *v = cg_value_new(g, name);
    v->role = CG_ROLE_INPUT;
    v->type = type;
    cg_array_push(&r->inputs, v);
    return v;
}

cg_value *cg_value_const(cg_graph *g, const char *name, cg_type type,
                         const cg_data *data)
{
    cg_value *v = cg_value_new(g, name);
    v->role = CG_ROLE_CONST;
    v->type = type;
    v->data = data;
    return v;
}

cg_value *cg_value_ints(cg_graph *g, const char *name, const cg_dim *i,
                        size_t n)
{
    cg_data *d = cg_arena_new(&g->arena, cg_data);
    cg_dim len = (cg_dim)n;
    d->n = n;
    d->i = cg_arena_dup(&g->arena, i, n * sizeof *i);
    return cg_value_const(g, name, cg_type_tensor(g, CG_I64, 1, &len), d);
}

bool cg_is_const(const cg_value *v)
{
    return v->role == CG_ROLE_CONST || v->data;
}

cg_dim cg_type_count(cg_graph *g, const cg_type *t, bool *ok)
{
    cg_dim n = 1;
    *ok = t->rank >= 0;
    /* A zero anywhere makes the count 0 whatever the other dims are. */
    for (int i = 0; i < t->rank; i++)
        if (t->dims[i] == 0)
            return 0;
    for (int i = 0; i < t->rank; i++) {
        int64_t product;
        if (cg_dim_known(n) && cg_dim_known(t->dims[i]) &&
            __builtin_mul_overflow(n, t->dims[i], &product)) {
            *ok = false;
            return 0;
        }
        n = cg_dim_mul(g, n, t->dims[i]);
    }
    return n;
}

bool cg_type_equal(const cg_type *a, const cg_type *b)
{
    return a->kind == b->kind && a->dtype == b->dtype && a->rank == b->rank &&
           (a->rank <= 0 || memcmp(a->dims, b->dims,
                                   sizeof(cg_dim) * (size_t)a->rank) == 0);
}

bool cg_type_hwc(cg_graph *g, const cg_type *t, cg_dim hwc[3])
{
    hwc[0] = hwc[1] = hwc[2] = 1;
    if (t->rank < 0)
        return false;
    int c = t->channel >= 0 && t->channel < t->rank ? t->channel : t->rank - 1;
    int n = 0;
    /* Axis 0 is the batch, unless it is the only one or the channel. */
    for (int i = t->rank == 1 ? 0 : 1; i < t->rank; i++) {
        if (i == c)
            continue;
        if (n > 1)
            hwc[0] = cg_dim_mul(g, hwc[0], hwc[1]);
        hwc[n > 0] = t->dims[i];
        n++;
    }
    if (c >= 0)
        hwc[2] = t->dims[c];
    return true;
}

void cg_warn(cg_graph *g, const cg_node *n, const char *fmt, ...)
{
    va_list ap;
    char text[512];
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    cg_warning w = {n ? n->name : NULL, cg_arena_strdup(&g->arena, text)};
    cg_array_push(&g->warnings, w);
}
