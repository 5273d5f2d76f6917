"""MinIO's functional tests of minio-py (a case of its suite "mint"), from minio-py's source package.

The tests are fetched when these are run, not kept here. They run one by one, each against the
store; what fails must be on the list below, with its reason.
"""

import contextlib
import glob
import importlib.util
import json
import os
import sys

from common import ACCESS_KEY, CA_FILE, HOST, MISSING, SECRET_KEY, WORK
from common import check, done, need_module

# What Coffer does not have. The first two answer NotImplemented, which mint counts as "not applicable".
NOT_HERE = {
    "test_select_object_content": "S3 Select",
    "test_get_bucket_notification": "event notifications",
    "test_set_get_bucket_versioning": "folders and prefixes without versions, an extension of MinIO's",
    "test_upload_snowball_objects": "archives unpacked on upload, an extension of MinIO's",
    "test_upload_snowball_objects_with_staging": "archives unpacked on upload, an extension of MinIO's",
}

need_module("minio")
sources = glob.glob(os.path.join(sys.prefix, "src", "minio-*", "tests", "functional", "tests.py"))
if not sources:
    print("SKIPPED: minio-py's source package is not there (deploy/run-tests fetches it)")
    sys.exit(MISSING)
os.chdir(WORK)
os.environ.update(
    SERVER_ENDPOINT=HOST,
    ACCESS_KEY=ACCESS_KEY,
    SECRET_KEY=SECRET_KEY,
    ENABLE_HTTPS="1",
    SSL_CERT_FILE=CA_FILE,
    MINT_MODE="full",
)
spec = importlib.util.spec_from_file_location("functional", sources[0])
functional = importlib.util.module_from_spec(spec)
spec.loader.exec_module(functional)
outcomes = {}


def record(line):
    entry = json.loads(line)
    outcomes[entry["name"].removeprefix("minio-py:")] = entry


def go_on_after(one_test):
    def call(*arguments, **named):
        with contextlib.suppress(functional.TestFailed):
            one_test(*arguments, **named)

    return call


functional.print = record
functional._call_test = go_on_after(functional._call_test)
# The tests' own source of random letters takes longer than all that they test.
functional._get_random_string = lambda size: os.urandom(size // 2 + 1).hex()[:size]
functional.main()
for name, entry in outcomes.items():
    if name in NOT_HERE:
        print(f"not here: {name} ({entry['status']}): {NOT_HERE[name]}")
    else:
        check(name, entry["status"] == "PASS", entry.get("message", entry["status"]))
done()
