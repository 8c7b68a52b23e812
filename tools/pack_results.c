/* Results as the benchmarks publish them: one line or record a training run,
 * several of one network. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "base/map.h"
#include "frontend/zoo/nb101_records.h"
#include "frontend/zoo/nb201_text.h"
#include "frontend/zoo/zoo.h"
#include "tools/pack.h"

/* Sums of the runs of each network, in the order they first came. */
typedef struct results {
    pack_table *t;
    const pack_options *o;
    int epochs;      /* those wanted */
    int seen;        /* some others that are there; 0: none */
    cg_map rows;     /* name -> 1 + row */
    CG_ARRAY(uint32_t) count; /* (rows, labels) runs that have it */
} results;

static void add_run(results *r, const char *name, const double *metric)
{
    pack_table *t = r->t;
    size_t row = (size_t)(uintptr_t)cg_map_get(&r->rows, name);
    if (!row) {
        if (r->o->limit && t->n == r->o->limit)
            return;
        double *zero = cg_xcalloc(t->n_labels, sizeof *zero);
        pack_table_add(t, name, zero);
        cg_xfree(zero);
        row = t->n;
        cg_map_put(&r->rows, t->name[row - 1], (void *)(uintptr_t)row);
        for (uint32_t k = 0; k < t->n_labels; k++)
            cg_array_push(&r->count, 0);
    }
    size_t first = (row - 1) * t->n_labels;
    for (uint32_t k = 0; k < t->n_labels; k++)
        if (!isnan(metric[k])) {
            t->label[first + k] += metric[k];
            r->count.data[first + k]++;
        }
}

static void average(results *r)
{
    pack_table *t = r->t;
    for (size_t i = 0; i < t->n * t->n_labels; i++)
        t->label[i] = r->count.data[i] ? t->label[i] / r->count.data[i] : NAN;
}

/* Whether a run counts; remembers what else there is, for a message. */
static bool wanted(results *r, int epochs)
{
    if (epochs != r->epochs && epochs > r->seen)
        r->seen = epochs;
    return epochs == r->epochs;
}

static void complain(results *r, const char *why, uint64_t record)
{
    fprintf(stderr, "%s: %s: record %" PRIu64 ": %s\n", r->o->tool,
            r->o->labels, record, why);
    r->t->bad++;
}

/* -- NAS-Bench-101 --------------------------------------------------------- */

static cg_err take_record(void *user, uint64_t number,
                          const cg_nb101_record *record, const char *why)
{
    results *r = user;
    char code[CG_ZOO_CODE_MAX], key[CG_NB101_KEY];
    if (!record) {
        complain(r, why, number);
        return CG_OK;
    }
    if (!wanted(r, record->epochs))
        return CG_OK;
    cg_nb101_print(&record->cell, code);
    if (!cg_map_get(&r->rows, code)) {
        cg_nb101_key(&record->cell, key);
        if (strcmp(key, record->key) != 0) {
            cg_fail(CG_OK, "cell '%s' has module hash %s, not %s", code, key,
                    record->key);
            complain(r, cg_error(), number);
            return CG_OK;
        }
    }
    add_run(r, code, record->metric);
    return CG_OK;
}

static cg_err read_nb101(results *r)
{
    return cg_nb101_read_records(r->o->labels, take_record, r);
}

/* -- NAS-Bench-201 --------------------------------------------------------- */

static cg_err take_result(void *user, const cg_nb201_result *result)
{
    results *r = user;
    if (result->epochs == 0 || wanted(r, result->epochs))
        add_run(r, result->code, result->metric);
    return CG_OK;
}

static cg_err read_nb201(results *r)
{
    return cg_nb201_read_text(r->o->labels, take_result, r);
}

/* -- all ------------------------------------------------------------------- */

static const struct {
    const char *family, *suffix[2];
    int epochs; /* the most there are */
    uint32_t n_labels;
    const char *const *label;
    cg_err (*read)(results *r);
} kinds[] = {
    {"nb101", {".tfrecord", ".tfrecord"}, 108, CG_NB101_METRICS,
     cg_nb101_metric_names, read_nb101},
    {"nb201", {".txt", ".txt.gz"}, 200, CG_NB201_METRICS,
     cg_nb201_metric_names, read_nb201},
};

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), k = strlen(end);
    return n >= k && strcmp(s + n - k, end) == 0;
}

/* Keeps the labels that were asked for, in that order. */
static cg_err select_labels(pack_table *t, const pack_options *o)
{
    uint32_t keep[64], n = 0;
    const char *name[64];
    for (const char *s = o->label_columns; s && n < 64; n++) {
        size_t len = strcspn(s, ",");
        uint32_t k = 0;
        while (k < t->n_labels && (strlen(t->label_name[k]) != len ||
                                   strncmp(t->label_name[k], s, len) != 0))
            k++;
        if (k == t->n_labels)
            return cg_fail(CG_EUSAGE, "%s has no label '%.*s'", o->labels,
                           (int)len, s);
        keep[n] = k;
        name[n] = t->label_name[k];
        s = s[len] ? s + len + 1 : NULL;
    }
    if (!n)
        return CG_OK;
    double *label = cg_xcalloc(t->n * n, sizeof *label);
    for (size_t i = 0; i < t->n; i++)
        for (uint32_t k = 0; k < n; k++)
            label[i * n + k] = t->label[i * t->n_labels + keep[k]];
    cg_xfree(t->label);
    t->label = label;
    t->label_name = cg_xrealloc(t->label_name, n * sizeof *name);
    memcpy(t->label_name, name, n * sizeof *name);
    t->n_labels = n;
    return CG_OK;
}

static cg_err finish(results *r)
{
    if (r->t->n == 0 && r->seen)
        return cg_fail(CG_EFORMAT, "%s has no results of %d epochs, but of %d",
                       r->o->labels, r->epochs, r->seen);
    if (r->t->n == 0)
        return cg_fail(CG_EFORMAT, "%s has no results", r->o->labels);
    average(r);
    return select_labels(r->t, r->o);
}

cg_err pack_read_results(pack_table *t, const pack_options *o,
                         const char *family, bool *found)
{
    size_t k = 0, n = sizeof kinds / sizeof *kinds;
    while (k < n && (strcmp(kinds[k].family, family) != 0 ||
                     (!ends_with(o->labels, kinds[k].suffix[0]) &&
                      !ends_with(o->labels, kinds[k].suffix[1]))))
        k++;
    *found = k < n;
    if (!*found)
        return CG_OK;
    results r = {.t = t, .o = o,
                 .epochs = o->epochs ? o->epochs : kinds[k].epochs};
    t->n_labels = kinds[k].n_labels;
    t->label_name = cg_xcalloc(t->n_labels, sizeof *t->label_name);
    memcpy(t->label_name, kinds[k].label,
           t->n_labels * sizeof *t->label_name);
    cg_err err = kinds[k].read(&r);
    if (err == CG_OK)
        err = finish(&r);
    cg_map_free(&r.rows);
    cg_array_free(&r.count);
    return err;
}
