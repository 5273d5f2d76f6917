"""Writes docs/s3-compatibility.md from a run and from the gateway's source."""

import json
import re
import subprocess
import tomllib

import report

LIST_OPERATIONS = (
    "import json, botocore.session as s;"
    "print(json.dumps(list(s.get_session().get_service_model('s3').operation_names)))"
)
METHOD = re.compile(r"async fn (\w+)\(\s*&self,\s*\w+: S3Request<")

INTRODUCTION = """\
# S3 compatibility

Written by `deploy/s3-tests --docs`, which runs [ceph/s3-tests](https://github.com/ceph/s3-tests) at
commit `{commit}`
against a fresh cluster in one process: `test_s3.py` and `test_headers.py`, all of them. What some
tests need to begin with is [translated](#what-is-translated); the tests are as they are.

**{passed} of the {applicable} tests that apply pass: {percent} %.**
Of the {total} tests, {excluded} do not apply. What fails and what does not apply is listed below, each
with its reason, and kept in `bench/s3-tests/known.toml`: a failure that is not listed there fails
the run, and so does an entry that fits no test.

## By group

{table}

"Not applicable" counts what [does not apply](#what-does-not-apply) and what the suite itself skips
({skipped} tests).
"""


def write(root, results, commit, python):
    """Writes the page; gives its path."""
    page = root / "docs" / "s3-compatibility.md"
    page.parent.mkdir(exist_ok=True)
    sections = [
        introduction(results, commit),
        failures(results),
        exclusions(results),
        translated(results),
        operations(root, python),
    ]
    page.write_text("\n".join(sections), encoding="utf-8")
    return page.relative_to(root)


def introduction(results, commit):
    total = report.rows(results)[-1]
    return INTRODUCTION.format(
        commit=commit,
        passed=total.counts["passed"],
        applicable=total.applicable,
        percent=total.percent,
        total=total.counts.total(),
        excluded=total.counts["not applicable"] + total.counts["skipped"],
        skipped=total.counts["skipped"],
        table=report.table(results),
    )


def failures(results):
    lines = ["## What fails", ""]
    failed = results.failed()
    if not failed:
        return "\n".join([*lines, "Nothing.", ""])
    lines += ["| test | group | reason |", "| --- | --- | --- |"]
    for result in sorted(failed, key=lambda r: (r.group, r.test)):
        name = result.test.split("::", 1)[1]
        lines.append(f"| `{name}` | {result.group} | {result.known or 'unexpected'} |")
    return "\n".join([*lines, ""])


def exclusions(results):
    lines = ["## What does not apply", "", "| what | tests | reason |", "| --- | ---: | --- |"]
    for rule in results.tables.not_applicable:
        count = sum(r.exclusion == rule.title for r in results.all())
        lines.append(f"| {rule.title} | {count} | {rule.reason} |")
    return "\n".join([*lines, ""])


def translated(results):
    rule = results.tables.translated
    names = sorted({test.function for test in results.tests if rule.fits(test)})
    lines = ["## What is translated", "", rule.reason]
    return "\n".join([*lines, "These are: " + ", ".join(f"`{name}`" for name in names) + ".", ""])


def operations(root, python):
    """Which operations there are: those of boto3's own description of S3, and ours by our code."""
    listed = subprocess.run(
        [python, "-c", LIST_OPERATIONS], capture_output=True, text=True, check=True
    )
    with open(root / "bench" / "s3-tests" / "operations.toml", "rb") as file:
        notes = tomllib.load(file)
    sources = (root / "gateway" / "src" / "s3").rglob("*.rs")
    methods = {m for path in sources for m in METHOD.findall(path.read_text(encoding="utf-8"))}
    served, refused = [], []
    names = {*json.loads(listed.stdout), *notes["more"]} - {*notes["older_names"]}
    for name in sorted(names):
        (served if snake_case(name) in methods or name in notes["more"] else refused).append(name)
    lines = ["## Operations", "", "| operation | notes |", "| --- | --- |"]
    lines += [f"| {name} | {notes['notes'].get(name, '')} |" for name in served]
    lines += ["", "To callers that are known, everything else is answered with 501 `NotImplemented`:", ""]
    return "\n".join([*lines, ", ".join(refused) + ".", ""])


def snake_case(name):
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
