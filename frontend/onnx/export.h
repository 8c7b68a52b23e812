/* ONNX files out: any graph as a model that onnxruntime runs and that comes
 * back through cg_import_onnx with the same hash; see docs/onnx.md. */
#ifndef CG_FRONTEND_ONNX_EXPORT_H
#define CG_FRONTEND_ONNX_EXPORT_H

#include <stdio.h>

#include "base/err.h"
#include "ir/graph.h"

typedef struct cg_export_opts {
    bool no_weights; /* weights have type and dims, but no elements */
    uint64_t seed;   /* of the weights, which are random */
    /* Equal operators on equal inputs have been merged (pass simplify): two
     * nodes that still look alike read different parts of a tensor, and are
     * written so that they stay two. */
    bool merged;
} cg_export_opts;

/* Writes g, whose shapes are known, to f: weights are made while they are
 * written, so memory is that of the graph. What ONNX has no operator for
 * (Control) or no dims for is an error that names the node; f then holds
 * nothing. opts NULL: zeros. */
cg_err cg_export_onnx(FILE *f, cg_graph *g, const cg_export_opts *opts);

#endif
