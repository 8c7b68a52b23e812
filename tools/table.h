/* The summary a person reads: totals, inputs and outputs, a row per operator. */
#ifndef CG_TOOLS_TABLE_H
#define CG_TOOLS_TABLE_H

#include <stdio.h>

#include "ir/graph.h"

/* `file` as the user gave it. Needs pass flops and hash. */
void cg_print_table(FILE *f, cg_graph *g, const char *file);

#endif
