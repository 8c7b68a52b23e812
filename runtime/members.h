/* What the members share with runtime/model.c and with no one else. */
#ifndef CG_RUNTIME_MEMBERS_H
#define CG_RUNTIME_MEMBERS_H

#include "runtime/fit.h"
#include "runtime/model.h"

/* Whether the networks have the form that the model wants. */
cg_err cg_model_check(const cg_model *m, const cg_examples *e);
/* n floats to the workspace of the device. */
float *cg_model_upload(cg_model *m, const float *x, size_t n);
/* Makes m->batch of pick[0 .. n), puts it into the workspace and gives its
 * inputs, embedded: (m->batch.n_states[0], embed_width). */
cg_var *cg_model_batch(cg_model *m, cg_member *x, cg_tape *t,
                       const cg_pick *pick, int n, int copies);
/* Batches of these networks will be wanted next, `size` at a time (cg_batch_
 * ahead): n of pick, or idx[0 .. n) of d to train on, by a member that sees
 * graphs. */
void cg_model_ahead(cg_model *m, cg_member *x, const cg_pick *pick, uint32_t n,
                    int size, int copies, bool train);
void cg_member_ahead(cg_model *m, cg_member *x, const cg_embedded *d,
                     const uint32_t *idx, uint32_t n, int size);
/* Runs `forward` without training over d's networks, m->at_once at a time, and
 * puts its outputs, `cols` for each network, into out (n, cols) on the host. */
typedef cg_var *cg_member_run(cg_model *m, cg_member *x, const cg_embedded *d,
                              cg_tape *t, uint32_t first, int n);
cg_err cg_model_run(cg_model *m, cg_member *x, const cg_embedded *d,
                    cg_member_run *forward, size_t cols, float *out);
/* What network i of d should be said to be. */
double cg_member_label(const cg_model *m, const cg_member *x,
                       const cg_embedded *d, uint32_t i);
/* The configured loss of predictions y (n, 1) of networks idx[0 .. n) of d. */
void cg_member_loss(cg_model *m, cg_member *x, cg_tape *t, cg_var *y,
                    const cg_embedded *d, const uint32_t *idx, int n);
/* Fills what is known of e before any member is asked: structure, families. */
void cg_model_describe(const cg_model *m, const cg_examples *e,
                       cg_embedded *d);
/* The same from x = cg_structures_of(e), which is standardised by it. */
void cg_model_describe_by(const cg_model *m, const cg_examples *e, double *x,
                          cg_embedded *d);
/* Fills what the members make of networks that are described: d->h, d->u. On
 * an error *d is freed. */
cg_err cg_model_complete(cg_model *m, cg_embedded *d);
/* Whether it passes messages over graphs: it has an embedding of tokens. */
bool cg_member_sees_graphs(const cg_member *x);
/* Whether member `id` is a net (cg_member_kind) and there, and how many are. */
bool cg_model_has_net(const cg_model *m, int id);
int cg_model_nets(const cg_model *m);
/* Whether it is trained on networks of this family, where the model has it. */
bool cg_member_learns(const cg_model *m, const cg_member *x, uint32_t family);
/* Whether its scores stand for accuracies. */
bool cg_member_regresses(const cg_member *x);
/* How the configuration has a member trained. */
cg_fit_opts cg_member_fit_opts(const cg_model *m, const cg_member *x);
/* Scores (cg_model_scores) of a regressor from its one output. */
cg_err cg_regressor_scores(cg_model *m, cg_member *x, const cg_embedded *d,
                           cg_member_run *forward, double *score);
/* log10 FLOPs, standardised by the training set. */
double cg_flops_score(const cg_model *m, double flops);
/* slope (CG_STRUCTURE_COUNT): of the ridge's label by standardised structure,
 * mean over the networks of d; 0 of what it does not read, or without a ridge. */
cg_err cg_linear_slope(cg_model *m, const cg_embedded *d, double *slope);
/* Makes a member's parameters with values of the seed, unless it has them. */
cg_err cg_member_alloc(cg_model *m, cg_member *x);
/* Losses of a training step; d holds the training set. */
void cg_member_forward(cg_model *m, cg_member *x, const cg_embedded *d,
                       cg_tape *t, const uint32_t *idx, int n);
/* Fits m->pca on [h, standardised FLOPs]. */
cg_err cg_model_fit_pca(cg_model *m, const cg_embedded *d);
/* The principal components that are clustered: z (n, m->pca.k). */
cg_err cg_model_components(const cg_model *m, const cg_embedded *d, double *z);
/* Fills d->u[which] from the centroids. */
cg_err cg_model_memberships(cg_model *m, cg_embedded *d, cg_clusters which);
/* Euclidean distance of the spectra of two networks (21 values). */
double cg_spectral_distance(cg_pick a, cg_pick b);

/* A kind of member: parameters, the forward pass of a training step with its
 * losses (d: the training set), and scores. */
#define CG_MEMBER_KIND(name)                                                  \
    void cg_##name##_declare(cg_model *m, cg_member *x);                      \
    void cg_##name##_forward(cg_model *m, cg_member *x, const cg_embedded *d, \
                             cg_tape *t, const uint32_t *idx, int n);         \
    cg_err cg_##name##_scores(cg_model *m, cg_member *x,                      \
                              const cg_embedded *d, double *score);
CG_MEMBER_KIND(graph)
CG_MEMBER_KIND(net)
CG_MEMBER_KIND(encoder)
CG_MEMBER_KIND(head)
CG_MEMBER_KIND(ranker)
CG_MEMBER_KIND(linear)
CG_MEMBER_KIND(process)
CG_MEMBER_KIND(cost)
#undef CG_MEMBER_KIND

/* Whether fine-tuning fits member tuned: the model has nets, and they make its
 * embedding. */
bool cg_process_wanted(const cg_model *m);
/* Fits member tuned to the labels of `samples`, which are of `family`: all its
 * networks, embedded, labelled or not, both placed by the families that the
 * model has then. weight (CG_MEMBER_COUNT): the zero-shot ensemble's for the
 * family, with voices. What was fitted before is gone. On an error the member
 * is not trained. */
cg_err cg_process_fit(cg_model *m, const cg_embedded *family,
                      const cg_embedded *samples, const double *weight);
/* The deviation (n) of its predictions, noise of labels included. */
cg_err cg_process_spread(cg_model *m, const cg_embedded *d, double *spread);
void cg_process_free(cg_process *p); /* zeroed is fine */
/* What a file keeps of it: rows x cols numbers at *at. False: there is no part
 * i. Shapes follow from the model and part 0, which is read first. */
typedef struct cg_process_part {
    const char *name;
    size_t rows, cols;
    double **at;
} cg_process_part;
bool cg_process_part_of(const cg_model *m, cg_process *p, int i,
                        cg_process_part *part);
/* The rest of it from its parts. CG_EFORMAT: they make no process. */
cg_err cg_process_restore(const cg_model *m, cg_process *p);
/* Fits the ridge to d. */
cg_err cg_linear_fit(cg_model *m, cg_member *x, const cg_embedded *d);
/* Of each network, whatever the others are: half of the classifier's output
 * for it against another less half of that for the other against it, up to a
 * constant. */
cg_err cg_ranker_strengths(cg_model *m, cg_member *x, const cg_embedded *d,
                           double *strength);
/* Fills a net's columns of d->h (n, d->width): from `first` on. */
cg_err cg_net_embed(cg_model *m, cg_member *x, const cg_embedded *d,
                    int first);
/* Fills d->h (n, d->width). */
cg_err cg_encoder_embed(cg_model *m, cg_member *x, const cg_embedded *d);

#endif
