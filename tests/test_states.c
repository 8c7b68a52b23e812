/* Batches against the plain way: message passing node by node and attention
 * over all nodes, for networks of several families and for two of one token. */
#include "tests/sets.h"
#include "tests/lab.h"

#include "runtime/batch.h"
#include "runtime/inputs.h"
#include "runtime/nets.h"

enum { GRAPHS = 10, WIDTH = 8, LAYERS = 5 };

typedef struct world {
    cg_set *set;
    lab l;
    cg_arena host; /* of one test */
} world;

static cg_set *make_set(void)
{
    static const char *const names[] = {"nb101", "nb201", "ofa_mbv3",
                                        "two_path"};
    const char *labels[] = {"y"};
    cg_set_builder *b = cg_set_builder_new("mixed", CG_FORM_FOLDED, labels, 1);
    for (uint64_t i = 0; cg_set_builder_len(b) < GRAPHS; i++) {
        char code[CG_ZOO_CODE_MAX];
        const cg_zoo_family *f;
        cg_zoo_opts o;
        double y = (double)i;
        assert_int_equal(cg_zoo_find(names[i % 4], &f, &o), CG_OK);
        cg_graph *g = sample_graph(f, i / 2, code);
        if (!g)
            continue;
        cg_features x;
        assert_int_equal(cg_features_make(&x, g, CG_FORM_FOLDED), CG_OK);
        cg_set_builder_add(b, &x, code, &y);
        cg_features_free(&x);
        cg_graph_free(g);
    }
    cg_set *s;
    assert_int_equal(cg_set_builder_finish(b, &s), CG_OK);
    cg_set_builder_free(b);
    return s;
}

/* -- back from the device -------------------------------------------------- */

static void *fetch(world *w, const void *p, size_t bytes)
{
    void *host = cg_arena_alloc(&w->host, bytes);
    if (p) {
        cg_dev_download(w->l.dev, host, p, bytes);
        assert_int_equal(cg_dev_sync(w->l.dev), CG_OK);
    }
    return host;
}

static cg_csr fetch_csr(world *w, cg_csr s)
{
    size_t rows = (size_t)s.n_rows, n = (size_t)s.n_entries;
    s.start = fetch(w, s.start, (rows + 1) * sizeof *s.start);
    s.col = fetch(w, s.col, n * sizeof *s.col);
    s.val = s.val ? fetch(w, s.val, n * sizeof *s.val) : NULL;
    size_t cols = (size_t)s.n_cols;
    if (s.back_start) {
        s.back_start = fetch(w, s.back_start, (cols + 1) * sizeof *s.start);
        s.back_col = fetch(w, s.back_col, n * sizeof *s.col);
    }
    if (s.back_val)
        s.back_val = fetch(w, s.back_val, n * sizeof *s.val);
    return s;
}

/* The batch with host memory in place of the device's. */
static cg_batch fetch_batch(world *w, cg_batch b)
{
    cg_groups *g = &b.groups;
    size_t n = (size_t)g->n, tokens = (size_t)g->n_tokens;
    for (int r = 0; r < b.rounds; r++) {
        b.message[r] = fetch_csr(w, b.message[r]);
        b.self[r] = fetch_csr(w, b.self[r]);
    }
    b.pool = fetch_csr(w, b.pool);
    b.token_row = fetch_csr(w, b.token_row);
    b.token_pool = fetch_csr(w, b.token_pool);
    g->start = fetch(w, g->start, (n + 1) * sizeof *g->start);
    g->square = fetch(w, g->square, n * sizeof *g->square);
    g->row = fetch(w, g->row, tokens * sizeof *g->row);
    g->count = fetch(w, g->count, tokens * sizeof *g->count);
    return b;
}

static cg_var fetch_var(world *w, cg_var v)
{
    float *x = lab_get(&w->l, &v);
    v.x = cg_arena_dup(&w->host, x,
                       (size_t)v.rows * (size_t)v.cols * sizeof *x);
    v.ld = v.cols;
    cg_xfree(x);
    return v;
}

/* -- the plain way --------------------------------------------------------- */

typedef struct plain {
    cg_item g;
    double *x; /* (n_nodes, width) */
    int width;
} plain;

/* y (cols) += x (rows) w (rows, ld), columns from `first` on. */
static void multiply(const double *x, int rows, const cg_var *w, int first,
                     int cols, double *y)
{
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++)
            y[c] += x[r] * (double)w->x[r * w->ld + first + c];
}

static void finish(double *y, const cg_var *b, int cols)
{
    for (int c = 0; c < cols; c++)
        y[c] = fmax(0, y[c] + (double)b->x[c]);
}

typedef struct layer { /* w2, b2: of GIN */
    cg_var w, b, w2, b2;
} layer;

static layer fetch_layer(world *w, const cg_gnn *net, int k)
{
    cg_params *p = &w->l.params;
    bool gin = net->message == CG_MESSAGE_GIN;
    return (layer){
        fetch_var(w, *cg_params_var(p, net->w[k])),
        fetch_var(w, *cg_params_var(p, net->b[k])),
        gin ? fetch_var(w, *cg_params_var(p, net->w2[k])) : (cg_var){0},
        gin ? fetch_var(w, *cg_params_var(p, net->b2[k])) : (cg_var){0}};
}

static void plain_node(const plain *p, cg_message m, const layer *l,
                       uint32_t v, double *y)
{
    const cg_item *g = &p->g;
    const cg_var *w = &l->w;
    double dv = g->start[v + 1] - g->start[v] + 1.0, sum[64] = {0};
    const double *xv = p->x + v * (size_t)p->width;
    for (uint32_t e = g->start[v]; e < g->start[v + 1]; e++) {
        uint32_t u = g->pred[e];
        double du = g->start[u + 1] - g->start[u] + 1.0;
        for (int c = 0; c < p->width; c++)
            sum[c] += p->x[u * (size_t)p->width + (size_t)c] /
                      (m == CG_MESSAGE_GCN ? sqrt(du * dv) : 1);
    }
    memset(y, 0, WIDTH * sizeof *y);
    if (m == CG_MESSAGE_GRAPHCONV) {
        multiply(xv, p->width, w, 0, WIDTH, y);
        multiply(sum, p->width, w, WIDTH, WIDTH, y);
    } else {
        for (int c = 0; c < p->width; c++)
            sum[c] += xv[c] / (m == CG_MESSAGE_GCN ? dv : 1);
        multiply(sum, p->width, w, 0, WIDTH, y);
    }
    finish(y, &l->b, WIDTH);
    if (m == CG_MESSAGE_GIN) {
        double hidden[WIDTH];
        memcpy(hidden, y, sizeof hidden);
        memset(y, 0, WIDTH * sizeof *y);
        multiply(hidden, WIDTH, &l->w2, 0, WIDTH, y);
        finish(y, &l->b2, WIDTH);
    }
}

static void plain_gnn(const cg_set *s, uint32_t i, const cg_inputs *in,
                      const cg_gnn *net, const layer *layers, double *mean)
{
    plain p = {.width = in->width};
    cg_set_get(s, i, &p.g);
    size_t n = p.g.n_nodes;
    float *row = cg_xcalloc((size_t)in->width, sizeof *row);
    p.x = cg_xcalloc(n * (size_t)in->width, sizeof *p.x);
    for (size_t v = 0; v < n; v++) {
        cg_inputs_fill(in, in, &s->token[p.g.token[v]], row);
        for (int c = 0; c < in->width; c++)
            p.x[v * (size_t)in->width + (size_t)c] = row[c];
    }
    cg_xfree(row);
    for (int k = 0; k < net->layers; k++) {
        double *y = cg_xcalloc(n * WIDTH, sizeof *y);
        for (uint32_t v = 0; v < n; v++)
            plain_node(&p, net->message, &layers[k], v, y + v * WIDTH);
        cg_xfree(p.x);
        p.x = y;
        p.width = WIDTH;
    }
    for (size_t v = 0; v < n; v++)
        for (int c = 0; c < WIDTH; c++)
            mean[c] += p.x[v * WIDTH + (size_t)c] / (double)n;
    cg_xfree(p.x);
    cg_item_free(&p.g);
}

/* -- tests ----------------------------------------------------------------- */

/* Entry by entry: those of a column lie in the order of their rows. */
static void check_back(const cg_csr *s)
{
    int32_t *next = cg_xcalloc((size_t)s->n_cols, sizeof *next);
    memcpy(next, s->back_start, (size_t)s->n_cols * sizeof *next);
    assert_int_equal(s->back_start[0], 0);
    assert_int_equal(s->val == NULL, s->back_val == NULL);
    for (int r = 0; r < s->n_rows; r++)
        for (int32_t e = s->start[r]; e < s->start[r + 1]; e++) {
            int32_t at = next[s->col[e]]++;
            assert_int_equal(s->back_col[at], r);
            if (s->val)
                assert_memory_equal(&s->back_val[at], &s->val[e], 4);
        }
    assert_memory_equal(next, s->back_start + 1,
                        (size_t)s->n_cols * sizeof *next);
    cg_xfree(next);
}

/* Columns are within, and rows one after another, of the transpose too. */
static void check_sparse(const cg_csr *s, int rows, int cols)
{
    assert_int_equal(s->n_rows, rows);
    assert_int_equal(s->n_cols, cols);
    assert_int_equal(s->start[0], 0);
    assert_int_equal(s->start[rows], s->n_entries);
    for (int r = 0; r < rows; r++)
        assert_true(s->start[r] < s->start[r + 1]);
    for (int e = 0; e < s->n_entries; e++)
        assert_true(s->col[e] >= 0 && s->col[e] < cols);
    check_back(s);
}

static int by_number(const void *a, const void *b)
{
    return *(const int32_t *)a - *(const int32_t *)b;
}

/* No two states are made from the same ones, a node's own first: what can be
 * shared is. */
static void check_distinct(const cg_csr *s)
{
    int32_t *col = cg_xcalloc((size_t)s->n_entries, sizeof *col);
    memcpy(col, s->col, (size_t)s->n_entries * sizeof *col);
    for (int r = 0; r < s->n_rows; r++) {
        int n = s->start[r + 1] - s->start[r];
        int32_t *row = col + s->start[r];
        qsort(row + 1, (size_t)n - 1, sizeof *row, by_number);
        for (int q = 0; q < r; q++)
            if (s->start[q + 1] - s->start[q] == n)
                assert_memory_not_equal(row, col + s->start[q],
                                        (size_t)n * sizeof *row);
    }
    cg_xfree(col);
}

/* Sizes fit, and nothing is left to share. */
static void check_batch(const cg_batch *b, const cg_batch_opts *o)
{
    int halves = o->message == CG_MESSAGE_GRAPHCONV ? 2 : 1;
    assert_int_equal(b->n_states[LAYERS] == b->n_nodes, o->plain);
    for (int r = 0; r < LAYERS; r++) {
        check_sparse(&b->message[r], b->n_states[r + 1],
                     halves * b->n_states[r]);
        if (!o->plain)
            check_distinct(&b->message[r]);
    }
    check_sparse(&b->pool, GRAPHS, b->n_states[LAYERS]);
}

/* Means of the states of all networks, by the layers; cg_xfree. */
static float *by_layers(world *w, cg_batcher *b, const cg_batch_opts *o,
                        const cg_inputs *in, const cg_gnn *net)
{
    lab *l = &w->l;
    cg_batch batch;
    cg_pick pick[GRAPHS];
    for (uint32_t i = 0; i < GRAPHS; i++)
        pick[i] = (cg_pick){w->set, i};
    lab_begin(l, false, 0);
    cg_batch_make(b, pick, GRAPHS, o, &batch);
    size_t width = (size_t)in->width, n = (size_t)batch.n_states[0];
    float *x = cg_batch_inputs(b, &batch, in->width);
    for (size_t k = 0; k < n; k++)
        cg_inputs_fill(in, in, batch.token[k], x + k * width);
    cg_batch_upload(b, l->dev, &batch);
    cg_batch host = fetch_batch(w, batch);
    check_batch(&host, o);
    cg_var *h = cg_tape_input(&l->tape, batch.inputs, (int)n, in->width);
    return lab_get(l, cg_gnn_forward(net, &l->params, &l->tape, &batch, h));
}

static void messages(void **state)
{
    world *w = *state;
    cg_batcher *b = cg_batcher_new();
    cg_inputs in;
    assert_int_equal(cg_inputs_parse(&in, "class,size,kernel"), CG_OK);
    assert_true(in.width < 64);
    for (int m = 0; m < 2 * CG_MESSAGE_COUNT; m++) { /* shared, plain */
        cg_gnn net;
        layer layers[LAYERS];
        cg_batch_opts o = {.message = (cg_message)(m / 2), .rounds = LAYERS,
                           .back = true, .plain = m % 2};
        cg_params_free(&w->l.params);
        cg_gnn_declare(&net, &w->l.params, "gnn", o.message, in.width, WIDTH,
                       LAYERS, false, false);
        assert_int_equal(cg_params_alloc(&w->l.params, 11), CG_OK);
        for (int k = 0; k < LAYERS; k++)
            layers[k] = fetch_layer(w, &net, k);
        float *y = by_layers(w, b, &o, &in, &net);
        for (uint32_t i = 0; i < GRAPHS; i++) {
            double want[WIDTH] = {0};
            plain_gnn(w->set, i, &in, &net, layers, want);
            for (int c = 0; c < WIDTH; c++)
                assert_float_equal(y[i * WIDTH + (uint32_t)c], want[c],
                                   1e-5 + 1e-5 * fabs(want[c]));
        }
        cg_xfree(y);
    }
    cg_batcher_free(b);
}

/* Counts of tokens, and what a second view of a graph is. */
static void tokens(void **state)
{
    world *w = *state;
    cg_set *s = w->set;
    cg_batcher *b = cg_batcher_new();
    cg_batch batch;
    cg_pick pick[GRAPHS];
    cg_batch_opts o = {.message = CG_MESSAGE_GRAPHCONV, .rounds = 2,
                       .copies = 2, .residual = true, .back = true};
    for (uint32_t i = 0; i < GRAPHS; i++)
        pick[i] = (cg_pick){s, i};
    cg_batch_make(b, pick, GRAPHS, &o, &batch);
    cg_batch_upload(b, w->l.dev, &batch);
    batch = fetch_batch(w, batch);
    const cg_groups *g = &batch.groups;
    assert_int_equal(g->n, 2 * GRAPHS);
    check_sparse(&batch.pool, 2 * GRAPHS, batch.n_states[2]);
    check_sparse(&batch.token_pool, 2 * GRAPHS, g->n_tokens);
    check_sparse(&batch.token_row, g->n_tokens, batch.n_states[0]);
    for (int r = 0; r < 2; r++) { /* itself, as in the matrix of messages */
        const cg_csr *self = &batch.self[r], *all = &batch.message[r];
        check_sparse(self, batch.n_states[r + 1], batch.n_states[r]);
        assert_int_equal(self->n_entries, self->n_rows);
        for (int v = 0; v < self->n_rows; v++) {
            int found = 0;
            for (int e = all->start[v]; e < all->start[v + 1]; e++)
                found += all->col[e] == 2 * self->col[v];
            assert_int_equal(found, 1);
        }
    }
    int64_t square = 0;
    for (int i = 0; i < g->n; i++) {
        cg_item item = {0};
        cg_set_get(s, (uint32_t)i % GRAPHS, &item);
        int first = g->start[i], n = g->start[i + 1] - first;
        assert_int_equal(g->square[i], square);
        square += (int64_t)n * n;
        double shares = 0;
        for (int t = first; t < first + n; t++) {
            const cg_token *token = batch.token[g->row[t]];
            uint32_t same = 0;
            for (uint32_t v = 0; v < item.n_nodes; v++)
                same += memcmp(&s->token[item.token[v]], token,
                               sizeof *token) == 0;
            assert_int_equal(same, (int)g->count[t]);
            assert_int_equal(batch.token_row.col[t], g->row[t]);
            int e = batch.token_pool.start[i] + t - first;
            assert_int_equal(batch.token_pool.col[e], t);
            shares += (double)batch.token_pool.val[e];
        }
        assert_float_equal(shares, 1, 1e-5);
        cg_item_free(&item);
    }
    assert_int_equal(g->n_square, square);
    cg_batcher_free(b);
}

static void check_same_csr(const cg_csr *a, const cg_csr *b)
{
    size_t rows = (size_t)a->n_rows, n = (size_t)a->n_entries;
    assert_int_equal(a->n_rows, b->n_rows);
    assert_int_equal(a->n_cols, b->n_cols);
    assert_int_equal(a->n_entries, b->n_entries);
    assert_memory_equal(a->start, b->start, (rows + 1) * sizeof *a->start);
    assert_memory_equal(a->col, b->col, n * sizeof *a->col);
    assert_int_equal(a->val == NULL, b->val == NULL);
    if (a->val)
        assert_memory_equal(a->val, b->val, n * sizeof *a->val);
}

static void check_same(const cg_batch *a, const cg_batch *b)
{
    assert_int_equal(a->n_graphs, b->n_graphs);
    assert_int_equal(a->rounds, b->rounds);
    assert_int_equal(a->n_nodes, b->n_nodes);
    for (int r = 0; r <= a->rounds; r++)
        assert_int_equal(a->n_states[r], b->n_states[r]);
    for (int r = 0; r < a->rounds; r++)
        check_same_csr(&a->message[r], &b->message[r]);
    check_same_csr(&a->pool, &b->pool);
    for (int k = 0; k < a->n_states[0]; k++)
        assert_ptr_equal(a->token[k], b->token[k]);
}

/* A batcher that is used again gives the same batch, wherever the device wants
 * it. */
static void again(void **state)
{
    world *w = *state;
    cg_set *s = w->set;
    cg_batcher *b = cg_batcher_new(), *other = cg_batcher_new();
    cg_dev *dev = w->l.dev;
    cg_batch one, two, host;
    cg_pick few[3] = {{s, 4}, {s, 1}, {s, 4}}, all[GRAPHS];
    cg_batch_opts o = {.message = CG_MESSAGE_GCN, .rounds = 3};
    for (uint32_t i = 0; i < GRAPHS; i++)
        all[i] = (cg_pick){s, i};
    cg_batch_make(other, few, 3, &o, &one);
    cg_batch_upload(other, dev, &one);
    one = fetch_batch(w, one);
    cg_batch_make(b, all, GRAPHS, &o, &two);
    cg_batch_make(b, few, 3, &o, &two);
    bool shares = dev->shares_memory;
    dev->shares_memory = false;
    cg_batch_upload(b, dev, &two);
    dev->shares_memory = shares;
    host = fetch_batch(w, two);
    check_same(&one, &host);
    cg_batch_make(b, all, GRAPHS, &o, &host); /* `two` is the device's own */
    cg_csr last = fetch_csr(w, two.message[2]);
    check_same_csr(&one.message[2], &last);
    /* the same graph twice shares every state */
    const int32_t *start = one.pool.start;
    assert_int_equal(start[1] - start[0], start[3] - start[2]);
    assert_memory_equal(one.pool.col + start[0], one.pool.col + start[2],
                        (size_t)(start[1] - start[0]) * 4);
    cg_batcher_free(other);
    cg_batcher_free(b);
}

/* Batches that were foretold are those that are made when they are wanted; who
 * asks for others gets those. */
static void ahead(void **state)
{
    world *w = *state;
    cg_batcher *b = cg_batcher_new(), *other = cg_batcher_new();
    cg_dev *dev = w->l.dev;
    cg_pick all[GRAPHS];
    cg_batch_opts o = {.message = CG_MESSAGE_GRAPHCONV, .rounds = 4};
    for (uint32_t i = 0; i < GRAPHS; i++)
        all[i] = (cg_pick){w->set, (3 * i + 1) % GRAPHS};
    for (int k = 0; k < 12; k++) { /* 5 steps of 2, the last steps skip some */
        uint32_t at = (uint32_t)(k < 5 ? 2 * k : 3 * k % GRAPHS);
        int n = at + 2 > GRAPHS ? 1 : 2;
        cg_batch got, want;
        if (k % 4 != 3)
            cg_batch_ahead(b, dev, all + at, GRAPHS - at, 2, &o);
        o.rounds = k == 10 ? 2 : 4; /* other options are another batch */
        cg_batch_make(b, all + at, n, &o, &got);
        cg_batch_make(other, all + at, n, &o, &want);
        cg_batch_upload(b, dev, &got);
        cg_batch_upload(other, dev, &want);
        got = fetch_batch(w, got);
        want = fetch_batch(w, want);
        check_same(&got, &want);
    }
    cg_batcher_free(other);
    cg_batcher_free(b);
}

static int open_set(void **state)
{
    static world w;
    w.set = make_set();
    *state = &w;
    return 0;
}

static int close_set(void **state)
{
    world *w = *state;
    cg_set_close(w->set);
    return 0;
}

static int setup(void **state)
{
    world *w = *state;
    cg_arena_init(&w->host);
    lab_open(&w->l, 3);
    return 0;
}

static int teardown(void **state)
{
    world *w = *state;
    lab_close(&w->l);
    cg_arena_free(&w->host);
    return 0;
}

#define ON_DEVICE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_DEVICE(messages),
        ON_DEVICE(tokens),
        ON_DEVICE(again),
        ON_DEVICE(ahead),
    };
    return cmocka_run_group_tests(tests, open_set, close_set);
}
