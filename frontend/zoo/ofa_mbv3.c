/* ofa_mbv3: once-for-all's MobileNetV3 space, width 1.0 unless asked.
 *
 * Five stages of inverted bottlenecks, some with squeeze and excitation. A
 * code is the depth of every stage, then kernel size and expansion ratio of
 * every block, four slots a stage. Option width: all channel counts times
 * this; once-for-all also trained 1.2.
 *
 * A. Howard et al., Searching for MobileNetV3, ICCV 2019; H. Cai et al.,
 * Once-for-All, ICLR 2020. */
#include <math.h>

#include "frontend/zoo/ofa.h"
#include "frontend/zoo/zoo.h"

#define N_STAGES 5
#define N_SLOTS 20

static const cg_ofa_form form = {
    .n = {N_STAGES, N_SLOTS, N_SLOTS},
    .what = {"depth", "kernel size", "expansion ratio"},
    .choices = cg_ofa_mb_choices,
    .tied = true,
};

static const cg_ofa_stage stages[N_STAGES] = {
    {24, 2, CG_OP_RELU, false},
    {40, 2, CG_OP_RELU, true},
    {80, 2, CG_OP_HARDSWISH, false},
    {112, 1, CG_OP_HARDSWISH, true},
    {160, 2, CG_OP_HARDSWISH, true},
};

CG_OFA_FUNCTIONS(form)

/* In hundredths, so that channel counts are rounded exactly. */
static cg_err read_width(const cg_zoo_opts *o, int *width)
{
    double hundredths = 100 * cg_zoo_number(o, "width", 1.0);
    double whole = round(hundredths);
    if (!(fabs(hundredths - whole) < 1e-6 && whole >= 10 && whole <= 1000))
        return cg_fail(CG_EUSAGE,
                       "option width: expected 0.1 to 10 in steps of 0.01");
    *width = (int)whole;
    return CG_OK;
}

static cg_err build(cg_net *net, const void *arch, const cg_zoo_opts *o)
{
    int width = 100;
    CG_TRY(read_width(o, &width));
    int stem = cg_make_divisible(16 * (int64_t)width);
    int last = cg_make_divisible(960 * (int64_t)width);
    int feature = cg_make_divisible(1280 * (int64_t)width);
    cg_mbconv first = {.cout = stem, .kernel = 3, .expand = 1, .stride = 1,
                       .act = CG_OP_RELU};

    cg_t x = cg_net_input(net, 224, 224, 3);
    x = cg_ofa_conv(net, x, stem, cg_square(3, 2), CG_OP_HARDSWISH);
    x = cg_ofa_mbconv(net, x, &first);
    x = cg_ofa_mb_stages(net, x, arch, stages, N_STAGES, width);
    x = cg_ofa_conv(net, x, last, cg_square(1, 1), CG_OP_HARDSWISH);
    /* after the mean neither BatchNorm nor bias */
    x = cg_conv(net, cg_mean(net, x), feature, cg_square(1, 1), false);
    x = cg_activate(net, x, CG_OP_HARDSWISH);
    return cg_net_output(net, cg_linear(net, x, 1000));
}

const cg_zoo_family cg_zoo_ofa_mbv3 = {
    .name = "ofa_mbv3",
    .grammar = "5 depths 2-4 '-' 20 kernels 3 5 7 '-' 20 expansions 3 4 6; "
               "0 for absent blocks",
    .example = "22222-33003300330035005500-34003300340033004400",
    .options = "width",
    .parse = parse,
    .print = print,
    .build = build,
    .sample = sample,
    .mutate = mutate,
};
