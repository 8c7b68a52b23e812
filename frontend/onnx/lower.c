/* One ONNX operator to the graph's operators: the table, and what converters
 * are written with. */
#include "frontend/onnx/lower.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const cg_onnx_row rows[] = {
#define ONNX_OP(domain, type, op, convert, min, max)                          \
    {domain ":" type, CG_OP_##op, min, max, cg_onnx_to_##convert},
#include "frontend/onnx/onnx.def"
#undef ONNX_OP
};

void cg_onnx_row_table(cg_importer *imp)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cg_map_put(&imp->rows, rows[i].key, (void *)&rows[i]);
}

const cg_onnx_row *cg_onnx_find_row(cg_importer *imp, const char *key)
{
    return cg_map_get(&imp->rows, key);
}

/* -- reading ------------------------------------------------------------- */

cg_value *cg_onnx_in(const cg_onnx_node *n, size_t k)
{
    return k < n->n_in ? n->in[k] : NULL;
}

const cg_onnx_attr *cg_onnx_find(const cg_onnx_node *n, const char *name)
{
    for (size_t i = 0; i < n->n_attr; i++)
        if (strcmp(n->attr[i].name, name) == 0)
            return &n->attr[i];
    return NULL;
}

static const Onnx__AttributeProto *
find_type(const cg_onnx_node *n, const char *name,
          Onnx__AttributeProto__AttributeType type)
{
    const cg_onnx_attr *a = cg_onnx_find(n, name);
    return a && a->type == (int)type ? a->p : NULL;
}

int64_t cg_onnx_int(const cg_onnx_node *n, const char *name, int64_t other)
{
    const Onnx__AttributeProto *p =
        find_type(n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    return p ? p->i : other;
}

double cg_onnx_float(const cg_onnx_node *n, const char *name, double other)
{
    const Onnx__AttributeProto *p =
        find_type(n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
    return p ? (double)p->f : other;
}

const char *cg_onnx_string(const cg_onnx_node *n, const char *name,
                           const char *other)
{
    const Onnx__AttributeProto *p =
        find_type(n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);
    return p ? cg_arena_strndup(&n->imp->scratch, (const char *)p->s.data,
                                p->s.len)
             : other;
}

/* -- editing ------------------------------------------------------------- */

void cg_onnx_drop(cg_onnx_node *n, const char *attr)
{
    size_t kept = 0;
    for (size_t i = 0; i < n->n_attr; i++)
        if (strcmp(n->attr[i].name, attr) != 0)
            n->attr[kept++] = n->attr[i];
    n->n_attr = kept;
}

void cg_onnx_drop_all(cg_onnx_node *n) { n->n_attr = 0; }

void cg_onnx_set_in(cg_onnx_node *n, size_t k, cg_value *v)
{
    while (n->n_in <= k)
        n->in[n->n_in++] = NULL;
    n->in[k] = v;
}

void cg_onnx_pick(cg_onnx_node *n, const size_t *from, size_t len)
{
    cg_value *kept[CG_ONNX_ROOM];
    for (size_t i = 0; i < len; i++)
        kept[i] = cg_onnx_in(n, from[i]);
    n->n_in = 0;
    for (size_t i = 0; i < len; i++)
        cg_onnx_set_in(n, i, kept[i]);
}

cg_value *cg_onnx_ints(cg_onnx_node *n, const int64_t *v, size_t len)
{
    cg_dim *d = cg_xcalloc(len, sizeof *d);
    for (size_t i = 0; i < len; i++)
        d[i] = v[i] < CG_DIM_MIN ? CG_DIM_MIN : v[i];
    const char *name = cg_onnx_unique(n->imp, n->name);
    cg_value *made = cg_value_ints(n->imp->g, name, d, len);
    cg_xfree(d);
    return made;
}

cg_value *cg_onnx_int_scalar(cg_onnx_node *n, int64_t v)
{
    cg_value *made = cg_onnx_ints(n, &v, 1);
    made->type = cg_type_tensor(n->imp->g, CG_I64, 0, NULL);
    return made;
}

cg_value *cg_onnx_floats(cg_onnx_node *n, const double *v, size_t len)
{
    cg_arena *a = &n->imp->g->arena;
    cg_data *d = cg_arena_new(a, cg_data);
    cg_dim dim = (cg_dim)len;
    d->n = len;
    d->f = cg_arena_dup(a, v, len * sizeof *v);
    return cg_value_const(n->imp->g, cg_onnx_unique(n->imp, n->name),
                          cg_type_tensor(n->imp->g, CG_F32, 1, &dim), d);
}

cg_value *cg_onnx_float_scalar(cg_onnx_node *n, double v)
{
    cg_value *made = cg_onnx_floats(n, &v, 1);
    made->type = cg_type_tensor(n->imp->g, CG_F32, 0, NULL);
    return made;
}

void cg_onnx_attr_to_input(cg_onnx_node *n, const char *attr, size_t k)
{
    const cg_onnx_attr *a = cg_onnx_find(n, attr);
    if (!a)
        return;
    cg_value *v = NULL;
    if (a->type == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS) {
        v = cg_onnx_ints(n, a->p->ints, a->p->n_ints);
    } else if (a->type == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT) {
        v = cg_onnx_ints(n, &a->p->i, 1);
    } else if (a->type == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS) {
        double *f = cg_xcalloc(a->p->n_floats, sizeof *f);
        for (size_t i = 0; i < a->p->n_floats; i++)
            f[i] = a->p->floats[i];
        v = cg_onnx_floats(n, f, a->p->n_floats);
        cg_xfree(f);
    }
    cg_onnx_drop(n, attr);
    if (v && !cg_onnx_in(n, k))
        cg_onnx_set_in(n, k, v);
}

/* -- building ------------------------------------------------------------ */

static void bind(cg_onnx_node *n, size_t k, cg_value *v)
{
    if (k < n->n_out && v)
        cg_onnx_bind_name(n->scope, n->p->output[k], v);
}

/* Optional inputs left out at the end are not kept, those that an operator
 * cannot do without are: the shape rule then says which is missing. */
static size_t trimmed(const cg_onnx_node *n, cg_op op)
{
    size_t len = n->n_in;
    while (len > cg_op_table[op].min_in && !n->in[len - 1])
        len--;
    return len;
}

/* Loop's trip count and condition are the only such inputs that may lack. */
static void check_inputs(cg_onnx_node *n, cg_op op, cg_value *const *in,
                         size_t n_in)
{
    for (size_t k = 0; k < cg_op_table[op].min_in && op != CG_OP_LOOP; k++)
        n->incomplete |= k >= n_in || !in[k];
}

cg_err cg_onnx_emit(cg_onnx_node *n, cg_op op, cg_node **made)
{
    size_t min = cg_op_table[op].min_in, max = cg_op_table[op].max_in;
    while (n->n_in < min && n->n_in < n->p->n_input + CG_ONNX_ROOM)
        n->in[n->n_in++] = NULL;
    size_t len = trimmed(n, op);
    if (max != CG_VARIADIC && len > max)
        len = max; /* inputs that say nothing of shapes */
    check_inputs(n, op, n->in, len);
    cg_node *to = cg_node_new(n->imp->g, n->scope->region, op, n->name, n->in,
                              len, n->out, n->n_out);
    CG_TRY(cg_onnx_copy_attrs(n, to, op != CG_OP_CUSTOM &&
                                         op != CG_OP_FLEX_ATTENTION));
    for (size_t k = 0; k < n->n_out; k++)
        bind(n, k, to->out[k]);
    if (made)
        *made = to;
    return CG_OK;
}

static const char *step_name(cg_onnx_node *n, cg_op op)
{
    char *base = cg_arena_printf(&n->imp->scratch, "%s/%s", n->name,
                                 cg_op_name(op));
    return cg_onnx_unique(n->imp, base);
}

static cg_node *make(cg_onnx_node *n, cg_op op, const char *out,
                     cg_value *const *in, size_t n_in)
{
    while (n_in > cg_op_table[op].min_in && !in[n_in - 1])
        n_in--;
    check_inputs(n, op, in, n_in);
    return cg_node_new(n->imp->g, n->scope->region, op, n->name, in, n_in,
                       &out, 1);
}

static void collect(cg_value **in, size_t n_in, va_list ap)
{
    for (size_t i = 0; i < n_in; i++)
        in[i] = va_arg(ap, cg_value *);
}

cg_node *cg_onnx_step(cg_onnx_node *n, cg_op op, size_t n_in, ...)
{
    cg_value *in[CG_ONNX_ROOM];
    va_list ap;
    va_start(ap, n_in);
    collect(in, n_in, ap);
    va_end(ap);
    return make(n, op, step_name(n, op), in, n_in);
}

cg_node *cg_onnx_finish(cg_onnx_node *n, size_t k, cg_op op, size_t n_in, ...)
{
    cg_value *in[CG_ONNX_ROOM];
    va_list ap;
    va_start(ap, n_in);
    collect(in, n_in, ap);
    va_end(ap);
    bool given = k < n->n_out && *n->out[k];
    cg_node *to = make(n, op, given ? n->out[k] : step_name(n, op), in, n_in);
    if (given)
        bind(n, k, to->out[0]);
    return to;
}

cg_err cg_onnx_step_attrs(cg_onnx_node *n, cg_op op, cg_value *const *in,
                          size_t n_in, cg_node **made)
{
    *made = make(n, op, step_name(n, op), in, n_in);
    return cg_onnx_copy_attrs(n, *made, true);
}

void cg_onnx_alias(cg_onnx_node *n, size_t k, cg_value *v)
{
    if (k < n->n_out && *n->out[k])
        cg_onnx_finish(n, k, CG_OP_IDENTITY, 1, v);
}

cg_err cg_onnx_custom(cg_onnx_node *n, const char *why)
{
    cg_node *to;
    const char *domain = *n->domain ? n->domain : "ai.onnx";
    if (n->imp->opts->strict)
        return cg_fail(CG_EUNSUPPORTED, "operator %s::%s is not known%s%s",
                       domain, n->type, why ? ": " : "", why ? why : "");
    CG_TRY(cg_onnx_emit(n, CG_OP_CUSTOM, &to));
    to->source = cg_arena_printf(&n->imp->g->arena, "%s::%s", domain, n->type);
    cg_warn(n->imp->g, to, "operator %s is not known%s%s; it is kept as Custom",
            to->source, why ? ": " : "", why ? why : "");
    return CG_OK;
}

/* -- dispatch ------------------------------------------------------------ */

/* com.microsoft repeats operators of ai.onnx with their newest meaning. */
static const cg_onnx_row *find(cg_onnx_node *n)
{
    char key[160];
    snprintf(key, sizeof key, "%s:%s", n->domain, n->type);
    const cg_onnx_row *row = cg_onnx_find_row(n->imp, key);
    if (row || strcmp(n->domain, "com.microsoft") != 0)
        return row;
    n->version = CG_ONNX_NEWEST;
    snprintf(key, sizeof key, ":%s", n->type);
    return cg_onnx_find_row(n->imp, key);
}

static cg_err check_arity(const cg_onnx_node *n, const cg_onnx_row *row)
{
    if (n->n_in < row->min_in && n->p->n_input < row->min_in)
        return cg_fail(CG_EFORMAT, "has %zu inputs, needs %d", n->p->n_input,
                       row->min_in);
    if (row->max_in != CG_VARIADIC && n->n_in > row->max_in)
        return cg_fail(CG_EFORMAT, "has %zu inputs, takes at most %d", n->n_in,
                       row->max_in);
    return CG_OK;
}

/* Outputs that a converter has no value for keep what reads them readable. */
static cg_err check_outputs(const cg_onnx_node *n)
{
    for (size_t k = 0; k < n->n_out; k++)
        if (*n->out[k] && !cg_map_get(&n->scope->values, n->p->output[k]))
            return cg_fail(CG_EUNSUPPORTED, "output %zu ('%s') is not "
                           "supported", k, n->out[k]);
    return CG_OK;
}

cg_err cg_onnx_lower(cg_onnx_node *n)
{
    const cg_onnx_row *row = find(n);
    if (!row)
        return cg_onnx_custom(n, NULL);
    CG_TRY(check_arity(n, row));
    CG_TRY(cg_onnx_check_attrs(n, row->key));
    CG_TRY(row->convert(n, row));
    if (n->incomplete)
        return cg_fail(CG_EFORMAT, "an input is left out that the operator "
                       "cannot do without");
    return check_outputs(n);
}

cg_err cg_onnx_to_plain(cg_onnx_node *n, const cg_onnx_row *row)
{
    return cg_onnx_emit(n, row->op, NULL);
}
