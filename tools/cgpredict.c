/* cgpredict: how well networks will do, by a model that was trained before. */
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "tools/calibrate.h"
#include "tools/cli.h"
#include "tools/device.h"
#include "tools/draw.h"
#include "tools/explain.h"
#include "tools/networks.h"
#include "tools/predict_print.h"

static const char usage[] =
"usage: cgpredict [--model FILE] MODEL.onnx|GRAPH.cg|FAMILY:CODE|DIR...\n"
"       cgpredict [--model FILE] --codes FAMILY FILE.csv[.gz]\n"
"       cgpredict [--model FILE] --calibrate LABELS.csv [-o FILE] ...\n"
"Predicts the accuracy of networks in percent, and a score by which to rank\n"
"them: the mean of what the members of GENNAPE say, each standardised by what\n"
"it says of the networks it was trained on, or of those given where these are\n"
"20 or more and the model was not tuned. Best first.\n"
"\n"
"  --model FILE           made by cgtrain; otherwise the one that comes with\n"
"                         the program\n"
"  --codes FAMILY FILE    the codes of a table, of one family (cgzoo list)\n"
"  --code-columns A,B     columns that make a code (code, or else arch)\n"
"  --calibrate LABELS.csv tunes the model first to networks that you have\n"
"                         measured, 10 to 50: columns file (or family and\n"
"                         code) and accuracy; those to be predicted are of\n"
"                         their kind\n"
"  -o, --output FILE      saves the tuned model\n"
"  --compare              what each member says, and how many of them put a\n"
"                         network before the next one\n"
"  --explain              why, of the ten best at most: members, families,\n"
"                         nearest networks that it was trained on, and what\n"
"                         moved the score\n"
"  --top N                prints the best N only\n"
"  --embedding OUT.npy    what the encoder makes of each network: a matrix of\n"
"                         float32, a row a network, in the order given\n"
"  --plot OUT.svg         draws the one network given, by graphviz's dot\n"
"  --json                 one object a line, in the order given: file,\n"
"                         accuracy, score, confidence (1: all members say the\n"
"                         same; docs/learner.md), family, distance, strange\n"
"  --csv                  a table, best first: file, accuracy, score,\n"
"                         confidence, family, distance\n"
"  -j, --jobs N           threads that make graphs (all)\n"
DEVICE_USAGE("auto");

typedef struct predict_options {
    device_options on;
    const char *model, *embedding, *plot, *codes_family, *codes,
        *columns, *calibrate, *output;
    int jobs, top; /* top 0: all */
    bool compare, json, csv, explain;
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
    double weight[CG_MEMBER_COUNT];
    double *accuracy, *score, *agreement; /* (n) */
    uint32_t *order; /* (n) best first */
    cg_explained explained[PREDICT_EXPLAINED];
    uint32_t n_explained;
} prediction;

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

/* Many networks tell what is usual among them: then a score is cgeval's, but
 * for strengths instead of ranks of classifiers: networks that are alike have
 * the same. A model that was tuned knows what is usual already. */
static bool judged_together(const prediction *p)
{
    return p->examples.n >= CG_FAMILY_LEAST && !p->m->tuned;
}

static cg_err predict(prediction *p)
{
    size_t n = p->examples.n;
    p->accuracy = cg_xcalloc(3 * n, sizeof(double));
    p->score = p->accuracy + n;
    p->agreement = p->score + n;
    p->order = cg_xcalloc(n, sizeof *p->order);
    CG_TRY(cg_model_embed(p->m, &p->examples, &p->embedded));
    CG_TRY(cg_opinions_ask_alone(&p->said, p->m, &p->embedded));
    cg_model_weights(p->m, &p->said, p->weight);
    cg_ensemble_accuracy(&p->said, p->weight, p->accuracy);
    CG_TRY(cg_ensemble_alone(p->m, &p->said, p->weight, p->score,
                             p->agreement));
    if (judged_together(p))
        cg_ensemble_score(&p->said, p->weight, p->score);
    for (uint32_t i = 0; i < n; i++)
        p->order[i] = i;
    sort_key = p->score;
    qsort(p->order, n, sizeof *p->order, better);
    return CG_OK;
}

static void prediction_free(prediction *p)
{
    for (uint32_t k = 0; k < p->n_explained; k++)
        cg_explained_free(&p->explained[k]);
    cg_opinions_free(&p->said);
    cg_embedded_free(&p->embedded);
    cg_examples_free(&p->examples);
    networks_free(&p->networks);
    cg_xfree(p->accuracy);
    cg_xfree(p->order);
    cg_model_free(p->m);
}

/* -- printing -------------------------------------------------------------- */

static uint32_t shown(const prediction *p)
{
    uint32_t n = p->examples.n, top = (uint32_t)p->o->top;
    return top > 0 && top < n ? top : n;
}

static cg_err explain(prediction *p)
{
    cg_explain_task t = {p->m, &p->embedded, &p->said, p->weight,
                         judged_together(p)};
    for (uint32_t k = 0; k < shown(p) && k < PREDICT_EXPLAINED; k++) {
        CG_TRY(cg_explain(&p->explained[k], &t, p->order[k]));
        p->n_explained++;
    }
    return CG_OK;
}

static void print_for_people(const prediction *p, const predicted *q)
{
    bool one = p->examples.n == 1 && p->networks.left_out == 0;
    if (p->o->compare)
        predict_print_comparison(q);
    else if (one)
        predict_print_card(q);
    else
        predict_print_table(q);
    if (p->o->compare || !one)
        predict_print_verdict(q);
    for (uint32_t k = 0; k < q->n_explained; k++)
        explain_print(p->m, &p->embedded.kin,
                      predicted_name(q, p->order[k]), &p->explained[k]);
}

static void print(const prediction *p)
{
    predicted q = {p->m, &p->embedded, &p->said, p->weight, p->accuracy,
                   p->score, p->agreement, p->order, shown(p), p->explained,
                   p->n_explained};
    if (p->o->json)
        predict_print_json(&q, p->o->compare);
    else if (p->o->csv)
        predict_print_csv(&q);
    else
        print_for_people(p, &q);
}

/* -- from one end to the other --------------------------------------------- */

static cg_err list(prediction *p)
{
    const predict_options *o = p->o;
    networks *w = &p->networks;
    *w = (networks){.tool = "cgpredict", .jobs = o->jobs};
    for (int i = 0; i < o->n_args; i++)
        CG_TRY(networks_add(w, o->args[i]));
    if (o->codes)
        CG_TRY(networks_add_codes(w, o->codes_family, o->codes, o->columns));
    return CG_OK;
}

static cg_err gather(prediction *p)
{
    networks *w = &p->networks;
    w->form = p->m->config.form == CG_WORD_FORM_FUSED ? CG_FORM_FUSED
                                                      : CG_FORM_FOLDED;
    CG_TRY(networks_make(w));
    return networks_examples(w, NULL, false, &p->examples);
}

static cg_err tune(prediction *p, size_t *bad)
{
    const predict_options *o = p->o;
    calibration c = {.tool = "cgpredict", .labels = o->calibrate,
                     .output = o->output, .jobs = o->jobs};
    CG_TRY(calibrate(&c, p->m, &p->examples));
    *bad += c.left_out;
    return CG_OK;
}

/* *bad: networks that were named and left out. */
static cg_err run(prediction *p, size_t *bad)
{
    CG_TRY(gather(p));
    *bad = p->networks.left_out;
    if (p->o->calibrate)
        CG_TRY(tune(p, bad));
    if (p->examples.n == 0)
        return *bad || p->o->output
                    ? CG_OK
                    : cg_fail(CG_EFORMAT, "%s has no codes", p->o->codes);
    CG_TRY(predict(p));
    if (p->o->embedding)
        CG_TRY(write_embedding(p));
    if (p->o->explain)
        CG_TRY(explain(p));
    print(p);
    return CG_OK;
}

static cg_err run_all(predict_options *o, size_t *bad)
{
    prediction p = {.o = o};
    cg_dev *dev = NULL;
    CG_TRY(device_find_model(&o->model));
    if (o->embedding)
        CG_TRY(cg_cli_try_output(o->embedding));
    if (o->output)
        CG_TRY(cg_cli_try_output(o->output));
    if (o->plot)
        CG_TRY(draw_network(o->args[0], o->plot));
    cg_err err = list(&p);
    if (err == CG_OK)
        err = device_open(&dev, &o->on, (double)p.networks.table.n);
    if (err == CG_OK)
        err = cg_model_load(&p.m, dev, o->model, NULL);
    if (err == CG_OK)
        err = run(&p, bad);
    if (p.m)
        device_tell_shortage(&o->on, dev, p.m->at_once);
    prediction_free(&p);
    cg_dev_close(dev);
    return err;
}

/* -- command line ---------------------------------------------------------- */

enum { OPT_MODEL = 256, OPT_CODES, OPT_CODE_COLUMNS, OPT_CALIBRATE,
       OPT_COMPARE, OPT_EXPLAIN, OPT_TOP, OPT_CSV,
       OPT_EMBEDDING, OPT_PLOT, OPT_JSON };

static const struct option long_options[] = {
    {"model", required_argument, NULL, OPT_MODEL},
    {"codes", required_argument, NULL, OPT_CODES},
    {"code-columns", required_argument, NULL, OPT_CODE_COLUMNS},
    {"calibrate", required_argument, NULL, OPT_CALIBRATE},
    {"output", required_argument, NULL, 'o'},
    {"compare", no_argument, NULL, OPT_COMPARE},
    {"explain", no_argument, NULL, OPT_EXPLAIN},
    {"top", required_argument, NULL, OPT_TOP},
    {"csv", no_argument, NULL, OPT_CSV},
    {"embedding", required_argument, NULL, OPT_EMBEDDING},
    {"plot", required_argument, NULL, OPT_PLOT},
    {"json", no_argument, NULL, OPT_JSON},
    {"jobs", required_argument, NULL, 'j'},
    DEVICE_OPTIONS,
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
    case OPT_CALIBRATE: o->calibrate = arg; break;
    case 'o': o->output = arg; break;
    case OPT_COMPARE: o->compare = true; break;
    case OPT_EXPLAIN: o->explain = true; break;
    case OPT_CSV: o->csv = true; break;
    case OPT_TOP: return cg_cli_int(arg, "--top", 1, INT_MAX, &o->top);
    case OPT_EMBEDDING: o->embedding = arg; break;
    case OPT_PLOT: o->plot = arg; break;
    case OPT_JSON: o->json = true; break;
    case 'j': return cg_cli_int(arg, "--jobs", 1, 1024, &o->jobs);
    default: return device_take(&o->on, opt, arg);
    }
    return CG_OK;
}

static cg_err parse(predict_options *o, int argc, char **argv)
{
    for (int opt; (opt = getopt_long(argc, argv, "j:o:", long_options,
                                     NULL)) != -1;) {
        CG_TRY(opt == OPT_CODES ? take_codes(o, argc, argv)
                                : take(o, opt, optarg));
    }
    o->args = argv + optind;
    o->n_args = argc - optind;
    if (o->output && !o->calibrate)
        return cg_fail(CG_EUSAGE, "-o saves a model tuned by --calibrate");
    if (!o->n_args && !o->codes && !o->output)
        return cg_fail(CG_EUSAGE, "no network given; see cgpredict --help");
    if (o->csv && (o->json || o->compare || o->explain))
        return cg_fail(CG_EUSAGE, "--csv goes without --json, --compare and "
                       "--explain");
    if (o->embedding && strcmp(o->embedding, "-") == 0)
        return cg_fail(CG_EUSAGE, "--embedding wants a file: predictions go "
                       "to standard output");
    if (o->plot && (o->n_args != 1 || o->codes || strcmp(o->plot, "-") == 0))
        return cg_fail(CG_EUSAGE, "--plot wants a file, and one network");
    return CG_OK;
}

int main(int argc, char **argv)
{
    predict_options o = {.on = {"cgpredict", usage, "auto"}};
    size_t bad = 0;
    cg_err err = parse(&o, argc, argv);
    if (err == CG_OK)
        err = run_all(&o, &bad);
    int status = cg_cli_end("cgpredict", err);
    return status == 0 && bad > 0 ? 1 : status;
}
