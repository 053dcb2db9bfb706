//! Sends a file to the server, and goes on where it was when the connection breaks off.

use core::time::Duration;
use std::fs::File;
use std::io::{Seek as _, SeekFrom};

use indicatif::ProgressBar;

use super::Failure;
use super::client::{Client, UNREACHABLE};
use crate::http::body::{ContentBody, UploadView};

/// How often it is tried without a byte getting through.
const TRIES_MAX: u32 = 6;
/// The wait before the second try; doubled before each further one.
const WAIT: Duration = Duration::from_millis(500);

/// Uploads a file of this size.
///
/// # Errors
/// [`Failure`] with what the server says, or exit code 3 if nothing got through for half a minute, in which a server can
/// start anew. What had arrived is dropped by the server after a while.
pub(super) fn upload(
    client: &Client,
    (product, unit): (&str, u32),
    (file, size): (&mut File, u64),
    bar: &ProgressBar,
) -> Result<ContentBody, Failure> {
    let begun: UploadView = client.post(&format!("/api/v1/products/{product}/uploads?unit={unit}"), &())?;
    let path = format!("/api/v1/uploads/{}", begun.id);
    let (mut offset, mut best, mut tries) = (0, 0, 0);
    loop {
        let sent = file.seek(SeekFrom::Start(offset));
        sent.map_err(|why| Failure::caused("the file cannot be read again", &why, ""))?;
        bar.set_position(offset);
        let failure = match client.send_rest(
            &path,
            (offset, size.saturating_sub(offset)),
            &mut bar.wrap_read(&*file),
        ) {
            Ok(UploadView { content: Some(content), .. }) => return Ok(content),
            Ok(_) => return Err(Failure::new("the server did not finish the upload", "try again")),
            Err(failure) => failure,
        };
        let view = arrived(client, &path, &mut tries, &failure)?;
        if let Some(content) = view.content {
            return Ok(content);
        }
        // What a connection that broke had carried may still be on its way when the server is asked, so a piece can turn
        // out to begin too early; the server then goes on only with whoever asks again.
        let is_elsewhere = view.offset != offset;
        if failure.exit_code() != UNREACHABLE && !is_elsewhere {
            return Err(failure);
        }
        if view.offset > best {
            (best, tries) = (view.offset, 0);
        } else if tries < TRIES_MAX {
            tries += 1;
        } else {
            return Err(failure);
        }
        offset = view.offset;
    }
}

/// Asks how much has arrived until the server answers.
fn arrived(client: &Client, path: &str, tries: &mut u32, failure: &Failure) -> Result<UploadView, Failure> {
    let is_refusal = failure.exit_code() != UNREACHABLE;
    let mut is_at_once = is_refusal;
    while *tries < TRIES_MAX {
        if !is_at_once {
            std::thread::sleep(WAIT * (1 << *tries));
        }
        is_at_once = false;
        match client.get(path) {
            // A refusal may have ended the connection that this went over.
            Err(why) if why.exit_code() == UNREACHABLE => *tries += 1,
            Err(_) if is_refusal => break,
            outcome => return outcome,
        }
    }
    Err(failure.clone())
}
