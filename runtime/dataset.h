/* Data sets: many labelled networks in one container (.cgs), made for
 * training: it is mapped, not parsed.
 *
 * A container stores every distinct token once, every distinct topology once
 * (edges and spectrum), and per network the indices of its tokens, its colours
 * (runtime/features.h), its counts, its labels and its name (a code, or the
 * path of its file). Layout: docs/dataset.md. All numbers are little-endian;
 * header, section table and every section carry a CRC-32C. */
#ifndef CG_RUNTIME_DATASET_H
#define CG_RUNTIME_DATASET_H

#include "base/err.h"
#include "runtime/features.h"

/* -- reading --------------------------------------------------------------- */

typedef struct cg_set_graph { /* one network's record, as stored: 64 bytes */
    uint64_t nodes;     /* byte offset of its nodes in section "nodes" */
    uint64_t name;      /* byte offset in section "names" */
    uint32_t topology;  /* row of the topologies */
    uint32_t token_bytes; /* of one token index: 1, 2 or 4 */
    uint64_t hash[2];
    double params, macs, flops;
} cg_set_graph;

typedef struct cg_set_topology { /* 24 bytes and its spectrum elsewhere */
    uint64_t edges;     /* byte offset of its edges in section "edges" */
    uint32_t n_nodes, n_edges;
    uint64_t reserved;
} cg_set_topology;

typedef struct cg_set cg_set;
struct cg_set {
    const char *path;       /* for messages */
    char *family;           /* "nb101"; "onnx" for files */
    cg_form form;
    uint32_t n_graphs, n_tokens, n_topologies, n_labels;
    const cg_token *token;        /* (n_tokens), ops as in this program */
    const uint64_t *token_hash;   /* (n_tokens) of a token's content: equal in
                                     all sets, never 0 */
    const cg_set_topology *topology; /* (n_topologies) */
    const double *spectrum;       /* (n_topologies, CG_SPECTRUM_LEN) */
    const cg_set_graph *graph;    /* (n_graphs) */
    char **label_name;            /* (n_labels) */
    const double *label;          /* (n_graphs, n_labels); NAN: none */
    struct cg_set_store *store;   /* what the pointers point into */
};

/* Maps a container, or says in one sentence what is wrong with it: not a
 * container, a newer version, truncated, damaged (which section), or offsets
 * and indices out of range. An operator that this program does not know
 * becomes CUSTOM. Everything is checked here, so that nothing below fails. */
cg_err cg_set_open(cg_set **s, const char *path);
void cg_set_close(cg_set *s); /* NULL is fine */

const char *cg_set_name(const cg_set *s, uint32_t i);
int cg_set_label(const cg_set *s, const char *name); /* -1: no such label */
/* Section i of the file, for who wants to know where the bytes are; false:
 * there are fewer. */
bool cg_set_section_size(const cg_set *s, int i, const char **name,
                         uint64_t *bytes);

/* One network, unpacked into arrays that are reused from call to call; zero
 * it to start. `token` are indices into s->token. */
typedef struct cg_item {
    uint32_t n_nodes, n_edges;
    uint32_t *token, *parent; /* (n_nodes) */
    uint8_t *level;           /* (n_nodes) */
    uint32_t *start, *pred;   /* (n_nodes + 1), (n_edges) */
    uint32_t cap_nodes, cap_edges;
} cg_item;
void cg_set_get(const cg_set *s, uint32_t i, cg_item *out);
void cg_item_free(cg_item *t);

/* -- writing --------------------------------------------------------------- */

/* Collects networks in memory, then becomes a set, or a file. Not for two
 * threads at once. */
typedef struct cg_set_builder cg_set_builder;
cg_set_builder *cg_set_builder_new(const char *family, cg_form form,
                                   const char *const *label_names,
                                   uint32_t n_labels);
void cg_set_builder_free(cg_set_builder *b);

/* Spectra are kept per topology: one already there need not be computed. The
 * index, or -1 when the topology is new. */
int64_t cg_set_builder_topology(const cg_set_builder *b,
                                const uint64_t topology[2]);
/* Copies everything. `labels` (n_labels). A new topology without spectrum
 * gets NAN in all its places. */
void cg_set_builder_add(cg_set_builder *b, const cg_features *f,
                        const char *name, const double *labels);
uint32_t cg_set_builder_len(const cg_set_builder *b);

/* Writes the container: whole or not at all ("-" is standard output). */
cg_err cg_set_builder_write(const cg_set_builder *b, const char *path);
/* The same bytes, kept in memory and opened. */
cg_err cg_set_builder_finish(const cg_set_builder *b, cg_set **s);

#endif
