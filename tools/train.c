#include "tools/train.h"

#include <inttypes.h>
#include <math.h>

#include "runtime/metrics.h"

void train_progress(const cg_fit_info *i, bool terminal, bool last)
{
    if (!last && !terminal)
        return;
    fprintf(stderr, "%sepoch %d/%d  step %" PRId64 "/%" PRId64
            "  loss %.5f", terminal ? "\r" : "", i->epoch, i->epochs,
            i->step, i->steps, i->loss);
    if (!isnan(i->validation))
        fprintf(stderr, "  SRCC %.4f", i->validation);
    fprintf(stderr, "  %.0f graphs/s  %.0f s left%s", i->items_per_s,
            i->seconds_left, terminal ? "\033[K" : "");
    if (last)
        fputc('\n', stderr);
}

/* -- data ------------------------------------------------------------------ */

cg_err train_data_open(train_data *d, char *const *paths, int n,
                       const char *label)
{
    *d = (train_data){.n_sets = n,
                      .sets = cg_xcalloc((size_t)n, sizeof *d->sets)};
    for (int i = 0; i < n; i++) {
        cg_examples e;
        CG_TRY(cg_set_open(&d->sets[i], paths[i]));
        CG_TRY(cg_examples_of(&e, d->sets[i], *label ? label : NULL, true));
        cg_examples_add(&d->all, &e);
        cg_examples_free(&e);
    }
    return CG_OK;
}

void train_data_free(train_data *d)
{
    cg_examples_free(&d->all);
    for (int i = 0; i < d->n_sets; i++)
        cg_set_close(d->sets[i]);
    cg_xfree(d->sets);
}

/* -- report ---------------------------------------------------------------- */

static void print_figure(double x, int width, int digits)
{
    isnan(x) ? printf(" %*s", width, "-") : printf(" %*.*f", width, digits, x);
}

/* accuracy NULL: none is predicted. */
static void print_row(const char *name, double weight, const cg_examples *e,
                      const double *score, const double *accuracy)
{
    const double *y = e->accuracy;
    printf("%-18s", name);
    if (!isnan(weight))
        print_figure(weight > 0 ? weight : NAN, 7, 3);
    print_figure(cg_srcc(y, score, e->n), 7, 4);
    print_figure(cg_kendall(y, score, e->n), 7, 4);
    print_figure(accuracy ? cg_mae(y, accuracy, e->n) : NAN, 8, 3);
    print_figure(cg_ndcg(y, score, e->n, 10), 8, 4);
    putchar('\n');
}

void train_report(const cg_opinions *o, const cg_examples *e,
                  const double *weight)
{
    printf("%-18s", "member");
    if (weight)
        printf(" %7s", "weight");
    printf(" %7s %7s %8s %8s\n", "SRCC", "KT", "MAE", "NDCG@10");
    for (int i = 0; i < CG_MEMBER_COUNT; i++)
        if (o->score[i])
            print_row(cg_member_table[i].line, weight ? weight[i] : NAN, e,
                      o->score[i], o->accuracy[i]);
    if (!weight)
        return;
    double *score = cg_xcalloc(2 * (size_t)e->n + 1, sizeof *score);
    cg_ensemble_score(o, weight, score);
    cg_ensemble_accuracy(o, weight, score + e->n);
    print_row("GENNAPE", 1, e, score, score + e->n);
    cg_xfree(score);
}
