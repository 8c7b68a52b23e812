/* Inception: four stages of blocks with one to four parallel paths, on images
 * of 32 x 32.
 *
 * Mills et al., "GENNAPE: Towards Generalized Neural Architecture Performance
 * Estimators", AAAI 2023. Their code has four stages, their text three; a code
 * of three stages is the text's form. Their graphs were built in TensorFlow
 * and their networks in PyTorch, which differ in the ReLU6s of inception_p:
 * one, or one more on each half; variant=torch gives the second, variant=tf is
 * the default. Option stages is for sampling: 4, or 3. All convolutions have a
 * bias, although a BatchNorm follows. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "frontend/zoo/chain.h"
#include "frontend/zoo/net.h"
#include "frontend/zoo/zoo.h"

enum { MAX_STAGES = 4, MAX_PATHS = 4, MIN_REPEATS = 2 };

/* Without padding, so that equal architectures are equal memory. */
typedef struct path {
    uint16_t inner, outer; /* channels */
    cg_chain chain;
} path;

typedef struct stage {
    uint16_t repeats, n_paths;
    path path[MAX_PATHS]; /* zero past n_paths */
} stage;

typedef struct arch {
    uint16_t n_stages;
    stage stage[MAX_STAGES]; /* zero past n_stages */
} arch;

_Static_assert(sizeof(arch) <= CG_ZOO_ARCH_MAX, "arch fits its place");

/* What a stage may be, by the number of stages. */
typedef struct form {
    int n_stages, max_repeats;
    int first_stride; /* of stage 1; 2 in all others */
    int channels[MAX_STAGES];
} form;

static const form forms[] = {
    {4, 6, 1, {32, 64, 128, 256}}, /* the authors' code */
    {3, 4, 2, {64, 128, 256}},     /* the paper's text */
};

static const form *form_of(int n_stages)
{
    return &forms[n_stages == forms[1].n_stages];
}

/* How many operators, by the number of paths. */
static const int min_ops_of_path[MAX_PATHS + 1] = {0, 1, 1, 2, 2};
static const int max_ops_of_block[MAX_PATHS + 1] = {0, 3, 4, 8, 10};

/* -- operators ------------------------------------------------------------ */

static cg_make_fn conv, twice, depthwise, separable, parallel;

enum { N_CONV = 8, N_SUPP = 4, FIRST_POOL = 10 };

static const cg_part parts[N_CONV + N_SUPP] = {
    {"conv3x3",        conv,            3},
    {"conv5x5",        conv,            5},
    {"depthwise3x3",   depthwise,       3},
    {"depthwise5x5",   depthwise,       5},
    {"inception_s3x3", separable,       3},
    {"inception_s5x5", separable,       5},
    {"inception_p3x3", parallel,        3},
    {"inception_p5x5", parallel,        5},
    {"conv1x1",        conv,            1}, /* from here on: at most one */
    {"double1x1",      twice,           1},
    {"avgpool3x3",     cg_make_avgpool, 3}, /* and no change of channels */
    {"maxpool3x3",     cg_make_maxpool, 3},
};

static const cg_kit kit = {
    .part = parts,
    .n_conv = N_CONV,
    .n_supp = N_SUPP,
    .max_ops = 4,
    .what = "path",
    .expected = "conv, depthwise, inception_s or inception_p with 3x3 or 5x5, "
                "conv1x1, double1x1, avgpool3x3 or maxpool3x3",
};

static cg_t conv_norm(cg_net *net, cg_t x, int cout, cg_window w)
{
    return cg_batchnorm(net, cg_conv(net, x, cout, w, true));
}

static cg_t conv_norm_act(cg_net *net, cg_t x, int cout, cg_window w)
{
    return cg_activate(net, conv_norm(net, x, cout, w), CG_OP_RELU6);
}

/* 1xK with a stride in width alone, Kx1 with one in height. */
static cg_window wide(int kernel, int stride)
{
    return (cg_window){1, kernel, 1, stride, 1, 1};
}

static cg_window tall(int kernel, int stride)
{
    return (cg_window){kernel, 1, stride, 1, 1, 1};
}

static cg_t conv(cg_net *net, cg_t x, const cg_part *p, const cg_site *s)
{
    return conv_norm_act(net, x, s->cout, cg_square(p->kernel, s->stride));
}

static cg_t twice(cg_net *net, cg_t x, const cg_part *p, const cg_site *s)
{
    assert(s->stride == 1);
    return conv(net, conv(net, x, p, s), p, s);
}

/* A depthwise convolution cannot change channels: a bare 1x1 one, without
 * bias or BatchNorm, does it before. */
static cg_t depthwise(cg_net *net, cg_t x, const cg_part *p, const cg_site *s)
{
    if (cg_channels(x) != s->cout)
        x = cg_conv(net, x, s->cout, cg_square(1, 1), false);
    x = cg_depthwise(net, x, cg_square(p->kernel, s->stride), true);
    return cg_activate(net, cg_batchnorm(net, x), CG_OP_RELU6);
}

static cg_t separable(cg_net *net, cg_t x, const cg_part *p, const cg_site *s)
{
    x = conv_norm_act(net, x, s->cout, wide(p->kernel, s->stride));
    return conv_norm_act(net, x, s->cout, tall(p->kernel, s->stride));
}

/* 1xK beside Kx1, each for half of the channels. With a stride each half needs
 * both, in opposite order, to shrink in both directions. */
static cg_t parallel(cg_net *net, cg_t x, const cg_part *p, const cg_site *s)
{
    int k = p->kernel, left = s->cout / 2, right = s->cout - left;
    cg_t half[2];
    half[0] = conv_norm(net, x, left, wide(k, s->stride));
    half[1] = conv_norm(net, x, right, tall(k, s->stride));
    if (s->stride > 1) {
        half[0] = conv_norm(net, half[0], left, tall(k, s->stride));
        half[1] = conv_norm(net, half[1], right, wide(k, s->stride));
    }
    for (int i = 0; i < 2 && s->torch; i++)
        half[i] = cg_activate(net, half[i], CG_OP_RELU6);
    return cg_activate(net, cg_concat(net, half, 2), CG_OP_RELU6);
}

/* -- what a path may be --------------------------------------------------- */

/* The operators that give the inner and the outer channels (the first and the
 * last that can) and the one with the stride, which is never outside them. */
typedef struct roles {
    int inner, strided, outer;
} roles;

static roles roles_of(const path *p)
{
    roles r = {-1, -1, -1};
    for (int i = 0; i < p->chain.n_ops; i++) {
        if (p->chain.op[i] >= FIRST_POOL)
            continue;
        if (r.inner < 0)
            r.inner = i;
        if (r.strided < 0 && p->chain.op[i] < N_CONV)
            r.strided = i;
        r.outer = i;
    }
    return r;
}

static int at_least_16(int channels)
{
    return channels < 16 ? 16 : channels;
}

/* Of path i of n before they are shuffled: equal shares of the stage's
 * channels, or a half and two quarters. */
static int share(int channels, int n, int i)
{
    static const int divisor[MAX_PATHS + 1] = {0, 1, 2, 4, 4};
    return at_least_16(channels / (n == 3 && i == 0 ? 2 : divisor[n]));
}

static bool inner_allowed(const path *p)
{
    roles r = roles_of(p);
    if (r.inner == r.outer)
        return p->inner == p->outer;
    return p->inner == p->outer || p->inner == 2 * p->outer ||
           p->inner == at_least_16(p->outer / 2);
}

/* -- codes ---------------------------------------------------------------- */

/* Where the parts of a path began, for what is found wrong later. */
typedef struct marks {
    const char *ops, *inner, *outer;
} marks;

/* Digits without a zero in front; which numbers are allowed is for the caller
 * to say. */
static cg_err parse_channels(const char *code, const char **at, uint16_t *out)
{
    size_t n = strspn(*at, "0123456789");
    if (n == 0 || n > 3 || **at == '0')
        return cg_zoo_bad(code, *at, "expected a number of channels, 16 to "
                          "512");
    for (*out = 0; n > 0; n--, (*at)++)
        *out = (uint16_t)(10 * *out + (**at - '0'));
    return CG_OK;
}

static cg_err parse_char(const char *code, const char **at, char c,
                         const char *what)
{
    if (**at != c)
        return cg_zoo_bad(code, *at, "expected %s", what);
    (*at)++;
    return CG_OK;
}

static cg_err parse_path(const char *code, const char **at, path *p, marks *m)
{
    m->ops = *at;
    CG_TRY(cg_chain_parse(&kit, code, at, &p->chain));
    CG_TRY(parse_char(code, at, ':', "'+' or ':'"));
    m->inner = *at;
    CG_TRY(parse_channels(code, at, &p->inner));
    CG_TRY(parse_char(code, at, '-', "'-'"));
    m->outer = *at;
    return parse_channels(code, at, &p->outer);
}

/* Outer channels are the shares in any order. */
static cg_err check_shares(const char *code, const stage *s, const marks *m,
                           int channels)
{
    int n = s->n_paths;
    int large = share(channels, n, 0), small = share(channels, n, n - 1);
    bool has_large = large == small;
    for (int i = 0; i < n; i++) {
        int c = s->path[i].outer;
        if (c == large && !has_large)
            has_large = true;
        else if (c != small || (i == n - 1 && !has_large))
            return cg_zoo_bad(code, m[i].outer, large == small
                              ? "expected %d, a path's share of %d channels"
                              : "one path of this stage has %d of its %d "
                                "channels, the others have half of that",
                              large, channels);
    }
    return CG_OK;
}

static cg_err check_inner(const char *code, const path *p, const marks *m)
{
    roles r = roles_of(p);
    int c = p->outer;
    if (inner_allowed(p))
        return CG_OK;
    if (r.inner == r.outer)
        return cg_zoo_bad(code, m->inner, "expected %d: only one operator of "
                          "this path can change channels", c);
    return cg_zoo_bad(code, m->inner, "expected %d, %d or %d",
                      at_least_16(c / 2), c, 2 * c);
}

static cg_err check_stage(const char *code, const stage *s, const marks *m,
                          int channels)
{
    int total = 0;
    for (int i = 0; i < s->n_paths; i++) {
        const path *p = &s->path[i];
        total += p->chain.n_ops;
        if (p->chain.n_ops < min_ops_of_path[s->n_paths])
            return cg_zoo_bad(code, m[i].ops, "each of %d paths has at least "
                              "%d operators", s->n_paths,
                              min_ops_of_path[s->n_paths]);
        if (total > max_ops_of_block[s->n_paths])
            return cg_zoo_bad(code, m[i].ops, "a block with %d path%s has at "
                              "most %d operators, %d up to here", s->n_paths,
                              s->n_paths > 1 ? "s" : "",
                              max_ops_of_block[s->n_paths], total);
    }
    CG_TRY(check_shares(code, s, m, channels));
    for (int i = 0; i < s->n_paths; i++)
        CG_TRY(check_inner(code, &s->path[i], &m[i]));
    return CG_OK;
}

static cg_err parse_stage(const char *code, const char **at, const form *f,
                          int channels, stage *s)
{
    marks m[MAX_PATHS];
    if (**at < '0' + MIN_REPEATS || **at > '0' + f->max_repeats)
        return cg_zoo_bad(code, *at, "expected a number of blocks, %d to %d",
                          MIN_REPEATS, f->max_repeats);
    s->repeats = (uint16_t)(*(*at)++ - '0');
    CG_TRY(parse_char(code, at, 'x', "'x'"));
    CG_TRY(parse_char(code, at, '[', "'['"));
    for (;;) {
        if (s->n_paths == MAX_PATHS)
            return cg_zoo_bad(code, *at, "a block has at most %d paths",
                              MAX_PATHS);
        CG_TRY(parse_path(code, at, &s->path[s->n_paths], &m[s->n_paths]));
        s->n_paths++;
        if (**at != '|')
            break;
        (*at)++;
    }
    CG_TRY(parse_char(code, at, ']', "'|' or ']'"));
    return check_stage(code, s, m, channels);
}

static cg_err parse(const char *code, void *out)
{
    arch *a = out;
    /* What the first stage may be depends on how many there are. */
    int n = 1;
    for (const char *c = code; *c != '\0' && n <= MAX_STAGES; c++)
        n += *c == '/';
    const form *f = form_of(n);
    const char *at = code;
    for (int i = 0; i < f->n_stages; i++) {
        if (i > 0)
            CG_TRY(parse_char(code, &at, '/', "'/' and another stage, of "
                              "four (or of three, the paper's form)"));
        CG_TRY(parse_stage(code, &at, f, f->channels[i], &a->stage[i]));
        a->n_stages++;
    }
    if (*at != '\0')
        return cg_zoo_bad(code, at, "expected the end after %d stages",
                          f->n_stages);
    return CG_OK;
}

static void put(char *code, size_t *used, const char *text)
{
    size_t n = strlen(text);
    assert(*used + n < CG_ZOO_CODE_MAX);
    memcpy(code + *used, text, n + 1);
    *used += n;
}

static void print(const void *in, char *code)
{
    const arch *a = in;
    size_t used = 0;
    char number[32];
    for (int i = 0; i < a->n_stages; i++) {
        const stage *s = &a->stage[i];
        snprintf(number, sizeof number, "%s%dx[", i > 0 ? "/" : "",
                 s->repeats);
        put(code, &used, number);
        for (int k = 0; k < s->n_paths; k++) {
            const path *p = &s->path[k];
            put(code, &used, k > 0 ? "|" : "");
            cg_chain_print(&kit, &p->chain, code, &used);
            snprintf(number, sizeof number, ":%d-%d", p->inner, p->outer);
            put(code, &used, number);
        }
        put(code, &used, "]");
    }
}

/* -- the network ---------------------------------------------------------- */

static cg_t build_path(cg_net *net, cg_t x, const path *p, int stride,
                       bool torch)
{
    roles r = roles_of(p);
    for (int i = 0; i < p->chain.n_ops; i++) {
        const cg_part *part = &parts[p->chain.op[i]];
        cg_site s = {cg_channels(x), i == r.strided ? stride : 1, torch};
        if (i == r.inner)
            s.cout = p->inner;
        if (i == r.outer) /* the same operator: inner == outer */
            s.cout = p->outer;
        x = part->make(net, x, part, &s);
    }
    return x;
}

static cg_t build_block(cg_net *net, cg_t input, const stage *s, int channels,
                        int stride, bool torch)
{
    cg_t end[MAX_PATHS];
    for (int i = 0; i < s->n_paths; i++)
        end[i] = build_path(net, input, &s->path[i], stride, torch);
    cg_t x = cg_concat(net, end, s->n_paths);
    /* Shares of less than 16 were raised to 16, and add up to more. */
    if (cg_channels(x) != channels)
        x = conv_norm(net, x, channels, cg_square(1, 1));
    if (stride == 1 && cg_channels(input) == channels)
        x = cg_add2(net, x, input);
    return x;
}

static cg_err build(cg_net *net, const void *in, const cg_zoo_opts *o)
{
    const arch *a = in;
    const form *f = form_of(a->n_stages);
    bool torch = false;
    CG_TRY(cg_chain_variant(o, &torch));
    if (cg_zoo_number(o, "stages", f->n_stages) != f->n_stages)
        return cg_fail(CG_EUSAGE, "option stages: this code has %d",
                       f->n_stages);
    cg_t x = cg_net_input(net, 32, 32, 3);
    x = conv_norm_act(net, x, 32, cg_square(3, 1));
    for (int i = 0; i < f->n_stages; i++)
        for (int k = 0; k < a->stage[i].repeats; k++) {
            int stride = k > 0 ? 1 : i > 0 ? 2 : f->first_stride;
            x = build_block(net, x, &a->stage[i], f->channels[i], stride,
                            torch);
        }
    x = conv_norm_act(net, x, 512, cg_square(3, 1));
    return cg_net_output(net, cg_linear(net, cg_mean(net, x), 10));
}

/* -- chance --------------------------------------------------------------- */

/* As the authors do: half 3 in 10, the same 6, double 1. */
static void draw_inner(cg_rng *r, path *p)
{
    roles role = roles_of(p);
    p->inner = p->outer;
    if (role.inner == role.outer)
        return;
    uint32_t k = cg_rng_below(r, 10);
    if (k < 3)
        p->inner = (uint16_t)at_least_16(p->outer / 2);
    else if (k == 9)
        p->inner = (uint16_t)(2 * p->outer);
}

static void draw_block(cg_rng *r, stage *s, int channels)
{
    memset(s->path, 0, sizeof s->path);
    s->n_paths = (uint16_t)(1 + cg_rng_below(r, MAX_PATHS));
    int n = s->n_paths, least = min_ops_of_path[n], used = 0;
    /* Of the shares only the first can differ: to shuffle is to place it. */
    int first = (int)cg_rng_below(r, (uint32_t)n);
    for (int i = 0; i < n; i++) {
        int most = max_ops_of_block[n] - used - least * (n - 1 - i);
        assert(most <= kit.max_ops);
        int n_ops = least + (int)cg_rng_below(r, (uint32_t)(most - least + 1));
        used += n_ops;
        s->path[i].outer = (uint16_t)share(channels, n, i == first ? 0 : n - 1);
        s->path[i].chain = cg_chain_draw(r, &kit, n_ops);
        draw_inner(r, &s->path[i]);
    }
}

static void sample(cg_rng *r, const cg_zoo_opts *o, void *out)
{
    arch *a = out;
    const form *f = form_of(cg_zoo_number(o, "stages", 4) == 3 ? 3 : 4);
    memset(a, 0, sizeof *a);
    a->n_stages = (uint16_t)f->n_stages;
    for (int i = 0; i < f->n_stages; i++) {
        uint32_t choices = (uint32_t)(f->max_repeats - MIN_REPEATS + 1);
        a->stage[i].repeats = (uint16_t)(MIN_REPEATS +
                                         cg_rng_below(r, choices));
        draw_block(r, &a->stage[i], f->channels[i]);
    }
}

/* The moves of a mutation, on stage i; false: it does not allow this one. */

static bool change_repeats(cg_rng *r, const form *f, stage *s, int i)
{
    (void)i;
    bool more = cg_rng_below(r, 2) == 1;
    if (s->repeats == MIN_REPEATS)
        more = true;
    if (s->repeats == f->max_repeats)
        more = false;
    s->repeats = (uint16_t)(more ? s->repeats + 1 : s->repeats - 1);
    return true;
}

static bool redraw_block(cg_rng *r, const form *f, stage *s, int i)
{
    draw_block(r, s, f->channels[i]);
    return true;
}

static bool replace_op(cg_rng *r, const form *f, stage *s, int i)
{
    (void)f, (void)i;
    path *p = &s->path[cg_rng_below(r, s->n_paths)];
    cg_chain_replace(r, &kit, &p->chain);
    /* A pool in place of conv1x1 may leave one operator to change channels. */
    if (!inner_allowed(p))
        p->inner = p->outer;
    return true;
}

static bool change_inner(cg_rng *r, const form *f, stage *s, int i)
{
    (void)f, (void)i;
    path *p = &s->path[cg_rng_below(r, s->n_paths)];
    roles role = roles_of(p);
    if (role.inner == role.outer)
        return false;
    draw_inner(r, p);
    return true;
}

static bool (*const moves[])(cg_rng *, const form *, stage *, int) = {
    change_repeats, redraw_block, replace_op, change_inner,
};

static void mutate(cg_rng *r, const cg_zoo_opts *o, void *inout)
{
    (void)o;
    arch *a = inout;
    const form *f = form_of(a->n_stages);
    bool done = false;
    while (!done) {
        int i = (int)cg_rng_below(r, a->n_stages);
        uint32_t k = cg_rng_below(r, sizeof moves / sizeof *moves);
        done = moves[k](r, f, &a->stage[i], i);
    }
}

const cg_zoo_family cg_zoo_inception = {
    .name = "inception",
    .grammar = "four stages (or three, the paper's form) joined by '/'; a "
               "stage is Nx[PATH|PATH...], N blocks of 1..4 paths; a path is "
               "OP+OP...:INNER-OUTER, its operators and channels",
    .example = "2x[depthwise3x3+conv1x1:16-16|inception_p5x5:16-16]/"
               "3x[maxpool3x3+inception_s3x3+conv3x3:32-32|"
               "conv5x5+depthwise3x3:16-16|double1x1+conv3x3:16-16]/"
               "2x[conv3x3:128-128]/4x[inception_p3x3+conv3x3:64-128|"
               "conv1x1+depthwise5x5:128-128]",
    .options = "variant,stages",
    .parse = parse,
    .print = print,
    .build = build,
    .sample = sample,
    .mutate = mutate,
};
