//! The fleet: who plays which part, and a thread for each device.

use core::sync::atomic::{AtomicBool, Ordering};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use ota_core::text::DeviceIdBuf;

use crate::Failure;
use crate::device::{Device, KEY_FILE, Part, World};
use crate::product::{Packages, identity};
use crate::server::Server;

/// What the devices in trouble have planned for them, in the order of their ids; the trial group stands before them.
const IN_TROUBLE: [Part; 4] = [Part::FailsSelfTest, Part::LosesPower, Part::WrongCertificate, Part::Old];
/// How many devices are in the trial group.
pub(crate) const TRIAL: usize = 3;
/// What a thread needs at most: TLS in a build without optimisation is what takes it.
const STACK_BYTES: usize = 1 << 20;

/// All devices.
pub(crate) struct Fleet {
    /// The devices in the order of their ids.
    pub(crate) devices: Vec<Arc<Device>>,
    world: Option<Arc<World>>,
    threads: Vec<JoinHandle<()>>,
}

impl Fleet {
    /// This many devices, each with a folder below `folder`. None of them is made yet.
    ///
    /// # Errors
    /// [`Failure`] if the folder cannot be made.
    pub(crate) fn plan(count: usize, folder: &Path) -> Result<Self, Failure> {
        std::fs::create_dir_all(folder).map_err(|error| Failure::file(folder, &error))?;
        let width = count.to_string().len();
        let device = |index: usize| {
            let id = format!("lamp-{:0width$}", index + 1);
            let part = match index.checked_sub(TRIAL) {
                None => Part::Trial,
                Some(index) => IN_TROUBLE.get(index).copied().unwrap_or(Part::Plain),
            };
            let folder = folder.join(&id);
            Arc::new(Device::new(DeviceIdBuf::new(id).expect("a name and a number are an id"), part, folder))
        };
        Ok(Self { devices: (0..count).map(device).collect(), world: None, threads: Vec::new() })
    }

    /// The device that plays this part; the first of several.
    pub(crate) fn playing(&self, part: Part) -> &Device {
        let index = self.devices.iter().position(|device| device.part == part);
        &self.devices[index.expect("every part is played")]
    }

    /// Makes all devices, with the certificates in this folder, and switches each on as soon as it is made.
    ///
    /// # Errors
    /// [`Failure`] if a thread cannot be started.
    pub(crate) fn switch_on(
        &mut self,
        server: &Server,
        root: Vec<u8>,
        certificates: &Path,
        packages: &Arc<Packages>,
    ) -> Result<(), Failure> {
        let world = Arc::new(World { broker: server.broker, root, is_over: AtomicBool::new(false) });
        self.world = Some(Arc::clone(&world));
        for device in &self.devices {
            let (device, world, packages) = (Arc::clone(device), Arc::clone(&world), Arc::clone(packages));
            let certificates = certificates.to_owned();
            let thread = std::thread::Builder::new().name(device.id.to_string()).stack_size(STACK_BYTES);
            let started =
                thread.spawn(move || match manufacture(&device, &world, &certificates, &packages) {
                    Ok(()) => device.live(&world),
                    Err(failure) => device.has_failed(failure.to_string()),
                });
            self.threads.push(started.map_err(|why| Failure::new(format!("cannot start a thread: {why}")))?);
        }
        Ok(())
    }

    /// Switches all devices off.
    pub(crate) fn switch_off(&mut self) {
        if let Some(world) = &self.world {
            world.is_over.store(true, Ordering::Relaxed);
        }
        for thread in self.threads.drain(..) {
            // A device that panicked has not failed well; the table shows what became of it.
            drop(thread.join());
        }
    }

    /// The first device whose thread has ended, and why.
    pub(crate) fn failure(&self) -> Option<Failure> {
        let failed = self.devices.iter().find_map(|device| Some((device, device.notes().failure?)));
        if let Some((device, why)) = failed {
            return Some(Failure::new(format!("{}: {why}", device.id)));
        }
        let ended = self.threads.iter().find(|thread| thread.is_finished())?;
        Some(Failure::new(format!("{}: its thread has ended", ended.thread().name().unwrap_or("a device"))))
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.switch_off();
    }
}

/// What the factory does with one device.
fn manufacture(
    device: &Device,
    world: &World,
    certificates: &Path,
    packages: &Packages,
) -> Result<(), Failure> {
    let read = |end: &str| {
        let path = certificates.join(format!("{}.{end}", device.id));
        std::fs::read_to_string(&path).map_err(|error| Failure::file(&path, &error))
    };
    let package = if device.part == Part::Old { &packages.oldest } else { &packages.former };
    let mut files = package.files.clone();
    files.push(identity("factory", read("pem")?));
    let failed = |why: &dyn core::fmt::Display| Failure::file(&device.folder, why);
    device.manufacture(&world.root, &files).map_err(|why| failed(&why))?;
    std::fs::write(device.folder.join(KEY_FILE), read("key")?).map_err(|why| failed(&why))
}
