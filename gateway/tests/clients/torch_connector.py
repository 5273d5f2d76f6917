"""The client under PyTorch's S3 connector (the AWS Common Runtime, as in Mountpoint).

The connector itself imports torch, which is gigabytes; all that it sends goes through this client.
"""

import os

from common import CA_FILE, ENDPOINT, MIB, REGION
from common import check, data, done, need_module, s3

# Read by the client's TLS library.
os.environ["SSL_CERT_FILE"] = CA_FILE
connector = need_module("s3torchconnectorclient")
from s3torchconnectorclient._mountpoint_s3_client import MountpointS3Client

client = MountpointS3Client(
    region=REGION, endpoint=ENDPOINT, force_path_style=True, part_size=5 * MIB, max_attempts=1
)
BUCKET = "torch"
s3().create_bucket(Bucket=BUCKET)


def put(key, *pieces):
    stream = client.put_object(BUCKET, key)
    for piece in pieces:
        stream.write(piece)
    stream.close()


def listed(*prefix, **options):
    pages = list(client.list_objects(BUCKET, *prefix, **options))
    return [o.key for page in pages for o in page.object_info], [p for page in pages for p in page.common_prefixes]


def missing(call, *arguments):
    try:
        call(*arguments)
    except connector.S3Exception:
        return True
    return False


pieces = [data(3 * MIB, at) for at in range(6)] + [b"end"]
whole = b"".join(pieces)
put("checkpoints/epoch 1/ü +%.pt", *pieces)
head = client.head_object(BUCKET, "checkpoints/epoch 1/ü +%.pt")
check("a checkpoint written as a stream, by parts", (head.size, "-" in head.etag) == (len(whole), True))
check("read", b"".join(client.get_object(BUCKET, "checkpoints/epoch 1/ü +%.pt")) == whole)
part = b"".join(client.get_object(BUCKET, "checkpoints/epoch 1/ü +%.pt", start=5 * MIB - 1, end=5 * MIB + 1))
check("a range", part == whole[5 * MIB - 1 : 5 * MIB + 1])
put("empty")
check("an empty object", client.head_object(BUCKET, "empty").size == 0 and b"".join(client.get_object(BUCKET, "empty")) == b"")

names = [f"samples/{at:03}.bin" for at in range(25)]
for name in names:
    put(name, data(1000, name))
check("listed over pages", listed("samples/", max_keys=10) == (names, []))
check("folders", listed(delimiter="/") == (["empty"], ["checkpoints/", "samples/"]))
check("every sample", all(b"".join(client.get_object(BUCKET, name)) == data(1000, name) for name in names))

client.copy_object(BUCKET, "samples/000.bin", BUCKET, "copy")
client.delete_object(BUCKET, "samples/000.bin")
check("copied and deleted", b"".join(client.get_object(BUCKET, "copy")) == data(1000, names[0]) and missing(client.head_object, BUCKET, names[0]))
check("no such bucket", missing(client.head_object, "not-there", "x"))
done()
