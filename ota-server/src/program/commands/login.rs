//! `ota login`: by a token that somebody made, or by name and password for a token of one's own.

use std::io::IsTerminal as _;

use clap::Args;

use crate::http::body::{OwnTokenInput, Span, TokenInput, TokenView, WhoAmI};
use crate::program::Failure;
use crate::program::client::Login;
use crate::program::output::Format;

#[derive(Debug, Args)]
pub(super) struct LoginArguments {
    /// Sign in with this name and its password, which is asked for, or read as one line where no terminal is
    #[arg(long, conflicts_with = "token")]
    name: Option<String>,
    /// How long the token is good for that the password is exchanged for
    #[arg(long, default_value = "30d", requires = "name", value_parser = span)]
    expires_in: Span,
}

fn span(text: &str) -> Result<Span, String> {
    text.parse().map_err(|why: crate::http::body::UnitError| why.to_string())
}

impl LoginArguments {
    pub(super) fn run(self, login: Login, format: Format) -> Result<(), Failure> {
        let login = match self.name {
            None => login,
            Some(name) => {
                let title = std::env::var("HOSTNAME")
                    .map_or_else(|_| "ota login".to_owned(), |host| format!("ota login on {host}"));
                let input = OwnTokenInput {
                    password: password(&name)?,
                    name,
                    token: TokenInput {
                        expires_in: Some(self.expires_in),
                        title: Some(title),
                        ..TokenInput::default()
                    },
                };
                let made: TokenView = login.client()?.post("/api/v1/own-tokens", &input)?;
                login.with_token(made.token)
            }
        };
        let me: WhoAmI = login.client()?.get("/api/v1/whoami")?;
        let path = login.keep()?;
        format.show(&me, |me| format!("signed in as {}; kept in {}", me.name, path.display()))
    }
}

fn password(name: &str) -> Result<String, Failure> {
    let failed = |why: std::io::Error| {
        Failure::caused(
            "the password cannot be read",
            &why,
            "type it, or give it as a line of standard input",
        )
    };
    if std::io::stdin().is_terminal() {
        return rpassword::prompt_password(format!("Password of {name}: ")).map_err(failed);
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(failed)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
