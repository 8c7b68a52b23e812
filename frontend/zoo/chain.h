/* Chains of operators of two kinds: the blocks of two_path and the paths of
 * inception, which share their rules. A chain has at least one operator that
 * can have a stride ("conv") and at most one of the others ("supp": pools and
 * 1x1 convolutions). Mills et al., AAAI 2023. */
#ifndef CG_FRONTEND_ZOO_CHAIN_H
#define CG_FRONTEND_ZOO_CHAIN_H

#include "base/err.h"
#include "base/rng.h"
#include "frontend/zoo/net.h"
#include "frontend/zoo/zoo.h"

#define CG_CHAIN_MAX 7 /* no family has more than 4 */

/* Bytes, so that equal chains are equal memory. */
typedef struct cg_chain {
    uint8_t n_ops;
    uint8_t op[CG_CHAIN_MAX]; /* rows of the kit; 0 past n_ops */
} cg_chain;

/* Where an operator stands. */
typedef struct cg_site {
    int cout, stride;
    bool torch; /* the form of the authors' PyTorch networks */
} cg_site;

typedef struct cg_part cg_part;
typedef cg_t cg_make_fn(cg_net *net, cg_t x, const cg_part *p,
                        const cg_site *s);
struct cg_part {
    const char *name;
    cg_make_fn *make;
    int kernel;
    int times, over; /* a bottleneck's inner channels: Cin * times / over */
};

/* A family's operators: first the n_conv ones, then the n_supp others. */
typedef struct cg_kit {
    const cg_part *part;
    int n_conv, n_supp;
    int max_ops; /* of a chain */
    const char *what; /* a chain is called: "block" */
    const char *expected; /* the operators, for a message */
} cg_kit;

/* "op+op+op" at *at, which moves behind it. */
cg_err cg_chain_parse(const cg_kit *k, const char *code, const char **at,
                      cg_chain *c);
/* Writes that at code + *used, of CG_ZOO_CODE_MAX; *used grows. */
void cg_chain_print(const cg_kit *k, const cg_chain *c, char *code,
                    size_t *used);
/* n operators as the authors draw them, in random order. */
cg_chain cg_chain_draw(cg_rng *r, const cg_kit *k, int n);
/* One operator becomes another of its kind. */
void cg_chain_replace(cg_rng *r, const cg_kit *k, cg_chain *c);

/* Option variant: tf (the default) or torch. */
cg_err cg_chain_variant(const cg_zoo_opts *o, bool *torch);

/* Pool, then BatchNorm. */
cg_make_fn cg_make_avgpool, cg_make_maxpool;

#endif
