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
static cg_err split_code(const char *name, const cg_zoo_family **family,
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
    const cg_zoo_family *family;
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

/* What is made goes to *set, which take_set adds to the others. */
static void set_options(networks *w, pack_options *o, cg_set **set,
                        size_t *left_out)
{
    *set = NULL;
    *left_out = 0;
    o->tool = w->tool;
    o->form = w->form;
    o->jobs = w->jobs;
    o->no_spectrum = true; /* it teaches an encoder, and nothing else */
    o->need_flops = true;
    o->set = set;
    o->left_out = left_out;
}

static cg_err take_set(networks *w, cg_err err, cg_set *set, size_t left_out)
{
    if (set)
        cg_array_push(&w->sets, set);
    w->left_out += left_out;
    return err;
}

/* The family of a code; NULL: it is a file's name, or of none. */
static const cg_zoo_family *family_of(const char *name)
{
    const cg_zoo_family *family;
    cg_zoo_opts o;
    const char *code;
    char *head = NULL;
    if (is_model(name) || !strchr(name, ':'))
        return NULL;
    cg_err err = split_code(name, &family, &o, &head, &code);
    free(head);
    return err == CG_OK ? family : NULL;
}

/* Codes of one family stand together, mostly. */
static bool same_head(const char *a, const char *b)
{
    size_t n = strcspn(a, ":");
    return a[n] && strncmp(a, b, n + 1) == 0 && !is_model(a) && !is_model(b);
}

/* A set of those of one family: by its name a model knows what they are. */
static cg_err make_some(networks *w, const cg_zoo_family *const *of,
                        const cg_zoo_family *family)
{
    const pack_table *all = &w->table;
    pack_table t = {.n_labels = all->n_labels, .label_name = all->label_name};
    pack_options o = {0};
    cg_set *set;
    size_t left_out;
    for (size_t i = 0; i < all->n; i++)
        if (of[i] == family)
            pack_table_add(&t, all->name[i],
                           t.n_labels ? all->label + i * t.n_labels : NULL);
    set_options(w, &o, &set, &left_out);
    cg_err err = pack_run(&t, &o, family ? family->name : "networks", load,
                          NULL);
    t.label_name = NULL;
    pack_table_free(&t);
    return take_set(w, err, set, left_out);
}

static bool is_first(const cg_zoo_family *const *of, size_t i)
{
    size_t k = 0;
    while (of[k] != of[i])
        k++;
    return k == i;
}

cg_err networks_make(networks *w)
{
    const pack_table *t = &w->table;
    const cg_zoo_family **of = cg_xcalloc(t->n + 1, sizeof *of);
    cg_err err = CG_OK;
    w->left_out += t->bad;
    for (size_t i = 0; i < t->n; i++)
        of[i] = i > 0 && same_head(t->name[i], t->name[i - 1])
                    ? of[i - 1] : family_of(t->name[i]);
    for (size_t i = 0; i < t->n && err == CG_OK; i++)
        if ((i == 0 || of[i] != of[i - 1]) && is_first(of, i))
            err = make_some(w, of, of[i]);
    cg_xfree(of);
    return err;
}

/* Sets keep the order of the table, and so do their examples: each row's is the
 * next of one of them, if it has one. */
static void merge(const pack_table *t, const cg_examples *of, size_t n,
                  cg_examples *e)
{
    cg_examples all = {0};
    uint32_t *next = cg_xcalloc(n + 1, sizeof *next), *order, at = 0;
    uint32_t *first = cg_xcalloc(n + 1, sizeof *first);
    for (size_t k = 0; k < n; k++) {
        first[k] = all.n;
        cg_examples_add(&all, &of[k]);
    }
    order = cg_xcalloc((size_t)all.n + 1, sizeof *order);
    for (size_t i = 0; i < t->n; i++) {
        size_t k = 0;
        for (; k < n; k++) {
            const cg_pick *p = &of[k].pick[next[k]];
            if (next[k] < of[k].n &&
                strcmp(cg_set_name(p->set, p->index), t->name[i]) == 0)
                break;
        }
        if (k < n)
            order[at++] = first[k] + next[k]++;
    }
    *e = cg_examples_pick(&all, order, at);
    cg_examples_free(&all);
    cg_xfree(order);
    cg_xfree(first);
    cg_xfree(next);
}

cg_err networks_examples(const networks *w, const char *label, bool labelled,
                         cg_examples *e)
{
    size_t n = w->sets.len;
    cg_examples *of = cg_xcalloc(n + 1, sizeof *of);
    cg_err err = CG_OK;
    *e = (cg_examples){0};
    for (size_t k = 0; k < n && err == CG_OK; k++)
        err = cg_examples_of(&of[k], w->sets.data[k], label, labelled);
    if (err == CG_OK)
        merge(&w->table, of, n, e);
    for (size_t k = 0; k < n; k++)
        cg_examples_free(&of[k]);
    cg_xfree(of);
    return err;
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
    const cg_zoo_family *f;
    cg_zoo_opts opts;
    cg_set *set;
    size_t left_out;
    CG_TRY(cg_zoo_find(family, &f, &opts));
    set_options(w, &o, &set, &left_out);
    CG_TRY(read_codes(&w->table, &o, f->name));
    CG_TRY(leave_out(w, &w->table, o.labels));
    CG_TRY(codes_check(family, w->table.name, w->table.n, o.labels));
    cg_err err = pack_run(&w->table, &o, f->name, load_code, family);
    return take_set(w, err, set, left_out);
}

cg_err networks_of_models(networks *w, char *dir, const pack_options *labels)
{
    options o = {.pack_opts = *labels};
    cg_set *set;
    size_t left_out;
    set_options(w, &o.pack_opts, &set, &left_out);
    cg_err err = pack_models(&o, &dir, 1);
    return take_set(w, err, set, left_out);
}

void networks_free(networks *w)
{
    pack_table_free(&w->table);
    for (size_t i = 0; i < w->sets.len; i++)
        cg_set_close(w->sets.data[i]);
    cg_array_free(&w->sets);
}
