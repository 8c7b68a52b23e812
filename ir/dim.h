/* Dimensions and shape arithmetic: an int64 that may also stand for a symbolic
 * expression of its graph ("batch*seq", "seq+1", "(h+1)//2").
 *
 * Known numbers are themselves. Values below CG_DIM_MIN are references to
 * interned polynomials over atoms; equal expressions have equal references, so
 * == compares. Atoms are named symbols (>= 0), unknowns that remember the node
 * that made them, and floor divisions, maxima and minima of expressions.
 * All arithmetic is exact or becomes an unknown: nothing wraps. */
#ifndef CG_IR_DIM_H
#define CG_IR_DIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int64_t cg_dim;
struct cg_graph;
struct cg_node;

#define CG_DIM_MIN (INT64_MIN + (INT64_C(1) << 32)) /* smallest known number */

static inline bool cg_dim_known(cg_dim d) { return d >= CG_DIM_MIN; }

/* A named symbol; the same name gives the same symbol. If the name is bound
 * (cg_dim_bind) its value is returned. */
cg_dim cg_dim_symbol(struct cg_graph *g, const char *name);
void cg_dim_bind(struct cg_graph *g, const char *name, int64_t value);

/* A fresh unknown that depends on data, >= 0: prints as "?node" or "?node.k".
 * `why` is a short reason ("number of non-zero elements"), borrowed. */
cg_dim cg_dim_unknown(struct cg_graph *g, const struct cg_node *from,
                      const char *why);

cg_dim cg_dim_sub(struct cg_graph *g, cg_dim a, cg_dim b);
cg_dim cg_dim_floordiv(struct cg_graph *g, cg_dim a, cg_dim b); /* b != 0 */
cg_dim cg_dim_ceildiv(struct cg_graph *g, cg_dim a, cg_dim b);  /* b != 0 */
cg_dim cg_dim_mod(struct cg_graph *g, cg_dim a, cg_dim b);      /* floored */
cg_dim cg_dim_max(struct cg_graph *g, cg_dim a, cg_dim b);
cg_dim cg_dim_min(struct cg_graph *g, cg_dim a, cg_dim b);

/* What add and mul do where two numbers are not enough; call those. */
cg_dim cg_dim_sum(struct cg_graph *g, cg_dim a, cg_dim b);
cg_dim cg_dim_product(struct cg_graph *g, cg_dim a, cg_dim b);

static inline cg_dim cg_dim_add(struct cg_graph *g, cg_dim a, cg_dim b)
{
    int64_t r;
    return cg_dim_known(a) && cg_dim_known(b) &&
                   !__builtin_add_overflow(a, b, &r) && r >= CG_DIM_MIN
               ? r
               : cg_dim_sum(g, a, b);
}

static inline cg_dim cg_dim_mul(struct cg_graph *g, cg_dim a, cg_dim b)
{
    int64_t r;
    return cg_dim_known(a) && cg_dim_known(b) &&
                   !__builtin_mul_overflow(a, b, &r) && r >= CG_DIM_MIN
               ? r
               : cg_dim_product(g, a, b);
}

/* a / b when b divides a exactly as polynomials; false otherwise. */
bool cg_dim_divides(struct cg_graph *g, cg_dim a, cg_dim b, cg_dim *quotient);

/* What can be said with every symbol >= 0 (symbols that are tensor dims are
 * >= 1 unless zero is bound): -1 a<b surely, 0 equal, 1 a>b surely,
 * 2 not known. */
int cg_dim_compare(struct cg_graph *g, cg_dim a, cg_dim b);

/* Printed form, in the graph's arena; numbers in decimal. */
const char *cg_dim_str(struct cg_graph *g, cg_dim d);
/* Reads what cg_dim_str prints. NULL on error, else the end of the text. */
const char *cg_dim_parse(struct cg_graph *g, const char *text, cg_dim *out);

/* The first unknown or symbol that d depends on: its name, and for an unknown
 * the node and the reason (NULL for a named symbol). d must be symbolic. */
typedef struct cg_dim_cause {
    const char *symbol;
    const struct cg_node *node;
    const char *why;
} cg_dim_cause;
cg_dim_cause cg_dim_why(struct cg_graph *g, cg_dim d);
/* All of them, unknowns first, each once, at most `max`; how many there are
 * to tell. 0 for a known number. */
size_t cg_dim_causes(struct cg_graph *g, cg_dim d, cg_dim_cause *out,
                     size_t max);
/* Says what made the unknown "?name", for graphs read back from text. */
void cg_dim_explain(struct cg_graph *g, const char *name,
                    const struct cg_node *node, const char *why);

#endif
