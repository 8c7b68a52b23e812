#include "frontend/onnx/schema.h"

#include <string.h>

enum { /* field numbers that a schema may lack */
    NODE_OVERLOAD = 8,
    FUNCTION_ATTRIBUTE_PROTO = 11,
    FUNCTION_VALUE_INFO = 12,
    FUNCTION_OVERLOAD = 13,
};

static void *arena_alloc(void *a, size_t size)
{
    return cg_arena_alloc(a, size);
}

static void arena_free(void *a, void *p)
{
    (void)a;
    (void)p;
}

static ProtobufCAllocator allocator(cg_arena *a)
{
    return (ProtobufCAllocator){arena_alloc, arena_free, a};
}

cg_err cg_onnx_unpack(cg_arena *a, const unsigned char *data, size_t size,
                      Onnx__ModelProto **out)
{
    ProtobufCAllocator in = allocator(a);
    *out = onnx__model_proto__unpack(&in, size, data);
    if (!*out)
        return cg_fail(CG_EFORMAT, "not an ONNX model: the message is not "
                                   "what the schema says");
    return CG_OK;
}

static const ProtobufCFieldDescriptor *field(const ProtobufCMessage *m,
                                             unsigned number)
{
    return protobuf_c_message_descriptor_get_field(m->descriptor, number);
}

static const void *member(const ProtobufCMessage *m, size_t offset)
{
    return (const char *)m + offset;
}

/* Bytes of an unknown length-delimited field, its length prefix skipped. */
static const uint8_t *unknown_bytes(const ProtobufCMessageUnknownField *u,
                                    size_t *len)
{
    size_t skip = 0;
    while (skip < u->len && u->data[skip] & 0x80)
        skip++;
    skip = skip < u->len ? skip + 1 : u->len;
    *len = u->len - skip;
    return u->data + skip;
}

static const ProtobufCMessageUnknownField *
next_unknown(const ProtobufCMessage *m, unsigned number, size_t *at)
{
    for (; *at < m->n_unknown_fields; ++*at) {
        const ProtobufCMessageUnknownField *u = &m->unknown_fields[*at];
        if (u->tag == number &&
            u->wire_type == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED) {
            ++*at;
            return u;
        }
    }
    return NULL;
}

static const char *text(cg_arena *a, const ProtobufCMessage *m,
                        unsigned number)
{
    const ProtobufCFieldDescriptor *f = field(m, number);
    if (f) {
        const char *s = *(char *const *)member(m, f->offset);
        return s ? s : "";
    }
    size_t at = 0, len = 0;
    const ProtobufCMessageUnknownField *u = next_unknown(m, number, &at);
    if (!u)
        return "";
    const uint8_t *s = unknown_bytes(u, &len);
    return cg_arena_strndup(a, (const char *)s, len);
}

static size_t messages(cg_arena *a, const ProtobufCMessage *m, unsigned number,
                       const ProtobufCMessageDescriptor *kind, void ***out)
{
    const ProtobufCFieldDescriptor *f = field(m, number);
    if (f) {
        *out = *(void **const *)member(m, f->offset);
        return *(const size_t *)member(m, f->quantifier_offset);
    }
    *out = cg_arena_array(a, void *, m->n_unknown_fields);
    ProtobufCAllocator in = allocator(a);
    const ProtobufCMessageUnknownField *u;
    size_t n = 0, at = 0;
    while ((u = next_unknown(m, number, &at))) {
        size_t len;
        const uint8_t *s = unknown_bytes(u, &len);
        void *sub = protobuf_c_message_unpack(kind, &in, len, s);
        if (sub)
            (*out)[n++] = sub;
    }
    return n;
}

const char *cg_onnx_node_overload(cg_arena *a, const Onnx__NodeProto *n)
{
    return text(a, &n->base, NODE_OVERLOAD);
}

const char *cg_onnx_function_overload(cg_arena *a,
                                      const Onnx__FunctionProto *f)
{
    return text(a, &f->base, FUNCTION_OVERLOAD);
}

size_t cg_onnx_function_defaults(cg_arena *a, const Onnx__FunctionProto *f,
                                 Onnx__AttributeProto ***out)
{
    return messages(a, &f->base, FUNCTION_ATTRIBUTE_PROTO,
                    &onnx__attribute_proto__descriptor, (void ***)out);
}

size_t cg_onnx_function_values(cg_arena *a, const Onnx__FunctionProto *f,
                               Onnx__ValueInfoProto ***out)
{
    return messages(a, &f->base, FUNCTION_VALUE_INFO,
                    &onnx__value_info_proto__descriptor, (void ***)out);
}

bool cg_onnx_tensor_payload(const Onnx__TensorProto *t, cg_wire_payload *out)
{
    size_t at = 0, len = 0;
    const ProtobufCMessageUnknownField *u =
        next_unknown(&t->base, CG_WIRE_PAYLOAD_FIELD, &at);
    if (!u)
        return false;
    const uint8_t *s = unknown_bytes(u, &len);
    if (len != sizeof *out)
        return false;
    memcpy(out, s, sizeof *out);
    return true;
}
