"""The cells: which configuration with which overrides, under which name. A cell is one of these with one seed."""

import fnmatch
from collections import namedtuple

# name: "table1/row6-published"; config: relative to experiments/; overrides: key -> value; why: of an experiment that
# changes one thing of a row, what that is.
Row = namedtuple("Row", "name config overrides why", defaults=({}, ""))
Cell = namedtuple("Cell", "row seed")

READINGS = ("published", "stated")


def plain(name, overrides=None):
    return Row(name if not overrides else f"{name}-all", f"{name}.yaml", overrides or {})


def of_tables():
    for row in range(1, 11):
        yield from (plain(f"table1/row{row}-{reading}") for reading in READINGS)
    # The best rows, as report 1 tested them: trained on all 60,000.
    yield from (plain(f"table1/row6-{reading}", {"split": "60000"}) for reading in READINGS)
    yield from (plain(f"cnn/network{number}-inferred") for number in range(1, 5))
    for row in range(1, 4):
        yield from (plain(f"table2/row{row}-{reading}") for reading in READINGS)
    yield from (plain(f"cnn/network{number}-stated") for number in range(1, 5))
    yield from (plain(f"table2/row3-{reading}", {"split": "60000"}) for reading in READINGS)


def of_experiments():
    """One thing changed at a time, of rows as published."""
    for row in (1, 3, 4, 6):
        name = f"row{row}-published"
        yield Row(f"why/{name}-xavier", f"table1/{name}.yaml", {"defaults.dense.init": "xavier"},
                  "dense layers begin as the text says")
        yield Row(f"why/{name}-unaugmented", f"table1/{name}.yaml", {"augment": "0"}, "no augmentation")
    for change, overrides, why in (("dropout", {"defaults.dropout.rate": "0.3"}, "dropout 0.3 instead of 0.5"),
                                   ("momentum", {"optimizer": "momentum"}, "momentum 0.9"),
                                   ("unaugmented", {"augment": "0"}, "no augmentation"),
                                   ("xavier", {"defaults.dense.init": "xavier"}, "dense layers begin as the text says")):
        yield Row(f"why/row10-published-{change}", "table1/row10-published.yaml", overrides, why)
    for row in (1, 3):
        name = f"row{row}-published"
        for statistics in ("dataset", "exponential"):
            yield Row(f"why/resnet-{name}-{statistics}", f"table2/{name}.yaml",
                      {"defaults.batchnorm.statistics": statistics}, f"BatchNorm evaluates by {statistics} statistics")
    yield Row("why/resnet-row1-published-unaugmented", "table2/row1-published.yaml", {"augment": "0"}, "no augmentation")


ROWS = [*of_tables(), *of_experiments()]
BY_NAME = {row.name: row for row in ROWS}


def chosen(patterns):
    """The rows whose name one of the patterns fits; "table1" stands for "table1/*". All of the tables without any."""
    if not patterns:
        return [row for row in ROWS if not row.why]
    return [row for row in ROWS if any(fnmatch.fnmatchcase(row.name, pattern) or row.name.startswith(f"{pattern}/")
                                       for pattern in patterns)]


def cells(rows, seeds):
    """Seed by seed, so that every row has a result early."""
    return [Cell(row, seed) for seed in seeds for row in rows]


def label(cell):
    return f"{cell.row.name}/seed{cell.seed}"
