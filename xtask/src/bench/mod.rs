//! `cargo xtask bench`: the figures, and the page that holds them.
//!
//! A group is a benchmark target of a member (`cargo bench --bench NAME`), or a program of a member whose name
//! starts with `bench-`; there is no list to forget. A group describes itself in the first line of its source. What
//! it prints between [`sections::opening`] and [`sections::CLOSING`] is Markdown for `docs/benchmarks.md`.

mod sections;

use crate::Outcome;
use crate::project::{Project, Target, first_doc_line, read, write};
use crate::run::Run;

pub(crate) const HELP: &str = "
    cargo xtask bench                              show the groups
    cargo xtask bench NAME... [--write] [-- ARG...]   run some, with their own arguments
    cargo xtask bench all [--write]                run all

The group NAME is the benchmark target NAME of a member, or the program bench-NAME. What a group
prints between these two lines is meant for people:

    <!-- bench: NAME -->
    <!-- /bench -->

and between `<!-- file: PATH -->` and `<!-- /file -->` stands a file that goes with it, a plot for example.

    --write   put it into the section of that name in docs/benchmarks.md, with the machine and the command, and
              write the files";

const PREFIX: &str = "bench-";
const PAGE: &str = "docs/benchmarks.md";

struct Group {
    name: String,
    is_program: bool,
    target: Target,
}

pub(crate) fn command(project: &Project, mut args: lexopt::Parser) -> Outcome {
    let groups = groups(project);
    let (mut chosen, mut to_page) = (Vec::new(), false);
    let mut rest = Vec::new();
    loop {
        // What follows `--` is for the benchmark, whatever it looks like.
        if let Some(raw) = args.try_raw_args()
            && raw.peek().is_some_and(|word| word == "--")
        {
            rest.extend(raw.skip(1));
            break;
        }
        match args.next().map_err(|error| error.to_string())? {
            None => break,
            Some(lexopt::Arg::Long("write")) => to_page = true,
            Some(lexopt::Arg::Value(name)) => chosen.push(name.to_string_lossy().into_owned()),
            Some(other) => return Err(other.unexpected().to_string()),
        }
    }
    if let Some(unknown) =
        chosen.iter().find(|name| *name != "all" && !groups.iter().any(|group| group.name == **name))
    {
        list(&groups);
        return Err(format!("no group is called {unknown}"));
    }
    if chosen.is_empty() {
        list(&groups);
        return Ok(());
    }
    let wanted = |group: &&Group| chosen.iter().any(|name| name == "all" || *name == group.name);
    let mut failed = Vec::new();
    for group in groups.iter().filter(wanted) {
        println!("=== {}: {}", group.name, first_doc_line(&group.target.source));
        let run = group.run(project).args(rest.iter().cloned());
        match run.must() {
            Err(why) => failed.push(why),
            Ok(ran) if to_page => save(project, &ran.stdout)?,
            Ok(_) => {}
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
}

fn groups(project: &Project) -> Vec<Group> {
    let benches = project.targets("bench").into_iter();
    let benches = benches.map(|target| Group { name: target.name.clone(), is_program: false, target });
    let programs = project.targets("bin").into_iter().filter_map(|target| {
        let name = target.name.strip_prefix(PREFIX)?.to_owned();
        Some(Group { name, is_program: true, target })
    });
    benches.chain(programs).collect()
}

impl Group {
    fn run(&self, project: &Project) -> Run {
        let Target { package, name, .. } = &self.target;
        let words = match self.is_program {
            true => vec!["run", "--release", "--locked", "--package", package, "--bin", name],
            false => vec!["bench", "--locked", "--package", package, "--bench", name],
        };
        project.cargo(words).args(["--all-features", "--"])
    }
}

fn list(groups: &[Group]) {
    if groups.is_empty() {
        println!("there is no benchmark yet");
    }
    for group in groups {
        println!("{:<16} {}", group.name, first_doc_line(&group.target.source));
    }
}

/// Puts all sections of an output into the page.
fn save(project: &Project, output: &str) -> Outcome {
    let page = project.root.join(PAGE);
    let mut text = if page.is_file() { read(&page)? } else { sections::EMPTY_PAGE.to_owned() };
    let machine = machine(project);
    for (name, body) in sections::printed(output) {
        let made_by = format!("Made by `cargo xtask bench {name} --write` on {machine}.");
        text = sections::replaced(&text, &name, &format!("{}\n\n{made_by}", body.trim()));
        println!("{PAGE}: section {name} is written");
    }
    for (path, content) in sections::files(output) {
        write(&project.root.join(&path), &content)?;
        println!("{path} is written");
    }
    write(&page, &text)
}

/// The machine as far as it matters for a figure.
fn machine(project: &Project) -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split(':').nth(1));
    let model = model.map_or("an unnamed processor", str::trim).to_owned();
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let rustc = Run::new("rustc", &project.root).args(["--version"]).quiet().run();
    let rustc = rustc.map(|ran| ran.stdout.split('(').next().unwrap_or_default().trim().to_owned());
    format!("{cores} x {model}, {}, {}", std::env::consts::OS, rustc.unwrap_or_default())
}
