/* NAS-Bench-301: the space of DARTS, with one normal and one reduction cell.
 * Zela et al., "Surrogate NAS Benchmarks: Going Beyond the Limited Search
 * Spaces of Tabular NAS Benchmarks", ICLR 2022, arXiv:2008.09777; Liu et al.,
 * "DARTS", ICLR 2019, arXiv:1806.09055. Options: C channels, L cells (32 and
 * 8; the full DARTS network has 36 and 20). */
#include <math.h>
#include <string.h>

#include "frontend/zoo/zoo.h"

#define N_OPS 8
#define NONE 7  /* other tables have it; it is never drawn */
#define NODES 4 /* of a cell, beside its two inputs */
#define PAIRS 8

typedef struct pair {
    uint8_t op, input; /* 0, 1: the cell's inputs; 2 ..: its nodes */
} pair;

/* Pairs 2j and 2j + 1 make node 2 + j, sorted by (input, op). */
typedef struct genotype {
    pair cell[2][PAIRS]; /* normal, reduction */
} genotype;

/* -- the operators --------------------------------------------------------- */

/* Halves the image by two convolutions, one of them a pixel further. */
static cg_t factorised(cg_net *net, cg_t x, int c)
{
    cg_t r = cg_activate(net, x, CG_OP_RELU), half[2];
    half[0] = cg_conv(net, r, c / 2, cg_square(1, 2), false);
    half[1] = cg_conv(net, cg_slice_origin(net, r), c / 2, cg_square(1, 2),
                      false);
    return cg_batchnorm(net, cg_concat(net, half, 2));
}

/* ReLU, depthwise, pointwise, BatchNorm. */
static cg_t separable(cg_net *net, cg_t x, cg_window w)
{
    cg_t y = cg_depthwise(net, cg_activate(net, x, CG_OP_RELU), w, false);
    return cg_cb(net, y, cg_channels(x), cg_square(1, 1));
}

static cg_t sep_conv(cg_net *net, cg_t x, int kernel, int stride)
{
    return separable(net, separable(net, x, cg_square(kernel, stride)),
                     cg_square(kernel, 1));
}

static cg_t dil_conv(cg_net *net, cg_t x, int kernel, int stride)
{
    cg_window w = cg_square(kernel, stride);
    w.dh = w.dw = 2;
    return separable(net, x, w);
}

static cg_t max_pool(cg_net *net, cg_t x, int kernel, int stride)
{
    return cg_maxpool(net, x, cg_square(kernel, stride));
}

static cg_t avg_pool(cg_net *net, cg_t x, int kernel, int stride)
{
    return cg_avgpool(net, x, cg_square(kernel, stride));
}

static cg_t skip(cg_net *net, cg_t x, int kernel, int stride)
{
    (void)kernel;
    return stride == 1 ? x : factorised(net, x, cg_channels(x));
}

/* A pool gives its shape; of it nothing is used. */
static cg_t none(cg_net *net, cg_t x, int kernel, int stride)
{
    return cg_maxpool(net, cg_zero(net, x), cg_square(kernel, stride));
}

static const struct {
    cg_t (*build)(cg_net *net, cg_t x, int kernel, int stride);
    int kernel;
} ops[N_OPS] = {
    {max_pool, 3}, {avg_pool, 3}, {skip, 1},     {sep_conv, 3},
    {sep_conv, 5}, {dil_conv, 3}, {dil_conv, 5}, {none, 1},
};

/* -- the code ------------------------------------------------------------- */

/* The node that pair k belongs to. */
static int node_of(int k) { return 2 + k / 2; }

static int rank(pair p) { return p.input * N_OPS + p.op; }

static cg_err parse_pair(const char *code, const char *s, int k, pair *p)
{
    if (s[0] < '0' || s[0] >= '0' + N_OPS)
        return cg_zoo_bad(code, s, "expected an operator, 0 to %d",
                          N_OPS - 1);
    if (s[1] < '0' || s[1] >= '0' + node_of(k))
        return cg_zoo_bad(code, s + 1, "expected an input of node %d, 0 to "
                          "%d", node_of(k), node_of(k) - 1);
    *p = (pair){(uint8_t)(s[0] - '0'), (uint8_t)(s[1] - '0')};
    if (k % 2 && rank(p[-1]) > rank(p[0]))
        return cg_zoo_bad(code, s, "a node's pairs must be sorted by input, "
                                   "then operator");
    return CG_OK;
}

static cg_err parse(const char *code, void *arch)
{
    genotype g;
    const char *s = code;
    for (int cell = 0; cell < 2; cell++) {
        for (int k = 0; k < PAIRS; k++, s += 2)
            CG_TRY(parse_pair(code, s, k, &g.cell[cell][k]));
        if (*s != (cell ? '\0' : '-'))
            return cg_zoo_bad(code, s, cell ? "expected the end"
                                            : "expected '-'");
        s++;
    }
    memcpy(arch, &g, sizeof g);
    return CG_OK;
}

static void print(const void *arch, char *code)
{
    const genotype *g = arch;
    for (int cell = 0; cell < 2; cell++) {
        for (int k = 0; k < PAIRS; k++) {
            *code++ = (char)('0' + g->cell[cell][k].op);
            *code++ = (char)('0' + g->cell[cell][k].input);
        }
        *code++ = cell ? '\0' : '-';
    }
}

/* -- the network ----------------------------------------------------------- */

/* s[0], s[1]: outputs of the cell before the previous one and of that one,
 * which may already be half as large. */
static cg_t cell(cg_net *net, const pair *pairs, const cg_t *s, int c,
                 bool halved, bool reduction)
{
    cg_t value[2 + NODES];
    value[0] = halved ? factorised(net, s[0], c)
                      : cg_rcb(net, s[0], c, cg_square(1, 1));
    value[1] = cg_rcb(net, s[1], c, cg_square(1, 1));
    for (int node = 2; node < 2 + NODES; node++) {
        cg_t terms[2];
        for (int i = 0; i < 2; i++, pairs++) {
            int stride = reduction && pairs->input < 2 ? 2 : 1;
            terms[i] = ops[pairs->op].build(net, value[pairs->input],
                                            ops[pairs->op].kernel, stride);
        }
        value[node] = cg_add(net, terms, 2);
    }
    return cg_concat(net, value + 2, NODES);
}

static cg_err number(const cg_zoo_opts *o, const char *key, int otherwise,
                     int most, int *out)
{
    double x = cg_zoo_number(o, key, otherwise);
    if (!(x >= 1 && x <= most && x == floor(x)))
        return cg_fail(CG_EUSAGE, "option %s must be a whole number from 1 "
                                  "to %d", key, most);
    *out = (int)x;
    return CG_OK;
}

static cg_err build(cg_net *net, const void *arch, const cg_zoo_opts *o)
{
    const genotype *g = arch;
    int c, n_cells;
    bool halved = false;
    CG_TRY(number(o, "C", 32, 1024, &c));
    CG_TRY(number(o, "L", 8, 256, &n_cells));
    cg_t x = cg_net_input(net, 32, 32, 3);
    x = cg_cb(net, x, 3 * c, cg_square(3, 1));
    cg_t s[2] = {x, x};
    for (int i = 0; i < n_cells; i++) {
        bool reduction = i == n_cells / 3 || i == 2 * n_cells / 3;
        c *= reduction ? 2 : 1;
        x = cell(net, g->cell[reduction], s, c, halved, reduction);
        halved = reduction;
        s[0] = s[1];
        s[1] = x;
    }
    return cg_net_output(net, cg_linear(net, cg_mean(net, x), 10));
}

/* -- chance ---------------------------------------------------------------- */

static void sort_node(pair *p)
{
    if (rank(p[0]) > rank(p[1])) {
        pair first = p[0];
        p[0] = p[1];
        p[1] = first;
    }
}

/* Uniform in 0 .. n - 1 without `not`. */
static uint8_t other(cg_rng *r, int n, int not)
{
    int x = (int)cg_rng_below(r, (uint32_t)n - 1);
    return (uint8_t)(x + (x >= not));
}

static void sample(cg_rng *r, const cg_zoo_opts *o, void *arch)
{
    genotype *g = arch;
    (void)o;
    for (int cell = 0; cell < 2; cell++)
        for (int k = 0; k < PAIRS; k += 2) {
            pair *p = &g->cell[cell][k];
            for (int i = 0; i < 2; i++)
                p[i].op = (uint8_t)cg_rng_below(r, NONE);
            p[0].input = (uint8_t)cg_rng_below(r, (uint32_t)node_of(k));
            p[1].input = other(r, node_of(k), p[0].input);
            sort_node(p);
        }
}

/* Another operator, or an input different from the sibling's and, but for
 * node 2 where there is no third one, from what it was. */
static void mutate(cg_rng *r, const cg_zoo_opts *o, void *arch)
{
    genotype *g = arch;
    (void)o;
    int k = (int)cg_rng_below(r, PAIRS);
    pair *cell = g->cell[cg_rng_below(r, 2)];
    pair *p = &cell[k], *sibling = &cell[k ^ 1];
    if (cg_rng_below(r, 2)) {
        p->op = p->op == NONE ? (uint8_t)cg_rng_below(r, NONE)
                              : other(r, NONE, p->op);
    } else {
        uint8_t was = p->input;
        do
            p->input = other(r, node_of(k), sibling->input);
        while (p->input == was && node_of(k) > 2);
    }
    sort_node(&cell[k & ~1]);
}

/* -- the family ------------------------------------------------------------ */

const cg_zoo_family cg_zoo_nb301 = {
    .name = "nb301",
    .grammar = "NORMAL-REDUCTION: each 8 pairs of digits, operator (0 to 7) "
               "and input, two per node, sorted by input then operator",
    .example = "0001000120535032-6001415202236031",
    .options = "C,L",
    .parse = parse,
    .print = print,
    .build = build,
    .sample = sample,
    .mutate = mutate,
};
