//! `ota person`, `ota audit` and `ota stop-everything`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use ureq::http::Method;

use super::{Context, ExportTo};
use crate::http::body::{
    AuditView, CheckpointsInput, EndedView, InvitationView, Items, PersonInput, PersonView, PublicKey,
    ReasonInput, RoleBody, Span, StopView, TokenInput, TokenLine, TokenView, VerifiedView,
};
use crate::program::Failure;
use crate::program::client::segment;
use crate::program::output::{table, when};

/// Checkpoints in one request: a line has about 250 bytes, and a body at most 1 MiB.
const CHECKPOINTS_AT_ONCE: usize = 3000;

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
    /// Make a link with which somebody sets a password, once; it is shown once
    Invite {
        /// Whom
        name: String,
    },
    /// List somebody's tokens, sessions and invitations
    Tokens {
        /// Whose
        name: String,
    },
    /// End all of somebody's sessions
    EndSessions {
        /// Whose
        name: String,
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

pub(super) fn span(text: &str) -> Result<Span, String> {
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
                format.done(&format!(
                    "{name} is set; `ota person invite {name}` makes a link to set a password with, \
                     `ota person token {name}` a token for programs"
                ));
                Ok(())
            }
            Self::Token { name, expires_in } => {
                let input = TokenInput { expires_in: Some(expires_in), ..TokenInput::default() };
                let token: TokenView =
                    client.post(&format!("/api/v1/people/{}/tokens", segment(&name)), &input)?;
                format.show(&token, |token| token.token.clone())?;
                let until = token.expires.map_or_else(|| "for ever".to_owned(), |at| format!("until {at}"));
                format.beside(&format!("good {until}; it is not shown again"));
                Ok(())
            }
            Self::Invite { name } => {
                let invitation: InvitationView =
                    client.post(&format!("/api/v1/people/{}/invitation", segment(&name)), &())?;
                format.show(&invitation, |invitation| {
                    // A server that was not told what people call it leaves that out.
                    let host = if invitation.link.starts_with('/') { client.address() } else { "" };
                    format!("{host}{}", invitation.link)
                })?;
                let until = when(invitation.expires);
                format.beside(&format!("good once, until {until}; it is not shown again"));
                Ok(())
            }
            Self::Tokens { name } => {
                let tokens: Items<TokenLine> =
                    client.all(&format!("/api/v1/people/{}/tokens", segment(&name)))?;
                format.show(&tokens, |tokens| {
                    let row = |token: &TokenLine| {
                        let (created, expires) = (token.created.to_string(), when(token.expires));
                        [token.name.clone(), token.kind.clone(), created, expires, token.title.clone()]
                    };
                    table(["NAME", "KIND", "MADE", "GOOD UNTIL", "TITLE"], tokens.items.iter().map(row))
                })
            }
            Self::EndSessions { name } => {
                let path = format!("/api/v1/people/{}/sessions", segment(&name));
                let ended: EndedView = client.delete(&path)?;
                format.show(&ended, |ended| match ended.ended {
                    1 => "1 session has ended".to_owned(),
                    many => format!("{many} sessions have ended"),
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
    /// Write the whole chain as a table or as JSON, one entry a line
    Export(ExportTo),
    /// Check that no entry was changed, removed or put in between
    Verify {
        /// How many entries there were when the hash was noted
        #[arg(long, requires = "head")]
        entries: Option<u64>,
        /// The hash that was noted elsewhere: a cut-off end shows by it
        #[arg(long, requires = "entries")]
        head: Option<String>,
        /// File with checkpoints that the server wrote, kept where its owner cannot write
        #[arg(long, requires = "key", conflicts_with = "head")]
        checkpoints: Option<PathBuf>,
        /// Public key that signed checkpoints, as `ota key show` prints it; several may be given
        #[arg(long, requires = "checkpoints")]
        key: Vec<PublicKey>,
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
            Self::Export(export) => export.run(client, "/api/v1/audit/export?"),
            Self::Verify { entries, head, checkpoints, key } => {
                let view: VerifiedView = match (checkpoints, entries, head) {
                    (Some(file), ..) => {
                        let checkpoints = newest(&file)?;
                        client.post("/api/v1/audit/verified", &CheckpointsInput { checkpoints, keys: key })?
                    }
                    (None, Some(entries), Some(head)) => {
                        let known = format!("?entries={entries}&head={}", segment(&head));
                        client.get(&format!("/api/v1/audit/verified{known}"))?
                    }
                    _ => client.get("/api/v1/audit/verified")?,
                };
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

/// The checkpoints of a file, the newest of them if they are too many for one request: older ones are about what those
/// cover as well.
fn newest(file: &Path) -> Result<Vec<String>, Failure> {
    let way_out = "give the file that the server appends its checkpoints to, or a copy of it";
    let text = std::fs::read_to_string(file)
        .map_err(|why| Failure::caused(format_args!("cannot read {}", file.display()), &why, way_out))?;
    let mut lines: Vec<String> = text.lines().rev().take(CHECKPOINTS_AT_ONCE).map(str::to_owned).collect();
    if lines.is_empty() {
        return Err(Failure::new(format!("{} has no checkpoints", file.display()), way_out));
    }
    lines.reverse();
    Ok(lines)
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
        context.format.show(&view, |view| match view.stopped {
            1 => "1 campaign is stopped".to_owned(),
            many => format!("{many} campaigns are stopped"),
        })
    }
}
