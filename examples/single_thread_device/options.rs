//! What the program can be told when it starts. Everything is checked here, so that nothing later can be malformed.

use core::net::SocketAddr;
use core::time::Duration;
use std::net::ToSocketAddrs;
use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};
use ota_core::number::ByteLength;
use ota_core::text::{DeviceIdBuf, HardwareRevisionBuf, InstallTargetBuf, ProductIdBuf};

pub(crate) const HELP: &str = "\
A device with one thread and one MQTT connection that updates itself while it works.

It publishes on telemetry/DEVICE, obeys commands/DEVICE, answers on answers/DEVICE, and takes updates over
ota/1/DEVICE/up and ota/1/DEVICE/down.

Usage: single_thread_device --product PRODUCT --device DEVICE --folder FOLDER [OPTIONS]

  --product PRODUCT        the product that the device is one of
  --device DEVICE          its own id, which is also its MQTT client id
  --folder FOLDER          where its files rest; active/ in it shows those that are in use
  --root FILE              the body of the product's root, for a folder that is new: what the factory would write
  --hardware REVISION      its hardware revision                             [default: rev-c]
  --target NAME            the install target that releases may fill         [default: app]
  --capacity BYTES         the largest file it can take                      [default: 67108864]
  --broker HOST:PORT       the MQTT broker                                   [default: 127.0.0.1:1883]
  --telemetry-ms MS        how often telemetry is due                        [default: 100]
  --bytes-per-second N     the fastest download that it asks for             [default: no limit]
  --until-confirmed        end one second after an update is confirmed, instead of running for ever
  -h, --help               print this

Commands, as the payload of a message on commands/DEVICE: status, pause, resume. Words after the first one are
repeated in the answer, so that whoever asks can tell answers apart.";

/// Everything the program was told.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) product: ProductIdBuf,
    pub(crate) device: DeviceIdBuf,
    pub(crate) hardware: HardwareRevisionBuf,
    pub(crate) folder: PathBuf,
    pub(crate) root: Option<PathBuf>,
    pub(crate) target: InstallTargetBuf,
    pub(crate) capacity: ByteLength,
    /// Resolved before the loop begins: looking up a name waits for somebody else, and the loop never does.
    pub(crate) broker: SocketAddr,
    pub(crate) telemetry_interval: Duration,
    pub(crate) bytes_per_second_max: Option<u32>,
    pub(crate) run: Run,
}

/// How long the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    /// Until somebody ends it, which it survives at any moment.
    ForEver,
    /// Until an update is confirmed, and a second longer.
    UntilConfirmed,
}

impl Options {
    /// Reads the command line; `None` if only help was asked for.
    ///
    /// # Errors
    /// A sentence for the person who typed it.
    pub(crate) fn read(mut args: Parser) -> Result<Option<Self>, String> {
        let (mut product, mut device, mut folder, mut root) = (None, None, None, None);
        let mut hardware = "rev-c".to_owned();
        let mut target = "app".to_owned();
        let mut capacity = 64 << 20;
        let mut broker = "127.0.0.1:1883".to_owned();
        let mut telemetry_ms = 100_u64;
        let mut bytes_per_second_max = None;
        let mut run = Run::ForEver;
        while let Some(arg) = args.next().map_err(|error| error.to_string())? {
            match arg {
                Arg::Short('h') | Arg::Long("help") => return Ok(None),
                Arg::Long("product") => product = Some(text(&mut args, "--product")?),
                Arg::Long("device") => device = Some(text(&mut args, "--device")?),
                Arg::Long("folder") => folder = Some(path(&mut args, "--folder")?),
                Arg::Long("root") => root = Some(path(&mut args, "--root")?),
                Arg::Long("hardware") => hardware = text(&mut args, "--hardware")?,
                Arg::Long("target") => target = text(&mut args, "--target")?,
                Arg::Long("capacity") => capacity = number(&mut args, "--capacity", 1)?,
                Arg::Long("broker") => broker = text(&mut args, "--broker")?,
                Arg::Long("telemetry-ms") => telemetry_ms = number(&mut args, "--telemetry-ms", 1)?,
                Arg::Long("bytes-per-second") => {
                    let rate = number(&mut args, "--bytes-per-second", 1)?;
                    let rate = u32::try_from(rate)
                        .map_err(|_| format!("--bytes-per-second: {rate} is more than {}", u32::MAX))?;
                    bytes_per_second_max = Some(rate);
                }
                Arg::Long("until-confirmed") => run = Run::UntilConfirmed,
                other => return Err(other.unexpected().to_string()),
            }
        }
        let needed = |value: Option<String>, name: &str| value.ok_or_else(|| format!("{name} is needed"));
        let (product, device) = (needed(product, "--product")?, needed(device, "--device")?);
        Ok(Some(Self {
            product: ProductIdBuf::new(product.as_str())
                .map_err(|why| format!("--product {product}: {why}"))?,
            device: DeviceIdBuf::new(device.as_str()).map_err(|why| format!("--device {device}: {why}"))?,
            hardware: HardwareRevisionBuf::new(hardware.as_str())
                .map_err(|why| format!("--hardware {hardware}: {why}"))?,
            folder: folder.ok_or("--folder is needed")?,
            root,
            target: InstallTargetBuf::new(target.as_str())
                .map_err(|why| format!("--target {target}: {why}"))?,
            capacity: ByteLength(capacity),
            broker: resolve(&broker)?,
            telemetry_interval: Duration::from_millis(telemetry_ms),
            bytes_per_second_max,
            run,
        }))
    }
}

fn text(args: &mut Parser, name: &str) -> Result<String, String> {
    args.value().and_then(|value| value.string()).map_err(|why| format!("{name}: {why}"))
}

fn path(args: &mut Parser, name: &str) -> Result<PathBuf, String> {
    args.value().map(PathBuf::from).map_err(|why| format!("{name}: {why}"))
}

fn number(args: &mut Parser, name: &str, at_least: u64) -> Result<u64, String> {
    let number = args.value().and_then(|value| value.parse()).map_err(|why| format!("{name}: {why}"))?;
    if number < at_least { Err(format!("{name}: at least {at_least}")) } else { Ok(number) }
}

fn resolve(broker: &str) -> Result<SocketAddr, String> {
    let mut found = broker.to_socket_addrs().map_err(|why| format!("--broker {broker}: {why}"))?;
    found.next().ok_or_else(|| format!("--broker {broker}: the name has no address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Option<Options>, String> {
        Options::read(Parser::from_args(line.split_whitespace()))
    }

    #[test]
    fn three_options_are_enough() {
        let options = read("--product p --device d --folder f").unwrap().unwrap();
        assert_eq!(options.telemetry_interval, Duration::from_millis(100));
        assert_eq!(options.run, Run::ForEver);
        assert!(read("--product p --device d").unwrap_err().contains("--folder"));
    }

    #[test]
    fn an_error_names_the_option() {
        let wrong = |rest: &str| read(&format!("--product p --device d --folder f {rest}")).unwrap_err();
        assert!(wrong("--broker nowhere").contains("--broker nowhere"));
        assert!(wrong("--telemetry-ms soon").contains("--telemetry-ms"));
        assert!(wrong("--telemetry-ms 0").contains("at least 1"));
        assert!(wrong("--bytes-per-second 5000000000").contains("more than"));
        assert!(wrong("--target a/b").contains("--target a/b"));
        assert!(wrong("--quick").contains("--quick"));
    }

    #[test]
    fn help_is_given_whatever_else_is_missing() {
        assert!(read("-h").unwrap().is_none());
    }
}
