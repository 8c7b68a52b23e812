#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/map.h"
#include "tools/convert.h"

/* Where models are looked for, and which ones. */
typedef struct places {
    const options *o;
    CG_ARRAY(const char *) dirs; /* those given, files', the table's */
    cg_map wanted;               /* real path -> the argument; empty: all */
    CG_ARRAY(char *) owned;      /* keys of `wanted`, directories of files */
    CG_ARRAY(const char *) files;
} places;

static char *join(const char *dir, const char *name)
{
    char *path;
    if (asprintf(&path, "%s/%s", dir, name) < 0)
        abort();
    return path;
}

/* The file that a row names: the first there is, or where it would be. On the
 * heap. */
static char *locate(const places *p, const char *name)
{
    if (*name == '/')
        return join("", name + 1);
    for (size_t i = 0; i < p->dirs.len; i++) {
        char *path = join(p->dirs.data[i], name);
        if (access(path, F_OK) == 0)
            return path;
        free(path);
    }
    return join(p->dirs.data[0], name);
}

static cg_err load_model(const void *user, const char *name, cg_graph **g)
{
    const places *p = user;
    char *path = locate(p, name);
    cg_err err = convert_load(p->o, path, g);
    if (err == CG_OK) {
        err = cg_run_passes(*g, CG_HAS(flops), NULL);
        if (err == CG_OK)
            err = convert_check(p->o, *g);
        if (err == CG_OK && p->o->pack_opts.need_flops)
            err = convert_check_flops(*g);
        if (err != CG_OK)
            cg_graph_free(*g);
    }
    if (err != CG_OK)
        cg_fail_in(err, "%s", path);
    free(path);
    return err;
}

static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash ? strndup(path, (size_t)(slash - path) + 1)
                      : strdup(".");
    if (!dir)
        abort();
    return dir;
}

static cg_err take_input(places *p, const char *input)
{
    struct stat st;
    if (stat(input, &st) == 0 && S_ISDIR(st.st_mode)) {
        cg_array_push(&p->dirs, input);
        return CG_OK;
    }
    char *path = realpath(input, NULL);
    if (!path)
        return cg_fail(CG_EIO, "%s: no such file", input);
    cg_array_push(&p->owned, path);
    cg_array_push(&p->files, input);
    cg_map_put(&p->wanted, path, (void *)input);
    char *dir = directory_of(input);
    cg_array_push(&p->owned, dir);
    if (!p->dirs.len || strcmp(p->dirs.data[p->dirs.len - 1], dir) != 0)
        cg_array_push(&p->dirs, dir);
    return CG_OK;
}

/* Leaves the rows of wanted files, and names those that have no row. */
static void select_rows(places *p, pack_table *t)
{
    size_t n = 0;
    cg_map found = {0};
    for (size_t i = 0; i < t->n; i++) {
        char *path = locate(p, t->name[i]);
        char *real = realpath(path, NULL);
        const char *input = real ? cg_map_get(&p->wanted, real) : NULL;
        free(path);
        free(real);
        if (!input)
            continue;
        cg_map_put(&found, input, (void *)input);
        t->name[n] = t->name[i];
        memmove(t->label + n * t->n_labels, t->label + i * t->n_labels,
                t->n_labels * sizeof *t->label);
        n++;
    }
    t->n = n;
    for (size_t i = 0; i < p->files.len; i++) {
        const char *input = p->files.data[i];
        if (cg_map_get(&found, input))
            continue;
        fprintf(stderr, "onnx2cg: %s: %s has no row for it\n", input,
                p->o->pack_opts.labels);
        t->bad++;
    }
    cg_map_free(&found);
}

cg_err pack_models(const options *o, char *const *inputs, size_t n)
{
    places p = {.o = o};
    pack_table t = {0};
    cg_err err = CG_OK;
    for (size_t i = 0; i < n && err == CG_OK; i++)
        err = take_input(&p, inputs[i]);
    char *home = directory_of(o->pack_opts.labels);
    cg_array_push(&p.owned, home);
    cg_array_push(&p.dirs, home);
    if (err == CG_OK)
        err = pack_read_csv(&t, &o->pack_opts, "file");
    if (err == CG_OK && p.files.len)
        select_rows(&p, &t);
    if (err == CG_OK)
        err = pack_run(&t, &o->pack_opts, "onnx", load_model, &p);
    pack_table_free(&t);
    for (size_t i = 0; i < p.owned.len; i++)
        free(p.owned.data[i]);
    cg_array_free(&p.owned);
    cg_array_free(&p.files);
    cg_array_free(&p.dirs);
    cg_map_free(&p.wanted);
    return err;
}
