/* Batches: the graphs of one step, each state once.
 *
 * Two nodes of one colour of round r, of one graph or of two, have the same
 * state after r layers of message passing over in-neighbours; a batch holds
 * such a state once, and sparse matrices that say which states each one is
 * made from. Transformer tokens likewise: equal tokens of one graph are one,
 * with a count. Results are those of the plain way (tests/test_states.c). */
#ifndef CG_RUNTIME_BATCH_H
#define CG_RUNTIME_BATCH_H

#include "runtime/dataset.h"
#include "runtime/tape.h"

#define CG_ROUNDS_MAX 16

/* How states of neighbours come together; u runs over in-neighbours of v. */
typedef enum cg_message {
    CG_MESSAGE_GRAPHCONV, /* W1 x_v + W2 sum x_u (Morris et al. 2019) */
    CG_MESSAGE_GCN,       /* sum of x_u / sqrt(d_u d_v), v itself among the u,
                             d = in-degree + 1 (Kipf & Welling 2017) */
    CG_MESSAGE_GIN,       /* x_v + sum x_u (Xu et al. 2019, eps 0) */
    CG_MESSAGE_COUNT
} cg_message;
const char *cg_message_name(cg_message m);

typedef struct cg_pick { /* one graph of a batch */
    const cg_set *set;
    uint32_t index;
} cg_pick;

typedef struct cg_batch {
    int n_graphs, rounds;
    int n_states[CG_ROUNDS_MAX + 1]; /* after round r */
    const cg_token **token; /* host (n_states[0]): what state k starts from */
    const float *inputs;    /* (n_states[0], width), of cg_batch_inputs */
    /* message[r]: states of round r + 1 from those of round r. GRAPHCONV:
     * (n[r+1], 2 n[r]), columns 2k: as itself, 2k + 1: as neighbour, to be
     * used on x [W1 | W2] seen as (2 n[r], width). Others: (n[r+1], n[r]). */
    cg_csr message[CG_ROUNDS_MAX];
    /* self[r] (n[r+1], n[r]): one 1 in each row, a state's own before */
    cg_csr self[CG_ROUNDS_MAX];
    /* shares of a graph's nodes: (n_graphs, n[rounds]), the rows once for each
     * copy */
    cg_csr pool;
    /* distinct tokens of each graph; rows are states of round 0, which are
     * distinct tokens for all but GCN */
    cg_groups groups;
    cg_csr token_row;    /* (groups.n_tokens, n[0]): one 1 in each row */
    cg_csr token_pool;   /* (groups.n, groups.n_tokens): shares */
    int64_t n_nodes;        /* of all graphs, for statistics */
} cg_batch;

/* Working memory that is reused from batch to batch. */
typedef struct cg_batcher cg_batcher;
cg_batcher *cg_batcher_new(void);
void cg_batcher_free(cg_batcher *b);

typedef struct cg_batch_opts {
    cg_message message;
    int rounds;  /* at most CG_ROUNDS_MAX */
    int copies;  /* views of each graph: graph i's are groups and rows of the
                    pools i, n + i, ...; 0: no groups, and one view */
    bool residual; /* `self` is wanted */
    bool back;   /* so are transposes (cg_dev.wants_back) */
    bool plain;  /* a state and a token for every node, nothing is shared */
} cg_batch_opts;

/* Puts graphs together on the host. Its device pointers are set when it is
 * uploaded; they and `token` are valid until the batcher makes another batch,
 * here or ahead. */
void cg_batch_make(cg_batcher *b, const cg_pick *graphs, int n,
                   const cg_batch_opts *o, cg_batch *out);
/* Tells which graphs, n in all, will be asked for next, `size` at a time. Where
 * the device has several threads each makes one of these batches, unless the
 * next is there already; cg_batch_make then hands them out, if it is asked for
 * them, and makes any other as always. */
void cg_batch_ahead(cg_batcher *b, cg_dev *dev, const cg_pick *graphs,
                    uint32_t n, int size, const cg_batch_opts *o);
/* Room for what the states of the batch made last start from, (n_states[0],
 * width) on the host, to be filled before it is uploaded: both go in one. */
float *cg_batch_inputs(cg_batcher *b, cg_batch *out, int width);
/* Brings the batch made last to a device: into its workspace, unless its
 * kernels read the host's memory. */
void cg_batch_upload(cg_batcher *b, cg_dev *dev, cg_batch *out);

#endif
