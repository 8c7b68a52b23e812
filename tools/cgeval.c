/* cgeval: how well a model does on labelled networks, as it is and after
 * fine-tuning. */
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ir/text.h"
#include "runtime/finetune.h"
#include "runtime/metrics.h"
#include "tools/cli.h"
#include "tools/networks.h"

static const char usage[] =
"usage: cgeval --model M.safetensors SET.cgs\n"
"       cgeval --model M.safetensors --family F --labels FILE.csv[.gz]\n"
"       cgeval --model M.safetensors --onnx DIR --labels FILE.csv[.gz]\n"
"Says how well a model's members, and GENNAPE, which is all of them together,\n"
"foretell the accuracy of networks: mean absolute error (points), Spearman's\n"
"and Kendall's correlation of ranks, NDCG@10 and NDCG@50; FLOPs and numbers of\n"
"parameters beside them.\n"
"\n"
"  --family F             networks are codes of this family (cgzoo list)\n"
"  --code-columns A,B     columns that make a code (code, or else arch)\n"
"  --onnx DIR             networks are models: column file of the table\n"
"  --labels FILE          the table, or published results (docs/dataset.md)\n"
"  --label-column A       (accuracy, test_accuracy or cifar10_test)\n"
"  --without WORD         leave out codes that hold this word: none\n"
"  --held-out             of the set that the model was trained on: only the\n"
"                         networks that cgtrain kept for its test\n"
"  --finetune N           and then tuned on N of the networks, judged on the\n"
"  --seeds K (5)          others: mean and deviation of K draws,\n"
"  --seed S (1)           of seeds S, S + 1, ...\n"
"  --member NAME          one of them: kgnn, cl_t, ..., flops, gennape\n"
"  --bootstrap B          resamples for the 95 % interval of SRCC (1000; none\n"
"                         for more than 20000 networks)\n"
"  --json                 one object a line\n"
"  --device cpu|cuda|auto (cpu), --threads N (all)\n"
"  -j, --jobs N           threads that make graphs (all)\n"
"  --version, --help\n";

enum { GENNAPE = CG_MEMBER_COUNT, EVERYONE = -1 };
enum { MANY = 20000 };
enum { MAE, MAE80, SRCC, KT, NDCG10, NDCG50, FIGURES };

typedef struct eval_options {
    const char *model, *set, *family, *onnx, *without, *device;
    pack_options labels;
    int member, finetune, seeds, first, bootstrap, threads, jobs;
    bool held_out, json;
} eval_options;

typedef struct eval {
    const eval_options *o;
    cg_model *m;
    networks networks;
    cg_set *set;          /* borrowed from networks, or opened */
    cg_examples examples; /* what is judged */
    cg_embedded embedded;
    int seed;             /* at hand */
    bool progress;
} eval;

/* Figures of one member; after fine-tuning of several seeds. */
typedef struct row {
    const char *name, *line;
    uint32_t n;
    int seeds, tuned; /* tuned: samples, 0: none */
    double *figure[FIGURES]; /* (seeds) */
    cg_interval srcc;
} row;

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

static void row_make(row *r, int id, int seeds, int tuned)
{
    *r = (row){.name = "gennape", .line = "GENNAPE", .seeds = seeds,
               .tuned = tuned, .srcc = {NAN, NAN}};
    if (id != GENNAPE) {
        r->name = cg_member_table[id].name;
        r->line = cg_member_table[id].line;
    }
    for (int f = 0; f < FIGURES; f++)
        r->figure[f] = cg_xcalloc((size_t)seeds, sizeof(double));
}

static void row_free(row *r)
{
    for (int f = 0; f < FIGURES; f++)
        cg_xfree(r->figure[f]);
}

/* accuracy NULL: none is predicted. */
static void judge(row *r, int seed, const cg_examples *e, const double *score,
                  const double *accuracy)
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
static double mean_of(const row *r, int f, double *sd)
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

static void print_json(const eval *v, const row *r)
{
    printf("{\"member\": \"%s\", \"family\": ", r->name);
    cg_print_json_string(stdout, v->set->family);
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
    if (!r->tuned && v->o->bootstrap != 0) {
        print_number("srcc_low", r->srcc.low);
        print_number("srcc_high", r->srcc.high);
    }
    printf("}\n");
}

static void print_row(const row *r, bool intervals)
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

static void print_title(const eval *v, uint32_t n, int tuned, bool intervals)
{
    if (tuned)
        printf("\n%s, tuned on %d of them and judged on the other %" PRIu32
               ": %d seeds\n", v->set->family, tuned, n, v->o->seeds);
    else
        printf("%s, %" PRIu32 " networks\n", v->set->family, n);
    printf("%-18s", "member");
    for (int f = 0; f < FIGURES; f++) {
        printf(" %*s", tuned ? 16 : 8, figures[f].title);
        if (f == SRCC && intervals)
            printf(" %18s", "95 %");
    }
    putchar('\n');
}

/* rows (CG_MEMBER_COUNT + 1); those of whom nothing is known have seeds 0. */
static void print_rows(const eval *v, const row *rows)
{
    bool first = true;
    for (int i = 0; i <= GENNAPE; i++) {
        const row *r = &rows[i];
        bool intervals = !r->tuned && v->o->bootstrap != 0;
        if (!r->seeds)
            continue;
        if (v->o->json) {
            print_json(v, r);
            continue;
        }
        if (first)
            print_title(v, r->n, r->tuned, intervals);
        first = false;
        print_row(r, intervals);
    }
    fflush(stdout);
}

/* -- judging --------------------------------------------------------------- */

static bool asked(const eval *v, int id)
{
    return v->o->member == EVERYONE || v->o->member == id;
}

static bool there(const eval *v, int id)
{
    return id == GENNAPE ? cg_ensemble_there(v->m)
                         : cg_member_speaks(v->m, (cg_member_id)id);
}

static void make_rows(const eval *v, row *rows, int seeds, int tuned)
{
    for (int i = 0; i <= GENNAPE; i++)
        if (asked(v, i) && there(v, i))
            row_make(&rows[i], i, seeds, tuned);
}

static void add_interval(const eval *v, row *r, const cg_examples *e,
                         const double *score)
{
    cg_bootstrap b = {.metric = cg_metric_srcc, .level = .95, .seed = 1,
                      .resamples = (size_t)v->o->bootstrap};
    if (v->o->bootstrap > 0)
        r->srcc = cg_bootstrap_interval(&b, e->accuracy, score, e->n);
}

/* Fills the rows' column `seed`, the ensemble's with weights by y. */
static void judge_all(const eval *v, row *rows, int seed,
                      const cg_examples *e, const cg_opinions *o,
                      const double *weight)
{
    double *score = cg_xcalloc(2 * (size_t)e->n + 1, sizeof *score);
    double *accuracy = score + e->n;
    for (int i = 0; i < GENNAPE; i++) {
        if (!rows[i].seeds || !o->score[i])
            continue;
        judge(&rows[i], seed, e, o->score[i], o->accuracy[i]);
        if (!rows[i].tuned)
            add_interval(v, &rows[i], e, o->score[i]);
    }
    if (rows[GENNAPE].seeds) {
        cg_ensemble_score(o, weight, score);
        cg_ensemble_accuracy(o, weight, accuracy);
        judge(&rows[GENNAPE], seed, e, score, accuracy);
        if (!rows[GENNAPE].tuned)
            add_interval(v, &rows[GENNAPE], e, score);
    }
    cg_xfree(score);
}

static void free_rows(row *rows)
{
    for (int i = 0; i <= GENNAPE; i++)
        row_free(&rows[i]);
}

static cg_err zero_shot(eval *v)
{
    row rows[GENNAPE + 1] = {0};
    double weight[CG_MEMBER_COUNT];
    cg_opinions said;
    CG_TRY(cg_opinions_ask(&said, v->m, &v->embedded));
    make_rows(v, rows, 1, 0);
    cg_model_weights(v->m, &said, weight);
    judge_all(v, rows, 0, &v->examples, &said, weight);
    print_rows(v, rows);
    free_rows(rows);
    cg_opinions_free(&said);
    return CG_OK;
}

static void told(void *user, const cg_member_info *info)
{
    const eval *v = user;
    if (v->progress)
        fprintf(stderr, "\r\033[Kseed %d/%d: %s", v->seed + 1, v->o->seeds,
                info->line);
}

static cg_err tuned(eval *v)
{
    row rows[GENNAPE + 1] = {0};
    double weight[CG_MEMBER_COUNT];
    int only = v->o->member == GENNAPE ? EVERYONE : v->o->member;
    cg_err err = CG_OK;
    make_rows(v, rows, v->o->seeds, v->o->finetune);
    for (v->seed = 0; v->seed < v->o->seeds && err == CG_OK; v->seed++) {
        cg_tuned t;
        err = cg_finetune_try(&t, v->m, &v->embedded,
                              (uint32_t)v->o->finetune,
                              (uint64_t)(v->o->first + v->seed), only,
                              told, v);
        if (err != CG_OK)
            break;
        cg_ensemble_weights(&t.on_samples, t.samples.accuracy, weight);
        judge_all(v, rows, v->seed, &t.rest, &t.on_rest, weight);
        cg_tuned_free(&t);
    }
    if (v->progress)
        fputs("\r\033[K", stderr);
    if (err == CG_OK)
        print_rows(v, rows);
    free_rows(rows);
    return err;
}

/* -- what is judged -------------------------------------------------------- */

/* Of a packed set; tables are read without them. */
static cg_err leave_out(eval *v)
{
    cg_examples *e = &v->examples;
    uint32_t n = 0, *keep = cg_xcalloc((size_t)e->n + 1, sizeof *keep);
    for (uint32_t i = 0; i < e->n; i++)
        if (!networks_word(cg_set_name(v->set, e->pick[i].index),
                           v->o->without))
            keep[n++] = i;
    cg_examples some = cg_examples_pick(e, keep, n);
    cg_xfree(keep);
    cg_examples_free(e);
    *e = some;
    return n ? CG_OK
             : cg_fail(CG_EFORMAT, "all networks hold the word '%s'",
                       v->o->without);
}

static cg_err open_set(eval *v)
{
    const eval_options *o = v->o;
    networks *w = &v->networks;
    *w = (networks){.tool = "cgeval", .jobs = o->jobs, .without = o->without,
                    .form = v->m->config.form == CG_WORD_FORM_FUSED
                                ? CG_FORM_FUSED : CG_FORM_FOLDED};
    if (o->set)
        CG_TRY(cg_set_open(&w->set, o->set));
    else if (o->family)
        CG_TRY(networks_of_family(w, o->family, &o->labels));
    else
        CG_TRY(networks_of_models(w, (char *)o->onnx, &o->labels));
    if (!w->set)
        return cg_fail(CG_EFORMAT, "%s: no network is left", o->labels.labels);
    v->set = w->set;
    if (!o->set)
        v->set->path = o->labels.labels; /* for messages */
    return CG_OK;
}

static cg_err choose(eval *v)
{
    const eval_options *o = v->o;
    CG_TRY(cg_examples_of(&v->examples, v->set, o->labels.label_columns,
                          true));
    if (o->held_out) {
        cg_split split;
        const cg_config *c = &v->m->config;
        cg_split_make(&split, &v->examples, (uint32_t)c->limit,
                      (uint64_t)c->seed);
        cg_examples all = v->examples;
        v->examples = split.test;
        split.test = all;
        cg_split_free(&split);
    }
    return o->without && o->set ? leave_out(v) : CG_OK;
}

static cg_err run(eval *v, eval_options *o)
{
    cg_err err = open_set(v);
    if (err == CG_OK)
        err = choose(v);
    CG_TRY(err);
    if (o->member != EVERYONE && !there(v, o->member))
        return cg_fail(CG_EUSAGE, "%s has no member '%s'", o->model,
                       o->member == GENNAPE
                           ? "gennape" : cg_member_table[o->member].name);
    if (o->finetune)
        CG_TRY(cg_finetune_check(v->examples.n, (uint32_t)o->finetune));
    if (o->bootstrap < 0)
        o->bootstrap = v->examples.n > MANY ? 0 : 1000;
    CG_TRY(cg_model_embed(v->m, &v->examples, &v->embedded));
    CG_TRY(zero_shot(v));
    if (o->finetune)
        CG_TRY(tuned(v));
    return v->networks.left_out == 0
               ? CG_OK
               : cg_fail(CG_EFORMAT, "left out: %zu networks",
                         v->networks.left_out);
}

static cg_err run_all(eval_options *o)
{
    eval v = {.o = o, .progress = isatty(STDERR_FILENO)};
    cg_dev *dev = NULL;
    CG_TRY(cg_dev_open(&dev, o->device, o->threads));
    cg_err err = cg_model_load(&v.m, dev, o->model, NULL);
    if (err == CG_OK)
        err = run(&v, o);
    cg_embedded_free(&v.embedded);
    cg_examples_free(&v.examples);
    networks_free(&v.networks);
    cg_model_free(v.m);
    cg_dev_close(dev);
    return err;
}

/* -- command line ---------------------------------------------------------- */

enum { OPT_MODEL = 256, OPT_FAMILY, OPT_CODE_COLUMNS, OPT_ONNX, OPT_LABELS,
       OPT_LABEL_COLUMN, OPT_WITHOUT, OPT_HELD_OUT, OPT_FINETUNE, OPT_SEEDS,
       OPT_SEED, OPT_MEMBER, OPT_BOOTSTRAP, OPT_JSON, OPT_DEVICE,
       OPT_THREADS, OPT_VERSION, OPT_HELP };

static const struct option long_options[] = {
    {"model", required_argument, NULL, OPT_MODEL},
    {"family", required_argument, NULL, OPT_FAMILY},
    {"code-columns", required_argument, NULL, OPT_CODE_COLUMNS},
    {"onnx", required_argument, NULL, OPT_ONNX},
    {"labels", required_argument, NULL, OPT_LABELS},
    {"label-column", required_argument, NULL, OPT_LABEL_COLUMN},
    {"without", required_argument, NULL, OPT_WITHOUT},
    {"held-out", no_argument, NULL, OPT_HELD_OUT},
    {"finetune", required_argument, NULL, OPT_FINETUNE},
    {"seeds", required_argument, NULL, OPT_SEEDS},
    {"seed", required_argument, NULL, OPT_SEED},
    {"member", required_argument, NULL, OPT_MEMBER},
    {"bootstrap", required_argument, NULL, OPT_BOOTSTRAP},
    {"json", no_argument, NULL, OPT_JSON},
    {"device", required_argument, NULL, OPT_DEVICE},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"jobs", required_argument, NULL, 'j'},
    {"version", no_argument, NULL, OPT_VERSION},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

static cg_err find_member(const char *name, int *out)
{
    *out = strcmp(name, "gennape") == 0 ? GENNAPE : cg_member_find(name);
    return *out >= 0 ? CG_OK
                     : cg_fail(CG_EUSAGE, "--member '%s' is not one of "
                               "runtime/members.def, nor gennape", name);
}

static cg_err take(eval_options *o, int opt, const char *arg)
{
    switch (opt) {
    case OPT_MODEL: o->model = arg; break;
    case OPT_FAMILY: o->family = arg; break;
    case OPT_CODE_COLUMNS: o->labels.code_columns = arg; break;
    case OPT_ONNX: o->onnx = arg; break;
    case OPT_LABELS: o->labels.labels = arg; break;
    case OPT_LABEL_COLUMN: o->labels.label_columns = arg; break;
    case OPT_WITHOUT: o->without = arg; break;
    case OPT_HELD_OUT: o->held_out = true; break;
    case OPT_JSON: o->json = true; break;
    case OPT_DEVICE: o->device = arg; break;
    case OPT_MEMBER: return find_member(arg, &o->member);
    case OPT_FINETUNE: return cg_cli_int(arg, "--finetune", 2, 1000000,
                                         &o->finetune);
    case OPT_SEEDS: return cg_cli_int(arg, "--seeds", 1, 1000, &o->seeds);
    case OPT_SEED: return cg_cli_int(arg, "--seed", 0, 1000000, &o->first);
    case OPT_BOOTSTRAP: return cg_cli_int(arg, "--bootstrap", 0, 1000000,
                                          &o->bootstrap);
    case OPT_THREADS: return cg_cli_int(arg, "--threads", 0, 1024,
                                        &o->threads);
    case 'j': return cg_cli_int(arg, "--jobs", 1, 1024, &o->jobs);
    default: return cg_fail(CG_EUSAGE, "see cgeval --help");
    }
    return CG_OK;
}

static cg_err check(const eval_options *o)
{
    int sources = (o->set != NULL) + (o->family != NULL) + (o->onnx != NULL);
    if (!o->model || sources != 1)
        return cg_fail(CG_EUSAGE, "--model and either a set, --family or "
                       "--onnx are needed; see cgeval --help");
    if (o->set ? o->labels.labels != NULL : !o->labels.labels)
        return cg_fail(CG_EUSAGE, o->set
            ? "a set has its own labels: --labels goes with --family and "
              "--onnx"
            : "--family and --onnx want --labels FILE");
    if (o->held_out && !o->set)
        return cg_fail(CG_EUSAGE, "--held-out goes with a set");
    return CG_OK;
}

static cg_err parse(eval_options *o, int argc, char **argv)
{
    for (int opt; (opt = getopt_long(argc, argv, "j:", long_options,
                                     NULL)) != -1;) {
        if (opt == OPT_HELP || opt == OPT_VERSION) {
            fputs(opt == OPT_HELP ? usage : cg_cli_version("cgeval"), stdout);
            exit(0);
        }
        CG_TRY(take(o, opt, optarg));
    }
    if (argc - optind > 1)
        return cg_fail(CG_EUSAGE, "one set at a time, not '%s' as well",
                       argv[optind + 1]);
    o->set = optind < argc ? argv[optind] : NULL;
    return check(o);
}

int main(int argc, char **argv)
{
    eval_options o = {.device = "cpu", .member = EVERYONE, .seeds = 5,
                      .first = 1, .bootstrap = -1};
    cg_err err = parse(&o, argc, argv);
    if (err == CG_OK)
        err = run_all(&o);
    return cg_cli_end("cgeval", err);
}
