/* onnx2cg: ONNX files (or .cg text) to computation graphs. */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/map.h"
#include "tools/convert.h"

static const char usage[] =
"usage: onnx2cg [options] MODEL|DIR...\n"
"       onnx2cg --pack --labels FILE.csv -o SET.cgs [options] DIR|MODEL...\n"
"Turns ONNX models (or .cg texts) into computation graphs: atomic operators\n"
"with shapes, parameters, multiply-adds and FLOPs. No tensor over 4 KiB is\n"
"read, so weights cost nothing.\n"
"\n"
"output (default: a table)\n"
"  --stats               one JSON object a line: counts, hash, operators\n"
"  --shapes              one JSON object a line: tensor name -> dims\n"
"  --format cg|json|dot  the graph itself\n"
"  --to-onnx             the graph as an ONNX model again (or --format onnx),\n"
"                        with random weights\n"
"  --no-weights          ... or none, only their shapes\n"
"  -o, --output PATH     to a file; of several models: a directory\n"
"\n"
"what is computed\n"
"  --input-shape NAME=D,D,...  shape of an input (repeatable)\n"
"  --dim NAME=N          value of a symbolic dim; '*=N' for all others;\n"
"                        NAME=? keeps it (the batch is 1 otherwise)\n"
"  --fold-batchnorm      fold BatchNorm into the Conv or MatMul before it\n"
"  --spectrum            the 21 smallest Laplacian eigenvalues\n"
"  --strict              unknown operators and open shapes are errors\n"
"\n"
"data sets (for training; docs/dataset.md)\n"
"  --pack --labels FILE.csv  one data set (-o SET.cgs) of the models that the\n"
"                        table names in its column file\n"
"  --label-column A[,B]  (accuracy, test_accuracy or cifar10_test)\n"
"  --form folded|fused   BatchNorm folded (default), or activations too\n"
"  --no-spectrum         leave the eigenvalues out\n"
"\n"
"  -j, --jobs N          models at a time\n"
"  --print-after=PASS    the graph after a pass (or import), on stderr\n"
"  --time                milliseconds of each pass, on stderr\n"
"  -q, --quiet           no warnings\n"
"  --version, --help\n";

/* -- many models ---------------------------------------------------------- */

typedef struct pool {
    const options *o;
    result *results;
    atomic_size_t next;
    pthread_mutex_t lock;
    pthread_cond_t finished;
} pool;

static void *work(void *arg)
{
    pool *p = arg;
    for (;;) {
        size_t i = atomic_fetch_add(&p->next, 1);
        if (i >= p->o->files.len)
            return NULL;
        convert_model(p->o, p->o->files.data[i], &p->results[i]);
        pthread_mutex_lock(&p->lock);
        p->results[i].done = true;
        pthread_cond_signal(&p->finished);
        pthread_mutex_unlock(&p->lock);
    }
}

static void progress(const options *o, size_t done)
{
    if (o->quiet || o->files.len < 10 || !isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "\r%zu/%zu models%s", done, o->files.len,
            done == o->files.len ? "\n" : "");
}

/* Prints result i and lets it go; output stays in the order of the input. */
static bool print_result(const options *o, size_t i, result *r)
{
    fwrite(r->err, 1, r->err_len, stderr);
    if (r->out_len && o->format == TABLE && i > 0)
        putchar('\n');
    fwrite(r->out, 1, r->out_len, stdout);
    free(r->out);
    free(r->err);
    return r->failed;
}

static size_t run_all(const options *o)
{
    size_t n = o->files.len, failed = 0;
    pool p = {.o = o, .results = cg_xcalloc(n, sizeof(result))};
    pthread_mutex_init(&p.lock, NULL);
    pthread_cond_init(&p.finished, NULL);
    size_t threads = (size_t)o->jobs < n ? (size_t)o->jobs : n;
    pthread_t *id = cg_xcalloc(threads, sizeof *id);
    size_t started = 0;
    while (threads > 1 && started < threads &&
           pthread_create(&id[started], NULL, work, &p) == 0)
        started++;
    for (size_t i = 0; i < n; i++) {
        if (started == 0)
            convert_model(o, o->files.data[i], &p.results[i]);
        pthread_mutex_lock(&p.lock);
        while (started && !p.results[i].done)
            pthread_cond_wait(&p.finished, &p.lock);
        pthread_mutex_unlock(&p.lock);
        failed += print_result(o, i, &p.results[i]);
        progress(o, i + 1);
    }
    for (size_t i = 0; i < started; i++)
        pthread_join(id[i], NULL);
    cg_xfree(id);
    cg_xfree(p.results);
    return failed;
}

/* -- command line --------------------------------------------------------- */

static char *keep(options *o, const char *s, size_t n)
{
    char *copy = cg_xcalloc(n + 1, 1);
    memcpy(copy, s, n);
    cg_array_push(&o->owned, copy);
    return copy;
}

static cg_err parse_number(const char *s, char **end, int64_t *out)
{
    errno = 0;
    long long v = strtoll(s, end, 10);
    if (*end == s || errno || v < 0)
        return cg_fail(CG_EUSAGE, "'%s' is not a size", s);
    *out = v;
    return CG_OK;
}

/* NAME=1,3,224,224; the last '=' (or else ':') ends the name, since names may
 * hold either. */
static cg_err parse_shape(options *o, const char *arg)
{
    const char *eq = strrchr(arg, '=');
    if (!eq)
        eq = strrchr(arg, ':');
    if (!eq || eq == arg)
        return cg_fail(CG_EUSAGE,
                       "--input-shape wants NAME=D,D,..., not '%s'", arg);
    cg_input_shape s = {.name = keep(o, arg, (size_t)(eq - arg))};
    const char *p = eq + 1;
    while (*p) {
        char *end;
        if (s.rank == CG_MAX_RANK)
            return cg_fail(CG_EUSAGE, "more than %d dims in '%s'",
                           CG_MAX_RANK, arg);
        CG_TRY(parse_number(p, &end, &s.dims[s.rank++]));
        if (*end && ((*end != ',' && *end != 'x') || !end[1]))
            return cg_fail(CG_EUSAGE, "'%s' is not a shape", eq + 1);
        p = *end ? end + 1 : end;
    }
    cg_array_push(&o->shapes, s);
    return CG_OK;
}

static cg_err parse_dim(options *o, const char *arg)
{
    const char *eq = strrchr(arg, '=');
    cg_dim_binding b;
    char *end;
    if (!eq || eq == arg)
        return cg_fail(CG_EUSAGE, "--dim wants NAME=N, not '%s'", arg);
    b.value = CG_DIM_OPEN;
    if (strcmp(eq + 1, "?") != 0) {
        CG_TRY(parse_number(eq + 1, &end, &b.value));
        if (*end)
            return cg_fail(CG_EUSAGE, "'%s' is not a size", eq + 1);
    }
    b.name = keep(o, arg, (size_t)(eq - arg));
    cg_array_push(&o->dims, b);
    return CG_OK;
}

static cg_err parse_format(options *o, const char *arg)
{
    static const struct { const char *name; format f; } formats[] = {
        {"cg", CG}, {"json", JSON}, {"dot", DOT}, {"onnx", MODEL},
        {"table", TABLE}};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(arg, formats[i].name) == 0) {
            o->format = formats[i].f;
            return CG_OK;
        }
    return cg_fail(CG_EUSAGE, "--format is cg, json, dot, onnx or table, not "
                   "'%s'", arg);
}

static cg_err parse_print_after(options *o, const char *arg)
{
    o->print_after = strcmp(arg, "import") == 0 ? CG_PASS_COUNT
                                                : cg_pass_find(arg);
    if (o->print_after >= 0)
        return CG_OK;
    char names[256] = "import";
    for (int i = 0; i < CG_PASS_COUNT; i++) {
        strcat(names, ", ");
        strcat(names, cg_pass_table[i].name);
    }
    return cg_fail(CG_EUSAGE, "no pass '%s'; there are: %s", arg, names);
}

enum { OPT_STATS = 256, OPT_SHAPES, OPT_FORMAT, OPT_INPUT_SHAPE, OPT_DIM,
       OPT_FOLD_BN, OPT_SPECTRUM, OPT_STRICT, OPT_PRINT_AFTER, OPT_TIME,
       OPT_TO_ONNX, OPT_NO_WEIGHTS, OPT_PACK, OPT_LABELS, OPT_LABEL_COLUMN,
       OPT_FORM, OPT_NO_SPECTRUM, OPT_VERSION, OPT_HELP };

static const struct option long_options[] = {
    {"stats", no_argument, NULL, OPT_STATS},
    {"shapes", no_argument, NULL, OPT_SHAPES},
    {"format", required_argument, NULL, OPT_FORMAT},
    {"to-onnx", no_argument, NULL, OPT_TO_ONNX},
    {"no-weights", no_argument, NULL, OPT_NO_WEIGHTS},
    {"output", required_argument, NULL, 'o'},
    {"input-shape", required_argument, NULL, OPT_INPUT_SHAPE},
    {"dim", required_argument, NULL, OPT_DIM},
    {"fold-batchnorm", no_argument, NULL, OPT_FOLD_BN},
    {"spectrum", no_argument, NULL, OPT_SPECTRUM},
    {"strict", no_argument, NULL, OPT_STRICT},
    {"pack", no_argument, NULL, OPT_PACK},
    {"labels", required_argument, NULL, OPT_LABELS},
    {"label-column", required_argument, NULL, OPT_LABEL_COLUMN},
    {"form", required_argument, NULL, OPT_FORM},
    {"no-spectrum", no_argument, NULL, OPT_NO_SPECTRUM},
    {"jobs", required_argument, NULL, 'j'},
    {"print-after", required_argument, NULL, OPT_PRINT_AFTER},
    {"time", no_argument, NULL, OPT_TIME},
    {"quiet", no_argument, NULL, 'q'},
    {"version", no_argument, NULL, OPT_VERSION},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

static cg_err parse_jobs(options *o, const char *arg)
{
    char *end;
    int64_t n = 0;
    CG_TRY(parse_number(arg, &end, &n));
    if (*end || n < 1 || n > 1024)
        return cg_fail(CG_EUSAGE, "--jobs is 1 to 1024, not '%s'", arg);
    o->jobs = o->pack_opts.jobs = (int)n;
    return CG_OK;
}

static cg_err parse_form(options *o, const char *arg)
{
    int form = cg_form_find(arg);
    if (form < 0)
        return cg_fail(CG_EUSAGE, "--form is folded or fused, not '%s'", arg);
    o->pack_opts.form = (cg_form)form;
    return CG_OK;
}

static cg_err parse_option(options *o, int c, const char *arg)
{
    switch (c) {
    case OPT_STATS: o->format = STATS; return CG_OK;
    case OPT_SHAPES: o->format = SHAPES; return CG_OK;
    case OPT_FORMAT: return parse_format(o, arg);
    case OPT_TO_ONNX: o->format = MODEL; return CG_OK;
    case OPT_NO_WEIGHTS: o->no_weights = true; return CG_OK;
    case 'o': o->output = o->pack_opts.output = arg; return CG_OK;
    case OPT_PACK: o->pack = true; return CG_OK;
    case OPT_LABELS: o->pack_opts.labels = arg; return CG_OK;
    case OPT_LABEL_COLUMN: o->pack_opts.label_columns = arg; return CG_OK;
    case OPT_FORM: return parse_form(o, arg);
    case OPT_NO_SPECTRUM: o->pack_opts.no_spectrum = true; return CG_OK;
    case OPT_INPUT_SHAPE: return parse_shape(o, arg);
    case OPT_DIM: return parse_dim(o, arg);
    case OPT_FOLD_BN: o->wanted |= CG_HAS(fold_batchnorm); return CG_OK;
    case OPT_SPECTRUM: o->wanted |= CG_HAS(spectrum); return CG_OK;
    case OPT_STRICT: o->onnx.strict = true; return CG_OK;
    case 'j': return parse_jobs(o, arg);
    case OPT_PRINT_AFTER: return parse_print_after(o, arg);
    case OPT_TIME: o->time = true; return CG_OK;
    case 'q': o->quiet = true; return CG_OK;
    }
    return cg_fail(CG_EUSAGE, "unknown option");
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A directory stands for its .onnx files, sorted. */
static cg_err add_input(options *o, const char *path)
{
    struct stat st;
    if (strcmp(path, "-") == 0 || stat(path, &st) != 0 ||
        !S_ISDIR(st.st_mode)) {
        cg_array_push(&o->files, strdup(path));
        return CG_OK;
    }
    o->several = true;
    DIR *dir = opendir(path);
    if (!dir)
        return cg_fail(CG_EIO, "%s: cannot open: %s", path, strerror(errno));
    size_t first = o->files.len;
    for (struct dirent *d; (d = readdir(dir));) {
        size_t n = strlen(d->d_name);
        char *file;
        if (n > 5 && strcmp(d->d_name + n - 5, ".onnx") == 0 &&
            asprintf(&file, "%s/%s", path, d->d_name) >= 0)
            cg_array_push(&o->files, file);
    }
    closedir(dir);
    if (o->files.len == first)
        return cg_fail(CG_EIO, "%s: no .onnx file in this directory", path);
    qsort(o->files.data + first, o->files.len - first, sizeof *o->files.data,
          by_name);
    return CG_OK;
}

/* Two inputs of one name would overwrite each other's output. */
static cg_err check_outputs(const options *o)
{
    if (!o->several || !o->output)
        return CG_OK;
    if (mkdir(o->output, 0777) != 0 && errno != EEXIST)
        return cg_fail(CG_EIO, "cannot make directory %s: %s", o->output,
                       strerror(errno));
    cg_map seen = {0};
    cg_err err = CG_OK;
    CG_ARRAY(char *) paths = {0};
    for (size_t i = 0; i < o->files.len && err == CG_OK; i++) {
        char *path = convert_output_path(o, o->files.data[i]);
        cg_array_push(&paths, path);
        if (cg_map_get(&seen, path))
            err = cg_fail(CG_EUSAGE, "%s and %s would both be written to %s",
                          (char *)cg_map_get(&seen, path), o->files.data[i],
                          path);
        cg_map_put(&seen, path, o->files.data[i]);
    }
    for (size_t i = 0; i < paths.len; i++)
        free(paths.data[i]);
    cg_array_free(&paths);
    cg_map_free(&seen);
    return err;
}

static cg_err finish_pack(const options *o)
{
    if (!o->pack_opts.labels || !o->output)
        return cg_fail(CG_EUSAGE, "--pack wants --labels FILE.csv and -o "
                       "SET.cgs");
    if (o->format != TABLE)
        return cg_fail(CG_EUSAGE, "--pack makes a data set and no other "
                       "format");
    return CG_OK;
}

static cg_err finish_options(options *o, int argc, char **argv)
{
    o->onnx.shapes = o->shapes.data;
    o->onnx.n_shapes = o->shapes.len;
    o->onnx.dims = o->dims.data;
    o->onnx.n_dims = o->dims.len;
    if (optind == argc)
        return cg_fail(CG_EUSAGE, "no model given");
    if (o->pack)
        return finish_pack(o);
    if (o->pack_opts.labels)
        return cg_fail(CG_EUSAGE, "--labels goes with --pack");
    o->several = argc - optind > 1;
    for (int i = optind; i < argc; i++)
        CG_TRY(add_input(o, argv[i]));
    if (o->several && !o->output && o->format >= CG)
        return cg_fail(CG_EUSAGE,
                       "graphs of several models need -o DIRECTORY");
    if (o->output && o->format == TABLE)
        o->format = CG;
    if (o->no_weights && o->format != MODEL)
        return cg_fail(CG_EUSAGE, "--no-weights goes with --to-onnx");
    if (o->format == MODEL && !o->output && isatty(STDOUT_FILENO))
        return cg_fail(CG_EUSAGE, "a model is binary: give -o FILE");
    if (o->format == SHAPES)
        o->wanted = CG_HAS(shapes);
    else
        o->wanted |= CG_HAS(flops) | CG_HAS(hash);
    return check_outputs(o);
}

static void free_options(options *o)
{
    for (size_t i = 0; i < o->files.len; i++)
        free(o->files.data[i]);
    for (size_t i = 0; i < o->owned.len; i++)
        cg_xfree(o->owned.data[i]);
    cg_array_free(&o->files);
    cg_array_free(&o->owned);
    cg_array_free(&o->shapes);
    cg_array_free(&o->dims);
}

int main(int argc, char **argv)
{
    options o = {.print_after = -1, .jobs = 1, .pack_opts.tool = "onnx2cg"};
    cg_err err = CG_OK;
    for (int c; err == CG_OK &&
                (c = getopt_long(argc, argv, "o:j:q", long_options, NULL)) >= 0;) {
        if (c == OPT_HELP || c == OPT_VERSION) {
            fputs(c == OPT_HELP ? usage
                                : "onnx2cg (gennape) " GENNAPE_VERSION "\n",
                  stdout);
            free_options(&o);
            return 0;
        }
        if (c == '?') {
            fputs("try 'onnx2cg --help'\n", stderr);
            free_options(&o);
            return 2;
        }
        err = parse_option(&o, c, optarg);
    }
    if (err == CG_OK)
        err = finish_options(&o, argc, argv);
    bool packed = err == CG_OK && o.pack;
    if (packed)
        err = pack_models(&o, argv + optind, (size_t)(argc - optind));
    int status = err == CG_OK ? 0 : err == CG_EUSAGE ? 2 : 1;
    if (err == CG_OK && !packed && run_all(&o) > 0)
        status = 1;
    else if (err != CG_OK)
        fprintf(stderr, "onnx2cg: %s\n", cg_error());
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "onnx2cg: cannot write standard output: %s\n",
                strerror(errno));
        status = 1;
    }
    free_options(&o);
    return status;
}
