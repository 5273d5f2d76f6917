"""Runs ceph/s3-tests against a fresh Coffer cluster in one process and judges the outcome.

Exit codes: 0 all as expected (or skipped: the suite can't be had), 1 a test failed that is not
known to, or our tables do not fit the suite, 2 something did not start, 3 skipped with --require.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import docs
import gateway
import report
import suite
from tables import TableError, Tables, Test

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TEST_SECONDS = 300


def arguments():
    parser = argparse.ArgumentParser(
        prog="deploy/s3-tests", description="ceph/s3-tests against a fresh Coffer cluster"
    )
    parser.add_argument("--suite", default=os.environ.get("S3_TESTS_DIR"), metavar="DIR",
                        help="a checkout of the suite (or S3_TESTS_DIR); fetched if not given")
    parser.add_argument("--require", action="store_true",
                        help="fail where the suite can't be had, instead of skipping")
    parser.add_argument("-k", dest="select", metavar="EXPRESSION", help="only these, as for pytest")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes (default 2)")
    parser.add_argument("--all", action="store_true", help="also what is said not to apply")
    parser.add_argument("--binary", metavar="FILE", help="this coffer-gateway; built if not given")
    parser.add_argument("--output", type=Path, metavar="DIR", help="where the results go")
    parser.add_argument("--docs", action="store_true", help="write docs/s3-compatibility.md")
    options = parser.parse_args()
    if options.docs and (options.select or options.all):
        parser.error("--docs needs a whole run: it can't be had with -k or --all")
    return options


def target_directory():
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def build():
    command = ["cargo", "build", "--locked", "-p", "coffer-gateway"]
    subprocess.run(command, cwd=ROOT, check=True)
    return target_directory() / "debug" / "coffer-gateway"


def configure(output, endpoint, keys):
    """Writes the suite's configuration for each of its processes."""
    for worker in {worker for worker, _ in keys}:
        text = gateway.suite_config(endpoint, keys, worker)
        (output / f"{worker}.conf").write_text(text, encoding="utf-8")


class CutOff(Exception):
    """The tests did not come to their end."""


class Suite:
    """The suite's tests as pytest sees them."""

    def __init__(self, directory, python, output):
        self.directory, self.python, self.output = directory, python, output

    def pytest(self, arguments, environment, log):
        """Runs pytest; gives its exit code."""
        functional = self.directory / "s3tests" / "functional"
        command = [
            self.python, "-m", "pytest", "-p", "coffer_plugin", "-p", "no:cacheprovider",
            f"--rootdir={self.directory}", "-c", self.directory / "pytest.ini", "-q", *arguments,
            functional / "test_s3.py", functional / "test_headers.py",
        ]
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "S3TEST"))}
        environment = {
            **inherited,
            "PYTHONPATH": os.pathsep.join([str(HERE), str(self.directory)]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "COFFER_S3_TESTS_CONFIGS": str(self.output),
            **environment,
        }
        with open(self.output / log, "w", encoding="utf-8") as out:
            return subprocess.run(
                command, cwd=self.directory, env=environment, stdout=out,
                stderr=subprocess.STDOUT, check=False,
            ).returncode

    def collect(self, select):
        """All tests, or those that `select` names."""
        listing = self.output / "collected.jsonl"
        chosen = ["-k", select] if select else []
        environment = {"COFFER_S3_TESTS_COLLECT": str(listing)}
        if self.pytest(["--collect-only", *chosen], environment, "collect.log") != 0:
            raise TableError(f"no tests are found; see {self.output / 'collect.log'}")
        lines = map(json.loads, listing.read_text(encoding="utf-8").splitlines())
        return [Test(line["test"], frozenset(line["markers"])) for line in lines]

    def list(self, name, tests):
        """Writes a list of tests for our plugin."""
        path = self.output / name
        path.write_text("\n".join(test.id for test in tests), encoding="utf-8")
        return str(path)

    def run(self, tests, translated, workers, serving):
        """Runs these tests, some with their ACLs translated; gives what was reported of them."""
        reports = self.output / "reports.jsonl"
        reports.unlink(missing_ok=True)
        # Other styles of traceback parse the suite's 20,000 lines anew for each failure.
        arguments = [
            "-n", str(workers), f"--timeout={TEST_SECONDS}", "--tb=native",
            f"--junitxml={self.output / 'junit.xml'}",
        ]
        authority = serving["ca_file"]
        environment = {
            "COFFER_S3_TESTS_SELECTED": self.list("selected.txt", tests),
            "COFFER_S3_TESTS_ACL_SETUP": self.list("acl-setup.txt", translated),
            "COFFER_S3_TESTS_REPORTS": str(reports),
            "COFFER_S3_TESTS_CA": authority,
            # For the tests that use plain sockets, or requests without a word on whom to trust.
            "SSL_CERT_FILE": authority,
            "REQUESTS_CA_BUNDLE": authority,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
        # 0: all passed, 1: some failed, 5: there were none. All else is no result.
        code = self.pytest(arguments, environment, "pytest.log")
        if code not in (0, 1, 5):
            raise CutOff(f"pytest ended with {code}; see {self.output / 'pytest.log'}")
        lines = reports.read_text(encoding="utf-8").splitlines() if reports.is_file() else []
        return [json.loads(line) for line in lines]


def main():
    options = arguments()
    cache = target_directory() / "s3-tests"
    output = (options.output or cache / "results").resolve()
    output.mkdir(parents=True, exist_ok=True)
    keys = gateway.new_keys([f"gw{n}" for n in range(options.workers)])
    # The suite reads its configuration when its tests are collected, too.
    configure(output, "https://127.0.0.1:9", keys)
    try:
        directory = suite.find(options.suite, cache)
        tests_of = Suite(directory, suite.python(cache), output)
        tests = tests_of.collect(options.select)
    except suite.Unavailable as error:
        print(f"SKIPPED: {error}")
        return 3 if options.require else 0
    if not suite.is_pinned(directory):
        print(f"note: {directory} differs from commit {suite.COMMIT}, which known.toml is for")

    tables = Tables()
    results = report.Results(tables, tests, everything=options.all)
    binary = options.binary or build()
    with gateway.serving(binary, output / "gateway.log", keys) as serving:
        configure(output, serving["endpoint"], keys)
        chosen = results.applicable()
        translated = [test for test in chosen if tables.is_translated(test)]
        results.add(tests_of.run(chosen, translated, options.workers, serving))
    results.write(output / "results.json")

    print(report.table(results))
    unused = tables.unused() if not options.select else []
    print(report.findings(results, unused))
    if options.docs:
        print(f"written: {docs.write(ROOT, results, suite.COMMIT, tests_of.python)}")
    return 1 if results.unexpected() or unused else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (
        gateway.GatewayError, suite.NoSuite, CutOff, TableError, subprocess.CalledProcessError,
    ) as error:
        print(f"s3-tests: {error}", file=sys.stderr)
        sys.exit(2)
