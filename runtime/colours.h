/* Weisfeiler-Leman colours of a directed acyclic graph (private to runtime/).
 */
#ifndef CG_RUNTIME_COLOURS_H
#define CG_RUNTIME_COLOURS_H

#include "runtime/features.h"

#define CG_LEVEL_MAX 254 /* rounds told apart; more agree in 254 */
#define CG_LEVEL_TWIN 255

/* Fills parent and level (n each) as cg_features has them, from the tokens and
 * in-edges (start, pred; pred < v) of n nodes. */
void cg_colours_make(uint32_t n, const cg_token *token, const uint32_t *start,
                     const uint32_t *pred, uint32_t *parent, uint8_t *level);

#endif
