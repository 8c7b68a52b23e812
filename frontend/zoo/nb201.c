/* NAS-Bench-201: three stages of five equal cells; a cell is the complete
 * graph of four nodes with one of five operators on each edge. Dong and Yang,
 * "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture
 * Search", ICLR 2020, arXiv:2001.00326. An edge may be `none`, a zero tensor:
 * the graph keeps what depends on the input. Option variant=cg is the network
 * of the published computation graphs of GENNAPE (Mills et al., AAAI 2023,
 * arXiv:2211.17226), which differs in pools, reductions and head. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "frontend/zoo/zoo.h"

#define N_OPS 5
#define NODES 4 /* of a cell, with its input */
#define EDGES 6

/* Edge k of a code: (0,1), (0,2), (1,2), (0,3), (1,3), (2,3). */
typedef struct cell_ops {
    uint8_t op[EDGES];
} cell_ops;

static cg_t none(cg_net *net, cg_t x) { return cg_zero(net, x); }

static cg_t skip(cg_net *net, cg_t x)
{
    (void)net;
    return x;
}

static cg_t conv1x1(cg_net *net, cg_t x)
{
    return cg_rcb(net, x, cg_channels(x), cg_square(1, 1));
}

static cg_t conv3x3(cg_net *net, cg_t x)
{
    return cg_rcb(net, x, cg_channels(x), cg_square(3, 1));
}

static cg_t pool3x3(cg_net *net, cg_t x)
{
    return cg_avgpool(net, x, cg_square(3, 1));
}

static cg_t pool3x3_cg(cg_net *net, cg_t x)
{
    return cg_batchnorm(net, pool3x3(net, x));
}

typedef cg_t layer(cg_net *net, cg_t x);

static const struct {
    const char *name;
    layer *build[2]; /* by variant */
} ops[N_OPS] = {
    {"none", {none, none}},
    {"skip_connect", {skip, skip}},
    {"nor_conv_1x1", {conv1x1, conv1x1}},
    {"nor_conv_3x3", {conv3x3, conv3x3}},
    {"avg_pool_3x3", {pool3x3, pool3x3_cg}},
};

/* -- the code ------------------------------------------------------------- */

static cg_err parse_op(const char *code, const char **s, uint8_t *op)
{
    for (uint8_t i = 0; i < N_OPS; i++) {
        size_t n = strlen(ops[i].name);
        if (strncmp(*s, ops[i].name, n) == 0) {
            *s += n;
            *op = i;
            return CG_OK;
        }
    }
    return cg_zoo_bad(code, *s, "expected none, skip_connect, nor_conv_1x1, "
                                "nor_conv_3x3 or avg_pool_3x3");
}

static cg_err expect(const char *code, const char **s, char c)
{
    if (**s != c)
        return cg_zoo_bad(code, *s, "expected '%c'", c);
    ++*s;
    return CG_OK;
}

static cg_err parse(const char *code, void *arch)
{
    cell_ops c;
    const char *s = code;
    int k = 0;
    for (int node = 1; node < NODES; node++) {
        if (node > 1)
            CG_TRY(expect(code, &s, '+'));
        CG_TRY(expect(code, &s, '|'));
        for (int from = 0; from < node; from++) {
            CG_TRY(parse_op(code, &s, &c.op[k++]));
            CG_TRY(expect(code, &s, '~'));
            CG_TRY(expect(code, &s, (char)('0' + from)));
            CG_TRY(expect(code, &s, '|'));
        }
    }
    if (*s)
        return cg_zoo_bad(code, s, "expected the end");
    memcpy(arch, &c, sizeof c);
    return CG_OK;
}

static void print(const void *arch, char *code)
{
    const uint8_t *op = ((const cell_ops *)arch)->op;
    for (int node = 1; node < NODES; node++) {
        code += sprintf(code, node > 1 ? "+|" : "|");
        for (int from = 0; from < node; from++)
            code += sprintf(code, "%s~%d|", ops[*op++].name, from);
    }
}

/* -- the network ----------------------------------------------------------- */

/* Halves the image, doubles the channels. */
static cg_t reduce(cg_net *net, cg_t x)
{
    int c = 2 * cg_channels(x);
    cg_t a = cg_rcb(net, x, c, cg_square(3, 2));
    a = cg_rcb(net, a, c, cg_square(3, 1));
    cg_t b = cg_avgpool_valid(net, x, cg_square(2, 2));
    b = cg_conv(net, b, c, cg_square(1, 1), false);
    return cg_add2(net, b, a);
}

static cg_t reduce_cg(cg_net *net, cg_t x)
{
    int c = cg_channels(x);
    cg_t a = cg_conv(net, x, c, cg_square(3, 1), false);
    a = cg_activate(net, a, CG_OP_RELU);
    a = cg_conv(net, a, 2 * c, cg_square(3, 2), false);
    cg_t b = cg_avgpool(net, x, cg_square(3, 2));
    b = cg_conv(net, b, 2 * c, cg_square(1, 1), false);
    return cg_activate(net, cg_add2(net, b, a), CG_OP_RELU);
}

static cg_t head(cg_net *net, cg_t x)
{
    return cg_mean(net, cg_activate(net, cg_batchnorm(net, x), CG_OP_RELU));
}

/* What the variants differ in: the benchmark's network, the published CGs. */
static const struct {
    layer *reduce, *head;
} variants[2] = {{reduce, head}, {reduce_cg, cg_mean}};

static cg_t cell(cg_net *net, const cell_ops *c, cg_t x, int variant)
{
    cg_t value[NODES] = {x};
    const uint8_t *op = c->op;
    for (size_t node = 1; node < NODES; node++) {
        cg_t terms[NODES];
        for (size_t from = 0; from < node; from++)
            terms[from] = ops[*op++].build[variant](net, value[from]);
        value[node] = cg_add(net, terms, node);
    }
    return value[NODES - 1];
}

/* A whole number among the options. */
static cg_err number(const cg_zoo_opts *o, const char *key, int otherwise,
                     int least, int most, int *out)
{
    double x = cg_zoo_number(o, key, otherwise);
    if (!(x >= least && x <= most && x == floor(x)))
        return cg_fail(CG_EUSAGE, "option %s must be a whole number from %d "
                                  "to %d", key, least, most);
    *out = (int)x;
    return CG_OK;
}

static cg_err read_variant(const cg_zoo_opts *o, int *variant)
{
    bool given = o && o->text && strstr(o->text, "variant=");
    *variant = cg_zoo_word(o, "variant", "cg");
    if (given && !*variant && !cg_zoo_word(o, "variant", "nb"))
        return cg_fail(CG_EUSAGE, "option variant: expected nb or cg");
    return CG_OK;
}

/* Images of 32 pixels and 10 or 100 classes; ImageNet16-120 has 16 and 120. */
static cg_err build(cg_net *net, const void *arch, const cg_zoo_opts *o)
{
    int classes, size, variant;
    CG_TRY(number(o, "classes", 10, 1, 100000, &classes));
    CG_TRY(number(o, "size", 32, 4, 4096, &size));
    CG_TRY(read_variant(o, &variant));
    if (size % 4)
        return cg_fail(CG_EUSAGE, "option size must be a multiple of 4");
    cg_t x = cg_net_input(net, size, size, 3);
    x = cg_cb(net, x, 16, cg_square(3, 1));
    for (int stage = 0; stage < 3; stage++) {
        if (stage > 0)
            x = variants[variant].reduce(net, x);
        for (int i = 0; i < 5; i++)
            x = cell(net, arch, x, variant);
    }
    x = variants[variant].head(net, x);
    return cg_net_output(net, cg_linear(net, x, classes));
}

/* -- chance ---------------------------------------------------------------- */

/* Whether the output depends on the input; 341 of 15,625 do not. */
static bool has_path(const cell_ops *c)
{
    unsigned reached = 1;
    const uint8_t *op = c->op;
    for (int node = 1; node < NODES; node++)
        for (int from = 0; from < node; from++)
            if (*op++ != 0 && (reached >> from & 1))
                reached |= 1u << node;
    return reached >> (NODES - 1) & 1;
}

/* Operators from this one on are drawn: option none=0 leaves out `none`. */
static uint8_t first_op(const cg_zoo_opts *o)
{
    return cg_zoo_number(o, "none", 1) == 0;
}

/* Uniform over the codes that are networks. */
static void sample(cg_rng *r, const cg_zoo_opts *o, void *arch)
{
    cell_ops *c = arch;
    uint8_t first = first_op(o);
    do
        for (int k = 0; k < EDGES; k++)
            c->op[k] = (uint8_t)(first + cg_rng_below(r, N_OPS - first));
    while (!has_path(c));
}

/* One edge gets another operator; of all such changes, one that leaves a
 * network (the edge from input to output always offers one). */
static void mutate(cg_rng *r, const cg_zoo_opts *o, void *arch)
{
    const cell_ops from = *(cell_ops *)arch;
    cell_ops *c = arch;
    uint8_t first = first_op(o);
    do {
        uint32_t k = cg_rng_below(r, EDGES);
        *c = from;
        while (c->op[k] == from.op[k])
            c->op[k] = (uint8_t)(first + cg_rng_below(r, N_OPS - first));
    } while (!has_path(c));
}

/* Also those without a path: they are codes, if no networks. The key is the
 * code. */
static cg_err enumerate(bool (*each)(void *user, const char *key,
                                     const char *code), void *user)
{
    for (int i = 0; i < N_OPS * N_OPS * N_OPS * N_OPS * N_OPS * N_OPS; i++) {
        cell_ops c;
        char code[CG_ZOO_CODE_MAX];
        for (int k = EDGES, rest = i; k-- > 0; rest /= N_OPS)
            c.op[k] = (uint8_t)(rest % N_OPS);
        print(&c, code);
        if (!each(user, code, code))
            break;
    }
    return CG_OK;
}

/* -- the family ------------------------------------------------------------ */

const cg_zoo_family cg_zoo_nb201 = {
    .name = "nb201",
    .grammar = "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|, op one of none "
               "skip_connect nor_conv_1x1 nor_conv_3x3 avg_pool_3x3",
    .example = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+"
               "|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|",
    .options = "classes,size,variant,none",
    .parse = parse,
    .print = print,
    .build = build,
    .sample = sample,
    .mutate = mutate,
    .enumerate = enumerate,
};
