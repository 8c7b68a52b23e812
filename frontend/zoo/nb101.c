/* NAS-Bench-101: three stacks of three equal cells; a cell is a small graph
 * whose vertices are convolutions and pools. Ying et al., "NAS-Bench-101:
 * Towards Reproducible Neural Architecture Search", ICML 2019; the network is
 * that of the published labels (model_builder.py). */
#include "frontend/zoo/nb101.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "frontend/zoo/zoo.h"

#define N CG_NB101_VERTICES

static cg_t conv3x3(cg_net *net, cg_t x)
{
    return cg_cbr(net, x, cg_channels(x), cg_square(3, 1));
}

static cg_t conv1x1(cg_net *net, cg_t x)
{
    return cg_cbr(net, x, cg_channels(x), cg_square(1, 1));
}

static cg_t maxpool3x3(cg_net *net, cg_t x)
{
    return cg_maxpool(net, x, cg_square(3, 1));
}

/* The order is that of the module hash's labels. */
static const struct {
    const char *name;
    cg_t (*build)(cg_net *net, cg_t x);
} ops[CG_NB101_OPS] = {
    {"conv3x3", conv3x3},
    {"conv1x1", conv1x1},
    {"maxpool3x3", maxpool3x3},
};

/* -- the code ------------------------------------------------------------- */

static int match_op(const char *s)
{
    for (int i = 0; i < CG_NB101_OPS; i++)
        if (strncmp(s, ops[i].name, strlen(ops[i].name)) == 0)
            return i;
    return -1;
}

/* Words up to the ';', which is left; *s moves on. */
static cg_err parse_ops(const char *code, const char **s, cg_nb101_cell *c)
{
    c->n = 2;
    while (**s != ';' || c->n > 2) {
        int op = match_op(*s);
        if (op < 0)
            return cg_zoo_bad(code, *s, "expected conv3x3, conv1x1%s%s",
                              c->n > 2 ? " or maxpool3x3" : ", maxpool3x3",
                              c->n > 2 ? "" : " or ';'");
        if (c->n == N)
            return cg_zoo_bad(code, *s, "a cell has at most %d operators",
                              N - 2);
        c->op[c->n++ - 1] = (uint8_t)op;
        *s += strlen(ops[op].name);
        if (**s == ';')
            break;
        if (**s != ' ')
            return cg_zoo_bad(code, *s, "expected a space or ';'");
        ++*s;
    }
    return CG_OK;
}

/* A digit in from .. to. */
static cg_err parse_vertex(const char *code, const char **s, int from, int to,
                           int *v)
{
    *v = **s - '0';
    if (from == to && *v != to)
        return cg_zoo_bad(code, *s, "expected vertex %d", to);
    if (*v < from || *v > to)
        return cg_zoo_bad(code, *s, "expected a vertex, %d to %d", from, to);
    ++*s;
    return CG_OK;
}

static cg_err parse_edges(const char *code, const char *s, cg_nb101_cell *c)
{
    int last = -1, count = 0;
    for (;; s++) {
        int a, b;
        const char *edge = s;
        CG_TRY(parse_vertex(code, &s, 0, c->n - 2, &a));
        if (*s != '-')
            return cg_zoo_bad(code, s, "expected '-'");
        s++;
        CG_TRY(parse_vertex(code, &s, a + 1, c->n - 1, &b));
        if (a * N + b <= last)
            return cg_zoo_bad(code, edge, "edges must be in order, each once");
        if (++count > CG_NB101_EDGES)
            return cg_zoo_bad(code, edge, "a cell has at most %d edges",
                              CG_NB101_EDGES);
        last = a * N + b;
        c->out[a] |= (uint8_t)(1u << b);
        if (!*s)
            return CG_OK;
        if (*s != ' ')
            return cg_zoo_bad(code, s, "expected a space or the end");
    }
}

/* The first vertex that is not on a path from input to output, or -1. As
 * edges go upwards, a predecessor and a successor for each are enough. */
static int stray_vertex(const cg_nb101_cell *c)
{
    unsigned have_in = 1;
    for (int v = 0; v < c->n; v++)
        have_in |= c->out[v];
    for (int v = 0; v < c->n; v++)
        if (!(have_in >> v & 1) || (v < c->n - 1 && !c->out[v]))
            return v;
    return -1;
}

cg_err cg_nb101_parse(const char *code, cg_nb101_cell *out)
{
    cg_nb101_cell c = {0};
    const char *s = code;
    CG_TRY(parse_ops(code, &s, &c));
    s++;
    CG_TRY(parse_edges(code, s, &c));
    int stray = stray_vertex(&c);
    if (stray >= 0)
        return cg_zoo_bad(code, s,
                          "vertex %d is not on a path from 0 to %d", stray,
                          c.n - 1);
    *out = c;
    return CG_OK;
}

void cg_nb101_print(const cg_nb101_cell *c, char *code)
{
    char *s = code;
    for (int v = 1; v < c->n - 1; v++)
        s += sprintf(s, "%s%s", v > 1 ? " " : "", ops[c->op[v]].name);
    const char *between = ";";
    for (int v = 0; v < c->n; v++)
        for (int w = v + 1; w < c->n; w++)
            if (cg_nb101_edge(c, v, w)) {
                s += sprintf(s, "%s%d-%d", between, v, w);
                between = " ";
            }
}

/* -- the network ----------------------------------------------------------- */

/* Vertices with an edge to the output share its channels, the first of them
 * getting those that are left over; the others take the most that any of
 * their successors has. The input has 0: a projection gives what is wanted. */
static void share_channels(const cg_nb101_cell *c, int cout, int *ch)
{
    int last = c->n - 1, m = 0, k = 0;
    for (int v = 1; v < last; v++)
        m += cg_nb101_edge(c, v, last);
    for (int v = 1; v < last; v++)
        if (cg_nb101_edge(c, v, last))
            ch[v] = cout / m + (k++ < cout % m);
    for (int v = last - 1; v > 0; v--)
        for (int w = v + 1; w < last; w++)
            if (!cg_nb101_edge(c, v, last) && cg_nb101_edge(c, v, w) &&
                ch[v] < ch[w])
                ch[v] = ch[w];
}

static cg_t project(cg_net *net, cg_t x, int c)
{
    return cg_cbr(net, x, c, cg_square(1, 1));
}

static cg_t vertex(cg_net *net, const cg_nb101_cell *c, int v, const int *ch,
                   const cg_t *value)
{
    cg_t terms[N];
    size_t n = 0;
    for (int p = 1; p < v; p++)
        if (cg_nb101_edge(c, p, v))
            terms[n++] = ch[p] > ch[v]
                             ? cg_slice_channels(net, value[p], ch[v])
                             : value[p];
    if (cg_nb101_edge(c, 0, v))
        terms[n++] = project(net, value[0], ch[v]);
    return ops[c->op[v]].build(net, cg_add(net, terms, n));
}

static cg_t cell(cg_net *net, const cg_nb101_cell *c, cg_t x, int cout)
{
    int ch[N] = {0}, last = c->n - 1;
    cg_t value[N] = {x}, parts[N];
    size_t n = 0;
    share_channels(c, cout, ch);
    for (int v = 1; v < last; v++) {
        value[v] = vertex(net, c, v, ch, value);
        if (cg_nb101_edge(c, v, last))
            parts[n++] = value[v];
    }
    if (!cg_nb101_edge(c, 0, last))
        return cg_concat(net, parts, n);
    if (n == 0)
        return project(net, x, cout);
    cg_t all = cg_concat(net, parts, n);
    return cg_add2(net, all, project(net, x, cout));
}

static cg_err build(cg_net *net, const void *arch, const cg_zoo_opts *o)
{
    (void)o;
    cg_t x = cg_net_input(net, 32, 32, 3);
    x = cg_cbr(net, x, 128, cg_square(3, 1));
    for (int stack = 0; stack < 3; stack++) {
        if (stack > 0)
            x = cg_maxpool_valid(net, x, cg_square(2, 2));
        for (int i = 0; i < 3; i++)
            x = cell(net, arch, x, 128 << stack);
    }
    return cg_net_output(net, cg_linear(net, cg_mean(net, x), 10));
}

/* -- chance ---------------------------------------------------------------- */

/* Keeps the vertices that are on a path from the first to the last of N.
 * False: there is no path, or too many edges are left. */
static bool prune(const cg_nb101_cell *c, cg_nb101_cell *out)
{
    unsigned down = 1, up = 1u << (N - 1);
    int edges = 0, number[N];
    for (int v = 0; v < N; v++)
        if (down >> v & 1)
            down |= c->out[v];
    for (int v = N - 2; v >= 0; v--)
        if (c->out[v] & up)
            up |= 1u << v;
    if (!(down & up & 1))
        return false;
    *out = (cg_nb101_cell){0};
    for (int v = 0; v < N; v++)
        if (down & up & 1u << v) {
            number[v] = out->n;
            out->op[out->n++] = v < N - 1 ? c->op[v] : 0;
        }
    out->op[0] = 0;
    for (int v = 0; v < N; v++)
        for (int w = v + 1; w < N; w++)
            if ((down & up & 1u << v) && (down & up & 1u << w) &&
                cg_nb101_edge(c, v, w)) {
                out->out[number[v]] |= (uint8_t)(1u << number[w]);
                edges++;
            }
    return edges <= CG_NB101_EDGES;
}

static uint8_t random_op(cg_rng *r)
{
    return (uint8_t)cg_rng_below(r, CG_NB101_OPS);
}

static void sample(cg_rng *r, const cg_zoo_opts *o, void *arch)
{
    cg_nb101_cell c;
    (void)o;
    do {
        c = (cg_nb101_cell){.n = N};
        for (int v = 0; v < N; v++)
            for (int w = v + 1; w < N; w++)
                c.out[v] |= (uint8_t)(cg_rng_below(r, 2) << w);
        for (int v = 1; v < N - 1; v++)
            c.op[v] = random_op(r);
    } while (!prune(&c, arch));
}

/* A cell in N vertices: those it lacks are put at random places among its own,
 * without edges and with any operator, as if they had been pruned. */
static void widen(cg_rng *r, const cg_nb101_cell *c, cg_nb101_cell *out)
{
    int place[N], left = c->n - 2;
    *out = (cg_nb101_cell){.n = N};
    place[0] = 0;
    place[c->n - 1] = N - 1;
    for (int slot = 1; slot < N - 1; slot++) {
        bool own = (int)cg_rng_below(r, (uint32_t)(N - 1 - slot)) < left;
        if (own)
            place[c->n - 1 - left] = slot;
        out->op[slot] = own ? c->op[c->n - 1 - left] : random_op(r);
        left -= own;
    }
    for (int v = 0; v < c->n; v++)
        for (int w = v + 1; w < c->n; w++)
            if (cg_nb101_edge(c, v, w))
                out->out[place[v]] |= (uint8_t)(1u << place[w]);
}

/* Mutation of the benchmark's example of regularised evolution: on average
 * three edges and one operator change. */
static void mutate(cg_rng *r, const cg_zoo_opts *o, void *arch)
{
    cg_nb101_cell from, c;
    (void)o;
    widen(r, arch, &from);
    do {
        c = from;
        for (int v = 0; v < N; v++)
            for (int w = v + 1; w < N; w++)
                if (cg_rng_below(r, N) == 0)
                    c.out[v] ^= (uint8_t)(1u << w);
        for (int v = 1; v < N - 1; v++)
            if (cg_rng_below(r, N - 2) == 0)
                c.op[v] = (uint8_t)((c.op[v] + 1 + cg_rng_below(r, 2)) %
                                    CG_NB101_OPS);
    } while (!prune(&c, arch));
}

/* -- the family ------------------------------------------------------------ */

static cg_err parse(const char *code, void *arch)
{
    return cg_nb101_parse(code, arch);
}

static void print(const void *arch, char *code) { cg_nb101_print(arch, code); }

_Static_assert(sizeof(cg_nb101_cell) <= CG_ZOO_ARCH_MAX, "fits");

const cg_zoo_family cg_zoo_nb101 = {
    .name = "nb101",
    .grammar = "OPS;EDGES: 0 to 5 of conv3x3 conv1x1 maxpool3x3; edges A-B "
               "from lower to higher vertices, sorted, at most 9",
    .example = "conv3x3 conv1x1;0-1 0-2 1-2 1-3 2-3",
    .options = "",
    .parse = parse,
    .print = print,
    .build = build,
    .sample = sample,
    .mutate = mutate,
    .enumerate = cg_nb101_enumerate,
};
