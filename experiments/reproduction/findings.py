"""What the result files say, in the form in which the templates print it. Nothing else is read but the papers' numbers."""

import csv
from collections import namedtuple
from pathlib import Path

import claims
import grid
import judge
from rules import CLOSE, RULES

EXPERIMENTS = Path(__file__).resolve().parent.parent
MEASURES = {"train_loss": "training loss", "validation_loss": "validation loss", "train_accuracy": "training accuracy",
            "validation_accuracy": "validation accuracy", "test_accuracy": "test accuracy"}
PAPER_SEEDS = 10  # of the rows that take a minute each; one of the others
LEAST_TO_EXPLAIN = 3  # seeds of an experiment: with two its interval would hold nearly everything
MINUS = "\N{MINUS SIGN}"

Cell = namedtuple("Cell", "text outside note")  # of a table
Line = namedtuple("Line", "reading count cells verdict")
Block = namedtuple("Block", "title lines fit")


def value_of(result, measure):
    """None: not measured."""
    if measure == "test_accuracy":
        return result["test"]["accuracy_at_end"][0]
    if measure == "first_train_loss":
        return result["history"]["train_loss"][0]
    return result["history"][measure][-1]


def signed(value, digits):
    """Zero has no sign."""
    text = f"{value:+.{digits}f}"
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", MINUS)


def number(value, digits):
    return f"{value:.{digits}f}".replace("-", MINUS)


class Findings:
    def __init__(self, results):
        self.results = results
        self.rows = {}
        for result in results:
            self.rows.setdefault(result["cell"], []).append(result)

    def of(self, cell):
        return self.rows.get(cell, [])

    def values(self, cell, measure):
        found = [value_of(result, measure) for result in self.of(cell)]
        return [value for value in found if value is not None]

    # --- on what

    def data_sets(self):
        return sorted({result["data_set"] for result in self.results})

    def is_papers(self):
        """MNIST, at the papers' length: only then do the papers' numbers stand beside."""
        short = [result for result in self.results if len(result["history"]["train_loss"]) < least_epochs(result["cell"])]
        return self.data_sets() == ["MNIST"] and not short

    # --- the tables

    def measured(self, values, paper, digits):
        """A cell of a table, and whether the paper's number agrees (None: cannot be told)."""
        s = judge.spread(values)
        if s.deviation is None:
            return Cell(number(s.mean, digits + 1), False, "one seed"), None
        text = f"{number(s.mean, digits + 1)} ± {number(s.deviation, digits + 1)}"
        if paper is None:
            return Cell(text, False, ""), None
        away = judge.errors_away(s, paper)
        agrees = judge.agrees(s, paper, digits)
        return Cell(text, not agrees, "" if away is None else signed(away, 1)), agrees

    def line(self, cell, paper, digits, test_cell=None):
        """Measured values of a row in a reading, beside the paper's; test_cell: the row that the paper tested."""
        cells, verdicts, names = [], [], []
        for measure in MEASURES:
            values = self.values(test_cell if measure == "test_accuracy" and test_cell else cell, measure)
            if not values or (measure not in paper and measure == "test_accuracy" and not paper):
                cells.append(Cell("", False, ""))
                continue
            found, agrees = self.measured(values, paper.get(measure), digits)
            cells.append(found)
            if agrees is not None:
                verdicts.append(agrees)
                names += [] if agrees else [MEASURES[measure]]
        count = len(self.of(cell))
        verdict = ("not run" if count == 0 else "one seed" if count == 1 else
                   "agrees" if verdicts and all(verdicts) else f"differs: {', '.join(names)}" if names else "")
        return Line(cell.rsplit("-", 1)[1], count, cells, verdict)

    def distance(self, cell, paper):
        """Mean absolute difference of the means to the paper's numbers; None: not run."""
        def own(measure):
            return self.values(f"{cell}-all" if measure == "test_accuracy" else cell, measure)
        shared = [measure for measure in paper if own(measure)]
        if not self.of(cell) or not shared:
            return None
        return sum(abs(judge.spread(own(m)).mean - paper[m]) for m in shared) / len(shared)

    def fit(self, prefix, readings, paper):
        distances = {reading: self.distance(f"{prefix}-{reading}", paper) for reading in readings}
        if None in distances.values():
            return ""
        near, far = sorted(distances, key=lambda reading: distances[reading])
        times = distances[far] / distances[near] if distances[near] else float("inf")
        return (f"as {near} fits better: {distances[near]:.4f} from the paper's numbers on average, as {far} "
                f"{distances[far]:.4f} ({times:.1f} times as far)")

    def table(self, number_of_table):
        papers = read_paper(EXPERIMENTS / "paper.csv")
        for (table, row), paper in papers.items():
            if table != number_of_table:
                continue
            prefix = f"table{table}/row{row}"
            lines = []
            for reading in grid.READINGS:
                whole = f"{prefix}-{reading}-all"
                lines.append(self.line(f"{prefix}-{reading}", paper if self.is_papers() else {}, 3,
                                       whole if whole in grid.BY_NAME else None))
            shown = [Cell(f"{paper[m]:.3f}" if m in paper else "", False, "") for m in MEASURES]
            yield Block(f"row {row}", [Line("paper", None, shown, ""), *lines],
                        self.fit(prefix, grid.READINGS, paper) if self.is_papers() else "")

    def networks(self):
        papers = read_paper2()
        for net in range(1, 5):
            paper = papers.get(net)
            for reading in ("inferred", "stated"):
                cell = f"cnn/network{net}-{reading}"
                values = self.values(cell, "test_accuracy")
                found, agrees, interval = Cell("", False, ""), None, ""
                if values:
                    found, agrees = self.measured(values, paper if self.is_papers() else None, 4)
                    s = judge.spread(values)
                    if s.half is not None:
                        interval = f"{s.mean - s.half:.4f} to {min(1.0, s.mean + s.half):.4f}"
                verdict = ("not run" if not values else "one seed" if len(values) == 1 else
                           "" if agrees is None else "agrees" if agrees else "differs")
                yield {"network": net, "reading": reading, "paper": f"{paper:.4f}" if paper else "", "count": len(values),
                       "measured": found, "interval": interval, "verdict": verdict}

    def close(self):
        """Rows as published: training loss and accuracy within CLOSE of the paper's?"""
        if not self.is_papers():
            return
        for (table, row), paper in read_paper(EXPERIMENTS / "paper.csv").items():
            cell = f"table{table}/row{row}-published"
            if table != 1 or not self.of(cell):
                continue
            off = [judge.spread(self.values(cell, m)).mean - paper[m] for m in ("train_loss", "train_accuracy")]
            yield {"row": row, "loss": signed(off[0], 4), "accuracy": signed(off[1], 4),
                   "close": all(abs(value) <= CLOSE for value in off)}

    # --- claims

    def judged(self, report, reading):
        def values(row, measure):
            return self.values(f"{row}-{reading}", measure)
        return list(judge.judge(report, values))

    def claims(self, report, readings):
        """Per claim, its comparisons with what each reading says."""
        by_reading = [self.judged(report, reading) for reading in readings]
        for claim_number, claim in enumerate(report):
            own = [judged[claim_number] for judged in by_reading]
            rows = []
            for i, comparison in enumerate(claim.comparisons):
                rows.append({"text": comparison.text, "ours": comparison.ours,
                             "readings": [describe(entry[1][i]) for entry in own]})
            yield {"number": claim.number, "title": claim.title, "note": claim.note,
                   "verdicts": dict(zip(readings, (entry[2] for entry in own))), "comparisons": rows}

    # --- why not

    def rerun(self):
        """Beside a re-run of the published reading in another framework."""
        with open(EXPERIMENTS / "rerun.csv", newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        for line in lines:
            cell = f"table1/row{line['row']}-published" + {"own": "", "xavier": "-xavier",
                                                           "unaugmented": "-unaugmented"}[line["variant"]]
            cell = cell if line["variant"] == "own" else cell.replace("table1/", "why/")
            if not self.of(cell):
                continue
            cells = []
            for measure in list(MEASURES)[:4]:
                there = float(line[measure]) if line[measure] else None
                found, _ = self.measured(self.values(cell, measure), there, 3)
                cells.append({"there": line[measure], "here": found})
            yield {"row": line["row"], "variant": {"own": "as published", "xavier": "Xavier as the text says",
                                                   "unaugmented": "no augmentation"}[line["variant"]],
                   "count": len(self.of(cell)), "cells": cells}

    def experiments(self):
        """Rows that change one thing, below the row that they change and the paper's."""
        papers, changed = read_paper(EXPERIMENTS / "paper.csv"), {}
        for row in grid.ROWS:
            if row.why and self.of(row.name):
                changed.setdefault(row.config.removesuffix(".yaml"), []).append(row)
        for name, rows in changed.items():
            table, number_of_row = name.split("-")[0].split("/row")
            paper = papers[int(table.removeprefix("table")), int(number_of_row)]
            lines = [("nothing", name), *((row.why, row.name) for row in rows)]
            yield {"row": name, "paper": {m: f"{paper[m]:.3f}" for m in list(MEASURES)[:4]},
                   "lines": [self.line_of_experiment(why, cell, paper) for why, cell in lines]}

    def line_of_experiment(self, why, cell, paper):
        cells = []
        for measure in list(MEASURES)[:4]:
            values = self.values(cell, measure)
            cells.append(self.measured(values, paper[measure], 3)[0] if values else Cell("", False, "not run"))
        return {"why": why, "count": len(self.of(cell)), "cells": cells}

    def disagreeing(self):
        """Rows as published that differ from the paper, with what the experiments say of them."""
        blocks = [*self.table(1), *self.table(2)] if self.is_papers() else []
        for table, block in [(1 if i < 10 else 2, block) for i, block in enumerate(blocks)]:
            line = block.lines[1]
            if not line.verdict.startswith("differs"):
                continue
            row = block.title.removeprefix("row ")
            config = f"table{table}/row{row}-published"
            done = [r for r in grid.ROWS if r.why and r.config == f"{config}.yaml"
                    and len(self.of(r.name)) >= LEAST_TO_EXPLAIN]
            paper = read_paper(EXPERIMENTS / "paper.csv")[table, int(row)]
            explains = [r.why for r in done if self.explains(r.name, config, paper)]
            yield {"table": table, "row": row, "what": line.verdict.removeprefix("differs: "),
                   "explanation": f"explained by {'; '.join(explains)}" if explains else
                   "not explained" + ("" if done else f", and no experiment has been run over {LEAST_TO_EXPLAIN} seeds")}

    def explains(self, variant, base, paper):
        """Does the change bring into the interval what was outside of it, and put nothing out?"""
        def outside(cell):
            return {m for m in paper if m != "test_accuracy"
                    and judge.agrees(judge.spread(self.values(cell, m)), paper[m], 3) is False}
        return bool(outside(base)) and not outside(variant)

    # --- attack, time, what is not there

    def attacks(self):
        return [result for result in self.results if "attack" in result]

    def attack_table(self):
        for result in self.attacks():
            attack = result["attack"]
            yield {"cell": result["cell"], "epsilon": attack["epsilon"], "accuracy": attack["accuracy"]}

    def times(self):
        for name in self.rows:
            own = [result["provenance"] for result in self.of(name)]
            rates = sorted(p["images_per_second"] for p in own)
            yield {"cell": name, "count": len(own), "seconds": sum(p["seconds"] for p in own) / len(own),
                   "rate": rates[len(rates) // 2]}

    def machines(self):
        found = {}
        for result in self.results:
            p = result["provenance"]
            where = f"{p['processor']}, kernels {p['instruction_set']}, {p['ranks']} rank of {p['threads']} thread"
            entry = found.setdefault(where, [0, 0.0])
            entry[0] += 1
            entry[1] += p["seconds"]
        return [{"where": where, "count": count, "hours": seconds / 3600} for where, (count, seconds) in found.items()]

    def missing(self):
        """Rows that were not run, or with fewer seeds than planned."""
        for row in grid.ROWS:
            count, planned = len(self.of(row.name)), planned_seeds(row)
            if count < planned:
                yield {"row": row.name, "count": count, "planned": planned}

    def agreement(self):
        """How many rows of the tables agree: (reading, rows, of)."""
        blocks = [*self.table(1), *self.table(2)]
        for i, reading in enumerate(grid.READINGS):
            lines = [block.lines[i + 1] for block in blocks if block.lines[i + 1].count > 1]
            yield {"reading": reading, "agree": sum(line.verdict == "agrees" for line in lines), "rows": len(lines)}


def describe(judged):
    effect = judged.effect
    if effect is None:
        return {"effect": "", "interval": "", "p": "", "verdict": judged.verdict}
    digits = 4
    return {"effect": signed(effect.value, digits),
            "interval": f"{signed(effect.low, digits)} to {signed(effect.high, digits)}",
            "p": "" if judged.corrected is None else "< 0.0001" if judged.corrected < 1e-4 else f"{judged.corrected:.4f}",
            "verdict": judged.verdict}


def planned_seeds(row):
    if row.why:
        return 3 if row.config.startswith("table1") else 1
    return PAPER_SEEDS if row.name.startswith("table1/") or row.name.endswith("-inferred") else 1


def least_epochs(cell):
    if not cell.startswith("cnn/"):
        return 30
    return {"1": 50, "2": 100}.get(cell[len("cnn/network")], 150)


def read_paper(path):
    with open(path, newline="", encoding="utf-8") as file:
        return {(int(line["table"]), int(line["row"])): {m: float(line[m]) for m in MEASURES if line[m]}
                for line in csv.DictReader(file)}


def read_paper2():
    with open(EXPERIMENTS / "paper2.csv", newline="", encoding="utf-8") as file:
        return {int(line["network"]): float(line["test_accuracy"]) for line in csv.DictReader(file)}


def context(results):
    """All that the templates use."""
    found = Findings(results)
    readings2 = ("inferred", "stated")
    return {"found": found, "rules": RULES, "measures": list(MEASURES.values()), "close_limit": CLOSE,
            "tables": [{"number": n, "blocks": list(found.table(n))} for n in (1, 2)],
            "networks": list(found.networks()), "agreement": list(found.agreement()), "close": list(found.close()),
            "claims1": list(found.claims(claims.REPORT1, grid.READINGS)), "readings1": grid.READINGS,
            "claims2": list(found.claims(claims.REPORT2, readings2)), "readings2": readings2,
            "rerun": list(found.rerun()) if found.is_papers() else [],
            "experiments": list(found.experiments()) if found.is_papers() else [],
            "disagreeing": list(found.disagreeing()), "attacks": list(found.attack_table()),
            "times": list(found.times()), "machines": found.machines(), "missing": list(found.missing()),
            "results": results, "papers": found.is_papers(), "data_sets": found.data_sets()}
