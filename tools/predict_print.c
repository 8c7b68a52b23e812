#include "tools/predict_print.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ir/text.h"
#include "tools/explain.h"

/* From here on a number says less than an order: halfway from what a family
 * is like to what none is. */
#define UNLIKE .5

const char *predicted_name(const predicted *p, uint32_t i)
{
    const cg_pick *k = &p->d->e->pick[i];
    return cg_set_name(k->set, k->index);
}

/* NULL: the model knows no families. */
static const cg_family *family_of(const predicted *p, uint32_t i)
{
    const cg_families *f = &p->m->families;
    return f->list.len > 0 ? &f->list.data[p->d->kin.family[i]] : NULL;
}

static bool is_unlike(const predicted *p, uint32_t i)
{
    return family_of(p, i) && p->d->kin.strange[i] > UNLIKE;
}

static bool is_shown(const predicted *p, uint32_t i)
{
    uint32_t k = 0;
    if (p->shown == p->d->e->n)
        return true;
    while (k < p->shown && p->order[k] != i)
        k++;
    return k < p->shown;
}

/* Regressors' accuracies, rankers' strengths, log10 FLOPs. */
static double opinion(const predicted *p, int id, uint32_t i)
{
    return p->said->accuracy[id] ? p->said->accuracy[id][i]
                                 : p->said->score[id][i];
}

/* -- for programs ---------------------------------------------------------- */

static void json_number(const char *key, double x)
{
    printf(", \"%s\": ", key);
    isfinite(x) ? printf("%.9g", x) : printf("null");
}

static void json_members(const predicted *p, uint32_t i)
{
    printf(", \"members\": {");
    for (int id = 0, n = 0; id < CG_MEMBER_COUNT; id++)
        if (p->said->score[id]) {
            double x = opinion(p, id, i);
            printf("%s\"%s\": ", n++ ? ", " : "", cg_member_table[id].name);
            isfinite(x) ? printf("%.9g", x) : printf("null");
        }
    putchar('}');
}

static void json_family(const predicted *p, uint32_t i)
{
    const cg_family *f = family_of(p, i);
    printf(", \"family\": ");
    f ? cg_print_json_string(stdout, f->name) : (void)printf("null");
    json_number("distance", f ? p->d->kin.distance[i] : NAN);
    json_number("strange", f ? p->d->kin.strange[i] : NAN);
}

void predict_print_json(const predicted *p, bool members)
{
    for (uint32_t i = 0; i < p->d->e->n; i++) {
        if (!is_shown(p, i))
            continue;
        printf("{\"file\": ");
        cg_print_json_string(stdout, predicted_name(p, i));
        json_number("accuracy", p->accuracy[i]);
        json_number("score", p->score[i]);
        json_number("confidence", p->confidence[i]);
        json_family(p, i);
        if (members)
            json_members(p, i);
        for (uint32_t k = 0; k < p->n_explained; k++)
            if (p->explained[k].i == i)
                explain_print_json(p->m, &p->explained[k]);
        puts("}");
    }
}

static void csv_text(const char *s)
{
    if (!strpbrk(s, ",\"\r\n")) {
        fputs(s, stdout);
        return;
    }
    putchar('"');
    for (; *s; s++)
        printf(*s == '"' ? "\"\"" : "%c", *s);
    putchar('"');
}

static void csv_number(double x)
{
    isfinite(x) ? printf(",%.9g", x) : printf(",");
}

void predict_print_csv(const predicted *p)
{
    puts("file,accuracy,score,confidence,family,distance");
    for (uint32_t k = 0; k < p->shown; k++) {
        uint32_t i = p->order[k];
        const cg_family *f = family_of(p, i);
        csv_text(predicted_name(p, i));
        csv_number(p->accuracy[i]);
        csv_number(p->score[i]);
        csv_number(p->confidence[i]);
        putchar(',');
        csv_text(f ? f->name : "");
        csv_number(f ? p->d->kin.distance[i] : NAN);
        putchar('\n');
    }
}

/* -- for people ------------------------------------------------------------ */

/* Long names keep their end. */
static void print_name(const char *name)
{
    size_t n = strlen(name);
    n > 48 ? printf("...%-45s", name + n - 45) : printf("%-48s", name);
}

static void print_cell(double x, int digits)
{
    isfinite(x) ? printf(" %10.*f", digits, x) : printf(" %10s", "-");
}

void predict_print_table(const predicted *p)
{
    printf("%-48s %10s %10s %10s\n", "network", "accuracy", "score",
           "confidence");
    for (uint32_t k = 0; k < p->shown; k++) {
        uint32_t i = p->order[k];
        print_name(predicted_name(p, i));
        print_cell(p->accuracy[i], 2);
        print_cell(p->score[i], 3);
        print_cell(p->confidence[i], 2);
        putchar('\n');
    }
}

/* "5/6": members of the ensemble that put a before b. */
static void print_votes(const predicted *p, uint32_t a, uint32_t b)
{
    int votes = 0, all = 0;
    for (int id = 0; id < CG_MEMBER_COUNT; id++) {
        const double *s = p->said->score[id];
        bool counts = s && p->weight[id] > 0;
        all += counts;
        votes += counts && s[a] > s[b];
    }
    printf(" %7d/%d", votes, all);
}

void predict_print_comparison(const predicted *p)
{
    printf("%-48s %10s %9s", "network", "score", "before");
    for (int id = 0; id < CG_MEMBER_COUNT; id++)
        if (p->said->score[id])
            printf(" %*s", (int)fmax(10, (double)strlen(
                       cg_member_table[id].name)), cg_member_table[id].name);
    putchar('\n');
    for (uint32_t k = 0; k < p->shown; k++) {
        uint32_t i = p->order[k];
        print_name(predicted_name(p, i));
        print_cell(p->score[i], 3);
        if (k + 1 < p->d->e->n)
            print_votes(p, i, p->order[k + 1]);
        else
            printf(" %9s", "-");
        for (int id = 0; id < CG_MEMBER_COUNT; id++)
            if (p->said->score[id]) {
                size_t width = strlen(cg_member_table[id].name);
                printf("%*s", width > 10 ? (int)width - 10 : 0, "");
                print_cell(opinion(p, id, i), 3);
            }
        putchar('\n');
    }
}

/* What an accuracy is of, by how the family's name begins. */
static const struct {
    const char *family, *task;
} tasks[] = {
    {"nb101", "CIFAR-10 test accuracy"},
    {"nb201", "CIFAR-10 test accuracy"},
    {"nb301", "CIFAR-10 test accuracy"},
    {"ofa_", "ImageNet top-1, weights inherited from the supernet"},
};

static void print_task(const predicted *p, const cg_family *f)
{
    if (p->m->families.tuned) {
        printf("as one of the networks that the model was tuned to");
        return;
    }
    for (size_t k = 0; k < sizeof tasks / sizeof *tasks; k++)
        if (strncmp(f->name, tasks[k].family, strlen(tasks[k].family)) == 0) {
            printf("as a network of family %s (%s)", f->name, tasks[k].task);
            return;
        }
    printf("as a network of family %s (accuracy as in set %s)", f->name,
           f->name);
}

static void print_families(FILE *out, const cg_families *f)
{
    if (f->tuned) {
        fputs("unlike those that the model was tuned to: trust the order, not "
              "the number", out);
        return;
    }
    fprintf(out, "unlike anything the model was trained on (%s ",
            f->list.len == 1 ? "family" : "families");
    for (size_t k = 0; k < f->list.len; k++)
        fprintf(out, "%s%s", k ? ", " : "", f->list.data[k].name);
    fputs("): trust the order, not the number", out);
}

static void card_line(const char *what, double x, const char *format)
{
    printf("%-11s ", what);
    isfinite(x) ? printf(format, x) : printf("-");
}

static void card_family(const predicted *p, const cg_family *f)
{
    printf("%-11s %s, %.2f deviations from its average\n", "family", f->name,
           p->d->kin.distance[0]);
    if (!is_unlike(p, 0))
        return;
    printf("%-11s ", "");
    print_families(stdout, &p->m->families);
    putchar('\n');
}

void predict_print_card(const predicted *p)
{
    const cg_family *f = family_of(p, 0);
    printf("%-11s %s\n", "network", predicted_name(p, 0));
    card_line("accuracy", p->accuracy[0], "%.2f %%  ");
    if (f && isfinite(p->accuracy[0]))
        print_task(p, f);
    putchar('\n');
    card_line("score", p->score[0], "%+.3f  ");
    printf("deviations from the average network that the model was %s\n",
           p->m->tuned ? "tuned to" : "trained on");
    card_line("confidence", p->confidence[0], "%.2f  (1: all members say the "
              "same)");
    putchar('\n');
    if (f)
        card_family(p, f);
}

void predict_print_verdict(const predicted *p)
{
    uint32_t unlike = 0, n = p->d->e->n;
    for (uint32_t i = 0; i < n; i++)
        unlike += is_unlike(p, i);
    if (unlike == 0)
        return;
    fflush(stdout); /* below the table, where both are one terminal */
    fprintf(stderr, "%" PRIu32 " of %" PRIu32 " networks %s ", unlike, n,
            unlike == 1 ? "is" : "are");
    print_families(stderr, &p->m->families);
    fputs(".\n", stderr);
}
