"""What came of a run: results by test, the table by group, what is not as expected."""

import json
from collections import Counter
from dataclasses import dataclass


@dataclass
class Result:
    """What is known of one test."""

    test: str
    group: str
    exclusion: str = ""
    known: str = ""
    outcome: str = "missing"
    phase: str = ""
    message: str = ""
    seconds: float = 0.0

    @property
    def state(self):
        """passed, failed, skipped (by the suite itself) or not applicable."""
        if self.outcome in ("passed", "skipped"):
            return self.outcome
        return "not applicable" if self.outcome == "excluded" else "failed"


class Results:
    """The results of a run, by test."""

    def __init__(self, tables, tests, everything=False):
        self.by_test = {}
        self.tests = tests
        self.tables = tables
        for test in tests:
            result = Result(test.id, tables.group(test))
            rule = tables.exclusion(test)
            known = tables.known_failure(test)
            if rule is not None and not everything:
                result.exclusion, result.outcome = rule.title, "excluded"
            if known is not None:
                result.known = known.reason
            self.by_test[test.id] = result

    def applicable(self):
        return [test for test in self.tests if self.by_test[test.id].outcome != "excluded"]

    def add(self, lines):
        """Takes in what pytest reported: a line for each phase of each test."""
        for line in lines:
            result = self.by_test[line["test"]]
            result.seconds += line["seconds"]
            # The first phase that did not pass decides.
            if result.outcome in ("missing", "passed"):
                result.outcome, result.phase = line["outcome"], line["phase"]
                result.message = line.get("message", "")

    def all(self):
        return list(self.by_test.values())

    def failed(self):
        return [r for r in self.all() if r.state == "failed"]

    def unexpected(self):
        return [r for r in self.failed() if not r.known]

    def mended(self):
        return [r for r in self.all() if r.known and r.state == "passed"]

    def write(self, path):
        lines = [{**vars(result), "state": result.state} for result in self.all()]
        path.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")


@dataclass
class Row:
    """A row of the table."""

    title: str
    counts: Counter

    @property
    def applicable(self):
        return self.counts["passed"] + self.counts["failed"]

    @property
    def percent(self):
        return f"{100 * self.counts['passed'] / self.applicable:.1f}" if self.applicable else "-"

    def cells(self):
        not_applicable = self.counts["not applicable"] + self.counts["skipped"]
        return [self.title, self.counts["passed"], self.counts["failed"], not_applicable, self.percent]


HEADINGS = ["group", "passed", "failed", "not applicable", "% passed"]


def rows(results):
    """A row for each group that has tests, and one for all."""
    found = []
    for group in results.tables.groups:
        counts = Counter(r.state for r in results.all() if r.group == group.title)
        if counts:
            found.append(Row(group.title, counts))
    return [*found, Row("all", sum((row.counts for row in found), Counter()))]


def table(results):
    """The table as Markdown, aligned for a terminal."""
    lines = [HEADINGS, *(row.cells() for row in rows(results))]
    lines = [[str(cell) for cell in line] for line in lines]
    widths = [max(len(line[n]) for line in lines) for n in range(len(HEADINGS))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    text = []
    for line in [lines[0], rule, *lines[1:]]:
        cells = [line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:]))]
        text.append("| " + " | ".join(cells) + " |")
    return "\n".join(text)


def findings(results, unused):
    """What is not as our tables say, in words."""
    text = []
    for result in results.unexpected():
        text.append(f"FAILED {result.test} ({result.phase or 'not run'}): {one_line(result.message)}")
    for result in results.mended():
        text.append(f"passes, though known.toml lists it as failing: {result.test}")
    for entry in unused:
        text.append(f"fits no test of the suite, in known.toml: {entry}")
    expected = len(results.failed()) - len(results.unexpected())
    text.append(f"{len(results.unexpected())} unexpected failures, {expected} known ones")
    return "\n".join(text)


def one_line(text, limit=200):
    return " ".join(text.split())[:limit]
