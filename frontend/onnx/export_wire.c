/* ONNX out: protobuf's wire format, and nodes and attributes in it.
 *
 * protobuf-c packs whole messages in memory. A model is mostly weights, so the
 * bytes are made here: the graph into a buffer, whose length is then known,
 * and the weights straight into the file (export_weight.c). */
#include <string.h>

#include "frontend/onnx/export_parts.h"

/* -- fields --------------------------------------------------------------- */

static void put_raw(cg_bytes *b, const void *p, size_t n)
{
    cg_array_reserve(b, b->len + n);
    if (n)
        memcpy(b->data + b->len, p, n);
    b->len += n;
}

static void put_varint(cg_bytes *b, uint64_t v)
{
    unsigned char s[10];
    size_t n = 0;
    do {
        s[n] = (unsigned char)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
        n++;
        v >>= 7;
    } while (v);
    put_raw(b, s, n);
}

static void put_tag(cg_bytes *b, int field, unsigned wire)
{
    put_varint(b, (uint64_t)field << 3 | wire);
}

void cg_put_int(cg_bytes *b, int field, int64_t v)
{
    put_tag(b, field, 0);
    put_varint(b, (uint64_t)v);
}

void cg_put_float(cg_bytes *b, int field, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    unsigned char s[4];
    for (int i = 0; i < 4; i++)
        s[i] = (unsigned char)(bits >> 8 * i);
    put_tag(b, field, 5);
    put_raw(b, s, sizeof s);
}

void cg_put_head(cg_bytes *b, int field, uint64_t length)
{
    put_tag(b, field, 2);
    put_varint(b, length);
}

void cg_put_bytes(cg_bytes *b, int field, const void *p, size_t n)
{
    cg_put_head(b, field, n);
    put_raw(b, p, n);
}

void cg_put_text(cg_bytes *b, int field, const char *s)
{
    cg_put_bytes(b, field, s, strlen(s));
}

/* Takes the bytes of `message`. */
static void put_message(cg_bytes *b, int field, cg_bytes *message)
{
    cg_put_bytes(b, field, message->data, message->len);
    cg_array_free(message);
}

/* -- types ---------------------------------------------------------------- */

/* A name for d that reads back as d: only a plain symbol has one. */
static const char *dim_name(cg_export *x, cg_dim d)
{
    cg_dim_cause why = cg_dim_why(x->g, d);
    return !why.why && why.symbol && cg_dim_symbol(x->g, why.symbol) == d
               ? why.symbol
               : NULL;
}

static void put_tensor_type(cg_export *x, cg_bytes *b, const cg_type *t)
{
    cg_bytes tensor = {0}, shape = {0};
    cg_put_int(&tensor, 1, cg_export_dtype(t->dtype));
    for (int i = 0; i < t->rank; i++) {
        cg_bytes dim = {0};
        if (cg_dim_known(t->dims[i]))
            cg_put_int(&dim, 1, t->dims[i]);
        else if (dim_name(x, t->dims[i]))
            cg_put_text(&dim, 2, dim_name(x, t->dims[i]));
        put_message(&shape, 1, &dim);
    }
    if (t->rank >= 0)
        put_message(&tensor, 2, &shape);
    cg_array_free(&shape);
    put_message(b, 1, &tensor);
}

void cg_put_value(cg_export *x, int field, const char *name,
                  const cg_type *t)
{
    cg_bytes value = {0}, type = {0}, inner = {0};
    cg_put_text(&value, 1, name);
    put_tensor_type(x, &inner, t);
    if (t->kind == CG_KIND_SEQUENCE || t->kind == CG_KIND_OPTIONAL) {
        cg_bytes outer = {0};
        put_message(&outer, 1, &inner);
        put_message(&type, t->kind == CG_KIND_SEQUENCE ? 4 : 9, &outer);
    } else {
        put_raw(&type, inner.data, inner.len);
        cg_array_free(&inner);
    }
    put_message(&value, 2, &type);
    put_message(&x->body, field, &value);
}

/* -- names ---------------------------------------------------------------- */

/* Counts at the first holder of a name, so that many of one name are quick. */
static const char *unique(cg_export *x, cg_map *taken, const char *name)
{
    const char *s = cg_arena_strdup(&x->scratch,
                                    name && *name ? name : "value");
    uintptr_t k = (uintptr_t)cg_map_get(taken, s);
    if (k) {
        const char *base = s;
        do
            s = cg_arena_printf(&x->scratch, "%s~%ju", base, (uintmax_t)++k);
        while (cg_map_get(taken, s));
        cg_map_put(taken, base, (void *)k);
    }
    cg_map_put(taken, s, (void *)1);
    return s;
}

const char *cg_export_unique(cg_export *x, const char *name)
{
    return unique(x, &x->names, name);
}

const char *cg_export_fresh(cg_export *x, const char *what)
{
    return cg_export_unique(
        x, x->at ? cg_arena_printf(&x->scratch, "%s/%s", x->at->name, what)
                 : what);
}

/* -- nodes ---------------------------------------------------------------- */

enum { NODE_INPUT = 1, NODE_OUTPUT, NODE_NAME, NODE_TYPE, NODE_ATTR,
       NODE_DOMAIN = 7 };
enum { ATTR_FLOAT = 1, ATTR_INT, ATTR_STRING, ATTR_TENSOR, ATTR_FLOATS = 6,
       ATTR_INTS, ATTR_STRINGS };

void cg_export_begin(cg_export *x, const char *domain, const char *type)
{
    x->node.len = 0;
    cg_put_text(&x->node, NODE_TYPE, type);
    if (*domain)
        cg_put_text(&x->node, NODE_DOMAIN, domain);
}

void cg_export_input(cg_export *x, const char *name)
{
    cg_put_text(&x->node, NODE_INPUT, name);
}

void cg_export_output(cg_export *x, const char *name)
{
    cg_put_text(&x->node, NODE_OUTPUT, name);
}

const char *cg_export_node_name(cg_export *x)
{
    return unique(x, &x->nodes, x->at->name);
}

void cg_export_end(cg_export *x, const char *name)
{
    cg_put_text(&x->node, NODE_NAME, name);
    cg_put_bytes(&x->body, 1, x->node.data, x->node.len);
}

static cg_bytes attr_begin(const char *name, int type)
{
    cg_bytes b = {0};
    cg_put_text(&b, 1, name);
    cg_put_int(&b, 20, type);
    return b;
}

static void attr_end(cg_export *x, cg_bytes *b)
{
    put_message(&x->node, NODE_ATTR, b);
}

void cg_export_int(cg_export *x, const char *name, int64_t v)
{
    cg_bytes b = attr_begin(name, ATTR_INT);
    cg_put_int(&b, 3, v);
    attr_end(x, &b);
}

void cg_export_ints(cg_export *x, const char *name, const int64_t *v,
                    size_t n)
{
    cg_bytes b = attr_begin(name, ATTR_INTS);
    for (size_t i = 0; i < n; i++)
        cg_put_int(&b, 8, v[i]);
    attr_end(x, &b);
}

void cg_export_float(cg_export *x, const char *name, double v)
{
    cg_bytes b = attr_begin(name, ATTR_FLOAT);
    cg_put_float(&b, 2, (float)v);
    attr_end(x, &b);
}

static void put_floats(cg_bytes *b, const cg_attr *a)
{
    for (uint32_t i = 0; i < a->n; i++)
        cg_put_float(b, a->kind == CG_ATTR_FLOAT ? 2 : 7,
                     (float)a->floats[i]);
}

static void put_ints(cg_bytes *b, const cg_attr *a)
{
    for (uint32_t i = 0; i < a->n; i++)
        cg_put_int(b, a->kind == CG_ATTR_INT ? 3 : 8, a->ints[i]);
}

static void put_strings(cg_bytes *b, const cg_attr *a)
{
    for (uint32_t i = 0; i < a->n; i++)
        cg_put_text(b, a->kind == CG_ATTR_STRING ? 4 : 9, a->strings[i]);
}

/* Bodies and types are not written: what holds them has no row, but for
 * Optional, whose type stands at its input. */
void cg_export_attr(cg_export *x, const cg_attr *a)
{
    static const struct {
        int type;
        void (*put)(cg_bytes *b, const cg_attr *a);
    } kinds[] = {
        [CG_ATTR_INT] = {ATTR_INT, put_ints},
        [CG_ATTR_INTS] = {ATTR_INTS, put_ints},
        [CG_ATTR_FLOAT] = {ATTR_FLOAT, put_floats},
        [CG_ATTR_FLOATS] = {ATTR_FLOATS, put_floats},
        [CG_ATTR_STRING] = {ATTR_STRING, put_strings},
        [CG_ATTR_STRINGS] = {ATTR_STRINGS, put_strings},
        [CG_ATTR_VALUE] = {ATTR_TENSOR, NULL},
        [CG_ATTR_TYPE] = {0, NULL},
    };
    if (!kinds[a->kind].type)
        return;
    cg_bytes b = attr_begin(a->name, kinds[a->kind].type);
    if (kinds[a->kind].put)
        kinds[a->kind].put(&b, a);
    else
        cg_put_tensor(x, &b, 5, a->value->name, a->value,
                      cg_export_dtype(a->value->type.dtype));
    attr_end(x, &b);
}

const char *cg_export_call(cg_export *x, const char *type, const char *a,
                           const char *b, const char *c, const char *out)
{
    const char *in[3] = {a, b, c};
    if (!out)
        out = cg_export_fresh(x, type);
    cg_export_begin(x, "", type);
    for (int i = 0; i < 3 && in[i]; i++)
        cg_export_input(x, in[i]);
    cg_export_output(x, out);
    cg_export_end(x, out);
    return out;
}

const char *cg_export_cast(cg_export *x, const char *a, int dtype)
{
    const char *out = cg_export_fresh(x, "Cast");
    cg_export_begin(x, "", "Cast");
    cg_export_input(x, a);
    cg_export_int(x, "to", dtype);
    cg_export_output(x, out);
    cg_export_end(x, out);
    return out;
}
