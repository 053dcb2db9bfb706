//! `ota serve`: the whole server in one process, from a data folder and some settings.

use core::net::SocketAddr;
use core::time::Duration;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use ota_core::crypto::SignatureAlgorithm;
use ota_core::crypto::sign::{SignError, Signer};
use ota_core::fleet::StoreErrorKind;
use ota_core::fleet::records::{PersonRole, PrincipalRecord, RoleGrant};
use ota_core::time::Millis;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::carrier::Devices;
use super::host::SystemEntropy;
use super::installation::Installation;
use super::oidc::Oidc;
use super::outbound::HttpFetcher;
use super::settings::{KeptSettings, Settings};
use super::stores::Stores;
use super::webhooks::Webhooks;
use super::{Failure, log, stores};
use crate::console;
use crate::http::body::InstallationView;
use crate::http::{self, chain};
use crate::rules::permission::Principal;
use crate::server::{Builder, CheckpointFile, Config, KeySigner, NewToken, Server};

/// Who the first start makes.
const FIRST: &str = "administrator";
/// How long the first token is good for: long enough to make another.
const FIRST_TOKEN_LIFE: Millis = Millis(7 * 24 * 3_600_000);
/// How often the files of the broker's certificates are looked at.
const LOOK_AT_CERTIFICATES: Duration = Duration::from_secs(60);
/// How long requests that are under way may take when the server ends.
const GOODBYE: Duration = Duration::from_secs(10);

/// A server that runs. Dropping it ends it without a goodbye.
pub struct Running {
    address: SocketAddr,
    /// Where people reach it.
    url: String,
    folder: PathBuf,
    first: Option<First>,
    devices: Devices,
    server: Server,
    stop: Option<oneshot::Sender<()>>,
    http: JoinHandle<std::io::Result<()>>,
    conversation: JoinHandle<()>,
    webhooks: Option<JoinHandle<()>>,
}

/// What the first administrator comes in with, told once.
struct First {
    /// For programs.
    token: String,
    /// The page, with its query, where a password is set.
    link: String,
}

/// Whether an administrator's token is made although it is not the first start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstToken {
    /// Only if nobody was ever made.
    IfNobodyIsThere,
    /// In any case: somebody has lost it.
    Anew,
}

/// A key on the heap that signs.
struct Boxed(Box<dyn Signer + Send + Sync>);

impl Signer for Boxed {
    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }

    fn public_key(&self) -> &[u8] {
        self.0.public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; ota_core::crypto::SIGNATURE_BYTES], SignError> {
        self.0.sign(message)
    }
}

impl Running {
    /// Starts a server: opens the store, connects to the broker, listens.
    ///
    /// # Errors
    /// [`Failure`] says what is in the way; nothing is left running.
    pub async fn start(settings: &Settings, first: FirstToken) -> Result<Self, Failure> {
        let installation = Installation::open(&settings.data)?;
        let listener = TcpListener::bind(settings.http_listen).await.map_err(|why| {
            let way_out = "end what listens there, or give another address with --http-listen";
            Failure::caused(format_args!("cannot listen on {}", settings.http_listen), &why, way_out)
        })?;
        let address = listener.local_addr().map_err(|why| Failure::caused("cannot listen", &why, ""))?;
        let Stores { store, blobs, upkeep } =
            stores::open(&settings.store, &settings.files, &installation).await?;
        let devices = Devices::start(settings, &installation, store.clone()).await?;
        let (signer, public) = installation.assignment_signer()?;
        let mut builder = Server::builder(store, blobs, devices.link(), Arc::new(SystemEntropy));
        if let Some(upkeep) = upkeep {
            builder = builder.upkeep(upkeep);
        }
        let server = with_checkpoints(builder, &settings.kept, &installation)?
            .signer(Arc::new(KeySigner::for_all(Boxed(signer))))
            .fetcher(Arc::new(HttpFetcher::new(settings.inside)))
            .secrets(stores::secrets(settings, &installation)?)
            .config(Config {
                next_check_in: settings.check_in,
                check_ins_per_second_max: settings.check_ins_per_second,
                assignment_life: settings.assignment_life,
                cache_bytes_max: settings.cache_bytes,
                refresh_every: stores::refresh_every(&settings.store),
                sweep_every: settings.kept.sweep_every,
                unreferenced_kept: settings.kept.unreferenced_kept,
                forget_history_after: settings.kept.forget_history_after,
                forget_drafts_after: settings.kept.forget_drafts_after,
                compact_every: settings.kept.compact_every,
                ..Config::default()
            })
            .start()
            .await
            .map_err(|why| {
                let way_out = match why.kind() {
                    StoreErrorKind::Invalid => {
                        "give the key that wrapped the secrets with store.wrapping_key_file, or with \
                         store.former_wrapping_key_files if there is a new one"
                    }
                    _ => "look at the store",
                };
                Failure::caused("the store cannot be read", &why, way_out)
            })?;
        let unaware = server.products_unaware_of(public.key()).await;
        for product in
            unaware.map_err(|why| Failure::caused("the store cannot be read", &why, "look at the store"))?
        {
            tracing::error!(
                %product,
                key = %public,
                "devices of this product believe nothing that this server says: the product's newest root does not name the \
                 key in assignment-key.pem; copy that file from a server that they believe, or bring a root with this key"
            );
        }
        devices.enrol_with(&server);
        let first = first_administrator(&server, first).await?;
        let webhooks = settings.webhook.as_ref();
        let webhooks =
            webhooks.map(|webhook| Webhooks::new(server.clone(), webhook, settings.inside)).transpose()?;
        let webhooks = webhooks.map(|webhooks| tokio::spawn(webhooks.run()));
        let conversation = tokio::spawn({
            let server = server.clone();
            async move { server.run().await }
        });
        let oidc = settings.oidc.clone().map(|oidc| Oidc::new(oidc, settings.inside)).transpose()?;
        let options = http::Options {
            bearers: oidc.map(|oidc| Arc::new(oidc) as _),
            file_bytes_max: settings.file_bytes_max,
            staging: Some(installation.staging()),
            staged_bytes_max: settings.staged_bytes_max,
            installation: InstallationView {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                assignment_key: Some(public.to_string()),
                devices: vec![devices.describe()],
            },
            public_url: settings.public_url.clone(),
            ready: Arc::new({
                let devices = devices.clone();
                move || devices.ready()
            }),
            ..http::Options::default()
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let url = settings.public_url.clone().unwrap_or_else(|| format!("http://{address}"));
        let service =
            console::router(server.clone(), options).into_make_service_with_connect_info::<SocketAddr>();
        let serving = axum::serve(listener, service);
        let http = tokio::spawn(async move {
            // A sender that is gone ends it as well.
            serving.with_graceful_shutdown(async move { drop(stopped.await) }).await
        });
        let folder = installation.folder().to_owned();
        Ok(Self {
            address,
            url,
            folder,
            first,
            devices,
            server,
            stop: Some(stop),
            http,
            conversation,
            webhooks,
        })
    }

    /// Where the HTTP API listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The token of the administrator, if one was made.
    #[must_use]
    pub fn administrator_token(&self) -> Option<&str> {
        self.first.as_ref().map(|first| &*first.token)
    }

    /// The page where the administrator sets a password, once, if one was made.
    #[must_use]
    pub fn administrator_link(&self) -> Option<String> {
        self.first.as_ref().map(|first| format!("{}{}", self.url, first.link))
    }

    /// How devices reach it.
    #[must_use]
    pub const fn devices(&self) -> &Devices {
        &self.devices
    }

    /// The server inside.
    #[must_use]
    pub const fn server(&self) -> &Server {
        &self.server
    }

    /// What people want to know after the start.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = format!(
            "ota {} serves\n  API      {}\n  devices  {}\n  data     {}\n",
            env!("CARGO_PKG_VERSION"),
            self.url,
            self.devices.describe(),
            self.folder.display(),
        );
        if let (Some(First { token, .. }), Some(link)) = (&self.first, self.administrator_link()) {
            let url = &self.url;
            text.push_str(&format!(
                "\nThe administrator sets a password here, once and within a day:\n  {link}\n\nThe administrator's token \
                 for programs, told once and good for 7 days:\n  {token}\n\nSign in with it:\n  \
                 ota login --server {url} --token {token}\n",
            ));
        }
        text
    }

    /// Ends it: takes no more requests, finishes those under way, closes the link, and then the store.
    ///
    /// # Errors
    /// [`Failure`] if something had failed before.
    pub async fn stop(mut self) -> Result<(), Failure> {
        drop(self.stop.take());
        // What was not told is told after the next start.
        self.webhooks.iter().for_each(JoinHandle::abort);
        self.devices.close().await;
        let http = tokio::time::timeout(GOODBYE, &mut self.http).await;
        if http.is_err() {
            self.http.abort();
        }
        if tokio::time::timeout(GOODBYE, &mut self.conversation).await.is_err() {
            // Whatever it was doing happens whole or not at all.
            self.conversation.abort();
        }
        match http {
            Ok(Ok(Err(why))) => Err(Failure::caused("the HTTP listener failed", &why, "")),
            _ => Ok(()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.devices.enrol_with_nobody();
        self.http.abort();
        self.conversation.abort();
        self.webhooks.iter().for_each(JoinHandle::abort);
    }
}

/// Signs ends of the audit chain, if they are wanted.
fn with_checkpoints(
    builder: Builder,
    kept: &KeptSettings,
    installation: &Installation,
) -> Result<Builder, Failure> {
    if kept.checkpoint_every == Millis(0) {
        return Ok(builder);
    }
    let (signer, _) = installation.audit_signer()?;
    let file = kept.checkpoint_file.clone().unwrap_or_else(|| installation.checkpoints());
    Ok(builder.checkpoints(Boxed(signer), Arc::new(CheckpointFile::new(file)), kept.checkpoint_every))
}

/// Makes the first administrator and a token, if nobody was ever made or somebody asks for it at the machine itself.
///
/// This first person can do everything but approve: for that it takes a second one.
async fn first_administrator(server: &Server, first: FirstToken) -> Result<Option<First>, Failure> {
    let grant = |role| RoleGrant { role, products: None };
    let machine = Principal::new("the machine", vec![grant(PersonRole::Administrator)]);
    let failed = |why: crate::CommandError| {
        Failure::new(format!("the administrator cannot be made: {}", chain(&why)), "look at the data folder")
    };
    let people = server.principals(&machine).await.map_err(failed)?;
    if first == FirstToken::IfNobodyIsThere && !people.is_empty() {
        return Ok(None);
    }
    let roles =
        [PersonRole::Administrator, PersonRole::Developer, PersonRole::Operator, PersonRole::KeyHolder];
    let record = PrincipalRecord {
        title: "the first administrator".into(),
        roles: roles.map(grant).to_vec(),
        disabled: false,
        password: None,
    };
    server.set_principal(&machine, FIRST, record).await.map_err(failed)?;
    let expires = server.time().plus(FIRST_TOKEN_LIFE);
    let new = NewToken { title: "the first start".into(), expires: Some(expires), roles: None };
    let token = server.create_token(&machine, FIRST, new).await.map_err(failed)?;
    let invitation = server.invite(&machine, FIRST).await.map_err(failed)?;
    Ok(Some(First {
        token: http::token_text(&token.name, &token.secret),
        link: http::invitation_link(&invitation),
    }))
}

/// Runs until the process is told to end.
///
/// # Errors
/// [`Failure`].
pub(super) fn run(settings: &Settings, first: FirstToken) -> Result<(), Failure> {
    log::begin(settings.log);
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let threads = threads.map_err(|why| Failure::caused("cannot start threads", &why, ""))?;
    threads.block_on(async {
        // Before anything is started: a signal that comes early must not end the process in the middle of it.
        let end = end_signal().map_err(|why| Failure::caused("cannot listen for signals", &why, ""))?;
        let mut hints =
            Hints::listen().map_err(|why| Failure::caused("cannot listen for signals", &why, ""))?;
        let running = Running::start(settings, first).await?;
        say(&format!("{}\nCtrl-C ends it.", running.describe()));
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => break,
                () = hints.next() => renew_certificates(running.devices()),
            }
        }
        say("ending");
        running.stop().await
    })
}

/// New certificates count from now on; bad ones are told of, and the old ones stay.
fn renew_certificates(devices: &Devices) {
    match devices.renew_certificates() {
        Ok(true) => tracing::info!("the broker shows its new certificate"),
        Ok(false) => {}
        Err(why) => tracing::error!(reason = %why, "the broker goes on with its old certificate"),
    }
}

/// When to look at the files of certificates: from time to time, and at once when somebody sends SIGHUP.
struct Hints {
    beat: tokio::time::Interval,
    #[cfg(unix)]
    hang_up: tokio::signal::unix::Signal,
}

impl Hints {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            beat: tokio::time::interval(LOOK_AT_CERTIFICATES),
            #[cfg(unix)]
            hang_up: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?,
        })
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        tokio::select! {
            _ = self.beat.tick() => {}
            _ = self.hang_up.recv() => {}
        }
    }

    #[cfg(windows)]
    async fn next(&mut self) {
        self.beat.tick().await;
    }
}

/// Tells whoever started the server. Somebody who does not listen any more is no reason to end without a goodbye.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Listens for SIGTERM and SIGINT from now on; the future is done when one has come.
#[cfg(unix)]
fn end_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Listens for Ctrl-C from now on; the future is done when it has come.
#[cfg(windows)]
fn end_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
    })
}
