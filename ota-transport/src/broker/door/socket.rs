//! A device's socket: nothing waits in it for more bytes, in either direction.
//!
//! Devices exist that write the header and the payload of a packet separately and leave Nagle's algorithm on: their
//! kernel holds the payload back until the header is acknowledged, and ours would delay that by 40 ms. So each read
//! asks for an acknowledgement at once. Linux forgets this wish whenever it believes that data flows back and forth,
//! hence again after each read.

use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::io;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A peer that vanished without a word is found out after this much silence and a few unanswered probes.
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);

pub(super) struct DeviceSocket(TcpStream);

impl DeviceSocket {
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE_AFTER);
        #[cfg(not(target_os = "openbsd"))]
        let keep_alive = keep_alive.with_interval(KEEP_ALIVE_EVERY);
        SockRef::from(&stream).set_tcp_keepalive(&keep_alive)?;
        let socket = Self(stream);
        socket.acknowledge_at_once();
        Ok(socket)
    }

    /// Best effort: where it cannot be had, the device is slower and nothing else.
    fn acknowledge_at_once(&self) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let _ = SockRef::from(&self.0).set_tcp_quickack(true);
    }
}

impl AsyncRead for DeviceSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.0).poll_read(cx, buffer);
        if result.is_ready() {
            self.acknowledge_at_once();
        }
        result
    }
}

impl AsyncWrite for DeviceSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
