//! Groups of devices: expressions with a name, for lists and for the targets of campaigns.

use ota_core::fleet::records::Group;
use ota_core::fleet::{Key, Query, Record, Stored, Table, Version};
use ota_core::limits::NAME_BYTES_MAX;
use ota_core::text::ProductIdBuf;

use super::{CommandError, detail};
use crate::engine::Changes;
use crate::engine::catalog::{scan_all, terminated};
use crate::rules::filter::Filter;
use crate::rules::permission::{Action, Principal};
use crate::server::Server;

impl Server {
    /// Gives an expression a name, or a named one another expression. Campaigns that were made with it keep theirs.
    ///
    /// # Errors
    /// [`CommandError::Filter`] if the expression cannot be read; [`CommandError::GroupName`] if the name is none.
    pub async fn set_group(
        &self,
        principal: &Principal,
        product: &ProductIdBuf,
        name: &str,
        expression: &str,
    ) -> Result<(), CommandError> {
        self.write_group(principal, product, (name, expression), None).await
    }

    /// Does so for a group of this very version (0 for one that is not there yet): what somebody else changed meanwhile is not
    /// undone.
    ///
    /// # Errors
    /// [`CommandError::Changed`] if it has another version by now, and those of [`Server::set_group`].
    pub async fn set_group_of_version(
        &self,
        principal: &Principal,
        product: &ProductIdBuf,
        name: &str,
        expected: Version,
        expression: &str,
    ) -> Result<(), CommandError> {
        self.write_group(principal, product, (name, expression), Some(expected)).await
    }

    async fn write_group(
        &self,
        principal: &Principal,
        product: &ProductIdBuf,
        (name, expression): (&str, &str),
        expected: Option<Version>,
    ) -> Result<(), CommandError> {
        let permit = self.permit(principal, Action::KeepDevices, product)?;
        let is_name = (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control);
        if !is_name {
            return Err(CommandError::GroupName);
        }
        Filter::parse(expression)?;
        self.command(|| async {
            let mut changes = Changes::default();
            changes.rely(Key::Product(product.clone()), self.product_record(product).await?.1);
            let key = Key::Group(product.clone(), name.into());
            let (version, before) = self.before(&key).await?;
            if expected.is_some_and(|expected| expected != version) {
                return Err(CommandError::Changed);
            }
            let after = Record::Group(Group { expression: expression.into() });
            changes.write(key, version, before, Some(after));
            let words = detail(&[("expression", expression)]);
            self.audit(&mut changes, &permit, "group.set", name, words);
            Ok((changes, ()))
        })
        .await
    }

    /// Takes a group's name away; removing one that is not there is no error.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn remove_group(
        &self,
        principal: &Principal,
        product: &ProductIdBuf,
        name: &str,
    ) -> Result<(), CommandError> {
        let permit = self.permit(principal, Action::KeepDevices, product)?;
        self.command(|| async {
            let mut changes = Changes::default();
            let key = Key::Group(product.clone(), name.into());
            let (version, before) = self.before(&key).await?;
            if before.is_some() {
                changes.write(key, version, before, None);
            }
            self.audit(&mut changes, &permit, "group.remove", name, detail(&[]));
            Ok((changes, ()))
        })
        .await
    }

    /// The groups of a product: names and expressions.
    ///
    /// # Errors
    /// [`CommandError`].
    pub async fn groups(
        &self,
        principal: &Principal,
        product: &ProductIdBuf,
    ) -> Result<Vec<(Box<str>, Box<str>)>, CommandError> {
        self.permit(principal, Action::View, product)?;
        let query = Query::Table { table: Table::Group, prefix: terminated(product) };
        let groups =
            scan_all(&self.inner.store, &query).await?.into_iter().filter_map(|(key, stored)| {
                match (key, stored.record) {
                    (Key::Group(_, name), Record::Group(group)) => Some((name, group.expression)),
                    _ => None,
                }
            });
        Ok(groups.collect())
    }

    /// The expression of a group.
    ///
    /// # Errors
    /// [`CommandError::NoGroup`].
    pub async fn group(
        &self,
        principal: &Principal,
        product: &ProductIdBuf,
        name: &str,
    ) -> Result<Box<str>, CommandError> {
        self.permit(principal, Action::View, product)?;
        match self.before(&Key::Group(product.clone(), name.into())).await?.1 {
            Some(Record::Group(group)) => Ok(group.expression),
            _ => Err(CommandError::NoGroup(name.into())),
        }
    }

    /// The version of a group: what [`Server::set_group_of_version`] expects. Read it before the group itself.
    ///
    /// # Errors
    /// [`CommandError::NoGroup`].
    pub async fn group_version(
        &self,
        principal: &Principal,
        product: &ProductIdBuf,
        name: &str,
    ) -> Result<Version, CommandError> {
        self.permit(principal, Action::View, product)?;
        match self.before(&Key::Group(product.clone(), name.into())).await? {
            (version, Some(Record::Group(_))) => Ok(version),
            _ => Err(CommandError::NoGroup(name.into())),
        }
    }

    /// What is there under a key now, for a write over it.
    pub(super) async fn before(&self, key: &Key) -> Result<(Version, Option<Record>), CommandError> {
        Ok(match self.load_one(key).await? {
            Some(Stored { version, record }) => (version, Some(record)),
            None => (Version(0), None),
        })
    }
}
