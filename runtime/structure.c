/* Structure of a network: counts, means over multiply-adds, and paths. */
#include "runtime/structure.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *const cg_structure_name[CG_STRUCTURE_COUNT] = {
#define CG_STRUCTURE(name, value, line) #name,
#include "runtime/structure.def"
#undef CG_STRUCTURE
};

const char *const cg_structure_line[CG_STRUCTURE_COUNT] = {
#define CG_STRUCTURE(name, value, line) line,
#include "runtime/structure.def"
#undef CG_STRUCTURE
};

int cg_structure_find(const char *name, size_t len)
{
    for (int i = 0; i < CG_STRUCTURE_COUNT; i++)
        if (strlen(cg_structure_name[i]) == len &&
            memcmp(cg_structure_name[i], name, len) == 0)
            return i;
    return -1;
}

double cg_structure_plain(cg_structure k, double x)
{
    static const char *const value[CG_STRUCTURE_COUNT] = {
#define CG_STRUCTURE(name, value, line) #value,
#include "runtime/structure.def"
#undef CG_STRUCTURE
    };
    const char counts[] = "log2(1 + ";
    return strncmp(value[k], counts, sizeof counts - 1) == 0 ? exp2(x) - 1 : x;
}

cg_err cg_structures_parse(cg_structures *out, const char *list)
{
    *out = (cg_structures){0};
    for (const char *s = list; *s; s += *s == ',') {
        size_t len = strcspn(s, ",");
        int k = cg_structure_find(s, len);
        if (k < 0 || out->n == CG_STRUCTURE_COUNT) {
            char all[512] = "";
            for (int i = 0; i < CG_STRUCTURE_COUNT; i++)
                snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s",
                         i ? ", " : "", cg_structure_name[i]);
            return cg_fail(CG_EUSAGE, "no structure '%.*s', or too many; there "
                           "are %s", (int)(len < 40 ? len : 40), s, all);
        }
        out->k[out->n++] = k;
        s += len;
    }
    return CG_OK;
}

/* Along paths from an input: to a node, itself included. */
typedef struct path {
    double depth, least_depth, spatial, least_spatial, reach;
} path;

typedef struct sums {
    double macs, params, layers, spatial, depthwise, pointwise, pools, joins;
    double depth, least_depth, spatial_depth, least_spatial, reach;
    double kernel, resolution, width, image;
} sums;

static bool is_layer(const cg_token *t)
{
    return t->weight[3] > 0;
}

static bool is_spatial(const cg_token *t)
{
    return is_layer(t) && (t->weight[0] > 1 || t->weight[1] > 1);
}

static bool is_window(const cg_token *t) /* Mean has no kernel */
{
    return t->op < CG_OP_COUNT && cg_op_table[t->op].class == CG_CLASS_POOL &&
           (t->kernel[0] > 1 || t->kernel[1] > 1);
}

static double log2_of(double x)
{
    return x > 1 ? log2(x) : 0;
}

static double size_of(const cg_token *t)
{
    return sqrt((double)t->weight[0] * t->weight[1]);
}

static void count(sums *s, const cg_token *t, uint32_t inputs)
{
    bool spatial = is_spatial(t), grouped = t->groups > 1;
    s->layers += is_layer(t);
    s->spatial += spatial && !grouped;
    s->depthwise += spatial && grouped;
    s->pointwise += is_layer(t) && !spatial;
    s->pools += is_window(t);
    s->joins += inputs > 1;
    s->kernel += spatial ? log2_of(size_of(t)) : 0;
    if (!(t->macs > 0))
        return;
    double hw = t->out[0] && t->hw_max ? (double)t->out[0] / t->hw_max : 1;
    s->resolution += (double)t->macs * log2(hw);
    s->width += (double)t->macs * log2_of(t->out[2]);
}

/* What a node adds to the field of view, in widths of its own input. */
static double reach(const cg_token *t)
{
    double k = is_spatial(t) ? size_of(t)
               : is_window(t) ? sqrt((double)t->kernel[0] * t->kernel[1]) : 1;
    double d = t->dilation[0] ? t->dilation[0] : 1;
    return t->in[0] ? (k - 1) * d / t->in[0] : 0;
}

static path extend(const cg_item *g, const path *to, uint32_t v,
                   const cg_token *t)
{
    path p = {0};
    for (uint32_t e = g->start[v]; e < g->start[v + 1]; e++) {
        const path *q = &to[g->pred[e]];
        bool first = e == g->start[v];
        p.depth = fmax(p.depth, q->depth);
        p.spatial = fmax(p.spatial, q->spatial);
        p.reach = fmax(p.reach, q->reach);
        p.least_depth = first ? q->least_depth
                              : fmin(p.least_depth, q->least_depth);
        p.least_spatial = first ? q->least_spatial
                                : fmin(p.least_spatial, q->least_spatial);
    }
    p.depth += is_layer(t);
    p.least_depth += is_layer(t);
    p.spatial += is_spatial(t);
    p.least_spatial += is_spatial(t);
    p.reach += reach(t);
    return p;
}

static void paths(sums *s, const cg_set *set, const cg_item *g)
{
    path *to = cg_xcalloc((size_t)g->n_nodes + 1, sizeof *to);
    for (uint32_t v = 0; v < g->n_nodes; v++)
        to[v] = extend(g, to, v, &set->token[g->token[v]]);
    if (g->n_nodes > 0) { /* the last node: an output */
        const path *p = &to[g->n_nodes - 1];
        s->depth = p->depth;
        s->least_depth = p->least_depth;
        s->spatial_depth = p->spatial;
        s->least_spatial = p->least_spatial;
        s->reach = p->reach;
    }
    cg_xfree(to);
}

static double known(double x)
{
    return isfinite(x) ? x : 0;
}

void cg_structure_of(const cg_set *set, uint32_t i, double *x)
{
    cg_item g = {0};
    sums sum = {.macs = known(set->graph[i].macs),
                .params = known(set->graph[i].params)}, *s = &sum;
    cg_set_get(set, i, &g);
    double macs = 0;
    for (uint32_t v = 0; v < g.n_nodes; v++) {
        const cg_token *t = &set->token[g.token[v]];
        count(s, t, g.start[v + 1] - g.start[v]);
        s->image = fmax(s->image, t->hw_max);
        macs += t->macs > 0 ? (double)t->macs : 0;
    }
    paths(s, set, &g);
    double spatial = s->spatial + s->depthwise;
    s->kernel = spatial > 0 ? s->kernel / spatial : 0;
    s->resolution = macs > 0 ? s->resolution / macs : 0;
    s->width = macs > 0 ? s->width / macs : 0;
    int k = 0;
#define CG_STRUCTURE(name, value, line) x[k++] = value;
#include "runtime/structure.def"
#undef CG_STRUCTURE
    cg_item_free(&g);
}
