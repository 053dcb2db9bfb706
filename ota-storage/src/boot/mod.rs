//! Bootloaders that start a trial and go back by themselves: what [`BootControl`](ota_core::device::BootControl) asks,
//! said to each of them.
//!
//! None of them decides anything: the engine asks for a trial, a confirmation or the way back, and the mark that the
//! bootloader reads is written whole or not at all.

#[cfg(feature = "boot-embassy")]
pub mod embassy;
#[cfg(feature = "boot-linux")]
pub mod linux;
