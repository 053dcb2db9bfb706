//! Plays everything around a Cortex-M device in an emulator: the factory, the bootloader, the server at the other end
//! of its serial line.
//!
//! ```text
//! firmware-host --emulator QEMU --folder EMPTY --old IMAGE --new IMAGE --broken IMAGE
//! ```
//!
//! The device is made in the factory with the old firmware, updates itself to a package of three files over the
//! serial line, restarts into the new firmware and confirms it. In the middle of that the product's root is rotated twice,
//! and the device has to follow before it goes on. A second package holds firmware that never confirms:
//! the next restart goes back, and the device says so. What the device prints about its memory is printed again.

mod bootloader;
mod flash_file;
#[path = "../../../../../examples/firmware-cortex-m/src/layout.rs"]
mod layout;
mod serial;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use ota_core::crypto::soft::SoftSha256;
use ota_core::device::Slot;
use ota_core::list::List;
use ota_core::number::{ByteLength, RootVersion, SecurityEpoch};
use ota_core::text::{DeviceId, FileName, HardwareRevision, InstallTarget, Revision};
use ota_core::wire::Phase;
use ota_device::Identity;
use ota_device::provision::{FactoryFile, ProvisioningImage, provision};
use ota_sim::server::SimServer;
use ota_sim::workshop::{HARDWARE, SourceFile, Terms, Workshop, product, sha256};
use ota_storage::flash::FlashStorage;

use bootloader::Bootloader;
use flash_file::FlashFile;

const DEVICE: &str = "board-1";
/// No step of the story restarts the device more often.
const STARTS_MAX: usize = 6;
/// Requests for blocks after which the root is rotated: in the middle of the firmware.
const ROTATION_AFTER: u32 = 8;

fn main() {
    if let Err(why) = run() {
        eprintln!("firmware-host: {why}");
        std::process::exit(1);
    }
}

fn run() -> Result<(), String> {
    let mut words = std::env::args().skip(1);
    let mut named = |name: &str| match (words.next(), words.next()) {
        (Some(word), Some(value)) if word == name => Ok(PathBuf::from(value)),
        _ => Err(format!("{name} VALUE is expected here: see the first lines of the source")),
    };
    let emulator = named("--emulator")?;
    let folder = named("--folder")?;
    let mut image = |name| named(name).and_then(|path| read(&path));
    let [old, new, broken] = [image("--old")?, image("--new")?, image("--broken")?];

    let mut board = Board::from_factory(&emulator, &folder, &old)?;
    let mut server = SimServer::new(DEVICE, 1);
    let certificate: Vec<u8> = (0..1500_u16).map(|at| at.to_le_bytes()[0] ^ 0x5a).collect();
    let configuration = b"interval = 10\n".to_vec();

    let files = package("2", &new, &certificate, &configuration);
    server.release = Some(server.workshop.release(&Terms { version: 2, ..Terms::default() }, files));
    server.rotates_root_after = Some(ROTATION_AFTER);
    board.run_until(&mut server, "confirmed")?;
    board.expect_started("revision 2")?;
    let newest = RootVersion(u32::try_from(server.roots.len()).map_err(|error| error.to_string())?);
    if newest == RootVersion(1) || server.trusted_root != newest {
        return Err(format!("the device trusts {}, the newest is {newest}", server.trusted_root));
    }
    board.expect_slot("firmware", &new)?;
    board.expect_slot("certificate", &certificate)?;
    board.expect_slot("configuration", &configuration)?;
    println!(
        "followed the root to {newest}, updated to 3 new files and confirmed after {} starts",
        board.starts
    );

    let files = package("3", &broken, &certificate, b"interval = 20\n");
    server.release = Some(server.workshop.release(&Terms { version: 3, ..Terms::default() }, files));
    board.run_until(&mut server, "reverted")?;
    board.expect_started("revision 2")?;
    if !server.has_heard(Phase::Confirmed) {
        return Err("the server never heard that the first package was confirmed".into());
    }
    println!("firmware that never confirmed was taken back after {} starts", board.starts);
    println!("{}", board.memory);
    Ok(())
}

/// The number at the end of `engine … static … stack BYTES`.
fn stack_of(line: &str) -> u32 {
    line.rsplit(' ').next().and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

fn package(revision: &str, firmware: &[u8], certificate: &[u8], configuration: &[u8]) -> Vec<SourceFile> {
    vec![
        SourceFile::new("firmware.bin", revision, "firmware", firmware.to_vec()),
        SourceFile::new("ca.der", "2026-11", "certificate", certificate.to_vec()),
        SourceFile::new("settings.toml", revision, "configuration", configuration.to_vec()),
    ]
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// The board: a flash chip that outlives every start, a bootloader, and an emulated processor.
struct Board {
    emulator: PathBuf,
    folder: PathBuf,
    starts: usize,
    /// What the device printed about its memory in the start that used the most stack.
    memory: String,
    /// What it printed in its last start.
    said: Vec<String>,
}

impl Board {
    /// Writes the old firmware and what the device must know about itself and its product.
    fn from_factory(emulator: &Path, folder: &Path, firmware: &[u8]) -> Result<Self, String> {
        let mut flash = FlashFile::create(&folder.join("flash.bin"))?;
        flash.put(layout::LAYOUT.areas[0].offset, firmware)?;
        let mut storage =
            FlashStorage::<_, 13>::new(flash, layout::LAYOUT).map_err(|error| error.to_string())?;
        storage.format().map_err(|error| error.to_string())?;
        let name = |text| FileName::new(text).map_err(|error| error.to_string());
        let target = InstallTarget::new("firmware").map_err(|error| error.to_string())?;
        let installed = [FactoryFile {
            name: name("firmware.bin")?,
            revision: Revision::new("1").map_err(|error| error.to_string())?,
            digest: sha256(firmware),
            target,
            slot: Slot::A,
            size: ByteLength(firmware.len() as u64),
        }];
        let root = Workshop::new().root(1);
        let image = ProvisioningImage {
            identity: Identity {
                product: product(),
                device: DeviceId::new(DEVICE).map_err(|error| error.to_string())?,
                hardware: HardwareRevision::new(HARDWARE).map_err(|error| error.to_string())?,
            },
            root: &root.body,
            epoch_floor: SecurityEpoch(1),
            key: None,
            files: List::from_slice(&installed),
            firmware: Some(target),
        };
        provision::<SoftSha256, _>(&image, &mut storage, &mut [0; 4096])
            .map_err(|error| error.to_string())?;
        Ok(Self {
            emulator: emulator.to_owned(),
            folder: folder.to_owned(),
            starts: 0,
            memory: String::new(),
            said: Vec::new(),
        })
    }

    fn flash(&self) -> Result<FlashFile, String> {
        FlashFile::open(&self.folder.join("flash.bin"))
    }

    /// Starts the device again and again until it has said a line.
    fn run_until(&mut self, server: &mut SimServer, line: &str) -> Result<(), String> {
        for _ in 0..STARTS_MAX {
            let slot = Bootloader::new(self.flash()?).slot_to_start()?;
            self.start(slot, server)?;
            if self.said.iter().any(|said| said.starts_with(line)) {
                return Ok(());
            }
        }
        Err(format!("never said `{line}` in {STARTS_MAX} starts; last: {:?}", self.said))
    }

    /// One life of the processor: from the reset to the next one.
    fn start(&mut self, slot: Slot, server: &mut SimServer) -> Result<(), String> {
        self.starts += 1;
        let area = &layout::LAYOUT.areas[usize::from(slot == Slot::B)];
        let image = self.folder.join("running.bin");
        let bytes = self.flash()?.get(area.offset, area.bytes)?;
        std::fs::write(&image, bytes).map_err(|error| error.to_string())?;
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
        let port = listener.local_addr().map_err(|error| error.to_string())?.port();
        let mut child = self.emulate(&image, port)?;
        let started = Instant::now();
        let output = child.stdout.take().ok_or("the emulator has no output")?;
        let printed = std::thread::spawn(move || {
            BufReader::new(output)
                .lines()
                .map_while(Result::ok)
                .inspect(|line| println!("    {line}"))
                .collect()
        });
        let served = serial::serve(&listener, &mut child, server);
        let status = child.wait().map_err(|error| error.to_string())?;
        self.said = printed.join().map_err(|_| "the reader of the output broke")?;
        served?;
        for line in self.said.iter().filter(|line| line.starts_with("engine ")) {
            if stack_of(line) >= stack_of(&self.memory) {
                self.memory.clone_from(line);
            }
        }
        println!("  start {} from slot {slot:?}: {:.1} s", self.starts, started.elapsed().as_secs_f64());
        if status.success() { Ok(()) } else { Err(format!("the device failed: {:?}", self.said)) }
    }

    fn emulate(&self, image: &Path, port: u16) -> Result<Child, String> {
        Command::new(&self.emulator)
            .args(["-M", "lm3s6965evb", "-nographic", "-monitor", "none"])
            .args(["-semihosting-config", "enable=on,target=native"])
            .args(["-serial", &format!("tcp:127.0.0.1:{port},nodelay=on")])
            .arg("-kernel")
            .arg(image)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", self.emulator.display()))
    }

    fn expect_started(&self, line: &str) -> Result<(), String> {
        match self.said.iter().any(|said| said == line) {
            true => Ok(()),
            false => Err(format!("the device should have started with `{line}`: {:?}", self.said)),
        }
    }

    /// That one of the two slots of a target holds exactly these bytes.
    fn expect_slot(&self, target: &str, bytes: &[u8]) -> Result<(), String> {
        let mut flash = self.flash()?;
        for area in &layout::LAYOUT.areas {
            let is_target = matches!(area.holds, ota_storage::flash::Holds::Slot(name, _) if name == target);
            if is_target && flash.get(area.offset, area.bytes)?.starts_with(bytes) {
                return Ok(());
            }
        }
        Err(format!("no slot of {target} holds the new file"))
    }
}
