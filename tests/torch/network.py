"""A network of lockstep's resolved configuration as a PyTorch module with the same names.

A new layer type is one more function in LAYERS; networks need nothing here.
"""
import torch
from torch import nn


class Lists(nn.Module):
    """A module whose layers stand in lists: of `sequential`, of the branches of `residual`."""

    def __init__(self):
        super().__init__()
        self.lists = {}

    def run(self, name, x):
        for module in self.lists[name]:
            x = module(x)
        return x


class Sequential(Lists):
    def forward(self, x):
        return self.run("layers", x)


class Residual(Lists):
    def forward(self, x):
        return self.run("body", x) + self.run("shortcut", x)


class InstanceNormAdded(nn.Module):
    """Report 2's form: (x - mean) / (standard deviation + eps)."""

    def __init__(self, channels, eps, affine):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, x):
        mean = x.mean(dim=(2, 3), keepdim=True)
        deviation = ((x - mean) ** 2).mean(dim=(2, 3), keepdim=True).sqrt()
        x = (x - mean) / (deviation + self.eps)
        if self.weight is None:
            return x
        return x * self.weight[:, None, None] + self.bias[:, None, None]


class MaxPoolAll(nn.Module):
    """Max pooling whose every maximum gets the gradient: amax would share it out."""

    def __init__(self, kernel, stride, pad):
        super().__init__()
        self.kernel, self.stride, self.pad = kernel, stride, pad

    def forward(self, x):
        x = nn.functional.pad(x, 4 * (self.pad,), value=float("-inf"))
        windows = x.unfold(2, self.kernel, self.stride).unfold(3, self.kernel, self.stride)
        largest = windows.amax(dim=(4, 5))
        with torch.no_grad():
            chosen = windows == largest[..., None, None]
        ties = torch.where(chosen, windows, torch.zeros((), dtype=x.dtype)).sum(dim=(4, 5))
        return largest.detach() + ties - ties.detach()


def batchnorm(s, x):
    kind = nn.BatchNorm1d if x.dim() == 2 else nn.BatchNorm2d
    return kind(x.shape[1], eps=s["eps"], momentum=s.get("momentum", 0.1), affine=s["affine"])


def instance_norm(s, x):
    if s["eps_added"] == "deviation":
        return InstanceNormAdded(x.shape[1], s["eps"], s["affine"])
    return nn.InstanceNorm2d(x.shape[1], eps=s["eps"], affine=s["affine"])


def window(s):
    return s["kernel"], s["kernel"] if s["stride"] < 0 else s["stride"], s["pad"]


def max_pool(s, x):
    return (MaxPoolAll if s["ties"] == "all" else nn.MaxPool2d)(*window(s))


LAYERS = {
    "average_pool": lambda s, x: nn.AvgPool2d(*window(s)),
    "batchnorm": batchnorm,
    "conv2d": lambda s, x: nn.Conv2d(x.shape[1], s["channels"], s["kernel"], s["stride"], s["pad"],
                                     bias=s["bias"]),
    "dense": lambda s, x: nn.Linear(x.shape[1], s["units"], bias=s["bias"]),
    "dropout": lambda s, x: nn.Dropout(s["rate"]),
    "flatten": lambda s, x: nn.Flatten(),
    "gelu": lambda s, x: nn.GELU(approximate={"erf": "none", "tanh": "tanh"}[s["formula"]]),
    "global_average_pool": lambda s, x: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    "instance_norm": instance_norm,
    "leaky_relu": lambda s, x: nn.LeakyReLU(s["slope"]),
    "max_pool": max_pool,
    "relu": lambda s, x: nn.ReLU(),
    "sigmoid": lambda s, x: nn.Sigmoid(),
    "silu": lambda s, x: nn.SiLU(),
    "tanh": lambda s, x: nn.Tanh(),
}
NESTED = {"sequential": (Sequential, ["layers"]), "residual": (Residual, ["body", "shortcut"])}


class Network(nn.Module):
    """`config`: the resolved configuration, parsed. `.chains`: its lists of layers, as (name, type, settings)."""

    def __init__(self, config, height, width):
        super().__init__()
        self.chains = []
        self.top = []  # a plain list: the modules' names are given below
        images = torch.zeros(2, 1, height, width, dtype=torch.float64)
        self._append(config["network"], "", "", images, self.top)

    def forward(self, x):
        for module in self.top:
            x = module(x)
        return x

    def _attach(self, path, module):
        at, parts = self, path.split(".")
        for part in parts[:-1]:
            if not hasattr(at, part):
                at.add_module(part, nn.Module())
            at = getattr(at, part)
        at.add_module(parts[-1], module)

    def _append(self, layers, prefix, list_name, x, to):
        chain = []
        self.chains.append(chain)
        for place, layer in enumerate(layers):
            (kind, settings), = layer.items() if isinstance(layer, dict) else ((layer, {}),)
            settings = settings or {}
            name = prefix + (str(settings["name"]) if settings.get("name") else f"{list_name}{place}")
            chain.append((name, kind, settings))
            if kind in NESTED:
                make, lists = NESTED[kind]
                module = make()
                self._attach(name, module)
                for key in lists:
                    module.lists[key] = []
                    inner = f"{key}." if len(lists) > 1 else ""
                    self._append(settings.get(key) or [], f"{name}.", inner, x, module.lists[key])
            else:
                module = LAYERS[kind](settings, x).double()
                self._attach(name, module)
            with torch.no_grad():
                x = module.eval()(x)
            to.append(module.train())
        return x
