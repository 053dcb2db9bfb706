//! `ota product`: which products there are, and how the fleet of one stands.

use clap::Subcommand;

use super::Context;
use crate::http::body::{FleetLineView, FleetView, Items, ProductView};
use crate::program::Failure;
use crate::program::client::segment;
use crate::program::output::{plain, table};

#[derive(Debug, Subcommand)]
pub(super) enum ProductCommand {
    /// List products
    List,
    /// Show a product and what is set for it
    Show {
        /// Its id
        product: String,
    },
    /// Tell how many devices have which revision of each file, and when they were heard
    Fleet {
        /// Its id
        product: String,
    },
}

impl ProductCommand {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let (client, format) = (&context.client, context.format);
        match self {
            Self::List => format.show(&client.all("/api/v1/products")?, |list: &Items<ProductView>| {
                let row = |product: &ProductView| {
                    [product.id.clone(), product.devices.to_string(), product.title.clone()]
                };
                table(["PRODUCT", "DEVICES", "TITLE"], list.items.iter().map(row))
            }),
            Self::Show { product } => {
                format.show(&client.get(&format!("/api/v1/products/{}", segment(&product)))?, describe)
            }
            Self::Fleet { product } => {
                format.show(&client.get(&format!("/api/v1/products/{}/fleet", segment(&product)))?, fleet)
            }
        }
    }
}

fn describe(product: &ProductView) -> String {
    let quarantine = match product.quarantine_after {
        0 => "never".to_owned(),
        failures => format!("after {failures} failures in a row"),
    };
    format!(
        "product     {} {}\nmade        {}\ndevices     {}\nroot        version {}\napprovals   {} at least\n\
         quarantine  {quarantine}\nevidence    {}\nprotocols   {}",
        product.id,
        plain(&product.title),
        product.created,
        product.devices,
        product.root_version,
        product.approvals_min,
        if product.attested_only {
            "only what a device's own key vouches for"
        } else {
            "what devices report"
        },
        product.protocols.join(" ")
    )
}

fn fleet(fleet: &FleetView) -> String {
    let row = |line: &FleetLineView| {
        let revision = line.revision.clone().unwrap_or_else(|| "never released".to_owned());
        [line.file.clone(), revision, line.devices.to_string()]
    };
    let heard = fleet.heard.iter().rev().map(|hour| [hour.hour.to_string(), hour.devices.to_string()]);
    format!(
        "{}\n\n{}",
        table(["FILE", "REVISION", "DEVICES"], fleet.items.iter().map(row)),
        table(["LAST HEARD IN THE HOUR FROM", "DEVICES"], heard)
    )
}
