//! A device of the original system, with its faults: it does what the public client does, byte for byte as far as a
//! server can see, and what crashes or corrupts that client is a [`Crash`] here.
//!
//! It waits for each chunk and has no timer of its own. It writes the header and the payload of a packet separately,
//! with Nagle's algorithm on. It checks no signature, keeps no progress, and after a reconnect begins at 0. Of the
//! project it borrows the bytes of the messages and nothing else; the MQTT here is its own.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use ota_core::sft::{Down, Entries, FileInfo, FileRevision, GetChunk, Phase, Status, StatusCode, Up};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::workshop::sha256;

/// What a device calls the revision of a file that it never got.
pub const REVISION_ZERO: &str = "revision is not available on the device, this is a generated revision 0";
/// The file that is firmware.
pub const FIRMWARE: &str = "firmware.bin";
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// How long the client waits before it connects again.
const PAUSE: Duration = Duration::from_millis(100);

/// A file of the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its revision.
    pub revision: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A device of the original system.
#[derive(Debug)]
pub struct Original {
    /// Its id, and its user name.
    pub id: String,
    /// Its password.
    pub password: String,
    /// Where its broker listens.
    pub broker: SocketAddr,
    /// TLS, if it speaks it. The broker is `localhost`.
    pub tls: Option<Arc<ClientConfig>>,
    /// What is installed, by name.
    pub files: BTreeMap<String, Held>,
    /// How long its chunks are.
    pub chunk_bytes: u32,
    /// What it does with new firmware.
    pub firmware: FirmwareHabit,
    /// How long a read waits before whoever watches the device is asked: thousands of devices in one process beat slowly.
    pub beat: Duration,
    /// How it writes its messages.
    pub writing: Writing,
    /// Requests for chunks that were answered, over all connections.
    pub chunks: u64,
    /// Lists of files that came, over all connections: their names and revisions.
    pub lists: Vec<Vec<(String, String)>>,
}

/// What a port of the client does once it has a package with firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirmwareHabit {
    /// It says that it processes the firmware, and restarts into it.
    Restarts,
    /// It restarts into it before it has said so.
    RestartsEarly,
    /// It says that it processes the firmware, restarts, and the old one is back.
    RollsBack,
}

/// How a client writes a message to its socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    /// Header and payload one after the other, with Nagle's algorithm on, as the client in the field does.
    InTwoParts,
    /// At once, and without delay: what the other way costs shows beside it.
    AtOnce,
}

/// Where the device is when it asks whoever watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment<'a> {
    /// It has subscribed and said what it has.
    CheckedIn,
    /// It has got a list of files, and asked for nothing yet.
    Listed,
    /// It has got so many bytes of this file, and not asked for more.
    Got(&'a str, usize),
    /// It has the whole package, and said so.
    Done,
    /// Nothing has come for a moment.
    Quiet,
    /// The broker has closed the connection, or refused it.
    Closed,
}

/// What it is to do then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Go on.
    GoOn,
    /// Vanish without a word.
    Vanish,
    /// Ask for nothing any more, but stay connected.
    Hang,
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The broker closed it, or refused it: the device connects again.
    Closed,
    /// Whoever watches wanted it.
    Vanished,
    /// The device restarts into its new firmware.
    Restarts,
}

/// What would have crashed a client in the field, or corrupted its files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the device has crashed: {0}")]
pub struct Crash(String);

/// What a device fetches: one file at a time, in the order of the list.
struct Download {
    files: Vec<Wanted>,
    at: usize,
    got: Vec<u8>,
    is_waiting: bool,
}

struct Wanted {
    name: String,
    revision: String,
    size: usize,
    fingerprint: [u8; 32],
}

impl Original {
    /// A device that has these files, in a revision that nobody ever released.
    #[must_use]
    pub fn new(id: &str, password: &str, broker: SocketAddr, names: &[&str]) -> Self {
        let held = Held { revision: REVISION_ZERO.to_owned(), bytes: Vec::new() };
        Self {
            id: id.to_owned(),
            password: password.to_owned(),
            broker,
            tls: None,
            files: names.iter().map(|&name| (name.to_owned(), held.clone())).collect(),
            chunk_bytes: 1024,
            firmware: FirmwareHabit::Restarts,
            beat: Duration::from_millis(20),
            writing: Writing::InTwoParts,
            chunks: 0,
            lists: Vec::new(),
        }
    }

    /// Connects again and again, until whoever watches wants it to vanish.
    ///
    /// # Errors
    /// [`Crash`] for what the client in the field would not have survived.
    pub fn run_on(&mut self, mut watch: impl FnMut(Moment<'_>) -> Then) -> Result<(), Crash> {
        loop {
            match self.run(&mut watch)? {
                End::Vanished => return Ok(()),
                End::Restarts => {}
                End::Closed => {
                    // sleeps: the client in the field waits too, and one that is refused must not spin.
                    std::thread::sleep(PAUSE);
                    if watch(Moment::Closed) == Then::Vanish {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Connects, and does what the client does until the connection ends. `watch` is asked at each [`Moment`].
    ///
    /// # Errors
    /// [`Crash`] for what the client in the field would not have survived.
    pub fn run(&mut self, mut watch: impl FnMut(Moment<'_>) -> Then) -> Result<End, Crash> {
        let Ok(mut wire) = Wire::open(self) else { return Ok(End::Closed) };
        match self.live(&mut wire, &mut watch) {
            Err(Fate::Crash(what)) => Err(Crash(what)),
            Err(Fate::End(end)) => Ok(end),
            Ok(never) => match never {},
        }
    }

    fn live(
        &mut self,
        wire: &mut Wire,
        watch: &mut dyn FnMut(Moment<'_>) -> Then,
    ) -> Result<core::convert::Infallible, Fate> {
        let mut download: Option<Download> = None;
        let mut is_done_with_lists = false;
        let mut is_hanging = false;
        let mut ask = |moment: Moment<'_>, is_hanging: &mut bool| match watch(moment) {
            Then::GoOn => Ok(()),
            Then::Hang => {
                *is_hanging = true;
                Ok(())
            }
            Then::Vanish => Err(Fate::End(End::Vanished)),
        };
        wire.subscribe(&format!("xi/ctrl/v1/{}/cln", self.id))?;
        let list: Vec<_> = self
            .files
            .iter()
            .map(|(name, held)| FileRevision::new(name, &held.revision).expect("short names"))
            .collect();
        wire.say(&Up::FileInfo(FileInfo { files: Entries::from_slice(&list), takes_links: false }))?;
        ask(Moment::CheckedIn, &mut is_hanging)?;
        loop {
            let Some(message) = wire.message()? else {
                ask(Moment::Quiet, &mut is_hanging)?;
                continue;
            };
            match Down::decode(&message) {
                Ok(Down::UpdateAvailable(update)) => {
                    if download.is_some() || is_done_with_lists {
                        return crash("a second list of files on one connection");
                    }
                    let files: Vec<Wanted> =
                        update.files.iter().map(|update| wanted(&update)).collect::<Result<_, _>>()?;
                    if files.is_empty() {
                        return crash("an empty list of files");
                    }
                    self.lists
                        .push(files.iter().map(|file| (file.name.clone(), file.revision.clone())).collect());
                    is_done_with_lists = true;
                    download = Some(Download { files, at: 0, got: Vec::new(), is_waiting: false });
                    ask(Moment::Listed, &mut is_hanging)?;
                }
                Ok(Down::Chunk(chunk)) => {
                    let Some(running) = &mut download else { return crash("a chunk that nobody asked for") };
                    let file = &running.files[running.at];
                    let is_its = running.is_waiting
                        && (chunk.file.name(), chunk.file.revision()) == (&*file.name, &*file.revision)
                        && usize::try_from(chunk.offset) == Ok(running.got.len());
                    if !is_its {
                        return crash(&format!(
                            "a chunk twice, or another one than was asked for: {} {} at {} came, and it {} {} {} at {}",
                            chunk.file.name(),
                            chunk.file.revision(),
                            chunk.offset,
                            if running.is_waiting { "waits for" } else { "will ask for" },
                            file.name,
                            file.revision,
                            running.got.len(),
                        ));
                    }
                    let left = file.size - running.got.len();
                    let length =
                        usize::try_from(self.chunk_bytes).unwrap_or(usize::MAX).min(65_535).min(left);
                    if chunk.bytes.len() != length {
                        return crash(&format!("a chunk of {} bytes instead of {length}", chunk.bytes.len()));
                    }
                    running.is_waiting = false;
                    running.got.extend_from_slice(chunk.bytes);
                    self.chunks += 1;
                    let name = file.name.clone();
                    let got = running.got.len();
                    if got == file.size {
                        self.finish_file(wire, running)?;
                    }
                    ask(Moment::Got(&name, got), &mut is_hanging)?;
                }
                Err(why) => return crash(&format!("a message that cannot be read: {why:?}")),
            }
            let Some(running) = &mut download else { continue };
            if running.at == running.files.len() {
                let has_firmware = running.files.iter().any(|file| file.name == FIRMWARE);
                download = None;
                if has_firmware {
                    self.restart(wire)?;
                    return Err(Fate::End(End::Restarts));
                }
                ask(Moment::Done, &mut is_hanging)?;
            } else if !is_hanging && !running.is_waiting {
                let file = &running.files[running.at];
                wire.say(&Up::GetChunk(GetChunk {
                    file: FileRevision::new(&file.name, &file.revision).expect("as it came"),
                    offset: u32::try_from(running.got.len()).expect("below 2^32"),
                    length: self.chunk_bytes,
                }))?;
                running.is_waiting = true;
            }
        }
    }

    /// All bytes of a file are there.
    fn finish_file(&mut self, wire: &mut Wire, running: &mut Download) -> Result<(), Fate> {
        let file = &running.files[running.at];
        let bytes = core::mem::take(&mut running.got);
        if sha256(&bytes).0 != file.fingerprint {
            return crash("the bytes of a file are not those of its fingerprint");
        }
        let named = FileRevision::new(&file.name, &file.revision).expect("as it came");
        let status = |phase| Up::Status(Status { file: named, phase, code: StatusCode::OK });
        wire.say(&status(Phase::Downloaded))?;
        let is_firmware = file.name == FIRMWARE;
        if !is_firmware {
            wire.say(&status(Phase::Finished))?;
        }
        // Firmware that is to roll back never counts: after the restart the old one is told.
        if !(is_firmware && self.firmware == FirmwareHabit::RollsBack) {
            self.files.insert(file.name.clone(), Held { revision: file.revision.clone(), bytes });
        }
        running.at += 1;
        Ok(())
    }

    fn restart(&self, wire: &mut Wire) -> Result<(), Fate> {
        if self.firmware == FirmwareHabit::RestartsEarly {
            return Ok(());
        }
        let revision = self.lists.last().and_then(|list| {
            list.iter().find(|(name, _)| name == FIRMWARE).map(|(_, revision)| revision.clone())
        });
        let revision = revision.expect("a package with firmware");
        let file = FileRevision::new(FIRMWARE, &revision).expect("as it came");
        wire.say(&Up::Status(Status { file, phase: Phase::Processing, code: StatusCode::OK }))?;
        wire.goodbye();
        Ok(())
    }
}

fn wanted(update: &ota_core::sft::Update<'_>) -> Result<Wanted, Fate> {
    if update.link.is_some() {
        return crash("a link, on which a client without a handler stalls");
    }
    if update.size == 0 {
        return crash("an empty file");
    }
    Ok(Wanted {
        name: update.file.name().to_owned(),
        revision: update.file.revision().to_owned(),
        size: usize::try_from(update.size).expect("32 bits"),
        fingerprint: update.fingerprint.0,
    })
}

/// Why a connection is over.
enum Fate {
    End(End),
    Crash(String),
}

impl From<io::Error> for Fate {
    fn from(_: io::Error) -> Self {
        Self::End(End::Closed)
    }
}

fn crash<T>(what: &str) -> Result<T, Fate> {
    Err(Fate::Crash(what.to_owned()))
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// The device's MQTT: 3.1.1, and of that only what the client knows.
struct Wire {
    stream: Box<dyn Stream>,
    received: Vec<u8>,
    up: String,
    writing: Writing,
    last_sent: Instant,
}

impl Wire {
    /// Connects and waits for the answer.
    fn open(device: &Original) -> io::Result<Self> {
        let mut tcp = TcpStream::connect(device.broker)?;
        tcp.set_nodelay(device.writing == Writing::AtOnce)?;
        let tls = match &device.tls {
            None => None,
            Some(config) => {
                let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
                let mut tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
                // A handshake takes as long as it takes: a beat that passes in the middle of it would fail the write
                // that began it.
                tcp.set_read_timeout(Some(KEEP_ALIVE))?;
                while tls.is_handshaking() {
                    tls.complete_io(&mut tcp)?;
                }
                Some(tls)
            }
        };
        tcp.set_read_timeout(Some(device.beat))?;
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(tcp),
            Some(tls) => Box::new(StreamOwned::new(tls, tcp)),
        };
        let up = format!("xi/ctrl/v1/{}/svc", device.id);
        let writing = device.writing;
        let mut wire = Self { stream, received: Vec::new(), up, writing, last_sent: Instant::now() };
        let keep_alive = u16::try_from(KEEP_ALIVE.as_secs()).expect("seconds").to_be_bytes();
        // User name, password, clean session; MQTT 3.1.1, section 3.1.
        let head = [&text("MQTT")[..], &[4, 0xc2], &keep_alive].concat();
        let names = [text(&device.id), text(&device.id), text(&device.password)].concat();
        wire.write(&packet(0x10, &[head, names].concat()))?;
        match wire.packet_within(KEEP_ALIVE)? {
            (0x20, body) if body.get(1) == Some(&0) => Ok(wire),
            _ => Err(io::Error::other("not accepted")),
        }
    }

    fn subscribe(&mut self, filter: &str) -> Result<(), Fate> {
        self.write(&packet(0x82, &[&[0, 1][..], &text(filter), &[1]].concat()))?;
        // The client asks again after one keep-alive, with a flag that the protocol forbids.
        let answer = match self.packet_within(KEEP_ALIVE) {
            Ok(answer) => answer,
            Err(why) if why.kind() == ErrorKind::TimedOut => return crash("no answer to its subscription"),
            Err(why) => return Err(why.into()),
        };
        match answer {
            (0x90, body) if matches!(body[..], [0, 1, 0 | 1]) => Ok(()),
            other => crash(&format!("its subscription was answered by {other:?}")),
        }
    }

    /// Header and payload are written one after the other, if that is what the device does.
    fn say(&mut self, message: &Up<'_>) -> Result<(), Fate> {
        let payload = message.to_vec().expect("it fits");
        let topic = text(&self.up);
        let mut header = vec![0x30];
        length(&mut header, topic.len() + payload.len());
        header.extend_from_slice(&topic);
        match self.writing {
            Writing::InTwoParts => {
                self.write(&header)?;
                self.write(&payload)?;
            }
            Writing::AtOnce => self.write(&[header, payload].concat())?,
        }
        Ok(())
    }

    fn goodbye(&mut self) {
        // It restarts either way.
        let _ = self.write(&[0xe0, 0]);
    }

    /// The next message, or none for a moment.
    fn message(&mut self) -> Result<Option<Vec<u8>>, Fate> {
        if self.last_sent.elapsed() >= KEEP_ALIVE / 2 {
            self.write(&[0xc0, 0])?;
        }
        let Some((first, body)) = self.packet()? else { return Ok(None) };
        if first & 0xf0 != 0x30 {
            return Ok(None);
        }
        let quality = first >> 1 & 3;
        if first & 1 != 0 || quality > 1 {
            return crash("a retained message, or one of quality 2");
        }
        let topic_end = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
        let payload_at = topic_end + usize::from(quality) * 2;
        if quality == 1 {
            self.write(&packet(0x40, &body[topic_end..payload_at]))?;
        }
        match body[payload_at..] {
            [] => crash("a message without payload"),
            ref payload => Ok(Some(payload.to_vec())),
        }
    }

    fn packet_within(&mut self, time: Duration) -> io::Result<(u8, Vec<u8>)> {
        let started = Instant::now();
        loop {
            if let Some(packet) = self.packet()? {
                return Ok(packet);
            }
            if started.elapsed() > time {
                return Err(ErrorKind::TimedOut.into());
            }
        }
    }

    /// The next packet, or none for a moment.
    fn packet(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        loop {
            if let Some(packet) = cut_packet(&mut self.received) {
                return Ok(Some(packet));
            }
            let mut part = [0; 4096];
            match self.stream.read(&mut part) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.received.extend_from_slice(&part[..count]),
                Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Ok(None);
                }
                Err(why) => return Err(why),
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.last_sent = Instant::now();
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }
}

/// Takes the first whole packet: its first byte, and what is behind its length.
fn cut_packet(received: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let (&first, rest) = received.split_first()?;
    let (mut size, mut shift, mut used) = (0_usize, 0, 0);
    loop {
        let &byte = rest.get(used)?;
        used += 1;
        size |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let body = rest.get(used..used + size)?.to_vec();
    received.drain(..1 + used + size);
    Some((first, body))
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short text");
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    length(&mut packet, body.len());
    packet.extend_from_slice(body);
    packet
}

/// The length of a packet, seven bits at a time; MQTT 3.1.1, section 2.2.3.
fn length(packet: &mut Vec<u8>, mut length: usize) {
    loop {
        let byte = u8::try_from(length % 128).expect("below 128");
        length /= 128;
        packet.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            return;
        }
    }
}
