/* What the tests of features and of data sets share: networks of the zoo, and
 * graphs that no network is. */
#ifndef CG_TESTS_SETS_H
#define CG_TESTS_SETS_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/rng.h"
#include "frontend/zoo/zoo.h"
#include "passes/passes.h"
#include "runtime/colours.h"

#define FACTS (CG_HAS(fold_batchnorm) | CG_HAS(flops) | CG_HAS(hash))

/* With FACTS and spectrum; NULL: a code that has no network. */
static inline cg_graph *sample_graph(const cg_zoo_family *f, uint64_t seed,
                                     char *code)
{
    _Alignas(16) char arch[CG_ZOO_ARCH_MAX] = {0};
    cg_zoo_opts none = {0};
    cg_rng r = cg_rng_make(seed, 7);
    cg_net net;
    f->sample(&r, &none, arch);
    f->print(arch, code);
    if (cg_zoo_build(f, &none, code, &net) != CG_OK)
        return NULL; /* nb201 cells without a path */
    net.graph->facts = CG_HAS(shapes) | CG_HAS(hwc);
    assert_int_equal(cg_run_passes(net.graph, FACTS | CG_HAS(spectrum), NULL),
                     CG_OK);
    return net.graph;
}

/* n nodes with `kinds` tokens; node v reads v - step, for all steps given. */
static inline cg_features made_up(uint32_t n, uint32_t kinds,
                                  const uint32_t *step, size_t n_steps)
{
    cg_features f = {.n_nodes = n, .params = 1, .macs = 2, .flops = NAN};
    f.token = cg_xcalloc(n, sizeof *f.token);
    f.start = cg_xcalloc((size_t)n + 1, sizeof *f.start);
    f.pred = cg_xcalloc(n * n_steps, sizeof *f.pred);
    f.parent = cg_xcalloc(n, sizeof *f.parent);
    f.level = cg_xcalloc(n, 1);
    for (uint32_t v = 0; v < n; v++) {
        f.token[v] = (cg_token){.op = CG_OP_RELU, .act = CG_TOKEN_OPS,
                                .groups = v % kinds, .rank = 4};
        for (size_t i = 0; i < n_steps; i++)
            if (v >= step[i])
                f.pred[f.n_edges++] = v - step[i];
        f.start[v + 1] = f.n_edges;
    }
    f.topology[0] = n;
    f.topology[1] = kinds;
    return f;
}

static inline void made_up_free(cg_features *f)
{
    cg_xfree(f->token);
    cg_xfree(f->start);
    cg_xfree(f->pred);
    cg_xfree(f->parent);
    cg_xfree(f->level);
}

static inline void colour(cg_features *f)
{
    cg_colours_make(f->n_nodes, f->token, f->start, f->pred, f->parent,
                    f->level);
}

#endif
