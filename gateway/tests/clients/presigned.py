"""Presigned URLs by boto3 and aws-cli, used by curl, which knows nothing of S3."""

import os
import time
import urllib.parse

from common import ENDPOINT, MIB, REGION, WORK
from common import check, data, done, need, read, run, s3, write

need("curl", "aws")
BUCKET, KEY = "presigned", "a folder/ü +&%20?#.bin"
boto = s3(signature_version="s3v4")
boto.create_bucket(Bucket=BUCKET)
answer = os.path.join(WORK, "answer")


def curl(url, *options):
    """The status, and the answer's body."""
    write(answer, b"")
    status = run("curl", "--silent", "--cacert", os.environ["AWS_CA_BUNDLE"], "--output", answer, "--write-out", "%{http_code}", *options, url)
    return int(status), read(answer)


def url(operation, seconds=300, **parameters):
    return boto.generate_presigned_url(operation, {"Bucket": BUCKET, "Key": KEY, **parameters}, ExpiresIn=seconds)


def refused(what, got, status, code):
    check(f"{what}: {status} {code}", got[0] == status and f"<Code>{code}</Code>".encode() in got[1], got)


def tampered(link, **changes):
    parts = urllib.parse.urlsplit(link)
    query = {**dict(urllib.parse.parse_qsl(parts.query)), **changes}
    return parts._replace(query=urllib.parse.urlencode(query, quote_via=urllib.parse.quote)).geturl()


body = data(6 * MIB + 1, "presigned")
file = os.path.join(WORK, "body")
write(file, body)

check("put", curl(url("put_object"), "--upload-file", file)[0] == 200)
check("get", curl(url("get_object")) == (200, body))
for version in ["--http1.1", "--http2"]:
    check(f"get {version}", curl(url("get_object"), version) == (200, body))
check("a range", curl(url("get_object"), "--range", "5-9") == (206, body[5:10]))
check("head", curl(url("head_object"), "--head")[0] == 200)

named = url("get_object", ResponseContentDisposition='attachment; filename="x.bin"', ResponseContentType="text/plain")
heads = run("curl", "--silent", "--cacert", os.environ["AWS_CA_BUNDLE"], "--output", answer, "--dump-header", "-", named).lower()
check("headers asked for by the URL", 'attachment; filename="x.bin"' in heads and "content-type: text/plain" in heads)

typed = url("put_object", ContentType="text/x-signed", Metadata={"colour": "green"})
signed = ["--header", "content-type: text/x-signed", "--header", "x-amz-meta-colour: green"]
check("put with signed headers", curl(typed, "--upload-file", file, *signed)[0] == 200)
head = boto.head_object(Bucket=BUCKET, Key=KEY)
check("they are kept", (head["ContentType"], head["Metadata"]) == ("text/x-signed", {"colour": "green"}))
# A refusal comes before the body is sent: it must be seen, and not be taken for a broken connection.
for version in ["--http1.1", "--http2"]:
    refused(f"put without them {version}", curl(typed, version, "--upload-file", file), 403, "SignatureDoesNotMatch")

# For us-east-1 aws-cli 1 signs URLs by version 2 unless it is told not to; that is refused.
config = os.path.join(WORK, "aws.conf")
write(config, b"[default]\ns3 =\n  signature_version = s3v4\n")
os.environ["AWS_CONFIG_FILE"] = config
cli = run("aws", "--endpoint-url", ENDPOINT, "--region", REGION, "s3", "presign", f"s3://{BUCKET}/{KEY}", "--expires-in", "60").strip()
check("get by aws-cli's URL", curl(cli) == (200, body), cli)

upload = boto.create_multipart_upload(Bucket=BUCKET, Key="by parts")["UploadId"]
parts = []
for number, piece in enumerate([body[: 5 * MIB], body[5 * MIB :]], 1):
    write(file, piece)
    link = url("upload_part", Key="by parts", UploadId=upload, PartNumber=number)
    check(f"put of part {number}", curl(link, "--upload-file", file)[0] == 200)
    listed = boto.list_parts(Bucket=BUCKET, Key="by parts", UploadId=upload)["Parts"]
    parts = [{"PartNumber": p["PartNumber"], "ETag": p["ETag"]} for p in listed]
boto.complete_multipart_upload(Bucket=BUCKET, Key="by parts", UploadId=upload, MultipartUpload={"Parts": parts})
check("parts put by URL make the object", curl(url("get_object", Key="by parts")) == (200, body))

short = url("get_object", seconds=1)
until = time.time() + 2.5
refused("a URL for GET used to PUT", curl(url("get_object"), "--request", "PUT", "--data-binary", "x"), 403, "SignatureDoesNotMatch")
refused("another key", curl(url("get_object").replace("a%20folder", "another")), 403, "SignatureDoesNotMatch")
refused("a longer life", curl(tampered(url("get_object"), **{"X-Amz-Expires": "3000"})), 403, "SignatureDoesNotMatch")
refused("another signature", curl(tampered(url("get_object"), **{"X-Amz-Signature": "0" * 64})), 403, "SignatureDoesNotMatch")
week = curl(url("get_object", seconds=7 * 24 * 3600 + 1))
refused("over a week", week, 400, "AuthorizationQueryParametersError")
check("delete", curl(url("delete_object", Key="by parts"), "--request", "DELETE")[0] == 204)
refused("what is deleted", curl(url("get_object", Key="by parts")), 404, "NoSuchKey")
time.sleep(max(0, until - time.time()))
refused("an expired URL", curl(short), 403, "AccessDenied")
done()
