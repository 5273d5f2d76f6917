"""s3fs: a bucket mounted as a folder, by FUSE."""

import contextlib
import os
import shutil
import subprocess
import time

from common import ACCESS_KEY, CA_FILE, ENDPOINT, MIB, REGION, SECRET_KEY, WORK
from common import check, data, done, make_tree, need, read, s3, same_tree, skip, tree, write

need("s3fs", "umount")
if not os.access("/dev/fuse", os.W_OK):
    skip("s3fs needs /dev/fuse, which is not there, or not for this user")
mount, local, log = (os.path.join(WORK, name) for name in ("mount", "local", "s3fs.log"))
there = os.path.join(mount, "tree")
os.makedirs(mount)
os.environ.update(AWSACCESSKEYID=ACCESS_KEY, AWSSECRETACCESSKEY=SECRET_KEY, CURL_CA_BUNDLE=CA_FILE)
boto = s3()
OPTIONS = ",".join([
    f"url={ENDPOINT}",
    f"endpoint={REGION}",
    "use_path_request_style",
    "multipart_size=10",
    "singlepart_copy_limit=10",
])


@contextlib.contextmanager
def mounted():
    """The bucket as a folder; s3fs has ended when this is left."""
    with open(log, "wb") as out, subprocess.Popen(["s3fs", "s3fs", mount, "-f", "-o", OPTIONS], stdout=out, stderr=out) as process:
        try:
            while process.poll() is None and not os.path.ismount(mount):
                time.sleep(0.05)
            check("mounted", process.poll() is None, read(log).decode()[-1500:])
            yield
        finally:
            subprocess.run(["umount", mount], check=False)
            process.wait(timeout=60)
    check("unmounted", not os.path.ismount(mount))


def both(change):
    """The same change to the mounted tree and to a local one, to be compared later."""
    for folder in (there, local):
        change(lambda name: os.path.join(folder, name))


def in_place(path):
    """What programs do to files they have open: appends, changes in the middle, cuts."""
    with open(path("chunk/more"), "ab") as file:
        file.write(b"appended")
    with open(path("large/multi part"), "r+b") as file:
        file.seek(11 * MIB)
        file.write(b"in the middle")
    with open(path("chunk/whole"), "r+b") as file:
        file.truncate(1_000_000)


def names(path):
    os.rename(path("two  spaces"), path("renamed"))
    os.rename(path("large/multi part"), path("large/moved part"))
    os.rename(path("ünï"), path("folder, renamed"))
    os.remove(path("back\\slash"))
    shutil.rmtree(path("deep"))
    os.makedirs(path("empty folder"))
    os.symlink("renamed", path("link"))


def attributes(path):
    os.chmod(path("empty"), 0o640)
    os.utime(path("empty"), (1_000_000_000, 1_000_000_000))


boto.create_bucket(Bucket="s3fs")
make_tree(local, large=25 * MIB)
with mounted():
    check("an empty folder", os.listdir(mount) == [])
    shutil.copytree(local, there)
    same_tree("read back", local, there)
with mounted():
    same_tree("read back by another mount", local, there)
    listed = {os.path.relpath(os.path.join(at, f), there) for at, _, files in os.walk(there) for f in files}
    check("every name is listed", listed == set(tree(local)))
    for change in (in_place, names, attributes):
        both(change)
    same_tree("changed", local, there)
    boto.put_object(Bucket="s3fs", Key="tree/from outside/file", Body=b"by another client")
    check("what another client puts is seen", read(os.path.join(there, "from outside", "file")) == b"by another client")
    write(os.path.join(local, "from outside", "file"), b"by another client")
with mounted():
    same_tree("after the changes, by another mount", local, there)
    check("an empty folder stays", os.listdir(os.path.join(there, "empty folder")) == [])
    check("a link stays a link", os.readlink(os.path.join(there, "link")) == "renamed")
    status = os.stat(os.path.join(there, "empty"))
    check("mode and time stay", (status.st_mode & 0o777, status.st_mtime) == (0o640, 1_000_000_000))
body = boto.get_object(Bucket="s3fs", Key="tree/large/moved part")["Body"].read()
check("another client reads the same", body == read(os.path.join(local, "large", "moved part")))
done()
