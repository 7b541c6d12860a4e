//! What flags take that must be more than nothing, or be there: misuse is refused before anything is begun.

use std::{
    fs::{self, OpenOptions},
    path::PathBuf,
    time::Duration,
};

use crate::bench::usage::Usage;

/// Longest time that a flag takes: what begins now and lasts longer has no end that a clock could show.
const LONGEST: Duration = Duration::from_hours(24 * 366);

/// A finite number that is more than 0.
pub(super) fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    match number {
        Some(number) if number > 0.0 => Ok(number),
        Some(_) => Err("must be more than 0".into()),
        None => Err("must be a number, like 2.5".into()),
    }
}

/// A time that is more than none, such as `30s`.
pub(super) fn lasting(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match time {
        Duration::ZERO => Err("must be more than 0s".into()),
        time if time > LONGEST => Err("must be a year at most".into()),
        time => Ok(time),
    }
}

/// The number of a process that runs on this machine.
pub(super) fn process(text: &str) -> Result<u32, String> {
    let process = text.parse().map_err(|_| "must be the number of a process, like 1234")?;
    match Usage::of(process) {
        Ok(_) => Ok(process),
        Err(error) => Err(format!("there is no such process, or it cannot be looked at: {error:#}")),
    }
}

/// A program with the number of its process: `broker=1234`.
pub(super) fn program(text: &str) -> Result<(String, u32), String> {
    let (name, number) = text.split_once('=').ok_or("must be like broker=1234")?;
    Ok((name.to_owned(), process(number)?))
}

/// A file that can be written. One that is there is left as it is, and none is left that was not.
pub(super) fn writable(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let cannot = |error: std::io::Error| format!("cannot be written: {error}");
    match fs::metadata(&path) {
        // to open a pipe would wait for its reader
        Ok(found) if !found.is_file() && !found.is_dir() => {}
        Ok(_) => drop(OpenOptions::new().append(true).open(&path).map_err(cannot)?),
        Err(_) => {
            OpenOptions::new().append(true).create_new(true).open(&path).map_err(cannot)?;
            fs::remove_file(&path).map_err(cannot)?;
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nothing_or_not_there_is_refused() {
        for text in ["0", "-1", "NaN", "inf", "many"] {
            assert!(positive(text).is_err(), "{text}");
        }
        for text in ["0s", "0ms", "soon", "500000000000years"] {
            assert!(lasting(text).is_err(), "{text}");
        }
        for text in ["broker", "broker=x", "broker=4294967295", "=-1"] {
            assert!(program(text).is_err(), "{text}");
        }
        let ours = std::process::id();
        assert_eq!((positive("0.5"), lasting("2s")), (Ok(0.5), Ok(Duration::from_secs(2))));
        assert_eq!(program(&format!("us={ours}")), Ok(("us".to_owned(), ours)));
    }

    #[test]
    fn a_file_is_as_it_was_before_it_was_tried() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        fs::write(path("old"), "kept").unwrap();
        assert!(writable(&path("old")).is_ok() && writable(&path("new")).is_ok() && writable("/dev/null").is_ok());
        assert_eq!(fs::read_to_string(path("old")).unwrap(), "kept");
        assert!(!folder.path().join("new").exists());
        for nowhere in [path("none/new"), path("old/new"), path("")] {
            assert!(writable(&nowhere).is_err(), "{nowhere}");
        }
    }
}
