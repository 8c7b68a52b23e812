/* Codes in tables: which columns make one, and CSV fields. */
#ifndef CG_TOOLS_CODES_H
#define CG_TOOLS_CODES_H

#include <stdio.h>

#include "base/csv.h"

#define CODE_COLUMNS_MAX 8

/* Columns of a table whose fields, joined by ';', make a code. */
typedef struct code_columns {
    int column[CODE_COLUMNS_MAX];
    size_t n;
} code_columns;

/* `names` is a list "A,B"; NULL: code, or else arch. */
cg_err code_columns_find(code_columns *c, const cg_csv *t, const char *names,
                         const char *path);
/* The code of a row into `code` (size bytes); too long is an error. */
cg_err code_join(const code_columns *c, const cg_csv *t, size_t row,
                 char *code, size_t size);

/* Whether one of n codes at least is of this family ("ofa_rn:width=.65"); a
 * table of other codes gets one sentence here rather than one for each. `path`
 * is where they are from. */
cg_err codes_check(const char *family, const char *const *code, size_t n,
                   const char *path);

/* A field of CSV, in quotes where it has to be. */
void print_field(FILE *f, const char *s);

#endif
