/* onnx2cg's work on one model: read, run the passes, print or write. */
#ifndef CG_TOOLS_CONVERT_H
#define CG_TOOLS_CONVERT_H

#include "base/array.h"
#include "frontend/onnx/onnx.h"
#include "passes/passes.h"

typedef enum format { TABLE, STATS, SHAPES, CG, JSON, DOT, MODEL } format;

typedef struct options {
    CG_ARRAY(cg_input_shape) shapes;
    CG_ARRAY(cg_dim_binding) dims;
    CG_ARRAY(char *) files; /* heap strings */
    CG_ARRAY(char *) owned;
    cg_onnx_opts onnx;
    cg_facts wanted;
    format format;
    bool several, quiet, time, no_weights;
    const char *output;
    int print_after; /* pass, CG_PASS_COUNT: import, -1: none */
    int jobs;
} options;

/* What one model gives: text for stdout or a file, text for stderr. */
typedef struct result {
    char *out, *err;
    size_t out_len, err_len;
    bool failed, done;
} result;

/* Converts one file; never fails, the result says whether it did. The texts
 * are the caller's to free. */
void convert_model(const options *o, const char *file, result *r);

/* Where the output of one model among several goes: DIR/name.suffix; NULL:
 * out of memory. The caller frees it. */
char *convert_output_path(const options *o, const char *file);

#endif
