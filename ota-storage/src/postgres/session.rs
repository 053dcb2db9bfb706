//! Connections: two small pools, each session set up the same way, and none that is given back in a transaction.
//!
//! Reads and commits do not share a pool, so that however many people look at the fleet, devices are still answered.

use core::ops::{Deref, DerefMut};
use core::str::FromStr;
use core::time::Duration;
use std::sync::Arc;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use tokio_postgres::config::SslMode;
use tokio_postgres::{Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::PostgresOptions;
use super::error::Fault;

/// How long a backend waits for a server that began a transaction and says nothing more: one that was stopped must not
/// keep the locks of its rows.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(5);

/// Plans are made once, without regard to what the tables hold at that moment: each statement knows the rows that it
/// wants by their keys, and the plan that is right for that is right for any number of devices. A page of an index is read
/// in the order of that index and never sorted, whatever the statistics of a growing table suggest. A commit that was
/// acknowledged is on the medium, whatever the database has been told about others'.
const SET_UP: &str = "\
    SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off; \
    SET enable_mergejoin = off; SET enable_bitmapscan = off; SET enable_sort = off; SET jit = off; SET default_transaction_isolation = 'read committed'; \
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// A pool of connections.
#[derive(Debug, Clone)]
pub(super) struct Sessions {
    pool: Pool,
    patience: Duration,
}

/// A connection for one operation; it goes back to its pool only if the operation came to its end.
pub(super) struct Session {
    object: Option<Object>,
    is_clean: bool,
}

/// The settings of the connection, with what bounds every wait for a database that does not answer.
pub(super) fn config(url: &str, options: &PostgresOptions) -> Result<Config, Fault> {
    let mut config = Config::from_str(url).map_err(Fault::Settings)?;
    if config.get_application_name().is_none() {
        config.application_name("ota");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(options.patience);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(options.patience);
    }
    if options.tls.is_none() && config.get_ssl_mode() == SslMode::Prefer {
        config.ssl_mode(SslMode::Disable);
    }
    Ok(config)
}

impl Sessions {
    /// A pool of so many connections at most, each begun with these statements.
    pub(super) fn new(
        config: Config,
        options: &PostgresOptions,
        connections: usize,
        begin: &str,
    ) -> Result<Self, Fault> {
        let patience = options.patience;
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = match &options.tls {
            Some(tls) => {
                Manager::from_config(config, MakeRustlsConnect::new(tls.as_ref().clone()), recycling)
            }
            None => Manager::from_config(config, NoTls, recycling),
        };
        let set_up = format!(
            "SET statement_timeout = {0}; SET lock_timeout = {0}; \
             SET idle_in_transaction_session_timeout = {1}; {SET_UP}; {begin}",
            patience.as_millis(),
            IDLE_IN_TRANSACTION.as_millis(),
        );
        let pool = Pool::builder(manager)
            .max_size(connections)
            .runtime(Runtime::Tokio1)
            // Shorter than a statement may take: an error that names the pool says more than one of a late statement.
            .wait_timeout(Some(patience / 2))
            .create_timeout(Some(patience))
            .recycle_timeout(Some(patience))
            .post_create(Hook::async_fn(move |client, _| {
                let set_up = set_up.clone();
                Box::pin(async move { client.batch_execute(&set_up).await.map_err(HookError::Backend) })
            }))
            .build()
            .map_err(Fault::Pool)?;
        Ok(Self { pool, patience })
    }

    pub(super) async fn session(&self) -> Result<Session, Fault> {
        let object = self.pool.get().await;
        let object = object.map_err(|error| Fault::from_pool(error, self.pool.status().max_size))?;
        Ok(Session { object: Some(object), is_clean: false })
    }

    /// Does something with a connection, in a task of its own: if nobody waits for it any more, it still comes to its
    /// end, and the connection goes back as it was taken.
    pub(super) async fn run<T: Send + 'static, F>(
        &self,
        action: impl FnOnce(Arc<Session>) -> F + Send + 'static,
    ) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Fault>> + Send,
    {
        let sessions = self.clone();
        let task = tokio::spawn(async move {
            let session = Arc::new(sessions.session().await?);
            let done = sessions.in_time(action(Arc::clone(&session))).await;
            // A connection is not at fault for what a row holds, nor for a statement that was refused.
            if let Some(session) = Arc::into_inner(session)
                && !matches!(&done, Err(fault) if fault.ends_session())
            {
                session.give_back();
            }
            done
        });
        task.await.unwrap_or(Err(Fault::Closed))
    }

    /// Gives up after a while: a peer that vanished without a word answers nothing at all.
    pub(super) async fn in_time<T>(
        &self,
        action: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        // The database's own time limit comes first where the database is still there.
        let patience = self.patience.saturating_mul(2);
        tokio::time::timeout(patience, action).await.unwrap_or(Err(Fault::Timeout(patience)))
    }
}

impl Session {
    /// The operation came to its end: there is no transaction open.
    pub(super) fn give_back(mut self) {
        self.is_clean = true;
    }
}

impl Deref for Session {
    type Target = Object;

    fn deref(&self) -> &Object {
        self.object.as_ref().expect("a session has its connection until it is dropped")
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Object {
        self.object.as_mut().expect("a session has its connection until it is dropped")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.is_clean
            && let Some(object) = self.object.take()
        {
            // Ends the connection, and with it whatever it was in the middle of.
            drop(Object::take(object));
        }
    }
}
