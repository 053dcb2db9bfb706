//! Integrity strings, the streaming check of files and block maps, through the public interface alone.

mod file_check;
mod support;
