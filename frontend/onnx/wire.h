/* The skimmer: walks the protobuf wire format of a model and writes a copy
 * without what is not needed to know the graph (private to frontend/onnx).
 *
 * Only fields that the importer reads are copied. A tensor whose payload is
 * larger than 4 KiB loses it and says in field CG_WIRE_PAYLOAD_FIELD where it
 * was, so that only pages with headers are touched: a file of 10 GB costs what
 * its graph costs. protobuf-c has no guard against depth and copies all it is
 * given, therefore depth, counts, lengths and wire types are checked here. */
#ifndef CG_FRONTEND_ONNX_WIRE_H
#define CG_FRONTEND_ONNX_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define CG_WIRE_PAYLOAD_MAX 4096    /* bytes kept of a tensor */
#define CG_WIRE_NAME_MAX 65536      /* bytes of a name */
#define CG_WIRE_DEPTH_MAX 64        /* nested graphs */
#define CG_WIRE_PAYLOAD_FIELD 100001

/* A payload that was left out, in the byte order of this machine. */
typedef struct cg_wire_payload {
    uint64_t offset, length; /* bytes in the file; first piece, all pieces */
    uint64_t field;          /* TensorProto field: 9 is raw_data */
} cg_wire_payload;

typedef struct cg_wire_limits {
    size_t max_nodes, max_bytes;
} cg_wire_limits;

/* The reduced message, on the heap (cg_xfree). */
cg_err cg_wire_skim(const unsigned char *data, size_t size,
                    const cg_wire_limits *limits, unsigned char **out,
                    size_t *out_size);

#endif
