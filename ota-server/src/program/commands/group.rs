//! `ota group`: expressions with a name.

use clap::Subcommand;
use ureq::http::Method;

use super::Context;
use crate::http::body::{GroupInput, GroupView, Items};
use crate::program::Failure;
use crate::program::client::{Client, segment};
use crate::program::output::table;

#[derive(Debug, Subcommand)]
pub(super) enum GroupCommand {
    /// List the groups of a product
    List {
        /// Their product
        #[arg(long)]
        product: String,
    },
    /// Make a group, or give it another expression; campaigns that were made with it keep theirs
    Set {
        /// Its product
        #[arg(long)]
        product: String,
        /// Its name
        name: String,
        /// Which devices are in it, such as 'tag = site=berlin and heard < 7d'
        expression: String,
    },
    /// Remove a group; its devices stay
    Remove {
        /// Its product
        #[arg(long)]
        product: String,
        /// Its name
        name: String,
    },
}

impl GroupCommand {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let (client, format) = (&context.client, context.format);
        match self {
            Self::List { product } => format.show(&groups(client, &product)?, |groups: &Items<GroupView>| {
                let row = |group: &GroupView| [group.name.clone(), group.expression.clone()];
                table(["GROUP", "DEVICES"], groups.items.iter().map(row))
            }),
            Self::Set { product, name, expression } => {
                client.tell(Method::PUT, &path(&product, &name), &GroupInput { expression })?;
                format.done(&format!("{name} is set"));
                Ok(())
            }
            Self::Remove { product, name } => {
                client.tell(Method::DELETE, &path(&product, &name), &())?;
                format.done(&format!("{name} is removed"));
                Ok(())
            }
        }
    }
}

fn groups(client: &Client, product: &str) -> Result<Items<GroupView>, Failure> {
    client.all(&format!("/api/v1/products/{}/groups", segment(product)))
}

fn path(product: &str, name: &str) -> String {
    format!("/api/v1/products/{}/groups/{}", segment(product), segment(name))
}

/// The expression that a group has now.
pub(super) fn expression(client: &Client, product: &str, name: &str) -> Result<String, Failure> {
    let found = groups(client, product)?.items.into_iter().find(|group| group.name == name);
    let missing =
        || Failure::new(format!("there is no group {name:?}"), "`ota group list` shows all of them");
    found.map(|group| group.expression).ok_or_else(missing)
}
