//! Original messages: what was understood is written exactly, and understood the same again.

use ota_core::limits::{SFT_CHUNK_BYTES_MAX, SFT_FILES_MAX, SFT_NAME_AND_REVISION_BYTES_MAX};
use ota_core::sft::{Down, FileRevision, Up};

fn is_allowed(file: &FileRevision<'_>) {
    assert!(!file.name().is_empty());
    assert!(file.name().len() + file.revision().len() <= SFT_NAME_AND_REVISION_BYTES_MAX);
    assert!(!file.name().contains('\0') && !file.revision().contains('\0'));
}

/// Reads a message of an original device.
pub fn up(data: &[u8]) {
    match Up::decode(data) {
        Ok(message) => {
            let exact = message.to_vec().unwrap();
            assert_eq!(Up::decode(&exact), Ok(message));
            match message {
                Up::FileInfo(info) => {
                    assert!(info.files.len() <= SFT_FILES_MAX);
                    assert_eq!(info.files.iter().count(), info.files.len());
                    info.files.iter().for_each(|file| is_allowed(&file));
                }
                Up::GetChunk(request) => {
                    is_allowed(&request.file);
                    for size in [0, 1, request.offset, request.offset.saturating_add(1), u32::MAX] {
                        if let Some(length) = request.chunk_bytes(size) {
                            assert!((1..=SFT_CHUNK_BYTES_MAX).contains(&length));
                            assert!(u64::from(request.offset) + u64::from(length) <= u64::from(size));
                        }
                    }
                }
                Up::Status(status) => is_allowed(&status.file),
            }
        }
        Err(error) => assert!(error.offset <= data.len()),
    }
}

/// Reads a message to an original device.
pub fn down(data: &[u8]) {
    match Down::decode(data) {
        Ok(message) => {
            let exact = message.to_vec().unwrap();
            assert_eq!(Down::decode(&exact), Ok(message));
            match message {
                Down::UpdateAvailable(available) => {
                    assert!((1..=SFT_FILES_MAX).contains(&available.files.len()));
                    assert_eq!(available.files.iter().count(), available.files.len());
                    for update in available.files {
                        is_allowed(&update.file);
                        assert!(update.size > 0);
                    }
                }
                Down::Chunk(chunk) => {
                    is_allowed(&chunk.file);
                    assert!((1..=SFT_CHUNK_BYTES_MAX as usize).contains(&chunk.bytes.len()));
                }
            }
        }
        Err(error) => assert!(error.offset <= data.len()),
    }
}
