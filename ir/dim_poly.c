/* The tables behind symbolic dimensions. Everything is in the graph's arena:
 * tables that grow leave their old halves behind, which costs at most as much
 * again and spares the graph a destructor. */
#include "ir/dim_poly.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "ir/quote.h"

/* Terms are kept packed, (coef low, coef high, degree, atoms...) each: most
 * have one atom, and a hostile text makes many. */
typedef struct interned {
    const uint32_t *words; /* (n_words) */
    uint32_t n_words;
    uint8_t depth;
    const char *text; /* NULL until asked for */
    uint64_t hash;
} interned;

#define MAX_WORDS (CG_POLY_TERMS * (3 + CG_POLY_DEGREE))

static uint32_t pack(const cg_poly *p, uint32_t words[MAX_WORDS])
{
    uint32_t *w = words;
    for (uint32_t i = 0; i < p->n; i++) {
        const cg_term *t = &p->t[i];
        *w++ = (uint32_t)(uint64_t)t->coef;
        *w++ = (uint32_t)((uint64_t)t->coef >> 32);
        *w++ = t->degree;
        memcpy(w, t->atom, t->degree * sizeof *w);
        w += t->degree;
    }
    return (uint32_t)(w - words);
}

static void unpack(const interned *x, cg_poly *p)
{
    const uint32_t *w = x->words, *end = w + x->n_words;
    for (p->n = 0; w < end; p->n++) {
        cg_term *t = &p->t[p->n];
        t->coef = (int64_t)((uint64_t)w[1] << 32 | w[0]);
        t->degree = w[2];
        memcpy(t->atom, w + 3, t->degree * sizeof *w);
        w += 3 + t->degree;
    }
}

typedef struct table {
    uint32_t *slot; /* 1 + index; 0 is free */
    size_t cap;     /* power of two */
} table;

struct cg_dims {
    cg_atom **atom;
    interned *poly;
    size_t n_atom, atom_cap, n_poly, poly_cap;
    table atoms, polys;
};

static struct cg_dims *dims_of(cg_graph *g)
{
    if (!g->dims)
        g->dims = cg_arena_new(&g->arena, struct cg_dims);
    return g->dims;
}

static void *grow(cg_graph *g, void *old, size_t *cap, size_t size)
{
    size_t next = *cap ? *cap * 2 : 16;
    char *p = cg_arena_alloc(&g->arena, next * size);
    if (*cap)
        memcpy(p, old, *cap * size);
    *cap = next;
    return p;
}

typedef uint64_t hash_fn(const struct cg_dims *d, uint32_t index);

static uint64_t atom_hash(const struct cg_dims *d, uint32_t i)
{
    return d->atom[i]->hash;
}

static uint64_t poly_hash(const struct cg_dims *d, uint32_t i)
{
    return d->poly[i].hash;
}

/* Enters an index that is not yet in the table. */
static void table_put(cg_graph *g, table *t, size_t n, uint32_t index,
                      hash_fn *hash)
{
    if (n * 2 >= t->cap) {
        size_t cap = t->cap ? t->cap * 2 : 32;
        table next = {cg_arena_array(&g->arena, uint32_t, cap), cap};
        for (size_t i = 0; i < t->cap; i++) {
            if (!t->slot[i])
                continue;
            size_t at = hash(g->dims, t->slot[i] - 1) & (cap - 1);
            while (next.slot[at])
                at = (at + 1) & (cap - 1);
            next.slot[at] = t->slot[i];
        }
        *t = next;
    }
    size_t at = hash(g->dims, index) & (t->cap - 1);
    while (t->slot[at])
        at = (at + 1) & (t->cap - 1);
    t->slot[at] = index + 1;
}

/* -- atoms ----------------------------------------------------------------- */

const cg_atom *cg_atom_at(const cg_graph *g, uint32_t id)
{
    return g->dims->atom[id];
}

static const interned *poly_at(const cg_graph *g, cg_dim d)
{
    return &g->dims->poly[(uint64_t)d - (uint64_t)INT64_MIN];
}

const cg_atom *cg_dim_atom(const cg_graph *g, cg_dim d)
{
    if (cg_dim_known(d))
        return NULL;
    const interned *p = poly_at(g, d);
    const uint32_t *w = p->words;
    bool alone = p->n_words == 4 && w[0] == 1 && w[1] == 0 && w[2] == 1;
    return alone ? cg_atom_at(g, w[3]) : NULL;
}

static bool name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '_' || c == '.' || c == ':' ||
           c == '/';
}

/* Whether a name prints without backticks. "//" is the division, and a name
 * must not run into one. */
static bool bare_name(const char *s, bool first_any)
{
    if (!*s || (!first_any && !((*s | 32) >= 'a' && (*s | 32) <= 'z') &&
                *s != '_'))
        return false;
    size_t i = 0;
    for (; s[i]; i++)
        if (!name_char(s[i]) || (s[i] == '/' && s[i + 1] == '/'))
            return false;
    return s[i - 1] != '/';
}

static const char *name_text(cg_graph *g, cg_atom_kind kind, const char *name)
{
    bool unknown = kind == CG_ATOM_UNKNOWN;
    if (bare_name(name, unknown))
        return unknown ? cg_arena_printf(&g->arena, "?%s", name) : name;
    char *out = cg_arena_alloc(&g->arena, strlen(name) * 4 + 12), *w = out;
    if (unknown)
        *w++ = '?';
    *w++ = '`';
    while (*name)
        w += cg_quote_next(&name, '`', w);
    *w = '`';
    return out;
}

static uint64_t hash_key(cg_atom_kind kind, const char *name, cg_dim a,
                         cg_dim b)
{
    if (name)
        return cg_hash64(name, strlen(name), kind);
    return cg_mix64(cg_mix64((uint64_t)a + kind) ^ (uint64_t)b);
}

static cg_atom *atom_find(struct cg_dims *d, cg_atom_kind kind,
                          const char *name, cg_dim a, cg_dim b)
{
    size_t mask = d->atoms.cap - 1;
    uint64_t hash = hash_key(kind, name, a, b);
    if (!d->atoms.cap)
        return NULL;
    for (size_t i = hash & mask; d->atoms.slot[i]; i = (i + 1) & mask) {
        cg_atom *x = d->atom[d->atoms.slot[i] - 1];
        if (x->hash == hash && x->kind == kind &&
            (name ? strcmp(x->name, name) == 0 : x->a == a && x->b == b))
            return x;
    }
    return NULL;
}

/* Enters a new atom whose text and self are not set. */
static uint32_t atom_record(cg_graph *g, const cg_atom *fields)
{
    struct cg_dims *d = g->dims;
    cg_atom *a = cg_arena_dup(&g->arena, fields, sizeof *fields);
    a->hash = hash_key(a->kind, a->name, a->a, a->b);
    if (d->n_atom == d->atom_cap)
        d->atom = grow(g, d->atom, &d->atom_cap, sizeof *d->atom);
    uint32_t id = (uint32_t)d->n_atom++;
    d->atom[id] = a;
    table_put(g, &d->atoms, d->n_atom, id, atom_hash);
    return id;
}

/* Enters a new atom whose fields but self are set. */
static cg_atom *atom_enter(cg_graph *g, const cg_atom *fields)
{
    uint32_t id = atom_record(g, fields);
    cg_atom *a = g->dims->atom[id];
    a->len = (uint32_t)strlen(a->text);
    cg_poly p;
    p.why = NULL;
    p.n = 1;
    p.t[0] = (cg_term){.coef = 1, .degree = 1, .atom = {id}};
    bool ok = cg_poly_store(g, &p, &a->self);
    assert(ok);
    (void)ok;
    return a;
}

cg_dim cg_atom_lost(cg_graph *g, cg_atom_kind kind, cg_dim a, cg_dim b,
                    const char *why)
{
    const cg_atom *found = atom_find(dims_of(g), kind, NULL, a, b);
    if (found)
        return found->self;
    cg_atom x = {.kind = (uint8_t)kind, .a = a, .b = b};
    x.self = cg_dim_unknown(g, NULL, why);
    atom_record(g, &x);
    return x.self;
}

/* Results that could not be held may be negative. Told by name, so that a
 * re-read text folds alike. */
static bool made_here(const char *name)
{
    return strncmp(name, CG_NAME_OVERFLOW, strlen(CG_NAME_OVERFLOW)) == 0 ||
           strncmp(name, CG_NAME_TOO_LARGE, strlen(CG_NAME_TOO_LARGE)) == 0;
}

cg_atom *cg_atom_named(cg_graph *g, cg_atom_kind kind, const char *name,
                       bool *fresh)
{
    cg_atom *found = atom_find(dims_of(g), kind, name, 0, 0);
    if (fresh)
        *fresh = !found;
    if (found)
        return found;
    cg_atom a = {.kind = (uint8_t)kind, .hi = INT32_MAX};
    a.name = cg_arena_strdup(&g->arena, name);
    a.text = name_text(g, kind, a.name);
    a.why = kind == CG_ATOM_UNKNOWN ? "depends on data" : NULL;
    if (kind == CG_ATOM_UNKNOWN && made_here(name)) {
        a.lo = INT64_MIN;
        a.hi = INT64_MAX;
    }
    return atom_enter(g, &a);
}

/* Text in parentheses unless it is a number >= 0 or a name or a call. */
static const char *operand_text(cg_graph *g, cg_dim d)
{
    const cg_atom *a = cg_dim_atom(g, d);
    bool plain = a ? a->kind != CG_ATOM_FLOORDIV : cg_dim_known(d) && d >= 0;
    const char *s = cg_dim_str(g, d);
    return plain ? s : cg_arena_printf(&g->arena, "(%s)", s);
}

static uint8_t depth_of(const cg_graph *g, cg_dim d)
{
    return cg_dim_known(d) ? 0 : poly_at(g, d)->depth;
}

cg_dim cg_atom_of(cg_graph *g, cg_atom_kind kind, cg_dim a, cg_dim b)
{
    const cg_atom *found = atom_find(dims_of(g), kind, NULL, a, b);
    if (found)
        return found->self;
    uint8_t da = depth_of(g, a), db = depth_of(g, b);
    cg_atom x = {.kind = (uint8_t)kind, .a = a, .b = b};
    x.depth = (uint8_t)((da > db ? da : db) + 1);
    if (kind == CG_ATOM_FLOORDIV)
        x.text = cg_arena_printf(&g->arena, "%s//%s", operand_text(g, a),
                                 operand_text(g, b));
    else
        x.text = cg_arena_printf(&g->arena, "%s(%s,%s)",
                                 kind == CG_ATOM_MAX ? "max" : "min",
                                 cg_dim_str(g, a), cg_dim_str(g, b));
    if (x.depth > CG_POLY_DEPTH || strlen(x.text) > CG_POLY_TEXT)
        return cg_atom_lost(g, kind, a, b, "expression too large");
    cg_atom_bounds(g, &x);
    return atom_enter(g, &x)->self;
}

/* -- terms ----------------------------------------------------------------- */

static int atom_order(const cg_graph *g, uint32_t x, uint32_t y)
{
    if (x == y)
        return 0;
    const cg_atom *a = cg_atom_at(g, x), *b = cg_atom_at(g, y);
    return a->kind != b->kind ? a->kind - b->kind : strcmp(a->text, b->text);
}

/* Negative: x comes before y. */
static int term_order(const cg_graph *g, const cg_term *x, const cg_term *y)
{
    if (x->degree != y->degree)
        return x->degree > y->degree ? -1 : 1;
    for (uint32_t i = 0; i < x->degree; i++) {
        int c = atom_order(g, x->atom[i], y->atom[i]);
        if (c)
            return c;
    }
    return 0;
}

static void push(cg_poly *p, const cg_term *t)
{
    if (t->coef == 0)
        return;
    if (p->n == CG_POLY_TERMS)
        p->why = "expression too large";
    else
        p->t[p->n++] = *t;
}

void cg_poly_add(const cg_graph *g, const cg_poly *a, const cg_poly *b,
                 cg_poly *out)
{
    out->why = a->why ? a->why : b->why;
    out->n = 0;
    uint32_t i = 0, j = 0;
    while (!out->why && (i < a->n || j < b->n)) {
        int c = i == a->n   ? 1
                : j == b->n ? -1
                            : term_order(g, &a->t[i], &b->t[j]);
        if (c < 0) {
            push(out, &a->t[i++]);
        } else if (c > 0) {
            push(out, &b->t[j++]);
        } else {
            cg_term sum = a->t[i++];
            if (__builtin_add_overflow(sum.coef, b->t[j++].coef, &sum.coef))
                out->why = "overflow";
            push(out, &sum);
        }
    }
}

/* The order of terms is one that products respect, so the result is sorted. */
void cg_poly_scale(const cg_graph *g, cg_poly *p, const cg_term *t)
{
    if (t->coef == 0)
        p->n = 0;
    for (uint32_t i = 0; i < p->n && !p->why; i++) {
        cg_term *x = &p->t[i], old = *x;
        if (old.degree + t->degree > CG_POLY_DEGREE)
            p->why = "expression too large";
        else if (__builtin_mul_overflow(old.coef, t->coef, &x->coef))
            p->why = "overflow";
        if (p->why)
            return;
        x->degree = old.degree + t->degree;
        for (uint32_t k = 0, m = 0, w = 0; w < x->degree; w++) {
            bool left = m == t->degree ||
                        (k < old.degree &&
                         atom_order(g, old.atom[k], t->atom[m]) <= 0);
            x->atom[w] = left ? old.atom[k++] : t->atom[m++];
        }
    }
}

bool cg_term_divide(const cg_graph *g, const cg_term *x, const cg_term *y,
                    cg_term *q)
{
    if (x->degree < y->degree || x->coef % y->coef != 0 ||
        (y->coef == -1 && x->coef == INT64_MIN))
        return false;
    *q = (cg_term){.coef = x->coef / y->coef};
    uint32_t j = 0;
    for (uint32_t i = 0; i < x->degree; i++) {
        if (j < y->degree && atom_order(g, x->atom[i], y->atom[j]) == 0)
            j++;
        else if (q->degree < x->degree - y->degree)
            q->atom[q->degree++] = x->atom[i];
        else
            return false;
    }
    return j == y->degree;
}

/* -- polynomials ----------------------------------------------------------- */

void cg_poly_load(const cg_graph *g, cg_dim d, cg_poly *p)
{
    p->why = NULL;
    if (cg_dim_known(d)) {
        p->n = d != 0;
        p->t[0] = (cg_term){.coef = d};
        return;
    }
    unpack(poly_at(g, d), p);
}

static const char *over_limits(const cg_graph *g, const cg_poly *p,
                               uint8_t *depth)
{
    size_t len = 0;
    uint32_t names = 0;
    *depth = 0;
    for (uint32_t i = 0; i < p->n; i++) {
        len += 21;
        for (uint32_t k = 0; k < p->t[i].degree; k++, names++) {
            const cg_atom *a = cg_atom_at(g, p->t[i].atom[k]);
            len += a->len + 3;
            *depth = a->depth > *depth ? a->depth : *depth;
        }
    }
    /* a long name alone is the file's business */
    return names > 1 && len > 2 * CG_POLY_TEXT ? "expression too large" : NULL;
}

bool cg_poly_store(cg_graph *g, cg_poly *p, cg_dim *out)
{
    struct cg_dims *d = dims_of(g);
    uint8_t depth = 0;
    if (!p->why)
        p->why = over_limits(g, p, &depth);
    if (p->why)
        return false;
    if (p->n == 0 || (p->n == 1 && p->t[0].degree == 0)) {
        *out = p->n ? p->t[0].coef : 0;
        if (!cg_dim_known(*out))
            p->why = "overflow";
        return !p->why;
    }
    uint32_t words[MAX_WORDS], n = pack(p, words);
    uint64_t hash = cg_hash64(words, n * sizeof *words, 0);
    size_t mask = d->polys.cap - 1;
    for (size_t i = hash & mask; d->polys.cap && d->polys.slot[i];
         i = (i + 1) & mask) {
        uint32_t at = d->polys.slot[i] - 1;
        const interned *x = &d->poly[at];
        if (x->hash == hash && x->n_words == n &&
            memcmp(x->words, words, n * sizeof *words) == 0) {
            *out = INT64_MIN + (int64_t)at;
            return true;
        }
    }
    if (d->n_poly == d->poly_cap)
        d->poly = grow(g, d->poly, &d->poly_cap, sizeof *d->poly);
    assert(d->n_poly < UINT32_MAX);
    uint32_t id = (uint32_t)d->n_poly++;
    d->poly[id] = (interned){
        .n_words = n, .hash = hash, .depth = depth,
        .words = cg_arena_dup(&g->arena, words, n * sizeof *words)};
    table_put(g, &d->polys, d->n_poly, id, poly_hash);
    *out = INT64_MIN + (int64_t)id;
    return true;
}

/* -- printing -------------------------------------------------------------- */

static void print_term(FILE *f, const cg_graph *g, const cg_term *t,
                       bool first)
{
    uint64_t size = t->coef < 0 ? 0 - (uint64_t)t->coef : (uint64_t)t->coef;
    if (t->coef < 0 || !first)
        fputc(t->coef < 0 ? '-' : '+', f);
    bool number = size != 1 || t->degree == 0;
    /* -(h//2), not -h//2: that is another number */
    bool wrap_floor = number || t->degree > 1 || (t->coef < 0 && first);
    if (number)
        fprintf(f, "%" PRIu64, size);
    for (uint32_t i = 0; i < t->degree; i++) {
        const cg_atom *a = cg_atom_at(g, t->atom[i]);
        bool wrap = wrap_floor && a->kind == CG_ATOM_FLOORDIV;
        fprintf(f, wrap ? "%s(%s)" : "%s%s", number || i ? "*" : "", a->text);
    }
}

const char *cg_dim_str(cg_graph *g, cg_dim d)
{
    if (cg_dim_known(d))
        return cg_arena_printf(&g->arena, "%" PRId64, d);
    const interned *p = poly_at(g, d);
    if (p->text)
        return p->text;
    char *s = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&s, &len);
    cg_poly x;
    unpack(p, &x);
    for (uint32_t i = 0; f && i < x.n; i++)
        print_term(f, g, &x.t[i], i == 0);
    if (f)
        fclose(f);
    const char *text = cg_arena_strdup(&g->arena, s ? s : "?");
    free(s);
    return g->dims->poly[(uint64_t)d - (uint64_t)INT64_MIN].text = text;
}
