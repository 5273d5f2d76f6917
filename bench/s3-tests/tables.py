"""Our tables about the suite: groups, what does not apply, what is translated, what fails."""

import tomllib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

HERE = Path(__file__).resolve().parent


class TableError(Exception):
    """A table does not fit the suite; the text says which entry."""


@dataclass(frozen=True)
class Test:
    """A test of the suite."""

    id: str
    markers: frozenset

    @property
    def name(self):
        """Without the file: `test_x[param]`."""
        return self.id.split("::", 1)[1]

    @property
    def function(self):
        """Without the parameters: `test_x`."""
        return self.name.split("[", 1)[0]


@dataclass
class Rule:
    """An entry of a table: it is for the tests with one of the markers or one of the names.

    Names may have `*` and `?`; they are matched against the test's name without parameters and,
    where they hold a `[`, with them.
    """

    title: str
    reason: str = ""
    markers: list = field(default_factory=list)
    tests: list = field(default_factory=list)
    file: str = ""
    except_tests: list = field(default_factory=list)
    used: bool = False

    def fits(self, test):
        if any(matches(test, pattern) for pattern in self.except_tests):
            return False
        if not (
            self.file and test.id.startswith(self.file + "::")
            or not test.markers.isdisjoint(self.markers)
            or any(matches(test, pattern) for pattern in self.tests)
        ):
            return False
        self.used = True
        return True


def matches(test, pattern):
    if "[" in pattern:
        # fnmatch reads brackets as a set of characters; here they are the parameters.
        return fnmatchcase(test.name, pattern.replace("[", "[[]"))
    return fnmatchcase(test.function, pattern)


class Tables:
    """All of them, with the first entry that fits deciding."""

    def __init__(self, directory=HERE):
        groups = load(directory / "groups.toml")
        known = load(directory / "known.toml")
        self.groups = [Rule(**entry) for entry in groups["group"]]
        self.not_applicable = [Rule(**entry) for entry in known.get("not_applicable", [])]
        self.translated = Rule(title="translated set-up", **known["acl_setup"])
        self.known = [Rule(title="", **entry) for entry in known.get("known", [])]

    def group(self, test):
        found = first(self.groups, test)
        if found is None:
            raise TableError(f"groups.toml has no group for {test.id}")
        return found.title

    def exclusion(self, test):
        return first(self.not_applicable, test)

    def is_translated(self, test):
        return self.translated.fits(test)

    def known_failure(self, test):
        return first(self.known, test)

    def unused(self):
        """Entries that fitted no test: left over from another version of the suite, or misspelt."""
        rules = [*self.not_applicable, self.translated, *self.known]
        return [rule.title or ", ".join(rule.tests) for rule in rules if not rule.used]


def load(path):
    with open(path, "rb") as file:
        return tomllib.load(file)


def first(rules, test):
    return next((rule for rule in rules if rule.fits(test)), None)
