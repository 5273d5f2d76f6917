"""boto3 and aws-cli, unmodified, against a running gateway."""

import hashlib
import os

import common
from common import ENDPOINT, KIB, MIB, WORK, check, data, done, error_code, need, need_module, refusal, run

need("aws")
need_module("boto3")
from boto3.s3.transfer import TransferConfig

SIZES = [0, 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 100_000_000]
s3 = common.s3()


def digest(data):
    """Two independent hashes, so that neither the store's own MD5 nor a weak one decides alone."""
    return hashlib.md5(data).hexdigest(), hashlib.blake2b(data).hexdigest()


def aws(*arguments):
    return run("aws", "--endpoint-url", ENDPOINT, "--region", "us-east-1", *arguments)


def boto3_single_objects():
    for size in SIZES:
        body = data(size, "put")
        key = f"put/{size}"
        put = s3.put_object(Bucket="boto", Key=key, Body=body, Metadata={"size": str(size)})
        check(f"put {size}: etag is the MD5", put["ETag"] == f'"{digest(body)[0]}"')
        got = s3.get_object(Bucket="boto", Key=key)
        check(f"get {size}: equal", digest(got["Body"].read()) == digest(body))
        head = s3.head_object(Bucket="boto", Key=key)
        check(f"head {size}", (head["ContentLength"], head["Metadata"]) == (size, {"size": str(size)}))
        if size:
            for first, last in [(0, 0), (size // 2, size - 1), (size - 1, size - 1)]:
                part = s3.get_object(Bucket="boto", Key=key, Range=f"bytes={first}-{last}")
                right = part["Body"].read() == body[first : last + 1]
                check(f"range {first}-{last} of {size}", right and part["ContentRange"] == f"bytes {first}-{last}/{size}")
            tail = s3.get_object(Bucket="boto", Key=key, Range="bytes=-1")["Body"].read()
            check(f"suffix range of {size}", tail == body[-1:])
        copy = f"copy/{size}"
        s3.copy_object(Bucket="boto", Key=copy, CopySource={"Bucket": "boto", "Key": key})
        check(f"copy {size}", digest(s3.get_object(Bucket="boto", Key=copy)["Body"].read()) == digest(body))
    for size in (0, 1):
        past = refusal(s3.get_object, Bucket="boto", Key=f"put/{size}", Range=f"bytes={size}-{size + 1}")
        sizes = (past["Error"]["Code"], past["Error"]["ActualObjectSize"], past["ResponseMetadata"]["HTTPHeaders"]["content-range"])
        check("a range past the end tells the size", sizes == ("InvalidRange", str(size), f"bytes */{size}"))


def boto3_checksums():
    for algorithm in ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]:
        try:
            s3.put_object(Bucket="boto", Key="sum", Body=b"checked", ChecksumAlgorithm=algorithm)
        except Exception as error:  # botocore without the optional CRT module
            if "awscrt" not in str(error).lower() and "crt" not in str(error).lower():
                raise
            print(f"skipped: {algorithm} needs awscrt")
            continue
        head = s3.head_object(Bucket="boto", Key="sum", ChecksumMode="ENABLED")
        check(f"{algorithm} is stored and shown", head.get(f"Checksum{algorithm}"))
    wrong = error_code(s3.put_object, Bucket="boto", Key="wrong", Body=b"x", ChecksumSHA256="A" * 43 + "=")
    check("a wrong checksum is BadDigest", wrong == "BadDigest")
    check("and leaves nothing", error_code(s3.get_object, Bucket="boto", Key="wrong") == "NoSuchKey")


def boto3_multipart():
    body = data(100_000_000, "multipart")
    path = os.path.join(WORK, "big")
    with open(path, "wb") as file:
        file.write(body)
    config = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=8 * MIB, max_concurrency=4)
    s3.upload_file(path, "boto", "multi", Config=config)
    s3.download_file("boto", "multi", path + ".back", Config=config)
    with open(path + ".back", "rb") as file:
        check("multipart up and down", digest(file.read()) == digest(body))
    check("multipart etag", s3.head_object(Bucket="boto", Key="multi")["ETag"].endswith('-12"'))
    # A managed copy of this size goes part by part (UploadPartCopy).
    s3.copy({"Bucket": "boto", "Key": "multi"}, "boto", "multi-copy", Config=config)
    check("multipart copy", digest(s3.get_object(Bucket="boto", Key="multi-copy")["Body"].read()) == digest(body))
    part = s3.get_object(Bucket="boto", Key="multi", PartNumber=2)
    check("get by part number", part["Body"].read() == body[8 * MIB : 16 * MIB] and part["PartsCount"] == 12)

    upload = s3.create_multipart_upload(Bucket="boto", Key="by-hand")["UploadId"]
    target = {"Bucket": "boto", "Key": "by-hand", "UploadId": upload}
    first = s3.upload_part(**target, PartNumber=1, Body=b"a" * 5 * MIB)["ETag"]
    second = s3.upload_part(**target, PartNumber=2, Body=b"b")["ETag"]
    listed = [(p["PartNumber"], p["Size"]) for p in s3.list_parts(**target)["Parts"]]
    check("list parts", listed == [(1, 5 * MIB), (2, 1)])
    ours = [u["UploadId"] for u in s3.list_multipart_uploads(Bucket="boto")["Uploads"]]
    check("list uploads", upload in ours)
    check("not visible before completion", error_code(s3.head_object, Bucket="boto", Key="by-hand") == "404")
    bad = {"Parts": [{"PartNumber": 1, "ETag": second}]}
    check("wrong etag is InvalidPart", error_code(s3.complete_multipart_upload, **target, MultipartUpload=bad) == "InvalidPart")
    small = {"Parts": [{"PartNumber": 1, "ETag": first}, {"PartNumber": 2, "ETag": second}]}
    s3.complete_multipart_upload(**target, MultipartUpload=small)
    check("completed", s3.get_object(Bucket="boto", Key="by-hand")["Body"].read() == b"a" * 5 * MIB + b"b")
    aborted = s3.create_multipart_upload(Bucket="boto", Key="aborted")["UploadId"]
    s3.upload_part(Bucket="boto", Key="aborted", UploadId=aborted, PartNumber=1, Body=b"x")
    s3.abort_multipart_upload(Bucket="boto", Key="aborted", UploadId=aborted)
    gone = error_code(s3.upload_part, Bucket="boto", Key="aborted", UploadId=aborted, PartNumber=1, Body=b"x")
    check("an aborted upload is gone", gone == "NoSuchUpload")


def boto3_listing():
    keys = sorted([f"list/{a}/{b}" for a in "abc" for b in range(7)] + ["list/top", "list/é ü+&", "list/..", "list/a//x"])
    for key in keys:
        s3.put_object(Bucket="boto", Key=key, Body=b"")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="boto", Prefix="list/", PaginationConfig={"PageSize": 4})
    got = [o["Key"] for page in pages for o in page.get("Contents", [])]
    check("list v2 over pages", got == sorted(keys, key=lambda k: k.encode()))
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="boto", Prefix="list/", Delimiter="/", PaginationConfig={"PageSize": 2})
    prefixes = [p["Prefix"] for page in pages for p in page.get("CommonPrefixes", [])]
    check("common prefixes over pages", prefixes == ["list/a/", "list/b/", "list/c/"])
    got = [o["Key"] for page in s3.get_paginator("list_objects").paginate(Bucket="boto", Prefix="list/", PaginationConfig={"PageSize": 3}) for o in page.get("Contents", [])]
    check("list v1 over pages", got == sorted(keys, key=lambda k: k.encode()))
    after = s3.list_objects_v2(Bucket="boto", Prefix="list/", StartAfter="list/b/6")["Contents"]
    check("start-after", after[0]["Key"] == "list/c/0")


def boto3_conditions_and_deletes():
    s3.put_object(Bucket="boto", Key="cond", Body=b"1", IfNoneMatch="*")
    check("create only once", error_code(s3.put_object, Bucket="boto", Key="cond", Body=b"2", IfNoneMatch="*") == "PreconditionFailed")
    etag = s3.head_object(Bucket="boto", Key="cond")["ETag"]
    s3.put_object(Bucket="boto", Key="cond", Body=b"2", IfMatch=etag)
    check("update only what was seen", error_code(s3.put_object, Bucket="boto", Key="cond", Body=b"3", IfMatch=etag) == "PreconditionFailed")
    now = s3.head_object(Bucket="boto", Key="cond")
    check("304", error_code(s3.get_object, Bucket="boto", Key="cond", IfNoneMatch=now["ETag"]) == "304")
    check("a version id is not ignored", error_code(s3.get_object, Bucket="boto", Key="cond", VersionId="abc") == "InvalidArgument")
    s3.delete_object(Bucket="boto", Key="cond")
    s3.delete_object(Bucket="boto", Key="cond")
    check("deleted", error_code(s3.get_object, Bucket="boto", Key="cond") == "NoSuchKey")
    check("no such bucket", error_code(s3.get_object, Bucket="nowhere", Key="x") == "NoSuchBucket")
    check("not empty", error_code(s3.delete_bucket, Bucket="boto") == "BucketNotEmpty")


def aws_cli():
    aws("s3", "mb", "s3://cli")
    tree = os.path.join(WORK, "tree")
    os.makedirs(os.path.join(tree, "deep"))
    for size in SIZES:
        with open(os.path.join(tree, "deep" if size % 2 else "", f"f{size}"), "wb") as file:
            file.write(data(size, "cli"))
    aws("s3", "cp", "--recursive", "--no-progress", tree, "s3://cli/tree")
    aws("s3", "sync", "--no-progress", tree, "s3://cli/tree")
    listed = aws("s3", "ls", "--recursive", "s3://cli/tree").split("\n")
    check("aws s3 ls shows all", len([l for l in listed if l]) == len(SIZES))
    aws("s3", "cp", "--no-progress", "s3://cli/tree/f100000000", "s3://cli/copy")
    aws("s3", "mv", "--no-progress", "s3://cli/copy", "s3://cli/moved")
    back = os.path.join(WORK, "back")
    aws("s3", "cp", "--recursive", "--no-progress", "s3://cli/", back)
    for size in SIZES:
        with open(os.path.join(back, "tree", "deep" if size % 2 else "", f"f{size}"), "rb") as file:
            check(f"aws-cli file of {size}", digest(file.read()) == digest(data(size, "cli")))
    with open(os.path.join(back, "moved"), "rb") as file:
        check("aws-cli copy", digest(file.read()) == digest(data(100_000_000, "cli")))
    aws("s3api", "head-object", "--bucket", "cli", "--key", "moved")
    aws("s3", "rm", "--recursive", "s3://cli")
    aws("s3", "rb", "s3://cli")


s3.create_bucket(Bucket="boto")
check("list buckets", "boto" in [b["Name"] for b in s3.list_buckets()["Buckets"]])
boto3_single_objects()
boto3_checksums()
boto3_multipart()
boto3_listing()
boto3_conditions_and_deletes()
aws_cli()
left = [o["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket="boto") for o in page.get("Contents", [])]
for at in range(0, len(left), 1000):
    gone = s3.delete_objects(Bucket="boto", Delete={"Objects": [{"Key": k} for k in left[at : at + 1000]]})
    check("delete many", len(gone["Deleted"]) == len(left[at : at + 1000]) and not gone.get("Errors"))
s3.delete_bucket(Bucket="boto")
done()
