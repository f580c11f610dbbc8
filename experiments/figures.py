#!/usr/bin/env python3
"""Draws figures of a run: figures.py FIGURE RUN [-o FILE]; figures.py RUN is figures.py history RUN.

A figure is a function that takes a Run and returns a matplotlib Figure, and a line in FIGURES."""

import argparse
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402  (after the choice of the back end)
import numpy as np  # noqa: E402
from matplotlib.ticker import MaxNLocator  # noqa: E402

from runs import PAPER_EPOCHS, read_runs  # noqa: E402

# Blue and vermilion of the Okabe-Ito palette, which colour-blind readers tell apart.
COLOURS = {"train": "#0072B2", "validation": "#D55E00", "test": "#444444"}
LABELS = {"train": "training", "validation": "validation", "test": "test"}
STYLE = {
    "font.size": 10, "axes.titlesize": 11, "axes.titlelocation": "left",
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#888888",
    "axes.grid": True, "axes.axisbelow": True, "grid.color": "#e6e6e6", "grid.linewidth": 0.8,
    "xtick.color": "#444444", "ytick.color": "#444444", "legend.frameon": False,
}


def draw_measure(axes, run, measure):
    """One panel: loss or accuracy over the epochs and, if the run is that long, the paper's values after its last."""
    epoch = run.epoch["epoch"]
    paper = run.paper() if run.epochs >= PAPER_EPOCHS else {}
    diamond = dict(marker="D", markersize=7, markerfacecolor="white", markeredgewidth=1.5, linestyle="none")
    for part in ("train", "validation"):
        name = f"{part}_{measure}"
        if not np.isfinite(run.epoch[name]).any():
            continue
        axes.plot(epoch, run.epoch[name], color=COLOURS[part], linewidth=1.8, label=LABELS[part],
                  marker="o", markersize=3.5 if run.epochs <= 40 else 0)
        if name in paper:
            axes.plot(PAPER_EPOCHS, paper[name], color=COLOURS[part], clip_on=False, zorder=3, **diamond)
    if measure in run.test and run.epochs:
        axes.plot(epoch[-1], run.test[measure], color=COLOURS["test"], marker="*", markersize=10, clip_on=False,
                  linestyle="none", label=LABELS["test"], zorder=4)
    if paper:
        axes.plot([], [], color="#444444", label=f"paper, epoch {PAPER_EPOCHS}", **diamond)
    axes.set_title(measure.capitalize())
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, steps=[1, 2, 5, 10]))
    last = max(run.epochs, 2)
    axes.set_xlim(1 - 0.02 * last, 1.02 * last)


def history(run):
    """Loss and accuracy over the epochs, on the training and the validation set."""
    figure, panels = plt.subplots(1, 2, figsize=(10, 4.2), constrained_layout=True)
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1, wspace=0.03)
    for axes, measure in zip(panels, ("loss", "accuracy")):
        draw_measure(axes, run, measure)
    panels[0].set_ylim(bottom=0)
    panels[0].legend(loc="upper right")
    figure.suptitle(run.title, x=0.012, ha="left", fontsize=12, fontweight="bold")
    return figure


FIGURES = {"history": history}


def main(arguments):
    if arguments and arguments[0] not in FIGURES and not arguments[0].startswith("-"):
        arguments = ["history", *arguments]
    parser = argparse.ArgumentParser(description="Draws figures of a run.")
    figures = parser.add_subparsers(dest="figure", required=True, metavar="FIGURE")
    for name, draw in FIGURES.items():
        figure = figures.add_parser(name, help=draw.__doc__, description=draw.__doc__)
        figure.add_argument("run", type=Path, help="run folder, for example runs/quickstart")
        figure.add_argument("-o", "--output", type=Path, help=f"picture to write (default: RUN/{name}.png)")
    options = parser.parse_args(arguments)
    output = options.output or options.run / f"{options.figure}.png"
    [run] = read_runs([options.run])
    with plt.rc_context(STYLE):
        FIGURES[options.figure](run).savefig(output, dpi=150)
    print(output)


if __name__ == "__main__":
    main(sys.argv[1:])
