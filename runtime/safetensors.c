/* Reading safetensors. Everything is checked on opening: the header's JSON,
 * every tensor's entry, that the tensors fill the data exactly (sorted by
 * offset each begins where the one before ends), and the checksum. */
#include "runtime/safetensors.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/crc32c.h"
#include "base/io.h"
#include "base/map.h"
#include "runtime/safetensors_format.h"

#define MAX_PIPE ((size_t)4 << 30)

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "tensors are mapped as they are in the file");

static const struct {
    const char *name;
    size_t size;
} types[CG_TENSOR_TYPES] = {
    [CG_TENSOR_F32] = {"F32", 4}, [CG_TENSOR_F64] = {"F64", 8},
    [CG_TENSOR_I32] = {"I32", 4}, [CG_TENSOR_I64] = {"I64", 8},
    [CG_TENSOR_U8] = {"U8", 1},
};

const char *cg_tensor_type_name(cg_tensor_type t) { return types[t].name; }
size_t cg_tensor_type_size(cg_tensor_type t) { return types[t].size; }

struct cg_tensors_store {
    cg_file_map file;
    cg_arena arena;
    cg_map by_name, by_key; /* to cg_tensor, to a metadata string */
};

typedef struct span { /* bytes of the data that a tensor has */
    uint64_t begin, end;
    const char *name;
} span;

typedef struct reader {
    cg_tensors *t;
    cg_arena *arena;
    const unsigned char *data; /* behind the header */
    uint64_t size;             /* of the data */
    cg_tensor *tensor;         /* (t->n) */
    span *span;                /* (t->n) */
} reader;

/* -- one tensor ------------------------------------------------------------ */

static cg_err read_type(cg_tensor *t, const json_t *entry)
{
    const char *s = json_string_value(json_object_get(entry, "dtype"));
    if (!s)
        return cg_fail(CG_EFORMAT, "it has no dtype");
    for (int i = 0; i < CG_TENSOR_TYPES; i++)
        if (strcmp(types[i].name, s) == 0) {
            t->type = (cg_tensor_type)i;
            return CG_OK;
        }
    return cg_fail(CG_EUNSUPPORTED, "its dtype is '%.20s'; F32, F64, I32, I64 "
                                    "and U8 can be read", s);
}

/* Element i of an array of whole numbers >= 0; -1 where it is none. */
static int64_t natural(const json_t *array, size_t i)
{
    const json_t *v = json_array_get(array, i);
    return json_is_integer(v) && json_integer_value(v) >= 0
               ? (int64_t)json_integer_value(v) : -1;
}

/* Also the number of bytes. */
static cg_err read_shape(cg_tensor *t, const json_t *entry, int64_t *bytes)
{
    const json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape))
        return cg_fail(CG_EFORMAT, "it has no shape");
    size_t rank = json_array_size(shape);
    if (rank > CG_TENSOR_RANK_MAX)
        return cg_fail(CG_EUNSUPPORTED, "it has %zu dimensions; up to %d can "
                                        "be read", rank, CG_TENSOR_RANK_MAX);
    t->rank = (int)rank;
    *bytes = (int64_t)types[t->type].size;
    for (size_t i = 0; i < rank; i++) {
        t->shape[i] = natural(shape, i);
        if (t->shape[i] < 0)
            return cg_fail(CG_EFORMAT, "dimension %zu of its shape is no whole "
                                       "number from 0", i);
        if (__builtin_mul_overflow(*bytes, t->shape[i], bytes))
            return cg_fail(CG_ELIMIT, "its shape has more elements than any "
                                      "memory");
    }
    return CG_OK;
}

static cg_err read_span(const reader *r, cg_tensor *t, const json_t *entry,
                        int64_t bytes, span *out)
{
    const json_t *pair = json_object_get(entry, "data_offsets");
    int64_t begin = natural(pair, 0), end = natural(pair, 1);
    if (json_array_size(pair) != 2 || begin < 0 || end < 0)
        return cg_fail(CG_EFORMAT, "its data_offsets are not two whole numbers "
                                   "from 0");
    if (end < begin || end - begin != bytes)
        return cg_fail(CG_EFORMAT, "its data_offsets are %" PRId64 " and "
                       "%" PRId64 ", its shape needs %" PRId64 " bytes",
                       begin, end, bytes);
    if ((uint64_t)end > r->size)
        return cg_fail(CG_EFORMAT, "its data ends at byte %" PRId64 ", that of "
                       "the file at %" PRIu64 ": the file is cut short", end,
                       r->size);
    t->data = r->data + begin;
    if ((uintptr_t)t->data % types[t->type].size != 0)
        return cg_fail(CG_EUNSUPPORTED, "its data is not aligned to the %zu "
                       "bytes of its elements", types[t->type].size);
    *out = (span){(uint64_t)begin, (uint64_t)end, t->name};
    return CG_OK;
}

static cg_err read_tensor(const reader *r, cg_tensor *t, const json_t *entry,
                          span *out)
{
    int64_t bytes = 0;
    if (!json_is_object(entry))
        return cg_fail(CG_EFORMAT, "its entry is no object");
    CG_TRY(read_type(t, entry));
    CG_TRY(read_shape(t, entry, &bytes));
    return read_span(r, t, entry, bytes, out);
}

/* -- all of them ----------------------------------------------------------- */

static cg_err read_tensors(reader *r, json_t *root)
{
    cg_tensors *t = r->t;
    const char *name;
    json_t *entry;
    json_object_foreach(root, name, entry) {
        if (strcmp(name, CG_TENSORS_META) == 0)
            continue;
        cg_tensor *to = &r->tensor[t->n];
        to->name = cg_arena_strdup(r->arena, name);
        cg_err err = read_tensor(r, to, entry, &r->span[t->n]);
        if (err != CG_OK)
            return cg_fail_in(err, "tensor '%.200s'", name);
        cg_map_put(&t->store->by_name, to->name, to);
        t->n++;
    }
    return CG_OK;
}

static int by_offset(const void *a, const void *b)
{
    const span *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static cg_err check_spans(const reader *r)
{
    span *s = r->span;
    size_t n = r->t->n;
    uint64_t at = 0;
    if (n > 0)
        qsort(s, n, sizeof *s, by_offset);
    for (size_t i = 0; i < n; at = s[i++].end) {
        if (s[i].begin < at)
            return cg_fail(CG_EFORMAT, "tensor '%.200s': its data overlaps "
                           "that of tensor '%.200s'", s[i].name,
                           s[i - 1].name);
        if (s[i].begin > at)
            return cg_fail(CG_EFORMAT, "tensor '%.200s': the %" PRIu64
                           " bytes before its data belong to no tensor",
                           s[i].name, s[i].begin - at);
    }
    if (at != r->size)
        return cg_fail(CG_EFORMAT, "%" PRIu64 " bytes at its end belong to no "
                       "tensor", r->size - at);
    return CG_OK;
}

static cg_err read_meta(reader *r, const json_t *object)
{
    cg_tensors *t = r->t;
    if (!object)
        return CG_OK;
    if (!json_is_object(object))
        return cg_fail(CG_EFORMAT, CG_TENSORS_META " is no object");
    cg_tensor_meta *meta = cg_arena_array(r->arena, cg_tensor_meta,
                                          json_object_size(object));
    t->meta = meta;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value) {
        if (!json_is_string(value))
            return cg_fail(CG_EFORMAT, "metadata '%.200s' is no string", key);
        cg_tensor_meta m = {cg_arena_strdup(r->arena, key),
                            cg_arena_strdup(r->arena,
                                            json_string_value(value))};
        cg_map_put(&t->store->by_key, m.key, (void *)m.value);
        if (strcmp(key, CG_TENSORS_CRC) != 0)
            meta[t->n_meta++] = m;
    }
    return CG_OK;
}

/* Where a file says it has a checksum, it must be one of our layout: a program
 * that moves the entries has changed what the sum was made of. */
static cg_err check_crc(cg_tensors *t)
{
    const cg_file_map *m = &t->store->file;
    const size_t behind = CG_TENSORS_CRC_AT + CG_TENSORS_CRC_LEN;
    char digits[CG_TENSORS_CRC_LEN + 1];
    const char *said = cg_map_get(&t->store->by_key, CG_TENSORS_CRC);
    if (!said)
        return CG_OK;
    bool ours = m->size > behind &&
                memcmp(m->data + 8, CG_TENSORS_START,
                       sizeof CG_TENSORS_START - 1) == 0;
    if (ours) {
        uint32_t crc = cg_crc32c(0, m->data, CG_TENSORS_CRC_AT);
        crc = cg_crc32c(crc, CG_TENSORS_CRC_ZERO, CG_TENSORS_CRC_LEN);
        crc = cg_crc32c(crc, m->data + behind, m->size - behind);
        snprintf(digits, sizeof digits, "%08" PRIx32, crc);
        ours = strcmp(digits, said) == 0;
    }
    t->checked = ours;
    return ours ? CG_OK
                : cg_fail(CG_EFORMAT, "its checksum is wrong: the file is "
                          "damaged, or another program wrote it anew");
}

static cg_err read_entries(cg_tensors *t, json_t *root, reader *r)
{
    size_t n = json_object_size(root);
    r->tensor = cg_arena_array(r->arena, cg_tensor, n);
    r->span = cg_arena_array(r->arena, span, n);
    t->tensor = r->tensor;
    CG_TRY(read_meta(r, json_object_get(root, CG_TENSORS_META)));
    CG_TRY(read_tensors(r, root));
    CG_TRY(check_spans(r));
    return check_crc(t);
}

/* The length of the header, once it can be trusted. */
static cg_err header_length(const cg_file_map *m, size_t *len)
{
    uint64_t n = 0;
    if (m->size < 8)
        return cg_fail(CG_EFORMAT, "%zu bytes are no safetensors file",
                       m->size);
    memcpy(&n, m->data, 8);
    if (n > CG_TENSORS_HEADER_MAX)
        return cg_fail(CG_ELIMIT, "no safetensors file: its header would have "
                       "%" PRIu64 " bytes (at most %zu)", n,
                       CG_TENSORS_HEADER_MAX);
    if (n > m->size - 8)
        return cg_fail(CG_EFORMAT, "its header has %" PRIu64 " bytes, %zu are "
                       "there: the file is cut short", n, m->size - 8);
    *len = (size_t)n;
    return CG_OK;
}

static cg_err read_file(cg_tensors *t)
{
    const cg_file_map *m = &t->store->file;
    size_t len = 0;
    CG_TRY(header_length(m, &len));
    json_error_t why;
    json_t *root = json_loadb((const char *)m->data + 8, len,
                              JSON_REJECT_DUPLICATES, &why);
    if (!root)
        return cg_fail(CG_EFORMAT, "its header is no JSON: %s (byte %d)",
                       why.text, why.position);
    reader r = {.t = t, .arena = &t->store->arena,
                .data = m->data + 8 + len, .size = m->size - 8 - len};
    cg_err err = json_is_object(root)
                     ? read_entries(t, root, &r)
                     : cg_fail(CG_EFORMAT, "its header is no JSON object");
    json_decref(root);
    return err;
}

cg_err cg_tensors_open(cg_tensors **out, const char *path)
{
    cg_tensors *t = cg_xcalloc(1, sizeof *t);
    t->store = cg_xcalloc(1, sizeof *t->store);
    cg_arena_init(&t->store->arena);
    cg_err err = cg_file_open(&t->store->file, path, MAX_PIPE);
    if (err == CG_OK)
        err = read_file(t);
    if (err != CG_OK) {
        cg_tensors_close(t);
        t = NULL;
        cg_fail_in(err, "%s", strcmp(path, "-") ? path : "standard input");
    }
    *out = t;
    return err;
}

void cg_tensors_close(cg_tensors *t)
{
    if (!t)
        return;
    cg_map_free(&t->store->by_name);
    cg_map_free(&t->store->by_key);
    cg_arena_free(&t->store->arena);
    cg_file_close(&t->store->file);
    cg_xfree(t->store);
    cg_xfree(t);
}

/* -- looking up ------------------------------------------------------------ */

const cg_tensor *cg_tensors_find(const cg_tensors *t, const char *name)
{
    return cg_map_get(&t->store->by_name, name);
}

const char *cg_tensors_meta(const cg_tensors *t, const char *key)
{
    return cg_map_get(&t->store->by_key, key);
}

/* "F32 (32, any)" */
static const char *describe(char *out, size_t size, cg_tensor_type type,
                            int rank, const int64_t *shape)
{
    size_t at = (size_t)snprintf(out, size, "%s (", types[type].name);
    for (int i = 0; i < rank && at < size; i++) {
        const char *comma = i ? ", " : "";
        at += (size_t)(shape[i] < 0
                           ? snprintf(out + at, size - at, "%sany", comma)
                           : snprintf(out + at, size - at, "%s%" PRId64, comma,
                                      shape[i]));
    }
    if (at < size)
        snprintf(out + at, size - at, ")");
    return out;
}

cg_err cg_tensors_want(const cg_tensors *t, const char *name,
                       cg_tensor_type type, int rank, const int64_t *shape,
                       const cg_tensor **out)
{
    char have[256], want[256];
    const cg_tensor *x = *out = cg_tensors_find(t, name);
    if (!x)
        return cg_fail(CG_EFORMAT, "tensor '%s' is missing", name);
    bool same = x->type == type && x->rank == rank;
    for (int i = 0; same && i < rank; i++)
        same = shape[i] < 0 || shape[i] == x->shape[i];
    if (same)
        return CG_OK;
    *out = NULL;
    return cg_fail(CG_EFORMAT, "tensor '%s' is %s, not %s", name,
                   describe(have, sizeof have, x->type, x->rank, x->shape),
                   describe(want, sizeof want, type, rank, shape));
}
