"""webdataset: tar shards written and read back through boto3, and by its own `pipe:` with aws-cli."""

import io
import json
import shlex
import tarfile

from common import ENDPOINT, REGION
from common import check, data, done, need, need_module, s3

wds = need_module("webdataset")
need("aws")
SHARDS, SAMPLES = 4, 50
boto = s3()
boto.create_bucket(Bucket="shards")


class Upload(io.BytesIO):
    """A shard in memory that becomes an object when it is closed."""

    def __init__(self, key):
        super().__init__()
        self.key = key

    def close(self):
        if not self.closed:
            boto.put_object(Bucket="shards", Key=self.key, Body=self.getvalue())
        super().close()


def sample(at):
    return {"__key__": f"{at:06}", "json": {"at": at}, "cls": at % 10, "bin": data(2000 + at, "sample")}


def same(what, samples):
    found = {s["__key__"]: s for s in samples}
    check(f"{what}: every sample once", sorted(found) == [f"{at:06}" for at in range(SHARDS * SAMPLES)])
    right = all(
        (json.loads(s["json"]), s["cls"], s["bin"]) == ({"at": at}, str(at % 10).encode(), data(2000 + at, "sample"))
        for at, s in ((int(key), s) for key, s in found.items())
    )
    check(f"{what}: the same bytes", right)


for shard in range(SHARDS):
    upload = Upload(f"train/shard-{shard:06}.tar")
    with wds.TarWriter(upload) as writer:
        for at in range(shard * SAMPLES, (shard + 1) * SAMPLES):
            writer.write(sample(at))
    upload.close()


def through_boto3(url, mode="rb", bufsize=8192, **_):
    bucket, key = url.removeprefix("s3://").split("/", 1)
    return boto.get_object(Bucket=bucket, Key=key)["Body"]


urls = f"s3://shards/train/shard-{{000000..{SHARDS - 1:06}}}.tar"
need_module("webdataset.gopen").gopen_schemes["s3"] = through_boto3
same("boto3 streams", wds.WebDataset(urls, shardshuffle=False, empty_check=False))
same("shuffled", wds.WebDataset(urls, shardshuffle=SHARDS, seed=7).shuffle(30))

get = f"pipe:aws --endpoint-url {shlex.quote(ENDPOINT)} --region {REGION} s3 cp s3://shards/train/shard-{{000000..{SHARDS - 1:06}}}.tar -"
same("aws-cli pipes", wds.WebDataset(get, shardshuffle=False))

# One sample out of a shard by its place in the tar: a range read, as random access does it.
body = boto.get_object(Bucket="shards", Key="train/shard-000002.tar")["Body"].read()
member = next(m for m in tarfile.open(fileobj=io.BytesIO(body)) if m.name == "000120.bin")
span = f"bytes={member.offset_data}-{member.offset_data + member.size - 1}"
part = boto.get_object(Bucket="shards", Key="train/shard-000002.tar", Range=span)["Body"].read()
check("one sample by range", part == data(2120, "sample"))
done()
