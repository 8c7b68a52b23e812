/* ONNX out: symbolic dims.
 *
 * A dim that is a symbol of an input is read off that input with Shape; an
 * expression is the arithmetic it prints as, one node per operation, and folds
 * to the same expression when the file is read again. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "frontend/onnx/export_parts.h"

#define MAX_NEST 32 /* brackets in an expression */

cg_err cg_export_open(cg_export *x, cg_dim d)
{
    cg_dim_cause why = cg_dim_why(x->g, d);
    return cg_fail(CG_EUNSUPPORTED, "node '%s' cannot be written as ONNX: a "
                   "shape depends on '%s', which no input has as a dim",
                   x->at ? x->at->name : "output",
                   why.symbol ? why.symbol : "?");
}

/* (1) tensor of the symbol d, from the first input that has it. */
static const char *symbol(cg_export *x, cg_dim d)
{
    const cg_region *r = x->g->main;
    const char *key = cg_dim_str(x->g, d), *name = cg_map_get(&x->symbols, key);
    for (size_t i = 0; i < r->inputs.len && !name; i++) {
        cg_port port = cg_region_input(r, i);
        for (int a = 0; a < port.type.rank && !name; a++) {
            if (port.type.dims[a] != d || port.type.kind != CG_KIND_TENSOR)
                continue;
            const char *s = cg_export_call(x, "Shape",
                                           x->name[r->inputs.data[i]->id],
                                           NULL, NULL, NULL);
            int64_t axis = a;
            name = cg_export_call(x, "Gather", s,
                                  cg_export_literal(x, &axis, 1), NULL, NULL);
            cg_map_put(&x->symbols, key, (void *)name);
        }
    }
    return name;
}

/* -- expressions: the grammar of docs/cg.md ------------------------------- */

typedef struct reader {
    cg_export *x;
    const char *p;
    int nest;
} reader;

static const char *sum(reader *r);

static void blanks(reader *r)
{
    while (*r->p == ' ')
        r->p++;
}

static bool take(reader *r, const char *word)
{
    blanks(r);
    size_t n = strlen(word);
    if (strncmp(r->p, word, n) != 0)
        return false;
    r->p += n;
    return true;
}

/* "(a,b)" of max and min. */
static const char *pair(reader *r, const char *type)
{
    const char *a = sum(r);
    if (!a || !take(r, ","))
        return NULL;
    const char *b = sum(r);
    if (!b || !take(r, ")"))
        return NULL;
    return cg_export_call(r->x, type, a, b, NULL, NULL);
}

/* A symbol's text ends where cg_dim_parse ends, for which the longest prefix
 * that is one symbol is looked for. */
static const char *named(reader *r)
{
    const char *end = r->p;
    if (*end == '`') {
        for (end++; *end && *end != '`'; end++)
            end += *end == '\\' && end[1];
        end += *end == '`';
    } else {
        while (isalnum((unsigned char)*end) || (*end && strchr("_.:?", *end)) ||
               (*end == '/' && end[1] != '/'))
            end++;
    }
    char *text = cg_arena_strndup(&r->x->scratch, r->p,
                                  (size_t)(end - r->p));
    cg_dim d;
    const char *stop = cg_dim_parse(r->x->g, text, &d);
    if (end == r->p || !stop || *stop || cg_dim_known(d))
        return NULL;
    r->p = end;
    return symbol(r->x, d);
}

static const char *atom(reader *r)
{
    const char *s = NULL;
    if (++r->nest > MAX_NEST)
        return NULL;
    blanks(r);
    if (take(r, "max(")) {
        s = pair(r, "Max");
    } else if (take(r, "min(")) {
        s = pair(r, "Min");
    } else if (take(r, "(")) {
        s = sum(r);
        if (!take(r, ")"))
            s = NULL;
    } else if (isdigit((unsigned char)*r->p)) {
        char *end;
        int64_t v = strtoll(r->p, &end, 10);
        r->p = end;
        s = cg_export_literal(r->x, &v, 1);
    } else {
        s = named(r);
    }
    r->nest--;
    return s;
}

static const char *product(reader *r)
{
    const char *a = atom(r);
    while (a) {
        const char *type = take(r, "//") ? "Div" : take(r, "*") ? "Mul" : NULL;
        if (!type)
            break;
        const char *b = atom(r);
        a = b ? cg_export_call(r->x, type, a, b, NULL, NULL) : NULL;
    }
    return a;
}

static const char *sum(reader *r)
{
    int64_t zero = 0;
    bool minus = take(r, "-");
    const char *a = product(r);
    if (a && minus)
        a = cg_export_call(r->x, "Sub", cg_export_literal(r->x, &zero, 1), a,
                           NULL, NULL);
    while (a) {
        const char *type = take(r, "+") ? "Add" : take(r, "-") ? "Sub" : NULL;
        if (!type)
            break;
        const char *b = product(r);
        a = b ? cg_export_call(r->x, type, a, b, NULL, NULL) : NULL;
    }
    return a;
}

static cg_err one(cg_export *x, cg_dim d, const char **name)
{
    reader r = {x, cg_dim_str(x->g, d), 0};
    *name = cg_dim_known(d) ? cg_export_literal(x, &d, 1) : sum(&r);
    return *name && (cg_dim_known(d) || !*r.p) ? CG_OK
                                               : cg_export_open(x, d);
}

cg_err cg_export_dims(cg_export *x, const cg_dim *d, size_t n,
                      const char **name)
{
    size_t open = 0;
    for (size_t i = 0; i < n; i++)
        open += !cg_dim_known(d[i]);
    if (!open) {
        *name = cg_export_literal(x, d, n);
        return CG_OK;
    }
    if (n == 1)
        return one(x, d[0], name);
    const char **part = cg_arena_array(&x->scratch, const char *, n);
    for (size_t i = 0; i < n; i++)
        CG_TRY(one(x, d[i], &part[i]));
    *name = cg_export_fresh(x, "Concat");
    cg_export_begin(x, "", "Concat");
    for (size_t i = 0; i < n; i++)
        cg_export_input(x, part[i]);
    cg_export_int(x, "axis", 0);
    cg_export_output(x, *name);
    cg_export_end(x, *name);
    return CG_OK;
}
