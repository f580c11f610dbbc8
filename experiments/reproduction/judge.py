"""The statistics that rules.py speaks of."""

import math
from collections import namedtuple

from scipy import stats

from rules import LEVEL, SIGNIFICANCE, SIMILAR

# half: of the prediction interval, error: its standard error; both None of fewer than two values.
Spread = namedtuple("Spread", "count mean deviation half error")
Effect = namedtuple("Effect", "value low high p")
Judged = namedtuple("Judged", "comparison effect corrected verdict")

SUPPORTED, CONTRADICTED, OPEN, MISSING = "supported", "contradicted", "cannot be told", "too few seeds"


def spread(values):
    count = len(values)
    mean = math.fsum(values) / count
    if count < 2:
        return Spread(count, mean, None, None, None)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    error = deviation * math.sqrt(1 + 1 / count)
    return Spread(count, mean, deviation, float(stats.t.ppf((1 + LEVEL) / 2, count - 1)) * error, error)


def agrees(measured, paper, digits):
    """Is the paper's number, rounded to so many digits, a draw like the seeds? None: one seed tells nothing."""
    if measured.half is None:
        return None
    return abs(paper - measured.mean) <= measured.half + 0.5 * 10.0 ** -digits


def errors_away(measured, paper):
    """Standard errors of the prediction from the mean to the paper's number; None without a spread."""
    return (paper - measured.mean) / measured.error if measured.error else None


def welch(high, low):
    """Effect of high minus low, with its interval and p-value. Both have two values or more."""
    a, b = spread(high), spread(low)
    va, vb = a.deviation ** 2 / a.count, b.deviation ** 2 / b.count
    value = a.mean - b.mean
    if va + vb == 0:
        return Effect(value, value, value, 1.0 if value == 0 else 0.0)
    freedom = (va + vb) ** 2 / (va ** 2 / (a.count - 1) + vb ** 2 / (b.count - 1))
    return around(value, math.sqrt(va + vb), freedom)


def above(high, threshold):
    """Of a mean beyond a number: Student's."""
    a = spread(high)
    if a.deviation == 0:
        value = a.mean - threshold
        return Effect(value, value, value, 1.0 if value == 0 else 0.0)
    return around(a.mean - threshold, a.deviation / math.sqrt(a.count), a.count - 1)


def around(value, error, freedom):
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * error
    return Effect(value, value - half, value + half, float(2 * stats.t.sf(abs(value) / error, freedom)))


def holm(p_values):
    """Holm's corrected p-values, in the same order."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected, largest = [0.0] * len(p_values), 0.0
    for place, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[i]))
        corrected[i] = largest
    return corrected


def verdict_of(comparison, effect, corrected):
    if comparison.kind == "similar":
        margin = SIMILAR[comparison.measure]
        if -margin <= effect.low and effect.high <= margin:
            return SUPPORTED
        return CONTRADICTED if effect.low > margin or effect.high < -margin else OPEN
    if corrected >= SIGNIFICANCE:
        return OPEN
    return SUPPORTED if effect.value > 0 else CONTRADICTED


def effect_of(comparison, values):
    """values(row, measure) -> list over the seeds. None: fewer than two of a row."""
    high = values(comparison.high, comparison.measure)
    if comparison.kind == "above":
        return above(high, comparison.low) if len(high) > 1 else None
    low = values(comparison.low, comparison.measure)
    return welch(high, low) if len(high) > 1 and len(low) > 1 else None


def judge(claims, values):
    """Per claim its judged comparisons and its verdict."""
    comparisons = [comparison for claim in claims for comparison in claim.comparisons]
    effects = [effect_of(comparison, values) for comparison in comparisons]
    tested = [i for i, comparison in enumerate(comparisons) if comparison.kind != "similar"]
    corrected = dict(zip(tested, holm([effects[i].p if effects[i] else 1.0 for i in tested])))
    judged = iter([Judged(comparison, effect, corrected.get(i),
                          verdict_of(comparison, effect, corrected.get(i)) if effect else MISSING)
                   for i, (comparison, effect) in enumerate(zip(comparisons, effects))])
    for claim in claims:
        own = [next(judged) for _ in claim.comparisons]
        yield claim, own, verdict_of_all([j.verdict for j in own if not j.comparison.ours])


def verdict_of_all(verdicts):
    if CONTRADICTED in verdicts:
        return CONTRADICTED
    if all(verdict == SUPPORTED for verdict in verdicts):
        return SUPPORTED
    return MISSING if all(verdict == MISSING for verdict in verdicts) else OPEN
