/* ONNX out: constants.
 *
 * Weights are random: uniform in +-1/sqrt(fan in), as PyTorch begins, norms
 * near the identity. They are drawn while they are written, each from a stream
 * of its own, so a weight does not depend on those before it. Constants whose
 * elements the graph knows and that are no weights keep them. */
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "frontend/onnx/export_parts.h"

enum { TENSOR_DIMS = 1, TENSOR_TYPE, TENSOR_STRINGS = 6, TENSOR_NAME = 8,
       TENSOR_RAW };
#define GRAPH_INITIALIZER 5
#define MAX_NEST 64 /* constants computed from constants */

/* -- elements ------------------------------------------------------------- */

/* Types below a byte and the short floats are f32 outside: quantised networks
 * are written as the float networks they stand for. */
int cg_export_dtype(int dtype)
{
    static const uint8_t written[] = {
        CG_F32, CG_F64, CG_F16, CG_BF16, CG_I8,  CG_I16, CG_I32,
        CG_I64, CG_U8,  CG_U16, CG_U32,  CG_U64, CG_BOOL, CG_STRING};
    for (size_t i = 0; i < sizeof written; i++)
        if (written[i] == dtype)
            return dtype;
    return CG_F32;
}

static uint64_t half_bits(double v)
{
    /* the smallest normal half is 2^-14; what is below is as good as zero */
    float f = (float)v;
    uint32_t b;
    memcpy(&b, &f, sizeof b);
    int exponent = (int)(b >> 23 & 0xff) - 127 + 15;
    uint32_t sign = b >> 16 & 0x8000;
    if (exponent <= 0)
        return sign;
    if (exponent >= 31)
        return sign | 0x7c00;
    return sign + ((uint32_t)exponent << 10) + (b >> 13 & 0x3ff);
}

static uint64_t float_bits(double v)
{
    float f = (float)v;
    uint32_t b;
    memcpy(&b, &f, sizeof b);
    return b;
}

static uint64_t double_bits(double v)
{
    uint64_t b;
    memcpy(&b, &v, sizeof b);
    return b;
}

static uint64_t float_element(int dtype, double v)
{
    return dtype == CG_F64    ? double_bits(v)
           : dtype == CG_F16  ? half_bits(v)
           : dtype == CG_BF16 ? float_bits(v) >> 16
                              : float_bits(v);
}

static bool is_float(int dtype)
{
    return cg_dtype_kind_of(dtype) == CG_DTYPE_FLOAT;
}

static size_t element_size(int dtype)
{
    return (size_t)(cg_dtype_bits(dtype) + 7) / 8;
}

static void store(unsigned char *to, size_t size, uint64_t bits)
{
    for (size_t i = 0; i < size; i++)
        to[i] = (unsigned char)(bits >> 8 * i);
}

static uint64_t number_bits(int dtype, double v)
{
    if (is_float(dtype))
        return float_element(dtype, v);
    return v > -9e18 && v < 9e18 ? (uint64_t)(int64_t)v : 0;
}

/* Element i of v as `dtype`; symbolic ones do not come here. */
static uint64_t data_bits(const cg_data *d, size_t i, int dtype)
{
    if (d->f)
        return number_bits(dtype, d->f[i] * (d->i ? (double)d->i[i] : 1));
    return is_float(dtype) ? float_element(dtype, (double)d->i[i])
                           : (uint64_t)d->i[i];
}

/* -- tensors -------------------------------------------------------------- */

static void put_tensor_head(cg_bytes *b, const char *name, int dtype,
                            const int64_t *dims, int rank)
{
    for (int i = 0; i < rank; i++)
        cg_put_int(b, TENSOR_DIMS, dims[i]);
    cg_put_int(b, TENSOR_TYPE, dtype);
    cg_put_text(b, TENSOR_NAME, name);
}

static void put_elements(cg_bytes *b, const cg_data *d, int dtype)
{
    size_t size = element_size(dtype);
    if (d->s) {
        for (size_t i = 0; i < d->n; i++)
            cg_put_text(b, TENSOR_STRINGS, d->s[i]);
        return;
    }
    unsigned char *raw = cg_xcalloc(d->n + 1, size);
    for (size_t i = 0; i < d->n; i++)
        store(raw + i * size, size, data_bits(d, i, dtype));
    cg_put_bytes(b, TENSOR_RAW, raw, d->n * size);
    cg_xfree(raw);
}

/* With the elements of v where they are known, else none. */
void cg_put_tensor(cg_export *x, cg_bytes *b, int field, const char *name,
                   const cg_value *v, int dtype)
{
    cg_bytes t = {0};
    (void)x;
    put_tensor_head(&t, name, dtype, v->type.dims, v->type.rank);
    if (v->data)
        put_elements(&t, v->data, dtype);
    cg_put_bytes(b, field, t.data, t.len);
    cg_array_free(&t);
}

static const char *constant_node(cg_export *x, const char *name,
                                 const cg_value *v, int dtype)
{
    cg_bytes a = {0};
    cg_put_text(&a, 1, "value");
    cg_put_int(&a, 20, 4); /* a tensor */
    cg_put_tensor(x, &a, 5, name, v, dtype);
    cg_export_begin(x, "", "Constant");
    cg_put_bytes(&x->node, 5, a.data, a.len);
    cg_array_free(&a);
    cg_export_output(x, name);
    cg_export_end(x, name);
    return name;
}

const char *cg_export_literal(cg_export *x, const int64_t *v, size_t n)
{
    cg_bytes key = {0};
    for (size_t i = 0; i < n; i++) {
        char s[32];
        int len = snprintf(s, sizeof s, "%s%lld", i ? "," : "",
                           (long long)v[i]);
        for (int k = 0; k < len; k++)
            cg_array_push(&key, (unsigned char)s[k]);
    }
    cg_array_push(&key, 0);
    const char *name = cg_map_get(&x->literals, (char *)key.data);
    if (!name) {
        char *text = cg_arena_strdup(&x->scratch, (char *)key.data);
        int64_t dims = (int64_t)n;
        cg_data d = {.n = n, .i = (cg_dim *)v};
        cg_bytes t = {0};
        name = cg_export_unique(x, cg_arena_printf(&x->scratch, "[%s]",
                                                   n <= 8 ? text : "..."));
        put_tensor_head(&t, name, CG_I64, &dims, 1);
        put_elements(&t, &d, CG_I64);
        cg_put_bytes(&x->body, GRAPH_INITIALIZER, t.data, t.len);
        cg_array_free(&t);
        cg_map_put(&x->literals, text, (void *)name);
    }
    cg_array_free(&key);
    return name;
}

const char *cg_export_number(cg_export *x, double v, int dtype, int64_t n)
{
    size_t count = n > 0 ? (size_t)n : 1;
    double *all = cg_xcalloc(count, sizeof *all);
    for (size_t i = 0; i < count; i++)
        all[i] = v;
    cg_data d = {.n = count, .f = all};
    cg_value c = {.data = &d, .type = {.rank = n > 0, .dims = &n}};
    const char *name = constant_node(x, cg_export_fresh(x, "Constant"), &c,
                                     dtype);
    cg_xfree(all);
    return name;
}

/* -- weights -------------------------------------------------------------- */

typedef enum start { UNIFORM, ONE, NEAR_ONE, ZERO } start;

/* How operands begin that are no linear weights. */
static const struct {
    uint16_t op;
    uint8_t slot, start;
} starts[] = {
    {CG_OP_BATCHNORM, 1, ONE},     {CG_OP_BATCHNORM, 2, ZERO},
    {CG_OP_BATCHNORM, 3, ZERO},    {CG_OP_BATCHNORM, 4, ONE},
    {CG_OP_LAYERNORM, 1, ONE},     {CG_OP_LAYERNORM, 2, ZERO},
    {CG_OP_RMSNORM, 1, ONE},       {CG_OP_GROUPNORM, 1, NEAR_ONE},
    {CG_OP_GROUPNORM, 2, UNIFORM}, {CG_OP_INSTANCENORM, 1, NEAR_ONE},
    {CG_OP_INSTANCENORM, 2, UNIFORM},
};

static bool find_start(const cg_node *n, size_t k, start *s)
{
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        if (n && starts[i].op == n->op && starts[i].slot == k) {
            *s = (start)starts[i].start;
            return true;
        }
    return false;
}

/* What one output of x->at sums over: all of a filter but its outputs, the
 * rows of a matrix, the inputs of a cell. 0: not a linear operator. */
static double fan_in(const cg_node *n, size_t k)
{
    cg_class class = n ? cg_op_table[n->op].class : CG_CLASS_OTHER;
    if (k == 0 || (class != CG_CLASS_COMPUTE && class != CG_CLASS_RECURRENT))
        return 0;
    cg_type w = cg_in_type(n, 1);
    double fan = 1;
    if (w.rank == 2)
        return (double)w.dims[cg_attr_int(n, "transB", 0) ? 1 : 0];
    if (class == CG_CLASS_RECURRENT)
        return (double)cg_attr_int(n, "hidden_size", 1);
    for (int i = 1; i < w.rank; i++)
        fan *= (double)w.dims[i];
    return fan;
}

static bool count_elements(const cg_value *v, uint64_t *count)
{
    *count = 1;
    for (int i = 0; i < v->type.rank; i++)
        if (!cg_dim_known(v->type.dims[i]) ||
            __builtin_mul_overflow(*count, (uint64_t)v->type.dims[i], count))
            return false;
    return v->type.rank >= 0;
}

static bool has_open_elements(const cg_data *d)
{
    for (size_t i = 0; d->i && i < d->n; i++)
        if (!cg_dim_known(d->i[i]))
            return true;
    return false;
}

/* An i64 vector or scalar with symbols in it, as arithmetic on shapes. */
static cg_err symbolic(cg_export *x, const cg_value *v, const char **name)
{
    const cg_data *d = v->data;
    if (d->f)
        for (size_t i = 0; i < d->n; i++)
            if (!cg_dim_known(d->i[i]))
                return cg_export_open(x, d->i[i]);
    CG_TRY(cg_export_dims(x, d->i, d->n, name));
    if (v->type.rank != 1)
        CG_TRY(cg_export_reshape(x, v->type.dims, v->type.rank, name));
    return CG_OK;
}

static void add_weight(cg_export *x, const char *name, const cg_value *v,
                       size_t k, int dtype, uint64_t count)
{
    double fan = fan_in(x->at, k);
    start s = UNIFORM;
    find_start(x->at, k, &s);
    cg_export_weight w = {.name = name, .dtype = (uint8_t)dtype,
                          .rank = v->type.rank, .dims = v->type.dims,
                          .count = count};
    w.centre = s == ONE || s == NEAR_ONE ? 1 : 0;
    w.width = s == ONE || s == ZERO ? 0
              : s == NEAR_ONE       ? 0.1
              : fan > 0             ? 1 / sqrt(fan)
                                    : 0.05;
    cg_array_push(&x->weights, w);
}

const char *cg_export_filled(cg_export *x, const char *what, int dtype,
                             int64_t n, double centre)
{
    int64_t *dims = cg_arena_dup(&x->scratch, &n, sizeof n);
    cg_export_weight w = {.name = cg_export_fresh(x, what),
                          .dtype = (uint8_t)dtype, .rank = 1, .dims = dims,
                          .count = (uint64_t)n, .centre = centre};
    cg_array_push(&x->weights, w);
    return w.name;
}

/* A constant with symbols in its dims: by the node that computed it. */
static cg_err compute(cg_export *x, const cg_value *v, const char **name)
{
    const cg_node *reader = x->at;
    size_t mirrored = x->mirrored;
    unsigned variant = x->variant;
    x->at = v->made_by;
    x->nest++;
    cg_err err = cg_export_op(x);
    x->nest--;
    x->at = reader;
    x->mirrored = mirrored;
    x->variant = variant;
    *name = x->name[v->id];
    if (err == CG_OK && !*name)
        return cg_fail(CG_EUNSUPPORTED, "constant '%s' cannot be written: "
                       "its shape is not known", v->name);
    return err;
}

/* The first reader decides about type and start; elements that are known are
 * kept outside the places of weights: exponents, bounds, masks. */
static cg_err make_const(cg_export *x, const cg_value *v, size_t k, int dtype,
                         const char **name)
{
    uint64_t count;
    start s;
    bool weight = v->is_weight &&
                  (fan_in(x->at, k) > 0 || find_start(x->at, k, &s));
    if (!count_elements(v, &count) && v->made_by && x->nest < MAX_NEST)
        return compute(x, v, name);
    if (!count_elements(v, &count))
        return cg_fail(CG_EUNSUPPORTED, "constant '%s' cannot be written: "
                       "its shape is not known", v->name);
    *name = cg_export_unique(x, v->name);
    if (!v->data && dtype == CG_STRING)
        return cg_fail(CG_EUNSUPPORTED, "constant '%s' cannot be written: "
                       "its strings are not known", v->name);
    if (v->data && has_open_elements(v->data))
        return symbolic(x, v, name);
    if (!v->data || (weight && dtype != CG_STRING))
        add_weight(x, *name, v, k, dtype, count);
    else if (v->is_weight || v->data->s)
        cg_put_tensor(x, &x->body, GRAPH_INITIALIZER, *name, v, dtype);
    else
        constant_node(x, *name, v, dtype);
    return CG_OK;
}

cg_err cg_export_const(cg_export *x, const cg_value *v, size_t k, int dtype,
                       const char **name, int *got)
{
    if (!x->name[v->id]) {
        bool open = v->data && !v->data->f && has_open_elements(v->data);
        dtype = dtype ? dtype : cg_export_dtype(v->type.dtype);
        CG_TRY(make_const(x, v, k, dtype, name));
        if (!x->name[v->id])
            x->dtype[v->id] = open ? CG_I64 : (uint8_t)dtype;
        x->name[v->id] = *name;
    }
    *name = x->name[v->id];
    *got = x->dtype[v->id];
    return CG_OK;
}

/* -- the stream ----------------------------------------------------------- */

/* TensorProto up to its elements, and how many bytes of those follow. */
static uint64_t weight_head(const cg_export *x, const cg_export_weight *w,
                            cg_bytes *out)
{
    cg_bytes t = {0}, raw = {0};
    uint64_t bytes = x->opts.no_weights
                         ? 0
                         : w->count * element_size(w->dtype);
    put_tensor_head(&t, w->name, w->dtype, w->dims, w->rank);
    if (!x->opts.no_weights)
        cg_put_head(&raw, TENSOR_RAW, bytes);
    cg_put_head(out, GRAPH_INITIALIZER, t.len + raw.len + bytes);
    for (size_t i = 0; i < t.len; i++)
        cg_array_push(out, t.data[i]);
    for (size_t i = 0; i < raw.len; i++)
        cg_array_push(out, raw.data[i]);
    cg_array_free(&t);
    cg_array_free(&raw);
    return bytes;
}

uint64_t cg_export_weights_size(const cg_export *x)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < x->weights.len; i++) {
        cg_bytes head = {0};
        sum += weight_head(x, &x->weights.data[i], &head);
        sum += head.len;
        cg_array_free(&head);
    }
    return sum;
}

static void write_elements(const cg_export_weight *w, cg_rng r, FILE *f)
{
    unsigned char block[8192];
    size_t size = element_size(w->dtype), n = 0;
    double step = is_float(w->dtype) ? 2 * w->width : 0;
    for (uint64_t i = 0; i < w->count; i++) {
        double v = w->centre;
        if (step > 0)
            v += step * (cg_rng_uniform(&r) - 0.5);
        store(block + n, size, number_bits(w->dtype, v));
        n += size;
        if (n + size > sizeof block || i + 1 == w->count) {
            fwrite(block, 1, n, f);
            n = 0;
        }
    }
}

void cg_export_weights_write(const cg_export *x, FILE *f)
{
    for (size_t i = 0; i < x->weights.len; i++) {
        const cg_export_weight *w = &x->weights.data[i];
        cg_bytes head = {0};
        uint64_t bytes = weight_head(x, w, &head);
        fwrite(head.data, 1, head.len, f);
        if (bytes)
            write_elements(w, cg_rng_make(x->opts.seed, i), f);
        cg_array_free(&head);
    }
}
