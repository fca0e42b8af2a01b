//! Reads a file that must stay secret, after a look at who else can read or write it.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use zeroize::Zeroizing;

/// The most that a key or password file holds, in bytes.
const MOST: u64 = 64 * 1024;

/// Why a secret file is not read.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileProblem {
    /// The operating system refused.
    #[error("it cannot be read ({0}): check the path, and that the service's user may read it")]
    Io(#[from] io::Error),
    /// A folder, a pipe or a device.
    #[error("it is not a regular file: name the file itself")]
    NotAFile,
    /// Over 64 KiB.
    #[error("it is larger than 64 KiB, which no key is: check the path")]
    TooLarge,
    /// Somebody else can read or write it.
    #[error("it has mode {mode:04o}, so {who}: run `{remedy}`")]
    Exposed {
        /// The permission bits.
        mode: u32,
        /// Who can do what.
        who: &'static str,
        /// The command that repairs it.
        remedy: String,
    },
}

/// The bytes of the file, wiped when they are dropped.
///
/// # Errors
/// The file cannot be read, or somebody else can read or write it: see [`SecretFileProblem`].
pub(crate) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretFileProblem> {
    // Opening a pipe would wait for its writer, so look before; look again at what was opened,
    // which is what gets read even if the path is changed meanwhile.
    check(path, &path.metadata()?)?;
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    check(path, &metadata)?;
    read_whole(&mut file, metadata.len())
}

fn check(path: &Path, metadata: &Metadata) -> Result<(), SecretFileProblem> {
    if !metadata.is_file() {
        return Err(SecretFileProblem::NotAFile);
    }
    if metadata.len() > MOST {
        return Err(SecretFileProblem::TooLarge);
    }
    let own = metadata.uid() == rustix::process::geteuid().as_raw();
    match exposure(metadata.mode(), own) {
        None => Ok(()),
        Some(who) => {
            let remedy = if own { "chmod 600" } else { "chmod o-rwx,g-w" };
            let remedy = format!("{remedy} {}", Quoted(path));
            Err(SecretFileProblem::Exposed { mode: metadata.mode() & 0o7777, who, remedy })
        }
    }
}

/// Who else can read or write a file of this mode. A Kubernetes Secret is root's and readable by
/// its group, which is how another user's service reads it; in a file of our own the same bit lets
/// others in.
fn exposure(mode: u32, own: bool) -> Option<&'static str> {
    if mode & 0o004 != 0 {
        Some("every user of this machine can read it")
    } else if mode & 0o002 != 0 {
        Some("every user of this machine can write it")
    } else if mode & 0o020 != 0 {
        Some("its group can write it")
    } else if own && mode & 0o040 != 0 {
        Some("its group can read it")
    } else {
        None
    }
}

fn read_whole(file: &mut File, length: u64) -> Result<Zeroizing<Vec<u8>>, SecretFileProblem> {
    // One allocation that never grows, so that no copy of a key stays behind in freed memory.
    let room = usize::try_from(length).map_err(|_| SecretFileProblem::TooLarge)?;
    let mut bytes = Zeroizing::new(vec![0; room]);
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A path as a POSIX shell takes it.
pub(super) struct Quoted<'a>(pub &'a Path);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string_lossy();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+@%,:".contains(&b);
        if text.bytes().all(plain) {
            f.write_str(&text)
        } else {
            write!(f, "'{}'", text.replace('\'', "'\\''"))
        }
    }
}

/// A path on one line, for the sentence of an error.
pub(crate) fn shown(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions, write};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn read_with_mode(mode: u32) -> Result<Zeroizing<Vec<u8>>, SecretFileProblem> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a key");
        write(&path, "secret").unwrap();
        set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        read(&path)
    }

    #[test]
    fn a_file_of_ones_own_is_read_only_if_nobody_else_can() {
        for mode in [0o600, 0o400, 0o700] {
            assert_eq!(read_with_mode(mode).unwrap().as_slice(), b"secret", "{mode:o}");
        }
        for mode in [0o644, 0o604, 0o640, 0o440, 0o620, 0o602, 0o660, 0o666, 0o777] {
            let error = read_with_mode(mode).unwrap_err().to_string();
            assert!(error.contains(&format!("mode {mode:04o}")), "{error}");
            assert!(error.contains("run `chmod 600 '/"), "{error}");
        }
    }

    #[test]
    fn a_file_of_another_user_may_be_readable_for_its_group() {
        assert_eq!(exposure(0o100_440, false), None);
        assert_eq!(exposure(0o100_640, false), None);
        assert_eq!(exposure(0o100_440, true), Some("its group can read it"));
        assert_eq!(exposure(0o100_660, false), Some("its group can write it"));
        assert_eq!(exposure(0o100_444, false), Some("every user of this machine can read it"));
        assert_eq!(exposure(0o100_442, false), Some("every user of this machine can write it"));
    }

    #[test]
    fn what_is_no_small_regular_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(folder.path()), Err(SecretFileProblem::NotAFile)));
        assert!(matches!(read(Path::new("/dev/zero")), Err(SecretFileProblem::NotAFile)));
        assert!(matches!(read(&folder.path().join("none")), Err(SecretFileProblem::Io(_))));
        let large = folder.path().join("large");
        write(&large, vec![b'x'; 70_000]).unwrap();
        assert!(matches!(read(&large), Err(SecretFileProblem::TooLarge)));
    }
}
