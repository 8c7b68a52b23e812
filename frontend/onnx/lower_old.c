/* Old spellings of ai.onnx, brought to the newest opset's meaning. Attributes
 * that became inputs move whatever the opset says: files mix both. */
#include <string.h>

#include "frontend/onnx/lower.h"

/* -- element-wise -------------------------------------------------------- */

/* Before opset 7 the second operand was placed at `axis` of the first. */
cg_err cg_onnx_to_binary(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_node *to;
    bool placed = n->version < 7 && cg_onnx_int(n, "broadcast", 0) &&
                  cg_onnx_find(n, "axis");
    int64_t axis = cg_onnx_int(n, "axis", 0);
    cg_onnx_drop(n, "broadcast");
    cg_onnx_drop(n, "axis");
    CG_TRY(cg_onnx_emit(n, row->op, &to));
    if (placed)
        cg_attr_set_int(n->imp->g, to, "broadcast_axis", axis);
    return CG_OK;
}

/* Before opset 7 a slope belonged to the channel axis. */
cg_err cg_onnx_to_prelu(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_node *to;
    CG_TRY(cg_onnx_emit(n, row->op, &to));
    if (n->version < 7)
        cg_attr_set_int(n->imp->g, to, "broadcast_axis", 1);
    return CG_OK;
}

cg_err cg_onnx_to_gemm(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_onnx_drop(n, "broadcast");
    return cg_onnx_emit(n, row->op, NULL);
}

cg_err cg_onnx_to_clip(cg_onnx_node *n, const cg_onnx_row *row)
{
    static const char *const names[] = {"min", "max"};
    for (size_t i = 0; i < 2; i++) {
        if (cg_onnx_find(n, names[i]) && !cg_onnx_in(n, i + 1))
            cg_onnx_set_in(n, i + 1, cg_onnx_float_scalar(
                n, cg_onnx_float(n, names[i], 0)));
        cg_onnx_drop(n, names[i]);
    }
    return cg_onnx_emit(n, row->op, NULL);
}

/* x * alpha + beta */
cg_err cg_onnx_to_affine(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_value *a = cg_onnx_float_scalar(n, cg_onnx_float(n, "alpha", 1));
    cg_value *b = cg_onnx_float_scalar(n, cg_onnx_float(n, "beta", 0));
    cg_node *scaled = cg_onnx_step(n, CG_OP_MUL, 2, n->in[0], a);
    cg_onnx_finish(n, 0, row->op, 2, scaled->out[0], b);
    return CG_OK;
}

cg_err cg_onnx_to_scale(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_value *s = cg_onnx_float_scalar(n, cg_onnx_float(n, "scale", 1));
    cg_onnx_finish(n, 0, row->op, 2, n->in[0], s);
    return CG_OK;
}

/* x * scale + bias[channel] */
cg_err cg_onnx_to_image_scaler(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_value *s = cg_onnx_float_scalar(n, cg_onnx_float(n, "scale", 1));
    cg_node *scaled = cg_onnx_step(n, CG_OP_MUL, 2, n->in[0], s);
    cg_onnx_set_in(n, 0, scaled->out[0]);
    cg_onnx_attr_to_input(n, "bias", 1);
    cg_value *bias = cg_onnx_in(n, 1);
    if (!bias) {
        cg_onnx_alias(n, 0, scaled->out[0]);
        return CG_OK;
    }
    cg_dim dims[3] = {bias->type.dims[0], 1, 1};
    bias->type = cg_type_tensor(n->imp->g, CG_F32, 3, dims);
    cg_onnx_finish(n, 0, row->op, 2, scaled->out[0], bias);
    return CG_OK;
}

/* -- normalisation and activations --------------------------------------- */

cg_err cg_onnx_to_batchnorm(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_onnx_drop(n, "is_test");
    if (cg_onnx_int(n, "spatial", 1))
        cg_onnx_drop(n, "spatial");
    return cg_onnx_emit(n, row->op, NULL);
}

/* The default axis was 1, and everything behind it was normalised together. */
cg_err cg_onnx_to_softmax(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_node *to;
    bool given = cg_onnx_find(n, "axis") != NULL;
    CG_TRY(cg_onnx_emit(n, row->op, &to));
    if (!given)
        cg_attr_set_int(n->imp->g, to, "axis", n->version < 13 ? 1 : -1);
    return CG_OK;
}

cg_err cg_onnx_to_mvn(cg_onnx_node *n, const cg_onnx_row *row)
{
    static const int64_t axes[] = {0, 1, 2, 3}, apart[] = {0, 2, 3};
    cg_node *to;
    bool old = n->version < 9;
    bool across = cg_onnx_int(n, "across_channels", 0) != 0;
    cg_onnx_drop(n, "across_channels");
    cg_onnx_drop(n, "normalize_variance");
    CG_TRY(cg_onnx_emit(n, row->op, &to));
    if (old)
        cg_attr_set_ints(n->imp->g, to, "axes", across ? axes : apart,
                         across ? 4 : 3);
    return CG_OK;
}

/* The p of a norm was a float once. */
cg_err cg_onnx_to_norm_p(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_node *to;
    double p = cg_onnx_float(n, "p", 2);
    CG_TRY(cg_onnx_emit(n, row->op, &to));
    const cg_attr *a = cg_attr_find(to, "p");
    if (a && a->kind == CG_ATTR_FLOAT)
        cg_attr_set_int(n->imp->g, to, "p",
                        p >= 1 && p < 1e6 ? (int64_t)p : 2);
    return CG_OK;
}

cg_err cg_onnx_to_rnn(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_onnx_drop(n, "output_sequence");
    return cg_onnx_emit(n, row->op, NULL);
}

/* At inference it is the identity: ratio, seed and mode say nothing. */
cg_err cg_onnx_to_dropout(cg_onnx_node *n, const cg_onnx_row *row)
{
    n->n_in = 1;
    cg_onnx_drop_all(n);
    return cg_onnx_emit(n, row->op, NULL);
}

/* -- attributes that became inputs --------------------------------------- */

cg_err cg_onnx_to_axes(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_onnx_attr_to_input(n, "axes", 1);
    return cg_onnx_emit(n, row->op, NULL);
}

cg_err cg_onnx_to_reshape(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_onnx_attr_to_input(n, "shape", 1);
    if (n->n_in < 2)
        return cg_fail(CG_EFORMAT, "has no shape to reshape to");
    return cg_onnx_emit(n, row->op, NULL);
}

cg_err cg_onnx_to_slice(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_onnx_attr_to_input(n, "starts", 1);
    cg_onnx_attr_to_input(n, "ends", 2);
    cg_onnx_attr_to_input(n, "axes", 3);
    if (!cg_onnx_in(n, 1) || !cg_onnx_in(n, 2))
        return cg_fail(CG_EFORMAT, "has no starts and ends");
    return cg_onnx_emit(n, row->op, NULL);
}

cg_err cg_onnx_to_split(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_node *to;
    cg_onnx_attr_to_input(n, "split", 1);
    bool equal = !cg_onnx_in(n, 1) && !cg_onnx_find(n, "num_outputs");
    CG_TRY(cg_onnx_emit(n, row->op, &to));
    if (equal)
        cg_attr_set_int(n->imp->g, to, "num_outputs",
                        (int64_t)n->p->n_output);
    return CG_OK;
}

cg_err cg_onnx_to_top_k(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_onnx_attr_to_input(n, "k", 1);
    if (!cg_onnx_in(n, 1))
        return cg_fail(CG_EFORMAT, "has no k");
    return cg_onnx_emit(n, row->op, NULL);
}

cg_err cg_onnx_to_pad(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_onnx_attr_to_input(n, "paddings", 1);
    cg_onnx_attr_to_input(n, "pads", 1);
    if (!cg_onnx_in(n, 1))
        return cg_fail(CG_EFORMAT, "has no pads");
    double value = cg_onnx_float(n, "value", 0);
    if (value != 0 && !cg_onnx_in(n, 2))
        cg_onnx_set_in(n, 2, cg_onnx_float_scalar(n, value));
    cg_onnx_drop(n, "value");
    return cg_onnx_emit(n, row->op, NULL);
}

cg_err cg_onnx_to_dft(cg_onnx_node *n, const cg_onnx_row *row)
{
    if (n->version < 20 && !cg_onnx_in(n, 2))
        cg_onnx_set_in(n, 2, cg_onnx_int_scalar(n, cg_onnx_int(n, "axis", 1)));
    cg_onnx_drop(n, "axis");
    return cg_onnx_emit(n, row->op, NULL);
}

cg_err cg_onnx_to_concat(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_node *to;
    bool given = cg_onnx_find(n, "axis") != NULL;
    CG_TRY(cg_onnx_emit(n, row->op, &to));
    if (!given)
        cg_attr_set_int(n->imp->g, to, "axis", 1); /* opset 1 */
    return CG_OK;
}

/* Opset 1 repeated one axis, (input, tiles, axis); since 6 all of them. */
cg_err cg_onnx_to_tile(cg_onnx_node *n, const cg_onnx_row *row)
{
    if (n->n_in < 3)
        return cg_onnx_emit(n, row->op, NULL);
    const cg_value *tiles = cg_onnx_in(n, 1), *axis = cg_onnx_in(n, 2);
    int64_t repeats[CG_MAX_RANK];
    int rank = n->in[0] ? n->in[0]->type.rank : -1;
    bool known = tiles && axis && tiles->data && axis->data &&
                 tiles->data->n == 1 && axis->data->n == 1 && rank > 0;
    int64_t t = known ? tiles->data->i ? tiles->data->i[0]
                                       : (int64_t)tiles->data->f[0] : 0;
    int64_t a = known ? axis->data->i ? axis->data->i[0]
                                      : (int64_t)axis->data->f[0] : 0;
    if (!known || a < 0 || a >= rank)
        return cg_onnx_custom(n, "repeats of opset 1 that are computed");
    for (int i = 0; i < rank; i++)
        repeats[i] = i == a ? t : 1;
    n->n_in = 1;
    cg_onnx_set_in(n, 1, cg_onnx_ints(n, repeats, (size_t)rank));
    return cg_onnx_emit(n, row->op, NULL);
}

/* com.microsoft leaves delta out. */
cg_err cg_onnx_to_range(cg_onnx_node *n, const cg_onnx_row *row)
{
    if (!cg_onnx_in(n, 2)) {
        cg_value *one = cg_onnx_int_scalar(n, 1);
        if (cg_onnx_in(n, 0))
            one = cg_onnx_step(n, CG_OP_CAST_LIKE, 2, one, n->in[0])->out[0];
        cg_onnx_set_in(n, 2, one);
    }
    return cg_onnx_emit(n, row->op, NULL);
}

/* -- Cast ---------------------------------------------------------------- */

static int64_t dtype_by_name(const char *name)
{
    static const char *const names[] = {
        "UNDEFINED", "FLOAT", "UINT8", "INT8", "UINT16", "INT16", "INT32",
        "INT64", "STRING", "BOOL", "FLOAT16", "DOUBLE", "UINT32", "UINT64",
        "COMPLEX64", "COMPLEX128", "BFLOAT16"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcasecmp(names[i], name) == 0)
            return (int64_t)i;
    return 0;
}

cg_err cg_onnx_to_cast(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_node *to;
    const char *name = cg_onnx_string(n, "to", NULL);
    int64_t dtype = name ? dtype_by_name(name) : cg_onnx_int(n, "to", 0);
    if (dtype <= 0 || dtype > 255 || !cg_dtype_valid((int)dtype))
        return cg_fail(CG_EFORMAT, "casts to %s, data type %lld, which ONNX "
                       "does not define", name ? name : "a number",
                       (long long)dtype);
    cg_onnx_drop(n, "to");
    CG_TRY(cg_onnx_emit(n, row->op, &to));
    cg_attr_set_int(n->imp->g, to, "to", dtype);
    return CG_OK;
}

/* -- Resize -------------------------------------------------------------- */

static bool empty(const cg_value *v)
{
    return v && v->role == CG_ROLE_CONST && v->type.rank == 1 &&
           v->type.dims[0] == 0;
}

/* Until opset 12 exporters wrote empty tensors for inputs left out, and opset
 * 10 had (X, scales) only. */
cg_err cg_onnx_to_resize(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_node *to;
    bool ten = n->version < 11;
    if (ten && n->n_in == 2) {
        cg_onnx_set_in(n, 2, n->in[1]);
        n->in[1] = NULL;
    }
    for (size_t k = 1; k < n->n_in; k++)
        if (empty(n->in[k]))
            n->in[k] = NULL;
    CG_TRY(cg_onnx_emit(n, row->op, &to));
    if (ten) {
        cg_attr_set_string(n->imp->g, to, "coordinate_transformation_mode",
                           "asymmetric");
        cg_attr_set_string(n->imp->g, to, "nearest_mode", "floor");
    }
    return CG_OK;
}

cg_err cg_onnx_to_upsample(cg_onnx_node *n, const cg_onnx_row *row)
{
    if (n->version < 7 && !cg_onnx_in(n, 1)) {
        double scales[4] = {1, 1, cg_onnx_float(n, "height_scale", 1),
                            cg_onnx_float(n, "width_scale", 1)};
        cg_onnx_drop(n, "height_scale");
        cg_onnx_drop(n, "width_scale");
        if (!cg_onnx_find(n, "scales"))
            cg_onnx_set_in(n, 1, cg_onnx_floats(n, scales, 4));
    }
    cg_onnx_attr_to_input(n, "scales", 1);
    if (!cg_onnx_in(n, 1))
        return cg_fail(CG_EFORMAT, "has no scales");
    n->version = 10; /* from here on it is Resize of opset 10 */
    return cg_onnx_to_resize(n, row);
}

/* -- random, filled ------------------------------------------------------ */

cg_err cg_onnx_to_random(cg_onnx_node *n, const cg_onnx_row *row)
{
    static const char *const dropped[] = {"mean", "scale", "low", "high",
                                          "seed"};
    cg_node *to;
    int64_t dtype = cg_onnx_int(n, "dtype", CG_F32);
    for (size_t i = 0; i < sizeof dropped / sizeof dropped[0]; i++)
        cg_onnx_drop(n, dropped[i]);
    CG_TRY(cg_onnx_emit(n, row->op, &to));
    if (row->op == CG_OP_RANDOM)
        cg_attr_set_int(n->imp->g, to, "dtype", dtype);
    return CG_OK;
}

cg_err cg_onnx_to_random_like(cg_onnx_node *n, const cg_onnx_row *row)
{
    return cg_onnx_to_random(n, row);
}

static cg_value *filling(cg_onnx_node *n, int64_t dtype, double value)
{
    cg_value *v = cg_onnx_floats(n, &value, 1);
    cg_data *d = cg_arena_new(&n->imp->g->arena, cg_data);
    v->type.dtype = (uint8_t)dtype;
    if (cg_dtype_kind_of((int)dtype) != CG_DTYPE_INT)
        return v;
    d->n = 1;
    d->i = cg_arena_new(&n->imp->g->arena, cg_dim);
    d->i[0] = value > -1e15 && value < 1e15 ? (cg_dim)value : 0;
    v->data = d;
    return v;
}

/* An early ConstantOfShape: the shape is an attribute, the input, or that of
 * the input. */
cg_err cg_onnx_to_constant_fill(cg_onnx_node *n, const cg_onnx_row *row)
{
    int64_t dtype = cg_onnx_int(n, "dtype", CG_F32);
    double value = cg_onnx_float(n, "value", 0);
    if (dtype < 0 || dtype > 255 || !cg_dtype_valid((int)dtype))
        dtype = CG_F32;
    bool as_shape = cg_onnx_int(n, "input_as_shape", 0) != 0;
    cg_value *in = cg_onnx_in(n, 0);
    if (in && !as_shape)
        in = cg_onnx_step(n, CG_OP_SHAPE, 1, in)->out[0];
    n->n_in = 0;
    if (in)
        cg_onnx_set_in(n, 0, in);
    cg_onnx_attr_to_input(n, "shape", 0);
    if (!cg_onnx_in(n, 0))
        return cg_fail(CG_EFORMAT, "has no shape");
    cg_node *to = cg_onnx_finish(n, 0, row->op, 1, n->in[0]);
    cg_attr_set_value(n->imp->g, to, "value", filling(n, dtype, value));
    return CG_OK;
}

cg_err cg_onnx_to_given_tensor_fill(cg_onnx_node *n, const cg_onnx_row *row)
{
    return cg_onnx_to_constant_fill(n, row);
}
