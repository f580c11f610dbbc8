#!/usr/bin/env python3
"""Draws figures of a run from its HDF5 files: figures.py FIGURE RUN [-o FILE]; figures.py RUN draws the history.

A figure is a function that takes a Run and returns a matplotlib Figure, and a line in FIGURES. confusion and mistakes
want RUN/eval.h5 (lockstep eval RUN/checkpoint-N.h5 --output RUN/eval.h5), attack wants RUN/attack.h5 (lockstep attack,
likewise), activations one of them for an image."""

import argparse
import sys
from pathlib import Path

from drawing import STYLE, plt
from draw_history import history, iterations
from draw_network import activations, kernels, weights
from draw_results import attack, confusion, mistakes
from runs import Missing, read_runs

FIGURES = {figure.__name__: figure
           for figure in (history, iterations, weights, kernels, activations, confusion, mistakes, attack)}


def draw(name, run, output):
    with plt.rc_context(STYLE):
        figure = FIGURES[name](run)
        figure.savefig(output, dpi=150)
        plt.close(figure)
    print(output)


def draw_all(run, folder):
    """All that the run holds; says what it does not."""
    for name in FIGURES:
        try:
            draw(name, run, folder / f"{name}.png")
        except Missing as missing:
            print(f"no {name}: {missing}")


def parse(arguments):
    first, *rest = __doc__.split("\n\n")
    parser = argparse.ArgumentParser(description=first, epilog=" ".join(rest[0].split("\n")))
    figures = parser.add_subparsers(dest="figure", required=True, metavar="FIGURE")
    for name, function in FIGURES.items():
        figure = figures.add_parser(name, help=function.__doc__, description=function.__doc__)
        figure.add_argument("run", type=Path, help="run folder, for example runs/quickstart")
        figure.add_argument("-o", "--output", type=Path, help=f"picture to write (default: RUN/{name}.png)")
        figure.add_argument("--checkpoint", type=Path, help="default: the newest of the run")
    everything = figures.add_parser("all", help="All figures that the run's files allow.", description=draw_all.__doc__)
    everything.add_argument("run", type=Path, help="run folder, for example runs/quickstart")
    everything.add_argument("-o", "--output", type=Path, help="folder for the pictures (default: RUN)")
    everything.add_argument("--checkpoint", type=Path, help="default: the newest of the run")
    return parser.parse_args(arguments)


def main(arguments):
    if arguments and arguments[0] not in [*FIGURES, "all"] and not arguments[0].startswith("-"):
        arguments = ["history", *arguments]
    options = parse(arguments)
    [run] = read_runs([options.run])
    run.chosen_checkpoint = options.checkpoint
    try:
        if options.figure == "all":
            draw_all(run, options.output or options.run)
        else:
            draw(options.figure, run, options.output or options.run / f"{options.figure}.png")
    except (Missing, OSError) as error:
        sys.exit(f"figures.py {options.figure}: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
