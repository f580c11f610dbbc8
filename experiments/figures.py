#!/usr/bin/env python3
"""Draws figures of a run from its HDF5 files: figures.py FIGURE RUN [-o FILE]; figures.py RUN draws the history.

A figure is a function that takes a Run and returns a matplotlib Figure, and a line in FIGURES. confusion and mistakes
want RUN/eval.h5 (lockstep eval RUN/checkpoint-N.h5 --output RUN/eval.h5), attack wants RUN/attack.h5 (lockstep attack,
likewise), activations one of them for an image."""

import argparse
import sys
from pathlib import Path

try:
    from drawing import STYLE, plt
    from draw_history import history, iterations
    from draw_network import activations, kernels, weights
    from draw_results import attack, confusion, mistakes
    from runs import Missing, read_runs
except ImportError as error:
    sys.exit(f"figures.py: {error} for {sys.executable}; expected a Python with matplotlib, numpy and h5py, on Debian "
             "/usr/bin/python3 with python3-matplotlib and python3-h5py")

FIGURES = {figure.__name__: figure
           for figure in (history, iterations, weights, kernels, activations, confusion, mistakes, attack)}


def refuse(code, text):
    print(f"figures.py: {text}", file=sys.stderr)
    sys.exit(code)


def check_output(output, force):
    """Ends the program with one line where a picture cannot or must not be written: 2 or 73."""
    known = plt.figure().canvas.get_supported_filetypes()
    plt.close()
    if output.suffix[1:].lower() not in known:
        found = f"the suffix {output.suffix}" if output.suffix else "no suffix"
        refuse(2, f"{output}: found {found}, expected one of {' '.join(f'.{name}' for name in sorted(known))}")
    if not force and (output.exists() or output.is_symlink()):
        refuse(73, f"{output}: is there already; expected a new file (--force replaces it)")


def draw(name, run, output):
    with plt.rc_context(STYLE):
        figure = FIGURES[name](run)
        output.parent.mkdir(parents=True, exist_ok=True)
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
    entries = {name: (function.__doc__, "picture to write, of the kind that its suffix says", f"RUN/{name}.png")
               for name, function in FIGURES.items()}
    entries["all"] = (draw_all.__doc__, "folder for the pictures", "RUN")
    for name, (what, output, default) in entries.items():
        figure = figures.add_parser(name, help=what, description=what)
        figure.add_argument("run", type=Path, help="run folder, for example runs/quickstart")
        figure.add_argument("-o", "--output", type=Path, help=f"{output}; missing folders are made (default: {default}, "
                            "where an older picture is replaced)")
        figure.add_argument("--force", action="store_true", help="replace what is at the place that -o names")
        figure.add_argument("--checkpoint", type=Path, help="default: the newest of the run")
    return parser.parse_args(arguments)


def main(arguments):
    if arguments and arguments[0] not in [*FIGURES, "all"] and not arguments[0].startswith("-"):
        arguments = ["history", *arguments]
    options = parse(arguments)
    [run] = read_runs([options.run])
    run.chosen_checkpoint = options.checkpoint
    if options.output:
        pictures = [options.output / f"{name}.png" for name in FIGURES] if options.figure == "all" else [options.output]
        for picture in pictures:
            check_output(picture, options.force)
    try:
        if options.figure == "all":
            draw_all(run, options.output or options.run)
        else:
            draw(options.figure, run, options.output or options.run / f"{options.figure}.png")
    except (Missing, OSError) as error:
        sys.exit(f"figures.py {options.figure}: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
