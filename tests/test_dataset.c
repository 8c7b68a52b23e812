/* The container of networks: what goes in comes out, and what is not one is
 * refused. */
#include <unistd.h>

#include "base/crc32c.h"
#include "runtime/dataset_format.h"
#include "tests/sets.h"

/* -- the container --------------------------------------------------------- */

static const char *const label_names[] = {"accuracy", "minutes"};

static void expect_graph(const cg_set *s, uint32_t i, const cg_features *f,
                         const char *name, const double *labels,
                         cg_item *item)
{
    uint32_t n = f->n_nodes;
    const cg_set_graph *g = &s->graph[i];
    cg_set_get(s, i, item);
    assert_int_equal(item->n_nodes, n);
    assert_int_equal(item->n_edges, f->n_edges);
    for (uint32_t v = 0; v < n; v++)
        assert_memory_equal(&s->token[item->token[v]], &f->token[v],
                            sizeof *f->token);
    assert_memory_equal(item->start, f->start, (n + 1) * sizeof *f->start);
    assert_memory_equal(item->parent, f->parent, n * sizeof *f->parent);
    assert_memory_equal(item->level, f->level, n);
    if (f->n_edges)
        assert_memory_equal(item->pred, f->pred,
                            f->n_edges * sizeof *f->pred);
    assert_memory_equal(g->hash, f->hash, sizeof f->hash);
    assert_memory_equal(&g->params, &f->params, 8);
    assert_memory_equal(&g->macs, &f->macs, 8);
    assert_memory_equal(&g->flops, &f->flops, 8);
    assert_string_equal(cg_set_name(s, i), name);
    if (s->n_labels)
        assert_memory_equal(s->label + (size_t)i * s->n_labels, labels,
                            s->n_labels * 8);
    const double *q = s->spectrum + (size_t)g->topology * CG_SPECTRUM_LEN;
    if (f->has_spectrum)
        assert_memory_equal(q, f->spectrum, sizeof f->spectrum);
    else
        assert_true(isnan(q[0]) && isnan(q[CG_SPECTRUM_LEN - 1]));
}

static void temp_path(char *path, size_t size)
{
    const char *dir = getenv("TMPDIR");
    snprintf(path, size, "%s/cgs-XXXXXX", dir ? dir : "/tmp");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
}

static unsigned char *copy_of(const cg_set *s, size_t *size)
{
    *size = s->store->map.size;
    return memcpy(cg_xrealloc(NULL, *size), s->store->map.data, *size);
}

/* What write writes is what finish keeps, and opens the same. */
static void expect_file(const cg_set_builder *b, const cg_set *memory)
{
    char path[4096];
    cg_set *s;
    temp_path(path, sizeof path);
    assert_int_equal(cg_set_builder_write(b, path), CG_OK);
    if (cg_set_open(&s, path) != CG_OK)
        fail_msg("%s", cg_error());
    assert_int_equal(s->store->map.size, memory->store->map.size);
    assert_memory_equal(s->store->map.data, memory->store->map.data,
                        s->store->map.size);
    cg_set_close(s);
    unlink(path);
}

static void round_trip(void **state)
{
    (void)state;
    enum { N = 6 };
    for (size_t k = 0; k < cg_zoo_n_families; k++) {
        cg_features f[N];
        char code[N][CG_ZOO_CODE_MAX];
        double labels[N][2];
        uint32_t n = 0;
        cg_form form = k % 2 ? CG_FORM_FUSED : CG_FORM_FOLDED;
        cg_set_builder *b = cg_set_builder_new(cg_zoo_families[k]->name, form,
                                               label_names, 2);
        for (uint64_t seed = 0; seed < N; seed++) {
            cg_graph *g = sample_graph(cg_zoo_families[k], seed, code[n]);
            if (!g)
                continue;
            assert_int_equal(cg_features_make(&f[n], g, form), CG_OK);
            f[n].has_spectrum = true;
            memcpy(f[n].spectrum, g->spectrum, sizeof g->spectrum);
            labels[n][0] = n ? 0.5 + n : NAN;
            labels[n][1] = -1.0 * n;
            cg_set_builder_add(b, &f[n], code[n], labels[n]);
            assert_true(cg_set_builder_topology(b, f[n].topology) >= 0);
            cg_graph_free(g);
            n++;
        }
        assert_int_equal(cg_set_builder_len(b), n);
        cg_set *s;
        cg_item item = {0};
        assert_int_equal(cg_set_builder_finish(b, &s), CG_OK);
        assert_int_equal(s->n_graphs, n);
        assert_int_equal(s->form, form);
        assert_string_equal(s->family, cg_zoo_families[k]->name);
        assert_int_equal(cg_set_label(s, "minutes"), 1);
        assert_int_equal(cg_set_label(s, "seconds"), -1);
        for (uint32_t i = n; i-- > 0;)
            expect_graph(s, i, &f[i], code[i], labels[i], &item);
        expect_file(b, s);
        cg_item_free(&item);
        cg_set_close(s);
        cg_set_builder_free(b);
        for (uint32_t i = 0; i < n; i++)
            cg_features_free(&f[i]);
    }
}

/* Indices of one, two and four bytes, of nodes and of tokens; a spectrum that
 * comes later; no labels. */
static void widths(void **state)
{
    (void)state;
    const struct { uint32_t n, kinds; } shape[] = {
        {1, 1}, {256, 256}, {257, 257}, {300, 2}, {65536, 7}, {70000, 70000},
        {100, 100}};
    enum { N = sizeof shape / sizeof *shape };
    cg_features f[N];
    cg_set_builder *b = cg_set_builder_new("made up", CG_FORM_FOLDED, NULL, 0);
    for (int i = 0; i < N; i++) {
        f[i] = made_up(shape[i].n, shape[i].kinds, (uint32_t[]){9, 1}, 2);
        colour(&f[i]);
        assert_int_equal(cg_set_builder_topology(b, f[i].topology), -1);
        cg_set_builder_add(b, &f[i], i ? "" : "a name", NULL);
        assert_int_equal(cg_set_builder_topology(b, f[i].topology), i);
    }
    f[1].has_spectrum = true;
    f[1].spectrum[20] = 1.5;
    cg_set_builder_add(b, &f[1], "again", NULL);
    cg_set *s;
    cg_item item = {0};
    assert_int_equal(cg_set_builder_finish(b, &s), CG_OK);
    assert_int_equal(s->n_graphs, N + 1);
    assert_int_equal(s->n_topologies, N);
    assert_int_equal(s->n_tokens, 70000);
    for (uint32_t i = 0; i < N; i++)
        expect_graph(s, i, &f[i], i ? "" : "a name", NULL, &item);
    expect_graph(s, N, &f[1], "again", NULL, &item);
    expect_file(b, s);
    cg_item_free(&item);
    cg_set_close(s);
    cg_set_builder_free(b);
    for (int i = 0; i < N; i++)
        made_up_free(&f[i]);
}

static void empty_set(void **state)
{
    (void)state;
    cg_set_builder *b = cg_set_builder_new("nb101", CG_FORM_FUSED,
                                           label_names, 2);
    cg_set *s;
    assert_int_equal(cg_set_builder_finish(b, &s), CG_OK);
    assert_int_equal(s->n_graphs, 0);
    expect_file(b, s);
    cg_set_close(s);
    cg_set_builder_free(b);
}

/* -- damage ---------------------------------------------------------------- */

/* Three small networks. */
static cg_set *small_set(void)
{
    const struct { const char *family, *code; } net[] = {
        {"nb101", ";0-1"}, {"nb101", "conv3x3;0-1 0-2 1-2"},
        {"nb101", "maxpool3x3 conv1x1;0-1 0-2 1-3 2-3"}};
    cg_set_builder *b = cg_set_builder_new("nb101", CG_FORM_FUSED,
                                           label_names, 2);
    for (int i = 0; i < 3; i++) {
        const cg_zoo_family *family;
        cg_zoo_opts opts;
        cg_net n;
        cg_features f;
        assert_int_equal(cg_zoo_find(net[i].family, &family, &opts), CG_OK);
        assert_int_equal(cg_zoo_build(family, &opts, net[i].code, &n), CG_OK);
        n.graph->facts = CG_HAS(shapes) | CG_HAS(hwc);
        assert_int_equal(cg_run_passes(n.graph, FACTS, NULL), CG_OK);
        assert_int_equal(cg_features_make(&f, n.graph, CG_FORM_FUSED), CG_OK);
        cg_set_builder_add(b, &f, net[i].code, (double[]){i, NAN});
        cg_features_free(&f);
        cg_graph_free(n.graph);
    }
    cg_set *s;
    assert_int_equal(cg_set_builder_finish(b, &s), CG_OK);
    cg_set_builder_free(b);
    return s;
}

/* Opens a copy of these bytes; the sentence is in cg_error. */
static cg_set *open_bytes(const unsigned char *p, size_t n)
{
    cg_set *s = NULL;
    cg_file_map map = {.size = n, .heap = 1,
                       .data = memcpy(cg_xrealloc(NULL, n), p, n)};
    return cg_set_from_map(&s, map, "a.cgs") == CG_OK ? s : NULL;
}

static void refused(const unsigned char *p, size_t n, const char *why)
{
    cg_set *s = open_bytes(p, n);
    if (s)
        fail_msg("opened: %s", why);
    if (!strstr(cg_error(), why))
        fail_msg("'%s' instead of: %s", cg_error(), why);
}

static void truncated(void **state)
{
    (void)state;
    cg_set *s = small_set();
    size_t size;
    unsigned char *p = copy_of(s, &size);
    for (size_t n = 0; n < size; n++)
        refused(p, n, n == 0 ? "not a data set" : "cut short");
    cg_set *whole = open_bytes(p, size);
    assert_non_null(whole);
    cg_set_close(whole);
    p = cg_xrealloc(p, size + 1);
    p[size] = 0;
    refused(p, size + 1, "1 bytes stand behind the end");
    cg_xfree(p);
    cg_set_close(s);
}

static void flipped(void **state)
{
    (void)state;
    cg_set *s = small_set();
    size_t size;
    unsigned char *p = copy_of(s, &size);
    for (size_t i = 0; i < size; i++) {
        unsigned char old = p[i];
        p[i] ^= (unsigned char)(1u << i % 8);
        refused(p, size, i < 8 ? "not a data set" : "damaged");
        p[i] = old;
    }
    cg_xfree(p);
    cg_set_close(s);
}

static cg_set_section *section_of(unsigned char *p, int i)
{
    return (cg_set_section *)(p + sizeof(cg_set_header)) + i;
}

static unsigned char *content(unsigned char *p, int i)
{
    return p + section_of(p, i)->offset;
}

/* Makes all checksums right again. */
static void seal(unsigned char *p, size_t size)
{
    cg_set_header *h = (cg_set_header *)p;
    for (int i = 0; i < CG_SECTIONS; i++) {
        cg_set_section *e = section_of(p, i);
        if (e->offset <= size && e->size <= size - e->offset)
            e->crc = cg_crc32c(0, p + e->offset, e->size);
    }
    h->table_crc = cg_crc32c(0, section_of(p, 0),
                             CG_SECTIONS * sizeof(cg_set_section));
    h->header_crc = cg_crc32c(0, h, sizeof *h - sizeof h->header_crc);
}

/* Reads all that a set has. */
static void use(const cg_set *s)
{
    cg_item item = {0};
    uint64_t sum = strlen(s->family);
    for (uint32_t i = 0; i < s->n_graphs; i++) {
        cg_set_get(s, i, &item);
        sum += strlen(cg_set_name(s, i));
        for (uint32_t v = 0; v < item.n_nodes; v++) {
            sum += s->token_hash[item.token[v]] + s->token[item.token[v]].op;
            assert_true(s->token[item.token[v]].op < CG_TOKEN_OPS);
            assert_true(s->token[item.token[v]].act <= CG_TOKEN_OPS);
            for (unsigned r = 0; r < 3; r++)
                assert_true(cg_colour_leader(item.parent, item.level, v, r) <=
                            v);
            for (uint32_t k = item.start[v]; k < item.start[v + 1]; k++)
                assert_true(item.pred[k] < v);
        }
        for (uint32_t k = 0; k < s->n_labels; k++)
            assert_false(isinf(s->label[(size_t)i * s->n_labels + k]));
    }
    assert_true(sum > 0 || s->n_graphs == 0);
    cg_item_free(&item);
}

/* Right checksums around wrong numbers: every word of the file in turn takes
 * values that hurt. Refused, or harmless. */
static void hostile_words(void **state)
{
    (void)state;
    static const uint32_t values[] = {0, 1, 255, 65536, 0x7fffffff, 0xfffffff8,
                                      0xffffffff};
    cg_set *s = small_set();
    size_t size, opened = 0, no = 0;
    unsigned char *p = copy_of(s, &size), *q = cg_xrealloc(NULL, size);
    for (size_t at = 8; at + 4 <= size; at += 4)
        for (size_t k = 0; k < sizeof values / sizeof *values; k++) {
            memcpy(q, p, size);
            memcpy(q + at, &values[k], 4);
            seal(q, size);
            cg_set *x = open_bytes(q, size);
            if (x)
                use(x);
            else
                assert_memory_equal(cg_error(), "a.cgs: ", 7);
            opened += x != NULL;
            no += x == NULL;
            cg_set_close(x);
        }
    assert_true(opened > 0 && no > 0);
    cg_xfree(q);
    cg_xfree(p);
    cg_set_close(s);
}

static void hostile_numbers(void **state)
{
    (void)state;
    cg_set *s = small_set();
    size_t size;
    unsigned char *p = copy_of(s, &size), *q = cg_xrealloc(NULL, size);
    cg_set_header *h = (cg_set_header *)q;
    const cg_set_graph *first = &s->graph[0];
    uint32_t n = s->topology[first->topology].n_nodes;
    uint32_t edges = s->topology[first->topology].n_edges;
    cg_set_close(s);
#define HOSTILE(change, why)                                                  \
    do {                                                                      \
        memcpy(q, p, size);                                                   \
        change;                                                               \
        seal(q, size);                                                        \
        refused(q, size, why);                                                \
    } while (0)
    HOSTILE(h->version = 2, "a data set of version 2; this program reads");
    HOSTILE(h->form = 2, "form 2 is not known");
    HOSTILE(h->n_sections = 8, "8 sections");
    HOSTILE(h->n_tokens++, "section 'tokens' has");
    HOSTILE(h->n_graphs = 0x20000003, "section 'graphs' has");
    HOSTILE(h->n_ops = 0xffffffff, "section 'texts' is shorter");
    HOSTILE(h->n_ops++, "section 'texts'");
    HOSTILE(h->n_ops--, "section 'texts'");
    HOSTILE(section_of(q, CG_SECTION_GRAPHS)->reserved = 1,
            "'graphs' is not where");
    HOSTILE(section_of(q, CG_SECTION_EDGES)->size = UINT64_MAX,
            "'edges' is not where");
    HOSTILE(section_of(q, CG_SECTION_NODES)->offset += 64,
            "'nodes' is not where");
    HOSTILE(section_of(q, CG_SECTION_NAMES)->size--, "bytes stand behind");
    HOSTILE(content(q, CG_SECTION_NAMES)[
                section_of(q, CG_SECTION_NAMES)->size - 1] = 'x',
            "the last name has no end");
    cg_token *t = (cg_token *)content(p, CG_SECTION_TOKENS);
    size_t token = (size_t)((unsigned char *)t - p);
    t = (cg_token *)(q + token);
    HOSTILE(t->op = 60000, "token 0 has a value");
    HOSTILE(t->act = 60000, "token 0 has a value");
    HOSTILE(t->bias = 2, "token 0 has a value");
    HOSTILE(t->rank = 65, "token 0 has a value");
    HOSTILE(t->macs = INFINITY, "token 0 has a value");
    size_t row = section_of(p, CG_SECTION_TOPOLOGY)->offset;
    cg_set_topology *y = (cg_set_topology *)(q + row);
    HOSTILE(y->n_nodes++, "row 0 has edges");
    HOSTILE(y->n_nodes = y->n_edges = 0, "row 0 has edges");
    HOSTILE(y->reserved = 1, "row 0 has edges");
    HOSTILE(y->n_edges++, "row 0 has edges");
    HOSTILE(y->n_nodes = 0xffffffff, "row 0 has edges");
    HOSTILE(y->n_edges--, "row 0 has edges");
    HOSTILE(y->n_edges = 0xffffffff, "row 0 has edges");
    HOSTILE(y->edges = UINT64_MAX - 3, "row 0 has edges");
    size_t edge = section_of(p, CG_SECTION_EDGES)->offset;
    HOSTILE(q[edge] = 1, "row 0 has edges"); /* the first has a source */
    HOSTILE(q[edge + n + edges - 1] = (unsigned char)(n - 1),
            "row 0 has edges"); /* the last reads itself */
    HOSTILE(q[edge + n] = 255, "row 0 has edges");
    const cg_set_topology *fork = (cg_set_topology *)(p + row) + 1;
    size_t at = edge + fork->edges, pred = at + fork->n_nodes;
    while (p[at] < 2) /* a node with two sources: one twice */
        pred += p[at++];
    HOSTILE(q[pred + 1] = q[pred], "row 1 has edges");
    double *x = (double *)(q + section_of(p, CG_SECTION_SPECTRA)->offset);
    HOSTILE(x[CG_SPECTRUM_LEN + 1] = INFINITY, "row 1 has edges");
    size_t graph = section_of(p, CG_SECTION_GRAPHS)->offset;
    cg_set_graph *g = (cg_set_graph *)(q + graph);
    HOSTILE(g->topology = 3, "graph 0 has an index");
    HOSTILE(g->nodes = section_of(p, CG_SECTION_NODES)->size,
            "graph 0 has an index");
    HOSTILE(g->nodes = UINT64_MAX, "graph 0 has an index");
    HOSTILE(g[2].nodes++, "graph 2 has an index");
    HOSTILE(g->name = section_of(p, CG_SECTION_NAMES)->size,
            "graph 0 has an index");
    HOSTILE(g->token_bytes = 3, "graph 0 has an index");
    HOSTILE(g->token_bytes = 0x40000000, "graph 0 has an index");
    HOSTILE(g->macs = -1, "graph 0 has an index");
    size_t node = section_of(p, CG_SECTION_NODES)->offset;
    HOSTILE(q[node] = (unsigned char)h->n_tokens, "graph 0 has an index");
    HOSTILE(q[node + n + 5] = 5, "graph 0 has an index"); /* own parent */
    HOSTILE(q[node + n] = 1, "graph 0 has an index");
    HOSTILE(q[node + 2 * n] = 1, "graph 0 has an index");
    double *label = (double *)content(p, CG_SECTION_LABELS);
    label = (double *)(q + ((unsigned char *)label - p));
    HOSTILE(label[5] = -INFINITY, "a label of graph 2 is infinite");
#undef HOSTILE
    cg_xfree(q);
    cg_xfree(p);
}

/* Operators go by name: a set from a program with others opens, and tokens
 * that are the same have one hash wherever they are. */
static void operators_by_name(void **state)
{
    (void)state;
    cg_set *s = small_set();
    size_t size;
    unsigned char *p = copy_of(s, &size);
    unsigned char *texts = content(p, CG_SECTION_TEXTS);
    size_t n = section_of(p, CG_SECTION_TEXTS)->size, at = 0;
    while (at + 5 < n && memcmp(texts + at, "Conv", 5) != 0)
        at++;
    assert_true(at + 5 < n);
    texts[at] = 'K';
    seal(p, size);
    cg_set *k = open_bytes(p, size);
    assert_non_null(k);
    uint32_t custom = 0;
    for (uint32_t i = 0; i < s->n_tokens; i++) {
        bool conv = s->token[i].op == CG_OP_CONV;
        assert_int_equal(k->token[i].op,
                         conv ? CG_OP_CUSTOM : s->token[i].op);
        assert_true((k->token_hash[i] != s->token_hash[i]) == conv);
        assert_true(s->token_hash[i] != 0);
        custom += conv;
        for (uint32_t j = 0; j < i; j++)
            assert_true(s->token_hash[i] != s->token_hash[j]);
    }
    assert_true(custom > 0);
    cg_set_close(k);
    cg_xfree(p);
    cg_set_close(s);
}

/* Tokens that differ in their activation alone. */
static void activations_differ(void **state)
{
    (void)state;
    cg_features f = made_up(3, 1, NULL, 0);
    f.token[1].act = CG_OP_RELU;
    f.token[2].act = CG_OP_RELU6;
    colour(&f);
    cg_set_builder *b = cg_set_builder_new("x", CG_FORM_FUSED, NULL, 0);
    cg_set_builder_add(b, &f, "x", NULL);
    cg_set *s;
    assert_int_equal(cg_set_builder_finish(b, &s), CG_OK);
    assert_int_equal(s->n_tokens, 3);
    assert_true(s->token_hash[0] != s->token_hash[1] &&
                s->token_hash[1] != s->token_hash[2] &&
                s->token_hash[0] != s->token_hash[2]);
    assert_int_equal(s->token[0].act, CG_TOKEN_OPS);
    assert_int_equal(s->token[2].act, CG_OP_RELU6);
    cg_set_close(s);
    cg_set_builder_free(b);
    made_up_free(&f);
}

static void files_that_are_none(void **state)
{
    (void)state;
    cg_set *s;
    assert_int_equal(cg_set_open(&s, "/nowhere/a.cgs"), CG_EIO);
    assert_non_null(strstr(cg_error(), "/nowhere/a.cgs: cannot open"));
    assert_int_equal(cg_set_open(&s, "/"), CG_EIO);
    assert_int_equal(cg_set_open(&s, "/dev/null"), CG_EFORMAT);
    assert_non_null(strstr(cg_error(), "not a data set"));
    cg_set_builder *b = cg_set_builder_new("x", CG_FORM_FOLDED, NULL, 0);
    assert_int_equal(cg_set_builder_write(b, "/nowhere/a.cgs"), CG_EIO);
    assert_int_equal(cg_set_builder_write(b, "/dev/full"), CG_EIO);
    assert_non_null(strstr(cg_error(), "No space left"));
    cg_set_builder_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(widths),
        cmocka_unit_test(empty_set),
        cmocka_unit_test(truncated),
        cmocka_unit_test(flipped),
        cmocka_unit_test(hostile_words),
        cmocka_unit_test(hostile_numbers),
        cmocka_unit_test(operators_by_name),
        cmocka_unit_test(activations_differ),
        cmocka_unit_test(files_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
