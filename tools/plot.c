/* SVG by hand: a frame, ticks, points. Lengths are pixels. */
#include "tools/plot.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/io.h"
#include "ir/quote.h"

/* Okabe & Ito's colours, without yellow, which white paper swallows. */
static const char *const palette[] = {"#0072b2", "#e69f00", "#009e73",
                                      "#cc79a7", "#d55e00", "#56b4e9",
                                      "#333333"};
enum { COLOURS = sizeof palette / sizeof *palette, BINS = 40, NAME = 40 };
enum { LEFT = 66, TOP = 56, BOTTOM = 56, RIGHT = 16, HIGH = 340 };

typedef struct axis {
    double low, high; /* what the frame shows */
    int from, to;     /* the pixels of that */
} axis;

typedef struct chart {
    const plot *p;
    cg_out out;
    FILE *f; /* out.f */
    axis x, y;
    size_t missing; /* values that are outside of the frame */
} chart;

static double place(const axis *a, double v)
{
    return a->from + (v - a->low) / (a->high - a->low) * (a->to - a->from);
}

static bool shows(const axis *a, double v)
{
    return v >= a->low && v <= a->high;
}

/* -- what is shown --------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Widens low .. high by one series, but for a few values far away. */
static void widen(axis *a, const double *v, size_t n)
{
    double *sorted = cg_xcalloc(n + 1, sizeof *sorted);
    size_t m = 0;
    for (size_t i = 0; i < n; i++)
        if (isfinite(v[i]))
            sorted[m++] = v[i];
    qsort(sorted, m, sizeof *sorted, by_value);
    if (m) {
        size_t few = m / 50;
        double low = sorted[few], high = sorted[m - 1 - few];
        double room = high - low;
        if (low - sorted[0] <= room)
            low = sorted[0];
        if (sorted[m - 1] - high <= room)
            high = sorted[m - 1];
        a->low = fmin(a->low, low);
        a->high = fmax(a->high, high);
    }
    cg_xfree(sorted);
}

static const axis nothing = {INFINITY, -INFINITY, 0, 0};

/* A little air around what is shown; something where there is nothing. */
static void finish(axis *a)
{
    if (a->low > a->high)
        *a = (axis){0, 1, a->from, a->to};
    double room = a->high - a->low, size = fmax(fabs(a->low), fabs(a->high));
    /* ticks have to be far enough apart for numbers to tell them */
    double air = room > 1e-6 * size ? room * .03 : fmax(size * .01, 1e-6);
    a->low -= air;
    a->high += air;
}

/* 1, 2 or 5 times a power of ten: five to ten steps. */
static double nice_step(const axis *a)
{
    double raw = (a->high - a->low) / 5, unit = pow(10, floor(log10(raw)));
    return unit * (raw >= 5 * unit ? 5 : raw >= 2 * unit ? 2 : 1);
}

/* -- drawing --------------------------------------------------------------- */

/* Characters of a name that are shown. */
static size_t length(const char *s)
{
    size_t n = 0;
    for (; *s; n++)
        s += cg_utf8_len(s) ? cg_utf8_len(s) : 1;
    return n < NAME ? n : NAME;
}

static void print_text(FILE *f, const char *s, size_t most)
{
    for (size_t i = 0; *s && i < most; i++) {
        size_t n = cg_utf8_len(s);
        if (n == 0 || (n == 1 && (*s < 0x20 || *s == 0x7f)))
            fputc('?', f);
        else if (n == 1 && strchr("<>&\"", *s))
            fprintf(f, "&#%d;", *s);
        else
            fwrite(s, 1, n, f);
        s += n ? n : 1;
    }
}

static void put_text(chart *c, double x, double y, const char *more,
                     const char *s, size_t most)
{
    fprintf(c->f, "<text x=\"%.1f\" y=\"%.1f\"%s>", x, y, more);
    print_text(c->f, s, most);
    fputs("</text>\n", c->f);
}

static void put_line(chart *c, double x1, double y1, double x2, double y2,
                     const char *colour)
{
    fprintf(c->f, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" "
            "stroke=\"%s\"/>\n", x1, y1, x2, y2, colour);
}

/* Wide enough for the widest of the fonts that may stand in for Helvetica. */
static double width_of(const chart *c, const char *note)
{
    const plot *p = c->p;
    size_t name = 0;
    for (size_t i = 0; i < p->n; i++) {
        size_t n = length(p->series[i].name);
        name = n > name ? n : name;
    }
    double w = c->x.to + 34 + 7.6 * (double)name;
    w = fmax(w, LEFT + 9.3 * (double)strlen(p->title) + RIGHT);
    return fmax(w, LEFT + 6.6 * (double)strlen(note) + RIGHT);
}

static void put_head(chart *c)
{
    const plot *p = c->p;
    char note[512];
    int n = snprintf(note, sizeof note, "%.400s", p->note ? p->note : "");
    if (c->missing)
        snprintf(note + n, sizeof note - (size_t)n, "%s%zu far away %s not "
                 "shown", n ? "; " : "", c->missing,
                 c->missing == 1 ? "is" : "are");
    double w = width_of(c, note);
    int h = c->y.from + (p->x ? BOTTOM : RIGHT);
    fprintf(c->f, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" "
            "height=\"%d\" viewBox=\"0 0 %.0f %d\" font-family=\"Helvetica, "
            "Arial, sans-serif\" font-size=\"12\" fill=\"#222\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
            w, h, w, h);
    put_text(c, LEFT, *note ? 24 : 40,
             " font-size=\"15\" font-weight=\"bold\"", p->title, SIZE_MAX);
    if (*note)
        put_text(c, LEFT, 42, " font-size=\"11\" fill=\"#666\"", note,
                 SIZE_MAX);
}

/* Ticks, their numbers and the name of one axis. */
static void put_axis(chart *c, const axis *a, const char *name, bool vertical)
{
    if (!name)
        return;
    double step = nice_step(a);
    int digits = (int)fmax(0, ceil(-log10(step) - 1e-9));
    fputs("<g class=\"axis\" font-size=\"11\">\n", c->f);
    for (double k = ceil(a->low / step); k * step <= a->high; k++) {
        char text[32];
        double v = k * step, at = place(a, v);
        snprintf(text, sizeof text, "%.*f", digits, v + 0.);
        if (fabs(v) >= 1e7)
            snprintf(text, sizeof text, "%g", v);
        if (vertical) {
            put_line(c, c->x.from, at, c->x.to, at, "#e8e8e8");
            put_text(c, c->x.from - 7, at + 4, " text-anchor=\"end\"", text,
                     NAME);
        } else {
            put_line(c, at, c->y.from, at, c->y.to, "#e8e8e8");
            put_text(c, at, c->y.from + 17, " text-anchor=\"middle\"", text,
                     NAME);
        }
    }
    fputs("</g>\n", c->f);
    double middle = (a->from + a->to) / 2.;
    if (vertical)
        fprintf(c->f, "<g transform=\"translate(18,%.1f) rotate(-90)\">\n",
                middle);
    put_text(c, vertical ? 0 : middle, vertical ? 0 : c->y.from + 40,
             " text-anchor=\"middle\"", name, SIZE_MAX);
    if (vertical)
        fputs("</g>\n", c->f);
}

static void put_frame(chart *c)
{
    fprintf(c->f, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" "
            "fill=\"none\" stroke=\"#444\"/>\n", c->x.from, c->y.to,
            c->x.to - c->x.from, c->y.from - c->y.to);
}

static const char *colour(size_t series) { return palette[series % COLOURS]; }

/* A circle; a square where colours begin again. */
static void put_mark(chart *c, size_t series, double x, double y, double r)
{
    if (series / COLOURS % 2 == 0)
        fprintf(c->f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"/>\n", x, y,
                r);
    else
        fprintf(c->f, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height="
                "\"%.1f\"/>\n", x - r, y - r, 2 * r, 2 * r);
}

static void put_legend(chart *c)
{
    fputs("<g class=\"legend\">\n", c->f);
    for (size_t i = 0; i < c->p->n; i++) {
        double y = c->y.to + 12 + 18 * (double)i;
        fprintf(c->f, "<g fill=\"%s\">", colour(i));
        put_mark(c, i, c->x.to + 16, y, 4.5);
        fputs("</g>\n", c->f);
        put_text(c, c->x.to + 26, y + 4, "", c->p->series[i].name, NAME);
    }
    fputs("</g>\n", c->f);
}

static cg_err put_end(chart *c)
{
    put_frame(c);
    put_legend(c);
    fputs("</svg>\n", c->f);
    return cg_out_commit(&c->out);
}

/* -- scatter plots --------------------------------------------------------- */

static bool in_frame(const chart *c, const plot_series *s, size_t i)
{
    return shows(&c->x, s->x[i]) && shows(&c->y, s->y[i]);
}

static void frame_points(chart *c, bool equal)
{
    const plot *p = c->p;
    for (size_t i = 0; i < p->n; i++) {
        const plot_series *s = &p->series[i];
        widen(&c->x, s->x, s->n);
        widen(equal ? &c->x : &c->y, s->y, s->n);
    }
    if (equal)
        c->y = c->x;
    finish(&c->x);
    finish(&c->y);
    for (size_t i = 0; i < p->n; i++)
        for (size_t k = 0; k < p->series[i].n; k++)
            c->missing += isfinite(p->series[i].x[k]) &&
                          isfinite(p->series[i].y[k]) &&
                          !in_frame(c, &p->series[i], k);
}

/* One point of each series after the other, so that none lies on top of all
 * others; groups by colour would hide the first series. */
static void put_points(chart *c)
{
    const plot *p = c->p;
    size_t most = 0, all = 0;
    for (size_t i = 0; i < p->n; i++) {
        most = p->series[i].n > most ? p->series[i].n : most;
        all += p->series[i].n;
    }
    double r = all > 1000 ? 2 : all > 200 ? 2.5 : 3.5;
    fprintf(c->f, "<g class=\"points\" fill-opacity=\"%.2f\">\n",
            all > 1000 ? .55 : .75);
    enum { TURN = 50 };
    for (size_t first = 0; first < most; first += TURN)
        for (size_t i = 0; i < p->n; i++) {
            const plot_series *s = &p->series[i];
            if (first >= s->n)
                continue;
            fprintf(c->f, "<g fill=\"%s\">\n", colour(i));
            for (size_t k = first; k < s->n && k < first + TURN; k++)
                if (in_frame(c, s, k))
                    put_mark(c, i, place(&c->x, s->x[k]),
                             place(&c->y, s->y[k]), r);
            fputs("</g>\n", c->f);
        }
    fputs("</g>\n", c->f);
}

cg_err plot_scatter(const plot *p, int equal, const char *path)
{
    chart c = {.p = p, .x = nothing, .y = nothing};
    frame_points(&c, equal);
    c.x.from = LEFT;
    c.x.to = LEFT + (equal ? HIGH : HIGH * 5 / 4);
    c.y.to = TOP;
    c.y.from = TOP + HIGH;
    CG_TRY(cg_out_open(&c.out, path));
    c.f = c.out.f;
    put_head(&c);
    put_axis(&c, &c.x, p->x, false);
    put_axis(&c, &c.y, p->y, true);
    if (equal)
        put_line(&c, c.x.from, c.y.from, c.x.to, c.y.to, "#888");
    put_points(&c);
    return put_end(&c);
}

/* -- histograms ------------------------------------------------------------ */

static void frame_values(chart *c)
{
    const plot *p = c->p;
    for (size_t i = 0; i < p->n; i++)
        widen(&c->x, p->series[i].x, p->series[i].n);
    finish(&c->x);
    for (size_t i = 0; i < p->n; i++)
        for (size_t k = 0; k < p->series[i].n; k++)
            c->missing += isfinite(p->series[i].x[k]) &&
                          !shows(&c->x, p->series[i].x[k]);
}

/* share (bins): of a series, in percent. */
static void count(const chart *c, const plot_series *s, size_t bins,
                  double *share)
{
    size_t known = 0;
    for (size_t k = 0; k < s->n; k++)
        known += isfinite(s->x[k]) != 0;
    for (size_t k = 0; k < s->n; k++)
        if (shows(&c->x, s->x[k])) {
            double at = (s->x[k] - c->x.low) / (c->x.high - c->x.low);
            share[(size_t)fmin(at * (double)bins, (double)bins - 1)] +=
                100. / (double)known;
        }
}

/* Its outlines: from the floor and back to it, where there is something. */
static void put_steps(chart *c, size_t series, size_t bins,
                      const double *share)
{
    double step = (c->x.to - c->x.from) / (double)bins;
    fprintf(c->f, "<path fill=\"%s\" fill-opacity=\".18\" stroke=\"%s\" "
            "stroke-width=\"1.5\" stroke-linejoin=\"round\" d=\"",
            colour(series), colour(series));
    for (size_t b = 0; b < bins; b++) {
        double left = c->x.from + step * (double)b;
        if (share[b] <= 0)
            continue;
        if (b == 0 || share[b - 1] <= 0)
            fprintf(c->f, "M%.1f %d", left, c->y.from);
        fprintf(c->f, "V%.1fH%.1f", place(&c->y, share[b]), left + step);
        if (b + 1 == bins || share[b + 1] <= 0)
            fprintf(c->f, "V%d", c->y.from);
    }
    fputs("\"/>\n", c->f);
}

static size_t bins_for(const plot *p)
{
    size_t most = 0;
    for (size_t i = 0; i < p->n; i++)
        most = p->series[i].n > most ? p->series[i].n : most;
    return (size_t)fmax(5, fmin(BINS, sqrt((double)most)));
}

cg_err plot_histogram(const plot *p, const char *path)
{
    chart c = {.p = p, .x = nothing, .y = {0, 1, TOP + HIGH, TOP}};
    size_t bins = bins_for(p);
    double *share = cg_xcalloc(p->n * bins + 1, sizeof *share), most = 0;
    frame_values(&c);
    c.x.from = LEFT;
    c.x.to = LEFT + HIGH * 5 / 4;
    for (size_t i = 0; i < p->n; i++)
        count(&c, &p->series[i], bins, share + i * bins);
    for (size_t i = 0; i < p->n * bins; i++)
        most = fmax(most, share[i]);
    c.y.high = most > 0 ? most * 1.05 : 1;
    cg_err err = cg_out_open(&c.out, path);
    if (err == CG_OK) {
        c.f = c.out.f;
        put_head(&c);
        put_axis(&c, &c.x, p->x, false);
        put_axis(&c, &c.y, "share of networks, %", true);
        fputs("<g class=\"steps\">\n", c.f);
        for (size_t i = 0; i < p->n; i++)
            put_steps(&c, i, bins, share + i * bins);
        fputs("</g>\n", c.f);
        err = put_end(&c);
    }
    cg_xfree(share);
    return err;
}
