/* Equal operators are one: exporters share them or not.
 *
 * A table over what a node computes (operator, attributes, operands with their
 * views); constants count by content where that is known, since exporters
 * repeat small ones. Operators with weights stay apart: two layers that share
 * weights are two layers. */
#include <string.h>

#include "passes/params.h"
#include "passes/simplify.h"

typedef struct cg_cse {
    cg_node **slot;
    uint64_t *hash;
    size_t cap, len;
} cg_cse;

/* -- constants ---------------------------------------------------------- */

static bool small_constant(const cg_value *v)
{
    return v->role == CG_ROLE_CONST && v->data && !v->data->s &&
           v->data->n <= 64;
}

static bool equal_constants(const cg_value *a, const cg_value *b)
{
    const cg_data *x = a->data, *y = b->data;
    if (!cg_type_equal(&a->type, &b->type) || x->n != y->n ||
        !x->i != !y->i || !x->f != !y->f)
        return false;
    return (!x->i || !memcmp(x->i, y->i, x->n * sizeof *x->i)) &&
           (!x->f || !memcmp(x->f, y->f, x->n * sizeof *x->f));
}

static uint64_t hash_value(const cg_value *v)
{
    if (!small_constant(v))
        return v->id + UINT64_C(1);
    uint64_t h = cg_mix64(v->data->n + 77);
    if (v->data->i)
        h = cg_hash64(v->data->i, v->data->n * sizeof *v->data->i, h);
    if (v->data->f)
        h = cg_hash64(v->data->f, v->data->n * sizeof *v->data->f, h);
    return h;
}

/* A parameter rather than a setting: float (or a large quantised tensor),
 * more than one element. */
static bool is_parameter(const cg_value *v)
{
    if (v->role != CG_ROLE_CONST)
        return false;
    if (cg_dtype_kind_of(v->type.dtype) == CG_DTYPE_INT)
        return !v->data && v->is_weight;
    for (int i = 0; i < v->type.rank; i++)
        if (v->type.dims[i] != 1)
            return true;
    return v->type.rank < 0;
}

/* -- nodes -------------------------------------------------------------- */

static bool sharable(const cg_node *n)
{
    int class = cg_op_table[n->op].class;
    if (class == CG_CLASS_CONTROL || class == CG_CLASS_RANDOM ||
        class == CG_CLASS_IO || n->op == CG_OP_CUSTOM || n->n_in == 0)
        return false;
    for (uint32_t k = 0; k < n->n_in; k++)
        if (n->in[k].v && cg_param_slot(n->op, k) != CG_SLOT_SETTING &&
            is_parameter(n->in[k].v))
            return false;
    for (int a = 0; a < n->n_attr; a++)
        if (n->attr[a].kind == CG_ATTR_REGION ||
            n->attr[a].kind == CG_ATTR_TYPE)
            return false;
    return true;
}

static bool equal_attr(const cg_attr *a, const cg_attr *b)
{
    if (a->kind != b->kind || a->n != b->n)
        return false;
    switch (a->kind) {
    case CG_ATTR_INT:
    case CG_ATTR_INTS:
        return !memcmp(a->ints, b->ints, a->n * sizeof *a->ints);
    case CG_ATTR_FLOAT:
    case CG_ATTR_FLOATS:
        return !memcmp(a->floats, b->floats, a->n * sizeof *a->floats);
    case CG_ATTR_STRING:
    case CG_ATTR_STRINGS:
        for (uint32_t i = 0; i < a->n; i++)
            if (strcmp(a->strings[i], b->strings[i]) != 0)
                return false;
        return true;
    case CG_ATTR_VALUE:
        return a->value == b->value ||
               (small_constant(a->value) && small_constant(b->value) &&
                equal_constants(a->value, b->value));
    default:
        return false;
    }
}

static bool equal_attrs(const cg_node *a, const cg_node *b)
{
    if (a->n_attr != b->n_attr)
        return false;
    for (int i = 0; i < a->n_attr; i++) {
        const cg_attr *other = cg_attr_find(b, a->attr[i].name);
        if (!other || !equal_attr(&a->attr[i], other))
            return false;
    }
    return true;
}

static bool equal_operands(const cg_operand *a, const cg_operand *b)
{
    if (!a->v || !b->v)
        return a->v == b->v;
    if (a->v != b->v && !(small_constant(a->v) && small_constant(b->v) &&
                          equal_constants(a->v, b->v)))
        return false;
    const cg_type *x = a->view ? a->view : &a->v->type;
    const cg_type *y = b->view ? b->view : &b->v->type;
    return x == y || (cg_type_equal(x, y) && x->channel == y->channel) ||
           (!a->view && !b->view && a->v == b->v);
}

static bool equal_nodes(const cg_node *a, const cg_node *b)
{
    if (a->op != b->op || a->n_in != b->n_in || a->region != b->region ||
        a->n_out != b->n_out || !equal_attrs(a, b))
        return false;
    for (uint32_t k = 0; k < a->n_in; k++)
        if (!equal_operands(&a->in[k], &b->in[k]))
            return false;
    return true;
}

static uint64_t hash_name(const char *s, uint64_t h)
{
    for (; *s; s++)
        h = h * 31 + (unsigned char)*s;
    return h;
}

/* Sums, since the order of attributes does not count. */
static uint64_t hash_attrs(const cg_node *n)
{
    uint64_t h = n->n_attr;
    for (int a = 0; a < n->n_attr; a++) {
        const cg_attr *x = &n->attr[a];
        uint64_t seed = hash_name(x->name, x->n);
        if (x->kind == CG_ATTR_INT || x->kind == CG_ATTR_INTS)
            seed = cg_hash64(x->ints, x->n * sizeof *x->ints, seed);
        else if (x->kind == CG_ATTR_FLOAT || x->kind == CG_ATTR_FLOATS)
            seed = cg_hash64(x->floats, x->n * sizeof *x->floats, seed);
        else if (x->kind == CG_ATTR_STRING || x->kind == CG_ATTR_STRINGS)
            for (uint32_t i = 0; i < x->n; i++)
                seed = cg_hash64(x->strings[i], strlen(x->strings[i]), seed);
        h += cg_mix64(seed);
    }
    return h;
}

static uint64_t hash_node(const cg_node *n)
{
    const uint64_t odd = 0x9fb21c651e98df25u;
    uint64_t h = ((uint64_t)n->op << 32) + n->n_in;
    h = (h ^ (uintptr_t)n->region) * odd + hash_attrs(n);
    for (uint32_t k = 0; k < n->n_in; k++)
        h = h * odd + (n->in[k].v ? hash_value(n->in[k].v) : k);
    return cg_mix64(h);
}

/* -- the table ---------------------------------------------------------- */

static void insert(cg_cse *t, cg_node *n, uint64_t h)
{
    size_t i = h & (t->cap - 1);
    while (t->slot[i])
        i = (i + 1) & (t->cap - 1);
    t->slot[i] = n;
    t->hash[i] = h;
    t->len++;
}

static void grow(cg_cse *t)
{
    cg_cse old = *t;
    t->cap = old.cap ? old.cap * 2 : 256;
    t->len = 0;
    t->slot = cg_xcalloc(t->cap, sizeof *t->slot);
    t->hash = cg_xcalloc(t->cap, sizeof *t->hash);
    for (size_t i = 0; i < old.cap; i++)
        if (old.slot[i])
            insert(t, old.slot[i], old.hash[i]);
    cg_xfree(old.slot);
    cg_xfree(old.hash);
}

void cg_cse_free(cg_rewrite *rw)
{
    if (!rw->cse)
        return;
    cg_xfree(rw->cse->slot);
    cg_xfree(rw->cse->hash);
    cg_xfree(rw->cse);
    rw->cse = NULL;
}

void cg_cse_reset(cg_rewrite *rw)
{
    if (!rw->cse)
        rw->cse = cg_xcalloc(1, sizeof *rw->cse);
    if (rw->cse->len)
        memset(rw->cse->slot, 0, rw->cse->cap * sizeof *rw->cse->slot);
    rw->cse->len = 0;
}

/* Outputs that only one of the two nodes has forbid sharing. */
static bool replace(cg_rewrite *rw, cg_node *n, cg_node *by)
{
    for (uint32_t k = 0; k < n->n_out; k++)
        if (n->out[k] && !by->out[k])
            return false;
    for (uint32_t k = 0; k < n->n_out; k++)
        if (n->out[k])
            cg_rw_alias(rw, n->out[k], by->out[k]);
    cg_rw_kill(rw, n);
    return true;
}

bool cg_simplify_equal(cg_rewrite *rw, cg_node *n)
{
    cg_cse *t = rw->cse;
    if (!sharable(n))
        return false;
    if (t->len * 2 >= t->cap)
        grow(t);
    uint64_t h = hash_node(n);
    for (size_t i = h & (t->cap - 1); t->slot[i]; i = (i + 1) & (t->cap - 1)) {
        if (t->hash[i] != h || t->slot[i]->dead ||
            !equal_nodes(n, t->slot[i]))
            continue;
        return replace(rw, n, t->slot[i]);
    }
    insert(t, n, h);
    return false;
}
