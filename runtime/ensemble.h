/* What the members of a model say of networks, and GENNAPE: all of them
 * together (Mills et al., AAAI-23; docs/learner.md).
 *
 *     CG_TRY(cg_opinions_ask(&o, m, &d));
 *     cg_ensemble_weights(&o, NULL, weight);           // zero-shot: equal
 *     cg_ensemble_score(&o, weight, score);
 */
#ifndef CG_RUNTIME_ENSEMBLE_H
#define CG_RUNTIME_ENSEMBLE_H

#include "runtime/model.h"

#define CG_ENSEMBLE_SIZE 6
/* CL+FCM+T, CL+T, CL+Pairwise+FCM, CL+Pairwise, k-GNN, FLOPs; of a model that
 * has nets these and the ridge, which counts as much as all nets together for
 * networks unlike those that it was trained on (more for those like nothing
 * known), and nothing for others; of a model with neither all that it has and
 * FLOPs. */
extern const cg_member_id cg_ensemble[CG_ENSEMBLE_SIZE];

/* Whether the model has the member, and it has a say (an encoder has none). */
bool cg_member_speaks(const cg_model *m, cg_member_id id);
/* Whether a trained member of GENNAPE is in the model: FLOPs alone are no
 * ensemble. */
bool cg_ensemble_there(const cg_model *m);

/* Of n networks; NULL: the model lacks the member, or it predicts no
 * accuracy. */
typedef struct cg_opinions {
    uint32_t n;
    double *score[CG_MEMBER_COUNT];    /* (n) cg_model_scores */
    double *accuracy[CG_MEMBER_COUNT]; /* (n) percent */
    double *voice[CG_MEMBER_COUNT];    /* (n) how much its weight counts for a
                                          network: 1 as it is */
    double *spread; /* (n) of who is asked alone in a model of nets that was
                       tuned: the process's deviation of a label, in those of
                       its samples; NULL otherwise */
} cg_opinions;

/* Asks every member that speaks. */
cg_err cg_opinions_ask(cg_opinions *o, cg_model *m, const cg_embedded *d);
/* Asks one, instead of what it said before. */
cg_err cg_opinions_ask_one(cg_opinions *o, cg_model *m, cg_member_id id,
                           const cg_embedded *d);
void cg_opinions_free(cg_opinions *o); /* zeroed is fine */

/* weight (CG_MEMBER_COUNT): 0 for who is not of the ensemble, or not there;
 * their sum is 1, before voices. y NULL: equal weights, and the ridge's that of
 * all nets together; otherwise the softmax of each member's Kendall tau with y
 * (n), tau = 0 where it has no meaning. */
void cg_ensemble_weights(const cg_opinions *o, const double *y,
                         double *weight);
/* Those that a tuned model keeps, equal ones otherwise. */
void cg_model_weights(const cg_model *m, const cg_opinions *o,
                      double *weight);
/* Each weight (CG_MEMBER_COUNT) times the mean of the member's voice. */
void cg_ensemble_voices(const cg_opinions *o, double *weight);
/* Of one network: the weight by its voice. */
double cg_ensemble_weight_of(const cg_opinions *o, const double *weight,
                             int k, uint32_t i);
/* score (n) = sum_k weight_k z(score_k), z-scores over these n networks; a
 * member that says the same of all of them adds 0. */
void cg_ensemble_score(const cg_opinions *o, const double *weight,
                       double *score);
/* The weighted mean of the ensemble's regressors, percent; NAN where it has
 * none. */
void cg_ensemble_accuracy(const cg_opinions *o, const double *weight,
                          double *accuracy);

/* -- one network at a time ------------------------------------------------- */

/* What the members say of a network whatever the others are: scores, but for
 * rankers the strength, half of what the classifier says of a network against
 * another one less the other way round, up to a constant. */
cg_err cg_opinions_ask_alone(cg_opinions *o, cg_model *m,
                             const cg_embedded *d);
/* Sets every member's mean and deviation of these over d, the training set or
 * the networks that the model is tuned to: what cg_ensemble_alone standardises
 * by. */
cg_err cg_ensemble_calibrate_on(cg_model *m, const cg_embedded *d);
/* What cg_ensemble_alone standardises the opinions of member k by. CG_EUSAGE:
 * the model was not calibrated. */
cg_err cg_ensemble_scale(const cg_model *m, int k, double *mean, double *sd);
/* Mean of the standardised opinions by weight (CG_MEMBER_COUNT), 0 where each
 * is the same for all networks, and how well they agree: 1 / (1 + their
 * standard deviation), 1 where all say the same, NAN with less than two; of a
 * process 1 / (1 + its own). CG_EUSAGE: the model was not calibrated. */
cg_err cg_ensemble_alone(const cg_model *m, const cg_opinions *o,
                         const double *weight, double *score,
                         double *agreement);

#endif
