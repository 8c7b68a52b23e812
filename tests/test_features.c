/* Networks as the learner sees them, and what their container stands on. */
#include "base/crc32c.h"
#include "base/index.h"
#include "ir/text.h"
#include "tests/sets.h"

/* -- checksums and numbers by key ------------------------------------------ */

static void crc_answers(void **state)
{
    (void)state;
    unsigned char block[40000];
    /* RFC 3720, appendix B.4, and the customary check value */
    assert_int_equal(cg_crc32c(0, "123456789", 9), 0xe3069283);
    memset(block, 0, 32);
    assert_int_equal(cg_crc32c(0, block, 32), 0x8a9136aa);
    memset(block, 255, 32);
    assert_int_equal(cg_crc32c(0, block, 32), 0x62a8ab43);
    for (int i = 0; i < 32; i++)
        block[i] = (unsigned char)i;
    assert_int_equal(cg_crc32c(0, block, 32), 0x46dd794e);
    cg_rng r = cg_rng_make(1, 0);
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (unsigned char)cg_rng_next(&r);
    for (int k = 0; k < 200; k++) {
        size_t at = cg_rng_below(&r, 9), n = cg_rng_below(&r, 39990);
        size_t half = n / 3;
        uint32_t crc = cg_crc32c_tables(0, block + at, n);
        assert_int_equal(cg_crc32c(0, block + at, n), crc);
        uint32_t first = cg_crc32c(0, block + at, half);
        assert_int_equal(cg_crc32c(first, block + at + half, n - half), crc);
    }
}

static void index_keys(void **state)
{
    (void)state;
    cg_index x = {0};
    assert_int_equal(cg_index_get(&x, 0), CG_INDEX_NONE);
    for (uint32_t i = 0; i < 10000; i++)
        cg_index_add(&x, (uint64_t)i << 32, i);
    for (uint32_t i = 0; i < 10000; i++) {
        assert_int_equal(cg_index_get(&x, (uint64_t)i << 32), i);
        assert_int_equal(cg_index_get(&x, ((uint64_t)i << 32) + 1),
                         CG_INDEX_NONE);
    }
    /* emptied, for more keys than before and for less */
    for (uint32_t n = 40000; n >= 40; n /= 10) {
        cg_index_clear(&x, n);
        for (uint32_t i = 0; i < 50; i++)
            assert_int_equal(cg_index_get(&x, (uint64_t)i << 32),
                             CG_INDEX_NONE);
        for (uint32_t i = 0; i < 1000; i++) {
            uint32_t *value = cg_index_at(&x, i);
            assert_int_equal(*value, CG_INDEX_NONE);
            *value = n + i;
        }
        for (uint32_t i = 0; i < 1000; i++) {
            assert_int_equal(*cg_index_at(&x, i), n + i);
            assert_int_equal(cg_index_get(&x, i), n + i);
        }
        assert_int_equal(x.len, 1000);
    }
    cg_index_free(&x);
}

/* -- features -------------------------------------------------------------- */

/* The first node of each colour, by comparing every pair. */
static void naive_colours(const cg_features *f, unsigned rounds,
                          uint32_t *leader)
{
    uint32_t n = f->n_nodes;
    uint32_t *last = cg_xcalloc(n, sizeof *last);
    uint32_t *sorted = cg_xcalloc(f->n_edges, sizeof *sorted);
    for (uint32_t v = 0; v < n; v++)
        for (leader[v] = 0; memcmp(&f->token[leader[v]], &f->token[v],
                                   sizeof *f->token) != 0;)
            leader[v]++;
    for (unsigned r = 0; r < rounds; r++) {
        memcpy(last, leader, n * sizeof *last);
        for (uint32_t k = 0; k < f->n_edges; k++)
            sorted[k] = last[f->pred[k]];
        for (uint32_t v = 0; v < n; v++) /* sorts each neighbourhood */
            for (uint32_t i = f->start[v]; i < f->start[v + 1]; i++)
                for (uint32_t j = i; j > f->start[v] &&
                                     sorted[j - 1] > sorted[j]; j--) {
                    uint32_t x = sorted[j];
                    sorted[j] = sorted[j - 1];
                    sorted[j - 1] = x;
                }
        for (uint32_t v = 0; v < n; v++) {
            uint32_t degree = f->start[v + 1] - f->start[v];
            for (leader[v] = 0;; leader[v]++) {
                uint32_t u = leader[v];
                if (last[u] == last[v] &&
                    f->start[u + 1] - f->start[u] == degree &&
                    memcmp(sorted + f->start[u], sorted + f->start[v],
                           degree * sizeof *sorted) == 0)
                    break;
            }
        }
    }
    cg_xfree(sorted);
    cg_xfree(last);
}

static void check_colours(const cg_features *f, unsigned max)
{
    uint32_t *want = cg_xcalloc(f->n_nodes, sizeof *want);
    for (unsigned r = 0; r <= max; r++) {
        naive_colours(f, r, want);
        for (uint32_t v = 0; v < f->n_nodes; v++)
            assert_int_equal(cg_colour_leader(f->parent, f->level, v, r),
                             want[v]);
    }
    cg_xfree(want);
}

/* In-edges are those of the graph. */
static void check_edges(const cg_features *f, const cg_graph *g)
{
    cg_edges e;
    cg_edges_make(&e, g);
    assert_int_equal(f->n_nodes, e.n_nodes);
    assert_int_equal(f->n_edges, e.n_edges);
    assert_int_equal(f->start[0], 0);
    assert_int_equal(f->start[f->n_nodes], f->n_edges);
    for (uint32_t i = 0; i < e.n_edges; i++) {
        uint32_t v = e.edge[i][1], found = 0;
        for (uint32_t k = f->start[v]; k < f->start[v + 1]; k++) {
            found += f->pred[k] == e.edge[i][0];
            assert_true(k == f->start[v] || f->pred[k - 1] < f->pred[k]);
        }
        assert_int_equal(found, 1);
    }
    cg_edges_free(&e);
}

static void check_maxima(const cg_features *f)
{
    uint32_t hw = 0, c = 0;
    for (uint32_t v = 0; v < f->n_nodes; v++) {
        const cg_token *t = &f->token[v];
        for (int i = 0; i < 2; i++) {
            hw = t->in[i] > hw ? t->in[i] : hw;
            hw = t->out[i] > hw ? t->out[i] : hw;
        }
        c = t->in[2] > c ? t->in[2] : c;
        c = t->out[2] > c ? t->out[2] : c;
    }
    for (uint32_t v = 0; v < f->n_nodes; v++)
        assert_true(f->token[v].hw_max == hw && f->token[v].c_max == c);
}

static bool foldable(const cg_token *t)
{
    return (t->op == CG_OP_CONV || t->op == CG_OP_DEPTHWISE ||
            t->op == CG_OP_CONV_TRANSPOSE || t->op == CG_OP_MATMUL) &&
           t->act == CG_TOKEN_OPS;
}

/* As many nodes and edges are gone as activations were folded, and nothing is
 * left to fold. */
static void check_fused(const cg_features *a, const cg_features *f)
{
    uint32_t folded = 0;
    uint32_t *readers = cg_xcalloc(f->n_nodes, sizeof *readers);
    for (uint32_t k = 0; k < f->n_edges; k++)
        readers[f->pred[k]]++;
    for (uint32_t v = 0; v < f->n_nodes; v++) {
        const cg_token *t = &f->token[v];
        folded += t->act != CG_TOKEN_OPS;
        assert_true(f->start[v] == f->start[v + 1] ||
                    f->pred[f->start[v + 1] - 1] < v);
        if (t->op < CG_OP_COUNT &&
            cg_op_table[t->op].class == CG_CLASS_ACTIVATION &&
            f->start[v + 1] - f->start[v] == 1) {
            uint32_t u = f->pred[f->start[v]];
            assert_true(!foldable(&f->token[u]) || readers[u] > 1);
        }
    }
    assert_int_equal(a->n_nodes - f->n_nodes, folded);
    assert_int_equal(a->n_edges - f->n_edges, folded);
    cg_xfree(readers);
}

static void features_of_families(void **state)
{
    (void)state;
    for (size_t k = 0; k < cg_zoo_n_families; k++)
        for (uint64_t seed = 0; seed < 12; seed++) {
            char code[CG_ZOO_CODE_MAX];
            cg_features a, f;
            cg_graph *g = sample_graph(cg_zoo_families[k], seed, code);
            if (!g)
                continue;
            assert_int_equal(cg_features_make(&a, g, CG_FORM_FOLDED), CG_OK);
            assert_int_equal(cg_features_make(&f, g, CG_FORM_FUSED), CG_OK);
            check_edges(&a, g);
            check_fused(&a, &f);
            check_maxima(&a);
            check_maxima(&f);
            if (seed < 6) {
                check_colours(&a, 8);
                check_colours(&f, 8);
            }
            assert_true(a.params > 0 && a.macs > 0 && a.flops > a.macs);
            assert_true(a.hash[0] == g->hash[0] && a.hash[1] == g->hash[1]);
            cg_features_free(&a);
            cg_features_free(&f);
            cg_graph_free(g);
        }
}

/* A graph from .cg text with the passes that features want. */
static cg_graph *parse_graph(const char *text)
{
    cg_graph *g;
    if (cg_parse_text(text, strlen(text), &g) != CG_OK)
        fail_msg("%s", cg_error());
    assert_int_equal(cg_run_passes(g, FACTS, NULL), CG_OK);
    return g;
}

static const char two_convs[] =
    "cg 1\n"
    "graph \"two\"\n"
    "input %x : f32[1,3,8,6]@1\n"
    "const %w : f32[4,3,3,3] weight\n"
    "const %b : f32[4] weight\n"
    "const %u : f32[4,3,3,3] weight\n"
    "%c : f32[1,4,4,3]@1 = Conv(%x, %w, %b) strides=[2,2] pads=[1,1,1,1]\n"
    "%d : f32[1,4,8,6]@1 = Conv(%x, %u) pads=[1,1,1,1]\n"
    "%r : f32[1,4,4,3]@1 = ReLU(%c)\n"
    "%s : f32[1,4,8,6]@1 = ReLU(%d)\n"
    "%m : f32[1,4,8,6]@1 = Mul(%d, %s)\n"
    "output %r\n"
    "output %m\n";

/* One Conv whose ReLU nothing else reads, one that is read beside it. */
static void tokens_by_hand(void **state)
{
    (void)state;
    cg_graph *g = parse_graph(two_convs);
    cg_features f;
    assert_int_equal(cg_features_make(&f, g, CG_FORM_FUSED), CG_OK);
    assert_int_equal(f.n_nodes, 7); /* x, c with r, d, s, m, 2 outputs */
    const cg_token *x = &f.token[0], *c = NULL, *d = NULL;
    for (uint32_t v = 0; v < f.n_nodes; v++)
        if (f.token[v].op == CG_OP_CONV && f.token[v].act == CG_OP_RELU)
            c = &f.token[v];
        else if (f.token[v].op == CG_OP_CONV)
            d = &f.token[v];
    assert_non_null(c);
    assert_non_null(d);
    assert_int_equal(x->op, CG_TOKEN_INPUT);
    const uint32_t in[3] = {8, 6, 3}, out[3] = {4, 3, 4}, w[4] = {3, 3, 3, 4};
    assert_memory_equal(x->in, in, sizeof in);
    assert_memory_equal(c->in, in, sizeof in);
    assert_memory_equal(c->out, out, sizeof out);
    assert_memory_equal(c->weight, w, sizeof w);
    assert_true(c->bias && !d->bias);
    assert_true(c->stride[0] == 2 && d->stride[1] == 1 && c->kernel[0] == 3);
    assert_true(c->rank == 4 && c->groups == 1);
    assert_true(c->hw_max == 8 && c->c_max == 4);
    assert_true(c->macs == 4 * 4 * 3 * 27);
    assert_int_equal(d->act, CG_TOKEN_OPS);
    assert_true(f.macs == 4 * 4 * 3 * 27 + 4 * 8 * 6 * 27);
    cg_features_free(&f);
    cg_graph_free(g);
}

/* A PReLU whose slope is computed reads two things; a ReLU of a part of the
 * output has the part's size. */
static void activations_by_hand(void **state)
{
    (void)state;
    cg_graph *g = parse_graph(
        "cg 1\n"
        "graph \"act\"\n"
        "input %x : f32[1,3,8,8]@1\n"
        "input %y : f32[1,4,8,8]@1\n"
        "const %w : f32[4,3,1,1] weight\n"
        "const %u : f32[4,3,1,1] weight\n"
        "%c : f32[1,4,8,8]@1 = Conv(%x, %w)\n"
        "%d : f32[1,4,8,8]@1 = Conv(%x, %u)\n"
        "%p : f32[1,4,8,8]@1 = PReLU(%c, %y)\n"
        "%r : f32[1,2,8,8]@1 = ReLU(%d:f32[1,2,8,8]@1)\n"
        "output %p\n"
        "output %r\n");
    cg_features f;
    assert_int_equal(cg_features_make(&f, g, CG_FORM_FUSED), CG_OK);
    uint32_t folded = 0;
    assert_int_equal(f.n_nodes, 7); /* x, y, c, d with r, p, 2 outputs */
    for (uint32_t v = 0; v < f.n_nodes; v++)
        if (f.token[v].act == CG_OP_RELU) {
            assert_int_equal(f.token[v].out[2], 2);
            assert_int_equal(f.token[v].weight[3], 4);
            folded++;
        } else
            assert_int_equal(f.token[v].act, CG_TOKEN_OPS);
    assert_int_equal(folded, 1);
    cg_features_free(&f);
    cg_graph_free(g);
}

static void symbolic_sizes(void **state)
{
    (void)state;
    cg_graph *g = parse_graph("cg 1\n"
                              "graph \"s\"\n"
                              "input %x : f32[1,seq,8]@2\n"
                              "%r : f32[1,seq,8]@2 = ReLU(%x)\n"
                              "output %r\n");
    cg_features f;
    assert_int_equal(cg_features_make(&f, g, CG_FORM_FOLDED), CG_OK);
    assert_true(f.token[1].in[0] == 0 && f.token[1].in[2] == 8);
    assert_true(isnan(f.flops) && f.params == 0);
    cg_features_free(&f);
    cg_graph_free(g);
}

static void unknown_loop(void **state)
{
    (void)state;
    cg_graph *g = cg_graph_new("loop");
    cg_dim four = 4;
    cg_value *x = cg_value_input(g, g->main, "x",
                                 cg_type_tensor(g, CG_F32, 1, &four));
    cg_node *n = cg_node_new(g, g->main, CG_OP_LOOP, "again",
                             (cg_value *[]){NULL, NULL, x}, 3, NULL, 1);
    cg_region *body = cg_region_new(g, g->main);
    body->owner = n;
    cg_attr_set_region(g, n, "body", body);
    cg_array_push(&g->main->outputs, n->out[0]);
    g->facts = CG_HAS(flops);
    cg_features f;
    assert_int_equal(cg_features_make(&f, g, CG_FORM_FOLDED),
                     CG_EUNSUPPORTED);
    assert_non_null(strstr(cg_error(), "node 'again'"));
    cg_attr_set_int(g, n, "trip_count", 3);
    assert_int_equal(cg_features_make(&f, g, CG_FORM_FOLDED), CG_OK);
    cg_features_free(&f);
    cg_graph_free(g);
}

/* In a chain of equal nodes node v differs from all after it in round v + 1
 * and no earlier; beyond 254 rounds nobody asks. */
static void colours_of_a_chain(void **state)
{
    (void)state;
    cg_features f = made_up(100000, 1, (uint32_t[]){1}, 1);
    colour(&f);
    for (uint32_t v = 1; v < f.n_nodes; v++) {
        assert_int_equal(f.level[v], v < 254 ? v : 254);
        assert_true(f.parent[v] < v);
    }
    made_up_free(&f);
}

static void colours_of_twins(void **state)
{
    (void)state;
    cg_features f = made_up(600, 4, (uint32_t[]){300}, 1);
    colour(&f); /* 300 roots of 4 kinds, and a reader of each */
    for (uint32_t v = 0; v < 600; v++) {
        uint32_t kind = v % 4, first = v < 300 ? kind : 300 + kind;
        bool new = v < 4, reader = v >= 300 && v < 304;
        assert_int_equal(f.level[v], new ? 0 : reader ? 1 : 255);
        assert_int_equal(f.parent[v], new ? 0 : reader ? kind : first);
    }
    check_colours(&f, 4);
    made_up_free(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc_answers),
        cmocka_unit_test(index_keys),
        cmocka_unit_test(features_of_families),
        cmocka_unit_test(tokens_by_hand),
        cmocka_unit_test(activations_by_hand),
        cmocka_unit_test(symbolic_sizes),
        cmocka_unit_test(unknown_loop),
        cmocka_unit_test(colours_of_a_chain),
        cmocka_unit_test(colours_of_twins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
