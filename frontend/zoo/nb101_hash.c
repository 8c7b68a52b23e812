/* The module hash of NAS-Bench-101: colour refinement whose colours are MD5
 * digests in hexadecimal. A vertex starts as MD5("(out, in, label)") of its
 * degrees and operator (-1 the input, -2 the output); n times it becomes the
 * MD5 of its predecessors' colours in order, "|", its successors', "|" and its
 * own. The cell's hash is the MD5 of the ordered colours as Python prints a
 * list of strings. Every byte of these texts matters: keys must be equal. */
#include <stdio.h>
#include <string.h>

#include "base/md5.h"
#include "frontend/zoo/nb101.h"

#define N CG_NB101_VERTICES
#define HEX 32
/* A vertex has fewer than N neighbours, and two bars beside its own colour;
 * the list at the end has N colours with two quotes and a comma each. */
#define TEXT_MAX (N * (HEX + 4) + 2)

typedef struct refinement {
    int n;
    uint8_t in[N], out[N];    /* neighbours as bits */
    uint8_t digest[N][16];    /* colours, */
    char hex[N][HEX];         /* written out, */
    int order[N];             /* and sorted */
    char text[N][TEXT_MAX];
} refinement;

static void init(refinement *r, const cg_nb101_cell *c)
{
    r->n = c->n;
    memset(r->in, 0, sizeof r->in);
    memcpy(r->out, c->out, sizeof r->out);
    for (int v = 0; v < c->n; v++)
        for (int w = 0; w < c->n; w++)
            r->in[w] |= (uint8_t)(cg_nb101_edge(c, v, w) << v);
}

/* Hashes each vertex's text; sorts the vertices by the new colours. Digests
 * and their hexadecimal texts have the same order. */
static void recolour(refinement *r, const size_t *len)
{
    cg_md5_text all[N];
    for (int v = 0; v < r->n; v++)
        all[v] = (cg_md5_text){r->text[v], len[v]};
    cg_md5(all, (size_t)r->n, r->digest);
    for (int v = 0; v < r->n; v++) {
        int i = v;
        cg_md5_hex(r->digest[v], r->hex[v]);
        for (; i > 0 && memcmp(r->digest[r->order[i - 1]], r->digest[v],
                               16) > 0; i--)
            r->order[i] = r->order[i - 1];
        r->order[i] = v;
    }
}

static void start(refinement *r, const cg_nb101_cell *c)
{
    size_t len[N];
    for (int v = 0; v < r->n; v++) {
        int label = v == 0 ? -1 : v == r->n - 1 ? -2 : c->op[v];
        len[v] = (size_t)snprintf(r->text[v], TEXT_MAX, "(%d, %d, %d)",
                                  __builtin_popcount(r->out[v]),
                                  __builtin_popcount(r->in[v]), label);
    }
    recolour(r, len);
}

/* Appends the colours of a set of vertices in sorted order, and a bar. */
static char *put_set(const refinement *r, unsigned set, char *s)
{
    for (int i = 0; i < r->n; i++)
        if (set >> r->order[i] & 1) {
            memcpy(s, r->hex[r->order[i]], HEX);
            s += HEX;
        }
    *s++ = '|';
    return s;
}

static void refine(refinement *r)
{
    size_t len[N];
    for (int v = 0; v < r->n; v++) {
        char *s = put_set(r, r->in[v], r->text[v]);
        s = put_set(r, r->out[v], s);
        memcpy(s, r->hex[v], HEX);
        len[v] = (size_t)(s + HEX - r->text[v]);
    }
    recolour(r, len);
}

void cg_nb101_hash(const cg_nb101_cell *c, uint8_t digest[16])
{
    refinement r;
    init(&r, c);
    start(&r, c);
    for (int i = 0; i < r.n; i++)
        refine(&r);
    char *s = r.text[0];
    for (int i = 0; i < r.n; i++) {
        memcpy(s, i ? ", '" : "['", i ? 3 : 2);
        s += i ? 3 : 2;
        memcpy(s, r.hex[r.order[i]], HEX);
        s += HEX;
        *s++ = '\'';
    }
    *s++ = ']';
    cg_md5(&(cg_md5_text){r.text[0], (size_t)(s - r.text[0])}, 1,
           (uint8_t(*)[16])digest);
}

void cg_nb101_key(const cg_nb101_cell *c, char key[CG_NB101_KEY])
{
    uint8_t digest[16];
    cg_nb101_hash(c, digest);
    cg_md5_hex(digest, key);
    key[HEX] = 0;
}
