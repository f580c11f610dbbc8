"""The program lockstep, as a process: what a cell resolves to, and what it finds in a checkpoint."""

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

EXPERIMENTS = Path(__file__).resolve().parent.parent
# Keys that no number depends on: they say how a run is carried out.
RUN_KEYS = {"data", "output", "overwrite", "threads", "check_interval", "checkpoint_interval", "keep", "resume",
            "trail_interval", "timeout", "device", "record", "comm", "window", "fuse", "memory", "progress"}


class Failed(Exception):
    """A command ended with an error; the text says which and what it said last."""


def identity(config):
    """A resolved configuration without the keys that no number depends on."""
    return "".join(line for line in config.splitlines(True) if line.split(":")[0] not in RUN_KEYS)


class Program:
    """path: the binary; data: folder, or None for its own search; settings: overrides of all cells; words: further
    words of a training, such as device=cuda; ranks: of each training."""

    def __init__(self, path, data=None, settings=None, words=(), ranks=1):
        self.path, self.data, self.settings, self.words, self.ranks = str(path), data, settings or {}, list(words), ranks
        self.resolved_rows = {}

    def run(self, *words):
        done = subprocess.run([self.path, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, encoding="utf-8", check=False)
        if done.returncode != 0:
            last = (done.stderr.strip() or "no message").splitlines()[-1]
            raise Failed(f"lockstep {' '.join(words[:2])}: exit {done.returncode}: {last}")
        return done.stdout

    def on_data(self):
        return [f"data={self.data}"] if self.data else []

    def overrides(self, row):
        return [f"{key}={value}" for key, value in {**row.overrides, **self.settings}.items()]

    def resolved(self, cell):
        """What the cell's numbers depend on, as text."""
        if cell.row.name not in self.resolved_rows:
            text = self.run("train", str(EXPERIMENTS / cell.row.config), *self.on_data(), "seed=1",
                            *self.overrides(cell.row), "--dry-run")
            self.resolved_rows[cell.row.name] = identity(text)
        return re.sub(r"^seed: .*$", f"seed: {cell.seed}", self.resolved_rows[cell.row.name], flags=re.MULTILINE)

    def today(self, text):
        """A configuration that a run or a result has recorded, in today's form: an earlier build had fewer keys."""
        with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            return identity(self.run("train", file.name, *self.on_data(), "--dry-run"))

    def is_of(self, cell, text):
        """Is it the cell's?"""
        return text == self.resolved(cell) or self.today(text) == self.resolved(cell)

    def train_command(self, cell, folder):
        command = [self.path, "train", str(EXPERIMENTS / cell.row.config), *self.on_data(), f"seed={cell.seed}",
                   "threads=1", "progress=line", f"output={folder}", "resume=auto", "checkpoint_interval=980", "keep=1",
                   *self.words, *self.overrides(cell.row)]
        if self.ranks > 1:
            command = ["mpirun", "-n", str(self.ranks), *command]
        # When this process is killed, its trainings stop too, with a checkpoint.
        return ["setpriv", "--pdeathsig", "USR1", "--", *command] if shutil.which("setpriv") else command

    def bits(self):
        return int(re.search(r"^bits (\d+)$", self.run("--version"), re.MULTILINE)[1])

    def version(self):
        return re.match(r"lockstep (\S+)", self.run("--version"))[1]

    def digest(self, scratch):
        """That of the data, which only reading them tells: of one step of a small network on them."""
        import h5py
        small = "network=[flatten, {dense: {units: 10}}]"
        with tempfile.TemporaryDirectory(prefix="probe-", dir=scratch) as folder:  # others may be at work beside this one
            run = Path(folder) / "run"
            self.run("train", str(EXPERIMENTS / "table1/row1-stated.yaml"), *self.on_data(), small, "split=1", "batch=1",
                     "steps=1", "progress=none", f"output={run}")
            with h5py.File(run / "metrics.h5") as file:
                return file["provenance/data_digest"].asstr()[()]

    def evaluate(self, checkpoint):
        return json.loads(self.run("eval", str(checkpoint), *self.on_data(), "--json"))

    def attack(self, checkpoint, output):
        self.run("attack", str(checkpoint), *self.on_data(), "--output", str(output), "--force")
