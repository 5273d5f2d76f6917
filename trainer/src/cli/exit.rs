//! Exit codes, as `coffer-train --help` lists them.

use std::process::ExitCode;

use coffer_client::dataset::DatasetError;
use coffer_client::dataset::pack::PackError;
use coffer_client::place::PlaceError;
use coffer_train::checkpoint::CheckpointError;
use coffer_train::dataset::mnist::MnistError;
use coffer_train::dataset::pack::DigitPackError;
use coffer_train::dataset::source::SourceError;
use coffer_train::model::DeviceError;
use coffer_train::stream::StreamError;
use coffer_train::train::RunError;

use super::signals::Stopped;

const OTHER: u8 = 1;
const USAGE: u8 = 2;
const NOT_FOUND: u8 = 3;
const DAMAGED: u8 = 6;

/// The code for `error`.
pub(super) fn code(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(error.chain().find_map(classify).unwrap_or(OTHER))
}

fn classify(error: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if let Some(error) = error.downcast_ref::<RunError>() {
        return match error {
            RunError::OtherConfig { .. }
            | RunError::Exists { .. }
            | RunError::NothingHeldOut { .. }
            | RunError::Unfit { .. } => Some(USAGE),
            RunError::NothingToResume(_)
            | RunError::Checkpoint(CheckpointError::Missing { .. } | CheckpointError::NoRun(_)) => {
                Some(NOT_FOUND)
            }
            RunError::Stream(error) => stream(error),
            error if error.is_corruption() => Some(DAMAGED),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<StreamError>() {
        return stream(error);
    }
    if let Some(error) = error.downcast_ref::<CheckpointError>() {
        return match error {
            CheckpointError::Missing { .. } | CheckpointError::NoRun(_) => Some(NOT_FOUND),
            error => error.is_corruption().then_some(DAMAGED),
        };
    }
    if error.is::<DeviceError>() {
        return Some(USAGE);
    }
    if let Some(stopped) = error.downcast_ref::<Stopped>() {
        return Some(stopped.signal.code());
    }
    if let Some(error) = error.downcast_ref::<DigitPackError>() {
        return match error {
            DigitPackError::Source(SourceError::Missing { .. }) => Some(NOT_FOUND),
            DigitPackError::Pack(PackError::Exists(_)) => Some(USAGE),
            _ => None,
        };
    }
    if error.downcast_ref::<MnistError>().is_some() {
        return Some(NOT_FOUND);
    }
    match error.downcast_ref::<PlaceError>()? {
        PlaceError::Address(_) | PlaceError::Client { .. } => Some(USAGE),
        _ => None,
    }
}

fn stream(error: &StreamError) -> Option<u8> {
    match error {
        StreamError::Dataset(DatasetError::NoDataset(_)) => Some(NOT_FOUND),
        StreamError::NotDigits { .. } | StreamError::Dataset(DatasetError::TooFewShards { .. }) => {
            Some(USAGE)
        }
        error => error.is_corruption().then_some(DAMAGED),
    }
}
