/* Inside of symbolic dimensions (private to ir/dim*.c): polynomials with
 * int64 coefficients over atoms, interned per graph.
 *
 * A polynomial is a list of terms in graded lexicographic order (higher degree
 * first, the constant last), no coefficient zero. That order is also the
 * printed one. Atoms are ordered by kind and text, never by age, so that a
 * graph and its re-read text print alike. */
#ifndef CG_IR_DIM_POLY_H
#define CG_IR_DIM_POLY_H

#include <stddef.h>

#include "ir/graph.h"

/* Limits that keep every operation cheap whatever the file says. Expressions
 * beyond them become unknowns with a reason. */
#define CG_POLY_TERMS 64
#define CG_POLY_DEGREE 13
#define CG_POLY_TEXT 2000 /* bytes of printed form */
#define CG_POLY_DEPTH 32  /* nested floor divisions, maxima and minima */

/* Names of unknowns that no node made; these may be negative. */
#define CG_NAME_OVERFLOW "overflow"
#define CG_NAME_TOO_LARGE "too_large"

typedef enum cg_atom_kind { /* in the order in which they print */
    CG_ATOM_SYMBOL,
    CG_ATOM_UNKNOWN,
    CG_ATOM_FLOORDIV,
    CG_ATOM_MAX,
    CG_ATOM_MIN,
    /* results that could not be held, remembered so that they are unknown only
     * once; never part of a polynomial */
    CG_ATOM_LOST_ADD,
    CG_ATOM_LOST_SUB,
    CG_ATOM_LOST_MUL,
} cg_atom_kind;

typedef struct cg_atom {
    uint8_t kind;
    uint8_t depth; /* 0 for names */
    bool bound;    /* SYMBOL: stands for `value` */
    uint32_t copies; /* UNKNOWN: later ones of the same name */
    int64_t value;
    cg_dim a, b;      /* FLOORDIV, MAX, MIN: arguments */
    const char *name; /* SYMBOL, UNKNOWN */
    const char *text; /* printed form */
    uint32_t len;     /* of text */
    const cg_node *node; /* UNKNOWN: who made it, NULL where re-read */
    const char *why;     /* UNKNOWN: reason, never NULL */
    int64_t lo, hi;      /* bounds of the value, saturated */
    cg_dim self;         /* the polynomial that is this atom alone */
    uint64_t hash;
} cg_atom;

typedef struct cg_term {
    int64_t coef;
    uint32_t degree;
    uint32_t atom[CG_POLY_DEGREE]; /* (degree) sorted, with repetition */
} cg_term;

/* A polynomial being computed. `why` is set when it cannot be held. */
typedef struct cg_poly {
    const char *why;
    uint32_t n;
    cg_term t[CG_POLY_TERMS];
} cg_poly;

const cg_atom *cg_atom_at(const cg_graph *g, uint32_t id);
/* The only atom of d if d is one atom (times 1, plus 0), else NULL. */
const cg_atom *cg_dim_atom(const cg_graph *g, cg_dim d);
/* Finds or makes the atom of a name; `fresh` (may be NULL) says which. */
cg_atom *cg_atom_named(cg_graph *g, cg_atom_kind kind, const char *name,
                       bool *fresh);
/* A compound atom as a dimension; an unknown if it is over the limits. */
cg_dim cg_atom_of(cg_graph *g, cg_atom_kind kind, cg_dim a, cg_dim b);
/* The unknown that stands for a result of `kind` that could not be held. */
cg_dim cg_atom_lost(cg_graph *g, cg_atom_kind kind, cg_dim a, cg_dim b,
                    const char *why);

void cg_poly_load(const cg_graph *g, cg_dim d, cg_poly *p);
/* The interned dimension; false, and p->why says why, if it cannot be held. */
bool cg_poly_store(cg_graph *g, cg_poly *p, cg_dim *out);
void cg_poly_add(const cg_graph *g, const cg_poly *a, const cg_poly *b,
                 cg_poly *out); /* out is neither a nor b */
/* p times one term; in place. */
void cg_poly_scale(const cg_graph *g, cg_poly *p, const cg_term *t);
/* x / y for single terms; false if y does not divide x. */
bool cg_term_divide(const cg_graph *g, const cg_term *x, const cg_term *y,
                    cg_term *q);
/* Sets lo and hi of a FLOORDIV, MAX or MIN from its arguments. */
void cg_atom_bounds(const cg_graph *g, cg_atom *a);
/* Bounds of the value with symbols in [0, INT32_MAX]; the int64 ends mean
 * none. Two equal ends are a constant. */
void cg_poly_bounds(const cg_graph *g, const cg_poly *p, int64_t *lo,
                    int64_t *hi);

#endif
