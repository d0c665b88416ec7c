//! Where a program lies, as `execvp` would find it: for whoever wants to know before the night.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};

/// Where programs are looked for if the environment does not say: the C library's own default.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// The file that would be executed; a name with a slash is that file itself.
///
/// # Errors
/// In words, if there is none that this user may execute.
pub fn find_program(name: &str, search: Option<&str>) -> Result<PathBuf, String> {
    if name.contains('/') {
        return may_execute(Path::new(name)).map(|()| PathBuf::from(name));
    }
    let folders = std::env::split_paths(OsStr::new(search.unwrap_or(DEFAULT_PATH)));
    let mut refused = None;
    for folder in folders.filter(|folder| folder.is_absolute()) {
        let path = folder.join(name);
        match may_execute(&path) {
            Ok(()) => return Ok(path),
            Err(why) if path.exists() => refused = Some(format!("{}: {why}", path.display())),
            Err(_) => {}
        }
    }
    Err(refused.unwrap_or_else(|| format!("it is in none of {}", search.unwrap_or(DEFAULT_PATH))))
}

fn may_execute(path: &Path) -> Result<(), String> {
    let is_file = std::fs::metadata(path).map_err(|error| error.to_string())?.is_file();
    if !is_file {
        return Err("it is no file".to_owned());
    }
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).map_err(|errno| errno.to_string())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::find_program;

    #[test]
    fn a_program_is_found_by_its_path_or_in_the_folders_that_are_searched() {
        assert_eq!(find_program("/bin/sh", None).as_deref(), Ok(Path::new("/bin/sh")));
        assert_eq!(find_program("sh", None).as_deref(), Ok(Path::new("/bin/sh")));
        assert_eq!(find_program("sh", Some("/nowhere:/bin")).as_deref(), Ok(Path::new("/bin/sh")));
        for (name, search) in [("sh", Some("/nowhere")), ("/bin/no such program", None), ("/bin", None)] {
            assert!(find_program(name, search).is_err(), "{name}");
        }
        let why = find_program("passwd", Some("/etc")).expect_err("it is no program");
        assert!(why.contains("/etc/passwd") && why.contains("denied"), "{why}");
    }
}
