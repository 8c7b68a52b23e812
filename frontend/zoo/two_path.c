/* Two-Path: two chains of blocks side by side, concatenated at their ends, on
 * images of 32 x 32.
 *
 * Mills et al., "GENNAPE: Towards Generalized Neural Architecture Performance
 * Estimators", AAAI 2023, whose code says more than its text: the operators
 * below are the code's. Its graphs were built in TensorFlow and its networks
 * in PyTorch, which differ in a bottleneck's ReLU6s: none, or one after each
 * convolution. variant=torch gives the second, variant=tf is the default. */
#include <assert.h>
#include <string.h>

#include "frontend/zoo/chain.h"
#include "frontend/zoo/net.h"
#include "frontend/zoo/zoo.h"

enum {
    N_PATHS = 2,
    MIN_BLOCKS = 2,
    MAX_BLOCKS = 4,
    N_REDUCING = 2, /* 16 pixels and 32 channels become 4 and 128 */
};

/* Bytes throughout, so that equal architectures are equal memory. */
typedef struct block {
    uint8_t reduces; /* halves the image, doubles the channels */
    cg_chain chain;
} block;

typedef struct path {
    uint8_t n_blocks;
    block block[MAX_BLOCKS]; /* zero past n_blocks */
} path;

typedef struct arch {
    path path[N_PATHS];
} arch;

_Static_assert(sizeof(arch) <= CG_ZOO_ARCH_MAX, "arch fits its place");

/* -- operators ------------------------------------------------------------ */

static cg_make_fn conv, twice, bottleneck, separable;

static const cg_part parts[] = {
    {"conv3x3",          conv,            3},
    {"double3x3",        twice,           3},
    {"conv5x5",          conv,            5},
    {"bottleneck-r2-k3", bottleneck,      3, 1, 2},
    {"bottleneck-r4-k3", bottleneck,      3, 1, 4},
    {"bottleneck-e2-k3", bottleneck,      3, 2, 1},
    {"inception_s3x3",   separable,       3},
    {"inception_s5x5",   separable,       5},
    {"conv1x1",          conv,            1}, /* from here on: at most one */
    {"bottleneck-r2-k1", bottleneck,      1, 1, 2},
    {"bottleneck-e2-k1", bottleneck,      1, 2, 1},
    {"avgpool3x3",       cg_make_avgpool, 3},
    {"maxpool3x3",       cg_make_maxpool, 3},
};

static const cg_kit kit = {
    .part = parts,
    .n_conv = 8,
    .n_supp = 5,
    .max_ops = 3,
    .what = "block",
    .expected = "conv1x1, conv3x3, conv5x5, double3x3, inception_s3x3, "
                "inception_s5x5, bottleneck-r2-k3, -r4-k3, -e2-k3, -r2-k1, "
                "-e2-k1, avgpool3x3 or maxpool3x3",
};

_Static_assert(sizeof parts / sizeof *parts == 8 + 5, "all parts counted");

static cg_t conv(cg_net *net, cg_t x, const cg_part *p, const cg_site *s)
{
    return cg_cb6(net, x, s->cout, cg_square(p->kernel, s->stride));
}

/* The first keeps the channels that come in, and has the stride. */
static cg_t twice(cg_net *net, cg_t x, const cg_part *p, const cg_site *s)
{
    x = cg_cb6(net, x, cg_channels(x), cg_square(p->kernel, s->stride));
    return cg_cb6(net, x, s->cout, cg_square(p->kernel, 1));
}

static cg_t bottleneck(cg_net *net, cg_t x, const cg_part *p, const cg_site *s)
{
    int inner = cg_channels(x) * p->times / p->over;
    cg_t (*layer)(cg_net *, cg_t, int, cg_window) =
        s->torch ? cg_cb6 : cg_cb;
    x = layer(net, x, inner, cg_square(p->kernel, s->stride));
    return layer(net, x, s->cout, cg_square(p->kernel, 1));
}

/* 1xK then Kx1. The stride is the first's alone, in both directions. */
static cg_t separable(cg_net *net, cg_t x, const cg_part *p, const cg_site *s)
{
    cg_window wide = {1, p->kernel, s->stride, s->stride, 1, 1};
    cg_window tall = {p->kernel, 1, 1, 1, 1, 1};
    x = cg_cb6(net, x, s->cout, wide);
    return cg_cb6(net, x, s->cout, tall);
}

/* -- codes ---------------------------------------------------------------- */

static cg_err parse_path(const char *code, const char **at, path *p)
{
    const char *start = *at;
    int n_reducing = 0;
    for (;;) {
        if (p->n_blocks == MAX_BLOCKS)
            return cg_zoo_bad(code, *at, "a path has at most %d blocks",
                              MAX_BLOCKS);
        const char *word = *at;
        block *b = &p->block[p->n_blocks++];
        b->reduces = **at == '*';
        *at += b->reduces;
        CG_TRY(cg_chain_parse(&kit, code, at, &b->chain));
        n_reducing += b->reduces;
        if (n_reducing > N_REDUCING)
            return cg_zoo_bad(code, word, "a path has exactly two blocks "
                              "with '*', this is the third");
        if (**at != '|')
            break;
        (*at)++;
    }
    if (p->n_blocks < MIN_BLOCKS)
        return cg_zoo_bad(code, *at, "expected '|' and another block: a path "
                          "has %d to %d", MIN_BLOCKS, MAX_BLOCKS);
    if (n_reducing < N_REDUCING)
        return cg_zoo_bad(code, start, "the path that begins here has %d "
                          "blocks with '*', not two", n_reducing);
    return CG_OK;
}

static cg_err parse(const char *code, void *out)
{
    arch *a = out;
    const char *at = code;
    CG_TRY(parse_path(code, &at, &a->path[0]));
    if (*at != '/')
        return cg_zoo_bad(code, at, "expected '+', '|' or '/'");
    at++;
    CG_TRY(parse_path(code, &at, &a->path[1]));
    if (*at != '\0')
        return cg_zoo_bad(code, at, "expected '+', '|' or the end");
    return CG_OK;
}

static void print(const void *in, char *code)
{
    const arch *a = in;
    size_t used = 0;
    for (int p = 0; p < N_PATHS; p++)
        for (int k = 0; k < a->path[p].n_blocks; k++) {
            const block *b = &a->path[p].block[k];
            if (p + k > 0)
                code[used++] = k > 0 ? '|' : '/';
            if (b->reduces)
                code[used++] = '*';
            cg_chain_print(&kit, &b->chain, code, &used);
        }
}

/* -- the network ---------------------------------------------------------- */

/* Only the first convolution operator changes channels and size; what stands
 * before it works on the block's input as it is. */
static cg_t build_block(cg_net *net, cg_t input, const block *b, bool torch)
{
    int step = b->reduces ? 2 : 1;
    int cout = cg_channels(input) * step;
    bool changed = false;
    cg_t x = input;
    for (int i = 0; i < b->chain.n_ops; i++) {
        const cg_part *p = &parts[b->chain.op[i]];
        bool here = !changed && b->chain.op[i] < kit.n_conv;
        cg_site s = {here ? cout : cg_channels(x), here ? step : 1, torch};
        x = p->make(net, x, p, &s);
        changed |= here;
    }
    return b->reduces ? x : cg_add2(net, x, input);
}

static cg_err build(cg_net *net, const void *in, const cg_zoo_opts *o)
{
    const arch *a = in;
    bool torch = false;
    CG_TRY(cg_chain_variant(o, &torch));
    cg_t x = cg_net_input(net, 32, 32, 3);
    x = cg_cb6(net, x, 32, cg_square(3, 1));
    x = cg_cb6(net, x, 32, cg_square(3, 2));
    cg_t end[N_PATHS];
    for (int p = 0; p < N_PATHS; p++) {
        end[p] = x;
        for (int k = 0; k < a->path[p].n_blocks; k++)
            end[p] = build_block(net, end[p], &a->path[p].block[k], torch);
    }
    x = cg_concat(net, end, N_PATHS);
    x = cg_cb6(net, x, 512, cg_square(3, 1));
    return cg_net_output(net, cg_linear(net, cg_mean(net, x), 10));
}

/* -- chance --------------------------------------------------------------- */

static block draw_block(cg_rng *r, bool reduces)
{
    int n = 1 + (int)cg_rng_below(r, (uint32_t)kit.max_ops);
    return (block){reduces, cg_chain_draw(r, &kit, n)};
}

static void sample(cg_rng *r, const cg_zoo_opts *o, void *out)
{
    (void)o;
    arch *a = out;
    memset(a, 0, sizeof *a);
    for (int k = 0; k < N_PATHS; k++) {
        path *p = &a->path[k];
        uint32_t n = MIN_BLOCKS + cg_rng_below(r, MAX_BLOCKS - MIN_BLOCKS + 1);
        uint32_t first = cg_rng_below(r, n);
        uint32_t second = cg_rng_below(r, n - 1);
        second += second >= first;
        p->n_blocks = (uint8_t)n;
        for (uint32_t i = 0; i < n; i++)
            p->block[i] = draw_block(r, i == first || i == second);
    }
}

/* The k-th block that reduces or does not; there is one. */
static int nth_block(const path *p, bool reduces, uint32_t k)
{
    for (int i = 0; i < p->n_blocks; i++)
        if (p->block[i].reduces == reduces && k-- == 0)
            return i;
    assert(!"no such block");
    return 0;
}

static int any_plain_block(cg_rng *r, const path *p)
{
    return nth_block(p, false, cg_rng_below(r, p->n_blocks - N_REDUCING));
}

/* The moves of a mutation; false: this path does not allow it. */

static bool redraw_block(cg_rng *r, path *p)
{
    block *b = &p->block[cg_rng_below(r, p->n_blocks)];
    *b = draw_block(r, b->reduces);
    return true;
}

static bool replace_op(cg_rng *r, path *p)
{
    cg_chain_replace(r, &kit, &p->block[cg_rng_below(r, p->n_blocks)].chain);
    return true;
}

static bool move_star(cg_rng *r, path *p)
{
    if (p->n_blocks == MIN_BLOCKS)
        return false;
    int from = nth_block(p, true, cg_rng_below(r, N_REDUCING));
    int to = any_plain_block(r, p);
    p->block[from].reduces = 0;
    p->block[to].reduces = 1;
    return true;
}

static bool insert_block(cg_rng *r, path *p)
{
    if (p->n_blocks == MAX_BLOCKS)
        return false;
    uint32_t at = cg_rng_below(r, p->n_blocks + 1u);
    memmove(&p->block[at + 1], &p->block[at],
            (p->n_blocks - at) * sizeof(block));
    p->block[at] = draw_block(r, false);
    p->n_blocks++;
    return true;
}

static bool delete_block(cg_rng *r, path *p)
{
    if (p->n_blocks == MIN_BLOCKS)
        return false;
    int at = any_plain_block(r, p);
    p->n_blocks--;
    memmove(&p->block[at], &p->block[at + 1],
            (size_t)(p->n_blocks - at) * sizeof(block));
    p->block[p->n_blocks] = (block){0};
    return true;
}

static bool (*const moves[])(cg_rng *, path *) = {
    redraw_block, replace_op, move_star, insert_block, delete_block,
};

static void mutate(cg_rng *r, const cg_zoo_opts *o, void *inout)
{
    (void)o;
    arch *a = inout;
    path *p = &a->path[cg_rng_below(r, N_PATHS)];
    while (!moves[cg_rng_below(r, sizeof moves / sizeof *moves)](r, p))
        ;
}

const cg_zoo_family cg_zoo_two_path = {
    .name = "two_path",
    .grammar = "PATH/PATH; a path is 2..4 blocks joined by '|', a block 1..3 "
               "operators joined by '+'; exactly two blocks of a path have a "
               "'*' in front and reduce",
    .example = "conv3x3+avgpool3x3|*double3x3|*bottleneck-r2-k3+conv1x1/"
               "*inception_s5x5|bottleneck-e2-k3|*conv5x5",
    .options = "variant",
    .parse = parse,
    .print = print,
    .build = build,
    .sample = sample,
    .mutate = mutate,
};
