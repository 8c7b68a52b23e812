/* How operators know and move the channel axis (private to pass hwc). */
#ifndef CG_PASSES_HWC_H
#define CG_PASSES_HWC_H

#include "ir/graph.h"

/* The channel axis an operator gives its output or operand k; -1: none. */
int cg_hwc_seed_out(const cg_node *n, uint32_t k);
int cg_hwc_seed_in(const cg_node *n, uint32_t k);

/* Where `axis` of operand k is in output i, and the reverse; -1: nowhere. */
int cg_hwc_forward(cg_graph *g, const cg_node *n, uint32_t k, uint32_t i,
                   int axis);
int cg_hwc_backward(cg_graph *g, const cg_node *n, uint32_t k, uint32_t i,
                    int axis);

#endif
