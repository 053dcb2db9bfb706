//! Integrity strings, signatures, the streaming check of files and block maps, through the public interface alone.

mod block_map;
mod file_check;
mod hashes;
mod signers;
mod strings;
mod support;
