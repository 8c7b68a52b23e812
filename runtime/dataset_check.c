/* What a container must be like before anyone reads it. Checksums find
 * accidents; everything else here is for files whose checksums are right and
 * whose numbers are not, so that readers need no check of their own. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/map.h"
#include "runtime/dataset_format.h"

const char cg_section_names[CG_SECTIONS][9] = {
    "texts", "tokens", "topology", "spectra", "edges",
    "graphs", "labels", "nodes", "names"};

/* -- the frame ------------------------------------------------------------- */

static cg_err check_header(const cg_file_map *m, const cg_set_header *h)
{
    size_t known = m->size < sizeof h->magic ? m->size : sizeof h->magic;
    if (known == 0 || memcmp(m->data, CG_SET_MAGIC, known) != 0)
        return cg_fail(CG_EFORMAT, "not a data set (.cgs)");
    if (m->size < sizeof *h)
        return cg_fail(CG_EFORMAT, "the data set is cut short: it ends within "
                       "its header");
    if (cg_crc32c(0, h, sizeof *h - sizeof h->header_crc) != h->header_crc)
        return cg_fail(CG_EFORMAT, "the data set is damaged: wrong checksum "
                       "of its header");
    if (h->version != CG_SET_VERSION)
        return cg_fail(CG_EUNSUPPORTED, "a data set of version %" PRIu32
                       "; this program reads version %d", h->version,
                       CG_SET_VERSION);
    if (m->size < h->size)
        return cg_fail(CG_EFORMAT, "the data set is cut short: %zu of %" PRIu64
                       " bytes are there", m->size, h->size);
    if (m->size > h->size)
        return cg_fail(CG_EFORMAT, "%" PRIu64 " bytes stand behind the end of "
                       "the data set", m->size - h->size);
    if (h->n_sections != CG_SECTIONS || h->size < CG_SET_DATA)
        return cg_fail(CG_EFORMAT, "a data set of %" PRIu32 " sections in %"
                       PRIu64 " bytes, not %d", h->n_sections, h->size,
                       CG_SECTIONS);
    return h->form > CG_FORM_FUSED
               ? cg_fail(CG_EFORMAT, "form %" PRIu32 " is not known", h->form)
               : CG_OK;
}

static bool all_zero(const unsigned char *p, size_t n)
{
    unsigned char any = 0;
    for (size_t i = 0; i < n; i++)
        any |= p[i];
    return !any;
}

/* Sections lie one behind the other, zeros between them: no byte of the file
 * is without a check. *at is where the last one ended. */
static cg_err check_section(struct cg_set_store *st, int i, size_t *at)
{
    const cg_set_section *e = &st->section[i];
    size_t size = st->map.size;
    size_t start = (*at + CG_SET_ALIGN - 1) / CG_SET_ALIGN * CG_SET_ALIGN;
    if (memcmp(e->name, cg_section_names[i], sizeof e->name) != 0 ||
        e->reserved || e->offset != start || start > size ||
        e->size > size - start)
        return cg_fail(CG_EFORMAT, "section '%s' is not where it should be",
                       cg_section_names[i]);
    st->data[i] = st->map.data + start;
    if (!all_zero(st->map.data + *at, start - *at))
        return cg_fail(CG_EFORMAT, "the data set is damaged: no zeros before "
                       "section '%s'", cg_section_names[i]);
    if (cg_crc32c(0, st->data[i], e->size) != e->crc)
        return cg_fail(CG_EFORMAT, "the data set is damaged: wrong checksum "
                       "of section '%s'", cg_section_names[i]);
    *at = start + e->size;
    return CG_OK;
}

/* Sections of fixed records have as many as the header says. */
static cg_err check_sizes(const struct cg_set_store *st)
{
    const cg_set_header *h = st->header;
    const struct { int section; uint32_t a, b; size_t bytes; } want[] = {
        {CG_SECTION_TOKENS, h->n_tokens, 1, sizeof(cg_token)},
        {CG_SECTION_TOPOLOGY, h->n_topologies, 1, sizeof(cg_set_topology)},
        {CG_SECTION_SPECTRA, h->n_topologies, CG_SPECTRUM_LEN, sizeof(double)},
        {CG_SECTION_GRAPHS, h->n_graphs, 1, sizeof(cg_set_graph)},
        {CG_SECTION_LABELS, h->n_graphs, h->n_labels, sizeof(double)}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        uint64_t n = (uint64_t)want[i].a * want[i].b;
        if (__builtin_mul_overflow(n, want[i].bytes, &n) ||
            n != st->section[want[i].section].size)
            return cg_fail(CG_EFORMAT, "section '%s' has %" PRIu64 " bytes, "
                           "which is not what its %" PRIu32 " rows take",
                           cg_section_names[want[i].section],
                           st->section[want[i].section].size, want[i].a);
    }
    return CG_OK;
}

cg_err cg_set_check_frame(struct cg_set_store *st)
{
    const cg_set_header *h = (const void *)st->map.data;
    CG_TRY(check_header(&st->map, h));
    st->header = h;
    st->section = (const void *)(st->map.data + sizeof *h);
    if (cg_crc32c(0, st->section, CG_SECTIONS * sizeof *st->section) !=
        h->table_crc)
        return cg_fail(CG_EFORMAT, "the data set is damaged: wrong checksum "
                       "of its section table");
    size_t at = sizeof *h + CG_SECTIONS * sizeof *st->section;
    for (int i = 0; i < CG_SECTIONS; i++)
        CG_TRY(check_section(st, i, &at));
    if (at != st->map.size)
        return cg_fail(CG_EFORMAT, "bytes stand behind the last section");
    return check_sizes(st);
}

/* -- texts and tokens ------------------------------------------------------ */

/* Takes one text off the section's rest; NULL: there is none. */
static char *take(const unsigned char **p, const unsigned char *end)
{
    char *s = (char *)*p;
    const unsigned char *nul = memchr(*p, 0, (size_t)(end - *p));
    *p = nul ? nul + 1 : end;
    return nul ? s : NULL;
}

static uint16_t op_of(const char *name)
{
    int op = strcmp(name, "Input") == 0    ? CG_TOKEN_INPUT
             : strcmp(name, "Output") == 0 ? CG_TOKEN_OUTPUT
                                           : cg_op_find(name);
    return (uint16_t)(op < 0 ? CG_OP_CUSTOM : op);
}

/* The family, the operators' names, the labels' names. */
static cg_err check_texts(cg_set *s, const char **op_name, uint16_t *op)
{
    const struct cg_set_store *st = s->store;
    const unsigned char *p = st->data[CG_SECTION_TEXTS];
    const unsigned char *end = p + st->section[CG_SECTION_TEXTS].size;
    s->family = take(&p, end);
    bool ok = s->family != NULL;
    for (uint32_t i = 0; i < st->header->n_ops && ok; i++) {
        op_name[i] = take(&p, end);
        ok = op_name[i] != NULL;
        op[i] = ok ? op_of(op_name[i]) : 0;
    }
    for (uint32_t i = 0; i < s->n_labels && ok; i++) {
        s->label_name[i] = take(&p, end);
        ok = s->label_name[i] != NULL;
    }
    return ok && p == end ? CG_OK
                          : cg_fail(CG_EFORMAT, "section 'texts' does not "
                                    "have the names that the header counts");
}

static bool token_ok(const cg_token *t, uint32_t n_ops)
{
    return t->op < n_ops && (t->act < n_ops || t->act == CG_SET_NO_ACT) &&
           t->bias <= 1 && t->rank <= CG_MAX_RANK && isfinite(t->macs) &&
           t->macs >= 0;
}

/* Of what a token is, whatever numbers operators have. */
static uint64_t hash_token(const cg_token *t, const char *op, const char *act)
{
    cg_token plain = *t;
    plain.op = plain.act = 0;
    uint64_t h = cg_hash64(&plain, sizeof plain, 0);
    h = cg_hash64(op, strlen(op), h);
    h = cg_hash64(act, strlen(act), h);
    return h ? h : 1;
}

static cg_err take_tokens(cg_set *s, const char *const *op_name,
                          const uint16_t *op)
{
    struct cg_set_store *st = s->store;
    const cg_token *from = (const void *)st->data[CG_SECTION_TOKENS];
    st->token = cg_xcalloc(s->n_tokens, sizeof *st->token);
    st->token_hash = cg_xcalloc(s->n_tokens, sizeof *st->token_hash);
    s->token = st->token;
    s->token_hash = st->token_hash;
    for (uint32_t i = 0; i < s->n_tokens; i++) {
        cg_token *t = &st->token[i];
        *t = from[i];
        if (!token_ok(t, st->header->n_ops))
            return cg_fail(CG_EFORMAT, "section 'tokens': token %" PRIu32
                           " has a value out of range", i);
        bool none = t->act == CG_SET_NO_ACT;
        st->token_hash[i] = hash_token(t, op_name[t->op],
                                       none ? "" : op_name[t->act]);
        t->act = none ? CG_TOKEN_OPS : op[t->act];
        t->op = op[t->op];
    }
    return CG_OK;
}

static cg_err check_tokens(cg_set *s)
{
    const struct cg_set_store *st = s->store;
    uint32_t n = st->header->n_ops;
    /* each label and operator has a NUL at least; counts from the file are
     * not sizes to allocate before that is known */
    if ((uint64_t)n + s->n_labels > st->section[CG_SECTION_TEXTS].size ||
        n > CG_SET_NO_ACT)
        return cg_fail(CG_EFORMAT, "section 'texts' is shorter than %" PRIu32
                       " operators and %" PRIu32 " labels", n, s->n_labels);
    const char **op_name = cg_xcalloc(n, sizeof *op_name);
    uint16_t *op = cg_xcalloc(n, sizeof *op);
    s->label_name = cg_xcalloc(s->n_labels, sizeof *s->label_name);
    cg_err err = check_texts(s, op_name, op);
    if (err == CG_OK)
        err = take_tokens(s, op_name, op);
    cg_xfree(op_name);
    cg_xfree(op);
    return err;
}

/* -- topologies ------------------------------------------------------------ */

/* `count` things of `bytes` from `offset` on, within `size`. */
static bool within(uint64_t offset, uint64_t count, uint64_t bytes,
                   uint64_t size)
{
    return offset <= size && count <= (size - offset) / bytes;
}

/* In-degrees, then the sources of each node, ascending and before it. */
static bool edges_ok(const unsigned char *p, const cg_set_topology *t)
{
    uint32_t w = cg_set_width(t->n_nodes);
    uint64_t at = t->n_nodes, end = (uint64_t)t->n_nodes + t->n_edges;
    for (uint32_t v = 0; v < t->n_nodes; v++) {
        uint32_t degree = cg_set_load(p, w, v);
        if (degree > end - at)
            return false;
        uint32_t least = 0;
        for (uint64_t stop = at + degree; at < stop; at++) {
            uint32_t u = cg_set_load(p, w, at);
            if (u < least || u >= v)
                return false;
            least = u + 1;
        }
    }
    return at == end;
}

static bool spectrum_ok(const double *x)
{
    for (int i = 0; i < CG_SPECTRUM_LEN; i++)
        if (isinf(x[i]))
            return false;
    return true;
}

static cg_err check_topologies(const cg_set *s)
{
    const struct cg_set_store *st = s->store;
    uint64_t size = st->section[CG_SECTION_EDGES].size;
    for (uint32_t i = 0; i < s->n_topologies; i++) {
        const cg_set_topology *t = &s->topology[i];
        if (t->n_nodes == 0 || t->n_nodes > CG_SET_MAX_NODES || t->reserved ||
            !within(t->edges, (uint64_t)t->n_nodes + t->n_edges,
                    cg_set_width(t->n_nodes), size) ||
            !edges_ok(st->data[CG_SECTION_EDGES] + t->edges, t) ||
            !spectrum_ok(s->spectrum + (size_t)i * CG_SPECTRUM_LEN))
            return cg_fail(CG_EFORMAT, "section 'topology': row %" PRIu32
                           " has edges or sizes out of range", i);
    }
    return CG_OK;
}

/* -- graphs ---------------------------------------------------------------- */

/* Whether n indices are below `limit`. Written so that it vectorises. */
static bool indices_ok(const unsigned char *p, uint32_t width, uint32_t n,
                       uint32_t limit)
{
    uint32_t largest = 0;
    if (width == 1)
        for (uint32_t v = 0; v < n; v++)
            largest = p[v] > largest ? p[v] : largest;
    else
        for (uint32_t v = 0; v < n; v++) {
            uint32_t x = cg_set_load(p, width, v);
            largest = x > largest ? x : largest;
        }
    return largest < limit;
}

/* Whether every parent comes before its node; the first has none. */
static bool parents_ok(const unsigned char *p, uint32_t width, uint32_t n)
{
    uint32_t bad = cg_set_load(p, width, 0);
    if (width == 1)
        for (uint32_t v = 1; v < n; v++)
            bad |= p[v] >= v;
    else
        for (uint32_t v = 1; v < n; v++)
            bad |= cg_set_load(p, width, v) >= v;
    return !bad;
}

static bool count_ok(double x) { return isnan(x) || (x >= 0 && !isinf(x)); }

static bool graph_ok(const cg_set *s, const cg_set_graph *g)
{
    const struct cg_set_store *st = s->store;
    uint32_t tw = g->token_bytes;
    if (g->topology >= s->n_topologies || (tw != 1 && tw != 2 && tw != 4) ||
        g->name >= st->section[CG_SECTION_NAMES].size)
        return false;
    uint32_t n = s->topology[g->topology].n_nodes, w = cg_set_width(n);
    if (!within(g->nodes, n, tw + w + 1, st->section[CG_SECTION_NODES].size))
        return false;
    const unsigned char *token = st->data[CG_SECTION_NODES] + g->nodes;
    const unsigned char *parent = token + (size_t)n * tw;
    const unsigned char *level = parent + (size_t)n * w;
    return indices_ok(token, tw, n, s->n_tokens) && parents_ok(parent, w, n) &&
           level[0] == 0 && count_ok(g->params) && count_ok(g->macs) &&
           count_ok(g->flops);
}

static cg_err check_graphs(const cg_set *s)
{
    const struct cg_set_store *st = s->store;
    size_t names = st->section[CG_SECTION_NAMES].size;
    if (names && st->data[CG_SECTION_NAMES][names - 1])
        return cg_fail(CG_EFORMAT, "section 'names': the last name has no "
                       "end");
    for (uint32_t i = 0; i < s->n_graphs; i++)
        if (!graph_ok(s, &s->graph[i]))
            return cg_fail(CG_EFORMAT, "section 'graphs': graph %" PRIu32
                           " has an index or a size out of range", i);
    for (size_t i = 0; i < (size_t)s->n_graphs * s->n_labels; i++)
        if (isinf(s->label[i]))
            return cg_fail(CG_EFORMAT, "section 'labels': a label of graph %zu "
                           "is infinite", i / s->n_labels);
    return CG_OK;
}

cg_err cg_set_check_content(cg_set *s)
{
    CG_TRY(check_tokens(s));
    CG_TRY(check_topologies(s));
    return check_graphs(s);
}
