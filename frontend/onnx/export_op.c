/* ONNX out: one operator, by its row of export.def. Operators that become
 * several nodes for their normalisation are in export_norm.c. */
#include <stdlib.h>
#include <string.h>

#include "frontend/onnx/export_parts.h"

static const cg_export_row rows[CG_OP_COUNT] = {
#define CG_EXPORT(op, domain, name, since, types, rule, attrs)                \
    [CG_OP_##op] = {domain, name, since, types, attrs, cg_export_as_##rule},
#include "frontend/onnx/export.def"
#undef CG_EXPORT
};

/* -- element types -------------------------------------------------------- */

/* The letter of input k (or output k) in "ni>f": the last one repeats. */
static char letter(const char *types, bool out, size_t k)
{
    const char *sep = strchr(types, '>');
    const char *s = out ? sep + 1 : types;
    size_t n = out ? strlen(s) : (size_t)(sep - types);
    return s[k < n ? k : n - 1];
}

static bool is_float(int dtype)
{
    return cg_dtype_kind_of(dtype) == CG_DTYPE_FLOAT;
}

static bool is_data(char c) { return c == 's' || c == 'f' || c == 'n'; }

/* Casts are gone from the graph: an operator on images may seem to work on
 * bytes, or a product on a mask. */
static int fit(char c, int dtype)
{
    dtype = cg_export_dtype(dtype);
    bool wide = dtype == CG_I32 || dtype == CG_I64;
    if (c == 's' || is_float(dtype) || (c == 'n' && wide))
        return dtype;
    return CG_F32;
}

static int as_stands(const cg_export *x, const cg_value *v)
{
    return v->role != CG_ROLE_CONST || x->name[v->id]
               ? x->dtype[v->id]
               : cg_export_dtype(v->type.dtype);
}

/* The type of the node's data: that of its output, or of what it reads where
 * the output is of a type of its own. */
static int data_dtype(const cg_export *x, const cg_export_row *row)
{
    const cg_node *n = x->at;
    char c = letter(row->types, true, 0);
    if (is_data(c) && n->n_out && n->out[0])
        return fit(c, n->out[0]->type.dtype);
    int dtype = CG_F32;
    bool found = false;
    for (uint32_t k = 0; k < n->n_in; k++) {
        const cg_value *v = n->in[k].v;
        char in = letter(row->types, false, k);
        if (!v || !is_data(in) || (found && v->role == CG_ROLE_CONST))
            continue;
        dtype = fit(in, as_stands(x, v));
        if (v->role != CG_ROLE_CONST)
            return dtype;
        found = true;
    }
    return dtype;
}

static int letter_dtype(char c, int dtype)
{
    return is_data(c) ? dtype
           : c == 'b' ? CG_BOOL
           : c == 'i' ? CG_I64
           : c == '4' ? CG_F32
           : c == '5' ? CG_I32
                      : CG_UNDEFINED;
}

/* -- operands ------------------------------------------------------------- */

/* Nodes that look alike would be merged when the file is read: the operands
 * of later ones are mirrored along the axes that their number says. */
static const char *mirror(cg_export *x, const char *name, const cg_type *t)
{
    int64_t axes[CG_MAX_RANK], starts[CG_MAX_RANK], ends[CG_MAX_RANK];
    size_t n = 0, bit = 0;
    for (int i = t->rank; i-- > 0 && bit < 31;) {
        if (t->dims[i] == 1)
            continue;
        if (x->variant >> bit++ & 1) {
            axes[n] = i;
            starts[n] = -1;
            ends[n++] = -(INT64_C(1) << 40);
        }
    }
    if (n == 0)
        return name;
    const char *from = cg_export_literal(x, starts, n);
    const char *to = cg_export_literal(x, ends, n);
    const char *along = cg_export_literal(x, axes, n);
    const char *out = cg_export_fresh(x, "Slice");
    cg_export_begin(x, "", "Slice");
    cg_export_input(x, name);
    cg_export_input(x, from);
    cg_export_input(x, to);
    cg_export_input(x, along);
    cg_export_input(x, from);
    cg_export_output(x, out);
    cg_export_end(x, out);
    return out;
}

/* b of the old a + b with `axis`: ones behind it let it line up with a. */
static cg_err line_up(cg_export *x, const char **name)
{
    cg_type a = cg_in_type(x->at, 0), b = cg_in_type(x->at, 1);
    int64_t axis = cg_attr_int(x->at, "broadcast_axis", 0);
    cg_dim dims[CG_MAX_RANK];
    axis += axis < 0 ? a.rank : 0;
    if (b.rank < 0 || axis < 0 || axis + b.rank >= a.rank)
        return CG_OK;
    for (int i = 0; i < a.rank - axis; i++)
        dims[i] = i < b.rank ? b.dims[i] : 1;
    return cg_export_reshape(x, dims, (int)(a.rank - axis), name);
}

cg_err cg_export_operand(cg_export *x, size_t k, int dtype,
                         const char **name)
{
    cg_operand o = k < x->at->n_in ? x->at->in[k] : (cg_operand){0};
    int have;
    *name = "";
    if (!o.v)
        return CG_OK;
    if (o.v->role == CG_ROLE_CONST) {
        CG_TRY(cg_export_const(x, o.v, k, dtype, name, &have));
    } else {
        *name = x->name[o.v->id];
        have = x->dtype[o.v->id];
        if (!*name) /* of a removed node: x->at computed a constant */
            return cg_fail(CG_EUNSUPPORTED, "constant '%s' cannot be written: "
                           "its shape is not known", x->at->name);
    }
    if (o.v->type.kind != CG_KIND_TENSOR)
        return CG_OK;
    if (o.view)
        CG_TRY(cg_export_move(x, &o.v->type, o.view, name));
    if (k == 1 && cg_attr_find(x->at, "broadcast_axis"))
        CG_TRY(line_up(x, name));
    cg_type t = cg_in_type(x->at, k);
    if (k == x->mirrored)
        *name = mirror(x, *name, &t);
    if (dtype && dtype != have && have != CG_STRING)
        *name = cg_export_cast(x, *name, dtype);
    return CG_OK;
}

/* A constant in a place that wants a vector of n. */
static cg_err vector(cg_export *x, size_t k, int dtype, cg_dim n,
                     const char **name)
{
    cg_type t = cg_in_type(x->at, k);
    CG_TRY(cg_export_operand(x, k, dtype, name));
    return **name && t.rank != 1 ? cg_export_reshape(x, &n, 1, name) : CG_OK;
}

/* -- parts of a node ------------------------------------------------------ */

void cg_export_need(cg_export *x, const cg_export_row *row)
{
    if (!*row->domain) {
        x->opset = row->since > x->opset ? row->since : x->opset;
        return;
    }
    for (size_t i = 0; i < x->domains.len; i++)
        if (strcmp(x->domains.data[i], row->domain) == 0)
            return;
    cg_array_push(&x->domains, row->domain);
}

static bool listed(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = list; *p; p += *p == ',') {
        size_t len = strcspn(p, ",");
        if ((len == n && memcmp(p, name, n) == 0) || *p == '*')
            return true;
        p += len;
    }
    return false;
}

void cg_export_attrs(cg_export *x, const cg_export_row *row)
{
    for (int i = 0; i < x->at->n_attr; i++)
        if (listed(row->attrs, x->at->attr[i].name))
            cg_export_attr(x, &x->at->attr[i]);
}

const char *cg_export_out(cg_export *x, size_t k)
{
    const cg_value *v = k < x->at->n_out ? x->at->out[k] : NULL;
    return v ? x->name[v->id] : "";
}

static void outputs(cg_export *x)
{
    size_t n = x->at->n_out;
    while (n > 1 && !x->at->out[n - 1])
        n--;
    for (size_t k = 0; k < n; k++)
        cg_export_output(x, cg_export_out(x, k));
    cg_export_end(x, cg_export_node_name(x));
}

/* All operands as the row has them; trailing ones left out are not written. */
static cg_err operands(cg_export *x, const cg_export_row *row, int dtype,
                       const char ***names, size_t *n)
{
    *n = x->at->n_in;
    *names = cg_arena_array(&x->scratch, const char *, *n + 1);
    for (size_t k = 0; k < *n; k++)
        CG_TRY(cg_export_operand(
            x, k, letter_dtype(letter(row->types, false, k), dtype),
            &(*names)[k]));
    while (*n > 0 && !*(*names)[*n - 1])
        --*n;
    return CG_OK;
}

static void begin(cg_export *x, const cg_export_row *row,
                  const char *const *in, size_t n)
{
    cg_export_begin(x, row->domain, row->name);
    for (size_t k = 0; k < n; k++)
        cg_export_input(x, in[k]);
    cg_export_attrs(x, row);
}

/* -- rules ---------------------------------------------------------------- */

cg_err cg_export_as_none(cg_export *x, const cg_export_row *row, int dtype)
{
    (void)row;
    (void)dtype;
    return cg_fail(CG_EUNSUPPORTED, "node '%s': %s cannot be written as ONNX",
                   x->at->name, cg_op_name(x->at->op));
}

cg_err cg_export_as_plain(cg_export *x, const cg_export_row *row, int dtype)
{
    const char **in;
    size_t n;
    CG_TRY(operands(x, row, dtype, &in, &n));
    begin(x, row, in, n);
    outputs(x);
    return CG_OK;
}

/* Add of many is Sum, which takes floats only; what it cannot take, and Mul,
 * is a chain. */
cg_err cg_export_as_nary(cg_export *x, const cg_export_row *row, int dtype)
{
    const char **in;
    size_t n;
    CG_TRY(operands(x, row, dtype, &in, &n));
    if (n == 1) {
        cg_export_call(x, "Identity", in[0], NULL, NULL, cg_export_out(x, 0));
        return CG_OK;
    }
    cg_export_row as = *row;
    if (x->at->op == CG_OP_ADD && n > 2 && is_float(dtype)) {
        as.name = "Sum";
    } else {
        for (; n > 2; n--) {
            in[1] = cg_export_call(x, row->name, in[0], in[1], NULL, NULL);
            in++;
        }
    }
    begin(x, &as, in, n);
    outputs(x);
    return CG_OK;
}

cg_err cg_export_as_conv(cg_export *x, const cg_export_row *row, int dtype)
{
    cg_type w = cg_in_type(x->at, 1);
    const char *in[3];
    if (w.rank < 2)
        return cg_fail(CG_EUNSUPPORTED, "node '%s' cannot be written as ONNX: "
                       "the shape of its weight is not known", x->at->name);
    cg_dim cout = x->at->op == CG_OP_CONV_TRANSPOSE
                      ? cg_dim_mul(x->g, w.dims[1],
                                   cg_attr_int(x->at, "group", 1))
                      : w.dims[0];
    CG_TRY(cg_export_operand(x, 0, dtype, &in[0]));
    CG_TRY(cg_export_operand(x, 1, dtype, &in[1]));
    CG_TRY(vector(x, 2, dtype, cout, &in[2]));
    begin(x, row, in, *in[2] ? 3 : 2);
    outputs(x);
    return CG_OK;
}

/* Dilation came with opset 19. */
cg_err cg_export_as_avgpool(cg_export *x, const cg_export_row *row, int dtype)
{
    size_t n;
    const int64_t *d = cg_attr_ints(x->at, "dilations", &n);
    bool dilated = false;
    const char *in;
    for (size_t i = 0; i < n; i++)
        dilated |= d[i] != 1;
    CG_TRY(cg_export_operand(x, 0, dtype, &in));
    begin(x, row, &in, 1);
    if (dilated) {
        cg_export_ints(x, "dilations", d, n);
        cg_export_need(x, &(cg_export_row){.domain = "", .since = 19});
    }
    outputs(x);
    return CG_OK;
}

static cg_err swap_last(cg_export *x, size_t k, const char **name)
{
    int rank = cg_in_type(x->at, k).rank;
    int64_t perm[CG_MAX_RANK];
    if (rank < 2)
        return CG_OK;
    for (int i = 0; i < rank; i++)
        perm[i] = i < rank - 2 ? i : 2 * rank - 3 - i;
    return cg_export_transpose(x, perm, rank, name);
}

static void gemm(cg_export *x, const char *const *in, bool ta, bool tb)
{
    cg_export_begin(x, "", "Gemm");
    for (int k = 0; k < 3 && *in[k]; k++)
        cg_export_input(x, in[k]);
    if (ta)
        cg_export_int(x, "transA", 1);
    if (tb)
        cg_export_int(x, "transB", 1);
    outputs(x);
}

cg_err cg_export_as_matmul(cg_export *x, const cg_export_row *row, int dtype)
{
    bool ta = cg_attr_int(x->at, "transA", 0) != 0;
    bool tb = cg_attr_int(x->at, "transB", 0) != 0;
    const char *in[3];
    (void)row;
    for (size_t k = 0; k < 3; k++)
        CG_TRY(cg_export_operand(x, k, dtype, &in[k]));
    if (cg_in_type(x->at, 0).rank == 2 && cg_in_type(x->at, 1).rank == 2 &&
        (*in[2] || ta || tb)) {
        gemm(x, in, ta, tb);
        return CG_OK;
    }
    if (ta)
        CG_TRY(swap_last(x, 0, &in[0]));
    if (tb)
        CG_TRY(swap_last(x, 1, &in[1]));
    const char *y = *in[2] ? NULL : cg_export_out(x, 0);
    y = cg_export_call(x, "MatMul", in[0], in[1], NULL, y);
    if (*in[2])
        cg_export_call(x, "Add", y, in[2], NULL, cg_export_out(x, 0));
    return CG_OK;
}

/* A global pool where it says the same. */
cg_err cg_export_as_mean(cg_export *x, const cg_export_row *row, int dtype)
{
    cg_type t = cg_in_type(x->at, 0);
    const cg_data *axes = cg_in_data(x->at, 1);
    bool global = t.rank >= 3 && t.channel == 1 && axes && axes->i &&
                  (int)axes->n == t.rank - 2 &&
                  cg_attr_int(x->at, "keepdims", 1);
    const char *in;
    for (int i = 0; global && i < t.rank - 2; i++)
        global = axes->i[i] == i + 2;
    if (!global)
        return cg_export_as_plain(x, row, dtype);
    CG_TRY(cg_export_operand(x, 0, dtype, &in));
    cg_export_call(x, "GlobalAveragePool", in, NULL, NULL,
                   cg_export_out(x, 0));
    return CG_OK;
}

cg_err cg_export_as_relu6(cg_export *x, const cg_export_row *row, int dtype)
{
    const char *in;
    CG_TRY(cg_export_operand(x, 0, dtype, &in));
    const char *low = cg_export_number(x, 0, dtype, 0);
    const char *high = cg_export_number(x, 6, dtype, 0);
    cg_export_call(x, row->name, in, low, high, cg_export_out(x, 0));
    return CG_OK;
}

cg_err cg_export_as_swish(cg_export *x, const cg_export_row *row, int dtype)
{
    double alpha = cg_attr_float(x->at, "alpha", 1);
    const char *in;
    CG_TRY(cg_export_operand(x, 0, dtype, &in));
    const char *s = in;
    if (alpha != 1)
        s = cg_export_call(x, "Mul", in, cg_export_number(x, alpha, dtype, 0),
                           NULL, NULL);
    s = cg_export_call(x, "Sigmoid", s, NULL, NULL, NULL);
    cg_export_call(x, row->name, in, s, NULL, cg_export_out(x, 0));
    return CG_OK;
}

/* Zero tensors are no operands in networks of the zoo, but their channels
 * count in the output: zeros again, or for a single operand a view. */
cg_err cg_export_as_concat(cg_export *x, const cg_export_row *row, int dtype)
{
    const cg_node *n = x->at;
    cg_type to = n->out[0]->type;
    int64_t axis = cg_attr_int(n, "axis", 0);
    cg_dim sum = 0, dims[CG_MAX_RANK];
    const char **in, *shape;
    size_t len;
    axis += axis < 0 ? to.rank : 0;
    bool known = axis >= 0 && axis < to.rank;
    for (uint32_t k = 0; k < n->n_in && known; k++) {
        cg_type t = cg_in_type(n, k);
        known = t.rank == to.rank && cg_dim_known(t.dims[axis]);
        sum += known ? t.dims[axis] : 0;
    }
    if (!known || !cg_dim_known(to.dims[axis]) || to.dims[axis] <= sum)
        return cg_export_as_plain(x, row, dtype);
    CG_TRY(operands(x, row, dtype, &in, &len));
    if (len == 1) {
        cg_type from = cg_in_type(n, 0);
        CG_TRY(cg_export_move(x, &from, &to, &in[0]));
        cg_export_call(x, "Identity", in[0], NULL, NULL, cg_export_out(x, 0));
        return CG_OK;
    }
    memcpy(dims, to.dims, sizeof *dims * (size_t)to.rank);
    dims[axis] -= sum;
    CG_TRY(cg_export_dims(x, dims, (size_t)to.rank, &shape));
    in[len++] = cg_export_call(x, "ConstantOfShape", shape, NULL, NULL, NULL);
    begin(x, row, in, len);
    outputs(x);
    return CG_OK;
}

/* "domain::Type" as it was; shapes stand beside, since nobody can know them. */
cg_err cg_export_as_custom(cg_export *x, const cg_export_row *row, int dtype)
{
    const char *source = x->at->source ? x->at->source : "";
    const char *sep = strstr(source, "::");
    for (const char *s = sep; s && (s = strstr(s + 1, "::")); sep = s)
        ;
    cg_export_row as = *row;
    as.domain = sep ? cg_arena_strndup(&x->scratch, source,
                                       (size_t)(sep - source))
                    : "";
    as.name = sep ? sep + 2 : source;
    as.attrs = "*";
    cg_export_need(x, &as);
    CG_TRY(cg_export_as_plain(x, &as, dtype));
    for (uint32_t k = 0; k < x->at->n_out; k++) {
        const cg_value *v = x->at->out[k];
        if (v && v->type.rank >= 0)
            cg_put_value(x, 13, x->name[v->id], &v->type);
    }
    return CG_OK;
}

/* -- one node ------------------------------------------------------------- */

static void add_key(cg_bytes *key, const void *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        cg_array_push(key, ((const unsigned char *)p)[i]);
}

/* Constants that are known are what they say. */
static uint64_t value_key(const cg_value *v)
{
    const cg_data *d = v->data;
    if (v->role != CG_ROLE_CONST || !d || d->s || v->is_weight)
        return v->id;
    uint64_t h = d->f ? cg_hash64(d->f, d->n * sizeof *d->f, 1) : 0;
    return d->i ? cg_hash64(d->i, d->n * sizeof *d->i, h) : h;
}

/* How many nodes before this one have its operator and operands, whatever
 * the attributes. Weights are operands too, so this is rare but for twins. */
static unsigned count_alike(cg_export *x)
{
    const cg_node *n = x->at;
    cg_bytes key = {0};
    add_key(&key, &n->op, sizeof n->op);
    for (uint32_t k = 0; k < n->n_in; k++) {
        const cg_operand *o = &n->in[k];
        uint64_t id = o->v ? value_key(o->v) : UINT64_MAX;
        add_key(&key, &id, sizeof id);
        if (o->v && o->view && o->view->rank > 0)
            add_key(&key, o->view->dims,
                    sizeof *o->view->dims * (size_t)o->view->rank);
    }
    char *text = cg_arena_printf(&x->scratch, "%016jx%016jx",
                                 (uintmax_t)cg_hash64(key.data, key.len, 1),
                                 (uintmax_t)cg_hash64(key.data, key.len, 2));
    cg_array_free(&key);
    uintptr_t before = (uintptr_t)cg_map_get(&x->seen, text);
    cg_map_put(&x->seen, text, (void *)(before + 1));
    return (unsigned)before;
}

/* The operand that makes a twin another: the first that is no constant. */
static void tell_apart(cg_export *x)
{
    x->variant = x->opts.merged && x->at->n_in ? count_alike(x) : 0;
    x->mirrored = SIZE_MAX;
    for (uint32_t k = x->at->n_in; x->variant && k-- > 0;)
        if (x->at->in[k].v && x->at->in[k].v->role != CG_ROLE_CONST)
            x->mirrored = k;
}

cg_err cg_export_op(cg_export *x)
{
    const cg_node *n = x->at;
    const cg_export_row *row = &rows[n->op];
    int dtype = data_dtype(x, row);
    for (uint32_t k = 0; k < n->n_out; k++) {
        cg_value *v = n->out[k];
        if (!v)
            continue;
        char c = letter(row->types, true, k);
        int d = letter_dtype(c, dtype);
        x->dtype[v->id] = (uint8_t)(d ? d : cg_export_dtype(v->type.dtype));
        if (!x->name[v->id])
            x->name[v->id] = cg_export_unique(x, v->name);
    }
    tell_apart(x);
    cg_export_need(x, row);
    return row->write(x, row, dtype);
}
