//! Uploads that survive a broken connection, after draft-ietf-httpbis-resumable-upload: what has arrived stays, the caller
//! asks how much that is, and sends the rest.
//!
//! What has arrived goes on to the store of files, where an unfinished upload cannot be read; the server that began it
//! remembers the hashes so far and holds the last few pieces, so that memory does not grow with files. One that nobody goes on with is dropped after [`Options::upload_idle_max`](super::Options::upload_idle_max), or when
//! the server ends; nothing of it remains. Only whoever began it can see it.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use http_body_util::BodyExt as _;
use ota_core::text::ProductIdBuf;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::answer::{Created, Done, Reply};
use super::auth::Caller;
use super::body::{ContentBody, UploadView};
use super::input::{Ask, Id, PathId};
use super::openapi::{Operation, Part};
use super::releases::{STALL_MAX, UploadQuery};
use super::{Api, Problem, hex};
use crate::server::Upload;

/// Uploads at a time of one server, and of one person. With parts of 5 MiB, as object stores want them, each takes up to
/// 30 MiB of memory for a file and its block map; in a folder 2 MiB.
const UPLOADS_MAX: usize = 32;
const UPLOADS_OF_ONE_MAX: usize = 16;

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
    /// Whoever writes holds it.
    progress: tokio::sync::Mutex<Progress>,
    /// How much has arrived.
    offset: AtomicU64,
    /// The number of the request whose turn it is: a new one ends the one before, whose connection may be dead.
    turn: AtomicU64,
    interrupt: Notify,
    touched: Mutex<Instant>,
}

enum Progress {
    Open(Box<Upload>),
    Complete(ContentBody),
    /// It cannot go on: it grew too large, or the store of files failed in the middle.
    Lost,
}

impl Entry {
    fn touch(&self) {
        *self.touched.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn touched(&self) -> Instant {
        *self.touched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The uploads of a server: those that go on over several requests, by their ids, and who is sending a file in one.
#[derive(Default)]
pub(super) struct Uploads {
    resumable: Mutex<HashMap<String, Arc<Entry>>>,
    at_once: Mutex<Vec<String>>,
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

impl Uploads {
    /// Takes a place for a file that is sent in one request.
    pub(super) fn place(self: &Arc<Self>, owner: &str) -> Result<Place, Problem> {
        let all = self.all();
        self.demand_room(&all, owner)?;
        self.at_once.lock().unwrap_or_else(PoisonError::into_inner).push(owner.to_owned());
        drop(all);
        Ok(Place { uploads: Arc::clone(self), owner: owner.to_owned() })
    }

    fn demand_room(&self, all: &HashMap<String, Arc<Entry>>, owner: &str) -> Result<(), Problem> {
        let at_once = self.at_once.lock().unwrap_or_else(PoisonError::into_inner);
        let own = all.values().filter(|one| one.owner == owner).count()
            + at_once.iter().filter(|one| *one == owner).count();
        if all.len() + at_once.len() >= UPLOADS_MAX || own >= UPLOADS_OF_ONE_MAX {
            let why = "too many uploads are unfinished: go on with them or remove them";
            return Err(Problem::too_many(why, 60));
        }
        Ok(())
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Arc<Entry>>> {
        self.resumable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, id: &UploadId, owner: &str) -> Result<Arc<Entry>, Problem> {
        let found = self.all().get(&id.0).filter(|entry| entry.owner == owner).cloned();
        found.ok_or_else(|| Problem::not_found("there is no such upload, or not any more: begin it anew"))
    }

    fn add(&self, id: &str, entry: Arc<Entry>) -> Result<(), Problem> {
        let mut all = self.all();
        self.demand_room(&all, &entry.owner)?;
        all.insert(id.to_owned(), entry);
        Ok(())
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
            let mut all = uploads.all();
            let is_idle = all.get(&id).is_some_and(|entry| entry.touched() + idle_max <= Instant::now());
            if is_idle && let Some(entry) = all.remove(&id) {
                // Whoever still writes to it has stood still for as long.
                entry.turn.fetch_add(1, Ordering::SeqCst);
                entry.interrupt.notify_waiters();
            }
        }
    }
}

/// What a piece of an upload says about itself.
pub(super) struct Piece {
    offset: u64,
    is_last: bool,
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
        Ok(Self { offset, is_last })
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

/// Begins an upload.
pub(super) async fn begin(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(product): Id<ProductIdBuf>,
    Ask(query): Ask<UploadQuery>,
) -> Result<Created<UploadView>, Problem> {
    let upload = api.server.upload(&by, &product, query.unit()?).await?;
    let id = hex(&api.server.random::<16>());
    let entry = Entry {
        owner: by.name().to_owned(),
        product,
        progress: tokio::sync::Mutex::new(Progress::Open(Box::new(upload))),
        offset: AtomicU64::new(0),
        turn: AtomicU64::new(0),
        interrupt: Notify::new(),
        touched: Mutex::new(Instant::now()),
    };
    api.uploads.add(&id, Arc::new(entry))?;
    tokio::spawn(Uploads::watch(Arc::downgrade(&api.uploads), id.clone(), api.options.upload_idle_max));
    Ok(Created(UploadView { id, offset: 0, content: None }))
}

/// Tells how much has arrived.
pub(super) async fn show(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(id): Id<UploadId>,
) -> Result<Reply<UploadView>, Problem> {
    let entry = api.uploads.of(&id, by.name())?;
    let offset = entry.offset.load(Ordering::SeqCst);
    let content = match entry.progress.try_lock().as_deref() {
        Ok(Progress::Complete(content)) => Some(content.clone()),
        _ => None,
    };
    Ok(Reply(UploadView { id: id.0, offset, content }))
}

/// Drops an upload; removing one that is not there is no error.
pub(super) async fn remove(
    State(api): State<Api>,
    Caller(by): Caller,
    Id(id): Id<UploadId>,
) -> Result<Done, Problem> {
    if let Ok(entry) = api.uploads.of(&id, by.name()) {
        api.uploads.all().remove(&id.0);
        entry.turn.fetch_add(1, Ordering::SeqCst);
        entry.interrupt.notify_waiters();
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
    let turn = entry.turn.fetch_add(1, Ordering::SeqCst) + 1;
    entry.interrupt.notify_waiters();
    let mut progress = entry.progress.lock().await;
    entry.touch();
    let offset = entry.offset.load(Ordering::SeqCst);
    if let Progress::Complete(content) = &*progress {
        // The answer to the last piece was lost.
        return Ok(Reply(UploadView { id: id.0, offset, content: Some(content.clone()) }));
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
    let taken = take(&entry, &mut progress, turn, bytes, api.options.file_bytes_max).await;
    if matches!(&*progress, Progress::Lost) {
        api.uploads.all().remove(&id.0);
    }
    taken?;
    let content = if piece.is_last { Some(finish(&mut progress).await?) } else { None };
    entry.touch();
    Ok(Reply(UploadView { id: id.0, offset: entry.offset.load(Ordering::SeqCst), content }))
}

/// Adds what comes to the upload. Whatever interrupts it, what has arrived stays, unless the upload is lost with it.
async fn take(
    entry: &Entry,
    progress: &mut Progress,
    turn: u64,
    mut bytes: Body,
    limit: u64,
) -> Result<(), Problem> {
    let interrupted = |why: String| Err(Problem::invalid(why));
    loop {
        let newer = entry.interrupt.notified();
        tokio::pin!(newer);
        newer.as_mut().enable();
        if entry.turn.load(Ordering::SeqCst) != turn {
            return interrupted("another request goes on with this upload".to_owned());
        }
        let frame = tokio::select! {
            frame = tokio::time::timeout(STALL_MAX, bytes.frame()) => frame,
            () = newer => continue,
        };
        let data = match frame {
            Err(_) => return interrupted("the upload stood still for 60 s".to_owned()),
            Ok(None) => return Ok(()),
            Ok(Some(Err(why))) => return interrupted(format!("the upload broke off: {why}")),
            Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_else(|_| Bytes::new()),
        };
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let offset = entry.offset.load(Ordering::SeqCst).saturating_add(length);
        if offset > limit {
            *progress = Progress::Lost;
            return Err(Problem::too_large(format!("a file has at most {limit} bytes")));
        }
        let Progress::Open(upload) = progress else { return Err(lost()) };
        if let Err(why) = upload.write(data).await {
            *progress = Progress::Lost;
            return Err(why.into());
        }
        entry.offset.store(offset, Ordering::SeqCst);
        entry.touch();
    }
}

async fn finish(progress: &mut Progress) -> Result<ContentBody, Problem> {
    match core::mem::replace(progress, Progress::Lost) {
        Progress::Open(upload) => {
            let content: ContentBody = upload.finish().await?.into();
            *progress = Progress::Complete(content.clone());
            Ok(content)
        }
        _ => Err(lost()),
    }
}

fn lost() -> Problem {
    Problem::not_found("what had arrived of this upload was lost: begin it anew")
}
