/* What fold rules and the movement shape rules share (private to passes/):
 * single elements of known tensors, lists that stand for shapes, index maps.
 *
 * Folding is value propagation over small tensors: at most CG_DATA_MAX
 * elements, integers that may be symbolic, floats that may be a number times a
 * symbolic integer. Where an element cannot be said it becomes an unknown that
 * remembers its node, so that its neighbours stay known. */
#ifndef CG_PASSES_FOLD_H
#define CG_PASSES_FOLD_H

#include "ir/graph.h"

/* -- elements ------------------------------------------------------------- */

/* FLOAT: f * i, where i is 1 unless symbolic; where i is symbolic and f is NaN
 * the number is not known, and i only tells whose doing that is. INT: i.
 * STRING: s. */
typedef struct cg_elem {
    double f;
    cg_dim i;
    const char *s;
} cg_elem;

cg_elem cg_elem_get(const cg_data *d, size_t k);
/* d belongs to the caller and is of the element's kind. */
void cg_elem_put(cg_graph *g, cg_data *d, size_t k, cg_elem e);
cg_elem cg_elem_int(cg_dim i);
cg_elem cg_elem_float(double f);
/* f * i with a known i multiplied in. */
cg_elem cg_elem_scaled(double f, cg_dim i);
bool cg_elem_known(cg_elem e);
bool cg_elem_opaque(cg_elem e); /* a float of which nothing is known */

/* The number a tensor of this type would hold: floats rounded to the type's
 * significand, known integers wrapped to its width. */
double cg_round_float(int dtype, double x);
cg_dim cg_wrap_int(int dtype, cg_dim v);
cg_elem cg_elem_fit(int dtype, cg_elem e);

/* x truncated into int64; what does not fit sticks at the ends. */
int64_t cg_trunc_int(double x);

/* Floor and ceiling of f * i as integers. */
cg_dim cg_floor_scaled(cg_graph *g, const cg_node *n, double f, cg_dim i);
cg_dim cg_ceil_scaled(cg_graph *g, const cg_node *n, double f, cg_dim i);

/* What is sure of a >= b, with every symbol >= 0. */
bool cg_dim_surely_ge(cg_graph *g, cg_dim a, cg_dim b);
/* The same where a network makes sense at all: symbolic sizes are a little
 * larger than its constant offsets, and a symbolic position b lies inside a.
 * Nothing is taken for granted of sizes that depend on data. */
bool cg_dim_taken_ge(cg_graph *g, cg_dim a, cg_dim b);
/* max(d, 0) where d is not taken to be a size. */
cg_dim cg_dim_not_negative(cg_graph *g, cg_dim d);

/* -- whole tensors -------------------------------------------------------- */

/* The dims of a type when all are known and there are at most CG_DATA_MAX
 * elements; false otherwise. dims has room CG_MAX_RANK. */
bool cg_small_dims(const cg_type *t, int64_t *dims, size_t *count);

/* cg_data_new, within a budget per graph for all but the smallest: a long
 * chain over constants must not cost what its values would. NULL: no room. */
cg_data *cg_fold_room(cg_graph *g, int dtype, size_t n);

/* Data of operand k where its dims are known and fit it, else NULL. */
const cg_data *cg_small_in(const cg_node *n, size_t k, int64_t *dims);

/* For every element of `out` the element of operand k it is broadcast from;
 * map has room CG_DATA_MAX. False when a shape is not known. */
bool cg_broadcast_map(const cg_node *n, size_t k, const cg_type *out,
                      uint16_t *map);

/* Output k becomes src seen through strides: element (a, b, ...) is
 * src[base + a * stride[0] + ...]. Rank up to 2 * CG_MAX_RANK. */
void cg_fold_strided(cg_graph *g, cg_node *n, size_t k, const cg_data *src,
                     int rank, const int64_t *dims, const int64_t *stride,
                     int64_t base);
/* Row-major strides. */
void cg_row_strides(int rank, const int64_t *dims, int64_t *stride);

/* The axes a reduction or a squeeze names in operand 1 or takes by default:
 * bit per axis in *mask. False when the operand's values are not known. */
cg_err cg_axes_mask(const cg_node *n, int rank, uint64_t *mask, bool *known);

/* -- one operator over all elements --------------------------------------- */

/* What an element function needs beside its elements. */
typedef struct cg_elem_ctx {
    cg_graph *g;
    cg_node *n;
    int dtype; /* of the operands */
    bool is_float;
} cg_elem_ctx;

typedef cg_err cg_elem_fn1(const cg_elem_ctx *c, cg_elem a, cg_elem *out);
typedef cg_err cg_elem_fn2(const cg_elem_ctx *c, cg_elem a, cg_elem b,
                           cg_elem *out);

/* With the element type of this operand. */
cg_elem_ctx cg_elem_context(cg_graph *g, cg_node *n, size_t operand);
/* An element that cannot be said, in the context's type; of floats, what made
 * a or b so goes before this node and `why`. */
cg_elem cg_elem_unknown(const cg_elem_ctx *c, cg_elem a, cg_elem b,
                        const char *why);

/* Data of operand k, if it is numbers of the kind its type says. */
const cg_data *cg_numbers_in(const cg_node *n, size_t k);
/* Fresh data for output 0, if it is small and its type is known. */
cg_data *cg_numbers_out(cg_graph *g, cg_node *n);

/* Output 0 from fn over operand 0, or over operands 0 and 1 broadcast. */
cg_err cg_elem_map1(cg_graph *g, cg_node *n, cg_elem_fn1 *fn);
cg_err cg_elem_map2(cg_graph *g, cg_node *n, cg_elem_fn2 *fn);

cg_elem_fn2 cg_elem_add, cg_elem_mul, cg_elem_max, cg_elem_min;
/* -1, 0, 1 as cg_dim_compare; 2: not known, or a NaN. */
int cg_elem_compare(const cg_elem_ctx *c, cg_elem a, cg_elem b);
/* a >= b: 1 yes, 0 no, 2 not known. */
int cg_elem_ge(const cg_elem_ctx *c, cg_elem a, cg_elem b);

/* -- lists that stand for shapes ------------------------------------------ */

/* Elements of a short integer list, with what is not known made blind: a
 * Concat of known and unknown parts keeps the known ones. */
typedef struct cg_list {
    int n;
    bool blind[CG_MAX_RANK];
    cg_dim d[CG_MAX_RANK];            /* where not blind */
    const cg_node *from[CG_MAX_RANK]; /* who made it */
} cg_list;

/* Element k; a fresh unknown if it is blind. */
cg_dim cg_list_dim(cg_graph *g, const cg_list *l, int k);

/* Operand k as a list; *ok false when not even its length is known. A list
 * that is not 1-d, or longer than CG_MAX_RANK, is an error. */
cg_err cg_in_list(const cg_node *n, size_t k, cg_list *l, bool *ok);

/* The dims that Shape gives of an input of this rank: [start, end). */
void cg_shape_span(const cg_node *n, int rank, int *start, int *end);

/* -- slices --------------------------------------------------------------- */

typedef struct cg_cut {
    cg_dim start, step, size; /* step 0: only the size is told */
} cg_cut;

/* What Slice takes of every axis of its input of type t (rank known);
 * cut has room CG_MAX_RANK. */
cg_err cg_slice_cuts(cg_graph *g, cg_node *n, const cg_type *t, cg_cut *cut);

#endif
