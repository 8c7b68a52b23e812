/* Spectra against closed forms, and the sparse solver against the dense one.
 *
 * With an argument: reads graphs from stdin, each "n m" and m lines "a b", and
 * prints for each the values of the usual choice of solver on one line and
 * those of the sparse solver on the next; spectrum_numpy.py compares them. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/array.h"
#include "passes/spectrum.h"

#define Q CG_SPECTRUM_LEN
#define TOLERANCE 1e-8
#define PI 3.14159265358979323846

typedef struct graph {
    uint32_t n;
    uint32_t (*edge)[2];
    size_t len, cap;
} graph;

static int failures;

static void add(graph *g, uint32_t a, uint32_t b)
{
    if (g->len == g->cap)
        g->edge = cg_array_grow(g->edge, &g->cap, g->len + 1, sizeof *g->edge);
    g->edge[g->len][0] = a;
    g->edge[g->len++][1] = b;
}

static void clear(graph *g)
{
    cg_xfree(g->edge);
    *g = (graph){ 0 };
}

static void sort(double *x, size_t n)
{
    for (size_t i = 1; i < n; i++)
        for (size_t k = i; k > 0 && x[k - 1] > x[k]; k--) {
            double t = x[k];
            x[k] = x[k - 1];
            x[k - 1] = t;
        }
}

static void compare(const char *what, const double *have, const double *want)
{
    double worst = 0;
    for (int i = 0; i < Q; i++) {
        double off = fabs(have[i] - want[i]);
        worst = off > worst || isnan(off) ? off : worst;
    }
    if (worst < TOLERANCE)
        return;
    failures++;
    printf("FAIL %s: off by %g\n", what, worst);
    for (int i = 0; i < Q; i++)
        printf("  %2d  %.12f  expected %.12f\n", i, have[i], want[i]);
}

static void spectrum(const graph *g, uint32_t dense_max, double *out)
{
    const uint32_t(*edge)[2] = (const uint32_t(*)[2])g->edge;
    if (cg_spectrum_limit(g->n, edge, g->len, dense_max, out) != CG_OK) {
        failures++;
        printf("FAIL %u nodes: %s\n", g->n, cg_error());
        for (int i = 0; i < Q; i++)
            out[i] = NAN;
    }
}

/* The usual way, and with the sparse solver wherever it can run. `all` holds
 * every eigenvalue, or at least the Q smallest, in any order. */
static void expect(const char *what, graph *g, double *all, size_t len)
{
    double want[Q], have[Q];
    sort(all, len);
    for (size_t i = 0; i < Q; i++)
        want[i] = i < len ? all[i] : 2;
    char name[80];
    snprintf(name, sizeof name, "%s, %u nodes", what, g->n);
    spectrum(g, CG_SPECTRUM_DENSE, have);
    compare(name, have, want);
    snprintf(name, sizeof name, "%s, %u nodes, sparse", what, g->n);
    spectrum(g, 0, have);
    compare(name, have, want);
    clear(g);
}

static size_t smallest_of_path(uint32_t n, double *all)
{
    size_t len = 0;
    for (uint32_t k = 0; k < n && len < Q; k++)
        all[len++] = n == 1 ? 0 : 1 - cos(PI * k / (n - 1));
    return len;
}

static void path(uint32_t n)
{
    graph g = { .n = n };
    for (uint32_t i = 0; i + 1 < n; i++)
        add(&g, i + 1, i);
    double all[Q];
    struct timespec from, to;
    timespec_get(&from, TIME_UTC);
    size_t len = smallest_of_path(n, all);
    expect("path", &g, all, len);
    timespec_get(&to, TIME_UTC);
    if (n > 10000)
        printf("path of %u nodes: %.2f s\n", n, (double)(to.tv_sec -
               from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec));
}

static void cycle(uint32_t n)
{
    graph g = { .n = n };
    for (uint32_t i = 0; i < n; i++)
        add(&g, i, (i + 1) % n);
    double all[2 * Q];
    size_t len = 0;
    for (uint32_t k = 0; k < n && len < Q; k++) /* twice each but the ends */
        for (int twice = 0; twice < (k && 2 * k < n ? 2 : 1); twice++)
            if (2 * k <= n)
                all[len++] = 1 - cos(2 * PI * k / n);
    expect("cycle", &g, all, len);
}

static void star(uint32_t leaves)
{
    graph g = { .n = leaves + 1 };
    double all[Q + 2] = { 0, 2 };
    size_t len = 2;
    for (uint32_t i = 0; i < leaves; i++) {
        add(&g, 0, i + 1);
        if (i && len < Q + 2)
            all[len++] = 1;
    }
    expect("star", &g, all, len);
}

static void complete_graph(uint32_t n)
{
    graph g = { .n = n };
    double all[Q] = { 0 };
    size_t len = 1;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < i; j++)
            add(&g, i, j);
    for (; len < n && len < Q; len++)
        all[len] = n / (n - 1.0);
    expect("complete graph", &g, all, len);
}

/* A torus of a x b: sums of two cycles' eigenvalues, four times most. */
static void torus(uint32_t a, uint32_t b)
{
    static double all[1 << 16];
    graph g = { .n = a * b };
    size_t len = 0;
    for (uint32_t i = 0; i < a; i++)
        for (uint32_t j = 0; j < b; j++) {
            add(&g, i * b + j, (i + 1) % a * b + j);
            add(&g, i * b + j, i * b + (j + 1) % b);
            all[len++] = 1 - (cos(2 * PI * i / a) + cos(2 * PI * j / b)) / 2;
        }
    size_t keep = 0; /* sort() is quadratic: only what can matter */
    for (size_t i = 0; i < len; i++)
        if (all[i] < 0.4 || len < 300)
            all[keep++] = all[i];
    expect("torus", &g, all, keep);
}

static void hypercube(int dim)
{
    static double all[1 << 10];
    graph g = { .n = 1u << dim };
    for (uint32_t v = 0; v < g.n; v++) {
        for (int k = 0; k < dim; k++)
            if (v < (v ^ 1u << k))
                add(&g, v, v ^ 1u << k);
        all[v] = 2.0 * __builtin_popcount(v) / dim;
    }
    expect("hypercube", &g, all, g.n);
}

/* Copies of a path, each with an eigenvalue 0 and the same others. */
static void paths(uint32_t copies, uint32_t n)
{
    double all[64 * Q];
    graph g = { .n = copies * n };
    size_t len = 0;
    for (uint32_t c = 0; c < copies; c++) {
        for (uint32_t i = 0; i + 1 < n; i++)
            add(&g, c * n + i, c * n + i + 1);
        len += smallest_of_path(n, all + len);
    }
    expect("equal paths", &g, all, len);
}

/* Loops, repeats and both directions change nothing; no node, one node. */
static void odd_input(void)
{
    graph g = { .n = 5 };
    add(&g, 0, 1), add(&g, 1, 0), add(&g, 0, 1), add(&g, 1, 2), add(&g, 2, 2);
    double three[] = { 0, 1, 2, 0, 0 }; /* a path of 3, two nodes alone */
    expect("repeats and loops", &g, three, 5);
    g = (graph){ .n = 0 };
    expect("nothing", &g, three, 0);
    g = (graph){ .n = 1 };
    expect("one node", &g, (double[]){ 0 }, 1);
}

static int same_bits_again(void)
{
    double a[Q], b[Q];
    graph g = { .n = 900 };
    for (uint32_t i = 1; i < g.n; i++) {
        add(&g, i, i / 2);
        add(&g, i, i - 1);
    }
    spectrum(&g, CG_SPECTRUM_DENSE, a);
    spectrum(&g, CG_SPECTRUM_DENSE, b);
    clear(&g);
    return memcmp(a, b, sizeof a) == 0;
}

static int filter(void)
{
    uint32_t a, b, m;
    graph g = { 0 };
    double out[Q];
    while (scanf("%u %u", &g.n, &m) == 2) {
        for (uint32_t i = 0; i < m; i++) {
            if (scanf("%u %u", &a, &b) != 2 || a >= g.n || b >= g.n)
                return 1;
            add(&g, a, b);
        }
        for (int sparse = 0; sparse < 2; sparse++) {
            spectrum(&g, sparse ? 0 : CG_SPECTRUM_DENSE, out);
            for (int i = 0; i < Q; i++)
                printf("%.17g%c", out[i], i + 1 < Q ? ' ' : '\n');
        }
        clear(&g);
    }
    return failures > 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "-"))
        return filter();
    static const uint32_t size[] = { 2, 3, 5, 20, 21, 22, 41, 42, 43, 64, 191,
                                     192, 193, 300, 1000, 5000 };
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        path(size[i]);
        star(size[i]);
        if (size[i] > 2)
            cycle(size[i]);
        if (size[i] <= 300)
            complete_graph(size[i]);
    }
    path(100000);
    cycle(30000);
    star(30000);
    torus(7, 9);
    torus(20, 20);
    torus(60, 40);
    for (int dim = 1; dim <= 10; dim++)
        hypercube(dim);
    paths(2, 50);
    paths(7, 3);
    paths(20, 300);
    paths(21, 4);
    paths(40, 2);
    odd_input();
    if (!same_bits_again()) {
        failures++;
        printf("FAIL: two runs differ\n");
    }
    printf("%s\n", failures ? "failed" : "all spectra as expected");
    return failures > 0;
}
