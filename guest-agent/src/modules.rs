// SPDX-License-Identifier: Apache-2.0

//! Kernel modules from the initramfs, in the order that the host worked out.

use std::ffi::CString;
use std::fmt;
use std::fs;
use std::path::Path;

use rustix::io::Errno;
use rustix::system::init_module;

/// The parameters of the kernel.
const COMMAND_LINE: &str = "/proc/cmdline";

/// Modules that are of use where the machine has a certain virtio device, by its number in sysfs (virtio 1.2 section 5).
const FOR_DEVICES: [(&str, &str); 1] = [("virtio_balloon", "0x0005")];
/// MODULE_SIG_STRING of include/linux/module_signature.h.
const SIGNATURE_MARKER: &[u8] = b"~Module signature appended~\n";
/// The virtio devices.
const DEVICES: &str = "/sys/bus/virtio/devices";

/// A module that could not be loaded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Failure {
    module: String,
    /// Whether the workload was promised that module.
    pub(crate) promised: bool,
    errno: Errno,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "loading the module {}: {}", self.module, std::io::Error::from(self.errno))
    }
}

/// What the host listed: one path a line, in the order of loading. Behind an empty line are those that the dial does
/// without; `!` stands before those that the workload is promised.
#[derive(Default)]
pub(crate) struct Modules {
    list: String,
    command_line: String,
    unreadable: Option<Failure>,
}

/// Reads the list. None means that the kernel needs no modules.
pub(crate) fn listed(list: &Path) -> Modules {
    match fs::read_to_string(list) {
        Ok(list) => {
            let command_line = fs::read_to_string(COMMAND_LINE).unwrap_or_default();
            Modules { list, command_line, unreadable: None }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Modules::default(),
        Err(error) => {
            let failure = Failure { module: list.display().to_string(), promised: true, errno: errno(&error) };
            Modules { unreadable: Some(failure), ..Modules::default() }
        }
    }
}

impl Modules {
    /// Returns what failed: a module may be needless on this machine (no such device), and only what comes next can tell.
    pub(crate) fn load_for_the_dial(&self) -> Vec<Failure> {
        self.unreadable.iter().cloned().chain(self.load_all(self.for_the_dial())).collect()
    }

    /// Likewise.
    pub(crate) fn load_the_rest(&self) -> Vec<Failure> {
        self.load_all(self.rest()).collect()
    }

    fn for_the_dial(&self) -> impl Iterator<Item = &str> {
        self.list.lines().take_while(|line| !line.is_empty())
    }

    fn rest(&self) -> impl Iterator<Item = &str> {
        self.list.lines().skip_while(|line| !line.is_empty()).filter(|line| !line.is_empty())
    }

    fn load_all<'a>(&self, lines: impl Iterator<Item = &'a str>) -> impl Iterator<Item = Failure> {
        lines.filter_map(|line| {
            let path = line.strip_prefix('!').unwrap_or(line);
            let module = name(path);
            if !is_of_use(module, Path::new(DEVICES)) {
                return None;
            }
            let failed = load(path, &parameters(&self.command_line, module)).err()?;
            Some(Failure { module: module.into(), promised: path != line, errno: failed })
        })
    }
}

/// Whether there is something for the module to drive, as far as that is known.
fn is_of_use(module: &str, devices: &Path) -> bool {
    let Some((_, number)) = FOR_DEVICES.iter().find(|(name, _)| *name == module) else { return true };
    fs::read_dir(devices)
        .into_iter()
        .flatten()
        .flatten()
        .any(|device| fs::read_to_string(device.path().join("device")).is_ok_and(|found| found.trim_end() == *number))
}

/// "tun" of "/nacelle/modules.d/07-tun.ko".
fn name(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    let name = file.strip_suffix(".ko").unwrap_or(file);
    name.split_once('-').map_or(name, |(_, name)| name)
}

/// A module's parameters among those of the kernel, which hands `tun.debug=1` to what is built in and leaves it to whoever
/// loads a module to do the same, as modprobe(8) does.
fn parameters(command_line: &str, module: &str) -> CString {
    let mut quoted = false;
    // A quote keeps spaces together, within a value or around all of it (next_arg of lib/cmdline.c).
    let words = command_line.trim_end().split(|character| {
        quoted ^= character == '"';
        character == ' ' && !quoted
    });
    let own = words.filter_map(|word| {
        let (quote, rest) = word.strip_prefix('"').map_or(("", word), |rest| ("\"", rest));
        let (owner, parameter) = rest.split_once('.')?;
        (owner.replace('-', "_") == module).then(|| [quote, parameter].concat())
    });
    // The kernel's command line holds no NUL.
    CString::new(own.collect::<Vec<_>>().join(" ")).unwrap_or_default()
}

/// Without its signature, unless this kernel wants one (module.sig_enforce, lockdown). The module came with the kernel, from
/// a package whose digest the host had checked or from files that its user chose, and to check the kernel's own signature takes longer than all else of loading it:
/// a hash of the whole, and RSA. The kernel says "E" of its taint for it.
fn load(path: &str, parameters: &CString) -> Result<(), Errno> {
    let module = fs::read(path).map_err(|error| errno(&error))?;
    match init_module(without_signature(&module), parameters) {
        // Loaded already, or built into this kernel.
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        // Before Linux 5.4 a kernel that wants signatures says ENOKEY.
        Err(Errno::KEYREJECTED | Errno::NOKEY | Errno::PERM) => match init_module(&module, parameters) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(errno),
        },
        Err(errno) => Err(errno),
    }
}

/// By the marker at the end, the kernel knows that there is a signature before it (module_sig_check of
/// kernel/module/signing.c); without, what is behind the sections of the ELF file is nothing to it.
fn without_signature(module: &[u8]) -> &[u8] {
    module.strip_suffix(SIGNATURE_MARKER).unwrap_or(module)
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(list: &str) -> (Vec<String>, Vec<String>) {
        let modules = Modules { list: list.into(), ..Modules::default() };
        let lines = |lines: &mut dyn Iterator<Item = &str>| lines.map(Into::into).collect();
        (lines(&mut modules.for_the_dial()), lines(&mut modules.rest()))
    }

    fn given(command_line: &str, module: &str) -> String {
        parameters(command_line, module).into_string().unwrap()
    }

    #[test]
    fn a_list_is_one_path_a_line_and_an_empty_line_ends_what_the_dial_needs() {
        let (dial, rest) = split("/m/00-virtio.ko\n/m/01-vsock.ko\n\n/m/02-ext4.ko\n!/m/03-tun.ko\n");
        assert_eq!(dial, ["/m/00-virtio.ko", "/m/01-vsock.ko"]);
        assert_eq!(rest, ["/m/02-ext4.ko", "!/m/03-tun.ko"]);
    }

    #[test]
    fn a_driver_is_of_use_where_its_device_is() {
        let devices = std::env::temp_dir().join(format!("nacelle-virtio-devices-{}", std::process::id()));
        assert!(!is_of_use("virtio_balloon", &devices));
        assert!(is_of_use("virtio_blk", &devices));
        for (name, number) in [("virtio0", "0x0013\n"), ("virtio1", "0x0002\n")] {
            fs::create_dir_all(devices.join(name)).unwrap();
            fs::write(devices.join(name).join("device"), number).unwrap();
        }
        assert!(!is_of_use("virtio_balloon", &devices));
        fs::write(devices.join("virtio1/device"), "0x0005\n").unwrap();
        assert!(is_of_use("virtio_balloon", &devices));
        fs::remove_dir_all(&devices).unwrap();
    }

    #[test]
    fn the_dial_may_need_all_modules_or_none() {
        let (dial, rest) = split("/m/00-virtio.ko\n");
        assert_eq!((dial.len(), rest.len()), (1, 0));
        let (dial, rest) = split("\n/m/00-ext4.ko\n");
        assert_eq!((dial.len(), rest.len()), (0, 1));
    }

    #[test]
    fn no_list_means_no_modules() {
        let modules = listed(Path::new("/nonexistent/modules"));
        assert_eq!(modules.load_for_the_dial(), []);
        assert_eq!(modules.load_the_rest(), []);
    }

    #[test]
    fn a_failure_names_the_module_and_the_error_and_knows_what_is_promised() {
        let directory = tempfile::tempdir().unwrap();
        let list = directory.path().join("modules");
        fs::write(&list, "/nonexistent/00-vsock.ko\n\n!/nonexistent/01-nf_tables.ko\n").unwrap();
        let modules = listed(&list);
        let [ref dial, ref rest] = [modules.load_for_the_dial(), modules.load_the_rest()].concat()[..] else {
            panic!()
        };
        assert_eq!(dial.to_string(), "loading the module vsock: No such file or directory (os error 2)");
        assert_eq!(rest.to_string(), "loading the module nf_tables: No such file or directory (os error 2)");
        assert!(!dial.promised && rest.promised);
    }

    #[test]
    fn a_signature_is_left_out_where_there_is_one() {
        let signed = [b"\x7fELF and so on, signature".as_slice(), SIGNATURE_MARKER].concat();
        assert_eq!(without_signature(&signed), b"\x7fELF and so on, signature");
        for unsigned in [b"\x7fELF and so on".as_slice(), b"", &SIGNATURE_MARKER[1..]] {
            assert_eq!(without_signature(unsigned), unsigned);
        }
    }

    #[test]
    fn parameters_of_a_module_are_those_that_the_kernels_parameters_give_it() {
        let line = "console=ttyS0 nf_conntrack.hashsize=64 quiet tun.debug=1 nf-conntrack.acct\n";
        assert_eq!(given(line, "nf_conntrack"), "hashsize=64 acct");
        assert_eq!(given(line, "tun"), "debug=1");
        assert_eq!(given(line, "vsock"), "");
    }

    #[test]
    fn a_quoted_parameter_stays_one() {
        let line = "a=\"b tun.not=1\" tun.name=\"x y\" \"tun.other=z \" tun.last=\"open tun.not=1";
        assert_eq!(given(line, "tun"), "name=\"x y\" \"other=z \" last=\"open tun.not=1");
    }
}
