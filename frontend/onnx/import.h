/* What the parts of the importer share (private to frontend/onnx).
 *
 * import.c    the model: inputs, options, outputs
 * decode.c    graphs and nodes, names to values
 * order.c     the order in which nodes can be read
 * function.c  model-local functions, inlined
 * attr.c      attributes: resolved, checked, turned into the graph's
 * tensor.c    tensors and their elements; external.c files beside the model
 * type.c      value types
 * lower.c     one ONNX operator to the graph's operators, by onnx.def */
#ifndef CG_FRONTEND_ONNX_IMPORT_H
#define CG_FRONTEND_ONNX_IMPORT_H

#include "base/map.h"
#include "frontend/onnx/onnx.h"
#include "frontend/onnx/schema.h"
#include "ir/graph.h"

#define CG_ONNX_NEWEST 28 /* opset whose meaning the graph has */
#define CG_ONNX_DEPTH_MAX 64 /* nested graphs; nested calls of functions */

typedef struct cg_opsets {
    Onnx__OperatorSetIdProto **list;
    size_t n;
} cg_opsets;

typedef struct cg_function {
    const Onnx__FunctionProto *p;
    Onnx__AttributeProto **defaults;
    size_t n_defaults;
    uint32_t *order; /* of its nodes, NULL: not known yet */
    uint64_t nodes;  /* after inlining, once measured */
    int depth;       /* calls inside calls */
    bool measured, open;
} cg_function;

struct cg_scope;

/* An attribute after references to a function's attributes are followed. */
typedef struct cg_onnx_attr {
    const char *name;
    const Onnx__AttributeProto *p;
    struct cg_scope *scope; /* where the names in a graph attribute count */
    int type; /* AttributeProto.AttributeType, deduced if absent */
} cg_onnx_attr;

/* The attributes of the call that is being inlined. */
typedef struct cg_onnx_call {
    const cg_function *function;
    const cg_onnx_attr *attr;
    size_t n_attr;
} cg_onnx_call;

/* Names of one graph, or of the body of one call of a function. */
typedef struct cg_scope {
    struct cg_scope *parent; /* names around it, NULL: none */
    cg_region *region;
    cg_map values;     /* name in the file -> cg_value */
    cg_map renames;    /* function body: output -> name at the call site */
    const char *prefix; /* "" or "call/" */
    cg_opsets opsets;
    const cg_onnx_call *call; /* NULL: not in a function */
    int depth, calls;  /* graphs and calls around this */
    bool listed;       /* the file's main graph itself */
} cg_scope;

typedef struct cg_importer {
    cg_graph *g;
    cg_arena scratch; /* messages, and what ends with the import */
    const cg_onnx_opts *opts;
    const Onnx__ModelProto *model;
    size_t max_nodes, max_bytes, n_nodes;
    cg_map functions; /* key -> cg_function */
    cg_map captures;  /* graph -> names it takes from around it */
    cg_map rows, attrs; /* onnx.def, kinds of attributes */
    cg_map files;     /* external data: location -> size and state */
    cg_map names;     /* that new names must differ from; filled on demand */
    int dir;          /* of the model, for external data; -1: none */
    bool warned_opset;
    bool located; /* the sentence of the error names its node */
} cg_importer;

/* One ONNX node on its way into the graph. */
typedef struct cg_onnx_node {
    cg_importer *imp;
    cg_scope *scope;
    const Onnx__NodeProto *p;
    const char *name, *type;
    const char *domain; /* "" for ai.onnx */
    int64_t version;    /* opset of the domain */
    cg_value **in;      /* (n_in), NULL: left out; room for CG_ONNX_ROOM more */
    size_t n_in;
    const char **out;   /* (n_out) names in the graph, "": left out */
    size_t n_out;
    cg_onnx_attr *attr; /* (n_attr) */
    size_t n_attr;
    bool incomplete; /* a node lacks an input that it cannot do without */
} cg_onnx_node;

#define CG_ONNX_ROOM 8

/* decode.c: the value a name stands for; NULL: none. An optional input that
 * the call of a function leaves out is &cg_onnx_absent. */
extern cg_value cg_onnx_absent;
cg_value *cg_onnx_lookup(const cg_scope *s, const char *name);
void cg_onnx_bind_name(cg_scope *s, const char *name, cg_value *v);
cg_err cg_onnx_nodes(cg_importer *imp, Onnx__NodeProto **nodes, size_t n,
                     const uint32_t *order, cg_scope *s);
/* `name`, or that with a number behind it: no other value has it. */
const char *cg_onnx_unique(cg_importer *imp, const char *name);
cg_err cg_onnx_initializers(cg_importer *imp, const Onnx__GraphProto *p,
                            cg_scope *s);
cg_err cg_onnx_outputs(cg_importer *imp, const Onnx__GraphProto *p,
                       cg_scope *s);
cg_err cg_onnx_declare(cg_importer *imp, Onnx__ValueInfoProto **info, size_t n,
                       cg_scope *s);
/* The body of a graph attribute, as a region inside `outer`. */
cg_err cg_onnx_body(cg_importer *imp, const Onnx__GraphProto *p,
                    cg_scope *outer, cg_region **out);
int64_t cg_onnx_version(cg_importer *imp, const cg_scope *s,
                        const char *domain);
const char *cg_onnx_domain(const char *domain); /* "ai.onnx", NULL: "" */

/* order.c: indices of the nodes in an order in which each comes after what
 * it reads (scratch memory). Checks that no name is written twice. */
cg_err cg_onnx_order(cg_importer *imp, Onnx__NodeProto **nodes, size_t n,
                     const cg_scope *s, uint32_t **order);

/* function.c */
cg_err cg_onnx_functions(cg_importer *imp); /* reads and measures them */
cg_function *cg_onnx_function(cg_importer *imp, const Onnx__NodeProto *n);
cg_err cg_onnx_inline(cg_onnx_node *n, cg_function *f);

/* attr.c */
cg_err cg_onnx_attrs(cg_onnx_node *n); /* fills n->attr, on the heap */
/* Kinds and presence, for operators of a domain that we know. */
cg_err cg_onnx_check_attrs(cg_onnx_node *n, const char *key);
cg_err cg_onnx_copy_attrs(cg_onnx_node *n, cg_node *to, bool graphs);
void cg_onnx_attr_table(cg_importer *imp);

/* tensor.c: a constant; `name` NULL makes one up. */
cg_err cg_onnx_tensor(cg_importer *imp, const Onnx__TensorProto *t,
                      const char *name, cg_value **out);
cg_err cg_onnx_sparse(cg_importer *imp, const Onnx__SparseTensorProto *t,
                      const char *name, cg_value **out);
/* Checks rank, signs and product of dims; *count elements. */
cg_err cg_onnx_dims(const char *name, const int64_t *dims, size_t rank,
                    int64_t *count);

/* external.c */
typedef struct cg_external {
    const char *location;
    uint64_t offset, length; /* length: that of the file where none is given */
    bool found;              /* the file is there */
} cg_external;
/* Where a tensor's bytes are: checked to lie inside the model's directory,
 * and inside the file if that exists. Nothing is read. */
cg_err cg_onnx_external(cg_importer *imp, const Onnx__TensorProto *t,
                        uint64_t want, cg_external *out);
/* Reads n bytes at the tensor's offset; false: not possible. */
bool cg_onnx_external_read(cg_importer *imp, const cg_external *e, void *to,
                           size_t n);

/* type.c: `symbol` names dims without a name ("x.0"). */
cg_err cg_onnx_type(cg_importer *imp, const Onnx__TypeProto *t,
                    const char *symbol, cg_type *out);
cg_dim cg_onnx_symbol(cg_importer *imp, const char *name);
cg_dim cg_onnx_anonymous(cg_importer *imp, const char *value, size_t axis);

/* lower.c */
void cg_onnx_row_table(cg_importer *imp);
cg_err cg_onnx_lower(cg_onnx_node *n);

#endif
