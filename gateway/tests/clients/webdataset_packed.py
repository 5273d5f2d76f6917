"""webdataset reads datasets that Coffer has packed: every split, sample, field and label.

PLACE is the dataset, as BUCKET/PREFIX; EXPECTED a folder with what it must hold: in the folder of each
split, the files that its samples are made of.
"""

import json
import os

from common import check, done, need_module, read, s3

wds = need_module("webdataset")
need_module("boto3")
boto = s3()
BUCKET, PREFIX = os.environ["PLACE"].split("/", 1)
EXPECTED = os.environ["EXPECTED"]


def through_boto3(url, mode="rb", bufsize=8192, **_):
    bucket, key = url.removeprefix("s3://").split("/", 1)
    return boto.get_object(Bucket=bucket, Key=key)["Body"]


need_module("webdataset.gopen").gopen_schemes["s3"] = through_boto3


def expected(split):
    """Key and field of every file of a split, with its content."""
    root, found = os.path.join(EXPECTED, split), {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            at, field = os.path.relpath(path, root), name.split(".", 1)[1]
            found[at.removesuffix("." + field), field] = read(path)
    return found


index = json.loads(boto.get_object(Bucket=BUCKET, Key=f"{PREFIX}/index.json")["Body"].read())
check("the index has every split", sorted(index["splits"]) == sorted(os.listdir(EXPECTED)))
fields = set()
for split, shards in index["splits"].items():
    urls = [f"s3://{BUCKET}/{PREFIX}/{shard['name']}" for shard in shards]
    samples = list(wds.WebDataset(urls, shardshuffle=False, empty_check=False))
    check(f"{split}: as many samples as the index says", len(samples) == sum(s["samples"] for s in shards))
    found = {
        (sample["__key__"], field): content
        for sample in samples
        for field, content in sample.items()
        if not field.startswith("__")
    }
    wanted = expected(split)
    check(f"{split}: every field of every sample", found.keys() == wanted.keys(), found.keys() ^ wanted.keys())
    check(f"{split}: the same bytes", found == wanted)
    fields |= {field for _, field in found}
    names = index["meta"]["classes"]
    labels = [sample["cls"] for sample in wds.WebDataset(urls, shardshuffle=False, empty_check=False).decode()]
    check(f"{split}: labels decode to classes", labels == [int(sample["cls"]) for sample in samples])
    check(f"{split}: and each has a name", all(0 <= label < len(names) for label in labels), names)
check("the index lists the fields", sorted(fields) == index["fields"])
done()
