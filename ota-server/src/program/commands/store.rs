//! `ota store`: the room that it takes up, copies of it, and moving it to another place.
//!
//! All but moving is asked of the server that runs; moving is done at the machine, while none does.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use ota_core::fleet::FleetStore;
use ota_core::number::Sha256Digest;
use ota_storage::postgres::Upgrade;
use ota_storage::redb::{RedbOptions, RedbStore};

use crate::http::body::{BackupInput, BackupView, CompactedView, DifferenceView, RecountView, StopView};
use crate::moving::{self, MoveError, Moved};
use crate::program::client::{Client, Login};
use crate::program::output::{Format, table};
use crate::program::settings::PostgresSettings;
use crate::program::{Failure, stores};

#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Give back the room that the store does not need any more; the server serves meanwhile
    Compact,
    /// Write a copy of the store into the folder `backups` of the server's data; the server serves meanwhile
    Backup {
        /// What the copy is called
        name: String,
    },
    /// Count all records, and compare with the counters that reports are made of
    Recount,
    /// Remove uploaded files that no release refers to
    Sweep,
    /// Copy all records, counters and the audit chain into an empty store, and compare, while no server runs
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
    pub(super) fn run(self, login: &dyn Fn() -> Login, format: Format) -> Result<(), Failure> {
        match self {
            Self::Copy(copy) => copy.run(),
            Self::Compact => {
                let view: CompactedView = login().client()?.post("/api/v1/store/compact", &())?;
                format.show(&view, |view| {
                    format!("the store took {} bytes and takes {} now", view.before_bytes, view.after_bytes)
                })
            }
            Self::Backup { name } => {
                let view: BackupView =
                    login().client()?.post("/api/v1/store/backups", &BackupInput { name })?;
                format.show(&view, |view| {
                    format!(
                        "{}\nkeep it with a copy of the folder `files`, and apart from `wrapping.key`",
                        view.path
                    )
                })
            }
            Self::Recount => recount(&login().client()?, format),
            Self::Sweep => {
                let view: StopView = login().client()?.post("/api/v1/sweep-files", &())?;
                format.show(&view, |view| format!("{} files are removed", view.stopped))
            }
        }
    }
}

fn recount(client: &Client, format: Format) -> Result<(), Failure> {
    let view: RecountView = client.get("/api/v1/store/recounted")?;
    format.show(&view, |view| match view.differences.is_empty() {
        true => format!("all counters are what {} records say", view.records),
        false => {
            let row = |found: &DifferenceView| {
                [found.counter.clone(), found.kept.to_string(), found.counted.to_string()]
            };
            table(["COUNTER", "SAYS", "COUNTED"], view.differences.iter().map(row))
        }
    })?;
    let way_out = "stop what writes, count again, and go on from a copy if it stays so";
    let is_sound = view.differences.is_empty();
    if is_sound { Ok(()) } else { Err(Failure::new("counters differ from records", way_out)) }
}

impl CopyStore {
    fn run(self) -> Result<(), Failure> {
        let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let threads = threads.map_err(|why| Failure::caused("cannot start threads", &why, ""))?;
        let moved = threads.block_on(self.moved())?;
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

    async fn moved(self) -> Result<Moved, Failure> {
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
