//! `ota person`, `ota audit` and `ota stop-everything`.

use clap::{Args, Subcommand};
use ureq::http::Method;

use super::Context;
use crate::http::body::{
    AuditView, Items, PersonInput, PersonView, ReasonInput, RoleBody, Span, StopView, TokenInput, TokenView,
    VerifiedView,
};
use crate::program::Failure;
use crate::program::client::segment;
use crate::program::output::table;

#[derive(Debug, Subcommand)]
pub(super) enum PersonCommand {
    /// List people and programs
    List,
    /// Make or change somebody
    Set {
        /// The name, as the audit log will have it
        name: String,
        /// What they may do: viewer, developer, operator, approver, key_holder, administrator; several may be given
        #[arg(long, value_parser = role)]
        role: Vec<RoleBody>,
        /// Only in this product; several may be given
        #[arg(long)]
        product: Vec<String>,
        /// Take everything away for the time being
        #[arg(long)]
        disabled: bool,
    },
    /// Make a token for somebody; it is shown once
    Token {
        /// Whose
        name: String,
        /// How long it is good for, such as 12h or 90d
        #[arg(long, default_value = "90d", value_parser = span)]
        expires_in: Span,
    },
    /// Take a token away
    RemoveToken {
        /// Its public name: what stands between the two underscores
        token: String,
    },
}

fn role(text: &str) -> Result<RoleBody, String> {
    let quoted = serde_json::Value::String(text.replace('-', "_"));
    serde_json::from_value(quoted).map_err(|why| why.to_string())
}

fn span(text: &str) -> Result<Span, String> {
    text.parse().map_err(|why: crate::http::body::UnitError| why.to_string())
}

impl PersonCommand {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let (client, format) = (&context.client, context.format);
        match self {
            Self::List => {
                format.show(&client.all::<PersonView>("/api/v1/people")?, |people: &Items<PersonView>| {
                    let row = |person: &PersonView| {
                        let note = if person.disabled { "disabled" } else { "" };
                        [person.name.clone(), person.roles.join(" "), note.to_owned()]
                    };
                    table(["NAME", "ROLES", ""], people.items.iter().map(row))
                })
            }
            Self::Set { name, role, product, disabled } => {
                let products = (!product.is_empty()).then_some(product);
                let input = PersonInput { title: None, roles: role, products, disabled };
                client.tell(Method::PUT, &format!("/api/v1/people/{}", segment(&name)), &input)?;
                format.done(&format!("{name} is set; `ota person token {name}` makes a token"));
                Ok(())
            }
            Self::Token { name, expires_in } => {
                let input = TokenInput { expires_in: Some(expires_in), ..TokenInput::default() };
                let token: TokenView =
                    client.post(&format!("/api/v1/people/{}/tokens", segment(&name)), &input)?;
                format.show(&token, |token| {
                    let until =
                        token.expires.map_or_else(|| "for ever".to_owned(), |at| format!("until {at}"));
                    format!("{}\n\ngood {until}; it is not shown again", token.token)
                })
            }
            Self::RemoveToken { token } => {
                client.tell(Method::DELETE, &format!("/api/v1/tokens/{}", segment(&token)), &())?;
                format.done("the token is gone");
                Ok(())
            }
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Show entries
    Show {
        /// The number of the first
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// How many at most
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Check that no entry was changed, removed or put in between
    Verify {
        /// How many entries there were when the hash was noted
        #[arg(long, requires = "head")]
        entries: Option<u64>,
        /// The hash that was noted elsewhere: a cut-off end shows by it
        #[arg(long, requires = "entries")]
        head: Option<String>,
    },
}

impl AuditCommand {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let (client, format) = (&context.client, context.format);
        match self {
            Self::Show { from, limit } => {
                let view: AuditView = client.get(&format!("/api/v1/audit?from={from}&limit={limit}"))?;
                format.show(&view, |view| {
                    let row = |entry: &crate::http::body::AuditEntryView| {
                        let (at, detail) = (entry.at.to_string(), entry.detail.clone());
                        [
                            entry.sequence.to_string(),
                            at,
                            entry.principal.clone(),
                            entry.action.clone(),
                            entry.subject.clone(),
                            detail,
                        ]
                    };
                    table(["NUMBER", "AT", "WHO", "WHAT", "TO", "DETAIL"], view.items.iter().map(row))
                })
            }
            Self::Verify { entries, head } => {
                let known = match (entries, head) {
                    (Some(entries), Some(head)) => format!("?entries={entries}&head={}", segment(&head)),
                    _ => String::new(),
                };
                let view: VerifiedView = client.get(&format!("/api/v1/audit/verified{known}"))?;
                let head = view.head.clone().unwrap_or_default();
                format.show(&view, |view| match view.intact {
                    true => format!(
                        "intact: {} entries\nhead {head}\nnote both elsewhere to notice a cut-off end",
                        view.entries
                    ),
                    false => format!("broken at entry {}", view.entries),
                })?;
                let way_out = "restore the store from a backup, and find out who could write to it";
                if view.intact { Ok(()) } else { Err(Failure::new("the audit chain is broken", way_out)) }
            }
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct StopEverything {
    /// Only the campaigns of this product
    #[arg(long)]
    product: Option<String>,
    /// Why, for the audit log
    #[arg(long)]
    reason: String,
}

impl StopEverything {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        let input = ReasonInput { reason: self.reason, product: self.product };
        let view: StopView = context.client.post("/api/v1/stop-everything", &input)?;
        context.format.show(&view, |view| format!("{} campaigns are stopped", view.stopped))
    }
}
