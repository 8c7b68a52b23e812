/* Fine-tuning: a trained member learns the labels of a few networks of another
 * family (Mills et al., AAAI-23: 50 samples, 100 epochs, one network a step,
 * five seeds). */
#ifndef CG_RUNTIME_FINETUNE_H
#define CG_RUNTIME_FINETUNE_H

#include "runtime/ensemble.h"
#include "runtime/fit.h"

/* A model of nets is tuned in another way, without steps: what it has stays as
 * it is, and member tuned is fitted (runtime/member_process.c). */

/* Teaches a member the labels of d: all its parameters (of a head: not the
 * encoder's), `finetune_epochs` of the configuration with the member's own
 * learning rate, one network a step, a ranker two. The optimiser starts anew;
 * labels keep the mean and deviation of the first training, and none is left
 * out for being low. A member without parameters stays as it is. `hooks` as
 * of cg_fit, or NULL. */
cg_err cg_finetune(cg_model *m, cg_member_id id, const cg_embedded *d,
                   uint64_t seed, const cg_fit_hooks *hooks);

/* What fine-tuning on some networks of a family comes to on the others. */
typedef struct cg_tuned {
    cg_examples samples, rest;   /* disjoint, all of the family together */
    cg_opinions on_samples, on_rest;
} cg_tuned;

/* CG_EUSAGE where n of `all` networks cannot be samples: two are needed, and
 * two have to be left. */
cg_err cg_finetune_check(uint32_t all, uint32_t n);

/* Draws n samples of the family by the seed, the same for every member; each
 * member that speaks (`only` -1) or one of them is tuned, asked about samples
 * and rest, and put back to the bits it had before. Of a model of nets member
 * tuned is fitted first, and everyone asked as a model of this family. `told`
 * (NULL: none) is called when a member is done. n is checked as above. */
cg_err cg_finetune_try(cg_tuned *t, cg_model *m, const cg_embedded *family,
                       uint32_t n, uint64_t seed, int only,
                       void (*told)(void *user, const cg_member_info *info),
                       void *user);

typedef struct cg_tune_hooks {
    void *user;
    /* A member begins: its number (from 1) of how many. */
    void (*member)(void *user, int member, int members,
                   const cg_member_info *info);
    void (*progress)(void *user, const cg_fit_info *info);
} cg_tune_hooks;

/* How many members have parameters that can be tuned. */
int cg_finetune_members(const cg_model *m);

/* Tunes the model for good, each member as cg_finetune_try does with the same
 * n and seed: the bits of what they say afterwards are the same. Networks
 * without a label (NAN) are no samples. A model of nets is of this family then:
 * it judges every network as one of it (cg_families_tune). The
 * ensemble's weights are then those of the samples; what is said of a network
 * alone is standardised over the whole family, which takes no labels. All
 * networks may be samples, `rest` is then empty. CG_EUSAGE: n is less than two
 * or more than there are; after another error the model is half tuned. */
cg_err cg_finetune_model(cg_tuned *t, cg_model *m, const cg_embedded *family,
                         uint32_t n, uint64_t seed,
                         const cg_tune_hooks *hooks);
void cg_tuned_free(cg_tuned *t); /* zeroed is fine */

#endif
