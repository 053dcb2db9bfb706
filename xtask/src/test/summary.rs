//! The table at the end, the way to repeat what failed, and the closing line that other programs read.

use core::time::Duration;

use super::Verdict;
use super::counts::Counts;
use crate::Outcome;
use crate::run::spoken;

/// A step that is over.
pub(crate) struct Row {
    name: &'static str,
    counts: Counts,
    state: State,
    why: String,
    pub(crate) elapsed: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Passed,
    Failed,
    Skipped,
}

impl Row {
    /// Judges a verdict; only here does it matter whether this is a CI machine.
    pub(crate) fn new(name: &'static str, verdict: Verdict, elapsed: Duration, in_ci: bool) -> Self {
        let (state, mut counts, why) = match verdict {
            Verdict::Passed(counts) => (State::Passed, counts, String::new()),
            Verdict::Failed(counts, why) => (State::Failed, counts, why),
            Verdict::Skipped(why) if in_ci => {
                (State::Failed, Counts::default(), format!("could not run, and CI=true: {why}"))
            }
            Verdict::Skipped(why) => (State::Skipped, Counts::default(), format!("COULD NOT RUN: {why}")),
            Verdict::Excused(why) => (State::Skipped, Counts::default(), why),
        };
        // A program that does not even compile counts no failed test, yet it failed.
        match state {
            State::Failed => counts.failed = counts.failed.max(1),
            State::Skipped => counts.skipped += 1,
            State::Passed => {}
        }
        Self { name, counts, state, why, elapsed }
    }

    /// The step ran, but not all of it could.
    pub(crate) fn left_out(&mut self, what: &str, in_ci: bool) {
        if in_ci {
            self.state = State::Failed;
            self.counts.failed += 1;
        } else {
            self.counts.skipped += 1;
        }
        let words = format!("what needs it was LEFT OUT, {what}");
        self.why = if self.why.is_empty() { words } else { format!("{}\n{words}", self.why) };
    }

    /// The state as a word.
    pub(crate) fn word(&self) -> &'static str {
        match self.state {
            State::Passed => "passed",
            State::Failed => "FAILED",
            State::Skipped => "SKIPPED",
        }
    }
}

/// Prints all of it and says how it ended.
pub(crate) fn print(rows: &[Row], elapsed: Duration) -> Outcome {
    println!("\n{}", text(rows, elapsed));
    // The closing line stays the last one: other programs look for it there.
    if rows.iter().any(|row| row.state == State::Failed) { Err(String::new()) } else { Ok(()) }
}

fn text(rows: &[Row], elapsed: Duration) -> String {
    let mut text = format!("{:<11}{:<9}{:>7}{:>7}{:>8}  time\n", "step", "", "passed", "failed", "skipped");
    let mut sum = Counts::default();
    for row in rows {
        let Counts { passed, failed, skipped } = row.counts;
        let time = spoken(row.elapsed);
        text.push_str(&format!(
            "{:<11}{:<9}{passed:>7}{failed:>7}{skipped:>8}  {time}\n",
            row.name,
            row.word()
        ));
        sum += row.counts;
    }
    text.push_str(&format!("{} steps in {}\n", rows.len(), spoken(elapsed)));
    let is_incomplete = |row: &&Row| row.state != State::Failed && !row.why.is_empty();
    for row in rows.iter().filter(is_incomplete) {
        text.push_str(&format!("\nSKIPPED {}: {}\n", row.name, row.why));
    }
    for row in rows.iter().filter(|row| row.state == State::Failed) {
        text.push_str(&format!("\nFAILED {}: {}\n", row.name, row.why.trim_end()));
        text.push_str(&format!("  again, alone: cargo xtask test {}\n", row.name));
    }
    text.push_str(&format!("\n{} passed, {} failed, {} skipped", sum.passed, sum.failed, sum.skipped));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_secs(2);

    fn rows(in_ci: bool) -> Vec<Row> {
        let tests = Verdict::Passed(Counts { passed: 40, failed: 0, skipped: 0 });
        vec![
            Row::new("tests", tests, TIME, in_ci),
            Row::new("clippy", Verdict::Failed(Counts::default(), "3 warnings".into()), TIME, in_ci),
            Row::new("postgres", Verdict::Skipped("no server".into()), TIME, in_ci),
            Row::new("corpora", Verdict::Excused("nothing there yet".into()), TIME, in_ci),
        ]
    }

    #[test]
    fn the_last_line_counts_tests_and_checks() {
        assert_eq!(text(&rows(false), TIME).lines().last(), Some("40 passed, 1 failed, 2 skipped"));
    }

    #[test]
    fn a_suite_that_cannot_run_is_a_failure_on_a_ci_machine() {
        assert_eq!(text(&rows(true), TIME).lines().last(), Some("40 passed, 2 failed, 1 skipped"));
        assert!(print(&rows(true)[2..3], TIME).is_err());
        assert!(print(&rows(false)[2..3], TIME).is_ok());
    }

    #[test]
    fn what_is_excused_is_never_a_failure() {
        assert!(print(&rows(true)[3..], TIME).is_ok());
    }

    #[test]
    fn a_step_that_left_something_out_says_so_and_is_a_failure_on_a_ci_machine() {
        let row = |in_ci| {
            let mut row = Row::new("tests", Verdict::Passed(Counts::ONE_CHECK), TIME, in_ci);
            row.left_out("not installed: mosquitto", in_ci);
            [row]
        };
        let (told, told_in_ci) = (text(&row(false), TIME), text(&row(true), TIME));
        assert!(told.contains("SKIPPED tests: what needs it was LEFT OUT, not installed: mosquitto"));
        assert!(told.ends_with("1 passed, 0 failed, 1 skipped"));
        assert!(told_in_ci.ends_with("1 passed, 1 failed, 0 skipped"));
    }

    #[test]
    fn every_failure_says_how_to_repeat_it_alone() {
        assert!(text(&rows(false), TIME).contains("again, alone: cargo xtask test clippy"));
    }
}
