/* What a network is built like, in some numbers (runtime/structure.def): what
 * a head reads beside the state of the graph, and a ridge regression alone. */
#ifndef CG_RUNTIME_STRUCTURE_H
#define CG_RUNTIME_STRUCTURE_H

#include "runtime/dataset.h"

typedef enum cg_structure {
#define CG_STRUCTURE(name, value, line) CG_STRUCTURE_##name,
#include "runtime/structure.def"
#undef CG_STRUCTURE
    CG_STRUCTURE_COUNT
} cg_structure;

extern const char *const cg_structure_name[CG_STRUCTURE_COUNT];
extern const char *const cg_structure_line[CG_STRUCTURE_COUNT];

/* The one of this name, `len` bytes; -1: none. */
int cg_structure_find(const char *name, size_t len);
/* x as people put it: a count for those that go through log2(1 + n), otherwise
 * x itself. */
double cg_structure_plain(cg_structure k, double x);

/* Some of them, by number. */
typedef struct cg_structures {
    int n, k[CG_STRUCTURE_COUNT];
} cg_structures;
/* From a list "macs,depth"; "": none. An unknown name is an error that lists
 * all. */
cg_err cg_structures_parse(cg_structures *s, const char *list);

/* Fills x (CG_STRUCTURE_COUNT) for network i of a set. All finite: sizes and
 * counts that are not known are 0. */
void cg_structure_of(const cg_set *s, uint32_t i, double *x);

#endif
