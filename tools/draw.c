/* dot reads the graph from a file without a name and writes the picture into
 * the one that cg_out keeps: no pipe that two programs could both wait on. */
#include "tools/draw.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "ir/text.h"
#include "passes/passes.h"
#include "tools/networks.h"

/* Its first line, which is what dot complained of. */
static cg_err complaint(FILE *said)
{
    char line[200] = "it did not say why";
    rewind(said);
    if (fgets(line, sizeof line, said))
        line[strcspn(line, "\n")] = '\0';
    return cg_fail(CG_EIO, "graphviz's program dot failed: %s", line);
}

static cg_err wait_for(pid_t dot, FILE *said)
{
    int status;
    while (waitpid(dot, &status, 0) < 0)
        if (errno != EINTR)
            return cg_fail(CG_EIO, "cannot wait for dot: %s",
                           strerror(errno));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? CG_OK
                                                         : complaint(said);
}

static cg_err run_dot(FILE *in, FILE *out, FILE *said)
{
    static char *const command[] = {"dot", "-Tsvg", "-Granksep=0.25",
                                    "-Gnodesep=0.2", "-Nheight=0.4",
                                    "-Npenwidth=0.6", "-Epenwidth=0.8",
                                    "-Earrowsize=0.6", NULL};
    posix_spawn_file_actions_t files;
    pid_t dot;
    rewind(in); /* flushes, too */
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, fileno(in), STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, fileno(out), STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&files, fileno(said), STDERR_FILENO);
    int failed = posix_spawnp(&dot, command[0], &files, NULL, command,
                              environ);
    posix_spawn_file_actions_destroy(&files);
    if (failed == ENOENT)
        return cg_fail(CG_EIO, "pictures of networks are drawn by graphviz's "
                       "program dot, which is not installed");
    if (failed)
        return cg_fail(CG_EIO, "cannot start dot: %s", strerror(failed));
    return wait_for(dot, said);
}

static cg_err draw(cg_graph *g, FILE *out)
{
    FILE *in = tmpfile(), *said = tmpfile();
    cg_err err = CG_OK;
    if (in)
        cg_print_dot(in, g);
    if (!in || !said || fflush(in) != 0 || ferror(in))
        err = cg_fail(CG_EIO, "cannot write a temporary file: %s",
                      strerror(errno));
    if (err == CG_OK)
        err = run_dot(in, out, said);
    if (in)
        fclose(in);
    if (said)
        fclose(said);
    return err;
}

static cg_err check_size(const cg_graph *g, const char *name)
{
    size_t n = g->main->nodes.len;
    return n <= DRAW_NODES
               ? CG_OK
               : cg_fail(CG_ELIMIT, "%s: %zu operators are too many for a "
                         "picture; at most %d are drawn", name, n, DRAW_NODES);
}

cg_err draw_network(const char *name, const char *path)
{
    cg_graph *g;
    cg_out out;
    CG_TRY(networks_load(name, &g));
    cg_err err = cg_run_passes(g, CG_HAS(fold_batchnorm), NULL);
    if (err == CG_OK)
        err = check_size(g, name);
    if (err == CG_OK)
        err = cg_out_open(&out, path);
    if (err != CG_OK) {
        cg_graph_free(g);
        return err;
    }
    err = draw(g, out.f);
    cg_graph_free(g);
    if (err == CG_OK)
        return cg_out_commit(&out);
    cg_out_abandon(&out);
    return err;
}
