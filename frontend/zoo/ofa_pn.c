/* ofa_pn: once-for-all's ProxylessNAS space at width 1.3.
 *
 * Six stages of inverted bottlenecks with ReLU6. A code is the depth of every
 * stage, then kernel size and expansion ratio of every block, four slots a
 * stage (one in the sixth).
 *
 * H. Cai et al., ProxylessNAS, ICLR 2019; Once-for-All, ICLR 2020. */
#include "frontend/zoo/ofa.h"
#include "frontend/zoo/zoo.h"

#define WIDTH 130 /* hundredths */
#define N_STAGES 6
#define N_SLOTS 21

static const cg_ofa_form form = {
    .n = {N_STAGES, N_SLOTS, N_SLOTS},
    .what = {"depth", "kernel size", "expansion ratio"},
    .choices = cg_ofa_mb_choices,
    .tied = true,
};

static const cg_ofa_stage stages[N_STAGES] = {
    {24, 2, CG_OP_RELU6, false},
    {40, 2, CG_OP_RELU6, false},
    {80, 2, CG_OP_RELU6, false},
    {96, 1, CG_OP_RELU6, false},
    {192, 2, CG_OP_RELU6, false},
    {320, 1, CG_OP_RELU6, false},
};

CG_OFA_FUNCTIONS(form)

static cg_err build(cg_net *net, const void *arch, const cg_zoo_opts *o)
{
    (void)o;
    /* 40 channels to 24: the first block never adds its input */
    cg_mbconv first = {.cout = cg_make_divisible(16 * WIDTH), .kernel = 3,
                       .expand = 1, .stride = 1, .act = CG_OP_RELU6};
    cg_t x = cg_net_input(net, 224, 224, 3);
    x = cg_cb6(net, x, cg_make_divisible(32 * WIDTH), cg_square(3, 2));
    x = cg_ofa_mbconv(net, x, &first);
    x = cg_ofa_mb_stages(net, x, arch, stages, N_STAGES, WIDTH);
    x = cg_cb6(net, x, cg_make_divisible(1280 * WIDTH), cg_square(1, 1));
    x = cg_linear(net, cg_mean(net, x), 1000);
    return cg_net_output(net, x);
}

const cg_zoo_family cg_zoo_ofa_pn = {
    .name = "ofa_pn",
    .grammar = "6 depths 2-4 (the last 1) '-' 21 kernels 3 5 7 '-' 21 "
               "expansions 3 4 6; 0 for absent blocks",
    .example = "222221-330035003300370073005-460064003300630033006",
    .options = "",
    .parse = parse,
    .print = print,
    .build = build,
    .sample = sample,
    .mutate = mutate,
};
