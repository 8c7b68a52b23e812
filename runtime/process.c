/* States, walks and structure as features. States and walks are many columns
 * that go together: they are seen through their principal components. */
#include "runtime/process.h"

#include <math.h>
#include <string.h>

#include "backend/linalg.h"
#include "runtime/metrics.h"

/* -- sizes ----------------------------------------------------------------- */

/* What the first net reads beside the graph; else what the ridge does. */
static const cg_structures *structures(const cg_model *m)
{
    for (int i = 0; i < CG_MEMBER_COUNT; i++)
        if (cg_model_has_net(m, i) && m->member[i].beside.n > 0)
            return &m->member[i].beside;
    return &m->ridge;
}

size_t cg_process_groups(const cg_model *m, const cg_process *p,
                         size_t *columns, size_t *viewed)
{
    size_t n = 0;
    for (size_t i = 0; i < p->nets; i++)
        columns[n++] = p->width;
    if (p->visits > 0)
        columns[n++] = p->visits;
    if (p->links > 0)
        columns[n++] = p->links;
    *viewed = n;
    if (structures(m)->n > 0)
        columns[n++] = (size_t)structures(m)->n;
    columns[n++] = 1;
    return n;
}

size_t cg_process_view_size(const cg_model *m, const cg_process *p)
{
    size_t columns[CG_PROCESS_GROUPS], viewed, sum = 0;
    cg_process_groups(m, p, columns, &viewed);
    for (size_t k = 0; k < viewed; k++)
        sum += columns[k] * columns[k];
    return sum;
}

/* -- features -------------------------------------------------------------- */

/* Every column by itself: how states vary within the family says more of what
 * tells there than how they varied in the training set. */
static void fit_states(cg_process *p, const cg_embedded *d)
{
    size_t n = d->e->n, width = p->nets * p->width;
    double *column = cg_xcalloc(n + 1, sizeof *column), sd;
    for (size_t j = 0; j < width; j++) {
        for (size_t i = 0; i < n; i++)
            column[i] = (double)d->h[i * width + j];
        cg_moments(column, n, &p->state[2 * j], &sd);
        p->state[2 * j + 1] = sd > 1e-9 ? 1 / sd : 0;
    }
    cg_xfree(column);
}

/* raw (last - first, d) of networks first .. last, not yet seen through views;
 * z (n): the zero-shot order, NULL: not known yet. */
static void look(const cg_model *m, const cg_process *p, cg_walk *walk,
                 const cg_embedded *d, const double *z, size_t first,
                 size_t last, double *raw)
{
    const cg_structures *s = structures(m);
    const cg_walk_columns c = {p->visits, p->links, p->walk};
    size_t width = p->nets * p->width;
    for (size_t i = first; i < last; i++) {
        for (size_t j = 0; j < width; j++)
            *raw++ = ((double)d->h[i * width + j] - p->state[2 * j]) *
                     p->state[2 * j + 1];
        cg_walk_fill(walk, &c, d->e->pick[i], raw);
        raw += c.visits + c.links;
        for (int k = 0; k < s->n; k++)
            *raw++ = (double)d->s[i * CG_STRUCTURE_COUNT + (size_t)s->k[k]];
        *raw++ = z ? z[i] : 0;
    }
}

/* view (c, c) of a group whose columns have the products `gram` over n
 * networks, which is destroyed: its rows turn to the principal components,
 * each over the root of its deviation. As they are, a few large components
 * drown what tells networks apart; made equal, chance would drown it. */
static cg_err fit_view(double *gram, size_t n, size_t c, double *view)
{
    double *variance = cg_xcalloc(c, sizeof *variance);
    cg_err err = cg_sym_eigen(c, c, gram, variance, view);
    for (size_t i = 0; i < c && err == CG_OK; i++) {
        bool flat = !(variance[i] > 1e-6 * variance[0]);
        for (size_t j = 0; j < c; j++)
            view[i * c + j] *=
                flat ? 0 : pow(variance[i] / (double)n, -.25);
    }
    cg_xfree(variance);
    return err;
}

/* gram: the products of the columns of each group that has a view, one group
 * after the other, zeroed. */
static void add_products(const cg_model *m, const cg_process *p,
                         const cg_embedded *d, double *gram)
{
    size_t columns[CG_PROCESS_GROUPS], viewed, n = d->e->n;
    double *raw = cg_xcalloc(CG_PROCESS_BLOCK * p->d, sizeof *raw);
    cg_walk *walk = cg_walk_new();
    cg_process_groups(m, p, columns, &viewed);
    for (size_t i = 0; i < n; i += CG_PROCESS_BLOCK) {
        size_t len = n - i < CG_PROCESS_BLOCK ? n - i : CG_PROCESS_BLOCK;
        double *x = raw, *g = gram;
        look(m, p, walk, d, NULL, i, i + len, raw);
        for (size_t k = 0; k < viewed; k++) {
            size_t c = columns[k];
            cg_dgemm(&(cg_product){.m = c, .n = c, .k = len, .ta = true,
                                   .a = x, .lda = p->d, .b = x, .ldb = p->d,
                                   .beta = 1, .c = g, .ldc = c});
            x += c;
            g += c * c;
        }
    }
    cg_walk_free(walk);
    cg_xfree(raw);
}

cg_err cg_process_fit_views(const cg_model *m, cg_process *p,
                            const cg_embedded *family)
{
    size_t columns[CG_PROCESS_GROUPS], viewed, at = 0;
    CG_TRY(cg_linalg_open());
    cg_process_groups(m, p, columns, &viewed);
    double *gram = cg_xcalloc(cg_process_view_size(m, p) + 1, sizeof *gram);
    fit_states(p, family);
    add_products(m, p, family, gram);
    cg_err err = CG_OK;
    for (size_t k = 0; k < viewed && err == CG_OK; k++) {
        err = fit_view(gram + at, family->e->n, columns[k], p->view + at);
        at += columns[k] * columns[k];
    }
    cg_xfree(gram);
    return err;
}

void cg_process_features(const cg_model *m, const cg_process *p, cg_walk *walk,
                         const cg_embedded *d, const double *z, size_t first,
                         size_t last, double *x)
{
    size_t columns[CG_PROCESS_GROUPS], viewed, len = last - first;
    cg_process_groups(m, p, columns, &viewed);
    double *raw = cg_xcalloc(len * p->d + 1, sizeof *raw), *from = raw;
    const double *view = p->view;
    look(m, p, walk, d, z, first, last, raw);
    memcpy(x, raw, len * p->d * sizeof *x);
    for (size_t k = 0; k < viewed; k++) {
        size_t c = columns[k];
        cg_dgemm(&(cg_product){.m = len, .n = c, .k = c, .tb = true,
                               .a = from, .lda = p->d, .b = view, .ldb = c,
                               .c = x, .ldc = p->d});
        from += c;
        x += c;
        view += c * c;
    }
    cg_xfree(raw);
}

