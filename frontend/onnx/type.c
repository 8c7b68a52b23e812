/* Value types: the dims a file declares. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "frontend/onnx/import.h"

static int64_t find_binding(const cg_importer *imp, const char *name)
{
    int64_t any = -1;
    for (size_t i = 0; i < imp->opts->n_dims; i++) {
        const cg_dim_binding *b = &imp->opts->dims[i];
        if (strcmp(b->name, name) == 0)
            return b->value;
        if (strcmp(b->name, "*") == 0)
            any = b->value;
    }
    return any;
}

cg_dim cg_onnx_symbol(cg_importer *imp, const char *name)
{
    int64_t bound = find_binding(imp, name);
    return bound >= 0 ? bound : cg_dim_symbol(imp->g, name);
}

cg_dim cg_onnx_anonymous(cg_importer *imp, const char *value, size_t axis)
{
    return cg_onnx_symbol(imp, cg_arena_printf(&imp->scratch, "%s.%zu", value,
                                               axis));
}

/* Some exporters write numbers as names. */
static bool number(const char *s, int64_t *out)
{
    size_t n = strlen(s);
    if (n == 0 || n > 15)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isdigit((unsigned char)s[i]))
            return false;
    *out = strtoll(s, NULL, 10);
    return true;
}

static cg_dim dim(cg_importer *imp, const Onnx__TensorShapeProto__Dimension *d,
                  const char *value, size_t axis)
{
    int64_t v;
    if (d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE &&
        d->dim_value >= 0)
        return d->dim_value;
    if (d->value_case != ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM ||
        !*d->dim_param)
        return cg_onnx_anonymous(imp, value, axis);
    return number(d->dim_param, &v) ? v : cg_onnx_symbol(imp, d->dim_param);
}

static cg_err shape(cg_importer *imp, const Onnx__TensorShapeProto *s,
                    const char *symbol, cg_type *out)
{
    int64_t known[CG_MAX_RANK], count;
    cg_dim dims[CG_MAX_RANK];
    if (s->n_dim > CG_MAX_RANK)
        return cg_fail(CG_ELIMIT, "'%s': rank %zu, the limit is %d", symbol,
                       s->n_dim, CG_MAX_RANK);
    for (size_t i = 0; i < s->n_dim; i++) {
        dims[i] = dim(imp, s->dim[i], symbol, i);
        known[i] = cg_dim_known(dims[i]) ? dims[i] : 1;
    }
    CG_TRY(cg_onnx_dims(symbol, known, s->n_dim, &count));
    cg_type t = cg_type_tensor(imp->g, out->dtype, (int)s->n_dim, dims);
    out->rank = t.rank;
    out->dims = t.dims;
    return CG_OK;
}

static cg_err dtype(const char *symbol, int64_t v, cg_type *out)
{
    if (v != 0 && (v < 0 || v > 255 || !cg_dtype_valid((int)v)))
        return cg_fail(CG_EFORMAT, "'%s': data type %lld is not one that ONNX "
                       "defines", symbol, (long long)v);
    out->dtype = (uint8_t)v;
    return CG_OK;
}

/* The outermost kind counts; dims and element type are the innermost's. */
cg_err cg_onnx_type(cg_importer *imp, const Onnx__TypeProto *t,
                    const char *symbol, cg_type *out)
{
    static const struct {
        Onnx__TypeProto__ValueCase value;
        cg_kind kind;
    } kinds[] = {
        {ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE, CG_KIND_SEQUENCE},
        {ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE, CG_KIND_OPTIONAL},
        {ONNX__TYPE_PROTO__VALUE_MAP_TYPE, CG_KIND_MAP},
        {ONNX__TYPE_PROTO__VALUE_SPARSE_TENSOR_TYPE, CG_KIND_SPARSE},
    };
    *out = cg_type_none();
    for (size_t i = 0; t && i < sizeof kinds / sizeof kinds[0]; i++)
        if (kinds[i].value == t->value_case)
            out->kind = (uint8_t)kinds[i].kind;
    while (t) {
        const Onnx__TensorShapeProto *s = NULL;
        if (t->value_case == ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE) {
            t = t->sequence_type->elem_type;
        } else if (t->value_case == ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE) {
            t = t->optional_type->elem_type;
        } else if (t->value_case == ONNX__TYPE_PROTO__VALUE_MAP_TYPE) {
            t = t->map_type->value_type;
        } else if (t->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE) {
            s = t->tensor_type->shape;
            CG_TRY(dtype(symbol, t->tensor_type->elem_type, out));
            return s ? shape(imp, s, symbol, out) : CG_OK;
        } else if (t->value_case ==
                   ONNX__TYPE_PROTO__VALUE_SPARSE_TENSOR_TYPE) {
            s = t->sparse_tensor_type->shape;
            CG_TRY(dtype(symbol, t->sparse_tensor_type->elem_type, out));
            return s ? shape(imp, s, symbol, out) : CG_OK;
        } else {
            return CG_OK;
        }
    }
    return CG_OK;
}
