/* Control flow for pass shapes (private): what can be inlined is, the rest
 * becomes Control nodes.
 *
 * The bodies that are inlined become nodes of the region around them, so that
 * folding sees through them. Branches are moved; loop bodies are cloned once
 * per iteration. An iteration may decide whether there is a next one, so
 * cloning and inferring alternate: cg_unroll_next gives the nodes of one
 * iteration when those of the last are inferred. */
#ifndef CG_PASSES_CONTROL_H
#define CG_PASSES_CONTROL_H

#include "ir/graph.h"

/* Nodes that one loop may become, and all loops of a graph together. */
#define CG_UNROLL_MAX 10000
#define CG_CLONE_MAX 100000

typedef CG_ARRAY(cg_node *) cg_node_list;
typedef struct cg_unroll cg_unroll;

/* If the condition of If node n is known: *list gets the branch's nodes, moved
 * to n's region, and Identity nodes that define n's outputs; n is dead. */
cg_err cg_inline_if(cg_graph *g, cg_node *n, cg_node_list *list, bool *done);

/* A Loop, Scan or SequenceMap whose iterations may be known, else NULL. The
 * caller frees it. */
cg_unroll *cg_unroll_start(cg_graph *g, cg_node *n);
void cg_unroll_free(cg_unroll *u);

/* Appends to `list` the nodes of the next iteration, or those that define the
 * node's outputs when it was the last (*done, node dead). Where it turns out
 * that the iterations are not known, takes back everything: *done, and `list`
 * holds the node itself, which is now a Control. */
cg_err cg_unroll_next(cg_graph *g, cg_unroll *u, cg_node_list *list,
                      bool *done);

/* Makes a control-flow node a Control (a SequenceMap stays one): attribute
 * `kind` holds what it was, and is what marks it as not to be inlined. */
bool cg_is_control(const cg_node *n);
void cg_make_control(cg_graph *g, cg_node *n);

#endif
