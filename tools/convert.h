/* onnx2cg's work on one model: read, run the passes, print or write. */
#ifndef CG_TOOLS_CONVERT_H
#define CG_TOOLS_CONVERT_H

#include "base/array.h"
#include "frontend/onnx/onnx.h"
#include "passes/passes.h"
#include "tools/pack.h"

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
    bool pack; /* into one data set, by the table pack_opts.labels */
    pack_options pack_opts;
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

/* Reads a model, or a .cg text. */
cg_err convert_load(const options *o, const char *path, cg_graph **g);
/* With --strict: whether everything of the graph is known. */
cg_err convert_check(const options *o, cg_graph *g);
/* Whether its FLOPs are known, on which every prediction rests. */
cg_err convert_check_flops(cg_graph *g);

/* Packs the models that rows of the table name by column `file`: a path from
 * one of the directories among `inputs`, or from the table's. Where there are
 * files among the inputs, others are left out. */
cg_err pack_models(const options *o, char *const *inputs, size_t n);

/* Where the output of one model among several goes: DIR/name.suffix; NULL:
 * out of memory. The caller frees it. */
char *convert_output_path(const options *o, const char *file);

#endif
