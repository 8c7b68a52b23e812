#!/usr/bin/env python3
"""Exports the twin of nets.Plain through TensorFlow and tf2onnx.

    export_tf.py OUTDIR

writes OUTDIR/plain/tf13.onnx and tf17.onnx, channels last, without weights.
Needs tensorflow-cpu and tf2onnx, best in an environment of their own, as they
hold back other packages; exit 77 without them.
"""
import os
import pathlib
import sys

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
try:
    import numpy as np
    import onnx
    import tensorflow as tf
    import tf2onnx
except ImportError as e:
    print(f'skipped: {e}')
    sys.exit(77)

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from strip_weights import strip  # noqa: E402

L = tf.keras.layers


def conv(x, n, size=3, activation='relu'):
    x = L.Conv2D(n, size, padding='same', use_bias=False)(x)
    x = L.BatchNormalization()(x)
    return L.Activation(activation)(x) if activation else x


def plain():
    inputs = tf.keras.Input((32, 32, 3), batch_size=1, name='input')
    x = L.MaxPooling2D(2)(conv(conv(inputs, 16), 16))
    y = L.DepthwiseConv2D(3, padding='same', use_bias=False)(x)
    y = L.ReLU(6.0)(L.BatchNormalization()(y))
    y = conv(y, 16, 1, None)
    x = L.Activation('relu')(L.Add()([x, y]))
    x = L.Dense(10)(L.GlobalAveragePooling2D()(x))
    return tf.keras.Model(inputs, L.Softmax()(x))


def main():
    out = pathlib.Path(sys.argv[1]) / 'plain'
    out.mkdir(parents=True, exist_ok=True)
    net = plain()
    # fresh zeros would be optimised away
    net.set_weights([np.random.rand(*w.shape) for w in net.get_weights()])
    call = tf.function(lambda x: net(x, training=False))
    spec = [tf.TensorSpec((1, 32, 32, 3), tf.float32, name='input')]
    for opset in (13, 17):
        model, _ = tf2onnx.convert.from_function(
            call, input_signature=spec, opset=opset)
        strip(model)
        path = out / f'tf{opset}.onnx'
        onnx.save(model, str(path))
        print(f'{path}: {path.stat().st_size} bytes')


if __name__ == '__main__':
    main()
