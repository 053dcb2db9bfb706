//! A TCP or TLS connection that never waits, for sessions that are polled.

use std::io::{self, Read, Write};
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// A connection that never waits: what cannot be done at once is [`io::ErrorKind::WouldBlock`].
#[derive(Debug)]
pub struct Stream {
    tcp: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

/// The socket of a runtime, as somebody sees it who knows nothing of runtimes.
struct Socket<'a>(&'a TcpStream);

impl Read for Socket<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(into)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream {
    /// A connection over this socket; the broker's certificate must be for `localhost`.
    ///
    /// # Errors
    /// [`rustls::Error`] if the configuration cannot be used.
    pub fn new(tcp: TcpStream, tls: Option<&Arc<ClientConfig>>) -> Result<Self, rustls::Error> {
        let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
        let open = |config: &Arc<ClientConfig>| ClientConnection::new(Arc::clone(config), name);
        Ok(Self { tcp, tls: tls.map(open).transpose()?.map(Box::new) })
    }

    /// Waits until reading makes sense again, or writing if there is something to write.
    ///
    /// # Errors
    /// [`io::Error`] of the socket.
    pub async fn ready(&mut self, wants_write: bool) -> io::Result<()> {
        let mut interest = Interest::READABLE;
        let is_writing = match &mut self.tls {
            None => wants_write,
            // What the session wants to write waits for the handshake, and that may wait for the broker.
            Some(tls) if tls.is_handshaking() => tls.wants_write(),
            Some(tls) => {
                // What has been decrypted already does not show at the socket.
                let state = tls.process_new_packets().map_err(io::Error::other)?;
                if state.plaintext_bytes_to_read() > 0 {
                    return Ok(());
                }
                wants_write || tls.wants_write()
            }
        };
        if is_writing {
            interest |= Interest::WRITABLE;
        }
        self.tcp.ready(interest).await.map(drop)
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => Socket(&self.tcp).read(into),
            Some(tls) => rustls::Stream::new(&mut **tls, &mut Socket(&self.tcp)).read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => Socket(&self.tcp).write(bytes),
            Some(tls) => rustls::Stream::new(&mut **tls, &mut Socket(&self.tcp)).write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            None => Ok(()),
            Some(tls) => rustls::Stream::new(&mut **tls, &mut Socket(&self.tcp)).flush(),
        }
    }
}
