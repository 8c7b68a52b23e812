#include "runtime/family.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define S CG_STRUCTURE_COUNT

double *cg_structures_of(const cg_examples *e)
{
    double *x = cg_xcalloc((size_t)e->n * S + 1, sizeof *x);
    for (uint32_t i = 0; i < e->n; i++)
        cg_structure_of(e->pick[i].set, e->pick[i].index, x + (size_t)i * S);
    return x;
}

/* Of the networks of one set, NULL: of all; their number. */
static size_t moments(const cg_examples *e, const double *x,
                      const cg_set *set, cg_moments_of *m)
{
    size_t n = 0;
    *m = (cg_moments_of){0};
    for (uint32_t i = 0; i < e->n; i++) {
        bool in = !set || e->pick[i].set == set;
        n += in;
        for (int k = 0; k < S && in; k++)
            m->mean[k] += x[(size_t)i * S + k];
    }
    for (int k = 0; k < S; k++)
        m->mean[k] /= (double)n;
    for (uint32_t i = 0; i < e->n; i++)
        for (int k = 0; k < S && (!set || e->pick[i].set == set); k++)
            m->sd[k] += pow(x[(size_t)i * S + k] - m->mean[k], 2);
    for (int k = 0; k < S; k++) {
        m->sd[k] = sqrt(m->sd[k] / (double)n);
        if (m->sd[k] < 1e-6 * (1 + fabs(m->mean[k])))
            m->sd[k] = 0;
    }
    return n;
}

/* Which of the sets before i is that of i; i: none. */
static uint32_t first_of_set(const cg_examples *e, uint32_t i)
{
    uint32_t k = 0;
    while (e->pick[k].set != e->pick[i].set)
        k++;
    return k;
}

static void fit_label(cg_label *l, cg_label_kind kind, const cg_examples *e,
                      const cg_set *set)
{
    uint32_t n = 0, *index = cg_xcalloc((size_t)e->n + 1, sizeof *index);
    for (uint32_t i = 0; i < e->n; i++)
        if (e->pick[i].set == set)
            index[n++] = i;
    cg_examples own = cg_examples_pick(e, index, n);
    cg_label_fit(l, kind, n, own.accuracy, own.flops);
    cg_examples_free(&own);
    cg_xfree(index);
}

void cg_families_join(cg_families *f)
{
    size_t n = f->list.len;
    f->all = (cg_moments_of){0};
    for (int k = 0; k < S && n > 0; k++) {
        double mean = 0, square = 0;
        for (size_t i = 0; i < n; i++) {
            const cg_moments_of *m = &f->list.data[i].structure;
            mean += m->mean[k] / (double)n;
            square += (m->mean[k] * m->mean[k] + m->sd[k] * m->sd[k]) /
                      (double)n;
        }
        f->all.mean[k] = mean;
        f->all.sd[k] = sqrt(fmax(0, square - mean * mean));
    }
}

uint32_t cg_families_largest(const cg_families *f)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < f->list.len; i++)
        if (f->list.data[i].networks > f->list.data[best].networks)
            best = i;
    return best;
}

void cg_families_fit(cg_families *f, const cg_examples *e, const double *x,
                     cg_label_kind kind)
{
    cg_families_free(f);
    for (uint32_t i = 0; i < e->n; i++) {
        const cg_set *set = e->pick[i].set;
        cg_family one = {0};
        if (i > 0 && set == e->pick[i - 1].set)
            continue; /* mostly */
        if (first_of_set(e, i) != i)
            continue;
        snprintf(one.name, sizeof one.name, "%s", set->family);
        one.networks = (double)moments(e, x, set, &one.structure);
        fit_label(&one.label, kind, e, set);
        cg_array_push(&f->list, one);
    }
    cg_families_join(f);
}

void cg_families_untune(cg_families *f)
{
    f->list.len -= f->tuned;
    f->tuned = false;
    cg_families_join(f);
}

void cg_families_tune(cg_families *f, const cg_examples *e, const double *x,
                      const cg_label *label)
{
    cg_family one = {.label = *label};
    cg_families_untune(f);
    snprintf(one.name, sizeof one.name, "%s", e->pick[0].set->family);
    moments(e, x, NULL, &one.structure);
    cg_array_push(&f->list, one);
    f->tuned = true;
    cg_families_join(f);
}

cg_families cg_families_copy(const cg_families *f)
{
    cg_families copy = {.tuned = f->tuned, .all = f->all};
    for (size_t i = 0; i < f->list.len; i++)
        cg_array_push(&copy.list, f->list.data[i]);
    return copy;
}

void cg_families_free(cg_families *f)
{
    cg_array_free(&f->list);
    *f = (cg_families){0};
}

/* -- networks to be judged ------------------------------------------------- */

/* Files are of any family. */
static const cg_family *named(const cg_families *f, const char *name)
{
    if (f->tuned)
        return &f->list.data[f->list.len - 1];
    for (size_t i = 0; i < f->list.len; i++)
        if (strcmp(f->list.data[i].name, name) == 0 &&
            strcmp(name, "onnx") != 0)
            return &f->list.data[i];
    return NULL;
}

static void standardise(double *x, const cg_moments_of *m)
{
    for (int k = 0; k < S; k++)
        x[k] = m->sd[k] > 0 ? (x[k] - m->mean[k]) / m->sd[k] : 0;
}

double cg_family_distance(const cg_families *f, size_t family, const double *x)
{
    const cg_family *one = &f->list.data[family];
    double sum = 0;
    for (int k = 0; k < S; k++) {
        double sd = hypot(one->structure.sd[k], .1 * f->all.sd[k]);
        double d = x[k] - one->structure.mean[k];
        if (isnan(d))
            continue; /* the model's file is older than this number */
        sum += sd > 0 ? d * d / (sd * sd) : d * d;
    }
    return sqrt(sum / S);
}

/* The size of the image tells the task: what is made for ImageNet is no network
 * for CIFAR-10, whatever it is built like. Not known, it tells nothing. */
static bool same_task(const cg_family *one, const double *x)
{
    double octaves = x[CG_STRUCTURE_image] -
                     one->structure.mean[CG_STRUCTURE_image];
    return !(fabs(octaves) > CG_FAMILY_OCTAVES);
}

/* Root mean square over a group of cg_family_distance. */
static double group_distance(const cg_families *f, size_t family,
                             const cg_moments_of *own)
{
    double one_off[S]; /* a deviation of the group's from the family's mean */
    for (int k = 0; k < S; k++)
        one_off[k] = f->list.data[family].structure.mean[k] + own->sd[k];
    return hypot(cg_family_distance(f, family, own->mean),
                 cg_family_distance(f, family, one_off));
}

/* To a network of structure x, or to a group whose mean x is; of the same task
 * where there is one. */
static uint32_t nearest(const cg_families *f, const cg_moments_of *group,
                        const double *x)
{
    uint32_t best = 0;
    bool best_same = false;
    double least = INFINITY;
    for (uint32_t k = 0; k < f->list.len; k++) {
        bool same = same_task(&f->list.data[k], x);
        double d = group ? group_distance(f, k, group)
                         : cg_family_distance(f, k, x);
        if (same > best_same || (same == best_same && d < least))
            best = k, best_same = same, least = d;
    }
    return best;
}

/* A network of the family itself is about 1 away. Beyond 3 the ridge, whose
 * voice this is, is more and more alone; not among many, where nets that know
 * nothing are found out otherwise (runtime/voices.c). */
static double strangeness(double distance, bool many)
{
    return distance > 3 && !many
        ? distance * distance / 9
        : fmin(1, fmax(0, (distance - 1.25) / .75));
}

/* What is peculiar to the nearest family says nothing of what is far away. */
static double nearness(double distance)
{
    return distance > 3 ? pow(3 / distance, 8) : 1;
}

/* The networks of one set. */
typedef struct group {
    const cg_set *set;
    const cg_family *named, *kin; /* of its name; what all its networks belong
                                     to, NULL: each to the nearest one */
    size_t n;
    double distance; /* mean */
    cg_moments_of own;
} group;
typedef CG_ARRAY(group) groups;

static group *group_of(groups *all, const cg_set *set)
{
    for (size_t i = 0; i < all->len; i++)
        if (all->data[i].set == set)
            return &all->data[i];
    return NULL;
}

static void find_groups(groups *all, const cg_families *f,
                        const cg_examples *e, const double *x)
{
    for (uint32_t i = 0; i < e->n; i++) {
        const cg_set *set = e->pick[i].set;
        if (group_of(all, set))
            continue;
        group g = {.set = set, .named = named(f, set->family)};
        g.n = moments(e, x, set, &g.own);
        g.kin = g.named;
        if (!g.kin && g.n >= CG_FAMILY_LEAST && f->list.len > 0)
            g.kin = &f->list.data[nearest(f, &g.own, g.own.mean)];
        cg_array_push(all, g);
    }
}

static void blend(cg_moments_of *out, const cg_moments_of *a,
                  const cg_moments_of *b, double share_of_b)
{
    for (int k = 0; k < S; k++) {
        out->mean[k] = a->mean[k] + share_of_b * (b->mean[k] - a->mean[k]);
        out->sd[k] = a->sd[k] + share_of_b * (b->sd[k] - a->sd[k]);
    }
}

static void place(const cg_families *f, const group *g, double *x, uint32_t i,
                  cg_kinship *k)
{
    cg_moments_of mixed = {0};
    const cg_moments_of *by = &mixed;
    bool many = g->n >= CG_FAMILY_LEAST;
    double distance = many ? g->distance : k->distance[i];
    k->strange[i] = g->named && !f->tuned ? 0 : strangeness(distance, many);
    k->near[i] = g->named ? 1 : nearness(distance);
    if (g->named)
        by = &g->named->structure;
    else if (many)
        by = &g->own;
    else if (f->list.len > 0)
        blend(&mixed, &f->list.data[k->family[i]].structure, &f->all,
              fmin(1, k->strange[i]));
    standardise(x, by);
}

void cg_families_place(const cg_families *f, const cg_examples *e, double *x,
                       cg_kinship *k)
{
    size_t n = e->n;
    groups all = {0};
    *k = (cg_kinship){cg_xcalloc(n + 1, sizeof *k->family),
                      cg_xcalloc(n + 1, sizeof *k->distance),
                      cg_xcalloc(n + 1, sizeof *k->strange),
                      cg_xcalloc(n + 1, sizeof *k->near)};
    find_groups(&all, f, e, x);
    for (uint32_t i = 0; i < n; i++) {
        group *g = group_of(&all, e->pick[i].set);
        const double *own = x + (size_t)i * S;
        k->family[i] = g->kin ? (uint32_t)(g->kin - f->list.data)
                              : nearest(f, NULL, own);
        k->distance[i] = f->list.len > 0
            ? cg_family_distance(f, k->family[i], own) : INFINITY;
        g->distance += k->distance[i] / (double)g->n;
    }
    for (uint32_t i = 0; i < n; i++)
        place(f, group_of(&all, e->pick[i].set), x + (size_t)i * S, i, k);
    cg_array_free(&all);
}

void cg_kinship_free(cg_kinship *k)
{
    cg_xfree(k->family);
    cg_xfree(k->distance);
    cg_xfree(k->strange);
    cg_xfree(k->near);
    *k = (cg_kinship){0};
}
