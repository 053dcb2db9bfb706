//! An MQTT client made by hand, byte by byte, 3.1.1 or 5: it does what no decent client would do.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// Long enough for a busy machine; nothing waits for it unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// The broker has closed the connection, or TLS has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed;

/// Which version of MQTT is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V3,
    V5,
}

impl Version {
    pub(crate) const BOTH: [Self; 2] = [Self::V3, Self::V5];

    /// What a CONNECT of somebody is answered who is not allowed to be.
    pub(crate) const fn not_authorized(self) -> u8 {
        match self {
            Self::V3 => 5,
            Self::V5 => 0x87,
        }
    }

    /// What a CONNECT is answered whose last will is not allowed; MQTT 5 has a number of its own for retained ones where
    /// nothing is retained.
    pub(crate) const fn refused(self, retain: bool) -> u8 {
        match self {
            Self::V5 if retain => 0x9a,
            _ => self.not_authorized(),
        }
    }

    /// Properties with their length in front, where there are such things.
    fn properties(self, properties: &[u8]) -> Vec<u8> {
        match self {
            Self::V3 => Vec::new(),
            Self::V5 => [&[u8::try_from(properties.len()).unwrap()], properties].concat(),
        }
    }
}

pub(crate) struct Raw {
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) version: Version,
    /// Messages that arrived while something else was waited for: topic and payload.
    pub(crate) inbox: VecDeque<(String, Vec<u8>)>,
}

/// What a CONNECT says.
#[derive(Default, Clone, Copy)]
pub(crate) struct Connect<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) user: Option<(&'a str, &'a str)>,
    /// Topic, payload, retained or not.
    pub(crate) will: Option<(&'a str, &'a str, bool)>,
    pub(crate) keeps_session: bool,
    /// Properties of the CONNECT and of the last will, for MQTT 5.
    pub(crate) properties: &'a [u8],
    pub(crate) will_properties: &'a [u8],
}

impl<'a> Connect<'a> {
    pub(crate) fn new(client_id: &'a str) -> Self {
        Self { client_id, ..Self::default() }
    }

    pub(crate) fn packet(&self, version: Version) -> Vec<u8> {
        let mut flags = if self.keeps_session { 0 } else { 2 };
        let mut payload = [version.properties(self.properties), text(self.client_id)].concat();
        if let Some((topic, message, retain)) = self.will {
            flags |= 4 | u8::from(retain) << 5;
            payload.extend(version.properties(self.will_properties));
            payload.extend([text(topic), text(message)].concat());
        }
        if let Some((user, password)) = self.user {
            flags |= 0xc0;
            payload.extend([text(user), text(password)].concat());
        }
        let level = if version == Version::V3 { 4 } else { 5 };
        packet(0x10, &[text("MQTT"), vec![level, flags, 0, 60], payload].concat())
    }
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat()
}

pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let byte = u8::try_from(length % 128).unwrap();
        length /= 128;
        packet.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

pub(crate) fn publish(topic: &str, payload: &[u8], retain: bool) -> Vec<u8> {
    packet(0x30 | u8::from(retain), &[text(topic), payload.to_vec()].concat())
}

impl Raw {
    pub(crate) fn tcp(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream)
    }

    pub(crate) fn tls(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        Self::tls_over(TcpStream::connect(address).unwrap(), config)
    }

    pub(crate) fn tls_over(stream: TcpStream, config: &Arc<ClientConfig>) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let connection = ClientConnection::new(Arc::clone(config), "localhost".try_into().unwrap()).unwrap();
        Self::of(Box::new(StreamOwned::new(connection, stream)))
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self::of(Box::new(stream))
    }

    fn of(stream: Box<dyn Stream>) -> Self {
        Self { stream, version: Version::V3, inbox: VecDeque::new() }
    }

    /// The same connection, on which another version is spoken.
    pub(crate) fn speaking(self, version: Version) -> Self {
        Self { version, ..self }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), Closed> {
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).map_err(closed)
    }

    /// Connects and returns the answer: 0 is yes.
    pub(crate) fn connect(&mut self, connect: &Connect<'_>) -> Result<u8, Closed> {
        self.send(&connect.packet(self.version))?;
        match self.read_packet()? {
            (0x20, body) => Ok(body[1]),
            other => panic!("no CONNACK: {other:?}"),
        }
    }

    /// Subscribes at quality 1 and returns the answer: 0x80 and above is no.
    pub(crate) fn subscribe(&mut self, filter: &str) -> Result<u8, Closed> {
        let properties = self.version.properties(&[]);
        self.send(&packet(0x82, &[vec![0, 7], properties, text(filter), vec![1]].concat()))?;
        let body = self.wait_for(0x90)?;
        Ok(*body.last().unwrap())
    }

    pub(crate) fn publish(&mut self, topic: &str, payload: &str) -> Result<(), Closed> {
        self.publish_with(topic, payload, false, &[])
    }

    /// Publishes, retained or not, and with these properties where there are such things.
    pub(crate) fn publish_with(
        &mut self,
        topic: &str,
        payload: &str,
        retain: bool,
        properties: &[u8],
    ) -> Result<(), Closed> {
        let properties = self.version.properties(properties);
        self.send(&packet(
            0x30 | u8::from(retain),
            &[text(topic), properties, payload.as_bytes().to_vec()].concat(),
        ))
    }

    /// Returns when the broker has dealt with everything that was sent before.
    pub(crate) fn settle(&mut self) -> Result<(), Closed> {
        self.send(&[0xc0, 0])?;
        self.wait_for(0xd0).map(drop)
    }

    /// The next message.
    pub(crate) fn message(&mut self) -> Result<(String, Vec<u8>), Closed> {
        loop {
            if let Some(message) = self.inbox.pop_front() {
                return Ok(message);
            }
            let packet = self.read_packet()?;
            self.keep(packet);
        }
    }

    /// All messages up to one with this payload, which is left out.
    pub(crate) fn until(&mut self, payload: &str) -> Result<Vec<(String, Vec<u8>)>, Closed> {
        let mut found = Vec::new();
        loop {
            let message = self.message()?;
            if message.1 == payload.as_bytes() {
                return Ok(found);
            }
            found.push(message);
        }
    }

    fn wait_for(&mut self, kind: u8) -> Result<Vec<u8>, Closed> {
        loop {
            let (first, body) = self.read_packet()?;
            if first & 0xf0 == kind {
                return Ok(body);
            }
            self.keep((first, body));
        }
    }

    fn keep(&mut self, (first, body): (u8, Vec<u8>)) {
        if first & 0xf0 != 0x30 {
            return;
        }
        let topic_end = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
        let topic = String::from_utf8(body[2..topic_end].to_vec()).unwrap();
        let id_end = topic_end + if first & 6 == 0 { 0 } else { 2 };
        let payload_at = match self.version {
            Version::V3 => id_end,
            Version::V5 => id_end + 1 + usize::from(body[id_end]),
        };
        if first & 6 == 2 {
            let id = &body[topic_end..id_end];
            // A broker that has closed meanwhile shows it with the next read.
            let _ = self.send(&packet(0x40, id));
        }
        self.inbox.push_back((topic, body[payload_at..].to_vec()));
    }

    /// The next packet, whatever it is: first byte and body.
    pub(crate) fn read_packet(&mut self) -> Result<(u8, Vec<u8>), Closed> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte).map_err(closed)?;
        let first = byte[0];
        let (mut length, mut shift) = (0, 0);
        loop {
            self.stream.read_exact(&mut byte).map_err(closed)?;
            length |= usize::from(byte[0] & 0x7f) << shift;
            shift += 7;
            if byte[0] & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).map_err(closed)?;
        Ok((first, body))
    }
}

fn closed(why: io::Error) -> Closed {
    let is_patience_over = matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
    assert!(!is_patience_over, "nothing happened for {PATIENCE:?}");
    Closed
}
