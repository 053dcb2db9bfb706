//! The words of an over-the-air update.
#![cfg_attr(not(feature = "std"), no_std)]
