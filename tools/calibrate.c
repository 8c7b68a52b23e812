#include "tools/calibrate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/finetune.h"
#include "tools/networks.h"

enum { SEED = 1 }; /* of the draw where there are too many */

/* -- the table ------------------------------------------------------------- */

typedef struct columns {
    int file, family, code, accuracy; /* -1: none */
} columns;

static cg_err find_columns(columns *k, const cg_csv *t, const char *path)
{
    *k = (columns){cg_csv_column(t, "file"), cg_csv_column(t, "family"),
                   cg_csv_column(t, "code"), cg_csv_column(t, "accuracy")};
    if (k->accuracy < 0)
        return cg_fail(CG_EFORMAT, "%s has no column accuracy", path);
    if (k->file < 0 && (k->family < 0 || k->code < 0))
        return cg_fail(CG_EFORMAT, "%s has no column file, nor family and "
                       "code", path);
    return CG_OK;
}

/* A file where it is named, or else beside the table; codes as they are. Heap,
 * free. */
static char *locate(const char *table, const char *name)
{
    const char *slash = strrchr(table, '/');
    char *path = NULL;
    if (slash && *name && *name != '/' && access(name, F_OK) != 0 &&
        asprintf(&path, "%.*s/%s", (int)(slash - table), table, name) < 0)
        abort();
    if (path && access(path, F_OK) == 0)
        return path;
    free(path);
    if (!(path = strdup(name)))
        abort();
    return path;
}

/* Heap, free. */
static char *name_of(const cg_csv *t, const columns *k, size_t row,
                     const char *path)
{
    const char *file = k->file < 0 ? "" : cg_csv_at(t, row, k->file);
    char *name;
    if (*file || k->family < 0 || k->code < 0)
        return locate(path, file);
    if (asprintf(&name, "%s:%s", cg_csv_at(t, row, k->family),
                 cg_csv_at(t, row, k->code)) < 0)
        abort();
    return name;
}

static cg_err read_accuracy(const char *field, size_t row, const char *path,
                            double *x)
{
    char *end;
    *x = strtod(field, &end);
    bool none = end == field;
    end += strspn(end, " \t");
    return !none && !*end && *x >= 0 && *x <= 100
               ? CG_OK
               : cg_fail(CG_EFORMAT, "%s: row %zu: '%.80s' is no accuracy",
                         path, row + 1, field);
}

static cg_err read_row(networks *w, const cg_csv *t, const columns *k,
                       size_t row, const char *path)
{
    double accuracy;
    CG_TRY(read_accuracy(cg_csv_at(t, row, k->accuracy), row, path,
                         &accuracy));
    char *name = name_of(t, k, row, path);
    if (*name)
        pack_table_add(&w->table, name, &accuracy);
    cg_err err = *name ? CG_OK
                       : cg_fail(CG_EFORMAT, "%s: row %zu names no network",
                                 path, row + 1);
    free(name);
    return err;
}

static cg_err read_table(networks *w, const char *path)
{
    cg_csv t;
    columns k;
    CG_TRY(cg_csv_read(&t, path));
    cg_err err = find_columns(&k, &t, path);
    w->table.n_labels = 1;
    w->table.label_name = cg_xcalloc(1, sizeof *w->table.label_name);
    w->table.label_name[0] = "accuracy";
    for (size_t i = 0; i < t.n_rows && err == CG_OK; i++)
        if (read_row(w, &t, &k, i, path) != CG_OK) {
            fprintf(stderr, "%s: %s\n", w->tool, cg_error());
            w->table.bad++; /* counts among those left out */
        }
    cg_csv_free(&t);
    return err;
}

/* -- the model ------------------------------------------------------------- */

static cg_err tune(cg_model *m, const cg_examples *family, uint32_t labelled)
{
    static const cg_tune_hooks silent;
    uint32_t n = labelled < CALIBRATE_MOST ? labelled : CALIBRATE_MOST;
    cg_embedded d;
    cg_tuned t;
    CG_TRY(cg_model_embed(m, family, &d));
    cg_err err = cg_finetune_model(&t, m, &d, n, SEED, &silent);
    cg_embedded_free(&d);
    CG_TRY(err);
    cg_tuned_free(&t);
    return CG_OK;
}

static cg_err learn(calibration *c, networks *w, cg_model *m,
                    const cg_examples *others)
{
    cg_examples family = {0};
    CG_TRY(read_table(w, c->labels));
    CG_TRY(networks_make(w));
    c->left_out = w->left_out;
    uint32_t n = 0;
    for (size_t i = 0; i < w->sets.len; i++) {
        n += w->sets.data[i]->n_graphs;
        w->sets.data[i]->path = c->labels; /* for messages */
    }
    if (n < CALIBRATE_LEAST)
        return cg_fail(CG_EFORMAT, "%s: %u measured networks are too few to "
                       "calibrate a model: it needs %d", c->labels, n,
                       CALIBRATE_LEAST);
    CG_TRY(networks_examples(w, "accuracy", true, &family));
    cg_examples_add(&family, others);
    cg_err err = tune(m, &family, n);
    cg_examples_free(&family);
    return err;
}

cg_err calibrate(calibration *c, cg_model *m, const cg_examples *others)
{
    networks w = {.tool = c->tool, .jobs = c->jobs,
                  .form = m->config.form == CG_WORD_FORM_FUSED
                              ? CG_FORM_FUSED : CG_FORM_FOLDED};
    if (cg_finetune_members(m) == 0)
        return cg_fail(CG_EFORMAT, "the model has no trained member that could "
                       "be tuned");
    cg_err err = learn(c, &w, m, others);
    networks_free(&w);
    CG_TRY(err);
    return c->output ? cg_model_save(m, c->output, NULL) : CG_OK;
}
