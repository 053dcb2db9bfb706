//! UART 0 of the LM3S6965, polled: bytes in, bytes out, framed as packets.
//!
//! Packets are framed as RFC 1055 (SLIP) frames: an end mark behind each, and two escapes. A serial line carries no addresses,
//! so the device at its end is the device.

use core::ptr;

const DATA: *mut u32 = 0x4000_C000 as *mut u32;
const FLAGS: *const u32 = 0x4000_C018 as *const u32;
const RECEIVE_EMPTY: u32 = 1 << 4;
const TRANSMIT_FULL: u32 = 1 << 5;

const END: u8 = 0xC0;
const ESCAPE: u8 = 0xDB;
const ESCAPED_END: u8 = 0xDC;
const ESCAPED_ESCAPE: u8 = 0xDD;

/// The receiving half of the serial line: collects one packet at a time in a caller's buffer.
pub struct Uart<'b> {
    packet: &'b mut [u8],
    length: usize,
    escaped: bool,
    oversized: bool,
}

impl<'b> Uart<'b> {
    /// Packets longer than the buffer are dropped whole.
    pub fn new(packet: &'b mut [u8]) -> Self {
        Self { packet, length: 0, escaped: false, oversized: false }
    }

    /// Moves received bytes into the packet, and returns it once it is whole. Never waits.
    pub fn receive(&mut self) -> Option<&[u8]> {
        while let Some(byte) = read() {
            match (byte, self.escaped) {
                (END, _) => {
                    let length = core::mem::take(&mut self.length);
                    let oversized = core::mem::take(&mut self.oversized);
                    self.escaped = false;
                    if length > 0 && !oversized {
                        return self.packet.get(..length);
                    }
                }
                (ESCAPE, false) => self.escaped = true,
                (ESCAPED_END, true) => self.push(END),
                (ESCAPED_ESCAPE, true) => self.push(ESCAPE),
                (byte, _) => self.push(byte),
            }
        }
        None
    }

    fn push(&mut self, byte: u8) {
        self.escaped = false;
        match self.packet.get_mut(self.length) {
            Some(place) => {
                *place = byte;
                self.length += 1;
            }
            None => self.oversized = true,
        }
    }
}

/// Sends one packet, waiting for room in the transmitter.
pub fn send(packet: &[u8]) {
    for byte in packet {
        match *byte {
            END => {
                write(ESCAPE);
                write(ESCAPED_END);
            }
            ESCAPE => {
                write(ESCAPE);
                write(ESCAPED_ESCAPE);
            }
            byte => write(byte),
        }
    }
    write(END);
}

fn read() -> Option<u8> {
    // SAFETY: both are registers of UART 0, which nothing else uses.
    unsafe {
        if ptr::read_volatile(FLAGS) & RECEIVE_EMPTY != 0 { None } else { Some(ptr::read_volatile(DATA) as u8) }
    }
}

fn write(byte: u8) {
    // SAFETY: both are registers of UART 0, which nothing else uses.
    unsafe {
        while ptr::read_volatile(FLAGS) & TRANSMIT_FULL != 0 {}
        ptr::write_volatile(DATA, u32::from(byte));
    }
}
