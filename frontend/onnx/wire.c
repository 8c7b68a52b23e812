#include "frontend/onnx/wire.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"

typedef enum wire_type {
    VARINT, FIXED64, BYTES, GROUP, END, FIXED32,
} wire_type;

static const char *const wire_names[] = {
    "varint", "64-bit", "length-delimited", "group", "group", "32-bit",
    "undefined", "undefined"};

typedef enum field_kind {
    K_INT,     /* one varint */
    K_FLOAT,   /* one 32-bit */
    K_NAME,    /* identifier: limited, no NUL */
    K_TEXT,    /* any bytes; left out over the limit of names */
    K_INTS,    /* varints, packed or not */
    K_FLOATS,  /* 32-bit, packed or not */
    K_MESSAGE, /* any number of them */
    K_ONE,     /* at most one */
    K_RAW,     /* payload of a tensor: bytes, */
    K_PAY_32,  /* 32-bit, 64-bit, varints: packed or not, */
    K_PAY_64,
    K_PAY_INT,
    K_PAY_TEXT, /* strings */
} field_kind;

typedef enum message_kind {
    MODEL, OPSET, GRAPH, NODE, ATTRIBUTE, TENSOR, SPARSE, VALUE_INFO, TYPE,
    TENSOR_TYPE, ELEM_TYPE, MAP_TYPE, SHAPE, DIM, FUNCTION, ENTRY,
} message_kind;

typedef struct field {
    const char *name;
    uint32_t number;
    field_kind kind;
    message_kind sub; /* K_MESSAGE, K_ONE */
} field;

static const field model_fields[] = {
    {"ir_version", 1, K_INT}, {"producer_name", 2, K_NAME},
    {"producer_version", 3, K_NAME}, {"graph", 7, K_ONE, GRAPH},
    {"opset_import", 8, K_MESSAGE, OPSET},
    {"functions", 25, K_MESSAGE, FUNCTION}, {0}};
static const field opset_fields[] = {
    {"domain", 1, K_NAME}, {"version", 2, K_INT}, {0}};
static const field graph_fields[] = {
    {"node", 1, K_MESSAGE, NODE}, {"name", 2, K_NAME},
    {"initializer", 5, K_MESSAGE, TENSOR},
    {"input", 11, K_MESSAGE, VALUE_INFO},
    {"output", 12, K_MESSAGE, VALUE_INFO},
    {"value_info", 13, K_MESSAGE, VALUE_INFO},
    {"sparse_initializer", 15, K_MESSAGE, SPARSE}, {0}};
static const field node_fields[] = {
    {"input", 1, K_NAME}, {"output", 2, K_NAME}, {"name", 3, K_NAME},
    {"op_type", 4, K_NAME}, {"attribute", 5, K_MESSAGE, ATTRIBUTE},
    {"domain", 7, K_NAME}, {"overload", 8, K_NAME}, {0}};
static const field attribute_fields[] = {
    {"name", 1, K_NAME}, {"f", 2, K_FLOAT}, {"i", 3, K_INT}, {"s", 4, K_TEXT},
    {"t", 5, K_ONE, TENSOR}, {"g", 6, K_ONE, GRAPH},
    {"floats", 7, K_FLOATS}, {"ints", 8, K_INTS}, {"strings", 9, K_TEXT},
    {"tensors", 10, K_MESSAGE, TENSOR}, {"graphs", 11, K_MESSAGE, GRAPH},
    {"tp", 14, K_ONE, TYPE}, {"type_protos", 15, K_MESSAGE, TYPE},
    {"type", 20, K_INT}, {"ref_attr_name", 21, K_NAME},
    {"sparse_tensor", 22, K_ONE, SPARSE},
    {"sparse_tensors", 23, K_MESSAGE, SPARSE}, {0}};
static const field tensor_fields[] = {
    {"dims", 1, K_INTS}, {"data_type", 2, K_INT}, {"float_data", 4, K_PAY_32},
    {"int32_data", 5, K_PAY_INT}, {"string_data", 6, K_PAY_TEXT},
    {"int64_data", 7, K_PAY_INT}, {"name", 8, K_NAME}, {"raw_data", 9, K_RAW},
    {"double_data", 10, K_PAY_64}, {"uint64_data", 11, K_PAY_INT},
    {"external_data", 13, K_MESSAGE, ENTRY}, {"data_location", 14, K_INT},
    {0}};
static const field sparse_fields[] = {
    {"values", 1, K_ONE, TENSOR}, {"indices", 2, K_ONE, TENSOR},
    {"dims", 3, K_INTS}, {0}};
static const field value_info_fields[] = {
    {"name", 1, K_NAME}, {"type", 2, K_ONE, TYPE}, {0}};
static const field type_fields[] = {
    {"tensor_type", 1, K_ONE, TENSOR_TYPE},
    {"sequence_type", 4, K_ONE, ELEM_TYPE},
    {"map_type", 5, K_ONE, MAP_TYPE},
    {"sparse_tensor_type", 8, K_ONE, TENSOR_TYPE},
    {"optional_type", 9, K_ONE, ELEM_TYPE}, {0}};
static const field tensor_type_fields[] = {
    {"elem_type", 1, K_INT}, {"shape", 2, K_ONE, SHAPE}, {0}};
static const field elem_type_fields[] = {
    {"elem_type", 1, K_ONE, TYPE}, {0}};
static const field map_type_fields[] = {
    {"key_type", 1, K_INT}, {"value_type", 2, K_ONE, TYPE}, {0}};
static const field shape_fields[] = {{"dim", 1, K_MESSAGE, DIM}, {0}};
static const field dim_fields[] = {
    {"dim_value", 1, K_INT}, {"dim_param", 2, K_NAME}, {0}};
static const field function_fields[] = {
    {"name", 1, K_NAME}, {"input", 4, K_NAME}, {"output", 5, K_NAME},
    {"attribute", 6, K_NAME}, {"node", 7, K_MESSAGE, NODE},
    {"opset_import", 9, K_MESSAGE, OPSET}, {"domain", 10, K_NAME},
    {"attribute_proto", 11, K_MESSAGE, ATTRIBUTE},
    {"value_info", 12, K_MESSAGE, VALUE_INFO}, {"overload", 13, K_NAME}, {0}};
static const field entry_fields[] = {
    {"key", 1, K_NAME}, {"value", 2, K_NAME}, {0}};

static const struct {
    const char *name;
    const field *fields;
} messages[] = {
    [MODEL] = {"ModelProto", model_fields},
    [OPSET] = {"OperatorSetIdProto", opset_fields},
    [GRAPH] = {"GraphProto", graph_fields},
    [NODE] = {"NodeProto", node_fields},
    [ATTRIBUTE] = {"AttributeProto", attribute_fields},
    [TENSOR] = {"TensorProto", tensor_fields},
    [SPARSE] = {"SparseTensorProto", sparse_fields},
    [VALUE_INFO] = {"ValueInfoProto", value_info_fields},
    [TYPE] = {"TypeProto", type_fields},
    [TENSOR_TYPE] = {"TypeProto.Tensor", tensor_type_fields},
    [ELEM_TYPE] = {"TypeProto.Sequence", elem_type_fields},
    [MAP_TYPE] = {"TypeProto.Map", map_type_fields},
    [SHAPE] = {"TensorShapeProto", shape_fields},
    [DIM] = {"TensorShapeProto.Dimension", dim_fields},
    [FUNCTION] = {"FunctionProto", function_fields},
    [ENTRY] = {"StringStringEntryProto", entry_fields},
};

typedef struct walker {
    const unsigned char *base;
    const cg_wire_limits *limits;
    CG_ARRAY(unsigned char) out;
    size_t nodes, messages;
    int graphs, depth; /* open graphs, open messages */
} walker;

/* One field of a message, as it lies in the file. */
typedef struct item {
    const field *field; /* NULL: one that is not copied */
    uint32_t number;
    wire_type wire;
    const unsigned char *tag, *data, *end; /* end: behind the field */
} item;

static cg_err bad(const walker *w, const unsigned char *at,
                  message_kind message, const item *it, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

static cg_err bad(const walker *w, const unsigned char *at,
                  message_kind message, const item *it, const char *fmt, ...)
{
    char what[200], which[80];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    const char *name = messages[message].name;
    if (it && it->field)
        snprintf(which, sizeof which, "%s.%s", name, it->field->name);
    else if (it)
        snprintf(which, sizeof which, "field %u of %s", it->number, name);
    else
        snprintf(which, sizeof which, "%s", name);
    return cg_fail(CG_EFORMAT, "not an ONNX model: %s at byte %zu %s", which,
                   (size_t)(at - w->base), what);
}

/* -- reading ------------------------------------------------------------- */

/* The end of the varint at p, NULL if it does not end in 10 bytes. */
static const unsigned char *varint(const unsigned char *p,
                                   const unsigned char *end, uint64_t *v)
{
    *v = 0;
    for (int shift = 0; shift < 70 && p < end; shift += 7, p++) {
        *v |= (uint64_t)(*p & 0x7f) << shift;
        if (!(*p & 0x80))
            return p + 1;
    }
    return NULL;
}

static const field *find_field(message_kind message, uint32_t number)
{
    for (const field *f = messages[message].fields; f->name; f++)
        if (f->number == number)
            return f;
    return NULL;
}

static cg_err read_length(walker *w, message_kind message, item *it,
                          const unsigned char *end)
{
    uint64_t len;
    const unsigned char *p = varint(it->data, end, &len);
    if (!p)
        return bad(w, it->tag, message, it, "has no length (file cut short?)");
    if (len > (size_t)(end - p))
        return bad(w, it->tag, message, it,
                   "claims %llu bytes where %zu are left (file cut short?)",
                   (unsigned long long)len, (size_t)(end - p));
    it->data = p;
    it->end = p + len;
    return CG_OK;
}

static cg_err read_item(walker *w, message_kind message,
                        const unsigned char **p, const unsigned char *end,
                        item *it)
{
    uint64_t v;
    *it = (item){.tag = *p};
    it->data = varint(*p, end, &v);
    if (!it->data || v >> 3 == 0 || v >> 32)
        return bad(w, *p, message, NULL,
                   it->data ? "has an invalid field" : "is cut short");
    it->number = (uint32_t)(v >> 3);
    it->wire = (wire_type)(v & 7);
    it->field = find_field(message, it->number);
    size_t left = (size_t)(end - it->data);
    it->end = NULL;
    if (it->wire == BYTES)
        CG_TRY(read_length(w, message, it, end));
    else if (it->wire == VARINT)
        it->end = varint(it->data, end, &v);
    else if (it->wire == FIXED32 || it->wire == FIXED64)
        it->end = left >= (it->wire == FIXED32 ? 4u : 8u)
                      ? it->data + (it->wire == FIXED32 ? 4 : 8)
                      : NULL;
    else
        return bad(w, *p, message, it, "has wire type %d (%s)", it->wire,
                   wire_names[it->wire]);
    if (!it->end)
        return bad(w, *p, message, it, "is cut short");
    *p = it->end;
    return CG_OK;
}

/* The wire type of single elements of a kind; lists may also be packed. */
static const struct {
    wire_type single;
    bool list;
} kinds[] = {
    [K_INT] = {VARINT, false},    [K_FLOAT] = {FIXED32, false},
    [K_NAME] = {BYTES, false},    [K_TEXT] = {BYTES, false},
    [K_INTS] = {VARINT, true},    [K_FLOATS] = {FIXED32, true},
    [K_MESSAGE] = {BYTES, false}, [K_ONE] = {BYTES, false},
    [K_RAW] = {BYTES, false},     [K_PAY_32] = {FIXED32, true},
    [K_PAY_64] = {FIXED64, true}, [K_PAY_INT] = {VARINT, true},
    [K_PAY_TEXT] = {BYTES, false},
};

/* Packed lists must be whole elements, or protobuf-c refuses them wordless. */
static bool packed_whole(wire_type single, const unsigned char *p,
                         const unsigned char *end)
{
    size_t len = (size_t)(end - p);
    if (single != VARINT)
        return len % (single == FIXED32 ? 4 : 8) == 0;
    uint64_t v;
    while (p && p < end)
        p = varint(p, end, &v);
    return p != NULL;
}

static cg_err check_wire(const walker *w, message_kind message, const item *it)
{
    wire_type single = kinds[it->field->kind].single;
    if (it->wire == single ||
        (it->wire == BYTES && kinds[it->field->kind].list))
        return CG_OK;
    return bad(w, it->tag, message, it, "has wire type %s, must be %s",
               wire_names[it->wire], wire_names[single]);
}

/* -- writing ------------------------------------------------------------- */

static cg_err put(walker *w, const void *p, size_t n)
{
    if (n > w->limits->max_bytes ||
        w->out.len > w->limits->max_bytes - n)
        return cg_fail(CG_ELIMIT, "the graph without its weights is more than "
                       "%zu MiB", w->limits->max_bytes >> 20);
    size_t want = w->out.len + n;
    if (want > w->out.cap)
        cg_array_reserve(&w->out, want > 4096 ? want : 4096);
    if (n)
        memcpy(w->out.data + w->out.len, p, n);
    w->out.len = want;
    return CG_OK;
}

static size_t encode(unsigned char *to, uint64_t v)
{
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        to[n++] = (unsigned char)(v | 0x80);
    to[n++] = (unsigned char)v;
    return n;
}

static cg_err put_tag(walker *w, uint32_t number, wire_type wire, uint64_t len)
{
    unsigned char head[20];
    size_t n = encode(head, (uint64_t)number << 3 | wire);
    if (wire == BYTES)
        n += encode(head + n, len);
    return put(w, head, n);
}

static cg_err put_item(walker *w, const item *it)
{
    size_t len = (size_t)(it->end - it->data);
    CG_TRY(put_tag(w, it->number, it->wire, len));
    return put(w, it->data, len);
}

/* -- walking ------------------------------------------------------------- */

static cg_err walk(walker *w, message_kind message, const unsigned char *p,
                   const unsigned char *end);

static cg_err enter(walker *w, message_kind message, const unsigned char *at)
{
    const cg_wire_limits *limit = w->limits;
    if (message == GRAPH && w->graphs >= CG_WIRE_DEPTH_MAX)
        return cg_fail(CG_ELIMIT, "graphs are nested more than %d deep",
                       CG_WIRE_DEPTH_MAX);
    /* graph, node, attribute, and a few for what hangs on them */
    if (w->depth >= 4 * CG_WIRE_DEPTH_MAX)
        return bad(w, at, message, NULL, "is nested too deep");
    if (message == NODE && ++w->nodes > limit->max_nodes)
        return cg_fail(CG_ELIMIT, "more than %zu nodes", limit->max_nodes);
    if (++w->messages / 16 > limit->max_nodes + 65536)
        return cg_fail(CG_ELIMIT, "more than %zu messages", w->messages - 1);
    w->graphs += message == GRAPH;
    w->depth++;
    return CG_OK;
}

/* A message whose length is known only afterwards: its prefix is a varint
 * padded to five bytes, so that one pass is enough. */
static cg_err put_message(walker *w, const item *it)
{
    message_kind sub = it->field->sub;
    unsigned char tag[10], pad[5] = {0x80, 0x80, 0x80, 0x80, 0};
    CG_TRY(enter(w, sub, it->tag));
    CG_TRY(put(w, tag, encode(tag, (uint64_t)it->number << 3 | BYTES)));
    size_t at = w->out.len;
    CG_TRY(put(w, pad, 5));
    CG_TRY(walk(w, sub, it->data, it->end));
    size_t len = w->out.len - at - 5;
    for (int i = 0; i < 5; i++)
        w->out.data[at + i] |= (unsigned char)(len >> (7 * i) & 0x7f);
    w->graphs -= sub == GRAPH;
    w->depth--;
    return CG_OK;
}

static cg_err put_name(walker *w, message_kind message, const item *it)
{
    size_t len = (size_t)(it->end - it->data);
    if (len > CG_WIRE_NAME_MAX)
        return cg_fail(CG_ELIMIT, "%s.%s at byte %zu is %zu bytes long, the "
                       "limit is %d", messages[message].name, it->field->name,
                       (size_t)(it->tag - w->base), len, CG_WIRE_NAME_MAX);
    if (len && memchr(it->data, 0, len))
        return bad(w, it->tag, message, it, "contains a zero byte");
    return put_item(w, it);
}

static cg_err put_field(walker *w, message_kind message, const item *it)
{
    CG_TRY(check_wire(w, message, it));
    field_kind kind = it->field->kind;
    if (kind == K_MESSAGE || kind == K_ONE)
        return put_message(w, it);
    if (kind == K_NAME)
        return put_name(w, message, it);
    if (kind == K_TEXT && it->end - it->data > CG_WIRE_NAME_MAX)
        return CG_OK; /* a blob, as embedded engines are */
    if (kinds[kind].list && it->wire == BYTES &&
        !packed_whole(kinds[kind].single, it->data, it->end))
        return bad(w, it->tag, message, it, "is not a whole list");
    return put_item(w, it);
}

/* Size and place of all payload fields of a tensor. */
static cg_err measure(walker *w, const unsigned char *p,
                      const unsigned char *end, cg_wire_payload *all)
{
    *all = (cg_wire_payload){0};
    while (p < end) {
        item it;
        CG_TRY(read_item(w, TENSOR, &p, end, &it));
        if (!it.field || it.field->kind < K_RAW)
            continue;
        CG_TRY(check_wire(w, TENSOR, &it));
        if (!all->field)
            all->offset = (uint64_t)(it.data - w->base);
        all->length += (uint64_t)(it.end - it.data);
        all->field = it.number;
    }
    return CG_OK;
}

static cg_err walk_tensor(walker *w, const unsigned char *p,
                          const unsigned char *end)
{
    cg_wire_payload all;
    CG_TRY(measure(w, p, end, &all));
    bool keep = all.length <= CG_WIRE_PAYLOAD_MAX;
    while (p < end) {
        item it;
        CG_TRY(read_item(w, TENSOR, &p, end, &it));
        if (it.field && (keep || it.field->kind < K_RAW))
            CG_TRY(put_field(w, TENSOR, &it));
    }
    if (keep)
        return CG_OK;
    CG_TRY(put_tag(w, CG_WIRE_PAYLOAD_FIELD, BYTES, sizeof all));
    return put(w, &all, sizeof all);
}

/* Recursion is bounded by enter(). */
static cg_err walk(walker *w, message_kind message, const unsigned char *p,
                   const unsigned char *end)
{
    if (message == TENSOR)
        return walk_tensor(w, p, end);
    uint32_t seen = 0; /* by row of the table */
    while (p < end) {
        item it;
        CG_TRY(read_item(w, message, &p, end, &it));
        if (!it.field)
            continue;
        if (it.field->kind == K_ONE) {
            uint32_t bit = 1u << (it.field - messages[message].fields);
            if (seen & bit)
                return bad(w, it.tag, message, &it, "is there twice");
            seen |= bit;
        }
        CG_TRY(put_field(w, message, &it));
    }
    return CG_OK;
}

/* -- files that are something else --------------------------------------- */

static const struct {
    size_t at;
    const char *magic, *what;
} others[] = {
    {0, "\x89PNG", "a PNG image"},
    {0, "\xff\xd8\xff", "a JPEG image"},
    {0, "PK\x03\x04", "a ZIP archive (as PyTorch checkpoints are)"},
    {0, "\x1f\x8b", "compressed by gzip"},
    {0, "\x28\xb5\x2f\xfd", "compressed by zstd"},
    {0, "\x89HDF", "an HDF5 file (as Keras models are)"},
    {0, "%PDF", "a PDF document"},
    {0, "\x7f" "ELF", "an ELF binary"},
    {4, "TFL3", "a TensorFlow Lite model"},
    {4, "ORTM", "an ONNX Runtime .ort model"},
    {0, "version https://git-lfs", "a Git LFS pointer, not the file itself"},
};

static const char *text_kind(const unsigned char *p, size_t size)
{
    size_t n = size < 256 ? size : 256, i = 0;
    while (i < n && (p[i] == ' ' || p[i] == '\n' || p[i] == '\r' ||
                     p[i] == '\t'))
        i++;
    const char *kind = i < n && p[i] == '{'   ? "JSON text"
                       : i < n && p[i] == '<' ? "XML or HTML text"
                                              : "plain text";
    for (; i < n; i++)
        if ((p[i] < 0x20 || p[i] == 0x7f) && p[i] != '\n' && p[i] != '\r' &&
            p[i] != '\t')
            return NULL;
    return kind;
}

/* After the walk failed: a better reason than a wrong wire type. */
static cg_err explain(cg_err err, const unsigned char *p, size_t size)
{
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        size_t n = strlen(others[i].magic), at = others[i].at;
        if (size >= at + n && memcmp(p + at, others[i].magic, n) == 0)
            return cg_fail(err, "not an ONNX model: the file is %s",
                           others[i].what);
    }
    const char *kind = text_kind(p, size);
    return kind ? cg_fail(err, "not an ONNX model: the file is %s", kind)
                : err;
}

cg_err cg_wire_skim(const unsigned char *data, size_t size,
                    const cg_wire_limits *limits, unsigned char **out,
                    size_t *out_size)
{
    if (size == 0)
        return cg_fail(CG_EFORMAT, "not an ONNX model: the file is empty");
    walker w = {.base = data, .limits = limits};
    cg_err err = walk(&w, MODEL, data, data + size);
    if (err == CG_OK) {
        *out = w.out.data;
        *out_size = w.out.len;
        return CG_OK;
    }
    cg_array_free(&w.out);
    return err == CG_EFORMAT ? explain(err, data, size) : err;
}
