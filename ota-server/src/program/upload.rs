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
/// [`Failure`] with what the server says, or exit code 3 if nothing got through for about 15 seconds. What had arrived is
/// dropped by the server after a while.
pub(super) fn upload(
    client: &Client,
    (product, unit): (&str, u32),
    (file, size): (&mut File, u64),
    bar: &ProgressBar,
) -> Result<ContentBody, Failure> {
    let begun: UploadView = client.post(&format!("/api/v1/products/{product}/uploads?unit={unit}"), &())?;
    let path = format!("/api/v1/uploads/{}", begun.id);
    let (mut offset, mut tries) = (0, 0);
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
        match arrived(client, &path, &mut tries, &failure)? {
            UploadView { content: Some(content), .. } => return Ok(content),
            UploadView { offset: now, .. } if now > offset => (offset, tries) = (now, 0),
            _ if failure.exit_code() != UNREACHABLE => return Err(failure),
            _ => tries += 1,
        }
    }
}

/// Asks how much has arrived until the server answers.
fn arrived(client: &Client, path: &str, tries: &mut u32, failure: &Failure) -> Result<UploadView, Failure> {
    if failure.exit_code() != UNREACHABLE {
        // The connection that broke may have delivered more after we had asked: a piece that begins too early is refused.
        return client.get(path).map_err(|_| failure.clone());
    }
    loop {
        if *tries >= TRIES_MAX {
            return Err(failure.clone());
        }
        std::thread::sleep(WAIT * (1 << *tries));
        match client.get(path) {
            Err(why) if why.exit_code() == UNREACHABLE => *tries += 1,
            outcome => return outcome,
        }
    }
}
