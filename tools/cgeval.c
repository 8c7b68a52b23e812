/* cgeval: how well a model does on labelled networks, as it is and after
 * fine-tuning. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/finetune.h"
#include "tools/cli.h"
#include "tools/device.h"
#include "tools/eval_rows.h"
#include "tools/networks.h"
#include "tools/pictures.h"

static const char usage[] =
"usage: cgeval [--model FILE] SET.cgs...\n"
"       cgeval [--model FILE] --family F --labels FILE.csv[.gz]\n"
"       cgeval [--model FILE] --onnx DIR --labels FILE.csv[.gz]\n"
"Says how well a model's members, and GENNAPE, which is all of them together,\n"
"foretell the accuracy of networks: mean absolute error (points), Spearman's\n"
"and Kendall's correlation of ranks, NDCG@10 and NDCG@50; FLOPs and numbers of\n"
"parameters beside them.\n"
"\n"
"  --model FILE           made by cgtrain; otherwise the one that comes with\n"
"                         the program\n"
"  --family F             networks are codes of this family (cgzoo list)\n"
"  --code-columns A,B     columns that make a code (code, or else arch)\n"
"  --onnx DIR             networks are models: column file of the table\n"
"  --labels FILE          the table, or published results (docs/dataset.md)\n"
"  --label-column A       (accuracy, test_accuracy or cifar10_test)\n"
"  --without WORD         leave out codes that hold this word: none\n"
"  --held-out             of the sets that the model was trained on, all of\n"
"                         them in the same order: only the networks that\n"
"                         cgtrain kept for its test\n"
"  --finetune N           and then tuned on N of the networks, judged on the\n"
"  --seeds K (5)          others: mean and deviation of K draws,\n"
"  --seed S (1)           of seeds S, S + 1, ...; S draws for pictures too\n"
"  --member NAME          one of them: kgnn, cl_t, ..., flops, gennape\n"
"  --bootstrap B          resamples for the 95 % interval of SRCC (1000; none\n"
"                         for more than 20000 networks)\n"
"  --plot DIR             pictures (SVG) of all sets together: accuracy.svg,\n"
"                         flops.svg, tsne.svg, and for each member that\n"
"                         predicts one predicted_MEMBER.svg\n"
"  --json                 one object a line\n"
"  -j, --jobs N           threads that make graphs (all)\n"
DEVICE_USAGE("cpu");

enum { EVERYONE = -1, MANY = 20000 };

typedef struct eval_options {
    const char *model, *family, *onnx, *without, *plot;
    device_options on;
    pack_options labels;
    int member, finetune, seeds, first, bootstrap, jobs;
    bool held_out, json;
    char **sets;
    int n_sets;
} eval_options;

typedef struct source { /* of one family */
    cg_set *set;
    cg_examples examples; /* what is judged */
} source;

typedef struct eval {
    const eval_options *o;
    cg_model *m;
    networks networks; /* of a table */
    source *source;    /* (n_sources) */
    int n_sources, judged, bad; /* bad: sets that were named on stderr */
    source *s;                  /* at hand, as are */
    cg_embedded embedded;
    int seed;
    bool intervals, progress;
    pictures *pictures; /* NULL: none are wanted */
} eval;

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

static void make_rows(const eval *v, eval_row *rows, int seeds, int tuned)
{
    for (int i = 0; i < ROWS; i++)
        if (asked(v, i) && there(v, i))
            row_make(&rows[i], i, seeds, tuned);
}

static void add_interval(const eval *v, eval_row *r, const cg_examples *e,
                         const double *score)
{
    int resamples = v->o->bootstrap < 0 ? 1000 : v->o->bootstrap;
    cg_bootstrap b = {.metric = cg_metric_srcc, .level = .95, .seed = 1,
                      .resamples = (size_t)resamples};
    if (v->intervals)
        r->srcc = cg_bootstrap_interval(&b, e->accuracy, score, e->n);
}

/* Column `seed` of a row. Intervals and pictures are of the model as it is. */
static void judge(const eval *v, eval_row *r, int seed, const cg_examples *e,
                  const double *score, const double *accuracy)
{
    row_judge(r, seed, e, score, accuracy);
    if (r->tuned)
        return;
    add_interval(v, r, e, score);
    bool percent = accuracy && e->n && !isnan(accuracy[0]);
    if (v->pictures && (percent || strcmp(r->name, "gennape") == 0))
        pictures_member(v->pictures, r->name, r->line, percent,
                        percent ? accuracy : score);
}

/* Fills the rows' column `seed`, the ensemble's with weights by y. */
static void judge_all(const eval *v, eval_row *rows, int seed,
                      const cg_examples *e, const cg_opinions *o,
                      const double *weight)
{
    double *score = cg_xcalloc(2 * (size_t)e->n + 1, sizeof *score);
    double *accuracy = score + e->n;
    for (int i = 0; i < GENNAPE; i++)
        if (rows[i].seeds && o->score[i])
            judge(v, &rows[i], seed, e, o->score[i], o->accuracy[i]);
    if (rows[GENNAPE].seeds) {
        cg_ensemble_score(o, weight, score);
        cg_ensemble_accuracy(o, weight, accuracy);
        judge(v, &rows[GENNAPE], seed, e, score, accuracy);
    }
    cg_xfree(score);
}

/* The family, or of two sets of one family their files. */
static const char *name_of(const eval *v)
{
    const cg_set *own = v->s->set;
    const char *base = strrchr(own->path, '/');
    for (int i = 0; i < v->n_sources; i++)
        if (v->source[i].set != own &&
            strcmp(v->source[i].set->family, own->family) == 0)
            return base ? base + 1 : own->path;
    return own->family;
}

static cg_err zero_shot(eval *v)
{
    eval_row rows[ROWS] = {0};
    double weight[CG_MEMBER_COUNT];
    cg_opinions said;
    CG_TRY(cg_opinions_ask(&said, v->m, &v->embedded));
    if (v->pictures)
        pictures_family(v->pictures, name_of(v), &v->s->examples,
                        &v->embedded);
    make_rows(v, rows, 1, 0);
    cg_model_weights(v->m, &said, weight);
    judge_all(v, rows, 0, &v->s->examples, &said, weight);
    if (v->judged && !v->o->json)
        putchar('\n');
    rows_print(rows, v->s->set->family, v->o->json, v->intervals);
    rows_free(rows);
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
    eval_row rows[ROWS] = {0};
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
        rows_print(rows, v->s->set->family, v->o->json, false);
    rows_free(rows);
    return err;
}

/* -- what is judged -------------------------------------------------------- */

static void complain(eval *v)
{
    fprintf(stderr, "cgeval: %s\n", cg_error());
    v->bad++;
}

/* Of a packed set; tables are read without them. */
static cg_err leave_out(source *s, const char *without)
{
    cg_examples *e = &s->examples;
    uint32_t n = 0, *index = cg_xcalloc((size_t)e->n + 1, sizeof *index);
    for (uint32_t i = 0; i < e->n; i++)
        if (!networks_word(cg_set_name(s->set, e->pick[i].index), without))
            index[n++] = i;
    cg_examples some = cg_examples_pick(e, index, n);
    cg_xfree(index);
    cg_examples_free(e);
    *e = some;
    return n ? CG_OK
             : cg_fail(CG_EFORMAT, "%s: all networks hold the word '%s'",
                       s->set->path, without);
}

static cg_err open_set(source *s, const eval_options *o, const char *path)
{
    CG_TRY(cg_set_open(&s->set, path));
    return cg_examples_of(&s->examples, s->set, o->labels.label_columns,
                          true);
}

static void close_set(source *s)
{
    cg_examples_free(&s->examples);
    cg_set_close(s->set);
    *s = (source){0};
}

/* One that cannot be read is left out, but where others would be judged by
 * other networks without it. */
static cg_err open_sets(eval *v)
{
    const eval_options *o = v->o;
    for (int i = 0; i < o->n_sets; i++) {
        source *s = &v->source[v->n_sources];
        cg_err err = open_set(s, o, o->sets[i]);
        v->n_sources += err == CG_OK;
        if (err == CG_OK)
            continue;
        close_set(s);
        if (o->n_sets == 1 || o->held_out)
            return err;
        complain(v);
    }
    return CG_OK;
}

static cg_err open_table(eval *v)
{
    const eval_options *o = v->o;
    networks *w = &v->networks;
    *w = (networks){.tool = "cgeval", .jobs = o->jobs, .without = o->without,
                    .form = v->m->config.form == CG_WORD_FORM_FUSED
                                ? CG_FORM_FUSED : CG_FORM_FOLDED};
    if (o->family)
        CG_TRY(networks_of_family(w, o->family, &o->labels));
    else
        CG_TRY(networks_of_models(w, (char *)o->onnx, &o->labels));
    if (w->sets.len == 0)
        return cg_fail(CG_EFORMAT, "%s: no network is left", o->labels.labels);
    v->source[0].set = w->sets.data[--w->sets.len];
    v->source[0].set->path = o->labels.labels; /* for messages */
    v->n_sources = 1;
    return cg_examples_of(&v->source[0].examples, v->source[0].set,
                          o->labels.label_columns, true);
}

/* cgtrain draws from all its sets together. */
static void hold_out(eval *v)
{
    const cg_config *c = &v->m->config;
    cg_examples all = {0};
    cg_split split;
    for (int i = 0; i < v->n_sources; i++)
        cg_examples_add(&all, &v->source[i].examples);
    cg_split_make(&split, &all, (uint32_t)c->limit, (uint64_t)c->seed);
    const cg_examples *test = &split.test;
    uint32_t *index = cg_xcalloc((size_t)test->n + 1, sizeof *index);
    for (int i = 0; i < v->n_sources; i++) {
        uint32_t n = 0;
        for (uint32_t k = 0; k < test->n; k++)
            if (test->pick[k].set == v->source[i].set)
                index[n++] = k;
        cg_examples_free(&v->source[i].examples);
        v->source[i].examples = cg_examples_pick(test, index, n);
    }
    cg_xfree(index);
    cg_split_free(&split);
    cg_examples_free(&all);
}

static cg_err judge_source(eval *v)
{
    const eval_options *o = v->o;
    if (o->without && o->n_sets)
        CG_TRY(leave_out(v->s, o->without));
    uint32_t n = v->s->examples.n;
    cg_err err = o->finetune ? cg_finetune_check(n, (uint32_t)o->finetune)
                             : CG_OK;
    if (err != CG_OK)
        return cg_fail_in(err, "%s", v->s->set->path);
    v->intervals = o->bootstrap > 0 || (o->bootstrap < 0 && n <= MANY);
    CG_TRY(cg_model_embed(v->m, &v->s->examples, &v->embedded));
    err = zero_shot(v);
    if (err == CG_OK && o->finetune)
        err = tuned(v);
    cg_embedded_free(&v->embedded);
    v->judged += err == CG_OK;
    return err;
}

static cg_err draw(const eval *v)
{
    bool embedded;
    if (!v->pictures || !v->judged)
        return CG_OK;
    CG_TRY(pictures_write(v->pictures, &embedded));
    if (!embedded)
        fprintf(stderr, "cgeval: %s has no encoder, and so there is no "
                "tsne.svg\n", v->o->model);
    return CG_OK;
}

static cg_err run(eval *v)
{
    const eval_options *o = v->o;
    if (o->member != EVERYONE && !there(v, o->member))
        return cg_fail(CG_EUSAGE, "%s has no member '%s'", o->model,
                       o->member == GENNAPE
                           ? "gennape" : cg_member_table[o->member].name);
    if (!o->n_sets)
        CG_TRY(open_table(v));
    if (o->held_out)
        hold_out(v);
    for (int i = 0; i < v->n_sources; i++) {
        v->s = &v->source[i];
        cg_err err = judge_source(v);
        if (err != CG_OK && o->n_sets <= 1)
            return err;
        if (err != CG_OK)
            complain(v);
    }
    CG_TRY(draw(v));
    if (v->bad)
        return cg_fail(CG_EFORMAT, "left out: %d of %d sets", v->bad,
                       o->n_sets);
    return v->networks.left_out == 0
               ? CG_OK
               : cg_fail(CG_EFORMAT, "left out: %zu networks",
                         v->networks.left_out);
}

/* Of a table it is not known how many there are before the model is read. */
static cg_err load_and_run(eval *v, cg_dev **dev)
{
    const eval_options *o = v->o;
    double n = 0;
    v->source = cg_xcalloc((size_t)o->n_sets + 1, sizeof *v->source);
    CG_TRY(open_sets(v));
    for (int i = 0; i < v->n_sources; i++)
        n += v->source[i].examples.n;
    CG_TRY(device_open(dev, &o->on, n));
    CG_TRY(cg_model_load(&v->m, *dev, o->model, NULL));
    cg_err err = run(v);
    device_tell_shortage(&o->on, *dev, v->m->at_once);
    return err;
}

static cg_err run_all(eval_options *o)
{
    eval v = {.o = o, .progress = isatty(STDERR_FILENO)};
    cg_dev *dev = NULL;
    CG_TRY(device_find_model(&o->model));
    cg_err err = o->plot ? pictures_new(&v.pictures, o->plot,
                                        (uint64_t)o->first)
                         : CG_OK;
    if (err == CG_OK)
        err = load_and_run(&v, &dev);
    cg_embedded_free(&v.embedded);
    for (int i = 0; i < v.n_sources; i++)
        close_set(&v.source[i]);
    cg_xfree(v.source);
    networks_free(&v.networks);
    pictures_free(v.pictures);
    cg_model_free(v.m);
    cg_dev_close(dev);
    return err;
}

/* -- command line ---------------------------------------------------------- */

enum { OPT_MODEL = 256, OPT_FAMILY, OPT_CODE_COLUMNS, OPT_ONNX, OPT_LABELS,
       OPT_LABEL_COLUMN, OPT_WITHOUT, OPT_HELD_OUT, OPT_FINETUNE, OPT_SEEDS,
       OPT_SEED, OPT_MEMBER, OPT_BOOTSTRAP, OPT_PLOT, OPT_JSON };

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
    {"plot", required_argument, NULL, OPT_PLOT},
    {"json", no_argument, NULL, OPT_JSON},
    {"jobs", required_argument, NULL, 'j'},
    DEVICE_OPTIONS,
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
    case OPT_PLOT: o->plot = arg; break;
    case OPT_JSON: o->json = true; break;
    case OPT_MEMBER: return find_member(arg, &o->member);
    case OPT_FINETUNE: return cg_cli_int(arg, "--finetune", 2, 1000000,
                                         &o->finetune);
    case OPT_SEEDS: return cg_cli_int(arg, "--seeds", 1, 1000, &o->seeds);
    case OPT_SEED: return cg_cli_int(arg, "--seed", 0, 1000000, &o->first);
    case OPT_BOOTSTRAP: return cg_cli_int(arg, "--bootstrap", 0, 1000000,
                                          &o->bootstrap);
    case 'j': return cg_cli_int(arg, "--jobs", 1, 1024, &o->jobs);
    default: return device_take(&o->on, opt, arg);
    }
    return CG_OK;
}

static cg_err check(const eval_options *o)
{
    int sources = (o->n_sets > 0) + (o->family != NULL) + (o->onnx != NULL);
    if (sources != 1)
        return cg_fail(CG_EUSAGE, "either sets, --family or --onnx are "
                       "needed; see cgeval --help");
    if (o->n_sets ? o->labels.labels != NULL : !o->labels.labels)
        return cg_fail(CG_EUSAGE, o->n_sets
            ? "a set has its own labels: --labels goes with --family and "
              "--onnx"
            : "--family and --onnx want --labels FILE");
    if (o->held_out && !o->n_sets)
        return cg_fail(CG_EUSAGE, "--held-out goes with a set");
    return CG_OK;
}

static cg_err parse(eval_options *o, int argc, char **argv)
{
    for (int opt; (opt = getopt_long(argc, argv, "j:", long_options,
                                     NULL)) != -1;) {
        CG_TRY(take(o, opt, optarg));
    }
    o->sets = argv + optind;
    o->n_sets = argc - optind;
    return check(o);
}

int main(int argc, char **argv)
{
    eval_options o = {.on = {"cgeval", usage, "cpu"}, .member = EVERYONE,
                      .seeds = 5, .first = 1, .bootstrap = -1};
    cg_err err = parse(&o, argc, argv);
    if (err == CG_OK)
        err = run_all(&o);
    return cg_cli_end("cgeval", err);
}
