/* Runs tests/cases/: facts about graphs as text files.
 *
 *     cg 1
 *     graph "relu6"
 *     ...
 *     --- simplify
 *     ReLU6(%x)            the printed result contains this,
 *     output               and later this;
 *     ! Clip               and nowhere this
 *
 * Behind `---` stand the passes wanted, with commas; what they need is
 * brought along. One line `error: TEXT` instead: the text, or a pass, is
 * refused with a sentence that contains TEXT. Adding a case is adding a file:
 *
 *     test_cases DIRECTORY|FILE... */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "ir/text.h"
#include "passes/passes.h"

typedef struct test_case {
    const char *path;
    char *graph, *passes;
    char *expected; /* lines */
} test_case;

static int complain(const test_case *c, const char *what, const char *line)
{
    fprintf(stderr, "%s: %s '%s'\n", c->path, what, line);
    return 1;
}

/* The next line of *s without spaces around it; NULL at the end. */
static char *next_line(char **s)
{
    if (!**s)
        return NULL;
    char *line = *s + strspn(*s, " \t");
    char *end = line + strcspn(line, "\n");
    *s = *end ? end + 1 : end;
    while (end > line && (end[-1] == ' ' || end[-1] == '\r'))
        end--;
    *end = '\0';
    return line;
}

static cg_err wanted_passes(char *names, cg_facts *out)
{
    *out = 0;
    for (char *name = strtok(names, ", "); name; name = strtok(NULL, ", ")) {
        int pass = cg_pass_find(name);
        if (pass < 0)
            return cg_fail(CG_EUSAGE, "there is no pass '%s'", name);
        *out |= (cg_facts)1 << pass;
    }
    return CG_OK;
}

/* The printed result, or NULL and an error. Heap. */
static char *run(const test_case *c)
{
    cg_graph *g = NULL;
    cg_facts wanted;
    char *text = NULL;
    size_t len;
    if (wanted_passes(c->passes, &wanted) != CG_OK ||
        cg_parse_text(c->graph, strlen(c->graph), &g) != CG_OK)
        return NULL;
    if (cg_run_passes(g, wanted, NULL) == CG_OK) {
        FILE *f = open_memstream(&text, &len);
        cg_print_text(f, g);
        fclose(f);
    }
    cg_graph_free(g);
    return text;
}

static int check(const test_case *c, char *text)
{
    char *expected = c->expected, *line;
    const char *from = text;
    if (!strncmp(expected, "error: ", 7)) {
        line = next_line(&expected) + 7;
        if (text)
            return complain(c, "accepted, but should fail with", line);
        return strstr(cg_error(), line) ? 0
                                        : complain(c, cg_error(), line);
    }
    if (!text)
        return complain(c, "failed:", cg_error());
    while ((line = next_line(&expected))) {
        if (!*line)
            continue;
        if (!strncmp(line, "! ", 2)) {
            if (strstr(text, line + 2))
                return complain(c, "should not have", line + 2);
            continue;
        }
        const char *at = strstr(from, line);
        if (!at) {
            fputs(text, stderr);
            return complain(c, "no line with", line);
        }
        from = at + strlen(line);
    }
    return 0;
}

/* Splits a file at its line that begins with "---". */
static int run_file(const char *path)
{
    test_case c = {.path = path};
    cg_file_map m;
    if (cg_file_open(&m, path, 1 << 20) != CG_OK)
        return complain(&c, "failed:", cg_error());
    char *all = cg_xcalloc(m.size + 1, 1);
    memcpy(all, m.data, m.size);
    cg_file_close(&m);
    char *mark = strstr(all, "\n---");
    if (!mark) {
        free(all);
        return complain(&c, "has no line that begins with", "---");
    }
    c.graph = all;
    mark[1] = '\0';
    c.expected = mark + 4;
    c.passes = next_line(&c.expected);
    char *text = run(&c);
    int failed = check(&c, text);
    free(text);
    free(all);
    return failed;
}

static int only_cases(const struct dirent *e)
{
    size_t n = strlen(e->d_name);
    return n > 3 && !strcmp(e->d_name + n - 3, ".cg");
}

static int run_directory(const char *dir)
{
    struct dirent **list;
    int n = scandir(dir, &list, only_cases, alphasort), failed = 0;
    if (n < 0)
        return run_file(dir);
    for (int i = 0; i < n; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", dir, list[i]->d_name);
        failed += run_file(path);
        free(list[i]);
    }
    free(list);
    printf("%s: %d cases, %d failed\n", dir, n, failed);
    return failed;
}

int main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 1; i < argc; i++)
        failed += run_directory(argv[i]);
    return failed || argc < 2;
}
