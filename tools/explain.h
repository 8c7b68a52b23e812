/* Explanations of cgpredict in words. */
#ifndef CG_TOOLS_EXPLAIN_H
#define CG_TOOLS_EXPLAIN_H

#include "runtime/explain.h"

/* Several lines. kin: of the network's set. */
void explain_print(const cg_model *m, const cg_kinship *kin, const char *name,
                   const cg_explained *x);
/* `, "explain": {...}`. */
void explain_print_json(const cg_model *m, const cg_explained *x);

#endif
