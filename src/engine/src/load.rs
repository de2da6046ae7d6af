//! Reads the fleet's files from disk. What is wrong with a file becomes a problem like any other; nothing outside the
//! repository is followed.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use claw_core::fleet::{FILE_BYTES_MAX, SourceFile, include_patterns};
use claw_core::problem::{Location, Problem};

/// The most files a fleet may include: more is a pattern that matches too much.
const INCLUDES_MAX: usize = 1_000;
/// The most files a workspace may have.
const WORKSPACE_FILES_MAX: usize = 2_000;
/// The largest workspace claw reads, in bytes.
const WORKSPACE_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Returns the main file and what it includes, and every problem in reading them.
pub fn fleet_files(main: &Path) -> (Vec<SourceFile>, Vec<Problem>) {
    let mut problems = Vec::new();
    let root = main.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let label = main.file_name().map_or_else(|| main.display().to_string(), |name| name.to_string_lossy().into_owned());
    let Some(first) = read(main, &label, &mut problems) else { return (Vec::new(), problems) };
    let patterns = include_patterns(&first);
    let mut files = vec![first];
    for pattern in patterns {
        for path in matches(root, &pattern, &label, &mut problems) {
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            if leads_out(root, &path) {
                problems.push(
                    about(&label, "path", format!("{name} is a link out of the fleet's folder"))
                        .help("included files lie beside or below the fleet file; copy it there"),
                );
            } else if name == label {
                let message = format!("`{pattern}` includes {label} itself");
                problems.push(
                    about(&label, "include-loop", message)
                        .help("name the folder of the other files: \"agents/*.toml\""),
                );
            } else if !files.iter().any(|file| file.path == name) {
                files.extend(read(&path, &name, &mut problems));
            }
        }
    }
    (files, problems)
}

/// Whether a path is a link to what lies elsewhere. One that leads nowhere is told when it is read.
fn leads_out(root: &Path, path: &Path) -> bool {
    let root = if root.as_os_str().is_empty() { Path::new(".") } else { root };
    match (fs::canonicalize(root), fs::canonicalize(path)) {
        (Ok(root), Ok(path)) => !path.starts_with(root),
        _ => false,
    }
}

/// Whether a file of that name, relative to the folder of the main file, is read with it where it exists.
pub fn includes(main: &SourceFile, name: &str) -> bool {
    let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
    let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    let fits = |pattern: &String| {
        let pattern = glob::Pattern::new(pattern.trim_start_matches("./"));
        pattern.is_ok_and(|pattern| pattern.matches_with(name, options))
    };
    plain && name != main.path && include_patterns(main).iter().any(fits)
}

fn about(file: &str, code: &'static str, message: impl Into<String>) -> Problem {
    Problem::error(code, message).at(Location { file: file.to_owned(), start: 0, end: 0 })
}

fn matches(root: &Path, pattern: &str, label: &str, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let climbs = Path::new(pattern).components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir));
    if climbs {
        problems.push(
            about(label, "path", format!("`{pattern}` leads out of the fleet's folder"))
                .help("included files lie beside or below the fleet file"),
        );
        return Vec::new();
    }
    let base = glob::Pattern::escape(&root.to_string_lossy());
    match glob::glob(&format!("{base}/{pattern}")) {
        Err(error) => {
            problems.push(about(label, "include", format!("`{pattern}` is not a pattern: {}", error.msg)));
            Vec::new()
        }
        Ok(paths) => {
            let mut found: Vec<PathBuf> = paths.filter_map(Result::ok).take(INCLUDES_MAX + 1).collect();
            if found.len() > INCLUDES_MAX {
                problems.push(about(label, "include", format!("`{pattern}` matches more than {INCLUDES_MAX} files")));
            }
            if found.is_empty() {
                problems.push(
                    about(label, "include", format!("`{pattern}` matches no file"))
                        .help("a pattern that finds nothing would hide agents; correct or remove it"),
                );
            }
            found.sort();
            found
        }
    }
}

fn read(path: &Path, label: &str, problems: &mut Vec<Problem>) -> Option<SourceFile> {
    match read_text(path) {
        Ok(text) => Some(SourceFile { path: label.to_owned(), text }),
        Err((code, message, help)) => {
            problems.push(about(label, code, format!("{}: {message}", path.display())).help(help));
            None
        }
    }
}

type Refusal = (&'static str, String, &'static str);

fn read_text(path: &Path) -> Result<String, Refusal> {
    let unreadable = |error: std::io::Error| {
        let help = match error.kind() {
            std::io::ErrorKind::NotFound => {
                "`claw init` writes a first one; `-C FOLDER` or `-f FILE` points to another"
            }
            std::io::ErrorKind::PermissionDenied => "this user may not read it",
            _ => "claw reads it as a plain file",
        };
        ("unreadable", format!("cannot be read: {error}"), help)
    };
    let file = fs::File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.is_dir() {
        return Err(("unreadable", "is a folder".to_owned(), "name the fleet file itself"));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let message = format!("is larger than {} MiB", FILE_BYTES_MAX / 1024 / 1024);
        return Err(("too-large", message, "split it with `include`"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        ("not-utf8", format!("is not UTF-8 (byte {at})"), "save it as UTF-8")
    })
}

/// The files of workspace folders: folder as the fleet spells it → path → content.
pub type Workspaces = BTreeMap<String, BTreeMap<String, Arc<[u8]>>>;

/// Returns the files of the workspace folders that exist, and a problem for each that leads out of the repository.
pub fn workspaces<'a>(
    root: &Path,
    folders: impl Iterator<Item = (&'a str, Option<Location>)>,
) -> (Workspaces, Vec<Problem>) {
    let (mut found, mut problems) = (Workspaces::new(), Vec::new());
    for (folder, at) in folders {
        if found.contains_key(folder) {
            continue;
        }
        let path = root.join(folder);
        if !path.is_dir() {
            continue; // compile says so, with the other problems
        }
        match collect(root, &path) {
            Ok(files) => {
                found.insert(folder.to_owned(), files);
            }
            Err(why) => {
                problems.push(Problem::error("workspace", format!("`{folder}` {why}")).at(at));
                found.insert(folder.to_owned(), BTreeMap::new());
            }
        }
    }
    (found, problems)
}

fn collect(root: &Path, folder: &Path) -> Result<BTreeMap<String, Arc<[u8]>>, String> {
    let inside = |path: &Path| -> Result<bool, String> {
        let (root, path) = (fs::canonicalize(root), fs::canonicalize(path));
        Ok(path
            .map_err(|error| format!("cannot be read: {error}"))?
            .starts_with(root.map_err(|error| error.to_string())?))
    };
    let (mut files, mut bytes, mut todo) = (BTreeMap::new(), 0, vec![folder.to_owned()]);
    if !inside(folder)? {
        return Err("leads out of the repository".to_owned());
    }
    while let Some(current) = todo.pop() {
        for entry in fs::read_dir(&current).map_err(|error| format!("cannot be read: {error}"))? {
            let path = entry.map_err(|error| format!("cannot be read: {error}"))?.path();
            if !inside(&path)? {
                return Err(format!("has a link out of the repository: {}", path.display()));
            }
            if path.is_dir() {
                todo.push(path);
                continue;
            }
            let content = fs::read(&path)
                .map_err(|error| format!("has a file that cannot be read: {}: {error}", path.display()))?;
            bytes += content.len() as u64;
            let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            files.insert(name, content.into());
            if files.len() > WORKSPACE_FILES_MAX || bytes > WORKSPACE_BYTES_MAX {
                return Err(format!(
                    "has more than {WORKSPACE_FILES_MAX} files or {} MiB",
                    WORKSPACE_BYTES_MAX / 1024 / 1024
                ));
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        for (name, content) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, content).expect("written");
        }
        dir
    }

    fn codes(dir: &tempfile::TempDir) -> Vec<&'static str> {
        fleet_files(&dir.path().join("fleet.toml")).1.into_iter().map(|problem| problem.code).collect()
    }

    #[test]
    fn unreadable_files_are_problems_and_never_an_empty_fleet() {
        assert_eq!(codes(&folder(&[])), ["unreadable"]);
        assert_eq!(codes(&folder(&[("fleet.toml", b"\xff")])), ["not-utf8"]);
        let large = vec![b'#'; usize::try_from(FILE_BYTES_MAX).expect("small") + 1];
        assert_eq!(codes(&folder(&[("fleet.toml", &large)])), ["too-large"]);
    }

    #[test]
    fn includes_stay_in_the_folder_and_find_something() {
        let main = |pattern: &str| format!("[fleet]\nname='a'\nid='abcd'\ninclude=['{pattern}']");
        assert_eq!(codes(&folder(&[("fleet.toml", main("../*.toml").as_bytes())])), ["path"]);
        assert_eq!(codes(&folder(&[("fleet.toml", main("agents/*.toml").as_bytes())])), ["include"]);
        assert_eq!(codes(&folder(&[("fleet.toml", main("*.toml").as_bytes())])), ["include-loop"]);
    }

    #[test]
    fn a_name_is_included_exactly_where_the_file_would_be_read() {
        let dir = folder(&[
            ("fleet.toml", b"[fleet]\nname='a'\nid='abcd'\ninclude=['./agents/*.toml', 'more/**/[ab].toml']"),
            ("agents/x.toml", b""),
            ("agents/.hidden.toml", b""),
            ("agents/deep/x.toml", b""),
            ("more/a.toml", b""),
            ("more/deep/b.toml", b""),
            ("more/c.toml", b""),
        ]);
        let (files, problems) = fleet_files(&dir.path().join("fleet.toml"));
        assert_eq!(problems, []);
        for name in [
            "agents/x.toml",
            "agents/.hidden.toml",
            "agents/deep/x.toml",
            "more/a.toml",
            "more/deep/b.toml",
            "more/c.toml",
        ] {
            assert_eq!(includes(&files[0], name), files.iter().any(|file| file.path == name), "{name}");
        }
        assert!(!includes(&files[0], "fleet.toml"));
        assert!(!includes(&files[0], "agents/../x.toml"));
        assert!(!includes(&files[0], "/agents/x.toml"));
    }

    #[cfg(unix)]
    #[test]
    fn an_included_file_that_is_a_link_elsewhere_is_refused_and_not_read() {
        let outside = folder(&[("x.toml", b"token = \"of somebody else\"")]);
        let dir =
            folder(&[("fleet.toml", b"[fleet]\ninclude = [\"agents/*.toml\"]\n"), ("agents/a.toml", b"[agents.a]\n")]);
        let link = |name: &str, to: &Path| std::os::unix::fs::symlink(to, dir.path().join(name)).expect("linked");
        link("agents/b.toml", &outside.path().join("x.toml"));
        link("agents/c.toml", &dir.path().join("agents/a.toml"));
        let (files, problems) = fleet_files(&dir.path().join("fleet.toml"));
        let names: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(names, ["fleet.toml", "agents/a.toml", "agents/c.toml"]);
        assert!(
            problems[0].message.contains("agents/b.toml is a link out of the fleet's folder"),
            "{}",
            problems[0].message
        );
    }

    #[cfg(unix)]
    #[test]
    fn links_out_of_the_repository_are_refused() {
        let outside = folder(&[("secret", b"x")]);
        let dir = folder(&[("w/a", b"1")]);
        std::os::unix::fs::symlink(outside.path().join("secret"), dir.path().join("w/b")).expect("linked");
        let (_, problems) = workspaces(dir.path(), [("w", None)].into_iter());
        assert_eq!(problems.len(), 1);
        assert!(problems[0].message.contains("link out of the repository"), "{}", problems[0].message);
    }
}
