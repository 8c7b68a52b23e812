#include "runtime/dataset.h"

#include <string.h>
#include <sys/mman.h>

#include "base/arena.h"
#include "runtime/dataset_format.h"

#define PIPE_MAX ((size_t)64 << 30)

/* -- opening --------------------------------------------------------------- */

static void point(cg_set *s)
{
    const struct cg_set_store *st = s->store;
    const cg_set_header *h = st->header;
    s->form = (cg_form)h->form;
    s->n_graphs = h->n_graphs;
    s->n_tokens = h->n_tokens;
    s->n_topologies = h->n_topologies;
    s->n_labels = h->n_labels;
    s->topology = (const void *)st->data[CG_SECTION_TOPOLOGY];
    s->spectrum = (const void *)st->data[CG_SECTION_SPECTRA];
    s->graph = (const void *)st->data[CG_SECTION_GRAPHS];
    s->label = (const void *)st->data[CG_SECTION_LABELS];
}

static bool little_endian(void)
{
    const uint32_t one = 1;
    unsigned char first;
    memcpy(&first, &one, 1);
    return first == 1;
}

static cg_err check(cg_set *s)
{
    if (!little_endian())
        return cg_fail(CG_EUNSUPPORTED, "data sets are mapped, and this "
                       "machine's numbers are not little-endian");
    CG_TRY(cg_set_check_frame(s->store));
    point(s);
    return cg_set_check_content(s);
}

cg_err cg_set_from_map(cg_set **out, cg_file_map map, const char *path)
{
    cg_set *s = cg_xcalloc(1, sizeof *s);
    size_t n = strlen(path) + 1;
    s->store = cg_xcalloc(1, sizeof *s->store);
    s->store->map = map;
    s->store->path = cg_xcalloc(n, 1);
    memcpy(s->store->path, path, n);
    s->path = s->store->path;
    cg_err err = check(s);
    if (err != CG_OK) {
        cg_set_close(s);
        return cg_fail_in(err, "%s", path);
    }
    *out = s;
    return CG_OK;
}

cg_err cg_set_open(cg_set **s, const char *path)
{
    cg_file_map map;
    *s = NULL;
    cg_err err = cg_file_open(&map, path, PIPE_MAX);
    if (err != CG_OK)
        return cg_fail_in(err, "%s", path);
    /* the checks read all of it from front to back */
    if (map.data && !map.heap)
        madvise((void *)map.data, map.size, MADV_SEQUENTIAL);
    CG_TRY(cg_set_from_map(s, map, path));
    if (map.data && !map.heap)
        madvise((void *)map.data, map.size, MADV_NORMAL);
    return CG_OK;
}

void cg_set_close(cg_set *s)
{
    if (!s)
        return;
    cg_file_close(&s->store->map);
    cg_xfree(s->store->path);
    cg_xfree(s->store->token);
    cg_xfree(s->store->token_hash);
    cg_xfree(s->store);
    cg_xfree(s->label_name);
    cg_xfree(s);
}

/* -- reading --------------------------------------------------------------- */

const char *cg_set_name(const cg_set *s, uint32_t i)
{
    return (const char *)s->store->data[CG_SECTION_NAMES] + s->graph[i].name;
}

int cg_set_label(const cg_set *s, const char *name)
{
    for (uint32_t i = 0; i < s->n_labels; i++)
        if (strcmp(s->label_name[i], name) == 0)
            return (int)i;
    return -1;
}

bool cg_set_section_size(const cg_set *s, int i, const char **name,
                         uint64_t *bytes)
{
    if (i >= CG_SECTIONS)
        return false;
    *name = cg_section_names[i];
    *bytes = s->store->section[i].size;
    return true;
}

static void reserve(cg_item *t, uint32_t n_nodes, uint32_t n_edges)
{
    if (n_nodes > t->cap_nodes || !t->token) {
        t->cap_nodes = n_nodes < 64 ? 64 : n_nodes;
        size_t bytes = ((size_t)t->cap_nodes + 1) * sizeof(uint32_t);
        t->token = cg_xrealloc(t->token, bytes);
        t->parent = cg_xrealloc(t->parent, bytes);
        t->start = cg_xrealloc(t->start, bytes);
        t->level = cg_xrealloc(t->level, t->cap_nodes);
    }
    if (n_edges > t->cap_edges || !t->pred) {
        t->cap_edges = n_edges < 64 ? 64 : n_edges;
        t->pred = cg_xrealloc(t->pred, t->cap_edges * sizeof *t->pred);
    }
}

/* n indices of one width; loops of their own vectorise. */
static void widen(uint32_t *to, const unsigned char *p, uint32_t width,
                  uint32_t n)
{
    if (width == 1)
        for (uint32_t i = 0; i < n; i++)
            to[i] = p[i];
    else if (width == 2)
        for (uint32_t i = 0; i < n; i++)
            to[i] = cg_set_load(p, 2, i);
    else
        memcpy(to, p, n * sizeof *to);
}

void cg_set_get(const cg_set *s, uint32_t i, cg_item *out)
{
    const struct cg_set_store *st = s->store;
    const cg_set_graph *g = &s->graph[i];
    const cg_set_topology *t = &s->topology[g->topology];
    uint32_t n = t->n_nodes, w = cg_set_width(n);
    reserve(out, n, t->n_edges);
    out->n_nodes = n;
    out->n_edges = t->n_edges;
    const unsigned char *p = st->data[CG_SECTION_NODES] + g->nodes;
    widen(out->token, p, g->token_bytes, n);
    p += (size_t)n * g->token_bytes;
    widen(out->parent, p, w, n);
    memcpy(out->level, p + (size_t)n * w, n);
    p = st->data[CG_SECTION_EDGES] + t->edges;
    out->start[0] = 0;
    for (uint32_t v = 0; v < n; v++)
        out->start[v + 1] = out->start[v] + cg_set_load(p, w, v);
    widen(out->pred, p + (size_t)n * w, w, t->n_edges);
}

void cg_item_free(cg_item *t)
{
    cg_xfree(t->token);
    cg_xfree(t->parent);
    cg_xfree(t->start);
    cg_xfree(t->level);
    cg_xfree(t->pred);
    *t = (cg_item){0};
}
