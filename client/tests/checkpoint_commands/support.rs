//! A run in a directory, whose checkpoints have known tensors, and the program to look at it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bytes::Bytes;
use coffer_client::Timestamp;
use coffer_client::checkpoint::{
    CheckpointId, Checkpoints, Cut, Lineage, Metrics, Position, Program, RunId, Snapshot,
};
use coffer_client::place::Place;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

/// Bytes of the tensor that is the same in all checkpoints: more than a chunk.
pub(crate) const FROZEN: usize = 5 << 20;

/// A file of tensors: name, type, shape, bytes.
pub(crate) fn tensors(of: &[(&str, Dtype, &[usize], Vec<u8>)]) -> Bytes {
    let views = of.iter().map(|(name, dtype, shape, bytes)| {
        (*name, TensorView::new(*dtype, shape.to_vec(), bytes).unwrap())
    });
    safetensors::serialize(views, None).unwrap().into()
}

pub(crate) fn floats(of: impl Iterator<Item = f32>) -> Vec<u8> {
    of.flat_map(f32::to_le_bytes).collect()
}

/// The files after `step` steps.
pub(crate) fn parts(step: u64) -> BTreeMap<String, Bytes> {
    let (rows, step_float) = (40, f32::from(u16::try_from(step).unwrap()));
    let weight = floats((0..rows * 30).map(|at| if at == 7 { step_float } else { 0.5 }));
    let model = tensors(&[
        ("encoder.bias", Dtype::F32, &[30], floats((0..30_u8).map(f32::from))),
        ("encoder.weight", Dtype::F32, &[rows, 30], weight),
        ("steps", Dtype::I64, &[], step.to_le_bytes().to_vec()),
    ]);
    let frozen = tensors(&[("frozen", Dtype::F16, &[FROZEN / 2], vec![7; FROZEN])]);
    let state = json!({"step": step}).to_string().into();
    [("model.safetensors", model), ("frozen.safetensors", frozen), ("state.json", state)]
        .map(|(name, content)| (name.to_owned(), content))
        .into()
}

/// A checkpoint after `step` steps; an epoch has ten steps of four samples.
pub(crate) fn snapshot(step: u64) -> Snapshot {
    Snapshot {
        id: CheckpointId(step),
        created: Timestamp::now(),
        position: Position { epoch: step / 10, sample: step % 10 * 4 },
        best: false,
        parts: parts(step),
        lineage: Lineage {
            run: RunId(7),
            parent: None,
            init_from: None,
            dataset: None,
            config: json!({"seed": 1, "model": {"latent": 3}}),
            revision: None,
            program: Program { name: "test".into(), version: "0".into() },
        },
        metrics: Metrics::from_iter([("test", 100.0 / f64::from(u32::try_from(step).unwrap()))]),
        energy: None,
    }
}

/// A folder with a run in it.
pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    /// With checkpoints after these steps, the best of them after `best` steps.
    pub(crate) fn with(steps: &[u64], best: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let bench = Self { dir: tempfile::tempdir().unwrap(), runtime };
        std::fs::create_dir(bench.run()).unwrap();
        let snapshots = steps.iter().map(|&step| Snapshot { best: step == best, ..snapshot(step) });
        bench.save(snapshots);
        bench
    }

    pub(crate) fn save(&self, snapshots: impl IntoIterator<Item = Snapshot>) {
        self.runtime.block_on(async {
            let (mut saver, _) = self.checkpoints().resume().await.unwrap();
            for snapshot in snapshots {
                saver.save(&Cut::of(snapshot), &|_| ()).await.unwrap();
            }
        });
    }

    pub(crate) fn checkpoints(&self) -> Checkpoints {
        Checkpoints::open(&Place::directory(&self.run()).unwrap())
    }

    /// Where the run is.
    pub(crate) fn run(&self) -> PathBuf {
        self.path("run")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The run's address with `selector` behind it.
    pub(crate) fn address(&self, selector: &str) -> String {
        format!("file://{}{selector}", self.run().display())
    }

    /// Runs `coffer checkpoint`; what begins with an @ in `args` is a checkpoint of the run.
    pub(crate) fn coffer(&self, args: &[&str]) -> Output {
        let full = |arg: &&str| match arg.starts_with('@') {
            true => self.address(arg.trim_end_matches("@run")),
            false => (*arg).to_owned(),
        };
        self.plain(args.iter().map(full))
    }

    /// Runs `coffer checkpoint` with these very arguments.
    pub(crate) fn plain(&self, args: impl IntoIterator<Item = String>) -> Output {
        // Neither a profile nor a home: nothing of that is needed for a local directory.
        Command::new(env!("CARGO_BIN_EXE_coffer"))
            .env_clear()
            .arg("checkpoint")
            .args(args)
            .current_dir(self.dir.path())
            .output()
            .unwrap()
    }

    /// Runs a command that must succeed, and returns what it printed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.coffer(args);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// As [`Self::ok`] with --json: the objects that it printed.
    pub(crate) fn json(&self, args: &[&str]) -> Vec<Value> {
        values(&self.ok(&[args, &["--json"]].concat()))
    }

    /// Runs a command that must end with `code`, and returns what it printed, errors apart.
    pub(crate) fn ends(&self, code: i32, args: &[&str]) -> (String, String) {
        let output = self.coffer(args);
        let (told, errors) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{args:?}: {told}\n{errors}");
        (told, errors)
    }

    /// Everything that is stored of the run: path and content.
    pub(crate) fn stored(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        files(&self.run())
    }

    /// The file of a chunk of a part of the checkpoint after `step` steps.
    pub(crate) fn chunk(&self, step: u64, part: &str, at: usize) -> PathBuf {
        self.runtime.block_on(async {
            let checkpoints = self.checkpoints();
            let entry = checkpoints.find(CheckpointId(step).into()).await.unwrap();
            let chunk = checkpoints.manifest(&entry).await.unwrap().parts[part].chunks[at];
            self.run().join(format!("checkpoints/saves/{}/{}", chunk.save, chunk.blake3))
        })
    }
}

/// All files below `folder`.
pub(crate) fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.append(&mut files(&path));
        } else {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

/// Flips a bit in the middle of a file.
pub(crate) fn damage(file: &Path) {
    let mut content = std::fs::read(file).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    std::fs::write(file, content).unwrap();
}

pub(crate) fn values(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) fn text(data: &[u8]) -> String {
    String::from_utf8(data.to_vec()).unwrap()
}
