/* Shape rules of signal, image, text and random operators, and of classical
 * machine learning (ai.onnx.ml). */
#include <string.h>

#include "passes/shape_rules.h"

static int dtype_attr(const cg_node *n, const char *name, int otherwise)
{
    int64_t v = cg_attr_int(n, name, otherwise);
    return v > 0 && v < 256 && cg_dtype_valid((int)v) ? (int)v : otherwise;
}

/* -- signal ---------------------------------------------------------------- */

/* Real or complex signals have a last axis of 1 or 2. */
cg_err cg_shape_dft(cg_graph *g, cg_node *n)
{
    cg_type x = cg_in_type(n, 0);
    cg_dim dims[CG_MAX_RANK], len;
    cg_dim at = cg_dim_number(cg_attr_int(n, "axis", -2));
    bool one = cg_attr_int(n, "onesided", 0) != 0;
    bool inverse = cg_attr_int(n, "inverse", 0) != 0;
    int axis;
    if (cg_blocked(g, n, 0))
        return CG_OK;
    CG_TRY(cg_want_rank(n, 0, "the input", 2, CG_MAX_RANK));
    memcpy(dims, x.dims, sizeof(cg_dim) * (size_t)x.rank);
    dims[x.rank - 1] = one && inverse ? 1 : 2;
    if (cg_in(n, 2) && (!cg_in_scalar(n, 2, &at) || !cg_dim_known(at))) {
        for (int i = 0; i < x.rank - 1; i++)
            dims[i] = cg_dim_unknown(g, n, "axis not known");
        cg_out_tensor(g, n, 0, x.dtype, x.rank, dims);
        return CG_OK;
    }
    CG_TRY(cg_axis(n, at, x.rank, &axis));
    if (axis == x.rank - 1)
        return cg_fail(CG_EFORMAT, "axis %d is that of complex numbers",
                       axis);
    len = dims[axis];
    if (one && inverse)
        len = cg_dim_mul(g, cg_dim_sub(g, len, 1), 2);
    if (cg_in(n, 1) && !cg_in_scalar(n, 1, &len))
        len = cg_dim_unknown(g, n, "dft_length not known");
    dims[axis] = one && !inverse
                     ? cg_dim_add(g, cg_dim_floordiv(g, len, 2), 1) : len;
    cg_out_tensor(g, n, 0, x.dtype, x.rank, dims);
    return CG_OK;
}

/* Inputs: signal (B,L,1 or 2), frame_step, window, frame_length. */
cg_err cg_shape_stft(cg_graph *g, cg_node *n)
{
    cg_dim step, frame, len = cg_in_dim(g, n, 0, 1), frames;
    CG_TRY(cg_want_rank(n, 0, "the signal", 2, 3));
    if (!cg_in(n, 3))
        frame = cg_in(n, 2) ? cg_in_dim(g, n, 2, 0) : len;
    else if (!cg_in_scalar(n, 3, &frame))
        frame = cg_dim_unknown(g, n, "frame_length not known");
    if (cg_in_scalar(n, 1, &step)) {
        if (cg_dim_known(step) && step < 1)
            return cg_fail(CG_EFORMAT, "frame_step is %s",
                           cg_dim_str(g, step));
        cg_dim room = cg_dim_sub(g, len, frame);
        if (cg_dim_known(room) && room < 0)
            return cg_fail(CG_EFORMAT, "frames of %s in a signal of %s",
                           cg_dim_str(g, frame), cg_dim_str(g, len));
        frames = cg_dim_add(g, cg_dim_floordiv(g, room, step), 1);
    } else {
        frames = cg_dim_unknown(g, n, "frame_step not known");
    }
    if (cg_attr_int(n, "onesided", 1))
        frame = cg_dim_add(g, cg_dim_floordiv(g, frame, 2), 1);
    cg_dim dims[4] = {cg_in_dim(g, n, 0, 0), frames, frame, 2};
    cg_out_tensor(g, n, 0, cg_in_type(n, 0).dtype, 4, dims);
    return CG_OK;
}

cg_err cg_shape_window(cg_graph *g, cg_node *n)
{
    cg_dim len;
    if (!cg_in_scalar(n, 0, &len))
        len = cg_dim_unknown(g, n, "size not known");
    if (cg_dim_known(len) && len < 0)
        return cg_fail(CG_EFORMAT, "size is %s", cg_dim_str(g, len));
    cg_out_tensor(g, n, 0, dtype_attr(n, "output_datatype", CG_F32), 1, &len);
    return CG_OK;
}

cg_err cg_shape_mel_weight_matrix(cg_graph *g, cg_node *n)
{
    cg_dim bins, len, dims[2];
    if (!cg_in_scalar(n, 0, &bins))
        bins = cg_dim_unknown(g, n, "num_mel_bins not known");
    if (!cg_in_scalar(n, 1, &len))
        len = cg_dim_unknown(g, n, "dft_length not known");
    dims[0] = cg_dim_add(g, cg_dim_floordiv(g, len, 2), 1);
    dims[1] = bins;
    if ((cg_dim_known(bins) && bins < 0) || (cg_dim_known(len) && len < 0))
        return cg_fail(CG_EFORMAT, "num_mel_bins is %s, dft_length %s",
                       cg_dim_str(g, bins), cg_dim_str(g, len));
    cg_out_tensor(g, n, 0, dtype_attr(n, "output_datatype", CG_F32), 2, dims);
    return CG_OK;
}

/* -- images and text ------------------------------------------------------- */

cg_err cg_shape_image_decoder(cg_graph *g, cg_node *n)
{
    const char *format = cg_attr_string(n, "pixel_format", "RGB");
    cg_dim dims[3] = {cg_dim_unknown(g, n, "height of the image"),
                      cg_dim_unknown(g, n, "width of the image"),
                      strcmp(format, "Grayscale") == 0 ? 1 : 3};
    cg_out_tensor(g, n, 0, CG_U8, 3, dims);
    return CG_OK;
}

/* Stop words, if there are any, leave out elements of the last axis. */
cg_err cg_shape_string_normalizer(cg_graph *g, cg_node *n)
{
    cg_type x = cg_in_type(n, 0);
    const cg_attr *stop = cg_attr_find(n, "stopwords");
    cg_dim dims[2];
    CG_TRY(cg_want_rank(n, 0, "the input", 1, 2));
    if (x.rank < 0 || !stop || stop->n == 0) {
        cg_out_like(g, n, 0, 0, CG_STRING);
        return CG_OK;
    }
    memcpy(dims, x.dims, sizeof(cg_dim) * (size_t)x.rank);
    dims[x.rank - 1] = cg_dim_unknown(g, n, "number of words left");
    cg_out_tensor(g, n, 0, CG_STRING, x.rank, dims);
    return CG_OK;
}

cg_err cg_shape_string_split(cg_graph *g, cg_node *n)
{
    cg_type x = cg_in_type(n, 0);
    cg_dim dims[CG_MAX_RANK];
    cg_out_like(g, n, 1, 0, CG_I64);
    if (x.rank < 0) {
        cg_out_blocked(g, n, 0, 0, CG_STRING);
        return CG_OK;
    }
    if (x.rank >= CG_MAX_RANK)
        return cg_fail(CG_EFORMAT, "rank %d is too large", x.rank);
    if (x.rank)
        memcpy(dims, x.dims, sizeof(cg_dim) * (size_t)x.rank);
    dims[x.rank] = cg_dim_unknown(g, n, "most parts of a string");
    cg_out_tensor(g, n, 0, CG_STRING, x.rank + 1, dims);
    return CG_OK;
}

/* One column for each index that an n-gram can count into. */
cg_err cg_shape_tfidf_vectorizer(cg_graph *g, cg_node *n)
{
    cg_type x = cg_in_type(n, 0);
    const int64_t *index;
    size_t len;
    cg_dim dims[2], columns = 0;
    CG_TRY(cg_want_ints(n, "ngram_indexes", &index, &len));
    CG_TRY(cg_want_rank(n, 0, "the input", 1, 2));
    for (size_t i = 0; i < len; i++)
        columns = cg_dim_max(g, columns,
                             cg_dim_add(g, cg_dim_number(index[i]), 1));
    if (x.rank < 0) {
        cg_out_blocked(g, n, 0, 0, CG_F32);
        return CG_OK;
    }
    dims[0] = x.dims[0];
    dims[x.rank - 1] = columns;
    cg_out_tensor(g, n, 0, CG_F32, x.rank, dims);
    return CG_OK;
}

/* -- random ---------------------------------------------------------------- */

cg_err cg_shape_random(cg_graph *g, cg_node *n)
{
    const int64_t *shape;
    size_t len;
    cg_dim dims[CG_MAX_RANK];
    CG_TRY(cg_want_ints(n, "shape", &shape, &len));
    if (len > CG_MAX_RANK)
        return cg_fail(CG_EFORMAT, "shape has %zu dims", len);
    for (size_t i = 0; i < len; i++) {
        dims[i] = shape[i];
        if (shape[i] < 0)
            return cg_fail(CG_EFORMAT, "shape has %lld", (long long)shape[i]);
    }
    cg_out_tensor(g, n, 0, dtype_attr(n, "dtype", CG_F32), (int)len, dims);
    return CG_OK;
}

cg_err cg_shape_random_like(cg_graph *g, cg_node *n)
{
    cg_out_like(g, n, 0, 0,
                dtype_attr(n, "dtype", cg_in_dtype(n, 0, CG_F32)));
    return CG_OK;
}

cg_err cg_shape_multinomial(cg_graph *g, cg_node *n)
{
    int64_t count = cg_attr_int(n, "sample_size", 1);
    CG_TRY(cg_want_rank(n, 0, "the input", 2, 2));
    if (count < 0)
        return cg_fail(CG_EFORMAT, "sample_size is %lld", (long long)count);
    cg_dim dims[2] = {cg_in_dim(g, n, 0, 0), count};
    cg_out_tensor(g, n, 0, dtype_attr(n, "dtype", CG_I32), 2, dims);
    return CG_OK;
}

/* -- ai.onnx.ml ------------------------------------------------------------ */

/* Rows of (N,F); a vector is one row. */
static cg_dim rows(cg_graph *g, cg_node *n)
{
    return cg_in_type(n, 0).rank == 1 ? 1 : cg_in_dim(g, n, 0, 0);
}

static size_t attr_len(const cg_node *n, const char *name)
{
    const cg_attr *a = cg_attr_find(n, name);
    return a && (a->kind == CG_ATTR_INTS || a->kind == CG_ATTR_FLOATS ||
                 a->kind == CG_ATTR_STRINGS) ? a->n : 0;
}

cg_err cg_shape_ml_classifier(cg_graph *g, cg_node *n)
{
    static const char *const labels[] = {
        "classlabels_int64s", "classlabels_ints", "classlabels_strings"};
    size_t classes = 0;
    for (size_t i = 0; i < 3; i++)
        if (attr_len(n, labels[i]))
            classes = attr_len(n, labels[i]);
    cg_dim dims[2] = {rows(g, n), (cg_dim)classes};
    /* without labels: as many as there are intercepts; an SVM without
     * probabilities scores pairs of classes */
    if (!classes)
        dims[1] = (cg_dim)attr_len(n, "intercepts");
    bool pairs = n->op == CG_OP_SVM_CLASSIFIER && classes > 2 &&
                 !attr_len(n, "prob_a");
    if (dims[1] == 0 || pairs)
        dims[1] = cg_dim_unknown(g, n, "number of scores");
    cg_out_tensor(g, n, 0,
                  attr_len(n, "classlabels_strings") ? CG_STRING : CG_I64, 1,
                  dims);
    cg_out_tensor(g, n, 1, CG_F32, 2, dims);
    return CG_OK;
}

cg_err cg_shape_ml_regressor(cg_graph *g, cg_node *n)
{
    int64_t targets = cg_attr_int(n, "targets", 1);
    targets = cg_attr_int(n, "n_targets", targets);
    if (targets < 0)
        return cg_fail(CG_EFORMAT, "%lld targets", (long long)targets);
    cg_dim dims[2] = {rows(g, n), targets};
    int dtype = cg_attr_find(n, "tree_roots") ? cg_in_dtype(n, 0, CG_F32)
                                              : CG_F32;
    cg_out_tensor(g, n, 0, dtype, 2, dims);
    return CG_OK;
}

cg_err cg_shape_ml_float(cg_graph *g, cg_node *n)
{
    cg_out_like(g, n, 0, 0, CG_F32);
    return CG_OK;
}

/* The last axis by indices; a vector is one row. */
cg_err cg_shape_array_feature_extractor(cg_graph *g, cg_node *n)
{
    cg_type x = cg_in_type(n, 0), index = cg_in_type(n, 1);
    cg_dim dims[CG_MAX_RANK];
    bool ok;
    if (cg_blocked(g, n, 0))
        return CG_OK;
    CG_TRY(cg_want_rank(n, 0, "the input", 1, CG_MAX_RANK));
    cg_dim count = cg_type_count(g, &index, &ok);
    if (!ok)
        count = cg_dim_unknown(g, n, "number of indices");
    int rank = x.rank == 1 ? 2 : x.rank;
    dims[0] = 1;
    if (x.rank > 1)
        memcpy(dims, x.dims, sizeof(cg_dim) * (size_t)x.rank);
    dims[rank - 1] = count;
    cg_out_tensor(g, n, 0, x.dtype, rank, dims);
    return CG_OK;
}

cg_err cg_shape_cast_map(cg_graph *g, cg_node *n)
{
    const char *to = cg_attr_string(n, "cast_to", "TO_FLOAT");
    bool sparse = strcmp(cg_attr_string(n, "map_form", "DENSE"), "SPARSE") == 0;
    int64_t most = cg_attr_int(n, "max_map", 1);
    cg_dim dims[2] = {1, most};
    if (!sparse || most < 0)
        dims[1] = cg_dim_unknown(g, n, "number of keys");
    cg_out_tensor(g, n, 0,
                  strcmp(to, "TO_STRING") == 0  ? CG_STRING
                  : strcmp(to, "TO_INT64") == 0 ? CG_I64
                                                : CG_F32,
                  2, dims);
    return CG_OK;
}

/* LabelEncoder names its values by type; CategoryMapper (and the first
 * LabelEncoder) turn strings into integers and back. */
cg_err cg_shape_label_map(cg_graph *g, cg_node *n)
{
    const cg_attr *tensor = cg_attr_find(n, "values_tensor");
    int dtype = cg_in_type(n, 0).dtype == CG_STRING ? CG_I64 : CG_STRING;
    if (tensor && tensor->kind == CG_ATTR_VALUE)
        dtype = tensor->value->type.dtype;
    else if (attr_len(n, "values_strings"))
        dtype = CG_STRING;
    else if (attr_len(n, "values_int64s"))
        dtype = CG_I64;
    else if (attr_len(n, "values_floats"))
        dtype = CG_F32;
    cg_out_like(g, n, 0, 0, dtype);
    return CG_OK;
}

cg_err cg_shape_dict_vectorizer(cg_graph *g, cg_node *n)
{
    cg_dim dims[2] = {1, (cg_dim)(attr_len(n, "string_vocabulary") +
                                  attr_len(n, "int64_vocabulary"))};
    cg_out_tensor(g, n, 0, cg_in_type(n, 0).dtype, 2, dims);
    return CG_OK;
}

cg_err cg_shape_feature_vectorizer(cg_graph *g, cg_node *n)
{
    const int64_t *width;
    size_t len;
    cg_dim dims[2] = {rows(g, n), 0};
    CG_TRY(cg_want_ints(n, "inputdimensions", &width, &len));
    for (size_t k = 0; k < n->n_in; k++) {
        cg_dim w = k < len ? width[k] : cg_in_dim(g, n, k, -1);
        if (k < len && w < 0)
            return cg_fail(CG_EFORMAT, "inputdimensions has %lld",
                           (long long)w);
        dims[1] = cg_dim_add(g, dims[1], w);
    }
    cg_out_tensor(g, n, 0, CG_F32, 2, dims);
    return CG_OK;
}

cg_err cg_shape_one_hot_encoder(cg_graph *g, cg_node *n)
{
    cg_type x = cg_in_type(n, 0);
    cg_dim dims[CG_MAX_RANK];
    if (x.rank < 0) {
        cg_out_blocked(g, n, 0, 0, CG_F32);
        return CG_OK;
    }
    if (x.rank >= CG_MAX_RANK)
        return cg_fail(CG_EFORMAT, "rank %d is too large", x.rank);
    if (x.rank)
        memcpy(dims, x.dims, sizeof(cg_dim) * (size_t)x.rank);
    dims[x.rank] = (cg_dim)(attr_len(n, "cats_int64s") +
                            attr_len(n, "cats_strings"));
    cg_out_tensor(g, n, 0, CG_F32, x.rank + 1, dims);
    return CG_OK;
}

/* A sequence of maps, one for each row. */
cg_err cg_shape_zip_map(cg_graph *g, cg_node *n)
{
    cg_type t = cg_type_none();
    t.kind = CG_KIND_SEQUENCE;
    t.dtype = CG_F32;
    cg_out_type(g, n, 0, t);
    if (n->n_out && n->out[0])
        n->out[0]->why = "a sequence of maps";
    return CG_OK;
}
