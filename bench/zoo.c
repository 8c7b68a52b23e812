/* bench_zoo FAMILY CODES ROUNDS: builds the networks of a file of codes, one a
 * line, and prints networks per second of CPU time, one thread, the best of
 * ROUNDS:
 *     build N count N hash N
 * `build` is code to graph; `count` adds passes simplify, fold_batchnorm and
 * flops, `hash` that one too. All free the graph. ROUNDS 0 prints params, macs
 * and flops of each network instead. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "frontend/zoo/zoo.h"
#include "passes/passes.h"

typedef struct run {
    const cg_zoo_family *family;
    cg_zoo_opts opts;
    CG_ARRAY(char *) codes;
} run;

static cg_err read_codes(run *r, const char *path)
{
    char *line = NULL;
    size_t cap = 0;
    FILE *f = fopen(path, "r");
    if (!f)
        return cg_fail(CG_EIO, "%s: cannot be read", path);
    while (getline(&line, &cap, f) > 0) {
        line[strcspn(line, "\r\n")] = 0;
        cg_array_push(&r->codes, strdup(line));
    }
    free(line);
    fclose(f);
    return r->codes.len ? CG_OK : cg_fail(CG_EFORMAT, "%s: no codes", path);
}

static const struct {
    const char *name;
    cg_facts wanted;
} steps[] = {
    {"build", 0},
    {"count", CG_HAS(simplify) | CG_HAS(fold_batchnorm) | CG_HAS(flops)},
    {"hash", CG_HAS(simplify) | CG_HAS(fold_batchnorm) | CG_HAS(flops) |
                 CG_HAS(hash)},
};
#define N_STEPS (sizeof steps / sizeof *steps)

static cg_err make(const run *r, size_t i, cg_facts wanted, cg_net *net)
{
    CG_TRY(cg_zoo_build(r->family, &r->opts, r->codes.data[i], net));
    net->graph->facts = CG_HAS(shapes) | CG_HAS(hwc);
    return wanted ? cg_run_passes(net->graph, wanted, NULL) : CG_OK;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static cg_err measure(const run *r, int rounds, cg_facts wanted,
                      double *rate)
{
    *rate = 0;
    for (int round = 0; round < rounds; round++) {
        double start = seconds();
        for (size_t i = 0; i < r->codes.len; i++) {
            cg_net net;
            CG_TRY(make(r, i, wanted, &net));
            cg_graph_free(net.graph);
        }
        double now = (double)r->codes.len / (seconds() - start);
        *rate = now > *rate ? now : *rate;
    }
    return CG_OK;
}

static cg_err print_counts(const run *r)
{
    for (size_t i = 0; i < r->codes.len; i++) {
        cg_net net;
        CG_TRY(make(r, i, steps[1].wanted, &net));
        printf("%" PRId64 " %" PRId64 " %" PRId64 "\n", net.graph->params,
               net.graph->macs, net.graph->flops);
        cg_graph_free(net.graph);
    }
    return CG_OK;
}

static cg_err all(run *r, char **argv)
{
    double rate;
    int rounds = atoi(argv[3]);
    CG_TRY(cg_zoo_find(argv[1], &r->family, &r->opts));
    CG_TRY(read_codes(r, argv[2]));
    if (rounds == 0)
        return print_counts(r);
    for (size_t i = 0; i < N_STEPS; i++) {
        CG_TRY(measure(r, rounds, steps[i].wanted, &rate));
        printf("%s%s %.0f", i ? " " : "", steps[i].name, rate);
    }
    putchar('\n');
    return CG_OK;
}

int main(int argc, char **argv)
{
    run r = {0};
    if (argc != 4) {
        fputs("usage: bench_zoo FAMILY CODES ROUNDS\n", stderr);
        return 2;
    }
    cg_err err = all(&r, argv);
    if (err != CG_OK)
        fprintf(stderr, "bench_zoo: %s\n", cg_error());
    for (size_t i = 0; i < r.codes.len; i++)
        free(r.codes.data[i]);
    cg_array_free(&r.codes);
    return err == CG_OK ? 0 : 1;
}
