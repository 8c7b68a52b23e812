/* Charts as SVG: scatter plots and histograms of several series, each of them
 * in a colour that colour-blind people tell from the others, with a legend. */
#ifndef CG_TOOLS_PLOT_H
#define CG_TOOLS_PLOT_H

#include <stddef.h>

#include "base/err.h"

typedef struct plot_series {
    const char *name; /* any bytes: what XML cannot hold is shown as '?' */
    const double *x, *y; /* (n); histograms have no y */
    size_t n;
} plot_series;

/* Values that are not finite are left out. So are a few far ones: where less
 * than 2 % of a series at one end take as much room as all others, they would
 * press the picture flat. The note then says how many are missing. */
typedef struct plot {
    const char *title, *note; /* note: a line below the title, or NULL */
    const char *x, *y; /* names of the axes; NULL: the axis has no meaning, and
                          no numbers */
    const plot_series *series;
    size_t n;
} plot;

/* Points; with `equal` both axes show one range, and a line where they are
 * equal. Written whole or not at all. */
cg_err plot_scatter(const plot *p, int equal, const char *path);

/* Outlines of the share of each series, in percent, that is in each bin: more
 * bins where there are more values, at most 40. p->y is not read. */
cg_err plot_histogram(const plot *p, const char *path);

#endif
