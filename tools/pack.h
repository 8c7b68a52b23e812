/* Packing: many labelled networks into one data set (runtime/dataset.h). */
#ifndef CG_TOOLS_PACK_H
#define CG_TOOLS_PACK_H

#include "base/arena.h"
#include "base/csv.h"
#include "runtime/dataset.h"

typedef struct pack_options {
    const char *tool;          /* for messages */
    const char *labels;        /* the table */
    const char *label_columns; /* "A,B"; NULL: the first known one */
    const char *code_columns;  /* "A,B"; of cgzoo; NULL: "code" */
    const char *output;
    cg_form form;
    int jobs;         /* 0: as many as there are processors */
    size_t limit;     /* rows; 0: all */
    int epochs;       /* of published results; 0: as many as there are */
    bool no_spectrum;
    bool need_flops;  /* of models: those with unknown FLOPs are left out */
    /* Instead of `output`: the set in memory, NULL where no network is left,
     * and how many were named and left out, which is then no error. */
    cg_set **set;
    size_t *left_out;
} pack_options;

/* What is to be packed: names and labels in the order of the table. */
typedef struct pack_table {
    size_t n, cap;
    const char **name; /* (n) code, or path of a file */
    uint32_t n_labels;
    const char **label_name;
    double *label;     /* (n, n_labels); NAN: none */
    cg_arena text;     /* of the names */
    size_t bad;        /* rows that were named on stderr and left out */
} pack_table;          /* zero it to start */

void pack_table_add(pack_table *t, const char *name, const double *labels);
void pack_table_free(pack_table *t);

/* From a CSV (plain or gzip): codes of `columns` (code_columns_find) and labels. A
 * label that is no number ("nan" is none) is an error with its row and column;
 * an empty one is NAN. */
cg_err pack_read_csv(pack_table *t, const pack_options *o,
                     const char *columns);

/* From results as a benchmark publishes them, by family and end of the file
 * name: nb101 and .tfrecord, nb201 and .txt or .txt.gz. Repeats of one network
 * are averaged. *found false: this is another file, nothing was read. */
cg_err pack_read_results(pack_table *t, const pack_options *o,
                         const char *family, bool *found);

/* Makes the graph of a network, with or without facts; names it in errors.
 * Called by several threads at once. */
typedef cg_err pack_load(const void *user, const char *name, cg_graph **g);

/* Packs a table into o->output. Networks that cannot be made are named on
 * stderr and left out; then the set is written all the same and an error says
 * how many it lacks. The same table gives the same bytes for any o->jobs. */
cg_err pack_run(const pack_table *t, const pack_options *o,
                const char *family, pack_load *load, const void *user);

#endif
