//! Seeded fleets, links and flash that join the device's half and the fleet's half.
