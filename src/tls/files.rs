//! Whether files have changed, without reading them: a key is not taken into memory every few seconds.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a file system says of some files at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks(Vec<(PathBuf, Option<Mark>)>);

/// A file that is written, replaced, or reached over another symbolic link has another one. The
/// time of change of its inode moves with every write, and nobody can set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Marks {
    /// Those of `files` as they are now; symbolic links are followed, as a mounted Kubernetes Secret
    /// is changed by changing one.
    #[must_use]
    pub fn of(files: impl IntoIterator<Item = PathBuf>) -> Self {
        Self(files.into_iter().map(|file| (mark(&file), file)).map(|(mark, file)| (file, mark)).collect())
    }

    /// The same files as they are now.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::of(self.0.iter().map(|(file, _)| file.clone()))
    }
}

/// None where there is no such file.
fn mark(file: &Path) -> Option<Mark> {
    let metadata = file.metadata().ok()?;
    Some(Mark {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_file_that_is_written_replaced_or_removed_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "a").unwrap();
        let marks = Marks::of([file.clone()]);
        assert_eq!(marks, marks.again());
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::write(&file, "b").unwrap();
        let written = marks.again();
        assert_ne!(marks, written, "of the same size");
        let beside = folder.path().join("beside");
        fs::write(&beside, "b").unwrap();
        fs::rename(&beside, &file).unwrap();
        let replaced = marks.again();
        assert_ne!(written, replaced);
        fs::remove_file(&file).unwrap();
        assert_ne!(replaced, marks.again());
    }

    #[test]
    fn a_secret_that_kubernetes_swaps_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for version in ["..1", "..2"] {
            fs::create_dir(path(version)).unwrap();
            fs::write(path(version).join("tls.crt"), version).unwrap();
        }
        symlink("..1", path("..data")).unwrap();
        symlink("..data/tls.crt", path("tls.crt")).unwrap();
        let marks = Marks::of([path("tls.crt")]);
        symlink("..2", path("..data_tmp")).unwrap();
        fs::rename(path("..data_tmp"), path("..data")).unwrap();
        assert_ne!(marks, marks.again());
    }
}
