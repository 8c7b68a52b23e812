/* libFuzzer target: .cg text. What parses must be valid, print, and print the
 * same again after being read back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/hash.h"
#include "ir/text.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static char *print(cg_graph *g, size_t *len,
                   void (*form)(FILE *f, cg_graph *g))
{
    char *s = NULL;
    FILE *f = open_memstream(&s, len);
    if (!f)
        abort();
    form(f, g);
    fclose(f);
    return s;
}

static void stats(FILE *f, cg_graph *g) { cg_print_stats(f, g, "x.cg"); }

static void other_forms(cg_graph *g)
{
    static void (*const forms[])(FILE *, cg_graph *) = {
        cg_print_json, cg_print_dot, cg_print_shapes, stats};
    uint64_t hash[2];
    size_t len;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
        free(print(g, &len, forms[i]));
    cg_graph_hash(g, hash);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    cg_graph *g, *again;
    if (cg_parse_text((const char *)data, size, &g) != CG_OK)
        return 0;
    size_t len, len2;
    char *text = print(g, &len, cg_print_text);
    if (cg_parse_text(text, len, &again) != CG_OK) {
        fprintf(stderr, "%s\n%s\n", cg_error(), text);
        abort();
    }
    char *text2 = print(again, &len2, cg_print_text);
    if (len != len2 || memcmp(text, text2, len) != 0) {
        fprintf(stderr, "%s\n----\n%s\n", text, text2);
        abort();
    }
    other_forms(g);
    free(text);
    free(text2);
    cg_graph_free(g);
    cg_graph_free(again);
    return 0;
}
