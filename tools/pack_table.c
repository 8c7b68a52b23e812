#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "tools/codes.h"
#include "tools/pack.h"

#define NAME_MAX_BYTES 4096

void pack_table_add(pack_table *t, const char *name, const double *labels)
{
    if (t->n == t->cap) {
        size_t cap = t->cap;
        t->name = cg_array_grow(t->name, &t->cap, t->n + 1, sizeof *t->name);
        t->label = cg_array_grow(t->label, &cap, t->n + 1,
                                 t->n_labels * sizeof *t->label);
    }
    t->name[t->n] = cg_arena_strdup(&t->text, name);
    if (t->n_labels)
        memcpy(t->label + t->n * t->n_labels, labels,
               t->n_labels * sizeof *labels);
    t->n++;
}

void pack_table_free(pack_table *t)
{
    cg_arena_free(&t->text);
    cg_xfree(t->name);
    cg_xfree(t->label_name);
    cg_xfree(t->label);
    *t = (pack_table){0};
}

/* What labels are usually called, best first. */
static const char *const usual[] = {"accuracy", "test_accuracy",
                                    "cifar10_test"};

static const char *usual_label(const cg_csv *t)
{
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        if (cg_csv_column(t, usual[i]) >= 0)
            return usual[i];
    return NULL;
}

/* Columns "A,B" of the table, into t->label_name; *column is on the heap. */
static cg_err find_labels(pack_table *t, const cg_csv *csv,
                          const pack_options *o, int **column)
{
    const char *s = o->label_columns ? o->label_columns : usual_label(csv);
    if (!s)
        return cg_fail(CG_EUSAGE, "%s has no column %s, %s or %s: give "
                       "--label-column", o->labels, usual[0], usual[1],
                       usual[2]);
    *column = cg_xcalloc(strlen(s) + 1, sizeof **column);
    t->label_name = cg_xcalloc(strlen(s) + 1, sizeof *t->label_name);
    for (;; s++) {
        size_t len = strcspn(s, ",");
        char *name = cg_arena_strndup(&t->text, s, len);
        int at = cg_csv_column(csv, name);
        if (at < 0)
            return cg_fail(CG_EUSAGE, "%s has no column '%s'", o->labels,
                           name);
        (*column)[t->n_labels] = at;
        t->label_name[t->n_labels++] = name;
        s += len;
        if (!*s)
            return CG_OK;
    }
}

static bool parse_label(const char *s, double *x)
{
    char *end;
    *x = strtod(s, &end);
    bool none = end == s;
    end += strspn(end, " \t");
    if (none)
        *x = NAN;
    return !*end && (none || isfinite(*x));
}

static cg_err read_row(const cg_csv *csv, const pack_options *o, size_t row,
                       const int *column, uint32_t n, double *label)
{
    for (uint32_t k = 0; k < n; k++) {
        const char *field = cg_csv_at(csv, row, column[k]);
        if (!parse_label(field, &label[k]))
            return cg_fail(CG_EFORMAT, "%s: row %zu, column '%s': '%.80s' is "
                           "not a number", o->labels, row + 1,
                           csv->header[column[k]], field);
    }
    return CG_OK;
}

static cg_err read_rows(pack_table *t, const cg_csv *csv,
                        const pack_options *o, const code_columns *code,
                        const int *column)
{
    double *label = cg_xcalloc(t->n_labels, sizeof *label);
    cg_err err = CG_OK;
    size_t n = o->limit && o->limit < csv->n_rows ? o->limit : csv->n_rows;
    for (size_t i = 0; i < n && err == CG_OK; i++) {
        char name[NAME_MAX_BYTES];
        err = code_join(code, csv, i, name, sizeof name);
        if (err == CG_OK)
            err = read_row(csv, o, i, column, t->n_labels, label);
        if (err == CG_OK)
            pack_table_add(t, name, label);
    }
    cg_xfree(label);
    return err;
}

cg_err pack_read_csv(pack_table *t, const pack_options *o,
                     const char *columns)
{
    cg_csv csv;
    code_columns code;
    int *column = NULL;
    CG_TRY(cg_csv_read(&csv, o->labels));
    cg_err err = code_columns_find(&code, &csv, columns, o->labels);
    if (err == CG_OK)
        err = find_labels(t, &csv, o, &column);
    if (err == CG_OK)
        err = read_rows(t, &csv, o, &code, column);
    cg_xfree(column);
    cg_csv_free(&csv);
    return err;
}
