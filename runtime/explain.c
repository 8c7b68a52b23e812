/* Explanations. What structure does to a score is found by occlusion: the
 * members that read it are asked again of copies of the network, each with one
 * number set to the average. The graph is the same in all of them, so that its
 * states are not computed again. */
#include "runtime/explain.h"

#include <math.h>
#include <string.h>

#include "runtime/members.h"
#include "runtime/metrics.h"

#define S CG_STRUCTURE_COUNT

/* -- the score ------------------------------------------------------------- */

/* What opinions are standardised by. */
typedef struct scale {
    bool counts[CG_MEMBER_COUNT];
    double mean[CG_MEMBER_COUNT], sd[CG_MEMBER_COUNT];
    double weight[CG_MEMBER_COUNT]; /* for the network at hand, of 1 */
} scale;

/* Who says the same of all networks adds 0 among many, and has no say of one
 * alone: cg_ensemble_score and cg_ensemble_alone. */
static cg_err find_scale(scale *c, const cg_explain_task *t, uint32_t i)
{
    const cg_opinions *o = t->said;
    double all = 0;
    *c = (scale){0};
    for (int k = 0; k < CG_MEMBER_COUNT; k++) {
        if (!o->score[k] || t->weight[k] == 0)
            continue;
        if (t->among)
            cg_moments(o->score[k], o->n, &c->mean[k], &c->sd[k]);
        else
            CG_TRY(cg_ensemble_scale(t->m, k, &c->mean[k], &c->sd[k]));
        c->counts[k] = true;
        if (t->among || c->sd[k] > 0)
            c->weight[k] = cg_ensemble_weight_of(o, t->weight, k, i);
        all += c->weight[k];
    }
    for (int k = 0; k < CG_MEMBER_COUNT; k++)
        c->weight[k] /= all > 0 ? all : 1;
    return CG_OK;
}

static double standard(const scale *c, int k, double score)
{
    return c->sd[k] > 0 ? (score - c->mean[k]) / c->sd[k] : 0;
}

/* -- members, families, known networks ------------------------------------- */

static void explain_members(cg_explained *x, const cg_explain_task *t,
                            const scale *c)
{
    for (int k = 0; k < CG_MEMBER_COUNT; k++) {
        const double *accuracy = t->said->accuracy[k];
        cg_explained_member *y = &x->member[k];
        *y = (cg_explained_member){.counts = c->counts[k]};
        if (!y->counts)
            continue;
        y->accuracy = accuracy ? accuracy[x->i] : NAN;
        y->z = standard(c, k, t->said->score[k][x->i]);
        y->weight = c->weight[k];
        x->score += y->weight * y->z;
    }
}

void cg_explain_memberships(const double *distance, size_t n, double *u)
{
    double least = INFINITY, sum = 0;
    for (size_t k = 0; k < n; k++)
        least = fmin(least, distance[k]);
    for (size_t k = 0; k < n; k++) { /* relative: nothing overflows */
        u[k] = distance[k] > least ? pow(least / distance[k], 2) : 1;
        sum += u[k];
    }
    for (size_t k = 0; k < n; k++)
        u[k] /= sum;
}

static void explain_place(cg_explained *x, const cg_explain_task *t)
{
    const cg_model *m = t->m;
    const cg_embedded *d = t->d;
    const cg_pick *p = &d->e->pick[x->i];
    size_t n = m->families.list.len;
    double *distance = cg_xcalloc(n + 1, sizeof *distance);
    cg_structure_of(p->set, p->index, x->structure);
    for (int k = 0; k < S; k++)
        x->z[k] = (double)d->s[(size_t)x->i * S + (size_t)k];
    for (size_t k = 0; k < n; k++)
        distance[k] = cg_family_distance(&m->families, k, x->structure);
    x->families = n;
    x->membership = cg_xcalloc(n + 1, sizeof *x->membership);
    cg_explain_memberships(distance, n, x->membership);
    cg_xfree(distance);
    x->n_near = cg_known_nearest(
        &m->known, x->structure, m->families.all.sd,
        d->h ? d->h + (size_t)x->i * (size_t)d->width : NULL,
        (size_t)d->width, CG_EXPLAIN_NEAR, x->near);
}

/* -- structure ------------------------------------------------------------- */

/* The process reads what the nets and the ridge read. */
static bool reads(const cg_model *m, int id)
{
    const cg_member *x = &m->member[id];
    cg_member_kind kind = x->info->kind;
    if (kind == CG_KIND_NET || kind == CG_KIND_GRAPH)
        return x->trained && x->beside.n > 0;
    return x->trained && (kind == CG_KIND_LINEAR || kind == CG_KIND_PROCESS);
}

static void mark(const cg_structures *s, bool *read)
{
    for (int k = 0; k < s->n; k++)
        read[s->k[k]] = true;
}

static void find_read(cg_structures *out, const cg_model *m)
{
    bool read[S] = {0};
    for (int id = 0; id < CG_MEMBER_COUNT; id++)
        if (reads(m, id) && m->member[id].info->kind == CG_KIND_LINEAR)
            mark(&m->ridge, read);
        else if (reads(m, id) && m->member[id].info->kind != CG_KIND_PROCESS)
            mark(&m->member[id].beside, read);
    for (int k = 0; k < S; k++)
        if (read[k])
            out->k[out->n++] = k;
}

/* Row 0 as it is, row 1 + j without number j, the last one without any. */
static void occlude(const cg_structures *read, float *s)
{
    for (int j = 0; j < read->n; j++) {
        s[(size_t)(1 + j) * S + (size_t)read->k[j]] = 0;
        s[(size_t)(1 + read->n) * S + (size_t)read->k[j]] = 0;
    }
}

/* Adds to score (d->e->n) what a member makes of the copies. */
static cg_err ask_again(const cg_explain_task *t, const scale *c, int id,
                        const cg_embedded *copies, uint32_t i, double *score)
{
    uint32_t n = copies->e->n;
    double *y = cg_xcalloc((size_t)n + 1, sizeof *y);
    cg_err err = CG_OK;
    if (reads(t->m, id))
        err = cg_model_scores(t->m, (cg_member_id)id, copies, y);
    for (uint32_t k = 0; k < n; k++)
        score[k] += c->weight[id] *
            standard(c, id, reads(t->m, id) ? y[k] : t->said->score[id][i]);
    cg_xfree(y);
    return err;
}

static void sort_read(cg_explained *x)
{
    for (int i = 1; i < x->read.n; i++) {
        int k = x->read.k[i], at = i;
        for (; at > 0 && fabs(x->change[k]) >
                             fabs(x->change[x->read.k[at - 1]]); at--)
            x->read.k[at] = x->read.k[at - 1];
        x->read.k[at] = k;
    }
}

static cg_err explain_structure(cg_explained *x, const cg_explain_task *t,
                                const scale *c)
{
    uint32_t index[S + 2], n = (uint32_t)x->read.n + 2;
    double score[S + 2] = {0};
    cg_examples e;
    cg_embedded copies;
    for (uint32_t k = 0; k < n; k++)
        index[k] = x->i;
    cg_embedded_pick(t->d, index, n, &e, &copies);
    occlude(&x->read, copies.s);
    cg_err err = CG_OK;
    for (int id = 0; id < CG_MEMBER_COUNT && err == CG_OK; id++)
        if (c->weight[id] > 0)
            err = ask_again(t, c, id, &copies, x->i, score);
    for (int j = 0; j < x->read.n; j++)
        x->change[x->read.k[j]] = score[0] - score[1 + j];
    /* as a part of the score given: of one row products may round otherwise */
    x->graph = x->score - (score[0] - score[n - 1]);
    sort_read(x);
    cg_embedded_free(&copies);
    cg_examples_free(&e);
    return err;
}

cg_err cg_explain(cg_explained *x, const cg_explain_task *t, uint32_t i)
{
    scale c;
    *x = (cg_explained){.i = i};
    CG_TRY(find_scale(&c, t, i));
    explain_members(x, t, &c);
    explain_place(x, t);
    find_read(&x->read, t->m);
    x->graph = x->score;
    cg_err err = x->read.n > 0 ? explain_structure(x, t, &c) : CG_OK;
    if (err != CG_OK)
        cg_explained_free(x);
    return err;
}

void cg_explained_free(cg_explained *x)
{
    cg_xfree(x->membership);
    *x = (cg_explained){0};
}
