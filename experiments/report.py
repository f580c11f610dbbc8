#!/usr/bin/env python3
"""Sets what runs measured beside what the paper says: report.py RUN [RUN ...]

Several runs, say of three seeds, must be of one configuration; their mean and standard deviation are shown."""

import argparse
import statistics
import sys

try:
    from runs import MEASURES, PAPER_EPOCHS, count, read_runs
except ImportError as error:
    sys.exit(f"report.py: {error} for {sys.executable}; expected a Python with numpy and h5py, on Debian /usr/bin/python3 "
             "with python3-h5py")


def spread(values, several):
    """A measured cell: the value of one run, or mean and standard deviation of several."""
    if not values:
        return "-"
    if not several:
        return f"{values[0]:.3f}"
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.3f} ± {deviation:.3f}"


def table(runs):
    """The rows of the table: name, paper, measured. No paper column where the paper has nothing to say."""
    paper, measured = runs[0].paper(), [run.measured() for run in runs]
    for name, label in MEASURES.items():
        values = [values[name] for values in measured if name in values]
        if values or name in paper:
            cell = spread(values, len(runs) > 1)
            yield (label, f"{paper[name]:.3f}" if name in paper else "-", cell) if paper else (label, cell)


def print_table(head, rows):
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        cells = [cell.rjust(width + 1) for cell, width in zip(row[1:], widths[1:])]
        print("  ".join([row[0].ljust(widths[0]), *cells]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="+", help="run folder, for example runs/quickstart")
    runs = read_runs(parser.parse_args().run)
    first = runs[0]
    if len({run.title for run in runs}) > 1:
        sys.exit("report.py: these runs differ in configuration, data set or epochs:\n  "
                 + "\n  ".join(f"{run.folder}: {run.title}" for run in runs))
    paper = first.paper()
    print(first.title + (f", mean ± standard deviation of {count(len(runs), 'run')}" if len(runs) > 1 else ""))
    print_table(("", "paper", "measured") if paper else ("", "measured"), list(table(runs)))
    if paper and first.epochs != PAPER_EPOCHS:
        print(f"The paper trains for {PAPER_EPOCHS} epochs.")
    if first.table and not paper:
        print("The paper's values are for MNIST and are not shown beside another data set.")


if __name__ == "__main__":
    main()
