//! `ota store`: what is done to the store itself, at the machine, while no server runs.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use ota_core::fleet::FleetStore;
use ota_core::number::Sha256Digest;
use ota_storage::postgres::Upgrade;
use ota_storage::redb::{RedbOptions, RedbStore};

use super::super::settings::PostgresSettings;
use super::super::{Failure, stores};
use crate::moving::{self, MoveError, Moved};

#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Copy all records, counters and the audit chain into an empty store, and compare
    Copy(CopyStore),
}

#[derive(Debug, Args)]
pub(super) struct CopyStore {
    /// Which way
    #[arg(long, value_enum)]
    to: Way,
    /// Data folder with the file
    #[arg(long, env = "OTA_DATA", default_value = "ota-data", value_name = "FOLDER")]
    data: PathBuf,
    /// The database, as in the setting store.postgres
    #[arg(long, env = "OTA_STORE_POSTGRES", hide_env_values = true, value_name = "CONNECTION")]
    postgres: String,
    /// PEM file with the authorities that the database's certificate may come from
    #[arg(long, env = "OTA_STORE_POSTGRES_CA", value_name = "FILE")]
    postgres_ca: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Way {
    /// From the file into the database
    Postgres,
    /// From the database into the file
    File,
}

impl StoreCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self::Copy(copy) = self;
        let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let threads = threads.map_err(|why| Failure::caused("cannot start threads", &why, ""))?;
        let moved = threads.block_on(copy.run())?;
        for (table, count) in moved.records.iter().filter(|(_, count)| **count > 0) {
            println!("{count:>12}  {table:?}");
        }
        println!("{:>12}  counters", moved.counters);
        println!(
            "{:>12}  audit entries, the last with the hash {}",
            moved.audit,
            Sha256Digest(moved.audit_end.0)
        );
        println!("all of it is the same in both stores");
        Ok(())
    }
}

impl CopyStore {
    async fn run(self) -> Result<Moved, Failure> {
        let path = self.data.join("ota.redb");
        if self.to == Way::Postgres && !path.is_file() {
            let way_out = "give the data folder with --data";
            return Err(Failure::new(format!("there is no store in {}", path.display()), way_out));
        }
        let settings =
            PostgresSettings { url: self.postgres, ca: self.postgres_ca, upgrade: Upgrade::AtStart };
        let database = stores::connect(&settings).await?;
        let file = tokio::task::spawn_blocking({
            let path = path.clone();
            move || RedbStore::open(&path, RedbOptions::default())
        });
        let file = file.await.map_err(|why| Failure::caused("the file was not opened", &why, ""))?;
        let file = file.map_err(|why| {
            let way_out = "end the server that works with it";
            Failure::caused(format_args!("cannot open the store {}", path.display()), &why, way_out)
        })?;
        let (from, to): (&dyn FleetStore, &dyn FleetStore) = match self.to {
            Way::Postgres => (&file, &database),
            Way::File => (&database, &file),
        };
        moving::move_house(from, to).await.map_err(|why| {
            let way_out = match why {
                MoveError::NotEmpty => "give an empty one; what is there is left alone",
                MoveError::BrokenChain(_) => "find out who changed the store, with `ota audit verify`",
                _ => "end all servers, empty the new store, and begin again",
            };
            Failure::caused("the store was not copied", &why, way_out)
        })
    }
}
