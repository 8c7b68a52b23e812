/* Quantised operators become their float twins: scales and zero points say how
 * numbers are stored, not what the network computes. */
#include <string.h>

#include "frontend/onnx/lower.h"

/* -- activations that the quantiser took away ---------------------------- */

static bool all_are(const cg_value *v, int64_t want)
{
    if (!v || !v->data || !v->data->i || v->data->n == 0)
        return false;
    for (size_t k = 0; k < v->data->n; k++)
        if (v->data->i[k] != want)
            return false;
    return true;
}

/* A zero point at the bottom of its type: no negative number can be stored. */
static bool at_bottom(const cg_value *zero, int64_t *steps)
{
    int dtype = zero ? zero->type.dtype : CG_UNDEFINED;
    int bits = cg_dtype_bits(dtype);
    *steps = bits && bits <= 16 ? ((int64_t)1 << bits) - 1 : 0;
    if (dtype == CG_U8 || dtype == CG_U16)
        return all_are(zero, 0);
    return (dtype == CG_I8 || dtype == CG_I16) &&
           all_are(zero, -((int64_t)1 << (bits - 1)));
}

/* Quantisers drop a Relu in front of such a zero point, since storing does its
 * work, and a Clip to 6 where the largest number is 6. */
cg_op cg_onnx_implied(const cg_onnx_node *n, size_t scale, size_t zero)
{
    int64_t steps;
    const cg_value *s = cg_onnx_in(n, scale);
    if (!at_bottom(cg_onnx_in(n, zero), &steps))
        return CG_OP_IDENTITY;
    double top = s && s->data && s->data->f && s->data->n == 1
                     ? s->data->f[0] * (double)steps
                     : 0;
    return top > 6 * (1 - 1e-5) && top < 6 * (1 + 1e-5) ? CG_OP_RELU6
                                                        : CG_OP_RELU;
}

static bool never_negative(const cg_value *v)
{
    int64_t steps;
    const cg_node *p = v ? v->def : NULL;
    return p && (p->op == CG_OP_RELU || p->op == CG_OP_RELU6 ||
                 (p->op == CG_OP_DEQUANTIZE_LINEAR &&
                  at_bottom(cg_in(p, 2), &steps)));
}

/* Whether a Relu in front of the storing can have been there: behind what
 * gives negative numbers as a rule. */
static bool may_be_negative(const cg_value *v)
{
    const cg_node *p = v ? v->def : NULL;
    if (!p || v->out != 0)
        return false;
    if (p->op == CG_OP_ADD)
        return !(never_negative(cg_in(p, 0)) && never_negative(cg_in(p, 1)));
    return p->op == CG_OP_CONV || p->op == CG_OP_CONV_TRANSPOSE ||
           p->op == CG_OP_MATMUL || p->op == CG_OP_GEMM ||
           p->op == CG_OP_BATCHNORM;
}

cg_err cg_onnx_to_quantize(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_op act = cg_onnx_implied(n, 1, 2);
    if (act != CG_OP_IDENTITY && may_be_negative(cg_onnx_in(n, 0)))
        n->in[0] = cg_onnx_step(n, act, 1, n->in[0])->out[0];
    return cg_onnx_emit(n, row->op, NULL);
}

/* -- twins --------------------------------------------------------------- */

#define PICK(n, ...)                                                          \
    cg_onnx_pick((n), (const size_t[]){__VA_ARGS__},                          \
                 sizeof((const size_t[]){__VA_ARGS__}) / sizeof(size_t))

/* The twin, with the activation that was dropped. */
static cg_err twin(cg_onnx_node *n, cg_op op, cg_op act)
{
    cg_node *to;
    if (act == CG_OP_IDENTITY)
        return cg_onnx_emit(n, op, NULL);
    CG_TRY(cg_onnx_step_attrs(n, op, n->in, n->n_in, &to));
    cg_onnx_finish(n, 0, act, 1, to->out[0]);
    return CG_OK;
}

/* The twin, cast to the type that the quantised operator gives. */
static cg_err twin_as(cg_onnx_node *n, cg_op op, int dtype)
{
    cg_node *to;
    CG_TRY(cg_onnx_step_attrs(n, op, n->in, n->n_in, &to));
    cg_node *cast = cg_onnx_finish(n, 0, CG_OP_CAST, 1, to->out[0]);
    cg_attr_set_int(n->imp->g, cast, "to", dtype);
    return CG_OK;
}

cg_err cg_onnx_to_conv_integer(cg_onnx_node *n, const cg_onnx_row *row)
{
    PICK(n, 0, 1);
    return twin_as(n, row->op, CG_I32);
}

cg_err cg_onnx_to_matmul_integer(cg_onnx_node *n, const cg_onnx_row *row)
{
    PICK(n, 0, 1);
    return twin_as(n, row->op, CG_I32);
}

cg_err cg_onnx_to_qlinear_conv(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_op act = cg_onnx_implied(n, 6, 7);
    PICK(n, 0, 3, 8);
    return twin(n, row->op, act);
}

cg_err cg_onnx_to_qlinear_matmul(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_op act = cg_onnx_implied(n, 6, 7);
    PICK(n, 0, 3);
    return twin(n, row->op, act);
}

/* -- com.microsoft ------------------------------------------------------- */

cg_err cg_onnx_to_ms_first(cg_onnx_node *n, const cg_onnx_row *row)
{
    PICK(n, 0);
    cg_onnx_drop(n, "opset");
    return cg_onnx_emit(n, row->op, NULL);
}

cg_err cg_onnx_to_ms_qlinear_binary(cg_onnx_node *n, const cg_onnx_row *row)
{
    int64_t steps;
    bool negative = !at_bottom(cg_onnx_in(n, 2), &steps) ||
                    !at_bottom(cg_onnx_in(n, 5), &steps);
    cg_op act = row->op == CG_OP_ADD && negative ? cg_onnx_implied(n, 6, 7)
                                                 : CG_OP_IDENTITY;
    PICK(n, 0, 3);
    return twin(n, row->op, act);
}

cg_err cg_onnx_to_ms_mul_integer(cg_onnx_node *n, const cg_onnx_row *row)
{
    PICK(n, 0, 2);
    return twin_as(n, row->op, CG_I32);
}

cg_err cg_onnx_to_ms_qlinear_where(cg_onnx_node *n, const cg_onnx_row *row)
{
    PICK(n, 0, 1, 4);
    return cg_onnx_emit(n, row->op, NULL);
}

cg_err cg_onnx_to_ms_qlinear_reduce(cg_onnx_node *n, const cg_onnx_row *row)
{
    PICK(n, 0);
    cg_onnx_attr_to_input(n, "axes", 1);
    return cg_onnx_emit(n, row->op, NULL);
}

/* (scale, zero point), then (tensor, scale, zero point) over and over. */
cg_err cg_onnx_to_ms_qlinear_concat(cg_onnx_node *n, const cg_onnx_row *row)
{
    size_t kept = 0;
    for (size_t k = 2; k < n->n_in; k += 3)
        n->in[kept++] = n->in[k];
    n->n_in = kept;
    return cg_onnx_emit(n, row->op, NULL);
}

cg_err cg_onnx_to_ms_qgemm(cg_onnx_node *n, const cg_onnx_row *row)
{
    bool floats = !cg_onnx_in(n, 7); /* no output scale */
    cg_op act = cg_onnx_implied(n, 7, 8);
    PICK(n, 0, 3, 6);
    return floats ? twin_as(n, row->op, CG_F32) : twin(n, row->op, act);
}

cg_err cg_onnx_to_ms_qattention(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_value *bias = cg_onnx_in(n, 2);
    PICK(n, 0, 1, 2, 5, 8);
    if (!bias)
        return cg_onnx_emit(n, row->op, NULL);
    /* the bias has the type that the operator gives */
    cg_value *x = cg_onnx_step(n, CG_OP_CAST_LIKE, 2, n->in[0], bias)->out[0];
    cg_onnx_set_in(n, 0, x);
    return cg_onnx_emit(n, row->op, NULL);
}

/* MatMulIntegerToFloat (A, B, scales, zero points, bias at 6) and
 * DynamicQuantizeMatMul (A, B, scale, zero point, bias at 4). */
cg_err cg_onnx_to_ms_quantized_matmul(cg_onnx_node *n, const cg_onnx_row *row)
{
    cg_node *to;
    bool floats = strcmp(n->type, "MatMulIntegerToFloat") == 0;
    cg_value *bias = cg_onnx_in(n, floats ? 6 : 4);
    PICK(n, 0, 1);
    CG_TRY(cg_onnx_step_attrs(n, row->op, n->in, 2, &to));
    cg_value *y = to->out[0];
    if (floats) {
        to = cg_onnx_step(n, CG_OP_CAST, 1, y);
        cg_attr_set_int(n->imp->g, to, "to", CG_F32);
        y = to->out[0];
    }
    if (bias)
        cg_onnx_finish(n, 0, CG_OP_ADD, 2, y, bias);
    else
        cg_onnx_alias(n, 0, y);
    return CG_OK;
}

/* The weights are stored (directions, in, gates), LSTM has them transposed. */
cg_err cg_onnx_to_ms_quantized_lstm(cg_onnx_node *n, const cg_onnx_row *row)
{
    static const int64_t perm[] = {0, 2, 1};
    for (size_t k = 1; k <= 2; k++) {
        if (!cg_onnx_in(n, k))
            continue;
        cg_node *t = cg_onnx_step(n, CG_OP_TRANSPOSE, 1, n->in[k]);
        cg_attr_set_ints(n->imp->g, t, "perm", perm, 3);
        n->in[k] = t->out[0];
    }
    PICK(n, 0, 1, 2, 3, 4, 5, 6, 7);
    return cg_onnx_emit(n, row->op, NULL);
}
