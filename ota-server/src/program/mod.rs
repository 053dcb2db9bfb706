//! The program `ota`: `ota serve` is the whole server, everything else speaks HTTP to a running one.
//!
//! Exit codes: 0 done; 1 refused or failed; 2 wrong use; 3 the server cannot be reached; 4 a watched campaign ended
//! without being completed.

mod carrier;
mod client;
mod commands;
mod disconnect;
mod failure;
mod host;
mod installation;
mod keys;
mod log;
mod oidc;
mod outbound;
mod output;
mod serve;
mod settings;
mod stores;
mod tls;
mod upload;
mod webhooks;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;

pub use self::carrier::{Devices, Registrar};
pub use self::client::Client;
pub use self::failure::Failure;
pub use self::host::SystemEntropy;
pub use self::installation::{DeviceCertificate, Installation};
pub use self::keys::{KeyAlgorithm, generate_key, read_signer};
pub use self::oidc::{KeySource, Oidc, OidcSettings};
pub use self::outbound::{HttpFetcher, Inside};
pub use self::serve::{FirstToken, Running};
pub use self::settings::{
    BrokerSettings, Clients, DisconnectMethod, DisconnectSettings, EmbeddedSettings, Enrolment,
    ExternalSettings, FileSettings, KeptSettings, Layers, PostgresSettings, S3Settings, SETTINGS, Secrets,
    Setting, SettingError, Settings, Source, StoreSettings,
};
pub use self::webhooks::WebhookSettings;
pub use crate::http::body::PublicKey;

/// Runs the program with the arguments of the process.
#[must_use]
pub fn main() -> ExitCode {
    main_with(std::env::args_os())
}

/// Runs the program with these arguments, the first of which is its name: for programs that are `ota` and more.
///
/// Wrong use and `--help` end the process, as they do on a command line.
#[must_use]
pub fn main_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let line = commands::CommandLine::parse_from(arguments);
    match commands::run(line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}
