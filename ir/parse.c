/* Reads .cg text (grammar: docs/cg.md), the inverse of ir/text.c. Statements
 * end with their line; inside brackets lines may go on. Names are unique over
 * the whole text, so one map holds them all; whether a use may see its value
 * is left to cg_graph_validate, which runs at the end. */
#include <stdlib.h>
#include <string.h>

#include "ir/parse.h"
#include "ir/text.h"
#include "ir/text_names.h"

#define MAX_TEXT ((size_t)1 << 30)
#define MAX_DEPTH 64       /* nested regions, as in cg_graph_validate */
#define MAX_ATTRS 256      /* of one node; finding one is linear */
#define MAX_OPERANDS 1000000

static cg_err parse_region(cg_parser *p, cg_region *r);

/* -- values ---------------------------------------------------------------- */

static cg_err enter(cg_parser *p, cg_value *v)
{
    if (cg_map_get(&p->values, v->name))
        return cg_parse_fail(p, "%%%s is defined twice", v->name);
    cg_map_put(&p->values, v->name, v);
    return CG_OK;
}

static void describe(cg_parser *p, cg_value *v, const cg_value_text *t)
{
    v->type = t->type;
    v->declared = t->declared;
    v->is_weight = t->weight;
    v->listed = t->listed;
    v->data = t->data;
    v->payload = t->payload;
    v->seq = t->seq;
    v->why = t->why;
    if (t->why_node) {
        cg_array_push(&p->blamed, v);
        cg_array_push(&p->blamed_names, t->why_node);
    }
}

static cg_err parse_use(cg_parser *p, cg_value **out)
{
    char *name;
    CG_TRY(cg_parse_name(p, &name));
    *out = cg_map_get(&p->values, name);
    if (!*out)
        return cg_parse_fail(p, "there is no %%%s before this line", name);
    return CG_OK;
}

/* -- attributes ------------------------------------------------------------ */

static cg_err parse_strings(cg_parser *p, cg_node *n, const char *name)
{
    p->strings.len = 0;
    while (!cg_parse_accept(p, "]")) {
        char *s;
        if (p->strings.len)
            CG_TRY(cg_parse_expect(p, ","));
        CG_TRY(cg_parse_string(p, &s));
        cg_array_push(&p->strings, s);
    }
    cg_attr_set_strings(p->g, n, name, p->strings.data, p->strings.len);
    return CG_OK;
}

static cg_err parse_numbers(cg_parser *p, cg_node *n, const char *name,
                            bool floats)
{
    p->ints.len = p->floats.len = 0;
    for (size_t k = 0; !cg_parse_accept(p, "]"); k++) {
        int64_t i = 0;
        double f = 0;
        bool is_float;
        if (k)
            CG_TRY(cg_parse_expect(p, ","));
        CG_TRY(cg_parse_number(p, &i, &f, &is_float));
        if (k && is_float != floats)
            return cg_parse_fail(p, "integers and floats in one list");
        floats = is_float;
        if (floats)
            cg_array_push(&p->floats, f);
        else
            cg_array_push(&p->ints, i);
    }
    if (floats)
        cg_attr_set_floats(p->g, n, name, p->floats.data, p->floats.len);
    else
        cg_attr_set_ints(p->g, n, name, p->ints.data, p->ints.len);
    return CG_OK;
}

static cg_err parse_body(cg_parser *p, cg_node *n, const char *name)
{
    if (p->depth == MAX_DEPTH)
        return cg_parse_fail(p, "more than %d nested graphs", MAX_DEPTH);
    cg_region *r = cg_region_new(p->g, n->region);
    p->depth++;
    CG_TRY(parse_region(p, r));
    p->depth--;
    CG_TRY(cg_parse_expect(p, "}"));
    cg_attr_set_region(p->g, n, name, r);
    return CG_OK;
}

static cg_err parse_scalar(cg_parser *p, cg_node *n, const char *name)
{
    int64_t i;
    double f;
    bool is_float;
    CG_TRY(cg_parse_number(p, &i, &f, &is_float));
    if (is_float)
        cg_attr_set_float(p->g, n, name, f);
    else
        cg_attr_set_int(p->g, n, name, i);
    return CG_OK;
}

static cg_err parse_attr_string(cg_parser *p, cg_node *n, const char *name)
{
    char *s;
    CG_TRY(cg_parse_string(p, &s));
    cg_attr_set_string(p->g, n, name, s);
    return CG_OK;
}

static cg_err parse_attr_value(cg_parser *p, cg_node *n, const char *name)
{
    cg_value *v;
    CG_TRY(parse_use(p, &v));
    if (v->role != CG_ROLE_CONST)
        return cg_parse_fail(p, "%%%s is no constant", v->name);
    cg_attr_set_value(p->g, n, name, v);
    return CG_OK;
}

static cg_err parse_attr_type(cg_parser *p, cg_node *n, const char *name)
{
    cg_type t;
    CG_TRY(cg_parse_expect(p, "<"));
    CG_TRY(cg_parse_type(p, &t));
    CG_TRY(cg_parse_expect(p, ">"));
    cg_attr_set_type(p->g, n, name, t);
    return CG_OK;
}

/* What the value starts with says what it is. */
static cg_err parse_attr(cg_parser *p, cg_node *n, const char *name)
{
    cg_skip_blanks(p);
    if (*p->p == '"')
        return parse_attr_string(p, n, name);
    if (*p->p == '%')
        return parse_attr_value(p, n, name);
    if (*p->p == '<')
        return parse_attr_type(p, n, name);
    if (cg_parse_accept(p, "{"))
        return parse_body(p, n, name);
    if (cg_parse_accept(p, "floats["))
        return parse_numbers(p, n, name, true);
    if (cg_parse_accept(p, "strings["))
        return parse_strings(p, n, name);
    if (!cg_parse_accept(p, "["))
        return parse_scalar(p, n, name);
    cg_skip_blanks(p);
    return *p->p == '"' ? parse_strings(p, n, name)
                        : parse_numbers(p, n, name, false);
}

static cg_err parse_fact(cg_parser *p, cg_node *n, const char *key)
{
    char *s;
    if (strcmp(key, "macs") == 0)
        return cg_parse_dim(p, &n->macs);
    if (strcmp(key, "flops") == 0)
        return cg_parse_dim(p, &n->flops);
    if (strcmp(key, "params") == 0)
        return cg_parse_dim(p, &n->params);
    CG_TRY(cg_parse_string(p, &s));
    if (strcmp(key, "source") == 0)
        n->source = s;
    else if (*s)
        n->name = s;
    else
        return cg_parse_fail(p, "an empty node name");
    return CG_OK;
}

/* " key=value" pairs up to the end of the line. */
static cg_err parse_attrs(cg_parser *p, cg_node *n)
{
    for (;;) {
        cg_skip_blanks(p);
        if (!*p->p || *p->p == '\n' || *p->p == '}' || *p->p == '#')
            return CG_OK;
        char *key;
        bool quoted = *p->p == '"';
        if (quoted)
            CG_TRY(cg_parse_string(p, &key));
        else if (!(key = cg_parse_token(p, CG_BARE_ATTR)))
            return cg_parse_fail(p, "expected an attribute");
        CG_TRY(cg_parse_expect(p, "="));
        if (!quoted && cg_is_fact_name(key)) {
            CG_TRY(parse_fact(p, n, key));
            continue;
        }
        if (cg_attr_find(n, key))
            return cg_parse_fail(p, "attribute '%s' comes twice", key);
        if (n->n_attr == MAX_ATTRS)
            return cg_parse_fail(p, "more than %d attributes", MAX_ATTRS);
        CG_TRY(parse_attr(p, n, key));
    }
}

/* -- nodes ----------------------------------------------------------------- */

/* An output that is left out has no name. */
static cg_err parse_output(cg_parser *p)
{
    cg_value_text v = {0};
    if (!cg_parse_word(p, "_"))
        CG_TRY(cg_parse_value(p, &v));
    if (p->outs.len == MAX_OPERANDS)
        return cg_parse_fail(p, "more than %d outputs", MAX_OPERANDS);
    cg_array_push(&p->outs, v);
    return CG_OK;
}

static cg_err parse_outputs(cg_parser *p)
{
    p->outs.len = 0;
    if (!cg_parse_accept(p, "("))
        return parse_output(p);
    cg_skip_space(p);
    while (!cg_parse_accept(p, ")")) {
        if (p->outs.len)
            CG_TRY(cg_parse_expect(p, ","));
        cg_skip_space(p);
        CG_TRY(parse_output(p));
        cg_skip_space(p);
    }
    return CG_OK;
}

static cg_err parse_operand(cg_parser *p)
{
    cg_value *v = NULL;
    const cg_type *view = NULL;
    if (!cg_parse_word(p, "_")) {
        cg_type t;
        CG_TRY(parse_use(p, &v));
        if (*p->p == ':') {
            p->p++;
            CG_TRY(cg_parse_type(p, &t));
            view = cg_arena_dup(&p->g->arena, &t, sizeof t);
        }
    }
    if (p->in.len == MAX_OPERANDS)
        return cg_parse_fail(p, "more than %d operands", MAX_OPERANDS);
    cg_array_push(&p->in, v);
    cg_array_push(&p->views, view);
    return CG_OK;
}

static cg_err parse_operands(cg_parser *p)
{
    p->in.len = p->views.len = 0;
    CG_TRY(cg_parse_expect(p, "("));
    cg_skip_space(p);
    while (!cg_parse_accept(p, ")")) {
        if (p->in.len)
            CG_TRY(cg_parse_expect(p, ","));
        cg_skip_space(p);
        CG_TRY(parse_operand(p));
        cg_skip_space(p);
    }
    return CG_OK;
}

static cg_err parse_op(cg_parser *p, cg_op *op)
{
    cg_skip_blanks(p);
    const char *start = p->p;
    const char *name = cg_parse_token(p, CG_ALNUM);
    int found = name ? cg_op_find(name) : -1;
    if (found < 0) {
        p->p = start;
        return cg_parse_fail(p, "there is no operator '%s'",
                             name ? name : "");
    }
    *op = (cg_op)found;
    return CG_OK;
}

/* The node from what the scratch arrays hold. */
static cg_node *make_node(cg_parser *p, cg_region *r, cg_op op)
{
    size_t n_out = p->outs.len;
    p->strings.len = 0;
    for (size_t k = 0; k < n_out; k++) {
        const char *name = p->outs.data[k].name;
        cg_array_push(&p->strings, name ? name : "");
    }
    cg_node *n = cg_node_new(p->g, r, op, n_out ? p->strings.data[0] : NULL,
                             p->in.data, p->in.len, p->strings.data, n_out);
    for (size_t k = 0; k < p->in.len; k++)
        n->in[k].view = p->views.data[k];
    for (size_t k = 0; k < n_out; k++)
        if (n->out[k])
            describe(p, n->out[k], &p->outs.data[k]);
    return n;
}

static cg_err parse_node(cg_parser *p, cg_region *r)
{
    cg_op op = CG_OP_CUSTOM;
    CG_TRY(parse_outputs(p));
    CG_TRY(cg_parse_expect(p, "="));
    CG_TRY(parse_op(p, &op));
    CG_TRY(parse_operands(p));
    cg_node *n = make_node(p, r, op);
    CG_TRY(parse_attrs(p, n));
    /* known from here on: a node and its bodies cannot read its outputs */
    for (uint32_t k = 0; k < n->n_out; k++)
        if (n->out[k])
            CG_TRY(enter(p, n->out[k]));
    if (op == CG_OP_CUSTOM && !n->source)
        return cg_parse_fail(p, "Custom needs source=\"domain::Type\"");
    return CG_OK;
}

/* -- statements ------------------------------------------------------------ */

static cg_err parse_input(cg_parser *p, cg_region *r)
{
    cg_value_text t;
    CG_TRY(cg_parse_value(p, &t));
    cg_value *v = cg_value_input(p->g, r, t.name, t.type);
    describe(p, v, &t);
    return enter(p, v);
}

static cg_err parse_const(cg_parser *p)
{
    cg_value_text t;
    CG_TRY(cg_parse_value(p, &t));
    cg_value *v = cg_value_const(p->g, t.name, t.type, t.data);
    describe(p, v, &t);
    return enter(p, v);
}

static cg_err parse_region_output(cg_parser *p, cg_region *r)
{
    cg_value *v;
    CG_TRY(parse_use(p, &v));
    cg_array_push(&r->outputs, v);
    if (!cg_parse_word(p, "as"))
        return CG_OK;
    char *name;
    cg_type type;
    CG_TRY(cg_parse_name(p, &name));
    CG_TRY(cg_parse_expect(p, ":"));
    CG_TRY(cg_parse_type(p, &type));
    cg_region_set_port(r, r->outputs.len - 1, (cg_port){name, type});
    return CG_OK;
}

static cg_err parse_total(cg_parser *p)
{
    cg_graph *g = p->g;
    for (;;) {
        if (cg_parse_accept(p, "macs="))
            CG_TRY(cg_parse_dim(p, &g->macs));
        else if (cg_parse_accept(p, "flops="))
            CG_TRY(cg_parse_dim(p, &g->flops));
        else if (cg_parse_accept(p, "params="))
            CG_TRY(cg_parse_dim(p, &g->params));
        else
            return CG_OK;
    }
}

static cg_err parse_spectrum(cg_parser *p)
{
    CG_TRY(cg_parse_expect(p, "["));
    for (int k = 0; k < CG_SPECTRUM_LEN; k++) {
        int64_t i;
        bool is_float;
        if (k)
            CG_TRY(cg_parse_expect(p, ","));
        CG_TRY(cg_parse_number(p, &i, &p->g->spectrum[k], &is_float));
        if (!is_float)
            p->g->spectrum[k] = (double)i;
    }
    return cg_parse_expect(p, "]");
}

static cg_err parse_hash(cg_parser *p)
{
    cg_skip_blanks(p);
    if (strspn(p->p, "0123456789abcdef") != 32)
        return cg_parse_fail(p, "expected 32 hex digits");
    char half[17] = {0};
    for (int k = 0; k < 2; k++, p->p += 16) {
        memcpy(half, p->p, 16);
        p->g->hash[k] = strtoull(half, NULL, 16);
    }
    return CG_OK;
}

/* The node of a name. What made a dimension unknown may be gone from the
 * graph, dropped by a pass: then its name still has a (dead) node. */
static const cg_node *node_named(cg_parser *p, const char *name, cg_map *nodes)
{
    cg_graph *g = p->g;
    if (!nodes->len)
        for (size_t i = 0; i < g->nodes.len; i++)
            cg_map_put(nodes, g->nodes.data[i]->name, g->nodes.data[i]);
    cg_node *n = cg_map_get(nodes, name);
    if (n)
        return n;
    n = cg_arena_new(&g->arena, cg_node);
    *n = (cg_node){.name = name, .id = (uint32_t)g->nodes.len,
                   .op = CG_OP_IDENTITY, .region = g->main, .dead = true};
    cg_array_push(&g->nodes, n);
    cg_map_put(nodes, name, n);
    return n;
}

/* unknown "name" why="..." why_node="...", behind all nodes. */
static cg_err parse_unknown(cg_parser *p, cg_map *nodes)
{
    char *name, *why = NULL, *node = NULL;
    CG_TRY(cg_parse_string(p, &name));
    if (!*name)
        return cg_parse_fail(p, "an empty name");
    CG_TRY(cg_parse_expect(p, "why="));
    CG_TRY(cg_parse_string(p, &why));
    if (cg_parse_accept(p, "why_node="))
        CG_TRY(cg_parse_string(p, &node));
    cg_dim_explain(p->g, name, node ? node_named(p, node, nodes) : NULL, why);
    return CG_OK;
}

/* One statement of a region; *any is false where none starts. */
static cg_err parse_statement(cg_parser *p, cg_region *r, bool *any)
{
    *any = true;
    if (*p->p == '%' || *p->p == '(' || *p->p == '_')
        return parse_node(p, r);
    if (cg_parse_word(p, "input"))
        return parse_input(p, r);
    if (cg_parse_word(p, "const"))
        return parse_const(p);
    if (cg_parse_word(p, "output"))
        return parse_region_output(p, r);
    *any = false;
    return CG_OK;
}

static cg_err end_of_line(cg_parser *p)
{
    cg_skip_blanks(p);
    if (*p->p && *p->p != '\n' && *p->p != '#' && *p->p != '}')
        return cg_parse_fail(p, "unexpected text at the end of the line");
    return CG_OK;
}

static cg_err parse_region(cg_parser *p, cg_region *r)
{
    for (;;) {
        bool any;
        cg_skip_space(p);
        CG_TRY(parse_statement(p, r, &any));
        if (!any)
            return CG_OK;
        CG_TRY(end_of_line(p));
    }
}

static cg_err parse_head(cg_parser *p)
{
    char *s;
    int64_t facts = 0;
    cg_graph *g = p->g;
    cg_skip_space(p);
    if (!cg_parse_word(p, "cg") || !cg_parse_word(p, "1"))
        return cg_parse_fail(p, "expected 'cg 1', the first line of a graph");
    cg_skip_space(p);
    if (!cg_parse_word(p, "graph"))
        return cg_parse_fail(p, "expected 'graph \"name\"'");
    CG_TRY(cg_parse_string(p, &s));
    g->name = s;
    for (;;) {
        if (cg_parse_accept(p, "producer=")) {
            CG_TRY(cg_parse_string(p, &s));
            g->producer = s;
        } else if (cg_parse_accept(p, "ir=")) {
            CG_TRY(cg_parse_int(p, &g->ir_version));
        } else if (cg_parse_accept(p, "opset=")) {
            CG_TRY(cg_parse_int(p, &g->opset));
        } else if (cg_parse_accept(p, "facts=")) {
            CG_TRY(cg_parse_int(p, &facts));
            g->facts = (cg_facts)facts;
        } else {
            return end_of_line(p);
        }
    }
}

static cg_err parse_tail(cg_parser *p, cg_map *nodes)
{
    for (;;) {
        cg_skip_space(p);
        if (cg_parse_word(p, "total"))
            CG_TRY(parse_total(p));
        else if (cg_parse_word(p, "unknown"))
            CG_TRY(parse_unknown(p, nodes));
        else if (cg_parse_word(p, "spectrum"))
            CG_TRY(parse_spectrum(p));
        else if (cg_parse_word(p, "hash"))
            CG_TRY(parse_hash(p));
        else if (*p->p)
            return cg_parse_fail(p, "expected a statement");
        else
            return CG_OK;
        CG_TRY(end_of_line(p));
    }
}

static cg_err parse_graph(cg_parser *p)
{
    CG_TRY(parse_head(p));
    CG_TRY(parse_region(p, p->g->main));
    cg_map nodes = {0};
    cg_err err = parse_tail(p, &nodes);
    for (size_t i = 0; i < p->blamed.len && err == CG_OK; i++)
        p->blamed.data[i]->why_node =
            node_named(p, p->blamed_names.data[i], &nodes);
    cg_map_free(&nodes);
    return err == CG_OK ? cg_graph_validate(p->g, NULL) : err;
}

cg_err cg_parse_text(const char *text, size_t len, cg_graph **out)
{
    *out = NULL;
    if (len > MAX_TEXT)
        return cg_fail(CG_ELIMIT, "more than %zu bytes of text", MAX_TEXT);
    if (len && memchr(text, '\0', len))
        return cg_fail(CG_EFORMAT, "a NUL byte in .cg text");
    char *copy = cg_xcalloc(len + 1, 1);
    if (len)
        memcpy(copy, text, len);
    cg_parser p = {.g = cg_graph_new(""), .text = copy, .p = copy};
    cg_err err = parse_graph(&p);
    cg_map_free(&p.values);
    cg_array_free(&p.outs);
    cg_array_free(&p.in);
    cg_array_free(&p.views);
    cg_array_free(&p.ints);
    cg_array_free(&p.floats);
    cg_array_free(&p.strings);
    cg_array_free(&p.blamed);
    cg_array_free(&p.blamed_names);
    cg_xfree(copy);
    if (err == CG_OK)
        *out = p.g;
    else
        cg_graph_free(p.g);
    return err;
}
