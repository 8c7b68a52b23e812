/* Tokens, types and value definitions of .cg text. The text may be anything:
 * every list is bounded by the text's length or by a limit, and data must fit
 * its type, since passes index it by the type's dims. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/parse.h"
#include "ir/quote.h"
#include "ir/text_names.h"

cg_err cg_parse_fail(cg_parser *p, const char *fmt, ...)
{
    char what[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    size_t line = 1, column = 1;
    for (const char *s = p->text; s < p->p; s++, column++)
        if (*s == '\n') {
            line++;
            column = 0;
        }
    return cg_fail(CG_EFORMAT, "line %zu, column %zu: %s", line, column, what);
}

/* -- tokens ---------------------------------------------------------------- */

void cg_skip_blanks(cg_parser *p)
{
    p->p += strspn(p->p, " \t\r");
}

void cg_skip_space(cg_parser *p)
{
    for (;;) {
        p->p += strspn(p->p, " \t\r\n");
        if (*p->p != '#')
            return;
        p->p += strcspn(p->p, "\n");
    }
}

bool cg_parse_accept(cg_parser *p, const char *text)
{
    cg_skip_blanks(p);
    size_t n = strlen(text);
    if (strncmp(p->p, text, n) != 0)
        return false;
    p->p += n;
    return true;
}

bool cg_parse_word(cg_parser *p, const char *word)
{
    cg_skip_blanks(p);
    size_t n = strspn(p->p, CG_ALNUM);
    if (n != strlen(word) || strncmp(p->p, word, n) != 0)
        return false;
    p->p += n;
    return true;
}

cg_err cg_parse_expect(cg_parser *p, const char *text)
{
    if (cg_parse_accept(p, text))
        return CG_OK;
    return cg_parse_fail(p, "expected '%s'", text);
}

char *cg_parse_token(cg_parser *p, const char *set)
{
    size_t n = strspn(p->p, set);
    if (n == 0)
        return NULL;
    p->p += n;
    return cg_arena_strndup(&p->g->arena, p->p - n, n);
}

cg_err cg_parse_string(cg_parser *p, char **out)
{
    cg_skip_blanks(p);
    if (*p->p != '"')
        return cg_parse_fail(p, "expected a string in quotes");
    const char *start = p->p;
    *out = cg_unquote(&p->g->arena, &p->p);
    if (*out)
        return CG_OK;
    p->p = start;
    return cg_parse_fail(p, "this string does not end, or has an escape "
                            "other than \\\" \\\\ \\n \\t \\xHH");
}

cg_err cg_parse_name(cg_parser *p, char **out)
{
    CG_TRY(cg_parse_expect(p, "%"));
    if (*p->p == '"')
        CG_TRY(cg_parse_string(p, out));
    else
        *out = cg_parse_token(p, CG_BARE_NAME);
    if (!*out || !**out)
        return cg_parse_fail(p, "a name is missing behind '%%'");
    return CG_OK;
}

cg_err cg_parse_int(cg_parser *p, int64_t *out)
{
    bool is_float;
    double f;
    CG_TRY(cg_parse_number(p, out, &f, &is_float));
    return is_float ? cg_parse_fail(p, "expected an integer") : CG_OK;
}

cg_err cg_parse_uint(cg_parser *p, uint64_t *out)
{
    cg_skip_blanks(p);
    char *end;
    errno = 0;
    if (*p->p < '0' || *p->p > '9')
        return cg_parse_fail(p, "expected a number");
    *out = strtoull(p->p, &end, 10);
    if (errno)
        return cg_parse_fail(p, "this number is over 64 bits");
    p->p = end;
    return CG_OK;
}

cg_err cg_parse_dim(cg_parser *p, cg_dim *out)
{
    cg_skip_blanks(p);
    const char *end = cg_dim_parse(p->g, p->p, out);
    if (!end)
        return cg_parse_fail(p, "this is no dimension expression");
    p->p = end;
    return CG_OK;
}

cg_err cg_parse_number(cg_parser *p, int64_t *i, double *f, bool *is_float)
{
    char s[64], *end;
    cg_skip_blanks(p);
    size_t n = strspn(p->p, "0123456789+-.einfa");
    if (n == 0 || n >= sizeof s)
        return cg_parse_fail(p, "expected a number");
    memcpy(s, p->p, n);
    s[n] = '\0';
    *is_float = strpbrk(s, ".einfa") != NULL;
    errno = 0;
    if (*is_float)
        *f = strtod(s, &end);
    else
        *i = strtoll(s, &end, 10);
    if (*end || end == s)
        return cg_parse_fail(p, "'%s' is no number", s);
    if (errno && !*is_float)
        return cg_parse_fail(p, "'%s' is over 64 bits", s);
    p->p += n;
    return CG_OK;
}

/* -- types ----------------------------------------------------------------- */

static cg_err parse_dims(cg_parser *p, cg_type *t)
{
    cg_dim dims[CG_MAX_RANK];
    int rank = 0;
    while (!cg_parse_accept(p, "]")) {
        if (rank)
            CG_TRY(cg_parse_expect(p, ","));
        if (rank == CG_MAX_RANK)
            return cg_parse_fail(p, "more than %d dimensions", CG_MAX_RANK);
        CG_TRY(cg_parse_dim(p, &dims[rank]));
        if (cg_dim_known(dims[rank]) && dims[rank] < 0)
            return cg_parse_fail(p, "a negative dimension");
        rank++;
    }
    t->rank = (int8_t)rank;
    t->dims = cg_arena_dup(&p->g->arena, dims, sizeof *dims * (size_t)rank);
    return CG_OK;
}

static cg_err parse_tensor(cg_parser *p, cg_type *t)
{
    char name[16];
    size_t n = strspn(p->p, CG_ALNUM "?");
    if (n < sizeof name) {
        memcpy(name, p->p, n);
        name[n] = '\0';
    }
    int dtype = n && n < sizeof name ? cg_dtype_find(name) : -1;
    if (dtype < 0)
        return cg_parse_fail(p, "expected a type such as f32[1,3]");
    p->p += n;
    t->dtype = (uint8_t)dtype;
    if (*p->p == '[') {
        p->p++;
        CG_TRY(parse_dims(p, t));
    } else {
        CG_TRY(cg_parse_expect(p, "*"));
    }
    if (*p->p != '@')
        return CG_OK;
    p->p++;
    int64_t axis;
    CG_TRY(cg_parse_int(p, &axis));
    if (axis < 0 || axis >= t->rank)
        return cg_parse_fail(p, "there is no axis %lld", (long long)axis);
    t->channel = (int8_t)axis;
    return CG_OK;
}

cg_err cg_parse_type(cg_parser *p, cg_type *out)
{
    *out = cg_type_none();
    cg_skip_blanks(p);
    for (uint8_t k = 1; k <= CG_KIND_MAP; k++) {
        size_t n = strlen(cg_kind_names[k]);
        if (strncmp(p->p, cg_kind_names[k], n) != 0 || p->p[n] != '(')
            continue;
        p->p += n + 1;
        out->kind = k;
        CG_TRY(parse_tensor(p, out));
        return cg_parse_expect(p, ")");
    }
    return parse_tensor(p, out);
}

/* -- data ------------------------------------------------------------------ */

typedef struct elements {
    cg_dtype_kind kind;
    size_t n;
    bool scaled; /* floats come with factors */
    cg_dim i[CG_DATA_MAX];
    double f[CG_DATA_MAX];
    const char *s[CG_DATA_MAX];
} elements;

static cg_err parse_float(cg_parser *p, elements *e)
{
    int64_t i;
    bool is_float;
    CG_TRY(cg_parse_number(p, &i, &e->f[e->n], &is_float));
    if (!is_float)
        e->f[e->n] = (double)i;
    bool scaled = cg_parse_accept(p, "*");
    if (e->n && scaled != e->scaled)
        return cg_parse_fail(p, "a factor for each element or for none");
    e->scaled = scaled;
    if (!scaled)
        return CG_OK;
    CG_TRY(cg_parse_expect(p, "("));
    CG_TRY(cg_parse_dim(p, &e->i[e->n]));
    return cg_parse_expect(p, ")");
}

static cg_err parse_element(cg_parser *p, elements *e)
{
    char *s;
    if (e->n == CG_DATA_MAX)
        return cg_parse_fail(p, "more than %d elements", CG_DATA_MAX);
    if (e->kind == CG_DTYPE_FLOAT) {
        CG_TRY(parse_float(p, e));
    } else if (e->kind == CG_DTYPE_STRING) {
        CG_TRY(cg_parse_string(p, &s));
        e->s[e->n] = s;
    } else {
        CG_TRY(cg_parse_dim(p, &e->i[e->n]));
    }
    e->n++;
    return CG_OK;
}

static cg_err parse_elements(cg_parser *p, elements *e)
{
    cg_skip_space(p);
    while (!cg_parse_accept(p, "}")) {
        if (e->n)
            CG_TRY(cg_parse_expect(p, ","));
        cg_skip_space(p);
        CG_TRY(parse_element(p, e));
        cg_skip_space(p);
    }
    return CG_OK;
}

static const cg_data *keep_elements(cg_parser *p, const elements *e)
{
    cg_arena *a = &p->g->arena;
    cg_data *d = cg_arena_new(a, cg_data);
    d->n = e->n;
    if (e->kind == CG_DTYPE_INT || e->scaled)
        d->i = cg_arena_dup(a, e->i, e->n * sizeof *e->i);
    if (e->kind == CG_DTYPE_FLOAT)
        d->f = cg_arena_dup(a, e->f, e->n * sizeof *e->f);
    if (e->kind == CG_DTYPE_STRING)
        d->s = cg_arena_dup(a, e->s, e->n * sizeof *e->s);
    return d;
}

/* Behind the opening brace. */
static cg_err parse_data(cg_parser *p, cg_value_text *v)
{
    const cg_type *t = &v->type;
    cg_dtype_kind kind = cg_dtype_kind_of(t->dtype);
    if (t->kind != CG_KIND_TENSOR || t->rank < 0 ||
        kind == CG_DTYPE_NONE || kind == CG_DTYPE_COMPLEX)
        return cg_parse_fail(p, "elements need a tensor type with dims");
    size_t want = 1;
    for (int i = 0; i < t->rank; i++) {
        if (!cg_dim_known(t->dims[i]))
            return cg_parse_fail(p, "elements of a type with symbolic dims");
        want = t->dims[i] > CG_DATA_MAX ? SIZE_MAX
                                        : want * (size_t)t->dims[i];
        if (want > CG_DATA_MAX)
            return cg_parse_fail(p, "more than %d elements", CG_DATA_MAX);
    }
    elements *e = cg_xrealloc(NULL, sizeof *e); /* large: not zeroed */
    e->kind = kind;
    e->n = 0;
    e->scaled = false;
    cg_err err = parse_elements(p, e);
    if (err == CG_OK && e->n != want)
        err = cg_parse_fail(p, "%zu elements where the type has %zu", e->n,
                            want);
    if (err == CG_OK)
        v->data = keep_elements(p, e);
    cg_xfree(e);
    return err;
}

/* -- values ---------------------------------------------------------------- */

static cg_err parse_payload(cg_parser *p, cg_value_text *v)
{
    cg_payload y = {0};
    if (*p->p == '"') {
        char *file;
        CG_TRY(cg_parse_string(p, &file));
        y.file = file;
        CG_TRY(cg_parse_expect(p, ":"));
    }
    CG_TRY(cg_parse_uint(p, &y.offset));
    CG_TRY(cg_parse_expect(p, "+"));
    CG_TRY(cg_parse_uint(p, &y.length));
    v->payload = cg_arena_dup(&p->g->arena, &y, sizeof y);
    return CG_OK;
}

static cg_err parse_seq(cg_parser *p, cg_value_text *v)
{
    CG_ARRAY(cg_type) types = {0};
    cg_err err = cg_parse_expect(p, "[");
    while (err == CG_OK && !cg_parse_accept(p, "]")) {
        cg_type t;
        if (types.len)
            err = cg_parse_expect(p, ",");
        if (err == CG_OK)
            err = cg_parse_type(p, &t);
        if (err == CG_OK)
            cg_array_push(&types, t);
    }
    if (err == CG_OK) {
        cg_seq *s = cg_arena_new(&p->g->arena, cg_seq);
        s->n = types.len;
        s->elem = cg_arena_dup(&p->g->arena, types.data,
                               types.len * sizeof *types.data);
        v->seq = s;
    }
    cg_array_free(&types);
    return err;
}

/* One fact about a value, if one comes next. */
static cg_err parse_value_fact(cg_parser *p, cg_value_text *v, bool *any)
{
    char *s = NULL;
    *any = true;
    if (cg_parse_word(p, "weight")) {
        v->weight = true;
    } else if (cg_parse_word(p, "listed")) {
        v->listed = true;
    } else if (cg_parse_word(p, "unlisted")) {
        v->listed = false;
    } else if (cg_parse_accept(p, "declared=")) {
        CG_TRY(cg_parse_type(p, &v->declared));
    } else if (cg_parse_accept(p, "payload=")) {
        CG_TRY(parse_payload(p, v));
    } else if (cg_parse_accept(p, "elements=")) {
        CG_TRY(parse_seq(p, v));
    } else if (cg_parse_accept(p, "why=")) {
        CG_TRY(cg_parse_string(p, &s));
        v->why = s;
    } else if (cg_parse_accept(p, "why_node=")) {
        CG_TRY(cg_parse_string(p, &s));
        v->why_node = s;
    } else {
        *any = false;
    }
    return CG_OK;
}

cg_err cg_parse_value(cg_parser *p, cg_value_text *out)
{
    char *name;
    CG_TRY(cg_parse_name(p, &name));
    *out = (cg_value_text){.name = name, .listed = p->depth == 0};
    out->type = out->declared = cg_type_none();
    if (cg_parse_accept(p, ":"))
        CG_TRY(cg_parse_type(p, &out->type));
    for (bool any = true; any;)
        CG_TRY(parse_value_fact(p, out, &any));
    /* "= {" in constants only; behind a node's output "=" is the node's */
    const char *before = p->p;
    bool equals = cg_parse_accept(p, "=");
    if (cg_parse_accept(p, "{"))
        return parse_data(p, out);
    if (equals)
        p->p = before;
    return CG_OK;
}

