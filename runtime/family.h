/* Families: what a model knows of each set that it was trained on.
 *
 * Accuracies of two families are of different tasks and recipes, and so are
 * their typical sizes: labels and structure are standardised within a family.
 * Networks to be judged are standardised among themselves where there are
 * enough of them (this takes no labels), otherwise by all families together. */
#ifndef CG_RUNTIME_FAMILY_H
#define CG_RUNTIME_FAMILY_H

#include "base/array.h"
#include "runtime/examples.h"
#include "runtime/label.h"
#include "runtime/structure.h"

/* As many networks of one set have moments of their own. */
#define CG_FAMILY_LEAST 20
/* Images of one task differ in size by no more than so many powers of two. */
#define CG_FAMILY_OCTAVES 1.5
#define CG_FAMILY_NAME 32 /* with the NUL */

typedef struct cg_moments_of {
    double mean[CG_STRUCTURE_COUNT], sd[CG_STRUCTURE_COUNT];
} cg_moments_of; /* a sd of 0: they all have the same, which says nothing */

typedef struct cg_family {
    char name[CG_FAMILY_NAME]; /* of its set: "nb101" */
    double networks;           /* that it was trained on */
    cg_label label;            /* of the configuration's kind */
    cg_moments_of structure;
    double slope[CG_STRUCTURE_COUNT]; /* of the label by the standardised
                                         structure (member ridge), 0 of what it
                                         does not read; NAN: not known */
} cg_family;

typedef struct cg_families {
    CG_ARRAY(cg_family) list;
    bool tuned; /* to the last of the list, by which every network is judged */
    cg_moments_of all; /* each family counts the same */
} cg_families;

/* x (n, CG_STRUCTURE_COUNT) of the networks of e; heap, cg_xfree. */
double *cg_structures_of(const cg_examples *e);

/* From a training set: a family for each of its sets, in their order. */
void cg_families_fit(cg_families *f, const cg_examples *e, const double *x,
                     cg_label_kind kind);
/* Of the list, the one with most networks, the first of equals. */
uint32_t cg_families_largest(const cg_families *f);
/* Sets f->all from the list. */
void cg_families_join(cg_families *f);
/* Adds the one that a model is tuned to, all networks of e with their structure
 * x, instead of one that it was tuned to before; its `networks` are 0. */
void cg_families_tune(cg_families *f, const cg_examples *e, const double *x,
                      const cg_label *label);
/* Without that one, if it is there. */
void cg_families_untune(cg_families *f);
cg_families cg_families_copy(const cg_families *f);
void cg_families_free(cg_families *f); /* zeroed is fine */

/* Root mean square over x (CG_STRUCTURE_COUNT, as it is) of how many deviations
 * it is away from family k. A family's deviations are widened by a tenth of all
 * families' together: a structure that one of them never varies is not
 * infinitely far from the others. */
double cg_family_distance(const cg_families *f, size_t k, const double *x);

/* How the networks of e stand to the families. */
typedef struct cg_kinship {
    uint32_t *family; /* (n) of f->list: of the name of its set, otherwise the
                         nearest one with images of its size, to all together
                         where they are many */
    double *distance; /* (n) cg_family_distance to that family */
    double *strange;  /* (n) 0: as the family's own are, 1: unlike them, more
                         (distance / 3)^2: like nothing known; for
                         CG_FAMILY_LEAST networks of a set one value, at most
                         1 */
    double *near;     /* (n) how far what is peculiar to that family holds for
                         it, 0 .. 1; one value as well */
} cg_kinship;         /* on the heap; cg_kinship_free */
void cg_kinship_free(cg_kinship *k); /* zeroed is fine */

/* Says it of x (n, CG_STRUCTURE_COUNT), and standardises x in place: by the
 * family that a model was tuned to; otherwise by the family whose name the
 * network's set has, else among the networks of its set, and where these are
 * fewer than CG_FAMILY_LEAST by the nearest family, the more by f->all the
 * stranger it is. */
void cg_families_place(const cg_families *f, const cg_examples *e, double *x,
                       cg_kinship *k);

#endif
