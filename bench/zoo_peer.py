"""The networks of NAS-Bench-101 as a plain Python program would build them: a
networkx graph from a code, a node per operator with its kernel and its output
(H, W, C). Then BatchNorm is folded into the convolution before it, parameters,
multiply-adds and FLOPs are summed over the nodes, and networkx hashes the
graph: in three rounds, as it does by default, or in as many as it is deep."""
import networkx as nx

KERNEL = {"conv3x3": 3, "conv1x1": 1, "maxpool3x3": 3}


def read_code(code):
    """Names of the operators, and for each vertex those it reads."""
    names, edges = code.split(";")
    names = names.split()
    reads = [[] for _ in range(len(names) + 2)]
    for edge in edges.split():
        a, b = edge.split("-")
        reads[int(b)].append(int(a))
    return names, reads


def share_channels(names, reads, cout):
    """Channels of each vertex: those in front of the output share its
    channels, others have the most of what reads them."""
    last = len(names) + 1
    channels = [0] * last
    direct = [v for v in reads[last] if v > 0]
    for k, v in enumerate(direct):
        channels[v] = cout // len(direct) + (k < cout % len(direct))
    for v in range(last - 1, 0, -1):
        if v not in direct:
            channels[v] = max(channels[w] for w in range(v + 1, last)
                              if v in reads[w])
    return channels


class Builder:
    def __init__(self):
        self.graph = nx.DiGraph()
        self.count = 0

    def node(self, op, inputs, h, w, c, kernel=1, cin=0):
        self.count += 1
        self.graph.add_node(self.count, op=op, h=h, w=w, c=c, kernel=kernel,
                            cin=cin)
        for x in inputs:
            self.graph.add_edge(x, self.count)
        return self.count

    def shape(self, x):
        node = self.graph.nodes[x]
        return node["h"], node["w"], node["c"]

    def conv(self, x, c, kernel, cin=None):
        h, w, have = self.shape(x)
        cin = cin or have
        x = self.node("conv", [x], h, w, c, kernel, cin)
        x = self.node("batchnorm", [x], h, w, c)
        return self.node("relu", [x], h, w, c)

    def apply(self, name, x, c):
        """The operator on the first c channels of x: a cut is no node."""
        h, w, _ = self.shape(x)
        if name == "maxpool3x3":
            return self.node("maxpool", [x], h, w, c, 3)
        return self.conv(x, c, KERNEL[name], c)

    def add(self, terms, c):
        if len(terms) == 1:
            return terms[0]
        h, w, _ = self.shape(terms[0])
        return self.node("add", terms, h, w, c)

    def cell(self, names, reads, x, cout):
        last = len(names) + 1
        channels = share_channels(names, reads, cout)
        value = [x]
        for v in range(1, last):
            c = channels[v]
            terms = [self.conv(x, c, 1) if p == 0 else value[p]
                     for p in reads[v]]
            value.append(self.apply(names[v - 1], self.add(terms, c), c))
        parts = [value[v] for v in reads[last] if v > 0]
        ends = []
        if len(parts) == 1:
            ends = parts
        elif parts:
            h, w, _ = self.shape(parts[0])
            ends = [self.node("concat", parts, h, w, cout)]
        if 0 in reads[last]:
            ends.append(self.conv(x, cout, 1))
        return self.add(ends, cout)


def build(code):
    names, reads = read_code(code)
    b = Builder()
    x = b.conv(b.node("input", [], 32, 32, 3), 128, 3)
    for stack in range(3):
        if stack > 0:
            h, w, c = b.shape(x)
            x = b.node("maxpool", [x], h // 2, w // 2, c, 2)
        for _ in range(3):
            x = b.cell(names, reads, x, 128 << stack)
    c = b.shape(x)[2]
    x = b.node("mean", [x], 1, 1, c)
    x = b.node("matmul", [x], 1, 1, 10, 1, c)
    b.node("output", [x], 1, 1, 10)
    return b.graph


def fold(graph):
    """Who reads a BatchNorm reads the convolution before it, with a bias."""
    norms = [x for x, op in graph.nodes(data="op") if op == "batchnorm"]
    for x in norms:
        conv = next(graph.predecessors(x))
        for reader in list(graph.successors(x)):
            graph.add_edge(conv, reader)
        graph.remove_node(x)


def count(graph):
    """(params, macs, flops) of a folded graph."""
    params = macs = flops = 0
    for x, node in graph.nodes(data=True):
        op, size = node["op"], node["h"] * node["w"] * node["c"]
        if op in ("conv", "matmul"):
            weight = node["kernel"] ** 2 * node["cin"]
            params += weight * node["c"] + node["c"]
            macs += weight * size
            flops += 2 * weight * size + size
        elif op == "relu":
            flops += size
        elif op == "maxpool":
            flops += node["kernel"] ** 2 * size
        elif op == "add":
            flops += (graph.in_degree(x) - 1) * size
        elif op == "mean":
            before = graph.nodes[next(graph.predecessors(x))]
            flops += before["h"] * before["w"] * before["c"]
    return params, macs, flops


def digest(graph, rounds=3):
    for _, node in graph.nodes(data=True):
        node["label"] = "{op} {h} {w} {c} {kernel} {cin}".format(**node)
    return nx.weisfeiler_lehman_graph_hash(graph, node_attr="label",
                                           iterations=rounds)
