/* cgtrain finetune: a model learns a few networks of another family, and is
 * kept. */
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/array.h"
#include "runtime/finetune.h"
#include "tools/cli.h"
#include "tools/device.h"
#include "tools/train.h"

static const char usage[] =
"usage: cgtrain finetune MODEL.safetensors SET.cgs... -o OUT.safetensors\n"
"Every member of a model learns some networks of another family, one at a\n"
"time; the model that comes of it weighs its members by how well they order\n"
"those. Of a model of nets a Gaussian process learns them instead. Says how\n"
"well they then do on the others.\n"
"\n"
"  -o, --output FILE     the model; whole or not at all; may be MODEL\n"
"  --samples N           networks that are learnt, drawn by the seed (all, but\n"
"                        at most 200)\n"
"  --seed S              of samples, order and dropout (1)\n"
"  --set KEY=VALUE       finetune_epochs, lr, head_lr, schedule, warmup,\n"
"                        clip, decay, label_column (repeatable)\n"
"  -q, --quiet           no progress\n"
DEVICE_USAGE("cpu");

enum { MOST_SAMPLES = 200 };

typedef struct tune_options {
    const char *model, *output;
    device_options on;
    int samples, seed; /* samples 0: not given */
    bool quiet;
    CG_ARRAY(const char *) set; /* key=value */
    char **paths;
    int n_paths;
} tune_options;

typedef struct tune_run {
    const tune_options *o;
    cg_model *m;
    train_data data;
    uint32_t samples;
    bool terminal;
} tune_run;

/* -- what is said on the way ----------------------------------------------- */

static void say_member(void *user, int member, int members,
                       const cg_member_info *info)
{
    const tune_run *r = user;
    if (!r->o->quiet)
        fprintf(stderr, "[%d/%d] %s: %" PRIu32 " networks\n", member, members,
                info->line, r->samples);
}

/* One line a member: its epochs are short. */
static void say_progress(void *user, const cg_fit_info *i)
{
    const tune_run *r = user;
    if (!r->o->quiet)
        train_progress(i, r->terminal, i->epoch_end && i->epoch == i->epochs);
}

static void report(const tune_run *r, const cg_tuned *t)
{
    double weight[CG_MEMBER_COUNT];
    cg_model_weights(r->m, &t->on_rest, weight);
    printf("%s, tuned on %" PRIu32 " networks", r->data.sets[0]->family,
           t->samples.n);
    if (t->rest.n > 0)
        printf(" and judged on the other %" PRIu32, t->rest.n);
    putchar('\n');
    train_report(&t->on_rest, &t->rest, weight);
}

/* -- tuning ---------------------------------------------------------------- */

/* Keys that say how a member learns may change; what it is may not. The column
 * of the labels is this family's, and not the model's. */
static cg_err configure(tune_run *r, char *label, size_t size)
{
    cg_config *own = &r->m->config, c = *own, same;
    *c.label_column = '\0';
    for (size_t i = 0; i < r->o->set.len; i++)
        CG_TRY(cg_config_set(&c, r->o->set.data[i]));
    snprintf(label, size, "%s", c.label_column);
    snprintf(c.label_column, sizeof c.label_column, "%s", own->label_column);
    same = c;
    same.finetune_epochs = own->finetune_epochs;
    same.lr = own->lr;
    same.head_lr = own->head_lr;
    same.schedule = own->schedule;
    same.warmup = own->warmup;
    same.clip = own->clip;
    same.decay = own->decay;
    const char *key = cg_config_differs(&same, own);
    *own = c;
    return key ? cg_fail(CG_EUSAGE, "--set %s: the model was trained with "
                         "another one, which tuning cannot change", key)
               : CG_OK;
}

static cg_err tune(tune_run *r)
{
    cg_tune_hooks hooks = {r, say_member, say_progress};
    cg_embedded family;
    cg_tuned t;
    uint32_t all = r->data.all.n;
    r->samples = r->o->samples ? (uint32_t)r->o->samples
                 : all < MOST_SAMPLES ? all : MOST_SAMPLES;
    CG_TRY(cg_model_embed(r->m, &r->data.all, &family));
    cg_err err = cg_finetune_model(&t, r->m, &family, r->samples,
                                   (uint64_t)r->o->seed, &hooks);
    cg_embedded_free(&family);
    CG_TRY(err);
    err = cg_model_save(r->m, r->o->output, NULL);
    if (err == CG_OK)
        report(r, &t);
    cg_tuned_free(&t);
    return err;
}

static cg_err run(tune_run *r, cg_dev *dev)
{
    const tune_options *o = r->o;
    char label[CG_CONFIG_TEXT_MAX];
    CG_TRY(cg_cli_try_output(o->output));
    CG_TRY(cg_model_load(&r->m, dev, o->model, NULL));
    if (cg_finetune_members(r->m) == 0)
        return cg_fail(CG_EFORMAT, "%s has no trained member that could be "
                       "tuned", o->model);
    CG_TRY(configure(r, label, sizeof label));
    CG_TRY(train_data_open(&r->data, o->paths, o->n_paths, label));
    return tune(r);
}

static cg_err run_all(const tune_options *o)
{
    tune_run r = {.o = o, .terminal = isatty(STDERR_FILENO)};
    cg_dev *dev;
    CG_TRY(device_open(&dev, &o->on, 0));
    cg_err err = run(&r, dev);
    train_data_free(&r.data);
    cg_model_free(r.m);
    cg_dev_close(dev);
    return err;
}

/* -- command line ---------------------------------------------------------- */

enum { OPT_SAMPLES = 256, OPT_SEED, OPT_SET };

static const struct option long_options[] = {
    {"output", required_argument, NULL, 'o'},
    {"samples", required_argument, NULL, OPT_SAMPLES},
    {"seed", required_argument, NULL, OPT_SEED},
    {"set", required_argument, NULL, OPT_SET},
    {"quiet", no_argument, NULL, 'q'},
    DEVICE_OPTIONS,
    {0},
};

static cg_err take(tune_options *o, int opt, const char *arg)
{
    cg_config scratch = cg_config_default;
    switch (opt) {
    case 'o': o->output = arg; break;
    case 'q': o->quiet = true; break;
    case OPT_SAMPLES: return cg_cli_int(arg, "--samples", 2, 10000000,
                                        &o->samples);
    case OPT_SEED: return cg_cli_int(arg, "--seed", 0, 1000000, &o->seed);
    case OPT_SET: /* better now than when the model is there */
        cg_array_push(&o->set, arg);
        return cg_config_set(&scratch, arg);
    default: return device_take(&o->on, opt, arg);
    }
    return CG_OK;
}

static cg_err parse(tune_options *o, int argc, char **argv)
{
    for (int opt; (opt = getopt_long(argc, argv, "o:q", long_options,
                                     NULL)) != -1;) {
        CG_TRY(take(o, opt, optarg));
    }
    if (argc - optind < 2 || !o->output)
        return cg_fail(CG_EUSAGE, "a model, sets and -o OUT are needed; see "
                       "cgtrain finetune --help");
    o->model = argv[optind];
    o->paths = argv + optind + 1;
    o->n_paths = argc - optind - 1;
    return CG_OK;
}

int train_finetune(int argc, char **argv)
{
    tune_options o = {.on = {"cgtrain", usage, "cpu"}, .seed = 1};
    cg_err err = parse(&o, argc, argv);
    if (err == CG_OK)
        err = run_all(&o);
    cg_array_free(&o.set);
    return cg_cli_end("cgtrain", err);
}
