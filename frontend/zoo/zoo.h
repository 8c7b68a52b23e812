/* The zoo: families of networks, from a code to a graph (docs/families.md).
 *
 *     CG_TRY(cg_zoo_build("nb201", code, NULL, &net));   // net.graph
 *     CG_TRY(cg_run_passes(net.graph, CG_HAS(flops), NULL));
 *
 * A family is one file and one row of families.def. It parses exactly its
 * grammar into a structure of its own, prints that as the code again, draws
 * and changes it at random, and builds its network with frontend/zoo/net.h. */
#ifndef CG_FRONTEND_ZOO_ZOO_H
#define CG_FRONTEND_ZOO_ZOO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/rng.h"
#include "frontend/zoo/net.h"
#include "ir/graph.h"

#define CG_ZOO_CODE_MAX 4096 /* characters of a code, with its NUL */
#define CG_ZOO_ARCH_MAX 8192 /* bytes of a family's structure */

/* Options of a family, "key=value,key=value": numbers or words. */
typedef struct cg_zoo_opts {
    const char *text; /* NULL: none */
} cg_zoo_opts;

/* A number or word among the options; `otherwise` when it is not there. */
double cg_zoo_number(const cg_zoo_opts *o, const char *key, double otherwise);
bool cg_zoo_word(const cg_zoo_opts *o, const char *key, const char *value);

typedef struct cg_zoo_family {
    const char *name;
    const char *grammar; /* one line for people */
    const char *example; /* a code */
    const char *options; /* keys it knows, "width,classes"; "": none */
    /* `arch` is CG_ZOO_ARCH_MAX zeroed bytes, for the family's structure. */
    cg_err (*parse)(const char *code, void *arch);
    void (*print)(const void *arch, char *code); /* CG_ZOO_CODE_MAX */
    cg_err (*build)(cg_net *net, const void *arch, const cg_zoo_opts *o);
    void (*sample)(cg_rng *r, const cg_zoo_opts *o, void *arch);
    /* Changes arch as the family's authors do; another valid one comes out,
     * by chance the same. */
    void (*mutate)(cg_rng *r, const cg_zoo_opts *o, void *arch);
    /* Calls `each` with every architecture once (a key and a code), until it
     * returns false; NULL where there are too many. */
    cg_err (*enumerate)(bool (*each)(void *user, const char *key,
                                     const char *code), void *user);
} cg_zoo_family;

extern const cg_zoo_family *const cg_zoo_families[];
extern const size_t cg_zoo_n_families;

/* By name, which may carry options: "ofa_mbv3:width=1.2". *o is set to them
 * (pointing into `name`). Unknown families and options are an error that lists
 * what there is; so is a value that the family does not take. */
cg_err cg_zoo_find(const char *name, const cg_zoo_family **out, cg_zoo_opts *o);

/* Parses, builds and sweeps away what is not live. The graph is the caller's:
 * cg_graph_free(net->graph). Errors name family and position. */
cg_err cg_zoo_build(const cg_zoo_family *f, const cg_zoo_opts *o,
                    const char *code, cg_net *net);

/* What a parser says: "position 7: expected a digit 3, 5 or 7, not 'x'".
 * Positions count from 1. */
cg_err cg_zoo_bad(const char *code, const char *at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
