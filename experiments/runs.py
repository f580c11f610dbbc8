"""Reading runs: what RUN/metrics.h5 holds (src/io/metrics.h describes it), and what the paper says beside it."""

import csv
import re
import sys
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


class Run:
    """One run. epoch: column name -> array; test: "loss", "accuracy", or empty; facts: name -> text."""

    def __init__(self, folder):
        self.folder = Path(folder)
        with h5py.File(self.folder / "metrics.h5", "r") as file:
            self.epoch = {name: data[()] for name, data in file["epoch"].items()}
            test = file["test"].attrs
            self.test = {name: float(test[name]) for name in ("loss", "accuracy") if name in test}
            self.facts = {name: data.asstr()[()] for name, data in file["provenance"].items() if data.shape == ()}
        # As it was given on the command line: "experiments/table1/row6-published.yaml".
        name = re.search(r"table(\d+)/row(\d+)-(\w+)\.yaml$", self.facts.get("config", ""))
        self.table, self.row = (int(name[1]), int(name[2])) if name else (None, None)
        self.reading = name[3] if name else None
        self.data_set = self.facts.get("data_set", "unknown")

    @property
    def epochs(self):
        return len(self.epoch["epoch"])

    @property
    def title(self):
        """What was run, in one line."""
        what = (f"Table {self.table}, row {self.row}, as {self.reading}" if self.table
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


def read_runs(folders):
    """The runs of these folders; ends the program with one line if one cannot be read."""
    try:
        return [Run(folder) for folder in folders]
    except (OSError, KeyError) as error:
        sys.exit(f"no history of a run: {error}")


def count(number, noun):
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
