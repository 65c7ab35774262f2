// SPDX-License-Identifier: Apache-2.0

//! Sees what happens to the workload without anybody's call, and tells [`Events`]: the kernel's own notices where it has
//! them, and a look each second for what it does not notify of. Nothing of it runs until somebody asks for events.

use std::future::pending;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, SeekFrom, fstatvfs, open, seek};
use rustix::io::{Errno, read};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::bounds;
use crate::cgroup::{Workload, value_of};
use crate::events::Events;
use crate::proto::event::{Filesystem, Kind};
use crate::proto::{KernelWarning, LimitReached, PressureRose, limit_reached, pressure_rose};
use crate::registry::Registry;
use crate::spawn::Filesystems;
use crate::statistics::{self, File, OPEN_FILES};

/// For that which the kernel does not notify of.
const LOOK: Duration = Duration::from_secs(1);
/// From one look at who was killed for want of memory to the next: it reads a file for each process.
const OOM_PAUSE: Duration = Duration::from_millis(100);
const PIDS_PAUSE: Duration = Duration::from_secs(1);
/// Some of the workload stalled for 15 % of two seconds, in microseconds; told once in that time.
const PRESSURE: &str = "some 300000 2000000";

/// Kernel messages that are told in a second.
const WARNINGS: u32 = 20;
/// KERN_WARNING of include/linux/kern_levels.h; what is less severe has a larger number.
const LEVEL_WARNING: u32 = 4;
/// KERN_DEBUG, the least severe.
const LEVEL_DEBUG: u32 = 7;
/// More than any record of /dev/kmsg (PRINTK_MESSAGE_MAX of kernel/printk/internal.h).
const RECORD_BYTES: usize = 8 << 10;

/// What cannot be opened any more when somebody asks for events.
#[derive(Debug)]
pub(crate) struct Sources {
    kernel_log: Option<OwnedFd>,
    filesystems: Filesystems,
}

impl Sources {
    /// `devices` has device nodes, which the agent is about to lose.
    pub(crate) fn open(devices: &Path, filesystems: Filesystems) -> Self {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Self { kernel_log: open(devices.join("kmsg"), flags, Mode::empty()).ok(), filesystems }
    }

    /// Watches for ever; what this kernel has not is never told.
    pub(crate) async fn watch(self, workload: &Workload, processes: &Registry, events: &Events) {
        let trigger = |file| workload.open_trigger(file, PRESSURE);
        let mut memory = Notice::new(workload.open("memory.events"), OOM_PAUSE);
        let mut pids = Notice::new(workload.open("pids.events"), PIDS_PAUSE);
        let mut memory_pressure = Notice::new(trigger("memory.pressure"), Duration::ZERO);
        let mut io_pressure = Notice::new(trigger("io.pressure"), Duration::ZERO);
        let mut log = KernelLog::new(self.kernel_log);
        let mut root = Room::new(self.filesystems.root, Filesystem::Root);
        let mut shared_memory = Room::new(self.filesystems.shared_memory, Filesystem::SharedMemory);
        let data = self.filesystems.data.room.into_iter();
        let mut data: Vec<_> = data.map(|disk| Room::new(disk, Filesystem::DataDisk)).collect();
        let mut limit_reached = 0;
        let mut open_files = OpenFiles::new(File::open(Path::new("/proc").join(OPEN_FILES)));
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = memory.given() => processes.tell_oom_kills(),
                text = pids.given() => {
                    let times = value_of(&text, "max");
                    if times > limit_reached {
                        tell_limit(events, limit_reached::Limit::Pids, times - limit_reached);
                    }
                    limit_reached = times;
                }
                text = memory_pressure.given() => tell_pressure(events, pressure_rose::Resource::Memory, &text),
                text = io_pressure.given() => tell_pressure(events, pressure_rose::Resource::Io, &text),
                said = log.next() => match said {
                    Said::Warning(warning) => events.push(Kind::KernelWarning(warning)),
                    Said::TooManyFiles if open_files.reached() => tell_limit(events, limit_reached::Limit::OpenFiles, 1),
                    Said::TooManyFiles => {}
                },
                _ = look.tick() => {
                    processes.sweep();
                    if open_files.look() {
                        tell_limit(events, limit_reached::Limit::OpenFiles, 1);
                    }
                    root.look(events);
                    shared_memory.look(events);
                    data.iter_mut().for_each(|disk| disk.look(events));
                }
            }
        }
    }
}

fn tell_limit(events: &Events, limit: limit_reached::Limit, times: u64) {
    events.push(Kind::LimitReached(LimitReached { limit: limit.into(), times }));
}

fn tell_pressure(events: &Events, resource: pressure_rose::Resource, text: &str) {
    let pressure = crate::statistics::pressure(text);
    events.push(Kind::PressureRose(PressureRose { resource: resource.into(), pressure }));
}

/// A file of a cgroup whose change the kernel notifies of, by a priority event (kernfs_notify, psi_trigger_poll).
struct Notice {
    file: Option<(AsyncFd<OwnedFd>, String)>,
    pause: Duration,
    next: Instant,
}

impl Notice {
    /// At most one is given in `pause`.
    fn new(file: Option<OwnedFd>, pause: Duration) -> Self {
        // What it says so far is no news; and who has not read a file is not notified of its change.
        let file = file.and_then(|file| {
            let before = contents(&file);
            Some((watched(file, Interest::PRIORITY)?, before))
        });
        Self { file, pause, next: Instant::now() }
    }

    /// Waits for a change, and returns what the file says then.
    async fn given(&mut self) -> String {
        let Some((file, before)) = &mut self.file else { return pending().await };
        loop {
            sleep_until(self.next).await;
            let Ok(mut ready) = file.ready(Interest::PRIORITY).await else { return pending().await };
            ready.clear_ready();
            self.next = Instant::now() + self.pause;
            let text = contents(file.get_ref());
            if text != *before {
                before.clone_from(&text);
                return text;
            }
        }
    }
}

fn watched(file: OwnedFd, interest: Interest) -> Option<AsyncFd<OwnedFd>> {
    // SAFETY: the value owns an open descriptor, which stays in it until it is dropped.
    unsafe { AsyncFd::register_with_interest(file, interest) }.ok()
}

fn contents(file: &OwnedFd) -> String {
    File::text_of(file).unwrap_or_default()
}

/// Files that may be open in the whole machine.
struct OpenFiles {
    file: File,
    full: bool,
}

impl OpenFiles {
    fn new(file: File) -> Self {
        Self { file, full: false }
    }

    /// The kernel has refused one; whether that is news.
    fn reached(&mut self) -> bool {
        !std::mem::replace(&mut self.full, true)
    }

    /// Whether it is news that there are as many as may be. The kernel says that it has refused one only while there are more
    /// than ever (alloc_empty_file of fs/file_table.c), and refuses none before this count is at the limit.
    fn look(&mut self) -> bool {
        match self.file.text().and_then(|text| statistics::open_files(&text)) {
            Some((open, limit)) if open >= limit => self.reached(),
            _ => {
                self.full = false;
                false
            }
        }
    }
}

/// A filesystem that may be full.
struct Room {
    directory: OwnedFd,
    which: Filesystem,
    full: bool,
}

impl Room {
    fn new(directory: OwnedFd, which: Filesystem) -> Self {
        Self { directory, which, full: false }
    }

    fn look(&mut self, events: &Events) {
        let Ok(status) = fstatvfs(&self.directory) else { return };
        let room = is_room(status.f_blocks, status.f_bavail, status.f_frsize);
        let files = status.f_files == 0 || status.f_favail > 0;
        if !(room && files) && !self.full {
            events.push(Kind::FilesystemFull(self.which.into()));
        }
        self.full = !(room && files);
    }
}

/// Whether more than 1/256 of the filesystem is left, or more than 1 MiB.
fn is_room(blocks: u64, available: u64, block_bytes: u64) -> bool {
    available > (blocks / 256).min((1 << 20) / block_bytes.max(1))
}

/// What the kernel's log has to tell.
enum Said {
    Warning(KernelWarning),
    /// No file can be opened any more.
    TooManyFiles,
}

/// The kernel's log, from now on.
struct KernelLog {
    file: Option<AsyncFd<OwnedFd>>,
    /// When the present second began.
    since: Instant,
    told: u32,
    suppressed: u64,
}

impl KernelLog {
    fn new(file: Option<OwnedFd>) -> Self {
        let file = file.and_then(|file| {
            seek(&file, SeekFrom::End(0)).ok()?;
            watched(file, Interest::READABLE)
        });
        Self { file, since: Instant::now(), told: 0, suppressed: 0 }
    }

    /// Waits for something that is to be told.
    async fn next(&mut self) -> Said {
        loop {
            // Who writes to the log as fast as it is read must not keep the agent from all else.
            consume_budget().await;
            let Some(file) = &self.file else { return pending().await };
            let Ok(mut ready) = file.readable().await else { return pending().await };
            let mut record = [0; RECORD_BYTES];
            let length = match read(file, &mut record) {
                Ok(length) => length,
                // Records were overwritten before they were read: the next read goes on behind them.
                Err(Errno::PIPE) => {
                    self.suppressed += 1;
                    continue;
                }
                Err(Errno::AGAIN | Errno::INTR) => {
                    ready.clear_ready();
                    continue;
                }
                Err(_) => {
                    self.file = None;
                    continue;
                }
            };
            drop(ready);
            if let Some((level, message)) = warning(&record[..length]) {
                if self.may_tell(Instant::now()) {
                    let message = bounds::message(message);
                    let suppressed = std::mem::take(&mut self.suppressed);
                    return Said::Warning(KernelWarning { level, message, suppressed });
                }
                self.suppressed += 1;
            } else if is_of_too_many_files(&record[..length]) {
                return Said::TooManyFiles;
            }
        }
    }

    fn may_tell(&mut self, now: Instant) -> bool {
        if now >= self.since + Duration::from_secs(1) {
            (self.since, self.told) = (now, 0);
        }
        self.told += 1;
        self.told <= WARNINGS
    }
}

/// Level and text of a record that is a warning of the kernel's.
fn warning(record: &[u8]) -> Option<(u32, String)> {
    let record = String::from_utf8_lossy(record);
    let (level, text) = of_kernel(&record)?;
    (level <= LEVEL_WARNING).then(|| (level, text.to_owned()))
}

/// Whether a record is the kernel's notice, which is no warning, that files could not be opened (ENFILE).
fn is_of_too_many_files(record: &[u8]) -> bool {
    let record = String::from_utf8_lossy(record);
    of_kernel(&record).is_some_and(|(_, text)| text.starts_with("VFS: file-max limit ") && text.ends_with(" reached"))
}

/// Level and text of a record of the kernel's own: "4,612,1234567,-;text\n KEY=value\n"
/// (Documentation/ABI/testing/dev-kmsg).
fn of_kernel(record: &str) -> Option<(u32, &str)> {
    let (prefix, text) = record.split_once(';')?;
    let priority = prefix.split(',').next()?.parse::<u32>().ok()?;
    // Above the level is the facility, of which the kernel's own is 0.
    (priority <= LEVEL_DEBUG).then(|| (priority, text.lines().next().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use rustix::event::{EventfdFlags, eventfd};
    use tokio::task::yield_now;

    use super::*;

    #[test]
    fn warnings_of_the_kernel_are_told_from_the_rest() {
        let of = |record: &str| warning(record.as_bytes());
        assert_eq!(of("4,612,1234,-;out of \\x09 paper\n SUBSYSTEM=lp\n"), Some((4, "out of \\x09 paper".into())));
        assert_eq!(of("0,1,1,c,caller=T1;dead\n"), Some((0, "dead".into())));
        // Less severe, of another facility, not a record.
        for other in ["5,1,1,-;notice\n", "12,1,1,-;user's\n", "4,1,1,-", "x,1;y", ""] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn the_kernels_notice_of_too_many_files_is_no_others() {
        assert!(is_of_too_many_files(b"6,700,1234,-;VFS: file-max limit 364 reached\n"));
        for other in
            ["14,700,1234,-;VFS: file-max limit 364 reached\n", "6,7,1,-;VFS: file-max limit", "6,7,1,-;x\n", ""]
        {
            assert!(!is_of_too_many_files(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_log_that_never_ends_leaves_time_for_all_else() {
        let (sender, done) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                // As often as it is read there is more, and nothing of it is a record.
                let flags = EventfdFlags::SEMAPHORE | EventfdFlags::NONBLOCK;
                let mut log = KernelLog::new(None);
                log.file = watched(eventfd(u32::MAX, flags).unwrap(), Interest::READABLE);
                assert!(log.file.is_some());
                let others = async {
                    for _ in 0..10 {
                        yield_now().await;
                    }
                };
                tokio::select! {
                    biased;
                    _ = log.next() => panic!("a warning of nothing"),
                    () = others => sender.send(()).unwrap(),
                }
            });
        });
        assert!(done.recv_timeout(Duration::from_secs(60)).is_ok(), "it is read for ever");
    }

    #[test]
    fn too_many_files_are_told_again_when_there_was_room_meanwhile() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file-nr");
        let write = |open: u32| std::fs::write(&path, format!("{open}\t0\t100\n")).unwrap();
        write(99);
        let mut files = OpenFiles::new(File::open(&path));
        assert!(!files.look());
        // Said by the kernel, and then seen.
        assert!(files.reached());
        write(100);
        assert!(!files.look() && !files.reached());
        write(99);
        assert!(!files.look());
        write(101);
        assert!(files.look());
        assert!(!files.look() && !files.reached());
    }

    #[tokio::test(start_paused = true)]
    async fn warnings_are_told_twenty_a_second() {
        let mut log = KernelLog::new(None);
        let told = |log: &mut KernelLog| (0..50).filter(|_| log.may_tell(Instant::now())).count();
        assert_eq!((told(&mut log), told(&mut log)), (20, 0));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(told(&mut log), 20);
    }

    #[test]
    fn a_filesystem_is_full_when_hardly_anything_is_left() {
        // 64 MiB in pages, of which 256 KiB count for nothing; 64 GiB, of which 1 MiB.
        assert!(is_room(16384, 65, 4096) && !is_room(16384, 64, 4096));
        assert!(is_room(1 << 24, 257, 4096) && !is_room(1 << 24, 256, 4096));
        assert!(is_room(1, 1, 4096) && !is_room(1, 0, 4096) && !is_room(0, 0, 0));
    }
}
