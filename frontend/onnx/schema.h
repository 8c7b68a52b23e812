/* Reading ONNX messages whatever schema they were compiled from (private to
 * frontend/onnx). Fields that an older schema lacks are found among the
 * unknown fields of the message, so no build is needed for a newer ONNX. */
#ifndef CG_FRONTEND_ONNX_SCHEMA_H
#define CG_FRONTEND_ONNX_SCHEMA_H

#include "base/arena.h"
#include "base/err.h"
#include "frontend/onnx/wire.h"
#include "onnx.pb-c.h"

/* Messages unpacked here live in `a`; freeing it frees them. */
cg_err cg_onnx_unpack(cg_arena *a, const unsigned char *data, size_t size,
                      Onnx__ModelProto **out);

/* Never NULL: "" when the field is absent. */
const char *cg_onnx_node_overload(cg_arena *a, const Onnx__NodeProto *n);
const char *cg_onnx_function_overload(cg_arena *a,
                                      const Onnx__FunctionProto *f);

/* Attributes of a function that have defaults, and its value_info. */
size_t cg_onnx_function_defaults(cg_arena *a, const Onnx__FunctionProto *f,
                                 Onnx__AttributeProto ***out);
size_t cg_onnx_function_values(cg_arena *a, const Onnx__FunctionProto *f,
                               Onnx__ValueInfoProto ***out);

/* What the skimmer left in the place of a large payload. */
bool cg_onnx_tensor_payload(const Onnx__TensorProto *t, cg_wire_payload *out);

#endif
