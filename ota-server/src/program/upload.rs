//! Sends a file to the server, and goes on where it was when the connection breaks off, or where a call before it broke off.
//!
//! An unfinished upload is known to the server that began it only. Where another one answers it is begun anew, and in the end
//! sent in one request, which any server takes.

use core::time::Duration;
use std::fs::File;
use std::io::{Seek as _, SeekFrom};

use indicatif::ProgressBar;
use ota_core::number::Sha256Digest;

use super::Failure;
use super::client::{Client, UNREACHABLE};
use crate::http::body::{ContentBody, UploadView};
use crate::http::{NOT_FOUND, UPLOAD_ELSEWHERE, UPLOAD_OVERTAKEN};

/// How often it is tried without a byte getting through.
const TRIES_MAX: u32 = 6;
/// How often it is begun before it is sent in one request.
const BEGUN_MAX: u32 = 2;
/// The wait before the second try; doubled before each further one.
const WAIT: Duration = Duration::from_millis(500);

/// What is to be uploaded.
pub(super) struct Wanted<'w> {
    /// For which product, as a part of a path.
    pub(super) product: &'w str,
    /// The unit of its block map.
    pub(super) unit: u32,
    /// How many bytes it has.
    pub(super) size: u64,
    /// By which the server knows it again.
    pub(super) sha256: Sha256Digest,
}

/// Uploads a file.
///
/// # Errors
/// [`Failure`] with what the server says, or exit code 3 if nothing got through for half a minute, in which a server can
/// start anew. What had arrived stays with the server for a while: the same call again goes on there.
pub(super) fn upload(
    client: &Client,
    wanted: &Wanted<'_>,
    file: &mut File,
    bar: &ProgressBar,
) -> Result<ContentBody, Failure> {
    let Wanted { product, unit, size, sha256 } = *wanted;
    for _ in 0..BEGUN_MAX {
        let begin = format!("/api/v1/products/{product}/uploads?unit={unit}&sha256={sha256}");
        let begun: UploadView = client.post(&begin, &())?;
        match go_on(client, begun, size, file, bar) {
            Err(failure) if is_gone(&failure) => {}
            outcome => return outcome,
        }
    }
    rewound(file, 0, bar)?;
    client.send(&format!("/api/v1/products/{product}/files?unit={unit}"), size, &mut bar.wrap_read(&*file))
}

/// Whether the server that answers does not know the upload.
fn is_gone(failure: &Failure) -> bool {
    failure.is_problem(UPLOAD_ELSEWHERE) || failure.is_problem(NOT_FOUND)
}

fn rewound(file: &mut File, offset: u64, bar: &ProgressBar) -> Result<(), Failure> {
    let sought = file.seek(SeekFrom::Start(offset));
    sought.map_err(|why| Failure::caused("the file cannot be read again", &why, ""))?;
    bar.set_position(offset);
    Ok(())
}

/// Sends what the server does not have yet.
fn go_on(
    client: &Client,
    begun: UploadView,
    size: u64,
    file: &mut File,
    bar: &ProgressBar,
) -> Result<ContentBody, Failure> {
    let path = format!("/api/v1/uploads/{}", begun.id);
    let (mut view, mut best, mut tries) = (begun, 0, 0);
    loop {
        if let Some(content) = view.content {
            return Ok(content);
        }
        let offset = view.offset;
        rewound(file, offset, bar)?;
        let left = size.saturating_sub(offset);
        let failure = match client.send_rest(&path, (offset, left), &mut bar.wrap_read(&*file)) {
            Ok(UploadView { content: Some(content), .. }) => return Ok(content),
            Ok(_) => return Err(Failure::new("the server did not finish the upload", "try again")),
            Err(failure) if is_gone(&failure) => return Err(failure),
            Err(failure) => failure,
        };
        view = arrived(client, &path, &mut tries, &failure)?;
        // What a connection that broke had carried may still be on its way when the server is asked, so a piece can turn
        // out to begin too early; the server then goes on only with whoever asks again.
        let has_moved = view.offset != offset;
        let is_refusal = failure.exit_code() != UNREACHABLE && !failure.is_problem(UPLOAD_OVERTAKEN);
        if is_refusal && !has_moved && view.content.is_none() {
            return Err(failure);
        }
        if view.offset > best {
            (best, tries) = (view.offset, 0);
        } else if tries < TRIES_MAX {
            tries += 1;
        } else {
            return Err(failure);
        }
    }
}

/// Asks how much has arrived until the server answers. While that grows somebody else sends the same file, and is waited for:
/// of two who took it from each other in turns neither would come far.
fn arrived(client: &Client, path: &str, tries: &mut u32, failure: &Failure) -> Result<UploadView, Failure> {
    let is_refusal = failure.exit_code() != UNREACHABLE && !failure.is_problem(UPLOAD_OVERTAKEN);
    let (mut is_at_once, mut seen) = (is_refusal, None);
    while *tries < TRIES_MAX {
        if !is_at_once {
            std::thread::sleep(WAIT * (1 << *tries));
        }
        is_at_once = false;
        match client.get::<UploadView>(path) {
            Ok(view) if !is_refusal && view.content.is_none() && seen != Some(view.offset) => {
                seen = Some(view.offset);
            }
            // A refusal may have ended the connection that this went over.
            Err(why) if why.exit_code() == UNREACHABLE => *tries += 1,
            Err(why) if is_refusal && !is_gone(&why) => break,
            outcome => return outcome,
        }
    }
    Err(failure.clone())
}
