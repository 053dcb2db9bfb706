//! A network that can be cut: what is sent meanwhile vanishes, and nobody is told.
//!
//! Connections that were there when it was cut do not come back to life: both ends find out by themselves, and each
//! connects anew. That is what a router's restart does to a fleet.

use core::net::SocketAddr;

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A network between a listener of its own and a broker.
#[derive(Debug)]
pub struct Network {
    /// Where devices connect.
    pub address: SocketAddr,
    cuts: watch::Sender<Cuts>,
    task: JoinHandle<()>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Cuts {
    count: u32,
    is_cut: bool,
}

impl Network {
    /// Begins to carry connections to this broker.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn to(broker: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (cuts, state) = watch::channel(Cuts::default());
        let task = tokio::spawn(async move {
            while let Ok((device, _)) = listener.accept().await {
                tokio::spawn(carry(device, broker, state.clone()));
            }
        });
        Self { address, cuts, task }
    }

    /// From now on nothing arrives any more, in either direction.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts = Cuts { count: cuts.count + 1, is_cut: true });
    }

    /// Connections that are opened from now on work.
    pub fn mend(&self) {
        self.cuts.send_modify(|cuts| cuts.is_cut = false);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Carries one connection until an end closes it, or the network has been cut and mended.
async fn carry(mut device: TcpStream, broker: SocketAddr, mut state: watch::Receiver<Cuts>) {
    let begun = *state.borrow_and_update();
    if !begun.is_cut {
        let Ok(mut broker) = TcpStream::connect(broker).await else { return };
        let _ = (device.set_nodelay(true), broker.set_nodelay(true));
        let is_cut = |cuts: &Cuts| cuts.count > begun.count;
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut device, &mut broker) => return,
            () = until(&mut state, is_cut) => {}
        }
        // Held open, so that the broker learns nothing, and read by nobody.
        return until(&mut state, |cuts| !cuts.is_cut).await;
    }
    // What the device says is lost, until it gives up or the network is there again.
    let mut lost = [0; 1024];
    loop {
        tokio::select! {
            read = device.read(&mut lost) => if !matches!(read, Ok(1..)) { return },
            () = until(&mut state, |cuts| !cuts.is_cut) => return,
        }
    }
}

/// Waits until this is so, or the network is no more.
async fn until(state: &mut watch::Receiver<Cuts>, is_so: impl FnMut(&Cuts) -> bool) {
    let _ = state.wait_for(is_so).await;
}
