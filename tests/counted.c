#include "tests/counted.h"

#include <assert.h>

#include "base/arena.h"

static struct {
    cg_dev *dev;
    const cg_kernels *k; /* its own */
    const cg_dev_ops *ops;
    bool shares_memory, wants_back; /* of dev, before */
    bool updates;                   /* the step at hand */
    cg_dev_ops counting;
    counted step, learning, other;
} the;

/* -- what kernels move ----------------------------------------------------- */

/* Numbers of 4 bytes. */
static double matrix(int rows, int cols)
{
    return (double)rows * (double)cols;
}

/* What is added to is read as well. */
static double times(float beta) { return beta == 0 ? 1 : 2; }

static double sparse(const cg_csr *s)
{
    return s->n_rows + 1.0 + s->n_entries * (s->val ? 2.0 : 1.0);
}

/* Rows of x that s x reads; which of them have no entry is not looked for. */
static int rows_read(const cg_csr *s)
{
    return s->n_entries < s->n_cols ? s->n_entries : s->n_cols;
}

/* A stride of 0 is the same matrix again. */
static int copies(int batch, ptrdiff_t stride) { return stride ? batch : 1; }

/* For each row of qkv that is read, token, and pair of tokens of a group. */
static double grouped(int groups, const int32_t *start, const int64_t *square,
                      const int32_t *row, double per_row, double per_token,
                      double per_pair)
{
    cg_dev *d = the.dev;
    int32_t end[2] = {0}, rows = 0;
    int64_t pairs = 0;
    if (groups == 0)
        return 0;
    cg_dev_download(d, end, start + groups - 1, sizeof end);
    cg_dev_download(d, &pairs, square + groups - 1, sizeof pairs);
    if (cg_dev_sync(d) != CG_OK)
        return 0;
    int32_t last = end[1] - end[0], *of = cg_xcalloc((size_t)end[1] + 1,
                                                     sizeof *of);
    cg_dev_download(d, of, row, (size_t)end[1] * sizeof *of);
    if (cg_dev_sync(d) == CG_OK)
        for (int32_t t = 0; t < end[1]; t++) /* they are numbered in turn */
            rows = of[t] >= rows ? of[t] + 1 : rows;
    cg_xfree(of);
    return rows * per_row + end[1] * per_token +
           (double)(pairs + (int64_t)last * last) * per_pair;
}

/* What learns is known by this kernel. */
static double updating(double numbers)
{
    the.updates = true;
    return numbers;
}

/* A row for each kernel: numbers of 4 bytes that are moved, operations of
 * products; in terms of its parameters. */
#define ROW_gemm                                                              \
    matrix(m, k) + matrix(k, n) + times(beta) * matrix(m, n),                 \
        2.0 * k * matrix(m, n)
#define ROW_gemm_batched                                                      \
    copies(batch, sa) * matrix(m, k) + copies(batch, sb) * matrix(k, n) +     \
        times(beta) * batch * matrix(m, n), 2.0 * batch * k * matrix(m, n)
#define ROW_spmm                                                              \
    sparse(s) + matrix(rows_read(s), cols) + (bias ? cols : 0) +              \
        times(beta) * matrix(s->n_rows, cols), 2 * matrix(s->n_entries, cols)
#define ROW_spmm_bwd                                                          \
    matrix(s->n_rows, cols) * (act ? 2 : 1) +                                 \
        (dbias ? (1 + times(bb)) * cols : 0) +                                \
        (dx ? sparse(s) + times(bx) * matrix(s->n_cols, cols) : 0),         \
        dx ? 2 * matrix(s->n_entries, cols) : 0
#define ROW_bias_act                                                          \
    2 * matrix(rows, cols) + (bias ? matrix(groups, cols) : 0), 0
#define ROW_act_bwd matrix(rows, cols) * (act ? 3 : 2), 0
#define ROW_colsum matrix(rows, cols) + times(beta) * matrix(groups, cols), 0
#define ROW_axpby matrix(rows, cols) * ((a == 0 ? 0 : 1) + times(b)), 0
#define ROW_fill (double)n, 0
#define ROW_layernorm 2 * matrix(rows, cols) + 2.0 * cols + 2.0 * rows, 0
#define ROW_layernorm_bwd                                                     \
    (2 + times(bx)) * matrix(rows, cols) +                                    \
        (1 + times(bg) + times(bb)) * cols + 2.0 * rows, 0
#define ROW_dropout matrix(rows, cols) * (1 + times(beta)), 0
#define ROW_l2norm 2 * matrix(rows, cols) + rows, 0
#define ROW_l2norm_bwd 4 * matrix(rows, cols) + rows, 0
#define ROW_attention                                                         \
    3.0 * groups + 1 + grouped(groups, start, square, row,                    \
        3 * matrix(heads, dim), matrix(heads, dim) + 2, prob ? heads : 0),    \
        grouped(groups, start, square, row, 0, 0, 4 * matrix(heads, dim))
#define ROW_attention_bwd                                                     \
    3.0 * groups + 1 + grouped(groups, start, square, row,                    \
        3 * matrix(heads, dim), 4 * matrix(heads, dim) + 1, heads),           \
        grouped(groups, start, square, row, 0, 0, 8 * matrix(heads, dim))
#define ROW_mix                                                               \
    matrix(n, heads) + (heads + 1) * matrix(n, cols),                         \
        2 * heads * matrix(n, cols)
#define ROW_mix_bwd                                                           \
    matrix(n, heads) + (2 * heads + 1) * matrix(n, cols),                     \
        2 * heads * matrix(n, cols)
#define ROW_contrast 3 * matrix(n, n) + 2, 0
#define ROW_mse 4.0 * n + 2, 0
#define ROW_huber 4.0 * n + 2, 0
#define ROW_logistic 4.0 * n + 2, 0
#define ROW_sumsq n + 2.0, 0
#define ROW_adamw updating(7.0 * (double)n + 1), 0

/* -- the device ------------------------------------------------------------ */

static void take(double numbers, double operations)
{
    the.step.kernels++;
    the.step.bytes += 4 * numbers;
    the.step.operations += operations;
}

#define CG_KERNEL(name, params, args)                                         \
    static void counted_##name params                                         \
    {                                                                         \
        take(ROW_##name);                                                     \
        the.k->name args;                                                     \
    }
#include "backend/kernels.def"
#undef CG_KERNEL

static void end_step(void)
{
    counted *sum = the.updates ? &the.learning : &the.other, *s = &the.step;
    sum->steps += s->kernels > 0;
    sum->kernels += s->kernels;
    sum->bytes += s->bytes;
    sum->operations += s->operations;
    sum->uploaded += s->uploaded;
    *s = (counted){0};
    the.updates = false;
}

static void reset(cg_dev *d)
{
    end_step();
    the.ops->reset(d);
}

static void upload(cg_dev *d, void *dst, const void *src, size_t bytes)
{
    the.step.uploaded += (double)bytes;
    the.ops->upload(d, dst, src, bytes);
}

void counted_begin(cg_dev *d)
{
    static const cg_kernels kernels = {
#define CG_KERNEL(name, params, args) .name = counted_##name,
#include "backend/kernels.def"
#undef CG_KERNEL
    };
    assert(!the.dev);
    the.dev = d;
    the.k = d->k;
    the.ops = d->ops;
    the.shares_memory = d->shares_memory;
    the.wants_back = d->wants_back;
    the.counting = *d->ops;
    the.counting.reset = reset;
    the.counting.upload = upload;
    the.step = the.learning = the.other = (counted){0};
    the.updates = false;
    d->k = &kernels;
    d->ops = &the.counting;
    d->shares_memory = false;
    d->wants_back = true;
}

void counted_end(counted *learning, counted *other)
{
    end_step();
    if (learning)
        *learning = the.learning;
    if (other)
        *other = the.other;
    the.dev->k = the.k;
    the.dev->ops = the.ops;
    the.dev->shares_memory = the.shares_memory;
    the.dev->wants_back = the.wants_back;
    the.dev = NULL;
}
