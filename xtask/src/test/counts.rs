//! How many tests ran, read from the lines that the test harness prints.

use core::ops::AddAssign;

/// Tests, or checks, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Counts {
    /// A step that is not made of tests counts as one.
    pub(crate) const ONE_CHECK: Self = Self { passed: 1, failed: 0, skipped: 0 };

    /// Adds up all `test result:` lines of a run of `cargo test`.
    pub(crate) fn read(output: &str) -> Self {
        let mut sum = Self::default();
        for line in output.lines() {
            let Some((_, figures)) = line.split_once("test result: ") else { continue };
            for figure in figures.split(['.', ';']) {
                let mut words = figure.split_whitespace();
                let (Some(count), Some(what)) = (words.next(), words.next()) else { continue };
                let Ok(count) = count.parse::<usize>() else { continue };
                match what {
                    "passed" => sum.passed += count,
                    "failed" => sum.failed += count,
                    "ignored" => sum.skipped += count,
                    _ => {}
                }
            }
        }
        sum
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_all_test_programs_are_added_up() {
        let output = "
            test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.42s
            test something ... FAILED
            test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s";
        assert_eq!(Counts::read(output), Counts { passed: 17, failed: 2, skipped: 1 });
    }

    #[test]
    fn output_without_tests_counts_nothing() {
        assert_eq!(Counts::read("Compiling everything\nerror: 3 passed"), Counts::default());
    }
}
