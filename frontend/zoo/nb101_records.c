#include "frontend/zoo/nb101_records.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/crc32c.h"
#include "base/io.h"
#include "frontend/zoo/zoo.h"

#define RECORD_MAX 65536 /* bytes; the published ones have about 400 */
#define PIPE_MAX ((size_t)4 << 30)
#define N CG_NB101_VERTICES

const char *const cg_nb101_metric_names[CG_NB101_METRICS] = {
    "test_accuracy", "validation_accuracy", "train_accuracy", "training_time"};

/* -- the JSON array -------------------------------------------------------- */

/* The text that is left, and where strings without their escapes go. */
typedef struct reader {
    const char *s, *end;
    char *out;
} reader;

static void skip_space(reader *r)
{
    while (r->s < r->end && strchr(" \t\r\n", *r->s) && *r->s)
        r->s++;
}

static bool accept(reader *r, char c)
{
    skip_space(r);
    if (r->s == r->end || *r->s != c)
        return false;
    r->s++;
    return true;
}

/* What stands behind a backslash: one character of ASCII, or -1. */
static int escape(reader *r)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char hex[5] = "";
    const char *at;
    if (r->s == r->end)
        return -1;
    char c = *r->s++;
    if (c && (at = strchr(from, c)))
        return to[at - from];
    if (c != 'u' || r->end - r->s < 4)
        return -1;
    memcpy(hex, r->s, 4);
    r->s += 4;
    char *stop;
    long code = strtol(hex, &stop, 16);
    return *stop || code <= 0 || code > 126 ? -1 : (int)code;
}

/* A string, NUL-terminated in the scratch; NULL: there is none. */
static const char *string(reader *r)
{
    char *first = r->out;
    if (!accept(r, '"'))
        return NULL;
    while (r->s < r->end && *r->s != '"') {
        int c = (unsigned char)*r->s++;
        if (c == '\\')
            c = escape(r);
        if (c < ' ' && c != '\n')
            return NULL;
        *r->out++ = (char)c;
    }
    *r->out++ = '\0';
    return accept(r, '"') ? first : NULL;
}

static bool integer(reader *r, int *out)
{
    int64_t n = 0;
    skip_space(r);
    const char *first = r->s;
    for (; r->s < r->end && *r->s >= '0' && *r->s <= '9'; r->s++)
        if ((n = n * 10 + (*r->s - '0')) > 1000000)
            return false;
    *out = (int)n;
    return r->s > first;
}

/* -- the cell -------------------------------------------------------------- */

static const char *const op_names[CG_NB101_OPS] = {
    "conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3"};

/* The word up to a comma or the end; false: it is another. */
static bool word(const char **s, const char *want)
{
    size_t n = strlen(want);
    if (strncmp(*s, want, n) != 0 || ((*s)[n] && (*s)[n] != ','))
        return false;
    *s += n + ((*s)[n] == ',');
    return true;
}

static cg_err read_ops(const char *s, cg_nb101_cell *c)
{
    if (!word(&s, "input"))
        return cg_fail(CG_EFORMAT, "the first operation is not input");
    for (int v = 1; v < c->n - 1; v++) {
        int op = 0;
        while (op < CG_NB101_OPS && !word(&s, op_names[op]))
            op++;
        if (op == CG_NB101_OPS)
            return cg_fail(CG_EFORMAT, "operation %d, at '%.20s', is not one "
                           "of %s, %s, %s", v, s, op_names[0], op_names[1],
                           op_names[2]);
        c->op[v] = (uint8_t)op;
    }
    return word(&s, "output") && !*s
               ? CG_OK
               : cg_fail(CG_EFORMAT, "operations do not end with output");
}

/* The matrix by rows, n * n digits. */
static cg_err read_adjacency(const char *s, cg_nb101_cell *c)
{
    size_t len = strlen(s), n = 2;
    while (n < N && n * n < len)
        n++;
    if (n * n != len || strspn(s, "01") != len)
        return cg_fail(CG_EFORMAT, "the adjacency is no matrix of 0 and 1 of "
                       "2 to %d rows", N);
    c->n = (uint8_t)n;
    for (size_t v = 0; v < n; v++)
        for (size_t w = 0; w < n; w++)
            if (s[v * n + w] == '1') {
                if (w <= v)
                    return cg_fail(CG_EFORMAT, "vertex %zu has an edge to "
                                   "%zu, which is not behind it", v, w);
                c->out[v] |= (uint8_t)(1u << w);
            }
    return CG_OK;
}

/* By way of its code: whatever is no cell is refused there. */
static cg_err check_cell(cg_nb101_cell *c)
{
    char code[CG_ZOO_CODE_MAX] = "";
    cg_nb101_print(c, code);
    cg_err err = cg_nb101_parse(code, c);
    return err == CG_OK ? CG_OK : cg_fail_in(err, "cell '%s'", code);
}

/* -- the metrics ----------------------------------------------------------- */

/* Decodes in place; false: not base64. Line ends may stand anywhere. */
static bool base64(char *s, size_t *size)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    size_t n = 0, pad = 0, w = 0;
    for (const char *p = s; *p; p++) {
        const char *at = strchr(digits, *p);
        if (*p == '\n' || *p == '\r')
            continue;
        pad += *p == '=';
        if ((!at && *p != '=') || (at && pad))
            return false;
        bits = bits << 6 | (at ? (uint32_t)(at - digits) : 0);
        if (++n % 4 == 0)
            for (int k = 16; k >= 0; k -= 8)
                s[w++] = (char)(bits >> k);
    }
    *size = w - (pad <= w ? pad : w);
    return n % 4 == 0 && pad <= 2;
}

typedef struct wire {
    const unsigned char *p, *end;
} wire;

enum { VARINT, DOUBLE, BYTES, FLOAT = 5 }; /* wire types */

typedef struct field {
    uint64_t number;
    int type;
    wire data;    /* BYTES: strings and messages */
    double value; /* DOUBLE */
} field;

static bool varint(wire *w, uint64_t *out)
{
    *out = 0;
    for (int shift = 0; shift < 64 && w->p < w->end; shift += 7) {
        unsigned char b = *w->p++;
        *out |= (uint64_t)(b & 127) << shift;
        if (!(b & 128))
            return true;
    }
    return false;
}

/* The next field; false: the message is damaged. */
static bool next_field(wire *w, field *f)
{
    uint64_t tag, size;
    if (!varint(w, &tag))
        return false;
    *f = (field){.number = tag >> 3, .type = tag & 7};
    switch (f->type) {
    case VARINT: return varint(w, &size);
    case DOUBLE: size = 8; break;
    case FLOAT: size = 4; break;
    case BYTES:
        if (varint(w, &size))
            break;
        return false;
    default: return false;
    }
    if (size > (uint64_t)(w->end - w->p))
        return false;
    f->data = (wire){w->p, w->p + size};
    if (f->type == DOUBLE)
        memcpy(&f->value, w->p, 8);
    w->p += size;
    return true;
}

/* EvaluationData: epoch 1, time 2, accuracies 3 (train), 4 (validation),
 * 5 (test). */
static bool read_evaluation(wire w, double metric[CG_NB101_METRICS])
{
    static const int place[] = {[2] = 3, [3] = 2, [4] = 1, [5] = 0};
    field f;
    for (int i = 0; i < CG_NB101_METRICS; i++)
        metric[i] = 0; /* as protobuf has it for what is not there */
    while (w.p < w.end) {
        if (!next_field(&w, &f))
            return false;
        if (f.number >= 2 && f.number <= 5 && f.type == DOUBLE)
            metric[place[f.number]] = f.value;
    }
    return true;
}

/* ModelMetrics: evaluations are field 1, the last is that at the end. */
static cg_err read_metrics(wire w, double metric[CG_NB101_METRICS])
{
    field f, last = {0};
    while (w.p < w.end) {
        if (!next_field(&w, &f))
            return cg_fail(CG_EFORMAT, "the metrics are no protobuf message");
        if (f.number == 1 && f.type == BYTES)
            last = f;
    }
    if (!last.data.p)
        return cg_fail(CG_EFORMAT, "the metrics have no evaluation");
    if (!read_evaluation(last.data, metric))
        return cg_fail(CG_EFORMAT, "an evaluation is no protobuf message");
    for (int i = 0; i < CG_NB101_METRICS; i++)
        if (!isfinite(metric[i]))
            return cg_fail(CG_EFORMAT, "%s is not finite",
                           cg_nb101_metric_names[i]);
    return CG_OK;
}

/* -- records --------------------------------------------------------------- */

static cg_err read_record(const char *data, size_t size, char *scratch,
                          cg_nb101_record *out)
{
    reader r = {data, data + size, scratch};
    const char *text[5] = {0};
    bool ok = accept(&r, '[');
    for (int i = 0; i < 5 && ok; i++)
        ok = (i == 0 || accept(&r, ',')) &&
             (i == 1 ? integer(&r, &out->epochs)
                     : (text[i] = string(&r)) != NULL);
    ok = ok && accept(&r, ']');
    skip_space(&r);
    if (!ok || r.s != r.end)
        return cg_fail(CG_EFORMAT, "not a JSON array of module hash, epochs, "
                       "adjacency, operations and metrics");
    if (strlen(text[0]) != CG_NB101_KEY - 1)
        return cg_fail(CG_EFORMAT, "the module hash has %zu digits, not %d",
                       strlen(text[0]), CG_NB101_KEY - 1);
    memcpy(out->key, text[0], sizeof out->key);
    out->cell = (cg_nb101_cell){0};
    CG_TRY(read_adjacency(text[2], &out->cell));
    CG_TRY(read_ops(text[3], &out->cell));
    CG_TRY(check_cell(&out->cell));
    size_t n;
    if (!base64((char *)text[4], &n))
        return cg_fail(CG_EFORMAT, "the metrics are no base64");
    const unsigned char *p = (const unsigned char *)text[4];
    return read_metrics((wire){p, p + n}, out->metric);
}

static uint32_t masked(const void *p, size_t n)
{
    uint32_t crc = cg_crc32c(0, p, n);
    return (crc >> 15 | crc << 17) + 0xa282ead8;
}

static uint64_t number(const unsigned char *p, int bytes)
{
    uint64_t n = 0;
    for (int i = bytes; i-- > 0;)
        n = n << 8 | p[i];
    return n;
}

/* Data and size of the record at *at, which moves behind it. */
static cg_err frame(const cg_file_map *m, size_t *at, const char **data,
                    size_t *size)
{
    const unsigned char *p = m->data + *at;
    size_t left = m->size - *at;
    if (left < 12)
        return cg_fail(CG_EFORMAT, "the file is cut short");
    if (masked(p, 8) != number(p + 8, 4))
        return cg_fail(CG_EFORMAT, "wrong checksum of its length (damaged, or "
                       "no TFRecord file)");
    uint64_t n = number(p, 8);
    if (n > RECORD_MAX)
        return cg_fail(CG_ELIMIT, "%" PRIu64 " bytes are more than a record "
                       "has (%d)", n, RECORD_MAX);
    if (left - 12 < n + 4)
        return cg_fail(CG_EFORMAT, "the file is cut short");
    if (masked(p + 12, n) != number(p + 12 + n, 4))
        return cg_fail(CG_EFORMAT, "wrong checksum: the file is damaged");
    *data = (const char *)p + 12;
    *size = n;
    *at += 16 + n;
    return CG_OK;
}

cg_err cg_nb101_read_records(const char *path,
                             cg_err (*each)(void *user, uint64_t number,
                                            const cg_nb101_record *r,
                                            const char *why),
                             void *user)
{
    cg_file_map m;
    cg_err err = cg_file_open(&m, path, PIPE_MAX);
    if (err != CG_OK)
        return cg_fail_in(err, "%s", path);
    if (m.data && !m.heap) /* from front to back, unlike models */
        madvise((void *)m.data, m.size, MADV_SEQUENTIAL);
    char *scratch = cg_xrealloc(NULL, RECORD_MAX + 8);
    size_t at = 0, start = 0;
    uint64_t i = 0;
    bool framed = true;
    while (err == CG_OK && at < m.size) {
        cg_nb101_record r;
        const char *data = NULL;
        size_t size = 0;
        start = at;
        i++;
        err = frame(&m, &at, &data, &size);
        framed = err == CG_OK;
        if (!framed)
            break;
        bool good = read_record(data, size, scratch, &r) == CG_OK;
        err = each(user, i, good ? &r : NULL, good ? NULL : cg_error());
    }
    cg_xfree(scratch);
    cg_file_close(&m);
    return framed ? err
                  : cg_fail_in(err, "%s: record %" PRIu64 " at byte %zu", path,
                               i, start);
}
