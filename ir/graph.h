/* The graph: operators over typed values, in one arena.
 *
 * A cg_graph holds every value and node of a network, of the main region and
 * of the bodies of If/Loop/Scan. A node belongs to one region; bodies use
 * values of the regions around them directly. Nodes of a region are in
 * topological order. All pointers live until cg_graph_free. */
#ifndef CG_IR_GRAPH_H
#define CG_IR_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/array.h"
#include "base/err.h"
#include "base/map.h"
#include "ir/dim.h"
#include "ir/op.h"

#define CG_MAX_RANK 64
#define CG_SPECTRUM_LEN 21 /* q of the paper */

typedef struct cg_graph cg_graph;
typedef struct cg_region cg_region;
typedef struct cg_node cg_node;
typedef struct cg_value cg_value;

/* Element types: ONNX TensorProto.DataType, same numbers. */
typedef enum cg_dtype {
#define CG_DTYPE(id, number, name, bits, kind) CG_##id = number,
#include "ir/dtypes.def"
#undef CG_DTYPE
} cg_dtype;

typedef enum cg_dtype_kind { /* how elements are represented in cg_data */
    CG_DTYPE_NONE,
    CG_DTYPE_INT, /* and bool */
    CG_DTYPE_FLOAT,
    CG_DTYPE_COMPLEX,
    CG_DTYPE_STRING,
} cg_dtype_kind;

const char *cg_dtype_name(int dtype);   /* "f32"; "?" if undefined */
int cg_dtype_find(const char *name);    /* -1: none */
int cg_dtype_bits(int dtype);           /* 0 for strings and undefined */
cg_dtype_kind cg_dtype_kind_of(int dtype);
bool cg_dtype_valid(int dtype);

typedef enum cg_kind {
    CG_KIND_TENSOR,
    CG_KIND_SPARSE,
    CG_KIND_SEQUENCE, /* dims are those of the elements, where they agree */
    CG_KIND_OPTIONAL, /* likewise of the element */
    CG_KIND_MAP,
} cg_kind;

typedef struct cg_type {
    uint8_t kind;      /* cg_kind */
    uint8_t dtype;     /* cg_dtype; CG_UNDEFINED when not known */
    int8_t rank;       /* -1: not known */
    int8_t channel;    /* axis that is the channel, by pass hwc; -1: none */
    const cg_dim *dims; /* (rank), in ONNX order */
} cg_type;

/* Elements of a small tensor, known at import or by folding.
 * INT and bool types: i[k] (may be symbolic).
 * FLOAT types: f[k], times i[k] where i is not NULL (may be symbolic).
 * STRING: s[k]. Complex payloads are never kept. */
typedef struct cg_data {
    size_t n;
    cg_dim *i;
    double *f;
    const char **s;
} cg_data;

#define CG_DATA_MAX 4096 /* elements; larger tensors are never materialised */

/* Where the bytes of an initializer are; nothing is read until asked. */
typedef struct cg_payload {
    const char *file; /* NULL: the model file itself */
    uint64_t offset, length; /* bytes */
} cg_payload;

typedef enum cg_role {
    CG_ROLE_NODE,  /* output of `def` */
    CG_ROLE_INPUT, /* input of a region */
    CG_ROLE_CONST, /* initializer or folded constant */
} cg_role;

struct cg_value {
    const char *name; /* as in the file, call sites of functions before it */
    uint32_t id;      /* index in graph->values */
    uint8_t role;
    bool is_weight;   /* CONST that came as an initializer */
    bool listed;      /* a tensor of the file's main graph, for --shapes */
    cg_type type;
    cg_node *def;     /* ROLE_NODE: the producer */
    uint32_t out;     /* which output of it */
    const cg_data *data;       /* elements, when known */
    const cg_node *made_by; /* CONST: the removed node that computed it */
    /* what follows is seldom read */
    cg_type declared; /* value_info of the file; rank -1 and UNDEFINED: none */
    const cg_payload *payload; /* CONST from a file, elements not kept */
    const struct cg_seq *seq;  /* sequence with known elements */
    const cg_node *why_node;   /* rank unknown: the node that made it so */
    const char *why;           /* and the reason */
};

typedef struct cg_seq {
    size_t n;
    const cg_type *elem; /* (n) */
} cg_seq;

/* What a node reads: a value, seen as `view` where movement operators between
 * producer and consumer were dropped (a slice, a reshape, a transpose). */
typedef struct cg_operand {
    cg_value *v;         /* NULL: optional input left out */
    const cg_type *view; /* NULL: v->type */
} cg_operand;

typedef enum cg_attr_kind {
    CG_ATTR_INT,
    CG_ATTR_INTS,
    CG_ATTR_FLOAT,
    CG_ATTR_FLOATS,
    CG_ATTR_STRING,
    CG_ATTR_STRINGS,
    CG_ATTR_VALUE, /* a tensor, as a CONST value */
    CG_ATTR_REGION,
    CG_ATTR_TYPE,
} cg_attr_kind;

typedef struct cg_attr {
    const char *name;
    uint8_t kind;
    uint32_t n; /* elements; 1 for scalars */
    union {
        const int64_t *ints;   /* INT, INTS */
        const double *floats;  /* FLOAT, FLOATS */
        const char *const *strings; /* STRING, STRINGS */
        cg_value *value;
        cg_region *region;
        const cg_type *type;
    };
} cg_attr;

struct cg_node {
    const char *name;   /* of the ONNX node it came from, or made up */
    const char *source; /* "domain::Type" when op is Custom, else NULL */
    uint32_t id;        /* index in graph->nodes */
    uint16_t op;        /* cg_op */
    uint16_t n_attr;
    uint32_t n_in, n_out;
    cg_operand *in;     /* (n_in) */
    cg_value **out;     /* (n_out); NULL: output left out */
    cg_attr *attr;      /* (n_attr) */
    cg_region *region;
    bool dead;          /* removed; passes sweep with cg_graph_sweep */
    uint32_t attr_cap;  /* room in attr, of cg_attr_set_* */
    /* facts, by pass flops; symbolic where shapes are */
    cg_dim macs, flops, params;
};

/* What an input or output is called and looks like. */
typedef struct cg_port {
    const char *name;
    cg_type type;
} cg_port;

struct cg_region {
    cg_region *parent; /* NULL: main */
    cg_node *owner;
    CG_ARRAY(cg_node *) nodes;    /* topological order */
    CG_ARRAY(cg_value *) inputs;
    CG_ARRAY(cg_value *) outputs; /* may be inputs, constants, outer values */
    CG_ARRAY(cg_port) ports; /* see cg_region_output; name NULL: the value's */
};

typedef struct cg_warning {
    const char *node; /* name, or NULL */
    const char *text;
} cg_warning;

/* Which facts a graph has: bits by pass (passes/passes.def, in its order). */
typedef uint32_t cg_facts;

struct cg_graph {
    cg_arena arena;
    const char *name;
    const char *producer;  /* "pytorch 2.9.0", NULL: unknown */
    int64_t ir_version, opset; /* of the default domain; 0: unknown */
    cg_region *main;
    CG_ARRAY(cg_region *) regions;
    CG_ARRAY(cg_value *) values;
    CG_ARRAY(cg_node *) nodes;
    CG_ARRAY(cg_warning) warnings;
    struct cg_dims *dims; /* interned expressions, ir/dim.c */
    uint64_t folded;      /* elements that folding has made, bounded */
    size_t cloned;        /* nodes copied from loop bodies; bounded */
    cg_facts facts;
    cg_dim macs, flops, params; /* totals, by pass flops */
    double spectrum[CG_SPECTRUM_LEN];
    uint64_t hash[2];
};

/* -- building ----------------------------------------------------------- */

cg_graph *cg_graph_new(const char *name); /* with an empty main region */
void cg_graph_free(cg_graph *g);          /* NULL is fine */

cg_region *cg_region_new(cg_graph *g, cg_region *parent);
/* Tensor of undefined elements and unknown rank. */
static inline cg_type cg_type_none(void)
{
    return (cg_type){.kind = CG_KIND_TENSOR, .rank = -1, .channel = -1};
}
cg_type cg_type_tensor(cg_graph *g, int dtype, int rank, const cg_dim *dims);

/* Names are copied; NULL makes one up. Values start without a type. */
cg_value *cg_value_new(cg_graph *g, const char *name); /* caller sets role */
cg_value *cg_value_input(cg_graph *g, cg_region *r, const char *name,
                         cg_type type);
cg_value *cg_value_const(cg_graph *g, const char *name, cg_type type,
                         const cg_data *data);
/* A 1-d i64 constant of n elements. */
cg_value *cg_value_ints(cg_graph *g, const char *name, const cg_dim *v,
                        size_t n);

/* Appends a node to a region with n_out fresh values, names NULL or (n_out)
 * (an empty name leaves that output out). `in` is copied; NULL elements are
 * inputs left out. The node takes no attributes yet. */
cg_node *cg_node_new(cg_graph *g, cg_region *r, cg_op op, const char *name,
                     cg_value *const *in, size_t n_in,
                     const char *const *out_names, size_t n_out);
/* The same with inputs left out, made-up names of outputs and no name: the
 * caller sets what is missing. */
cg_node *cg_node_bare(cg_graph *g, cg_region *r, cg_op op, size_t n_in,
                      size_t n_out);

/* Sets or replaces an attribute; arrays and strings are copied. */
void cg_attr_set_int(cg_graph *g, cg_node *n, const char *name, int64_t v);
void cg_attr_set_ints(cg_graph *g, cg_node *n, const char *name,
                      const int64_t *v, size_t len);
void cg_attr_set_float(cg_graph *g, cg_node *n, const char *name, double v);
void cg_attr_set_floats(cg_graph *g, cg_node *n, const char *name,
                        const double *v, size_t len);
void cg_attr_set_string(cg_graph *g, cg_node *n, const char *name,
                        const char *v);
void cg_attr_set_strings(cg_graph *g, cg_node *n, const char *name,
                         const char *const *v, size_t len);
void cg_attr_set_value(cg_graph *g, cg_node *n, const char *name, cg_value *v);
void cg_attr_set_region(cg_graph *g, cg_node *n, const char *name,
                        cg_region *r);
void cg_attr_set_type(cg_graph *g, cg_node *n, const char *name, cg_type t);
void cg_attr_remove(cg_node *n, const char *name);
/* `to` gets the attributes that `from` has, in place of its own; what is set
 * later is set for one of them. Bodies and tensors are shared. */
void cg_attrs_copy(cg_graph *g, cg_node *to, const cg_node *from);

void cg_warn(cg_graph *g, const cg_node *n, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Output k becomes `v`; readers still see the name and type it had. */
void cg_region_redirect(cg_region *r, size_t k, cg_value *v);
void cg_region_set_port(cg_region *r, size_t k, cg_port port);

/* -- reading ------------------------------------------------------------- */

/* Output k as the file has it: what it was before pass simplify dropped the
 * data movement in front of it. */
cg_port cg_region_output(const cg_region *r, size_t k);
cg_port cg_region_input(const cg_region *r, size_t k);

const cg_attr *cg_attr_find(const cg_node *n, const char *name);
int64_t cg_attr_int(const cg_node *n, const char *name, int64_t otherwise);
double cg_attr_float(const cg_node *n, const char *name, double otherwise);
const char *cg_attr_string(const cg_node *n, const char *name,
                           const char *otherwise);
/* The list and its length; NULL and 0 when absent or of another kind. */
const int64_t *cg_attr_ints(const cg_node *n, const char *name, size_t *len);
const double *cg_attr_floats(const cg_node *n, const char *name, size_t *len);
cg_region *cg_attr_region(const cg_node *n, const char *name);

/* Value of operand k; NULL when left out or k >= n_in. */
static inline cg_value *cg_in(const cg_node *n, size_t k)
{
    return k < n->n_in ? n->in[k].v : NULL;
}

/* Type of operand k as this node sees it; cg_type_none for a missing one. */
static inline cg_type cg_in_type(const cg_node *n, size_t k)
{
    if (!cg_in(n, k))
        return cg_type_none();
    return n->in[k].view ? *n->in[k].view : n->in[k].v->type;
}

/* Whether there are bodies besides the main region. */
static inline bool cg_has_bodies(const cg_graph *g)
{
    return g->regions.len > 1;
}

/* Elements of operand k if known, else NULL. A view of known data counts
 * only where the element count is the same. */
const cg_data *cg_in_data(const cg_node *n, size_t k);
bool cg_is_const(const cg_value *v); /* CONST, or data known */

/* Elements of a type; symbolic where dims are; *ok false for unknown rank.
 * More than 2^63 - 1 elements: *ok false too. */
cg_dim cg_type_count(cg_graph *g, const cg_type *t, bool *ok);
bool cg_type_equal(const cg_type *a, const cg_type *b); /* dims and dtype */

/* (H, W, C) of a type by its rank and channel axis:
 *   (N,C,H,W) and (N,H,W,C) give (H,W,C); (N,C,L) and (N,L,C) give (L,1,C);
 *   (N,C) gives (1,1,C); (N,C,D,H,W) gives (D*H,W,C); rank 0 and 1: (1,1,n).
 * Without a channel axis the last axis stands in. Unknown rank: false. */
bool cg_type_hwc(cg_graph *g, const cg_type *t, cg_dim hwc[3]);

/* What a node does in space, in 2-d terms (a 3-d kernel (d,h,w) is (d*h,w),
 * 1-d (l) is (l,1)); ones and zeros where it does not apply. */
typedef struct cg_geometry {
    int64_t kernel[2], stride[2], dilation[2];
    int64_t pad[4]; /* begin h, begin w, end h, end w */
    int64_t groups;
    cg_dim weight[4]; /* kernel h, kernel w, Cin/groups, Cout; 0: no weights */
    bool bias;
} cg_geometry;
void cg_node_geometry(cg_graph *g, const cg_node *n, cg_geometry *out);

/* HWC of a node: of its largest input (ties: the larger tuple), and of its
 * first output. False when a rank is unknown. */
bool cg_node_in_hwc(cg_graph *g, const cg_node *n, cg_dim hwc[3]);
bool cg_node_out_hwc(cg_graph *g, const cg_node *n, cg_dim hwc[3]);

/* -- changing ------------------------------------------------------------- */

/* Who reads each value, over all regions: users of v are
 * list[start[v->id] .. start[v->id + 1]), one entry per operand or region
 * output (node NULL). Made on the heap; stale after any change. */
typedef struct cg_use {
    cg_node *node;     /* NULL: a region output */
    cg_region *region;
    uint32_t index;    /* operand, or index among the region's outputs */
} cg_use;
typedef struct cg_uses {
    uint32_t *start; /* (values + 1) */
    cg_use *list;
} cg_uses;
void cg_uses_make(cg_uses *u, const cg_graph *g);
void cg_uses_free(cg_uses *u);
size_t cg_uses_count(const cg_uses *u, const cg_value *v);

/* Takes dead nodes out of the regions' lists; with `unreachable` first marks
 * dead what no region output depends on (bodies of live nodes are kept). */
void cg_graph_sweep(cg_graph *g, bool unreachable);

/* Sorts a region's nodes topologically (stable). A cycle is an error that
 * names a node of it. */
cg_err cg_region_sort(cg_graph *g, cg_region *r);

/* Structure: every operand is defined before use and visible in its region,
 * arities, ranks and attribute kinds are right. `after` names the pass that
 * ran (NULL: input). */
cg_err cg_graph_validate(const cg_graph *g, const char *after);

/* The CG's nodes and unique edges (producer, consumer), for text, spectrum
 * and hash: the main region's nodes in order, one Input per graph input before
 * them and one Output per graph output after. Heap arrays. */
typedef struct cg_edges {
    uint32_t n_nodes;         /* inputs + nodes + outputs */
    uint32_t n_inputs, n_outputs;
    uint32_t n_edges;
    uint32_t (*edge)[2];      /* (n_edges) sorted, unique */
} cg_edges;
void cg_edges_make(cg_edges *e, const cg_graph *g);
void cg_edges_free(cg_edges *e);

#endif
