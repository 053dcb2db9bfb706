//! `ota key`: private keys in files, public keys as texts.

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use crate::program::output::Format;
use crate::program::{Failure, KeyAlgorithm, PublicKey, generate_key, read_signer};

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make a private key and show its public half
    Generate {
        /// File to write, PKCS#8 in PEM; it must not exist
        file: PathBuf,
        /// Its scheme
        #[arg(long, value_enum, default_value = "ed25519")]
        algorithm: KeyAlgorithm,
    },
    /// Show the public half and the id of a private key
    Show {
        /// Its file
        file: PathBuf,
    },
}

#[derive(Serialize)]
struct KeyView {
    id: String,
    public: String,
}

impl KeyCommand {
    pub(super) fn run(self, format: Format) -> Result<(), Failure> {
        let public = match self {
            Self::Generate { file, algorithm } => generate_key(algorithm, &file)?,
            Self::Show { file } => PublicKey::of(&*read_signer(&file)?),
        };
        let view = KeyView { id: public.id().to_string(), public: public.to_string() };
        format.show(&view, |view| format!("id      {}\npublic  {}", view.id, view.public))
    }
}
