/* What cgpredict found out, and how it is printed: a table, one network as a
 * card, JSON, CSV, a comparison of members. */
#ifndef CG_TOOLS_PREDICT_PRINT_H
#define CG_TOOLS_PREDICT_PRINT_H

#include "runtime/explain.h"

#define PREDICT_EXPLAINED 10 /* networks at most */

typedef struct predicted {
    cg_model *m;
    const cg_embedded *d;   /* of the networks, d->e->n of them */
    const cg_opinions *said; /* one network at a time */
    const double *weight;   /* (CG_MEMBER_COUNT) */
    const double *accuracy, *score, *confidence; /* (n) */
    const uint32_t *order;  /* (n) best first */
    uint32_t shown;         /* of these */
    const cg_explained *explained; /* (n_explained) the first of the order */
    uint32_t n_explained;
} predicted;

/* Which network it is, as the user named it. */
const char *predicted_name(const predicted *p, uint32_t i);

/* Best first. */
void predict_print_table(const predicted *p);
void predict_print_csv(const predicted *p);
/* What each member says, and how many put a network before the next one. */
void predict_print_comparison(const predicted *p);
/* One object a line, in the order given; `members`: what each one says. */
void predict_print_json(const predicted *p, bool members);
/* The only network. */
void predict_print_card(const predicted *p);
/* On stderr, one sentence: how many of them are unlike all families of
 * the model, if any is. */
void predict_print_verdict(const predicted *p);

#endif
