//! The server's end of the serial line: RFC 1055 frames over the emulator's TCP socket.

use core::time::Duration;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Child;
use std::time::Instant;

use ota_sim::server::SimServer;

const END: u8 = 0xC0;
const ESCAPE: u8 = 0xDB;
const ESCAPED_END: u8 = 0xDC;
const ESCAPED_ESCAPE: u8 = 0xDD;

/// A device that says nothing for so long has failed.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// Serves the device until its processor stops.
pub(crate) fn serve(listener: &TcpListener, child: &mut Child, server: &mut SimServer) -> Result<(), String> {
    let mut stream = accept(listener, child)?;
    let started = Instant::now();
    let (mut frame, mut escaped) = (Vec::new(), false);
    let mut buffer = [0; 4096];
    loop {
        let read = match stream.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => {
                drop(child.kill());
                return Err(format!("the device said nothing for {SILENCE_MAX:?}: {error}"));
            }
        };
        for byte in &buffer[..read] {
            match (*byte, escaped) {
                (END, _) => {
                    let now = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                    for answer in server.receive(&frame, ota_core::time::Instant(now)) {
                        // A device that restarts in the middle of an answer loses it.
                        if stream.write_all(&framed(&answer)).is_err() {
                            return Ok(());
                        }
                    }
                    (frame, escaped) = (Vec::new(), false);
                }
                (ESCAPE, false) => escaped = true,
                (ESCAPED_END, true) => (escaped, _) = (false, frame.push(END)),
                (ESCAPED_ESCAPE, true) => (escaped, _) = (false, frame.push(ESCAPE)),
                (other, _) => (escaped, _) = (false, frame.push(other)),
            }
        }
    }
}

/// Waits for the emulator to connect, or to end without having done so.
fn accept(listener: &TcpListener, child: &mut Child) -> Result<TcpStream, String> {
    listener.set_nonblocking(true).map_err(|error| error.to_string())?;
    let started = Instant::now();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).map_err(|error| error.to_string())?;
                stream.set_nodelay(true).map_err(|error| error.to_string())?;
                stream.set_read_timeout(Some(SILENCE_MAX)).map_err(|error| error.to_string())?;
                return Ok(stream);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(error) => return Err(error.to_string()),
        }
        let ended = child.try_wait().map_err(|error| error.to_string())?;
        if ended.is_some() || started.elapsed() > SILENCE_MAX {
            drop(child.kill());
            return Err(format!("the emulator never connected its serial line: {ended:?}"));
        }
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(message.len() + 8);
    for byte in message {
        match *byte {
            END => frame.extend_from_slice(&[ESCAPE, ESCAPED_END]),
            ESCAPE => frame.extend_from_slice(&[ESCAPE, ESCAPED_ESCAPE]),
            other => frame.push(other),
        }
    }
    frame.push(END);
    frame
}
