// SPDX-License-Identifier: Apache-2.0

//! What the host has denied the workload, for people and programs in it to read: they take it for a fault of the network's.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// The newest that are kept.
pub(crate) const LINES: usize = 100;

/// The file, which the workload may do with as it likes.
#[derive(Debug)]
pub(crate) struct Denials {
    file: File,
    lines: VecDeque<Vec<u8>>,
    changed: bool,
}

impl Denials {
    pub(crate) fn new(file: File) -> Self {
        Self { file, lines: VecDeque::new(), changed: false }
    }

    /// Adds a line, which is in the file after the next [`Self::write`].
    pub(crate) fn add(&mut self, line: &[u8]) {
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back([line, b"\n"].concat());
        self.changed = true;
    }

    /// Brings the file up to date. Where it cannot be, as when the workload has taken all memory, it is old.
    pub(crate) fn write(&mut self) {
        if std::mem::take(&mut self.changed) {
            let content = self.lines.make_contiguous().concat();
            let written = self.file.write_all_at(&content, 0);
            let _ = written.and_then(|()| self.file.set_len(content.len() as u64));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn the_newest_are_in_the_file() {
        let path = std::env::temp_dir().join(format!("denials.{}", std::process::id()));
        let mut denials = Denials::new(File::create(&path).unwrap());
        let mut read = File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        denials.add(b"a long first line that is gone");
        for i in 0..LINES {
            denials.add(format!("{i}").as_bytes());
            if i % 7 == 0 {
                denials.write();
            }
        }
        denials.write();
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        assert_eq!(text, (0..LINES).map(|i| format!("{i}\n")).collect::<String>());
    }
}
