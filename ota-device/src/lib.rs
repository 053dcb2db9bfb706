//! The device's half of an over-the-air update: a sans-IO engine for one thread and little memory.
#![no_std]
