/* Why a model says what it says of a network: members, families, known
 * networks, and what its structure did to the score.
 *
 *     cg_explain_task t = {m, &d, &said, weight, false};
 *     CG_TRY(cg_explain(&x, &t, i));
 */
#ifndef CG_RUNTIME_EXPLAIN_H
#define CG_RUNTIME_EXPLAIN_H

#include "runtime/ensemble.h"

#define CG_EXPLAIN_NEAR 3

typedef struct cg_explain_task {
    cg_model *m;
    const cg_embedded *d;
    const cg_opinions *said; /* of the networks of d, one at a time */
    const double *weight;    /* (CG_MEMBER_COUNT) */
    bool among; /* the score is that of cg_ensemble_score, over these networks;
                   otherwise that of cg_ensemble_alone */
} cg_explain_task;

typedef struct cg_explained_member {
    bool counts;     /* it has a weight in the ensemble */
    double accuracy; /* percent; NAN: it predicts none */
    double z;        /* its opinion, standardised */
    double weight;   /* for this network, of 1 for all: score = sum weight z */
} cg_explained_member;

typedef struct cg_explained {
    uint32_t i;      /* which network */
    double score;
    cg_explained_member member[CG_MEMBER_COUNT];
    size_t families;
    double *membership; /* (families) their sum is 1; on the heap */
    int n_near;
    cg_near near[CG_EXPLAIN_NEAR];        /* of m->known, nearest first */
    double structure[CG_STRUCTURE_COUNT]; /* as it is */
    double z[CG_STRUCTURE_COUNT];         /* standardised, as members read it */
    cg_structures read; /* what some member reads, by size of `change` */
    double change[CG_STRUCTURE_COUNT]; /* score less what it would be with the
                     average of the family at hand (z = 0) in this one place */
    double graph;    /* the score with the average in all of them */
} cg_explained;

cg_err cg_explain(cg_explained *x, const cg_explain_task *t, uint32_t i);
void cg_explained_free(cg_explained *x); /* a zeroed one is fine */

/* u (n): memberships by Eq. 2 with m = 2 of what has these distances to n
 * clusters; those at distance 0 share it alone. */
void cg_explain_memberships(const double *distance, size_t n, double *u);

#endif
