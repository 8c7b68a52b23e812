/* A network as the learner sees it: tokens, edges, colours.
 *
 * The graph is that of cg_edges_make with BatchNorm folded (pass
 * fold_batchnorm); form FUSED also folds every activation behind a Conv,
 * Depthwise, ConvTranspose or MatMul that nothing else reads into that
 * operator's token. Nodes are in topological order. A *token* is all that a
 * node is apart from its edges. A *colour* of round r is what r rounds of
 * Weisfeiler-Leman refinement over in-neighbours know of a node: its token
 * (round 0), then its own colour and the multiset of its in-neighbours'
 * colours. Nodes of one colour have one state after as many layers of message
 * passing, so that a layer is computed once per colour. */
#ifndef CG_RUNTIME_FEATURES_H
#define CG_RUNTIME_FEATURES_H

#include <stdbool.h>
#include <stdint.h>

#include "ir/graph.h"

typedef enum cg_form {
    CG_FORM_FOLDED, /* "folded": BatchNorm */
    CG_FORM_FUSED,  /* "fused": BatchNorm and activations */
} cg_form;
const char *cg_form_name(cg_form f);
int cg_form_find(const char *name); /* -1: no such form */

/* Operators beyond ir/ops.def that a token can have. */
#define CG_TOKEN_INPUT CG_OP_COUNT
#define CG_TOKEN_OUTPUT (CG_OP_COUNT + 1)
#define CG_TOKEN_OPS (CG_OP_COUNT + 2)

/* Sizes that are not known (symbolic) are 0. Plain data without padding:
 * tokens are compared and hashed as bytes. */
typedef struct cg_token {
    uint16_t op;  /* cg_op, CG_TOKEN_INPUT or CG_TOKEN_OUTPUT */
    uint16_t act; /* activation folded into it; CG_TOKEN_OPS: none */
    uint16_t bias;      /* 0 or 1 */
    uint16_t rank;      /* of the first output; 0: not known */
    uint32_t in[3];     /* H, W, C: cg_node_in_hwc */
    uint32_t out[3];    /* H, W, C: cg_node_out_hwc, of `act` where folded */
    uint32_t weight[4]; /* kernel h, w, Cin/groups, Cout; 0: no weights */
    uint32_t kernel[2], stride[2], dilation[2], groups;
    uint32_t hw_max, c_max; /* largest H or W, and C, of the whole network */
    float macs;
} cg_token;

typedef struct cg_features {
    uint32_t n_nodes, n_edges;
    cg_token *token;  /* (n_nodes) */
    uint32_t *start;  /* (n_nodes + 1) in-edges of v: start[v] .. start[v+1] */
    uint32_t *pred;   /* (n_edges) sources, ascending for each v */
    /* Colours. Node v and the earlier node parent[v] agree in the colours of
     * the first level[v] rounds (0 .. level[v] - 1) and no earlier node agrees
     * longer; level 0: v's token is new; 255: they agree for ever. */
    uint32_t *parent; /* (n_nodes) */
    uint8_t *level;   /* (n_nodes) */
    double params, macs, flops; /* NAN: not known */
    uint64_t hash[2];      /* fact hash, 0 where absent */
    uint64_t topology[2];  /* of n_nodes, start and pred: same key, same
                              spectrum */
    bool has_spectrum;
    double spectrum[CG_SPECTRUM_LEN]; /* of these edges; the caller sets it */
} cg_features;

/* From a graph that has facts fold_batchnorm and flops (asserted); *f is
 * overwritten and freed with cg_features_free. A graph of more than 2^24
 * nodes, or a Loop whose cost is not known, is an error. */
cg_err cg_features_make(cg_features *f, cg_graph *g, cg_form form);
void cg_features_free(cg_features *f);

/* The first node that has v's colour of round `r`. */
static inline uint32_t cg_colour_leader(const uint32_t *parent,
                                        const uint8_t *level, uint32_t v,
                                        unsigned r)
{
    while (level[v] > r)
        v = parent[v];
    return v;
}

#endif
