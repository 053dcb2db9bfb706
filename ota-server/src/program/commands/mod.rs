//! The command line. Each command is a few requests to a server; but for `ota store`, none of them opens the store.

mod campaign;
mod device;
mod enrolment;
mod group;
mod init;
mod key;
mod login;
mod package;
mod people;
mod product;
mod root;
mod serve;
mod store;

use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use super::Failure;
use super::client::{Client, Login};
use super::output::Format;

/// What scripts can rely on.
const EXIT_CODES: &str = "\
Exit codes:
  0  it was done
  1  it was not done: the message says why, and what to do
  2  the command line is wrong
  3  the server cannot be reached
  4  a watched campaign ended, or waits, without being completed";

/// Updates for fleets of devices: the server, and the command line that speaks to it.
#[derive(Debug, Parser)]
#[command(name = "ota", version, propagate_version = true, after_help = EXIT_CODES)]
pub(super) struct CommandLine {
    #[command(flatten)]
    server: ServerArguments,
    #[command(subcommand)]
    command: Command,
}

/// Which server, and who asks.
#[derive(Debug, Args)]
struct ServerArguments {
    /// Address of the server, such as http://127.0.0.1:8480
    #[arg(long, global = true, env = "OTA_SERVER", value_name = "URL")]
    server: Option<String>,
    /// Token to sign in with
    #[arg(long, global = true, env = "OTA_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
    /// PEM file with the authorities of the server's certificate
    #[arg(long, global = true, env = "OTA_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Answer in JSON, for scripts
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::Serve),
    /// Sign in: keep the address and a token of a server for later commands
    Login(login::LoginArguments),
    /// Write what a shell needs to complete commands
    Completion {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Make a product with its keys and its first root
    Init(init::Init),
    /// Make and look at keys
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Who may sign for a product: make, sign and bring its next root
    #[command(subcommand)]
    Root(root::RootCommand),
    /// Look at products, and at how their fleets stand
    #[command(subcommand)]
    Product(product::ProductCommand),
    /// Register devices, look at them, find out why one has no update
    #[command(subcommand)]
    Device(device::DeviceCommand),
    /// Give expressions over devices a name
    #[command(subcommand)]
    Group(group::GroupCommand),
    /// Let devices register themselves, by certificate or token
    #[command(subcommand)]
    Enrolment(enrolment::EnrolmentCommand),
    /// Build, upload and sign packages
    #[command(subcommand)]
    Package(package::PackageCommand),
    /// Bring a release to a fleet
    #[command(subcommand)]
    Campaign(campaign::CampaignCommand),
    /// Keep people and programs, and what they may do
    #[command(subcommand)]
    Person(people::PersonCommand),
    /// Read and verify the audit chain
    #[command(subcommand)]
    Audit(people::AuditCommand),
    /// Keep the store: room, copies, files that nothing needs; or move it to a database
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Stop all campaigns, of one product or of the whole installation
    StopEverything(people::StopEverything),
}

/// What every command that speaks to a server needs.
struct Context {
    client: Client,
    format: Format,
}

/// A list as a file.
#[derive(Debug, Args)]
struct ExportTo {
    /// The file; standard output unless it is given
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// CSV for spreadsheets, or one JSON object a line
    #[arg(long, value_parser = ["csv", "ndjson"], default_value = "csv")]
    format: String,
}

impl ExportTo {
    /// Writes what is at this path, which ends where its query goes on. A file is not there before it is whole.
    fn run(&self, client: &Client, path: &str) -> Result<(), Failure> {
        let path = format!("{path}format={}", self.format);
        let Some(out) = &self.out else { return client.copy(&path, &mut std::io::stdout()) };
        let wrong = |why: &std::io::Error| {
            Failure::caused(
                format_args!("cannot write {}", out.display()),
                why,
                "give another file with --out",
            )
        };
        let part = out.with_extension("part");
        let mut file = std::fs::File::create(&part).map_err(|why| wrong(&why))?;
        let copied = client.copy(&path, &mut file);
        if copied.is_err() {
            // What is there is of no use to anybody.
            let _ = std::fs::remove_file(&part);
            return copied;
        }
        std::fs::rename(&part, out).map_err(|why| wrong(&why))
    }
}

/// Runs a command line.
pub(super) fn run(line: CommandLine) -> Result<(), Failure> {
    let format = if line.server.json { Format::Json } else { Format::Text };
    let login = || Login::new(line.server.server.clone(), line.server.token.clone(), line.server.ca.clone());
    let context = || Ok::<_, Failure>(Context { client: login().client()?, format });
    match line.command {
        Command::Serve(serve) => serve.run(),
        Command::Login(arguments) => arguments.run(login(), format),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut CommandLine::command(), "ota", &mut std::io::stdout());
            Ok(())
        }
        Command::Init(init) => init.run(&context()?),
        Command::Key(command) => command.run(format),
        Command::Root(command) => command.run(&login, format),
        Command::Product(command) => command.run(&context()?),
        Command::Device(command) => command.run(&login, format),
        Command::Group(command) => command.run(&context()?),
        Command::Enrolment(command) => command.run(&context()?),
        Command::Package(command) => command.run(&login, format),
        Command::Campaign(command) => command.run(&context()?),
        Command::Person(command) => command.run(&context()?),
        Command::Audit(command) => command.run(&context()?),
        Command::Store(command) => command.run(&login, format),
        Command::StopEverything(command) => command.run(&context()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_arguments_of_a_command_have_one_name() {
        CommandLine::command().debug_assert();
    }
}
