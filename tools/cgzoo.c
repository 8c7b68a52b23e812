/* cgzoo: networks of the NAS families, from codes. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "frontend/onnx/export.h"
#include "frontend/zoo/zoo.h"
#include "ir/text.h"
#include "passes/passes.h"
#include "tools/codes.h"
#include "tools/pack.h"
#include "tools/set_info.h"
#include "tools/table.h"

static const char usage[] =
"usage: cgzoo list\n"
"       cgzoo show FAMILY CODE [--format cg|json|dot] [--stats]\n"
"       cgzoo stats FAMILY CODE... | --codes FILE.csv[.gz]\n"
"       cgzoo export FAMILY CODE -o FILE.onnx [--no-weights] [--seed S]\n"
"       cgzoo sample FAMILY [-n N] [--seed S]\n"
"       cgzoo mutate FAMILY CODE [-n N] [--seed S]\n"
"       cgzoo enumerate FAMILY\n"
"       cgzoo pack FAMILY --labels FILE.csv[.gz] -o SET.cgs\n"
"       cgzoo info SET.cgs [--csv]\n"
"Builds the networks of nine families of neural architecture search. FAMILY\n"
"may carry options: ofa_mbv3:width=1.2.\n"
"\n"
"  list       the families, their codes and options\n"
"  show       one network: a table, its graph, or its statistics (JSON)\n"
"  stats      CSV, one line a code; counts are those before simplification,\n"
"             flops and hash those after it\n"
"  export     one network as an ONNX model, with random weights\n"
"  sample     N codes drawn at random\n"
"  mutate     N codes near a code\n"
"  enumerate  every code, with its key (CSV)\n"
"  pack       a data set for training: networks of many codes, with labels\n"
"  info       what is in a data set; --csv: names and labels\n"
"\n"
"  --codes FILE           a table with column code (or else arch), or\n"
"  --code-columns A,B     columns that make a code, joined by ';'\n"
"  --format cg|json|dot, --stats, --spectrum\n"
"  -n N (1), --seed S (0)\n"
"  -o, --output FILE\n"
"\n"
"pack\n"
"  --labels FILE          a table with codes and labels, or\n"
"                         published results: a .tfrecord of NAS-Bench-101,\n"
"                         a .txt of NAS-Bench-201 (docs/dataset.md)\n"
"  --label-column A[,B]   (accuracy, test_accuracy or cifar10_test)\n"
"  --form folded|fused    BatchNorm folded (default), or activations too\n"
"  --epochs N             of published results (as many as there are)\n"
"  --limit N              only the first N rows\n"
"  --no-spectrum          leave the eigenvalues out\n"
"  -j, --jobs N           threads (as many as processors)\n"
"\n"
"  --version, --help\n";

typedef struct options {
    const char *format; /* NULL: table; "stats" */
    const char *codes, *columns, *output;
    uint64_t n, seed;
    bool spectrum, no_weights, csv;
    pack_options pack;
    const cg_zoo_family *family;
    const char *family_name; /* with its options */
    cg_zoo_opts zoo;
    char **args; /* behind the family */
    int n_args;
} options;

/* -- graphs ---------------------------------------------------------------- */

/* Builders set every type and channel axis. */
static cg_err build(const options *o, const char *code, cg_net *net)
{
    CG_TRY(cg_zoo_build(o->family, &o->zoo, code, net));
    net->graph->facts = CG_HAS(shapes) | CG_HAS(hwc);
    return CG_OK;
}

static cg_err show(const options *o, FILE *f)
{
    cg_net net;
    if (o->n_args != 1)
        return cg_fail(CG_EUSAGE, "show wants one code");
    CG_TRY(build(o, o->args[0], &net));
    cg_facts wanted = CG_HAS(flops) | CG_HAS(hash) |
                      (o->spectrum ? CG_HAS(spectrum) : 0);
    cg_graph *g = net.graph;
    cg_err err = cg_run_passes(g, wanted, NULL);
    char *title = NULL;
    if (err == CG_OK && asprintf(&title, "%s:%s", o->family->name,
                                 o->args[0]) < 0)
        abort();
    if (err != CG_OK)
        ;
    else if (!o->format)
        cg_print_table(f, g, title);
    else if (strcmp(o->format, "stats") == 0)
        cg_print_stats(f, g, title);
    else if (strcmp(o->format, "cg") == 0)
        cg_print_text(f, g);
    else if (strcmp(o->format, "json") == 0)
        cg_print_json(f, g);
    else
        cg_print_dot(f, g);
    free(title);
    cg_graph_free(g);
    return err;
}

static cg_err export(const options *o, FILE *f)
{
    cg_net net;
    if (o->n_args != 1)
        return cg_fail(CG_EUSAGE, "export wants one code");
    CG_TRY(build(o, o->args[0], &net));
    cg_export_opts opts = {.no_weights = o->no_weights, .seed = o->seed};
    cg_err err = cg_export_onnx(f, net.graph, &opts);
    cg_graph_free(net.graph);
    return err;
}

/* -- statistics ------------------------------------------------------------ */

/* Operators in the order of the families' histograms; others follow. */
static const cg_op histogram[] = {
    CG_OP_CONV, CG_OP_DEPTHWISE, CG_OP_BATCHNORM, CG_OP_RELU, CG_OP_RELU6,
    CG_OP_HARDSWISH, CG_OP_HARDSIGMOID, CG_OP_MAXPOOL, CG_OP_AVGPOOL,
    CG_OP_ADD, CG_OP_MUL, CG_OP_CONCAT, CG_OP_MEAN, CG_OP_MATMUL};

static void print_histogram(FILE *f, const cg_graph *g)
{
    uint32_t count[CG_OP_COUNT] = {0};
    const char *sep = "";
    for (size_t i = 0; i < g->main->nodes.len; i++)
        count[g->main->nodes.data[i]->op]++;
    for (size_t i = 0; i < sizeof histogram / sizeof *histogram; i++) {
        if (!count[histogram[i]])
            continue;
        fprintf(f, "%s%s:%" PRIu32, sep, cg_op_name(histogram[i]),
                count[histogram[i]]);
        sep = " ";
    }
}

static cg_err stats_line(const options *o, FILE *f, const char *code)
{
    cg_net net;
    CG_TRY(build(o, code, &net));
    cg_graph *g = net.graph;
    /* as built: pass flops asks for simplification, which has to wait */
    g->facts |= CG_HAS(simplify);
    cg_err err = cg_run_passes(g, CG_HAS(flops), NULL);
    if (err == CG_OK) {
        cg_edges e;
        cg_edges_make(&e, g);
        print_field(f, code);
        fprintf(f, ",%" PRId64 ",%" PRId64 ",", g->params, g->macs);
        print_histogram(f, g);
        fprintf(f, ",%" PRIu32 ",%" PRIu32 ",%" PRId64 ",%" PRId64 ",%" PRId64
                ",%" PRId64, e.n_nodes, e.n_edges, net.adds_binary,
                net.slices, net.params_full, net.macs_full);
        cg_edges_free(&e);
        g->facts = CG_HAS(shapes) | CG_HAS(hwc);
        err = cg_run_passes(g, CG_HAS(flops) | CG_HAS(hash), NULL);
    }
    if (err == CG_OK)
        fprintf(f, ",%" PRId64 ",%016" PRIx64 "%016" PRIx64 "\n", g->flops,
                g->hash[0], g->hash[1]);
    cg_graph_free(g);
    return err;
}

/* Names a bad code and goes on; the count of them decides the exit status. */
static void stats_code(const options *o, FILE *f, const char *code,
                       size_t *bad)
{
    char *line = NULL;
    size_t len = 0;
    FILE *m = open_memstream(&line, &len);
    if (!m)
        abort();
    cg_err err = stats_line(o, m, code);
    fclose(m);
    if (err == CG_OK)
        fwrite(line, 1, len, f);
    else {
        fprintf(stderr, "cgzoo: %s\n", cg_error());
        ++*bad;
    }
    free(line);
}

static cg_err stats_table(const options *o, FILE *f, size_t *bad)
{
    cg_csv t;
    code_columns columns;
    CG_TRY(cg_csv_read(&t, o->codes));
    cg_err err = code_columns_find(&columns, &t, o->columns, o->codes);
    for (size_t i = 0; i < t.n_rows && err == CG_OK; i++) {
        char code[CG_ZOO_CODE_MAX];
        err = code_join(&columns, &t, i, code, sizeof code);
        if (err == CG_OK)
            stats_code(o, f, code, bad);
    }
    cg_csv_free(&t);
    return err;
}

static cg_err stats(const options *o, FILE *f)
{
    size_t bad = 0;
    if (!o->codes && !o->n_args)
        return cg_fail(CG_EUSAGE, "stats wants codes, or --codes FILE");
    fputs("code,params,macs,ops,n_nodes,n_edges,adds_binary,slices,"
          "params_full,macs_full,flops,hash\n", f);
    for (int i = 0; i < o->n_args; i++)
        stats_code(o, f, o->args[i], &bad);
    if (o->codes)
        CG_TRY(stats_table(o, f, &bad));
    return bad ? cg_fail(CG_EFORMAT, "%zu codes were left out", bad) : CG_OK;
}

/* -- codes ----------------------------------------------------------------- */

static cg_err sample(const options *o, FILE *f)
{
    for (uint64_t i = 0; i < o->n; i++) {
        _Alignas(16) char arch[CG_ZOO_ARCH_MAX] = {0};
        char code[CG_ZOO_CODE_MAX];
        cg_rng r = cg_rng_make(o->seed, i);
        o->family->sample(&r, &o->zoo, arch);
        o->family->print(arch, code);
        fprintf(f, "%s\n", code);
    }
    return CG_OK;
}

static cg_err mutate(const options *o, FILE *f)
{
    if (o->n_args != 1)
        return cg_fail(CG_EUSAGE, "mutate wants one code");
    for (uint64_t i = 0; i < o->n; i++) {
        _Alignas(16) char arch[CG_ZOO_ARCH_MAX] = {0};
        char code[CG_ZOO_CODE_MAX];
        cg_err err = o->family->parse(o->args[0], arch);
        if (err != CG_OK)
            return cg_fail_in(err, "%s code '%.80s'", o->family->name,
                              o->args[0]);
        cg_rng r = cg_rng_make(o->seed, i);
        o->family->mutate(&r, &o->zoo, arch);
        o->family->print(arch, code);
        fprintf(f, "%s\n", code);
    }
    return CG_OK;
}

static bool print_pair(void *user, const char *key, const char *code)
{
    fprintf(user, "%s,", key);
    print_field(user, code);
    fputc('\n', user);
    return !ferror((FILE *)user);
}

static cg_err enumerate(const options *o, FILE *f)
{
    if (!o->family->enumerate)
        return cg_fail(CG_EUSAGE, "%s has too many codes to list; see sample",
                       o->family->name);
    fputs("key,code\n", f);
    return o->family->enumerate(print_pair, f);
}

static cg_err list(const options *o, FILE *f)
{
    (void)o;
    for (size_t i = 0; i < cg_zoo_n_families; i++) {
        const cg_zoo_family *x = cg_zoo_families[i];
        fprintf(f, "%s\n  code     %s\n  example  %s\n", x->name, x->grammar,
                x->example);
        if (*x->options)
            fprintf(f, "  options  %s\n", x->options);
    }
    return CG_OK;
}

/* -- data sets ------------------------------------------------------------- */

static cg_err load_code(const void *user, const char *code, cg_graph **g)
{
    cg_net net;
    CG_TRY(build(user, code, &net));
    *g = net.graph;
    return CG_OK;
}

/* --labels: published results, or a table. */
static cg_err read_labels(const options *o, pack_table *t)
{
    bool found;
    CG_TRY(pack_read_results(t, &o->pack, o->family->name, &found));
    if (found && o->columns)
        return cg_fail(CG_EUSAGE, "--code-columns goes with a table, not with "
                       "%s", o->pack.labels);
    return found ? CG_OK : pack_read_csv(t, &o->pack, o->columns);
}

static cg_err pack(const options *o, FILE *f)
{
    (void)f; /* pack_run writes */
    if (!o->pack.labels)
        return cg_fail(CG_EUSAGE, "pack wants --labels FILE");
    if (!o->output)
        return cg_fail(CG_EUSAGE, "pack wants -o SET.cgs");
    if (o->n_args)
        return cg_fail(CG_EUSAGE, "pack takes its codes from --labels, not "
                       "'%s'", o->args[0]);
    pack_table t = {0};
    cg_err err = read_labels(o, &t);
    if (err == CG_OK)
        err = codes_check(o->family->name, t.name, t.n, o->pack.labels);
    if (err == CG_OK)
        err = pack_run(&t, &o->pack, o->family_name, load_code, o);
    pack_table_free(&t);
    return err;
}

static cg_err info(const options *o, FILE *f)
{
    cg_set *s;
    if (o->n_args != 1)
        return cg_fail(CG_EUSAGE, "info wants one data set");
    CG_TRY(cg_set_open(&s, o->args[0]));
    if (o->csv)
        print_set_names(f, s);
    else
        print_set(f, s);
    cg_set_close(s);
    return CG_OK;
}

/* -- command line ---------------------------------------------------------- */

static const struct {
    const char *name;
    cg_err (*run)(const options *o, FILE *f);
    bool family;
} commands[] = {
    {"list", list, false},     {"show", show, true},
    {"export", export, true},  {"stats", stats, true},
    {"sample", sample, true},  {"mutate", mutate, true},
    {"enumerate", enumerate, true},
    {"pack", pack, true},      {"info", info, false},
};

enum { OPT_FORMAT = 256, OPT_STATS, OPT_CODES, OPT_COLUMNS, OPT_SEED,
       OPT_SPECTRUM, OPT_NO_WEIGHTS, OPT_LABELS, OPT_LABEL_COLUMN, OPT_FORM,
       OPT_EPOCHS, OPT_LIMIT, OPT_NO_SPECTRUM, OPT_CSV, OPT_VERSION,
       OPT_HELP };

static const struct option long_options[] = {
    {"format", required_argument, NULL, OPT_FORMAT},
    {"stats", no_argument, NULL, OPT_STATS},
    {"codes", required_argument, NULL, OPT_CODES},
    {"code-columns", required_argument, NULL, OPT_COLUMNS},
    {"seed", required_argument, NULL, OPT_SEED},
    {"spectrum", no_argument, NULL, OPT_SPECTRUM},
    {"no-weights", no_argument, NULL, OPT_NO_WEIGHTS},
    {"output", required_argument, NULL, 'o'},
    {"labels", required_argument, NULL, OPT_LABELS},
    {"label-column", required_argument, NULL, OPT_LABEL_COLUMN},
    {"form", required_argument, NULL, OPT_FORM},
    {"epochs", required_argument, NULL, OPT_EPOCHS},
    {"limit", required_argument, NULL, OPT_LIMIT},
    {"no-spectrum", no_argument, NULL, OPT_NO_SPECTRUM},
    {"jobs", required_argument, NULL, 'j'},
    {"csv", no_argument, NULL, OPT_CSV},
    {"version", no_argument, NULL, OPT_VERSION},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

static cg_err parse_count(const char *s, const char *what, uint64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoull(s, &end, 10);
    return *end || end == s || errno || *s == '-'
               ? cg_fail(CG_EUSAGE, "%s '%s' is not a number", what, s)
               : CG_OK;
}

static cg_err parse_pack(pack_options *o, int c, const char *arg)
{
    uint64_t n = 0;
    int form;
    switch (c) {
    case OPT_LABELS: o->labels = arg; return CG_OK;
    case OPT_LABEL_COLUMN: o->label_columns = arg; return CG_OK;
    case OPT_NO_SPECTRUM: o->no_spectrum = true; return CG_OK;
    case OPT_LIMIT:
        CG_TRY(parse_count(arg, "--limit", &n));
        o->limit = (size_t)n;
        return CG_OK;
    case OPT_FORM:
        form = cg_form_find(arg);
        o->form = form < 0 ? CG_FORM_FOLDED : (cg_form)form;
        return form < 0 ? cg_fail(CG_EUSAGE, "--form is folded or fused, not "
                                  "'%s'", arg)
                        : CG_OK;
    case OPT_EPOCHS:
        CG_TRY(parse_count(arg, "--epochs", &n));
        o->epochs = (int)n;
        return n >= 1 && n <= 100000
                   ? CG_OK
                   : cg_fail(CG_EUSAGE, "--epochs is not '%s'", arg);
    case 'j':
        CG_TRY(parse_count(arg, "--jobs", &n));
        o->jobs = (int)n;
        return n >= 1 && n <= 256
                   ? CG_OK
                   : cg_fail(CG_EUSAGE, "--jobs is 1 to 256, not '%s'", arg);
    }
    return cg_fail(CG_EUSAGE, "see --help");
}

static cg_err parse_option(options *o, int c, const char *arg)
{
    switch (c) {
    case OPT_FORMAT:
        o->format = arg;
        return strcmp(arg, "cg") && strcmp(arg, "json") && strcmp(arg, "dot")
                   ? cg_fail(CG_EUSAGE, "--format is cg, json or dot, not "
                             "'%s'", arg)
                   : CG_OK;
    case OPT_STATS: o->format = "stats"; return CG_OK;
    case OPT_CODES: o->codes = arg; return CG_OK;
    case OPT_COLUMNS: o->columns = arg; return CG_OK;
    case OPT_SEED: return parse_count(arg, "--seed", &o->seed);
    case OPT_SPECTRUM: o->spectrum = true; return CG_OK;
    case OPT_NO_WEIGHTS: o->no_weights = true; return CG_OK;
    case 'n': return parse_count(arg, "-n", &o->n);
    case 'o': o->output = o->pack.output = arg; return CG_OK;
    case OPT_CSV: o->csv = true; return CG_OK;
    }
    return parse_pack(&o->pack, c, arg);
}

static cg_err run(options *o, int argc, char **argv)
{
    if (argc == 0)
        return cg_fail(CG_EUSAGE, "no command; see --help");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(argv[0], commands[i].name) != 0)
            continue;
        if (commands[i].family && argc < 2)
            return cg_fail(CG_EUSAGE, "%s wants a family; see cgzoo list",
                           argv[0]);
        if (commands[i].family)
            CG_TRY(cg_zoo_find(argv[1], &o->family, &o->zoo));
        o->family_name = argv[1];
        o->args = argv + 1 + commands[i].family;
        o->n_args = argc - 1 - commands[i].family;
        if (commands[i].run == pack)
            return pack(o, NULL);
        cg_out out;
        CG_TRY(cg_out_open(&out, o->output ? o->output : "-"));
        cg_err err = commands[i].run(o, out.f);
        /* a table with a bad code among its rows is still worth having */
        if (err != CG_OK && commands[i].run != stats) {
            cg_out_abandon(&out);
            return err;
        }
        cg_err written = cg_out_commit(&out);
        return written != CG_OK ? written : err;
    }
    return cg_fail(CG_EUSAGE, "no command '%s'; see --help", argv[0]);
}

int main(int argc, char **argv)
{
    options o = {.n = 1, .pack.tool = "cgzoo"};
    cg_err err = CG_OK;
    for (int c; err == CG_OK &&
                (c = getopt_long(argc, argv, "n:o:j:", long_options, NULL)) >= 0;) {
        if (c == OPT_HELP || c == OPT_VERSION) {
            fputs(c == OPT_HELP ? usage
                                : "cgzoo (gennape) " GENNAPE_VERSION "\n",
                  stdout);
            return 0;
        }
        err = c == '?' ? cg_fail(CG_EUSAGE, "see --help")
                       : parse_option(&o, c, optarg);
    }
    if (err == CG_OK)
        err = run(&o, argc - optind, argv + optind);
    if (err != CG_OK)
        fprintf(stderr, "cgzoo: %s\n", cg_error());
    return err == CG_OK ? 0 : err == CG_EUSAGE ? 2 : 1;
}
