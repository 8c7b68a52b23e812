/* The container's layout, for its reader and its writer (private to runtime/;
 * docs/dataset.md tells it to others). */
#ifndef CG_RUNTIME_DATASET_FORMAT_H
#define CG_RUNTIME_DATASET_FORMAT_H

#include "base/io.h"
#include "runtime/dataset.h"

#define CG_SET_MAGIC "\211CGS\r\n\032\n" /* 8 bytes */
#define CG_SET_VERSION 1
#define CG_SET_ALIGN 64     /* where sections start */
#define CG_SET_NO_ACT 65535 /* activation of a token that has none */
#define CG_SET_MAX_NODES ((uint32_t)1 << 24)

typedef enum cg_section_id {
    CG_SECTION_TEXTS,
    CG_SECTION_TOKENS,
    CG_SECTION_TOPOLOGY,
    CG_SECTION_SPECTRA,
    CG_SECTION_EDGES,
    CG_SECTION_GRAPHS,
    CG_SECTION_LABELS,
    CG_SECTION_NODES,
    CG_SECTION_NAMES,
    CG_SECTIONS
} cg_section_id;

/* Shorter than 8 except for one, which has no room for its NUL in the file. */
extern const char cg_section_names[CG_SECTIONS][9];

typedef struct cg_set_header { /* 64 bytes */
    unsigned char magic[8];
    uint32_t version, n_sections;
    uint64_t size; /* of the file */
    uint32_t n_graphs, n_tokens, n_topologies, n_labels;
    uint32_t form, n_ops;
    uint64_t reserved;   /* 0 */
    uint32_t table_crc;  /* of the section table */
    uint32_t header_crc; /* of the 60 bytes before */
} cg_set_header;

typedef struct cg_set_section { /* 32 bytes */
    char name[8];
    uint64_t offset, size; /* bytes */
    uint32_t crc, reserved;
} cg_set_section;

#define CG_SET_DATA /* where the first section starts */                      \
    ((sizeof(cg_set_header) + CG_SECTIONS * sizeof(cg_set_section) +          \
      CG_SET_ALIGN - 1) / CG_SET_ALIGN * CG_SET_ALIGN)

struct cg_set_store {
    cg_file_map map;
    const cg_set_header *header;
    const cg_set_section *section;
    const unsigned char *data[CG_SECTIONS];
    char *path;
    cg_token *token;      /* with this program's operators */
    uint64_t *token_hash;
};

/* Bytes of one index below n. */
static inline uint32_t cg_set_width(uint64_t n)
{
    return n <= 256 ? 1 : n <= 65536 ? 2 : 4;
}

static inline uint32_t cg_set_load(const unsigned char *p, uint32_t width,
                                   uint64_t i)
{
    p += i * width;
    return width == 1   ? p[0]
           : width == 2 ? (uint32_t)p[0] | (uint32_t)p[1] << 8
                        : (uint32_t)p[0] | (uint32_t)p[1] << 8 |
                              (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Takes the map, whatever comes out. */
cg_err cg_set_from_map(cg_set **s, cg_file_map map, const char *path);

/* -- dataset_check.c -- */

/* Header, table, sizes and checksums; sets store->header, section, data. */
cg_err cg_set_check_frame(struct cg_set_store *st);
/* What the sections say, once s points into them; s->token is set here. */
cg_err cg_set_check_content(cg_set *s);

#endif
