/* Arithmetic on dimensions. Numbers take the short way; everything else goes
 * through polynomials (ir/dim_poly.h), which are normal forms: expressions
 * that are equal by the rules here have the same reference. */
#include "ir/dim.h"

#include <assert.h>
#include <string.h>

#include "ir/dim_poly.h"

/* -- names ----------------------------------------------------------------- */

cg_dim cg_dim_symbol(cg_graph *g, const char *name)
{
    const cg_atom *a = cg_atom_named(g, CG_ATOM_SYMBOL, name, NULL);
    return a->bound ? a->value : a->self;
}

void cg_dim_bind(cg_graph *g, const char *name, int64_t value)
{
    cg_atom *a = cg_atom_named(g, CG_ATOM_SYMBOL, name, NULL);
    a->bound = true;
    a->value = value;
}

cg_dim cg_dim_unknown(cg_graph *g, const cg_node *from, const char *why)
{
    if (!why)
        why = "not known";
    const char *base = from ? from->name
                       : strcmp(why, "overflow") == 0 ? CG_NAME_OVERFLOW
                                                      : CG_NAME_TOO_LARGE;
    bool fresh;
    cg_atom *first = cg_atom_named(g, CG_ATOM_UNKNOWN, base, &fresh);
    cg_atom *a = first;
    while (!fresh) /* more than once only where a file uses such names */
        a = cg_atom_named(g, CG_ATOM_UNKNOWN,
                          cg_arena_printf(&g->arena, "%s.%u", base,
                                          ++first->copies + 1),
                          &fresh);
    a->node = from;
    a->why = why;
    return a->self;
}

/* -- sums and products ----------------------------------------------------- */

static bool both_known(cg_dim a, cg_dim b)
{
    return cg_dim_known(a) && cg_dim_known(b);
}

/* Numbers that do not fit; the same operands give the same unknown. */
static cg_dim overflow(cg_graph *g, cg_atom_kind kind, cg_dim a, cg_dim b)
{
    return cg_atom_lost(g, kind, a, b, "overflow");
}

/* What became of an operation on a and b. */
static cg_dim result(cg_graph *g, cg_atom_kind kind, cg_dim a, cg_dim b,
                     cg_poly *p)
{
    cg_dim d;
    return cg_poly_store(g, p, &d) ? d : cg_atom_lost(g, kind, a, b, p->why);
}

/* A part of what was held before: only a lone constant can be too large. */
static cg_dim part_of(cg_graph *g, cg_poly *p)
{
    cg_dim d;
    return cg_poly_store(g, p, &d) ? d : cg_dim_unknown(g, NULL, p->why);
}

/* a + k*b */
static void combine(cg_graph *g, cg_dim a, int64_t k, cg_dim b, cg_poly *out)
{
    cg_poly x, y;
    cg_term factor = {.coef = k};
    cg_poly_load(g, a, &x);
    cg_poly_load(g, b, &y);
    cg_poly_scale(g, &y, &factor);
    cg_poly_add(g, &x, &y, out);
}

cg_dim cg_dim_sum(cg_graph *g, cg_dim a, cg_dim b)
{
    if (both_known(a, b))
        return overflow(g, CG_ATOM_LOST_ADD, a, b);
    cg_poly sum;
    combine(g, a, 1, b, &sum);
    return result(g, CG_ATOM_LOST_ADD, a, b, &sum);
}

cg_dim cg_dim_sub(cg_graph *g, cg_dim a, cg_dim b)
{
    int64_t r;
    if (both_known(a, b))
        return !__builtin_sub_overflow(a, b, &r) && r >= CG_DIM_MIN
                   ? r
                   : overflow(g, CG_ATOM_LOST_SUB, a, b);
    cg_poly difference;
    combine(g, a, -1, b, &difference);
    return result(g, CG_ATOM_LOST_SUB, a, b, &difference);
}

/* More products than this are not worth their time. */
#define MAX_PRODUCTS 256

static void multiply(cg_graph *g, const cg_poly *x, const cg_poly *y,
                     cg_poly *out)
{
    out->why = x->n * y->n > MAX_PRODUCTS ? "expression too large" : NULL;
    out->n = 0;
    for (uint32_t i = 0; i < y->n && !out->why; i++) {
        cg_poly part = *x, sum;
        cg_poly_scale(g, &part, &y->t[i]);
        cg_poly_add(g, out, &part, &sum);
        *out = sum;
    }
}

cg_dim cg_dim_product(cg_graph *g, cg_dim a, cg_dim b)
{
    if (both_known(a, b))
        return overflow(g, CG_ATOM_LOST_MUL, a, b);
    if (a == 1 || b == 1)
        return a == 1 ? b : a;
    cg_poly x, y, product;
    cg_poly_load(g, a, &x);
    cg_poly_load(g, b, &y);
    multiply(g, &x, &y, &product);
    return result(g, CG_ATOM_LOST_MUL, a, b, &product);
}

/* -- comparison ------------------------------------------------------------ */

static void difference_bounds(cg_graph *g, cg_dim a, cg_dim b, int64_t *lo,
                              int64_t *hi)
{
    cg_poly d;
    combine(g, a, -1, b, &d);
    cg_poly_bounds(g, &d, lo, hi);
}

int cg_dim_compare(cg_graph *g, cg_dim a, cg_dim b)
{
    if (a == b)
        return 0;
    if (both_known(a, b))
        return a < b ? -1 : 1;
    int64_t lo, hi;
    difference_bounds(g, a, b, &lo, &hi);
    return hi < 0 ? -1 : lo > 0 ? 1 : lo == 0 && hi == 0 ? 0 : 2;
}

/* The same atom for max(a,b) and max(b,a): numbers last, else by text. */
static cg_dim extreme(cg_graph *g, cg_atom_kind kind, cg_dim a, cg_dim b)
{
    bool swap = cg_dim_known(a) ||
                (!cg_dim_known(b) &&
                 strcmp(cg_dim_str(g, a), cg_dim_str(g, b)) > 0);
    return swap ? cg_atom_of(g, kind, b, a) : cg_atom_of(g, kind, a, b);
}

cg_dim cg_dim_max(cg_graph *g, cg_dim a, cg_dim b)
{
    if (both_known(a, b))
        return a > b ? a : b;
    int64_t lo, hi;
    difference_bounds(g, a, b, &lo, &hi);
    if (a == b || lo >= 0)
        return a;
    return hi <= 0 ? b : extreme(g, CG_ATOM_MAX, a, b);
}

cg_dim cg_dim_min(cg_graph *g, cg_dim a, cg_dim b)
{
    if (both_known(a, b))
        return a < b ? a : b;
    int64_t lo, hi;
    difference_bounds(g, a, b, &lo, &hi);
    if (a == b || hi <= 0)
        return a;
    return lo >= 0 ? b : extreme(g, CG_ATOM_MIN, a, b);
}

/* -- exact division -------------------------------------------------------- */

/* Takes from p every term that y divides and adds the quotients to q, which
 * stays sorted: division by one term keeps the order. */
static void divide_terms(cg_graph *g, cg_poly *p, const cg_term *y, cg_poly *q)
{
    uint32_t kept = 0;
    q->n = 0;
    q->why = NULL;
    for (uint32_t i = 0; i < p->n; i++)
        if (cg_term_divide(g, &p->t[i], y, &q->t[q->n]))
            q->n++;
        else
            p->t[kept++] = p->t[i];
    p->n = kept;
}

/* Long division: in a graded order the leading term of an exact quotient is
 * the quotient of the leading terms. */
static bool long_division(cg_graph *g, cg_poly *p, const cg_poly *y,
                          cg_poly *q)
{
    q->n = 0;
    q->why = NULL;
    while (p->n) {
        if (q->n == CG_POLY_TERMS ||
            !cg_term_divide(g, &p->t[0], &y->t[0], &q->t[q->n]))
            return false;
        cg_term minus = q->t[q->n++];
        cg_poly part = *y, rest;
        if (__builtin_sub_overflow(0, minus.coef, &minus.coef))
            return false;
        cg_poly_scale(g, &part, &minus);
        cg_poly_add(g, p, &part, &rest);
        if (rest.why)
            return false;
        *p = rest;
    }
    return true;
}

bool cg_dim_divides(cg_graph *g, cg_dim a, cg_dim b, cg_dim *quotient)
{
    if (b == 0)
        return false;
    if (both_known(a, b)) {
        if (a % b != 0)
            return false;
        *quotient = a / b; /* -1 cannot overflow above CG_DIM_MIN */
        return true;
    }
    if (a == 0 || a == b || b == 1) {
        *quotient = a == 0 ? 0 : a == b ? 1 : a;
        return true;
    }
    cg_poly x, y, q;
    cg_poly_load(g, a, &x);
    cg_poly_load(g, b, &y);
    if (y.n == 1)
        divide_terms(g, &x, &y.t[0], &q);
    if (y.n == 1 ? x.n != 0 : !long_division(g, &x, &y, &q))
        return false;
    return cg_poly_store(g, &q, quotient);
}

/* -- floor division -------------------------------------------------------- */

static int64_t floor_known(int64_t a, int64_t b)
{
    int64_t q = a / b;
    return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

static uint64_t size_of(int64_t x)
{
    return x < 0 ? 0 - (uint64_t)x : (uint64_t)x;
}

/* The atom, or the number it must be. */
static cg_dim floor_atom(cg_graph *g, cg_dim a, cg_dim b)
{
    if (cg_dim_known(b)) {
        cg_poly p;
        int64_t lo, hi;
        cg_poly_load(g, a, &p);
        cg_poly_bounds(g, &p, &lo, &hi);
        if (lo > INT64_MIN && hi < INT64_MAX &&
            floor_known(lo, b) == floor_known(hi, b))
            return floor_known(lo, b);
    } else if (cg_dim_compare(g, a, b) == -1 &&
               cg_dim_max(g, a, 0) == a) {
        return 0;
    }
    return cg_atom_of(g, CG_ATOM_FLOORDIV, a, b);
}

/* Divides p and c by what all of p's terms but the constant share with c:
 * (g*x + r)//(g*c) = (x + r//g)//c. Returns the new c. */
static int64_t reduce(cg_poly *p, int64_t c)
{
    uint64_t common = (uint64_t)c;
    for (uint32_t i = 0; i < p->n; i++)
        if (p->t[i].degree)
            common = gcd(common, size_of(p->t[i].coef));
    if (common <= 1)
        return c;
    for (uint32_t i = 0; i < p->n; i++)
        p->t[i].coef = floor_known(p->t[i].coef, (int64_t)common);
    if (p->n && p->t[p->n - 1].coef == 0)
        p->n--;
    return c / (int64_t)common;
}

/* (x//d + r)//c = (x + d*r)//(d*c) for d, c > 0. */
static bool unnest(cg_graph *g, const cg_poly *p, int64_t c, cg_dim *num,
                   int64_t *den)
{
    if (p->n == 0 || p->n > 2 || p->t[0].degree != 1 || p->t[0].coef != 1 ||
        (p->n == 2 && p->t[1].degree != 0))
        return false;
    const cg_atom *a = cg_atom_at(g, p->t[0].atom[0]);
    int64_t r = p->n == 2 ? p->t[1].coef : 0, shift;
    if (a->kind != CG_ATOM_FLOORDIV || !cg_dim_known(a->b) || a->b <= 0 ||
        __builtin_mul_overflow(a->b, c, den) ||
        __builtin_mul_overflow(a->b, r, &shift) || shift < CG_DIM_MIN)
        return false;
    *num = cg_dim_add(g, a->a, shift);
    return true;
}

/* p // c for a constant c > 1: multiples of c come out, the rest is reduced
 * until nothing more applies. */
static cg_dim floor_const(cg_graph *g, cg_poly *p, int64_t c)
{
    cg_poly q = {0};
    uint32_t kept = 0;
    for (uint32_t i = 0; i < p->n; i++) {
        cg_term t = p->t[i], out = t;
        out.coef = floor_known(t.coef, c);
        t.coef = t.coef % c < 0 ? t.coef % c + c : t.coef % c;
        if (t.coef != 0 && t.degree) { /* not a multiple: stays whole */
            p->t[kept++] = p->t[i];
            continue;
        }
        if (out.coef)
            q.t[q.n++] = out;
        if (t.coef)
            p->t[kept++] = t;
    }
    p->n = kept;
    cg_dim whole = part_of(g, &q), num;
    int64_t den = reduce(p, c);
    if (p->n == 0 || p->t[0].degree == 0) /* a constant below c */
        return whole;
    if (den != c)
        num = cg_dim_floordiv(g, part_of(g, p), den);
    else if (unnest(g, p, c, &num, &den))
        num = cg_dim_floordiv(g, num, den);
    else
        num = floor_atom(g, part_of(g, p), c);
    return whole == 0 ? num : cg_dim_add(g, whole, num);
}

/* Reduces *t to what also divides every term of p: the gcd of coefficients,
 * the atoms that all share. */
static void common_factor(cg_graph *g, const cg_poly *p, cg_term *t)
{
    for (uint32_t i = 0; i < p->n; i++) {
        cg_term x = *t;
        t->coef = (int64_t)gcd(size_of(t->coef), size_of(p->t[i].coef));
        t->degree = 0;
        for (uint32_t k = 0; k < x.degree; k++) {
            cg_term one = {.coef = 1, .degree = t->degree + 1}, q;
            memcpy(one.atom, t->atom, t->degree * sizeof *t->atom);
            one.atom[t->degree] = x.atom[k];
            if (cg_term_divide(g, &p->t[i], &one, &q))
                t->atom[t->degree++] = x.atom[k];
        }
    }
}

/* a // b for symbolic b. A factor of the divisor is not zero wherever the
 * expression means anything, so common ones cancel. */
static cg_dim floor_symbolic(cg_graph *g, cg_dim a, cg_dim b)
{
    cg_poly x, y, q;
    cg_dim whole;
    if (cg_dim_divides(g, a, b, &whole))
        return whole;
    cg_poly_load(g, a, &x);
    cg_poly_load(g, b, &y);
    if (y.t[0].coef < 0)
        return cg_dim_floordiv(g, cg_dim_sub(g, 0, a), cg_dim_sub(g, 0, b));
    if (y.n == 1) {
        divide_terms(g, &x, &y.t[0], &q);
        if (q.n) {
            cg_dim rest = cg_dim_floordiv(g, part_of(g, &x), b);
            return cg_dim_add(g, part_of(g, &q), rest);
        }
    }
    cg_term common = y.t[0];
    common_factor(g, &y, &common);
    common_factor(g, &x, &common);
    if (common.coef <= 1 && common.degree == 0)
        return floor_atom(g, a, b);
    divide_terms(g, &x, &common, &q);
    cg_dim num = part_of(g, &q);
    divide_terms(g, &y, &common, &q);
    return cg_dim_floordiv(g, num, part_of(g, &q));
}

cg_dim cg_dim_floordiv(cg_graph *g, cg_dim a, cg_dim b)
{
    assert(b != 0);
    if (both_known(a, b))
        return floor_known(a, b);
    if (b == 1 || a == 0)
        return a;
    if (!cg_dim_known(b))
        return floor_symbolic(g, a, b);
    if (b < 0) {
        b = -b;
        a = cg_dim_sub(g, 0, a);
        if (b == 1)
            return a;
    }
    cg_poly p;
    cg_poly_load(g, a, &p);
    return floor_const(g, &p, b);
}

cg_dim cg_dim_ceildiv(cg_graph *g, cg_dim a, cg_dim b)
{
    assert(b != 0);
    cg_dim q;
    if (cg_dim_divides(g, a, b, &q))
        return q;
    if (both_known(a, b))
        return floor_known(a, b) + 1;
    /* (a + b - 1)//b reads better, and holds for b > 0, which a divisor that
     * is not negative is */
    if (cg_dim_max(g, b, 0) == b)
        return cg_dim_floordiv(
            g, cg_dim_add(g, a, cg_dim_sub(g, b, 1)), b);
    return cg_dim_sub(g, 0, cg_dim_floordiv(g, cg_dim_sub(g, 0, a), b));
}

cg_dim cg_dim_mod(cg_graph *g, cg_dim a, cg_dim b)
{
    assert(b != 0);
    if (both_known(a, b)) {
        int64_t r = a % b;
        return r != 0 && (r < 0) != (b < 0) ? r + b : r;
    }
    return cg_dim_sub(g, a, cg_dim_mul(g, b, cg_dim_floordiv(g, a, b)));
}

/* -- causes ---------------------------------------------------------------- */

typedef struct cause_list {
    cg_dim_cause *out;
    size_t n, max;
    cg_atom_kind kind;
    int budget; /* atoms to visit, since shared parts are visited again */
} cause_list;

static void add_cause(cause_list *l, const cg_atom *a)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->out[i].symbol == a->name)
            return;
    if (l->n < l->max)
        l->out[l->n++] = (cg_dim_cause){a->name, a->node, a->why};
}

/* Depth is that of atoms, at most CG_POLY_DEPTH. */
static void collect(cg_graph *g, cg_dim d, cause_list *l)
{
    if (cg_dim_known(d))
        return;
    cg_poly p;
    cg_poly_load(g, d, &p);
    for (uint32_t i = 0; i < p.n; i++) {
        for (uint32_t k = 0; k < p.t[i].degree && l->budget-- > 0; k++) {
            const cg_atom *a = cg_atom_at(g, p.t[i].atom[k]);
            if (a->kind == l->kind)
                add_cause(l, a);
            else if (a->depth) {
                collect(g, a->a, l);
                collect(g, a->b, l);
            }
        }
    }
}

size_t cg_dim_causes(cg_graph *g, cg_dim d, cg_dim_cause *out, size_t max)
{
    cause_list l = {.out = out, .max = max};
    l.kind = CG_ATOM_UNKNOWN;
    l.budget = 2000;
    collect(g, d, &l);
    l.kind = CG_ATOM_SYMBOL;
    l.budget = 2000;
    collect(g, d, &l);
    return l.n;
}

cg_dim_cause cg_dim_why(cg_graph *g, cg_dim d)
{
    cg_dim_cause c = {0};
    assert(!cg_dim_known(d));
    cg_dim_causes(g, d, &c, 1);
    return c;
}

void cg_dim_explain(cg_graph *g, const char *name, const cg_node *node,
                    const char *why)
{
    cg_atom *a = cg_atom_named(g, CG_ATOM_UNKNOWN, name, NULL);
    a->node = node;
    a->why = why;
}
