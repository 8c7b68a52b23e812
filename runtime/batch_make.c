/* A batch from graphs: colours become states.
 *
 * Rounds are made one after the other for all graphs. A state that one graph
 * alone has cannot be, or send to, a state of another graph one round on: only
 * what is made of shared states is looked up, by a hash of their numbers, of
 * 56 bits. With some 10^4 colours in a round two collide once in 10^9 rounds.
 */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "runtime/batch_maker.h"

/* -- staging --------------------------------------------------------------- */

/* Room for `bytes` more, from a multiple of 64 on. */
static void stage_reserve(cg_maker *b, size_t bytes)
{
    size_t want = b->stage_len + bytes + 1024;
    if (want > b->stage_cap) {
        b->stage_cap = 2 * want;
        b->stage = cg_xrealloc(b->stage, b->stage_cap);
    }
}

/* The next `n` elements of 4 bytes, of what was reserved; `at`, a pointer of
 * the batch, is set when that is uploaded. */
static void *stage(cg_maker *b, const void *at, size_t n)
{
    size_t offset = (b->stage_len + 63) & ~(size_t)63;
    ptrdiff_t where = (const char *)at - (const char *)b->out;
    struct fix f = {(size_t)where, offset};
    cg_array_push(&b->fixes, f);
    b->stage_len = offset + n * 4;
    return b->stage + offset;
}

void *cg_maker_stage(cg_maker *b, const void *at, size_t n)
{
    stage_reserve(b, 4 * n);
    return stage(b, at, n);
}

/* The transpose of m, whose arrays are these; room for it was reserved. */
static void stage_back(cg_maker *b, cg_csr *m, const int32_t *start,
                       const int32_t *col, const float *val)
{
    size_t n = (size_t)m->n_entries;
    cg_csr here = {m->n_rows, m->n_cols, m->n_entries, .start = start,
                   .col = col, .val = val};
    int32_t *back_start = stage(b, &m->back_start, (size_t)m->n_cols + 1);
    int32_t *back_col = stage(b, &m->back_col, n);
    float *back_val = val ? stage(b, &m->back_val, n) : NULL;
    cg_csr_transpose(&here, back_start, back_col, back_val);
}

static void count_up(int32_t *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (int32_t)i;
}

/* -- rounds ---------------------------------------------------------------- */

/* Whoever leads no colour yet has the state of its leader. */
static void follow(int32_t *state, const uint32_t *leader, const cg_part *p,
                   unsigned level, unsigned top)
{
    for (uint32_t i = p->first + p->lead[level]; i < p->first + p->lead[top];
         i++)
        state[i] = state[leader[i]];
}

static uint64_t refine(uint64_t own, uint64_t neighbours)
{
    return cg_mix64(own * 0x9fb21c651e98df25u + neighbours);
}

/* Round 0: a state for each token, GCN: for each token and in-degree, which
 * is less than the colour of round 1. */
static uint64_t first_key(const cg_maker *b, const cg_part *p, uint32_t i,
                          bool gcn)
{
    const uint64_t *hash = p->set->token_hash;
    uint64_t sum = 0;
    if (!gcn)
        return hash[b->token[i]];
    for (uint32_t e = b->start[i]; e < b->start[i + 1]; e++)
        sum += cg_mix64(hash[b->token[b->pred[e]]] ^ 0xd1b54a32d192ed03u);
    return refine(hash[b->token[i]], sum);
}

/* For twice as many as last time: most are then found where they are looked for
 * first. */
static void clear_colours(cg_maker *b, int round)
{
    cg_index_clear(&b->colours, 2 * b->looked[round]);
}

static void first_round(cg_maker *b, int n, unsigned top,
                        const cg_batch_opts *o)
{
    bool gcn = o->message == CG_MESSAGE_GCN;
    clear_colours(b, 0);
    for (const cg_part *p = b->part; p < b->part + n; p++) {
        uint32_t last = p->first + p->lead[gcn];
        for (uint32_t i = p->first; i < last; i++) {
            uint32_t fresh = (uint32_t)b->tokens.len, none = CG_INDEX_NONE;
            uint32_t *s = o->plain ? &none
                : cg_index_at(&b->colours, first_key(b, p, i, gcn));
            if (*s == CG_INDEX_NONE) {
                *s = fresh;
                b->lone[fresh] = 1;
                cg_array_push(&b->tokens, &p->set->token[b->token[i]]);
            } else {
                b->lone[*s] = 0;
            }
            b->state[i] = (int32_t)*s;
        }
        follow(b->state, b->leader, p, gcn, top);
    }
    b->looked[0] = b->colours.len;
}

/* Where the rows of a round's matrices are written. */
typedef struct writer {
    int32_t *start, *self, *col;
    float *val;
    int32_t n_rows, n_entries;
} writer;

/* Keys of the leaders' colours one round on: own hash, and the sum of those of
 * the in-neighbours, which needs no order. A sum over edges is a difference of
 * two sums from the first edge on. Leaders are sorted into those that want to
 * be looked up, which is their number, and b->alone. There are no branches that
 * depend on the graph, which no processor could foresee. */
static uint32_t make_keys(cg_maker *b, const cg_part *p, unsigned level,
                          unsigned top)
{
    uint32_t n = p->lead[level], all = p->lead[top], edges = p->edges[level];
    const uint32_t *start = b->start + p->first;
    const uint32_t *pred = b->pred + start[0];
    const int32_t *state = b->state + p->first;
    const uint64_t *hash_of = b->hash_of;
    const uint8_t *lone = b->lone;
    uint64_t *restrict hash = b->hash, *restrict sum = b->sum;
    uint64_t *restrict key = b->key, total = 0;
    uint32_t *restrict seek = b->seek, *restrict alone = b->alone;
    uint32_t n_seek = 0;
    const cg_index colours = b->colours;
    for (uint32_t i = 0; i < all; i++)
        hash[i] = hash_of[state[i]] | lone[state[i]];
    for (uint32_t e = 0; e < edges; e++) {
        sum[e] = total;
        total += hash[pred[e] - p->first];
    }
    sum[edges] = total;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t around = sum[start[i + 1] - start[0]]
            - sum[start[i] - start[0]];
        uint64_t k = hash[i] * 0x9fb21c651e98df25u + around;
        bool shared = !((hash[i] + around) & CG_MAKER_LONE);
        key[n_seek] = k;
        seek[n_seek] = alone[i - n_seek] = i;
        n_seek += shared;
        cg_index_expect(&colours, k);
    }
    return n_seek;
}

/* Numbers of the colours that are looked up; those that are new, n of them,
 * are `alone` for now as well. */
static uint32_t look_up(cg_maker *b, const cg_part *p, uint32_t n_seek,
                        uint32_t n_alone, uint32_t fresh)
{
    cg_index *x = &b->colours;
    int32_t *restrict next = b->next + p->first;
    uint8_t *restrict lone = b->lone_next;
    uint32_t *restrict alone = b->alone, first = fresh;
    while ((x->len + n_seek) * 2 >= x->cap)
        cg_index_grow(x);
    for (uint32_t k = 0; k < n_seek; k++) {
        cg_index_slot *s = cg_index_slot_of(x, b->key[k]);
        uint32_t i = b->seek[k];
        bool new = s->stamp != x->stamp;
        uint32_t id = new ? fresh : s->value;
        *s = (cg_index_slot){b->key[k], id, x->stamp};
        next[i] = (int32_t)id;
        lone[id] = new;
        alone[n_alone + fresh - first] = i;
        fresh += new;
    }
    x->len += fresh - first;
    return fresh - first;
}

static float degree(const cg_maker *b, uint32_t i)
{
    return (float)(b->start[i + 1] - b->start[i] + 1);
}

/* Nodes that agree for a round have one in-degree, so that those kept have
 * that of the nodes they stand for. */
static void gcn_values(const cg_maker *b, uint32_t i, float *val)
{
    *val++ = 1 / degree(b, i);
    for (uint32_t e = b->start[i]; e < b->start[i + 1]; e++)
        *val++ = 1 / sqrtf(degree(b, b->pred[e]) * degree(b, i));
}

/* What the state of leader i is made from, as the next row. Most have few
 * in-neighbours: CG_MAKER_FEW are written in any case. */
static inline void write_row(const cg_maker *b, bool halves, uint32_t i,
                             writer *w)
{
    const int32_t *state = b->state;
    const uint32_t *pred = b->pred + b->start[i];
    uint32_t n = b->start[i + 1] - b->start[i];
    int32_t *col = w->col + w->n_entries, own = state[i];
    if (w->val)
        gcn_values(b, i, w->val + w->n_entries);
    if (w->self)
        w->self[w->n_rows] = own;
    *col++ = halves ? 2 * own : own;
    for (int e = 0; e < CG_MAKER_FEW; e++)
        col[e] = halves ? 2 * state[pred[e]] + 1 : state[pred[e]];
    for (uint32_t e = CG_MAKER_FEW; e < n; e++)
        col[e] = halves ? 2 * state[pred[e]] + 1 : state[pred[e]];
    w->n_entries += (int32_t)n + 1;
    w->start[++w->n_rows] = w->n_entries;
}

static inline void round_part(cg_maker *b, const cg_part *p, bool halves,
                              unsigned level, unsigned top, writer *out)
{
    writer w = *out;
    uint32_t n_seek = make_keys(b, p, level, top);
    uint32_t n_alone = p->lead[level] - n_seek, fresh = (uint32_t)w.n_rows;
    uint32_t n_new = look_up(b, p, n_seek, n_alone, fresh + n_alone);
    for (uint32_t k = 0; k < n_alone + n_new; k++) {
        uint32_t i = b->alone[k];
        b->next[p->first + i] = w.n_rows;
        b->lone_next[w.n_rows] = 1;
        write_row(b, halves, p->first + i, &w);
    }
    *out = w;
}

static void swap_rounds(cg_maker *b)
{
    int32_t *s = b->state;
    uint8_t *l = b->lone;
    b->state = b->next;
    b->next = s;
    b->lone = b->lone_next;
    b->lone_next = l;
}

static void next_round(cg_maker *b, int n, int r, unsigned top,
                       const cg_batch_opts *o, cg_batch *out)
{
    bool gcn = o->message == CG_MESSAGE_GCN;
    bool halves = o->message == CG_MESSAGE_GRAPHCONV;
    unsigned level = (unsigned)r + 1 + gcn;
    size_t rows = 0, entries = 0;
    cg_csr *m = &out->message[r], *self = &out->self[r];
    for (const cg_part *p = b->part; p < b->part + n; p++) {
        rows += p->lead[level];
        entries += p->lead[level] + p->edges[level];
    }
    size_t before = (size_t)out->n_states[r];
    stage_reserve(b, 4 * (4 * rows + 4 * entries + 3 * before));
    writer w = {.start = stage(b, &m->start, rows + 1)};
    int32_t *self_start = NULL;
    w.start[0] = 0;
    if (o->residual) {
        self_start = stage(b, &self->start, rows + 1);
        count_up(self_start, rows + 1);
        w.self = stage(b, &self->col, rows);
    }
    if (gcn)
        w.val = stage(b, &m->val, entries);
    w.col = stage(b, &m->col, entries);
    clear_colours(b, r + 1);
    for (const cg_part *p = b->part; p < b->part + n; p++) {
        if (halves)
            round_part(b, p, true, level, top, &w);
        else
            round_part(b, p, false, level, top, &w);
        follow(b->next, b->leader, p, level, top);
    }
    b->looked[r + 1] = b->colours.len;
    swap_rounds(b);
    b->stage_len -= 4 * (entries - (size_t)w.n_entries);
    int after = out->n_states[r + 1] = w.n_rows;
    m->n_rows = after;
    m->n_cols = halves ? 2 * (int)before : (int)before;
    m->n_entries = w.n_entries;
    if (o->back)
        stage_back(b, m, w.start, w.col, w.val);
    if (o->residual)
        self->n_rows = self->n_entries = after, self->n_cols = (int)before;
    if (o->residual && o->back)
        stage_back(b, self, self_start, w.self, NULL);
}

/* -- pools and groups ------------------------------------------------------ */

/* Rows of `n` graphs are there: once more for each copy. Columns are those of
 * the first time, `step` further on. */
static void repeat_rows(cg_csr *m, int copies, int32_t step, int32_t *start,
                        int32_t *col, float *val)
{
    int n = m->n_rows, nnz = m->n_entries;
    for (int c = 1; c < copies; c++) {
        for (int e = 0; e < nnz; e++)
            col[c * nnz + e] = col[e] + c * step;
        memcpy(val + c * nnz, val, (size_t)nnz * sizeof *val);
        for (int i = 1; i <= n; i++)
            start[c * n + i] = start[i] + c * nnz;
    }
    m->n_rows *= copies;
    m->n_entries *= copies;
}

static void stage_pool(cg_maker *b, int n, unsigned top,
                       const cg_batch_opts *o, cg_batch *out)
{
    size_t views = o->copies > 1 ? (size_t)o->copies : 1;
    size_t most = b->n_kept * views, states = (size_t)out->n_states[o->rounds];
    cg_csr *m = &out->pool;
    stage_reserve(b, 4 * (4 * most + (size_t)n * views + states));
    int32_t *start = stage(b, &m->start, (size_t)n * views + 1);
    int32_t *col = stage(b, &m->col, most), e = 0;
    float *val = stage(b, &m->val, most);
    start[0] = 0;
    for (int g = 0; g < n; g++) {
        const cg_part *p = &b->part[g];
        float all = (float)p->n_nodes;
        for (uint32_t i = p->first; i < p->first + p->lead[top]; i++, e++) {
            col[e] = b->state[i];
            val[e] = (float)b->count[i] / all;
        }
        start[g + 1] = e;
    }
    *m = (cg_csr){.n_rows = n, .n_cols = out->n_states[out->rounds],
                  .n_entries = e};
    repeat_rows(m, (int)views, 0, start, col, val);
    if (o->back)
        stage_back(b, m, start, col, val);
}

/* Nodes of each token, from those of each kept node: b->next. */
static int32_t *token_counts(cg_maker *b, const cg_part *p, unsigned top)
{
    int32_t *count = b->next;
    for (uint32_t i = 0; i < p->lead[top]; i++)
        count[p->first + i] = (int32_t)b->count[p->first + i];
    for (uint32_t i = p->first + p->lead[top]; i-- > p->first + p->lead[0];)
        count[b->leader[i]] += count[i];
    return count;
}

/* Distinct tokens of each graph, after round 0. Views of one graph are groups
 * of their own with the same tokens. */
static void stage_groups(cg_maker *b, int n, unsigned top,
                         const cg_batch_opts *o, cg_batch *out)
{
    int copies = o->copies;
    cg_groups *g = &out->groups;
    cg_csr *pool = &out->token_pool, *reads = &out->token_row;
    size_t tokens = 0, views = (size_t)copies, groups = (size_t)n * views;
    for (const cg_part *p = b->part; p < b->part + n; p++)
        tokens += p->lead[0];
    size_t most = tokens * views;
    stage_reserve(b, 4 * (11 * most + 5 * groups + b->tokens.len));
    int32_t *start = stage(b, &g->start, groups + 1);
    int64_t *square = stage(b, &g->square, 2 * groups);
    int32_t *row = stage(b, &g->row, most);
    float *count = stage(b, &g->count, most);
    int32_t *pool_start = stage(b, &pool->start, groups + 1);
    int32_t *col = stage(b, &pool->col, most);
    float *val = stage(b, &pool->val, most);
    int32_t *read_start = stage(b, &reads->start, most + 1);
    int32_t *read = stage(b, &reads->col, most), t = 0;
    count_up(read_start, most + 1);
    start[0] = 0;
    for (int i = 0; i < n; i++) {
        const cg_part *p = &b->part[i];
        const int32_t *of = token_counts(b, p, top);
        for (uint32_t k = p->first; k < p->first + p->lead[0]; k++, t++) {
            row[t] = b->state[k];
            count[t] = (float)of[k];
            val[t] = (float)of[k] / (float)p->n_nodes;
            col[t] = t;
        }
        start[i + 1] = t;
    }
    *pool = (cg_csr){.n_rows = n, .n_cols = (int)most, .n_entries = t};
    memcpy(pool_start, start, ((size_t)n + 1) * sizeof *start);
    repeat_rows(pool, copies, t, pool_start, col, val);
    memcpy(start, pool_start, (groups + 1) * sizeof *start);
    for (int c = 1; c < copies; c++) {
        memcpy(row + c * t, row, tokens * sizeof *row);
        memcpy(count + c * t, count, tokens * sizeof *count);
    }
    memcpy(read, row, most * sizeof *row);
    *reads = (cg_csr){.n_rows = (int)most, .n_cols = (int)b->tokens.len,
                      .n_entries = (int)most};
    if (o->back) {
        stage_back(b, pool, pool_start, col, val);
        stage_back(b, reads, read_start, read, NULL);
    }
    *g = (cg_groups){.n = (int)groups, .n_tokens = (int)most};
    for (size_t i = 0; i < groups; i++) { /* sums of those before */
        int64_t size = start[i + 1] - start[i];
        square[i] = g->n_square;
        g->n_square += size * size;
    }
}

/* -- all of it ------------------------------------------------------------- */

void cg_maker_make(cg_maker *b, const cg_pick *graphs, int n,
                   const cg_batch_opts *o, cg_batch *out)
{
    assert(o->rounds <= CG_ROUNDS_MAX);
    unsigned top = (unsigned)o->rounds + (o->message == CG_MESSAGE_GCN);
    *out = (cg_batch){.n_graphs = n, .rounds = o->rounds};
    b->out = out;
    b->stage_len = b->fixes.len = b->tokens.len = 0;
    cg_maker_keep(b, graphs, n, top, o->plain);
    for (int i = 0; i < n; i++)
        out->n_nodes += b->part[i].n_nodes;
    first_round(b, n, top, o);
    out->token = b->tokens.data;
    out->n_states[0] = (int)b->tokens.len;
    if (o->copies > 0)
        stage_groups(b, n, top, o, out);
    for (int r = 0; r < o->rounds; r++)
        next_round(b, n, r, top, o, out);
    stage_pool(b, n, top, o, out);
}

void cg_maker_free(cg_maker *b)
{
    cg_item_free(&b->item);
    cg_index_free(&b->colours);
    void *const blocks[] = {
        b->place, b->order, b->origin, b->part, b->leader, b->token, b->count,
        b->start, b->pred, b->state, b->next, b->lone, b->lone_next,
        b->hash_of, b->hash, b->sum, b->key, b->seek, b->alone, b->stage};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        cg_xfree(blocks[i]);
    cg_array_free(&b->tokens);
    cg_array_free(&b->fixes);
}
