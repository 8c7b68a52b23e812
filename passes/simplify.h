/* What patterns of pass simplify are written with (private to passes/).
 *
 * A pattern is a row of patterns.def: the operator it is rooted at and one
 * function. The pass visits nodes in topological order; a pattern looks only
 * upstream of its root, which is simplified already, and rewrites the root in
 * place, so one round reaches nearly everything. Values that disappear get an
 * alias; readers are redirected when they are visited. */
#ifndef CG_PASSES_SIMPLIFY_H
#define CG_PASSES_SIMPLIFY_H

#include "ir/graph.h"

typedef struct cg_rewrite {
    cg_graph *g;
    cg_value **alias; /* (cap) value id -> what its readers read instead */
    uint32_t *uses;   /* (cap) value id -> number of readers */
    size_t cap;
    bool settled;     /* channel axes are final */
    bool views;       /* movement is dropped: operands have views */
    size_t changes;
    struct cg_cse *cse;
    CG_ARRAY(cg_node *) queue; /* nodes about to die */
} cg_rewrite;

/* When a pattern may run: before movement is dropped, or also after.
 * CG_SETTLED: it sees more once the channel axes are final. */
typedef enum cg_when {
    CG_RAW = 1,
    CG_VIEWED = 2,
    CG_ALWAYS = 3,
    CG_SETTLED = 4,
} cg_when;

/* True when the root was rewritten (it may be dead now). */
typedef bool cg_pattern_fn(cg_rewrite *rw, cg_node *n);

#define CG_PATTERN(op, fn, when, line) cg_pattern_fn cg_match_##fn;
#include "passes/patterns.def"
#undef CG_PATTERN

/* -- reading ------------------------------------------------------------ */

cg_value *cg_rw_follow(cg_rewrite *rw, cg_value *v);

/* Through aliases. */
static inline cg_value *cg_rw_value(cg_rewrite *rw, cg_value *v)
{
    return rw->alias[v->id] ? cg_rw_follow(rw, v) : v;
}

cg_operand cg_rw_in(cg_rewrite *rw, const cg_node *n, size_t k);
uint32_t cg_rw_uses(cg_rewrite *rw, cg_value *v);
/* Same value seen the same way. */
bool cg_rw_same(cg_rewrite *rw, cg_operand a, cg_operand b);
/* The live producer of an operand if it is `op`, the operand is its first
 * output, and no movement was dropped between; else NULL. */
cg_node *cg_rw_def(cg_rewrite *rw, cg_operand o, cg_op op);
cg_node *cg_rw_def_any(cg_rewrite *rw, cg_operand o);
/* The same when nothing else reads it. */
cg_node *cg_rw_only(cg_rewrite *rw, cg_operand o, cg_op op);

bool cg_rw_const(cg_rewrite *rw, cg_operand o); /* role CONST */
cg_type cg_rw_type(cg_operand o);
/* A constant of one element; *x its value, NaN when not known. */
bool cg_rw_scalar(cg_rewrite *rw, cg_operand o, double *x);
/* A constant of one element that is about x. */
bool cg_rw_is(cg_rewrite *rw, cg_operand o, double x);
bool cg_near(double a, double b);
/* Known integers of operand k, at most CG_MAX_RANK * 2 of them. */
bool cg_rw_ints(const cg_node *n, size_t k, int64_t *out, size_t *len);
/* Operand `k` of n is a constant that varies along one axis of `t` only, with
 * t.dims[axis] elements. */
bool cg_rw_along(cg_rewrite *rw, const cg_node *n, size_t k, const cg_type *t,
                 int axis);
/* The axes a Reduce* or Mean reduces, ascending, of the rank of its input;
 * false when they are not known. */
bool cg_rw_axes(const cg_node *n, int *axes, int *len);
bool cg_same_dims(const cg_type *a, const cg_type *b);

/* A product c * f[0] * f[1]..., or a sum c + f[0] + f[1]..., with intermediate
 * nodes that nobody else reads multiplied out. n is 0 when it has too many. */
typedef struct cg_terms {
    cg_operand f[6];
    size_t n;
    double c;
} cg_terms;
cg_terms cg_rw_product(cg_rewrite *rw, cg_operand o);
cg_terms cg_rw_sum(cg_rewrite *rw, cg_operand o);
/* Of a node itself, whoever reads it. */
cg_terms cg_rw_product_of(cg_rewrite *rw, const cg_node *n);
cg_terms cg_rw_sum_of(cg_rewrite *rw, const cg_node *n);

/* -- rewriting ---------------------------------------------------------- */

/* Readers of v read `to` from now on. */
void cg_rw_alias(cg_rewrite *rw, cg_value *v, cg_value *to);
/* Node n goes; its first output's readers read operand k of it. */
bool cg_rw_forward(cg_rewrite *rw, cg_node *n, size_t k);
void cg_rw_set_inputs(cg_rewrite *rw, cg_node *n, const cg_operand *in,
                      size_t n_in);
/* n becomes `op` of the operands; attributes go unless `keep`. */
void cg_rw_become(cg_rewrite *rw, cg_node *n, cg_op op, const cg_operand *in,
                  size_t n_in);
/* n becomes what `from` is (operator, attributes, name), with operand `at`
 * set to `extra` in addition to from's own. */
void cg_rw_take(cg_rewrite *rw, cg_node *n, const cg_node *from, size_t at,
                cg_operand extra);
void cg_rw_kill(cg_rewrite *rw, cg_node *n);
void cg_rw_grow(cg_rewrite *rw); /* after making values */
const cg_type *cg_rw_view(cg_rewrite *rw, cg_type t); /* copied */
/* A transposition of the last two axes. */
cg_type cg_rw_swapped(cg_rewrite *rw, cg_type t);

/* One walk over a simplified graph with one pattern. */
void cg_rw_each(cg_graph *g, cg_op op, cg_pattern_fn *match);

/* -- parts of the pass -------------------------------------------------- */

/* Attention, Gemm and MatMulNBits become MatMul and Softmax. */
cg_err cg_simplify_expand(cg_graph *g);
/* A node of constants only becomes constants. True: it is gone. */
bool cg_simplify_constant(cg_rewrite *rw, cg_node *n);
/* Movement operators go, their types stay as views. True: it is gone. */
bool cg_simplify_move(cg_rewrite *rw, cg_node *n);
bool cg_has_moves(const cg_graph *g); /* any of them, live */
/* An equal node before this one takes its place. True: it is gone. */
bool cg_simplify_equal(cg_rewrite *rw, cg_node *n);
/* Chains over (rows, C) take back the axes that rows had. */
void cg_simplify_rows(cg_rewrite *rw);
/* An Add whose only reader is an Add melts into it. True: one did. */
bool cg_simplify_sums(cg_rewrite *rw);
void cg_cse_reset(cg_rewrite *rw);
void cg_cse_free(cg_rewrite *rw);

#endif
