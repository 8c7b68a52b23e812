/* Digits and inverted bottlenecks of the once-for-all families.
 *
 * An architecture is kept as the digits of its code. Which digits may stand in
 * a place is asked of the family, digit by digit in the order of the code, so
 * that parsing, sampling and mutation are the same walk for all of them. */
#include "frontend/zoo/ofa.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "frontend/zoo/zoo.h"

#define MUTATION 0.1 /* the evolutionary search of once-for-all */

int cg_ofa_digit(const cg_ofa_arch *a, int group, int i)
{
    return a->digit[group][i] - '0';
}

/* -- codes ----------------------------------------------------------------- */

static bool is_absent(const char *choices)
{
    return strcmp(choices, "0") == 0;
}

/* "3, 5 or 7" */
static void list_digits(const char *choices, char *text, size_t size)
{
    size_t n = strlen(choices), used = 0;
    for (size_t i = 0; i < n; i++) {
        const char *join = i == 0 ? "" : i + 1 < n ? ", " : " or ";
        used += (size_t)snprintf(text + used, size - used, "%s%c", join,
                                 choices[i]);
        assert(used < size);
    }
}

static cg_err bad_digit(const char *code, const char *at, const char *choices,
                        const char *what)
{
    char digits[32], found[8] = "the end";
    list_digits(choices, digits, sizeof digits);
    if (*at)
        snprintf(found, sizeof found, "'%c'", *at);
    if (is_absent(choices))
        return cg_zoo_bad(code, at, "expected 0, no %s as the block is absent"
                          ", not %s", what, found);
    return cg_zoo_bad(code, at, "expected %s %s, not %s", what, digits, found);
}

cg_err cg_ofa_parse(const cg_ofa_form *f, const char *code, cg_ofa_arch *a)
{
    const char *at = code;
    memset(a, 0, sizeof *a);
    for (int g = 0; g < CG_OFA_GROUPS; g++) {
        if (g > 0 && *at++ != '-')
            return cg_zoo_bad(code, at - 1, "expected '-' after %d digits",
                              f->n[g - 1]);
        for (int i = 0; i < f->n[g]; i++, at++) {
            const char *choices = f->choices(a, g, i);
            /* strchr finds the NUL of a code that ends too early */
            if (!*at || !strchr(choices, *at))
                return bad_digit(code, at, choices, f->what[g]);
            a->digit[g][i] = *at;
        }
    }
    if (*at)
        return cg_zoo_bad(code, at, "expected the end of the code");
    return CG_OK;
}

void cg_ofa_print(const cg_ofa_form *f, const cg_ofa_arch *a, char *code)
{
    for (int g = 0; g < CG_OFA_GROUPS; g++) {
        if (g > 0)
            *code++ = '-';
        memcpy(code, a->digit[g], (size_t)f->n[g]);
        code += f->n[g];
    }
    *code = '\0';
}

static char draw(cg_rng *r, const char *choices)
{
    return choices[cg_rng_below(r, (uint32_t)strlen(choices))];
}

void cg_ofa_sample(const cg_ofa_form *f, cg_rng *r, cg_ofa_arch *a)
{
    memset(a, 0, sizeof *a);
    for (int g = 0; g < CG_OFA_GROUPS; g++)
        for (int i = 0; i < f->n[g]; i++)
            a->digit[g][i] = draw(r, f->choices(a, g, i));
}

void cg_ofa_mutate(const cg_ofa_form *f, cg_rng *r, cg_ofa_arch *a)
{
    bool redraw[CG_OFA_GROUPS][CG_OFA_SLOTS];
    for (int g = 0; g < CG_OFA_GROUPS; g++) {
        for (int i = 0; i < f->n[g]; i++) {
            bool follows = f->tied && g == 2;
            redraw[g][i] = follows ? redraw[1][i]
                                   : cg_rng_uniform(r) < MUTATION;
            /* a digit that is no choice any more: its block came or went */
            const char *choices = f->choices(a, g, i);
            if (redraw[g][i] || !strchr(choices, a->digit[g][i]))
                a->digit[g][i] = draw(r, choices);
        }
    }
}

/* -- inverted bottlenecks -------------------------------------------------- */

const char *cg_ofa_mb_choices(const cg_ofa_arch *a, int group, int i)
{
    static const int last_stage = 5; /* of one block, where there is one */
    if (group == CG_OFA_DEPTH)
        return i == last_stage ? "1" : "234";
    int depth = cg_ofa_digit(a, CG_OFA_DEPTH, i / CG_OFA_BLOCKS);
    if (i % CG_OFA_BLOCKS >= depth)
        return "0";
    return group == CG_OFA_KERNEL ? "357" : "346";
}

cg_t cg_ofa_conv(cg_net *net, cg_t x, int cout, cg_window w, cg_op act)
{
    return cg_activate(net, cg_cb(net, x, cout, w), act);
}

/* Both convolutions have a bias, there is no BatchNorm between them. */
static cg_t squeeze_excite(cg_net *net, cg_t x)
{
    int c = cg_channels(x);
    int squeezed = cg_make_divisible(100 * (int64_t)(c / 4));
    cg_t gate = cg_mean(net, x);
    gate = cg_conv(net, gate, squeezed, cg_square(1, 1), true);
    gate = cg_activate(net, gate, CG_OP_RELU);
    gate = cg_conv(net, gate, c, cg_square(1, 1), true);
    gate = cg_activate(net, gate, CG_OP_HARDSIGMOID);
    return cg_mul(net, x, gate);
}

cg_t cg_ofa_mbconv(cg_net *net, cg_t x, const cg_mbconv *b)
{
    int cin = cg_channels(x);
    cg_t y = x;
    if (b->expand > 1) {
        int mid = cg_make_divisible(100 * (int64_t)cin * b->expand);
        y = cg_ofa_conv(net, y, mid, cg_square(1, 1), b->act);
    }
    y = cg_depthwise(net, y, cg_square(b->kernel, b->stride), false);
    y = cg_activate(net, cg_batchnorm(net, y), b->act);
    if (b->se)
        y = squeeze_excite(net, y);
    y = cg_cb(net, y, b->cout, cg_square(1, 1));
    if (b->stride == 1 && cin == b->cout)
        y = cg_add2(net, y, x);
    return y;
}

cg_t cg_ofa_mb_stages(cg_net *net, cg_t x, const cg_ofa_arch *a,
                      const cg_ofa_stage *stages, int n, int width)
{
    for (int s = 0; s < n; s++) {
        int depth = cg_ofa_digit(a, CG_OFA_DEPTH, s);
        assert(depth <= CG_OFA_BLOCKS);
        cg_mbconv b = {.act = stages[s].act, .se = stages[s].se};
        b.cout = cg_make_divisible((int64_t)stages[s].width * width);
        for (int i = 0; i < depth; i++) {
            int slot = s * CG_OFA_BLOCKS + i;
            b.kernel = cg_ofa_digit(a, CG_OFA_KERNEL, slot);
            b.expand = cg_ofa_digit(a, CG_OFA_EXPAND, slot);
            b.stride = i == 0 ? stages[s].stride : 1;
            x = cg_ofa_mbconv(net, x, &b);
        }
    }
    return x;
}
