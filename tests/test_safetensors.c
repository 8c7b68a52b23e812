/* Files of tensors: what is written is read back, and what is not a whole file
 * is refused in one sentence. With arguments, for safetensors_peer.py:
 *
 *     test_safetensors write FILE   the tensors of `samples`
 *     test_safetensors dump FILE    each as a line: name, type, shape, bytes */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/crc32c.h"
#include "base/rng.h"
#include "runtime/safetensors.h"

static const float floats[6] = {0, -1.5f, 2, 3, 1e30f, -1e-30f};
static const double doubles[3] = {3.141592653589793, -0.0, 1e300};
static const int32_t ints[2] = {INT32_MIN, 7};
static const int64_t longs[1] = {INT64_MIN + 1};
static const uint8_t octets[5] = {0, 1, 2, 254, 255};

static const cg_tensor samples[] = {
    {"octets", CG_TENSOR_U8, 1, {5}, octets},
    {"gnn.0.weight", CG_TENSOR_F32, 2, {2, 3}, floats},
    {"doubles", CG_TENSOR_F64, 3, {3, 1, 1}, doubles},
    {"empty", CG_TENSOR_F32, 2, {0, 4}, NULL},
    {"\"quoted\" \xc3\xa9\n", CG_TENSOR_I32, 1, {2}, ints},
    {"scalar", CG_TENSOR_I64, 0, {0}, longs},
    {"deep", CG_TENSOR_U8, CG_TENSOR_RANK_MAX, {1, 1, 5, 1, 1, 1, 1, 1},
     octets},
};
#define N_SAMPLES (sizeof samples / sizeof *samples)
static const cg_tensor_meta sample_meta[] = {
    {"format", "gennape"},
    {"config", "lr = 0.1\nlabel_column = \"\\xff\"\n"},
    {"empty", ""},
};
#define N_META (sizeof sample_meta / sizeof *sample_meta)

/* -- files ----------------------------------------------------------------- */

static char folder[] = "/tmp/gennape-tensors-XXXXXX";
static char path[64];
/* Damaged files, tens of thousands, are in memory. */
static char raw[64];
static int raw_fd;

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/t.safetensors", folder);
    raw_fd = memfd_create("raw", MFD_CLOEXEC);
    snprintf(raw, sizeof raw, "/proc/self/fd/%d", raw_fd);
    return raw_fd < 0 ? -1 : 0;
}

/* Fails where something else was left behind: a temporary file. */
static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static size_t load(char **bytes)
{
    struct stat st;
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &st), 0);
    *bytes = cg_xcalloc(1, (size_t)st.st_size);
    assert_int_equal(fread(*bytes, 1, (size_t)st.st_size, f), st.st_size);
    fclose(f);
    return (size_t)st.st_size;
}

static void store(const void *bytes, size_t n)
{
    assert_int_equal(ftruncate(raw_fd, (off_t)n), 0);
    assert_int_equal(pwrite(raw_fd, bytes, n, 0), n);
}

/* A file of this header and `n` bytes of data. */
static void store_header(const char *json, size_t n)
{
    uint64_t len = strlen(json);
    char *file = cg_xcalloc(1, 8 + len + n);
    memcpy(file, &len, 8);
    memcpy(file + 8, json, len);
    store(file, 8 + len + n);
    cg_xfree(file);
}

static void write_samples(void)
{
    if (cg_tensors_write(path, samples, N_SAMPLES, sample_meta, N_META) !=
        CG_OK)
        fail_msg("%s", cg_error());
}

static cg_tensors *open_fine(const char *file)
{
    cg_tensors *t;
    if (cg_tensors_open(&t, file) != CG_OK)
        fail_msg("%s", cg_error());
    return t;
}

/* The sentence is the path of `raw` and then exactly this. */
static void assert_refused(const char *sentence)
{
    cg_tensors *t = (cg_tensors *)raw;
    if (cg_tensors_open(&t, raw) == CG_OK)
        fail_msg("opens, but: %s", sentence);
    assert_null(t);
    assert_memory_equal(cg_error(), raw, strlen(raw));
    assert_string_equal(cg_error() + strlen(raw) + 2, sentence);
}

static size_t bytes_of(const cg_tensor *t)
{
    size_t n = cg_tensor_type_size(t->type);
    for (int i = 0; i < t->rank; i++)
        n *= (size_t)t->shape[i];
    return n;
}

/* -- whole files ----------------------------------------------------------- */

static void test_round_trip(void **state)
{
    (void)state;
    write_samples();
    cg_tensors *t = open_fine(path);
    assert_true(t->checked);
    assert_int_equal(t->n, N_SAMPLES);
    for (size_t i = 0; i < N_SAMPLES; i++) {
        const cg_tensor *a = &samples[i], *b = &t->tensor[i];
        assert_string_equal(a->name, b->name);
        assert_ptr_equal(cg_tensors_find(t, a->name), b);
        assert_int_equal(a->type, b->type);
        assert_int_equal(a->rank, b->rank);
        for (int k = 0; k < a->rank; k++)
            assert_int_equal(a->shape[k], b->shape[k]);
        assert_int_equal((uintptr_t)b->data % cg_tensor_type_size(b->type), 0);
        if (bytes_of(a) > 0)
            assert_memory_equal(a->data, b->data, bytes_of(a));
    }
    assert_int_equal(t->n_meta, N_META);
    for (size_t i = 0; i < N_META; i++) {
        assert_string_equal(t->meta[i].key, sample_meta[i].key);
        assert_string_equal(t->meta[i].value, sample_meta[i].value);
        assert_string_equal(cg_tensors_meta(t, sample_meta[i].key),
                            sample_meta[i].value);
    }
    assert_null(cg_tensors_find(t, "gnn.0.bias"));
    assert_null(cg_tensors_meta(t, "gnn.0.weight"));
    cg_tensors_close(t);
}

static void test_same_bytes(void **state)
{
    (void)state;
    char *a, *b;
    write_samples();
    size_t n = load(&a);
    cg_tensors *t = open_fine(path);
    assert_int_equal(cg_tensors_write(path, t->tensor, t->n, t->meta,
                                      t->n_meta), CG_OK);
    cg_tensors_close(t);
    assert_int_equal(load(&b), n);
    assert_memory_equal(a, b, n);
    cg_xfree(a);
    cg_xfree(b);
}

static void test_nothing(void **state)
{
    (void)state;
    assert_int_equal(cg_tensors_write(path, NULL, 0, NULL, 0), CG_OK);
    cg_tensors *t = open_fine(path);
    assert_int_equal(t->n, 0);
    assert_true(t->checked);
    cg_tensors_close(t);
    store_header("{}", 0);
    t = open_fine(raw);
    assert_int_equal(t->n_meta, 0);
    assert_false(t->checked);
    cg_tensors_close(t);
}

static void test_want(void **state)
{
    (void)state;
    const cg_tensor *x;
    write_samples();
    cg_tensors *t = open_fine(path);
    assert_int_equal(cg_tensors_want(t, "gnn.0.weight", CG_TENSOR_F32, 2,
                                     (int64_t[]){-1, 3}, &x), CG_OK);
    assert_ptr_equal(x, &t->tensor[1]);
    assert_int_equal(cg_tensors_want(t, "gnn.0.weight", CG_TENSOR_F32, 2,
                                     (int64_t[]){3, -1}, &x), CG_EFORMAT);
    assert_string_equal(cg_error(), "tensor 'gnn.0.weight' is F32 (2, 3), not "
                                    "F32 (3, any)");
    assert_null(x);
    assert_int_equal(cg_tensors_want(t, "scalar", CG_TENSOR_F64, 0, NULL, &x),
                     CG_EFORMAT);
    assert_string_equal(cg_error(), "tensor 'scalar' is I64 (), not F64 ()");
    assert_int_equal(cg_tensors_want(t, "b", CG_TENSOR_F32, 0, NULL, &x),
                     CG_EFORMAT);
    assert_string_equal(cg_error(), "tensor 'b' is missing");
    cg_tensors_close(t);
}

/* -- damage ---------------------------------------------------------------- */

/* One wrong bit anywhere: refused, or at least not called checked (the key of
 * the checksum is spelt otherwise then). */
static void test_every_bit(void **state)
{
    (void)state;
    char *file;
    int open = 0;
    write_samples();
    size_t n = load(&file);
    for (size_t bit = 0; bit < 8 * n; bit++) {
        cg_tensors *t;
        file[bit / 8] ^= (char)(1 << bit % 8);
        store(file, n);
        if (cg_tensors_open(&t, raw) == CG_OK) {
            assert_false(t->checked);
            open++;
        }
        cg_tensors_close(t);
        file[bit / 8] ^= (char)(1 << bit % 8);
    }
    assert_true(open < 8 * 16); /* the letters of the key */
    cg_xfree(file);
}

static void test_every_length(void **state)
{
    (void)state;
    char *file;
    write_samples();
    size_t n = load(&file);
    file = cg_xrealloc(file, n + 1);
    file[n] = 0;
    for (size_t len = 0; len <= n + 1; len++) {
        cg_tensors *t;
        if (len == n)
            continue;
        store(file, len);
        assert_true(cg_tensors_open(&t, raw) != CG_OK);
        assert_null(t);
    }
    assert_refused("1 bytes at its end belong to no tensor");
    store(file, n - 1);
    assert_refused("tensor 'deep': its data ends at byte 74, that of the file "
                   "at 73: the file is cut short");
    store(file, 5);
    assert_refused("5 bytes are no safetensors file");
    cg_xfree(file);
}

static void test_data_damage(void **state)
{
    (void)state;
    char *file;
    write_samples();
    size_t n = load(&file);
    file[n - 1] ^= 1;
    store(file, n);
    assert_refused("its checksum is wrong: the file is damaged, or another "
                   "program wrote it anew");
    cg_xfree(file);
    store_header("{\"__metadata__\":{\"a\":\"\","
                 "\"gennape.crc32c\":\"00000000\"}}", 0);
    assert_refused("its checksum is wrong: the file is damaged, or another "
                   "program wrote it anew");
}

#define T(inside) "{\"w\":{" inside "}}"
#define F32 "\"dtype\":\"F32\","

static const struct {
    const char *json;
    size_t data;
    const char *sentence;
} bad[] = {
    {"[]", 0, "its header is no JSON object"},
    {"{\"__metadata__\":3}", 0, "__metadata__ is no object"},
    {"{\"__metadata__\":{\"a\":3}}", 0, "metadata 'a' is no string"},
    {"{\"w\":3}", 0, "tensor 'w': its entry is no object"},
    {T(""), 0, "tensor 'w': it has no dtype"},
    {T("\"dtype\":3"), 0, "tensor 'w': it has no dtype"},
    {T("\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[0,2]"), 2,
     "tensor 'w': its dtype is 'F16'; F32, F64, I32, I64 and U8 can be read"},
    {T(F32 "\"shape\":4,\"data_offsets\":[0,4]"), 4,
     "tensor 'w': it has no shape"},
    {T(F32 "\"shape\":[1,-1],\"data_offsets\":[0,4]"), 4,
     "tensor 'w': dimension 1 of its shape is no whole number from 0"},
    {T(F32 "\"shape\":[1.0],\"data_offsets\":[0,4]"), 4,
     "tensor 'w': dimension 0 of its shape is no whole number from 0"},
    {T(F32 "\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]"), 4,
     "tensor 'w': it has 9 dimensions; up to 8 can be read"},
    {T(F32 "\"shape\":[2147483648,4294967296],\"data_offsets\":[0,0]"), 0,
     "tensor 'w': its shape has more elements than any memory"},
    {T(F32 "\"shape\":[2305843009213693952],\"data_offsets\":[0,0]"), 0,
     "tensor 'w': its shape has more elements than any memory"},
    {T(F32 "\"shape\":[1]"), 4,
     "tensor 'w': its data_offsets are not two whole numbers from 0"},
    {T(F32 "\"shape\":[1],\"data_offsets\":[0,4,8]"), 4,
     "tensor 'w': its data_offsets are not two whole numbers from 0"},
    {T(F32 "\"shape\":[1],\"data_offsets\":[-4,0]"), 4,
     "tensor 'w': its data_offsets are not two whole numbers from 0"},
    {T(F32 "\"shape\":[2],\"data_offsets\":[0,4]"), 4,
     "tensor 'w': its data_offsets are 0 and 4, its shape needs 8 bytes"},
    {T(F32 "\"shape\":[1],\"data_offsets\":[4,0]"), 4,
     "tensor 'w': its data_offsets are 4 and 0, its shape needs 4 bytes"},
    {T(F32 "\"shape\":[1],\"data_offsets\":[9223372036854775803,"
           "9223372036854775807]"), 4,
     "tensor 'w': its data ends at byte 9223372036854775807, that of the file "
     "at 4: the file is cut short"},
    {"{\"a\":{" F32 "\"shape\":[2],\"data_offsets\":[0,8]},"
     "\"b\":{" F32 "\"shape\":[2],\"data_offsets\":[4,12]}}", 12,
     "tensor 'b': its data overlaps that of tensor 'a'"},
    {"{\"a\":{" F32 "\"shape\":[1],\"data_offsets\":[0,4]},"
     "\"b\":{" F32 "\"shape\":[1],\"data_offsets\":[12,16]}}", 16,
     "tensor 'b': the 8 bytes before its data belong to no tensor"},
    {"{\"a\":{" F32 "\"shape\":[1],\"data_offsets\":[0,4]}}", 7,
     "3 bytes at its end belong to no tensor"},
    {T("\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]"), 8,
     "tensor 'w': its data is not aligned to the 8 bytes of its elements"},
};

static void test_bad_headers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char padded[400]; /* so that F32 is aligned and F64 is not */
        int n = snprintf(padded, sizeof padded, "%s", bad[i].json);
        while (n % 8 != 4)
            padded[n++] = ' ';
        padded[n] = '\0';
        store_header(padded, bad[i].data);
        assert_refused(bad[i].sentence);
    }
}

/* What jansson says, as far as it says it in all versions. */
static const char *const no_json[][2] = {
    {"", "'[' or '{' expected"},
    {"{\"w\":1,\"w\":2}", "duplicate object key"},
    {T(F32 "\"shape\":[99999999999999999999]"), "too big integer"},
    {"{\"a\\u0000b\":{}}", "NUL byte in object key"},
    {"{} {}", "end of file expected"},
    {"{\"\xff\":1}", "unable to decode byte 0xff"},
};

static void test_no_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof no_json / sizeof *no_json; i++) {
        char sentence[128];
        cg_tensors *t;
        store_header(no_json[i][0], 0);
        snprintf(sentence, sizeof sentence, "%s: its header is no JSON: %s",
                 raw, no_json[i][1]);
        assert_int_equal(cg_tensors_open(&t, raw), CG_EFORMAT);
        assert_memory_equal(cg_error(), sentence, strlen(sentence));
    }
}

static void store_length(uint64_t len, const char *rest)
{
    char file[64];
    memcpy(file, &len, 8);
    memcpy(file + 8, rest, strlen(rest));
    store(file, 8 + strlen(rest));
}

static void test_header_lengths(void **state)
{
    (void)state;
    store_length(UINT64_C(1) << 32, "{}");
    assert_refused("no safetensors file: its header would have 4294967296 "
                   "bytes (at most 4194304)");
    store_length(UINT64_MAX, "{}");
    assert_refused("no safetensors file: its header would have "
                   "18446744073709551615 bytes (at most 4194304)");
    store_length(3, "{}");
    assert_refused("its header has 3 bytes, 2 are there: the file is cut "
                   "short");
    store("", 0);
    assert_refused("0 bytes are no safetensors file");
    cg_tensors *t;
    assert_int_equal(cg_tensors_open(&t, "/nowhere"), CG_EIO);
    assert_string_equal(cg_error(), "/nowhere: cannot open: No such file or "
                                    "directory");
}

/* The most that nesting and numbers can ask of the parser. */
static void test_large_headers(void **state)
{
    (void)state;
    static const char *const units[] = {"[", "{\"a\":", "[],", "0,"};
    const size_t len = (size_t)4 << 20;
    char *json = cg_xcalloc(1, len + 1);
    for (int k = 0; k < 4; k++) {
        size_t n = strlen(units[k]);
        for (size_t at = 0; at < len; at++)
            json[at] = units[k][at % n];
        if (k >= 2)
            memcpy(json, "{\"a\":[0,", 8);
        cg_tensors *t;
        store_header(json, 0);
        assert_int_equal(cg_tensors_open(&t, raw), CG_EFORMAT);
        assert_non_null(strstr(cg_error(), k < 2 ? "maximum parsing depth"
                                                 : "its header is no JSON"));
    }
    cg_xfree(json);
}

/* Headers put together from pieces of real ones: whatever opens holds what it
 * says, whatever does not has a sentence. */
static void test_random_headers(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "{", "}", "[", "]", ",", ":", "\"w\"", "\"__metadata__\"", "\"dtype\"",
        "\"F64\"", "\"shape\"", "\"data_offsets\"", "0", "8", "-1", "1e9",
        "null", "9223372036854775807", "\"gennape.crc32c\"", "\\", "\"",
    };
    static const char start[] =
        "{\"__metadata__\":{\"k\":\"v\"},"
        "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
        "\"b\":{\"dtype\":\"U8\",\"shape\":[2,4],\"data_offsets\":[8,16]}}";
    cg_rng r = cg_rng_make(9, 1);
    int opened = 0;
    for (int k = 0; k < 20000; k++) {
        char json[256];
        snprintf(json, sizeof json, "%-*s", (int)(sizeof start + 7) / 8 * 8,
                 start); /* aligned */
        for (uint32_t e = 1 + cg_rng_below(&r, 3); e > 0; e--) {
            const char *p = pieces[cg_rng_below(&r, sizeof pieces /
                                                    sizeof *pieces)];
            size_t n = strlen(p);
            memcpy(json + cg_rng_below(&r, (uint32_t)(sizeof start - n)), p,
                   n);
        }
        cg_tensors *t;
        store_header(json, 16);
        if (cg_tensors_open(&t, raw) == CG_OK) {
            size_t sum = 0;
            for (size_t i = 0; i < t->n; i++) {
                const cg_tensor *x = &t->tensor[i];
                cg_crc32c(0, x->data, bytes_of(x)); /* reads all of it */
                sum += bytes_of(x);
            }
            assert_int_equal(sum, 16);
            opened++;
        } else {
            assert_memory_equal(cg_error(), raw, strlen(raw));
        }
        cg_tensors_close(t);
    }
    assert_true(opened > 10);
}

/* -- writing that fails ---------------------------------------------------- */

static void test_whole_or_not(void **state)
{
    (void)state;
    char *before, *after;
    write_samples();
    size_t n = load(&before);
    cg_tensor_meta latin = {"note", "caf\xe9"};
    assert_int_equal(cg_tensors_write(path, samples, N_SAMPLES, &latin, 1),
                     CG_EFORMAT);
    assert_non_null(strstr(cg_error(), "metadata 'note' is no UTF-8"));
    assert_int_equal(load(&after), n);
    assert_memory_equal(before, after, n);
    cg_xfree(before);
    cg_xfree(after);

    assert_int_equal(cg_tensors_write("/dev/full", samples, N_SAMPLES, NULL,
                                      0), CG_EIO);
    assert_string_equal(cg_error(), "cannot write /dev/full: No space left on "
                                    "device");
    assert_int_equal(cg_tensors_write("/nowhere/x", samples, N_SAMPLES, NULL,
                                      0), CG_EIO);
    assert_string_equal(cg_error(), "cannot write /nowhere/x: No such file or "
                                    "directory");
    char *text = cg_xcalloc(1, ((size_t)4 << 20) + 1);
    memset(text, 'x', (size_t)4 << 20);
    cg_tensor_meta big = {"note", text};
    assert_int_equal(cg_tensors_write(path, samples, N_SAMPLES, &big, 1),
                     CG_ELIMIT);
    cg_xfree(text);
}

/* -- for the peer ---------------------------------------------------------- */

static int dump(const char *file)
{
    cg_tensors *t;
    if (cg_tensors_open(&t, file) != CG_OK) {
        fprintf(stderr, "%s\n", cg_error());
        return 1;
    }
    for (size_t i = 0; i < t->n_meta; i++)
        printf("# %s=%s\n", t->meta[i].key, t->meta[i].value);
    for (size_t i = 0; i < t->n; i++) {
        const cg_tensor *x = &t->tensor[i];
        const unsigned char *p = x->data;
        printf("%s %s ", x->name, cg_tensor_type_name(x->type));
        for (int k = 0; k < x->rank; k++)
            printf("%" PRId64 ",", x->shape[k]);
        putchar(' ');
        for (size_t k = 0; k < bytes_of(x); k++)
            printf("%02x", p[k]);
        putchar('\n');
    }
    cg_tensors_close(t);
    return 0;
}

static int write_for(const char *file)
{
    if (cg_tensors_write(file, samples, N_SAMPLES, sample_meta, N_META) ==
        CG_OK)
        return 0;
    fprintf(stderr, "%s\n", cg_error());
    return 1;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_want),
        cmocka_unit_test(test_every_bit),
        cmocka_unit_test(test_every_length),
        cmocka_unit_test(test_data_damage),
        cmocka_unit_test(test_bad_headers),
        cmocka_unit_test(test_no_json),
        cmocka_unit_test(test_header_lengths),
        cmocka_unit_test(test_large_headers),
        cmocka_unit_test(test_random_headers),
        cmocka_unit_test(test_whole_or_not),
    };
    if (argc == 3)
        return strcmp(argv[1], "dump") == 0 ? dump(argv[2])
                                            : write_for(argv[2]);
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
