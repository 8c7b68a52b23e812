/* Reading dimensions: what cg_dim_str prints, with Python's precedence.
 *
 *     expr   = term {("+"|"-") term}
 *     term   = factor {("*"|"//") factor}
 *     factor = number | name | "?" name | "(" expr ")" | "-" factor
 *            | ("max"|"min") "(" expr "," expr ")"
 *     name   = bare name, or any text in backticks
 *
 * Recursion is bounded by MAX_DEPTH, and every operation by the limits of
 * ir/dim_poly.h, so hostile text costs what its length costs. */
#include <stdlib.h>
#include <string.h>

#include "ir/dim_poly.h"
#include "ir/quote.h"

#define MAX_DEPTH 100

typedef struct reader {
    cg_graph *g;
    const char *p; /* NULL: failed */
    int depth;
} reader;

static cg_dim expr(reader *r);

static cg_dim fail(reader *r)
{
    r->p = NULL;
    return 0;
}

static char peek(reader *r)
{
    if (!r->p)
        return '\0';
    while (*r->p == ' ')
        r->p++;
    return *r->p;
}

static bool accept(reader *r, char c)
{
    if (peek(r) != c)
        return false;
    r->p++;
    return true;
}

static cg_dim number(reader *r)
{
    int64_t x = 0;
    for (; *r->p >= '0' && *r->p <= '9'; r->p++)
        if (__builtin_mul_overflow(x, 10, &x) ||
            __builtin_add_overflow(x, *r->p - '0', &x))
            return fail(r);
    return x;
}

static bool letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool name_char(char c)
{
    return letter(c) || (c >= '0' && c <= '9') || c == '.' || c == ':';
}

/* A bare name; a slash belongs to it when more of the name follows. */
static const char *name(reader *r)
{
    if (*r->p == '`') {
        const char *s = cg_unquote(&r->g->arena, &r->p);
        if (!s)
            fail(r);
        return s;
    }
    const char *start = r->p;
    while (name_char(*r->p) || (*r->p == '/' && name_char(r->p[1])))
        r->p++;
    if (r->p == start) {
        fail(r);
        return NULL;
    }
    return cg_arena_strndup(&r->g->arena, start, (size_t)(r->p - start));
}

static cg_dim call(reader *r, bool max)
{
    r->p++; /* the parenthesis */
    cg_dim a = expr(r);
    if (!accept(r, ','))
        return fail(r);
    cg_dim b = expr(r);
    if (!accept(r, ')'))
        return fail(r);
    return max ? cg_dim_max(r->g, a, b) : cg_dim_min(r->g, a, b);
}

static cg_dim named(reader *r)
{
    bool bare = *r->p != '`';
    const char *s = name(r);
    if (!s)
        return 0;
    bool max = bare && strcmp(s, "max") == 0;
    if ((max || (bare && strcmp(s, "min") == 0)) && *r->p == '(')
        return call(r, max);
    return cg_dim_symbol(r->g, s);
}

static cg_dim unknown(reader *r)
{
    r->p++;
    const char *s = name(r);
    return s ? cg_atom_named(r->g, CG_ATOM_UNKNOWN, s, NULL)->self : 0;
}

static cg_dim factor(reader *r)
{
    char c = peek(r);
    if (c == '\0' || r->depth >= MAX_DEPTH)
        return fail(r);
    cg_dim d = 0;
    r->depth++;
    if (c >= '0' && c <= '9') {
        d = number(r);
    } else if (c == '?') {
        d = unknown(r);
    } else if (c == '`' || letter(c)) {
        d = named(r);
    } else if (accept(r, '-')) {
        d = cg_dim_sub(r->g, 0, factor(r));
    } else if (accept(r, '(')) {
        d = expr(r);
        if (!accept(r, ')'))
            fail(r);
    } else {
        fail(r);
    }
    r->depth--;
    return d;
}

static cg_dim term(reader *r)
{
    cg_dim d = factor(r);
    while (r->p) {
        char c = peek(r);
        if (c == '*') {
            r->p++;
            d = cg_dim_mul(r->g, d, factor(r));
        } else if (c == '/' && r->p[1] == '/') {
            r->p += 2;
            cg_dim by = factor(r);
            d = by == 0 ? fail(r) : cg_dim_floordiv(r->g, d, by);
        } else {
            break;
        }
    }
    return d;
}

/* Sums are added up before they are interned, so that a long one leaves one
 * entry behind, not one per term. */
static cg_dim expr(reader *r)
{
    static const cg_term minus = {.coef = -1};
    cg_dim d = term(r);
    cg_poly sum, next, both;
    bool any = false;
    for (char c; (c = peek(r)) == '+' || c == '-'; any = true) {
        r->p++;
        if (!any)
            cg_poly_load(r->g, d, &sum);
        cg_poly_load(r->g, term(r), &next);
        if (c == '-')
            cg_poly_scale(r->g, &next, &minus);
        cg_poly_add(r->g, &sum, &next, &both);
        sum = both;
    }
    if (any && r->p && !cg_poly_store(r->g, &sum, &d))
        d = cg_dim_unknown(r->g, NULL, sum.why);
    return d;
}

const char *cg_dim_parse(cg_graph *g, const char *text, cg_dim *out)
{
    reader r = {.g = g, .p = text};
    cg_dim d = expr(&r);
    if (r.p)
        *out = d;
    return r.p;
}
