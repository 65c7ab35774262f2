// SPDX-License-Identifier: Apache-2.0

//! Files of the workload, read and changed by the host.

use std::collections::BTreeMap;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use nacelle_agent::proto::file_entry::Type;
use nacelle_agent::proto::file_operation::Operation;
use nacelle_agent::proto::file_part::Part;
use nacelle_agent::proto::file_request::Request;
use nacelle_agent::proto::file_response::Response;
use nacelle_agent::proto::write_file::Existing;
use nacelle_agent::proto::{
    ExtendedAttribute, FileAttributes, FileEnd, FileEntry, FileMap, FileOperation, FilePart, FileParts, FileRequest,
    FileTime, LinkFile, ListDirectory, MakeDirectory, MoveFile, ProcessSpec, ReadFile, ReadTree, RemoveFile,
    SetAttributes, StatFile, WriteFile, WriteTree,
};
use rustix::io::Errno;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::support::{Guest, Running, command, eventually, shell};

/// A UseFiles call.
struct Call {
    requests: Option<mpsc::UnboundedSender<FileRequest>>,
    responses: Streaming<nacelle_agent::proto::FileResponse>,
}

impl Call {
    async fn start(guest: &Guest, operation: FileOperation) -> Result<Self, Status> {
        let (requests, stream) = mpsc::unbounded_channel();
        requests.send(FileRequest { request: Some(Request::Start(operation)) }).unwrap();
        let responses = guest.client.clone().use_files(UnboundedReceiverStream::new(stream)).await?.into_inner();
        Ok(Self { requests: Some(requests), responses })
    }

    fn send(&self, parts: Vec<Part>) {
        let parts = parts.into_iter().map(|part| FilePart { part: Some(part) }).collect();
        self.request(Request::Parts(FileParts { parts }));
    }

    fn end(&self) {
        self.request(Request::End(FileEnd {}));
    }

    /// A call that was refused takes no more requests: its answer is what tells.
    fn request(&self, request: Request) {
        let _ = self.requests.as_ref().unwrap().send(FileRequest { request: Some(request) });
    }

    /// Reads to the end: the parts, or the number of the error.
    async fn finish(mut self) -> Result<Vec<Part>, Errno> {
        let mut parts = Vec::new();
        while let Some(response) = self.responses.message().await.unwrap() {
            match response.response.unwrap() {
                Response::Parts(more) => parts.extend(more.parts.into_iter().map(|part| part.part.unwrap())),
                Response::Done(_) => {
                    assert!(self.responses.message().await.unwrap().is_none());
                    return Ok(parts);
                }
                Response::Failure(failure) => return Err(Errno::from_raw_os_error(failure.errno)),
            }
        }
        panic!("the call ended without its last message");
    }
}

fn at(path: &str, operation: Operation) -> FileOperation {
    FileOperation { path: path.to_owned().into(), timeout_nanos: 0, operation: Some(operation) }
}

async fn run(guest: &Guest, path: &str, operation: Operation) -> Result<Vec<Part>, Errno> {
    Call::start(guest, at(path, operation)).await.unwrap().finish().await
}

async fn send(guest: &Guest, path: &str, operation: Operation, parts: Vec<Part>) -> Result<Vec<Part>, Errno> {
    let call = Call::start(guest, at(path, operation)).await.unwrap();
    for part in parts {
        call.send(vec![part]);
    }
    call.end();
    call.finish().await
}

async fn read(guest: &Guest, path: &str) -> Result<Vec<u8>, Errno> {
    Ok(content(&run(guest, path, Operation::Read(ReadFile {})).await?[1..]))
}

fn content(parts: &[Part]) -> Vec<u8> {
    let mut content = Vec::new();
    for part in parts {
        match part {
            Part::Data(data) => content.extend_from_slice(data),
            Part::Hole(bytes) => content.resize(content.len() + *bytes as usize, 0),
            Part::Entry(_) | Part::Map(_) => panic!("no content"),
        }
    }
    content
}

async fn write(guest: &Guest, path: &str, order: WriteFile, text: &str) -> Result<Vec<Part>, Errno> {
    send(guest, path, Operation::Write(order), vec![Part::Data(text.to_owned().into())]).await
}

fn entries(parts: Vec<Part>) -> Vec<FileEntry> {
    parts
        .into_iter()
        .filter_map(|part| match part {
            Part::Entry(entry) => Some(entry),
            _ => None,
        })
        .collect()
}

fn names(parts: Vec<Part>) -> Vec<String> {
    let mut names: Vec<_> =
        entries(parts).iter().map(|entry| String::from_utf8_lossy(&entry.path).into_owned()).collect();
    names.sort();
    names
}

fn owned(permissions: u32, uid: u32, gid: u32) -> Option<FileAttributes> {
    Some(FileAttributes { permissions: Some(permissions), uid: Some(uid), gid: Some(gid), modified: None })
}

/// Waits until a script says so.
async fn until(guest: &Guest, script: &str, expected: &str) {
    let wait = async { while guest.sh(script).await.stdout != expected.as_bytes() {} };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect(script);
}

const TIME: FileTime = FileTime { seconds: 1_000_000_000, nanos: 123_456_789 };

#[tokio::test]
async fn files_are_written_and_read() {
    let guest = Guest::busybox().await;
    write(&guest, "/new", WriteFile::default(), "one").await.unwrap();
    assert_eq!(guest.sh("cat /new; stat -c ' %a %u:%g' /new").await.text(), "one 644 0:0\n");
    assert_eq!(read(&guest, "/new").await.unwrap(), b"one");

    guest.sh("chmod 600 /new; chown 7:8 /new").await.text();
    write(&guest, "/new", WriteFile::default(), "2").await.unwrap();
    assert_eq!(guest.sh("cat /new; stat -c ' %a %u:%g' /new").await.text(), "2 600 7:8\n");
    let order = WriteFile { existing: Existing::Append.into(), ..WriteFile::default() };
    write(&guest, "/new", order, "nd").await.unwrap();
    assert_eq!(read(&guest, "/new").await.unwrap(), b"2nd");

    let order = WriteFile { existing: Existing::Fail.into(), attributes: owned(0o4755, 1, 2), ..WriteFile::default() };
    assert_eq!(write(&guest, "/new", order, "x").await, Err(Errno::EXIST));
    write(&guest, "/own", order, "x").await.unwrap();
    assert_eq!(guest.sh("stat -c '%a %u:%g' /own").await.text(), "4755 1:2\n");
    // As it comes, also where its size says nothing.
    let version = read(&guest, "/proc/version").await.unwrap();
    assert_eq!(version, guest.sh("cat /proc/version").await.stdout);
    assert_eq!(read(&guest, "/none").await, Err(Errno::NOENT));
    assert_eq!(read(&guest, "/etc").await, Err(Errno::ISDIR));
    assert_eq!(read(&guest, "/dev/null").await, Err(Errno::NXIO));
    guest.sh("mkfifo /fifo").await.text();
    assert_eq!(read(&guest, "/fifo").await, Err(Errno::NXIO));
    assert_eq!(write(&guest, "/fifo", WriteFile::default(), "x").await, Err(Errno::NXIO));
}

#[tokio::test]
async fn holes_stay_holes_beyond_4_gib() {
    let guest = Guest::busybox().await;
    let parts = vec![Part::Hole(5 << 30), Part::Data("middle".into()), Part::Hole(1 << 20)];
    send(&guest, "/dev/shm/sparse", Operation::Write(WriteFile::default()), parts).await.unwrap();
    let size = (5u64 << 30) + 6 + (1 << 20);
    assert_eq!(
        guest.sh("stat -c %s /dev/shm/sparse; du -k /dev/shm/sparse | cut -f 1").await.text(),
        format!("{size}\n4\n")
    );

    let parts = run(&guest, "/dev/shm/sparse", Operation::Read(ReadFile {})).await.unwrap();
    let Part::Entry(entry) = &parts[0] else { panic!("{:?}", parts[0]) };
    assert_eq!((entry.size, entry.allocated), (size, 4096));
    let (mut position, mut data) = (0, Vec::new());
    for part in &parts[1..] {
        match part {
            Part::Hole(bytes) => position += bytes,
            Part::Data(bytes) => {
                data.push((position, bytes.len()));
                position += bytes.len() as u64;
            }
            Part::Entry(_) | Part::Map(_) => panic!(),
        }
    }
    assert_eq!((position, data), (size, vec![(5 << 30, 4096)]));
    let append = WriteFile { existing: Existing::Append.into(), ..WriteFile::default() };
    let refused = send(&guest, "/dev/shm/sparse", Operation::Write(append), vec![Part::Hole(1)]).await;
    assert_eq!(refused, Err(Errno::INVAL));
    let parts = vec![Part::Hole(u64::MAX), Part::Hole(u64::MAX)];
    let refused = send(&guest, "/dev/shm/far", Operation::Write(WriteFile::default()), parts).await;
    assert_eq!(refused, Err(Errno::FBIG));
}

#[tokio::test]
async fn a_large_file_comes_as_it_went() {
    let guest = Guest::busybox().await;
    let bytes: Vec<u8> = (0..5_000_003u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let parts = bytes.chunks(50_000).map(|chunk| Part::Data(Bytes::copy_from_slice(chunk))).collect();
    send(&guest, "/large", Operation::Write(WriteFile::default()), parts).await.unwrap();
    assert!(read(&guest, "/large").await.unwrap() == bytes);
}

#[tokio::test]
async fn an_atomic_write_is_whole_or_nothing() {
    let guest = Guest::busybox().await;
    guest.sh("mkdir /d; echo old > /d/file; chmod 640 /d/file; chown 5:6 /d/file; ln -s file /d/link").await.text();
    let order = WriteFile { atomic: true, ..WriteFile::default() };
    // Who has it open goes on with the old one.
    let mut reader =
        guest.start(ProcessSpec { stdin: true, ..shell("exec 3< /d/file; echo open; read x; cat <&3") }).await;
    reader.read_until("open").await;

    let half = Call::start(&guest, at("/d/file", Operation::Write(order))).await.unwrap();
    half.send(vec![Part::Data("half".into())]);
    // Until it is there, under a name of its own.
    until(&guest, "cat /d/.nacelle-*", "half").await;
    assert_eq!(guest.sh("cat /d/file").await.text(), "old\n");
    drop(half);
    write(&guest, "/d/file", order, "new\n").await.unwrap();
    assert_eq!(guest.sh("cat /d/file; stat -c '%a %u:%g' /d/file").await.text(), "new\n640 5:6\n");
    reader.stdin("go\n");
    assert_eq!(reader.finish().await.stdout, b"old\n");
    // Of the one that was given up, too, nothing is left.
    until(&guest, "ls -A /d", "file\nlink\n").await;
    // A link is replaced.
    write(&guest, "/d/link", order, "own").await.unwrap();
    assert_eq!(guest.sh("cat /d/file; stat -c %F /d/link").await.text(), "new\nregular file\n");
    let new = WriteFile { existing: Existing::Fail.into(), ..order };
    assert_eq!(write(&guest, "/d/link", new, "x").await, Err(Errno::EXIST));
    write(&guest, "/d/fresh", new, "x").await.unwrap();
    assert_eq!(write(&guest, "/etc", order, "x").await, Err(Errno::ISDIR));
    let append = WriteFile { existing: Existing::Append.into(), ..order };
    assert_eq!(write(&guest, "/d/file", append, "x").await, Err(Errno::INVAL));
    assert_eq!(guest.sh("ls -A /d").await.text(), "file\nfresh\nlink\n");
}

#[tokio::test]
async fn what_does_not_fit_is_an_error_and_leaves_nothing() {
    let guest = Guest::busybox().await;
    let order = WriteFile { atomic: true, ..WriteFile::default() };
    let parts = (0..1200).map(|_| Part::Data(vec![1; 60_000].into())).collect();
    assert_eq!(send(&guest, "/dev/shm/full", Operation::Write(order), parts).await, Err(Errno::NOSPC));
    assert_eq!(guest.sh("ls -A /dev/shm").await.text(), "");
}

#[tokio::test]
async fn files_are_looked_at() {
    let guest = Guest::busybox().await;
    guest
        .sh("mkdir /d; echo 12345 > /d/file; ln -s file /d/link; ln /d/file /d/other; mkfifo -m 600 /d/fifo")
        .await
        .text();
    guest.sh("mknod -m 640 /d/null c 1 3; chown 9:10 /d/file; chmod 4711 /d/file").await.text();
    let stat = |path: &'static str, no_follow| {
        let guest = &guest;
        async move { run(guest, path, Operation::Stat(StatFile { no_follow })).await.map(|parts| entries(parts).remove(0)) }
    };
    let file = stat("/d/link", false).await.unwrap();
    assert_eq!((file.r#type(), file.size, file.permissions, file.links), (Type::Regular, 6, 0o4711, 2));
    assert_eq!((file.uid, file.gid), (9, 10));
    let link = stat("/d/link", true).await.unwrap();
    assert_eq!((link.r#type(), &*link.link_target, link.size), (Type::SymbolicLink, &b"file"[..], 0));
    assert_eq!(stat("/d", false).await.unwrap().r#type(), Type::Directory);
    assert_eq!(stat("/", false).await.unwrap().r#type(), Type::Directory);
    assert_eq!(stat("/d/fifo", false).await.unwrap().r#type(), Type::Fifo);
    let device = stat("/d/null", false).await.unwrap();
    assert_eq!((device.r#type(), device.major, device.minor), (Type::CharacterDevice, 1, 3));
    assert_eq!(stat("/none", false).await.unwrap_err(), Errno::NOENT);

    let parts = run(&guest, "/d", Operation::List(ListDirectory {})).await.unwrap();
    assert_eq!(names(parts), ["fifo", "file", "link", "null", "other"]);
    assert_eq!(run(&guest, "/d/file", Operation::List(ListDirectory {})).await, Err(Errno::NOTDIR));
    // More than a message, and more than the kernel tells at once.
    guest.sh("mkdir /many; cd /many; i=0; while [ $i -lt 3000 ]; do : > file$i; i=$((i+1)); done").await.text();
    assert_eq!(names(run(&guest, "/many", Operation::List(ListDirectory {})).await.unwrap()).len(), 3000);
}

#[tokio::test]
async fn files_are_made_moved_linked_and_removed() {
    let guest = Guest::busybox().await;
    let make = |attributes, parents| Operation::MakeDirectory(MakeDirectory { attributes, parents });
    run(&guest, "/d", make(owned(0o1777, 3, 4), false)).await.unwrap();
    assert_eq!(guest.sh("stat -c '%a %u:%g' /d").await.text(), "1777 3:4\n");
    assert_eq!(run(&guest, "/d", make(None, false)).await, Err(Errno::EXIST));
    assert_eq!(run(&guest, "/", make(None, false)).await, Err(Errno::EXIST));
    assert_eq!(run(&guest, "/d/a/b", make(None, false)).await, Err(Errno::NOENT));
    run(&guest, "/d//a/./b/", make(None, true)).await.unwrap();
    run(&guest, "/d/a/b", make(None, true)).await.unwrap();
    run(&guest, "/", make(None, true)).await.unwrap();
    guest.sh("echo x > /d/file; ln -s file /d/link").await.text();
    assert_eq!(run(&guest, "/d/file", make(None, true)).await, Err(Errno::NOTDIR));

    let to = |to: &str, no_replace| Operation::Move(MoveFile { to: to.to_owned().into(), no_replace });
    run(&guest, "/d/file", to("/d/a/moved", false)).await.unwrap();
    run(&guest, "/d/link", to("/d/a/link", false)).await.unwrap();
    assert_eq!(run(&guest, "/d/a/moved", to("/d/a/link", true)).await, Err(Errno::EXIST));
    assert_eq!(run(&guest, "/d/a", to("/d/a/b/c", false)).await, Err(Errno::INVAL));
    assert_eq!(run(&guest, "/d/..", to("/e", false)).await, Err(Errno::BUSY));
    assert_eq!(
        guest.sh("cd /d; find | sort; readlink a/link").await.text(),
        ".\n./a\n./a/b\n./a/link\n./a/moved\nfile\n"
    );

    let hard =
        |existing: &str| Operation::Link(LinkFile { existing: existing.to_owned().into(), ..LinkFile::default() });
    let symbolic =
        |target: &str| Operation::Link(LinkFile { symbolic_target: target.to_owned().into(), ..LinkFile::default() });
    run(&guest, "/d/hard", hard("/d/a/moved")).await.unwrap();
    run(&guest, "/d/soft", symbolic("../nowhere")).await.unwrap();
    assert_eq!(run(&guest, "/d/soft", symbolic("x")).await, Err(Errno::EXIST));
    assert_eq!(run(&guest, "/d/none", Operation::Link(LinkFile::default())).await, Err(Errno::INVAL));
    assert_eq!(guest.sh("stat -c %h /d/hard; readlink /d/soft").await.text(), "2\n../nowhere\n");

    let remove = |recursive| Operation::Remove(RemoveFile { recursive });
    run(&guest, "/d/soft", remove(true)).await.unwrap();
    run(&guest, "/d/hard", remove(false)).await.unwrap();
    assert_eq!(run(&guest, "/d", remove(false)).await, Err(Errno::NOTEMPTY));
    run(&guest, "/d", remove(true)).await.unwrap();
    assert_eq!(run(&guest, "/d", remove(true)).await, Err(Errno::NOENT));
    // The links are removed, not what they lead to.
    guest
        .sh("mkdir -p /t/a/b /keep; echo x > /keep/file; ln -s /keep /t/a/out; ln -s / /t/root; touch /t/1 /t/2")
        .await
        .text();
    run(&guest, "/t", remove(true)).await.unwrap();
    assert_eq!(guest.sh("ls -d /t; cat /keep/file").await.stdout, b"x\n");
    // The mounts below are no part of it.
    assert_eq!(run(&guest, "/dev", remove(true)).await, Err(Errno::BUSY));
}

#[tokio::test]
async fn attributes_are_changed() {
    let guest = Guest::busybox().await;
    guest.sh("mkdir /d; touch /d/file; ln -s file /d/link; mkfifo /d/fifo").await.text();
    let set = |attributes, no_follow| Operation::SetAttributes(SetAttributes { attributes, no_follow });
    let modified = FileAttributes { modified: Some(TIME), ..owned(0o6750, 11, 12).unwrap() };
    run(&guest, "/d/link", set(Some(modified), false)).await.unwrap();
    assert_eq!(
        guest.sh("stat -c '%a %u:%g %Y' /d/file; stat -c %u:%g /d/link").await.text(),
        "6750 11:12 1000000000\n0:0\n"
    );
    let stat = run(&guest, "/d/file", Operation::Stat(StatFile::default())).await.unwrap();
    assert_eq!(entries(stat)[0].modified, Some(TIME));
    let owner = FileAttributes { uid: Some(7), ..FileAttributes::default() };
    run(&guest, "/d/link", set(Some(owner), true)).await.unwrap();
    assert_eq!(guest.sh("stat -c %u:%g /d/link /d/file").await.text(), "7:0\n11:12\n");
    let permissions = FileAttributes { permissions: Some(0o700), ..FileAttributes::default() };
    assert_eq!(run(&guest, "/d/link", set(Some(permissions), true)).await, Err(Errno::OPNOTSUPP));
    for path in ["/d", "/d/fifo", "/d/file"] {
        run(&guest, path, set(Some(permissions), true)).await.unwrap();
    }
    assert_eq!(guest.sh("stat -c %a /d /d/fifo /d/file").await.text(), "700\n700\n700\n");
    for wrong in [
        FileAttributes { uid: Some(u32::MAX), ..FileAttributes::default() },
        FileAttributes { modified: Some(FileTime { seconds: 0, nanos: 1_000_000_000 }), ..FileAttributes::default() },
    ] {
        assert_eq!(run(&guest, "/d/file", set(Some(wrong), false)).await, Err(Errno::INVAL));
    }
}

#[tokio::test]
async fn nothing_outside_of_the_root_is_reached() {
    let guest = Guest::busybox().await;
    let mut sleeper = guest.start(command("sleep 1000")).await;
    let pid = sleeper.started().await.pid;
    guest.sh("ln -s ../../../../../../etc/group /up; ln -s /proc/1/root/etc /magic; ln -s up /chain").await.text();
    let group = guest.sh("cat /etc/group").await.stdout;
    for path in ["/up", "/chain", "/../../../etc/group", "/etc/../../etc/group"] {
        assert_eq!(read(&guest, path).await.unwrap(), group, "{path}");
    }
    for path in [format!("/proc/{pid}/root/etc/group"), format!("/proc/{pid}/cwd/etc/group"), "/magic/group".into()] {
        // Which the kernel may not even read.
        assert!(matches!(read(&guest, &path).await, Err(Errno::LOOP | Errno::ACCESS)), "{path}");
    }
    // The worker is in no /proc of the workload's, so there is no way to what it has open.
    assert_eq!(read(&guest, "/proc/self/status").await, Err(Errno::NOENT));
    for path in ["relative", "", "/nul\0"] {
        assert_eq!(read(&guest, path).await, Err(Errno::INVAL), "{path}");
    }
    assert_eq!(read(&guest, &format!("/{}", "x".repeat(4095))).await, Err(Errno::NAMETOOLONG));
}

/// The server of a FUSE mount, which never answers.
struct Silent(Child);

impl Drop for Silent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A FUSE mount in the workload's own mounts, at /silent, and a process of the workload's that is needed to get there.
async fn mount_silent(guest: &Guest) -> (Running, Silent) {
    let mut process = guest.start(shell("mkdir /silent; echo ready; exec sleep 1000")).await;
    process.read_until("ready").await;
    let [cgroup] = &guest.process_cgroups()[..] else { panic!() };
    let pid = std::fs::read_to_string(cgroup.join("cgroup.procs")).unwrap().trim().to_owned();
    // Only who has CAP_SYS_ADMIN there mounts, which a workload of its own has not.
    let mount = "exec 3<> /dev/fuse; mount -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 none /silent && \
                 echo mounted; exec sleep 100";
    let mut server = Command::new("nsenter");
    server.args(["-t", &pid, "-m", "/bin/busybox", "sh", "-c", mount]);
    let mut server = Silent(server.stdout(Stdio::piped()).spawn().unwrap());
    let mut said = [0; 8];
    server.0.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    assert_eq!(&said, b"mounted\n");
    (process, server)
}

#[tokio::test]
async fn a_filesystem_that_never_answers_stalls_its_own_call_only() {
    let guest = Guest::busybox().await;
    let _server = mount_silent(&guest).await;
    let before = guest.process_cgroups().len();
    let stat = || at("/silent/file", Operation::Stat(StatFile::default()));
    let stuck = Call::start(&guest, stat()).await.unwrap();
    let in_time = FileOperation { timeout_nanos: 100_000_000, ..stat() };
    assert_eq!(Call::start(&guest, in_time).await.unwrap().finish().await, Err(Errno::TIMEDOUT));
    assert_eq!(read(&guest, "/etc/hostname").await.unwrap(), b"nacelle-test\n");
    assert_eq!(guest.sh("echo others run").await.text(), "others run\n");
    drop(stuck);
    eventually("what is stuck is killed", || (guest.process_cgroups().len() == before).then_some(())).await;
}

#[tokio::test]
async fn a_worker_is_not_the_workload_s_to_see_or_to_stop() {
    let guest = Guest::busybox().await;
    let order = Operation::Write(WriteFile::default());
    let call = Call::start(&guest, at("/file", order)).await.unwrap();
    call.send(vec![Part::Data("half".into())]);
    eventually("the worker is born", || (guest.process_cgroups().len() == 1).then_some(())).await;
    let seen = guest.sh("set -- /proc/[0-9]*; echo $#; kill -9 -1").await;
    assert_eq!(String::from_utf8_lossy(&seen.stdout).lines().next(), Some("2"), "its init and its shell");
    call.send(vec![Part::Data(" and half".into())]);
    call.end();
    call.finish().await.unwrap();
    assert_eq!(read(&guest, "/file").await.unwrap(), b"half and half");
}

#[tokio::test]
async fn files_are_there_beside_an_entrypoint() {
    let guest = Guest::busybox().await;
    let mut entrypoint = guest.start(ProcessSpec { pid_one: true, ..command("sleep 1000") }).await;
    let id = entrypoint.started().await.process_id;
    write(&guest, "/file", WriteFile::default(), "text").await.unwrap();
    assert_eq!(guest.sh("cat /file; cat /proc/1/comm").await.text(), "textsleep\n");
    let half = Call::start(&guest, at("/half", Operation::Write(WriteFile::default()))).await.unwrap();
    half.send(vec![Part::Data("ha".into())]);
    eventually("the worker is born", || (guest.process_cgroups().len() == 2).then_some(())).await;
    // Which ends everything in its namespace, but no call.
    guest.signal(id, 9, nacelle_agent::proto::signal_process_request::Scope::Process).await.unwrap();
    entrypoint.finish().await;
    half.send(vec![Part::Data("lf".into())]);
    half.end();
    half.finish().await.unwrap();
    assert_eq!(guest.sh("cat /half; cat /proc/1/comm").await.text(), "halfinit\n");
}

#[tokio::test]
async fn calls_have_a_number_and_leave_nothing() {
    let guest = Guest::busybox().await;
    let descriptors = guest.descriptors();
    let write = || at("/dev/shm/x", Operation::Write(WriteFile::default()));
    let mut calls = Vec::new();
    for _ in 0..16 {
        calls.push(Call::start(&guest, write()).await.unwrap());
    }
    let refused = Call::start(&guest, write()).await.err().unwrap();
    assert_eq!((refused.code(), refused.message()), (Code::FailedPrecondition, "16 calls use files already"));
    drop(calls);
    eventually("all are gone", || guest.process_cgroups().is_empty().then_some(())).await;
    eventually("and what they had open", || (guest.descriptors() <= descriptors).then_some(())).await;
    eventually("and they are reaped", || (guest.zombies() == 0).then_some(())).await;
    for _ in 0..50 {
        read(&guest, "/etc/hostname").await.unwrap();
    }
}

#[tokio::test]
async fn what_breaks_the_contract_ends_the_call() {
    let guest = Guest::busybox().await;
    let (requests, stream) = mpsc::unbounded_channel();
    requests.send(FileRequest { request: Some(Request::End(FileEnd {})) }).unwrap();
    let mut responses =
        guest.client.clone().use_files(UnboundedReceiverStream::new(stream)).await.unwrap().into_inner();
    assert_eq!(responses.message().await.unwrap_err().code(), Code::InvalidArgument);

    let mut call = Call::start(&guest, at("/x", Operation::Write(WriteFile::default()))).await.unwrap();
    call.send(vec![Part::Data(vec![0; 1 << 20].into())]);
    assert_eq!(call.responses.message().await.unwrap_err().code(), Code::InvalidArgument);

    let mut nothing = at("/x", Operation::Read(ReadFile {}));
    nothing.operation = None;
    assert_eq!(Call::start(&guest, nothing).await.unwrap().finish().await, Err(Errno::INVAL));
    let twice = Call::start(&guest, at("/x", Operation::Write(WriteFile::default()))).await.unwrap();
    let again = Request::Start(at("/x", Operation::Write(WriteFile::default())));
    twice.request(again);
    assert_eq!(twice.finish().await, Err(Errno::INVAL));
    // An end without `end` is none.
    let mut cut = Call::start(&guest, at("/x", Operation::Write(WriteFile::default()))).await.unwrap();
    cut.requests = None;
    assert_eq!(cut.finish().await, Err(Errno::CANCELED));

    let fresh = Guest::fresh(crate::image::Image::busybox()).await;
    let mut early = Call::start(&fresh, at("/", Operation::Stat(StatFile::default()))).await.unwrap();
    assert_eq!(early.responses.message().await.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_tree_comes_out_and_goes_in_again() {
    let guest = Guest::busybox().await;
    guest
        .sh("mkdir -p /t/a/b/c /t/empty; cd /t; echo one > a/one; echo two > a/b/two; ln a/one a/b/again; ln -s ../one a/b/link; \
             ln -s /etc/passwd out; mkfifo -m 620 fifo; mknod -m 640 null c 1 3; chmod 1750 a; chown 5:6 a/b/two; chmod 4711 a/b/two; \
             printf x > sparse; truncate -s 1000000 sparse; printf 'name\\xff' > \"$(printf 'no\\xffutf')\"; \
             touch -d @1000000000 a/one a/b empty; : > none")
        .await
        .text();
    let parts = run(&guest, "/t", Operation::ReadTree(ReadTree::default())).await.unwrap();
    assert_eq!(
        names(parts.clone()).iter().filter(|name| !name.starts_with("no\u{fffd}")).collect::<Vec<_>>(),
        [
            "",
            "a",
            "a/b",
            "a/b/again",
            "a/b/c",
            "a/b/link",
            "a/b/two",
            "a/one",
            "empty",
            "fifo",
            "none",
            "null",
            "out",
            "sparse"
        ]
    );
    let hard: Vec<_> = entries(parts.clone()).into_iter().filter(|entry| entry.r#type() == Type::HardLink).collect();
    assert_eq!(hard.len(), 1);

    send(&guest, "/new/copy", Operation::WriteTree(WriteTree::default()), parts).await.unwrap();
    let listing = |directory| {
        format!(
            "cd {directory}; find . | sort | while read -r f; do stat -c '%n %F %a %u:%g %s %h %t:%T' \"$f\"; done; \
             cat a/one a/b/two no*; readlink a/b/link; readlink out; stat -c '%n %Y' a/one a/b empty; [ a/one -ef a/b/again ] && echo same"
        )
    };
    let (from, to) = (guest.sh(&listing("/t")).await, guest.sh(&listing("/new/copy")).await);
    let [from, to] = [from, to].map(|outcome| String::from_utf8_lossy(&outcome.stdout).into_owned());
    assert_eq!(from, to);
    assert!(from.ends_with("a/one 1000000000\na/b 1000000000\nempty 1000000000\nsame\n"), "{from}");
}

#[tokio::test]
async fn a_tree_s_owner_may_be_given_and_extended_attributes_stay() {
    let guest = Guest::busybox().await;
    let file = FileEntry {
        path: "file".into(),
        permissions: 0o4755,
        extended_attributes: vec![ExtendedAttribute { name: "user.comment".into(), value: "text".into() }],
        ..entry(Type::Regular, "file")
    };
    let order = Operation::WriteTree(WriteTree { uid: Some(21), gid: Some(22) });
    let parts = vec![
        Part::Entry(file),
        Part::Entry(FileEntry { link_target: "file".into(), ..entry(Type::SymbolicLink, "link") }),
    ];
    // tmpfs has had user.* since Linux 6.6 only.
    match send(&guest, "/t", order, parts.clone()).await {
        Err(Errno::OPNOTSUPP) => return,
        made => made.unwrap(),
    };
    assert_eq!(guest.sh("stat -c '%u:%g %a' /t/file; stat -c %u:%g /t/link").await.text(), "21:22 4755\n21:22\n");
    let told = entries(run(&guest, "/t", Operation::ReadTree(ReadTree::default())).await.unwrap());
    let told = told.iter().find(|entry| &*entry.path == b"file").unwrap();
    assert_eq!(told.extended_attributes.len(), 1);
    let mut wrong = parts;
    if let Part::Entry(entry) = &mut wrong[0] {
        entry.extended_attributes[0].name = "trusted.overlay.opaque".into();
    }
    assert_eq!(send(&guest, "/t", Operation::WriteTree(WriteTree::default()), wrong).await, Err(Errno::INVAL));
}

fn entry(kind: Type, path: &str) -> FileEntry {
    FileEntry { r#type: kind.into(), path: path.to_owned().into(), permissions: 0o755, ..FileEntry::default() }
}

#[tokio::test]
async fn a_tree_replaces_files_and_follows_no_link() {
    let guest = Guest::busybox().await;
    guest.sh("mkdir -p /t/dir/kept /outside; ln -s /outside /t/led; echo keep > /t/dir/kept/file; ln -s /etc/group /t/group").await.text();
    let tree = |parts| send(&guest, "/t", Operation::WriteTree(WriteTree::default()), parts);
    tree(vec![
        Part::Entry(entry(Type::Directory, "dir")),
        Part::Entry(entry(Type::Regular, "dir/sub/deep")),
        Part::Data("deep".into()),
        Part::Entry(entry(Type::Regular, "group")),
        Part::Data("replaced".into()),
    ])
    .await
    .unwrap();
    assert_eq!(
        guest.sh("cat /t/dir/kept/file /t/dir/sub/deep /t/group; grep -c replaced /etc/group").await.stdout,
        b"keep\ndeepreplaced0\n"
    );
    for (path, errno) in [
        ("led/file", Errno::NOTDIR),
        ("group/file", Errno::NOTDIR),
        ("../up", Errno::INVAL),
        ("/abs", Errno::INVAL),
        ("a//b", Errno::INVAL),
        ("a/./b", Errno::INVAL),
        ("a/..", Errno::INVAL),
        ("", Errno::INVAL),
        ("nul\0", Errno::INVAL),
        (&"x".repeat(256), Errno::NAMETOOLONG),
        (&"x/".repeat(2100), Errno::NAMETOOLONG),
        ("dir", Errno::ISDIR),
    ] {
        assert_eq!(tree(vec![Part::Entry(entry(Type::Regular, path))]).await, Err(errno), "{path}");
    }
    let link = |target: &str| FileEntry { link_target: target.to_owned().into(), ..entry(Type::HardLink, "hard") };
    for (target, errno) in
        [("led/x", Errno::NOTDIR), ("../etc/group", Errno::INVAL), ("dir", Errno::ISDIR), ("none", Errno::NOENT)]
    {
        assert_eq!(tree(vec![Part::Entry(link(target))]).await, Err(errno), "{target}");
    }
    assert_eq!(tree(vec![Part::Data("of no file".into())]).await, Err(Errno::INVAL));
    assert_eq!(guest.sh("ls /outside; ls -d /up /abs").await.stdout, b"");
}

#[tokio::test]
async fn a_tree_tells_where_the_data_of_a_file_with_holes_is_before_its_entry() {
    let guest = Guest::busybox().await;
    guest
        .sh("mkdir /dev/shm/t; cd /dev/shm/t; truncate -s 3G hole; printf x > both; truncate -s 5G both; \
             put() { dd of=both bs=4096 seek=$1 conv=notrunc 2>/dev/null; }; echo y | put 2; printf %4096s z | put 1310719; \
             head -c 8192 /dev/zero > full; : > empty")
        .await
        .text();
    let maps = |parts: &[Part]| {
        let (mut maps, mut runs) = (BTreeMap::new(), None);
        for part in parts {
            match part {
                Part::Entry(entry) => {
                    maps.extend(runs.take().map(|runs| (String::from_utf8_lossy(&entry.path).into_owned(), runs)));
                }
                Part::Map(map) => runs.get_or_insert_with(Vec::new).extend_from_slice(&map.runs),
                Part::Data(_) | Part::Hole(_) => assert!(runs.is_none(), "a map without an entry"),
            }
        }
        maps
    };
    let read = |maps| Operation::ReadTree(ReadTree { maps });
    assert!(maps(&run(&guest, "/dev/shm/t", read(false)).await.unwrap()).is_empty());
    let told = run(&guest, "/dev/shm/t", read(true)).await.unwrap();
    let both = vec![0, 4096, 4096, 4096, (5 << 30) - 4 * 4096, 4096];
    assert_eq!(maps(&told), [("both".to_owned(), both), ("hole".to_owned(), vec![])].into());

    // More than a part tells.
    guest
        .sh("cd /dev/shm/t; rm both hole; i=0; while [ $i -lt 3000 ]; do echo; truncate -s $((i * 8192 + 8192)) /dev/fd/1; \
             i=$((i+1)); done >> many")
        .await
        .text();
    let told = run(&guest, "/dev/shm/t", read(true)).await.unwrap();
    let runs = maps(&told).remove("many").unwrap();
    assert_eq!(runs.len(), 6000, "{runs:?}");
    assert!(runs[1..].iter().all(|&run| run == 4096));
    assert_eq!(told.iter().filter(|part| matches!(part, Part::Map(_))).count(), 3);
    // What is written is no map.
    let parts = vec![Part::Entry(entry(Type::Regular, "file")), Part::Map(FileMap::default())];
    assert_eq!(send(&guest, "/t", Operation::WriteTree(WriteTree::default()), parts).await, Err(Errno::INVAL));
}

#[tokio::test]
async fn other_filesystems_are_no_part_of_a_tree() {
    let guest = Guest::busybox().await;
    guest.sh("touch /dev/shm/file").await.text();
    let told = names(run(&guest, "/", Operation::ReadTree(ReadTree::default())).await.unwrap());
    assert!(["", "bin/busybox", "dev", "proc", "sys"].iter().all(|name| told.contains(&(*name).into())), "{told:?}");
    assert!(!told.iter().any(|name| ["dev/", "proc/", "sys/"].iter().any(|other| name.starts_with(other))), "{told:?}");
    assert_eq!(names(run(&guest, "/dev/shm", Operation::ReadTree(ReadTree::default())).await.unwrap()), ["", "file"]);
}

#[tokio::test]
async fn deep_trees_have_an_end() {
    let guest = Guest::busybox().await;
    guest.sh("mkdir /deep; cd /deep; i=0; while [ $i -lt 1200 ]; do mkdir d; cd d; i=$((i+1)); done").await.text();
    assert_eq!(run(&guest, "/deep", Operation::ReadTree(ReadTree::default())).await, Err(Errno::NAMETOOLONG));
    assert_eq!(run(&guest, "/deep", Operation::Remove(RemoveFile { recursive: true })).await, Err(Errno::NAMETOOLONG));
}

#[tokio::test]
async fn a_tree_that_changes_under_the_reader_is_told_without_an_error() {
    let guest = Guest::busybox().await;
    let churn = "mkdir /t; cd /t; echo ready; while :; do mkdir -p a/b; echo x > a/file; rm -r a; ln -s / a; rm a; echo y > a; rm a; done";
    let mut writer = guest.start(shell(churn)).await;
    writer.read_until("ready").await;
    for _ in 0..100 {
        let told = names(run(&guest, "/t", Operation::ReadTree(ReadTree::default())).await.unwrap());
        assert!(told.iter().all(|name| ["", "a", "a/b", "a/file"].contains(&name.as_str())), "{told:?}");
    }
}

#[tokio::test]
async fn content_that_nobody_reads_is_part_of_what_the_agent_holds_and_holds_up_nobody_else() {
    const WRITERS: usize = 64;
    const CALLS: usize = 15;
    const BYTES: usize = 1 << 20;
    let guest = Guest::busybox().await;
    guest.sh(&format!("yes 0123456789abcde | head -c {BYTES} > /large")).await;
    let expected = b"0123456789abcde\n".repeat(BYTES / 16);
    assert!(read(&guest, "/large").await.unwrap() == expected);
    let before = guest.agent_memory();
    let mut floods = Vec::new();
    for _ in 0..WRITERS {
        let mut flood = guest.start(command("yes")).await;
        flood.started().await;
        floods.push(flood);
    }
    guest.dammed(WRITERS).await;
    // What is left for them is a message each.
    let mut calls = Vec::new();
    for _ in 0..CALLS {
        calls.push(Call::start(&guest, at("/large", Operation::Read(ReadFile {}))).await.unwrap());
    }
    guest.dammed(WRITERS + CALLS).await;
    let grown = guest.agent_memory().saturating_sub(before);
    println!("{WRITERS} outputs and {CALLS} files that nobody reads: {} KiB", grown >> 10);
    assert!(grown < 10 << 20, "the agent took {grown} bytes");
    assert!(read(&guest, "/large").await.unwrap() == expected);
    write(&guest, "/small", WriteFile::default(), "written meanwhile").await.unwrap();
    assert_eq!(guest.sh("cat /small").await.text(), "written meanwhile");
    for call in calls {
        assert!(content(&call.finish().await.unwrap()[1..]) == expected);
    }
}

#[tokio::test]
async fn thousands_of_small_files_go_both_ways() {
    let guest = Guest::busybox().await;
    let mut parts = Vec::new();
    for index in 0..2000 {
        parts.push(Part::Entry(entry(Type::Regular, &format!("d{}/file{index}", index % 20))));
        parts.push(Part::Data(vec![index as u8; 100].into()));
    }
    let call = Call::start(&guest, at("/dev/shm/t", Operation::WriteTree(WriteTree::default()))).await.unwrap();
    for some in parts.chunks(300) {
        call.send(some.to_vec());
    }
    call.end();
    call.finish().await.unwrap();
    let told = run(&guest, "/dev/shm/t", Operation::ReadTree(ReadTree::default())).await.unwrap();
    assert_eq!(names(told.clone()).len(), 2021);
    assert!(told.iter().all(|part| !matches!(part, Part::Data(data) if data.len() != 100)));
}

/// Numbers that look random, and are the same each time (xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    fn part(&mut self) -> Part {
        const NAMES: [&str; 16] = [
            "",
            "a",
            "b",
            "a/b",
            "a/b/c",
            "out",
            "out/secret",
            "..",
            "../x",
            "a/../../x",
            "/outside/x",
            "a//b",
            ".",
            "a/.",
            "b/out",
            "b/out/secret",
        ];
        const TARGETS: [&str; 10] =
            ["", "..", "../..", "/outside", "/outside/secret", "a", "out/secret", "../../outside/secret", "b", "a\0b"];
        match self.below(9) {
            0 => Part::Data(vec![7; self.below(5000)].into()),
            2 => Part::Map(FileMap { runs: vec![1 << 40; self.below(5)] }),
            1 => Part::Hole([0, 1, 4096, 1 << 40, u64::MAX][self.below(5)]),
            _ => {
                let mut entry = entry(Type::Unspecified, self.one_of(&NAMES));
                entry.r#type = self.below(11) as i32;
                entry.link_target = self.one_of(&TARGETS).to_owned().into();
                entry.permissions = [0o644, 0o755, 0, 0o7777, u32::MAX][self.below(5)];
                (entry.uid, entry.gid) = ([0, 7, u32::MAX][self.below(3)], [0, 8, u32::MAX][self.below(3)]);
                (entry.major, entry.minor) = ([1, 8, u32::MAX][self.below(3)], [0, 3, u32::MAX][self.below(3)]);
                entry.modified =
                    [None, Some(TIME), Some(FileTime { seconds: i64::MAX, nanos: u32::MAX })][self.below(3)];
                if self.below(4) == 0 {
                    let name = self.one_of(&["user.x", "security.capability", "trusted.x", "", "user.\0"]).to_owned();
                    entry.extended_attributes =
                        vec![ExtendedAttribute { name: name.into(), value: vec![1; 20].into() }];
                }
                Part::Entry(entry)
            }
        }
    }
}

/// `NACELLE_FUZZ_ROUNDS` is how often it tries.
#[tokio::test]
async fn whatever_a_tree_is_said_to_be_stays_below_its_directory() {
    let rounds = std::env::var("NACELLE_FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(60);
    let guest = Guest::busybox().await;
    let look = "cd /; find t/other outside | sort | xargs stat -c '%n %f %u:%g %h %s %Y'; ls -A t; cat outside/secret";
    guest.sh("mkdir -p /t/other /outside; echo secret > /outside/secret; touch -d @1000 /t/other /outside/secret /outside").await;
    guest.sh("mkdir /t/top").await;
    let before = guest.sh(look).await.text();
    let (mut dice, mut done) = (Dice(0x9e37_79b9_7f4a_7c15), 0);
    for round in 0..rounds {
        guest
            .sh("rm -rf /t/top; mkdir -p /t/top/b; ln -s /outside /t/top/out; ln -s ../../../outside /t/top/b/out")
            .await;
        let order = WriteTree { uid: [None, Some(3)][dice.below(2)], gid: None };
        let parts: Vec<_> = (0..dice.below(12)).map(|_| dice.part()).collect();
        done += u32::from(send(&guest, "/t/top", Operation::WriteTree(order), parts.clone()).await.is_ok());
        assert_eq!(guest.sh(look).await.text(), before, "round {round}: {parts:?}");
    }
    assert!(done > 0, "each was refused");
    assert_eq!(guest.sh("echo alive").await.text(), "alive\n");
}
