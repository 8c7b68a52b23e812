/* What tests of layers stand on: a device, host arrays put there, parameters
 * with a tape, and gradients by finite differences. */
#ifndef CG_TESTS_LAB_H
#define CG_TESTS_LAB_H

#include "runtime/tape.h"

#define LAB_VARS 6

typedef struct lab {
    cg_dev *dev;
    cg_tape tape;
    cg_params params;
    CG_ARRAY(void *) blocks; /* freed with the lab */
    /* what a layer reads beside its variables */
    cg_csr sparse;
    cg_groups groups;
    const float *constant;
} lab;

/* On the CPU, or the device that LAB_DEVICE names; without that one the test
 * is skipped. */
void lab_open(lab *l, int threads);
void lab_close(lab *l);
/* For cmocka: *state is a lab of one thread. */
int lab_setup(void **state);
int lab_teardown(void **state);

/* A copy on the device, for as long as the lab is open. */
void *lab_put(lab *l, const void *src, size_t bytes);
/* Both forms of a matrix that is given with its zeros. `ones`: without values
 * (they must be 1 then). */
cg_csr lab_sparse(lab *l, int rows, int cols, const float *dense, bool ones);
/* Groups of tokens: size (n), row and count one after another; `gather` is
 * the sparse matrix (tokens, rows of qkv) of `row`. */
cg_groups lab_groups(lab *l, int n, const int *size, const int32_t *row,
                     const float *count, int n_rows, cg_csr *gather);

/* New parameters of these shapes (rows 0 ends), uniform in +-1. */
void lab_params(lab *l, const int shape[][2], uint64_t seed);
cg_var *lab_var(lab *l, size_t i);

/* Fills the workspace with NaN and starts a tape there. */
void lab_begin(lab *l, bool train, uint64_t key);
/* Gives `out` the gradient `dy` (rows, cols) as if a loss had. */
void lab_seed(lab *l, cg_var *out, const float *dy);
/* Runs back into gradients that were NaN; the caller frees the copy of the
 * whole block. */
float *lab_backward(lab *l);
/* A variable's elements, without gaps; the caller frees them. */
float *lab_get(lab *l, const cg_var *v);

/* A layer or a composition of them; NULL: a loss. */
typedef cg_var *lab_run(lab *l, cg_tape *t);

typedef struct lab_probe {
    lab_run *run;
    int shape[LAB_VARS][2];
    float h;     /* step of the differences */
    double tol;  /* of a gradient, relative to the largest of its variable */
    uint64_t seed; /* one for which no kink of ReLU lies within 2 h */
} lab_probe;

/* Holds the gradient of every element of every parameter against central
 * differences of fourth order. */
void lab_check(lab *l, const lab_probe *p);

#endif
