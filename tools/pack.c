/* Workers make features of batches of networks; the thread that called adds
 * them to the set in the order of the table, so that the file does not depend
 * on how many workers there are. A ring of batches bounds what is in flight. */
#include "tools/cli.h"
#include "tools/pack.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/array.h"
#include "base/index.h"
#include "base/io.h"
#include "base/map.h"
#include "passes/passes.h"
#include "passes/spectrum.h"

#define BATCH 16          /* networks a worker takes at a time */
#define SLOTS_PER_JOB 8   /* batches in the ring */
#define JOBS_MAX 256

typedef struct item {
    cg_features f;
    cg_err err;
    char *why; /* of an error, on the heap */
    bool fatal; /* of an error: not this network's */
} item;

typedef struct batch {
    item item[BATCH];
    bool ready;
} batch;

typedef struct packer {
    const pack_table *t;
    const pack_options *o;
    pack_load *load;
    const void *user;
    size_t n_batches, n_slots;
    batch *ring; /* batch b is in ring[b % n_slots] */
    pthread_mutex_t lock; /* of the four below */
    pthread_cond_t room, ready;
    size_t next, done; /* batches taken, batches added */
    bool stop;
    pthread_mutex_t known_lock;
    cg_index known; /* topologies whose spectrum is or will be there */
    CG_ARRAY(uint64_t) known_rest;
} packer;

/* -- one network ----------------------------------------------------------- */

/* Whether this thread is to compute the spectrum: the first that asks. */
static bool claim(packer *p, const uint64_t topology[2])
{
    bool mine = false;
    pthread_mutex_lock(&p->known_lock);
    for (uint64_t key = topology[0];; key = cg_mix64(key + 1)) {
        uint32_t i = cg_index_get(&p->known, key);
        if (i != CG_INDEX_NONE && p->known_rest.data[i] != topology[1])
            continue; /* another topology of this key */
        mine = i == CG_INDEX_NONE;
        if (mine) {
            cg_index_add(&p->known, key, (uint32_t)p->known_rest.len);
            cg_array_push(&p->known_rest, topology[1]);
        }
        break;
    }
    pthread_mutex_unlock(&p->known_lock);
    return mine;
}

static cg_err set_spectrum(cg_features *f)
{
    uint32_t (*edge)[2] = cg_xcalloc(f->n_edges, sizeof *edge);
    for (uint32_t v = 0; v < f->n_nodes; v++)
        for (uint32_t k = f->start[v]; k < f->start[v + 1]; k++) {
            edge[k][0] = f->pred[k];
            edge[k][1] = v;
        }
    cg_err err = cg_spectrum(f->n_nodes, (const uint32_t(*)[2])edge,
                             f->n_edges, f->spectrum);
    f->has_spectrum = err == CG_OK;
    cg_xfree(edge);
    return err;
}

static cg_err make_features(const packer *p, const char *name, cg_features *f)
{
    cg_graph *g = NULL;
    CG_TRY(p->load(p->user, name, &g)); /* names it in its errors */
    cg_err err = cg_run_passes(g, CG_HAS(fold_batchnorm) | CG_HAS(flops) |
                                      CG_HAS(hash), NULL);
    if (err == CG_OK)
        err = cg_features_make(f, g, p->o->form);
    cg_graph_free(g);
    return err == CG_OK ? CG_OK : cg_fail_in(err, "%s", name);
}

static void make_item(packer *p, size_t i, item *it)
{
    *it = (item){0};
    it->err = make_features(p, p->t->name[i], &it->f);
    if (it->err == CG_OK && !p->o->no_spectrum &&
        claim(p, it->f.topology)) {
        it->err = set_spectrum(&it->f);
        it->fatal = it->err != CG_OK;
    }
    if (it->err != CG_OK && !(it->why = strdup(cg_error())))
        abort();
}

/* -- the ring -------------------------------------------------------------- */

static size_t batch_len(const packer *p, size_t b)
{
    size_t left = p->t->n - b * BATCH;
    return left < BATCH ? left : BATCH;
}

static void *work(void *arg)
{
    packer *p = arg;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->stop && p->next < p->n_batches &&
               p->next >= p->done + p->n_slots)
            pthread_cond_wait(&p->room, &p->lock);
        if (p->stop || p->next >= p->n_batches)
            break;
        size_t b = p->next++;
        batch *to = &p->ring[b % p->n_slots];
        pthread_mutex_unlock(&p->lock);
        for (size_t i = 0; i < batch_len(p, b); i++)
            make_item(p, b * BATCH + i, &to->item[i]);
        pthread_mutex_lock(&p->lock);
        to->ready = true;
        pthread_cond_signal(&p->ready);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static batch *await(packer *p, size_t b)
{
    batch *from = &p->ring[b % p->n_slots];
    pthread_mutex_lock(&p->lock);
    while (!from->ready)
        pthread_cond_wait(&p->ready, &p->lock);
    pthread_mutex_unlock(&p->lock);
    return from;
}

static void release(packer *p, batch *from, bool stop)
{
    pthread_mutex_lock(&p->lock);
    from->ready = false;
    p->done++;
    p->stop |= stop;
    pthread_cond_broadcast(&p->room);
    pthread_mutex_unlock(&p->lock);
}

static void free_item(item *it)
{
    cg_features_free(&it->f);
    free(it->why);
    *it = (item){0};
}

/* -- adding them up -------------------------------------------------------- */

typedef struct meter {
    bool shown;
    double start, last;
} meter;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void show(meter *m, size_t done, size_t n)
{
    double t = now(), speed = (double)done / (t - m->start + 1e-9);
    if (!m->shown || (t - m->last < 0.2 && done < n))
        return;
    m->last = t;
    fprintf(stderr, "\r\033[K%zu/%zu networks, %.0f/s, %.0f s left", done, n,
            speed, (double)(n - done) / (speed + 1e-9));
}

static void clear(const meter *m)
{
    if (m->shown)
        fputs("\r\033[K", stderr);
}

/* Adds or names item i. */
static cg_err take_item(packer *p, cg_set_builder *b, size_t i, item *it,
                        const meter *m, size_t *bad)
{
    if (it->fatal)
        return cg_fail(it->err, "%s", it->why);
    if (it->err == CG_OK) {
        cg_set_builder_add(b, &it->f, p->t->name[i],
                           p->t->label + i * p->t->n_labels);
        return CG_OK;
    }
    clear(m);
    fprintf(stderr, "%s: %s\n", p->o->tool, it->why);
    ++*bad;
    return CG_OK;
}

static cg_err take_all(packer *p, cg_set_builder *b, size_t *bad)
{
    meter m = {.shown = isatty(STDERR_FILENO), .start = now()};
    cg_err err = CG_OK;
    for (size_t k = 0; k < p->n_batches && err == CG_OK; k++) {
        batch *from = await(p, k);
        for (size_t i = 0; i < batch_len(p, k); i++) {
            if (err == CG_OK)
                err = take_item(p, b, k * BATCH + i, &from->item[i], &m, bad);
            free_item(&from->item[i]);
        }
        release(p, from, err != CG_OK);
        show(&m, k * BATCH + batch_len(p, k), p->t->n);
    }
    clear(&m);
    return err;
}

static int jobs_of(const pack_options *o)
{
    long n = o->jobs ? o->jobs : sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > JOBS_MAX ? JOBS_MAX : (int)n;
}

/* Runs the workers around take_all. */
static cg_err run_workers(packer *p, cg_set_builder *b, size_t *bad)
{
    pthread_t id[JOBS_MAX];
    int jobs = jobs_of(p->o), started = 0;
    p->n_batches = (p->t->n + BATCH - 1) / BATCH;
    p->n_slots = (size_t)jobs * SLOTS_PER_JOB;
    p->ring = cg_xcalloc(p->n_slots, sizeof *p->ring);
    while (started < jobs &&
           pthread_create(&id[started], NULL, work, p) == 0)
        started++;
    cg_err err = started ? take_all(p, b, bad)
                         : cg_fail(CG_EIO, "cannot start a thread");
    for (int i = 0; i < started; i++)
        pthread_join(id[i], NULL);
    for (size_t i = 0; i < p->n_slots; i++)
        for (size_t k = 0; k < BATCH; k++)
            free_item(&p->ring[i].item[k]); /* what an error left behind */
    cg_xfree(p->ring);
    return err;
}

static cg_err finish(const packer *p, const cg_set_builder *b, size_t bad)
{
    uint32_t good = cg_set_builder_len(b);
    if (p->o->set) {
        *p->o->set = NULL;
        *p->o->left_out = bad;
        return good ? cg_set_builder_finish(b, p->o->set) : CG_OK;
    }
    if (good == 0)
        return cg_fail(CG_EFORMAT, "no network is left to pack; %s is not "
                       "written", p->o->output);
    CG_TRY(cg_set_builder_write(b, p->o->output));
    return bad ? cg_fail(CG_EFORMAT, "left out: %zu of %zu networks; %s has "
                         "the other %u", bad, bad + good, p->o->output, good)
               : CG_OK;
}

cg_err pack_run(const pack_table *t, const pack_options *o,
                const char *family, pack_load *load, const void *user)
{
    packer p = {.t = t, .o = o, .load = load, .user = user,
                .lock = PTHREAD_MUTEX_INITIALIZER,
                .known_lock = PTHREAD_MUTEX_INITIALIZER,
                .room = PTHREAD_COND_INITIALIZER,
                .ready = PTHREAD_COND_INITIALIZER};
    size_t bad = t->bad;
    if (!o->set)
        CG_TRY(cg_cli_try_output(o->output));
    cg_set_builder *b = cg_set_builder_new(family, o->form, t->label_name,
                                           t->n_labels);
    cg_err err = run_workers(&p, b, &bad);
    if (err == CG_OK)
        err = finish(&p, b, bad);
    cg_set_builder_free(b);
    cg_index_free(&p.known);
    cg_array_free(&p.known_rest);
    return err;
}
