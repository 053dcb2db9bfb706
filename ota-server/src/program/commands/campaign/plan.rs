//! `ota campaign plan`: a whole campaign in a file that can be reviewed and kept with the sources.
//!
//! ```toml
//! product = "pump"
//! title = "1.4 for all"
//! release = "0f3a..."
//! target = "everyone"
//!
//! [plan.trial]
//! who = { devices = ["pump-1", "pump-2"] }
//!
//! [[plan.stages]]
//! until = "10%"
//! pace = { linear = { over = "1d" } }
//!
//! [[plan.stages]]
//! until = "100%"
//! ```

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use ota_core::text::ProductIdBuf;
use serde::{Deserialize, Serialize};
use ureq::http::Method;

use super::{Context, dry_run};
use crate::http::body::{CampaignInput, DryRunView, Made, PlanBody, TargetBody};
use crate::program::Failure;
use crate::program::client::segment;

#[derive(Debug, Subcommand)]
pub(in crate::program::commands) enum PlanCommand {
    /// Check a file without asking a server, and show it with all that it leaves to defaults
    Check(File),
    /// Say what the campaign would do, without making it
    DryRun(File),
    /// Make the campaign as a draft, or give a draft this content
    Apply {
        #[command(flatten)]
        file: File,
        /// The draft that gets this content; its approvals are void
        #[arg(long)]
        campaign: Option<u64>,
    },
}

#[derive(Debug, Args)]
pub(in crate::program::commands) struct File {
    /// A TOML file with `product`, `title`, `release`, `target` and `[plan]`
    file: PathBuf,
}

/// What stands in the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    product: String,
    title: String,
    release: String,
    target: TargetBody,
    #[serde(default)]
    plan: PlanBody,
}

impl Written {
    /// Reads a file and checks everything that can be checked without a server.
    fn read(path: &Path) -> Result<Self, Failure> {
        let wrong = |why: &dyn core::error::Error| {
            Failure::caused(
                format_args!("{} is no campaign", path.display()),
                why,
                "correct it; nothing was made",
            )
        };
        let text = std::fs::read_to_string(path).map_err(|why| wrong(&why))?;
        let written: Self = toml::from_str(&text).map_err(|why| wrong(&why))?;
        let product = ProductIdBuf::new(written.product.as_str()).map_err(|why| wrong(&why))?;
        written.input().draft(product).map_err(|why| wrong(&why))?;
        Ok(written)
    }

    fn input(&self) -> CampaignInput {
        CampaignInput {
            title: self.title.clone(),
            release: self.release.clone(),
            target: self.target.clone(),
            plan: self.plan.clone(),
        }
    }

    fn path(&self, last: &str) -> String {
        format!("/api/v1/products/{}/{last}", segment(&self.product))
    }
}

impl PlanCommand {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let (client, format) = (&context.client, context.format);
        match self {
            Self::Check(File { file }) => format.show(&Written::read(&file)?, |written| {
                // What was read from TOML can be written as TOML.
                toml::to_string(written).unwrap_or_default()
            }),
            Self::DryRun(File { file }) => {
                let written = Written::read(&file)?;
                let run: DryRunView = client.post(&written.path("dry-run"), &written.input())?;
                format.show(&run, dry_run)
            }
            Self::Apply { file: File { file }, campaign: Some(id) } => {
                let written = Written::read(&file)?;
                client.tell(Method::PUT, &format!("/api/v1/campaigns/{id}"), &written.input())?;
                format.show(&Made { id }, |_| {
                    format!("campaign {id} has this content; approvals of the former one are void")
                })
            }
            Self::Apply { file: File { file }, campaign: None } => {
                let written = Written::read(&file)?;
                let made: Made<u64> = client.post(&written.path("campaigns"), &written.input())?;
                format.show(&made, |made| format!("campaign {} is a draft", made.id))
            }
        }
    }
}
