"""s3cmd: put, get, sync both ways, copy, move, delete, with Debian's own version of it."""

import os

from common import ACCESS_KEY, CA_FILE, HOST, MIB, REGION, SECRET_KEY, WORK
from common import check, data, done, make_tree, need, read, run, same_tree, tree, write

need("s3cmd")
here, back, config = (os.path.join(WORK, name) for name in ("here", "back", "s3cmd.conf"))
write(
    config,
    f"""[default]
access_key = {ACCESS_KEY}
secret_key = {SECRET_KEY}
bucket_location = {REGION}
host_base = {HOST}
host_bucket = {HOST}
ca_certs_file = {CA_FILE}
multipart_chunk_size_mb = 8
max_retries = 1
progress_meter = False
""".encode(),
)


def s3cmd(*arguments):
    return run("s3cmd", "--config", config, *arguments)


def listed(where):
    return {line.split("s3://", 1)[1] for line in s3cmd("ls", "-r", where).splitlines()}


def single_files():
    large = os.path.join(WORK, "large")
    write(large, data(20 * MIB, "large"))
    s3cmd("put", large, "s3://s3cmd/one/ü by parts", "--add-header", "x-amz-meta-colour:green")
    info = s3cmd("info", "s3://s3cmd/one/ü by parts")
    check("info shows size and metadata", str(20 * MIB) in info and "green" in info)
    s3cmd("cp", "s3://s3cmd/one/ü by parts", "s3://s3cmd/one/copy")
    s3cmd("mv", "s3://s3cmd/one/copy", "s3://s3cmd/two/moved")
    s3cmd("get", "s3://s3cmd/two/moved", large + ".back")
    check("put, copied, moved, got: the same", read(large + ".back") == data(20 * MIB, "large"))
    write(large + ".part", data(20 * MIB, "large")[: 7 * MIB])
    s3cmd("get", "--continue", "s3://s3cmd/two/moved", large + ".part")
    check("a download goes on", read(large + ".part") == data(20 * MIB, "large"))
    check("listed", listed("s3://s3cmd") == {"s3cmd/one/ü by parts", "s3cmd/two/moved"})
    check("du", s3cmd("du", "s3://s3cmd").split()[0] == str(40 * MIB))
    s3cmd("del", "--recursive", "--force", "s3://s3cmd")
    check("deleted", listed("s3://s3cmd") == set())


def trees():
    make_tree(here)
    s3cmd("sync", here + "/", "s3://s3cmd/tree/")
    check("every file is there", listed("s3://s3cmd") == {f"s3cmd/tree/{name}" for name in tree(here)})
    check("a second sync uploads nothing", "upload:" not in s3cmd("sync", here + "/", "s3://s3cmd/tree/"))
    os.makedirs(back)
    s3cmd("sync", "s3://s3cmd/tree/", back + "/")
    same_tree("synced down", here, back)
    os.remove(os.path.join(here, "back\\slash"))
    write(os.path.join(here, "new", "file"), b"new")
    write(os.path.join(here, "empty"), b"no more")
    s3cmd("sync", "--delete-removed", here + "/", "s3://s3cmd/tree/")
    s3cmd("sync", "--delete-removed", "s3://s3cmd/tree/", back + "/")
    same_tree("changes here, synced up and down", here, back)
    s3cmd("sync", "s3://s3cmd/tree/", "s3://s3cmd/twin/")
    check("synced within the store", len(listed("s3://s3cmd/twin/")) == len(tree(here)))


s3cmd("mb", "s3://s3cmd")
check("the bucket is listed", "s3://s3cmd" in s3cmd("ls"))
single_files()
trees()
s3cmd("rb", "--recursive", "--force", "s3://s3cmd")
check("the bucket is gone", "s3://s3cmd" not in s3cmd("ls"))
done()
