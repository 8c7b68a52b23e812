/* The networks that look at networks: parameters declared once, run on a tape
 * as often as wanted. Declared parameters are known by index, so that a net is
 * plain data; `prefix` starts their names ("cl.gnn" gives "cl.gnn.0.weight").
 * Equations: docs/learner.md. */
#ifndef CG_RUNTIME_NETS_H
#define CG_RUNTIME_NETS_H

#include "runtime/batch.h"
#include "runtime/params.h"
#include "runtime/tape.h"

#define CG_NET_LAYERS 16

/* Linear layers with ReLU between them: in -> hidden x (layers - 1) -> out. */
typedef struct cg_mlp {
    int layers;
    size_t w[CG_NET_LAYERS], b[CG_NET_LAYERS];
} cg_mlp;
void cg_mlp_declare(cg_mlp *m, cg_params *p, const char *prefix, int in,
                    int hidden, int layers, int out);
cg_var *cg_mlp_forward(const cg_mlp *m, cg_params *p, cg_tape *t, cg_var *x);

/* Message passing, ReLU after every layer, the mean over the nodes. GIN's
 * layer is linear, ReLU, linear, ReLU. `residual` adds what a node was before
 * the layer, where widths agree; `norm` is LayerNorm after that. */
typedef struct cg_gnn {
    cg_message message;
    int layers;
    bool residual, norm;
    size_t norm_g[CG_NET_LAYERS], norm_b[CG_NET_LAYERS];
    size_t w[CG_NET_LAYERS], b[CG_NET_LAYERS];
    size_t w2[CG_NET_LAYERS], b2[CG_NET_LAYERS]; /* GIN */
} cg_gnn;
void cg_gnn_declare(cg_gnn *g, cg_params *p, const char *prefix,
                    cg_message message, int in, int width, int layers,
                    bool residual, bool norm);
/* (graphs * copies, width) from x (batch->n_states[0], in). The batch has as
 * many rounds as the net has layers, its message, and `self` for residual. */
cg_var *cg_gnn_forward(const cg_gnn *g, cg_params *p, cg_tape *t,
                       const cg_batch *b, cg_var *x);

/* One Transformer encoder layer over the distinct tokens of a graph (post-norm,
 * as PyTorch's TransformerEncoderLayer), the mean over the nodes. */
typedef struct cg_transformer {
    int heads;
    float dropout;
    size_t up_w, up_b, qkv_w, qkv_b, out_w, out_b, ff1_w, ff1_b, ff2_w, ff2_b;
    size_t norm1_g, norm1_b, norm2_g, norm2_b;
} cg_transformer;
void cg_transformer_declare(cg_transformer *f, cg_params *p,
                            const char *prefix, int in, int width, int heads,
                            int ffn, float dropout);
/* (graphs * copies, width) from x (batch->n_states[0], in). */
cg_var *cg_transformer_forward(const cg_transformer *f, cg_params *p,
                               cg_tape *t, const cg_batch *b, cg_var *x);

#endif
