/* Printing a graph as .cg text. The grammar is in docs/cg.md; ir/parse.c reads
 * it back. A value's name is printed as it is unless another value had it
 * first (bodies and inlined functions repeat names): then "~2" is appended.
 * Constants belong to no region; each is printed before its first user. */
#include "ir/text.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ir/quote.h"
#include "ir/text_names.h"

typedef struct printer {
    FILE *f;
    cg_graph *g;
    const char **name;    /* (values) printed name, NULL until needed */
    unsigned char *shown; /* (values) constants that have their line */
    cg_map taken;         /* printed name -> how many asked for it */
    cg_map told;          /* unknown dims that are in `unknown` */
    CG_ARRAY(cg_dim_cause) unknown;
    cg_arena arena;       /* made-up names */
    int depth;            /* of regions */
} printer;

/* -- names and numbers ----------------------------------------------------- */

static const char *name_of(printer *p, const cg_value *v)
{
    if (p->name[v->id])
        return p->name[v->id];
    const char *name = v->name && *v->name ? v->name : "v";
    uintptr_t n = (uintptr_t)cg_map_get(&p->taken, name);
    const char *unique = name;
    if (n) {
        do
            unique = cg_arena_printf(&p->arena, "%s~%zu", name, (size_t)++n);
        while (cg_map_get(&p->taken, unique));
        cg_map_put(&p->taken, name, (void *)n);
    }
    cg_map_put(&p->taken, unique, (void *)(uintptr_t)1);
    return p->name[v->id] = unique;
}

static void print_percent(FILE *f, const char *s)
{
    fputc('%', f);
    if (s[strspn(s, CG_BARE_NAME)])
        cg_quote(f, s, '"');
    else
        fputs(s, f);
}

static void print_name(printer *p, const cg_value *v)
{
    print_percent(p->f, name_of(p, v));
}

void cg_print_double(FILE *f, double x)
{
    char s[40];
    if (!isfinite(x)) {
        fputs(isnan(x) ? "nan" : x > 0 ? "inf" : "-inf", f);
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(s, sizeof s, "%.*g", digits, x);
        if (strtod(s, NULL) == x)
            break;
    }
    fputs(s, f);
    if (!strpbrk(s, ".e"))
        fputs(".0", f);
}

static void print_dim(printer *p, cg_dim d)
{
    if (cg_dim_known(d)) {
        fprintf(p->f, "%" PRId64, d);
        return;
    }
    fputs(cg_dim_str(p->g, d), p->f);
    cg_dim_cause c[16];
    size_t n = cg_dim_causes(p->g, d, c, 16);
    for (size_t i = 0; i < n && c[i].why; i++) {
        if (cg_map_get(&p->told, c[i].symbol))
            continue;
        cg_map_put(&p->told, c[i].symbol, p);
        cg_array_push(&p->unknown, c[i]);
    }
}

/* -- types and values ------------------------------------------------------ */

static bool no_type(const cg_type *t)
{
    return t->kind == CG_KIND_TENSOR && t->dtype == CG_UNDEFINED &&
           t->rank < 0 && t->channel < 0;
}

static void print_type(printer *p, const cg_type *t)
{
    const char *kind = cg_kind_names[t->kind];
    if (*kind)
        fprintf(p->f, "%s(", kind);
    fputs(cg_dtype_name(t->dtype), p->f);
    fputs(t->rank < 0 ? "*" : "[", p->f);
    for (int i = 0; i < t->rank; i++) {
        if (i)
            fputc(',', p->f);
        print_dim(p, t->dims[i]);
    }
    if (t->rank >= 0)
        fputc(']', p->f);
    if (t->channel >= 0 && t->channel < t->rank)
        fprintf(p->f, "@%d", t->channel);
    if (*kind)
        fputc(')', p->f);
}

/* Data that does not fit its type would not be read back. */
static bool has_data(const cg_value *v)
{
    cg_dtype_kind kind = cg_dtype_kind_of(v->type.dtype);
    size_t n = 1;
    if (!v->data || v->type.kind != CG_KIND_TENSOR || v->type.rank < 0 ||
        v->data->n > CG_DATA_MAX)
        return false;
    for (int i = 0; i < v->type.rank; i++) {
        cg_dim d = v->type.dims[i];
        if (!cg_dim_known(d) || d < 0 || (n *= (size_t)d) > CG_DATA_MAX)
            return false;
    }
    return n == v->data->n &&
           ((kind == CG_DTYPE_INT && v->data->i) ||
            (kind == CG_DTYPE_FLOAT && v->data->f) ||
            (kind == CG_DTYPE_STRING && v->data->s));
}

static void print_element(printer *p, const cg_value *v, size_t k)
{
    const cg_data *d = v->data;
    switch (cg_dtype_kind_of(v->type.dtype)) {
    case CG_DTYPE_INT:
        print_dim(p, d->i[k]);
        break;
    case CG_DTYPE_FLOAT:
        cg_print_double(p->f, d->f[k]);
        if (d->i) {
            fputs("*(", p->f);
            print_dim(p, d->i[k]);
            fputc(')', p->f);
        }
        break;
    default:
        cg_quote(p->f, d->s[k], '"');
    }
}

static void print_data(printer *p, const cg_value *v)
{
    fputc('{', p->f);
    for (size_t k = 0; k < v->data->n; k++) {
        if (k)
            fputs(", ", p->f);
        print_element(p, v, k);
    }
    fputc('}', p->f);
}

static void print_string_fact(printer *p, const char *key, const char *s)
{
    if (s) {
        fprintf(p->f, " %s=", key);
        cg_quote(p->f, s, '"');
    }
}

static void print_payload(printer *p, const cg_payload *y)
{
    fputs(" payload=", p->f);
    if (y->file) {
        cg_quote(p->f, y->file, '"');
        fputc(':', p->f);
    }
    fprintf(p->f, "%" PRIu64 "+%" PRIu64, y->offset, y->length);
}

static void print_seq(printer *p, const cg_seq *s)
{
    fputs(" elements=[", p->f);
    for (size_t i = 0; i < s->n; i++) {
        fputs(i ? ", " : "", p->f);
        print_type(p, &s->elem[i]);
    }
    fputc(']', p->f);
}

/* Name, type and all that is known about a value, where it is defined. */
static void print_value(printer *p, const cg_value *v)
{
    print_name(p, v);
    if (!no_type(&v->type)) {
        fputs(" : ", p->f);
        print_type(p, &v->type);
    }
    if (!no_type(&v->declared)) {
        fputs(" declared=", p->f);
        print_type(p, &v->declared);
    }
    if (v->is_weight)
        fputs(" weight", p->f);
    if (v->listed != (p->depth == 0))
        fputs(v->listed ? " listed" : " unlisted", p->f);
    if (v->payload)
        print_payload(p, v->payload);
    if (v->seq)
        print_seq(p, v->seq);
    print_string_fact(p, "why", v->why);
    if (v->why_node)
        print_string_fact(p, "why_node", v->why_node->name);
    if (has_data(v)) {
        fputs(v->role == CG_ROLE_CONST ? " = " : " ", p->f);
        print_data(p, v);
    }
}

static void indent(printer *p) { fprintf(p->f, "%*s", 4 * p->depth, ""); }

static void need_const(printer *p, const cg_value *v)
{
    if (!v || v->role != CG_ROLE_CONST || p->shown[v->id])
        return;
    p->shown[v->id] = 1;
    indent(p);
    fputs("const ", p->f);
    print_value(p, v);
    fputc('\n', p->f);
}

/* -- nodes ----------------------------------------------------------------- */

static void print_region(printer *p, const cg_region *r);

static void print_list(printer *p, const cg_attr *a)
{
    static const char *const prefix[] = {
        [CG_ATTR_FLOATS] = "floats", [CG_ATTR_STRINGS] = "strings"};
    /* an empty list does not show what it is a list of */
    if (a->n == 0 && a->kind != CG_ATTR_INTS)
        fputs(prefix[a->kind], p->f);
    fputc('[', p->f);
    for (uint32_t i = 0; i < a->n; i++) {
        fputs(i ? "," : "", p->f);
        if (a->kind == CG_ATTR_INTS)
            fprintf(p->f, "%" PRId64, a->ints[i]);
        else if (a->kind == CG_ATTR_FLOATS)
            cg_print_double(p->f, a->floats[i]);
        else
            cg_quote(p->f, a->strings[i], '"');
    }
    fputc(']', p->f);
}

static void print_attr_name(printer *p, const char *s)
{
    bool bare = *s && !s[strspn(s, CG_BARE_ATTR)] && !(*s >= '0' && *s <= '9');
    fputc(' ', p->f);
    if (bare && !cg_is_fact_name(s))
        fputs(s, p->f);
    else
        cg_quote(p->f, s, '"');
    fputc('=', p->f);
}

static void print_attr(printer *p, const cg_attr *a)
{
    print_attr_name(p, a->name);
    switch ((cg_attr_kind)a->kind) {
    case CG_ATTR_INT:
        fprintf(p->f, "%" PRId64, a->ints[0]);
        break;
    case CG_ATTR_FLOAT:
        cg_print_double(p->f, a->floats[0]);
        break;
    case CG_ATTR_STRING:
        cg_quote(p->f, a->strings[0], '"');
        break;
    case CG_ATTR_INTS:
    case CG_ATTR_FLOATS:
    case CG_ATTR_STRINGS:
        print_list(p, a);
        break;
    case CG_ATTR_VALUE:
        print_name(p, a->value);
        break;
    case CG_ATTR_REGION:
        fputs("{\n", p->f);
        p->depth++;
        print_region(p, a->region);
        p->depth--;
        indent(p);
        fputc('}', p->f);
        break;
    case CG_ATTR_TYPE:
        fputc('<', p->f);
        print_type(p, a->type);
        fputc('>', p->f);
        break;
    }
}

static void print_outputs(printer *p, const cg_node *n)
{
    bool one = n->n_out == 1;
    if (!one)
        fputc('(', p->f);
    for (uint32_t k = 0; k < n->n_out; k++) {
        fputs(k ? ", " : "", p->f);
        if (n->out[k])
            print_value(p, n->out[k]);
        else
            fputc('_', p->f);
    }
    fputs(one ? " = " : ") = ", p->f);
}

static void print_operands(printer *p, const cg_node *n)
{
    for (uint32_t k = 0; k < n->n_in; k++) {
        const cg_operand *o = &n->in[k];
        fputs(k ? ", " : "", p->f);
        if (!o->v) {
            fputc('_', p->f);
            continue;
        }
        print_name(p, o->v);
        if (o->view) {
            fputc(':', p->f);
            print_type(p, o->view);
        }
    }
}

static void print_count(printer *p, const char *key, cg_dim d)
{
    if (d == 0)
        return;
    fprintf(p->f, " %s=", key);
    print_dim(p, d);
}

static void print_node(printer *p, const cg_node *n)
{
    for (uint32_t k = 0; k < n->n_in; k++)
        need_const(p, n->in[k].v);
    for (int a = 0; a < n->n_attr; a++)
        if (n->attr[a].kind == CG_ATTR_VALUE)
            need_const(p, n->attr[a].value);
    indent(p);
    print_outputs(p, n);
    fprintf(p->f, "%s(", cg_op_name(n->op));
    print_operands(p, n);
    fputc(')', p->f);
    for (int a = 0; a < n->n_attr; a++)
        print_attr(p, &n->attr[a]);
    bool named = n->n_out && n->out[0] &&
                 strcmp(name_of(p, n->out[0]), n->name) == 0;
    print_string_fact(p, "name", named ? NULL : n->name);
    print_string_fact(p, "source", n->source);
    print_count(p, "macs", n->macs);
    print_count(p, "flops", n->flops);
    print_count(p, "params", n->params);
    fputc('\n', p->f);
}

/* Depth is that of nested bodies, which cg_graph_validate limits. */
static void print_region(printer *p, const cg_region *r)
{
    for (size_t i = 0; i < r->inputs.len; i++) {
        indent(p);
        fputs("input ", p->f);
        print_value(p, r->inputs.data[i]);
        fputc('\n', p->f);
    }
    for (size_t i = 0; i < r->nodes.len; i++)
        if (!r->nodes.data[i]->dead)
            print_node(p, r->nodes.data[i]);
    for (size_t i = 0; i < r->outputs.len; i++)
        need_const(p, r->outputs.data[i]);
    for (size_t i = 0; i < r->outputs.len; i++) {
        indent(p);
        fputs("output ", p->f);
        print_name(p, r->outputs.data[i]);
        if (i < r->ports.len && r->ports.data[i].name) {
            fputs(" as ", p->f);
            print_percent(p->f, r->ports.data[i].name);
            fputs(" : ", p->f);
            print_type(p, &r->ports.data[i].type);
        }
        fputc('\n', p->f);
    }
}

/* -- the whole graph ------------------------------------------------------- */

static void print_head(printer *p)
{
    const cg_graph *g = p->g;
    fputs("cg 1\ngraph ", p->f);
    cg_quote(p->f, g->name ? g->name : "", '"');
    print_string_fact(p, "producer", g->producer);
    if (g->ir_version)
        fprintf(p->f, " ir=%" PRId64, g->ir_version);
    if (g->opset)
        fprintf(p->f, " opset=%" PRId64, g->opset);
    if (g->facts)
        fprintf(p->f, " facts=%" PRIu32, g->facts);
    fputc('\n', p->f);
}

static void print_unknowns(printer *p)
{
    for (size_t i = 0; i < p->unknown.len; i++) {
        const cg_dim_cause *c = &p->unknown.data[i];
        fputs("unknown ", p->f);
        cg_quote(p->f, c->symbol, '"');
        print_string_fact(p, "why", c->why);
        print_string_fact(p, "why_node", c->node ? c->node->name : NULL);
        fputc('\n', p->f);
    }
}

static void print_totals(printer *p)
{
    const cg_graph *g = p->g;
    if (g->macs || g->flops || g->params) {
        fputs("total", p->f);
        print_count(p, "macs", g->macs);
        print_count(p, "flops", g->flops);
        print_count(p, "params", g->params);
        fputc('\n', p->f);
    }
    print_unknowns(p);
    bool spectrum = false;
    for (int i = 0; i < CG_SPECTRUM_LEN; i++)
        spectrum = spectrum || g->spectrum[i] != 0;
    for (int i = 0; i < CG_SPECTRUM_LEN && spectrum; i++) {
        fputs(i ? ", " : "spectrum [", p->f);
        cg_print_double(p->f, g->spectrum[i]);
    }
    if (spectrum)
        fputs("]\n", p->f);
    if (g->hash[0] || g->hash[1])
        fprintf(p->f, "hash %016" PRIx64 "%016" PRIx64 "\n", g->hash[0],
                g->hash[1]);
}

void cg_print_text(FILE *f, cg_graph *g)
{
    printer p = {.f = f, .g = g};
    p.name = cg_xcalloc(g->values.len, sizeof *p.name);
    p.shown = cg_xcalloc(g->values.len, 1);
    cg_arena_init(&p.arena);
    print_head(&p);
    print_region(&p, g->main);
    print_totals(&p);
    cg_xfree(p.name);
    cg_xfree(p.shown);
    cg_map_free(&p.taken);
    cg_map_free(&p.told);
    cg_array_free(&p.unknown);
    cg_arena_free(&p.arena);
}
