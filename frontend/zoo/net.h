/* Building networks: what families write their cells with.
 *
 * Tensors are f32 (1, C, H, W) with their channel axis known, matrices (1, C).
 * A tensor is an operand: a value, or a view of one (a slice). An operand
 * without value is a zero tensor (an operator that reads only zeros makes none
 * and gives a zero again), so that networks with `none` come out live; what a
 * layer would have cost is counted all the same, in the *_full counts.
 *
 * Padding is "same": output = ceil(input / stride), written out as explicit
 * pads d*(k-1)/2 on both sides unless said otherwise. Every call makes nodes
 * of its own; equal ones are merged by pass simplify, not here. Weights are
 * constants without content, named after their node. */
#ifndef CG_FRONTEND_ZOO_NET_H
#define CG_FRONTEND_ZOO_NET_H

#include "ir/graph.h"

/* A window: kernel, stride, dilation by (h, w). */
typedef struct cg_window {
    int kh, kw, sh, sw, dh, dw;
} cg_window;

typedef struct cg_net {
    cg_graph *graph;
    int64_t adds_binary; /* sum over live Adds of terms - 1 */
    int64_t slices;      /* live ones */
    int64_t params_full, macs_full; /* of all layers, live or not */
    /* nodes whose attributes others share, by window */
    struct {
        cg_window window;
        int groups; /* 0: a pool, -1: one without padding */
        const cg_node *node;
    } seen[16];
    int n_seen;
} cg_net;

typedef cg_operand cg_t;

cg_window cg_square(int kernel, int stride);

void cg_net_begin(cg_net *net, const char *name);
cg_t cg_net_input(cg_net *net, int h, int w, int c);
/* The graph's output; sweeps dead nodes. A zero tensor is an error: "the
 * output does not depend on the input". All types and channel axes are set:
 * who builds many graphs can mark passes shapes and hwc as done. */
cg_err cg_net_output(cg_net *net, cg_t x);

int cg_channels(cg_t x); /* of a live or zero tensor */
int cg_height(cg_t x);
int cg_width(cg_t x);
bool cg_is_zero(cg_t x);

cg_t cg_zero(cg_net *net, cg_t like); /* a zero tensor of that shape */
cg_t cg_conv(cg_net *net, cg_t x, int cout, cg_window w, bool bias);
cg_t cg_depthwise(cg_net *net, cg_t x, cg_window w, bool bias);
cg_t cg_batchnorm(cg_net *net, cg_t x);
/* RELU, RELU6, HARDSWISH, HARDSIGMOID ... */
cg_t cg_activate(cg_net *net, cg_t x, cg_op op);
cg_t cg_maxpool(cg_net *net, cg_t x, cg_window w);
cg_t cg_maxpool_valid(cg_net *net, cg_t x, cg_window w); /* no padding */
cg_t cg_avgpool(cg_net *net, cg_t x, cg_window w); /* padding not counted */
cg_t cg_avgpool_valid(cg_net *net, cg_t x, cg_window w);
/* Zero terms are left out; one term that is left is no node. */
cg_t cg_add(cg_net *net, const cg_t *terms, size_t n);
cg_t cg_add2(cg_net *net, cg_t a, cg_t b);
cg_t cg_mul(cg_net *net, cg_t a, cg_t b);
/* Of one tensor: no node. A zero tensor among live ones is a constant, which
 * keeps the width; all zero: zero. */
cg_t cg_concat(cg_net *net, const cg_t *parts, size_t n);
cg_t cg_slice_channels(cg_net *net, cg_t x, int channels); /* the first ones */
cg_t cg_slice_origin(cg_net *net, cg_t x); /* without first row and column */
cg_t cg_mean(cg_net *net, cg_t x);         /* (1, C, 1, 1) */
cg_t cg_linear(cg_net *net, cg_t x, int cout); /* MatMul with bias, (1, cout) */

/* Short forms of the families' papers. */
cg_t cg_cb(cg_net *net, cg_t x, int cout, cg_window w);   /* Conv, BatchNorm */
cg_t cg_cbr(cg_net *net, cg_t x, int cout, cg_window w);  /* ... ReLU */
cg_t cg_cb6(cg_net *net, cg_t x, int cout, cg_window w);  /* ... ReLU6 */
cg_t cg_rcb(cg_net *net, cg_t x, int cout, cg_window w);  /* ReLU, Conv, BN */

/* max(8, floor((v + 4) / 8) * 8), 8 more if under 0.9 v. v in hundredths. */
int cg_make_divisible(int64_t hundredths);

#endif
