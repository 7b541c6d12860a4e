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

/// All of a file that whoever runs the program has named, if that is no more than so many bytes. What is more is refused without
/// being read to its end, which devices and pipes need not have.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let (most, unit) = if bytes_max < 1 << 20 { (bytes_max >> 10, "KiB") } else { (bytes_max >> 20, "MiB") };
        return Err(io::Error::other(format!("it is larger than {most} {unit}")));
    }
    Ok(bytes)
}

/// The same, of text.
pub fn read_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    String::from_utf8(read(path, bytes_max)?).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
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
    fn what_has_no_end_is_not_read_to_it() {
        for (most, words) in [(1 << 10, "it is larger than 1 KiB"), (1 << 20, "it is larger than 1 MiB")] {
            assert_eq!(read(Path::new("/dev/zero"), most).unwrap_err().to_string(), words);
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text");
        std::fs::write(&path, "ñ").unwrap();
        assert_eq!(read_text(&path, 2).unwrap(), "ñ");
        assert!(read_text(&path, 1).is_err());
        std::fs::write(&path, b"\xff").unwrap();
        assert_eq!(read_text(&path, 2).unwrap_err().to_string(), "it is not UTF-8");
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
