//! Uploads that survive a broken connection and a restart of the server, after draft-ietf-httpbis-resumable-upload: what
//! has arrived stays, the caller asks how much that is, and sends the rest.
//!
//! What has arrived lies in a folder of this server's own ([`Options::staging`](super::Options::staging)) until the last
//! piece is there, and goes to the store of files in one go then. So an unfinished upload costs disk and no memory, can be
//! gone on with after the server was killed, and leaves nothing in an object store, where parts that nobody finished
//! could neither be read again nor found. One that nobody goes on with is dropped after
//! [`Options::upload_idle_max`](super::Options::upload_idle_max). Only whoever began it can see it.
//!
//! Whoever announces what the file is to be goes on with what a call before has left, also with another program on another
//! machine: beginning it again finds it. With several servers an unfinished upload is known to the one that began it; ids tell
//! whose they are, so that another server can say so.
//!
//! Of two requests for one upload the later one counts, from the moment it comes: its connection is alive, and the other's
//! may be dead. Whichever it is that breaks, writing to the disk runs to its end, so that the offset is always true.

mod staged;

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use axum::http::request::Parts;
use http_body_util::BodyExt as _;
use ota_core::number::Sha256Digest;
use ota_core::text::ProductIdBuf;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use self::staged::{About, Refused, Staged, open_all};
use super::answer::{Created, Done, Reply};
use super::auth::Caller;
use super::body::{ContentBody, UploadView};
use super::input::{Ask, Id, PathId};
use super::openapi::{Operation, Part};
use super::releases::{STALL_MAX, checked_unit, unit};
use super::{Api, Options, Problem, hex};
use crate::rules::permission::Principal;

/// Unfinished uploads of one server, and of one person.
const UPLOADS_MAX: usize = 32;
const UPLOADS_OF_ONE_MAX: usize = 16;
/// Finished uploads that are remembered, for whoever did not hear of it; those that rested longest are forgotten first.
const FINISHED_MAX: usize = 32;
/// Files that are sent in one request at a time, and of one person. With parts of 5 MiB, as object stores want them, each
/// takes up to 30 MiB of memory for itself and its block map; in a folder 2 MiB.
const AT_ONCE_MAX: usize = 8;
const AT_ONCE_OF_ONE_MAX: usize = 4;
/// Complete uploads that go to the store of files at a time, each with as much memory; the others wait for their turn.
const FINISHING_MAX: usize = 4;
/// How much of a complete upload is handed to the store of files at once.
const PIECE_BYTES: u64 = 1 << 20;
/// How many digits of an id say who has given it; the others are unpredictable.
const MARK_DIGITS: usize = 8;
/// The kinds of problems that the command line goes on after.
pub(crate) const ELSEWHERE: &str = "upload-elsewhere";
pub(crate) const OVERTAKEN: &str = "upload-overtaken";

/// The id of an upload: unpredictable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UploadId(String);

impl PathId for UploadId {
    const WHAT: &'static str = "upload";

    fn read(text: &str) -> Result<Self, String> {
        let is_id = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if is_id {
            Ok(Self(text.to_owned()))
        } else {
            Err("expected 32 lower-case hexadecimal digits".to_owned())
        }
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[0-9a-f]{32}$" })
    }
}

/// One upload.
struct Entry {
    owner: String,
    product: ProductIdBuf,
    unit: u32,
    sha256: Option<String>,
    staged: Arc<Mutex<Staged>>,
    /// Bytes that have arrived, as [`Staged`] knows them: for the sum over all uploads.
    arrived: AtomicU64,
    /// The latest turn, and what tells requests that wait for bytes that theirs may be over.
    latest: AtomicU64,
    overtaken: Notify,
    /// Whoever takes it to the store of files holds it.
    finishing: tokio::sync::Mutex<()>,
    touched: Mutex<Instant>,
    is_finished: AtomicBool,
}

impl Entry {
    fn new(product: ProductIdBuf, staged: Staged) -> Self {
        let is_finished = staged.about().content.is_some();
        Self {
            owner: staged.about().owner.clone(),
            product,
            unit: staged.about().unit,
            sha256: staged.about().sha256.clone(),
            arrived: AtomicU64::new(if is_finished { 0 } else { staged.offset() }),
            staged: Arc::new(Mutex::new(staged)),
            latest: AtomicU64::new(0),
            overtaken: Notify::new(),
            finishing: tokio::sync::Mutex::new(()),
            touched: Mutex::new(Instant::now()),
            is_finished: AtomicBool::new(is_finished),
        }
    }

    fn touch(&self) {
        *self.touched.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn touched(&self) -> Instant {
        *self.touched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is an upload of this very file by the same person.
    fn is_of(&self, about: &About) -> bool {
        self.owner == about.owner
            && self.product.as_str() == about.product
            && self.unit == about.unit
            && self.sha256.is_some()
            && self.sha256 == about.sha256
    }

    /// How it stands. Whatever is told stays, even if the server is killed.
    async fn view(&self, id: String) -> Result<UploadView, Problem> {
        let look = |staged: &mut Staged| {
            let synced = staged.sync();
            synced.map(|()| (staged.offset(), staged.about().content.clone()))
        };
        let (offset, content) = self.with(look).await?.map_err(|why| disk(&why))?;
        Ok(UploadView { id, offset, content })
    }

    /// Does something with what has arrived, where blocking holds nobody up. It runs to its end even if nobody waits for
    /// it any more.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Staged) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let staged = Arc::clone(&self.staged);
        let work = move || work(&mut staged.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::task::spawn_blocking(work).await.map_err(|why| Problem::internal(why.to_string()))
    }

    /// Ends the requests of earlier turns.
    fn overtake(&self, turn: u64) {
        self.latest.fetch_max(turn, Ordering::SeqCst);
        self.overtaken.notify_waiters();
    }

    /// Drops what has arrived, and ends whichever request still sends.
    async fn drop_all(&self) -> Result<(), Problem> {
        let dropped = self.with(Staged::drop_all).await;
        self.arrived.store(0, Ordering::SeqCst);
        self.overtake(u64::MAX);
        dropped
    }
}

/// The uploads of a server: those that go on over several requests, by their ids, and who is sending a file in one.
pub(super) struct Uploads {
    folder: PathBuf,
    /// Whether the folder goes with us.
    is_temporary: bool,
    /// What the ids that we give begin with.
    mark: String,
    bytes_max: u64,
    idle_max: Duration,
    resumable: Mutex<HashMap<String, Arc<Entry>>>,
    at_once: Mutex<Vec<String>>,
    finishing: Semaphore,
    is_watched: AtomicBool,
}

/// A place among those who upload at a time.
pub(super) struct Place {
    uploads: Arc<Uploads>,
    owner: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut at_once = self.uploads.at_once.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = at_once.iter().position(|owner| *owner == self.owner) {
            at_once.swap_remove(place);
        }
    }
}

impl Drop for Uploads {
    fn drop(&mut self) {
        if self.is_temporary {
            // It may never have been made.
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

impl Uploads {
    /// Opens what an earlier process has left; `name` is unpredictable, for ids and for a folder of the system's temporary ones.
    pub(super) fn open(options: &Options, name: &str) -> Arc<Self> {
        let temporary = || std::env::temp_dir().join(format!("ota-uploads-{name}"));
        let folder = options.staging.clone().unwrap_or_else(temporary);
        let is_id = |text: &str| UploadId::read(text).is_ok();
        let entry = |(id, staged): (String, Staged)| {
            let product = staged.about().product.parse().ok()?;
            Some((id, Arc::new(Entry::new(product, staged))))
        };
        let uploads = Arc::new(Self {
            resumable: Mutex::new(open_all(&folder, is_id).into_iter().filter_map(entry).collect()),
            folder,
            is_temporary: options.staging.is_none(),
            mark: name.chars().take(MARK_DIGITS).collect(),
            bytes_max: options.staged_bytes_max.max(options.file_bytes_max),
            idle_max: options.upload_idle_max,
            at_once: Mutex::default(),
            finishing: Semaphore::new(FINISHING_MAX),
            is_watched: AtomicBool::new(false),
        });
        if tokio::runtime::Handle::try_current().is_ok() {
            uploads.watch_found();
        }
        uploads
    }

    /// Watches what an earlier process has left, from the first call on: outside of a runtime nobody could.
    fn watch_found(self: &Arc<Self>) {
        if !self.is_watched.swap(true, Ordering::SeqCst) {
            let found: Vec<String> = self.all().keys().cloned().collect();
            for id in found {
                tokio::spawn(Self::watch(Arc::downgrade(self), id, self.idle_max));
            }
        }
    }

    /// Takes a place for a file that is sent in one request.
    pub(super) fn place(self: &Arc<Self>, owner: &str) -> Result<Place, Problem> {
        let mut at_once = self.at_once.lock().unwrap_or_else(PoisonError::into_inner);
        let own = at_once.iter().filter(|one| *one == owner).count();
        if at_once.len() >= AT_ONCE_MAX || own >= AT_ONCE_OF_ONE_MAX {
            let why = "too many files are being sent in one request each: send them one after the other, or begin an \
                       upload that goes on over several requests";
            return Err(Problem::too_many(why, 10));
        }
        at_once.push(owner.to_owned());
        drop(at_once);
        Ok(Place { uploads: Arc::clone(self), owner: owner.to_owned() })
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Arc<Entry>>> {
        self.resumable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(self: &Arc<Self>, id: &UploadId, owner: &str) -> Result<Arc<Entry>, Problem> {
        self.watch_found();
        let found = self.all().get(&id.0).filter(|entry| entry.owner == owner).cloned();
        found.ok_or_else(|| match id.0.starts_with(&self.mark) {
            true => Problem::not_found("there is no such upload, or not any more: begin it anew"),
            false => elsewhere(),
        })
    }

    /// What was begun before of the same file, by the same person. Whoever begins it twice at once has two.
    fn begun_before(&self, about: &About) -> Option<(String, Arc<Entry>)> {
        let all = self.all();
        let (id, entry) = all.iter().find(|(_, entry)| entry.is_of(about))?;
        Some((id.clone(), Arc::clone(entry)))
    }

    fn demand_room(all: &HashMap<String, Arc<Entry>>, owner: &str) -> Result<(), Problem> {
        let unfinished = || all.values().filter(|one| !one.is_finished.load(Ordering::SeqCst));
        let own = unfinished().filter(|one| one.owner == owner).count();
        if unfinished().count() >= UPLOADS_MAX || own >= UPLOADS_OF_ONE_MAX {
            let why = "too many uploads are unfinished: go on with them or remove them";
            return Err(Problem::too_many(why, 60));
        }
        Ok(())
    }

    fn add(&self, id: &str, entry: Arc<Entry>) -> Result<(), Problem> {
        let mut all = self.all();
        Self::demand_room(&all, &entry.owner)?;
        all.insert(id.to_owned(), entry);
        Ok(())
    }

    /// Forgets a finished upload where more are remembered than may be.
    async fn forget_oldest(&self) -> Result<(), Problem> {
        let oldest = {
            let mut all = self.all();
            let finished = all.iter().filter(|(_, one)| one.is_finished.load(Ordering::SeqCst));
            let count = finished.clone().count();
            let oldest = finished.min_by_key(|(_, one)| one.touched()).map(|(id, _)| id.clone());
            oldest.filter(|_| count > FINISHED_MAX).and_then(|id| all.remove(&id))
        };
        match oldest {
            Some(entry) => entry.drop_all().await,
            None => Ok(()),
        }
    }

    /// Whether the disk may take so much more for what is unfinished. A few requests at a time may each add what they
    /// hold beyond that.
    fn demand_bytes(&self, more: u64) -> Result<(), Problem> {
        let held: u64 = self.all().values().map(|entry| entry.arrived.load(Ordering::SeqCst)).sum();
        if held.saturating_add(more) <= self.bytes_max {
            return Ok(());
        }
        let detail = format!(
            "unfinished uploads hold {held} bytes already, and this server keeps {} at most; what has arrived of this \
             one stays for {} minutes",
            self.bytes_max,
            self.idle_max.as_secs() / 60
        );
        let what =
            "finish or remove other uploads and go on with this one, or have http.staged_mib_max raised";
        let title = "Too much is unfinished";
        let problem = Problem::new(StatusCode::INSUFFICIENT_STORAGE, "staging-full", title, detail, what);
        Err(Problem { retry_after: Some(60), ..problem })
    }

    /// Drops an upload that nobody goes on with. Ends with the upload or with the server.
    async fn watch(uploads: Weak<Self>, id: String, idle_max: Duration) {
        loop {
            let due = match uploads.upgrade().and_then(|uploads| uploads.all().get(&id).cloned()) {
                Some(entry) => entry.touched() + idle_max,
                None => return,
            };
            tokio::time::sleep_until(due).await;
            let Some(uploads) = uploads.upgrade() else { return };
            let idle = {
                let mut all = uploads.all();
                let is_idle = all.get(&id).is_some_and(|entry| entry.touched() + idle_max <= Instant::now());
                if is_idle { all.remove(&id) } else { None }
            };
            if let Some(entry) = idle {
                // Whoever still writes to it has stood still for as long.
                let _ = entry.drop_all().await;
            }
        }
    }
}

/// What a piece of an upload says about itself.
pub(super) struct Piece {
    offset: u64,
    is_last: bool,
    /// How many bytes it has, if it says so.
    length: Option<u64>,
}

impl<S: Sync> FromRequestParts<S> for Piece {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let text = |name| parts.headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let offset = text("upload-offset").and_then(|text| text.parse().ok());
        let offset = offset.ok_or_else(|| Problem::invalid("upload-offset: expected a number of bytes"))?;
        let is_last = match text("upload-complete") {
            Some("?1") => true,
            None | Some("?0") => false,
            Some(_) => return Err(Problem::invalid("upload-complete: expected ?1 or ?0")),
        };
        let length = parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Self { offset, is_last, length })
    }
}

impl Part for Piece {
    fn describe(operation: &mut Operation<'_>) {
        let about = "Where in the file this piece begins: what the upload has so far";
        let schema = json!({ "type": "string", "pattern": "^[0-9]{1,19}$" });
        operation.parameter("header", "Upload-Offset", true, about, schema);
        let about = "`?1` if the file ends with this piece";
        let schema = json!({ "type": "string", "enum": ["?0", "?1"] });
        operation.parameter("header", "Upload-Complete", false, about, schema);
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BeginQuery {
    /// The unit of its block map in bytes, a power of two from 256 to 1048576; 0 for no block map.
    #[serde(default = "unit")]
    unit: u32,
    /// The SHA-256 of the whole file in lower-case hexadecimal digits. Whoever has begun an upload of the same file before, and
    /// not seen its end, goes on with that one.
    #[serde(default)]
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    sha256: Option<String>,
}

/// Begins an upload, or finds the one that was begun of the same file.
pub(super) async fn begin(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(product): Id<ProductIdBuf>,
    Ask(BeginQuery { unit, sha256 }): Ask<BeginQuery>,
) -> Result<Created<UploadView>, Problem> {
    let unit = checked_unit(unit)?;
    if sha256.as_deref().is_some_and(|digest| Sha256Digest::from_hex(digest).is_none()) {
        return Err(Problem::invalid("sha256: expected 64 lower-case hexadecimal digits"));
    }
    api.server.may_upload(&by, &product)?;
    api.uploads.watch_found();
    let (owner, content) = (by.name().to_owned(), None);
    let about = About { owner, product: product.to_string(), unit, sha256, offset: 0, content };
    if let Some((id, entry)) = api.uploads.begun_before(&about) {
        let view = entry.view(id).await?;
        if is_there(&api, &view).await? {
            entry.touch();
            return Ok(Created(view));
        }
        // What it has become was removed from the store of files meanwhile.
        api.uploads.all().remove(&view.id);
        entry.drop_all().await?;
    }
    Uploads::demand_room(&api.uploads.all(), by.name())?;
    let random = hex(&api.server.random::<16>());
    let id = format!("{}{}", api.uploads.mark, random.get(MARK_DIGITS..).unwrap_or_default());
    let staged = tokio::task::spawn_blocking({
        let (folder, id) = (api.uploads.folder.clone(), id.clone());
        move || Staged::begin(&folder, &id, about)
    });
    let staged = staged.await.map_err(|why| Problem::internal(why.to_string()))?;
    let entry = Arc::new(Entry::new(product, staged.map_err(|why| disk(&why))?));
    if let Err(full) = api.uploads.add(&id, Arc::clone(&entry)) {
        entry.drop_all().await?;
        return Err(full);
    }
    tokio::spawn(Uploads::watch(Arc::downgrade(&api.uploads), id.clone(), api.uploads.idle_max));
    Ok(Created(UploadView { id, offset: 0, content: None }))
}

/// Whether there is something to go on with: what has arrived, or all that it has become.
async fn is_there(api: &Api, view: &UploadView) -> Result<bool, Problem> {
    let Some(content) = &view.content else { return Ok(true) };
    let map = content.block_map.as_ref().map(|map| &map.sha256);
    for digest in core::iter::once(&content.sha256).chain(map) {
        let Some(digest) = Sha256Digest::from_hex(digest) else { return Ok(false) };
        if !api.server.has_content(&digest).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Tells how much has arrived. Whatever is told stays, even if the server is killed.
pub(super) async fn show(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(id): Id<UploadId>,
) -> Result<Reply<UploadView>, Problem> {
    let entry = api.uploads.of(&id, by.name())?;
    Ok(Reply(entry.view(id.0).await?))
}

/// Drops an upload; removing one that is not there is no error.
pub(super) async fn remove(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(id): Id<UploadId>,
) -> Result<Done, Problem> {
    if let Ok(entry) = api.uploads.of(&id, by.name()) {
        api.uploads.all().remove(&id.0);
        entry.drop_all().await?;
    }
    Ok(Done)
}

/// Takes the next piece in. What has arrived when it breaks off stays.
pub(super) async fn append(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(id): Id<UploadId>,
    piece: Piece,
    bytes: Body,
) -> Result<Reply<UploadView>, Problem> {
    let entry = api.uploads.of(&id, by.name())?;
    // The right to upload may have been taken away meanwhile.
    api.server.may_upload(&by, &entry.product)?;
    entry.touch();
    let turn = |staged: &mut Staged| (staged.take_turn(), staged.about().content.clone());
    let ((turn, offset), content) = entry.with(turn).await?;
    entry.overtake(turn);
    if content.is_some() {
        // The answer to the last piece was lost.
        return Ok(Reply(UploadView { id: id.0, offset, content }));
    }
    if piece.offset != offset {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "upload-offset",
            "The piece does not join on",
            format!("the upload has {offset} bytes, and the piece begins at {}", piece.offset),
            "ask how much has arrived, and send the rest from there",
        ));
    }
    let taken = take(&api, &entry, turn, offset, &piece, bytes).await;
    // Also of what breaks off, so that a killed server loses as little as can be.
    let synced = entry.with(|staged| staged.sync().map(|()| staged.offset())).await?;
    match taken {
        Ok(()) => {}
        Err(TakeError::BrokeOff(problem)) => return Err(problem),
        Err(TakeError::TooLarge(problem)) => {
            api.uploads.all().remove(&id.0);
            entry.drop_all().await?;
            return Err(problem);
        }
    }
    let offset = synced.map_err(|why| disk(&why))?;
    entry.touch();
    if !piece.is_last {
        return Ok(Reply(UploadView { id: id.0, offset, content: None }));
    }
    entry.with(move |staged| staged.close(turn)).await?.map_err(refused)?;
    // A connection that breaks now does not keep it from being finished.
    let finished = tokio::spawn(finish(api, by, id.clone(), entry)).await;
    let content = finished.map_err(|why| Problem::internal(why.to_string()))??;
    Ok(Reply(UploadView { id: id.0, offset, content: Some(content) }))
}

enum TakeError {
    /// It can never be finished.
    TooLarge(Problem),
    /// What has arrived stays.
    BrokeOff(Problem),
}

/// Adds what comes to the upload.
async fn take(
    api: &Api,
    entry: &Entry,
    turn: u64,
    from: u64,
    piece: &Piece,
    mut bytes: Body,
) -> Result<(), TakeError> {
    let broke_off = |why: String| Err(TakeError::BrokeOff(Problem::invalid(why)));
    let limit = api.options.file_bytes_max;
    let mut offset = from;
    loop {
        let newer = entry.overtaken.notified();
        tokio::pin!(newer);
        newer.as_mut().enable();
        if entry.latest.load(Ordering::SeqCst) != turn {
            return Err(TakeError::BrokeOff(refused(Refused::Overtaken)));
        }
        let frame = tokio::select! {
            frame = tokio::time::timeout(STALL_MAX, bytes.frame()) => frame,
            () = newer => continue,
        };
        let data = match frame {
            Err(_) => return broke_off("the upload stood still for 60 s".to_owned()),
            Ok(None) if piece.length.is_some_and(|length| offset.saturating_sub(from) < length) => {
                return broke_off("the upload broke off before its end".to_owned());
            }
            Ok(None) => return Ok(()),
            Ok(Some(Err(why))) => return broke_off(format!("the upload broke off: {why}")),
            Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_else(|_| Bytes::new()),
        };
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        if offset.saturating_add(length) > limit {
            return Err(TakeError::TooLarge(Problem::too_large(format!("a file has at most {limit} bytes"))));
        }
        api.uploads.demand_bytes(length).map_err(TakeError::BrokeOff)?;
        let written = entry.with(move |staged| staged.write(turn, &data)).await;
        offset = written.and_then(|written| written.map_err(refused)).map_err(TakeError::BrokeOff)?;
        entry.arrived.store(offset, Ordering::SeqCst);
        entry.touch();
    }
}

/// Takes a complete upload to the store of files. If that fails, it can be tried again by a last piece without bytes.
async fn finish(api: Api, by: Principal, id: UploadId, entry: Arc<Entry>) -> Result<ContentBody, Problem> {
    // Of several who ask for it the first does it.
    let finishing = entry.finishing.lock().await;
    let outcome = match entry.with(|staged| staged.about().content.clone()).await? {
        Some(content) => Ok(content),
        None => store(&api, &by, &entry).await,
    };
    match &outcome {
        // Whoever announces the same file again would go on with it for ever.
        Ok(content) if entry.sha256.as_ref().is_some_and(|announced| *announced != content.sha256) => {
            api.uploads.all().remove(&id.0);
            entry.drop_all().await?;
            return Err(differs(&content.sha256));
        }
        Ok(content) => {
            let content = content.clone();
            if let Err(why) = entry.with(move |staged| staged.complete(content)).await? {
                tracing::warn!(%why, "a complete upload will be forgotten with this process");
            }
            entry.arrived.store(0, Ordering::SeqCst);
            entry.is_finished.store(true, Ordering::SeqCst);
        }
        Err(_) => entry.with(Staged::reopen).await?,
    }
    entry.touch();
    drop(finishing);
    if let Err(Problem { detail, .. }) = api.uploads.forget_oldest().await {
        tracing::warn!(why = detail, "a finished upload is not forgotten");
    }
    outcome
}

async fn store(api: &Api, by: &Principal, entry: &Entry) -> Result<ContentBody, Problem> {
    let _place = api.uploads.finishing.acquire().await.map_err(|why| Problem::internal(why.to_string()))?;
    let unit = entry.with(Staged::shut).await?;
    let mut upload = api.server.upload(by, &entry.product, unit).await?;
    let mut from = 0;
    loop {
        let read = move |staged: &mut Staged| staged.read(from, PIECE_BYTES);
        let piece = entry.with(read).await?.map_err(|why| match why.kind() {
            io::ErrorKind::NotFound => refused(Refused::Overtaken),
            _ => disk(&why),
        })?;
        if piece.is_empty() {
            break;
        }
        from = from.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        upload.write(piece.into()).await?;
        entry.touch();
    }
    Ok(upload.finish().await?.into())
}

/// An upload that this process did not begin.
fn elsewhere() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        ELSEWHERE,
        "The upload is not here",
        "an unfinished upload is known to the server that began it only: this is another one, or was started anew since and \
         has dropped it",
        "begin it anew; a balancer in front of several servers should send one address to one server",
    )
}

/// An upload that has become another file than was announced.
fn differs(sha256: &str) -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "upload-differs",
        "It is another file",
        format!("what has arrived has the SHA-256 {sha256}, which is not the one that was announced"),
        "begin the upload anew; was the file changed while it was sent?",
    )
}

fn refused(why: Refused) -> Problem {
    match why {
        Refused::Overtaken => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            OVERTAKEN,
            "Another request goes on with this upload",
            "a request that came later goes on with this upload, or it was removed",
            "ask how much has arrived; while that grows there is nothing to do",
        ),
        Refused::Closed => Problem::invalid("the upload has its last piece already"),
        Refused::Disk(why) => disk(&why),
    }
}

/// What the disk says where uploads are gathered.
fn disk(why: &io::Error) -> Problem {
    let detail = format!("what has arrived of the upload cannot be kept: {why}");
    match why.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            Problem::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "staging-full",
                "There is no room for the upload",
                detail,
                "make room where the server keeps its data, then go on with the upload",
            )
        }
        _ => Problem::internal(detail),
    }
}
