/* cgtrain: learns to predict from packed sets of labelled networks. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "runtime/train.h"
#include "tools/cli.h"
#include "tools/device.h"
#include "tools/train.h"

static const char usage[] =
"usage: cgtrain SET.cgs... -o MODEL.safetensors [options]\n"
"       cgtrain finetune MODEL.safetensors SET.cgs... -o OUT.safetensors\n"
"Trains the members of a model, one after another, on sets made by cgzoo pack\n"
"or onnx2cg --pack, and says how well they do on networks they have not seen.\n"
"\n"
"  -o, --output FILE     the model; FILE.checkpoint is kept while it trains\n"
"  --resume              go on from FILE.checkpoint, where there is one\n"
"  --config NAME|FILE    paper (the default), best, or a file of key = value\n"
"  --set KEY=VALUE       over the configuration (repeatable)\n"
"  --keys                every key with its value and what it means\n"
"  --trace FILE          CSV: the loss of every step and the networks it saw\n"
"  -q, --quiet           no progress\n"
DEVICE_USAGE("cpu");

typedef struct options {
    cg_config config;
    bool configured; /* by --config or --set */
    const char *output, *trace;
    device_options on;
    bool resume, quiet, keys;
    char **sets;
    int n_sets;
} options;

typedef struct run {
    const options *o;
    cg_model *m;
    char *checkpoint; /* path */
    FILE *trace;
    const char *member;
    int stage, stages;
    bool terminal;
} run;

/* -- what is said on the way ----------------------------------------------- */

static void say_stage(void *user, int stage, int stages,
                      const cg_member_info *info, uint32_t n)
{
    run *r = user;
    r->member = info->line;
    r->stage = stage;
    r->stages = stages;
    if (!r->o->quiet)
        fprintf(stderr, "[%d/%d] %s: %" PRIu32 " networks\n", stage, stages,
                info->line, n);
}

static void say_progress(void *user, const cg_fit_info *i)
{
    run *r = user;
    if (!r->o->quiet)
        train_progress(i, r->terminal, i->epoch_end);
}

static void say_note(void *user, const char *text)
{
    run *r = user;
    if (!r->o->quiet)
        fprintf(stderr, "%s\n", text);
}

static void say_warning(void *user, const char *text)
{
    (void)user;
    fprintf(stderr, "cgtrain: %s\n", text);
}

static void write_trace(void *user, int64_t step, double loss,
                        const uint32_t *idx, int n)
{
    run *r = user;
    fprintf(r->trace, "%s,%" PRId64 ",%.9g,", r->member, step, loss);
    for (int i = 0; i < n; i++)
        fprintf(r->trace, "%s%" PRIu32, i ? " " : "", idx[i]);
    fputc('\n', r->trace);
}

static cg_err keep(void *user, const cg_progress *done)
{
    run *r = user;
    return cg_model_save(r->m, r->checkpoint, done);
}

/* -- what it learnt -------------------------------------------------------- */

static cg_err report_on(run *r, const cg_examples *test)
{
    cg_embedded d;
    cg_opinions o;
    CG_TRY(cg_model_embed(r->m, test, &d));
    cg_err err = cg_opinions_ask(&o, r->m, &d);
    cg_embedded_free(&d);
    CG_TRY(err);
    train_report(&o, test, NULL);
    cg_opinions_free(&o);
    return CG_OK;
}

/* Labels of two families are of different tasks: a table for each set. */
static cg_err report(run *r, const train_data *data, const cg_examples *test)
{
    uint32_t *index = cg_xcalloc((size_t)test->n + 1, sizeof *index);
    cg_err err = CG_OK;
    for (int s = 0; s < data->n_sets && err == CG_OK; s++) {
        uint32_t n = 0;
        for (uint32_t i = 0; i < test->n; i++)
            if (test->pick[i].set == data->sets[s])
                index[n++] = i;
        if (n == 0)
            continue;
        if (data->n_sets > 1)
            printf("%s, %" PRIu32 " networks held out\n",
                   data->sets[s]->family, n);
        cg_examples own = cg_examples_pick(test, index, n);
        err = report_on(r, &own);
        cg_examples_free(&own);
    }
    cg_xfree(index);
    return err;
}

/* -- one training ---------------------------------------------------------- */

static cg_err open_model(run *r, cg_dev *dev, cg_progress *from)
{
    const options *o = r->o;
    *from = (cg_progress){0, 0};
    if (!o->resume || access(r->checkpoint, F_OK) != 0)
        return cg_model_new(&r->m, dev, &o->config);
    CG_TRY(cg_model_load(&r->m, dev, r->checkpoint, from));
    const char *key = o->configured
        ? cg_config_differs(&r->m->config, &o->config) : NULL;
    if (key)
        return cg_fail(CG_EUSAGE, "%s was trained with another '%s'; leave "
                       "--config and --set out to go on", r->checkpoint, key);
    return CG_OK;
}

static cg_err train(run *r, cg_dev *dev, const train_data *data)
{
    cg_progress from;
    cg_split split;
    cg_train_hooks hooks = {r, say_stage, say_progress, say_note, keep,
                            r->trace ? write_trace : NULL, say_warning};
    CG_TRY(open_model(r, dev, &from));
    const cg_config *c = &r->m->config;
    cg_split_make(&split, &data->all, (uint32_t)c->limit, (uint64_t)c->seed);
    cg_err err = cg_train(r->m, &split, &from, &hooks);
    if (err == CG_OK)
        err = cg_model_save(r->m, r->o->output, NULL);
    if (err == CG_OK)
        err = report(r, data, &split.test);
    if (err == CG_OK)
        unlink(r->checkpoint);
    device_tell_shortage(&r->o->on, dev, r->m->at_once);
    cg_split_free(&split);
    return err;
}

static cg_err run_all(const options *o)
{
    run r = {.o = o, .terminal = isatty(STDERR_FILENO)};
    cg_dev *dev = NULL;
    train_data data = {0};
    if (asprintf(&r.checkpoint, "%s.checkpoint", o->output) < 0)
        abort();
    cg_err err = cg_cli_try_output(o->output);
    if (err == CG_OK)
        err = cg_cli_try_output(r.checkpoint);
    if (err == CG_OK)
        err = train_data_open(&data, o->sets, o->n_sets,
                              o->config.label_column);
    if (err == CG_OK)
        err = device_open(&dev, &o->on,
                          (double)data.all.n * o->config.epochs);
    if (err == CG_OK && o->trace && !(r.trace = fopen(o->trace, "w")))
        err = cg_fail(CG_EIO, "%s: %s", o->trace, strerror(errno));
    if (r.trace)
        fputs("member,step,loss,networks\n", r.trace);
    if (err == CG_OK)
        err = train(&r, dev, &data);
    if (r.trace && fclose(r.trace) != 0 && err == CG_OK)
        err = cg_fail(CG_EIO, "%s: %s", o->trace, strerror(errno));
    cg_model_free(r.m);
    train_data_free(&data);
    cg_dev_close(dev);
    free(r.checkpoint);
    return err;
}

/* -- command line ---------------------------------------------------------- */

enum { OPT_RESUME = 256, OPT_CONFIG, OPT_SET, OPT_KEYS, OPT_TRACE };

static const struct option long_options[] = {
    {"output", required_argument, NULL, 'o'},
    {"resume", no_argument, NULL, OPT_RESUME},
    {"config", required_argument, NULL, OPT_CONFIG},
    {"set", required_argument, NULL, OPT_SET},
    {"keys", no_argument, NULL, OPT_KEYS},
    {"trace", required_argument, NULL, OPT_TRACE},
    {"quiet", no_argument, NULL, 'q'},
    DEVICE_OPTIONS,
    {0},
};

static cg_err take(options *o, int opt, const char *arg)
{
    switch (opt) {
    case 'o': o->output = arg; break;
    case 'q': o->quiet = true; break;
    case OPT_RESUME: o->resume = true; break;
    case OPT_KEYS: o->keys = true; break;
    case OPT_TRACE: o->trace = arg; break;
    case OPT_CONFIG:
        o->configured = true;
        return cg_config_load(&o->config, arg);
    case OPT_SET:
        o->configured = true;
        return cg_config_set(&o->config, arg);
    default: return device_take(&o->on, opt, arg);
    }
    return CG_OK;
}

static cg_err parse(options *o, int argc, char **argv)
{
    for (int opt; (opt = getopt_long(argc, argv, "o:q", long_options,
                                     NULL)) != -1;) {
        CG_TRY(take(o, opt, optarg));
    }
    o->sets = argv + optind;
    o->n_sets = argc - optind;
    if (o->keys)
        return CG_OK;
    if (o->n_sets == 0 || !o->output)
        return cg_fail(CG_EUSAGE, "sets and -o MODEL are needed; see "
                       "cgtrain --help");
    return CG_OK;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "finetune") == 0)
        return train_finetune(argc - 1, argv + 1);
    options o = {.config = cg_config_default,
                 .on = {"cgtrain", usage, "cpu"}};
    cg_err err = parse(&o, argc, argv);
    if (err == CG_OK && o.keys)
        cg_config_help(stdout, &o.config);
    else if (err == CG_OK)
        err = run_all(&o);
    return cg_cli_end("cgtrain", err);
}
