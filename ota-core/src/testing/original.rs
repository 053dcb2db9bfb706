//! Messages of the original protocol.

use super::{Choices, Generate, Owned, View};
use crate::limits::{SFT_FILES_MAX, SFT_NAME_AND_REVISION_BYTES_MAX};
use crate::number::Sha256Digest;
use crate::sft::{
    Chunk, Down, Entries, FileInfo, FileRevision, GetChunk, Link, Phase, Status, StatusCode, Up, Update,
    UpdateAvailable,
};
use crate::text::UrlBuf;

/// A message of an original device that owns its bytes.
pub type OwnedSftUp = Owned<Up<'static>>;
/// A message to an original device that owns its bytes.
pub type OwnedSftDown = Owned<Down<'static>>;

/// A name and a revision as devices of any kind write them.
fn names(choices: &mut Choices<'_>) -> (String, String) {
    let alphabet = "ab.-/ \\\u{1}\u{e4}\u{4e2d}";
    let name = choices.text(alphabet, 1, 64);
    let mut revision = choices.text(alphabet, 0, SFT_NAME_AND_REVISION_BYTES_MAX);
    while name.len() + revision.len() > SFT_NAME_AND_REVISION_BYTES_MAX {
        revision.pop();
    }
    (name, revision)
}

fn file((name, revision): &(String, String)) -> FileRevision<'_> {
    FileRevision::new(name, revision).expect("the generator keeps to the limit")
}

impl View for Up<'static> {
    type Of<'a> = Up<'a>;

    fn decode(bytes: &[u8]) -> Option<Up<'_>> {
        Up::decode(bytes).ok()
    }

    fn encode(view: &Up<'_>) -> Option<Vec<u8>> {
        view.to_vec().ok()
    }

    fn generate(choices: &mut Choices<'_>) -> Owned<Self> {
        match choices.index(3) {
            0 => {
                let names = names(choices);
                let length = choices.between(1, u32::MAX.into()) as u32;
                Owned::of(&Up::GetChunk(GetChunk { file: file(&names), offset: choices.u32(), length }))
            }
            1 => {
                let names = names(choices);
                let (phase, code) = (Phase::generate(choices), StatusCode::generate(choices));
                Owned::of(&Up::Status(Status { file: file(&names), phase, code }))
            }
            _ => {
                let all = choices.list(0, SFT_FILES_MAX, names);
                let files: Vec<_> = all.iter().map(file).collect();
                let files = Entries::from_slice(&files);
                Owned::of(&Up::FileInfo(FileInfo { files, takes_links: choices.flip() }))
            }
        }
    }
}

impl View for Down<'static> {
    type Of<'a> = Down<'a>;

    fn decode(bytes: &[u8]) -> Option<Down<'_>> {
        Down::decode(bytes).ok()
    }

    fn encode(view: &Down<'_>) -> Option<Vec<u8>> {
        view.to_vec().ok()
    }

    fn generate(choices: &mut Choices<'_>) -> Owned<Self> {
        if choices.flip() {
            let names = names(choices);
            let bytes = choices.filler(1, 2048);
            let offset = choices.up_to(u64::from(u32::MAX) - bytes.len() as u64) as u32;
            return Owned::of(&Down::Chunk(Chunk { file: file(&names), offset, bytes: &bytes }));
        }
        let all = choices.list(1, 16, |choices| {
            let link = choices.maybe(|choices| (UrlBuf::generate(choices), choices.flip()));
            let size = choices.between(1, u32::MAX.into()) as u32;
            (names(choices), size, Sha256Digest::generate(choices), link)
        });
        let files: Vec<_> = all
            .iter()
            .map(|(names, size, fingerprint, link)| Update {
                file: file(names),
                size: *size,
                fingerprint: *fingerprint,
                link: link
                    .as_ref()
                    .map(|(url, chunks_too)| Link { url: url.borrow(), chunks_too: *chunks_too }),
            })
            .collect();
        Owned::of(&Down::UpdateAvailable(UpdateAvailable { files: Entries::from_slice(&files) }))
    }
}

impl Generate for Phase {
    fn generate(choices: &mut Choices<'_>) -> Self {
        choices.one_of(&Self::ALL)
    }
}

impl Generate for StatusCode {
    fn generate(choices: &mut Choices<'_>) -> Self {
        if choices.flip() { Self(choices.u32().cast_signed()) } else { Self(-i32::from(choices.byte() % 9)) }
    }
}
