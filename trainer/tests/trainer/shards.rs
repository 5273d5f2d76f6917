//! Shards and weights are what Python's tools expect.

use std::path::Path;
use std::process::Command;

use crate::support::{count, dataset, load, memory, read, runtime, train};
use coffer_client::place::Place;
use coffer_train::checkpoint::Selector;
use coffer_train::dataset::pack::pack;
use coffer_train::dataset::source::Source;

/// Reads a shard by Python's tarfile and zlib alone: members in pairs, no times or owners, and
/// grey PNGs of 28x28, labelled in turns as drawn digits are.
const READ_SHARD: &str = r#"
import struct, sys, tarfile, zlib
tar = tarfile.open(sys.argv[1])
members = tar.getmembers()
assert len(members) == 60, len(members)
for png, cls in zip(members[::2], members[1::2]):
    key, extension = png.name.split(".")
    assert (extension, cls.name) == ("png", key + ".cls"), (png.name, cls.name)
    assert all((m.mtime, m.uid, m.gid, m.mode) == (0, 0, 0, 0o644) for m in (png, cls))
    data = tar.extractfile(png).read()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">IIBB", data[16:26]) == (28, 28, 8, 0)
    label = int(tar.extractfile(cls).read())
    assert label == int(key) % 10, (key, label)
print("ok")
"#;

/// Reads weights by their documented layout: a length, a JSON header, the data.
const READ_WEIGHTS: &str = r#"
import json, struct, sys
data = open(sys.argv[1], "rb").read()
length = struct.unpack("<Q", data[:8])[0]
header = json.loads(data[8:8 + length])
assert header.pop("__metadata__") == {"format": "pt"}
shapes = {name: entry["shape"] for name, entry in header.items()}
assert shapes["encoder.weight"] == [16, 784], shapes
assert shapes["output.weight"] == [784, 16], shapes
assert set(shapes) == {f"{layer}.{kind}" for kind in ("weight", "bias")
    for layer in ("encoder", "mean", "log_variance", "decoder", "output")}
assert all(entry["dtype"] == "F32" for entry in header.values())
print("ok")
"#;

/// Runs a Python program on a file, or says that there is no Python.
fn python(program: &str, file: &Path) {
    match Command::new("python3").arg("-c").arg(program).arg(file).output() {
        Err(error) => eprintln!("SKIPPED: python3 can't be run here: {error}"),
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{errors}");
            assert_eq!(output.stdout, b"ok\n");
        }
    }
}

#[test]
fn python_reads_our_shards() {
    let runtime = runtime();
    let dir = tempfile::tempdir().unwrap();
    dataset(&runtime, &Place::directory(dir.path()).unwrap());
    python(READ_SHARD, &dir.path().join("train-000000.tar"));
}

#[test]
fn python_reads_our_weights() {
    let runtime = runtime();
    let dir = tempfile::tempdir().unwrap();
    let data = dataset(&runtime, &memory());
    let place = memory();
    train(&runtime, &data, &place, 1, |_| ()).unwrap();
    let file = dir.path().join("model.safetensors");
    let loaded = load(&runtime, &place, Selector::Latest);
    std::fs::write(&file, &loaded.parts["model.safetensors"]).unwrap();
    python(READ_WEIGHTS, &file);
}

#[test]
fn packing_twice_gives_the_same_bytes() {
    let runtime = runtime();
    let source = Source::Synthetic { train: 50, test: 10 };
    let [one, two] = [memory(), memory()].map(|place| {
        let index = runtime.block_on(pack(&source, &place, count(20), |_, _| ())).unwrap();
        (place, index)
    });
    assert_eq!(one.1, two.1);
    for name in ["index.json", "train-000000.tar", "train-000002.tar", "test-000000.tar"] {
        assert!(read(&runtime, &one.0, name) == read(&runtime, &two.0, name), "{name}");
    }
}
