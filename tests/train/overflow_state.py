"""Parameters with which a gradient overflows though the loss is finite.

    overflow_state.py OUT.h5 NAME=SHAPE:SCALE ..

Writes a state for `lockstep import`: NAME.weight of that shape (outputs x inputs x ..), of the magnitude SCALE, NAME.bias
of zeros. Signs alternate in the tensor named first; all others are positive, but for the first output of the last one, which
is 0, so that classes differ. A NAME without SCALE is a BatchNorm's of so many channels, whose state is that of a new one.
"""
import sys

import h5py
import numpy

generator = numpy.random.default_rng(1)
out, names = sys.argv[1], sys.argv[2:]
with h5py.File(out, "w") as file:
    for i, name in enumerate(names):
        name, _, shape = name.partition("=")
        shape, _, scale = shape.partition(":")
        shape = tuple(int(n) for n in shape.split("x"))
        if not scale:
            for part, value in (("weight", 2.0 ** -120), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
                file[f"{name}.{part}"] = numpy.full(shape, value, "<f4")
            file[f"{name}.num_batches_tracked"] = numpy.int64(0)
            continue
        weight = generator.uniform(0.5, 1, shape) * float.fromhex(scale)
        if i == 0:
            weight *= numpy.where(generator.random(shape) < 0.5, -1, 1)
        if i == len(names) - 1:
            weight[0] = 0
        file[f"{name}.weight"] = weight.astype("<f4")
        file[f"{name}.bias"] = numpy.zeros(shape[0], "<f4")
