//! Groups of devices: expressions with a name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A group to make, or another expression for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupInput {
    /// Which devices are in it, such as `tag = site=berlin and heard < 7d`.
    pub expression: String,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GroupView {
    /// What people call it.
    pub name: String,
    /// Which devices are in it.
    pub expression: String,
}

impl From<(Box<str>, Box<str>)> for GroupView {
    fn from((name, expression): (Box<str>, Box<str>)) -> Self {
        Self { name: name.into(), expression: expression.into() }
    }
}
