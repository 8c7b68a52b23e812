/* ofa_rn: once-for-all's ResNet50 space.
 *
 * Four stages of bottlenecks. A code is first what is elastic in depth (the
 * residual convolution of the stem: 0 or 2; blocks added to stages 1..4),
 * then six indices of widths (stem middle, stem output, stages), then the
 * ratio of every bottleneck, 4, 4, 6, 4 slots.
 *
 * H. Cai et al., Once-for-All, ICLR 2020, and its ResNet-D variant. */
#include "frontend/zoo/ofa.h"
#include "frontend/zoo/zoo.h"

#define N_STAGES 4
#define N_WIDTHS 3

enum { DEPTH, WIDTH, RATIO }; /* groups */
enum { STEM_MID, STEM_OUT, STAGE_1 }; /* places of group WIDTH */

static const int min_blocks[N_STAGES] = {2, 2, 4, 2};
static const int first_slot[N_STAGES + 1] = {0, 4, 8, 14, 18};
static const int stage_stride[N_STAGES] = {1, 2, 2, 2};
static const int stage_width[N_STAGES] = {256, 512, 1024, 2048};

/* Hundredths. */
static const int width_scale[N_WIDTHS] = {65, 80, 100};
static const int ratio[] = {0, 20, 25, 35}; /* by digit; 0: no block */

static int count_blocks(const cg_ofa_arch *a, int stage)
{
    return min_blocks[stage] + cg_ofa_digit(a, DEPTH, 1 + stage);
}

static const char *choices(const cg_ofa_arch *a, int group, int i)
{
    if (group == DEPTH)
        return i == 0 ? "02" : "012";
    if (group == WIDTH)
        return "012";
    int stage = 0;
    while (i >= first_slot[stage + 1])
        stage++;
    bool present = i - first_slot[stage] < count_blocks(a, stage);
    return present ? "123" : "0";
}

static const cg_ofa_form form = {
    .n = {1 + N_STAGES, 2 + N_STAGES, 18},
    .what = {"depth", "width index", "ratio index"},
    .choices = choices,
};

CG_OFA_FUNCTIONS(form)

/* The width at `place` of group WIDTH, of `base` channels at most. */
static int scaled(const cg_ofa_arch *a, int place, int base)
{
    int scale = width_scale[cg_ofa_digit(a, WIDTH, place)];
    return cg_make_divisible((int64_t)base * scale);
}

static cg_t stem(cg_net *net, const cg_ofa_arch *a, cg_t x)
{
    int mid = cg_make_divisible(100 * (scaled(a, STEM_MID, 64) / 2));
    x = cg_cbr(net, x, mid, cg_square(3, 2));
    if (cg_ofa_digit(a, DEPTH, 0) == 2)
        x = cg_add2(net, cg_cbr(net, x, mid, cg_square(3, 1)), x);
    x = cg_cbr(net, x, scaled(a, STEM_OUT, 64), cg_square(3, 1));
    return cg_maxpool(net, x, cg_square(3, 2));
}

/* ResNet-D: an average pool takes over the stride of the shortcut. At stride 1
 * it is an identity that once-for-all writes all the same. */
static cg_t shortcut(cg_net *net, cg_t x, int cout, int stride)
{
    if (stride == 1 && cg_channels(x) == cout)
        return x;
    x = cg_avgpool_valid(net, x, cg_square(stride, stride));
    return cg_cb(net, x, cout, cg_square(1, 1));
}

static cg_t bottleneck(cg_net *net, cg_t x, int cout, int stride, int percent)
{
    int64_t rounded = ((int64_t)cout * percent + 50) / 100;
    int mid = cg_make_divisible(100 * rounded);
    cg_t y = cg_cbr(net, x, mid, cg_square(1, 1));
    y = cg_cbr(net, y, mid, cg_square(3, stride));
    y = cg_cb(net, y, cout, cg_square(1, 1));
    y = cg_add2(net, y, shortcut(net, x, cout, stride));
    return cg_activate(net, y, CG_OP_RELU);
}

static cg_err build(cg_net *net, const void *arch, const cg_zoo_opts *o)
{
    const cg_ofa_arch *a = arch;
    (void)o;
    cg_t x = stem(net, a, cg_net_input(net, 224, 224, 3));
    for (int s = 0; s < N_STAGES; s++) {
        int cout = scaled(a, STAGE_1 + s, stage_width[s]);
        for (int i = 0; i < count_blocks(a, s); i++) {
            int digit = cg_ofa_digit(a, RATIO, first_slot[s] + i);
            x = bottleneck(net, x, cout, i == 0 ? stage_stride[s] : 1,
                           ratio[digit]);
        }
    }
    x = cg_linear(net, cg_mean(net, x), 1000);
    return cg_net_output(net, x);
}

const cg_zoo_family cg_zoo_ofa_rn = {
    .name = "ofa_rn",
    .grammar = "depths: 0 or 2, then 4 of 0-2 '-' 6 widths 0-2 '-' 18 ratios "
               "1-3; 0 for absent blocks",
    .example = "01221-222222-222022222222222220",
    .options = "",
    .parse = parse,
    .print = print,
    .build = build,
    .sample = sample,
    .mutate = mutate,
};
