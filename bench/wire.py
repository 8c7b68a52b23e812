"""ONNX files written as protobuf wire bytes, without protobuf, which refuses
messages over 2 GB and is slow for graphs of many nodes."""


def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def number(field, n):
    return varint(field << 3) + varint(n)


def head(field, length):
    return varint(field << 3 | 2) + varint(length)


def chunk(field, data):
    data = data.encode() if isinstance(data, str) else data
    return head(field, len(data)) + data


def node(op, inputs, output, name=""):
    return chunk(1, b"".join(chunk(1, i) for i in inputs) + chunk(2, output) +
                 chunk(3, name or output) + chunk(4, op))


def value_info(field, name, dims):
    shape = b"".join(chunk(1, number(1, d)) for d in dims)
    tensor = number(1, 1) + chunk(2, shape)
    return chunk(field, chunk(1, name) + chunk(2, chunk(1, tensor)))


def tensor_head(name, dims):
    """A float tensor but for its raw_data, whose field must come last."""
    return (b"".join(number(1, d) for d in dims) + number(2, 1) +
            chunk(8, name))


def write_model(path, parts):
    """Writes ModelProto{graph{parts}}. A part is bytes, or (name, dims) for an
    initializer whose content is left a hole in the file (zeros)."""
    sized = []
    for part in parts:
        if isinstance(part, bytes):
            sized.append((part, 0))
            continue
        name, dims = part
        size = 4
        for d in dims:
            size *= d
        tensor = tensor_head(name, dims) + head(9, size)
        sized.append((head(5, len(tensor) + size) + tensor, size))
    length = sum(len(b) + hole for b, hole in sized)
    with open(path, "wb") as f:
        f.write(number(1, 8) + chunk(8, chunk(1, "") + number(2, 13)))
        f.write(head(7, length))
        for data, hole in sized:
            f.write(data)
            if hole:
                f.seek(hole, 1)
        f.truncate()
