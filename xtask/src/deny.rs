//! The steps `deny` and `advisories`: what may come in from outside, by cargo-deny and `deny.toml`.

use crate::machine::{self, CARGO_DENY};
use crate::run::Run;
use crate::test::{Context, Verdict};

/// Bans, licences and sources: needs nothing from outside.
pub(crate) fn step(all: &Context<'_>) -> Verdict {
    let run = match command(all, &["--hide-inclusion-graph", "bans", "licenses", "sources"]) {
        Ok(run) => run,
        Err(why) => return Verdict::Skipped(why),
    };
    run.must().map(drop).into()
}

/// Known vulnerabilities: needs the advisory database, which not every machine can reach.
pub(crate) fn advisories(all: &Context<'_>) -> Verdict {
    let run = match command(all, &["advisories"]) {
        Ok(run) => run,
        Err(why) => return Verdict::Skipped(why),
    };
    match run.run() {
        // Without the database nothing was checked: that says nothing about our dependencies.
        Ok(ran) if !ran.success && ran.text.contains("failed to fetch advisory database") => {
            Verdict::Excused("NOT CHECKED: the advisory database cannot be reached from here".into())
        }
        Ok(ran) if !ran.success => Err("cargo-deny knows advisories against what we use".to_owned()).into(),
        Ok(_) => Ok(()).into(),
        Err(why) => Err(why).into(),
    }
}

fn command(all: &Context<'_>, checks: &[&str]) -> Result<Run, String> {
    let program = machine::tool(all.project, &CARGO_DENY, all.permission)?;
    let words = ["--locked", "--all-features", "check"].iter().chain(checks).copied();
    Ok(Run::new(program, &all.project.root).args(words))
}
