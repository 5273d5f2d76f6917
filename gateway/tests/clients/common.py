"""What the tests of the everyday clients share.

Environment: ENDPOINT, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_CA_BUNDLE, WORK (an empty folder).
A test prints a line for each check and ends with 1 at the first that fails, with `MISSING` where its
client is not installed, else with 0; its last line says what came of it.
"""

import hashlib
import importlib
import os
import shutil
import subprocess
import sys

ENDPOINT = os.environ["ENDPOINT"]
HOST = ENDPOINT.removeprefix("https://")
ACCESS_KEY = os.environ["AWS_ACCESS_KEY_ID"]
SECRET_KEY = os.environ["AWS_SECRET_ACCESS_KEY"]
CA_FILE = os.environ["AWS_CA_BUNDLE"]
WORK = os.environ["WORK"]
REGION = "us-east-1"
KIB, MIB = 1024, 1024 * 1024
MISSING = 77

checks = 0


def check(what, condition, detail=""):
    global checks
    checks += 1
    if not condition:
        print(f"FAILED: {what}: {str(detail)[:1500]}")
        sys.exit(1)
    print(f"ok: {what}", flush=True)


def done():
    print(f"{checks} checks passed")


def skip(why):
    """Ends a test that can't be had on this machine, whatever is installed."""
    print(f"SKIPPED: {why}")
    sys.exit(0)


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            print(f"SKIPPED: {program} is not installed (deploy/run-tests installs it where it may)")
            sys.exit(MISSING)


def need_module(name):
    try:
        return importlib.import_module(name)
    except ImportError as error:
        print(f"SKIPPED: {error} (deploy/run-tests installs deploy/test-clients.txt)")
        sys.exit(MISSING)


def run(*command, **options):
    """Runs a command that must succeed, and returns what it printed (errors apart)."""
    ended = subprocess.run(command, capture_output=True, check=False, **options)
    short = " ".join(a for a in command[:4] if SECRET_KEY not in a)
    said = (ended.stdout + ended.stderr).decode(errors="replace").strip()
    check(f"{short} ...", ended.returncode == 0, said[-1500:])
    return ended.stdout.decode(errors="replace")


def s3(**config):
    """A boto3 client, for what a test has to see or prepare beside its own client."""
    boto3 = need_module("boto3")
    from botocore.config import Config

    style = {"s3": {"addressing_style": "path"}, "retries": {"max_attempts": 1}}
    return boto3.client("s3", endpoint_url=ENDPOINT, region_name=REGION, config=Config(**{**style, **config}))


def refusal(call, **arguments):
    """What a call of boto3's is answered that ends with an error, or `None`."""
    from botocore.exceptions import ClientError

    try:
        call(**arguments)
    except ClientError as error:
        return error.response
    return None


def error_code(call, **arguments):
    """The S3 error code that a call of boto3's ends with, or `None`."""
    answer = refusal(call, **arguments)
    return answer and answer["Error"]["Code"]


def data(size, seed):
    return hashlib.shake_128(f"{seed}-{size}".encode()).digest(size)


def write(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


def read(path):
    with open(path, "rb") as file:
        return file.read()


# Names that are valid in a folder and in a bucket, and that careless encoding breaks.
ODD_NAMES = [
    "empty",
    "deep/er/and/deeper/empty too",
    " leading and trailing ",
    "two  spaces",
    "ünï/cödé/日本語",
    "emoji 🦀",
    "combining e\u0301",
    "plus+and&amp;=?",
    "percent%20%2F%",
    "quote'\"`",
    "<tag>#hash",
    "star*[x]{y}",
    "semi;colon:comma,",
    "back\\slash",
    "~!@$^()|",
    "trailing dot.",
    "..two dots",
    "-dash",
    "a" * 200,
]


def make_tree(folder, large=0):
    """Files with odd names and sizes about the limits of the store's segments and chunks."""
    sizes = [0, 0, 1, 4095, 64 * KIB, 64 * KIB + 1, 300_000]
    for at, name in enumerate(ODD_NAMES):
        write(os.path.join(folder, name), data(sizes[at % len(sizes)], name))
    write(os.path.join(folder, "chunk", "whole"), data(4 * MIB, "whole"))
    write(os.path.join(folder, "chunk", "more"), data(4 * MIB + 1, "more"))
    if large:
        write(os.path.join(folder, "large", "multi part"), data(large, "large"))


def tree(folder):
    """Every file below a folder with the hash of its content."""
    found = {}
    for at, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(at, name)
            found[os.path.relpath(path, folder)] = hashlib.blake2b(read(path)).hexdigest()
    return found


def same_tree(what, one, other):
    a, b = tree(one), tree(other)
    differ = sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))
    check(f"{what}: {len(a)} files are the same, byte for byte", not differ, f"differ: {differ[:5]}")
