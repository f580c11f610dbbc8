"""Figures of what `lockstep eval --output RUN/eval.h5` and `lockstep attack --output RUN/attack.h5` found out."""

import matplotlib.pyplot as plt
import numpy as np

from drawing import BLUE, GREY, SIGNED, VERMILION, show, start
from runs import Missing

MOST_CLASSES = 20


def uncertainty(accuracy, samples):
    """The standard deviation of the accuracy measured on so many samples."""
    return np.sqrt(accuracy * (1 - accuracy) / np.maximum(samples, 1))


def draw_matrix(axes, matrix):
    """Counts; right ones in blue, mistakes in orange by their number."""
    classes = len(matrix)
    mistakes = matrix - np.diag(np.diag(matrix))
    colours = np.ones((classes, classes, 4))
    shade = plt.get_cmap("Oranges")(0.75 * np.sqrt(mistakes / max(mistakes.max(), 1)))
    colours[mistakes > 0] = shade[mistakes > 0]
    colours[np.eye(classes, dtype=bool)] = plt.get_cmap("Blues")(0.3)
    axes.imshow(colours, interpolation="nearest")
    for true, predicted in np.ndindex(matrix.shape):
        if matrix[true, predicted] or true == predicted:
            axes.text(predicted, true, matrix[true, predicted], ha="center", va="center", fontsize=8.5,
                      color="black" if true == predicted or mistakes[true, predicted] else GREY)
    axes.set_xticks(range(classes))
    axes.set_yticks(range(classes))
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.grid(False)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(True)


def confusion(run):
    """Confusion matrix and accuracy of each class on the test set."""
    part, attributes = run.evaluation("test")
    matrix = part["confusion"]
    if len(matrix) > MOST_CLASSES:
        raise Missing(f"{len(matrix)} classes are too many for a picture")
    samples, right = matrix.sum(axis=1), np.diag(matrix)
    accuracy = right / np.maximum(samples, 1)
    figure = start(10, 5.6, run.model_title,
                   f"{attributes['samples']} test samples, accuracy {attributes['accuracy']:.4f} ± "
                   f"{attributes['uncertainty']:.4f}, loss {attributes['loss']:.4f}")
    left, bars = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.55, 1]})
    draw_matrix(left, matrix)
    left.set_title("Samples")
    place = np.arange(len(matrix))
    bars.barh(place, 1 - accuracy, xerr=uncertainty(accuracy, samples), color=VERMILION, height=0.62,
              error_kw=dict(ecolor=GREY, elinewidth=1, capsize=2))
    bars.set_yticks(place)
    bars.invert_yaxis()
    bars.set_xlim(left=0)
    bars.set_xlabel("share that is mistaken")
    bars.set_ylabel("true class")
    bars.grid(axis="y", visible=False)
    bars.set_title("Mistakes")
    return figure


def mistakes(run):
    """The worst mistakes on the test set: those with the highest loss."""
    part, _ = run.evaluation("test")
    worst = part["worst"]
    if not len(worst["sample"]):
        raise Missing("no test sample is mistaken")
    columns = min(5, len(worst["sample"]))
    rows = -(-len(worst["sample"]) // columns)
    figure = start(10, 1 + 2.35 * rows, run.model_title, "The test samples with the highest loss among those mistaken")
    axes = figure.subplots(rows, columns, squeeze=False)
    for place in axes.flat:
        place.set_axis_off()
    for i, place in zip(range(len(worst["sample"])), axes.flat):
        show(place, worst["image"][i], vmin=0, vmax=1)
        place.set_title(f"{worst['class'][i]}, taken for {worst['predicted'][i]}", fontsize=9.5, loc="center", pad=16)
        place.text(0.5, 1.03, f"p = {worst['probability'][i]:.3f}, loss {worst['loss'][i]:.2f}",
                   transform=place.transAxes, fontsize=8, color=GREY, ha="center", va="bottom")
    return figure


def draw_curves(accuracy_axes, loss_axes, curve, samples):
    epsilon, accuracy = curve["epsilon"], curve["accuracy"]
    accuracy_axes.errorbar(epsilon, accuracy, yerr=uncertainty(accuracy, samples), color=BLUE, linewidth=1.8,
                           marker="o", markersize=4, capsize=2)
    accuracy_axes.set_ylim(-0.02, 1.02)
    accuracy_axes.set_title("Accuracy")
    loss_axes.plot(epsilon, curve["loss"], color=VERMILION, linewidth=1.8, marker="o", markersize=4)
    loss_axes.set_ylim(bottom=0)
    loss_axes.set_title("Loss")
    for axes in (accuracy_axes, loss_axes):
        axes.set_xlabel("ε, as a part of the range of a pixel")


def label_row(axes, text):
    axes.text(-0.18, 0.5, text, transform=axes.transAxes, ha="right", va="center", fontsize=9, color=GREY)


def draw_examples(figure, epsilon, examples):
    """A column for each example: original, signs, adversarial images of some epsilons, and what each is taken for."""
    count = len(examples["sample"])
    positive = np.flatnonzero(epsilon > 0)
    chosen = positive[np.unique(np.linspace(0, len(positive) - 1, min(4, len(positive))).round().astype(int))] \
        if len(positive) else positive
    axes = figure.subplots(2 + len(chosen), count, squeeze=False)
    for k in range(count):
        show(axes[0, k], examples["original"][k], vmin=0, vmax=1)
        axes[0, k].set_title(str(examples["class"][k]), fontsize=9, loc="center", color=BLUE, pad=2)
        show(axes[1, k], examples["perturbation"][k], cmap=SIGNED, vmin=-1.6, vmax=1.6)
        for row, e in enumerate(chosen):
            predicted = examples["predicted"][e, k]
            show(axes[2 + row, k], examples["adversarial"][e, k], vmin=0, vmax=1)
            axes[2 + row, k].set_title(str(predicted), fontsize=9, loc="center", pad=2,
                                       color=BLUE if predicted == examples["class"][k] else VERMILION)
    for row, text in enumerate(["original", "sign of the\ngradient", *(f"ε = {epsilon[e]:g}" for e in chosen)]):
        label_row(axes[row, 0], text)


def attack(run):
    """Fast gradient sign method: accuracy and loss against epsilon, and example images."""
    curve, samples, examples = run.attack()
    count = len(examples["sample"])
    rows = 2 + min(4, int((curve["epsilon"] > 0).sum()))
    height = 0.98 * rows if count else 0
    figure = start(10, 4 + height, run.model_title, f"Fast gradient sign method on {samples} test samples" + (
        "; above each image the class it is taken for, orange where that is wrong" if count else ""))
    if not count:
        draw_curves(*figure.subplots(1, 2), curve, samples)
        return figure
    top, bottom = figure.subfigures(2, 1, height_ratios=[3.4, height], facecolor="none")
    draw_curves(*top.subplots(1, 2), curve, samples)
    draw_examples(bottom, curve["epsilon"], examples)
    return figure
