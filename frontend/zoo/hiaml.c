/* hiaml: four stages of two equal blocks, fourteen kinds of blocks.
 *
 * A code names the kind of every stage. Channels double and the image halves
 * in the first blocks of stages 2 and 4. The published computation graphs use
 * ReLU in Conv-BatchNorm-ReLU; option variant=torch has ReLU6 there, as their
 * PyTorch twins do; variant=tf is the default.
 *
 * K. G. Mills et al., GENNAPE: Towards Generalized Neural Architecture
 * Performance Estimators, AAAI 2023, appendix. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "frontend/zoo/zoo.h"

#define N_STAGES 4

/* A block under construction: input, output channels, stride. */
typedef struct block {
    cg_net *net;
    cg_t x;
    int c, s;
    cg_op act; /* of Conv-BatchNorm-ReLU */
} block;

/* -- parts ----------------------------------------------------------------
 * Calls that make nodes stand in statements of their own: the order in which
 * C evaluates arguments would otherwise decide the order of nodes. */

static cg_t cbr(const block *b, cg_t x, int c, int kernel, int stride)
{
    x = cg_cb(b->net, x, c, cg_square(kernel, stride));
    return cg_activate(b->net, x, b->act);
}

static cg_t cb(const block *b, cg_t x, int kernel, int stride)
{
    return cg_cb(b->net, x, b->c, cg_square(kernel, stride));
}

/* A 3x3 convolution in two: 1x3 carries the stride of both axes, then 3x1. */
static cg_t separated(const block *b, cg_t x, int stride)
{
    cg_window row = {.kh = 1, .kw = 3, .sh = stride, .sw = stride,
                     .dh = 1, .dw = 1};
    cg_window column = {.kh = 3, .kw = 1, .sh = 1, .sw = 1, .dh = 1, .dw = 1};
    x = cg_cb6(b->net, x, b->c, row);
    return cg_cb6(b->net, x, b->c, column);
}

/* The block's input in the shape of its output; each call is a convolution of
 * its own where one is needed. */
static cg_t shortcut(const block *b)
{
    if (b->s == 1 && cg_channels(b->x) == b->c)
        return b->x;
    return cb(b, b->x, 1, b->s);
}

static cg_t sum3(const block *b, cg_t first, cg_t second, cg_t third)
{
    const cg_t terms[] = {first, second, third};
    return cg_add(b->net, terms, 3);
}

/* -- kinds: everything before the final ReLU ------------------------------- */

static cg_t block_z(const block *b)
{
    cg_t u = cbr(b, b->x, b->c, 3, b->s);
    return cg_add2(b->net, u, separated(b, u, 1));
}

static cg_t block_a22(const block *b)
{
    cg_t u = cbr(b, b->x, b->c, 3, b->s);
    cg_t v = cbr(b, u, b->c, 1, 1);
    return cg_add2(b->net, u, cb(b, v, 1, 1));
}

static cg_t block_b23(const block *b)
{
    cg_t u = separated(b, b->x, b->s);
    u = separated(b, u, 1);
    return cg_add2(b->net, shortcut(b), u);
}

static cg_t block_j30(const block *b)
{
    cg_t u = cbr(b, b->x, b->c, 3, b->s);
    u = separated(b, u, 1);
    return cg_add2(b->net, shortcut(b), u);
}

static cg_t block_g30(const block *b)
{
    cg_t u = separated(b, b->x, b->s);
    cg_t v = cg_add2(b->net, shortcut(b), u);
    v = separated(b, v, 1);
    return cg_add2(b->net, u, cb(b, v, 1, 1));
}

static cg_t block_r30(const block *b)
{
    cg_t u = separated(b, b->x, b->s);
    cg_t v = cg_add2(b->net, shortcut(b), u);
    v = cb(b, v, 1, 1);
    u = separated(b, u, 1);
    return sum3(b, shortcut(b), v, u);
}

static cg_t block_l20(const block *b)
{
    cg_t u = cbr(b, b->x, b->c, 3, b->s);
    return cb(b, u, 1, 1);
}

static cg_t block_t20(const block *b)
{
    cg_t u = cb(b, b->x, 1, b->s);
    return cg_add2(b->net, u, separated(b, b->x, b->s));
}

static cg_t block_t31(const block *b)
{
    cg_t u = separated(b, b->x, b->s);
    cg_t v = cbr(b, u, b->c, 1, 1);
    cg_t w = cg_add2(b->net, shortcut(b), v);
    w = separated(b, w, 1);
    return sum3(b, shortcut(b), v, w);
}

static cg_t block_src0(const block *b)
{
    cg_t u = cbr(b, b->x, b->c, 1, b->s);
    cg_t v = cbr(b, u, b->c, 3, 1);
    return cg_add2(b->net, u, cb(b, v, 3, 1));
}

/* The long branch keeps the input's channels and size in its first half. */
static cg_t block_src1(const block *b)
{
    cg_t u = cbr(b, b->x, b->c, 1, b->s);
    cg_t v = cbr(b, b->x, cg_channels(b->x), 3, 1);
    return cg_add2(b->net, u, cb(b, v, 3, b->s));
}

static cg_t block_src3(const block *b)
{
    cg_t u = cb(b, b->x, 1, b->s);
    cg_t v = cbr(b, b->x, cg_channels(b->x), 1, 1);
    v = cbr(b, v, b->c, 3, b->s);
    return cg_add2(b->net, u, cb(b, v, 1, 1));
}

static cg_t block_src7(const block *b)
{
    cg_t u = cb(b, b->x, 1, b->s);
    cg_t v = separated(b, u, 1);
    return cg_add2(b->net, u, separated(b, v, 1));
}

static cg_t block_src8(const block *b)
{
    cg_t u = cb(b, b->x, 1, b->s);
    cg_t v = separated(b, u, 1);
    return cg_add2(b->net, u, cb(b, v, 1, 1));
}

/* No name begins another one, so reading a name needs no look ahead. */
static const struct {
    const char *name;
    cg_t (*make)(const block *b);
} kinds[] = {
    {"z", block_z},       {"a22", block_a22},   {"b23", block_b23},
    {"j30", block_j30},   {"g30", block_g30},   {"r30", block_r30},
    {"l20", block_l20},   {"t20", block_t20},   {"t31", block_t31},
    {"src0", block_src0}, {"src1", block_src1}, {"src3", block_src3},
    {"src7", block_src7}, {"src8", block_src8},
};
#define N_KINDS ((int)(sizeof kinds / sizeof *kinds))

static const struct {
    int channels, stride;
} stages[N_STAGES] = {{64, 1}, {128, 2}, {128, 1}, {256, 2}};

/* -- codes ----------------------------------------------------------------- */

typedef struct arch {
    int kind[N_STAGES];
} arch;

static int find_kind(const char *at)
{
    for (int k = 0; k < N_KINDS; k++)
        if (strncmp(at, kinds[k].name, strlen(kinds[k].name)) == 0)
            return k;
    return -1;
}

static cg_err parse(const char *code, void *to)
{
    arch *a = to;
    const char *at = code;
    for (int s = 0; s < N_STAGES; s++) {
        if (s > 0 && *at++ != '-')
            return cg_zoo_bad(code, at - 1, "expected '-' after block %d", s);
        int kind = find_kind(at);
        if (kind < 0)
            return cg_zoo_bad(code, at,
                              "expected a block: z a22 b23 j30 g30 r30 l20 t20 "
                              "t31 src0 src1 src3 src7 src8");
        a->kind[s] = kind;
        at += strlen(kinds[kind].name);
    }
    if (*at)
        return cg_zoo_bad(code, at, "expected the end of the code");
    return CG_OK;
}

static void print(const void *from, char *code)
{
    const int *k = ((const arch *)from)->kind;
    snprintf(code, CG_ZOO_CODE_MAX, "%s-%s-%s-%s", kinds[k[0]].name,
             kinds[k[1]].name, kinds[k[2]].name, kinds[k[3]].name);
}

static void sample(cg_rng *r, const cg_zoo_opts *o, void *to)
{
    (void)o;
    for (int s = 0; s < N_STAGES; s++)
        ((arch *)to)->kind[s] = (int)cg_rng_below(r, N_KINDS);
}

/* One stage gets another kind than it has. */
static void mutate(cg_rng *r, const cg_zoo_opts *o, void *to)
{
    (void)o;
    int *kind = &((arch *)to)->kind[cg_rng_below(r, N_STAGES)];
    int step = 1 + (int)cg_rng_below(r, N_KINDS - 1);
    *kind = (*kind + step) % N_KINDS;
}

/* Codes are their own keys: all 14^4 networks are different. */
static cg_err enumerate(bool (*each)(void *user, const char *key,
                                     const char *code), void *user)
{
    char code[CG_ZOO_CODE_MAX];
    int total = N_KINDS * N_KINDS * N_KINDS * N_KINDS;
    for (int i = 0; i < total; i++) {
        arch a;
        for (int s = N_STAGES - 1, rest = i; s >= 0; s--, rest /= N_KINDS)
            a.kind[s] = rest % N_KINDS;
        print(&a, code);
        if (!each(user, code, code))
            break;
    }
    return CG_OK;
}

/* -- the network ----------------------------------------------------------- */

/* `variant` is the only option, so any other text gave it a wrong value. */
static cg_err read_variant(const cg_zoo_opts *o, cg_op *act)
{
    bool torch = cg_zoo_word(o, "variant", "torch");
    if (o && o->text && !torch && !cg_zoo_word(o, "variant", "tf"))
        return cg_fail(CG_EUSAGE, "option variant: expected tf or torch");
    *act = torch ? CG_OP_RELU6 : CG_OP_RELU;
    return CG_OK;
}

static cg_err build(cg_net *net, const void *from, const cg_zoo_opts *o)
{
    const arch *a = from;
    block b = {.net = net};
    CG_TRY(read_variant(o, &b.act));
    cg_t x = cbr(&b, cg_net_input(net, 32, 32, 3), 64, 3, 2);
    for (int s = 0; s < N_STAGES; s++) {
        assert(a->kind[s] >= 0 && a->kind[s] < N_KINDS);
        for (int i = 0; i < 2; i++) {
            b.x = x;
            b.c = stages[s].channels;
            b.s = i == 0 ? stages[s].stride : 1;
            x = cg_activate(net, kinds[a->kind[s]].make(&b), CG_OP_RELU);
        }
    }
    x = cg_linear(net, cg_mean(net, x), 10);
    return cg_net_output(net, x);
}

const cg_zoo_family cg_zoo_hiaml = {
    .name = "hiaml",
    .grammar = "four blocks joined by '-', each of z a22 b23 j30 g30 r30 l20 "
               "t20 t31 src0 src1 src3 src7 src8",
    .example = "z-a22-src3-t31",
    .options = "variant",
    .parse = parse,
    .print = print,
    .build = build,
    .sample = sample,
    .mutate = mutate,
    .enumerate = enumerate,
};
