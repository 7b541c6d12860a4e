//! Files that hold what is nobody else's business: customers' addresses, the secret behind the tracking links,
//! passwords. Ours are made for this user alone, whatever the umask; those of others are read with care.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use rustix::fs::OFlags;

/// Makes a folder, and those above it, for this user alone; one that is there stays as it is.
pub fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// How to open a file so that it is this user's alone if that makes it.
pub fn private() -> OpenOptions {
    let mut options = File::options();
    options.mode(0o600);
    options
}

/// Makes an empty file for this user alone, unless there is one.
pub fn touch(path: &Path) -> io::Result<()> {
    private().write(true).create(true).truncate(false).open(path).map(drop)
}

/// At most so much of a file in a folder that others may write to. Links are not followed, and pipes and devices, which
/// could make a reader wait for ever, are no files.
pub fn read_regular(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The permissions of a file or folder that lets others in, in octal; `None` when it does not or is not there.
pub fn open_to_others(path: &Path) -> Option<String> {
    let mode = path.metadata().ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| format!("{mode:o}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_are_for_this_user_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, file) = (dir.path().join("a/b"), dir.path().join("a/b/f"));
        create_folder(&folder).unwrap();
        touch(&file).unwrap();
        for path in [&folder, &dir.path().join("a"), &file] {
            assert_eq!(open_to_others(path), None, "{}", path.display());
        }
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        touch(&file).unwrap();
        assert_eq!(open_to_others(&file).as_deref(), Some("640"), "what is there stays as it is");
    }

    #[test]
    fn only_regular_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("file"), "text").unwrap();
        assert_eq!(read_regular(&path("file"), 3).unwrap(), b"tex");
        std::os::unix::fs::symlink("file", path("link")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
        for name in ["link", "pipe", ".", "none"] {
            assert!(read_regular(&path(name), 3).is_err(), "{name}");
        }
    }
}
