/* A batch from graphs: colours become states.
 *
 * Within a graph the container says which nodes agree for how many rounds
 * (cg_features.parent, level); between graphs a colour is known by a 64-bit
 * hash of what it stands for, looked up in one table for all rounds. With some
 * 10^5 colours in a batch two of them collide once in 10^9 batches. */
#include "runtime/batch.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/index.h"

typedef CG_ARRAY(int32_t) ints;
typedef CG_ARRAY(float) floats;

/* A sparse matrix while its rows are being appended. */
typedef struct rows {
    int n_cols;
    ints start, col;
    floats val;
} rows;

struct cg_batcher {
    cg_item item;
    cg_index colours;   /* of the batch at hand: hash -> state */
    size_t per_graph;   /* colours a graph brought last time */
    CG_ARRAY(const cg_token *) token;
    rows message[CG_ROUNDS_MAX], self[CG_ROUNDS_MAX];
    rows pool, token_row, token_pool;
    ints group_start, group_row;
    floats group_count;
    CG_ARRAY(int64_t) square;
    /* per node of the graph at hand, of this round and the one before */
    size_t node_cap;
    uint64_t *hash, *hash_next;
    int32_t *state, *state_next, *entry;
    /* what goes to the device, and where its addresses are wanted */
    unsigned char *stage;
    size_t stage_len, stage_cap;
    CG_ARRAY(struct fix { const void **at; size_t offset; }) fixes;
    ints scratch;
};

static const char *const message_names[CG_MESSAGE_COUNT] = {
    [CG_MESSAGE_GRAPHCONV] = "graphconv",
    [CG_MESSAGE_GCN] = "gcn",
    [CG_MESSAGE_GIN] = "gin",
};

const char *cg_message_name(cg_message m)
{
    return message_names[m];
}

cg_batcher *cg_batcher_new(void)
{
    return cg_xcalloc(1, sizeof(cg_batcher));
}

static void rows_free(rows *r)
{
    cg_array_free(&r->start);
    cg_array_free(&r->col);
    cg_array_free(&r->val);
}

void cg_batcher_free(cg_batcher *b)
{
    if (!b)
        return;
    cg_item_free(&b->item);
    cg_index_free(&b->colours);
    cg_array_free(&b->token);
    for (int r = 0; r < CG_ROUNDS_MAX; r++)
        rows_free(&b->message[r]), rows_free(&b->self[r]);
    rows_free(&b->pool);
    rows_free(&b->token_row);
    rows_free(&b->token_pool);
    cg_array_free(&b->group_start);
    cg_array_free(&b->group_row);
    cg_array_free(&b->group_count);
    cg_array_free(&b->square);
    cg_xfree(b->hash);
    cg_xfree(b->hash_next);
    cg_xfree(b->state);
    cg_xfree(b->state_next);
    cg_xfree(b->entry);
    cg_xfree(b->stage);
    cg_array_free(&b->fixes);
    cg_array_free(&b->scratch);
    cg_xfree(b);
}

/* -- colours --------------------------------------------------------------- */

static uint64_t refine(uint64_t own, uint64_t neighbours)
{
    return cg_mix64(own * 0x9fb21c651e98df25u + neighbours);
}

/* Hash of v's colour one round on; a sum needs no order. */
static uint64_t next_hash(const cg_batcher *b, uint32_t v)
{
    const cg_item *g = &b->item;
    uint64_t sum = 0;
    for (uint32_t e = g->start[v]; e < g->start[v + 1]; e++)
        sum += cg_mix64(b->hash[g->pred[e]] ^ 0xd1b54a32d192ed03u);
    return refine(b->hash[v], sum);
}

/* -- rows of the matrices -------------------------------------------------- */

static void rows_clear(rows *r)
{
    r->start.len = r->col.len = r->val.len = 0;
    r->n_cols = 0;
    cg_array_push(&r->start, 0);
}

/* Adds an entry to the last row: equal columns are one. Rows are short, but a
 * network may have an operator with very many inputs: those of rows over 32
 * stay apart, which is the same sum. */
static void put(rows *r, int32_t col, float val)
{
    size_t first = (size_t)r->start.data[r->start.len - 1], n = r->col.len;
    for (size_t e = n - first > 32 ? n : first; e < n; e++)
        if (r->col.data[e] == col) {
            r->val.data[e] += val;
            return;
        }
    cg_array_push(&r->col, col);
    cg_array_push(&r->val, val);
}

static void end_row(rows *r)
{
    cg_array_push(&r->start, (int32_t)r->col.len);
}

static float degree(const cg_item *g, uint32_t v)
{
    return (float)(g->start[v + 1] - g->start[v] + 1);
}

/* What the state of v after a round is made from: states before it. */
static void message_row(const cg_batcher *b, cg_message m, rows *r,
                        uint32_t v)
{
    const cg_item *g = &b->item;
    uint32_t last = g->start[v + 1];
    int32_t own = b->state[v];
    if (m == CG_MESSAGE_GCN)
        put(r, own, 1 / degree(g, v));
    else
        put(r, m == CG_MESSAGE_GRAPHCONV ? 2 * own : own, 1);
    for (uint32_t e = g->start[v]; e < last; e++) {
        uint32_t u = g->pred[e];
        int32_t s = b->state[u];
        if (m == CG_MESSAGE_GCN)
            put(r, s, 1 / sqrtf(degree(g, u) * degree(g, v)));
        else
            put(r, m == CG_MESSAGE_GRAPHCONV ? 2 * s + 1 : s, 1);
    }
    end_row(r);
}

/* A row of shares: nodes of one colour of round `r` are one entry, its column
 * `state[v]`, or counted on from `next` where that is not NULL. Gives the
 * entries of nodes (b->entry). */
static void share_row(cg_batcher *b, rows *out, unsigned r,
                      const int32_t *state, int32_t *next)
{
    const cg_item *g = &b->item;
    size_t base = out->col.len;
    for (uint32_t v = 0; v < g->n_nodes; v++) {
        if (g->level[v] > r) {
            b->entry[v] = b->entry[g->parent[v]];
        } else {
            b->entry[v] = (int32_t)(out->col.len - base);
            cg_array_push(&out->col, state ? state[v] : (*next)++);
            cg_array_push(&out->val, 0);
        }
        out->val.data[base + (size_t)b->entry[v]] += 1;
    }
    for (size_t e = base; e < out->col.len; e++)
        out->val.data[e] /= (float)g->n_nodes;
    cg_array_push(&out->start, (int32_t)out->col.len);
}

/* -- one graph ------------------------------------------------------------- */

static void reserve_nodes(cg_batcher *b, size_t n)
{
    if (n <= b->node_cap)
        return;
    b->node_cap = n + n / 2;
    b->hash = cg_xrealloc(b->hash, b->node_cap * sizeof *b->hash);
    b->hash_next = cg_xrealloc(b->hash_next, b->node_cap * sizeof *b->hash);
    b->state = cg_xrealloc(b->state, b->node_cap * sizeof *b->state);
    b->state_next = cg_xrealloc(b->state_next, b->node_cap * sizeof *b->state);
    b->entry = cg_xrealloc(b->entry, b->node_cap * sizeof *b->entry);
}

static void swap_rounds(cg_batcher *b)
{
    uint64_t *h = b->hash;
    b->hash = b->hash_next;
    b->hash_next = h;
    int32_t *s = b->state;
    b->state = b->state_next;
    b->state_next = s;
}

/* Round 0: a state for each token, GCN: for each token and in-degree, which
 * is less than the colour of round 1. */
static void first_round(cg_batcher *b, const cg_set *s,
                        const cg_batch_opts *o)
{
    const cg_item *g = &b->item;
    cg_message m = o->message;
    for (uint32_t v = 0; v < g->n_nodes; v++)
        b->hash[v] = o->plain ? cg_mix64(b->token.len + v + 1)
                              : s->token_hash[g->token[v]];
    if (m == CG_MESSAGE_GCN) {
        for (uint32_t v = 0; v < g->n_nodes; v++)
            b->hash_next[v] = next_hash(b, v);
        swap_rounds(b);
    }
    for (uint32_t v = 0; v < g->n_nodes; v++) {
        if (g->level[v] > (unsigned)(m == CG_MESSAGE_GCN)) {
            b->state[v] = b->state[g->parent[v]];
            continue;
        }
        uint32_t *state = cg_index_at(&b->colours, b->hash[v]);
        if (*state == CG_INDEX_NONE) { /* a token not seen yet */
            *state = (uint32_t)b->token.len;
            cg_array_push(&b->token, &s->token[g->token[v]]);
        }
        b->state[v] = (int32_t)*state;
    }
}

static void next_round(cg_batcher *b, const cg_batch_opts *o, unsigned r)
{
    cg_message m = o->message;
    const cg_item *g = &b->item;
    unsigned agree = r + 1 + (m == CG_MESSAGE_GCN);
    rows *out = &b->message[r];
    for (uint32_t v = 0; v < g->n_nodes; v++) {
        /* rounds share the table: a colour is one of its round */
        b->hash_next[v] = g->level[v] > agree ? b->hash_next[g->parent[v]]
                                              : next_hash(b, v) + r;
        cg_index_expect(&b->colours, b->hash_next[v]);
    }
    for (uint32_t v = 0; v < g->n_nodes; v++) {
        if (g->level[v] > agree) {
            b->state_next[v] = b->state_next[g->parent[v]];
            continue;
        }
        uint32_t *state = cg_index_at(&b->colours, b->hash_next[v]);
        if (*state == CG_INDEX_NONE) {
            *state = (uint32_t)out->start.len - 1;
            message_row(b, m, out, v);
            if (o->residual) {
                put(&b->self[r], b->state[v], 1);
                end_row(&b->self[r]);
            }
        }
        b->state_next[v] = (int32_t)*state;
    }
    swap_rounds(b);
}

static void add_groups(cg_batcher *b)
{
    int32_t next = (int32_t)b->group_row.len;
    rows *shares = &b->token_pool;
    size_t base = shares->col.len;
    int64_t n;
    share_row(b, shares, 0, NULL, &next);
    n = (int64_t)(shares->col.len - base);
    for (size_t e = base; e < shares->col.len; e++) {
        float count = roundf(shares->val.data[e] * (float)b->item.n_nodes);
        cg_array_push(&b->group_count, count);
        cg_array_push(&b->group_row, 0);
    }
    for (uint32_t v = 0; v < b->item.n_nodes; v++)
        b->group_row.data[base + (size_t)b->entry[v]] = b->state[v];
    cg_array_push(&b->group_start, next);
    cg_array_push(&b->square, n * n);
}

static void add_graph(cg_batcher *b, cg_pick p, const cg_batch_opts *o)
{
    cg_set_get(p.set, p.index, &b->item);
    reserve_nodes(b, b->item.n_nodes);
    if (o->plain)
        memset(b->item.level, 0, b->item.n_nodes);
    first_round(b, p.set, o);
    if (o->copies > 0)
        add_groups(b);
    for (int r = 0; r < o->rounds; r++)
        next_round(b, o, (unsigned)r);
    share_row(b, &b->pool,
              (unsigned)(o->rounds + (o->message == CG_MESSAGE_GCN)),
              b->state, NULL);
}

/* -- staging --------------------------------------------------------------- */

static void *stage(cg_batcher *b, const void *at, size_t bytes)
{
    size_t offset = (b->stage_len + 63) & ~(size_t)63;
    struct fix f = {(const void **)at, offset};
    if (offset + bytes > b->stage_cap) {
        b->stage_cap = 2 * (offset + bytes);
        b->stage = cg_xrealloc(b->stage, b->stage_cap);
    }
    cg_array_push(&b->fixes, f);
    b->stage_len = offset + bytes;
    return b->stage + offset;
}

static void stage_copy(cg_batcher *b, const void *at, const void *src,
                       size_t bytes)
{
    void *dst = stage(b, at, bytes);
    if (bytes)
        memcpy(dst, src, bytes);
}

/* By columns: counts, then places, in the order of the rows. */
static void stage_transpose(cg_batcher *b, const rows *r, cg_csr *out)
{
    int n_rows = (int)r->start.len - 1;
    size_t nnz = r->col.len;
    *out = (cg_csr){.n_rows = r->n_cols, .n_cols = n_rows,
                    .n_entries = (int)nnz};
    cg_array_reserve(&b->scratch, r->n_cols + 2);
    int32_t *place = b->scratch.data;
    memset(place, 0, ((size_t)r->n_cols + 2) * sizeof *place);
    for (size_t e = 0; e < nnz; e++)
        place[r->col.data[e] + 2]++;
    for (int c = 0; c < r->n_cols; c++)
        place[c + 2] += place[c + 1];
    place++; /* place[c] is where column c starts, later where it ends */
    size_t at_col = 0, at_val = 0;
    stage(b, &out->col, nnz * sizeof(int32_t));
    at_col = b->fixes.data[b->fixes.len - 1].offset;
    stage(b, &out->val, nnz * sizeof(float));
    at_val = b->fixes.data[b->fixes.len - 1].offset;
    int32_t *col = (int32_t *)(void *)(b->stage + at_col);
    float *val = (float *)(void *)(b->stage + at_val);
    for (int i = 0; i < n_rows; i++)
        for (int32_t e = r->start.data[i]; e < r->start.data[i + 1]; e++) {
            int32_t to = place[r->col.data[e]]++;
            col[to] = i;
            val[to] = r->val.data[e];
        }
    stage_copy(b, &out->start, b->scratch.data,
               ((size_t)r->n_cols + 1) * sizeof(int32_t));
}

static void stage_rows(cg_batcher *b, const rows *r, bool train,
                       cg_sparse *out)
{
    size_t nnz = r->col.len;
    *out = (cg_sparse){.a = {.n_rows = (int)r->start.len - 1,
                             .n_cols = r->n_cols, .n_entries = (int)nnz}};
    stage_copy(b, &out->a.start, r->start.data,
               r->start.len * sizeof(int32_t));
    stage_copy(b, &out->a.col, r->col.data, nnz * sizeof(int32_t));
    stage_copy(b, &out->a.val, r->val.data, nnz * sizeof(float));
    if (train)
        stage_transpose(b, r, &out->t);
}

static void repeat_rows(rows *r, int copies)
{
    size_t n = r->start.len - 1, nnz = r->col.len;
    for (int c = 1; c < copies; c++) {
        for (size_t e = 0; e < nnz; e++) {
            cg_array_push(&r->col, r->col.data[e]);
            cg_array_push(&r->val, r->val.data[e]);
        }
        for (size_t i = 1; i <= n; i++)
            cg_array_push(&r->start, r->start.data[i] + c * (int32_t)nnz);
    }
}

/* Views of one graph are groups of their own with the same tokens. */
static void copy_groups(cg_batcher *b, int copies)
{
    size_t groups = b->square.len, tokens = b->group_row.len;
    rows *p = &b->token_pool;
    repeat_rows(p, copies);
    for (size_t e = tokens; e < p->col.len; e++)
        p->col.data[e] = (int32_t)e; /* each token is in one group */
    for (int c = 1; c < copies; c++) {
        for (size_t t = 0; t < tokens; t++) {
            cg_array_push(&b->group_row, b->group_row.data[t]);
            cg_array_push(&b->group_count, b->group_count.data[t]);
        }
        for (size_t g = 0; g < groups; g++) {
            int32_t end = b->group_start.data[g + 1] + c * (int32_t)tokens;
            cg_array_push(&b->group_start, end);
            cg_array_push(&b->square, b->square.data[g]);
        }
    }
}

static void stage_groups(cg_batcher *b, const cg_batch_opts *o, cg_batch *out)
{
    cg_groups *g = &out->groups;
    copy_groups(b, o->copies);
    *g = (cg_groups){.n = (int)b->square.len,
                     .n_tokens = (int)b->group_row.len};
    for (size_t i = 0; i < b->square.len; i++) { /* sums of those before */
        int64_t n = b->square.data[i];
        b->square.data[i] = g->n_square;
        g->n_square += n;
    }
    stage_copy(b, &g->start, b->group_start.data,
               b->group_start.len * sizeof(int32_t));
    stage_copy(b, &g->square, b->square.data, b->square.len * sizeof(int64_t));
    stage_copy(b, &g->row, b->group_row.data, b->group_row.len * 4);
    stage_copy(b, &g->count, b->group_count.data, b->group_count.len * 4);
    b->token_pool.n_cols = g->n_tokens;
    stage_rows(b, &b->token_pool, o->train, &out->token_pool);
    rows *reads = &b->token_row; /* one 1 in each row */
    reads->n_cols = out->n_states[0];
    for (int t = 0; t < g->n_tokens; t++) {
        cg_array_push(&reads->col, b->group_row.data[t]);
        cg_array_push(&reads->val, 1);
        cg_array_push(&reads->start, t + 1);
    }
    stage_rows(b, reads, o->train, &out->token_row);
}

/* -- batches --------------------------------------------------------------- */

static void clear(cg_batcher *b, int rounds, int n_graphs)
{
    cg_index_clear(&b->colours, b->per_graph * (size_t)n_graphs);
    b->token.len = 0;
    for (int r = 0; r < rounds; r++)
        rows_clear(&b->message[r]), rows_clear(&b->self[r]);
    rows_clear(&b->pool);
    rows_clear(&b->token_row);
    rows_clear(&b->token_pool);
    b->group_start.len = b->group_row.len = b->group_count.len = 0;
    b->square.len = 0;
    cg_array_push(&b->group_start, 0);
    b->stage_len = 0;
    b->fixes.len = 0;
}

void cg_batch_make(cg_batcher *b, const cg_pick *graphs, int n,
                   const cg_batch_opts *o, cg_batch *out)
{
    assert(o->rounds <= CG_ROUNDS_MAX);
    *out = (cg_batch){.n_graphs = n, .rounds = o->rounds};
    clear(b, o->rounds, n);
    for (int i = 0; i < n; i++) {
        add_graph(b, graphs[i], o);
        out->n_nodes += b->item.n_nodes;
    }
    b->per_graph = n ? b->colours.len / (size_t)n + 1 : 0;
    int wide = o->message == CG_MESSAGE_GRAPHCONV ? 2 : 1;
    out->token = b->token.data;
    out->n_states[0] = (int)b->token.len;
    for (int r = 0; r < o->rounds; r++) {
        b->message[r].n_cols = wide * out->n_states[r];
        out->n_states[r + 1] = (int)b->message[r].start.len - 1;
        stage_rows(b, &b->message[r], o->train, &out->message[r]);
        b->self[r].n_cols = out->n_states[r];
        if (o->residual)
            stage_rows(b, &b->self[r], o->train, &out->self[r]);
    }
    b->pool.n_cols = out->n_states[o->rounds];
    repeat_rows(&b->pool, o->copies);
    stage_rows(b, &b->pool, o->train, &out->pool);
    if (o->copies > 0)
        stage_groups(b, o, out);
}

void cg_batch_upload(cg_batcher *b, cg_dev *dev, cg_batch *out)
{
    unsigned char *block = cg_dev_work(dev, b->stage_len + 1);
    (void)out; /* its pointers are what the fixes point to */
    cg_dev_upload(dev, block, b->stage, b->stage_len);
    for (size_t i = 0; i < b->fixes.len; i++)
        *b->fixes.data[i].at = block + b->fixes.data[i].offset;
}
