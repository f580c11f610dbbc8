"""The report's figures, each a small SVG that can be read on a phone; wide screens show several side by side."""

import io
import re
import sys
import urllib.parse
from collections import namedtuple
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from drawing import BLUE, COLOURS, GREY, LABELS, SIGNED, STYLE, VERMILION, grid_shape, plt, show, signed_limit  # noqa: E402

import claims  # noqa: E402
import findings  # noqa: E402
import grid  # noqa: E402
import judge  # noqa: E402
import results  # noqa: E402

WIDTH, HEIGHT = 4.2, 3.0
# Section of the report, what stands under the picture, and the picture as a data address.
Figure = namedtuple("Figure", "title source")
OTHER_QUOTES = str.maketrans("\"'", "'\"")


def style():
    return {**STYLE, "svg.fonttype": "none", "svg.hashsalt": "lockstep", "font.family": "sans-serif",
            "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans"], "axes.unicode_minus": True}


def shorten(tag):
    """A hundredth of a point is finer than any screen, and half of the bytes are digits behind it."""
    return re.sub(r"(\d\.\d\d)\d+", r"\1", tag[0]).translate(OTHER_QUOTES)


def source_of(figure):
    """As an address that stands in double quotes as it is. Percent signs take less room than base64 for text."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    short = re.sub(r"\s*\n\s*", " ", text.getvalue()).replace("base64, ", "base64,")
    short = re.sub(r"<[^>]*>", shorten, short)
    return "data:image/svg+xml," + urllib.parse.quote(short, safe=" '()*!,-./:;=?@_~[]|$+")


def start(height=HEIGHT):
    figure, axes = plt.subplots(figsize=(WIDTH, height), constrained_layout=True)
    return figure, axes


def legend_below(axes):
    """In two columns under the label of the x-axis, whatever the height of the figure."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.55 / axes.figure.get_figheight() * 1.25), ncol=2, fontsize=8.5)


def columns(own, get):
    """[seeds][epochs], of those that were measured."""
    rows = [get(result) for result in own]
    length = min(len(row) for row in rows)
    return np.array([[np.nan if value is None else value for value in row[:length]] for row in rows], float)


def band(axes, x, values, colour, label, **how):
    """The mean over the seeds, and from the least to the largest as a band."""
    if not np.isfinite(values).any():
        return False
    axes.plot(x, values.mean(axis=0), color=colour, linewidth=1.7, label=label, **how)
    if len(values) > 1:
        axes.fill_between(x, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.25, linewidth=0)
    return True


# --- histories

def mark(axes, x, y, colour, **how):
    """A number of the paper's."""
    axes.plot(x, y, "D", color=colour, markersize=7, markerfacecolor="white", markeredgewidth=1.5, clip_on=False, zorder=4,
              **how)


def draw_measure(own, measure, paper):
    figure, axes = start()
    lines = []
    for part in ("train", "validation"):
        values = columns(own, lambda result, name=f"{part}_{measure}": result["history"][name])
        epochs = np.arange(1, values.shape[1] + 1)
        if band(axes, epochs, values, COLOURS[part], LABELS[part]):
            lines.append(values)
        if f"{part}_{measure}" in paper:
            mark(axes, epochs[-1], paper[f"{part}_{measure}"], COLOURS[part])
    if own[0]["tests"].get("epoch"):
        values = columns(own, lambda result: result["tests"][measure])
        at = own[0]["tests"]["epoch"][:values.shape[1]]
        band(axes, at, values, COLOURS["test"], LABELS["test"])
        lines.append(values)
        if f"test_{measure}" in paper:
            mark(axes, at[-1], paper[f"test_{measure}"], COLOURS["test"])
    if any(name.endswith(measure) for name in paper):
        mark(axes, [], [], GREY, label="paper")
    means = np.concatenate([values.mean(axis=0)[values.shape[1] // 10:] for values in lines])
    means = means[np.isfinite(means)]
    marks = [value for name, value in paper.items() if name.endswith(measure)]
    low, high = min([means.min(), *marks]), max([means.max(), *marks])
    room = 0.12 * (high - low) or 0.1
    axes.set_ylim(max(0, low - room), high + room if measure == "loss" else min(1.002, high + room))
    axes.set_title(measure)
    axes.set_xlabel("epoch")
    axes.legend(loc="upper right" if measure == "loss" else "lower right", fontsize=9)
    return source_of(figure)


def title_of(cell):
    name, reading = cell.removesuffix("-all").rsplit("-", 1)
    table, row = name.split("/")
    what = {"table1": "Table 1, row ", "table2": "Table 2, row ", "cnn": "Network "}[table]
    return f"{what}{''.join(c for c in row if c.isdigit())}, as {reading}" + (", all 60,000" if cell.endswith("-all") else "")


def histories(found, names):
    papers, networks = findings.read_paper(findings.EXPERIMENTS / "paper.csv"), findings.read_paper2()
    for name in names:
        own = found.of(name)
        if not own:
            continue
        table, row = name.rsplit("-", 1)[0].split("/")
        paper = {}
        if found.is_papers() and table.startswith("table"):
            paper = {m: v for m, v in papers[int(table[5:]), int(row[3:])].items() if m != "test_accuracy"}
        elif found.is_papers() and int(row[len("network"):]) in networks:
            paper = {"test_accuracy": networks[int(row[len("network"):])]}
        seeds = f"{len(own)} seed" + ("s, the band from the least to the largest" if len(own) > 1 else "")
        for measure in ("loss", "accuracy"):
            yield Figure(f"{title_of(name)}: {measure}; {seeds}", draw_measure(own, measure, paper))


# --- comparisons at a glance

def agreement(found):
    """Per measure, how far the paper's number is from the mean of each row, in standard errors of the prediction."""
    papers = findings.read_paper(findings.EXPERIMENTS / "paper.csv")
    for table in (1, 2):
        rows = [row for t, row in papers if t == table]
        names = list(findings.MEASURES)[:4]
        figure, axes = start(0.33 * 2 * len(rows) + 1.2)
        drawn = False
        for i, row in enumerate(rows):
            for reading, marker, shift in (("published", "o", -0.16), ("stated", "s", 0.16)):
                for measure, colour in zip(names, (BLUE, VERMILION, "#56B4E9", "#E69F00")):
                    values = found.values(f"table{table}/row{row}-{reading}", measure)
                    if len(values) < 2:
                        continue
                    s = judge.spread(values)
                    away = judge.errors_away(s, papers[table, row][measure])
                    if away is None:
                        continue
                    drawn = True
                    axes.plot(np.clip(away, -30, 30), i + shift, marker, color=colour, markersize=6,
                              markerfacecolor=colour if reading == "published" else "white")
        if not drawn:
            plt.close(figure)
            continue
        axes.axvspan(-2.26, 2.26, color="#dddddd", zorder=0)
        axes.set_xscale("symlog", linthresh=3)
        axes.set_xlim(-40, 40)
        axes.set_xticks([-30, -10, -3, 0, 3, 10, 30], ["\N{MINUS SIGN}30", "\N{MINUS SIGN}10", "\N{MINUS SIGN}3", "0", "3", "10", "30"])
        axes.minorticks_off()
        axes.set_yticks(range(len(rows)), [f"row {row}" for row in rows])
        axes.invert_yaxis()
        axes.set_xlabel("paper minus mean, in standard errors")
        for measure, colour in zip(names, (BLUE, VERMILION, "#56B4E9", "#E69F00")):
            axes.plot([], [], "o", color=colour, label=findings.MEASURES[measure])
        axes.plot([], [], "o", color=GREY, label="as published")
        axes.plot([], [], "s", color=GREY, markerfacecolor="white", label="as stated")
        legend_below(axes)
        yield Figure(f"Table {table}: the paper's numbers beside the seeds. Grey: inside of the 95 % interval of ten seeds; "
                     "beyond 30 is drawn at 30", source_of(figure))


# --- weights

def weights(found):
    for cell in results.PICTURED:
        pictures = next((r["pictures"] for r in found.of(cell) if "pictures" in r), None)
        if not pictures or "weights" not in pictures:
            continue
        kept = pictures["weights"]
        values = results.dequantise(kept).reshape(-1, *kept["image"])
        rows, count = grid_shape(len(values), 1.0)
        height, width = kept["image"]
        limit = signed_limit(values)
        sheet = np.full((rows * (height + 2) - 2, count * (width + 2) - 2), np.nan)
        for i, value in enumerate(values):
            y, x = i // count * (height + 2), i % count * (width + 2)
            sheet[y:y + height, x:x + width] = value
        figure, axes = start(WIDTH)
        show(axes, sheet, cmap=SIGNED, vmin=-limit, vmax=limit)
        yield Figure(f"{title_of(cell)}: weights of the first dense layer, {len(values)} of {kept['units']} hidden units "
                     "(red above 0, blue below); seed 1", source_of(figure))


def tiles(values, how, columns_wanted):
    rows = -(-len(values) // columns_wanted)
    figure, axes = plt.subplots(rows, columns_wanted, figsize=(WIDTH, WIDTH * rows / columns_wanted),
                                constrained_layout=True)
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02)
    for place in axes.flat:
        place.set_axis_off()
    for place, value in zip(axes.flat, values):
        show(place, value, **how)
    return source_of(figure)


def kernels(found):
    for cell in results.PICTURED:
        pictures = next((r["pictures"] for r in found.of(cell) if "pictures" in r), None)
        if not pictures or "kernels" not in pictures:
            continue
        figure, axes = start(2.2)
        show(axes, results.unpack(pictures["input"]["image"]), vmin=0, vmax=255)
        yield Figure(f"{title_of(cell)}: input, a {pictures['input']['class']}", source_of(figure))
        values = results.dequantise(pictures["kernels"])
        limit = float(np.abs(values).max()) or 1.0
        yield Figure(f"{title_of(cell)}: the {len(values)} kernels of the first convolution; seed 1",
                     tiles(values, dict(cmap=SIGNED, vmin=-limit, vmax=limit), 4))
        maps = results.dequantise(pictures["maps"])
        yield Figure(f"{title_of(cell)}: what they make of the input ({', '.join(pictures['maps']['applied'])})",
                     tiles(maps, dict(cmap="gray", vmin=min(0, maps.min()), vmax=signed_limit(maps)), 4))


# --- attacks

def attack_groups(found):
    groups = {"Table 1, as published": [], "Table 1, as stated": [], "Table 2": [], "Report 2": []}
    for result in found.attacks():
        cell = result["cell"]
        if cell.startswith("why/"):
            continue
        name, reading = cell.removesuffix("-all").rsplit("-", 1)
        label = "".join(c for c in name.split("/")[1] if c.isdigit())
        if cell.startswith("table1/"):
            groups[f"Table 1, as {reading}"].append((f"row {label}" + (" (60,000)" if cell.endswith("-all") else ""), result))
        elif cell.startswith("table2/"):
            groups["Table 2"].append((f"row {label}, {reading}" + (" (60,000)" if cell.endswith("-all") else ""), result))
        else:
            groups["Report 2"].append((f"network {label}, {reading}", result))
    return groups


def attack_curves(found):
    for title, members in attack_groups(found).items():
        if not members:
            continue
        members.sort(key=lambda member: (len(member[0]), member[0]))
        figure, axes = start(HEIGHT + 0.22 * -(-len(members) // 2))
        colours = plt.get_cmap("viridis")(np.linspace(0, 0.92, len(members)))
        for (label, result), colour, marker in zip(members, colours, "os^vDP*Xdph<>" * 3):
            axes.plot(result["attack"]["epsilon"], result["attack"]["accuracy"], color=colour, marker=marker, markersize=4,
                      linewidth=1.3, label=label)
        axes.set_ylim(-0.02, 1.02)
        axes.set_title("accuracy")
        axes.set_xlabel("ε, as a part of the range of a pixel")
        legend_below(axes)
        yield Figure(f"Fast gradient sign method, {title}: accuracy on the test set; seed 1", source_of(figure))


def attack_examples(found):
    for cell in ("table1/row6-published", "table2/row3-published", "cnn/network3-inferred", "cnn/network4-inferred"):
        attack = next((r["attack"] for r in found.of(cell) if "attack" in r), None)
        if not attack or not len(attack["class"]):
            continue
        original, sign = results.unpack(attack["original"]) / 255, results.unpack(attack["sign"])
        shown = [i for i, epsilon in enumerate(attack["epsilon"]) if epsilon > 0][::2][:3]
        count = len(original)
        figure, axes = plt.subplots(2 + len(shown), count, figsize=(WIDTH, 0.55 * (2 + len(shown)) + 0.2), squeeze=False,
                                    constrained_layout=True)
        figure.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.02, hspace=0.02)
        for k in range(count):
            show(axes[0, k], original[k], vmin=0, vmax=1)
            axes[0, k].set_title(attack["class"][k], fontsize=9, loc="center", color=BLUE, pad=1)
            show(axes[1, k], sign[k], cmap=SIGNED, vmin=-1.6, vmax=1.6)
            for row, e in enumerate(shown):
                predicted = attack["predicted"][e][k]
                adversarial = np.clip(original[k] + attack["epsilon"][e] * sign[k], 0, 1)
                show(axes[2 + row, k], adversarial, vmin=0, vmax=1)
                axes[2 + row, k].set_title(predicted, fontsize=9, loc="center", pad=1,
                                           color=BLUE if predicted == attack["class"][k] else VERMILION)
        steps = ", ".join(f"{attack['epsilon'][e]:g}" for e in shown)
        yield Figure(f"{title_of(cell)}: originals, signs of the gradient, and ε = {steps}; above each image the class it is "
                     "taken for, orange where that is wrong", source_of(figure))


# --- effects

def effects(found, report, readings, title):
    judged = {reading: found.judged(report, reading) for reading in readings}
    lines = [(claim.number, i, comparison) for claim in report for i, comparison in enumerate(claim.comparisons)]
    for measure, limit in (("loss", 0.05), ("accuracy", 0.005)):
        kept = [(n, i, c) for n, i, c in lines if c.measure.endswith(measure)]
        figure, axes = start(0.42 * len(kept) + 1.3)
        drawn = False
        for y, (n, i, _) in enumerate(kept):
            for reading, shift, marker in zip(readings, (-0.16, 0.16), "os"):
                entry = judged[reading][n - 1][1][i]
                if entry.effect is None:
                    continue
                drawn = True
                colour = {judge.SUPPORTED: BLUE, judge.CONTRADICTED: VERMILION}.get(entry.verdict, GREY)
                axes.plot([entry.effect.low, entry.effect.high], [y + shift] * 2, color=colour, linewidth=1.6)
                axes.plot(entry.effect.value, y + shift, marker, color=colour, markersize=5,
                          markerfacecolor=colour if marker == "o" else "white")
        if not drawn:
            plt.close(figure)
            continue
        axes.axvline(0, color="#888888", linewidth=0.8)
        axes.set_xscale("symlog", linthresh=limit)
        marks = [-20 * limit, -2 * limit, 0, 2 * limit, 20 * limit]
        axes.set_xticks(marks, [f"{mark:g}".replace("-", findings.MINUS) for mark in marks])
        axes.minorticks_off()
        axes.set_yticks(range(len(kept)), [f"{n}{'abcdefgh'[i]}" for n, i, _ in kept])
        axes.invert_yaxis()
        axes.set_xlabel(f"effect on {measure}, as claimed above 0")
        axes.plot([], [], "o", color=GREY, label=f"as {readings[0]}")
        axes.plot([], [], "s", color=GREY, markerfacecolor="white", label=f"as {readings[1]}")
        legend_below(axes)
        yield Figure(f"{title}, {measure}: effects with 95 % intervals. Blue: supported, orange: contradicted, grey: cannot be "
                     "told. A number is the claim's, a letter the comparison's in the order of the tables", source_of(figure))


def all_of(found):
    """By section of the page."""
    tables = [row.name for row in grid.ROWS if not row.why and not row.overrides]
    first = ["table1/row6-published", "table1/row6-stated", "table2/row3-published", "table2/row3-stated"]
    networks = [name for name in tables if name.startswith("cnn/")]
    with plt.rc_context(style()):
        return {
            "agreement": list(agreement(found)) if found.is_papers() else [],
            "effects": list(effects(found, claims.REPORT1, grid.READINGS, "Findings of report 1")),
            "histories": list(histories(found, first)),
            "networks": list(histories(found, networks)),
            "others": list(histories(found, [name for name in tables if name not in first + networks])),
            "weights": [*weights(found), *kernels(found)],
            "attacks": [*attack_curves(found), *attack_examples(found)],
        }
