#include "runtime/tape.h"

#include <assert.h>

#include "runtime/layers.h"

static const struct layer {
    void (*fwd)(cg_tape *t, cg_step *s);
    void (*bwd)(cg_tape *t, const cg_step *s);
} table[CG_LAYER_COUNT] = {
#define CG_LAYER(name)                                                        \
    [CG_LAYER_##name] = { cg_##name##_fwd, cg_##name##_bwd },
#include "runtime/layers.def"
#undef CG_LAYER
};

static void drop_vars(cg_tape *t)
{
    for (size_t i = 0; i < t->vars.len; i++)
        cg_xfree(t->vars.data[i]);
    t->vars.len = 0;
    t->steps.len = 0;
}

void cg_tape_begin(cg_tape *t, cg_dev *dev, bool train, uint64_t key)
{
    drop_vars(t);
    cg_dev_reset(dev);
    t->dev = dev;
    t->train = train;
    t->weight = 1;
    /* Masks of neighbouring keys are permutations of each other (see
     * cg_dropout_bits), hence keys from a generator, not key + 1. */
    t->keys = cg_rng_make(key, 0);
    t->loss = cg_tape_zeros(t, 1);
}

void cg_tape_free(cg_tape *t)
{
    drop_vars(t);
    cg_array_free(&t->vars);
    cg_array_free(&t->steps);
}

float *cg_tape_zeros(cg_tape *t, size_t n)
{
    float *p = cg_dev_work(t->dev, n * sizeof *p);
    cg_k_fill(t->dev, n, 0, p);
    return p;
}

/* -- variables ------------------------------------------------------------ */

static cg_var *new_var(cg_tape *t, int rows, int cols)
{
    cg_var *v = cg_xcalloc(1, sizeof *v);
    v->rows = rows;
    v->cols = v->ld = cols;
    cg_array_push(&t->vars, v);
    return v;
}

cg_var *cg_tape_var(cg_tape *t, int rows, int cols, bool grad)
{
    cg_var *v = new_var(t, rows, cols);
    size_t bytes = cg_var_len(v) * sizeof *v->x;
    v->x = cg_dev_work(t->dev, bytes);
    if (grad && t->train)
        v->dx = cg_dev_work(t->dev, bytes);
    return v;
}

cg_var *cg_tape_input(cg_tape *t, const float *x, int rows, int cols)
{
    cg_var *v = new_var(t, rows, cols);
    v->x = (float *)x; /* without dx nothing is ever written through it */
    return v;
}

cg_var *cg_tape_reshape(cg_tape *t, cg_var *x, int rows, int cols)
{
    assert(x->ld == x->cols);
    assert((size_t)rows * (size_t)cols == cg_var_len(x));
    cg_var *v = new_var(t, rows, cols);
    v->x = x->x;
    v->dx = x->dx;
    v->base = x;
    return v;
}

cg_var *cg_tape_columns(cg_tape *t, cg_var *x, int first, int cols)
{
    assert(first >= 0 && cols > 0 && first + cols <= x->cols);
    cg_var *v = new_var(t, x->rows, cols);
    v->ld = x->ld;
    v->x = x->x + first;
    v->dx = x->dx ? x->dx + first : NULL;
    v->base = x;
    return v;
}

/* -- gradients ------------------------------------------------------------ */

/* Whose memory it is: a matrix without gaps. */
static cg_var *owner(cg_var *v)
{
    while (v->base)
        v = v->base;
    return v;
}

static void write_zeros(cg_tape *t, cg_var *o)
{
    cg_k_fill(t->dev, cg_var_len(o), 0, o->dx);
    o->written = true;
}

float cg_grad_beta(cg_tape *t, cg_var *v)
{
    assert(v->dx);
    cg_var *o = owner(v);
    /* who writes some columns would leave the others unwritten */
    if (!o->written && v->cols < v->ld)
        write_zeros(t, o);
    float beta = o->written ? 1 : 0;
    o->written = true;
    return beta;
}

float *cg_grad_sum(cg_tape *t, cg_var *v)
{
    cg_var *o = owner(v);
    if (!o->written)
        write_zeros(t, o);
    return v->dx;
}

/* -- running -------------------------------------------------------------- */

static bool wants_gradient(const cg_tape *t, const cg_step *s)
{
    bool any = false;
    for (int i = 0; i < 4; i++)
        any |= s->in[i] && s->in[i]->dx;
    return t->train && any;
}

cg_var *cg_tape_run(cg_tape *t, cg_step s, int rows, int cols)
{
    s.keep = wants_gradient(t, &s);
    s.out = rows ? cg_tape_var(t, rows, cols, s.keep) : NULL;
    table[s.layer].fwd(t, &s);
    if (s.keep)
        cg_array_push(&t->steps, s);
    return s.out;
}

void cg_tape_backward(cg_tape *t)
{
    assert(t->train);
    while (t->steps.len > 0) {
        const cg_step *s = &t->steps.data[--t->steps.len];
        /* What no loss depends on has no gradient to pass on. */
        if (!s->out || s->out->written)
            table[s->layer].bwd(t, s);
    }
}
