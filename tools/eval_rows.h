/* The figures that cgeval prints: a row for each member. */
#ifndef CG_TOOLS_EVAL_ROWS_H
#define CG_TOOLS_EVAL_ROWS_H

#include <stdbool.h>

#include "runtime/examples.h"
#include "runtime/metrics.h"
#include "runtime/model.h"

/* Members by cg_member_id, and all of them together. */
enum { GENNAPE = CG_MEMBER_COUNT, ROWS };
enum { MAE, MAE80, SRCC, KT, NDCG10, NDCG50, FIGURES };

/* Figures of one member; after fine-tuning of several seeds. */
typedef struct eval_row {
    const char *name, *line;
    uint32_t n;
    int seeds, tuned; /* seeds 0: the row is empty; tuned: samples, 0: none */
    double *figure[FIGURES]; /* (seeds) */
    cg_interval srcc;
} eval_row;

void row_make(eval_row *r, int id, int seeds, int tuned);

/* Fills column `seed`; accuracy NULL: none is predicted. */
void row_judge(eval_row *r, int seed, const cg_examples *e,
               const double *score, const double *accuracy);

void rows_free(eval_row *rows); /* (ROWS); zeroed ones are fine */
/* rows (ROWS); empty ones are left out. Intervals are those of SRCC, of
 * networks that nothing was tuned to. */
void rows_print(const eval_row *rows, const char *family, bool json,
                bool intervals);

#endif
