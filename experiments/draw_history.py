"""Figures of the training history: over epochs, and over iterations as in figure 5 of the first report."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator

from drawing import COLOURS, GREY, LABELS, say_what_is_cut, start
from runs import PAPER_EPOCHS, Missing, count

MEASURED = ("loss", "accuracy")


def draw_tests(axes, run, measure, scale):
    """The tests of a run with test_interval, at epoch times scale."""
    if len(run.tests.get("epoch", ())):
        axes.plot(run.tests["epoch"] * scale, run.tests[measure], color=COLOURS["test"], linewidth=1.8,
                  label=LABELS["test"], marker="s", markersize=3.5 if run.epochs <= 200 else 0)


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
    draw_tests(axes, run, measure, 1)
    if measure in run.test and run.epochs:
        axes.plot(epoch[-1], run.test[measure], color=COLOURS["test"], marker="*", markersize=10, clip_on=False,
                  linestyle="none", label=None if len(run.tests.get("epoch", ())) else LABELS["test"], zorder=4)
    if paper:
        axes.plot([], [], color=GREY, label=f"paper, epoch {PAPER_EPOCHS}", **diamond)
    axes.set_title(measure.capitalize())
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, steps=[1, 2, 5, 10]))
    last = max(run.epochs, 2)
    axes.set_xlim(1 - 0.02 * last, 1.02 * last)


def history(run):
    """Loss and accuracy over the epochs, on the training and the validation set."""
    if not run.epochs:
        raise Missing("no epoch came to its end: see iterations")
    figure, panels = plt.subplots(1, 2, figsize=(10, 4.2), constrained_layout=True)
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1, wspace=0.03)
    for axes, measure in zip(panels, MEASURED):
        draw_measure(axes, run, measure)
    panels[0].set_ylim(bottom=0)
    for axes, measure in zip(panels, MEASURED):
        say_what_is_cut(axes, run.epoch[f"train_{measure}"])
    panels[0].legend(loc="upper right")
    figure.suptitle(run.title, x=0.012, ha="left", fontsize=12, fontweight="bold")
    return figure


def smooth(values, window):
    """The mean of the `window` values up to each one, of fewer at the beginning."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    end = np.arange(1, len(values) + 1)
    begin = np.maximum(end - window, 0)
    return (total[end] - total[begin]) / (end - begin)


def validates(values):
    """Which epochs were validated: NaN stands for those that were not."""
    return ~np.isnan(values)


def limit_iterations(axes, measure, seen):
    """Limits that single batches do not decide."""
    seen = seen[np.isfinite(seen)]
    if not len(seen):
        return
    if measure == "loss":
        axes.set_ylim(0, 1.6 * np.percentile(seen, 98) or 1)
    else:
        axes.set_ylim(max(0, 1 - 1.6 * (1 - np.percentile(seen, 2))), 1.002)


def iterations(run):
    """Loss and accuracy over the iterations: each batch, their moving average, and validation at the ends of epochs."""
    if not len(run.step.get("step", ())):
        raise Missing("metrics.h5 has no rows of single steps")
    step, window = run.step["step"], max(1, len(run.step["step"]) // 60)
    figure = start(10, 4.4, f"{run.model_title}, {count(len(step), 'iteration')}")
    for axes, measure in zip(figure.subplots(1, 2), MEASURED):
        values = run.step[measure]
        mean = smooth(values, window)
        axes.plot(step, values, color=COLOURS["train"], alpha=0.22, linewidth=0.7, label="training, batch")
        axes.plot(step, mean, color=COLOURS["train"], linewidth=1.8,
                  label="training" if window == 1 else f"training, mean of {window} batches")
        validation = run.epoch[f"validation_{measure}"]
        if validates(validation).any():
            axes.plot(run.epoch["epoch"] * run.steps_per_epoch, validation, color=COLOURS["validation"], linewidth=1.8,
                      label=LABELS["validation"], marker="o", markersize=3.5 if run.epochs <= 40 else 0)
        draw_tests(axes, run, measure, run.steps_per_epoch)
        axes.set_title(measure.capitalize())
        axes.set_xlabel("iteration")
        axes.set_xlim(0, 1.02 * max(step[-1], 2))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
        tests = run.tests.get(measure, [])
        limit_iterations(axes, measure, np.concatenate([mean[window - 1:], validation, tests]))
        say_what_is_cut(axes, np.concatenate([values, validation[validates(validation)], tests]))
        if measure == "loss":
            axes.legend(loc="upper right")
    return figure
