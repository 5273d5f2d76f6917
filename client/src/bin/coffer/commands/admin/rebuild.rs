//! `admin rebuild-catalog`: hands over to `coffer-gateway`, since there is no gateway to be asked.

use crate::exit::Failure;
use crate::output::Output;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

const PROGRAM: &str = "coffer-gateway";

/// Becomes `coffer-gateway rebuild-catalog` with these arguments. Returns only if that fails.
pub(crate) fn run(args: &[OsString], output: &Output) -> Result<(), Failure> {
    let program = beside().unwrap_or_else(|| PROGRAM.into());
    output.remark(format_args!(
        "no gateway can be asked for this, since all catalogs are lost; running {} rebuild-catalog",
        program.display()
    ));
    let mut command = Command::new(&program);
    command.arg("rebuild-catalog").args(args);
    if output.json {
        command.arg("--json");
    }
    let error = command.exec();
    let why = match error.kind() {
        io::ErrorKind::NotFound => format!("{PROGRAM} is neither beside coffer nor in PATH"),
        _ => format!("{} can't be run: {error}", program.display()),
    };
    Err(Failure::Usage(format!(
        "{why}. On the machine of a gateway, while no gateway runs: {PROGRAM} rebuild-catalog --data DIR"
    )))
}

/// The program in the folder that this one is in.
fn beside() -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?.with_file_name(PROGRAM);
    path.is_file().then_some(path)
}
