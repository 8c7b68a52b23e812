/* libFuzzer: whatever the bytes, the importer returns a sentence or a graph
 * that validates, and the passes do likewise. Seeds are the .onnx files below
 * tests/. External data is looked for nowhere. */
#include <stdint.h>
#include <stdlib.h>

#include "frontend/onnx/onnx.h"
#include "passes/passes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const cg_onnx_opts opts = {.max_nodes = 2000,
                                      .max_skim_bytes = 1 << 20};
    cg_graph *g;
    if (cg_import_onnx_memory(data, size, NULL, &opts, &g) != CG_OK)
        return 0;
    if (cg_graph_validate(g, NULL) != CG_OK)
        abort();
    cg_err err = cg_run_passes(g, CG_HAS(flops) | CG_HAS(hash), NULL);
    if (err == CG_OK)
        cg_run_passes(g, CG_HAS(fold_batchnorm) | CG_HAS(spectrum), NULL);
    cg_graph_free(g);
    return 0;
}
