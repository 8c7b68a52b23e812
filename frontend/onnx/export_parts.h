/* What the parts of the exporter share (private to frontend/onnx).
 *
 * export.c         the model: inputs, nodes, outputs, in the order of the file
 * export_op.c      one operator to ONNX nodes, by export.def
 * export_norm.c    those that become several
 * export_move.c    views: the data movement that gives an operand its type
 * export_dim.c     symbolic dims as arithmetic on shapes
 * export_weight.c  constants, and the stream of random weights
 * export_wire.c    bytes, nodes, attributes */
#ifndef CG_FRONTEND_ONNX_EXPORT_PARTS_H
#define CG_FRONTEND_ONNX_EXPORT_PARTS_H

#include "base/map.h"
#include "frontend/onnx/export.h"
#include "ir/graph.h"

typedef CG_ARRAY(unsigned char) cg_bytes;

/* How the elements of a weight are made: uniform in centre +- width. */
typedef struct cg_export_weight {
    const char *name;
    uint8_t dtype;
    int rank;
    const int64_t *dims;
    uint64_t count;
    double centre, width;
} cg_export_weight;

typedef struct cg_export {
    cg_graph *g;
    cg_export_opts opts;
    cg_arena scratch;
    cg_bytes body; /* GraphProto, but for the weights */
    cg_bytes node; /* NodeProto that is being made */
    const char **name;  /* (values) in the model, NULL: not there yet */
    uint8_t *dtype;     /* (values) in the model */
    cg_map names, nodes; /* taken, of values and of nodes */
    cg_map seen;        /* nodes that look alike -> how many there were */
    cg_map symbols;     /* symbol -> name of its (1) tensor */
    cg_map literals;    /* "3,-1" -> name */
    CG_ARRAY(cg_export_weight) weights;
    CG_ARRAY(const char *) domains; /* besides ai.onnx */
    const cg_node *at;  /* for names and errors; NULL: an output */
    unsigned variant;   /* of the node: how many before it look alike */
    size_t mirrored;    /* its operand that is another for that */
    int nest; /* constants being computed */
    int64_t opset;
} cg_export;

/* -- export_wire.c -------------------------------------------------------- */

void cg_put_int(cg_bytes *b, int field, int64_t v);
void cg_put_float(cg_bytes *b, int field, float v);
void cg_put_bytes(cg_bytes *b, int field, const void *p, size_t n);
void cg_put_text(cg_bytes *b, int field, const char *s);
void cg_put_head(cg_bytes *b, int field, uint64_t length); /* of a message */
/* ValueInfoProto as field `field`; dims that have no name stay open. */
void cg_put_value(cg_export *x, int field, const char *name,
                  const cg_type *t);

/* A name that no other has: `name`, or that and a number. */
const char *cg_export_unique(cg_export *x, const char *name);
/* The same below the node's name: "conv1/bias". */
const char *cg_export_fresh(cg_export *x, const char *what);

/* One node: begin, inputs, attributes, outputs, end with its name. Those that
 * the graph does not have are named after their output. */
void cg_export_begin(cg_export *x, const char *domain, const char *type);
void cg_export_input(cg_export *x, const char *name); /* "": left out */
void cg_export_output(cg_export *x, const char *name);
void cg_export_attr(cg_export *x, const cg_attr *a);
void cg_export_int(cg_export *x, const char *name, int64_t v);
void cg_export_ints(cg_export *x, const char *name, const int64_t *v,
                    size_t n);
void cg_export_float(cg_export *x, const char *name, double v);
void cg_export_end(cg_export *x, const char *name);
const char *cg_export_node_name(cg_export *x); /* of x->at, once */
/* A whole node of up to three inputs (NULL: no more); its output is `out`, or
 * a fresh name where that is NULL. */
const char *cg_export_call(cg_export *x, const char *type, const char *a,
                           const char *b, const char *c, const char *out);
const char *cg_export_cast(cg_export *x, const char *a, int dtype);

/* -- export_weight.c ------------------------------------------------------ */

/* A 1-d i64 constant. */
const char *cg_export_literal(cg_export *x, const int64_t *v, size_t n);
/* A scalar, or n equal elements (n > 0), as a Constant node. */
const char *cg_export_number(cg_export *x, double v, int dtype, int64_t n);
/* A weight of the exporter's own making. */
const char *cg_export_filled(cg_export *x, const char *what, int dtype,
                             int64_t n, double centre);
/* Constant v as operand k of x->at sees it, elements of type `dtype` (what
 * the name has in the end is *got). */
cg_err cg_export_const(cg_export *x, const cg_value *v, size_t k, int dtype,
                       const char **name, int *got);
void cg_put_tensor(cg_export *x, cg_bytes *b, int field, const char *name,
                   const cg_value *v, int dtype);
uint64_t cg_export_weights_size(const cg_export *x);
void cg_export_weights_write(const cg_export *x, FILE *f);
int cg_export_dtype(int dtype); /* what elements of it are written as */

/* -- export_dim.c, export_move.c ------------------------------------------ */

/* Name of a 1-d i64 tensor with these elements. */
cg_err cg_export_dims(cg_export *x, const cg_dim *d, size_t n,
                      const char **name);
/* The tensor `name` of type `from`, moved until it has type `to`. */
cg_err cg_export_move(cg_export *x, const cg_type *from, const cg_type *to,
                      const char **name);
cg_err cg_export_reshape(cg_export *x, const cg_dim *d, int rank,
                         const char **name);
cg_err cg_export_transpose(cg_export *x, const int64_t *perm, int rank,
                           const char **name);

/* -- export_op.c ---------------------------------------------------------- */

/* Operand k of x->at as it sees it, of element type `dtype` (0: as it is). */
cg_err cg_export_operand(cg_export *x, size_t k, int dtype,
                         const char **name);
cg_err cg_export_op(cg_export *x);
cg_err cg_export_open(cg_export *x, cg_dim d); /* "... depends on 'seq'" */

/* Rules of export.def; dtype is that of the node's data. */
typedef struct cg_export_row {
    const char *domain, *name;
    int64_t since;
    const char *types;
    const char *attrs; /* those of that version, "a,b" */
    cg_err (*write)(cg_export *x, const struct cg_export_row *row, int dtype);
} cg_export_row;

#define RULE(name)                                                            \
    cg_err cg_export_as_##name(cg_export *x, const cg_export_row *row,        \
                               int dtype)
RULE(plain);
RULE(nary);
RULE(conv);
RULE(matmul);
RULE(avgpool);
RULE(concat);
RULE(mean);
RULE(relu6);
RULE(swish);
RULE(batchnorm);
RULE(layernorm);
RULE(rmsnorm);
RULE(instancenorm);
RULE(groupnorm);
RULE(custom);
RULE(none);
#undef RULE

const char *cg_export_out(cg_export *x, size_t k); /* of x->at; "": none */
void cg_export_need(cg_export *x, const cg_export_row *row);
void cg_export_attrs(cg_export *x, const cg_export_row *row);

#endif
