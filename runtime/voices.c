#include "runtime/voices.h"

#include <math.h>

#include "runtime/members.h"
#include "runtime/metrics.h"

static bool knows(const cg_model *m, int id, uint32_t family)
{
    return cg_model_has_net(m, id) &&
           cg_member_learns(m, &m->member[id], family);
}

/* Of a family that nets have learnt from these speak. Of what is far away, yet
 * nearest to the largest family, those that know nothing else: what others
 * learnt of further families misleads them there. */
static double voice_of_net(const cg_model *m, int id, uint32_t family,
                           double near)
{
    bool alone = false; /* somebody knows this family alone */
    if (!knows(m, id, family))
        return 0;
    for (int k = 0; k < CG_MEMBER_COUNT; k++)
        alone |= knows(m, k, family) && m->member[k].sets == CG_NET_LARGEST;
    return alone && m->member[id].sets != CG_NET_LARGEST &&
           m->families.list.len > 1 ? near : 1;
}

/* Where no net knows the family all of them speak. */
static void voices_of_one(cg_opinions *o, const cg_model *m,
                          const cg_kinship *kin, uint32_t i)
{
    double voice[CG_MEMBER_COUNT], sum = 0, strange = kin->strange[i];
    int nets = cg_model_nets(m);
    for (int k = 0; k < CG_MEMBER_COUNT; k++)
        sum += voice[k] = voice_of_net(m, k, kin->family[i], kin->near[i]);
    for (int k = 0; k < CG_MEMBER_COUNT; k++) {
        cg_member_kind kind = cg_member_table[k].kind;
        if (o->voice[k] && kind == CG_KIND_NET)
            o->voice[k][i] = sum > 0 ? voice[k] : 1;
        if (o->voice[k] && kind == CG_KIND_LINEAR)
            o->voice[k][i] = sum > 0 ? strange * sum / nets : fmax(1, strange);
    }
}

/* -- many networks of a set ------------------------------------------------- */

/* The mean correlation of what two nets say of networks first .. first + n, by
 * their voices; 1 where a single one speaks. */
static double agreement(const cg_opinions *o, uint32_t first, uint32_t n)
{
    double sum = 0, all = 0;
    for (int a = 0; a < CG_MEMBER_COUNT; a++)
        for (int b = a + 1; b < CG_MEMBER_COUNT; b++) {
            if (!o->score[a] || cg_member_table[a].kind != CG_KIND_NET ||
                !o->score[b] || cg_member_table[b].kind != CG_KIND_NET)
                continue;
            double w = o->voice[a][first] * o->voice[b][first];
            double r = cg_pearson(o->score[a] + first, o->score[b] + first, n);
            sum += w * (isnan(r) ? 0 : r);
            all += w;
        }
    return all > 0 ? sum / all : 1;
}

/* Nets that know what they are talking of say the same. Where they do not,
 * which needs no label to see, the ridge has more of a say, up to nearly all. */
static void heed_agreement(cg_opinions *o, uint32_t first, uint32_t n)
{
    double r = fmax(.1, agreement(o, first, n));
    for (int k = 0; k < CG_MEMBER_COUNT; k++)
        for (uint32_t i = first; i < first + n && o->voice[k] &&
             cg_member_table[k].kind == CG_KIND_LINEAR; i++)
            o->voice[k][i] /= r * r * r * r;
}

void cg_voices_set(cg_opinions *o, const cg_model *m, const cg_embedded *d)
{
    for (int k = 0; k < CG_MEMBER_COUNT; k++) {
        if (o->score[k] && !o->voice[k])
            o->voice[k] = cg_xcalloc((size_t)o->n + 1, sizeof(double));
        for (uint32_t i = 0; i < o->n && o->voice[k]; i++)
            o->voice[k][i] = 1;
    }
    for (uint32_t i = 0, n; i < o->n && cg_model_nets(m) > 0; i += n) {
        for (n = 1; i + n < o->n &&
             d->e->pick[i + n].set == d->e->pick[i].set;)
            n++;
        for (uint32_t j = i; j < i + n; j++)
            voices_of_one(o, m, &d->kin, j);
        if (n >= CG_FAMILY_LEAST)
            heed_agreement(o, i, n);
    }
}
