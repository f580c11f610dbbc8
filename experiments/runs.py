"""Reading runs: what RUN/metrics.h5 holds (src/io/metrics.h describes it), and what the paper says beside it."""

import csv
import re
import sys
from collections import namedtuple
from pathlib import Path

import h5py
import numpy as np

# The measured quantities, in the order of the paper's tables, and what to call them.
MEASURES = {
    "train_loss": "training loss",
    "validation_loss": "validation loss",
    "train_accuracy": "training accuracy",
    "validation_accuracy": "validation accuracy",
    "test_accuracy": "test accuracy",
}
PAPER_EPOCHS = 30

# A layer of the network's list: type, name as in the names of its tensors, its keys as text, and its lists of layers.
Layer = namedtuple("Layer", "type name keys lists")


def parse_layers(lines, indent, prefix, place=""):
    """The list of layers that stands in lines (of a resolved configuration, a key a line) at an indentation; takes the
    lines that belong to it. A layer's name is prefix and its own name, or else prefix, `place` and number."""
    layers, item = [], re.compile(rf" {{{indent}}}- (\w+)(?::(?: \{{(.*)\}})?)?$")
    while lines and (found := item.match(lines[0])):
        lines.pop(0)
        keys, texts = {name: value.strip('"') for name, value in re.findall(r"(\w+): ([^,]*)", found[2] or "")}, {}
        inner = re.compile(rf" {{{indent + 4}}}(\w+):(?: (.*))?$")
        while lines and (line := inner.match(lines[0])):
            lines.pop(0)
            if line[2] is not None and line[2] != "[]":
                keys[line[1]] = line[2].strip('"')
                continue
            texts[line[1]] = []
            while lines and lines[0].startswith(" " * (indent + 6)):
                texts[line[1]].append(lines.pop(0))
        name = prefix + (keys.get("name") or f"{place}{len(layers)}")
        layers.append(Layer(found[1], name, keys, {
            key: parse_layers(text, indent + 6, f"{name}.", f"{key}." if len(texts) > 1 else "")
            for key, text in texts.items()}))
    return layers


def in_order(layers):
    """Layers with those of sequentials in their places."""
    for layer in layers:
        if layer.type == "sequential":
            yield from in_order(layer.lists.get("layers", []))
        else:
            yield layer


class Missing(Exception):
    """The run does not hold what is asked for; the text says what is missing and how to get it."""


class Run:
    """One run. epoch, step, tests: column name -> array; test, at the end: "loss", "accuracy", or empty; facts: name ->
    text; config: the resolved configuration as text, or empty. Checkpoints and the files of eval and attack are read when asked for."""

    def __init__(self, folder):
        self.folder = Path(folder)
        with h5py.File(self.folder / "metrics.h5", "r") as file:
            self.epoch = {name: data[()] for name, data in file["epoch"].items()}
            self.step = {name: data[()] for name, data in file.get("step", {}).items()}
            self.tests = {name: data[()] for name, data in file.get("tests", {}).items()}
            self.config = file["config/yaml"].asstr()[()] if "config/yaml" in file else ""
            test = file["test"].attrs
            self.test = {name: float(test[name]) for name in ("loss", "accuracy") if name in test}
            self.facts = {name: data.asstr()[()] for name, data in file["provenance"].items() if data.shape == ()}
        # As it was given on the command line: "experiments/table1/row6-published.yaml".
        name = re.search(r"table(\d+)/row(\d+)-(\w+)\.yaml$", self.facts.get("config", ""))
        self.table, self.row = (int(name[1]), int(name[2])) if name else (None, None)
        self.reading = name[3] if name else None
        self.cnn = re.search(r"cnn/network(\d+)-(\w+)\.yaml$", self.facts.get("config", ""))
        self.data_set = self.facts.get("data_set", "unknown")
        self.chosen_checkpoint = None

    @property
    def epochs(self):
        return len(self.epoch["epoch"])

    @property
    def title(self):
        """What was run, in one line."""
        what = (f"Table {self.table}, row {self.row}, as {self.reading}" if self.table
                else f"Report 2, network {self.cnn[1]}, as {self.cnn[2]}" if self.cnn
                else Path(self.facts.get("config", self.folder.name)).stem)
        data = self.data_set if self.data_set != "unknown" else "data set unknown"
        return f"{what}: {data}, {count(self.epochs, 'epoch')}"

    def measured(self):
        """The values after the last epoch, named as in MEASURES; what is not known is left out."""
        values = {name: float(self.epoch[name][-1]) for name in MEASURES if name in self.epoch and self.epochs}
        if "accuracy" in self.test:
            values["test_accuracy"] = self.test["accuracy"]
        return {name: value for name, value in values.items() if np.isfinite(value)}

    def paper(self):
        """The paper's values for this row, named as in MEASURES. Empty on other data than the paper's."""
        if self.data_set != "MNIST":
            return {}
        with open(Path(__file__).with_name("paper.csv"), newline="") as file:
            for line in csv.DictReader(file):
                if (int(line["table"]), int(line["row"])) == (self.table, self.row):
                    return {name: float(line[name]) for name in MEASURES if line[name]}
        return {}


    # --- the configuration

    def key(self, name, default=None):
        """A key of the resolved configuration, as text."""
        line = re.search(rf"^{name}: (.*)$", self.config, re.MULTILINE)
        return line[1].strip('"') if line else default

    @property
    def steps_per_epoch(self):
        samples, batch = int(self.key("samples_per_epoch", 0)) or int(self.key("split", 0)), int(self.key("batch", 0))
        if samples and batch:
            return -(-samples // batch)
        return len(self.step["step"]) // max(self.epochs, 1)

    @property
    def pixel_scale(self):
        """What the network is given for white."""
        return 255.0 if self.key("pixels") == "bytes" else 1.0

    def layers(self):
        """The layers of the network, one after another; those of a sequential in its place."""
        network = re.search(r"^network:\n((?: .*\n?)*)", self.config, re.MULTILINE)
        return list(in_order(parse_layers(network[1].splitlines(), 2, "") if network else []))

    def normalises_input(self):
        """Does BatchNorm come before the first dense layer?"""
        types = [layer.type for layer in self.layers()]
        return "batchnorm" in types and "dense" in types and types.index("batchnorm") < types.index("dense")

    # --- checkpoints

    @property
    def checkpoint(self):
        """The checkpoint's path: the one that was asked for, or the newest."""
        if self.chosen_checkpoint:
            return self.chosen_checkpoint
        steps = {int(path.stem.split("-")[1]): path for path in self.folder.glob("checkpoint-*.h5")
                 if path.stem.split("-")[1].isdigit()}
        if not steps:
            raise Missing(f"no checkpoint in {self.folder}")
        return steps[max(steps)]

    @property
    def model_title(self):
        """The model that a figure is of, in one line."""
        what = self.title.split(":")[0]
        return f"{what}: {self.data_set if self.data_set != 'unknown' else 'data set unknown'}"

    def tensors(self, layer):
        """The tensors of one layer, by their names in it: weight, bias, running_mean, .."""
        with h5py.File(self.checkpoint, "r") as file:
            return {name[len(layer) + 1:]: data[()] for name, data in file["model"].items()
                    if name.startswith(f"{layer}.") and "." not in name[len(layer) + 1:]}

    def first_weight(self):
        """Name and values of the first weight, [units, inputs] or of a convolution [channels, inputs, h, w]."""
        layers = self.layers()
        while layers:
            layer = layers.pop(0)
            if layer.type in ("dense", "conv2d"):
                return f"{layer.name}.weight", self.tensors(layer.name)["weight"]
            layers = [inner for branch in layer.lists.values() for inner in in_order(branch)] + layers
        raise Missing("the network has no dense layer and no convolution")

    def image_shape(self):
        with h5py.File(self.checkpoint, "r") as file:
            return int(file["progress"].attrs["height"]), int(file["progress"].attrs["width"])

    # --- what eval and attack found

    def result(self, verb):
        path = self.folder / f"{verb}.h5"
        if not path.exists():
            raise Missing(f"no {path.name}: lockstep {verb} {self.checkpoint} --output {path}")
        return h5py.File(path, "r")

    def evaluation(self, part):
        """Arrays (those of the worst mistakes as a dictionary) and attributes of the validation or test samples."""
        with self.result("eval") as file:
            if part not in file:
                raise Missing(f"eval.h5 has no {part} samples")
            arrays = {name: {inner: array[()] for inner, array in data.items()} if name == "worst" else data[()]
                      for name, data in file[part].items()}
            return arrays, dict(file[part].attrs)

    def attack(self):
        """The curve's columns, the number of samples, the examples' arrays."""
        with self.result("attack") as file:
            return ({name: data[()] for name, data in file["curve"].items()}, int(file["curve"].attrs["samples"]),
                    {name: data[()] for name, data in file["examples"].items()})

    def sample_image(self):
        """An image of the test set and its class, from the files of attack or eval."""
        for verb, group, image in (("attack", "examples", "original"), ("eval", "test/worst", "image")):
            path = self.folder / f"{verb}.h5"
            if not path.exists():
                continue
            with h5py.File(path, "r") as file:
                if group in file and len(file[group]["class"]):
                    return file[group][image][0], int(file[group]["class"][0])
        raise Missing(f"no image: lockstep attack {self.checkpoint} --output {self.folder / 'attack.h5'}")


def read_runs(folders):
    """The runs of these folders; ends the program with one line if one cannot be read."""
    try:
        return [Run(folder) for folder in folders]
    except (OSError, KeyError) as error:
        sys.exit(f"no history of a run: {error}")


def count(number, noun):
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
