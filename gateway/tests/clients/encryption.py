"""SSE-S3, SSE-KMS and SSE-C; checksums and attributes of multipart uploads; by boto3."""

import base64
import hashlib
import os

from common import check, data, done, error_code, s3 as client

MIB = 1024 * 1024
s3 = client()


def customer(n):
    key = hashlib.sha256(f"customer {n}".encode()).hexdigest()[:32]
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}


def source(n):
    return {f"CopySource{name}": value for name, value in customer(n).items()}


def nowhere_on_disk(secret):
    for folder, _, files in os.walk(os.environ["DATA"]):
        for name in files:
            with open(os.path.join(folder, name), "rb") as file:
                if secret in file.read():
                    return False
    return True


def customer_keys():
    content = data(5 * MIB + 7, "ssec")
    put = s3.put_object(Bucket="sse", Key="own", Body=content, **customer(1))
    check("no other encryption is claimed", "ServerSideEncryption" not in put and put["SSECustomerKeyMD5"])
    check("read with the key", s3.get_object(Bucket="sse", Key="own", **customer(1))["Body"].read() == content)
    for call in [s3.get_object, s3.head_object]:
        for key in [{}, customer(2)]:
            refused = error_code(call, Bucket="sse", Key="own", **key)
            check(f"{call.__name__} needs the right key: {refused}", refused in ("InvalidRequest", "400"))
    needless = error_code(s3.get_object, Bucket="sse", Key="plain", **customer(1))
    check("a key where none is needed", needless == "InvalidRequest")
    s3.copy_object(Bucket="sse", Key="copy", CopySource="sse/own", **source(1), **customer(3))
    check("copied to another key", s3.get_object(Bucket="sse", Key="copy", **customer(3))["Body"].read() == content)
    s3.copy_object(Bucket="sse", Key="out", CopySource="sse/own", **source(1))
    check("and to none", s3.get_object(Bucket="sse", Key="out")["Body"].read() == content)

    upload = s3.create_multipart_upload(Bucket="sse", Key="parts", **customer(1))["UploadId"]
    part = {"Bucket": "sse", "Key": "parts", "UploadId": upload, "PartNumber": 1, "Body": content}
    check("a part with another key", error_code(s3.upload_part, **part, **customer(2)) == "InvalidRequest")
    check("a part without", error_code(s3.upload_part, **part) == "InvalidRequest")
    etag = s3.upload_part(**part, **customer(1))["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    s3.complete_multipart_upload(Bucket="sse", Key="parts", UploadId=upload, MultipartUpload=parts, **customer(1))
    check("a whole upload", s3.get_object(Bucket="sse", Key="parts", **customer(1))["Body"].read() == content)
    key = customer(1)["SSECustomerKey"].encode()
    secrets = [key, base64.b64encode(key), key.hex().encode()]
    check("the key is nowhere on disk", all(nowhere_on_disk(secret) for secret in secrets))


def named_keys():
    put = s3.put_object(Bucket="sse", Key="kms", Body=b"x", ServerSideEncryption="aws:kms")
    check("the default key is named", put["SSEKMSKeyId"] == "aws/s3")
    head = s3.head_object(Bucket="sse", Key="kms")
    check("and shown", (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "aws/s3"))
    unknown = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "no-such-key"}
    refused = error_code(s3.put_object, Bucket="sse", Key="kms", Body=b"y", **unknown)
    check("an unknown key is refused", refused == "KMS.NotFoundException")
    check("and nothing is replaced", s3.get_object(Bucket="sse", Key="kms")["Body"].read() == b"x")
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
    s3.put_bucket_encryption(Bucket="sse", ServerSideEncryptionConfiguration={"Rules": [rule]})
    put = s3.put_object(Bucket="sse", Key="default", Body=b"x")
    check("the bucket's default holds", put["ServerSideEncryption"] == "aws:kms")
    s3.delete_bucket_encryption(Bucket="sse")


def whole_uploads():
    pieces = [data(5 * MIB, "a"), data(5 * MIB, "b"), b"end"]
    content = b"".join(pieces)
    for kind in ["COMPOSITE", "FULL_OBJECT"]:
        checksum = {"ChecksumAlgorithm": "CRC32", "ChecksumType": kind}
        upload = s3.create_multipart_upload(Bucket="sse", Key=kind, **checksum)["UploadId"]
        target = {"Bucket": "sse", "Key": kind, "UploadId": upload}
        parts = []
        for n, piece in enumerate(pieces, 1):
            sent = s3.upload_part(**target, PartNumber=n, Body=piece, ChecksumAlgorithm="CRC32")
            parts.append({"PartNumber": n, "ETag": sent["ETag"], "ChecksumCRC32": sent["ChecksumCRC32"]})
        wrong = error_code(
            s3.complete_multipart_upload, **target, MultipartUpload={"Parts": parts}, ChecksumCRC32="AAAAAA=="
        )
        check(f"{kind}: a wrong checksum is BadDigest", wrong == "BadDigest")
        first = s3.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
        check(f"{kind}: the type is told", first["ChecksumType"] == kind)
        again = s3.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
        same = all(first[f] == again[f] for f in ["ETag", "ChecksumCRC32", "Key"])
        check(f"{kind}: a repeated completion gets the same answer", same)
        whole = s3.put_object(Bucket="sse", Key="whole", Body=content, ChecksumAlgorithm="CRC32")["ChecksumCRC32"]
        check(f"{kind}: over all bytes only if so", (whole == first["ChecksumCRC32"]) == (kind == "FULL_OBJECT"))
        shown = s3.get_object_attributes(
            Bucket="sse", Key=kind, ObjectAttributes=["Checksum", "ETag", "ObjectParts", "ObjectSize"]
        )
        check(f"{kind}: attributes", shown["ObjectSize"] == len(content) and shown["ObjectParts"]["TotalPartsCount"] == 3)
        check(f"{kind}: an etag without quotes", shown["ETag"] == first["ETag"].strip('"'))
        sums = [part["ChecksumCRC32"] for part in shown["ObjectParts"]["Parts"]]
        check(f"{kind}: the parts' checksums", sums == [part["ChecksumCRC32"] for part in parts])
        check(f"{kind}: the content", s3.get_object(Bucket="sse", Key=kind)["Body"].read() == content)
    mixed = error_code(
        s3.create_multipart_upload, Bucket="sse", Key="x", ChecksumAlgorithm="SHA256", ChecksumType="FULL_OBJECT"
    )
    check("SHA256 is not over all bytes", mixed == "InvalidRequest")


s3.create_bucket(Bucket="sse")
s3.put_object(Bucket="sse", Key="plain", Body=b"plain")
customer_keys()
named_keys()
whole_uploads()
done()
