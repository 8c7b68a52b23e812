/* Bounds of symbolic dimensions, for what can be said of their order. Plain
 * interval arithmetic with saturation, and one exact step for floors. */
#include <string.h>

#include "ir/dim_poly.h"

#define NONE_LOW INT64_MIN
#define NONE_HIGH INT64_MAX

static int64_t clamp(__int128 x)
{
    return x >= NONE_HIGH ? NONE_HIGH : x <= NONE_LOW ? NONE_LOW : (int64_t)x;
}

static bool is_end(int64_t x) { return x == NONE_LOW || x == NONE_HIGH; }

/* x + y where `none` absorbs. */
static int64_t sat_add(int64_t x, int64_t y, int64_t none)
{
    return x == none || y == none ? none : clamp((__int128)x + y);
}

static int64_t sat_mul(int64_t x, int64_t y)
{
    if (x == 0 || y == 0)
        return 0;
    if (is_end(x) || is_end(y))
        return (x < 0) == (y < 0) ? NONE_HIGH : NONE_LOW;
    return clamp((__int128)x * y);
}

static int64_t floor_div(int64_t a, int64_t b)
{
    int64_t q = a / b;
    return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}

static void term_bounds(const cg_graph *g, const cg_term *t, int64_t *lo,
                        int64_t *hi)
{
    *lo = *hi = t->coef;
    for (uint32_t i = 0; i < t->degree; i++) {
        const cg_atom *a = cg_atom_at(g, t->atom[i]);
        int64_t x[4] = {sat_mul(*lo, a->lo), sat_mul(*lo, a->hi),
                        sat_mul(*hi, a->lo), sat_mul(*hi, a->hi)};
        *lo = *hi = x[0];
        for (int k = 1; k < 4; k++) {
            *lo = x[k] < *lo ? x[k] : *lo;
            *hi = x[k] > *hi ? x[k] : *hi;
        }
    }
}

static void interval(const cg_graph *g, const cg_poly *p, int64_t *lo,
                     int64_t *hi)
{
    *lo = *hi = 0;
    for (uint32_t i = 0; i < p->n; i++) {
        int64_t l, h;
        term_bounds(g, &p->t[i], &l, &h);
        *lo = sat_add(*lo, l, NONE_LOW);
        *hi = sat_add(*hi, h, NONE_HIGH);
    }
}

/* c * (p without term k) + coef * (P + shift), where term k is coef * (P//c):
 * p times c with the floor replaced by an exact bound of it. */
static void without_floor(const cg_graph *g, const cg_poly *p, uint32_t k,
                          int64_t shift, cg_poly *out)
{
    const cg_atom *a = cg_atom_at(g, p->t[k].atom[0]);
    cg_term c = {.coef = a->b}, coef = {.coef = p->t[k].coef};
    cg_poly rest = *p, num, constant = {.n = shift != 0};
    memmove(&rest.t[k], &rest.t[k + 1], (--rest.n - k) * sizeof *rest.t);
    cg_poly_scale(g, &rest, &c);
    cg_poly_load(g, a->a, &num);
    constant.t[0] = (cg_term){.coef = shift};
    cg_poly_add(g, &num, &constant, out);
    cg_poly_scale(g, out, &coef);
    num = *out;
    cg_poly_add(g, &rest, &num, out);
}

/* Intervals alone lose that h//2 follows h; where a term is a floor by a
 * constant, (P-c+1)/c <= P//c <= P/c ties it to the rest. */
static void bounds_in(const cg_graph *g, const cg_poly *p, int depth,
                      int64_t *lo, int64_t *hi)
{
    interval(g, p, lo, hi);
    for (uint32_t k = 0; k < p->n && depth > 0 && p->n > 1; k++) {
        if (p->t[k].degree != 1)
            continue;
        const cg_atom *a = cg_atom_at(g, p->t[k].atom[0]);
        if (a->kind != CG_ATOM_FLOORDIV || !cg_dim_known(a->b) || a->b <= 0)
            continue;
        bool up = p->t[k].coef > 0;
        int64_t l, h;
        cg_poly q;
        without_floor(g, p, k, up ? 1 - a->b : 0, &q);
        if (!q.why) {
            bounds_in(g, &q, depth - 1, &l, &h);
            l = is_end(l) ? l : -floor_div(-l, a->b);
            *lo = l > *lo ? l : *lo;
        }
        without_floor(g, p, k, up ? 0 : 1 - a->b, &q);
        if (!q.why) {
            bounds_in(g, &q, depth - 1, &l, &h);
            h = is_end(h) ? h : floor_div(h, a->b);
            *hi = h < *hi ? h : *hi;
        }
        return;
    }
}

void cg_poly_bounds(const cg_graph *g, const cg_poly *p, int64_t *lo,
                    int64_t *hi)
{
    *lo = NONE_LOW;
    *hi = NONE_HIGH;
    if (!p->why)
        bounds_in(g, p, 3, lo, hi);
}

void cg_atom_bounds(const cg_graph *g, cg_atom *a)
{
    int64_t al, ah, bl, bh;
    cg_poly p;
    cg_poly_load(g, a->a, &p);
    cg_poly_bounds(g, &p, &al, &ah);
    cg_poly_load(g, a->b, &p);
    cg_poly_bounds(g, &p, &bl, &bh);
    a->lo = NONE_LOW;
    a->hi = NONE_HIGH;
    if (a->kind == CG_ATOM_MAX) {
        a->lo = al > bl ? al : bl;
        a->hi = ah > bh ? ah : bh;
    } else if (a->kind == CG_ATOM_MIN) {
        a->lo = al < bl ? al : bl;
        a->hi = ah < bh ? ah : bh;
    } else if (bl >= 0) { /* a divisor is not zero, so it is >= 1 */
        int64_t least = bl > 1 ? bl : 1;
        if (!is_end(al))
            a->lo = al >= 0 ? (is_end(bh) ? 0 : al / bh)
                            : floor_div(al, least);
        if (!is_end(ah))
            a->hi = ah >= 0 ? ah / least : -1;
    }
}
