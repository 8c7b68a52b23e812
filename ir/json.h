/* Pieces of JSON that ir/json.c and ir/stats.c share (private to ir/). */
#ifndef CG_IR_JSON_H
#define CG_IR_JSON_H

#include <stdio.h>

#include "ir/graph.h"

/* A number, or a symbolic expression as a string. */
void cg_json_dim(FILE *f, cg_graph *g, cg_dim d);
void cg_json_hash(FILE *f, const cg_graph *g); /* 32 hex digits, quoted */

#endif
