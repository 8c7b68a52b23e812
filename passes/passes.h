/* The passes: each computes facts about a graph or rewrites it.
 *
 *     CG_TRY(cg_run_passes(g, CG_HAS(flops) | CG_HAS(spectrum), NULL));
 *
 * runs what is wanted and what that needs, in the order of passes.def. The
 * graph is validated before the first pass and after every one. */
#ifndef CG_PASSES_PASSES_H
#define CG_PASSES_PASSES_H

#include "ir/graph.h"

typedef enum cg_pass_id {
#define CG_PASS(name, needs, drops, line) CG_PASS_##name,
#include "passes/passes.def"
#undef CG_PASS
    CG_PASS_COUNT
} cg_pass_id;

#define CG_HAS(pass) ((cg_facts)1 << CG_PASS_##pass)

typedef struct cg_pass_info {
    const char *name, *line;
    cg_err (*run)(cg_graph *g);
    cg_facts needs, drops;
} cg_pass_info;
extern const cg_pass_info cg_pass_table[CG_PASS_COUNT];
int cg_pass_find(const char *name); /* -1: no such pass */

/* Called after each pass that ran; `ms` is its wall time. */
typedef struct cg_pass_hook {
    void (*after)(void *user, cg_graph *g, cg_pass_id pass, double ms);
    void *user;
} cg_pass_hook;

cg_err cg_run_passes(cg_graph *g, cg_facts wanted, const cg_pass_hook *hook);

#define CG_PASS(name, needs, drops, line) cg_err cg_pass_##name(cg_graph *g);
#include "passes/passes.def"
#undef CG_PASS

#endif
