"""Just enough of protobuf's wire format for ONNX models in tests and benches.

Writing: each function gives the content of a message, field() wraps it.
"""
FLOAT, INT64, DOUBLE = 1, 7, 11


def varint(n):
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 0x7f:
        out.append(n & 0x7f | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def field(number, value):
    """An int is a varint, text and bytes are length-delimited."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def attr(name, i=None, ints=None, s=None, g=None):
    out = field(1, name)
    if i is not None:
        return out + field(3, i) + field(20, 2)
    if ints is not None:
        return out + b''.join(field(8, k) for k in ints) + field(20, 7)
    if s is not None:
        return out + field(4, s) + field(20, 3)
    return out + field(6, g) + field(20, 5)


def node(op, ins, outs, *attributes, name='', domain=''):
    out = b''.join(field(1, n) for n in ins)
    out += b''.join(field(2, n) for n in outs)
    out += field(3, name) if name else b''
    out += field(4, op)
    out += b''.join(field(5, a) for a in attributes)
    return out + (field(7, domain) if domain else b'')


def tensor(name, dims, dtype, values=()):
    """values: int64 elements; none: as if the weights were stripped."""
    out = b''.join(field(1, d) for d in dims) + field(2, dtype)
    out += b''.join(field(7, varint(v)) for v in values)
    return out + field(8, name)


def info(name, dims, dtype=FLOAT):
    """ValueInfoProto; a dim is a number or a name, dims None: no shape."""
    shape = b''
    if dims is not None:
        shape = field(2, b''.join(
            field(1, field(2 if isinstance(d, str) else 1, d))
            for d in dims))
    return field(1, name) + field(2, field(1, field(1, dtype) + shape))


def graph(nodes, inputs, outputs, tensors=()):
    return (b''.join(field(1, n) for n in nodes) + field(2, 'g')
            + b''.join(field(5, t) for t in tensors)
            + b''.join(field(11, i) for i in inputs)
            + b''.join(field(12, o) for o in outputs))


def model(content, opset=17):
    return field(1, 8) + field(7, content) + field(8, field(2, opset))


def head(number, length):
    """The start of a field whose `length` bytes follow."""
    return varint(number << 3 | 2) + varint(length)


def write_model(path, parts, opset=13):
    """Writes a model whose graph is `parts`: bytes, or (name, dims) for a float
    initializer whose content is left a hole in the file (zeros), so that files
    over 2 GB cost neither memory nor disk."""
    sized = []
    for part in parts:
        if isinstance(part, bytes):
            sized.append((part, 0))
            continue
        name, dims = part
        size = 4
        for d in dims:
            size *= d
        start = tensor(name, dims, FLOAT)
        start += head(9, size)  # raw_data comes last
        sized.append((head(5, len(start) + size) + start, size))
    with open(path, 'wb') as f:
        f.write(field(1, 8) + field(8, field(2, opset)))
        f.write(head(7, sum(len(b) + hole for b, hole in sized)))
        for data, hole in sized:
            f.write(data)
            f.seek(hole, 1)
        f.truncate()


# -- reading ------------------------------------------------------------------

def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7f) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields(data):
    """(number, int or memoryview) of each field of a message."""
    data, at = memoryview(data), 0
    while at < len(data):
        key, at = read_varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = read_varint(data, at)
        else:
            size = {1: 8, 5: 4}.get(kind)
            if size is None:
                size, at = read_varint(data, at)
            value = data[at:at + size]
            at += size
        yield key >> 3, value


def texts(message, number):
    return [bytes(v).decode('utf-8', 'replace')
            for k, v in fields(message) if k == number]


class ReadModel:
    """Of a model's main graph: .nodes as (operator, inputs, outputs), those of
    bodies as .inner; .tensors, the initializers, as name -> (data type, dims),
    and what Constant nodes hold as .constants likewise."""

    def __init__(self, data):
        self.nodes, self.inner = [], []
        self.tensors, self.constants = {}, {}
        for number, content in fields(data):
            if number == 7:
                self.read_graph(content, self.nodes)

    def read_graph(self, content, nodes):
        for number, item in fields(content):
            if number == 1:
                self.read_node(item, nodes)
            elif number == 5:
                name = ''.join(texts(item, 8))
                self.tensors[name] = self.read_tensor(item)

    def read_node(self, item, nodes):
        op, outputs = ''.join(texts(item, 4)), texts(item, 2)
        nodes.append((op, texts(item, 1), outputs))
        for number, attribute in fields(item):
            if number == 5:
                for k, body in fields(attribute):
                    if k in (6, 11):
                        self.read_graph(body, self.inner)
                    elif k == 5 and op == 'Constant':
                        self.constants[outputs[0]] = self.read_tensor(body)

    @staticmethod
    def read_tensor(item):
        dims, dtype = [], 0
        for number, value in fields(item):
            if number == 1 and isinstance(value, int):
                dims.append(value)
            elif number == 1:  # packed
                at = 0
                while at < len(value):
                    d, at = read_varint(value, at)
                    dims.append(d)
            elif number == 2:
                dtype = value
        return dtype, dims
