"""Figures of a trained network: first-layer weights of an MLP (figure 6 of the first report), first-layer kernels of a
CNN (figure 8), and what its first layers make of an image (figures 7 and 9), computed here from the checkpoint."""

import math

import numpy as np

from drawing import SIGNED, grid_shape, show, signed_limit, start
from runs import Missing

MOST_UNITS = 100


def weights(run):
    """First-layer weights of an MLP, a picture for each hidden unit."""
    name, weight = run.first_weight()
    if weight.ndim != 2:
        raise Missing(f"the first layer ({name}) is a convolution: see kernels")
    height, width = run.image_shape()
    if weight.shape[1] != height * width:
        raise Missing(f"{name} does not read images of {height} x {width}")
    shown = weight[:MOST_UNITS]
    rows, columns = grid_shape(len(shown), 1.25)
    what = f"{len(shown)} of {len(weight)}" if len(shown) < len(weight) else f"all {len(weight)}"
    of = "pixels normalised by BatchNorm" if run.normalises_input() else "pixels"
    figure = start(10, 1 + 8.6 * rows / columns, run.model_title,
                   f"Weights of the first dense layer ({name}) on {of}, a picture for each hidden unit: {what}")
    limit = signed_limit(shown)
    axes = figure.subplots(rows, columns, squeeze=False)
    for place in axes.flat:
        place.set_axis_off()
    for place, row in zip(axes.flat, shown):
        picture = show(place, row.reshape(height, width), cmap=SIGNED, vmin=-limit, vmax=limit)
    figure.colorbar(picture, ax=axes, shrink=0.5, aspect=30, pad=0.01, extend="both", label="weight")
    return figure


def kernels(run):
    """First-layer kernels of a CNN."""
    name, weight = run.first_weight()
    if weight.ndim != 4:
        raise Missing(f"the first layer ({name}) is dense: see weights")
    rows, columns = grid_shape(len(weight), 2)
    figure = start(10, 1 + 8.4 * rows / columns, run.model_title,
                   f"First convolution ({name}): {len(weight)} kernels of {weight.shape[2]} x {weight.shape[3]}")
    limit = float(np.abs(weight).max()) or 1.0
    axes = figure.subplots(rows, columns, squeeze=False)
    for place in axes.flat:
        place.set_axis_off()
    for i, (place, kernel) in enumerate(zip(axes.flat, weight)):
        picture = show(place, kernel[0], cmap=SIGNED, vmin=-limit, vmax=limit)
        place.set_title(str(i), fontsize=8, loc="center", pad=2)
    figure.colorbar(picture, ax=axes, shrink=0.7, aspect=25, pad=0.01, label="weight")
    return figure


def convolve(image, weight, bias, stride, pad):
    """Cross-correlation, as the network's: image [height, width] -> [channels, height, width]."""
    padded = np.pad(image.astype(np.float64), pad)
    patches = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:])[::stride, ::stride]
    result = np.einsum("yxuv,kuv->kyx", patches, weight[:, 0].astype(np.float64))
    return result if bias is None else result + bias[:, None, None]


def gelu(z, keys):
    if keys.get("formula", "erf") == "tanh":
        return z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z ** 3))) / 2
    return z * (1 + np.vectorize(math.erf)(z / np.sqrt(2))) / 2


ACTIVATIONS = {
    "gelu": gelu,
    "leaky_relu": lambda z, keys: np.where(z > 0, z, float(keys.get("slope", "0.01")) * z),
    "relu": lambda z, keys: np.maximum(z, 0),
    "sigmoid": lambda z, keys: 1 / (1 + np.exp(-z)),
    "silu": lambda z, keys: z / (1 + np.exp(-z)),
    "tanh": lambda z, keys: np.tanh(z),
}


def apply(run, layer, maps):
    """What a layer behind the convolution makes of its maps in evaluation mode; None: not one that is known here."""
    column = (slice(None), None, None)
    tensor = run.tensors(layer.name)
    if layer.type in ACTIVATIONS:
        return ACTIVATIONS[layer.type](maps, layer.keys)
    if layer.type == "dropout":
        return maps
    eps = float(layer.keys.get("eps", "1e-5"))
    if layer.type == "batchnorm":
        maps = (maps - tensor["running_mean"][column]) / np.sqrt(tensor["running_var"][column] + eps)
    elif layer.type == "instance_norm":
        variance = maps.var(axis=(1, 2), keepdims=True)
        added = layer.keys.get("eps_added", "variance") == "deviation"
        maps = (maps - maps.mean(axis=(1, 2), keepdims=True)) / (
            np.sqrt(variance) + eps if added else np.sqrt(variance + eps))
    else:
        return None
    return maps * tensor["weight"][column] + tensor["bias"][column] if "weight" in tensor else maps


def first_maps(run, image):
    """The maps after the first convolution and the layers behind it, with the names of what was applied."""
    layers = run.layers()
    if not layers or layers[0].type != "conv2d":
        raise Missing("the first layer is no convolution")
    tensor, keys = run.tensors(layers[0].name), layers[0].keys
    maps = convolve(image * run.pixel_scale, tensor["weight"], tensor.get("bias"), int(keys["stride"]),
                    int(keys["pad"]))
    names = {"conv2d": "convolution", "batchnorm": "BatchNorm", "instance_norm": "instance norm", "relu": "ReLU"}
    applied = [names["conv2d"]]
    for layer in layers[1:]:
        after = apply(run, layer, maps)
        if after is None:
            break
        maps = after
        if layer.type != "dropout":
            applied.append(names.get(layer.type, layer.type))
        if layer.type in ACTIVATIONS:
            break
    return maps, applied


def activations(run):
    """A sample input of a CNN and what its first convolution, normalisation and activation make of it."""
    image, label = run.sample_image()
    maps, applied = first_maps(run, image)
    rows, columns = grid_shape(len(maps), 1.6)
    figure = start(10, 1 + 8.0 * rows / (columns + 2.2), run.model_title,
                   f"Test image of class {label}, and what the first layers make of it: {', '.join(applied)}")
    left, right = figure.subfigures(1, 2, width_ratios=[2.1, columns], facecolor="none")
    axes = left.subplots()
    show(axes, image, vmin=0, vmax=1)
    axes.set_title("input", fontsize=9, loc="center", pad=3)
    places = right.subplots(rows, columns, squeeze=False)
    signed = maps.min() < 0
    limit = signed_limit(maps)
    how = dict(cmap=SIGNED, vmin=-limit, vmax=limit) if signed else dict(cmap="gray", vmin=0, vmax=limit)
    for place in places.flat:
        place.set_axis_off()
    for i, (place, one) in enumerate(zip(places.flat, maps)):
        picture = show(place, one, **how)
        place.set_title(str(i), fontsize=8, loc="center", pad=2)
    right.colorbar(picture, ax=places, shrink=0.7, aspect=25, pad=0.02, extend="max" if not signed else "both",
                   label="activation")
    return figure
