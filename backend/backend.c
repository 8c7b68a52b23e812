/* Devices by name, and what is the same for all of them. */
#include "backend/backend.h"

#include <assert.h>
#include <string.h>

cg_err cg_dev_open(cg_dev **d, const char *name, int threads)
{
    assert(threads >= 0);
    *d = NULL;
    if (!strcmp(name, "cpu"))
        return cg_cpu_open(d, threads);
    if (!strcmp(name, "cuda"))
        return cg_cuda_open(d, threads);
    if (strcmp(name, "auto"))
        return cg_fail(CG_EUSAGE, "no device '%s': auto, cpu or cuda", name);
    return cg_cuda_open(d, threads) == CG_OK ? CG_OK : cg_cpu_open(d, threads);
}

void cg_dev_close(cg_dev *d)
{
    if (d)
        d->ops->close(d);
}

cg_err cg_dev_alloc(cg_dev *d, size_t bytes, void **out)
{
    *out = d->ops->alloc(d, bytes);
    return *out ? CG_OK : cg_fail(CG_ELIMIT,
        "%s: no memory for a block of %zu bytes", d->name, bytes);
}

void cg_dev_free(cg_dev *d, void *p)
{
    if (p)
        d->ops->free(d, p);
}

void *cg_dev_work(cg_dev *d, size_t bytes) { return d->ops->work(d, bytes); }

void cg_dev_reset(cg_dev *d) { d->ops->reset(d); }

void cg_dev_upload(cg_dev *d, void *dst, const void *src, size_t bytes)
{
    if (!d->failed && bytes)
        d->ops->upload(d, dst, src, bytes);
}

void cg_dev_download(cg_dev *d, void *dst, const void *src, size_t bytes)
{
    if (!d->failed && bytes)
        d->ops->download(d, dst, src, bytes);
}

void cg_dev_repeat(cg_dev *d, cg_recording **r, void (*fn)(void *user),
                   void *user)
{
    if (d->ops->repeat)
        d->ops->repeat(d, r, fn, user);
    else
        fn(user);
}

void cg_dev_forget(cg_dev *d, cg_recording *r)
{
    if (r)
        d->ops->forget(d, r);
}

cg_err cg_dev_sync(cg_dev *d) { return d->ops->sync(d); }

cg_err cg_dev_precision(cg_dev *d, const char *name)
{
    static const char *const names[] = { "float32", "tf32", "bf16" };
    size_t p = 0;
    while (p < sizeof names / sizeof *names && strcmp(name, names[p]))
        p++;
    if (p == sizeof names / sizeof *names)
        return cg_fail(CG_EUSAGE, "no precision '%s': float32, tf32 or bf16",
                       name);
    if (d->ops->precision)
        return d->ops->precision(d, (cg_precision)p);
    return p == CG_PRECISION_FLOAT32 ? CG_OK : cg_fail(CG_EUNSUPPORTED,
        "%s: products in float32 alone, not in %s", d->name, name);
}

void cg_csr_transpose(const cg_csr *s, int32_t *back_start, int32_t *back_col,
                      float *back_val)
{
    int32_t *next = back_start + 1, sum = 0; /* next of each column: how many
                                                there are; its place; its end */
    memset(back_start, 0, ((size_t)s->n_cols + 1) * sizeof *back_start);
    for (int32_t e = 0; e < s->n_entries; e++)
        next[s->col[e]]++;
    for (int c = 0; c < s->n_cols; c++) {
        int32_t n = next[c];
        next[c] = sum;
        sum += n;
    }
    for (int r = 0; r < s->n_rows; r++)
        for (int32_t e = s->start[r]; e < s->start[r + 1]; e++) {
            int32_t to = next[s->col[e]]++;
            back_col[to] = r;
            if (s->val)
                back_val[to] = s->val[e];
        }
}

int cg_dev_threads(cg_dev *d) { return d->ops->threads(d); }

void cg_dev_share(cg_dev *d, uint32_t n, void (*fn)(void *user, uint32_t i),
                  void *user)
{
    d->ops->share(d, n, fn, user);
}
