//! Shards and weights are what Python's tools expect.

use std::path::Path;
use std::process::Command;

use crate::support::{count, dataset, load, memory, read, runtime, train};
use coffer_client::ProfileOptions;
use coffer_client::dataset::pack::Existing;
use coffer_client::place::{Opener, Place};
use coffer_gateway::run::Embedded;
use coffer_train::checkpoint::Selector;
use coffer_train::dataset::Split;
use coffer_train::dataset::digit::encode;
use coffer_train::dataset::pack::pack;
use coffer_train::dataset::source::Source;

/// Reads a shard by Python's tarfile and zlib alone: members in pairs, no times or owners, and
/// grey PNGs of 28x28, labelled in turns as drawn digits are.
const READ_SHARD: &str = r#"
import struct, sys, tarfile, zlib
tar = tarfile.open(sys.argv[1])
members = tar.getmembers()
assert len(members) == 60, len(members)
for cls, png in zip(members[::2], members[1::2]):
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
        let index = runtime
            .block_on(pack(&source, &place, count(20), Existing::Refuse, |_, _| ()))
            .unwrap();
        (place, index)
    });
    assert_eq!(one.1, two.1);
    for name in ["index.json", "train-000000.tar", "train-000002.tar", "test-000000.tar"] {
        assert!(read(&runtime, &one.0, name) == read(&runtime, &two.0, name), "{name}");
    }
}

/// All digits, of both splits, through the real gateway; `MNIST_DIR` makes it MNIST itself.
#[test]
fn webdataset_reads_our_digits_from_the_gateway() {
    let runtime = runtime();
    let (dir, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let source = std::env::var_os("MNIST_DIR")
        .map_or(Source::Synthetic { train: 300, test: 50 }, |dir| Source::Mnist(dir.into()));
    let cluster = runtime.block_on(async {
        std::fs::write(dir.path().join("gateway.toml"), "listen = \"127.0.0.1:0\"\n").unwrap();
        let cluster = Embedded::start(dir.path(), Default::default()).await.unwrap();
        let config = Some(cluster.client_profile());
        let opener = Opener::new(ProfileOptions { config, ..ProfileOptions::default() });
        let place = opener.create(&"s3://data/digits".parse().unwrap()).await.unwrap();
        pack(&source, &place, count(4096), Existing::Refuse, |_, _| ()).await.unwrap();
        opener.close().await;
        cluster
    });
    let expected = work.path().join("expected");
    for split in Split::ALL {
        let folder = expected.join(split.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        for (at, sample) in source.samples(split).unwrap().enumerate() {
            let (key, sample) = (format!("{at:08}"), sample.unwrap());
            std::fs::write(folder.join(format!("{key}.cls")), sample.label.to_string()).unwrap();
            let png = &encode(key.clone(), &sample).unwrap().fields["png"];
            std::fs::write(folder.join(format!("{key}.png")), png).unwrap();
        }
    }
    let key = cluster.root_key();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../gateway/tests/clients");
    let python = std::env::var("COFFER_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let output = Command::new(python)
        .args(["-B", &format!("{root}/webdataset_packed.py")])
        .env("ENDPOINT", cluster.endpoint())
        .env("AWS_ACCESS_KEY_ID", &key.access_key)
        .env("AWS_SECRET_ACCESS_KEY", key.secret_key.as_str())
        .env("AWS_CA_BUNDLE", cluster.ca_file())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("WORK", work.path())
        .env("PLACE", "data/digits")
        .env("EXPECTED", &expected)
        .output();
    match output {
        Err(error) => eprintln!("SKIPPED: Python can't be run here: {error}"),
        Ok(output) => {
            let told = String::from_utf8_lossy(&output.stdout);
            let errors = String::from_utf8_lossy(&output.stderr);
            // 77 says that webdataset isn't installed.
            let required = std::env::var_os("COFFER_REQUIRE_CLIENTS").is_some();
            let skipped = output.status.code() == Some(77) && !required;
            assert!(output.status.success() || skipped, "{told}\n{errors}");
            eprintln!("{}", told.lines().last().unwrap_or_default());
        }
    }
    runtime.block_on(cluster.stop());
}
