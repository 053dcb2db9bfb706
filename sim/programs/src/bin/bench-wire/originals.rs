//! Devices of the original system at the program as people run it: its own broker with TLS and passwords, its rules and
//! its limits.

use std::time::Instant;

use ota_sim::random::Dice;
use ota_sim::wire::original::{End, Moment, Original, Then, Writing};
use ota_sim::wire::program::{AT_ONCE, Serving};
use ota_sim::workshop::SourceFile;

use crate::hosts::{Broker, Host, Kind, Setting, Transport, device_id};
use crate::median;

const PRODUCT: &str = "meter";
const PASSWORD: &str = "Zk2vXw8s1Qn5Tb7Lr4Yd";
const FILE_BYTES: usize = 1 << 20;
const WRITINGS: [Writing; 2] = [Writing::AtOnce, Writing::InTwoParts];

/// What it took, as a table.
pub(crate) fn table(rounds: usize) -> String {
    let mut text = "1 MiB in chunks of 1 KiB to a device of the original system, one chunk at a time, from its list of files \
                    to its last status; medians, ms. At most 1,000 are allowed.\n\n\
                    | server | requests written at once | header and payload apart, without TCP_NODELAY |\n\
                    |---|---:|---:|\n"
        .to_owned();
    let mut line = |name: &str, seconds: [f64; 2]| {
        let [at_once, apart] = seconds.map(|seconds| seconds * 1000.0);
        eprintln!("{name}: {at_once:.0} ms, {apart:.0} ms apart");
        text.push_str(&format!("| {name} | {at_once:.0} | {apart:.0} |\n"));
    };
    line("the program as it is: TLS, passwords, its rules and limits", program(rounds));
    line("embedded broker without TLS", without_tls(rounds));
    text
}

/// Through the whole program, which this executable is, too.
fn program(rounds: usize) -> [f64; 2] {
    let folder = tempfile::tempdir().unwrap();
    let program = std::env::current_exe().unwrap();
    let server = Serving::start(&program, folder.path(), &["--mqtt-clients", "certificates-and-passwords"]);
    let shell = server.shell();
    shell.make_product(PRODUCT);
    let devices = rounds * WRITINGS.len();
    let lines: Vec<_> =
        (0..devices).map(|number| format!("{},password={PASSWORD}", device_id(number))).collect();
    shell.register(PRODUCT, &lines);
    let files = [SourceFile::new("app.bin", "2", "app", Dice::new(2).bytes(FILE_BYTES))];
    let release = shell.release(PRODUCT, "main", &files);
    shell.campaign(PRODUCT, &release, AT_ONCE);
    medians(rounds, |number| {
        let broker = server.broker.unwrap();
        let mut device = Original::new(device_id(number).as_str(), PASSWORD, broker, &["app.bin"]);
        device.tls = Some(server.tls());
        device
    })
}

/// Without TLS, which the program does not offer: the server with a broker that lets everybody in.
fn without_tls(rounds: usize) -> [f64; 2] {
    let broker =
        Broker::start(Setting { transport: Transport::Plain, is_embedded: true }).expect("it is inside");
    let host = Host::start(&broker, Kind::Fleet { devices: rounds * WRITINGS.len(), bytes: FILE_BYTES });
    medians(rounds, |number| {
        Original::new(device_id(number).as_str(), PASSWORD, host.access(None).broker, &["app.bin"])
    })
}

/// For each way of writing, the median of so many new devices.
fn medians(rounds: usize, device: impl Fn(usize) -> Original) -> [f64; 2] {
    let of = |first, writing| {
        let numbers = first * rounds..(first + 1) * rounds;
        median(numbers.map(|number| download(Original { writing, ..device(number) })))
    };
    [of(0, WRITINGS[0]), of(1, WRITINGS[1])]
}

/// Seconds from the list of files to the last status.
fn download(mut device: Original) -> f64 {
    let (mut begin, mut took) = (None, None);
    let end = device.run(|moment| match moment {
        Moment::Listed => {
            begin = Some(Instant::now());
            Then::GoOn
        }
        Moment::Done => {
            took = begin.map(|begin: Instant| begin.elapsed().as_secs_f64());
            Then::Vanish
        }
        _ => Then::GoOn,
    });
    assert_eq!(end, Ok(End::Vanished));
    took.expect("it has the file")
}
