//! Where updates rest: flash and directories on devices, redb and object stores on servers.
#![cfg_attr(not(feature = "std"), no_std)]
