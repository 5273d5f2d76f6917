"""A pytest plugin for the suite: which tests run, as whom, and what came of each.

Environment, set by `run.py`:
  COFFER_S3_TESTS_COLLECT   write what there is to this file, one JSON object a line; run nothing
  COFFER_S3_TESTS_SELECTED  run only the tests that this file lists, one a line
  COFFER_S3_TESTS_ACL_SETUP the tests whose set-up by ACL is translated, one a line
  COFFER_S3_TESTS_REPORTS   write each phase's outcome to this file, one JSON object a line
  COFFER_S3_TESTS_CONFIGS   directory with a suite configuration for each worker: `gw0.conf`, ...
  COFFER_S3_TESTS_CA        the certificate authority to trust
"""

import json
import os
from pathlib import Path

import pytest
from acl_setup import Translation

MESSAGE_LIMIT = 600


def is_worker(config):
    return hasattr(config, "workerinput")


def short_id(item):
    """The id as used in our tables: `test_s3.py::test_x[param]`."""
    return item.nodeid.rsplit("/", 1)[-1]


def pytest_configure(config):
    worker = config.workerinput["workerid"] if is_worker(config) else "gw0"
    os.environ["S3TEST_CONF"] = str(Path(os.environ["COFFER_S3_TESTS_CONFIGS"]) / f"{worker}.conf")


def trust_our_authority():
    """The suite can say whether to verify, but not against what: `True` means the public ones."""
    from s3tests import functional

    configure = functional.configure

    def configure_and_trust():
        configure()
        functional.config.default_ssl_verify = os.environ["COFFER_S3_TESTS_CA"]

    functional.configure = configure_and_trust


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    listing = os.environ.get("COFFER_S3_TESTS_COLLECT")
    if listing:
        with open(listing, "w", encoding="utf-8") as out:
            for item in items:
                markers = sorted({marker.name for marker in item.iter_markers()})
                print(json.dumps({"test": short_id(item), "markers": markers}), file=out)
        return
    wanted = lines_of("COFFER_S3_TESTS_SELECTED")
    kept = [item for item in items if short_id(item) in wanted]
    config.hook.pytest_deselected(items=[item for item in items if short_id(item) not in wanted])
    items[:] = kept


def lines_of(variable):
    return set(Path(os.environ[variable]).read_text(encoding="utf-8").splitlines())


def message_of(report):
    """The assertion or error in a few lines, without the source around it."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash else str(report.longrepr)
    place = f" (line {crash.lineno})" if crash else ""
    return text[:MESSAGE_LIMIT] + place


class Reports:
    """Keeps what came of each phase, in the process that hears of all of them."""

    def __init__(self, path):
        self.out = open(path, "a", encoding="utf-8", buffering=1)

    def pytest_runtest_logreport(self, report):
        line = {
            "test": report.nodeid.rsplit("/", 1)[-1],
            "phase": report.when,
            "outcome": report.outcome,
            "seconds": round(report.duration, 3),
        }
        if report.outcome == "failed":
            line["message"] = message_of(report)
        elif report.outcome == "skipped":
            line["message"] = str(report.longrepr[-1] if report.longrepr else "")
        print(json.dumps(line), file=self.out)


class FreshPrefix:
    """After a clean-up that failed, the next test gets a new bucket prefix.

    Each test of the suite begins by deleting all buckets with its process's prefix: without this,
    one bucket that can't be deleted would fail every test that follows.
    """

    def pytest_runtest_logreport(self, report):
        if report.failed and report.when in ("setup", "teardown"):
            from s3tests import functional

            functional.configure()


class AclSetup:
    """Turns the translation of ACLs on for the tests that it is for."""

    def __init__(self):
        self.tests = lines_of("COFFER_S3_TESTS_ACL_SETUP")
        self.translation = Translation()
        self.translation.install()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item):
        self.translation.begin(short_id(item) in self.tests)


def pytest_sessionstart(session):
    config = session.config
    if os.environ.get("COFFER_S3_TESTS_COLLECT"):
        return
    trust_our_authority()
    if not is_worker(config):
        config.pluginmanager.register(Reports(os.environ["COFFER_S3_TESTS_REPORTS"]))
    if is_worker(config) or not config.getoption("numprocesses", None):
        config.pluginmanager.register(FreshPrefix())
        config.pluginmanager.register(AclSetup())
