/* What the Gaussian process of member tuned sees of a network: groups of
 * features, made by what cg_process holds of the family. */
#ifndef CG_RUNTIME_PROCESS_H
#define CG_RUNTIME_PROCESS_H

#include "runtime/members.h"
#include "runtime/walk.h"

enum {
    CG_PROCESS_GROUPS = CG_MEMBER_COUNT + 4,
    CG_PROCESS_BLOCK = 256, /* networks whose features are made at a time */
};

/* columns (CG_PROCESS_GROUPS) of each group that has any, in their order: each
 * net's state, visits and links of a walk, structure, zero-shot order. Returns
 * how many groups; *viewed: of the first ones, that have a view. */
size_t cg_process_groups(const cg_model *m, const cg_process *p,
                         size_t *columns, size_t *viewed);
/* Numbers in all views together. */
size_t cg_process_view_size(const cg_model *m, const cg_process *p);

/* Fills p->state and p->view, of which the sizes are set, from all networks of
 * the family. Memory does not depend on how many there are. */
cg_err cg_process_fit_views(const cg_model *m, cg_process *p,
                            const cg_embedded *family);
/* x (last - first, p->d) of networks first .. last; z (n): the zero-shot order
 * of all. Only after cg_linalg_open. */
void cg_process_features(const cg_model *m, const cg_process *p, cg_walk *walk,
                         const cg_embedded *d, const double *z, size_t first,
                         size_t last, double *x);

#endif
