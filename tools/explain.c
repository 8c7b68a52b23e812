#include "tools/explain.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ir/text.h"

enum { MOVED = 5 };

static const char *family_name(const cg_model *m, size_t k)
{
    return m->families.list.data[k].name;
}

/* -- text ------------------------------------------------------------------ */

static void print_place(const cg_model *m, const cg_kinship *kin,
                        const cg_explained *x)
{
    if (x->families == 0)
        return;
    printf("  %-12s %s, %.2f deviations from its average, strangeness %.2f\n",
           "family", family_name(m, kin->family[x->i]),
           kin->distance[x->i], kin->strange[x->i]);
    printf("  %-12s", "memberships");
    for (size_t k = 0; k < x->families; k++)
        printf("%s %s %.2f", k ? "," : "", family_name(m, k),
               x->membership[k]);
    putchar('\n');
}

static void print_cell(double x, int digits)
{
    isfinite(x) ? printf(" %9.*f", digits, x) : printf(" %9s", "-");
}

static void print_members(const cg_explained *x)
{
    printf("  %-48s %9s %9s %9s\n", "member", "accuracy", "score", "weight");
    for (int k = 0; k < CG_MEMBER_COUNT; k++) {
        const cg_explained_member *y = &x->member[k];
        if (!y->counts)
            continue;
        printf("  %-48s", cg_member_table[k].line);
        print_cell(y->accuracy, 2);
        print_cell(y->z, 3);
        print_cell(y->weight, 3);
        putchar('\n');
    }
}

/* Long names keep their end. */
static void print_near(const cg_model *m, const cg_explained *x)
{
    if (x->n_near == 0)
        return;
    printf("  %-48s %9s %9s %9s\n", "nearest known networks", "accuracy",
           "distance", "family");
    for (int k = 0; k < x->n_near; k++) {
        uint32_t i = x->near[k].known;
        size_t n = strlen(m->known.name[i]);
        n > 48 ? printf("  ...%-45s", m->known.name[i] + n - 45)
               : printf("  %-48s", m->known.name[i]);
        print_cell(m->known.accuracy[i], 2);
        print_cell(x->near[k].distance, 2);
        printf(" %9s\n", family_name(m, m->known.family[i]));
    }
}

static void print_moved(const cg_explained *x)
{
    if (x->read.n == 0)
        return;
    printf("  what moved the score, against the average of its family\n");
    for (int j = 0; j < x->read.n && j < MOVED; j++) {
        cg_structure k = (cg_structure)x->read.k[j];
        if (x->change[k] == 0)
            break;
        printf("  %+9.3f  %s: %.4g, %s than usual\n", x->change[k],
               cg_structure_line[k], cg_structure_plain(k, x->structure[k]),
               x->z[k] > 0 ? "more" : "less");
    }
    printf("  %+9.3f  left for the graph itself, of a score of %+.3f\n",
           x->graph, x->score);
}

void explain_print(const cg_model *m, const cg_kinship *kin, const char *name,
                   const cg_explained *x)
{
    printf("\n%s\n", name);
    print_place(m, kin, x);
    print_members(x);
    print_near(m, x);
    print_moved(x);
}

/* -- JSON ------------------------------------------------------------------ */

static void json_number(const char *before, const char *key, double x)
{
    printf("%s\"%s\": ", before, key);
    isfinite(x) ? printf("%.9g", x) : printf("null");
}

static void json_text(const char *before, const char *key, const char *text)
{
    printf("%s\"%s\": ", before, key);
    cg_print_json_string(stdout, text);
}

static void json_members(const cg_explained *x)
{
    printf("\"members\": {");
    for (int k = 0, n = 0; k < CG_MEMBER_COUNT; k++) {
        const cg_explained_member *y = &x->member[k];
        if (!y->counts)
            continue;
        printf("%s\"%s\": {", n++ ? ", " : "", cg_member_table[k].name);
        json_number("", "accuracy", y->accuracy);
        json_number(", ", "score", y->z);
        json_number(", ", "weight", y->weight);
        putchar('}');
    }
    putchar('}');
}

static void json_memberships(const cg_model *m, const cg_explained *x)
{
    printf(", \"memberships\": [");
    for (size_t k = 0; k < x->families; k++) {
        json_text(k ? ", {" : "{", "family", family_name(m, k));
        json_number(", ", "membership", x->membership[k]);
        putchar('}');
    }
    putchar(']');
}

static void json_near(const cg_model *m, const cg_explained *x)
{
    printf(", \"known\": [");
    for (int k = 0; k < x->n_near; k++) {
        uint32_t i = x->near[k].known;
        json_text(k ? ", {" : "{", "name", m->known.name[i]);
        json_text(", ", "family", family_name(m, m->known.family[i]));
        json_number(", ", "accuracy", m->known.accuracy[i]);
        json_number(", ", "distance", x->near[k].distance);
        putchar('}');
    }
    putchar(']');
}

static void json_moved(const cg_explained *x)
{
    printf(", \"moved\": [");
    for (int j = 0; j < x->read.n && j < MOVED; j++) {
        int k = x->read.k[j];
        json_text(j ? ", {" : "{", "structure", cg_structure_name[k]);
        json_number(", ", "value", x->structure[k]);
        json_number(", ", "deviations", x->z[k]);
        json_number(", ", "change", x->change[k]);
        putchar('}');
    }
    putchar(']');
    json_number(", ", "graph", x->graph);
}

void explain_print_json(const cg_model *m, const cg_explained *x)
{
    printf(", \"explain\": {");
    json_members(x);
    json_memberships(m, x);
    json_near(m, x);
    json_moved(x);
    putchar('}');
}
