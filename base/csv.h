/* Tables as text: CSV (RFC 4180), plain or gzip. */
#ifndef CG_BASE_CSV_H
#define CG_BASE_CSV_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

typedef struct cg_csv {
    char *text;         /* the whole file; fields point into it */
    size_t n_columns;
    char **header;      /* (n_columns) */
    size_t n_rows;
    char **field;       /* (n_rows, n_columns) */
} cg_csv;

/* Reads a table with a header line. Rows of another length than the header
 * are an error that names the line. "-" is standard input. */
cg_err cg_csv_read(cg_csv *t, const char *path);
void cg_csv_free(cg_csv *t);

int cg_csv_column(const cg_csv *t, const char *name); /* -1: none */
static inline const char *cg_csv_at(const cg_csv *t, size_t row, int column)
{
    return t->field[row * t->n_columns + (size_t)column];
}

#endif
