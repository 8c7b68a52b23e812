/* Shorthand of the shape rules (private to passes/shape_*.c). */
#ifndef CG_PASSES_SHAPE_RULES_H
#define CG_PASSES_SHAPE_RULES_H

#include "passes/shape.h"

/* "[1,3,h,?conv]"; "[...]" for an unknown rank. In the graph's arena. */
const char *cg_shape_str(cg_graph *g, const cg_type *t);

/* A number from the file as a dim: the lowest ones are no dims. */
static inline cg_dim cg_dim_number(int64_t v)
{
    return v < CG_DIM_MIN ? CG_DIM_MIN : v;
}

/* Dims that depend on data (a "?"), unlike numbers and named symbols. */
bool cg_dim_is_unknown(cg_graph *g, cg_dim d);
/* False only for two different numbers. */
bool cg_dims_agree(cg_dim a, cg_dim b);

/* Output k gets the shape (or the unknown rank and its cause) of operand
 * `from`; kind, too. dtype -1: that of the operand. */
void cg_out_like(cg_graph *g, cg_node *n, size_t k, size_t from, int dtype);
/* Unknown rank, caused by what made the rank of operand `from` unknown. */
void cg_out_blocked(cg_graph *g, cg_node *n, size_t k, size_t from,
                    int dtype);
/* A sequence with these elements; output kind SEQUENCE. */
void cg_out_seq(cg_graph *g, cg_node *n, size_t k, const cg_type *elem,
                size_t len);

/* Dim `axis` (may be negative) of operand k, or a fresh unknown if the rank
 * is not known. */
cg_dim cg_in_dim(cg_graph *g, cg_node *n, size_t k, int axis);
/* dtype of operand k, or `otherwise` if that is not known. */
int cg_in_dtype(const cg_node *n, size_t k, int otherwise);
/* The rank of operand k, when known, must be in [lo, hi]; `what` names it. */
cg_err cg_want_rank(const cg_node *n, size_t k, const char *what, int lo,
                    int hi);
/* Two dims that must be the same number; `what` names the pair. */
cg_err cg_want_equal(cg_graph *g, cg_dim a, cg_dim b, const char *what);
/* The one integer of operand k, if known. */
bool cg_in_scalar(const cg_node *n, size_t k, cg_dim *out);
/* List attribute; absent: *v NULL and *len 0. Another kind is an error. */
cg_err cg_want_ints(const cg_node *n, const char *name, const int64_t **v,
                    size_t *len);

/* What two types have in common: differing dims become unknowns of `n`. */
cg_type cg_type_unify(cg_graph *g, const cg_node *n, const cg_type *a,
                      const cg_type *b, const char *why);

#endif
