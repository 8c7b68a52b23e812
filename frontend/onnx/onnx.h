/* ONNX files in: https://onnx.ai, every opset; see docs/onnx.md.
 *
 * The file is mapped, never read whole: a skimmer (wire.c) walks the protobuf
 * wire format and hands protobuf-c a copy of the message without payloads
 * larger than 4 KiB, of which file, offset and length are kept. */
#ifndef CG_FRONTEND_ONNX_ONNX_H
#define CG_FRONTEND_ONNX_ONNX_H

#include "base/err.h"
#include "ir/graph.h"

typedef struct cg_input_shape {
    const char *name;
    int rank;
    int64_t dims[CG_MAX_RANK]; /* >= 0 */
} cg_input_shape;

#define CG_DIM_OPEN (-1)

typedef struct cg_dim_binding {
    const char *name; /* "*" binds every symbol that has no other binding */
    int64_t value; /* >= 0; CG_DIM_OPEN: stays symbolic, a batch too */
} cg_dim_binding;

typedef struct cg_onnx_opts {
    const cg_input_shape *shapes;
    size_t n_shapes;
    const cg_dim_binding *dims;
    size_t n_dims;
    bool strict;           /* unknown operators are errors */
    size_t max_nodes;      /* 0: 4 million, after inlining of functions */
    size_t max_skim_bytes; /* 0: 1 GiB of graph without payloads */
} cg_onnx_opts;

/* The graph of a model, its functions inlined and old spellings brought to
 * their current meaning, without shapes yet. `path` may be "-". The batch
 * (a symbolic first dim of an input that is named like a batch or has no
 * name) is 1 unless bound. The graph is the caller's. opts NULL: defaults. */
cg_err cg_import_onnx(const char *path, const cg_onnx_opts *opts,
                      cg_graph **out);
/* The same from memory; external data is looked for in `dir` (NULL: none). */
cg_err cg_import_onnx_memory(const void *data, size_t size, const char *dir,
                             const cg_onnx_opts *opts, cg_graph **out);

#endif
