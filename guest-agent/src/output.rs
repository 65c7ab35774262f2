// SPDX-License-Identifier: Apache-2.0

//! The streams of one process: what it writes, up to its exit and for a while after, and what becomes of the rest.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::termios::{LocalModes, SpecialCodeIndex, tcgetattr};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Status;

use crate::budget::Share;
use crate::chunk::{Buffer, CHUNK_BYTES, Field};
use crate::io::NonBlocking;
use crate::reaper::Exiting;
use crate::responses::Sender;
use crate::spawn::Streams;

/// How long outputs that others hold open after the process's exit are heard where the host does not say: until they are
/// silent for that long, and no longer than that in all. The latter is what Docker grants; the former keeps an exec that
/// leaves a silent server behind from waiting for all of it, and is longer than a filter of the process's own output
/// usually thinks about a line.
const QUIET: Duration = Duration::from_millis(500);
const AFTERMATH: Duration = Duration::from_secs(2);

/// What the pipe of an output has room for once there was a lot in it, so that the process and the agent take turns less
/// often. The pages are the process's memory: who writes to a pipe pays for them (__GFP_ACCOUNT in pipe_write).
const WIDE: usize = 256 << 10;

/// Whoever was left behind and writes on, to nobody, is slowed to a pipe's content in that time, so that it costs others
/// nothing.
const ABANDONED: Duration = Duration::from_millis(50);

/// How long outputs are heard after the process's exit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Linger {
    quiet: Duration,
    total: Duration,
}

impl Linger {
    /// As long as the host says.
    pub(crate) fn of(total: Option<Duration>) -> Self {
        match total {
            Some(total) => Self { quiet: total, total },
            None => Self { quiet: QUIET, total: AFTERMATH },
        }
    }
}

/// The agent's ends of a process's streams.
pub(crate) struct Ends {
    pub(crate) input: Option<Arc<NonBlocking>>,
    output: Option<Arc<NonBlocking>>,
    error: Option<Arc<NonBlocking>>,
    pub(crate) is_terminal: bool,
    /// Whether a terminal's output is dropped.
    discards: bool,
}

impl Ends {
    pub(crate) fn new(streams: Streams, stdin: bool) -> Result<Self, Status> {
        let end = |fd| NonBlocking::new(fd).map(Arc::new).map_err(internal);
        Ok(match streams {
            Streams::Terminal { master, discards } => {
                let output = Some(end(master)?);
                let input = output.clone().filter(|_| stdin);
                Self { input, output, error: None, is_terminal: true, discards }
            }
            Streams::Pipes { stdin, stdout, stderr } => Self {
                input: stdin.map(end).transpose()?,
                output: stdout.map(end).transpose()?,
                error: stderr.map(end).transpose()?,
                is_terminal: false,
                discards: false,
            },
        })
    }

    pub(crate) fn terminal(&self) -> Option<Arc<NonBlocking>> {
        self.output.clone().filter(|_| self.is_terminal)
    }

    /// Sends what comes until both end, or until they were heard long enough; true when one has not ended then.
    pub(crate) async fn pump(&self, responses: &Sender, share: &Arc<Share>, exit: &Exiting, linger: Linger) -> bool {
        if self.discards {
            self.drop_until(exit.clone()).await;
            return false;
        }
        let heard = &Mutex::new(Instant::now());
        let pump = async |source: &Option<Arc<NonBlocking>>, field| match source {
            Some(source) => Pump { source, field, responses, share, exit: exit.clone(), linger, heard }.run().await,
            None => true,
        };
        let (output, error) = tokio::join!(pump(&self.output, Field::Stdout), pump(&self.error, Field::Stderr));
        !(output && error)
    }

    /// Drops a terminal's output, until its process has exited: nobody waits for others' words.
    async fn drop_until(&self, mut exit: Exiting) {
        let dropping = async {
            if let Some(output) = &self.output {
                while output.discard().await {}
            }
        };
        tokio::select! {
            _ = exit.wait_for(Option::is_some) => {}
            () = dropping => {}
        }
    }

    /// Lets go of what may still be open: a terminal hangs up; into a pipe, whoever was left behind may write on, to
    /// nobody, rather than die of SIGPIPE.
    pub(crate) fn abandon(&self) {
        if self.is_terminal {
            return;
        }
        for end in [&self.output, &self.error].into_iter().flatten() {
            let end = end.clone();
            tokio::spawn(async move {
                while end.discard().await {
                    sleep(ABANDONED).await;
                }
            });
        }
    }
}

pub(crate) fn internal(error: std::io::Error) -> Status {
    Status::internal(format!("the process's streams: {error}"))
}

/// Sends one output. It reads only what it can send, so a host that does not read makes the process wait.
struct Pump<'a> {
    source: &'a NonBlocking,
    field: Field,
    responses: &'a Sender,
    share: &'a Arc<Share>,
    exit: Exiting,
    linger: Linger,
    /// When either output of the process was last heard.
    heard: &'a Mutex<Instant>,
}

impl Pump<'_> {
    /// True when the output has ended, false when it is no longer heard.
    async fn run(mut self) -> bool {
        let mut aftermath: Option<Aftermath<'_>> = None;
        let mut is_wide = false;
        loop {
            let Ok(permit) = self.responses.reserve().await else { return false };
            let ready = match &mut aftermath {
                None => tokio::select! {
                    biased;
                    _ = self.exit.wait_for(Option::is_some) => {
                        aftermath = Some(Aftermath::new(self.source.pending(), self.linger, self.heard));
                        continue;
                    }
                    ready = self.source.readable() => ready,
                },
                Some(aftermath) => match aftermath.readable(self.source).await {
                    Some(ready) => ready,
                    None => return self.source.has_ended(),
                },
            };
            if ready.is_err() {
                return true;
            }
            // Only now: an output that is silent holds nothing.
            let grant = self.share.grant().await;
            let mut buffer = Buffer::take();
            let room = buffer.room(grant.bytes());
            let read = match &aftermath {
                Some(aftermath) if aftermath.left > 0 => self.source.read_now_into(room),
                _ => self.source.try_read_into(room),
            };
            match read {
                Ok(Some(count)) if count > 0 => {
                    if let Some(aftermath) = &mut aftermath {
                        aftermath.heard(count);
                    }
                    if count == CHUNK_BYTES && !is_wide {
                        is_wide = true;
                        self.source.widen(WIDE);
                    }
                    permit.send(Ok(buffer.message(self.field, count, grant)));
                }
                Ok(None) => {
                    if let Some(aftermath) = &mut aftermath {
                        aftermath.left = 0;
                    }
                }
                _ => return true,
            }
        }
    }
}

/// An output after the process's exit. What it wrote itself is in the pipe by then, or on its way through the terminal, and
/// is always read; others that hold the output open have a while for their last words.
struct Aftermath<'a> {
    /// Bytes at the exit that are not read yet, at most; 0 once there were none to read.
    left: u64,
    linger: Linger,
    heard: &'a Mutex<Instant>,
    end: Option<Instant>,
}

impl<'a> Aftermath<'a> {
    fn new(pending: u64, linger: Linger, heard: &'a Mutex<Instant>) -> Self {
        // Of a terminal's, what can be read at once is a part: it holds 4 KiB, and 8 KiB and two pages on the way there
        // (N_TTY_BUF_SIZE of n_tty.c, tty_buffer_set_limit of pty.c).
        Self { left: pending.max(CHUNK_BYTES as u64), linger, heard, end: None }
    }

    fn last_heard(&self) -> MutexGuard<'_, Instant> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for more, or for the end; none when it is heard no longer.
    async fn readable(&mut self, source: &NonBlocking) -> Option<std::io::Result<()>> {
        if self.left > 0 {
            return Some(Ok(()));
        }
        let now = Instant::now();
        if self.end.is_none() {
            *self.last_heard() = now;
        }
        let end = *self.end.get_or_insert(now + self.linger.total);
        loop {
            // A filter writes to one output and holds both.
            let until = end.min(*self.last_heard() + self.linger.quiet);
            if Instant::now() >= until {
                return None;
            }
            if let Ok(ready) = timeout_at(until, source.readable()).await {
                return Some(ready);
            }
        }
    }

    fn heard(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes as u64);
        *self.last_heard() = Instant::now();
    }
}

/// Types the terminal's end-of-file character (Ctrl-D, unless it was changed), where the terminal still takes one: twice
/// after an unfinished line, which the first one only hands to the reader.
pub(crate) async fn type_end_of_file(terminal: &NonBlocking, unfinished: bool) {
    if let Ok(attributes) = tcgetattr(terminal) {
        if attributes.local_modes.contains(LocalModes::ICANON) {
            let end_of_file = attributes.special_codes[SpecialCodeIndex::VEOF];
            let times = if unfinished { 2 } else { 1 };
            let _ = terminal.write_all(&[end_of_file; 2][..times]).await;
        }
    }
}
