#include "tools/pictures.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/array.h"
#include "runtime/metrics.h"
#include "runtime/tsne.h"
#include "tools/cli.h"
#include "tools/plot.h"

/* More networks would make a picture slow to look at, and no clearer. */
enum { POINTS = 2000, EMBEDDED = 500, STREAM = 12 };
enum { MEMBERS = CG_MEMBER_COUNT + 1 };
static const cg_tsne_opts tsne = {.perplexity = 30, .dims = 30, .steps = 1000};

typedef struct family {
    char *name;
    uint32_t n;
    double *accuracy, *flops; /* (n) percent, log10 */
    double *said[MEMBERS];    /* (n) of each member */
    uint32_t *order;          /* (n) the first ones are drawn */
    float *h;                 /* (EMBEDDED or less, width) in that order */
} family;

typedef struct member {
    const char *name, *line;
    bool percent;
} member;

struct pictures {
    char *folder;
    uint64_t seed;
    size_t width; /* of embeddings */
    CG_ARRAY(family) families;
    member member[MEMBERS];
    size_t n_members, next; /* next: whom the family at hand expects */
};

static double *copy(const double *x, size_t n)
{
    double *y = cg_xcalloc(n + 1, sizeof *y);
    return n ? memcpy(y, x, n * sizeof *y) : y;
}

static char *file_of(const pictures *p, const char *kind, const char *name)
{
    char *path;
    if (asprintf(&path, "%s/%s%s.svg", p->folder, kind, name) < 0)
        abort();
    return path;
}

cg_err pictures_new(pictures **out, const char *folder, uint64_t seed)
{
    *out = NULL;
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return cg_fail(CG_EIO, "cannot make directory %s: %s", folder,
                       strerror(errno));
    pictures *p = cg_xcalloc(1, sizeof *p);
    p->folder = strdup(folder);
    p->seed = seed;
    if (!p->folder)
        abort();
    char *path = file_of(p, "accuracy", "");
    cg_err err = cg_cli_try_output(path);
    free(path);
    if (err == CG_OK)
        *out = p;
    else
        pictures_free(p);
    return err;
}

void pictures_free(pictures *p)
{
    for (size_t i = 0; p && i < p->families.len; i++) {
        family *f = &p->families.data[i];
        free(f->name);
        cg_xfree(f->accuracy);
        cg_xfree(f->flops);
        cg_xfree(f->order);
        cg_xfree(f->h);
        for (int k = 0; k < MEMBERS; k++)
            cg_xfree(f->said[k]);
    }
    if (!p)
        return;
    cg_array_free(&p->families);
    free(p->folder);
    cg_xfree(p);
}

/* -- what is drawn --------------------------------------------------------- */

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

void pictures_family(pictures *p, const char *name, const cg_examples *e,
                     const cg_embedded *d)
{
    family f = {.name = strdup(name), .n = e->n,
                .accuracy = copy(e->accuracy, e->n),
                .flops = copy(e->flops, e->n),
                .order = cg_shuffled(e->n, p->seed, STREAM)};
    if (!f.name)
        abort();
    for (uint32_t i = 0; i < e->n; i++)
        f.flops[i] = log10(f.flops[i] + 1);
    if (d && d->h) {
        p->width = (size_t)d->width;
        f.h = cg_xcalloc(EMBEDDED * p->width + 1, sizeof *f.h);
        for (uint32_t i = 0; i < least(e->n, EMBEDDED); i++)
            memcpy(f.h + i * p->width, d->h + f.order[i] * p->width,
                   p->width * sizeof *f.h);
    }
    cg_array_push(&p->families, f);
    p->next = 0;
}

void pictures_member(pictures *p, const char *name, const char *line,
                     bool percent, const double *said)
{
    family *f = &p->families.data[p->families.len - 1];
    assert(p->next < MEMBERS);
    p->member[p->next] = (member){name, line, percent};
    f->said[p->next++] = copy(said, f->n);
    p->n_members = p->next;
}

/* The drawn ones of x. */
static double *drawn(const family *f, const double *x)
{
    uint32_t n = least(f->n, POINTS);
    double *y = cg_xcalloc(n + 1, sizeof *y);
    for (uint32_t i = 0; i < n; i++)
        y[i] = x[f->order[i]];
    return y;
}

/* -- pictures -------------------------------------------------------------- */

static cg_err write_scatter(const pictures *p, size_t m)
{
    const member *x = &p->member[m];
    size_t n = p->families.len;
    plot_series *series = cg_xcalloc(n + 1, sizeof *series);
    char title[160], note[160] = "";
    for (size_t i = 0; i < n; i++) {
        const family *f = &p->families.data[i];
        char *name;
        if (asprintf(&name, "%.24s, SRCC %.2f", f->name,
                     cg_srcc(f->accuracy, f->said[m], f->n)) < 0)
            abort();
        series[i] = (plot_series){name, drawn(f, f->accuracy),
                                  drawn(f, f->said[m]), least(f->n, POINTS)};
        if (f->n > POINTS)
            snprintf(note, sizeof note, "at most %d networks of a family, "
                     "drawn by seed %" PRIu64, POINTS, p->seed);
    }
    snprintf(title, sizeof title, "%s: %s and true accuracy", x->line,
             x->percent ? "predicted" : "score");
    plot picture = {.title = title, .note = note, .series = series, .n = n,
                    .x = "true accuracy, %",
                    .y = x->percent ? "predicted accuracy, %" : "score"};
    char *path = file_of(p, x->percent ? "predicted_" : "score_", x->name);
    cg_err err = plot_scatter(&picture, x->percent, path);
    free(path);
    for (size_t i = 0; i < n; i++) {
        free((char *)series[i].name);
        cg_xfree((double *)series[i].x);
        cg_xfree((double *)series[i].y);
    }
    cg_xfree(series);
    return err;
}

static cg_err write_histogram(const pictures *p, bool flops)
{
    size_t n = p->families.len;
    plot_series *series = cg_xcalloc(n + 1, sizeof *series);
    for (size_t i = 0; i < n; i++) {
        const family *f = &p->families.data[i];
        series[i] = (plot_series){f->name, flops ? f->flops : f->accuracy,
                                  NULL, f->n};
    }
    plot picture = {.title = flops ? "FLOPs of the networks"
                                   : "Accuracy of the networks",
                    .x = flops ? "log10 FLOPs" : "accuracy, %",
                    .series = series, .n = n};
    char *path = file_of(p, flops ? "flops" : "accuracy", "");
    cg_err err = plot_histogram(&picture, path);
    free(path);
    cg_xfree(series);
    return err;
}

/* Points y (.., 2), `each` or less of a family. */
static cg_err write_plane(const pictures *p, const double *y, uint32_t each,
                          double perplexity)
{
    size_t n = p->families.len, at = 0;
    plot_series *series = cg_xcalloc(n + 1, sizeof *series);
    double *xy = cg_xcalloc(2 * CG_TSNE_MAX, sizeof *xy);
    char note[160];
    for (size_t i = 0; i < n; i++) {
        const family *f = &p->families.data[i];
        series[i] = (plot_series){f->name, xy + at, xy + CG_TSNE_MAX + at,
                                  least(f->n, each)};
        at += series[i].n;
    }
    for (size_t i = 0; i < at; i++) {
        xy[i] = y[2 * i];
        xy[CG_TSNE_MAX + i] = y[2 * i + 1];
    }
    snprintf(note, sizeof note, "t-SNE, perplexity %.3g; at most %u "
             "networks of a family, drawn by seed %" PRIu64, perplexity, each,
             p->seed);
    plot picture = {.title = "Embeddings of the networks", .note = note,
                    .series = series, .n = n};
    char *path = file_of(p, "tsne", "");
    cg_err err = plot_scatter(&picture, false, path);
    free(path);
    cg_xfree(series);
    cg_xfree(xy);
    return err;
}

static cg_err write_tsne(const pictures *p)
{
    size_t at = 0, d = p->width;
    uint32_t each = least(EMBEDDED,
                          (uint32_t)(CG_TSNE_MAX / p->families.len));
    float *h = cg_xcalloc(CG_TSNE_MAX * d, sizeof *h);
    double *y = cg_xcalloc(2 * CG_TSNE_MAX, sizeof *y);
    cg_tsne_opts o = tsne;
    o.seed = p->seed;
    for (size_t i = 0; i < p->families.len; i++) {
        const family *f = &p->families.data[i];
        size_t n = least(f->n, each);
        memcpy(h + at * d, f->h, n * d * sizeof *h);
        at += n;
    }
    cg_err err = cg_tsne(h, at, d, &o, y);
    if (err == CG_OK)
        err = write_plane(p, y, each, cg_tsne_perplexity(at, o.perplexity));
    cg_xfree(h);
    cg_xfree(y);
    return err;
}

cg_err pictures_write(const pictures *p, bool *embedded)
{
    *embedded = p->width > 0;
    for (size_t m = 0; m < p->n_members; m++)
        CG_TRY(write_scatter(p, m));
    CG_TRY(write_histogram(p, false));
    CG_TRY(write_histogram(p, true));
    return *embedded ? write_tsne(p) : CG_OK;
}
