//! Hints that something was decided: whoever adds to the audit chain notifies, and every store listens on a connection of
//! its own. Whoever was not connected is told once that something may have been missed.

use core::future::poll_fn;
use core::time::Duration;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Error, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Commits, and tells everybody who listens once the commit is durable.
pub(super) const COMMIT_AND_HINT: &str = "NOTIFY ota_decided; COMMIT";
const LISTEN: &str = "LISTEN ota_decided";
/// How long a connection that broke is left alone. Nobody waits for it: servers also look by the clock.
const PAUSE: Duration = Duration::from_secs(5);

/// Listens for ever, and connects again whenever the connection breaks.
pub(super) async fn listen(config: Config, tls: Option<Arc<rustls::ClientConfig>>, hints: Arc<Notify>) {
    loop {
        // Why it broke does not matter here: the pools meet the same, and say it to whoever waits.
        let _ = match &tls {
            Some(tls) => match config.connect(MakeRustlsConnect::new(tls.as_ref().clone())).await {
                Ok((client, connection)) => hear(&client, connection, &hints).await,
                Err(error) => Err(error),
            },
            None => match config.connect(NoTls).await {
                Ok((client, connection)) => hear(&client, connection, &hints).await,
                Err(error) => Err(error),
            },
        };
        tokio::time::sleep(PAUSE).await;
    }
}

/// Hears until the connection breaks.
async fn hear<S, T>(client: &Client, mut connection: Connection<S, T>, hints: &Notify) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let hearing = async {
        while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
            if matches!(message?, AsyncMessage::Notification(_)) {
                hints.notify_one();
            }
        }
        Ok(())
    };
    let asking = async {
        client.batch_execute(LISTEN).await?;
        // Something may have been decided before.
        hints.notify_one();
        core::future::pending().await
    };
    tokio::select! {
        ended = hearing => ended,
        refused = asking => refused,
    }
}
