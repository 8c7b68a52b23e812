/* A picture of one network, as the learner sees it. */
#ifndef CG_TOOLS_DRAW_H
#define CG_TOOLS_DRAW_H

#include "base/err.h"

#define DRAW_NODES 2000 /* more make a picture that no one can look at */

/* Draws a network (MODEL.onnx, GRAPH.cg or FAMILY:CODE) to an SVG file by
 * graphviz's program dot: a box a node, top to bottom, coloured by the kind of
 * operator; BatchNorm is folded. Whole or not at all. CG_EIO: there is no dot,
 * or it fails; CG_ELIMIT: more nodes than DRAW_NODES. */
cg_err draw_network(const char *name, const char *path);

#endif
