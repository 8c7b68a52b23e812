#!/usr/bin/env python3
"""Takes the weights out of ONNX files: dims and types stay, data goes.

    strip_weights.py IN.onnx OUT.onnx

Initializers of more than 64 elements lose their data, smaller ones keep it,
since shapes may depend on them. Doc strings and metadata go too. The result
is no valid model to run, but has all that a reader of the graph needs.
"""
import sys

MAX_ELEMENTS = 64
DATA = ('float_data', 'int32_data', 'string_data', 'int64_data', 'raw_data',
        'double_data', 'uint64_data', 'external_data', 'data_location')


def strip_tensor(t):
    count = 1
    for d in t.dims:
        count *= d
    if count > MAX_ELEMENTS:
        for field in DATA:
            t.ClearField(field)
    t.ClearField('doc_string')


def strip_node(node):
    node.ClearField('doc_string')
    node.ClearField('metadata_props')
    for a in node.attribute:
        a.ClearField('doc_string')
        if a.HasField('t'):
            strip_tensor(a.t)
        for t in a.tensors:
            strip_tensor(t)
        if a.HasField('g'):
            strip_graph(a.g)
        for g in a.graphs:
            strip_graph(g)


def strip_graph(graph):
    graph.ClearField('doc_string')
    graph.ClearField('metadata_props')
    for t in graph.initializer:
        strip_tensor(t)
    for v in list(graph.value_info) + list(graph.input) + list(graph.output):
        v.ClearField('doc_string')
        v.ClearField('metadata_props')
    for node in graph.node:
        strip_node(node)


def strip(model):
    model.ClearField('doc_string')
    model.ClearField('metadata_props')
    strip_graph(model.graph)
    for f in model.functions:
        f.ClearField('doc_string')
        f.ClearField('metadata_props')
        for node in f.node:
            strip_node(node)


def main():
    import onnx
    model = onnx.load(sys.argv[1], load_external_data=False)
    strip(model)
    onnx.save(model, sys.argv[2])


if __name__ == '__main__':
    main()
