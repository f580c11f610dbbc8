"""Trains the cells of the grid that are not done, each by a process of its own, and writes their result files and the
report. launch/reproduce.sh calls it in the top folder of the repository and says what the options mean."""

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import grid  # noqa: E402
import report  # noqa: E402
import results  # noqa: E402
from program import EXPERIMENTS, Failed, Program  # noqa: E402
from progress import Progress  # noqa: E402

STOPPED, BUSY = 75, 73
EPOCH = re.compile(r"^epoch (\d+)/(\d+) \|.* (\d+) images/s")


class Stop:
    """A signal: trainings that run write a checkpoint and end, others do not begin."""

    def __init__(self):
        self.wanted, self.children, self.lock = False, set(), threading.Lock()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self.stop)

    def stop(self, *_):
        self.wanted = True
        for child in list(self.children):
            child.send_signal(signal.SIGUSR1)

    def start(self, command, **how):
        with self.lock:
            child = subprocess.Popen(command, **how)
            self.children.add(child)
        if self.wanted:
            child.send_signal(signal.SIGUSR1)
        return child


class Work:
    """The cells that are to be done, and how far they are."""

    def __init__(self, options, program):
        self.options, self.program = options, program
        self.stop, self.failed = Stop(), []
        self.bits, self.digest = program.bits(), None
        self.free_devices = list(range(options.gpus))

    def is_done(self, cell):
        path = results.path_of(self.options.results, cell)
        return path.exists() and results.is_done(path, cell, self.program, self.digest, self.bits)

    def environment(self):
        """Of several GPUs each training takes one."""
        if not self.free_devices:
            return None, None
        device = self.free_devices.pop()
        return device, {**os.environ, "CUDA_VISIBLE_DEVICES": str(device)}

    def train(self, cell, progress):
        folder = self.options.runs / cell.row.name / f"seed{cell.seed}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        device, environment = self.environment()
        try:
            # A training that an earlier call left behind ends within a step or an evaluation.
            for attempt in range(30):
                code = self.train_once(cell, folder, environment, progress)
                if code != BUSY or self.stop.wanted:
                    break
                time.sleep(min(1 + attempt, 10))
        finally:
            if device is not None:
                self.free_devices.append(device)
        log = folder.with_suffix(".log")
        if code < 0 and self.stop.wanted:
            return STOPPED  # the signal came before the program had its handler
        if code not in (0, STOPPED):
            raise Failed(f"exit {code}: {last_line(log)}")
        if code == 0:
            result = results.of_run(cell, folder, self.program)
            if result["bits"] != self.bits:
                raise ValueError(f"{folder} holds a run of bits {result['bits']}, and this program's are {self.bits}: "
                                 "remove that folder")
            results.write(results.path_of(self.options.results, cell), result)
        return code

    def train_once(self, cell, folder, environment, progress):
        with open(folder.with_suffix(".log"), "w", encoding="utf-8") as log:
            child = self.stop.start(self.program.train_command(cell, folder), stdin=subprocess.DEVNULL,
                                    stdout=subprocess.PIPE, stderr=log, encoding="utf-8", env=environment)
            for line in child.stdout:
                log.write(line)
                epoch = EPOCH.match(line)
                if epoch:
                    progress.epoch(cell, *(int(number) for number in epoch.groups()))
            code = child.wait()
        self.stop.children.discard(child)
        return code

    def do(self, cell, progress):
        if self.stop.wanted:
            return
        try:
            if self.is_done(cell):
                progress.done(cell, "done before")
                return
            progress.begin(cell)
            if self.train(cell, progress) == 0:
                progress.done(cell)
        except (Failed, ValueError, OSError, KeyError, results.Unfinished) as error:
            self.failed.append(cell)
            progress.failed(cell, error)


def last_line(path):
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "no message"


def run(options, program, cells):
    """Exit code: 0, 1 where a cell failed, 75 where a signal came."""
    work = Work(options, program)
    options.runs.mkdir(parents=True, exist_ok=True)
    work.digest = program.digest(options.runs)
    with Progress(cells) as progress, ThreadPoolExecutor(options.jobs) as pool:
        for future in [pool.submit(work.do, cell, progress) for cell in cells]:
            future.result()
    for cell in work.failed:
        print(f"failed: {grid.label(cell)}", file=sys.stderr)
    return STOPPED if work.stop.wanted else 1 if work.failed else 0


def collect(options, program):
    """Result files of all finished runs below a folder, named CELL/seedN; those that are done already stay."""
    work, counts = Work(options, program), {"new": 0, "done before": 0, "unfinished": 0}
    code = 0
    for path in sorted(options.collect.glob("*/*/seed*/metrics.h5")):
        name, seed = "/".join(path.parts[-4:-2]), path.parent.name[len("seed"):]
        if name not in grid.BY_NAME or not seed.isdigit():
            print(f"passed over: {path.parent}: no cell of this name")
            continue
        cell = grid.Cell(grid.BY_NAME[name], int(seed))
        try:
            if work.digest is None:
                work.digest = results.digest_of(path)
            if work.is_done(cell):
                counts["done before"] += 1
                continue
            results.write(results.path_of(options.results, cell),
                          results.of_run(cell, path.parent, program, options.bits))
            counts["new"] += 1
            print(f"collected {grid.label(cell)}", flush=True)
        except results.Unfinished as unfinished:
            counts["unfinished"] += 1
            print(f"not finished: {unfinished}")
        except (Failed, ValueError, OSError, KeyError) as error:
            code = 1
            print(f"failed: {grid.label(cell)}: {error}", file=sys.stderr)
    print(", ".join(f"{count} {what}" for what, count in counts.items()))
    return code


SLURM = """#!/usr/bin/env bash
# One task a cell: sbatch {path}; then launch/reproduce.sh --collect {runs}
#SBATCH --job-name=reproduce
#SBATCH --array=1-{count}
#SBATCH --ntasks=1
#SBATCH --cpus-per-task={ranks}
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
set -euo pipefail
cd {here}
code=0
{top}/launch/reproduce.sh {words} --cell "$(sed -n "${{SLURM_ARRAY_TASK_ID}}p" {cells})" &
trap 'kill -TERM $!' USR1 TERM
wait $! || true
wait $! || code=$?
if ((code == 75)); then scontrol requeue "$SLURM_ARRAY_JOB_ID"_"$SLURM_ARRAY_TASK_ID"; fi
exit "$code"
"""


def write_slurm(options, cells, words):
    script, names = options.runs / "array.sbatch", options.runs / "cells.txt"
    options.runs.mkdir(parents=True, exist_ok=True)
    names.write_text("".join(f"{grid.label(cell)}\n" for cell in cells), encoding="utf-8")
    script.write_text(SLURM.format(path=script, runs=options.runs, count=len(cells), ranks=options.ranks,
                                   here=shlex.quote(str(Path.cwd())), top=shlex.quote(str(EXPERIMENTS.parent)),
                                   cells=shlex.quote(str(names.resolve())), words=shlex.join(words)), encoding="utf-8")
    print(f"{len(cells)} cells: sbatch {script}\nthen: launch/reproduce.sh --collect {options.runs}")
    return 0


def parse(arguments):
    parser = argparse.ArgumentParser(prog="launch/reproduce.sh", description=__doc__.split(". ", maxsplit=1)[0] + ".")
    add = parser.add_argument
    add("--only", action="append", default=[], metavar="GLOB", help="rows such as 'table1/row6-*' or table2; may be repeated")
    add("--seeds", type=int, default=1, metavar="N", help="seeds 1 to N of each row (default 1)")
    add("--epochs", type=int, metavar="N", help="fewer epochs than the paper's; results and report then go into runs/")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="a key for all cells; results likewise go into runs/")
    add("--device", help="auto, cpu or cuda")
    add("--jobs", type=int, metavar="N", help="trainings side by side (default: one a core, or a GPU)")
    add("--ranks", type=int, default=1, metavar="N", help="ranks of each training (default 1)")
    add("--data", metavar="FOLDER", help="default: as lockstep finds it")
    add("--lockstep", type=Path, default=EXPERIMENTS.parent / "build/release/lockstep", metavar="FILE", help="the program")
    add("--runs", type=Path, metavar="FOLDER", help="run folders (default runs/reproduce)")
    add("--results", type=Path, metavar="FOLDER", help="result files (default experiments/results)")
    add("--report", type=Path, metavar="FOLDER", help="REPORT.md and report.html (default: beside the results)")
    add("--collect", type=Path, metavar="FOLDER", help="train nothing; take the finished runs below FOLDER, CELL/seedN")
    add("--bits", type=int, metavar="N", help="with --collect: version of the bits of a build that did not record it")
    add("--slurm", action="store_true", help="train nothing; write a job array with one task a cell")
    add("--cell", metavar="CELL/seedN", help="this one cell, and no report")
    add("--only-report", action="store_true", help="train nothing; the report of the result files that are there")
    add("--list", action="store_true", help="print the cells and stop")
    return parser.parse_args(arguments)


def complete(options):
    """Fills in what depends on other options or on the machine."""
    options.gpus = 0
    if options.device == "cuda":
        listed = subprocess.run(["nvidia-smi", "-L"], stdout=subprocess.PIPE, encoding="utf-8", check=False)
        options.gpus = len(listed.stdout.splitlines())
    cores = len(os.sched_getaffinity(0))
    options.jobs = options.jobs or options.gpus or max(1, cores // options.ranks)
    options.settings = dict(word.split("=", 1) for word in options.set)
    if options.epochs:
        options.settings["epochs"] = str(options.epochs)
    short = bool(options.settings)
    options.runs = options.runs or EXPERIMENTS.parent / "runs" / ("reproduce-short" if short else "reproduce")
    options.results = options.results or (options.runs / "results" if short else EXPERIMENTS / "results")
    options.report = options.report or options.results.parent
    for name in ("runs", "results", "report", "lockstep"):
        setattr(options, name, getattr(options, name).resolve())


def main(arguments):
    options = parse(arguments)
    complete(options)
    rows = grid.chosen(options.only)
    if not rows:
        sys.exit(f"reproduce.sh: no row fits {' '.join(options.only)}; --list prints them")
    cells = grid.cells(rows, range(1, options.seeds + 1))
    if options.cell:
        name, _, seed = options.cell.rpartition("/seed")
        cells = [grid.Cell(grid.BY_NAME[name], int(seed))]
    if options.list:
        print("\n".join(grid.label(cell) for cell in cells))
        return 0
    if options.slurm:
        words = [word for word in arguments if word != "--slurm"]
        return write_slurm(options, cells, words)
    code = 0
    if not options.only_report:
        words = [f"device={options.device}"] if options.device else []
        program = Program(options.lockstep, options.data, options.settings, words, options.ranks)
        code = collect(options, program) if options.collect else run(options, program, cells)
    if not options.cell and code != STOPPED:
        for path in report.write(options.results, options.report):
            print(path)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
