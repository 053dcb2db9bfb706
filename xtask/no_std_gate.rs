//! What `cargo xtask no-std` builds and links: everything that runs on a device, in one library without std.
//!
//! Naming a crate puts it, and all that it depends on, into the graph in which rustc looks for an allocator, and all
//! of its code into the library, from where it is linked whether it is called or not.
#![no_std]

use ota_core as _;
use ota_device as _;
use ota_storage as _;

/// Where a program that is linked from this library starts.
#[unsafe(no_mangle)]
pub extern "C" fn gate() {}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
