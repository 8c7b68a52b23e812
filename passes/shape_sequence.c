/* Shape rules of sequences and optionals. Elements are known one by one while
 * the sequence is short and was built from known parts; otherwise the type of
 * the sequence holds what they have in common. */
#include <string.h>

#include "passes/shape_rules.h"

/* Longer sequences are known by their common type only: each insertion makes
 * a new list. */
#define SEQ_MAX 512

static cg_type element_type(const cg_node *n, size_t k)
{
    cg_type t = cg_in_type(n, k);
    t.kind = CG_KIND_TENSOR;
    return t;
}

static const cg_seq *seq_of(const cg_node *n, size_t k)
{
    const cg_value *v = cg_in(n, k);
    return v ? v->seq : NULL;
}

/* Output k becomes a tensor of a type that may be unknown. */
static void out_element(cg_graph *g, cg_node *n, size_t k, cg_type t)
{
    if (t.rank < 0)
        cg_out_unknown(g, n, k, t.dtype, "element of a sequence");
    else
        cg_out_type(g, n, k, t);
}

/* Position operand k in [0, len): error if outside, false if not known. */
static cg_err position(cg_graph *g, const cg_node *n, size_t k, size_t len,
                       size_t room, size_t *at, bool *known)
{
    cg_dim i;
    *known = cg_in_scalar(n, k, &i) && cg_dim_known(i);
    if (!*known)
        return CG_OK;
    if (i < -(int64_t)len || i >= (int64_t)(len + room))
        return cg_fail(CG_EFORMAT, "position %s in a sequence of %zu",
                       cg_dim_str(g, i), len);
    *at = (size_t)(i < 0 ? i + (int64_t)len : i);
    return CG_OK;
}

/* -- sequences ------------------------------------------------------------- */

cg_err cg_shape_sequence_construct(cg_graph *g, cg_node *n)
{
    cg_type *elem = cg_arena_array(&g->arena, cg_type, n->n_in);
    for (size_t k = 0; k < n->n_in; k++)
        elem[k] = cg_in_type(n, k);
    cg_out_seq(g, n, 0, elem, n->n_in);
    return CG_OK;
}

cg_err cg_shape_sequence_empty(cg_graph *g, cg_node *n)
{
    int64_t dtype = cg_attr_int(n, "dtype", CG_F32);
    cg_out_seq(g, n, 0, NULL, 0);
    if (n->n_out && n->out[0] && dtype > 0 && dtype < 256)
        n->out[0]->type.dtype = (uint8_t)dtype;
    return CG_OK;
}

cg_err cg_shape_sequence_at(cg_graph *g, cg_node *n)
{
    const cg_seq *s = seq_of(n, 0);
    cg_type t = element_type(n, 0);
    size_t at;
    bool known = false;
    if (s)
        CG_TRY(position(g, n, 1, s->n, 0, &at, &known));
    out_element(g, n, 0, known ? s->elem[at] : t);
    return CG_OK;
}

/* An element inserted into a sequence of which only the type is known. */
static void insert_by_type(cg_graph *g, cg_node *n)
{
    cg_type all = element_type(n, 0), t = element_type(n, 1);
    const cg_seq *s = seq_of(n, 0);
    if (s && s->n == 0)
        all = t;
    else if (!cg_type_equal(&all, &t))
        all = cg_type_unify(g, n, &all, &t, "elements differ");
    all.kind = CG_KIND_SEQUENCE;
    cg_out_type(g, n, 0, all);
}

cg_err cg_shape_sequence_insert(cg_graph *g, cg_node *n)
{
    const cg_seq *s = seq_of(n, 0);
    size_t at = s ? s->n : 0;
    bool known = s != NULL;
    if (s && cg_in(n, 2))
        CG_TRY(position(g, n, 2, s->n, 1, &at, &known));
    if (!known || s->n >= SEQ_MAX) {
        insert_by_type(g, n);
        return CG_OK;
    }
    cg_type elem[SEQ_MAX + 1];
    memcpy(elem, s->elem, at * sizeof *elem);
    elem[at] = cg_in_type(n, 1);
    memcpy(elem + at + 1, s->elem + at, (s->n - at) * sizeof *elem);
    cg_out_seq(g, n, 0, elem, s->n + 1);
    return CG_OK;
}

cg_err cg_shape_sequence_erase(cg_graph *g, cg_node *n)
{
    const cg_seq *s = seq_of(n, 0);
    bool known = s != NULL;
    size_t at = s && s->n ? s->n - 1 : 0;
    if (s && cg_in(n, 1))
        CG_TRY(position(g, n, 1, s->n, 0, &at, &known));
    if (s && s->n == 0)
        return cg_fail(CG_EFORMAT, "erases from an empty sequence");
    if (!known || s->n > SEQ_MAX) {
        cg_out_type(g, n, 0, cg_in_type(n, 0));
        return CG_OK;
    }
    cg_type elem[SEQ_MAX];
    memcpy(elem, s->elem, at * sizeof *elem);
    memcpy(elem + at, s->elem + at + 1, (s->n - at - 1) * sizeof *elem);
    cg_out_seq(g, n, 0, elem, s->n - 1);
    return CG_OK;
}

cg_err cg_shape_sequence_length(cg_graph *g, cg_node *n)
{
    cg_out_tensor(g, n, 0, CG_I64, 0, NULL);
    return CG_OK;
}

/* -- split and concatenate ------------------------------------------------- */

static cg_type with_dim(cg_graph *g, const cg_type *t, int axis, cg_dim d)
{
    cg_dim dims[CG_MAX_RANK];
    memcpy(dims, t->dims, sizeof *dims * (size_t)t->rank);
    dims[axis] = d;
    return cg_type_tensor(g, t->dtype, t->rank, dims);
}

static cg_type without_dim(cg_graph *g, const cg_type *t, int axis)
{
    cg_dim dims[CG_MAX_RANK];
    int rank = 0;
    for (int i = 0; i < t->rank; i++)
        if (i != axis)
            dims[rank++] = t->dims[i];
    return cg_type_tensor(g, t->dtype, rank, dims);
}

/* Sizes of the parts, in *part; *count 0 if they are not known. */
static cg_err part_sizes(cg_graph *g, const cg_node *n, cg_dim whole,
                         cg_dim *part, size_t *count)
{
    const cg_data *d = cg_in_data(n, 1);
    cg_dim step = 1, sum = 0;
    *count = 0;
    if (d && d->i && cg_in_type(n, 1).rank == 1) {
        for (size_t i = 0; i < d->n; i++)
            sum = cg_dim_add(g, sum, d->i[i]);
        CG_TRY(cg_want_equal(g, sum, whole, "sum of split and size of axis"));
        if (d->n > SEQ_MAX)
            return CG_OK;
        memcpy(part, d->i, d->n * sizeof *part);
        *count = d->n;
        return CG_OK;
    }
    if (cg_in(n, 1) && (!cg_in_scalar(n, 1, &step) || !cg_dim_known(step)))
        return CG_OK;
    if (step < 1)
        return cg_fail(CG_EFORMAT, "split is %s", cg_dim_str(g, step));
    if (!cg_dim_known(whole) || cg_dim_ceildiv(g, whole, step) > SEQ_MAX)
        return CG_OK;
    for (; whole > 0; whole -= step)
        part[(*count)++] = whole < step ? whole : step;
    return CG_OK;
}

cg_err cg_shape_split_to_sequence(cg_graph *g, cg_node *n)
{
    cg_type t = cg_in_type(n, 0), elem[SEQ_MAX];
    cg_dim part[SEQ_MAX];
    size_t count;
    int axis;
    bool squeeze = !cg_in(n, 1) && !cg_attr_int(n, "keepdims", 1);
    if (t.rank < 0) {
        t.kind = CG_KIND_SEQUENCE;
        cg_out_type(g, n, 0, t);
        return CG_OK;
    }
    CG_TRY(cg_axis(n, cg_attr_int(n, "axis", 0), t.rank, &axis));
    CG_TRY(part_sizes(g, n, t.dims[axis], part, &count));
    if (count == 0) {
        cg_dim d = cg_in(n, 1) ? cg_dim_unknown(g, n, "size of a part") : 1;
        t = squeeze ? without_dim(g, &t, axis) : with_dim(g, &t, axis, d);
        t.kind = CG_KIND_SEQUENCE;
        cg_out_type(g, n, 0, t);
        return CG_OK;
    }
    for (size_t i = 0; i < count; i++)
        elem[i] = squeeze ? without_dim(g, &t, axis)
                          : with_dim(g, &t, axis, part[i]);
    cg_out_seq(g, n, 0, elem, count);
    return CG_OK;
}

/* Elements that agree but for `axis`: its dims add up. */
static cg_err concat_known(cg_graph *g, cg_node *n, const cg_seq *s,
                           int64_t at)
{
    cg_type t = s->elem[0];
    cg_dim sum = 0;
    int axis;
    CG_TRY(cg_axis(n, at, t.rank, &axis));
    for (size_t i = 0; i < s->n; i++) {
        cg_type u = s->elem[i];
        if (u.rank != t.rank)
            return cg_fail(CG_EFORMAT, "elements of rank %d and %d", t.rank,
                           u.rank);
        for (int k = 0; k < t.rank; k++)
            if (k != axis)
                CG_TRY(cg_want_equal(g, t.dims[k], u.dims[k],
                                     "dims of elements"));
        sum = cg_dim_add(g, sum, u.dims[axis]);
    }
    cg_out_type(g, n, 0, with_dim(g, &t, axis, sum));
    return CG_OK;
}

static cg_err stack(cg_graph *g, cg_node *n, const cg_type *t, cg_dim count,
                    int64_t at)
{
    cg_dim dims[CG_MAX_RANK];
    int axis;
    if (t->rank >= CG_MAX_RANK)
        return cg_fail(CG_EFORMAT, "rank %d is too large", t->rank);
    CG_TRY(cg_axis(n, at, t->rank + 1, &axis));
    for (int i = 0; i <= t->rank; i++)
        dims[i] = i == axis ? count : t->dims[i > axis ? i - 1 : i];
    cg_out_tensor(g, n, 0, t->dtype, t->rank + 1, dims);
    return CG_OK;
}

cg_err cg_shape_concat_from_sequence(cg_graph *g, cg_node *n)
{
    const cg_seq *s = seq_of(n, 0);
    cg_type t = element_type(n, 0);
    int64_t at = cg_attr_int(n, "axis", 0);
    int axis;
    bool ranked = s && s->n > 0;
    for (size_t i = 0; ranked && i < s->n; i++)
        ranked = s->elem[i].rank >= 0;
    if (cg_attr_int(n, "new_axis", 0) && t.rank >= 0)
        return stack(g, n, &t,
                     s ? (cg_dim)s->n
                       : cg_dim_unknown(g, n, "length of a sequence"), at);
    if (ranked && !cg_attr_int(n, "new_axis", 0))
        return concat_known(g, n, s, at);
    if (t.rank < 0) {
        cg_out_unknown(g, n, 0, t.dtype, "elements of a sequence");
        return CG_OK;
    }
    CG_TRY(cg_axis(n, at, t.rank, &axis));
    cg_out_type(g, n, 0,
                with_dim(g, &t, axis,
                         cg_dim_unknown(g, n, "length of a sequence")));
    return CG_OK;
}

/* -- optionals ------------------------------------------------------------- */

cg_err cg_shape_optional(cg_graph *g, cg_node *n)
{
    const cg_attr *a = cg_attr_find(n, "type");
    cg_type t = cg_in_type(n, 0);
    if (!cg_in(n, 0) && a && a->kind == CG_ATTR_TYPE)
        t = *a->type;
    t.kind = CG_KIND_OPTIONAL;
    cg_out_type(g, n, 0, t);
    if (n->n_out && n->out[0])
        n->out[0]->seq = seq_of(n, 0);
    return CG_OK;
}

/* What an Optional was made from, where that is in sight. */
static const cg_value *wrapped(const cg_node *n)
{
    const cg_value *v = cg_in(n, 0);
    while (v && v->role == CG_ROLE_NODE && v->def->op == CG_OP_IDENTITY)
        v = cg_in(v->def, 0);
    return v && v->role == CG_ROLE_NODE && v->def->op == CG_OP_OPTIONAL
               ? cg_in(v->def, 0) : NULL;
}

/* An element may be a tensor or a sequence; the type of an optional does not
 * say which, its origin or the file's own type does. */
cg_err cg_shape_optional_get_element(cg_graph *g, cg_node *n)
{
    const cg_value *v = wrapped(n);
    cg_type t = v ? v->type : cg_in_type(n, 0);
    cg_value *out = n->n_out ? n->out[0] : NULL;
    if (t.kind == CG_KIND_OPTIONAL)
        t.kind = out && out->declared.kind == CG_KIND_SEQUENCE
                     ? CG_KIND_SEQUENCE : CG_KIND_TENSOR;
    if (t.rank < 0 && t.kind == CG_KIND_TENSOR)
        cg_out_unknown(g, n, 0, t.dtype, "element of an optional");
    else
        cg_out_type(g, n, 0, t);
    if (out)
        out->seq = seq_of(n, 0);
    return CG_OK;
}

/* Known where the operand is no optional, or was made in sight. */
cg_err cg_shape_optional_has_element(cg_graph *g, cg_node *n)
{
    const cg_value *v = cg_in(n, 0);
    cg_out_tensor(g, n, 0, CG_BOOL, 0, NULL);
    bool made = v && v->role == CG_ROLE_NODE && v->def->op == CG_OP_OPTIONAL;
    if (v && v->type.kind == CG_KIND_OPTIONAL && !made)
        return CG_OK;
    cg_data *d = cg_data_new(g, CG_BOOL, 1);
    d->i[0] = v && (!made || cg_in(v->def, 0));
    cg_out_data(n, 0, d);
    return CG_OK;
}
