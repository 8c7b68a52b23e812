/* Parameters of a model: named matrices in one block of the device, with their
 * gradients and the optimiser's moments in blocks beside it. */
#ifndef CG_RUNTIME_PARAMS_H
#define CG_RUNTIME_PARAMS_H

#include "backend/backend.h"
#include "base/array.h"

/* A matrix of a model: (rows, cols), row-major, ld floats from row to row. */
typedef struct cg_var cg_var;
struct cg_var {
    int rows, cols, ld;
    bool written; /* dx holds something; until then it counts as zero and its
                     memory holds anything. A view asks its base. */
    float *x;     /* device */
    float *dx;    /* device; NULL: no gradient is wanted */
    cg_var *base; /* whose memory this is a view of; NULL: its own */
};

typedef enum cg_init {
    CG_INIT_ZERO,
    CG_INIT_ONE,
    CG_INIT_FAN_IN, /* uniform in +-1 / sqrt(fan), as PyTorch's Linear */
} cg_init;

typedef struct cg_param {
    char *name; /* "gnn.0.weight" */
    cg_init init;
    int fan;        /* for FAN_IN */
    size_t offset;  /* floats into the block */
    cg_var var;     /* x: set by cg_params_place; dx: by cg_params_learn */
} cg_param;

typedef struct cg_params {
    cg_dev *dev;
    CG_ARRAY(cg_param) list;
    size_t n;       /* floats; matrices start at multiples of 16 */
    float *x;       /* (n) */
    float *dx;      /* (n); this and what follows only where it learns */
    float *moments; /* (2, n): m, then v */
    float *sumsq;   /* scalar of the device */
    int64_t step;   /* updates so far */
} cg_params;

void cg_params_init(cg_params *p, cg_dev *dev);
/* Declares a matrix; the name is copied and must be new. Returns its index:
 * before cg_params_place the list may move, afterwards &p->list.data[i].var
 * stays. */
size_t cg_params_add(cg_params *p, const char *name, int rows, int cols,
                     cg_init init, int fan);
/* Memory for the values, all zero, for who has them from elsewhere. Enough to
 * predict with: no gradient is wanted of any matrix. */
cg_err cg_params_place(cg_params *p);
/* Memory to learn in as well: gradients, and moments that are zero. Nothing
 * happens where there is some. */
cg_err cg_params_learn(cg_params *p);
/* Both, and draws initial values: parameter k from stream k of the seed, the
 * same on every machine. */
cg_err cg_params_alloc(cg_params *p, uint64_t seed);
void cg_params_free(cg_params *p); /* zeroed is fine, after an error too */

cg_var *cg_params_var(cg_params *p, size_t i);
cg_var *cg_params_find(cg_params *p, const char *name); /* NULL: none */
/* Forgets the gradients: nothing is `written`, so that the next layer writes
 * where it would have added. */
void cg_params_zero_grad(cg_params *p);
/* Puts zeros where no layer has written, so that the block dx can be read as a
 * whole; cg_params_step does. */
void cg_params_settle(cg_params *p);

/* One update by AdamW (backend/kernels.def); clip bounds the norm of the whole
 * block's gradient, 0: gradients as they are. What is x, moments and step
 * afterwards is all that a checkpoint needs to go on with the same bits. */
typedef struct cg_adamw {
    float lr, b1, b2, eps, decay, clip;
} cg_adamw;
void cg_params_step(cg_params *p, const cg_adamw *o);

/* The learning rate of step t (0 ..) of `total`: linear warm-up over `warmup`
 * steps (the first is lr / warmup), then constant, or half a cosine that
 * reaches 0 at t = total. */
float cg_schedule(float lr, int64_t t, int64_t total, int64_t warmup,
                  bool cosine);

#endif
