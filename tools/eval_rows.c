#include "tools/eval_rows.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/arena.h"
#include "ir/text.h"

/* -- figures --------------------------------------------------------------- */

/* Of networks of 80 % or more: others failed to train, and a few of them weigh
 * more than all the rest. */
static double mae80(const double *y, const double *p, size_t n, size_t k)
{
    double sum = 0;
    size_t known = 0;
    (void)k;
    for (size_t i = 0; i < n; i++)
        if (y[i] >= 80) {
            sum += fabs(y[i] - p[i]);
            known++;
        }
    return known ? sum / (double)known : NAN;
}

static const struct {
    const char *key, *title;
    cg_metric *metric;
    size_t k;
    int digits;
} figures[FIGURES] = {
    [MAE] = {"mae", "MAE", cg_metric_mae, 0, 3},
    [MAE80] = {"mae80", "MAE>=80", mae80, 0, 3},
    [SRCC] = {"srcc", "SRCC", cg_metric_srcc, 0, 4},
    [KT] = {"kt", "KT", cg_metric_kendall, 0, 4},
    [NDCG10] = {"ndcg10", "NDCG@10", cg_ndcg, 10, 4},
    [NDCG50] = {"ndcg50", "NDCG@50", cg_ndcg, 50, 4},
};

void row_make(eval_row *r, int id, int seeds, int tuned)
{
    *r = (eval_row){.name = "gennape", .line = "GENNAPE", .seeds = seeds,
               .tuned = tuned, .srcc = {NAN, NAN}};
    if (id != GENNAPE) {
        r->name = cg_member_table[id].name;
        r->line = cg_member_table[id].line;
    }
    for (int f = 0; f < FIGURES; f++)
        r->figure[f] = cg_xcalloc((size_t)seeds, sizeof(double));
}

void rows_free(eval_row *rows)
{
    for (int i = 0; i < ROWS; i++)
        for (int f = 0; f < FIGURES; f++)
            cg_xfree(rows[i].figure[f]);
}

void row_judge(eval_row *r, int seed, const cg_examples *e,
               const double *score, const double *accuracy)
{
    r->n = e->n;
    for (int f = 0; f < FIGURES; f++) {
        const double *p = f <= MAE80 ? accuracy : score;
        r->figure[f][seed] = p ? figures[f].metric(e->accuracy, p, e->n,
                                                   figures[f].k)
                               : NAN;
    }
}

/* Mean and sample deviation (divisor seeds - 1) over the seeds. */
static double mean_of(const eval_row *r, int f, double *sd)
{
    double mean;
    cg_moments(r->figure[f], (size_t)r->seeds, &mean, sd);
    *sd = r->seeds > 1 ? *sd * sqrt(r->seeds / (r->seeds - 1.)) : NAN;
    return mean;
}

/* -- printing -------------------------------------------------------------- */

static void print_number(const char *key, double x)
{
    printf(", \"%s\": ", key);
    isnan(x) ? printf("null") : printf("%.9g", x);
}

static void print_json(const eval_row *r, const char *family, bool intervals)
{
    printf("{\"member\": \"%s\", \"family\": ", r->name);
    cg_print_json_string(stdout, family);
    printf(", \"n\": %" PRIu32 ", \"finetune\": %d", r->n, r->tuned);
    if (r->tuned)
        printf(", \"seeds\": %d", r->seeds);
    for (int f = 0; f < FIGURES; f++) {
        char key[32];
        double sd, x = mean_of(r, f, &sd);
        print_number(figures[f].key, x);
        snprintf(key, sizeof key, "%s_sd", figures[f].key);
        if (r->tuned)
            print_number(key, sd);
    }
    if (intervals) {
        print_number("srcc_low", r->srcc.low);
        print_number("srcc_high", r->srcc.high);
    }
    printf("}\n");
}

static void print_row(const eval_row *r, bool intervals)
{
    printf("%-18s", r->line);
    for (int f = 0; f < FIGURES; f++) {
        char text[64];
        double sd, x = mean_of(r, f, &sd);
        int digits = figures[f].digits;
        if (isnan(x))
            snprintf(text, sizeof text, "-");
        else if (isnan(sd))
            snprintf(text, sizeof text, "%.*f", digits, x);
        else
            snprintf(text, sizeof text, "%.*f +- %.*f", digits, x, digits,
                     sd);
        printf(" %*s", r->tuned ? 16 : 8, text);
        snprintf(text, sizeof text, "[%.4f, %.4f]", r->srcc.low,
                 r->srcc.high);
        if (f == SRCC && intervals)
            printf(" %18s", isnan(r->srcc.low) ? "-" : text);
    }
    putchar('\n');
}

static void print_title(const eval_row *r, const char *family, bool intervals)
{
    if (r->tuned)
        printf("\n%s, tuned on %d of them and judged on the other %" PRIu32
               ": %d seeds\n", family, r->tuned, r->n, r->seeds);
    else
        printf("%s, %" PRIu32 " networks\n", family, r->n);
    printf("%-18s", "member");
    for (int f = 0; f < FIGURES; f++) {
        printf(" %*s", r->tuned ? 16 : 8, figures[f].title);
        if (f == SRCC && intervals)
            printf(" %18s", "95 %");
    }
    putchar('\n');
}

void rows_print(const eval_row *rows, const char *family, bool json,
                bool intervals)
{
    bool first = true;
    for (const eval_row *r = rows; r < rows + ROWS; r++) {
        if (!r->seeds)
            continue;
        if (json) {
            print_json(r, family, intervals && !r->tuned);
            continue;
        }
        if (first)
            print_title(r, family, intervals && !r->tuned);
        first = false;
        print_row(r, intervals && !r->tuned);
    }
    fflush(stdout);
}
