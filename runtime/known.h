/* Networks that a model was trained on, some of each family: it can tell of a
 * new network which of these are nearest. */
#ifndef CG_RUNTIME_KNOWN_H
#define CG_RUNTIME_KNOWN_H

#include "runtime/family.h"
#include "runtime/safetensors.h"

#define CG_KNOWN_OF_FAMILY 64

typedef struct cg_known {
    uint32_t n;        /* 0: a model that keeps none */
    size_t width;      /* of h; 0: the model has no embedding */
    char **name;       /* (n) printable ASCII; other bytes became '?' */
    uint32_t *family;  /* (n) of the model's list */
    double *accuracy;  /* (n) percent */
    double *structure; /* (n, CG_STRUCTURE_COUNT) as it is, not standardised */
    float *h;          /* (n, width) */
    double *h_sd;      /* (width) over the training set; 0: says nothing */
} cg_known;            /* on the heap; cg_known_free */

/* Up to CG_KNOWN_OF_FAMILY networks of each of `families`, drawn from e by the
 * seed; family (n) and h (n, width), NULL: none, are those of e. What k held
 * is freed. */
void cg_known_draw(cg_known *k, const cg_examples *e, const uint32_t *family,
                   size_t families, const float *h, size_t width,
                   uint64_t seed);
void cg_known_free(cg_known *k); /* zeroed is fine */

typedef struct cg_near {
    uint32_t known;  /* which of them */
    double distance; /* root mean square over the numbers, in deviations */
} cg_near;
/* The nearest ones to a network of structure x (CG_STRUCTURE_COUNT) and
 * embedding h (width), nearest first, at most `most`; their number. Compared
 * by h, and by structure in deviations `sd` where one of them has no h, or one
 * of another width. */
int cg_known_nearest(const cg_known *k, const double *x, const double *sd,
                     const float *h, size_t width, int most, cg_near *out);

/* -- in a model's file ----------------------------------------------------- */

#define CG_KNOWN_TENSORS 5
/* Fills t, whose data is k's, to be written; their number, 0 for none. */
int cg_known_tensors(const cg_known *k, cg_tensor t[CG_KNOWN_TENSORS]);
/* Reads them, if the file has them. `names` of the networks and `columns` of
 * the structure are one a line. CG_EFORMAT: they do not fit together, or there
 * are fewer `families`. */
cg_err cg_known_read(cg_known *k, const cg_tensors *t, const char *names,
                     const char *columns, size_t families, const char *path);

#endif
