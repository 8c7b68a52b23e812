/* Parsing .cg text, the parts below statements (private to ir/parse*.c). */
#ifndef CG_IR_PARSE_H
#define CG_IR_PARSE_H

#include "ir/graph.h"

/* A value as its definition describes it, before it is made. */
typedef struct cg_value_text {
    const char *name;
    cg_type type, declared;
    bool weight, listed;
    const cg_data *data;
    const cg_payload *payload;
    const cg_seq *seq;
    const char *why, *why_node;
} cg_value_text;

typedef struct cg_parser {
    cg_graph *g;
    const char *text; /* NUL-terminated */
    const char *p;    /* next character */
    int depth;        /* of regions */
    cg_map values;    /* name -> cg_value, over all regions */
    /* scratch for the node being read */
    CG_ARRAY(cg_value_text) outs;
    CG_ARRAY(cg_value *) in;
    CG_ARRAY(const cg_type *) views;
    CG_ARRAY(int64_t) ints;
    CG_ARRAY(double) floats;
    CG_ARRAY(const char *) strings;
    /* reasons that name nodes which may come later */
    CG_ARRAY(cg_value *) blamed;
    CG_ARRAY(const char *) blamed_names;
} cg_parser;

/* "line 3, column 7: ..." at the place *p. */
cg_err cg_parse_fail(cg_parser *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

void cg_skip_blanks(cg_parser *p); /* spaces and tabs */
void cg_skip_space(cg_parser *p);  /* newlines and # comments too */
/* Moves behind the text if it comes next, blanks skipped before. */
bool cg_parse_accept(cg_parser *p, const char *text);
/* The same for a word, which must not go on. */
bool cg_parse_word(cg_parser *p, const char *word);
cg_err cg_parse_expect(cg_parser *p, const char *text);

/* The token of characters in `set` that comes next, copied; NULL: none. */
char *cg_parse_token(cg_parser *p, const char *set);
cg_err cg_parse_string(cg_parser *p, char **out); /* "..." */
cg_err cg_parse_name(cg_parser *p, char **out);   /* %x or %"x" */
cg_err cg_parse_int(cg_parser *p, int64_t *out);
cg_err cg_parse_uint(cg_parser *p, uint64_t *out);
cg_err cg_parse_dim(cg_parser *p, cg_dim *out);
/* An integer or a float; *is_float says which of the two was set. */
cg_err cg_parse_number(cg_parser *p, int64_t *i, double *f, bool *is_float);
cg_err cg_parse_type(cg_parser *p, cg_type *out);
/* %name, type, facts and data. */
cg_err cg_parse_value(cg_parser *p, cg_value_text *out);

#endif
