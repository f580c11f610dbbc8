"""What the figures share: colours, style, and how pictures of weights and images are laid out."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402  (after the choice of the back end)
import numpy as np  # noqa: E402

# Blue and vermilion of the Okabe-Ito palette, which colour-blind readers tell apart.
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#444444"
COLOURS = {"train": BLUE, "validation": VERMILION, "test": GREY}
LABELS = {"train": "training", "validation": "validation", "test": "test"}
STYLE = {
    "font.size": 10, "axes.titlesize": 11, "axes.titlelocation": "left",
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#888888",
    "axes.grid": True, "axes.axisbelow": True, "grid.color": "#e6e6e6", "grid.linewidth": 0.8,
    "xtick.color": GREY, "ytick.color": GREY, "legend.frameon": False,
}
SIGNED = "RdBu_r"  # red above zero, blue below


def start(width, height, title, subtitle=None):
    """A figure with its title at the top left."""
    figure = plt.figure(figsize=(width, height), constrained_layout=True)
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08)
    figure.suptitle(title if subtitle is None else f"{title}\n\n", x=0.012, ha="left", fontsize=12, fontweight="bold")
    if subtitle is not None:  # in the lines that the title leaves free
        figure.text(0.012, 1 - 0.36 / height, subtitle, ha="left", va="top", fontsize=9.5, color=GREY)
    return figure


def say_what_is_cut(axes, values):
    """At the right above the axes: how many of the values lie outside of them, or are no numbers."""
    bottom, top = axes.get_ylim()
    values = np.asarray(values, float)
    finite = values[np.isfinite(values)]
    above, below = finite[finite > top], finite[finite < bottom]
    parts = [f"{len(above)} above, up to {above.max():.3g}"] if len(above) else []
    parts += [f"{len(below)} below, down to {below.min():.3g}"] if len(below) else []
    parts += [f"{len(values) - len(finite)} not finite"] if len(finite) < len(values) else []
    if parts:
        axes.set_title("values not shown: " + "; ".join(parts), loc="right", fontsize=8.5, color=GREY)


def show(axes, image, **how):
    """A picture without axes; how: imshow's limits and colours."""
    how.setdefault("cmap", "gray")
    axes.set_axis_off()
    return axes.imshow(image, interpolation="nearest", **how)


def grid_shape(count, aspect=1.6):
    """Rows and columns for so many pictures, about `aspect` times as wide as high, with few places left empty."""
    wanted = np.sqrt(count * aspect)
    columns = min(range(1, count + 1), key=lambda columns: abs(columns - wanted) + -count % columns)
    return -(-count // columns), columns


def signed_limit(values):
    """A symmetric limit of colours that a few large values do not decide."""
    limit = float(np.percentile(np.abs(values), 99.5))
    return limit if limit > 0 else 1.0
