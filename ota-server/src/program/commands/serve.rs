//! `ota serve`, and its flags, which are made from the table of settings.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::program::serve::{self, FirstToken};
use crate::program::settings::{Layers, SETTINGS, Setting, SettingError};
use crate::program::{Failure, Settings};

/// The flags of `ota serve`.
#[derive(Debug, Clone)]
pub(super) struct Serve {
    config: Option<PathBuf>,
    first: FirstToken,
    flags: Vec<(&'static Setting, String)>,
}

impl Serve {
    pub(super) fn run(self) -> Result<(), Failure> {
        let first = self.first;
        let settings = self.settings().map_err(|why| {
            Failure::new(why.to_string(), "correct it and start again; `ota serve --help` lists all settings")
        })?;
        serve::run(&settings, first)
    }

    fn settings(self) -> Result<Settings, SettingError> {
        let environment =
            || std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        let mut outer = Layers::default();
        outer.environment(environment());
        outer.flags(self.flags.clone());
        let mut layers = Layers::default();
        let beside = outer.data().join("ota.toml");
        match self.config.or_else(|| std::env::var_os("OTA_CONFIG").map(PathBuf::from)) {
            Some(path) => layers.file(&path)?,
            None if beside.is_file() => layers.file(&beside)?,
            None => {}
        }
        layers.environment(environment());
        layers.flags(self.flags);
        layers.settings()
    }
}

impl FromArgMatches for Serve {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given =
            |setting: &'static Setting| Some((setting, matches.get_one::<String>(setting.key)?.clone()));
        let first =
            if matches.get_flag("administrator") { FirstToken::Anew } else { FirstToken::IfNobodyIsThere };
        Ok(Self {
            config: matches.get_one::<PathBuf>("config").cloned(),
            first,
            flags: SETTINGS.iter().filter_map(given).collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for Serve {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("TOML file with settings [default: ota.toml in the data folder; OTA_CONFIG]");
        let administrator = Arg::new("administrator")
            .long("new-administrator-token")
            .action(ArgAction::SetTrue)
            .help("Make a new token for the first administrator, if all were lost");
        let flag = |setting: &'static Setting| {
            let help = format!(
                "{}: {} [default: {}; {}; in the file `{}`]",
                setting.help,
                setting.allowed,
                if setting.default.is_empty() { "nothing" } else { setting.default },
                setting.variable(),
                setting.key
            );
            Arg::new(setting.key)
                .long(setting.flag())
                .value_name("VALUE")
                .allow_hyphen_values(true)
                .help(help)
        };
        command.arg(config).arg(administrator).args(SETTINGS.iter().map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
