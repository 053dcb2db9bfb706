//! How much stack was ever used: painted before `main`, measured by how much of the paint is left.

use core::ptr;

const PAINT: u32 = 0xC5C5_C5C5;

unsafe extern "C" {
    static mut _stack_start: u32;
    static mut __ebss: u32;
    static mut __sdata: u32;
}

/// Paints everything between the static variables and the current stack pointer.
///
/// Called first in `main`, whose own frame is counted from its measured depth on.
#[inline(never)]
pub fn paint() {
    let mut place = &raw mut __ebss;
    let top = cortex_m::register::msp::read() as usize - 64;
    while (place as usize) < top {
        // SAFETY: below the stack pointer and above the statics lies memory that nothing uses yet.
        unsafe {
            ptr::write_volatile(place, PAINT);
            place = place.add(1);
        }
    }
}

/// The most bytes of stack that were ever used.
pub fn high_water_bytes() -> usize {
    let mut place = &raw const __ebss;
    let top = &raw const _stack_start as usize;
    // SAFETY: reads words between the statics and the top of the stack.
    while (place as usize) < top && unsafe { ptr::read_volatile(place) } == PAINT {
        place = place.wrapping_add(1);
    }
    top - place as usize
}

/// Bytes of static variables.
pub fn static_bytes() -> usize {
    &raw const __ebss as usize - &raw const __sdata as usize
}
