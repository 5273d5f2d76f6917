"""safetensors: weights of a checkpoint, restored by `coffer checkpoint restore` and read raw.

Environment, beside that of the others: RUN, a run whose checkpoints were saved with known tensors
(gateway/tests/support/run.rs), COFFER, the program, and COFFER_CONFIG, its configuration.
"""

import json
import os

from common import WORK, check, done, need_module, read, run, s3

np = need_module("numpy")
safetensors = need_module("safetensors")
from_file = need_module("safetensors.numpy").load_file
from_bytes = need_module("safetensors.numpy").load
RUN, COFFER = os.environ["RUN"], os.environ["COFFER"]
bucket, prefix = RUN.removeprefix("s3://").split("/", 1)
boto = s3()


def expected(step):
    return {
        "decoder.large": (np.arange(2_500_000) % 1000 * 0.5 + step).astype("<f4").reshape(2500, 1000),
        "encoder.weight": (np.arange(960, dtype="<f4") / np.float32(7)).reshape(64, 3, 5),
        "half": np.array([0x3C00, 0xC000, 0x7BFF, 0x0001, 0x3555, 0x8000], "<u2").view("<f2").reshape(2, 3),
        "double": np.array(1 / 3, "<f8"),
        "steps": np.array([step], "<i8"),
        "mask": np.array([True, False, False, True]),
        "empty": np.zeros((0, 7), "<f4"),
    }


def same(what, found, step):
    wanted = expected(step)
    check(f"{what}: names", found.keys() == wanted.keys(), found.keys())
    for name, value in wanted.items():
        got = found[name]
        check(f"{what}: {name} is {value.dtype} {value.shape}", (got.dtype, got.shape) == (value.dtype, value.shape))
        check(f"{what}: {name} has the same values, bit for bit", got.tobytes() == value.tobytes())


def body(key):
    return boto.get_object(Bucket=bucket, Key=f"{prefix}/checkpoints/{key}")["Body"].read()


# Restored.
for selector, step in [("", 20), ("@epoch-1", 10)]:
    folder = os.path.join(WORK, f"restored-{step}")
    run(COFFER, "checkpoint", "restore", RUN + selector, folder)
    file = os.path.join(folder, "model.safetensors")
    same(f"restored after {step} steps", from_file(file), step)
    with safetensors.safe_open(file, "np") as lazy:
        part = lazy.get_slice("decoder.large")[1200:1202, 5:7]
        check("a slice of it", (part == expected(step)["decoder.large"][1200:1202, 5:7]).all())
    check("the other file", json.loads(read(os.path.join(folder, "state.json"))) == {"step": step})

# Raw: the root names the save, its manifest the chunks; these joined are the file.
root = json.loads(body("index.json"))
entry = next(e for e in root["checkpoints"] if e["id"] == root["latest"])
manifest = json.loads(body(f"saves/{entry['save']}/manifest.json"))
part = manifest["parts"]["model.safetensors"]
whole = b"".join(body(f"saves/{chunk['save']}/{chunk['blake3']}") for chunk in part["chunks"])
check("the chunks make up the size", len(whole) == part["bytes"] and len(part["chunks"]) == 3)
same("raw", from_bytes(whole), 20)
check("raw and restored are the same file", whole == read(os.path.join(WORK, "restored-20", "model.safetensors")))

# What the program tells of the tensors is what safetensors tells.
shown = json.loads(run(COFFER, "checkpoint", "show", RUN, "--json"))
told = {t["name"]: t["shape"] for t in shown["parts"]["model.safetensors"]["tensors"]}
check("shown as they are", told == {name: list(value.shape) for name, value in expected(20).items()}, told)
done()
