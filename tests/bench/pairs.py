# SPDX-License-Identifier: BSD-3-Clause
"""Measuring in pairs, and judging.

A machine's speed drifts, so that two figures taken minutes apart say little about each other. What
is compared is measured A B A B: each pair gives a ratio, the median of the ratios is the result,
and their smallest and largest say how far to trust it.
"""
import statistics


def median(values):
    return statistics.median(values)


class Ratio:
    """a[i] / b[i] of pairs that were measured one right after the other."""

    def __init__(self, a, b):
        assert a and len(a) == len(b)
        self.a, self.b = list(a), list(b)
        self.each = [x / y if y else float("inf") for x, y in zip(a, b)]

    @property
    def median(self):
        return median(self.each)

    def __str__(self):
        return f"{self.median:.2f} ({min(self.each):.2f}..{max(self.each):.2f})"

    def json(self):
        return {"a": self.a, "b": self.b, "ratio": self.median, "min": min(self.each),
                "max": max(self.each)}


def take_pairs(rounds, **ways):
    """Calls each of the ways once a round, in turn; {name: [results]}."""
    taken = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            taken[name].append(way())
    return taken


class Verdicts:
    """What was wanted, what came, and whether that is enough."""

    def __init__(self):
        self.rows = []

    def judge(self, section, what, value, wanted, *, spread=None, unit=""):
        """`wanted` is (">=", limit) or ("<=", limit)."""
        sense, limit = wanted
        met = value >= limit if sense == ">=" else value <= limit
        self.rows.append({"section": section, "what": what, "value": value, "sense": sense,
                          "limit": limit, "unit": unit, "spread": spread, "met": met})
        return met

    def judge_ratio(self, section, what, ratio, wanted):
        return self.judge(section, what, ratio.median, wanted,
                          spread=[min(ratio.each), max(ratio.each)])

    @property
    def missed(self):
        return [row for row in self.rows if not row["met"]]

    def text(self):
        lines = []
        for row in self.rows:
            spread = "" if row["spread"] is None else \
                f" ({row['spread'][0]:.2f}..{row['spread'][1]:.2f})"
            word = "met   " if row["met"] else "MISSED"
            lines.append(f"{word}  {row['section']}: {row['what']}: "
                         f"{row['value']:.3g}{row['unit']}{spread}, wanted {row['sense']} "
                         f"{row['limit']:g}{row['unit']}")
        lines.append(f"{len(self.rows) - len(self.missed)} of {len(self.rows)} targets met")
        return "\n".join(lines)
