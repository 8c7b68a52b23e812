/* Products and sums as pattern matchers see them: which order an exporter
 * multiplies in, and whether it divides by 6 or multiplies by 1/6, must not
 * matter. Only intermediate results that nobody else reads are opened. */
#include <math.h>
#include <string.h>

#include "passes/simplify.h"

#define MAX_OPEN 12 /* nodes opened per product or sum */

typedef struct opener {
    cg_rewrite *rw;
    cg_terms t;
    int opened;
    bool full;
} opener;

static void put(opener *o, cg_operand x)
{
    if (o->t.n < sizeof o->t.f / sizeof o->t.f[0])
        o->t.f[o->t.n++] = x;
    else
        o->full = true;
}

static cg_terms finish(opener *o)
{
    if (o->full)
        o->t.n = 0;
    return o->t;
}

/* -- products ----------------------------------------------------------- */

static void open_factor(opener *o, cg_operand x);

static bool open_product(opener *o, const cg_node *n)
{
    cg_rewrite *rw = o->rw;
    double c;
    if (n->op == CG_OP_MUL) {
        for (uint32_t k = 0; k < n->n_in; k++)
            open_factor(o, cg_rw_in(rw, n, k));
        return true;
    }
    if (n->op == CG_OP_DIV && cg_rw_scalar(rw, cg_rw_in(rw, n, 1), &c)) {
        o->t.c /= c;
        open_factor(o, cg_rw_in(rw, n, 0));
        return true;
    }
    if (n->op == CG_OP_POW && cg_rw_scalar(rw, cg_rw_in(rw, n, 1), &c) &&
        (c == 2 || c == 3)) {
        for (int i = 0; i < (int)c; i++)
            put(o, cg_rw_in(rw, n, 0));
        return true;
    }
    return false;
}

static void open_factor(opener *o, cg_operand x)
{
    double c;
    if (cg_rw_scalar(o->rw, x, &c)) {
        o->t.c *= c;
        return;
    }
    cg_node *n = cg_rw_def_any(o->rw, x);
    if (n && cg_rw_uses(o->rw, x.v) == 1 && o->opened++ < MAX_OPEN &&
        open_product(o, n))
        return;
    put(o, x);
}

cg_terms cg_rw_product(cg_rewrite *rw, cg_operand x)
{
    opener o = {.rw = rw, .t.c = 1};
    open_factor(&o, x);
    return finish(&o);
}

cg_terms cg_rw_product_of(cg_rewrite *rw, const cg_node *n)
{
    opener o = {.rw = rw, .t.c = 1};
    if (!open_product(&o, n))
        o.full = true;
    return finish(&o);
}

/* -- sums --------------------------------------------------------------- */

static void open_term(opener *o, cg_operand x);

static bool open_sum(opener *o, const cg_node *n)
{
    cg_rewrite *rw = o->rw;
    double c;
    if (n->op == CG_OP_ADD) {
        for (uint32_t k = 0; k < n->n_in; k++)
            open_term(o, cg_rw_in(rw, n, k));
        return true;
    }
    if (n->op == CG_OP_SUB && cg_rw_scalar(rw, cg_rw_in(rw, n, 1), &c)) {
        o->t.c -= c;
        open_term(o, cg_rw_in(rw, n, 0));
        return true;
    }
    return false;
}

static void open_term(opener *o, cg_operand x)
{
    double c;
    if (cg_rw_scalar(o->rw, x, &c)) {
        o->t.c += c;
        return;
    }
    cg_node *n = cg_rw_def_any(o->rw, x);
    if (n && cg_rw_uses(o->rw, x.v) == 1 && o->opened++ < MAX_OPEN &&
        open_sum(o, n))
        return;
    put(o, x);
}

cg_terms cg_rw_sum(cg_rewrite *rw, cg_operand x)
{
    opener o = {.rw = rw};
    open_term(&o, x);
    return finish(&o);
}

cg_terms cg_rw_sum_of(cg_rewrite *rw, const cg_node *n)
{
    opener o = {.rw = rw};
    if (!open_sum(&o, n))
        o.full = true;
    return finish(&o);
}
