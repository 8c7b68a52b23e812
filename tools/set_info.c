#include "tools/set_info.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "tools/codes.h"

/* 423624 as "423,624". */
static const char *exact(uint64_t n, char text[32])
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRIu64, n), w = 0;
    for (int i = 0; i < len; i++) {
        text[w++] = digits[i];
        if ((len - 1 - i) % 3 == 0 && i != len - 1)
            text[w++] = ',';
    }
    text[w] = '\0';
    return text;
}

static void print_sizes(FILE *f, const cg_set *s)
{
    uint64_t nodes = 0, edges = 0, most = 0;
    uint32_t spectra = 0;
    char a[32], b[32];
    for (uint32_t i = 0; i < s->n_graphs; i++) {
        const cg_set_topology *t = &s->topology[s->graph[i].topology];
        nodes += t->n_nodes;
        edges += t->n_edges;
        most = t->n_nodes > most ? t->n_nodes : most;
    }
    for (uint32_t i = 0; i < s->n_topologies; i++)
        spectra += !isnan(s->spectrum[(size_t)i * CG_SPECTRUM_LEN]);
    fprintf(f, "  family      %s\n  form        %s\n", s->family,
            cg_form_name(s->form));
    fprintf(f, "  networks    %s\n", exact(s->n_graphs, a));
    if (s->n_graphs)
        fprintf(f, "  nodes       %.1f a network, at most %s\n"
                "  edges       %.1f a network\n",
                (double)nodes / s->n_graphs, exact(most, a),
                (double)edges / s->n_graphs);
    fprintf(f, "  tokens      %s\n", exact(s->n_tokens, a));
    fprintf(f, "  topologies  %s, %s with spectrum\n",
            exact(s->n_topologies, a), exact(spectra, b));
}

static void print_label(FILE *f, const cg_set *s, uint32_t k)
{
    double sum = 0, least = INFINITY, most = -INFINITY;
    uint32_t count = 0;
    char text[32];
    for (uint32_t i = 0; i < s->n_graphs; i++) {
        double x = s->label[(size_t)i * s->n_labels + k];
        if (isnan(x))
            continue;
        count++;
        sum += x;
        least = x < least ? x : least;
        most = x > most ? x : most;
    }
    fprintf(f, "  %-20s %11s", s->label_name[k], exact(count, text));
    if (count)
        fprintf(f, " %12.6g %12.6g %12.6g", least, sum / count, most);
    fputc('\n', f);
}

void print_set(FILE *f, const cg_set *s)
{
    const char *name;
    uint64_t size, total = 0;
    char text[32];
    fprintf(f, "%s\n", s->path);
    print_sizes(f, s);
    if (s->n_labels)
        fprintf(f, "\n  %-20s %11s %12s %12s %12s\n", "label", "networks",
                "least", "mean", "most");
    for (uint32_t k = 0; k < s->n_labels; k++)
        print_label(f, s, k);
    fprintf(f, "\n  %-20s %11s\n", "section", "bytes");
    for (int i = 0; cg_set_section_size(s, i, &name, &size); i++) {
        fprintf(f, "  %-20s %11s\n", name, exact(size, text));
        total += size;
    }
    fprintf(f, "  %-20s %11s\n", "together", exact(total, text));
}

void print_set_names(FILE *f, const cg_set *s)
{
    fputs("name", f);
    for (uint32_t k = 0; k < s->n_labels; k++) {
        fputc(',', f);
        print_field(f, s->label_name[k]);
    }
    fputc('\n', f);
    for (uint32_t i = 0; i < s->n_graphs; i++) {
        print_field(f, cg_set_name(s, i));
        for (uint32_t k = 0; k < s->n_labels; k++) {
            double x = s->label[(size_t)i * s->n_labels + k];
            fprintf(f, isnan(x) ? "," : ",%.17g", x);
        }
        fputc('\n', f);
    }
}
