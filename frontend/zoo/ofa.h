/* What the families of once-for-all share: codes of digits in three groups
 * joined by '-', their sampling and mutation, and the inverted bottleneck.
 *
 * H. Cai et al., Once-for-All: Train One Network and Specialize it for
 * Efficient Deployment, ICLR 2020. */
#ifndef CG_FRONTEND_ZOO_OFA_H
#define CG_FRONTEND_ZOO_OFA_H

#include <stdbool.h>

#include "base/err.h"
#include "base/rng.h"
#include "frontend/zoo/net.h"

#define CG_OFA_GROUPS 3
#define CG_OFA_SLOTS 24 /* most digits of a group */
#define CG_OFA_BLOCKS 4 /* most blocks of a stage of inverted bottlenecks */

/* The digits as they are written; what is after a group's length is 0. */
typedef struct cg_ofa_arch {
    char digit[CG_OFA_GROUPS][CG_OFA_SLOTS];
} cg_ofa_arch;

/* How a family writes its digits. Group 0 decides which slots of the last
 * groups are present: an absent one is '0', and '0' means nothing else there.
 * `choices` sees group 0 complete when it is asked about a later one. */
typedef struct cg_ofa_form {
    int n[CG_OFA_GROUPS];             /* digits */
    const char *what[CG_OFA_GROUPS];  /* "kernel size", for messages */
    const char *(*choices)(const cg_ofa_arch *a, int group, int i);
    bool tied; /* mutation redraws groups 1 and 2 of a slot together */
} cg_ofa_form;

cg_err cg_ofa_parse(const cg_ofa_form *f, const char *code, cg_ofa_arch *a);
void cg_ofa_print(const cg_ofa_form *f, const cg_ofa_arch *a, char *code);
/* Every digit uniform among its choices. */
void cg_ofa_sample(const cg_ofa_form *f, cg_rng *r, cg_ofa_arch *a);
/* Every digit (every slot, when tied) is redrawn with probability 0.1; slots
 * that group 0 brings into being get fresh digits. */
void cg_ofa_mutate(const cg_ofa_form *f, cg_rng *r, cg_ofa_arch *a);

/* parse, print, sample and mutate of a family's row (cg_zoo_family), which only
 * differ in the form of the codes. */
#define CG_OFA_FUNCTIONS(form)                                                \
    static cg_err parse(const char *code, void *arch)                         \
    {                                                                         \
        return cg_ofa_parse(&form, code, arch);                               \
    }                                                                         \
    static void print(const void *arch, char *code)                           \
    {                                                                         \
        cg_ofa_print(&form, arch, code);                                      \
    }                                                                         \
    static void sample(cg_rng *r, const cg_zoo_opts *o, void *arch)           \
    {                                                                         \
        (void)o;                                                              \
        cg_ofa_sample(&form, r, arch);                                        \
    }                                                                         \
    static void mutate(cg_rng *r, const cg_zoo_opts *o, void *arch)           \
    {                                                                         \
        (void)o;                                                              \
        cg_ofa_mutate(&form, r, arch);                                        \
    }

/* The number of a digit. */
int cg_ofa_digit(const cg_ofa_arch *a, int group, int i);

/* Groups of the families of inverted bottlenecks. */
enum { CG_OFA_DEPTH, CG_OFA_KERNEL, CG_OFA_EXPAND };

/* Choices for d-k-e codes: depth 2, 3, 4 (of stage 6: 1), kernel 3, 5, 7,
 * expansion 3, 4, 6 of block i of stage s at slot 4 * s + i. */
const char *cg_ofa_mb_choices(const cg_ofa_arch *a, int group, int i);

/* An inverted bottleneck: expand 1x1 (not for expand = 1), depthwise, squeeze
 * and excitation if `se`, project 1x1; the input is added where it fits. */
typedef struct cg_mbconv {
    int cout, kernel, expand, stride;
    cg_op act;
    bool se;
} cg_mbconv;
cg_t cg_ofa_mbconv(cg_net *net, cg_t x, const cg_mbconv *b);

typedef struct cg_ofa_stage {
    int width;  /* channels at width 1.00 */
    int stride; /* of the first block */
    cg_op act;
    bool se;
} cg_ofa_stage;
/* The stages of a d-k-e code; `width` in hundredths. */
cg_t cg_ofa_mb_stages(cg_net *net, cg_t x, const cg_ofa_arch *a,
                      const cg_ofa_stage *stages, int n, int width);

/* Conv, BatchNorm, activation. */
cg_t cg_ofa_conv(cg_net *net, cg_t x, int cout, cg_window w, cg_op act);

#endif
