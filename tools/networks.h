/* Networks as people name them, made into data sets in memory: what cgeval
 * and cgpredict are given. */
#ifndef CG_TOOLS_NETWORKS_H
#define CG_TOOLS_NETWORKS_H

#include "base/array.h"
#include "runtime/examples.h"
#include "tools/pack.h"

typedef struct networks {
    const char *tool; /* for messages */
    cg_form form;     /* the model's */
    int jobs;         /* 0: as many as there are processors */
    const char *without; /* NULL, or labelled ones with this word in their
                            code are left out */
    pack_table table;
    size_t left_out;  /* networks that were named on stderr */
    CG_ARRAY(cg_set *) sets; /* those that are left */
} networks;           /* set the first four, the others zero, to start */

/* Adds MODEL.onnx, GRAPH.cg, FAMILY[:OPTIONS]:CODE, or a directory, which
 * stands for its .onnx and .cg files in the order of their names. */
cg_err networks_add(networks *w, const char *arg);
/* Adds the codes of a table (CSV, plain or gzip); columns "A,B", NULL: code,
 * or else arch. */
cg_err networks_add_codes(networks *w, const char *family, const char *file,
                          const char *columns);
/* Makes what was added: a set of the codes of each family, of its name, and one
 * named "networks" of the models. */
cg_err networks_make(networks *w);
/* They are cg_examples_of, in the order in which they were added; *e is empty
 * where none is left. */
cg_err networks_examples(const networks *w, const char *label, bool labelled,
                         cg_examples *e);

/* Makes one set of labelled networks: codes of a family, from a table or from
 * results as a benchmark publishes them. CG_EFORMAT: no row has a code of this
 * family, or a label is not a number. */
cg_err networks_of_family(networks *w, const char *family,
                          const pack_options *labels);
/* The same of models: the table's column `file`, looked for in a directory
 * and beside the table. */
cg_err networks_of_models(networks *w, char *dir, const pack_options *labels);

/* One network alone: what networks_add takes, but for directories. */
cg_err networks_load(const char *name, cg_graph **g);

/* Whether a code holds a word as a whole: "none" in "|none~0|". */
bool networks_word(const char *code, const char *word);

void networks_free(networks *w);

#endif
