#include "runtime/params.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/rng.h"

/* Matrices start at cache lines. */
enum { ALIGN = 16 };

void cg_params_init(cg_params *p, cg_dev *dev)
{
    *p = (cg_params){ .dev = dev };
}

static size_t n_floats(const cg_param *q)
{
    return (size_t)q->var.rows * (size_t)q->var.cols;
}

static cg_param *find(const cg_params *p, const char *name)
{
    for (size_t i = 0; i < p->list.len; i++)
        if (strcmp(p->list.data[i].name, name) == 0)
            return &p->list.data[i];
    return NULL;
}

size_t cg_params_add(cg_params *p, const char *name, int rows, int cols,
                     cg_init init, int fan)
{
    assert(!p->x && !find(p, name) && rows > 0 && cols > 0);
    assert(init != CG_INIT_FAN_IN || fan > 0);
    size_t len = strlen(name) + 1;
    cg_param q = { .name = cg_xcalloc(len, 1), .init = init, .fan = fan,
                   .offset = p->n,
                   .var = { .rows = rows, .cols = cols, .ld = cols } };
    memcpy(q.name, name, len);
    cg_array_push(&p->list, q);
    p->n += (n_floats(&q) + ALIGN - 1) / ALIGN * ALIGN;
    return p->list.len - 1;
}

/* -- memory --------------------------------------------------------------- */

static void draw(const cg_param *q, uint64_t seed, uint64_t stream, float *x)
{
    size_t n = n_floats(q);
    if (q->init == CG_INIT_ONE)
        for (size_t i = 0; i < n; i++)
            x[i] = 1;
    if (q->init != CG_INIT_FAN_IN)
        return;
    cg_rng r = cg_rng_make(seed, stream);
    double bound = 1 / sqrt(q->fan);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(bound * (2 * cg_rng_uniform(&r) - 1));
}

cg_err cg_params_place(cg_params *p)
{
    assert(!p->x);
    CG_TRY(cg_dev_alloc(p->dev, p->n * sizeof(float), (void **)&p->x));
    for (size_t i = 0; i < p->list.len; i++)
        p->list.data[i].var.x = p->x + p->list.data[i].offset;
    return CG_OK;
}

cg_err cg_params_learn(cg_params *p)
{
    size_t bytes = p->n * sizeof(float);
    assert(p->x);
    if (p->sumsq)
        return CG_OK;
    if (!p->dx)
        CG_TRY(cg_dev_alloc(p->dev, bytes, (void **)&p->dx));
    if (!p->moments)
        CG_TRY(cg_dev_alloc(p->dev, 2 * bytes, (void **)&p->moments));
    CG_TRY(cg_dev_alloc(p->dev, sizeof(float), (void **)&p->sumsq));
    for (size_t i = 0; i < p->list.len; i++)
        p->list.data[i].var.dx = p->dx + p->list.data[i].offset;
    return CG_OK;
}

cg_err cg_params_alloc(cg_params *p, uint64_t seed)
{
    CG_TRY(cg_params_place(p));
    CG_TRY(cg_params_learn(p));
    float *host = cg_xcalloc(p->n, sizeof *host);
    for (size_t i = 0; i < p->list.len; i++) {
        const cg_param *q = &p->list.data[i];
        draw(q, seed, i, host + q->offset);
    }
    cg_dev_upload(p->dev, p->x, host, p->n * sizeof *host);
    cg_err err = cg_dev_sync(p->dev);
    cg_xfree(host);
    return err;
}

void cg_params_free(cg_params *p)
{
    for (size_t i = 0; i < p->list.len; i++)
        cg_xfree(p->list.data[i].name);
    cg_array_free(&p->list);
    float *const blocks[] = { p->x, p->dx, p->moments, p->sumsq };
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        if (blocks[i])
            cg_dev_free(p->dev, blocks[i]);
    *p = (cg_params){ .dev = p->dev };
}

cg_var *cg_params_var(cg_params *p, size_t i)
{
    assert(i < p->list.len);
    return &p->list.data[i].var;
}

cg_var *cg_params_find(cg_params *p, const char *name)
{
    cg_param *q = find(p, name);
    return q ? &q->var : NULL;
}

/* -- learning ------------------------------------------------------------- */

void cg_params_zero_grad(cg_params *p)
{
    for (size_t i = 0; i < p->list.len; i++)
        p->list.data[i].var.written = false;
}

void cg_params_settle(cg_params *p)
{
    for (size_t i = 0; i < p->list.len; i++) {
        cg_param *q = &p->list.data[i];
        if (!q->var.written)
            cg_k_fill(p->dev, n_floats(q), 0, q->var.dx);
        q->var.written = true;
    }
}

void cg_params_step(cg_params *p, const cg_adamw *o)
{
    cg_params_settle(p);
    if (o->clip > 0) {
        cg_k_fill(p->dev, 1, 0, p->sumsq);
        cg_k_sumsq(p->dev, p->n, p->dx, p->sumsq);
    }
    p->step++;
    cg_k_adamw(p->dev, p->n, p->x, p->dx, p->moments, p->moments + p->n,
               p->sumsq, o->clip, o->lr, o->b1, o->b2, o->eps, o->decay,
               p->step);
}

float cg_schedule(float lr, int64_t t, int64_t total, int64_t warmup,
                  bool cosine)
{
    if (t < warmup)
        return (float)((double)lr * (double)(t + 1) / (double)warmup);
    if (!cosine)
        return lr;
    if (t >= total)
        return 0;
    double done = (double)(t - warmup) / (double)(total - warmup);
    return (float)(.5 * (double)lr * (1 + cos(acos(-1) * done)));
}
