/* Runs passes: what is wanted, what that needs, in the order of passes.def.
 * The graph is checked before the first pass and after each, in release too:
 * it costs a few percent, and names the pass that broke something. */
#include <string.h>
#include <time.h>

#include "passes/passes.h"

const cg_pass_info cg_pass_table[CG_PASS_COUNT] = {
#define CG_PASS(name, needs, drops, line)                                     \
    {#name, line, cg_pass_##name, needs, drops},
#include "passes/passes.def"
#undef CG_PASS
};

int cg_pass_find(const char *name)
{
    for (int i = 0; i < CG_PASS_COUNT; i++)
        if (strcmp(cg_pass_table[i].name, name) == 0)
            return i;
    return -1;
}

static cg_facts with_needs(cg_facts wanted)
{
    for (int i = CG_PASS_COUNT - 1; i >= 0; i--)
        if (wanted >> i & 1)
            wanted |= cg_pass_table[i].needs;
    return wanted;
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

cg_err cg_run_passes(cg_graph *g, cg_facts wanted, const cg_pass_hook *hook)
{
    CG_TRY(cg_graph_validate(g, NULL));
    wanted = with_needs(wanted);
    for (int i = 0; i < CG_PASS_COUNT; i++) {
        const cg_pass_info *p = &cg_pass_table[i];
        if (!(wanted >> i & 1) || g->facts >> i & 1)
            continue;
        double start = hook ? now_ms() : 0;
        CG_TRY(p->run(g));
        CG_TRY(cg_graph_validate(g, p->name));
        g->facts = (g->facts & ~p->drops) | (cg_facts)1 << i;
        if (hook)
            hook->after(hook->user, g, (cg_pass_id)i, now_ms() - start);
    }
    return CG_OK;
}
