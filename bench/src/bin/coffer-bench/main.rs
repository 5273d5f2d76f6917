//! `coffer-bench`: a load generator for S3 stores, and benchmarks of Coffer's parts.

mod args;
mod bars;
mod exit;
mod plan;

use anyhow::{Context, bail};
use args::{Cli, Command};
use bars::Bars;
use clap::{CommandFactory, Parser};
use coffer_bench::parts::Effort;
use coffer_bench::report::{self, Report};
use coffer_bench::s3::Target;
use coffer_bench::{parts, session};
use coffer_client::InFull;
use exit::Ended;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(ended) => ended.into(),
        Err(error) => {
            // Whoever reads our output may go away.
            if error.downcast_ref::<std::io::Error>().is_some_and(is_broken_pipe) {
                return ExitCode::SUCCESS;
            }
            eprintln!("coffer-bench: {}", InFull(error.as_ref()));
            Ended::Failed.into()
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<Ended> {
    match command {
        Command::Parts { parts, rounds, slice, dir, json, quiet } => {
            let bars = Bars::new(!quiet);
            let tell = |part| bars.begin(format!("measuring {part}"));
            let report = parts::measure(&parts, Effort { rounds, slice }, dir.as_deref(), tell);
            bars.finish();
            let report = report?;
            print(json, &report, &report)?;
            Ok(Ended::Well)
        }
        Command::Compare { a, b, json } => {
            let (a, b) = (read(&a)?, b.as_deref().map(read).transpose()?);
            let Some(comparison) = report::compare(&a, b.as_ref()) else {
                bail!("there is only one set of runs: give two files, or one made with --against");
            };
            print(json, &comparison, &comparison)?;
            Ok(Ended::Well)
        }
        Command::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut Cli::command(),
                "coffer-bench",
                &mut std::io::stdout(),
            );
            Ok(Ended::Well)
        }
        Command::Clean { target, prefix } => {
            let target = Target::new(&plan::target(&target)?)?;
            let count = serve(session::clean(&target, &format!("{prefix}/")))??;
            println!("{count} objects were deleted");
            Ok(Ended::Well)
        }
        command => load(&command),
    }
}

/// Runs a workload, unless a signal ends it.
fn load(command: &Command) -> anyhow::Result<Ended> {
    let planned = plan::session(command).and_then(|planned| match planned {
        Some((session, common)) => Ok(Some((session, common, plan::sides(common)?))),
        None => Ok(None),
    });
    let (session, common, sides) = match planned {
        Ok(Some(planned)) => planned,
        Ok(None) => return Ok(Ended::Well),
        Err(error) => {
            eprintln!("coffer-bench: {}", InFull(error.as_ref()));
            return Ok(Ended::WrongUsage);
        }
    };
    let bars = Bars::new(!common.output.quiet);
    let outcome = serve(async {
        tokio::select! {
            report = session.run(&sides, &bars) => Some(report),
            _ = tokio::signal::ctrl_c() => None,
        }
    })?;
    bars.finish();
    let Some(report) = outcome else {
        eprintln!(
            "coffer-bench: interrupted; `coffer-bench clean` deletes what it has stored under {}/",
            session.prefix
        );
        return Ok(Ended::Interrupted);
    };
    let report = report?;
    if let Some(dir) = &common.output.plots {
        save_plots(dir, &report)?;
    }
    print(common.output.json, &report, report::table(&report))?;
    if let (false, Some(comparison)) = (common.output.json, report::compare(&report, None)) {
        print(false, &comparison, &comparison)?;
    }
    let failures: u64 = report.runs.iter().map(report::Run::failures).sum();
    Ok(if failures == 0 { Ended::Well } else { Ended::OperationsFailed })
}

fn serve<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(work);
    runtime.shutdown_background();
    Ok(result)
}

fn read(path: &Path) -> anyhow::Result<Report> {
    let text = std::fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
    let report: Report = serde_json::from_slice(&text).with_context(|| {
        format!("{} is no report: make one with `coffer-bench ... --json > FILE`", path.display())
    })?;
    if report.format != report::FORMAT {
        bail!("{} is a {}, not a {}", path.display(), report.format, report::FORMAT);
    }
    Ok(report)
}

fn save_plots(dir: &Path, report: &Report) -> anyhow::Result<()> {
    let pictures = report::plot(report).context("the pictures can't be drawn")?;
    std::fs::create_dir_all(dir).with_context(|| format!("can't make {}", dir.display()))?;
    for (name, png) in pictures {
        let path = dir.join(name);
        std::fs::write(&path, png).with_context(|| format!("can't write {}", path.display()))?;
    }
    Ok(())
}

fn print(
    as_json: bool,
    json: &impl serde::Serialize,
    text: impl std::fmt::Display,
) -> anyhow::Result<()> {
    let line = if as_json { serde_json::to_string(json)? } else { text.to_string() };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", line.trim_end())?;
    out.flush()?;
    Ok(())
}

fn is_broken_pipe(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::BrokenPipe
}
