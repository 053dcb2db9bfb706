//! Moves bytes from one stream to another. A connection on which nothing happens holds no buffer.

use core::future::poll_fn;
use core::mem::MaybeUninit;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::meter::{Next, Overstep};

/// How much is moved at once, on the stack.
const PART_BYTES: usize = 16 * 1024;

/// Why it ended before the stream did.
#[derive(Debug, thiserror::Error)]
pub(super) enum PipeError {
    #[error("the stream failed: {0}")]
    Stream(#[from] io::Error),
    #[error(transparent)]
    Overstep(#[from] Overstep),
}

enum Step {
    /// The stream is at its end, or what was read is the last that counts.
    End,
    Pause(Duration),
}

/// Moves everything until the end, which it passes on. `watch` sees each part first and says how to go on after it.
pub(super) async fn carry(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut watch: impl FnMut(&[u8]) -> Result<Next, Overstep>,
) -> Result<(), PipeError> {
    let mut rest = BytesMut::new();
    loop {
        let step = poll_fn(|cx| poll_step(cx, from, to, &mut rest, &mut watch)).await?;
        match step {
            Step::Pause(duration) => tokio::time::sleep(duration).await,
            Step::End => {
                to.write_all(&rest).await?;
                to.shutdown().await?;
                return Ok(());
            }
        }
    }
}

fn poll_step(
    cx: &mut Context<'_>,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    rest: &mut BytesMut,
    watch: &mut impl FnMut(&[u8]) -> Result<Next, Overstep>,
) -> Poll<Result<Step, PipeError>> {
    loop {
        while !rest.is_empty() {
            let written = ready!(Pin::new(&mut *to).poll_write(cx, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
            }
            rest.advance(written);
        }
        *rest = BytesMut::new();
        let mut space = [MaybeUninit::uninit(); PART_BYTES];
        let mut part = ReadBuf::uninit(&mut space);
        let Poll::Ready(read) = Pin::new(&mut *from).poll_read(cx, &mut part) else {
            // Nothing to read: let out what the writer may still hold, and wait for either.
            let _ = Pin::new(&mut *to).poll_flush(cx)?;
            return Poll::Pending;
        };
        read?;
        let part = part.filled();
        if part.is_empty() {
            return Poll::Ready(Ok(Step::End));
        }
        let next = watch(part)?;
        let written = match Pin::new(&mut *to).poll_write(cx, part) {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        rest.extend_from_slice(&part[written..]);
        match next {
            Next::GoOn(pause) if pause.is_zero() => {}
            Next::GoOn(pause) => return Poll::Ready(Ok(Step::Pause(pause))),
            Next::End => return Poll::Ready(Ok(Step::End)),
        }
    }
}
