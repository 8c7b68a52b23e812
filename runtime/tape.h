/* Forward and back: layers run at once and are written on a tape, which is
 * then run backwards.
 *
 *     cg_tape_begin(&t, dev, true, key);         // resets the workspace
 *     cg_var *h = cg_tape_linear(&t, x, w, b, CG_ACT_RELU);
 *     cg_tape_mse(&t, y, target, 1);             // adds to *t.loss
 *     cg_tape_backward(&t);                      // gradients of parameters +=
 *
 * A layer is a row of runtime/layers.def and the pair cg_x_fwd, cg_x_bwd;
 * variables live in the device's workspace until the next begin. A layer none
 * of whose inputs wants a gradient is not written down. Without `train` nothing
 * is kept, gradients are not asked for, and dropout passes its input on.
 *
 * The gradient of a variable that several layers read is their sum, taken from
 * the last layer to the first. The way back spends what it has read: of the
 * variables between, dx holds no gradient afterwards. */
#ifndef CG_RUNTIME_TAPE_H
#define CG_RUNTIME_TAPE_H

#include "base/rng.h"
#include "runtime/params.h"

typedef enum cg_layer {
#define CG_LAYER(name) CG_LAYER_##name,
#include "runtime/layers.def"
#undef CG_LAYER
    CG_LAYER_COUNT
} cg_layer;

/* One layer that ran: what its way back needs. */
typedef struct cg_step {
    cg_layer layer;
    cg_var *in[4], *out;
    const void *aux[2]; /* sparse matrix, groups, target: the caller's, kept
                           until the tape has run back */
    bool keep;         /* the way back will be asked for */
    float *save[2];
    float f[2];
    int i[2];
    cg_act act;
    uint64_t key;
} cg_step;

typedef struct cg_tape {
    cg_dev *dev;
    bool train;
    cg_rng keys;       /* of dropout; each takes the next */
    float weight;      /* of all losses; begin sets it to 1 */
    float *loss;       /* device scalar: sum of the losses so far */
    CG_ARRAY(cg_step) steps;
    CG_ARRAY(cg_var *) vars; /* heap, freed by the next begin */
} cg_tape;             /* zero it to start */

/* `key`: another one for each step; two tapes that run the same layers with
 * one key drop the same elements. */
void cg_tape_begin(cg_tape *t, cg_dev *dev, bool train, uint64_t key);
void cg_tape_backward(cg_tape *t); /* once for each begin */
void cg_tape_free(cg_tape *t);

/* A fresh variable in the workspace, of any content; with a gradient when
 * `grad` and the tape trains. */
cg_var *cg_tape_var(cg_tape *t, int rows, int cols, bool grad);
/* Device memory as a variable without gradient. */
cg_var *cg_tape_input(cg_tape *t, const float *x, int rows, int cols);
/* The same elements in another shape (contiguous ones), or some columns: views,
 * nothing is copied. */
cg_var *cg_tape_reshape(cg_tape *t, cg_var *x, int rows, int cols);
cg_var *cg_tape_columns(cg_tape *t, cg_var *x, int first, int cols);

/* Groups of distinct tokens for attention, device memory (kernels.def). */
typedef struct cg_groups {
    int n, n_tokens;
    int64_t n_square;       /* sum of squares of the groups' sizes */
    const int32_t *start;   /* (n + 1) */
    const int64_t *square;  /* (n) */
    const int32_t *row;     /* (n_tokens) row of qkv each token reads */
    const float *count;     /* (n_tokens) */
} cg_groups;

/* -- layers --------------------------------------------------------------- */

/* act(x w + b); w (in, out), b (1, out) or NULL. */
cg_var *cg_tape_linear(cg_tape *t, cg_var *x, cg_var *w, cg_var *b,
                       cg_act act);
/* act(s x + b): message passing, gathering, pooling by s. */
cg_var *cg_tape_propagate(cg_tape *t, const cg_csr *s, cg_var *x, cg_var *b,
                          cg_act act);
cg_var *cg_tape_layernorm(cg_tape *t, cg_var *x, cg_var *gamma, cg_var *beta);
cg_var *cg_tape_dropout(cg_tape *t, cg_var *x, float p);
/* (n_tokens, heads * dim) from qkv (n, 3 * heads * dim); `row` (n_tokens, n)
 * holds one 1 in each row, at g->row. */
cg_var *cg_tape_attention(cg_tape *t, const cg_groups *g, const cg_csr *row,
                          cg_var *qkv, int heads, float p);
cg_var *cg_tape_add(cg_tape *t, cg_var *a, cg_var *b);
/* columns side by side */
cg_var *cg_tape_concat(cg_tape *t, cg_var *a, cg_var *b);
cg_var *cg_tape_l2norm(cg_tape *t, cg_var *x);
/* act(x_j w_j + b_j) for each of `heads`: x (n, in) where `shared` by all, else
 * (heads * n, in); w (heads * in, out), b (heads, out) or NULL;
 * (heads * n, out). */
cg_var *cg_tape_heads(cg_tape *t, int heads, bool shared, cg_var *x, cg_var *w,
                      cg_var *b, cg_act act);
/* sum_j u_j f_j: u (n, heads) without gradient, f (heads * n, cols). */
cg_var *cg_tape_mix(cg_tape *t, cg_var *u, cg_var *f);

/* Losses (backend/kernels.def): weight times the value is added to *t->loss.
 * Targets are device memory, as many as y has elements. cg_tape_contrast takes
 * unit rows z (2N, dim) and alpha (2N, 2N). */
void cg_tape_contrast(cg_tape *t, cg_var *z, const float *alpha, float tau,
                      float weight);
void cg_tape_mse(cg_tape *t, cg_var *y, const float *target, float weight);
void cg_tape_huber(cg_tape *t, cg_var *y, const float *target, float delta,
                   float weight);
void cg_tape_logistic(cg_tape *t, cg_var *y, const float *target, float weight);

#endif
