/* One batch in the making (private to runtime/batch*.c): the nodes that are
 * kept, and the rows that go to the device. */
#ifndef CG_RUNTIME_BATCH_MAKER_H
#define CG_RUNTIME_BATCH_MAKER_H

#include "base/index.h"
#include "runtime/batch.h"

/* Entries behind the last edge that may be read. */
#define CG_MAKER_FEW 3
/* Bits of a hash of a state that are kept free (cg_maker.hash). */
#define CG_MAKER_LONE 0xff

/* Nodes of one graph that are kept: first .. first + lead[last level]. */
typedef struct cg_part {
    const cg_set *set;
    uint32_t first, n_nodes;
    uint32_t lead[CG_ROUNDS_MAX + 2];  /* of level 0 .. l */
    uint32_t edges[CG_ROUNDS_MAX + 2]; /* of those */
} cg_part;

/* What makes one batch. */
typedef struct cg_maker {
    cg_item item;
    uint32_t *place, *order, *origin; /* of the item's nodes */
    size_t item_cap;
    cg_part *part;
    size_t part_cap;
    /* of the nodes kept, of all graphs */
    size_t node_cap, edge_cap, n_kept, n_edges;
    uint32_t *leader;   /* who stands for it where it does not lead */
    uint32_t *token, *count; /* count: nodes that it stands for */
    uint32_t *start, *pred;  /* edges, to nodes kept */
    int32_t *state, *next;
    uint8_t *lone, *lone_next; /* by state: one graph alone has it */
    uint64_t *hash_of; /* by state; CG_MAKER_LONE's bits are 0 */
    uint64_t *hash;    /* of the state of each, with its bit `lone` */
    uint64_t *sum, *key; /* of one graph's edges, leaders */
    uint32_t *seek, *alone;
    cg_index colours;   /* of the round at hand: hash -> state */
    size_t looked[CG_ROUNDS_MAX + 1]; /* colours last time */
    CG_ARRAY(const cg_token *) tokens;
    /* what goes to the device, and where its addresses are wanted */
    unsigned char *stage;
    size_t stage_len, stage_cap;
    CG_ARRAY(struct fix { size_t at; size_t offset; }) fixes; /* at: in *out */
    cg_batch *out;
} cg_maker;

#define CG_MAKER_GROW(p, n) ((p) = cg_xrealloc((p), (n) * sizeof *(p)))

/* Unpacks graphs into b->part: nodes that lead a colour of level 0 .. top. */
void cg_maker_keep(cg_maker *b, const cg_pick *graphs, int n, unsigned top,
                   bool plain);
/* Pointers of *out are set by cg_batch_upload, from b->fixes. */
void cg_maker_make(cg_maker *b, const cg_pick *graphs, int n,
                   const cg_batch_opts *o, cg_batch *out);
/* Room for n elements of 4 bytes more on the way to the device; `at` is the
 * pointer to them in *b->out. */
void *cg_maker_stage(cg_maker *b, const void *at, size_t n);
void cg_maker_free(cg_maker *b);

#endif
