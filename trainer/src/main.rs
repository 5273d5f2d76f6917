//! The `coffer-train` program: see `coffer-train --help`.

mod cli;

use std::process::ExitCode;

/// Training allocates and frees megabytes at each step; the system's allocator returns such blocks
/// to the kernel and pays for their pages again: measured, it makes the CPU three times slower.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
