/* Batches, those that are asked for and those that will be. */
#include "runtime/batch.h"

#include <string.h>

#include "runtime/batch_maker.h"

/* A batch that was made before it was asked for. */
typedef struct ready {
    cg_pick *pick;
    int n;
    cg_batch_opts opts;
    cg_batch batch;
} ready;

struct cg_batcher {
    cg_maker *maker; /* [k] makes ready[k] */
    ready *ready;
    int n_makers, next, n_ready; /* ready are next .. n_ready */
    int last;                    /* who made the batch at hand */
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
    cg_batcher *b = cg_xcalloc(1, sizeof *b);
    b->n_makers = 1;
    b->maker = cg_xcalloc(1, sizeof *b->maker);
    b->ready = cg_xcalloc(1, sizeof *b->ready);
    return b;
}

void cg_batcher_free(cg_batcher *b)
{
    if (!b)
        return;
    for (int k = 0; k < b->n_makers; k++) {
        cg_maker_free(&b->maker[k]);
        cg_xfree(b->ready[k].pick);
    }
    cg_xfree(b->maker);
    cg_xfree(b->ready);
    cg_xfree(b);
}

static void make_ready(void *job, uint32_t k)
{
    cg_batcher *b = job;
    ready *r = &b->ready[k];
    cg_maker_make(&b->maker[k], r->pick, r->n, &r->opts, &r->batch);
}

static void add_makers(cg_batcher *b, int n)
{
    if (n <= b->n_makers)
        return;
    size_t old = (size_t)b->n_makers, more = (size_t)n - old;
    b->n_makers = n;
    CG_MAKER_GROW(b->maker, (size_t)n);
    CG_MAKER_GROW(b->ready, (size_t)n);
    memset(b->maker + old, 0, more * sizeof *b->maker);
    memset(b->ready + old, 0, more * sizeof *b->ready);
}

static bool same_opts(const cg_batch_opts *a, const cg_batch_opts *b)
{
    return a->message == b->message && a->rounds == b->rounds &&
           a->copies == b->copies && a->residual == b->residual &&
           a->back == b->back && a->plain == b->plain;
}

/* Whether the next batch that is ready is this one. */
static bool is_next(const cg_batcher *b, const cg_pick *graphs, int n,
                    const cg_batch_opts *o)
{
    const ready *r = &b->ready[b->next];
    bool same = b->next < b->n_ready && r->n == n && same_opts(&r->opts, o);
    for (int i = 0; same && i < n; i++)
        same = r->pick[i].set == graphs[i].set &&
               r->pick[i].index == graphs[i].index;
    return same;
}

void cg_batch_ahead(cg_batcher *b, cg_dev *dev, const cg_pick *graphs,
                    uint32_t n, int size, const cg_batch_opts *o)
{
    uint32_t first = n < (uint32_t)size ? n : (uint32_t)size;
    if (cg_dev_threads(dev) < 2 || is_next(b, graphs, (int)first, o))
        return;
    add_makers(b, cg_dev_threads(dev));
    b->next = b->n_ready = 0;
    for (; n > 0 && b->n_ready < b->n_makers; b->n_ready++) {
        ready *r = &b->ready[b->n_ready];
        uint32_t here = n < (uint32_t)size ? n : (uint32_t)size;
        r->n = (int)here;
        r->opts = *o;
        CG_MAKER_GROW(r->pick, here);
        memcpy(r->pick, graphs, here * sizeof *graphs);
        graphs += here;
        n -= here;
    }
    cg_dev_share(dev, (uint32_t)b->n_ready, make_ready, b);
}

void cg_batch_make(cg_batcher *b, const cg_pick *graphs, int n,
                   const cg_batch_opts *o, cg_batch *out)
{
    if (is_next(b, graphs, n, o)) {
        b->last = b->next++;
        *out = b->ready[b->last].batch;
        return;
    }
    b->next = b->n_ready = b->last = 0;
    cg_maker_make(&b->maker[0], graphs, n, o, out);
}

float *cg_batch_inputs(cg_batcher *b, cg_batch *out, int width)
{
    cg_maker *m = &b->maker[b->last];
    m->out = out;
    return cg_maker_stage(m, &out->inputs,
                          (size_t)out->n_states[0] * (size_t)width);
}

void cg_batch_upload(cg_batcher *b, cg_dev *dev, cg_batch *out)
{
    const cg_maker *m = &b->maker[b->last];
    unsigned char *block = m->stage;
    if (!dev->shares_memory) {
        block = cg_dev_work(dev, m->stage_len + 1);
        cg_dev_upload(dev, block, m->stage, m->stage_len);
    }
    for (size_t i = 0; i < m->fixes.len; i++) {
        void *at = (char *)out + m->fixes.data[i].at;
        *(const void **)at = block + m->fixes.data[i].offset;
    }
}
