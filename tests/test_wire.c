/* The skimmer and what stands on it: payloads, limits, sentences. Messages are
 * written by hand, byte by byte, so that broken ones can be written too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/arena.h"
#include "base/array.h"
#include "frontend/onnx/onnx.h"
#include "frontend/onnx/wire.h"

typedef struct bytes {
    CG_ARRAY(unsigned char) b;
} bytes;

static void put(bytes *to, const void *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        cg_array_push(&to->b, ((const unsigned char *)p)[i]);
}

static void varint(bytes *to, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        cg_array_push(&to->b, (unsigned char)(v | 0x80));
    cg_array_push(&to->b, (unsigned char)v);
}

static void field_int(bytes *to, unsigned number, uint64_t v)
{
    varint(to, number << 3);
    varint(to, v);
}

static void field_bytes(bytes *to, unsigned number, const void *p, size_t n)
{
    varint(to, number << 3 | 2);
    varint(to, n);
    put(to, p, n);
}

static void field_text(bytes *to, unsigned number, const char *s)
{
    field_bytes(to, number, s, strlen(s));
}

/* Moves `sub` into `to` and empties it. */
static void field_message(bytes *to, unsigned number, bytes *sub)
{
    field_bytes(to, number, sub->b.data, sub->b.len);
    cg_array_free(&sub->b);
}

static void value_info(bytes *graph, unsigned number, const char *name,
                       int64_t length)
{
    bytes dim = {0}, shape = {0}, tensor = {0}, type = {0}, info = {0};
    field_int(&dim, 1, (uint64_t)length);
    field_message(&shape, 1, &dim);
    field_int(&tensor, 1, 1);
    field_message(&tensor, 2, &shape);
    field_message(&type, 1, &tensor);
    field_text(&info, 1, name);
    field_message(&info, 2, &type);
    field_message(graph, number, &info);
}

static void node(bytes *graph, const char *type, const char *in,
                 const char *out)
{
    bytes n = {0};
    field_text(&n, 1, in);
    field_text(&n, 2, out);
    field_text(&n, 4, type);
    field_message(graph, 1, &n);
}

/* Closes the graph into a model of opset 13. */
static bytes model_of(bytes *graph)
{
    bytes m = {0}, opset = {0};
    field_int(&m, 1, 8);
    field_message(&m, 7, graph);
    field_int(&opset, 2, 13);
    field_message(&m, 8, &opset);
    return m;
}

static bytes relu_model(void)
{
    bytes g = {0};
    node(&g, "Relu", "x", "y");
    value_info(&g, 11, "x", 3);
    value_info(&g, 12, "y", 3);
    return model_of(&g);
}

/* A tensor w of `n` floats that counts up, and a node that reads it. */
static bytes weight_model(size_t n, size_t *at)
{
    bytes g = {0}, t = {0}, before = {0};
    field_int(&t, 1, n);
    field_int(&t, 2, 1);
    field_text(&t, 8, "w");
    varint(&t, 9 << 3 | 2);
    varint(&t, n * 4);
    size_t head = t.b.len;
    for (size_t i = 0; i < n; i++)
        put(&t, &(float){(float)i}, 4);
    varint(&before, t.b.len);
    size_t lead = 1 + before.b.len + head; /* tag and length of the tensor */
    cg_array_free(&before.b);
    field_message(&g, 5, &t);
    node(&g, "Relu", "w", "y");
    value_info(&g, 12, "y", (int64_t)n);
    varint(&before, g.b.len);
    *at = 2 + 1 + before.b.len + lead; /* behind ir_version */
    cg_array_free(&before.b);
    return model_of(&g);
}

static cg_err import(const bytes *m, cg_graph **g)
{
    return cg_import_onnx_memory(m->b.data, m->b.len, NULL, NULL, g);
}

static void fails(bytes m, cg_err code, const char *sentence)
{
    cg_graph *g;
    cg_err err = import(&m, &g);
    assert_null(g);
    if (err != code || !strstr(cg_error(), sentence))
        print_error("got %d: %s\n", err, cg_error());
    assert_int_equal(err, code);
    assert_non_null(strstr(cg_error(), sentence));
    cg_array_free(&m.b);
}

static bytes raw(const void *p, size_t n)
{
    bytes m = {0};
    put(&m, p, n);
    return m;
}

/* -- tests ----------------------------------------------------------------- */

static void test_small(void **state)
{
    (void)state;
    bytes m = relu_model();
    cg_graph *g;
    assert_int_equal(import(&m, &g), CG_OK);
    assert_int_equal(g->main->nodes.len, 1);
    assert_int_equal(g->main->nodes.data[0]->op, CG_OP_RELU);
    assert_string_equal(g->main->nodes.data[0]->name, "Relu_y");
    assert_int_equal(g->main->inputs.data[0]->type.dims[0], 3);
    cg_graph_free(g);
    cg_array_free(&m.b);
}

static void test_payload(void **state)
{
    (void)state;
    for (size_t n = 1000; n <= 2000; n += 1000) {
        size_t at;
        cg_graph *g;
        bytes m = weight_model(n, &at);
        assert_int_equal(import(&m, &g), CG_OK);
        const cg_value *w = g->main->nodes.data[0]->in[0].v;
        assert_string_equal(w->name, "w");
        assert_int_equal(w->type.dims[0], n);
        if (n * 4 <= CG_WIRE_PAYLOAD_MAX) {
            assert_null(w->payload);
            assert_int_equal(w->data->n, n);
            assert_true(w->data->f[n - 1] == (double)(n - 1));
        } else {
            assert_null(w->data);
            assert_int_equal(w->payload->offset, at);
            assert_int_equal(w->payload->length, n * 4);
            assert_memory_equal(m.b.data + w->payload->offset + 4,
                                &(float){1}, 4);
        }
        cg_graph_free(g);
        cg_array_free(&m.b);
    }
}

/* Nothing but headers is kept, whatever the weights weigh. */
static void test_skim_size(void **state)
{
    (void)state;
    size_t at, size;
    unsigned char *skim;
    cg_wire_limits limits = {100, 4096};
    bytes m = weight_model(100000, &at);
    assert_int_equal(cg_wire_skim(m.b.data, m.b.len, &limits, &skim, &size),
                     CG_OK);
    assert_true(size < 300);
    cg_xfree(skim);
    cg_array_free(&m.b);
}

static void test_limits(void **state)
{
    (void)state;
    size_t size;
    unsigned char *skim;
    bytes g = {0};
    for (int i = 0; i < 20; i++)
        node(&g, "Relu", "a", "b");
    bytes m = model_of(&g);
    cg_wire_limits nodes = {10, 4096}, room = {100, 64};
    assert_int_equal(cg_wire_skim(m.b.data, m.b.len, &nodes, &skim, &size),
                     CG_ELIMIT);
    assert_string_equal(cg_error(), "more than 10 nodes");
    assert_int_equal(cg_wire_skim(m.b.data, m.b.len, &room, &skim, &size),
                     CG_ELIMIT);
    cg_array_free(&m.b);
}

static void test_name_limits(void **state)
{
    (void)state;
    bytes g = {0}, h = {0}, n = {0}, z = {0};
    char *name = cg_xcalloc(CG_WIRE_NAME_MAX + 2, 1);
    memset(name, 'a', CG_WIRE_NAME_MAX + 1);
    field_text(&n, 1, name);
    field_message(&g, 1, &n);
    fails(model_of(&g), CG_ELIMIT, "NodeProto.input");
    cg_xfree(name);
    field_bytes(&z, 1, "a\0b", 3);
    field_message(&h, 1, &z);
    fails(model_of(&h), CG_EFORMAT, "contains a zero byte");
}

/* A graph in an attribute of a node of a graph, over and over. */
static void test_depth(void **state)
{
    (void)state;
    bytes g = {0};
    for (int i = 0; i < 200; i++) {
        bytes attr = {0}, n = {0}, outer = {0};
        field_message(&attr, 6, &g);
        field_message(&n, 5, &attr);
        field_message(&outer, 1, &n);
        g = outer;
    }
    fails(model_of(&g), CG_ELIMIT, "nested more than 64 deep");
    bytes type = {0}, info = {0}, h = {0};
    for (int i = 0; i < 3000; i++) {
        bytes sequence = {0}, outer = {0};
        field_message(&sequence, 1, &type);
        field_message(&outer, 4, &sequence);
        type = outer;
    }
    field_text(&info, 1, "x");
    field_message(&info, 2, &type);
    field_message(&h, 11, &info);
    fails(model_of(&h), CG_EFORMAT, "nested too deep");
}

static void test_broken(void **state)
{
    (void)state;
    fails(raw("", 0), CG_EFORMAT, "file is empty");
    fails(raw("{\"a\": 1}", 8), CG_EFORMAT, "JSON text");
    fails(raw("hello world, this is text", 25), CG_EFORMAT, "plain text");
    fails(raw("\x89PNG\r\n\x1a\n", 8), CG_EFORMAT, "PNG image");
    fails(raw("\x3a\x05\x01", 3), CG_EFORMAT, "claims 5 bytes where 1");
    fails(raw("\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10), CG_EFORMAT,
          "ModelProto.graph at byte 0 claims");
    fails(raw("\x38\x01", 2), CG_EFORMAT, "has wire type varint, must be "
                                          "length-delimited");
    fails(raw("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12),
          CG_EFORMAT, "ModelProto.ir_version at byte 0 is cut short");
    fails(raw("\x08\x80", 2), CG_EFORMAT, "is cut short");
    fails(raw("\x00\x00", 2), CG_EFORMAT, "has an invalid field");
    fails(raw("\x0b\x0c", 2), CG_EFORMAT, "wire type 3 (group)");
    fails(raw("\x3a\x00\x3a\x00", 4), CG_EFORMAT, "is there twice");
    fails(raw("\x08\x08", 2), CG_EFORMAT, "it has no graph");
}

/* Every prefix of a model, and every model with one byte changed, is refused
 * or read, and nothing else. */
static void test_mutations(void **state)
{
    (void)state;
    bytes m = relu_model();
    for (size_t i = 0; i < m.b.len; i++) {
        cg_graph *g;
        cg_import_onnx_memory(m.b.data, i, NULL, NULL, &g);
        cg_graph_free(g);
        for (int bit = 0; bit < 8; bit++) {
            m.b.data[i] ^= (unsigned char)(1 << bit);
            if (import(&m, &g) == CG_OK)
                assert_int_equal(cg_graph_validate(g, NULL), CG_OK);
            cg_graph_free(g);
            m.b.data[i] ^= (unsigned char)(1 << bit);
        }
    }
    cg_array_free(&m.b);
}

static void test_options(void **state)
{
    (void)state;
    bytes m = relu_model();
    cg_graph *g;
    cg_input_shape other = {"z", 1, {4}}, flat = {"x", 2, {1, 4}};
    cg_input_shape longer = {"x", 1, {4}};
    cg_onnx_opts opts = {.shapes = &other, .n_shapes = 1};
    assert_int_equal(cg_import_onnx_memory(m.b.data, m.b.len, NULL, &opts, &g),
                     CG_EUSAGE);
    assert_non_null(strstr(cg_error(), "inputs are: x"));
    opts.shapes = &flat;
    assert_int_equal(cg_import_onnx_memory(m.b.data, m.b.len, NULL, &opts, &g),
                     CG_EUSAGE);
    opts.shapes = &longer;
    assert_int_equal(cg_import_onnx_memory(m.b.data, m.b.len, NULL, &opts, &g),
                     CG_OK);
    assert_int_equal(g->main->inputs.data[0]->type.dims[0], 4);
    cg_graph_free(g);
    cg_array_free(&m.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small),      cmocka_unit_test(test_payload),
        cmocka_unit_test(test_skim_size),  cmocka_unit_test(test_limits),
        cmocka_unit_test(test_name_limits), cmocka_unit_test(test_depth),
        cmocka_unit_test(test_broken),     cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
