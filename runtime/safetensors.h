/* Tensors in files: the safetensors format (huggingface/safetensors, README,
 * "Format"): the length of the header (8 bytes, little-endian), a header in
 * JSON (name -> dtype, shape, data_offsets; "__metadata__" -> strings), then
 * the data without gaps.
 *
 * Our files carry a CRC-32C: metadata "gennape.crc32c", eight hexadecimal
 * digits, the first entry of the header, over the whole file with these digits
 * as 0. */
#ifndef CG_RUNTIME_SAFETENSORS_H
#define CG_RUNTIME_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define CG_TENSOR_RANK_MAX 8

typedef enum cg_tensor_type {
    CG_TENSOR_F32,
    CG_TENSOR_F64,
    CG_TENSOR_I32,
    CG_TENSOR_I64,
    CG_TENSOR_U8,
    CG_TENSOR_TYPES
} cg_tensor_type;
const char *cg_tensor_type_name(cg_tensor_type t); /* "F32", as in the file */
size_t cg_tensor_type_size(cg_tensor_type t);      /* bytes of an element */

typedef struct cg_tensor {
    const char *name;
    cg_tensor_type type;
    int rank; /* 0: a scalar */
    int64_t shape[CG_TENSOR_RANK_MAX];
    const void *data; /* row-major, aligned to its elements */
} cg_tensor;

typedef struct cg_tensor_meta {
    const char *key, *value;
} cg_tensor_meta;

/* -- reading --------------------------------------------------------------- */

typedef struct cg_tensors {
    size_t n, n_meta;
    const cg_tensor *tensor;    /* (n) in the order of the header */
    const cg_tensor_meta *meta; /* (n_meta) without the checksum */
    bool checked; /* it has a checksum, which is right. Files of other
                     programs have none; a checkpoint of ours must. */
    struct cg_tensors_store *store; /* what the pointers point into */
} cg_tensors;

/* Maps a file ("-": reads standard input) and checks all of it, the checksum
 * included, so that nothing below fails. What is wrong is said in one sentence
 * that names the file and the tensor; *t is then NULL. */
cg_err cg_tensors_open(cg_tensors **t, const char *path);
void cg_tensors_close(cg_tensors *t); /* NULL is fine */

const cg_tensor *cg_tensors_find(const cg_tensors *t, const char *name);
const char *cg_tensors_meta(const cg_tensors *t, const char *key);

/* The tensor of this name, which must be of this type and shape (rank); a
 * dimension -1 takes any size. */
cg_err cg_tensors_want(const cg_tensors *t, const char *name,
                       cg_tensor_type type, int rank, const int64_t *shape,
                       const cg_tensor **out);

/* -- writing --------------------------------------------------------------- */

/* Writes the file, whole or not at all. The header has the tensors in the
 * given order; the data has those of wide elements first, so that all are
 * aligned. The same arguments give the same bytes. Names and keys must be
 * distinct UTF-8 (asserted); a value that is no UTF-8 is an error. */
cg_err cg_tensors_write(const char *path, const cg_tensor *tensor, size_t n,
                        const cg_tensor_meta *meta, size_t n_meta);

#endif
