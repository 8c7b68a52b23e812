#include "runtime/ensemble.h"

#include <math.h>
#include <string.h>

#include "runtime/members.h"
#include "runtime/metrics.h"
#include "runtime/voices.h"

const cg_member_id cg_ensemble[CG_ENSEMBLE_SIZE] = {
    CG_MEMBER_cl_fcm_t, CG_MEMBER_cl_t, CG_MEMBER_cl_fcm_pair,
    CG_MEMBER_cl_pair,  CG_MEMBER_kgnn, CG_MEMBER_flops};

bool cg_member_speaks(const cg_model *m, cg_member_id id)
{
    const cg_member *x = &m->member[id];
    return x->trained && x->info->kind != CG_KIND_ENCODER;
}

bool cg_ensemble_there(const cg_model *m)
{
    for (int k = 0; k < CG_ENSEMBLE_SIZE; k++)
        if (cg_ensemble[k] != CG_MEMBER_flops &&
            cg_member_speaks(m, cg_ensemble[k]))
            return true;
    return cg_model_nets(m) > 0;
}

/* -- opinions -------------------------------------------------------------- */

static cg_err ask(cg_opinions *o, cg_model *m, cg_member_id id,
                  const cg_embedded *d, bool alone)
{
    cg_member *x = &m->member[id];
    size_t n = d->e->n;
    o->n = d->e->n;
    if (!o->score[id])
        o->score[id] = cg_xcalloc(n + 1, sizeof(double));
    if (alone && x->info->kind == CG_KIND_RANKER)
        return cg_ranker_strengths(m, x, d, o->score[id]);
    CG_TRY(cg_model_scores(m, id, d, o->score[id]));
    if (alone && x->info->kind == CG_KIND_PROCESS) {
        o->spread = cg_xcalloc(n + 1, sizeof(double));
        CG_TRY(cg_process_spread(m, d, o->spread));
    }
    if (!cg_member_regresses(x))
        return CG_OK;
    if (!o->accuracy[id])
        o->accuracy[id] = cg_xcalloc(n + 1, sizeof(double));
    cg_model_accuracy(m, id, d, o->score[id], o->accuracy[id]);
    return CG_OK;
}

static cg_err ask_all(cg_opinions *o, cg_model *m, const cg_embedded *d,
                      bool alone)
{
    cg_err err = CG_OK;
    *o = (cg_opinions){.n = d->e->n};
    for (int i = 0; i < CG_MEMBER_COUNT && err == CG_OK; i++)
        if (cg_member_speaks(m, (cg_member_id)i))
            err = ask(o, m, (cg_member_id)i, d, alone);
    if (err != CG_OK)
        cg_opinions_free(o);
    else
        cg_voices_set(o, m, d);
    return err;
}

cg_err cg_opinions_ask(cg_opinions *o, cg_model *m, const cg_embedded *d)
{
    return ask_all(o, m, d, false);
}

cg_err cg_opinions_ask_alone(cg_opinions *o, cg_model *m,
                             const cg_embedded *d)
{
    return ask_all(o, m, d, true);
}

cg_err cg_opinions_ask_one(cg_opinions *o, cg_model *m, cg_member_id id,
                           const cg_embedded *d)
{
    return ask(o, m, id, d, false);
}

void cg_opinions_free(cg_opinions *o)
{
    for (int i = 0; i < CG_MEMBER_COUNT; i++) {
        cg_xfree(o->score[i]);
        cg_xfree(o->accuracy[i]);
        cg_xfree(o->voice[i]);
    }
    cg_xfree(o->spread);
    *o = (cg_opinions){0};
}

/* -- together -------------------------------------------------------------- */

static int count_nets(const cg_opinions *o)
{
    int n = 0;
    for (int i = 0; i < CG_MEMBER_COUNT; i++)
        n += o->score[i] && cg_member_table[i].kind == CG_KIND_NET;
    return n;
}

/* How much a member's opinion counts beside the others'. */
static double say(const cg_opinions *o, int id)
{
    bool listed = false, others = false;
    cg_member_kind kind = cg_member_table[id].kind;
    int nets = count_nets(o);
    if (!o->score[id])
        return 0;
    if (o->score[CG_MEMBER_tuned])
        return id == CG_MEMBER_tuned;
    if (nets > 0)
        return kind == CG_KIND_NET ? 1 : kind == CG_KIND_LINEAR ? nets : 0;
    for (int k = 0; k < CG_ENSEMBLE_SIZE; k++) {
        listed |= (int)cg_ensemble[k] == id;
        others |= cg_ensemble[k] != CG_MEMBER_flops &&
                  o->score[cg_ensemble[k]];
    }
    return listed || (!others && id != CG_MEMBER_params);
}

void cg_ensemble_weights(const cg_opinions *o, const double *y,
                         double *weight)
{
    double sum = 0;
    for (int i = 0; i < CG_MEMBER_COUNT; i++) {
        weight[i] = say(o, i);
        if (y && weight[i] > 0) {
            double tau = cg_kendall(y, o->score[i], o->n);
            weight[i] = exp(isnan(tau) ? 0 : tau);
        }
        sum += weight[i];
    }
    for (int i = 0; i < CG_MEMBER_COUNT && sum > 0; i++)
        weight[i] /= sum;
}

double cg_ensemble_weight_of(const cg_opinions *o, const double *weight,
                             int k, uint32_t i)
{
    return weight[k] * (o->voice[k] ? o->voice[k][i] : 1);
}

void cg_model_weights(const cg_model *m, const cg_opinions *o, double *weight)
{
    cg_ensemble_weights(o, NULL, weight);
    for (int i = 0; i < CG_MEMBER_COUNT && m->tuned; i++)
        weight[i] = m->member[i].weight;
}

void cg_ensemble_voices(const cg_opinions *o, double *weight)
{
    for (int k = 0; k < CG_MEMBER_COUNT; k++) {
        double sum = 0;
        for (uint32_t i = 0; i < o->n; i++)
            sum += cg_ensemble_weight_of(o, weight, k, i);
        weight[k] = sum / o->n;
    }
}

void cg_ensemble_score(const cg_opinions *o, const double *weight,
                       double *score)
{
    double *z = cg_xcalloc((size_t)o->n + 1, sizeof *z);
    double *all = cg_xcalloc((size_t)o->n + 1, sizeof *all);
    for (uint32_t i = 0; i < o->n; i++)
        score[i] = 0;
    for (int k = 0; k < CG_MEMBER_COUNT; k++) {
        if (!o->score[k] || weight[k] == 0)
            continue;
        cg_zscores(o->score[k], o->n, z);
        for (uint32_t i = 0; i < o->n; i++) {
            double w = cg_ensemble_weight_of(o, weight, k, i);
            score[i] += isnan(z[i]) ? 0 : w * z[i];
            all[i] += w;
        }
    }
    for (uint32_t i = 0; i < o->n; i++)
        score[i] /= all[i] > 0 ? all[i] : 1;
    cg_xfree(all);
    cg_xfree(z);
}

void cg_ensemble_accuracy(const cg_opinions *o, const double *weight,
                          double *accuracy)
{
    for (uint32_t i = 0; i < o->n; i++) {
        double sum = 0, all = 0;
        for (int k = 0; k < CG_MEMBER_COUNT; k++) {
            double w = o->accuracy[k] ? cg_ensemble_weight_of(o, weight, k, i) : 0;
            sum += w > 0 ? w * o->accuracy[k][i] : 0;
            all += w;
        }
        accuracy[i] = sum / all; /* NAN for 0 / 0 */
    }
}

/* -- one network at a time ------------------------------------------------- */

cg_err cg_ensemble_calibrate_on(cg_model *m, const cg_embedded *d)
{
    cg_opinions o;
    CG_TRY(cg_opinions_ask_alone(&o, m, d));
    for (int k = 0; k < CG_MEMBER_COUNT; k++) {
        cg_member *x = &m->member[k];
        if (o.score[k])
            cg_moments(o.score[k], o.n, &x->said_mean, &x->said_sd);
    }
    cg_opinions_free(&o);
    return CG_OK;
}

/* FLOPs need no calibration where nothing was tuned: the model knows those it
 * was trained on. */
cg_err cg_ensemble_scale(const cg_model *m, int k, double *mean, double *sd)
{
    const cg_member *x = &m->member[k];
    bool flops = k == CG_MEMBER_flops && isnan(x->said_mean);
    *mean = flops ? m->flops_mean : x->said_mean;
    *sd = flops ? m->flops_sd : x->said_sd;
    return isfinite(*mean) && *sd >= 0 ? CG_OK
        : cg_fail(CG_EUSAGE, "the model's training has not ended: it does not "
                  "know yet what its member %s says of the training set",
                  x->info->line);
}

/* Mean and deviation of z (n) by weights w. */
static void weighted_moments(const double *z, const double *w, size_t n,
                             double *mean, double *sd)
{
    double all = 0, sum = 0, squares = 0;
    for (size_t k = 0; k < n; k++)
        all += w[k], sum += w[k] * z[k];
    *mean = sum / all; /* NAN for 0 / 0 */
    for (size_t k = 0; k < n; k++)
        squares += w[k] * (z[k] - *mean) * (z[k] - *mean);
    *sd = sqrt(squares / all);
}

cg_err cg_ensemble_alone(const cg_model *m, const cg_opinions *o,
                         const double *weight, double *score,
                         double *agreement)
{
    const double *from[CG_MEMBER_COUNT];
    int who[CG_MEMBER_COUNT];
    double mean[CG_MEMBER_COUNT], sd[CG_MEMBER_COUNT], w[CG_MEMBER_COUNT];
    double z[CG_MEMBER_COUNT], spread;
    size_t count = 0, all = 0;
    for (int id = 0; id < CG_MEMBER_COUNT; id++) {
        if (!o->score[id] || weight[id] == 0)
            continue;
        CG_TRY(cg_ensemble_scale(m, id, &mean[count], &sd[count]));
        who[count] = id;
        all++;
        if (sd[count] > 0) /* else it says the same of all networks */
            from[count++] = o->score[id];
    }
    for (uint32_t i = 0; i < o->n; i++) {
        for (size_t k = 0; k < count; k++) {
            z[k] = (from[k][i] - mean[k]) / sd[k];
            w[k] = cg_ensemble_weight_of(o, weight, who[k], i);
        }
        weighted_moments(z, w, count, &score[i], &spread);
        agreement[i] = count > 1 ? 1 / (1 + spread) : NAN;
        if (o->spread && weight[CG_MEMBER_tuned] > 0)
            agreement[i] = 1 / (1 + o->spread[i]);
        if (count == 0 && all > 0)
            score[i] = 0;
    }
    return CG_OK;
}
