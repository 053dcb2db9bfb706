//! What an engine is made from: who the device is, which buffers it may use, which algorithms it links.

use ota_core::crypto::{Authenticator, MAC_BYTES, MacError};
use ota_core::integrity::Suite;
use ota_core::text::{DeviceId, HardwareRevision, InstallTarget, ProductId};
use ota_core::trust::DevelopmentRoots;

use crate::policy::Policy;

/// The algorithms that a product links, as types.
pub trait Profile {
    /// Hashes and signatures.
    type Suite: Suite;
    /// Who holds the device's own key; [`NoKey`] where there is none.
    type Key: Authenticator;
    /// Whether files with a block map are fetched by it: checked unit by unit on arrival, and what the active file
    /// has already is copied instead of fetched. A product that says `false` does not link that; it checks each file
    /// as a whole, as it does with files without a map, and fetches it whole again if it is wrong.
    const BLOCK_MAPS: bool = true;
    /// Whether files can come from URLs at all; [`Config::external`] says whether they do. A product that says
    /// `false` does not link that.
    const EXTERNAL_DOWNLOADS: bool = true;
}

/// For devices without a key of their own: their reports are claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoKey {}

impl Authenticator for NoKey {
    fn authenticate(&self, _: &[&[u8]]) -> Result<[u8; MAC_BYTES], MacError> {
        match *self {}
    }
}

/// What the factory has made of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity<'a> {
    /// The product that it is one of.
    pub product: ProductId<'a>,
    /// Its own id.
    pub device: DeviceId<'a>,
    /// Its hardware revision.
    pub hardware: HardwareRevision<'a>,
}

/// What an engine is made from.
#[derive(Debug)]
pub struct Config<'b, P: Profile> {
    /// Who the device is.
    pub identity: Identity<'b>,
    /// The install target that holds firmware, if releases can hold any.
    pub firmware: Option<InstallTarget<'b>>,
    /// Install targets that can cut the device off: certificates, network configuration. New files there are kept
    /// only after a check-in has worked with them.
    pub connectivity: &'b [InstallTarget<'b>],
    /// The application's wishes.
    pub policy: Policy,
    /// The device's own key, if it has one.
    pub key: Option<P::Key>,
    /// Whether the application can fetch files from URLs.
    pub external: ExternalDownloads,
    /// Whether a root made with a development key is accepted.
    pub development: DevelopmentRoots,
    /// Spreads devices over time; the device's serial number is good enough. Nothing secret rests on it.
    pub seed: u64,
}

/// Whether the application can fetch files from URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ExternalDownloads {
    /// It cannot: everything comes in blocks.
    #[default]
    No,
    /// It can: it gets [`Event::FetchExternally`](crate::Event::FetchExternally).
    Yes,
}

/// The memory that the engine works in. Nothing else is ever allocated.
#[derive(Debug)]
pub struct Buffers<'b> {
    /// Holds root, list of installed files and release. Its size limits the releases that the device can take.
    pub metadata: &'b mut [u8],
    /// Holds blocks until they are written: at least one block, and one unit where block maps are to be used.
    /// With room for several units, units arrive side by side.
    pub blocks: &'b mut [u8],
    /// Holds one message to be sent, or one record of a log: 512 bytes and about 120 for each installed file.
    pub outgoing: &'b mut [u8],
}
