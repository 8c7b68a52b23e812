/* Bodies as templates: copies of nodes and regions (private to passes/). */
#ifndef CG_PASSES_CLONE_H
#define CG_PASSES_CLONE_H

#include "ir/graph.h"

/* What the values that a body defines become in its copy. Ids of a body are
 * close together, so this is an array over their range. */
typedef struct cg_clone_map {
    uint32_t lo, hi;
    cg_value **to; /* (hi - lo), heap */
} cg_clone_map;

void cg_clone_map_init(cg_clone_map *m, const cg_region *body);
void cg_clone_map_free(cg_clone_map *m);
/* `from` must be defined by the body. */
void cg_clone_map_set(cg_clone_map *m, const cg_value *from, cg_value *to);
/* v itself where it has no copy; NULL for NULL. */
cg_value *cg_clone_map_get(const cg_clone_map *m, cg_value *v);

/* A copy of a node at the end of region r, its bodies copied too, without
 * types; sets the map for its outputs. */
cg_node *cg_node_clone(cg_graph *g, cg_clone_map *m, const cg_node *from,
                       cg_region *r);
cg_region *cg_region_clone(cg_graph *g, const cg_region *body,
                           cg_region *parent);
void cg_region_drop(cg_graph *g, cg_region *r); /* its nodes are dead */
size_t cg_region_size(const cg_region *r);      /* nodes, bodies included */

#endif
