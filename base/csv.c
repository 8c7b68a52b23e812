#include "base/csv.h"

#include <string.h>

#include "base/array.h"
#include "base/io.h"

#define TABLE_MAX ((size_t)4 << 30)

typedef struct reader {
    char *in, *out, *end; /* fields are unquoted in place */
    size_t line;
} reader;

/* One field, NUL-terminated in place; *last: it ended its row. */
static cg_err read_field(reader *r, char **field, bool *last)
{
    char *w = r->out;
    *field = w;
    if (r->in < r->end && *r->in == '"') {
        size_t start = r->line;
        for (r->in++;; r->in++) {
            if (r->in == r->end)
                return cg_fail(CG_EFORMAT, "line %zu: a quote is not closed",
                               start);
            if (*r->in == '"' && *++r->in != '"')
                break;
            r->line += *r->in == '\n';
            *w++ = *r->in;
        }
    }
    while (r->in < r->end && *r->in != ',' && *r->in != '\n')
        *w++ = *r->in++;
    if (w > *field && w[-1] == '\r')
        w--;
    *last = r->in == r->end || *r->in == '\n';
    r->line += *last;
    if (r->in < r->end)
        r->in++;
    *w++ = '\0';
    r->out = w;
    return CG_OK;
}

static cg_err read_rows(cg_csv *t, size_t size)
{
    reader r = {t->text, t->text, t->text + size, 1};
    CG_ARRAY(char *) all = {0};
    cg_err err = CG_OK;
    while (err == CG_OK && r.in < r.end) {
        size_t first = all.len, line = r.line;
        for (bool last = false; err == CG_OK && !last;) {
            char *field = NULL;
            err = read_field(&r, &field, &last);
            cg_array_push(&all, field);
        }
        size_t n = all.len - first;
        if (first == 0)
            t->n_columns = n;
        else if (err == CG_OK && n == 1 && !*all.data[first])
            all.len = first; /* an empty line */
        else if (err == CG_OK && n != t->n_columns)
            err = cg_fail(CG_EFORMAT, "line %zu has %zu fields, the header "
                          "has %zu", line, n, t->n_columns);
    }
    t->header = all.data;
    if (err == CG_OK && all.len == 0)
        err = cg_fail(CG_EFORMAT, "no header line");
    if (err == CG_OK) {
        t->field = all.data + t->n_columns;
        t->n_rows = all.len / t->n_columns - 1;
    }
    return err;
}

cg_err cg_csv_read(cg_csv *t, const char *path)
{
    size_t size;
    *t = (cg_csv){0};
    cg_err err = cg_read_text(path, TABLE_MAX, &t->text, &size);
    if (err == CG_OK)
        err = read_rows(t, size);
    if (err == CG_OK)
        return CG_OK;
    cg_csv_free(t);
    return cg_fail_in(err, "%s", path);
}

void cg_csv_free(cg_csv *t)
{
    cg_xfree(t->text);
    cg_xfree(t->header);
    *t = (cg_csv){0};
}

int cg_csv_column(const cg_csv *t, const char *name)
{
    for (size_t i = 0; i < t->n_columns; i++)
        if (strcmp(t->header[i], name) == 0)
            return (int)i;
    return -1;
}
