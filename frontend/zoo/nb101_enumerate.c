/* All cells of NAS-Bench-101, one of each class of isomorphic ones: every
 * upper triangular matrix of 2 to 7 vertices with all operators on them, in
 * the order of the authors' generate_graphs.py, so that the first of a class
 * is the same as theirs.
 *
 * There are 1.27 million to tell apart, and the benchmark's hash is some 120
 * blocks of MD5. Here a 64-bit refinement with the same neighbourhoods sorts
 * out the doubles first: it can tell apart what the MD5 one can, and a test
 * holds the number of classes against the published one. */
#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "base/map.h"
#include "frontend/zoo/nb101.h"
#include "frontend/zoo/zoo.h"

#define N CG_NB101_VERTICES
#define SET_SIZE (1u << 20) /* a power of two, over twice the classes */

/* Colours seen so far, by open addressing; 0 is an empty slot. */
typedef struct colour_set {
    uint64_t *slot; /* (SET_SIZE) */
    size_t len;
} colour_set;

/* False when it was there already. */
static bool insert(colour_set *s, uint64_t colour)
{
    colour += !colour;
    for (size_t i = colour % SET_SIZE;; i = (i + 1) % SET_SIZE) {
        if (s->slot[i] == colour)
            return false;
        if (s->slot[i])
            continue;
        s->slot[i] = colour;
        s->len++;
        assert(s->len < SET_SIZE);
        return true;
    }
}

/* -- one matrix ------------------------------------------------------------ */

/* Neighbours as lists: what the inner loop reads 243 times per matrix. */
typedef struct matrix {
    cg_nb101_cell cell;
    int n_edges;
    uint8_t edge[CG_NB101_EDGES][2];
    uint64_t degrees[N]; /* (out, in) of a vertex, scattered */
} matrix;

/* Bits fill the upper triangle column by column. False: too many edges, or a
 * vertex without predecessor or successor. */
static bool set_matrix(matrix *m, int n, uint32_t bits)
{
    unsigned have_in = 1, have_out = 1u << (n - 1);
    uint8_t in[N] = {0};
    *m = (matrix){.cell.n = (uint8_t)n};
    if (__builtin_popcount(bits) > CG_NB101_EDGES)
        return false;
    for (uint8_t w = 1; w < n; w++)
        for (uint8_t v = 0; v < w; v++, bits >>= 1) {
            if (!(bits & 1))
                continue;
            memcpy(m->edge[m->n_edges++], (uint8_t[]){v, w}, 2);
            m->cell.out[v] |= (uint8_t)(1u << w);
            in[w]++;
            have_out |= 1u << v;
            have_in |= 1u << w;
        }
    for (int v = 0; v < n; v++)
        m->degrees[v] = cg_mix64(
            1u + in[v] + 16u * (unsigned)__builtin_popcount(m->cell.out[v]));
    return (have_in & have_out) == (1u << n) - 1;
}

/* Colours are outputs of a mixer, so sums of them stand for multisets. */
static uint64_t colour_of(const matrix *m)
{
    uint64_t h[N], in[N], out[N], sum = 0;
    int n = m->cell.n;
    for (int v = 0; v < n; v++) {
        unsigned label = v == 0 ? 8 : v == n - 1 ? 9 : m->cell.op[v];
        h[v] = cg_mix64(m->degrees[v] + label);
    }
    for (int round = 0; round < n; round++) {
        memset(in, 0, sizeof in);
        memset(out, 0, sizeof out);
        for (int e = 0; e < m->n_edges; e++) {
            in[m->edge[e][1]] += h[m->edge[e][0]];
            out[m->edge[e][0]] += h[m->edge[e][1]];
        }
        for (int v = 0; v < n; v++)
            h[v] = cg_mix64(h[v] + in[v] * 0x9e3779b97f4a7c15u +
                            out[v] * 0xd1342543de82ef95u);
    }
    for (int v = 0; v < n; v++)
        sum += h[v];
    return cg_mix64(sum);
}

/* The next way to put operators on the interior vertices, the last of them
 * changing fastest; false after the last way. */
static bool next_ops(cg_nb101_cell *c)
{
    for (int v = c->n - 2; v > 0; v--) {
        if (++c->op[v] < CG_NB101_OPS)
            return true;
        c->op[v] = 0;
    }
    return false;
}

/* -- all of them ----------------------------------------------------------- */

static bool each_labelling(matrix *m, colour_set *seen,
                           bool (*each)(void *user, const cg_nb101_cell *c),
                           void *user)
{
    do
        if (insert(seen, colour_of(m)) && !each(user, &m->cell))
            return false;
    while (next_ops(&m->cell));
    return true;
}

void cg_nb101_each(bool (*each)(void *user, const cg_nb101_cell *c),
                   void *user)
{
    colour_set seen = {.slot = cg_xcalloc(SET_SIZE, sizeof *seen.slot)};
    bool go_on = true;
    for (int n = 2; n <= N && go_on; n++)
        for (uint32_t bits = 0; bits >> (n * (n - 1) / 2) == 0 && go_on;
             bits++) {
            matrix m;
            if (set_matrix(&m, n, bits))
                go_on = each_labelling(&m, &seen, each, user);
        }
    cg_xfree(seen.slot);
}

typedef struct printer {
    bool (*each)(void *user, const char *key, const char *code);
    void *user;
} printer;

static bool print_one(void *user, const cg_nb101_cell *c)
{
    const printer *p = user;
    char key[CG_NB101_KEY], code[CG_ZOO_CODE_MAX];
    cg_nb101_key(c, key);
    cg_nb101_print(c, code);
    return p->each(p->user, key, code);
}

cg_err cg_nb101_enumerate(bool (*each)(void *user, const char *key,
                                       const char *code), void *user)
{
    cg_nb101_each(print_one, &(printer){each, user});
    return CG_OK;
}
