/* Attributes: references of function bodies are followed, kinds are checked by
 * name (attrs.def), those needed are asked for (required.def), and the rest
 * becomes attributes of the graph's node. */
#include <string.h>

#include "frontend/onnx/import.h"

enum { /* AttributeProto.AttributeType */
    FLOAT = 1, INT, STRING, TENSOR, GRAPH, FLOATS, INTS, STRINGS, TENSORS,
    GRAPHS, SPARSE_TENSOR, SPARSE_TENSORS, TYPE_PROTO, TYPE_PROTOS,
    N_TYPES,
};

static const char *const type_names[N_TYPES] = {
    "UNDEFINED", "FLOAT", "INT", "STRING", "TENSOR", "GRAPH", "FLOATS", "INTS",
    "STRINGS", "TENSORS", "GRAPHS", "SPARSE_TENSOR", "SPARSE_TENSORS",
    "TYPE_PROTO", "TYPE_PROTOS"};

static const char *type_name(int type)
{
    return type_names[type > 0 && type < N_TYPES ? type : 0];
}

/* -- kinds by name ------------------------------------------------------- */

typedef struct known_attr {
    const char *name;
    uint32_t kinds; /* bits by AttributeType */
} known_attr;

#define B(kind) (1u << (kind))
static const known_attr known_attrs[] = {
#define ONNX_ATTR(name, kinds) {name, kinds},
#include "frontend/onnx/attrs.def"
#undef ONNX_ATTR
};

typedef struct required {
    const char *key, *attr;
    int64_t since, until; /* opsets */
} required;

static const required requireds[] = {
#define ONNX_REQUIRED(key, attr, since, until) {key, attr, since, until},
#include "frontend/onnx/required.def"
#undef ONNX_REQUIRED
};
#define N_REQUIRED (sizeof requireds / sizeof requireds[0])

void cg_onnx_attr_table(cg_importer *imp)
{
    for (size_t i = 0; i < sizeof known_attrs / sizeof known_attrs[0]; i++)
        cg_map_put(&imp->attrs, known_attrs[i].name,
                   (void *)&known_attrs[i]);
    /* the first of each operator's rows; they stand together */
    for (size_t i = N_REQUIRED; i-- > 0;)
        cg_map_put(&imp->attrs, requireds[i].key, (void *)&requireds[i]);
}

cg_err cg_onnx_check_attrs(cg_onnx_node *n, const char *key)
{
    for (size_t i = 0; i < n->n_attr; i++) {
        const cg_onnx_attr *a = &n->attr[i];
        const known_attr *k = cg_map_get(&n->imp->attrs, a->name);
        if (k && a->type && a->type < 32 && !(k->kinds & B(a->type)))
            return cg_fail(CG_EFORMAT, "attribute '%s' is %s, must be %s",
                           a->name, type_name(a->type),
                           type_name(__builtin_ctz(k->kinds)));
    }
    const required *r = cg_map_get(&n->imp->attrs, key);
    for (; r && r < requireds + N_REQUIRED && strcmp(r->key, key) == 0; r++) {
        bool there = n->version < r->since || n->version > r->until;
        for (size_t i = 0; i < n->n_attr && !there; i++)
            there = strcmp(n->attr[i].name, r->attr) == 0;
        if (!there)
            return cg_fail(CG_EFORMAT, "attribute '%s' is required but missing",
                           r->attr);
    }
    return CG_OK;
}

/* -- following references ------------------------------------------------ */

/* The oldest files do not say which of the fields is meant. */
static int deduce(const Onnx__AttributeProto *a)
{
    if (a->type)
        return (int)a->type;
    return a->has_f           ? FLOAT
           : a->has_i         ? INT
           : a->has_s         ? STRING
           : a->t             ? TENSOR
           : a->g             ? GRAPH
           : a->n_floats      ? FLOATS
           : a->n_ints        ? INTS
           : a->n_strings     ? STRINGS
           : a->sparse_tensor ? SPARSE_TENSOR
           : a->tp            ? TYPE_PROTO
                              : 0;
}

static bool follow(const cg_onnx_node *n, const char *ref, cg_onnx_attr *out)
{
    const cg_onnx_call *call = n->scope->call;
    for (size_t i = 0; call && i < call->n_attr; i++)
        if (strcmp(call->attr[i].name, ref) == 0) {
            const char *name = out->name;
            *out = call->attr[i];
            out->name = name;
            return true;
        }
    for (size_t i = 0; call && i < call->function->n_defaults; i++) {
        const Onnx__AttributeProto *p = call->function->defaults[i];
        if (p->name && strcmp(p->name, ref) == 0) {
            out->p = p;
            out->type = deduce(p);
            return true;
        }
    }
    return false; /* not given, no default: as if it were not written */
}

cg_err cg_onnx_attrs(cg_onnx_node *n)
{
    const Onnx__NodeProto *p = n->p;
    if (p->n_attribute > 4096)
        return cg_fail(CG_ELIMIT, "%zu attributes", p->n_attribute);
    n->attr = cg_xcalloc(p->n_attribute, sizeof *n->attr);
    for (size_t i = 0; i < p->n_attribute; i++) {
        const Onnx__AttributeProto *a = p->attribute[i];
        cg_onnx_attr *to = &n->attr[n->n_attr];
        if (!a->name || !*a->name)
            return cg_fail(CG_EFORMAT, "an attribute has no name");
        *to = (cg_onnx_attr){a->name, a, n->scope, deduce(a)};
        bool ref = a->ref_attr_name && *a->ref_attr_name;
        if (!ref || follow(n, a->ref_attr_name, to))
            n->n_attr++;
    }
    return CG_OK;
}

/* -- into the graph ------------------------------------------------------ */

static const char *string_of(cg_importer *imp, const ProtobufCBinaryData *s)
{
    return cg_arena_strndup(&imp->scratch, (const char *)s->data, s->len);
}

static cg_err copy_tensor(cg_onnx_node *n, const cg_onnx_attr *a, cg_node *to)
{
    cg_value *v;
    if (a->type == TENSOR && a->p->t)
        CG_TRY(cg_onnx_tensor(n->imp, a->p->t, NULL, &v));
    else if (a->type == SPARSE_TENSOR && a->p->sparse_tensor)
        CG_TRY(cg_onnx_sparse(n->imp, a->p->sparse_tensor, NULL, &v));
    else
        return cg_fail(CG_EFORMAT, "attribute '%s' has no tensor", a->name);
    cg_attr_set_value(n->imp->g, to, a->name, v);
    return CG_OK;
}

static cg_err copy_graph(cg_onnx_node *n, const cg_onnx_attr *a, cg_node *to)
{
    cg_region *r;
    if (!a->p->g)
        return cg_fail(CG_EFORMAT, "attribute '%s' has no graph", a->name);
    cg_err err = cg_onnx_body(n->imp, a->p->g, a->scope, &r);
    if (err != CG_OK)
        return n->imp->located ? err : cg_fail_in(err, "%.80s", a->name);
    r->owner = to;
    cg_attr_set_region(n->imp->g, to, a->name, r);
    return CG_OK;
}

static cg_err copy_type(cg_onnx_node *n, const cg_onnx_attr *a, cg_node *to)
{
    cg_type t;
    CG_TRY(cg_onnx_type(n->imp, a->p->tp, a->name, &t));
    cg_attr_set_type(n->imp->g, to, a->name, t);
    return CG_OK;
}

static void copy_lists(cg_onnx_node *n, const cg_onnx_attr *a, cg_node *to)
{
    cg_graph *g = n->imp->g;
    const Onnx__AttributeProto *p = a->p;
    if (a->type == INTS) {
        cg_attr_set_ints(g, to, a->name, p->ints, p->n_ints);
    } else if (a->type == FLOATS) {
        double *f = cg_xcalloc(p->n_floats, sizeof *f);
        for (size_t i = 0; i < p->n_floats; i++)
            f[i] = p->floats[i];
        cg_attr_set_floats(g, to, a->name, f, p->n_floats);
        cg_xfree(f);
    } else {
        const char **s = cg_xcalloc(p->n_strings, sizeof *s);
        for (size_t i = 0; i < p->n_strings; i++)
            s[i] = string_of(n->imp, &p->strings[i]);
        cg_attr_set_strings(g, to, a->name, s, p->n_strings);
        cg_xfree((void *)s);
    }
}

static cg_err copy_attr(cg_onnx_node *n, const cg_onnx_attr *a, cg_node *to,
                        bool graphs)
{
    cg_graph *g = n->imp->g;
    if (a->type == FLOAT)
        cg_attr_set_float(g, to, a->name, (double)a->p->f);
    else if (a->type == INT)
        cg_attr_set_int(g, to, a->name, a->p->i);
    else if (a->type == STRING)
        cg_attr_set_string(g, to, a->name, string_of(n->imp, &a->p->s));
    else if (a->type == INTS || a->type == FLOATS || a->type == STRINGS)
        copy_lists(n, a, to);
    else if (a->type == TENSOR || a->type == SPARSE_TENSOR)
        return copy_tensor(n, a, to);
    else if (a->type == GRAPH && graphs)
        return copy_graph(n, a, to);
    else if (a->type == TYPE_PROTO && a->p->tp)
        return copy_type(n, a, to);
    return CG_OK; /* lists of tensors, graphs and types: nothing reads them */
}

/* Trees come with lists of a million entries that say nothing of shapes, and
 * the oldest operators with hints on memory. */
static bool is_bulk(const char *name)
{
    static const char *const prefixes[] = {
        "nodes_", "class_nodeids", "class_treeids", "class_weights",
        "target_", "leaf_weights", "leaf_targetids",
        "membership_values", "consumed_inputs"};
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

cg_err cg_onnx_copy_attrs(cg_onnx_node *n, cg_node *to, bool graphs)
{
    for (size_t i = 0; i < n->n_attr; i++)
        if (!is_bulk(n->attr[i].name))
            CG_TRY(copy_attr(n, &n->attr[i], to, graphs));
    return CG_OK;
}
