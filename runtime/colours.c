/* Colours by refinement, where only what may still change is looked at.
 *
 * A colour is named by the first node that has it, its leader. Once a node is
 * the leader of its own colour it stays one, so that a round visits the nodes
 * that are not, compares the colours of their in-neighbours with those of
 * their leader's, and lets those that differ found colours of their own. Nodes
 * that agree for ever would be visited in every round; in an acyclic graph one
 * sweep finds them first: they are those with equal trees of ancestors.
 * B. Weisfeiler and A. Leman, 1968; the classes are those of the networks'
 * states in Xu et al., "How Powerful are Graph Neural Networks?", 2019. */
#include "runtime/colours.h"

#include <string.h>

#include "base/arena.h"
#include "base/map.h"

/* Open addressing by (key, node), of one round: others' entries are stale. */
typedef struct entry {
    uint64_t key;
    uint32_t from, leader;
    uint32_t round; /* 0: empty */
} entry;

typedef struct refiner {
    uint32_t n;
    const cg_token *token;
    const uint32_t *start, *pred;
    uint32_t *parent;
    uint8_t *level;
    uint32_t *twin;   /* first node that agrees for ever */
    uint32_t *colour; /* leaders after the last round; of twins not kept */
    uint32_t *next;
    uint64_t *sum;        /* of the in-neighbours' colours */
    uint32_t *sum_round;  /* when it was made */
    uint32_t *active;     /* nodes that lead no colour */
    uint32_t n_active;
    entry *table;
    uint32_t mask;
} refiner;

enum { ROUND_TOKENS = 1 << 16, ROUND_TWINS };

/* The entry of (key, from) in this round, or an empty one. */
static entry *find(refiner *s, uint64_t key, uint32_t from, uint32_t round)
{
    uint32_t i = (uint32_t)cg_mix64(key + from) & s->mask;
    for (;; i = (i + 1) & s->mask) {
        entry *e = &s->table[i];
        if (e->round != round || (e->key == key && e->from == from))
            return e;
    }
}

/* Its leader, which is v itself when there was none. */
static uint32_t lead(refiner *s, uint64_t key, uint32_t from, uint32_t round,
                     uint32_t v)
{
    entry *e = find(s, key, from, round);
    if (e->round != round)
        *e = (entry){key, from, v, round};
    return e->leader;
}

/* Equal tokens only: a hash that clashes is hashed again. */
static uint32_t token_leader(refiner *s, uint32_t v, uint64_t key)
{
    for (;; key = cg_mix64(key + 1)) {
        uint32_t w = lead(s, key, 0, ROUND_TOKENS, v);
        if (w == v ||
            memcmp(&s->token[w], &s->token[v], sizeof *s->token) == 0)
            return w;
    }
}

/* Round 0, and twins: nodes whose trees of ancestors are equal. */
static void begin(refiner *s)
{
    uint64_t *tree = cg_xcalloc(s->n, sizeof *tree);
    for (uint32_t v = 0; v < s->n; v++) {
        uint64_t key = cg_hash64(&s->token[v], sizeof *s->token, 0), sum = 0;
        s->sum[v] = key; /* kept for the second loop */
        for (uint32_t k = s->start[v]; k < s->start[v + 1]; k++)
            sum += cg_mix64(tree[s->pred[k]]);
        tree[v] = cg_mix64(cg_mix64(key) + sum);
        s->twin[v] = lead(s, tree[v], 0, ROUND_TWINS, v);
    }
    cg_xfree(tree);
    for (uint32_t v = 0; v < s->n; v++) {
        if (s->twin[v] != v) {
            s->parent[v] = s->twin[v];
            s->level[v] = CG_LEVEL_TWIN;
            continue;
        }
        s->colour[v] = token_leader(s, v, s->sum[v]);
        s->parent[v] = s->level[v] = 0;
        if (s->colour[v] != v)
            s->active[s->n_active++] = v;
    }
}

static uint64_t sum_of(refiner *s, uint32_t v, uint32_t round)
{
    if (s->sum_round[v] == round)
        return s->sum[v];
    uint64_t sum = 0;
    for (uint32_t k = s->start[v]; k < s->start[v + 1]; k++)
        sum += cg_mix64(s->colour[s->twin[s->pred[k]]] + 1);
    s->sum_round[v] = round;
    return s->sum[v] = sum;
}

static void refine(refiner *s, uint32_t round)
{
    for (uint32_t i = 0; i < s->n_active; i++) {
        uint32_t v = s->active[i], p = s->colour[v];
        uint64_t sum = sum_of(s, v, round);
        s->next[v] = sum == sum_of(s, p, round) ? p
                                                : lead(s, sum, p, round, v);
    }
    uint32_t left = 0;
    for (uint32_t i = 0; i < s->n_active; i++) {
        uint32_t v = s->active[i];
        if (s->next[v] == v) {
            s->parent[v] = s->colour[v];
            s->level[v] = (uint8_t)round;
        } else
            s->active[left++] = v;
        s->colour[v] = s->next[v];
    }
    s->n_active = left;
}

void cg_colours_make(uint32_t n, const cg_token *token, const uint32_t *start,
                     const uint32_t *pred, uint32_t *parent, uint8_t *level)
{
    size_t slots = 16;
    while (slots < 2 * (size_t)n)
        slots *= 2;
    uint32_t *words = cg_xcalloc(5 * (size_t)n, sizeof *words);
    refiner s = {.n = n, .token = token, .start = start, .pred = pred,
                 .parent = parent, .level = level, .twin = words,
                 .colour = words + n, .next = words + 2 * (size_t)n,
                 .sum_round = words + 3 * (size_t)n,
                 .active = words + 4 * (size_t)n,
                 .sum = cg_xcalloc(n, sizeof(uint64_t)),
                 .table = cg_xcalloc(slots, sizeof(entry)),
                 .mask = (uint32_t)(slots - 1)};
    begin(&s);
    for (uint32_t r = 1; s.n_active && r < CG_LEVEL_MAX; r++)
        refine(&s, r);
    for (uint32_t i = 0; i < s.n_active; i++) {
        parent[s.active[i]] = s.colour[s.active[i]];
        level[s.active[i]] = CG_LEVEL_MAX;
    }
    cg_xfree(s.table);
    cg_xfree(s.sum);
    cg_xfree(words);
}
