//! What `recorder.c` has written down: every change of every file, in the order in which it happened; and
//! what is left of it after a power cut.
//!
//! A disk promises one thing: what was written to a file before a sync of that very file has begun is
//! there when the sync has returned (and a name, when its directory was synced). Of what is pending then,
//! any part may be there, in any order. That is what [`Tape::files`] plays.

use std::collections::{BTreeMap, HashMap};

/// Bytes that a disk writes whole or not at all.
const SECTOR: usize = 512;

/// Bytes in front of the content of a record: kind, padding, process, inode, offset, length.
const HEADER: usize = 32;

/// A file, by a number of its own: the kernel uses those of inodes again.
pub(crate) type File = usize;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    /// A new, empty file.
    Create {
        file: File,
        name: String,
    },
    /// A further name for a file.
    Link {
        file: File,
        name: String,
    },
    Unlink {
        name: String,
    },
    Write {
        file: File,
        offset: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        file: File,
        length: usize,
    },
    /// It belongs to somebody else now.
    Give {
        file: File,
    },
    Sync {
        file: File,
    },
    SyncDirectory,
    /// To standard output (1) or standard error (2).
    Say {
        descriptor: usize,
        text: String,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) process: u32,
    pub(crate) act: Act,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Tape {
    pub(crate) records: Vec<Record>,
    /// For each record, the one that makes it last: the next sync of its file or of the directory.
    durable: Vec<Option<usize>>,
}

/// What becomes of a change that is pending at a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Lost,
    /// The file has become longer, with zeros in the place of what was written.
    Hole,
    /// So many bytes at the beginning are there, the rest is not.
    First(usize),
    /// From so many bytes on it is there, and what is in front of them is not.
    From(usize),
}

impl Tape {
    /// Understands what was recorded. The last record may be cut off: somebody is writing it.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let mut files = Files::default();
        let mut records = Vec::new();
        let mut rest = bytes;
        while let Some((header, behind)) = rest.split_at_checked(HEADER) {
            let number = |at: usize| {
                let bytes = header[at..at + 8].try_into().unwrap();
                usize::try_from(u64::from_ne_bytes(bytes)).unwrap()
            };
            let process = u32::from_ne_bytes(header[4..8].try_into().unwrap());
            let (inode, offset, length) = (number(8), number(16), number(24));
            let Some((content, behind)) = behind.split_at_checked(length) else {
                break;
            };
            rest = behind;
            let text = || String::from_utf8_lossy(content).into_owned();
            let act = match header[0] {
                b'C' => Act::Create {
                    file: files.new_file(inode),
                    name: text(),
                },
                b'L' => Act::Link {
                    file: files.known(inode),
                    name: text(),
                },
                b'U' => Act::Unlink { name: text() },
                b'W' => Act::Write {
                    file: files.known(inode),
                    offset,
                    bytes: content.to_vec(),
                },
                b'T' => Act::Truncate {
                    file: files.known(inode),
                    length: offset,
                },
                b'O' => Act::Give {
                    file: files.known(inode),
                },
                b'S' => Act::Sync {
                    file: files.known(inode),
                },
                b'D' => Act::SyncDirectory,
                b'P' => Act::Say {
                    descriptor: offset,
                    text: text(),
                },
                other => panic!("no kind of record: {other}"),
            };
            records.push(Record { process, act });
        }
        Self::new(records)
    }

    pub(crate) fn new(records: Vec<Record>) -> Self {
        // From the end, so that the next sync of each is known.
        let (mut of_file, mut of_directory) = (HashMap::new(), None);
        let mut durable = vec![None; records.len()];
        for (index, record) in records.iter().enumerate().rev() {
            match &record.act {
                Act::Sync { file } => {
                    of_file.insert(*file, index);
                }
                Act::SyncDirectory => of_directory = Some(index),
                Act::Write { file, .. } | Act::Truncate { file, .. } | Act::Give { file } => {
                    durable[index] = of_file.get(file).copied();
                }
                Act::Create { .. } | Act::Link { .. } | Act::Unlink { .. } => {
                    durable[index] = of_directory;
                }
                Act::Say { .. } => {}
            }
        }
        Self { records, durable }
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether it is a change of a file or of a name.
    pub(crate) fn is_change(&self, index: usize) -> bool {
        match &self.records[index].act {
            Act::Create { .. }
            | Act::Link { .. }
            | Act::Unlink { .. }
            | Act::Write { .. }
            | Act::Truncate { .. }
            | Act::Give { .. } => true,
            Act::Sync { .. } | Act::SyncDirectory | Act::Say { .. } => false,
        }
    }

    /// The end of the time in which the change `index` is pending: in front of the sync that makes it
    /// last, or the end of the tape.
    pub(crate) fn pending_until(&self, index: usize) -> usize {
        self.durable[index].unwrap_or(self.len())
    }

    /// Changes that a power cut in front of record `cut` may undo.
    pub(crate) fn pending(&self, cut: usize) -> impl Iterator<Item = usize> {
        (0..cut).filter(move |index| self.is_change(*index) && self.pending_until(*index) >= cut)
    }

    /// Where a write may break apart: the borders of sectors within it.
    pub(crate) fn seams(&self, index: usize) -> Vec<usize> {
        match &self.records[index].act {
            Act::Write { offset, bytes, .. } => {
                let first = SECTOR - offset % SECTOR;
                (first..bytes.len()).step_by(SECTOR).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The files of the directory by their names, after a power cut in front of record `cut`.
    pub(crate) fn files(
        &self,
        cut: usize,
        fates: &HashMap<usize, Fate>,
    ) -> BTreeMap<&str, Vec<u8>> {
        let mut names: BTreeMap<&str, File> = BTreeMap::new();
        let mut contents: HashMap<File, Vec<u8>> = HashMap::new();
        for (index, record) in self.records[..cut].iter().enumerate() {
            let fate = fates.get(&index);
            match &record.act {
                Act::Create { file, name } | Act::Link { file, name } if fate.is_none() => {
                    names.insert(name, *file);
                }
                Act::Unlink { name } if fate.is_none() => {
                    names.remove(name.as_str());
                }
                Act::Truncate { file, length } if fate.is_none() => {
                    contents.entry(*file).or_default().resize(*length, 0);
                }
                Act::Write {
                    file,
                    offset,
                    bytes,
                } => {
                    let content = contents.entry(*file).or_default();
                    let kept = match fate {
                        None => 0..bytes.len(),
                        Some(Fate::Lost) => continue,
                        Some(Fate::Hole) => bytes.len()..bytes.len(),
                        Some(Fate::First(end)) => 0..*end,
                        Some(Fate::From(start)) => *start..bytes.len(),
                    };
                    let end = offset + kept.end;
                    if content.len() < end {
                        content.resize(end, 0);
                    }
                    content[offset + kept.start..end].copy_from_slice(&bytes[kept]);
                }
                Act::Create { .. }
                | Act::Link { .. }
                | Act::Unlink { .. }
                | Act::Truncate { .. }
                | Act::Give { .. }
                | Act::Sync { .. }
                | Act::SyncDirectory
                | Act::Say { .. } => {}
            }
        }
        let files = names.into_iter();
        files
            .map(|(name, file)| (name, contents.remove(&file).unwrap_or_default()))
            .collect()
    }

    /// What a process has said on a descriptor before record `cut`.
    pub(crate) fn said(&self, process: u32, descriptor: usize, cut: usize) -> String {
        let spoken = self.records[..cut]
            .iter()
            .filter(|one| one.process == process);
        let spoken = spoken.filter_map(|record| match &record.act {
            Act::Say {
                descriptor: on,
                text,
            } if *on == descriptor => Some(text.as_str()),
            _ => None,
        });
        spoken.collect()
    }

    /// The file that had this name last.
    pub(crate) fn file_named(&self, wanted: &str) -> Option<File> {
        self.records
            .iter()
            .rev()
            .find_map(|record| match &record.act {
                Act::Create { file, name } | Act::Link { file, name } if name == wanted => {
                    Some(*file)
                }
                _ => None,
            })
    }
}

/// Numbers of files by those of their inodes.
#[derive(Default)]
struct Files {
    known: HashMap<usize, File>,
    next: File,
}

impl Files {
    fn new_file(&mut self, inode: usize) -> File {
        self.next += 1;
        self.known.insert(inode, self.next);
        self.next
    }

    fn known(&self, inode: usize) -> File {
        *self
            .known
            .get(&inode)
            .expect("a file that was made under the recorder's eyes")
    }
}
