/* The .cg text form: one graph, diffable and lossless (docs/cg.md), and the
 * two one-way forms for other programs. */
#ifndef CG_IR_TEXT_H
#define CG_IR_TEXT_H

#include <stdio.h>

#include "ir/graph.h"

void cg_print_text(FILE *f, cg_graph *g);
/* Parses a .cg text of `len` bytes; errors name line and column. */
cg_err cg_parse_text(const char *text, size_t len, cg_graph **out);

void cg_print_json(FILE *f, cg_graph *g); /* nodes, edges, facts */
void cg_print_dot(FILE *f, cg_graph *g);  /* graphviz, top to bottom */

/* One JSON object on one line: tensor name -> dims of the main region. */
void cg_print_shapes(FILE *f, cg_graph *g);
/* One JSON object on one line, keys file nodes edges params macs flops hash
 * ops complete unresolved (design: a CG is complete when nothing is
 * unresolved). `file` is printed as given. */
void cg_print_stats(FILE *f, cg_graph *g, const char *file);

/* `s` as a JSON string with its quotes; invalid UTF-8 becomes U+FFFD. */
void cg_print_json_string(FILE *f, const char *s);

#endif
