/* Blocks of a node's input vector. */
#include "runtime/inputs.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool has_weights(const cg_token *t)
{
    return t->weight[3] > 0;
}

static void input_op(const cg_token *t, float *x)
{
    x[t->op] = 1;
}

static void input_act(const cg_token *t, float *x)
{
    x[t->act] = 1;
}

static void input_size(const cg_token *t, float *x)
{
    static const float unit[3] = {256, 256, 512};
    for (int i = 0; i < 3; i++) {
        x[i] = (float)t->in[i] / unit[i];
        x[3 + i] = (float)t->out[i] / unit[i];
    }
}

static void input_kernel(const cg_token *t, float *x)
{
    for (int i = 0; i < 2 && has_weights(t); i++) {
        uint32_t k = t->weight[i] > 0 ? t->weight[i] - 1 : 0;
        if (k >= CG_INPUT_KERNELS)
            k = CG_INPUT_KERNELS - 1;
        x[(uint32_t)i * CG_INPUT_KERNELS + k] = 1;
    }
}

static void input_bias(const cg_token *t, float *x)
{
    if (has_weights(t))
        x[t->bias != 0] = 1;
}

static void input_class(const cg_token *t, float *x)
{
    x[t->op < CG_OP_COUNT ? cg_op_table[t->op].class : CG_CLASS_IO] = 1;
}

static bool of_class(const cg_token *t, cg_class c)
{
    return t->op < CG_OP_COUNT && cg_op_table[t->op].class == c;
}

static float log2_of(uint32_t x)
{
    return x > 1 ? log2f((float)x) : 0;
}

/* Numbers, so that a kernel of 7 x 7 is beyond one of 5 x 5 for who has seen
 * 1 x 1 and 3 x 3 only. */
static void input_kind(const cg_token *t, float *x)
{
    bool weights = has_weights(t), pool = of_class(t, CG_CLASS_POOL);
    x[0] = weights;
    x[1] = weights ? (log2_of(t->weight[0]) + log2_of(t->weight[1])) / 4 : 0;
    x[2] = weights && t->in[2] ? log2_of(t->groups) / log2f((float)t->in[2] + 1)
                               : 0;
    x[3] = t->dilation[0] > 1 || t->dilation[1] > 1;
    x[4] = log2_of(t->stride[0]);
    x[5] = pool ? (log2_of(t->kernel[0]) + log2_of(t->kernel[1])) / 4 : 0;
    x[6] = t->act < CG_TOKEN_OPS || of_class(t, CG_CLASS_ACTIVATION);
    x[7] = t->op == CG_OP_ADD || of_class(t, CG_CLASS_JOIN);
    x[8] = t->op == CG_OP_MUL;
    x[9] = of_class(t, CG_CLASS_NORM);
}

static float ratio(uint32_t x, uint32_t most, float unit)
{
    return x && most ? log2f((float)x / (float)most) / unit : 0;
}

static void input_relative(const cg_token *t, float *x)
{
    x[0] = ratio(t->in[0], t->hw_max, 5);
    x[1] = ratio(t->in[2], t->c_max, 4);
    x[2] = ratio(t->out[0], t->hw_max, 5);
    x[3] = ratio(t->out[2], t->c_max, 4);
}

static const struct {
    const char *name;
    int width;
    void (*fill)(const cg_token *t, float *x);
} blocks[CG_INPUT_COUNT] = {
#define CG_INPUT(name, width, line) {#name, width, input_##name},
#include "runtime/inputs.def"
#undef CG_INPUT
};

static int find_block(const char *s, size_t len)
{
    for (int i = 0; i < CG_INPUT_COUNT; i++)
        if (strlen(blocks[i].name) == len &&
            memcmp(blocks[i].name, s, len) == 0)
            return i;
    return -1;
}

cg_err cg_inputs_parse(cg_inputs *in, const char *list)
{
    *in = (cg_inputs){0};
    for (const char *s = list; *s; s += *s != '\0') {
        size_t len = strcspn(s, ",|");
        int i = find_block(s, len);
        if (i < 0) {
            char all[256] = "";
            for (int k = 0; k < CG_INPUT_COUNT; k++)
                snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s",
                         k ? ", " : "", blocks[k].name);
            return cg_fail(CG_EUSAGE, "no input block '%.*s'; there are %s",
                           (int)(len < 40 ? len : 40), s, all);
        }
        if (!in->has[i])
            in->width += blocks[i].width;
        in->has[i] = true;
        s += len;
    }
    return in->width ? CG_OK : cg_fail(CG_EUSAGE, "no input blocks given");
}

void cg_inputs_fill(const cg_inputs *in, const cg_inputs *only,
                    const cg_token *t, float *x)
{
    memset(x, 0, (size_t)in->width * sizeof *x);
    for (int i = 0; i < CG_INPUT_COUNT; i++) {
        if (!in->has[i])
            continue;
        if (only->has[i])
            blocks[i].fill(t, x);
        x += blocks[i].width;
    }
}

static const char *op_name(int op)
{
    return op < CG_OP_COUNT ? cg_op_name((cg_op)op)
           : op == CG_TOKEN_INPUT ? "Input"
           : op == CG_TOKEN_OUTPUT ? "Output" : "none";
}

void cg_inputs_name(const cg_inputs *in, int k, char *name, size_t size)
{
    int i = 0;
    for (; i < CG_INPUT_COUNT; i++) {
        if (in->has[i] && k < blocks[i].width)
            break;
        k -= in->has[i] ? blocks[i].width : 0;
    }
    if (i == CG_INPUT_op || i == CG_INPUT_act)
        snprintf(name, size, "%s:%s", blocks[i].name, op_name(k));
    else
        snprintf(name, size, "%s:%d", i < CG_INPUT_COUNT ? blocks[i].name : "?",
                 k);
}
