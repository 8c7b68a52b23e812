/* Tensors: their type, where their bytes are, and the elements of small ones.
 * A payload over 4 KiB never gets here (wire.c); elements that are not kept
 * are known by file, offset and length. */
#include "frontend/onnx/import.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RAW_DATA 9 /* TensorProto.raw_data */

cg_err cg_onnx_dims(const char *name, const int64_t *dims, size_t rank,
                    int64_t *count)
{
    bool zero = false, over = false;
    *count = 1;
    if (rank > CG_MAX_RANK)
        return cg_fail(CG_ELIMIT, "'%s': rank %zu, the limit is %d", name,
                       rank, CG_MAX_RANK);
    for (size_t i = 0; i < rank; i++) {
        if (dims[i] < 0)
            return cg_fail(CG_EFORMAT, "'%s': dim %zu is %lld", name, i,
                           (long long)dims[i]);
        zero |= dims[i] == 0;
        over = over || __builtin_mul_overflow(*count, dims[i], count);
    }
    if (over && !zero)
        return cg_fail(CG_ELIMIT, "'%s': more than 2^63 elements", name);
    *count = zero ? 0 : *count;
    return CG_OK;
}

/* Floats of 8 bits and less: sign, e bits of exponent, m of mantissa. */
typedef struct small_float {
    int dtype, e, m, bias;
    bool inf;  /* the largest exponent means infinity and NaN, as in IEEE */
    int nan;   /* else: this pattern is NaN, -1: none, -2: all ones but sign */
} small_float;

static const small_float small_floats[] = {
    {CG_F16, 5, 10, 15, true, -1},       {CG_F8E4M3FN, 4, 3, 7, false, -2},
    {CG_F8E4M3FNUZ, 4, 3, 8, false, 128}, {CG_F8E5M2, 5, 2, 15, true, -1},
    {CG_F8E5M2FNUZ, 5, 2, 16, false, 128}, {CG_F4E2M1, 2, 1, 1, false, -1},
};

static double expand(const small_float *f, uint32_t bits)
{
    uint32_t man = bits & ((1u << f->m) - 1);
    int exp = (int)(bits >> f->m & ((1u << f->e) - 1));
    uint32_t magnitude = bits & ((1u << (f->e + f->m)) - 1);
    double sign = bits >> (f->e + f->m) & 1 ? -1 : 1;
    if ((int)bits == f->nan ||
        (f->nan == -2 && magnitude == (1u << (f->e + f->m)) - 1))
        return NAN;
    if (f->inf && exp == (1 << f->e) - 1)
        return man ? NAN : sign * INFINITY;
    double v = exp ? 1 + man / (double)(1 << f->m) : man / (double)(1 << f->m);
    return sign * ldexp(v, (exp ? exp : 1) - f->bias);
}

static double to_float(int dtype, uint64_t bits)
{
    if (dtype == CG_F64) {
        double d;
        memcpy(&d, &bits, sizeof d);
        return d;
    }
    if (dtype == CG_F32 || dtype == CG_BF16) {
        uint32_t b = (uint32_t)bits << (dtype == CG_BF16 ? 16 : 0);
        float v;
        memcpy(&v, &b, sizeof v);
        return v;
    }
    if (dtype == CG_F8E8M0)
        return bits == 255 ? NAN : ldexp(1, (int)bits - 127);
    for (size_t i = 0; i < sizeof small_floats / sizeof small_floats[0]; i++)
        if (small_floats[i].dtype == dtype)
            return expand(&small_floats[i], (uint32_t)bits);
    return 0;
}

static bool is_signed(int dtype)
{
    return dtype == CG_I8 || dtype == CG_I16 || dtype == CG_I32 ||
           dtype == CG_I64 || dtype == CG_I4 || dtype == CG_I2;
}

/* Numbers below CG_DIM_MIN mean expressions, so the few that a file may hold
 * there ("from the very start") come up to it; likewise above INT64_MAX. */
static cg_dim to_int(int dtype, uint64_t bits)
{
    int width = cg_dtype_bits(dtype);
    if (dtype == CG_BOOL)
        return bits != 0;
    if (is_signed(dtype)) {
        int64_t v = (int64_t)(bits << (64 - width)) >> (64 - width);
        return v < CG_DIM_MIN ? CG_DIM_MIN : v;
    }
    return bits > INT64_MAX ? INT64_MAX : (cg_dim)bits;
}

static void store(cg_data *d, int dtype, size_t k, uint64_t bits)
{
    if (d->f)
        d->f[k] = to_float(dtype, bits);
    else
        d->i[k] = to_int(dtype, bits);
}

/* Element k of packed little-endian bytes; several to a byte below 8 bits. */
static uint64_t raw_bits(const uint8_t *raw, int width, size_t k)
{
    uint64_t v = 0;
    if (width < 8) {
        size_t per = (size_t)(8 / width);
        return raw[k / per] >> (k % per * (size_t)width) &
               ((1u << width) - 1);
    }
    for (int b = width / 8; b-- > 0;)
        v = v << 8 | raw[k * (size_t)(width / 8) + (size_t)b];
    return v;
}

static uint64_t bytes_of(int dtype, uint64_t count)
{
    uint64_t bits;
    if (__builtin_mul_overflow(count, (uint64_t)cg_dtype_bits(dtype), &bits))
        return UINT64_MAX;
    return bits / 8 + (bits % 8 != 0);
}

static cg_data *new_data(cg_importer *imp, int dtype, size_t n)
{
    cg_arena *a = &imp->g->arena;
    cg_data *d = cg_arena_new(a, cg_data);
    d->n = n;
    cg_dtype_kind kind = cg_dtype_kind_of(dtype);
    if (kind == CG_DTYPE_INT)
        d->i = cg_arena_array(a, cg_dim, n);
    else if (kind == CG_DTYPE_FLOAT)
        d->f = cg_arena_array(a, double, n);
    else
        d->s = cg_arena_array(a, const char *, n);
    return d;
}

static void from_raw(cg_data *d, int dtype, const uint8_t *raw)
{
    int width = cg_dtype_bits(dtype);
    for (size_t k = 0; k < d->n; k++)
        store(d, dtype, k, raw_bits(raw, width, k));
}

static void from_strings(cg_importer *imp, cg_data *d,
                         const Onnx__TensorProto *t)
{
    for (size_t k = 0; k < d->n; k++)
        d->s[k] = cg_arena_strndup(&imp->g->arena,
                                   (const char *)t->string_data[k].data,
                                   t->string_data[k].len);
}

/* The typed list a data type lives in, as bits; -1: none of them. */
static int64_t typed_count(const Onnx__TensorProto *t, int dtype)
{
    if (dtype == CG_F32)
        return (int64_t)t->n_float_data;
    if (dtype == CG_F64)
        return (int64_t)t->n_double_data;
    if (dtype == CG_I64)
        return (int64_t)t->n_int64_data;
    if (dtype == CG_U32 || dtype == CG_U64)
        return (int64_t)t->n_uint64_data;
    return (int64_t)t->n_int32_data;
}

static uint64_t typed_bits(const Onnx__TensorProto *t, int dtype, size_t k)
{
    uint64_t v = 0;
    if (dtype == CG_F32) {
        memcpy(&v, &t->float_data[k], 4);
        return v;
    }
    if (dtype == CG_F64) {
        memcpy(&v, &t->double_data[k], 8);
        return v;
    }
    if (dtype == CG_I64)
        return (uint64_t)t->int64_data[k];
    if (dtype == CG_U32 || dtype == CG_U64)
        return t->uint64_data[k];
    int width = cg_dtype_bits(dtype);
    uint32_t word = (uint32_t)t->int32_data[k];
    return width < 32 ? word & ((1u << width) - 1) : word;
}

/* False: fewer elements than the dims say. */
static bool from_typed(cg_data *d, const Onnx__TensorProto *t, int dtype)
{
    int width = cg_dtype_bits(dtype);
    size_t have = (size_t)typed_count(t, dtype);
    size_t per = width < 8 ? (size_t)(8 / width) : 1;
    bool packed = per > 1 && have == (d->n + per - 1) / per;
    if (!packed && have < d->n)
        return false;
    for (size_t k = 0; k < d->n; k++) {
        uint64_t bits;
        if (packed) {
            uint8_t byte = (uint8_t)t->int32_data[k / per];
            bits = raw_bits(&byte, width, k % per);
        } else {
            bits = typed_bits(t, dtype, k);
        }
        store(d, dtype, k, bits);
    }
    return true;
}

static bool any_payload(const Onnx__TensorProto *t)
{
    return t->has_raw_data || t->n_float_data || t->n_int32_data ||
           t->n_int64_data || t->n_uint64_data || t->n_double_data ||
           t->n_string_data;
}

/* False: the file holds fewer elements than the dims say. */
static bool decode(cg_importer *imp, const Onnx__TensorProto *t, cg_data *d)
{
    int dtype = t->data_type;
    if (d->n == 0)
        return true;
    if (dtype == CG_STRING) {
        if (t->n_string_data < d->n)
            return false;
        from_strings(imp, d, t);
        return true;
    }
    if (!t->has_raw_data || !t->raw_data.len)
        return from_typed(d, t, dtype);
    if (t->raw_data.len < bytes_of(dtype, d->n))
        return false;
    from_raw(d, dtype, t->raw_data.data);
    return true;
}

/* Weights are not needed, so too few of them are worth a warning; whole
 * numbers are shapes and indices. No data at all is how weights are left out
 * of a file on purpose. */
static cg_err elements(cg_importer *imp, const Onnx__TensorProto *t,
                       cg_value *v, size_t n)
{
    cg_data *d = new_data(imp, t->data_type, n);
    if (decode(imp, t, d)) {
        v->data = d;
        return CG_OK;
    }
    if (!any_payload(t))
        return CG_OK;
    if (t->data_type == CG_I64 || t->data_type == CG_I32)
        return cg_fail(CG_EFORMAT, "has less data than its %zu elements need",
                       n);
    cg_warn(imp->g, NULL, "tensor '%s' has less data than its %zu elements "
            "need; its content is not used", v->name, n);
    return CG_OK;
}

static void set_payload(cg_importer *imp, cg_value *v, const char *file,
                        uint64_t offset, uint64_t length)
{
    cg_payload *p = cg_arena_new(&imp->g->arena, cg_payload);
    p->file = file ? cg_arena_strdup(&imp->g->arena, file) : NULL;
    p->offset = offset;
    p->length = length;
    v->payload = p;
}

/* External: small ones are read, of the others only the place is kept. */
static cg_err from_external(cg_importer *imp, const Onnx__TensorProto *t,
                            cg_value *v, int64_t count)
{
    cg_external e;
    unsigned char raw[CG_WIRE_PAYLOAD_MAX];
    uint64_t want = bytes_of(t->data_type, (uint64_t)count);
    CG_TRY(cg_onnx_external(imp, t, want, &e));
    set_payload(imp, v, e.location, e.offset, e.length);
    if (e.length < want)
        cg_warn(imp->g, NULL, "tensor '%s' has %llu bytes of external data, "
                "its elements need %llu", v->name,
                (unsigned long long)e.length, (unsigned long long)want);
    cg_dtype_kind kind = cg_dtype_kind_of(t->data_type);
    if (count > CG_DATA_MAX || want > sizeof raw ||
        (kind != CG_DTYPE_INT && kind != CG_DTYPE_FLOAT) ||
        !cg_onnx_external_read(imp, &e, raw, want))
        return CG_OK;
    cg_data *d = new_data(imp, t->data_type, (size_t)count);
    from_raw(d, t->data_type, raw);
    v->data = d;
    v->payload = NULL; /* nothing is left to be read */
    return CG_OK;
}

static cg_err content(cg_importer *imp, const Onnx__TensorProto *t,
                      cg_value *v, int64_t count)
{
    cg_wire_payload p;
    if (t->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL)
        return from_external(imp, t, v, count);
    if (cg_onnx_tensor_payload(t, &p)) {
        uint64_t want = bytes_of(t->data_type, (uint64_t)count);
        set_payload(imp, v, NULL, p.offset, p.length);
        if (p.field == RAW_DATA && p.length < want &&
            t->data_type != CG_STRING)
            cg_warn(imp->g, NULL, "tensor '%s' has %llu bytes of data, its "
                    "elements need %llu", v->name,
                    (unsigned long long)p.length, (unsigned long long)want);
        return CG_OK;
    }
    if (count <= CG_DATA_MAX &&
        cg_dtype_kind_of(t->data_type) != CG_DTYPE_COMPLEX)
        return elements(imp, t, v, (size_t)count);
    return CG_OK;
}

static cg_err check_type(const Onnx__TensorProto *t, const char *name,
                         int64_t *count)
{
    if (!cg_dtype_valid(t->data_type))
        return cg_fail(CG_EFORMAT, "tensor '%s': data type %d is not one that "
                       "ONNX defines", name, t->data_type);
    return cg_onnx_dims(name, t->dims, t->n_dims, count);
}

cg_err cg_onnx_tensor(cg_importer *imp, const Onnx__TensorProto *t,
                      const char *name, cg_value **out)
{
    int64_t count;
    const char *shown = name ? name : t->name ? t->name : "";
    CG_TRY(check_type(t, shown, &count));
    cg_type type = cg_type_tensor(imp->g, t->data_type, (int)t->n_dims,
                                  t->dims);
    cg_value *v = cg_value_const(imp->g, name, type, NULL);
    v->is_weight = true;
    cg_err err = content(imp, t, v, count);
    if (err != CG_OK)
        return cg_fail_in(err, "tensor '%s'", shown);
    *out = v;
    return CG_OK;
}

/* -- sparse -------------------------------------------------------------- */

/* Where entry k goes in the dense tensor; -1: nowhere. */
static int64_t place(const cg_data *at, const cg_type *dense, int rank,
                     size_t k, int64_t count)
{
    int64_t index = 0;
    if (rank != 2) {
        index = at->i[k];
    } else {
        for (int a = 0; a < dense->rank; a++) {
            int64_t i = at->i[k * (size_t)dense->rank + (size_t)a];
            if (i < 0 || i >= dense->dims[a])
                return -1;
            index = index * dense->dims[a] + i;
        }
    }
    return index < 0 || index >= count ? -1 : index;
}

static const cg_data *densify(cg_importer *imp, const cg_value *values,
                              const cg_value *at, const cg_type *dense,
                              int64_t count)
{
    const cg_data *from = values->data, *where = at->data;
    size_t per = at->type.rank == 2 ? (size_t)dense->rank : 1;
    if (!from || !where || from->s || !where->i || count > CG_DATA_MAX ||
        where->n != from->n * per)
        return NULL;
    cg_data *d = new_data(imp, values->type.dtype, (size_t)count);
    for (size_t k = 0; k < from->n; k++) {
        int64_t to = place(where, dense, at->type.rank, k, count);
        if (to < 0)
            return NULL;
        if (d->f)
            d->f[to] = from->f[k];
        else
            d->i[to] = from->i[k];
    }
    return d;
}

/* ONNX uses it as the dense tensor that it stands for. */
cg_err cg_onnx_sparse(cg_importer *imp, const Onnx__SparseTensorProto *t,
                      const char *name, cg_value **out)
{
    cg_value *values, *at;
    int64_t count;
    if (!t->values || !t->indices)
        return cg_fail(CG_EFORMAT, "sparse tensor '%s' has no %s",
                       name ? name : "", t->values ? "indices" : "values");
    CG_TRY(cg_onnx_dims(name ? name : "sparse tensor", t->dims, t->n_dims,
                        &count));
    CG_TRY(cg_onnx_tensor(imp, t->values, NULL, &values));
    CG_TRY(cg_onnx_tensor(imp, t->indices, NULL, &at));
    cg_type type = cg_type_tensor(imp->g, values->type.dtype, (int)t->n_dims,
                                  t->dims);
    cg_value *v = cg_value_const(imp->g, name, type, NULL);
    v->is_weight = true;
    v->data = densify(imp, values, at, &type, count);
    v->payload = values->payload;
    *out = v;
    return CG_OK;
}
