/* Training a model: its members one after another, each a stage that leaves a
 * checkpoint after every epoch. */
#ifndef CG_RUNTIME_TRAIN_H
#define CG_RUNTIME_TRAIN_H

#include "runtime/fit.h"
#include "runtime/model.h"

typedef struct cg_train_hooks {
    void *user;
    /* A stage begins: its number (from 1) of how many, and its member. */
    void (*stage)(void *user, int stage, int stages,
                  const cg_member_info *info, uint32_t n_items);
    void (*progress)(void *user, const cg_fit_info *info);
    /* A remark for people: clusters found, networks left out. */
    void (*note)(void *user, const char *text);
    cg_err (*checkpoint)(void *user, const cg_progress *done);
    /* The loss of every step, with the networks it saw: rows of their set. */
    void (*trace)(void *user, int64_t step, double loss, const uint32_t *row,
                  int n);
    /* As of cg_fit_hooks. */
    void (*warning)(void *user, const char *text);
} cg_train_hooks;

/* Trains the members that the configuration lists (an encoder before what
 * reads it) on split->train, from *from on; validation figures are SRCC on
 * split->valid. */
cg_err cg_train(cg_model *m, const cg_split *split, const cg_progress *from,
                const cg_train_hooks *hooks);

#endif
