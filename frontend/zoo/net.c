#include "frontend/zoo/net.h"

#include <assert.h>
#include <string.h>

#define MAX_TERMS 64

/* -- tensors ------------------------------------------------------------- */

static cg_type type_of(cg_t x) { return x.view ? *x.view : x.v->type; }

bool cg_is_zero(cg_t x) { return !x.v; }

/* (1, C, H, W) or (1, C). */
static int dim_of(cg_t x, int axis)
{
    cg_type t = type_of(x);
    return axis < t.rank ? (int)t.dims[axis] : 1;
}

int cg_channels(cg_t x) { return dim_of(x, 1); }
int cg_height(cg_t x) { return dim_of(x, 2); }
int cg_width(cg_t x) { return dim_of(x, 3); }

static cg_type image(cg_net *net, int c, int h, int w)
{
    cg_type t = cg_type_tensor(net->graph, CG_F32, 4,
                               (cg_dim[]){1, c, h, w});
    t.channel = 1;
    return t;
}

static cg_t as(cg_net *net, cg_value *v, cg_type t)
{
    return (cg_t){v, cg_arena_dup(&net->graph->arena, &t, sizeof t)};
}

cg_t cg_zero(cg_net *net, cg_t like) { return as(net, NULL, type_of(like)); }

cg_window cg_square(int kernel, int stride)
{
    return (cg_window){kernel, kernel, stride, stride, 1, 1};
}

/* -- nodes ------------------------------------------------------------------ */

/* A node that reads `in` and gives one tensor of type t; zero operands beyond
 * the first are left out by the callers. */
static cg_node *emit(cg_net *net, cg_op op, const cg_t *in, size_t n,
                     cg_type t)
{
    cg_graph *g = net->graph;
    cg_node *node = cg_node_bare(g, g->main, op, n, 1);
    memcpy(node->in, in, n * sizeof *in);
    node->out[0]->type = t;
    node->out[0]->listed = true;
    node->name = node->out[0]->name;
    return node;
}

static cg_t result(const cg_node *n) { return (cg_t){.v = n->out[0]}; }

/* A constant of the weights' kind, without content. */
static cg_t weight_of(cg_net *net, cg_type t)
{
    cg_value *v = cg_value_const(net->graph, NULL, t, NULL);
    v->is_weight = true;
    v->listed = true;
    return (cg_t){.v = v};
}

static cg_t weight(cg_net *net, int rank, const cg_dim *dims)
{
    return weight_of(net, cg_type_tensor(net->graph, CG_F32, rank, dims));
}

static void new_window(cg_graph *g, cg_node *n, const cg_window *w,
                       int groups)
{
    int64_t ph = groups < 0 ? 0 : w->dh * (w->kh - 1) / 2;
    int64_t pw = groups < 0 ? 0 : w->dw * (w->kw - 1) / 2;
    cg_attr_set_ints(g, n, "kernel_shape", (int64_t[]){w->kh, w->kw}, 2);
    cg_attr_set_ints(g, n, "strides", (int64_t[]){w->sh, w->sw}, 2);
    cg_attr_set_ints(g, n, "dilations", (int64_t[]){w->dh, w->dw}, 2);
    cg_attr_set_ints(g, n, "pads", (int64_t[]){ph, pw, ph, pw}, 4);
    if (groups > 0)
        cg_attr_set_int(g, n, "group", groups);
}

/* Windows repeat: making their attributes anew took a third of the time.
 * groups as in cg_net.seen. */
static void set_window(cg_net *net, cg_node *n, const cg_window *w,
                       int groups)
{
    const int most = sizeof net->seen / sizeof *net->seen;
    for (int i = 0; i < most && i < net->n_seen; i++)
        if (net->seen[i].groups == groups &&
            memcmp(&net->seen[i].window, w, sizeof *w) == 0) {
            cg_attrs_copy(net->graph, n, net->seen[i].node);
            return;
        }
    new_window(net->graph, n, w, groups);
    int at = net->n_seen++ % most;
    net->seen[at].window = *w;
    net->seen[at].groups = groups;
    net->seen[at].node = n;
}

static int divide_up(int a, int b) { return (a + b - 1) / b; }

static cg_type windowed(cg_net *net, cg_t x, int c, const cg_window *w)
{
    return image(net, c, divide_up(cg_height(x), w->sh),
                 divide_up(cg_width(x), w->sw));
}

static cg_t convolve(cg_net *net, cg_t x, int cout, int groups, cg_window w,
                     bool bias)
{
    cg_type t = windowed(net, x, cout, &w);
    int cin = cg_channels(x) / groups;
    int64_t elements = (int64_t)cout * cin * w.kh * w.kw;
    net->params_full += elements + (bias ? cout : 0);
    net->macs_full += elements * t.dims[2] * t.dims[3];
    if (cg_is_zero(x))
        return as(net, NULL, t);
    cg_t in[3] = {x, weight(net, 4, (cg_dim[]){cout, cin, w.kh, w.kw})};
    if (bias)
        in[2] = weight(net, 1, (cg_dim[]){cout});
    cg_node *n = emit(net, groups > 1 ? CG_OP_DEPTHWISE : CG_OP_CONV, in,
                      bias ? 3 : 2, t);
    set_window(net, n, &w, groups);
    return result(n);
}

cg_t cg_conv(cg_net *net, cg_t x, int cout, cg_window w, bool bias)
{
    return convolve(net, x, cout, 1, w, bias);
}

cg_t cg_depthwise(cg_net *net, cg_t x, cg_window w, bool bias)
{
    int c = cg_channels(x);
    return convolve(net, x, c, c, w, bias);
}

cg_t cg_batchnorm(cg_net *net, cg_t x)
{
    int c = cg_channels(x);
    net->params_full += 2 * c;
    if (cg_is_zero(x))
        return x;
    cg_t in[5] = {x};
    cg_type t = cg_type_tensor(net->graph, CG_F32, 1, (cg_dim[]){c});
    for (int i = 1; i < 5; i++)
        in[i] = weight_of(net, t);
    return result(emit(net, CG_OP_BATCHNORM, in, 5, type_of(x)));
}

cg_t cg_activate(cg_net *net, cg_t x, cg_op op)
{
    return cg_is_zero(x) ? x : result(emit(net, op, &x, 1, type_of(x)));
}

static cg_t pool(cg_net *net, cg_t x, cg_op op, cg_window w, bool padded)
{
    cg_type t = padded ? windowed(net, x, cg_channels(x), &w)
                       : image(net, cg_channels(x),
                               (cg_height(x) - w.kh) / w.sh + 1,
                               (cg_width(x) - w.kw) / w.sw + 1);
    if (cg_is_zero(x))
        return as(net, NULL, t);
    cg_node *n = emit(net, op, &x, 1, t);
    set_window(net, n, &w, padded ? 0 : -1);
    return result(n);
}

cg_t cg_maxpool(cg_net *net, cg_t x, cg_window w)
{
    return pool(net, x, CG_OP_MAXPOOL, w, true);
}

cg_t cg_maxpool_valid(cg_net *net, cg_t x, cg_window w)
{
    return pool(net, x, CG_OP_MAXPOOL, w, false);
}

cg_t cg_avgpool(cg_net *net, cg_t x, cg_window w)
{
    return pool(net, x, CG_OP_AVGPOOL, w, true);
}

cg_t cg_avgpool_valid(cg_net *net, cg_t x, cg_window w)
{
    return pool(net, x, CG_OP_AVGPOOL, w, false);
}

/* -- joins -------------------------------------------------------------------- */

static size_t live_ones(const cg_t *all, size_t n, cg_t *live)
{
    size_t len = 0;
    assert(n > 0 && n <= MAX_TERMS);
    for (size_t i = 0; i < n; i++)
        if (!cg_is_zero(all[i]))
            live[len++] = all[i];
    return len;
}

cg_t cg_add(cg_net *net, const cg_t *terms, size_t n)
{
    cg_t live[MAX_TERMS];
    size_t len = live_ones(terms, n, live);
    if (len == 0)
        return terms[0];
    if (len == 1)
        return live[0];
    return result(emit(net, CG_OP_ADD, live, len, type_of(live[0])));
}

cg_t cg_add2(cg_net *net, cg_t a, cg_t b)
{
    return cg_add(net, (cg_t[]){a, b}, 2);
}

/* b may be (1, C, 1, 1): a gate. */
cg_t cg_mul(cg_net *net, cg_t a, cg_t b)
{
    if (cg_is_zero(a) || cg_is_zero(b))
        return cg_zero(net, a);
    return result(emit(net, CG_OP_MUL, (cg_t[]){a, b}, 2, type_of(a)));
}

cg_t cg_concat(cg_net *net, const cg_t *parts, size_t n)
{
    cg_t in[MAX_TERMS];
    int c = 0, h = cg_height(parts[0]), w = cg_width(parts[0]);
    bool live = false;
    assert(n > 0 && n <= MAX_TERMS);
    if (n == 1)
        return parts[0];
    for (size_t i = 0; i < n; i++) {
        int ci = cg_channels(parts[i]);
        in[i] = parts[i];
        /* Its place must be kept: a constant, which is no node. */
        if (cg_is_zero(parts[i]))
            in[i].v = cg_value_const(net->graph, NULL,
                                     image(net, ci, h, w), NULL);
        else
            live = true;
        c += ci;
    }
    cg_type t = image(net, c, h, w);
    if (!live)
        return as(net, NULL, t);
    cg_node *node = emit(net, CG_OP_CONCAT, in, n, t);
    cg_attr_set_int(net->graph, node, "axis", 1);
    return result(node);
}

static cg_t slice(cg_net *net, cg_t x, cg_type t)
{
    return as(net, x.v, t);
}

cg_t cg_slice_channels(cg_net *net, cg_t x, int channels)
{
    assert(channels < cg_channels(x));
    return slice(net, x, image(net, channels, cg_height(x), cg_width(x)));
}

cg_t cg_slice_origin(cg_net *net, cg_t x)
{
    return slice(net, x, image(net, cg_channels(x), cg_height(x) - 1,
                               cg_width(x) - 1));
}

/* -- ends ------------------------------------------------------------------------ */

cg_t cg_mean(cg_net *net, cg_t x)
{
    cg_type t = image(net, cg_channels(x), 1, 1);
    if (cg_is_zero(x))
        return as(net, NULL, t);
    cg_value *axes = cg_value_ints(net->graph, NULL, (cg_dim[]){2, 3}, 2);
    cg_node *n = emit(net, CG_OP_MEAN, (cg_t[]){x, {.v = axes}}, 2, t);
    cg_attr_set_int(net->graph, n, "keepdims", 1);
    return result(n);
}

cg_t cg_linear(cg_net *net, cg_t x, int cout)
{
    int cin = cg_channels(x);
    cg_type in_type = cg_type_tensor(net->graph, CG_F32, 2,
                                     (cg_dim[]){1, cin});
    cg_type t = cg_type_tensor(net->graph, CG_F32, 2, (cg_dim[]){1, cout});
    in_type.channel = t.channel = 1;
    net->params_full += (int64_t)cin * cout + cout;
    net->macs_full += (int64_t)cin * cout;
    if (cg_is_zero(x))
        return as(net, NULL, t);
    cg_t in[3] = {as(net, x.v, in_type),
                  weight(net, 2, (cg_dim[]){cin, cout}),
                  weight(net, 1, (cg_dim[]){cout})};
    return result(emit(net, CG_OP_MATMUL, in, 3, t));
}

void cg_net_begin(cg_net *net, const char *name)
{
    *net = (cg_net){.graph = cg_graph_new(name)};
    net->graph->producer = "gennape";
}

cg_t cg_net_input(cg_net *net, int h, int w, int c)
{
    cg_value *v = cg_value_input(net->graph, net->graph->main, "input",
                                 image(net, c, h, w));
    v->listed = true;
    return (cg_t){.v = v};
}

/* A view of an image with another size; a matrix view of a mean is none. */
static bool is_slice(const cg_operand *o)
{
    return o->v && o->v->role != CG_ROLE_CONST && o->view &&
           o->view->rank == o->v->type.rank &&
           memcmp(o->view->dims, o->v->type.dims,
                  sizeof(cg_dim) * (size_t)o->view->rank) != 0;
}

static void count_live(cg_net *net)
{
    const cg_region *r = net->graph->main;
    for (size_t i = 0; i < r->nodes.len; i++) {
        const cg_node *n = r->nodes.data[i];
        if (n->op == CG_OP_ADD)
            net->adds_binary += n->n_in - 1;
        for (uint32_t k = 0; k < n->n_in; k++)
            net->slices += is_slice(&n->in[k]);
    }
}

cg_err cg_net_output(cg_net *net, cg_t x)
{
    if (cg_is_zero(x))
        return cg_fail(CG_EFORMAT, "the output does not depend on the input");
    x.v->name = "output";
    cg_array_push(&net->graph->main->outputs, x.v);
    cg_graph_sweep(net->graph, true);
    count_live(net);
    return CG_OK;
}

/* -- short forms ------------------------------------------------------------------ */

cg_t cg_cb(cg_net *net, cg_t x, int cout, cg_window w)
{
    return cg_batchnorm(net, cg_conv(net, x, cout, w, false));
}

cg_t cg_cbr(cg_net *net, cg_t x, int cout, cg_window w)
{
    return cg_activate(net, cg_cb(net, x, cout, w), CG_OP_RELU);
}

cg_t cg_cb6(cg_net *net, cg_t x, int cout, cg_window w)
{
    return cg_activate(net, cg_cb(net, x, cout, w), CG_OP_RELU6);
}

cg_t cg_rcb(cg_net *net, cg_t x, int cout, cg_window w)
{
    return cg_cb(net, cg_activate(net, x, CG_OP_RELU), cout, w);
}

int cg_make_divisible(int64_t hundredths)
{
    int64_t n = (hundredths + 400) / 800 * 8;
    if (n < 8)
        n = 8;
    if (n * 1000 < hundredths * 9)
        n += 8;
    return (int)n;
}
