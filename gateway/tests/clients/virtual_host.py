"""boto3 in virtual-host style: each bucket is a host, `BUCKET.DOMAIN`, and the certificate names them all."""

import os
import socket

from common import ENDPOINT, REGION, check, data, done, error_code, need_module, s3

DOMAIN = os.environ["DOMAIN"]
PORT = ENDPOINT.rsplit(":", 1)[1]
lookup = socket.getaddrinfo


def resolve(host, *arguments, **options):
    """As a DNS server with a wildcard record would."""
    ours = host == DOMAIN or str(host).endswith(f".{DOMAIN}")
    return lookup("127.0.0.1" if ours else host, *arguments, **options)


def main():
    boto3 = need_module("boto3")
    from botocore.config import Config

    socket.getaddrinfo = resolve
    style = Config(s3={"addressing_style": "virtual"}, retries={"max_attempts": 1})
    url = f"https://{DOMAIN}:{PORT}"
    client = boto3.client("s3", endpoint_url=url, region_name=REGION, config=style)
    hosts = []
    client.meta.events.register("before-send.s3.*", lambda request, **_: hosts.append(request.url))
    body = data(300_000, "virtual")
    client.create_bucket(Bucket="data")
    for key in ["a/b", "ünï cödé+", ".coffer/v1/tokens", "health/live"]:
        client.put_object(Bucket="data", Key=key, Body=body)
        check(f"{key} comes back", client.get_object(Bucket="data", Key=key)["Body"].read() == body)
    check("the bucket is the host", all(u.startswith(f"https://data.{DOMAIN}:") for u in hosts), hosts)
    names = [entry["Key"] for entry in client.list_objects_v2(Bucket="data")["Contents"]]
    check("all are listed", len(names) == 4, names)
    head = s3().head_object(Bucket="data", Key="a/b")
    check("path style sees the same", head["ContentLength"] == len(body))
    buckets = [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]
    check("the domain itself lists buckets", buckets == ["data"], buckets)
    signed = client.generate_presigned_url("get_object", Params={"Bucket": "data", "Key": "a/b"})
    check("presigned URLs name the host too", signed.startswith(f"https://data.{DOMAIN}:"), signed)
    gone = error_code(client.get_object, Bucket="other", Key="a/b")
    check("another host is another bucket", gone == "NoSuchBucket", gone)
    done()


main()
