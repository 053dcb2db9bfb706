//! Watches what a client sends, packet by packet, before anything of it is parsed or stored.
//!
//! Only the framing is understood: the first byte of a packet and its length. A packet over the limit ends the
//! connection at its header, before a byte of it was kept; a client over its rate is read more slowly.

use core::time::Duration;
use std::time::Instant;

/// What a client may send.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    /// Bytes in its first packet, sent before anybody knows who it is.
    pub(super) first_packet_bytes: u32,
    pub(super) packet_bytes: u32,
    pub(super) packets_per_second: u32,
    pub(super) bytes_per_second: u32,
}

/// Why a client is not listened to any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Overstep {
    #[error("its first packet is no CONNECT")]
    NotConnect,
    #[error("a packet of {bytes} bytes is over the limit of {limit}")]
    Oversized { bytes: u32, limit: u32 },
    #[error("a packet without a valid length")]
    Malformed,
}

/// Begins a CONNECT.
const CONNECT: u8 = 0x10;
/// Begins a DISCONNECT.
const DISCONNECT: u8 = 0xe0;
/// The length of a packet has four bytes of seven bits at most.
const LENGTH_SHIFT_MAX: u32 = 21;

/// What follows from what arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Read on after this time.
    GoOn(Duration),
    /// The client has said goodbye: nothing that it sends counts any longer.
    End,
}

pub(super) struct Meter {
    allowance: Allowance,
    at: At,
    is_first: bool,
    is_goodbye: bool,
    packets: Pace,
    bytes: Pace,
}

/// Where in a packet the client is.
#[derive(Clone, Copy)]
enum At {
    Start,
    Length { so_far: u32, shift: u32 },
    Body { left: u32 },
}

impl Meter {
    pub(super) fn new(allowance: Allowance, now: Instant) -> Self {
        Self {
            allowance,
            at: At::Start,
            is_first: true,
            is_goodbye: false,
            packets: Pace::new(allowance.packets_per_second, now),
            bytes: Pace::new(allowance.bytes_per_second, now),
        }
    }

    /// Counts what arrived and says how to go on.
    ///
    /// # Errors
    /// [`Overstep`]; nothing more is to be read.
    pub(super) fn count(&mut self, bytes: &[u8], now: Instant) -> Result<Next, Overstep> {
        let mut packets = 0;
        let mut rest = bytes;
        while let Some((&first, after)) = rest.split_first() {
            match self.at {
                At::Start if self.is_goodbye => break,
                At::Start => {
                    if self.is_first && first != CONNECT {
                        return Err(Overstep::NotConnect);
                    }
                    packets += 1;
                    self.is_goodbye = first == DISCONNECT;
                    self.at = At::Length { so_far: 0, shift: 0 };
                    rest = after;
                }
                At::Length { so_far, shift } => {
                    let length = so_far | u32::from(first & 0x7f) << shift;
                    if first & 0x80 == 0 {
                        self.begin_body(length)?;
                    } else if shift == LENGTH_SHIFT_MAX {
                        return Err(Overstep::Malformed);
                    } else {
                        self.at = At::Length { so_far: length, shift: shift + 7 };
                    }
                    rest = after;
                }
                At::Body { left } => {
                    let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    rest = &rest[skipped..];
                    let left = left - u32::try_from(skipped).unwrap_or(left);
                    self.at = if left == 0 { At::Start } else { At::Body { left } };
                }
            }
        }
        if self.is_goodbye && matches!(self.at, At::Start) {
            return Ok(Next::End);
        }
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(Next::GoOn(self.packets.spend(packets, now).max(self.bytes.spend(size, now))))
    }

    fn begin_body(&mut self, bytes: u32) -> Result<(), Overstep> {
        let Allowance { first_packet_bytes, packet_bytes, .. } = self.allowance;
        let limit = if self.is_first { first_packet_bytes } else { packet_bytes };
        if bytes > limit {
            return Err(Overstep::Oversized { bytes, limit });
        }
        self.is_first = false;
        self.at = if bytes == 0 { At::Start } else { At::Body { left: bytes } };
        Ok(())
    }
}

/// A rate with a burst of one second (the generic cell rate algorithm: when everything spent would be earned).
struct Pace {
    per_second: u64,
    due: Instant,
}

impl Pace {
    fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second: u64::from(per_second.max(1)), due: now }
    }

    /// How long to wait until this is within the rate.
    fn spend(&mut self, units: u64, now: Instant) -> Duration {
        let cost = Duration::from_nanos(units.saturating_mul(1_000_000_000) / self.per_second);
        let base = self.due.max(now);
        self.due = base.checked_add(cost).unwrap_or(base);
        self.due.saturating_duration_since(now).saturating_sub(Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWANCE: Allowance = Allowance {
        first_packet_bytes: 20,
        packet_bytes: 300,
        packets_per_second: 10,
        bytes_per_second: 1000,
    };

    fn meter() -> (Meter, Instant) {
        let now = Instant::now();
        (Meter::new(ALLOWANCE, now), now)
    }

    fn connect() -> Vec<u8> {
        [vec![CONNECT, 10], vec![0; 10]].concat()
    }

    #[test]
    fn packets_are_told_apart_however_they_are_cut() {
        let stream = [connect(), vec![0xc0, 0], [vec![0x30, 0xac, 0x02], vec![7; 300]].concat(), connect()];
        let stream = stream.concat();
        for size in [1, 2, 3, 7, stream.len()] {
            let (mut meter, now) = meter();
            for part in stream.chunks(size) {
                assert!(meter.count(part, now).is_ok(), "cut by {size}");
            }
            assert!(matches!(meter.at, At::Start), "cut by {size}");
        }
    }

    #[test]
    fn the_first_packet_is_a_small_connect() {
        for (bytes, why) in [
            (vec![0x30, 2], Overstep::NotConnect),
            (b"GET / HTTP/1.1".to_vec(), Overstep::NotConnect),
            (vec![CONNECT, 21], Overstep::Oversized { bytes: 21, limit: 20 }),
        ] {
            let (mut meter, now) = meter();
            assert_eq!(meter.count(&bytes, now), Err(why));
        }
    }

    /// paho.golang 754: five bytes announced a quarter of a gigabyte, and it was allocated.
    #[test]
    fn incident_43_a_packet_over_the_limit_ends_at_its_header() {
        let (mut meter, now) = meter();
        meter.count(&connect(), now).unwrap();
        assert_eq!(
            meter.count(&[0x30, 0xff, 0xff, 0xff, 0x7f], now),
            Err(Overstep::Oversized { bytes: 268_435_455, limit: 300 })
        );
        let (mut meter, now) = self::meter();
        meter.count(&connect(), now).unwrap();
        assert_eq!(meter.count(&[0x30, 0xff, 0xff, 0xff, 0xff], now), Err(Overstep::Malformed));
    }

    #[test]
    fn a_client_over_its_rate_is_read_more_slowly() {
        let (mut meter, now) = meter();
        let after = |milliseconds| Ok(Next::GoOn(Duration::from_millis(milliseconds)));
        assert_eq!(meter.count(&connect(), now), after(0));
        // Ten packets a second, and a second's worth at once: the eleventh has to wait.
        assert_eq!(meter.count(&[0xc0, 0].repeat(9), now), after(0));
        assert_eq!(meter.count(&[0xc0, 0].repeat(2), now), after(200));
        let later = now + Duration::from_secs(3);
        assert_eq!(meter.count(&[0xc0, 0], later), after(0));
    }

    #[test]
    fn a_goodbye_is_the_end_once_it_is_complete_whatever_follows() {
        let goodbyes = [vec![0xe0, 0], vec![0xe0, 2, 0, 0], vec![0xe0, 0, 0x30, 0xff, 0xff, 0xff, 0xff]];
        for goodbye in goodbyes {
            let (mut meter, now) = meter();
            let said = [connect(), vec![0x30, 2, 0xe0, 0], goodbye].concat();
            let (begin, end) = said.split_at(connect().len() + 5);
            assert_eq!(meter.count(begin, now), Ok(Next::GoOn(Duration::ZERO)), "a payload is no goodbye");
            assert_eq!(meter.count(end, now), Ok(Next::End));
        }
    }
}
