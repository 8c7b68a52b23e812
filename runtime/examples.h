/* Labelled networks as training and evaluation take them. */
#ifndef CG_RUNTIME_EXAMPLES_H
#define CG_RUNTIME_EXAMPLES_H

#include "runtime/batch.h"

typedef struct cg_examples {
    uint32_t n;
    cg_pick *pick;     /* (n) */
    double *accuracy;  /* (n) percent; NAN: none */
    double *flops, *params; /* (n) */
} cg_examples;

/* All networks of a set with its label `label`; NULL: the first one named
 * accuracy, test_accuracy or cifar10_test. Labels are fractions when none is
 * over 1, percent otherwise; a label below 0 or over 100, or FLOPs that are
 * not known, are an error that names the network. `labelled`: those without a
 * label are left out. */
cg_err cg_examples_of(cg_examples *e, const cg_set *s, const char *label,
                      bool labelled);
/* The networks of both: b is added to a. */
void cg_examples_add(cg_examples *a, const cg_examples *b);
/* Those at index[0 .. n) of e. */
cg_examples cg_examples_pick(const cg_examples *e, const uint32_t *index,
                             uint32_t n);
void cg_examples_free(cg_examples *e); /* a zeroed one is fine */

/* 0 .. n - 1 in an order of the seed: heap, cg_xfree. */
uint32_t *cg_shuffled(uint32_t n, uint64_t seed, uint64_t stream);

/* The protocol's parts: `limit` of the networks (0: all) in an order of the
 * seed, of which 80, 10 and 10 % are for training, validation and test. */
typedef struct cg_split {
    cg_examples train, valid, test;
} cg_split;
void cg_split_make(cg_split *s, const cg_examples *e, uint32_t limit,
                   uint64_t seed);
void cg_split_free(cg_split *s);

#endif
