/* Who speaks of a network, in a model of nets and a ridge (docs/learner.md,
 * "Who speaks"); the same for all in other models. */
#ifndef CG_RUNTIME_VOICES_H
#define CG_RUNTIME_VOICES_H

#include "runtime/ensemble.h"

/* Sets o->voice of every member that has said its score. */
void cg_voices_set(cg_opinions *o, const cg_model *m, const cg_embedded *d);

#endif
