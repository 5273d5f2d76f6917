"""minio-py: what MinIO's own client asks of a store, call by call."""

import datetime
import io
import os

import urllib3

from common import ACCESS_KEY, CA_FILE, HOST, MIB, REGION, SECRET_KEY, WORK
from common import check, data, done, need_module, read, write

minio = need_module("minio")
from minio.commonconfig import REPLACE, ComposeSource, CopySource, Tags
from minio.deleteobjects import DeleteObject
from minio.error import S3Error

BUCKET = "minio-sdk"
http = urllib3.PoolManager(ca_certs=CA_FILE, retries=False)
client = minio.Minio(HOST, ACCESS_KEY, SECRET_KEY, region=REGION, http_client=http)


def code(call, *arguments, **named):
    try:
        call(*arguments, **named)
    except S3Error as error:
        return error.code
    return None


def get(name, **where):
    answer = client.get_object(BUCKET, name, **where)
    try:
        return answer.read()
    finally:
        answer.close()
        answer.release_conn()


def buckets():
    client.make_bucket(BUCKET)
    check("bucket exists", client.bucket_exists(BUCKET) and not client.bucket_exists("not-there"))
    check("listed", BUCKET in [b.name for b in client.list_buckets()])
    check("made twice by its owner, as in S3's first region", code(client.make_bucket, BUCKET) is None)


def objects():
    body = data(6 * MIB, "object")
    put = client.put_object(BUCKET, "a/é +%", io.BytesIO(body), len(body), "text/x-test", {"colour": "green"})
    stat = client.stat_object(BUCKET, "a/é +%")
    shown = (stat.size, stat.etag, stat.content_type, stat.metadata["x-amz-meta-colour"])
    check("put and stat", shown == (len(body), put.etag, "text/x-test", "green"))
    check("get", get("a/é +%") == body)
    check("a range", get("a/é +%", offset=4 * MIB - 1, length=3) == body[4 * MIB - 1 : 4 * MIB + 2])
    stream = data(17 * MIB, "stream")
    client.put_object(BUCKET, "stream", io.BytesIO(stream), -1, part_size=5 * MIB)
    check("a stream of unknown length", get("stream") == stream)
    path = os.path.join(WORK, "file")
    write(path, stream)
    client.fput_object(BUCKET, "file", path, part_size=5 * MIB)
    client.fget_object(BUCKET, "file", path + ".back")
    check("a file by parts, there and back", read(path + ".back") == stream)
    client.put_object(BUCKET, "empty", io.BytesIO(b""), 0)
    check("an empty object", get("empty") == b"" and client.stat_object(BUCKET, "empty").size == 0)
    check("what is not there", code(client.stat_object, BUCKET, "none") == "NoSuchKey")


def tags():
    wanted = Tags.new_object_tags()
    wanted["projekt"] = "ü +-=._:/@"
    client.put_object(BUCKET, "tagged", io.BytesIO(b"x"), 1, tags=wanted)
    check("tags put with an object", client.get_object_tags(BUCKET, "tagged") == wanted)
    client.copy_object(BUCKET, "tagged copy", CopySource(BUCKET, "tagged"))
    check("a copy keeps them", client.get_object_tags(BUCKET, "tagged copy") == wanted)
    wanted["more"] = ""
    client.set_object_tags(BUCKET, "tagged", wanted)
    check("tags replaced", client.get_object_tags(BUCKET, "tagged") == wanted)
    client.delete_object_tags(BUCKET, "tagged")
    check("tags deleted", client.get_object_tags(BUCKET, "tagged") is None)
    wanted = Tags.new_bucket_tags()
    wanted["team"] = "storage"
    client.set_bucket_tags(BUCKET, wanted)
    check("tags of a bucket", client.get_bucket_tags(BUCKET) == wanted)
    client.delete_bucket_tags(BUCKET)
    check("deleted, too", client.get_bucket_tags(BUCKET) is None)


def copies():
    body, stream = data(6 * MIB, "object"), data(17 * MIB, "stream")
    client.copy_object(BUCKET, "copy", CopySource(BUCKET, "a/é +%"))
    check("a copy keeps content and metadata", get("copy") == body and client.stat_object(BUCKET, "copy").metadata["x-amz-meta-colour"] == "green")
    client.copy_object(BUCKET, "copy", CopySource(BUCKET, "copy"), metadata={"colour": "blue"}, metadata_directive=REPLACE)
    check("metadata replaced in place", client.stat_object(BUCKET, "copy").metadata["x-amz-meta-colour"] == "blue")
    etag = client.stat_object(BUCKET, "a/é +%").etag
    refused = code(client.copy_object, BUCKET, "never", CopySource(BUCKET, "a/é +%", not_match_etag=etag))
    check("a copy under a condition", refused == "PreconditionFailed" and code(client.stat_object, BUCKET, "never") == "NoSuchKey")
    sources = [ComposeSource(BUCKET, "a/é +%"), ComposeSource(BUCKET, "stream", offset=1, length=6 * MIB), ComposeSource(BUCKET, "a/é +%", offset=7, length=9)]
    client.compose_object(BUCKET, "composed", sources)
    check("composed of three", get("composed") == body + stream[1 : 6 * MIB + 1] + body[7:16])


def listings():
    names = sorted(f"list/{a}/{b:03}" for a in "xyz" for b in range(5))
    for name in names:
        client.put_object(BUCKET, name, io.BytesIO(b"x"), 1)
    for old in (False, True):
        found = [o.object_name for o in client.list_objects(BUCKET, "list/", recursive=True, use_api_v1=old)]
        check(f"recursive listing, {'v1' if old else 'v2'}", found == names)
        folders = [(o.object_name, o.is_dir) for o in client.list_objects(BUCKET, "list/", use_api_v1=old)]
        check("folders", folders == [(f"list/{a}/", True) for a in "xyz"])
    after = next(client.list_objects(BUCKET, "list/", recursive=True, start_after="list/x/004"))
    check("start after", after.object_name == "list/y/000")


def presigned():
    soon = datetime.timedelta(minutes=5)
    put = http.request("PUT", client.presigned_put_object(BUCKET, "by url", soon), body=b"by url")
    got = http.request("GET", client.presigned_get_object(BUCKET, "by url", soon))
    check("put and got by URL", (put.status, got.status, got.data) == (200, 200, b"by url"))


def deletes():
    everything = [DeleteObject(o.object_name) for o in client.list_objects(BUCKET, recursive=True)]
    check("a bucket that is not empty stays", code(client.remove_bucket, BUCKET) == "BucketNotEmpty")
    client.remove_object(BUCKET, "copy")
    check("deleted many", list(client.remove_objects(BUCKET, everything)) == [])
    check("nothing is left", list(client.list_objects(BUCKET, recursive=True)) == [])
    client.remove_bucket(BUCKET)
    check("the bucket is gone", not client.bucket_exists(BUCKET))


buckets()
objects()
tags()
copies()
listings()
presigned()
deletes()
done()
