"""restic: backups that are checked to the last byte, restored, thinned out and checked again."""

import json
import os
import shutil

from common import CA_FILE, ENDPOINT, MIB, WORK
from common import check, data, done, make_tree, need, run, same_tree, s3, tree, write

need("restic")
home = os.path.join(WORK, "home")
os.environ.update(
    RESTIC_REPOSITORY=f"s3:{ENDPOINT}/restic/repository",
    RESTIC_PASSWORD="correct horse",
    RESTIC_CACHE_DIR=os.path.join(WORK, "cache"),
)


def restic(*arguments):
    return run("restic", "--cacert", CA_FILE, *arguments)


def backup():
    """Backs up, and returns what restic says of it."""
    lines = restic("backup", "--json", home).splitlines()
    return json.loads(lines[-1])


def restored(what, snapshot, original):
    target = os.path.join(WORK, "restored")
    restic("restore", snapshot, "--target", target)
    same_tree(what, original, target + home)
    shutil.rmtree(target)


def stored():
    pages = s3().get_paginator("list_objects_v2").paginate(Bucket="restic", Prefix="repository/data/")
    return sum(o["Size"] for page in pages for o in page.get("Contents", []))


make_tree(home, large=24 * MIB)
files = len(tree(home))
os.symlink("two  spaces", os.path.join(home, "link"))
os.chmod(os.path.join(home, "-dash"), 0o640)
# Makes the bucket as well.
restic("init")

first = backup()
check("the first backup takes every file", first["files_new"] == files, first)
before = os.path.join(WORK, "before")
shutil.copytree(home, before, symlinks=True)

write(os.path.join(home, "large", "multi part"), data(24 * MIB, "large")[: 12 * MIB] + b"changed")
write(os.path.join(home, "added"), data(1_000_000, "added"))
os.remove(os.path.join(home, "back\\slash"))
second = backup()
check("the second one only what is new", second["files_new"] == 1 and second["data_added"] < first["data_added"] / 2, second)
snapshots = json.loads(restic("snapshots", "--json"))
check("two snapshots", len(snapshots) == 2)

restic("check", "--read-data")
restored("the first backup, restored", first["snapshot_id"], before)
restored("the second, restored", second["snapshot_id"], home)

size = stored()
restic("forget", "--keep-last", "1", "--prune", "--max-unused", "0")
check("pruning gave space back", stored() < size)
restic("check", "--read-data")
restored("the one that is left, restored", "latest", home)
check("no lock is left", restic("list", "locks").strip() == "")
done()
