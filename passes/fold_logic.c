/* Folding of comparisons, logic and choices.
 *
 * Exporters ask of shapes whether a dim is -1, 0 or 1 and choose by the
 * answer (Expand's target, broadcasting, padding). A comparison of expressions
 * is decided where it holds for every size a symbol can have, and is an
 * unknown of its own otherwise; a choice between equals needs no answer. */
#include <math.h>
#include <string.h>

#include "passes/fold.h"
#include "passes/shape.h"

/* -- comparisons and logic ------------------------------------------------ */

/* A truth value: 0, 1, or 2 for one that hangs on a symbol. */
static cg_elem truth(const cg_elem_ctx *c, int t)
{
    cg_dim u = t == 2 ? cg_dim_unknown(c->g, c->n,
                                       "a comparison of symbolic sizes")
                      : t;
    return cg_elem_int(u);
}

static bool is_nan(const cg_elem_ctx *c, cg_elem a)
{
    return c->is_float && cg_elem_known(a) && isnan(a.f);
}

static cg_err equal(const cg_elem_ctx *c, cg_elem a, cg_elem b, cg_elem *out)
{
    int s = is_nan(c, a) || is_nan(c, b) ? 1 : cg_elem_compare(c, a, b);
    *out = truth(c, s == 2 ? 2 : s == 0);
    return CG_OK;
}

static cg_err greater_or_equal(const cg_elem_ctx *c, cg_elem a, cg_elem b,
                               cg_elem *out)
{
    *out = truth(c, is_nan(c, a) || is_nan(c, b) ? 0 : cg_elem_ge(c, a, b));
    return CG_OK;
}

static cg_err less(const cg_elem_ctx *c, cg_elem a, cg_elem b, cg_elem *out)
{
    int ge = is_nan(c, a) || is_nan(c, b) ? 1 : cg_elem_ge(c, a, b);
    *out = truth(c, ge == 2 ? 2 : !ge);
    return CG_OK;
}

static cg_err less_or_equal(const cg_elem_ctx *c, cg_elem a, cg_elem b,
                            cg_elem *out)
{
    return greater_or_equal(c, b, a, out);
}

static cg_err greater(const cg_elem_ctx *c, cg_elem a, cg_elem b, cg_elem *out)
{
    return less(c, b, a, out);
}

static cg_err and_elem(const cg_elem_ctx *c, cg_elem a, cg_elem b, cg_elem *out)
{
    bool open = !cg_elem_known(a) || !cg_elem_known(b);
    *out = truth(c, a.i == 0 || b.i == 0 ? 0 : open ? 2 : 1);
    return CG_OK;
}

static cg_err or_elem(const cg_elem_ctx *c, cg_elem a, cg_elem b, cg_elem *out)
{
    bool open = !cg_elem_known(a) || !cg_elem_known(b);
    bool one = (cg_elem_known(a) && a.i != 0) || (cg_elem_known(b) && b.i != 0);
    *out = truth(c, one ? 1 : open ? 2 : 0);
    return CG_OK;
}

static cg_err xor_elem(const cg_elem_ctx *c, cg_elem a, cg_elem b, cg_elem *out)
{
    bool open = !cg_elem_known(a) || !cg_elem_known(b);
    *out = truth(c, open ? 2 : (a.i != 0) != (b.i != 0));
    return CG_OK;
}

static cg_err not_elem(const cg_elem_ctx *c, cg_elem a, cg_elem *out)
{
    *out = truth(c, cg_elem_known(a) ? a.i == 0 : 2);
    return CG_OK;
}

#define RULE(name, map, fn)                                                   \
    cg_err cg_fold_##name(cg_graph *g, cg_node *n)                            \
    {                                                                         \
        return map(g, n, fn);                                                 \
    }

RULE(greater, cg_elem_map2, greater)
RULE(greater_or_equal, cg_elem_map2, greater_or_equal)
RULE(less, cg_elem_map2, less)
RULE(less_or_equal, cg_elem_map2, less_or_equal)
RULE(and, cg_elem_map2, and_elem)
RULE(or, cg_elem_map2, or_elem)
RULE(xor, cg_elem_map2, xor_elem)
RULE(not, cg_elem_map1, not_elem)

/* Strings are compared as a whole; everything else goes by number. */
cg_err cg_fold_equal(cg_graph *g, cg_node *n)
{
    uint16_t ma[CG_DATA_MAX], mb[CG_DATA_MAX];
    const cg_data *a = cg_in_data(n, 0), *b = cg_in_data(n, 1);
    if (!a || !b || !a->s || !b->s)
        return cg_elem_map2(g, n, equal);
    cg_data *d = cg_numbers_out(g, n);
    if (!d || !cg_broadcast_map(n, 0, &n->out[0]->type, ma) ||
        !cg_broadcast_map(n, 1, &n->out[0]->type, mb))
        return CG_OK;
    for (size_t k = 0; k < d->n; k++)
        d->i[k] = strcmp(a->s[ma[k]], b->s[mb[k]]) == 0;
    cg_out_data(n, 0, d);
    return CG_OK;
}

static cg_elem choose(const cg_elem_ctx *c, cg_elem cond, cg_elem a, cg_elem b)
{
    if (cg_elem_known(cond))
        return cond.i ? a : b;
    if (a.f == b.f && a.i == b.i && a.s == b.s)
        return a;
    return cg_elem_unknown(c, a, b, "a choice that hangs on a symbol");
}

cg_err cg_fold_where(cg_graph *g, cg_node *n)
{
    uint16_t mc[CG_DATA_MAX], ma[CG_DATA_MAX], mb[CG_DATA_MAX];
    const cg_data *cond = cg_numbers_in(n, 0), *a = cg_numbers_in(n, 1);
    const cg_data *b = cg_numbers_in(n, 2);
    cg_data *d = cond && a && b && cond->i ? cg_numbers_out(g, n) : NULL;
    if (!d || !cg_broadcast_map(n, 0, &n->out[0]->type, mc) ||
        !cg_broadcast_map(n, 1, &n->out[0]->type, ma) ||
        !cg_broadcast_map(n, 2, &n->out[0]->type, mb))
        return CG_OK;
    cg_elem_ctx c = cg_elem_context(g, n, 1);
    for (size_t k = 0; k < d->n; k++)
        cg_elem_put(g, d, k,
                    choose(&c, cg_elem_get(cond, mc[k]),
                           cg_elem_get(a, ma[k]), cg_elem_get(b, mb[k])));
    cg_out_data(n, 0, d);
    return CG_OK;
}
