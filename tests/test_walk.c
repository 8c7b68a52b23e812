/* Walks: what is met against all ways through small networks, taken one by
 * one, and how columns are chosen. */
#include "tests/numbers.h"

#include <stdio.h>
#include <stdlib.h>

#include "runtime/walk.h"

enum { MOST = 12 };

/* -- networks -------------------------------------------------------------- */

/* Node v is of kind kind[v], its inputs are the bits of reads[v], all earlier
 * ones. */
typedef struct net {
    uint32_t n, kind[MOST], reads[MOST];
} net;

static cg_token token_of(uint32_t kind, uint32_t channels)
{
    cg_token t = {.op = CG_OP_CONV, .act = CG_TOKEN_OPS, .groups = 1,
                  .hw_max = 64, .c_max = channels,
                  .out = {64u >> kind % 4, 64u >> kind % 4, channels},
                  .weight = {1 + kind / 4, 1 + kind / 4, 1, channels}};
    return t;
}

static void add(cg_set_builder *b, const net *n, uint32_t channels)
{
    cg_token token[MOST];
    uint32_t start[MOST + 1] = {0}, pred[MOST * MOST], parent[MOST] = {0};
    uint8_t level[MOST] = {0};
    cg_features f = {.n_nodes = n->n, .token = token, .start = start,
                     .pred = pred, .parent = parent, .level = level};
    for (uint32_t v = 0; v < n->n; v++) {
        token[v] = token_of(n->kind[v], channels);
        for (uint32_t u = 0; u < v; u++)
            if (n->reads[v] >> u & 1)
                pred[f.n_edges++] = u;
        start[v + 1] = f.n_edges;
        f.topology[0] = f.topology[0] * 31 + n->reads[v];
    }
    f.topology[1] = n->n;
    cg_set_builder_add(b, &f, "x", NULL);
}

static cg_set *pack(const net *nets, uint32_t n, uint32_t channels)
{
    cg_set *s;
    cg_set_builder *b = cg_set_builder_new("walks", CG_FORM_FUSED, NULL, 0);
    for (uint32_t i = 0; i < n; i++)
        add(b, &nets[i], channels);
    good(cg_set_builder_finish(b, &s));
    cg_set_builder_free(b);
    return s;
}

static cg_examples all_of(const cg_set *s)
{
    cg_examples e = {.n = s->n_graphs};
    e.pick = cg_xcalloc((size_t)e.n + 1, sizeof *e.pick);
    for (uint32_t i = 0; i < e.n; i++)
        e.pick[i] = (cg_pick){s, i};
    return e;
}

static void forget(cg_examples *e)
{
    cg_xfree(e->pick);
}

static net draw(uint32_t n, uint32_t kinds)
{
    net out = {.n = n};
    for (uint32_t v = 0; v < n; v++) {
        out.kind[v] = (uint32_t)rand() % kinds;
        for (uint32_t u = 0; u < v; u++)
            out.reads[v] |= (uint32_t)(rand() % 3 == 0) << u;
    }
    return out;
}

/* -- every way ------------------------------------------------------------- */

/* Adds to visits (16) and links (16, 16) the chance of all ways that go on
 * from v. */
static void all_ways(const net *n, uint32_t v, double chance, double *visits,
                     double *links)
{
    int inputs = 0;
    visits[n->kind[v]] += chance;
    for (uint32_t u = 0; u < v; u++)
        inputs += n->reads[v] >> u & 1;
    for (uint32_t u = 0; u < v; u++)
        if (n->reads[v] >> u & 1) {
            links[16 * n->kind[u] + n->kind[v]] += chance / inputs;
            all_ways(n, u, chance / inputs, visits, links);
        }
}

static void ways(const net *n, double *visits, double *links)
{
    uint32_t read = 0, ends = 0;
    memset(visits, 0, 16 * sizeof *visits);
    memset(links, 0, 256 * sizeof *links);
    for (uint32_t v = 0; v < n->n; v++)
        read |= n->reads[v];
    for (uint32_t v = 0; v < n->n; v++)
        ends += !(read >> v & 1);
    for (uint32_t v = 0; v < n->n; v++)
        if (!(read >> v & 1))
            all_ways(n, v, 1. / ends, visits, links);
}

static int up(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* have and want hold the same numbers, in whatever order. */
static void same_numbers(double *have, size_t n, double *want, size_t m)
{
    size_t some = 0; /* wanted ones that are not zero everywhere */
    qsort(have, n, sizeof *have, up);
    qsort(want, m, sizeof *want, up);
    for (size_t i = 0; i < m; i++)
        if (want[i] > 0)
            want[some++] = want[i];
    for (size_t i = 0; i < n; i++) {
        if (have[i] < 1e-12)
            continue;
        assert_true(some > 0);
        near(have[i], want[some - (n - i)], 1e-9);
    }
    assert_true(n >= some || have[0] > 1e-12);
}

static void met(void **state)
{
    (void)state;
    enum { NETS = 40 };
    net nets[NETS];
    double visits[16], links[256], *x;
    srand(3);
    for (int i = 0; i < NETS; i++)
        nets[i] = draw(3 + (uint32_t)i % 10, 1 + (uint32_t)i % 9);
    cg_set *s = pack(nets, NETS, 8);
    cg_examples e = all_of(s);
    cg_walk_columns c = cg_walk_columns_of(&e);
    cg_walk *w = cg_walk_new();
    assert_int_equal(c.visits, 9);
    x = cg_xcalloc(c.visits + c.links, sizeof *x);
    for (uint32_t i = 0; i < NETS; i++) {
        cg_walk_fill(w, &c, e.pick[i], x);
        for (size_t j = 0; j < c.visits + c.links; j++)
            x[j] = x[j] / c.column[3 * j + 2] + c.column[3 * j + 1];
        ways(&nets[i], visits, links);
        same_numbers(x, c.visits, visits, 16);
        same_numbers(x + c.visits, c.links, links, 256);
    }
    cg_xfree(x);
    cg_walk_free(w);
    cg_xfree(c.column);
    forget(&e);
    cg_set_close(s);
}

/* -- columns --------------------------------------------------------------- */

/* Standardised over the family, ordered by keys, which are those of the names:
 * not of the channels, nor of the set. */
static void columns(void **state)
{
    (void)state;
    enum { NETS = 30 };
    net nets[NETS];
    for (int i = 0; i < NETS; i++)
        nets[i] = draw(8, 6);
    cg_set *s = pack(nets, NETS, 8), *wide = pack(nets, NETS, 99);
    cg_examples e = all_of(s), f = all_of(wide);
    cg_walk_columns c = cg_walk_columns_of(&e), d = cg_walk_columns_of(&f);
    size_t n = c.visits + c.links;
    assert_int_equal(c.visits, d.visits);
    assert_int_equal(c.links, d.links);
    assert_memory_equal(c.column, d.column, 3 * n * sizeof *c.column);
    double *x = cg_xcalloc(NETS * n, sizeof *x);
    cg_walk *w = cg_walk_new();
    for (uint32_t i = 0; i < NETS; i++)
        cg_walk_fill(w, &c, (i % 2 ? &e : &f)->pick[i], x + i * n);
    for (size_t j = 0; j < n; j++) {
        double sum = 0, squares = 0, key = c.column[3 * j];
        for (size_t i = 0; i < NETS; i++) {
            sum += x[i * n + j];
            squares += x[i * n + j] * x[i * n + j];
        }
        near(sum, 0, 1e-9);
        near(squares, NETS, 1e-6);
        assert_true(key > 0 && key < 0x1p53 && floor(key) == key);
        assert_int_equal(fmod(key, 2), j >= c.visits);
        if (j != 0 && j != c.visits)
            assert_true(key > c.column[3 * j - 3]);
    }
    cg_walk_free(w);
    cg_xfree(x);
    cg_xfree(c.column);
    cg_xfree(d.column);
    forget(&e);
    forget(&f);
    cg_set_close(s);
    cg_set_close(wide);
}

/* What all networks have alike says nothing, nor what one in a hundred has. */
static void dropped(void **state)
{
    (void)state;
    enum { NETS = 100 };
    net nets[NETS];
    for (uint32_t i = 0; i < NETS; i++) {
        nets[i] = (net){4, {0, 1, 1, 2}, {0, 1, 2, 4}};
        if (i < 50)
            nets[i].kind[1] = 3; /* 3 and 1 vary, 0 and 2 do not */
        if (i == 7)
            nets[i].kind[2] = 9;
    }
    cg_set *s = pack(nets, NETS, 8);
    cg_examples e = all_of(s);
    cg_walk_columns c = cg_walk_columns_of(&e);
    double want[] = {2, 5}; /* 0-1, 0-3, 1-1, 3-1 and, but for one, 1-2 */
    near((double)c.visits, want[0], 0);
    near((double)c.links, want[1], 0);
    cg_xfree(c.column);
    e.n = 1;
    c = cg_walk_columns_of(&e); /* one network is no family */
    assert_true(c.visits == 0 && c.links == 0);
    cg_xfree(c.column);
    e.n = 0;
    c = cg_walk_columns_of(&e);
    assert_true(c.visits == 0 && c.links == 0);
    cg_xfree(c.column);
    forget(&e);
    cg_set_close(s);
}

/* Of more kinds than there can be columns the commonest are taken. */
static void crowded(void **state)
{
    (void)state;
    enum { KINDS = 300 }; /* each in two sizes */
    cg_set_builder *b = cg_set_builder_new("walks", CG_FORM_FUSED, NULL, 0);
    for (uint32_t i = 0; i < 40; i++) {
        net n = {.n = MOST};
        for (uint32_t v = 0; v < MOST; v++) {
            n.kind[v] = v == 0 ? 4 * (i % 2) : (i * 37 + v * 101) % 2400;
            n.reads[v] = v ? 1u << (v - 1) : 0;
        }
        add(b, &n, 8);
    }
    cg_set *s;
    good(cg_set_builder_finish(b, &s));
    cg_set_builder_free(b);
    cg_examples e = all_of(s);
    cg_walk_columns c = cg_walk_columns_of(&e);
    assert_int_equal(c.visits, CG_WALK_MOST);
    assert_int_equal(c.links, CG_WALK_MOST);
    double x[2 * CG_WALK_MOST];
    int common = 0; /* the two that every other network has are there */
    cg_walk *w = cg_walk_new();
    cg_walk_fill(w, &c, e.pick[0], x);
    for (size_t j = 0; j < c.visits; j++)
        common += fabs(fabs(x[j]) - 1) < 1e-9;
    assert_int_equal(common, 2);
    cg_walk_free(w);
    cg_xfree(c.column);
    forget(&e);
    cg_set_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(met), cmocka_unit_test(columns),
        cmocka_unit_test(dropped), cmocka_unit_test(crowded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
