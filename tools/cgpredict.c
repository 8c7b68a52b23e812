/* cgpredict: how well networks will do, by a model that was trained before. */
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "ir/text.h"
#include "runtime/ensemble.h"
#include "tools/cli.h"
#include "tools/draw.h"
#include "tools/networks.h"

static const char usage[] =
"usage: cgpredict [--model FILE] MODEL.onnx|GRAPH.cg|FAMILY:CODE|DIR...\n"
"       cgpredict [--model FILE] --codes FAMILY FILE.csv[.gz]\n"
"Predicts the accuracy of networks in percent, and a score by which to rank\n"
"them: the mean of what the members of GENNAPE say, each standardised by what\n"
"it says of the networks it was trained on. Best first.\n"
"\n"
"  --model FILE           made by cgtrain\n"
"  --codes FAMILY FILE    the codes of a table, of one family (cgzoo list)\n"
"  --code-columns A,B     columns that make a code (code, or else arch)\n"
"  --compare              what each member says, and how many of them put a\n"
"                         network before the next one\n"
"  --embedding OUT.npy    what the encoder makes of each network: a matrix of\n"
"                         float32, a row a network, in the order given\n"
"  --plot OUT.svg         draws the one network given, by graphviz's dot\n"
"  --json                 one object a line, in the order given: file,\n"
"                         accuracy, score, confidence (1: all members say the\n"
"                         same; docs/learner.md)\n"
"  --device cpu|cuda|auto (cpu), --threads N (all)\n"
"  -j, --jobs N           threads that make graphs (all)\n"
"  --version, --help\n";

typedef struct predict_options {
    const char *model, *device, *embedding, *plot, *codes_family, *codes,
        *columns;
    int threads, jobs;
    bool compare, json;
    char **args;
    int n_args;
} predict_options;

typedef struct prediction {
    const predict_options *o;
    cg_model *m;
    networks networks;
    cg_examples examples;
    cg_embedded embedded;
    cg_opinions said;
    double *accuracy, *score, *agreement; /* (n) */
    uint32_t *order; /* (n) best first */
} prediction;

static const char *name_of(const prediction *p, uint32_t i)
{
    const cg_pick *k = &p->examples.pick[i];
    return cg_set_name(k->set, k->index);
}

/* -- printing -------------------------------------------------------------- */

static void json_number(const char *key, double x)
{
    printf(", \"%s\": ", key);
    isfinite(x) ? printf("%.6g", x) : printf("null");
}

/* Regressors' accuracies, rankers' strengths, log10 FLOPs. */
static double opinion(const prediction *p, int id, uint32_t i)
{
    return p->said.accuracy[id] ? p->said.accuracy[id][i]
                                : p->said.score[id][i];
}

static void print_json(const prediction *p)
{
    for (uint32_t i = 0; i < p->examples.n; i++) {
        printf("{\"file\": ");
        cg_print_json_string(stdout, name_of(p, i));
        json_number("accuracy", p->accuracy[i]);
        json_number("score", p->score[i]);
        json_number("confidence", p->agreement[i]);
        if (p->o->compare)
            printf(", \"members\": {");
        for (int id = 0, n = 0; id < CG_MEMBER_COUNT && p->o->compare; id++)
            if (p->said.score[id]) {
                double x = opinion(p, id, i);
                printf("%s\"%s\": ", n++ ? ", " : "",
                       cg_member_table[id].name);
                isfinite(x) ? printf("%.6g", x) : printf("null");
            }
        puts(p->o->compare ? "}}" : "}");
    }
}

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

static void print_table(const prediction *p)
{
    printf("%-48s %10s %10s %10s\n", "network", "accuracy", "score",
           "confidence");
    for (uint32_t k = 0; k < p->examples.n; k++) {
        uint32_t i = p->order[k];
        print_name(name_of(p, i));
        print_cell(p->accuracy[i], 2);
        print_cell(p->score[i], 3);
        print_cell(p->agreement[i], 2);
        putchar('\n');
    }
}

/* "5/6": members of the ensemble that put a before b. */
static void print_votes(const prediction *p, uint32_t a, uint32_t b)
{
    int votes = 0, all = 0;
    for (int k = 0; k < CG_ENSEMBLE_SIZE; k++) {
        const double *s = p->said.score[cg_ensemble[k]];
        all += s != NULL;
        votes += s && s[a] > s[b];
    }
    printf(" %7d/%d", votes, all);
}

static void print_comparison(const prediction *p)
{
    printf("%-48s %10s %9s", "network", "score", "before");
    for (int id = 0; id < CG_MEMBER_COUNT; id++)
        if (p->said.score[id])
            printf(" %*s", (int)fmax(10, (double)strlen(
                       cg_member_table[id].name)), cg_member_table[id].name);
    putchar('\n');
    for (uint32_t k = 0; k < p->examples.n; k++) {
        uint32_t i = p->order[k];
        print_name(name_of(p, i));
        print_cell(p->score[i], 3);
        if (k + 1 < p->examples.n)
            print_votes(p, i, p->order[k + 1]);
        else
            printf(" %9s", "-");
        for (int id = 0; id < CG_MEMBER_COUNT; id++)
            if (p->said.score[id]) {
                size_t width = strlen(cg_member_table[id].name);
                printf("%*s", width > 10 ? (int)width - 10 : 0, "");
                print_cell(opinion(p, id, i), 3);
            }
        putchar('\n');
    }
}

/* -- embedding ------------------------------------------------------------- */

/* NumPy's format 1.0: magic, length of the header, header, data. */
static cg_err write_embedding(const prediction *p)
{
    const cg_embedded *d = &p->embedded;
    char header[128] = "\x93NUMPY\x01";
    cg_out out;
    if (!d->h)
        return cg_fail(CG_EUSAGE, "%s has no encoder, and so no embedding",
                       p->o->model);
    memset(header + 10, ' ', sizeof header - 11);
    header[8] = sizeof header - 10;
    int n = snprintf(header + 10, sizeof header - 10, "{'descr': '<f4', "
                     "'fortran_order': False, 'shape': (%" PRIu32 ", %d), }",
                     d->e->n, d->width);
    header[10 + n] = ' ';
    header[sizeof header - 1] = '\n';
    CG_TRY(cg_out_open(&out, p->o->embedding));
    fwrite(header, 1, sizeof header, out.f);
    fwrite(d->h, sizeof *d->h, (size_t)d->e->n * (size_t)d->width, out.f);
    return cg_out_commit(&out);
}

/* -- predicting ------------------------------------------------------------ */

static const double *sort_key;

static int better(const void *a, const void *b)
{
    uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
    double x = sort_key[i], y = sort_key[k];
    return x != y ? (x < y) - (x > y) : (i > k) - (i < k);
}

static cg_err predict(prediction *p)
{
    double weight[CG_MEMBER_COUNT];
    size_t n = p->examples.n;
    p->accuracy = cg_xcalloc(3 * n, sizeof(double));
    p->score = p->accuracy + n;
    p->agreement = p->score + n;
    p->order = cg_xcalloc(n, sizeof *p->order);
    CG_TRY(cg_model_embed(p->m, &p->examples, &p->embedded));
    CG_TRY(cg_opinions_ask_alone(&p->said, p->m, &p->embedded));
    cg_model_weights(p->m, &p->said, weight);
    cg_ensemble_accuracy(&p->said, weight, p->accuracy);
    CG_TRY(cg_ensemble_alone(p->m, &p->said, weight, p->score, p->agreement));
    for (uint32_t i = 0; i < n; i++)
        p->order[i] = i;
    sort_key = p->score;
    qsort(p->order, n, sizeof *p->order, better);
    return CG_OK;
}

static cg_err gather(prediction *p)
{
    const predict_options *o = p->o;
    networks *w = &p->networks;
    *w = (networks){.tool = "cgpredict", .jobs = o->jobs,
                    .form = p->m->config.form == CG_WORD_FORM_FUSED
                                ? CG_FORM_FUSED : CG_FORM_FOLDED};
    for (int i = 0; i < o->n_args; i++)
        CG_TRY(networks_add(w, o->args[i]));
    if (o->codes)
        CG_TRY(networks_add_codes(w, o->codes_family, o->codes, o->columns));
    CG_TRY(networks_make(w));
    return w->set ? cg_examples_of(&p->examples, w->set, NULL, false) : CG_OK;
}

/* *bad: networks that were named and left out. */
static cg_err run(prediction *p, size_t *bad)
{
    CG_TRY(gather(p));
    *bad = p->networks.left_out;
    if (p->examples.n == 0)
        return *bad ? CG_OK
                    : cg_fail(CG_EFORMAT, "%s has no codes", p->o->codes);
    CG_TRY(predict(p));
    if (p->o->embedding)
        CG_TRY(write_embedding(p));
    if (p->o->json)
        print_json(p);
    else if (p->o->compare)
        print_comparison(p);
    else
        print_table(p);
    return CG_OK;
}

/* The model that comes with the program: installed, or in its source. */
static cg_err find_model(predict_options *o)
{
    static const char *const places[] = {
        GENNAPE_DATA "/models/gennape.safetensors",
        GENNAPE_SOURCE "/models/gennape.safetensors"};
    for (size_t i = 0; i < sizeof places / sizeof *places && !o->model; i++)
        if (access(places[i], F_OK) == 0)
            o->model = places[i];
    return o->model ? CG_OK
                    : cg_fail(CG_EIO, "no model is installed (%s): train one "
                              "with cgtrain and give --model FILE",
                              places[0]);
}

static cg_err run_all(predict_options *o, size_t *bad)
{
    prediction p = {.o = o};
    cg_dev *dev = NULL;
    CG_TRY(find_model(o));
    if (o->embedding)
        CG_TRY(cg_cli_try_output(o->embedding));
    if (o->plot)
        CG_TRY(draw_network(o->args[0], o->plot));
    CG_TRY(cg_dev_open(&dev, o->device, o->threads));
    cg_err err = cg_model_load(&p.m, dev, o->model, NULL);
    if (err == CG_OK)
        err = run(&p, bad);
    cg_opinions_free(&p.said);
    cg_embedded_free(&p.embedded);
    cg_examples_free(&p.examples);
    networks_free(&p.networks);
    cg_xfree(p.accuracy);
    cg_xfree(p.order);
    cg_model_free(p.m);
    cg_dev_close(dev);
    return err;
}

/* -- command line ---------------------------------------------------------- */

enum { OPT_MODEL = 256, OPT_CODES, OPT_CODE_COLUMNS, OPT_COMPARE,
       OPT_EMBEDDING, OPT_PLOT, OPT_JSON, OPT_DEVICE, OPT_THREADS,
       OPT_VERSION, OPT_HELP };

static const struct option long_options[] = {
    {"model", required_argument, NULL, OPT_MODEL},
    {"codes", required_argument, NULL, OPT_CODES},
    {"code-columns", required_argument, NULL, OPT_CODE_COLUMNS},
    {"compare", no_argument, NULL, OPT_COMPARE},
    {"embedding", required_argument, NULL, OPT_EMBEDDING},
    {"plot", required_argument, NULL, OPT_PLOT},
    {"json", no_argument, NULL, OPT_JSON},
    {"device", required_argument, NULL, OPT_DEVICE},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"jobs", required_argument, NULL, 'j'},
    {"version", no_argument, NULL, OPT_VERSION},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

/* --codes takes two words. */
static cg_err take_codes(predict_options *o, int argc, char **argv)
{
    if (o->codes || optind >= argc)
        return cg_fail(CG_EUSAGE, "--codes wants FAMILY FILE, once");
    o->codes_family = optarg;
    o->codes = argv[optind++];
    return CG_OK;
}

static cg_err take(predict_options *o, int opt, const char *arg)
{
    switch (opt) {
    case OPT_MODEL: o->model = arg; break;
    case OPT_CODE_COLUMNS: o->columns = arg; break;
    case OPT_COMPARE: o->compare = true; break;
    case OPT_EMBEDDING: o->embedding = arg; break;
    case OPT_PLOT: o->plot = arg; break;
    case OPT_JSON: o->json = true; break;
    case OPT_DEVICE: o->device = arg; break;
    case OPT_THREADS: return cg_cli_int(arg, "--threads", 0, 1024,
                                        &o->threads);
    case 'j': return cg_cli_int(arg, "--jobs", 1, 1024, &o->jobs);
    default: return cg_fail(CG_EUSAGE, "see cgpredict --help");
    }
    return CG_OK;
}

static cg_err parse(predict_options *o, int argc, char **argv)
{
    for (int opt; (opt = getopt_long(argc, argv, "j:", long_options,
                                     NULL)) != -1;) {
        if (opt == OPT_HELP || opt == OPT_VERSION) {
            fputs(opt == OPT_HELP ? usage : cg_cli_version("cgpredict"),
                  stdout);
            exit(0);
        }
        CG_TRY(opt == OPT_CODES ? take_codes(o, argc, argv)
                                : take(o, opt, optarg));
    }
    o->args = argv + optind;
    o->n_args = argc - optind;
    if (!o->n_args && !o->codes)
        return cg_fail(CG_EUSAGE, "no network given; see cgpredict --help");
    if (o->embedding && strcmp(o->embedding, "-") == 0)
        return cg_fail(CG_EUSAGE, "--embedding wants a file: predictions go "
                       "to standard output");
    if (o->plot && (o->n_args != 1 || o->codes || strcmp(o->plot, "-") == 0))
        return cg_fail(CG_EUSAGE, "--plot wants a file, and one network");
    return CG_OK;
}

int main(int argc, char **argv)
{
    predict_options o = {.device = "cpu"};
    size_t bad = 0;
    cg_err err = parse(&o, argc, argv);
    if (err == CG_OK)
        err = run_all(&o, &bad);
    int status = cg_cli_end("cgpredict", err);
    return status == 0 && bad > 0 ? 1 : status;
}
