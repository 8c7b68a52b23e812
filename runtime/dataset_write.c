/* Collecting networks: everything is kept as the file will have it, except
 * for the tokens, whose operators are numbered when the file is made. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/array.h"
#include "base/crc32c.h"
#include "base/index.h"
#include "base/map.h"
#include "runtime/dataset_format.h"

typedef CG_ARRAY(unsigned char) bytes;

typedef struct topology_key {
    uint64_t half[2];
} topology_key;

struct cg_set_builder {
    cg_form form;
    uint32_t n_labels;
    char *family;
    char **label_name; /* (n_labels) */
    CG_ARRAY(cg_token) token;
    cg_index token_index; /* by hash */
    CG_ARRAY(topology_key) key; /* of the topologies */
    cg_index topology_index;
    CG_ARRAY(cg_set_topology) topology;
    CG_ARRAY(cg_set_graph) graph;
    CG_ARRAY(double) label;
    CG_ARRAY(double) spectrum;
    bytes edges, nodes, names;
    CG_ARRAY(uint32_t) scratch; /* tokens of the graph at hand */
};

static char *copy_text(const char *s)
{
    size_t n = strlen(s) + 1;
    return memcpy(cg_xcalloc(n, 1), s, n);
}

cg_set_builder *cg_set_builder_new(const char *family, cg_form form,
                                   const char *const *label_names,
                                   uint32_t n_labels)
{
    cg_set_builder *b = cg_xcalloc(1, sizeof *b);
    b->form = form;
    b->family = copy_text(family);
    b->n_labels = n_labels;
    b->label_name = cg_xcalloc(n_labels, sizeof *b->label_name);
    for (uint32_t i = 0; i < n_labels; i++)
        b->label_name[i] = copy_text(label_names[i]);
    return b;
}

void cg_set_builder_free(cg_set_builder *b)
{
    if (!b)
        return;
    for (uint32_t i = 0; i < b->n_labels; i++)
        cg_xfree(b->label_name[i]);
    cg_xfree(b->label_name);
    cg_xfree(b->family);
    cg_index_free(&b->token_index);
    cg_index_free(&b->topology_index);
    cg_array_free(&b->token);
    cg_array_free(&b->key);
    cg_array_free(&b->topology);
    cg_array_free(&b->graph);
    cg_array_free(&b->label);
    cg_array_free(&b->spectrum);
    cg_array_free(&b->edges);
    cg_array_free(&b->nodes);
    cg_array_free(&b->names);
    cg_array_free(&b->scratch);
    cg_xfree(b);
}

uint32_t cg_set_builder_len(const cg_set_builder *b)
{
    return (uint32_t)b->graph.len;
}

/* -- what is stored once --------------------------------------------------- */

/* A hash that clashes with another token's is hashed again. */
static uint32_t token_number(cg_set_builder *b, const cg_token *t)
{
    for (uint64_t key = cg_hash64(t, sizeof *t, 0);; key = cg_mix64(key + 1)) {
        uint32_t i = cg_index_get(&b->token_index, key);
        if (i == CG_INDEX_NONE) {
            i = (uint32_t)b->token.len;
            cg_index_add(&b->token_index, key, i);
            cg_array_push(&b->token, *t);
            return i;
        }
        if (memcmp(&b->token.data[i], t, sizeof *t) == 0)
            return i;
    }
}

/* The topology of a key, or CG_INDEX_NONE and where to add it. */
static uint32_t find_topology(const cg_set_builder *b, const uint64_t half[2],
                              uint64_t *key)
{
    for (*key = half[0];; *key = cg_mix64(*key + 1)) {
        uint32_t i = cg_index_get(&b->topology_index, *key);
        if (i == CG_INDEX_NONE ||
            memcmp(b->key.data[i].half, half, sizeof b->key.data[i]) == 0)
            return i;
    }
}

int64_t cg_set_builder_topology(const cg_set_builder *b,
                                const uint64_t topology[2])
{
    uint64_t key;
    uint32_t i = find_topology(b, topology, &key);
    return i == CG_INDEX_NONE ? -1 : (int64_t)i;
}

/* Room for n more; the old end. */
static unsigned char *extend(bytes *to, size_t n)
{
    cg_array_reserve(to, to->len + n);
    to->len += n;
    return to->data + to->len - n;
}

static unsigned char *narrow(unsigned char *to, const uint32_t *x, size_t n,
                             uint32_t width)
{
    for (size_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < width; k++)
            to[i * width + k] = (unsigned char)(x[i] >> 8 * k);
    return to + n * width;
}

static void add_edges(cg_set_builder *b, const cg_features *f)
{
    uint32_t w = cg_set_width(f->n_nodes);
    size_t n = (size_t)f->n_nodes + f->n_edges;
    cg_set_topology t = {.edges = b->edges.len, .n_nodes = f->n_nodes,
                         .n_edges = f->n_edges};
    cg_array_push(&b->topology, t);
    unsigned char *p = extend(&b->edges, n * w);
    for (uint32_t v = 0; v < f->n_nodes; v++) {
        uint32_t degree = f->start[v + 1] - f->start[v];
        p = narrow(p, &degree, 1, w);
    }
    narrow(p, f->pred, f->n_edges, w);
}

static uint32_t add_topology(cg_set_builder *b, const cg_features *f)
{
    uint64_t key;
    uint32_t i = find_topology(b, f->topology, &key);
    if (i == CG_INDEX_NONE) {
        topology_key k = {{f->topology[0], f->topology[1]}};
        i = (uint32_t)b->topology.len;
        cg_index_add(&b->topology_index, key, i);
        cg_array_push(&b->key, k);
        add_edges(b, f);
        for (int q = 0; q < CG_SPECTRUM_LEN; q++)
            cg_array_push(&b->spectrum, NAN);
    }
    if (f->has_spectrum)
        memcpy(b->spectrum.data + (size_t)i * CG_SPECTRUM_LEN, f->spectrum,
               sizeof f->spectrum);
    return i;
}

/* -- one network ----------------------------------------------------------- */

/* Its nodes' tokens, in b->scratch; the largest. A node with an earlier one of
 * its first colour has that one's token. */
static uint32_t number_tokens(cg_set_builder *b, const cg_features *f)
{
    uint32_t largest = 0;
    cg_array_reserve(&b->scratch, f->n_nodes);
    uint32_t *to = b->scratch.data;
    for (uint32_t v = 0; v < f->n_nodes; v++) {
        to[v] = f->level[v] ? to[f->parent[v]]
                            : token_number(b, &f->token[v]);
        largest = to[v] > largest ? to[v] : largest;
    }
    return largest;
}

void cg_set_builder_add(cg_set_builder *b, const cg_features *f,
                        const char *name, const double *labels)
{
    assert(b->graph.len < UINT32_MAX && f->n_nodes > 0);
    uint32_t tw = cg_set_width((uint64_t)number_tokens(b, f) + 1);
    uint32_t w = cg_set_width(f->n_nodes);
    size_t n = f->n_nodes;
    cg_set_graph g = {.nodes = b->nodes.len, .name = b->names.len,
                      .topology = add_topology(b, f), .token_bytes = tw,
                      .hash = {f->hash[0], f->hash[1]}, .params = f->params,
                      .macs = f->macs, .flops = f->flops};
    cg_array_push(&b->graph, g);
    unsigned char *p = extend(&b->nodes, n * (tw + w + 1));
    p = narrow(p, b->scratch.data, n, tw);
    p = narrow(p, f->parent, n, w);
    memcpy(p, f->level, n);
    size_t len = strlen(name) + 1;
    memcpy(extend(&b->names, len), name, len);
    for (uint32_t i = 0; i < b->n_labels; i++)
        cg_array_push(&b->label, labels[i]);
}

/* -- the container --------------------------------------------------------- */

/* Everything but the arrays that the builder has already. */
typedef struct layout {
    cg_set_header header;
    cg_set_section section[CG_SECTIONS];
    const void *data[CG_SECTIONS];
    bytes texts;
    cg_token *token;
} layout;

static void add_text(bytes *to, const char *s)
{
    size_t n = strlen(s) + 1;
    memcpy(extend(to, n), s, n);
}

static const char *token_op_name(uint32_t op)
{
    return op == CG_TOKEN_INPUT    ? "Input"
           : op == CG_TOKEN_OUTPUT ? "Output"
                                   : cg_op_name((cg_op)op);
}

/* Operators by name, those that occur; tokens then have their rank there. */
static void number_ops(const cg_set_builder *b, layout *l)
{
    uint16_t rank[CG_TOKEN_OPS + 1] = {0};
    for (size_t i = 0; i < b->token.len; i++)
        rank[b->token.data[i].op] = rank[b->token.data[i].act] = 1;
    for (uint32_t op = 0; op < CG_TOKEN_OPS; op++)
        if (rank[op]) {
            add_text(&l->texts, token_op_name(op));
            rank[op] = (uint16_t)l->header.n_ops++;
        }
    rank[CG_TOKEN_OPS] = CG_SET_NO_ACT;
    l->token = cg_xcalloc(b->token.len, sizeof *l->token);
    for (size_t i = 0; i < b->token.len; i++) {
        l->token[i] = b->token.data[i];
        l->token[i].op = rank[l->token[i].op];
        l->token[i].act = rank[l->token[i].act];
    }
}

static uint64_t align(uint64_t at)
{
    return (at + CG_SET_ALIGN - 1) / CG_SET_ALIGN * CG_SET_ALIGN;
}

static void layout_make(layout *l, const cg_set_builder *b)
{
    *l = (layout){.header = {.version = CG_SET_VERSION,
                             .n_sections = CG_SECTIONS,
                             .n_graphs = (uint32_t)b->graph.len,
                             .n_tokens = (uint32_t)b->token.len,
                             .n_topologies = (uint32_t)b->topology.len,
                             .n_labels = b->n_labels, .form = b->form}};
    memcpy(l->header.magic, CG_SET_MAGIC, sizeof l->header.magic);
    add_text(&l->texts, b->family);
    number_ops(b, l);
    for (uint32_t i = 0; i < b->n_labels; i++)
        add_text(&l->texts, b->label_name[i]);
    const struct { const void *p; size_t n, size; } part[CG_SECTIONS] = {
        [CG_SECTION_TEXTS] = {l->texts.data, l->texts.len, 1},
        [CG_SECTION_TOKENS] = {l->token, b->token.len, sizeof *l->token},
        [CG_SECTION_TOPOLOGY] = {b->topology.data, b->topology.len,
                                 sizeof *b->topology.data},
        [CG_SECTION_SPECTRA] = {b->spectrum.data, b->spectrum.len,
                                sizeof *b->spectrum.data},
        [CG_SECTION_EDGES] = {b->edges.data, b->edges.len, 1},
        [CG_SECTION_GRAPHS] = {b->graph.data, b->graph.len,
                               sizeof *b->graph.data},
        [CG_SECTION_LABELS] = {b->label.data, b->label.len,
                               sizeof *b->label.data},
        [CG_SECTION_NODES] = {b->nodes.data, b->nodes.len, 1},
        [CG_SECTION_NAMES] = {b->names.data, b->names.len, 1}};
    uint64_t at = sizeof l->header + sizeof l->section;
    for (int i = 0; i < CG_SECTIONS; i++) {
        cg_set_section *e = &l->section[i];
        l->data[i] = part[i].p;
        *e = (cg_set_section){.offset = align(at),
                              .size = part[i].n * part[i].size};
        memcpy(e->name, cg_section_names[i], sizeof e->name);
        e->crc = cg_crc32c(0, part[i].p, e->size);
        at = e->offset + e->size;
    }
    l->header.size = at;
    l->header.table_crc = cg_crc32c(0, l->section, sizeof l->section);
    l->header.header_crc = cg_crc32c(0, &l->header, sizeof l->header -
                                         sizeof l->header.header_crc);
}

static void layout_free(layout *l)
{
    cg_array_free(&l->texts);
    cg_xfree(l->token);
}

/* Hands the container over piece by piece, in order. */
static void layout_emit(const layout *l,
                        void (*put)(void *to, const void *p, size_t n),
                        void *to)
{
    static const char zeros[CG_SET_ALIGN];
    put(to, &l->header, sizeof l->header);
    put(to, l->section, sizeof l->section);
    uint64_t at = sizeof l->header + sizeof l->section;
    for (int i = 0; i < CG_SECTIONS; i++) {
        put(to, zeros, l->section[i].offset - at);
        put(to, l->data[i], l->section[i].size);
        at = l->section[i].offset + l->section[i].size;
    }
}

static void put_file(void *to, const void *p, size_t n)
{
    if (n)
        fwrite(p, 1, n, to);
}

static void put_memory(void *to, const void *p, size_t n)
{
    unsigned char **at = to;
    if (n)
        memcpy(*at, p, n);
    *at += n;
}

cg_err cg_set_builder_write(const cg_set_builder *b, const char *path)
{
    cg_out out;
    CG_TRY(cg_out_open(&out, path));
    layout l;
    layout_make(&l, b);
    layout_emit(&l, put_file, out.f);
    layout_free(&l);
    return cg_out_commit(&out);
}

cg_err cg_set_builder_finish(const cg_set_builder *b, cg_set **s)
{
    layout l;
    layout_make(&l, b);
    unsigned char *p = cg_xrealloc(NULL, l.header.size), *at = p;
    layout_emit(&l, put_memory, &at);
    cg_file_map map = {.data = p, .size = l.header.size, .heap = 1};
    layout_free(&l);
    return cg_set_from_map(s, map, "(in memory)");
}
