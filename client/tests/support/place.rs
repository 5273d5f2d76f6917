//! The `coffer` program beside a server of its own.

#![allow(dead_code)]

use super::s3::FakeS3;
use std::process::{Command, Output};

/// A server, a configuration for it, and a folder to work in.
pub(crate) struct Place {
    pub(crate) server: FakeS3,
    pub(crate) folder: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl Place {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let server = runtime.block_on(FakeS3::start());
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "[profile.default]\nendpoint = \"{}\"\naccess_key = \"AK\"\nsecret_key = \"SK\"\n",
            server.endpoint()
        );
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        Self { server, folder, _runtime: runtime }
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coffer"));
        command
            .env_clear()
            .env("COFFER_CONFIG", self.folder.path().join("config.toml"))
            .env("COFFER_LOG", "error")
            .current_dir(self.folder.path())
            .args(args);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command that must succeed and returns its standard output.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    pub(crate) fn code(&self, args: &[&str]) -> i32 {
        self.run(args).status.code().unwrap()
    }

    pub(crate) fn write(&self, name: &str, data: &[u8]) {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, data).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
}

pub(crate) fn text(data: &[u8]) -> String {
    String::from_utf8(data.to_vec()).unwrap()
}
