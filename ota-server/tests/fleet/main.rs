//! The server as people and devices meet it: real rules, the reference stores, messages as bytes.

mod bad_input;
mod beside;
mod between;
mod campaigns;
mod clocks;
mod courses;
mod devices;
mod elsewhere;
mod erasure;
mod evidence;
mod kept;
mod permission;
mod several;
mod sft;
mod sft_under_way;
mod slice;
mod small;
mod support;
mod trouble;
