//! A real server with one device, behind the broker, on a runtime and a thread of its own.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Instant;

use ota_core::conformance::memory::{MemoryBlobStore, MemoryFleetStore};
use ota_core::fleet::MessageLink;
use ota_core::fleet::records::{AttemptPhase, PersonRole};
use ota_core::number::CampaignId;
use ota_core::text::DeviceIdBuf;
use ota_core::time::{Millis, Timestamp};
use ota_server::{Clock, Entropy, KeySigner, Server};
use ota_sim::fleet_server::{enrol, person, roll_out};
use ota_sim::workshop::{BEGINNING, SourceFile, Terms, Workshop};
use ota_transport::mqtt::{MqttConfig, MqttLink};
use tokio::runtime::{Builder, Handle};

/// The server, its campaign, and the thread that serves.
pub(crate) struct Fleet {
    server: Server,
    campaign: CampaignId,
    link: Arc<MqttLink>,
    runtime: Handle,
    thread: Option<JoinHandle<()>>,
}

/// The workshop's metadata are of a certain day; the time goes on from there.
struct WorkshopClock(Instant);

impl Clock for WorkshopClock {
    fn now(&self) -> Timestamp {
        BEGINNING.plus(Millis(u64::try_from(self.0.elapsed().as_millis()).unwrap()))
    }
}

struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).unwrap();
    }
}

impl Fleet {
    /// A server at the broker on this port, with one device and a campaign that offers it these files. It serves when
    /// this returns.
    pub(crate) fn start(port: u16, device: &str, files: Vec<SourceFile>) -> Self {
        let id = DeviceIdBuf::new(device).unwrap();
        let (sender, receiver) = sync_channel(1);
        let thread = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let link = Arc::new(MqttLink::start(MqttConfig::new("127.0.0.1", port, "server")).unwrap());
                link.ready().await.unwrap();
                let server = Server::builder(
                    Arc::new(MemoryFleetStore::new()),
                    Arc::new(MemoryBlobStore::new()),
                    Arc::clone(&link) as Arc<dyn MessageLink>,
                    Arc::new(SystemEntropy),
                )
                .clock(Arc::new(WorkshopClock(Instant::now())))
                .signer(Arc::new(KeySigner::for_all(Workshop::new().into_assignment_key())))
                .start()
                .await
                .unwrap();
                enrol(&server, &id).await;
                let campaign = roll_out(&server, &Workshop::new(), &Terms::default(), &files).await;
                sender.send((server.clone(), campaign, link, Handle::current())).unwrap();
                server.run().await;
            });
        });
        let (server, campaign, link, runtime) = receiver.recv().unwrap();
        Self { server, campaign, link, runtime, thread: Some(thread) }
    }

    /// Where the devices of the campaign stand, as the server counts them.
    pub(crate) fn phases(&self) -> Vec<(AttemptPhase, u64)> {
        let operator = person("operator", PersonRole::Operator);
        let progress = self.runtime.block_on(self.server.progress(&operator, self.campaign)).unwrap();
        progress.now.iter().map(|line| (line.phase, line.devices)).collect()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.link.close();
        let ended = self.thread.take().map(JoinHandle::join);
        // A panic of the server is told, unless it would hide the one that is under way.
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))), "the server panicked");
    }
}
