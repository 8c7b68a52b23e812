/* A model: the members of GENNAPE that were trained together, what they share,
 * and their ensemble.
 *
 *     CG_TRY(cg_model_load(&m, dev, "gennape.safetensors"));
 *     CG_TRY(cg_model_embed(m, &examples, &data));
 *     CG_TRY(cg_model_scores(m, CG_MEMBER_kgnn, &data, scores));
 */
#ifndef CG_RUNTIME_MODEL_H
#define CG_RUNTIME_MODEL_H

#include "runtime/config.h"
#include "runtime/fcm.h"
#include "runtime/gp.h"
#include "runtime/inputs.h"
#include "runtime/family.h"
#include "runtime/known.h"
#include "runtime/nets.h"
#include "runtime/pca.h"

#define CG_PREDICT_BATCH 512

typedef enum cg_member_kind {
    CG_KIND_GRAPH, CG_KIND_NET, CG_KIND_ENCODER, CG_KIND_HEAD, CG_KIND_RANKER,
    CG_KIND_LINEAR, CG_KIND_PROCESS, CG_KIND_COST
} cg_member_kind;

typedef enum cg_clusters { /* whose number of clusters and m */
    CG_CLUSTERS_REGRESSOR, CG_CLUSTERS_RANKER, CG_CLUSTERS_NONE
} cg_clusters;

typedef enum cg_member_id {
#define CG_MEMBER(id, kind, message, clusters, label, line) CG_MEMBER_##id,
#include "runtime/members.def"
#undef CG_MEMBER
    CG_MEMBER_COUNT
} cg_member_id;

enum { CG_LABEL_IS_CONFIG, CG_LABEL_IS_FLOPS };

typedef struct cg_member_info {
    const char *name, *line;
    cg_member_kind kind;
    cg_message message;
    cg_clusters clusters;
    bool flops_label;
} cg_member_info;
extern const cg_member_info cg_member_table[CG_MEMBER_COUNT];
int cg_member_find(const char *name); /* -1: none */

/* Sets that a net learns from: all; the largest alone; all, but where there is
 * one only the net is left out, as it would see what others see. */
typedef enum cg_net_sets {
    CG_NET_ALL, CG_NET_LARGEST, CG_NET_SEVERAL, CG_NET_SETS
} cg_net_sets;

typedef struct cg_member {
    const cg_member_info *info;
    bool trained;     /* else it is not part of the model */
    cg_params params;
    cg_label label;
    size_t embed;     /* of who sees graphs */
    cg_net_sets sets; /* that a net has seen */
    cg_inputs inputs; /* that it uses of the model's */
    cg_structures beside; /* what its regressor reads besides */
    cg_gnn gnn;
    cg_transformer transformer;
    cg_mlp head, project, cost;
    int heads;        /* HEAD, RANKER: MLPs side by side */
    size_t head_w[CG_NET_LAYERS], head_b[CG_NET_LAYERS];
    size_t pair_w, pair_b;
    double said_mean, said_sd; /* of what it says of the networks it was
                                  trained on, or the family it was tuned to
                                  (runtime/ensemble.h); NAN: not known yet */
    double weight; /* in the ensemble of a model that was tuned */
} cg_member;

/* What a model of nets was tuned to, by runtime/member_process.c; a family is
 * all networks at hand then, labelled or not. */
typedef struct cg_process {
    size_t nets, width;  /* trained ones, and of the state of each */
    size_t voices;       /* nets, and the ridge where there is one */
    size_t visits, links; /* columns of runtime/walk.h */
    size_t n, d, groups; /* samples, features, and groups of these */
    double *number;      /* its scalars, by an enum of that file */
    double *state;       /* (nets width, 2) mean and 1 / deviation over the
                            family, 0 of what does not vary */
    double *walk;        /* (visits + links, 3) as cg_walk_columns */
    double *view;        /* square matrices, one for each net, visits, links */
    double *said;        /* (voices, 3) mean and deviation over the family of
                            what they say, and their weights */
    double *x, *y;       /* (n, d); (n): what the process learnt */
    double *theta;       /* its parameters */
    cg_gp gp;
} cg_process;            /* on the heap; n is 0 where nothing was fitted */

typedef struct cg_model {
    cg_dev *dev;
    cg_config config;
    cg_inputs inputs;
    cg_structures ridge;           /* what it reads */
    cg_families families;          /* that it was trained on */
    cg_known known;                /* some networks that it was trained on */
    cg_batcher *batcher;
    cg_tape tape;                  /* for predictions, which take so many */
    int at_once;                   /* networks at a time: CG_PREDICT_BATCH, or
                                      half, a quarter ... of it where the device
                                      had no memory for them */
    cg_batch batch;                /* what the step at hand runs on: tapes */
    cg_csr next;                   /* point into these */
    cg_member member[CG_MEMBER_COUNT];
    bool tuned;                    /* by cg_finetune_model: it has weights */
    double flops_mean, flops_sd;   /* of log10 FLOPs of the training set */
    cg_pca pca;
    cg_fcm fcm[CG_CLUSTERS_NONE];
    cg_process process;            /* of member tuned */
} cg_model;

/* A model to be trained: parameters drawn from the seed of the configuration.
 * The device is borrowed. */
cg_err cg_model_new(cg_model **m, cg_dev *dev, const cg_config *config);
void cg_model_free(cg_model *m); /* NULL is fine */

/* What a training that was stopped goes on from. */
typedef struct cg_progress {
    int stage, epochs; /* stages done, and epochs of the next one */
    uint64_t data;     /* fingerprint of the networks and labels */
} cg_progress;

/* Whole or not at all. With `progress` the optimiser's moments are written
 * too, and what else is needed to go on. */
cg_err cg_model_save(const cg_model *m, const char *path,
                     const cg_progress *progress);
/* `progress` NULL: a model to predict with; otherwise one that was saved with
 * its progress. *m is NULL after an error. */
cg_err cg_model_load(cg_model **m, cg_dev *dev, const char *path,
                     cg_progress *progress);

/* -- prediction ------------------------------------------------------------ */

/* Networks with what heads need of them. */
typedef struct cg_embedded {
    const cg_examples *e;
    int width;
    float *s;                    /* (n, CG_STRUCTURE_COUNT) standardised */
    cg_kinship kin;              /* to the families of the model */
    float *h;                    /* (n, width): the encoder's embedding; of a
                                    model without one the states of its nets
                                    side by side; NULL: it has none either */
    int nets;                    /* that h holds */
    float *u[CG_CLUSTERS_NONE];  /* (n, clusters[k]); NULL where there are none */
    size_t clusters[CG_CLUSTERS_NONE];
} cg_embedded;

/* Embeds the examples, which must be of the form the model was trained on, and
 * outlive *d. */
cg_err cg_model_embed(cg_model *m, const cg_examples *e, cg_embedded *d);
/* Those at index[0 .. n) of d. The caller frees both. */
void cg_embedded_pick(const cg_embedded *d, const uint32_t *index, uint32_t n,
                      cg_examples *e, cg_embedded *out);
void cg_embedded_free(cg_embedded *d);

/* What a member says of the n networks: more is better. The label for
 * regressors, but accuracy in percent where the label is FLOPS, which is no
 * order by itself; ranks 1 .. n for rankers; log10 FLOPs or parameters. */
cg_err cg_model_scores(cg_model *m, cg_member_id id, const cg_embedded *d,
                       double *score);
/* Regressors' scores as accuracies in percent, within 0 .. 100; NAN for other
 * members. score (n) as above. */
void cg_model_accuracy(const cg_model *m, cg_member_id id,
                       const cg_embedded *d, const double *score,
                       double *accuracy);

#endif
