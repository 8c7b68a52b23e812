/* ONNX out: the data movement behind views.
 *
 * A view says only which type a reader sees of a value: slices, reshapes and
 * transposes that made it so are gone. Any movement of that type is as good,
 * so the plainest is written: a slice or repetition along one axis until the
 * number of elements is right, then a transpose or reshape. Of several, one
 * that takes the channel axis where the view has it, so that pass hwc finds
 * it there again when the file is read. */
#include <string.h>

#include "frontend/onnx/export_parts.h"

#define MAX_TRIED 6 /* rank up to which all orders of axes are tried */

typedef struct mover {
    cg_export *x;
    cg_graph *g;
    cg_type now; /* of `name` */
    cg_dim dims[CG_MAX_RANK]; /* of now */
    const char *name;
} mover;

static bool same_dims(const cg_type *a, const cg_type *b)
{
    return a->rank == b->rank &&
           (a->rank == 0 || memcmp(a->dims, b->dims,
                                   sizeof *a->dims * (size_t)a->rank) == 0);
}

static void become(mover *m, const cg_type *t)
{
    if (t->rank)
        memmove(m->dims, t->dims, sizeof *t->dims * (size_t)t->rank);
    m->now.rank = t->rank;
    m->now.channel = t->channel;
    m->now.dims = m->dims;
}

/* -- one movement --------------------------------------------------------- */

cg_err cg_export_reshape(cg_export *x, const cg_dim *d, int rank,
                         const char **name)
{
    cg_dim target[CG_MAX_RANK];
    int open = 0, at = 0;
    const char *shape;
    for (int i = 0; i < rank; i++) {
        target[i] = d[i];
        if (!cg_dim_known(d[i])) {
            open++;
            at = i;
        }
    }
    if (open == 1)
        target[at] = -1;
    CG_TRY(cg_export_dims(x, target, (size_t)rank, &shape));
    *name = cg_export_call(x, "Reshape", *name, shape, NULL, NULL);
    return CG_OK;
}

cg_err cg_export_transpose(cg_export *x, const int64_t *perm, int rank,
                           const char **name)
{
    const char *out = cg_export_fresh(x, "Transpose");
    cg_export_begin(x, "", "Transpose");
    cg_export_input(x, *name);
    cg_export_ints(x, "perm", perm, (size_t)rank);
    cg_export_output(x, out);
    cg_export_end(x, out);
    *name = out;
    return CG_OK;
}

/* Along the axes where from and to differ; begins at `start` of each. */
static cg_err slice(mover *m, const cg_type *to, int64_t start)
{
    cg_dim end[CG_MAX_RANK];
    int64_t axes[CG_MAX_RANK], starts[CG_MAX_RANK];
    const char *ends;
    size_t n = 0;
    for (int i = 0; i < to->rank; i++) {
        if (to->dims[i] == m->dims[i])
            continue;
        axes[n] = i;
        starts[n] = start;
        end[n++] = start ? m->dims[i] : to->dims[i];
    }
    CG_TRY(cg_export_dims(m->x, end, n, &ends));
    const char *from = cg_export_literal(m->x, starts, n);
    const char *along = cg_export_literal(m->x, axes, n);
    const char *out = cg_export_fresh(m->x, "Slice");
    cg_export_begin(m->x, "", "Slice");
    cg_export_input(m->x, m->name);
    cg_export_input(m->x, from);
    cg_export_input(m->x, ends);
    cg_export_input(m->x, along);
    cg_export_output(m->x, out);
    cg_export_end(m->x, out);
    m->name = out;
    become(m, to);
    return CG_OK;
}

static cg_err tile(mover *m, int axis, cg_dim times)
{
    cg_dim repeats[CG_MAX_RANK];
    const char *r;
    for (int i = 0; i < m->now.rank; i++)
        repeats[i] = i == axis ? times : 1;
    CG_TRY(cg_export_dims(m->x, repeats, (size_t)m->now.rank, &r));
    m->name = cg_export_call(m->x, "Tile", m->name, r, NULL, NULL);
    m->dims[axis] = cg_dim_mul(m->g, m->dims[axis], times);
    return CG_OK;
}

static cg_err reshape(mover *m, const cg_type *to)
{
    CG_TRY(cg_export_reshape(m->x, to->dims, to->rank, &m->name));
    become(m, to);
    return CG_OK;
}

/* -- where an axis goes through a Reshape: as in passes/hwc_flow.c -------- */

static cg_dim product(cg_graph *g, const cg_type *t, int from, int to)
{
    cg_dim p = 1;
    for (int i = from; i < to; i++)
        p = cg_dim_mul(g, p, t->dims[i]);
    return p;
}

static bool meet(cg_graph *g, const cg_type *a, int i, const cg_type *b, int j)
{
    return product(g, a, 0, i) == product(g, b, 0, j) ||
           product(g, a, i, a->rank) == product(g, b, j, b->rank);
}

/* The axis of `to` that `axis` becomes: itself, or the last part of it; -1:
 * neither. */
static int lands(cg_graph *g, const cg_type *from, int axis, const cg_type *to)
{
    int start = -1, end = -1;
    for (int j = 0; j < to->rank; j++)
        if (to->dims[j] == from->dims[axis] && meet(g, from, axis, to, j) &&
            meet(g, from, axis + 1, to, j + 1))
            return j;
    for (int j = 0; j <= to->rank; j++) {
        if (start < 0 && meet(g, from, axis, to, j))
            start = j;
        if (meet(g, from, axis + 1, to, j))
            end = j;
    }
    if (start < 0 || end <= start || from->dims[axis] == 1)
        return -1;
    while (end - 1 > start && to->dims[end - 1] == 1)
        end--;
    return end - 1;
}

/* -- orders of axes ------------------------------------------------------- */

static bool next_order(int64_t *p, int n)
{
    int i = n - 2, j = n - 1;
    while (i >= 0 && p[i] > p[i + 1])
        i--;
    if (i < 0)
        return false;
    while (p[j] < p[i])
        j--;
    int64_t t = p[i];
    p[i] = p[j];
    p[j] = t;
    for (int a = i + 1, b = n - 1; a < b; a++, b--) {
        t = p[a];
        p[a] = p[b];
        p[b] = t;
    }
    return true;
}

/* A Transpose from m to `to` that keeps the channel. */
static bool find_transpose(const mover *m, const cg_type *to, int64_t *perm)
{
    if (m->now.rank != to->rank || to->rank > MAX_TRIED)
        return false;
    for (int i = 0; i < to->rank; i++)
        perm[i] = i;
    do {
        bool fits = true;
        for (int i = 0; i < to->rank && fits; i++)
            fits = m->dims[perm[i]] == to->dims[i] &&
                   (m->now.channel < 0 || to->channel < 0 ||
                    (perm[i] == m->now.channel) == (i == to->channel));
        if (fits)
            return true;
    } while (next_order(perm, to->rank));
    return false;
}

/* What pass hwc takes where no channel is known. */
static int usual_axis(int rank)
{
    return rank == 2 || rank == 4 || rank == 5 ? 1 : rank - 1;
}

/* Reshape to `to` with its axes in another order, then Transpose: perm[i] is
 * where axis i of `to` is before that. False: no order has the channel where
 * the Reshape takes it, or, `lost`, where it is if that takes it nowhere. */
static bool find_order(const mover *m, const cg_type *to, bool lost,
                       int64_t *perm, cg_dim *dims)
{
    cg_type t = {.rank = to->rank, .dims = dims, .channel = -1};
    for (int i = 0; i < to->rank; i++)
        perm[i] = i;
    do {
        for (int i = 0; i < to->rank; i++)
            dims[perm[i]] = to->dims[i];
        int axis = m->now.channel < 0
                       ? -1
                       : lands(m->g, &m->now, m->now.channel, &t);
        if (lost && axis < 0)
            axis = usual_axis(to->rank);
        if (axis == perm[to->channel])
            return true;
    } while (next_order(perm, to->rank));
    return false;
}

static bool in_order(const int64_t *perm, int rank)
{
    for (int i = 0; i < rank; i++)
        if (perm[i] != i)
            return false;
    return true;
}

/* The same number of elements. */
static cg_err rearrange(mover *m, const cg_type *to)
{
    int64_t perm[CG_MAX_RANK];
    cg_dim dims[CG_MAX_RANK];
    bool kept = m->now.channel == to->channel || m->now.channel < 0 ||
                to->channel < 0;
    if (same_dims(&m->now, to) && kept)
        return CG_OK;
    if (find_transpose(m, to, perm)) {
        become(m, to);
        return cg_export_transpose(m->x, perm, to->rank, &m->name);
    }
    bool open = to->channel < 0 || to->rank > MAX_TRIED;
    if (open || !(find_order(m, to, false, perm, dims) ||
                  find_order(m, to, true, perm, dims)) ||
        in_order(perm, to->rank))
        return same_dims(&m->now, to) ? CG_OK : reshape(m, to);
    CG_TRY(cg_export_reshape(m->x, dims, to->rank, &m->name));
    become(m, to);
    return cg_export_transpose(m->x, perm, to->rank, &m->name);
}

/* -- sizes ---------------------------------------------------------------- */

static bool less(cg_graph *g, cg_dim a, cg_dim b)
{
    return a != b && cg_dim_compare(g, a, b) == -1;
}

/* Without the first row and column, as NAS-Bench-301 halves an image. */
static bool is_origin(const mover *m, const cg_type *to)
{
    int cut = 0;
    for (int i = 0; i < to->rank; i++)
        if (to->dims[i] != m->dims[i] &&
            (i < 2 || cg_dim_sub(m->g, m->dims[i], to->dims[i]) != 1))
            return false;
        else
            cut += to->dims[i] != m->dims[i];
    return cut == 2 && to->rank == 4;
}

static bool is_slice(const mover *m, const cg_type *to)
{
    if (m->now.rank != to->rank || (m->now.channel >= 0 && to->channel >= 0 &&
                                    m->now.channel != to->channel))
        return false;
    for (int i = 0; i < to->rank; i++)
        if (to->dims[i] != m->dims[i] && !less(m->g, to->dims[i], m->dims[i]))
            return false;
    return true;
}

static bool is_expand(const mover *m, const cg_type *to)
{
    int shift = to->rank - m->now.rank;
    if (shift < 0 || (m->now.channel >= 0 && to->channel >= 0 &&
                      m->now.channel + shift != to->channel))
        return false;
    for (int i = 0; i < m->now.rank; i++)
        if (m->dims[i] != 1 && m->dims[i] != to->dims[i + shift])
            return false;
    return true;
}

/* One axis longer: repeated, and cut where that is too much. */
static int grown_axis(const mover *m, const cg_type *to)
{
    int axis = -1;
    if (m->now.rank != to->rank)
        return -1;
    for (int i = 0; i < to->rank; i++) {
        if (m->dims[i] == to->dims[i])
            continue;
        if (axis >= 0 || !less(m->g, m->dims[i], to->dims[i]))
            return -1;
        axis = i;
    }
    return axis;
}

static cg_err grow(mover *m, int axis, const cg_type *to)
{
    CG_TRY(tile(m, axis, cg_dim_ceildiv(m->g, to->dims[axis], m->dims[axis])));
    return same_dims(&m->now, to) ? CG_OK : slice(m, to, 0);
}

/* An axis that, with `count` elements in all, would have *d; the channel
 * first, then from the last. */
static int sized_axis(const mover *m, cg_dim count, cg_dim *d)
{
    for (int k = -1; k < m->now.rank; k++) {
        int i = k < 0 ? m->now.channel : m->now.rank - 1 - k;
        if (i < 0)
            continue;
        cg_dim others = cg_dim_mul(m->g, product(m->g, &m->now, 0, i),
                                   product(m->g, &m->now, i + 1,
                                           m->now.rank));
        if (others != 0 && cg_dim_divides(m->g, count, others, d) && *d != 0)
            return i;
    }
    return -1;
}

/* To `count` elements along one axis, of a flat tensor if no other will do. */
static cg_err resize(mover *m, cg_dim count)
{
    cg_dim d, all = product(m->g, &m->now, 0, m->now.rank);
    cg_dim dims[CG_MAX_RANK];
    if (all == count)
        return CG_OK;
    int axis = sized_axis(m, count, &d);
    if (axis < 0) {
        cg_type flat = {.rank = 1, .channel = -1, .dims = &all};
        CG_TRY(reshape(m, &flat));
        axis = 0;
        d = count;
    }
    memcpy(dims, m->dims, sizeof dims);
    dims[axis] = d;
    cg_type t = m->now;
    t.dims = dims;
    return less(m->g, m->dims[axis], d) ? grow(m, axis, &t) : slice(m, &t, 0);
}

static cg_err move(mover *m, const cg_type *to)
{
    if (same_dims(&m->now, to))
        return rearrange(m, to);
    if (is_slice(m, to))
        return slice(m, to, is_origin(m, to));
    cg_dim count = product(m->g, to, 0, to->rank);
    int axis = grown_axis(m, to);
    bool fewer = product(m->g, &m->now, 0, m->now.rank) != count;
    if (fewer && is_expand(m, to)) {
        const char *shape;
        CG_TRY(cg_export_dims(m->x, to->dims, (size_t)to->rank, &shape));
        m->name = cg_export_call(m->x, "Expand", m->name, shape, NULL, NULL);
        return CG_OK;
    }
    if (axis >= 0)
        return grow(m, axis, to);
    CG_TRY(resize(m, count));
    return rearrange(m, to);
}

cg_err cg_export_move(cg_export *x, const cg_type *from, const cg_type *to,
                      const char **name)
{
    if (to->rank < 0)
        return CG_OK;
    if (from->rank < 0) /* whatever it is, it has these elements */
        return cg_export_reshape(x, to->dims, to->rank, name);
    mover m = {.x = x, .g = x->g, .now = *from, .name = *name};
    become(&m, from);
    CG_TRY(move(&m, to));
    *name = m.name;
    return CG_OK;
}
