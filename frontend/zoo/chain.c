#include "frontend/zoo/chain.h"

#include <assert.h>
#include <string.h>

static cg_err parse_op(const cg_kit *k, const char *code, const char **at,
                       uint8_t *op)
{
    /* All characters of a word, so that a longer word is not half matched. */
    size_t n = strspn(*at, "abcdefghijklmnopqrstuvwxyz0123456789_-");
    for (int i = 0; i < k->n_conv + k->n_supp; i++) {
        const char *name = k->part[i].name;
        if (strlen(name) == n && memcmp(*at, name, n) == 0) {
            *op = (uint8_t)i;
            *at += n;
            return CG_OK;
        }
    }
    return cg_zoo_bad(code, *at, "expected an operator: %s", k->expected);
}

cg_err cg_chain_parse(const cg_kit *k, const char *code, const char **at,
                      cg_chain *c)
{
    const char *start = *at;
    int n_supp = 0;
    assert(k->max_ops <= CG_CHAIN_MAX);
    for (;;) {
        const char *word = *at;
        uint8_t op = 0;
        if (c->n_ops == k->max_ops)
            return cg_zoo_bad(code, word, "a %s has at most %d operators",
                              k->what, k->max_ops);
        CG_TRY(parse_op(k, code, at, &op));
        n_supp += op >= k->n_conv;
        if (n_supp > 1)
            return cg_zoo_bad(code, word, "a %s has at most one operator that "
                              "is a pool or a 1x1 convolution", k->what);
        c->op[c->n_ops++] = op;
        if (**at != '+')
            break;
        (*at)++;
    }
    if (n_supp == c->n_ops)
        return cg_zoo_bad(code, start, "this %s has only a pool or a 1x1 "
                          "convolution, it needs a larger one", k->what);
    return CG_OK;
}

void cg_chain_print(const cg_kit *k, const cg_chain *c, char *code,
                    size_t *used)
{
    for (int i = 0; i < c->n_ops; i++) {
        const char *name = k->part[c->op[i]].name;
        size_t n = strlen(name);
        assert(*used + n + 2 <= CG_ZOO_CODE_MAX);
        if (i > 0)
            code[(*used)++] = '+';
        memcpy(code + *used, name, n + 1);
        *used += n;
    }
}

static uint8_t draw_op(cg_rng *r, const cg_kit *k, bool conv)
{
    return (uint8_t)(conv ? cg_rng_below(r, (uint32_t)k->n_conv)
                          : (uint32_t)k->n_conv +
                                cg_rng_below(r, (uint32_t)k->n_supp));
}

/* The first is of the kind that must be there; each other one is of the other
 * kind as often as that kind is among all operators, until there is one. */
cg_chain cg_chain_draw(cg_rng *r, const cg_kit *k, int n)
{
    cg_chain c = {.n_ops = (uint8_t)n};
    uint32_t all = (uint32_t)(k->n_conv + k->n_supp);
    bool have_supp = false;
    for (int i = 0; i < n; i++) {
        bool supp = i > 0 && !have_supp &&
                    cg_rng_below(r, all) < (uint32_t)k->n_supp;
        have_supp |= supp;
        c.op[i] = draw_op(r, k, !supp);
    }
    for (uint32_t i = (uint32_t)n; i > 1; i--) {
        uint32_t j = cg_rng_below(r, i);
        uint8_t t = c.op[i - 1];
        c.op[i - 1] = c.op[j];
        c.op[j] = t;
    }
    return c;
}

void cg_chain_replace(cg_rng *r, const cg_kit *k, cg_chain *c)
{
    uint8_t *op = &c->op[cg_rng_below(r, c->n_ops)];
    uint8_t old = *op;
    do
        *op = draw_op(r, k, old < k->n_conv);
    while (*op == old);
}

cg_err cg_chain_variant(const cg_zoo_opts *o, bool *torch)
{
    *torch = cg_zoo_word(o, "variant", "torch");
    bool given = o && o->text && strstr(o->text, "variant=");
    if (given && !*torch && !cg_zoo_word(o, "variant", "tf"))
        return cg_fail(CG_EUSAGE, "option variant: expected tf or torch");
    return CG_OK;
}

cg_t cg_make_avgpool(cg_net *net, cg_t x, const cg_part *p, const cg_site *s)
{
    cg_window w = cg_square(p->kernel, s->stride);
    return cg_batchnorm(net, cg_avgpool(net, x, w));
}

cg_t cg_make_maxpool(cg_net *net, cg_t x, const cg_part *p, const cg_site *s)
{
    cg_window w = cg_square(p->kernel, s->stride);
    return cg_batchnorm(net, cg_maxpool(net, x, w));
}
