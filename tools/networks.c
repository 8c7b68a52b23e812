#include "tools/networks.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "frontend/zoo/zoo.h"
#include "tools/codes.h"
#include "tools/convert.h"

/* -- one network ----------------------------------------------------------- */

/* Splits FAMILY[:OPTIONS]:CODE. Codes may hold colons, options hold '='. */
static cg_err split_code(const char *name, const cg_family **family,
                         cg_zoo_opts *o, char **head, const char **code)
{
    size_t len = strcspn(name, ":"), more;
    if (name[len]) {
        more = strcspn(name + len + 1, ":");
        if (name[len + 1 + more] && memchr(name + len + 1, '=', more))
            len += 1 + more;
    }
    *code = name[len] ? name + len + 1 : "";
    if (!(*head = strndup(name, len)))
        abort();
    return cg_zoo_find(*head, family, o);
}

static cg_err build_code(const char *name, cg_graph **g)
{
    const cg_family *family;
    cg_zoo_opts o;
    const char *code;
    char *head;
    cg_net net;
    cg_err err = split_code(name, &family, &o, &head, &code);
    if (err == CG_OK)
        err = cg_zoo_build(family, &o, code, &net);
    free(head);
    CG_TRY(err);
    net.graph->facts = CG_HAS(shapes) | CG_HAS(hwc);
    *g = net.graph;
    return CG_OK;
}

static bool is_model(const char *name)
{
    size_t n = strlen(name);
    return (n > 5 && strcmp(name + n - 5, ".onnx") == 0) ||
           (n > 3 && strcmp(name + n - 3, ".cg") == 0);
}

static bool is_file(const char *name)
{
    struct stat st;
    return strcmp(name, "-") == 0 || is_model(name) || stat(name, &st) == 0;
}

static cg_err load_file(const char *name, cg_graph **g)
{
    static const options plain;
    CG_TRY(convert_load(&plain, name, g));
    cg_err err = convert_check_flops(*g);
    if (err != CG_OK)
        cg_graph_free(*g);
    return err;
}

cg_err networks_load(const char *name, cg_graph **g)
{
    if (!is_file(name) && !strchr(name, ':'))
        return cg_fail(CG_EIO, "%s: no such file, and no FAMILY:CODE", name);
    if (!is_file(name))
        return build_code(name, g); /* says family and code */
    cg_err err = load_file(name, g);
    return err == CG_OK ? CG_OK : cg_fail_in(err, "%s", name);
}

static cg_err load(const void *user, const char *name, cg_graph **g)
{
    (void)user;
    return networks_load(name, g);
}

/* Codes alone: `user` is the name of the family. */
static cg_err load_code(const void *user, const char *code, cg_graph **g)
{
    char *name;
    if (asprintf(&name, "%s:%s", (const char *)user, code) < 0)
        abort();
    cg_err err = build_code(name, g);
    free(name);
    return err;
}

/* -- what is to be made ---------------------------------------------------- */

static int wanted(const struct dirent *d) { return is_model(d->d_name); }

static cg_err add_folder(networks *w, const char *path)
{
    struct dirent **list;
    int n = scandir(path, &list, wanted, alphasort);
    if (n < 0)
        return cg_fail(CG_EIO, "%s: cannot open: %s", path, strerror(errno));
    for (int i = 0; i < n; i++) {
        char *name;
        const char *slash = path[strlen(path) - 1] == '/' ? "" : "/";
        if (asprintf(&name, "%s%s%s", path, slash, list[i]->d_name) < 0)
            abort();
        pack_table_add(&w->table, name, NULL);
        free(name);
        free(list[i]);
    }
    free(list);
    return n ? CG_OK
             : cg_fail(CG_EIO, "%s: no .onnx or .cg file in this directory",
                       path);
}

cg_err networks_add(networks *w, const char *arg)
{
    struct stat st;
    if (stat(arg, &st) == 0 && S_ISDIR(st.st_mode))
        return add_folder(w, arg);
    pack_table_add(&w->table, arg, NULL);
    return CG_OK;
}

cg_err networks_add_codes(networks *w, const char *family, const char *file,
                          const char *columns)
{
    cg_csv t;
    code_columns code;
    CG_TRY(cg_csv_read(&t, file));
    cg_err err = code_columns_find(&code, &t, columns, file);
    for (size_t i = 0; i < t.n_rows && err == CG_OK; i++) {
        char name[CG_ZOO_CODE_MAX + 256];
        size_t len = (size_t)snprintf(name, sizeof name, "%.200s:", family);
        err = code_join(&code, &t, i, name + len, CG_ZOO_CODE_MAX);
        if (err == CG_OK)
            pack_table_add(&w->table, name, NULL);
    }
    cg_csv_free(&t);
    return err;
}

static void set_options(networks *w, pack_options *o)
{
    o->tool = w->tool;
    o->form = w->form;
    o->jobs = w->jobs;
    o->no_spectrum = true; /* it teaches an encoder, and nothing else */
    o->need_flops = true;
    o->set = &w->set;
    o->left_out = &w->left_out;
}

/* The family whose codes all of them are; "networks": they are not. */
static const char *common_family(const pack_table *t)
{
    const cg_family *family = NULL;
    cg_zoo_opts o;
    const char *code;
    char *head = NULL;
    bool all = t->n > 0 && !is_file(t->name[0]) &&
               split_code(t->name[0], &family, &o, &head, &code) == CG_OK;
    size_t len = all ? strlen(head) : 0;
    for (size_t i = 1; i < t->n && all; i++)
        all = strncmp(t->name[i], head, len) == 0 && t->name[i][len] == ':';
    free(head);
    return all ? family->name : "networks";
}

cg_err networks_make(networks *w)
{
    pack_options o = {0};
    set_options(w, &o);
    return pack_run(&w->table, &o, common_family(&w->table), load, NULL);
}

/* -- words ----------------------------------------------------------------- */

static bool part_of_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

bool networks_word(const char *code, const char *word)
{
    size_t n = strlen(word);
    for (const char *s = code; (s = strstr(s, word)); s++)
        if ((s == code || !part_of_word(s[-1])) && !part_of_word(s[n]))
            return true;
    return false;
}

static cg_err leave_out(const networks *w, pack_table *t, const char *labels)
{
    size_t n = 0, all = t->n;
    for (size_t i = 0; i < all && w->without; i++) {
        if (networks_word(t->name[i], w->without))
            continue;
        t->name[n] = t->name[i];
        memmove(t->label + n * t->n_labels, t->label + i * t->n_labels,
                t->n_labels * sizeof *t->label);
        n++;
    }
    if (w->without)
        t->n = n;
    return t->n || !all ? CG_OK
                        : cg_fail(CG_EFORMAT, "%s: every code holds '%s'",
                                  labels, w->without);
}

/* -- labelled ones --------------------------------------------------------- */

static cg_err read_codes(pack_table *t, const pack_options *o,
                         const char *family)
{
    bool found;
    CG_TRY(pack_read_results(t, o, family, &found));
    return found ? CG_OK : pack_read_csv(t, o, o->code_columns);
}

cg_err networks_of_family(networks *w, const char *family,
                          const pack_options *labels)
{
    pack_options o = *labels;
    const cg_family *f;
    cg_zoo_opts opts;
    CG_TRY(cg_zoo_find(family, &f, &opts));
    set_options(w, &o);
    CG_TRY(read_codes(&w->table, &o, f->name));
    CG_TRY(leave_out(w, &w->table, o.labels));
    CG_TRY(codes_check(family, w->table.name, w->table.n, o.labels));
    return pack_run(&w->table, &o, f->name, load_code, family);
}

cg_err networks_of_models(networks *w, char *dir, const pack_options *labels)
{
    options o = {.pack_opts = *labels};
    set_options(w, &o.pack_opts);
    return pack_models(&o, &dir, 1);
}

void networks_free(networks *w)
{
    pack_table_free(&w->table);
    cg_set_close(w->set);
    w->set = NULL;
}
