#!/usr/bin/env python3
"""The report's statistics against numbers worked out otherwise, and experiments/REPORT.md against its result files."""

import sys
from pathlib import Path

EXPERIMENTS = Path(sys.argv[1])
sys.path.insert(0, str(EXPERIMENTS / "reproduction"))
sys.dont_write_bytecode = True
try:
    import claims
    import findings
    import grid
    import judge
    import report
    import results
    from scipy import stats
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)


def near(a, b, tolerance=1e-9):
    assert abs(a - b) <= tolerance * max(1, abs(b)), (a, b)


def test_spread():
    values = [1.0, 2.0, 3.0, 6.0]
    s = judge.spread(values)
    near(s.mean, 3.0)
    near(s.deviation, (14 / 3) ** 0.5)
    near(s.half, 3.182446305284263 * (14 / 3) ** 0.5 * 1.25 ** 0.5)  # t(0.975, 3) of a table
    near(judge.errors_away(s, 3.0 + s.error), 1.0)
    assert judge.agrees(s, 3.0 + s.half, 3) and not judge.agrees(s, 3.0 + s.half + 0.0006, 3)
    assert judge.agrees(judge.spread([1.0]), 1.0, 3) is None
    same = judge.spread([0.5, 0.5, 0.5])
    assert judge.agrees(same, 0.5004, 3) and not judge.agrees(same, 0.501, 3)


def test_welch():
    high, low = [0.31, 0.33, 0.30, 0.34], [0.20, 0.28, 0.24]
    effect = judge.welch(high, low)
    known = stats.ttest_ind(high, low, equal_var=False)
    near(effect.p, known.pvalue)
    near(effect.value, 0.32 - 0.24)
    near((effect.low + effect.high) / 2, effect.value)
    assert (effect.low < 0 < effect.high) == (effect.p > 0.05)
    near(judge.above(high, 0.25).p, stats.ttest_1samp(high, 0.25).pvalue)


def test_holm():
    corrected = judge.holm([0.01, 0.04, 0.03, 0.005])  # the example of many text books
    for found, expected in zip(corrected, [0.03, 0.06, 0.06, 0.02]):
        near(found, expected)
    assert judge.holm([0.9, 0.8]) == [1.0, 1.0]


def test_verdicts():
    """One claim of each kind, on rows made so that the verdict is known."""
    def comparison(high, low, kind="order", ours=False):
        return claims.Comparison("text", "validation_loss", high, low, kind, ours)
    rows = {"a": [1.0, 1.01, 1.02], "b": [0.5, 0.51, 0.49], "c": [1.0, 1.012, 1.018], "one": [3.0]}
    made = [claims.Claim(1, "a above b", [comparison("a", "b")]), claims.Claim(2, "b above a", [comparison("b", "a")]),
            claims.Claim(3, "a above c", [comparison("a", "c")]), claims.Claim(4, "one", [comparison("one", "a")]),
            claims.Claim(5, "alike", [comparison("a", "c", "similar")]),
            claims.Claim(6, "not alike", [comparison("a", "b", "similar")]),
            claims.Claim(7, "ours does not decide", [comparison("a", "b"), comparison("b", "a", ours=True)]),
            claims.Claim(8, "beyond", [comparison("a", 0.9, "above")])]
    verdicts = [verdict for _, _, verdict in judge.judge(made, lambda row, measure: rows[row])]
    assert verdicts == ["supported", "contradicted", "cannot be told", "too few seeds", "cannot be told", "contradicted",
                        "supported", "supported"], verdicts
    rows["c"] = [1.0, 1.01, 1.02, 1.0, 1.02, 1.01, 1.01, 1.01, 1.0, 1.02]
    rows["a"] = list(rows["c"])
    assert [v for _, _, v in judge.judge(made, lambda row, measure: rows[row])][4] == "supported"


def test_claims_name_rows():
    names = set(grid.BY_NAME)
    for reported, readings in ((claims.REPORT1, grid.READINGS), (claims.REPORT2, ("inferred", "stated"))):
        for claim in reported:
            for comparison in claim.comparisons:
                for row in (comparison.high, comparison.low):
                    assert not isinstance(row, str) or all(f"{row}-{reading}" in names for reading in readings), row
                assert comparison.measure == "first_train_loss" or comparison.measure in findings.MEASURES
    assert len(grid.ROWS) == len(names)
    for row in grid.ROWS:
        assert (EXPERIMENTS / row.config).exists(), row.config


def test_packing():
    import numpy as np
    for array in (np.arange(-120, 120, dtype=np.int8).reshape(4, 60), np.arange(256, dtype=np.uint8)):
        assert (results.unpack(results.pack(array)) == array).all()
    values = np.linspace(-3, 2, 50)
    assert np.abs(results.dequantise(results.quantise(values)) - values).max() <= 3 / 127 / 2 + 1e-12


def test_report_of_repository():
    """Nothing in REPORT.md but what the templates make of the result files."""
    found = results.read_all(EXPERIMENTS / "results")
    written = (EXPERIMENTS / "REPORT.md").read_text(encoding="utf-8")
    made = report.markdown(found)
    if made != written:
        pairs = zip(made.splitlines(), written.splitlines())
        number, pair = next(((i, p) for i, p in enumerate(pairs, 1) if p[0] != p[1]), (0, ("", "")))
        sys.exit(f"experiments/REPORT.md is not what its results say (launch/reproduce.sh --only-report writes it); line "
                 f"{number}:\n  made:    {pair[0]}\n  written: {pair[1]}")
    size = sum(path.stat().st_size for path in (EXPERIMENTS / "results").glob("*/*/*"))
    assert size < 20_000_000, f"results: {size} bytes, expected less than 20 MB"


def test_space_out():
    assert report.space_out("# a\ntext\n| b |\n* c\n  d\ntext\n\n\ntext\n") == \
        "# a\n\ntext\n\n| b |\n\n* c\n  d\n\ntext\n\ntext\n"


for name, test in list(globals().items()):
    if name.startswith("test_"):
        test()
        print(f"{name}: passed")
