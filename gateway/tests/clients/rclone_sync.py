"""rclone: `sync` both ways with a `check` after each, hashes, copies within the store, streams."""

import hashlib
import os

from common import ACCESS_KEY, CA_FILE, ENDPOINT, MIB, REGION, SECRET_KEY, WORK
from common import check, data, done, make_tree, need, read, run, same_tree, tree, write

need("rclone")
here, back = os.path.join(WORK, "here"), os.path.join(WORK, "back")
there = "coffer:rclone/tree"
log = os.path.join(WORK, "rclone.log")
os.environ.update(
    RCLONE_CONFIG=os.path.join(WORK, "rclone.conf"),
    RCLONE_CONFIG_COFFER_TYPE="s3",
    RCLONE_CONFIG_COFFER_PROVIDER="Other",
    RCLONE_CONFIG_COFFER_ACCESS_KEY_ID=ACCESS_KEY,
    RCLONE_CONFIG_COFFER_SECRET_ACCESS_KEY=SECRET_KEY,
    RCLONE_CONFIG_COFFER_ENDPOINT=ENDPOINT,
    RCLONE_CONFIG_COFFER_REGION=REGION,
    RCLONE_CA_CERT=CA_FILE,
    RCLONE_S3_UPLOAD_CUTOFF="8Mi",
    RCLONE_S3_CHUNK_SIZE="8Mi",
    RCLONE_S3_COPY_CUTOFF="8Mi",
    # What fails must be seen, not tried again.
    RCLONE_RETRIES="1",
    RCLONE_LOW_LEVEL_RETRIES="1",
)
# rclone ends when its S3 library finds this one beside its own.
del os.environ["AWS_CA_BUNDLE"]
write(os.environ["RCLONE_CONFIG"], b"")


def rclone(*arguments, **options):
    return run("rclone", *arguments, **options)


def both_sides_agree(folder):
    rclone("check", folder, there)
    rclone("check", "--download", there, folder)


def sync(source, target):
    """Syncs, and returns what was moved for it."""
    write(log, b"")
    rclone("sync", source, target, "--log-level", "INFO", "--log-file", log)
    return [line for line in read(log).decode().splitlines() if "Copied" in line or "Deleted" in line]


def up():
    make_tree(here, large=30 * MIB)
    write(os.path.join(here, "control\tand\nline"), b"x")
    rclone("mkdir", "coffer:rclone")
    check("the bucket is listed", "rclone" in rclone("lsd", "coffer:"))
    check("a sync moves every file", len(sync(here, there)) == len(tree(here)))
    both_sides_agree(here)
    check("a second one moves nothing", sync(here, there) == [])
    hashes = rclone("hashsum", "MD5", there)
    for name in tree(here):
        right = hashlib.md5(read(os.path.join(here, name))).hexdigest()
        shown = name.replace("\t", "␉").replace("\n", "␊")
        check(f"hashsum of {name!r}", f"{right}  {shown}\n" in hashes)


def changes_here():
    write(os.path.join(here, "empty"), b"no more")
    write(os.path.join(here, "new", "file"), data(70_000, "new"))
    os.remove(os.path.join(here, "plus+and&amp;=?"))
    os.rename(os.path.join(here, "chunk"), os.path.join(here, "moved chunk"))
    rclone("sync", "--track-renames", here, there)
    both_sides_agree(here)


def down():
    sync(there, back)
    both_sides_agree(back)
    same_tree("synced down", here, back)
    large = "large/multi part"
    times = [os.stat(os.path.join(folder, large)).st_mtime_ns for folder in (here, back)]
    check("times come back to the nanosecond", times[0] == times[1])
    check("a second sync down moves nothing", sync(there, back) == [])


def changes_there():
    rclone("copyto", f"{there}/large/multi part", f"{there}/large/copy by parts")
    rclone("moveto", f"{there}/emoji 🦀", f"{there}/crab/🦀")
    rclone("deletefile", f"{there}/<tag>#hash")
    rclone("rcat", f"{there}/stream", input=data(12 * MIB, "stream"))
    rclone("touch", f"{there}/new/touched")
    sync(there, back)
    both_sides_agree(back)
    names = tree(back)
    check("a copy by parts is the same", names["large/copy by parts"] == names["large/multi part"])
    check("a stream of unknown length", read(os.path.join(back, "stream")) == data(12 * MIB, "stream"))
    gone = {"emoji 🦀", "<tag>#hash"} & names.keys()
    check("moved and deleted", not gone and {"crab/🦀", "new/touched"} <= names.keys())
    middle = rclone("cat", "--offset", "70000", "--count", "10", f"{there}/stream").encode(errors="replace")
    check("a range", middle == data(12 * MIB, "stream")[70_000:70_010].decode(errors="replace").encode())


def deletes():
    rclone("delete", "--include", "*/*", there)
    left = rclone("lsf", "-R", "--files-only", there)
    check("deleted what was named", left and "/" not in left)
    rclone("purge", there)
    check("purged", rclone("lsf", "-R", "coffer:rclone") == "")
    rclone("rmdir", "coffer:rclone")
    check("the bucket is gone", "rclone" not in rclone("lsd", "coffer:"))


up()
changes_here()
down()
changes_there()
deletes()
done()
