/* What is in a data set, for people and as a table. */
#ifndef CG_TOOLS_SET_INFO_H
#define CG_TOOLS_SET_INFO_H

#include <stdio.h>

#include "runtime/dataset.h"

void print_set(FILE *f, const cg_set *s);
/* CSV: a line a network, its name and labels (empty: none). */
void print_set_names(FILE *f, const cg_set *s);

#endif
