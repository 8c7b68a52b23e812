/* What shape rules and fold rules are written with (private to passes/).
 *
 * A shape rule sets the types of a node's outputs from its inputs. It never
 * fails for what is merely unknown: it sets what it knows (at least the rank,
 * where it can) and leaves the rest unknown with a reason. It fails with one
 * sentence for what no ONNX runtime could accept (a group that does not
 * divide, a negative output size). The caller puts "node 'x' (Op): " before.
 *
 * A fold rule runs after the shape rule, and sets output data where the inputs'
 * data allow. It may do nothing. */
#ifndef CG_PASSES_SHAPE_H
#define CG_PASSES_SHAPE_H

#include "ir/graph.h"

typedef cg_err cg_shape_rule(cg_graph *g, cg_node *n);
typedef cg_err cg_fold_rule(cg_graph *g, cg_node *n);

#define CG_OP(id, name, min, max, shape, fold, flops, class)                  \
    cg_shape_rule cg_shape_##shape;                                           \
    cg_fold_rule cg_fold_##fold;
#include "ir/ops.def"
#undef CG_OP

/* Shapes of one node: validates arity of inputs, calls its rules. */
cg_err cg_infer_node(cg_graph *g, cg_node *n);
/* Every node of a region, in order; inlines If, Loop and Scan that fold. */
cg_err cg_infer_region(cg_graph *g, cg_region *r);

/* -- setting outputs (no-ops for an output left out) ----------------------- */

void cg_out_tensor(cg_graph *g, cg_node *n, size_t k, int dtype, int rank,
                   const cg_dim *dims);
void cg_out_type(cg_graph *g, cg_node *n, size_t k, cg_type t);
/* Tensor of unknown rank; `why` is borrowed. */
void cg_out_unknown(cg_graph *g, cg_node *n, size_t k, int dtype,
                    const char *why);
/* Known rank, every dim a fresh unknown of this node. */
void cg_out_rank(cg_graph *g, cg_node *n, size_t k, int dtype, int rank,
                 const char *why);
/* If operand k has unknown rank: output 0.. get unknown rank caused by what
 * made it so, and true is returned. */
bool cg_blocked(cg_graph *g, cg_node *n, size_t k);

/* -- reading ---------------------------------------------------------------- */

/* Axis attribute or value brought into [0, rank); error names the node. */
cg_err cg_axis(const cg_node *n, int64_t axis, int rank, int *out);
/* NumPy broadcasting of two dims or whole shapes (out has room CG_MAX_RANK).
 * Two different known dims, neither 1, are an error. */
cg_err cg_broadcast_dim(cg_graph *g, cg_dim a, cg_dim b, cg_dim *out);
cg_err cg_broadcast(cg_graph *g, const cg_type *a, const cg_type *b,
                    cg_dim *dims, int *rank);
/* Element k of int data / float data; the caller checked that it exists.
 * cg_data_float: false when it is symbolic. */
bool cg_data_float(const cg_data *d, size_t k, double *out);

/* -- setting data ------------------------------------------------------------ */

/* New data with room for n elements of dtype's kind (i or f zeroed); NULL if
 * n > CG_DATA_MAX. */
cg_data *cg_data_new(cg_graph *g, int dtype, size_t n);
void cg_out_data(cg_node *n, size_t k, const cg_data *d);

#endif
