/* Models in files: safetensors, with the configuration and the names of the
 * inputs in the metadata, so that a file outlives changes of the operator
 * table. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "runtime/members.h"
#include "runtime/safetensors.h"

#define FORMAT "gennape-model-1"

/* -- writing --------------------------------------------------------------- */

typedef struct writer {
    const cg_model *m;
    CG_ARRAY(cg_tensor) tensors;
    CG_ARRAY(void *) owned;
} writer;

static void *own(writer *w, void *p)
{
    cg_array_push(&w->owned, p);
    return p;
}

static void add(writer *w, const char *prefix, const char *name,
                cg_tensor_type type, int64_t rows, int64_t cols,
                const void *data)
{
    char *full = NULL;
    if (asprintf(&full, "%s.%s", prefix, name) < 0)
        abort();
    cg_tensor t = {.name = own(w, full), .type = type, .rank = 2,
                   .shape = {rows, cols}, .data = data};
    cg_array_push(&w->tensors, t);
}

/* What it says of the networks at hand in training or tuning, and its weight
 * in the ensemble of a tuned model: FLOPs have these as well. */
static void add_opinion(writer *w, const cg_member *x)
{
    const char *name = x->info->name;
    bool counted = x->info->kind == CG_KIND_COST && !w->m->tuned;
    if (!isnan(x->said_mean) && !counted) {
        add(w, name, "said.mean", CG_TENSOR_F64, 1, 1, &x->said_mean);
        add(w, name, "said.sd", CG_TENSOR_F64, 1, 1, &x->said_sd);
    }
    if (w->m->tuned && x->weight > 0)
        add(w, "gennape.weight", name, CG_TENSOR_F64, 1, 1, &x->weight);
}

static void add_label(writer *w, const char *prefix, const cg_label *l)
{
    double *label = own(w, cg_xcalloc(3, sizeof *label));
    label[0] = l->kind;
    label[1] = l->mean;
    label[2] = l->sd;
    add(w, prefix, "label", CG_TENSOR_F64, 1, 3, label);
}

static void add_member(writer *w, const cg_member *x, bool moments)
{
    const char *name = x->info->name;
    const cg_params *p = &x->params;
    cg_dev *dev = w->m->dev;
    float *values = own(w, cg_xcalloc(p->n + 1, sizeof *values));
    cg_dev_download(dev, values, p->x, p->n * sizeof *values);
    for (size_t i = 0; i < p->list.len; i++) {
        const cg_param *q = &p->list.data[i];
        add(w, name, q->name, CG_TENSOR_F32, q->var.rows, q->var.cols,
            values + q->offset);
    }
    add_label(w, name, &x->label);
    if (!moments)
        return;
    float *both = own(w, cg_xcalloc(2 * p->n + 1, sizeof *both));
    int64_t *step = own(w, cg_xcalloc(1, sizeof *step));
    cg_dev_download(dev, both, p->moments, 2 * p->n * sizeof *both);
    *step = p->step;
    add(w, name, "moments", CG_TENSOR_F32, 2, (int64_t)p->n, both);
    add(w, name, "step", CG_TENSOR_I64, 1, 1, step);
}

static void add_process(writer *w)
{
    const cg_member *x = &w->m->member[CG_MEMBER_tuned];
    cg_process p = w->m->process;
    cg_process_part part;
    if (!x->trained)
        return;
    add_label(w, x->info->name, &x->label);
    for (int i = 0; cg_process_part_of(w->m, &p, i, &part); i++)
        add(w, x->info->name, part.name, CG_TENSOR_F64, (int64_t)part.rows,
            (int64_t)part.cols, *part.at);
}

static void add_families(writer *w)
{
    static const int64_t yes = 1;
    const cg_families *f = &w->m->families;
    if (f->tuned)
        add(w, "family", "tuned", CG_TENSOR_I64, 1, 1, &yes);
    for (size_t i = 0; i < f->list.len; i++) {
        const cg_family *one = &f->list.data[i];
        char prefix[64];
        snprintf(prefix, sizeof prefix, "family.%zu", i);
        add_label(w, prefix, &one->label);
        add(w, prefix, "networks", CG_TENSOR_F64, 1, 1, &one->networks);
        add(w, prefix, "structure.mean", CG_TENSOR_F64, 1, CG_STRUCTURE_COUNT,
            one->structure.mean);
        add(w, prefix, "structure.sd", CG_TENSOR_F64, 1, CG_STRUCTURE_COUNT,
            one->structure.sd);
        add(w, prefix, "slope", CG_TENSOR_F64, 1, CG_STRUCTURE_COUNT,
            one->slope);
    }
}

static void add_known(writer *w)
{
    cg_tensor t[CG_KNOWN_TENSORS];
    int n = cg_known_tensors(&w->m->known, t);
    for (int i = 0; i < n; i++)
        cg_array_push(&w->tensors, t[i]);
}

static void add_shared(writer *w)
{
    static const char *const names[] = {"fcm.regressor", "fcm.ranker"};
    const cg_model *m = w->m;
    const cg_pca *a = &m->pca;
    add(w, "log_flops", "mean", CG_TENSOR_F64, 1, 1, &m->flops_mean);
    add(w, "log_flops", "sd", CG_TENSOR_F64, 1, 1, &m->flops_sd);
    if (a->k > 0) {
        int64_t d = (int64_t)a->d, k = (int64_t)a->k;
        add(w, "pca", "mean", CG_TENSOR_F64, 1, d, a->mean);
        add(w, "pca", "component", CG_TENSOR_F64, k, d, a->component);
        add(w, "pca", "variance", CG_TENSOR_F64, 1, k, a->variance);
    }
    for (int i = 0; i < CG_CLUSTERS_NONE; i++) {
        const cg_fcm *f = &m->fcm[i];
        if (f->c == 0)
            continue;
        add(w, names[i], "centroid", CG_TENSOR_F64, (int64_t)f->c,
            (int64_t)f->d, f->centroid);
        add(w, names[i], "m", CG_TENSOR_F64, 1, 1, &f->m);
    }
}

/* Names, one a line: what the rows of an embedding, the columns of the
 * families' structure, the families, and known networks are. */
typedef struct line_lists {
    char *inputs, *structure, *families, *known;
} line_lists;

static char *print_names(const cg_model *m,
                         void (*print)(FILE *f, const cg_model *m))
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    if (!f)
        abort();
    print(f, m);
    fclose(f);
    return text;
}

static void print_inputs(FILE *f, const cg_model *m)
{
    for (int k = 0; k < m->inputs.width; k++) {
        char name[80];
        cg_inputs_name(&m->inputs, k, name, sizeof name);
        fprintf(f, "%s\n", name);
    }
}

static void print_structure(FILE *f, const cg_model *m)
{
    (void)m;
    for (int k = 0; k < CG_STRUCTURE_COUNT; k++)
        fprintf(f, "%s\n", cg_structure_name[k]);
}

static void print_families(FILE *f, const cg_model *m)
{
    for (size_t i = 0; i < m->families.list.len; i++)
        fprintf(f, "%s\n", m->families.list.data[i].name);
}

static void print_known(FILE *f, const cg_model *m)
{
    for (uint32_t i = 0; i < m->known.n; i++)
        fprintf(f, "%s\n", m->known.name[i]);
}

cg_err cg_model_save(const cg_model *m, const char *path,
                     const cg_progress *progress)
{
    writer w = {.m = m};
    char where[64] = "";
    for (int i = 0; i < CG_MEMBER_COUNT; i++) {
        const cg_member *x = &m->member[i];
        if (x->params.x && (progress || x->trained))
            add_member(&w, x, !x->trained);
        add_opinion(&w, x);
    }
    add_process(&w);
    add_families(&w);
    add_known(&w);
    add_shared(&w);
    cg_err err = cg_dev_sync(m->dev);
    char *config = own(&w, cg_config_print(&m->config));
    line_lists n = {
        print_names(m, print_inputs), print_names(m, print_structure),
        print_names(m, print_families), print_names(m, print_known)};
    cg_tensor_meta meta[7] = {{"format", FORMAT}, {"config", config},
                              {"inputs", n.inputs},
                              {"structure", n.structure},
                              {"families", n.families}};
    size_t n_meta = 5;
    if (m->known.n > 0)
        meta[n_meta++] = (cg_tensor_meta){"known", n.known};
    if (progress) {
        snprintf(where, sizeof where, "%d %d %" PRIx64, progress->stage,
                 progress->epochs, progress->data);
        meta[n_meta++] = (cg_tensor_meta){"progress", where};
    }
    if (err == CG_OK)
        err = cg_tensors_write(path, w.tensors.data, w.tensors.len, meta,
                               n_meta);
    for (size_t i = 0; i < w.owned.len; i++)
        cg_xfree(w.owned.data[i]);
    free(n.inputs);
    free(n.structure);
    free(n.families);
    free(n.known);
    cg_array_free(&w.owned);
    cg_array_free(&w.tensors);
    return err;
}

/* -- reading --------------------------------------------------------------- */

typedef struct reader {
    cg_model *m;
    const cg_tensors *t;
    const char *path;
    int32_t *row; /* (rows in the file) where they are now, -1: no more */
    int n_rows;
} reader;

/* A tensor `prefix.name` of this shape; -1: any size. NULL where there is
 * none. */
static cg_err want(const reader *r, const char *prefix, const char *name,
                   cg_tensor_type type, int64_t rows, int64_t cols,
                   const cg_tensor **out)
{
    char full[256];
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    *out = NULL;
    if (!cg_tensors_find(r->t, full))
        return CG_OK;
    return cg_tensors_want(r->t, full, type, 2, (int64_t[]){rows, cols}, out);
}

static cg_err missing(const reader *r, const char *prefix, const char *name)
{
    return cg_fail(CG_EFORMAT, "%s: there is no tensor %s.%s", r->path,
                   prefix, name);
}

/* Rows of the file that this program still knows, by the name of the input;
 * inputs that are new since get zeros. */
static void read_rows(const reader *r, const cg_tensor *t, const cg_var *v)
{
    size_t cols = (size_t)v->cols;
    for (int64_t i = 0; i < t->shape[0] && i < r->n_rows; i++)
        if (r->row[i] >= 0)
            cg_dev_upload(r->m->dev, v->x + (size_t)r->row[i] * cols,
                          (const float *)t->data + (size_t)i * cols, cols * 4);
}

/* From the file's own memory, which stays until all is read. */
static cg_err read_values(const reader *r, cg_member *x)
{
    for (size_t i = 0; i < x->params.list.len; i++) {
        const cg_param *q = &x->params.list.data[i];
        const cg_tensor *t;
        bool inputs = i == x->embed && cg_member_sees_graphs(x);
        CG_TRY(want(r, x->info->name, q->name, CG_TENSOR_F32,
                    inputs ? r->n_rows : q->var.rows, q->var.cols, &t));
        if (!t)
            return missing(r, x->info->name, q->name);
        if (inputs)
            read_rows(r, t, &q->var);
        else
            cg_dev_upload(r->m->dev, q->var.x, t->data,
                          (size_t)q->var.rows * (size_t)q->var.cols * 4);
    }
    return cg_dev_sync(r->m->dev);
}

static cg_err read_moments(const reader *r, cg_member *x)
{
    const cg_tensor *both, *step;
    cg_params *p = &x->params;
    CG_TRY(want(r, x->info->name, "moments", CG_TENSOR_F32, 2, (int64_t)p->n,
                &both));
    CG_TRY(want(r, x->info->name, "step", CG_TENSOR_I64, 1, 1, &step));
    if (!both || !step) {
        x->trained = true;
        return CG_OK;
    }
    CG_TRY(cg_params_learn(p));
    cg_dev_upload(r->m->dev, p->moments, both->data, 2 * p->n * 4);
    p->step = *(const int64_t *)step->data;
    return cg_dev_sync(r->m->dev);
}

static cg_err read_opinion(const reader *r, cg_member *x)
{
    const cg_tensor *mean, *sd, *weight;
    CG_TRY(want(r, "gennape.weight", x->info->name, CG_TENSOR_F64, 1, 1,
                &weight));
    if (weight) {
        x->weight = *(const double *)weight->data;
        if (!(x->weight > 0 && x->weight <= 1))
            return cg_fail(CG_EFORMAT, "%s: tensor gennape.weight.%s is no "
                           "weight", r->path, x->info->name);
        r->m->tuned = true;
    }
    CG_TRY(want(r, x->info->name, "said.mean", CG_TENSOR_F64, 1, 1, &mean));
    CG_TRY(want(r, x->info->name, "said.sd", CG_TENSOR_F64, 1, 1, &sd));
    if (mean && sd) {
        x->said_mean = *(const double *)mean->data;
        x->said_sd = *(const double *)sd->data;
    }
    return CG_OK;
}

static cg_err read_label(const reader *r, const char *prefix,
                         const cg_tensor *t, cg_label *out)
{
    const double *y = t->data;
    if (!(y[0] >= CG_LABEL_ACCURACY && y[0] <= CG_LABEL_FLOPS && y[2] > 0))
        return cg_fail(CG_EFORMAT, "%s: tensor %s.label is no label", r->path,
                       prefix);
    *out = (cg_label){(cg_label_kind)y[0], y[1], y[2]};
    return CG_OK;
}

static cg_err read_member(const reader *r, cg_member *x)
{
    const cg_tensor *label;
    CG_TRY(want(r, x->info->name, "label", CG_TENSOR_F64, 1, 3, &label));
    if (!label)
        return CG_OK; /* not part of this model */
    CG_TRY(read_label(r, x->info->name, label, &x->label));
    CG_TRY(cg_params_place(&x->params));
    CG_TRY(read_values(r, x));
    return read_moments(r, x);
}

static double *copy(const cg_tensor *t, size_t n)
{
    double *p = cg_xcalloc(n + 1, sizeof *p);
    return memcpy(p, t->data, n * sizeof *p);
}

static cg_err read_process(const reader *r)
{
    cg_member *x = &r->m->member[CG_MEMBER_tuned];
    cg_process *p = &r->m->process;
    cg_process_part part;
    const cg_tensor *label, *t;
    CG_TRY(want(r, x->info->name, "label", CG_TENSOR_F64, 1, 3, &label));
    if (!label)
        return CG_OK;
    CG_TRY(read_label(r, x->info->name, label, &x->label));
    for (int i = 0; cg_process_part_of(r->m, p, i, &part); i++) {
        CG_TRY(want(r, x->info->name, part.name, CG_TENSOR_F64,
                    (int64_t)part.rows, (int64_t)part.cols, &t));
        if (!t)
            return missing(r, x->info->name, part.name);
        *part.at = copy(t, part.rows * part.cols);
    }
    cg_err err = cg_process_restore(r->m, p);
    x->trained = err == CG_OK;
    return err == CG_OK ? CG_OK : cg_fail_in(err, "%s", r->path);
}

static cg_err read_shared(const reader *r)
{
    static const char *const names[] = {"fcm.regressor", "fcm.ranker"};
    cg_model *m = r->m;
    const cg_tensor *a, *b, *c;
    CG_TRY(want(r, "log_flops", "mean", CG_TENSOR_F64, 1, 1, &a));
    CG_TRY(want(r, "log_flops", "sd", CG_TENSOR_F64, 1, 1, &b));
    if (!a || !b)
        return missing(r, "log_flops", a ? "sd" : "mean");
    m->flops_mean = *(const double *)a->data;
    m->flops_sd = *(const double *)b->data;
    int64_t d = 2 * m->config.cl_width + 1;
    CG_TRY(want(r, "pca", "component", CG_TENSOR_F64, -1, d, &a));
    if (!a)
        return CG_OK;
    int64_t k = a->shape[0];
    CG_TRY(want(r, "pca", "mean", CG_TENSOR_F64, 1, d, &b));
    CG_TRY(want(r, "pca", "variance", CG_TENSOR_F64, 1, k, &c));
    if (!b || !c)
        return missing(r, "pca", b ? "variance" : "mean");
    m->pca = (cg_pca){.d = (size_t)d, .k = (size_t)k,
                      .mean = copy(b, (size_t)d),
                      .component = copy(a, (size_t)(k * d)),
                      .variance = copy(c, (size_t)k)};
    for (int i = 0; i < CG_CLUSTERS_NONE; i++) {
        int64_t clusters = i == CG_CLUSTERS_RANKER ? m->config.class_clusters
                                                   : m->config.fcm_clusters;
        CG_TRY(want(r, names[i], "centroid", CG_TENSOR_F64, clusters, k, &a));
        CG_TRY(want(r, names[i], "m", CG_TENSOR_F64, 1, 1, &b));
        if (a && b)
            m->fcm[i] = (cg_fcm){.c = (size_t)clusters, .d = (size_t)k,
                                 .m = *(const double *)b->data,
                                 .centroid = copy(a, (size_t)(clusters * k))};
    }
    return CG_OK;
}

/* Where the inputs of the file are among those of this program. */
static void map_rows(reader *r, const char *names)
{
    char **mine = cg_xcalloc((size_t)r->m->inputs.width + 1, sizeof *mine);
    char name[80];
    for (int k = 0; k < r->m->inputs.width; k++) {
        cg_inputs_name(&r->m->inputs, k, name, sizeof name);
        if (!(mine[k] = strdup(name)))
            abort();
    }
    for (const char *s = names; *s; s += strcspn(s, "\n"), s += *s == '\n')
        r->n_rows++;
    r->row = cg_xcalloc((size_t)r->n_rows + 1, sizeof *r->row);
    int i = 0, at = 0;
    for (const char *s = names; *s; i++) {
        size_t len = strcspn(s, "\n");
        r->row[i] = -1;
        for (int k = 0; k < r->m->inputs.width && r->row[i] < 0; k++) {
            int j = (at + k) % r->m->inputs.width; /* mostly the next one */
            if (strlen(mine[j]) == len && memcmp(mine[j], s, len) == 0)
                r->row[i] = j, at = j + 1;
        }
        s += len + (s[len] == '\n');
    }
    for (int k = 0; k < r->m->inputs.width; k++)
        free(mine[k]);
    cg_xfree(mine);
}

static cg_err read_all(reader *r, const char *inputs)
{
    map_rows(r, inputs);
    cg_err err = CG_OK;
    for (int i = 0; i < CG_MEMBER_COUNT && err == CG_OK; i++) {
        if (cg_member_table[i].kind != CG_KIND_COST &&
            cg_member_table[i].kind != CG_KIND_PROCESS)
            err = read_member(r, &r->m->member[i]);
        if (err == CG_OK)
            err = read_opinion(r, &r->m->member[i]);
    }
    cg_xfree(r->row);
    CG_TRY(err);
    CG_TRY(read_process(r)); /* on the nets */
    return read_shared(r);
}

/* Line k of a text; its length, -1 where there are fewer. */
static int line_of(const char *text, size_t k, const char **line)
{
    for (; *text && k > 0; k--)
        text += strcspn(text, "\n"), text += *text == '\n';
    *line = text;
    return *text ? (int)strcspn(text, "\n") : -1;
}

static cg_err read_family(const reader *r, size_t i, const char *structure,
                          cg_family *one)
{
    const cg_tensor *label, *mean, *sd, *networks, *slope;
    const char *name;
    char prefix[64];
    snprintf(prefix, sizeof prefix, "family.%zu", i);
    CG_TRY(want(r, prefix, "label", CG_TENSOR_F64, 1, 3, &label));
    CG_TRY(want(r, prefix, "networks", CG_TENSOR_F64, 1, 1, &networks));
    CG_TRY(want(r, prefix, "structure.mean", CG_TENSOR_F64, 1, -1, &mean));
    CG_TRY(want(r, prefix, "structure.sd", CG_TENSOR_F64, 1, -1, &sd));
    CG_TRY(want(r, prefix, "slope", CG_TENSOR_F64, 1, -1, &slope));
    if (!label || !mean || !sd || mean->shape[1] != sd->shape[1] ||
        (slope && slope->shape[1] != mean->shape[1]))
        return cg_fail(CG_EFORMAT, "%s: tensors %s are not whole", r->path,
                       prefix);
    CG_TRY(read_label(r, prefix, label, &one->label));
    for (int k = 0; k < CG_STRUCTURE_COUNT; k++) /* what is new since */
        one->structure.mean[k] = one->structure.sd[k] = one->slope[k] = NAN;
    one->networks = networks ? *(const double *)networks->data : 0;
    for (int64_t c = 0; c < mean->shape[1]; c++) {
        int len = line_of(structure, (size_t)c, &name);
        int k = len < 0 ? -1 : cg_structure_find(name, (size_t)len);
        if (k < 0)
            continue; /* no longer known */
        one->structure.mean[k] = ((const double *)mean->data)[c];
        one->structure.sd[k] = ((const double *)sd->data)[c];
        one->slope[k] = slope ? ((const double *)slope->data)[c] : NAN;
    }
    return CG_OK;
}

static cg_err read_families(const reader *r, const char *structure,
                            const char *families)
{
    cg_families *f = &r->m->families;
    const cg_tensor *tuned;
    const char *name;
    int len;
    for (size_t i = 0; (len = line_of(families, i, &name)) >= 0; i++) {
        cg_family one = {0};
        snprintf(one.name, sizeof one.name, "%.*s", len, name);
        CG_TRY(read_family(r, i, structure, &one));
        cg_array_push(&f->list, one);
    }
    CG_TRY(want(r, "family", "tuned", CG_TENSOR_I64, 1, 1, &tuned));
    f->tuned = tuned && f->list.len > 0;
    cg_families_join(f);
    return CG_OK;
}

static cg_err read_progress(const char *path, const char *text,
                            cg_progress *out)
{
    char extra;
    if (!text)
        return cg_fail(CG_EUSAGE, "%s is a finished model, no training to go "
                       "on with", path);
    if (sscanf(text, "%d %d %" SCNx64 "%c", &out->stage, &out->epochs,
               &out->data, &extra) != 3 || out->stage < 0 || out->epochs < 0)
        return cg_fail(CG_EFORMAT, "%s: 'progress' is '%.40s'", path, text);
    return CG_OK;
}

static cg_err load(cg_model **m, cg_dev *dev, const char *path,
                   const cg_tensors *t, cg_progress *progress)
{
    const char *format = cg_tensors_meta(t, "format");
    const char *config = cg_tensors_meta(t, "config");
    const char *inputs = cg_tensors_meta(t, "inputs");
    cg_config c = cg_config_default;
    if (!format || strcmp(format, FORMAT) != 0 || !config || !inputs ||
        !t->checked)
        return cg_fail(CG_EFORMAT, "%s is no model of gennape", path);
    if (progress)
        CG_TRY(read_progress(path, cg_tensors_meta(t, "progress"), progress));
    CG_TRY(cg_config_parse(&c, config, path));
    CG_TRY(cg_model_new(m, dev, &c));
    reader r = {.m = *m, .t = t, .path = path};
    const char *structure = cg_tensors_meta(t, "structure");
    const char *families = cg_tensors_meta(t, "families");
    cg_err err = read_all(&r, inputs);
    const char *known = cg_tensors_meta(t, "known");
    if (err == CG_OK && structure && families)
        err = read_families(&r, structure, families);
    if (err == CG_OK && structure && known)
        err = cg_known_read(&(*m)->known, t, known, structure,
                            (*m)->families.list.len, path);
    if (err != CG_OK) {
        cg_model_free(*m);
        *m = NULL;
    }
    return err;
}

cg_err cg_model_load(cg_model **m, cg_dev *dev, const char *path,
                     cg_progress *progress)
{
    cg_tensors *t;
    *m = NULL;
    CG_TRY(cg_tensors_open(&t, path));
    cg_err err = load(m, dev, path, t, progress);
    cg_tensors_close(t);
    return err;
}
