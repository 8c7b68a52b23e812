/* Known networks: drawn, compared, kept in a file. */
#include "runtime/known.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "runtime/metrics.h"

#define S CG_STRUCTURE_COUNT
enum { NAME_MAX_BYTES = 500 };

/* -- drawing --------------------------------------------------------------- */

/* They stand one a line in a file whose text is UTF-8. */
static char *plain_name(const char *name, size_t len)
{
    size_t n = len < NAME_MAX_BYTES ? len : NAME_MAX_BYTES;
    char *out = cg_xcalloc(n + 1, 1);
    for (size_t i = 0; i < n; i++)
        out[i] = name[i] >= ' ' && name[i] <= '~' ? name[i] : '?';
    return out;
}

static void reserve(cg_known *k, uint32_t n, size_t width)
{
    *k = (cg_known){.n = n, .width = width};
    k->name = cg_xcalloc((size_t)n + 1, sizeof *k->name);
    k->family = cg_xcalloc((size_t)n + 1, sizeof *k->family);
    k->accuracy = cg_xcalloc((size_t)n + 1, sizeof *k->accuracy);
    k->structure = cg_xcalloc((size_t)n * S + 1, sizeof *k->structure);
    k->h = cg_xcalloc((size_t)n * width + 1, sizeof *k->h);
    k->h_sd = cg_xcalloc(width + 1, sizeof *k->h_sd);
}

static void take(cg_known *k, uint32_t at, const cg_examples *e, uint32_t i,
                 const float *h)
{
    const cg_pick *p = &e->pick[i];
    const char *name = cg_set_name(p->set, p->index);
    k->name[at] = plain_name(name, strlen(name));
    k->accuracy[at] = e->accuracy[i];
    cg_structure_of(p->set, p->index, k->structure + (size_t)at * S);
    if (h)
        memcpy(k->h + (size_t)at * k->width, h + (size_t)i * k->width,
               k->width * sizeof *h);
}

/* In order of family; the first ones of each in the order of the seed. */
static uint32_t draw(const cg_examples *e, const uint32_t *family,
                     size_t families, uint64_t seed, uint32_t *chosen)
{
    uint32_t n = 0, *order = cg_shuffled(e->n, seed, 0);
    for (size_t f = 0; f < families; f++) {
        uint32_t first = n;
        for (uint32_t i = 0; i < e->n && n - first < CG_KNOWN_OF_FAMILY; i++)
            if (family[order[i]] == f)
                chosen[n++] = order[i];
    }
    cg_xfree(order);
    return n;
}

static void spread(const float *h, size_t n, size_t width, double *sd)
{
    double mean, *column = cg_xcalloc(n + 1, sizeof *column);
    for (size_t c = 0; c < width; c++) {
        for (size_t i = 0; i < n; i++)
            column[i] = h[i * width + c];
        cg_moments(column, n, &mean, &sd[c]);
        if (sd[c] < 1e-6 * (1 + fabs(mean)))
            sd[c] = 0;
    }
    cg_xfree(column);
}

void cg_known_draw(cg_known *k, const cg_examples *e, const uint32_t *family,
                   size_t families, const float *h, size_t width,
                   uint64_t seed)
{
    uint32_t *chosen = cg_xcalloc((size_t)e->n + 1, sizeof *chosen);
    uint32_t n = draw(e, family, families, seed, chosen);
    cg_known_free(k);
    reserve(k, n, h ? width : 0);
    for (uint32_t i = 0; i < n; i++) {
        take(k, i, e, chosen[i], h);
        k->family[i] = family[chosen[i]];
    }
    if (h)
        spread(h, e->n, width, k->h_sd);
    cg_xfree(chosen);
}

void cg_known_free(cg_known *k)
{
    for (uint32_t i = 0; i < k->n; i++)
        cg_xfree(k->name[i]);
    cg_xfree(k->name);
    cg_xfree(k->family);
    cg_xfree(k->accuracy);
    cg_xfree(k->structure);
    cg_xfree(k->h);
    cg_xfree(k->h_sd);
    *k = (cg_known){0};
}

/* -- comparing ------------------------------------------------------------- */

static double distance_by_h(const cg_known *k, uint32_t i, const float *h)
{
    double sum = 0, columns = 0;
    for (size_t c = 0; c < k->width; c++) {
        double d = (double)k->h[i * k->width + c] - (double)h[c];
        if (!(k->h_sd[c] > 0))
            continue;
        sum += d * d / (k->h_sd[c] * k->h_sd[c]);
        columns++;
    }
    return columns > 0 ? sqrt(sum / columns) : 0;
}

static double distance_by_structure(const cg_known *k, uint32_t i,
                                    const double *x, const double *sd)
{
    double sum = 0;
    for (int c = 0; c < S; c++) {
        double d = k->structure[(size_t)i * S + (size_t)c] - x[c];
        sum += sd[c] > 0 ? d * d / (sd[c] * sd[c]) : d * d;
    }
    return sqrt(sum / S);
}

int cg_known_nearest(const cg_known *k, const double *x, const double *sd,
                     const float *h, size_t width, int most, cg_near *out)
{
    int n = 0;
    bool by_h = h && k->width > 0 && k->width == width;
    for (uint32_t i = 0; i < k->n && most > 0; i++) {
        cg_near one = {i, by_h ? distance_by_h(k, i, h)
                               : distance_by_structure(k, i, x, sd)};
        int at = n;
        while (at > 0 && one.distance < out[at - 1].distance)
            at--;
        if (at == most)
            continue;
        n += n < most;
        memmove(out + at + 1, out + at, (size_t)(n - 1 - at) * sizeof *out);
        out[at] = one;
    }
    return n;
}

/* -- in a file ------------------------------------------------------------- */

static cg_tensor tensor(const char *name, cg_tensor_type type, size_t rows,
                        size_t cols, const void *data)
{
    return (cg_tensor){.name = name, .type = type, .rank = 2, .data = data,
                       .shape = {(int64_t)rows, (int64_t)cols}};
}

int cg_known_tensors(const cg_known *k, cg_tensor t[CG_KNOWN_TENSORS])
{
    if (k->n == 0)
        return 0;
    t[0] = tensor("known.family", CG_TENSOR_I32, 1, k->n, k->family);
    t[1] = tensor("known.accuracy", CG_TENSOR_F64, 1, k->n, k->accuracy);
    t[2] = tensor("known.structure", CG_TENSOR_F64, k->n, S, k->structure);
    t[3] = tensor("known.h", CG_TENSOR_F32, k->n, k->width, k->h);
    t[4] = tensor("known.h.sd", CG_TENSOR_F64, 1, k->width, k->h_sd);
    return k->width > 0 ? 5 : 3;
}

static size_t line_end(const char *s)
{
    return strcspn(s, "\n");
}

static uint32_t count_lines(const char *s)
{
    uint32_t n = 0;
    for (; *s; n++)
        s += line_end(s), s += *s == '\n';
    return n;
}

/* NULL: there is none, or of another size. */
static const cg_tensor *want(const cg_tensors *t, const char *name,
                             cg_tensor_type type, int64_t rows, int64_t cols)
{
    const cg_tensor *x = cg_tensors_find(t, name);
    return x && x->type == type && x->rank == 2 && x->shape[0] == rows &&
                   (cols < 0 || x->shape[1] == cols) ? x : NULL;
}

/* Columns by their names: those that are new since are 0. */
static void read_structure(cg_known *k, const cg_tensor *t,
                           const char *columns)
{
    const double *x = t->data;
    for (int64_t c = 0; c < t->shape[1] && *columns; c++) {
        int to = cg_structure_find(columns, line_end(columns));
        for (uint32_t i = 0; i < k->n && to >= 0; i++)
            k->structure[(size_t)i * S + (size_t)to] =
                x[(int64_t)i * t->shape[1] + c];
        columns += line_end(columns), columns += *columns == '\n';
    }
}

static void read_names(cg_known *k, const char *names)
{
    for (uint32_t i = 0; i < k->n; i++) {
        k->name[i] = plain_name(names, line_end(names));
        names += line_end(names), names += *names == '\n';
    }
}

static bool families_there(const int32_t *family, uint32_t n, size_t families)
{
    for (uint32_t i = 0; i < n; i++)
        if (family[i] < 0 || (size_t)family[i] >= families)
            return false;
    return true;
}

cg_err cg_known_read(cg_known *k, const cg_tensors *t, const char *names,
                     const char *columns, size_t families, const char *path)
{
    uint32_t n = count_lines(names);
    const cg_tensor *family = want(t, "known.family", CG_TENSOR_I32, 1, n);
    const cg_tensor *accuracy = want(t, "known.accuracy", CG_TENSOR_F64, 1, n);
    const cg_tensor *x = want(t, "known.structure", CG_TENSOR_F64, n, -1);
    const cg_tensor *h = want(t, "known.h", CG_TENSOR_F32, n, -1);
    int64_t width = h ? h->shape[1] : 0;
    const cg_tensor *sd = want(t, "known.h.sd", CG_TENSOR_F64, 1, width);
    if (!family || !accuracy || !x || (h && !sd) ||
        !families_there(family->data, n, families))
        return cg_fail(CG_EFORMAT, "%s: tensors known are not whole", path);
    reserve(k, n, (size_t)width);
    read_names(k, names);
    read_structure(k, x, columns);
    memcpy(k->family, family->data, n * sizeof *k->family);
    memcpy(k->accuracy, accuracy->data, n * sizeof *k->accuracy);
    if (h) {
        memcpy(k->h, h->data, (size_t)n * k->width * sizeof *k->h);
        memcpy(k->h_sd, sd->data, k->width * sizeof *k->h_sd);
    }
    return CG_OK;
}
