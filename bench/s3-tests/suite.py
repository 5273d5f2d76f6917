"""The suite itself and the Python environment that runs it, neither of them kept in this repository."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
URL = "https://github.com/ceph/s3-tests.git"
COMMIT = "8f0ae7b404a3a2fcf7038bf1e6bf29544fe9b6a3"
# Of the files below at that commit: a checkout without its git directory is recognised by it.
CONTENT = "d93f1aed6e62b1f7562d6ecb45fe9de4f1891860aaa7e6a70ae5cae33f93c245"
FILES = ["__init__.py", "policy.py", "test_headers.py", "test_s3.py", "utils.py"]
CLONE_SECONDS = 180


class Unavailable(Exception):
    """Something that has to come from outside can't be had; the text says what and why."""


class NoSuite(Exception):
    """The directory that was given holds no suite."""


def find(given, cache):
    """The suite's directory: the one given, or a checkout of the pinned commit under `cache`."""
    if given:
        directory = Path(given).resolve()
        if not (directory / "s3tests" / "functional" / "test_s3.py").is_file():
            raise NoSuite(f"{directory} is no checkout of ceph/s3-tests")
        return directory
    directory = cache / f"suite-{COMMIT[:12]}"
    if not (directory / "s3tests").is_dir():
        clone(directory)
    return directory


def clone(directory):
    directory.mkdir(parents=True, exist_ok=True)
    steps = [
        ["git", "init", "--quiet"],
        ["git", "fetch", "--quiet", "--depth", "1", URL, COMMIT],
        ["git", "checkout", "--quiet", "FETCH_HEAD"],
    ]
    # Never ask for a password: without a terminal that would wait for ever.
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    for step in steps:
        try:
            done = subprocess.run(
                step, cwd=directory, env=environment, capture_output=True, text=True,
                check=False, timeout=CLONE_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"{URL} can't be fetched: {error}") from error
        if done.returncode != 0:
            why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise Unavailable(f"{URL} can't be fetched: {why}")


def is_pinned(directory):
    """Whether the tests are those of the pinned commit, for which our tables are written."""
    digest = hashlib.sha256()
    for name in FILES:
        digest.update((directory / "s3tests" / "functional" / name).read_bytes())
    return digest.hexdigest() == CONTENT


def python(cache):
    """A Python with the suite's requirements, made under `cache` when it is not there yet."""
    requirements = HERE / "requirements.txt"
    venv = cache / "venv"
    interpreter = venv / "bin" / "python3"
    stamp = venv / "requirements.txt"
    if stamp.is_file() and stamp.read_bytes() == requirements.read_bytes():
        return interpreter
    install = [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for step in ([sys.executable, "-m", "venv", venv], [*install, "-r", requirements]):
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise Unavailable(f"the suite's Python packages can't be installed: {why}")
    stamp.write_bytes(requirements.read_bytes())
    return interpreter
