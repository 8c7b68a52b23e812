/* Writing safetensors. The header is printed rather than built as a document:
 * its beginning must stand where the checksum is looked for. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/crc32c.h"
#include "base/io.h"
#include "base/map.h"
#include "ir/quote.h"
#include "ir/text.h"
#include "runtime/safetensors.h"
#include "runtime/safetensors_format.h"

typedef struct writer {
    const cg_tensor *tensor; /* (n) */
    size_t n;
    size_t *order;   /* (n) of the data: indices of tensors */
    uint64_t *begin; /* (n) of each tensor in the data */
    char *head;      /* the length and the header, padded to 8 bytes */
    size_t head_size;
} writer;

static size_t bytes(const cg_tensor *t)
{
    size_t n = cg_tensor_type_size(t->type);
    for (int i = 0; i < t->rank; i++)
        n *= (size_t)t->shape[i];
    return n;
}

/* Wide elements first: each tensor then begins at a multiple of its width. */
static void lay_out(writer *w)
{
    size_t placed = 0;
    uint64_t at = 0;
    for (size_t width = 8; width > 0; width /= 2)
        for (size_t i = 0; i < w->n; i++) {
            if (cg_tensor_type_size(w->tensor[i].type) != width)
                continue;
            w->order[placed++] = i;
            w->begin[i] = at;
            at += bytes(&w->tensor[i]);
        }
    assert(placed == w->n);
}

static bool is_utf8(const char *s)
{
    size_t n = 1;
    for (; *s && (n = cg_utf8_len(s)) > 0; s += n)
        ;
    return n > 0;
}

/* Names, or keys: what a reader refuses must not be asked for. */
static void assert_name(cg_map *seen, const char *name, const char *reserved)
{
    assert(is_utf8(name) && strcmp(name, reserved) != 0);
    assert(!cg_map_get(seen, name));
    cg_map_put(seen, name, (void *)name);
}

static cg_err check_names(const writer *w, const cg_tensor_meta *meta,
                          size_t n_meta)
{
    cg_map names = {0}, keys = {0};
    cg_err err = CG_OK;
    for (size_t i = 0; i < w->n; i++) {
        assert(w->tensor[i].rank <= CG_TENSOR_RANK_MAX);
        assert_name(&names, w->tensor[i].name, CG_TENSORS_META);
    }
    for (size_t i = 0; i < n_meta; i++) {
        assert_name(&keys, meta[i].key, CG_TENSORS_CRC);
        if (!is_utf8(meta[i].value))
            err = cg_fail(CG_EFORMAT, "metadata '%s' is no UTF-8",
                          meta[i].key);
    }
    cg_map_free(&names);
    cg_map_free(&keys);
    return err;
}

static void print_header(FILE *f, const writer *w, const cg_tensor_meta *meta,
                         size_t n_meta)
{
    fputs(CG_TENSORS_START CG_TENSORS_CRC_ZERO "\"", f);
    for (size_t i = 0; i < n_meta; i++) {
        fputc(',', f);
        cg_print_json_string(f, meta[i].key);
        fputc(':', f);
        cg_print_json_string(f, meta[i].value);
    }
    fputc('}', f);
    for (size_t i = 0; i < w->n; i++) {
        const cg_tensor *t = &w->tensor[i];
        fputc(',', f);
        cg_print_json_string(f, t->name);
        fprintf(f, ":{\"dtype\":\"%s\",\"shape\":[",
                cg_tensor_type_name(t->type));
        for (int k = 0; k < t->rank; k++)
            fprintf(f, "%s%" PRId64, k ? "," : "", t->shape[k]);
        fprintf(f, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}",
                w->begin[i], w->begin[i] + bytes(t));
    }
    fputc('}', f);
}

static cg_err make_head(writer *w, const cg_tensor_meta *meta, size_t n_meta)
{
    FILE *f = open_memstream(&w->head, &w->head_size);
    if (!f)
        return cg_fail(CG_EIO, "no memory for the header");
    uint64_t len = 0;
    fwrite(&len, 8, 1, f);
    print_header(f, w, meta, n_meta);
    while (ftell(f) % 8 != 0)
        fputc(' ', f);
    bool bad = ferror(f);
    if (fclose(f) != 0 || bad)
        return cg_fail(CG_EIO, "no memory for the header");
    len = w->head_size - 8;
    if (len > CG_TENSORS_HEADER_MAX)
        return cg_fail(CG_ELIMIT, "names and metadata have %" PRIu64 " bytes "
                       "(at most %zu)", len, CG_TENSORS_HEADER_MAX);
    memcpy(w->head, &len, 8);
    return CG_OK;
}

static void set_crc(writer *w)
{
    char digits[9];
    uint32_t crc = cg_crc32c(0, w->head, w->head_size);
    for (size_t i = 0; i < w->n; i++) {
        const cg_tensor *t = &w->tensor[w->order[i]];
        crc = cg_crc32c(crc, t->data, bytes(t));
    }
    snprintf(digits, sizeof digits, "%08" PRIx32, crc);
    memcpy(w->head + CG_TENSORS_CRC_AT, digits, CG_TENSORS_CRC_LEN);
}

/* cg_out_commit finds what the stream could not write. */
static cg_err write_file(const writer *w, const char *path)
{
    cg_out out;
    CG_TRY(cg_out_open(&out, path));
    size_t size = w->head_size;
    bool going = fwrite(w->head, 1, size, out.f) == size;
    for (size_t i = 0; going && i < w->n; i++) {
        const cg_tensor *t = &w->tensor[w->order[i]];
        size = bytes(t);
        going = size == 0 || fwrite(t->data, 1, size, out.f) == size;
    }
    return cg_out_commit(&out);
}

cg_err cg_tensors_write(const char *path, const cg_tensor *tensor, size_t n,
                        const cg_tensor_meta *meta, size_t n_meta)
{
    writer w = {.tensor = tensor, .n = n,
                .order = cg_xcalloc(n, sizeof *w.order),
                .begin = cg_xcalloc(n, sizeof *w.begin)};
    lay_out(&w);
    cg_err err = check_names(&w, meta, n_meta);
    if (err == CG_OK)
        err = make_head(&w, meta, n_meta);
    if (err == CG_OK) {
        set_crc(&w);
        err = write_file(&w, path);
    } else {
        cg_fail_in(err, "cannot write %s", path);
    }
    free(w.head);
    cg_xfree(w.order);
    cg_xfree(w.begin);
    return err;
}
