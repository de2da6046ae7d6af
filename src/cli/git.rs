//! What git has: files as they are in a commit. Runs the `git` program with a list of arguments, never a shell, and takes
//! nothing that it prints for more than bytes. Changes nothing in the repository.

use std::io::{Read, Write};
use std::path::{Component, Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::error::CommandError;
use crate::exit;

/// The most bytes taken of any one answer.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The most files looked at in a commit.
const FILES_MAX: usize = 100_000;

/// The repository a folder is in.
#[derive(Clone, Debug)]
pub struct Repository {
    /// The folder git is run in.
    root: PathBuf,
    /// Where the fleet's folder lies in it: empty, or `teams/a/`.
    prefix: String,
}

/// A commit, and what somebody called it.
#[derive(Clone, Debug)]
pub struct Commit {
    repository: Repository,
    /// What it was called.
    pub name: String,
    /// Its id.
    pub id: String,
}

/// A file of a commit, by its path relative to the fleet's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The path.
    pub path: String,
    /// What it is.
    pub kind: ItemKind,
    /// How long it is, in bytes.
    pub bytes: u64,
}

/// What a path in a commit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// A plain file.
    File,
    /// A symbolic link.
    Link,
    /// Something else: another repository.
    Other,
}

/// A version of a file: the id of its commit, and its content.
pub type OfCommit = (String, Vec<u8>);

impl Repository {
    /// Returns the repository that a folder is in.
    pub fn of(folder: &Path) -> Result<Self, CommandError> {
        let answer = run(folder, &["rev-parse", "--show-toplevel", "--show-prefix"])?.map_err(|why| {
            failed(format!("{} is in no git repository that can be read: {why}", folder.display()))
                .help("run it in the repository of the fleet; `git status` there says more")
        })?;
        let text = text(answer)?;
        let mut lines = text.split('\n');
        let (root, prefix) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        // a folder with a line break in its name would be read as another
        if root.is_empty() || lines.any(|line| !line.is_empty()) {
            return Err(failed("the folder's name has a line break").help("move the fleet to a folder without one"));
        }
        Ok(Self { root: PathBuf::from(root), prefix: prefix.to_owned() })
    }

    /// Returns the commit that a name means: a branch, a tag, an id. What begins with a dash is a name like any other.
    pub fn commit(&self, name: &str) -> Result<Commit, CommandError> {
        let asked = format!("{name}^{{commit}}");
        let found = run(&self.root, &["rev-parse", "--verify", "--quiet", "--end-of-options", &asked])?;
        // an older git repeats `--end-of-options` before the id
        let id = text(found.unwrap_or_default())?.lines().last().unwrap_or_default().trim().to_owned();
        if id.len() < 40 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) || name.contains('\0') {
            let message = format!("git knows no commit `{}`", claw_core::text::clean(name, 80));
            let help = if self.is_shallow()? {
                "this clone is shallow: fetch the branch with its history (`git fetch --unshallow`; in CI fetch-depth: 0)"
            } else {
                "name a branch, a tag or a commit that is here: `git fetch origin`, then origin/main, say"
            };
            return Err(failed(message).help(help));
        }
        Ok(Commit { repository: self.clone(), name: name.to_owned(), id })
    }

    /// Whether the history ends before its beginning.
    pub fn is_shallow(&self) -> Result<bool, CommandError> {
        let answer = run(&self.root, &["rev-parse", "--is-shallow-repository"])?;
        Ok(answer.is_ok_and(|answer| answer.starts_with(b"true")))
    }
}

impl Commit {
    /// Returns what it is called for people: its name, and its id where that says something else.
    pub fn title(&self) -> String {
        let short = self.id.get(..12).unwrap_or(&self.id);
        if self.id.starts_with(&self.name) { short.to_owned() } else { format!("{} ({short})", self.name) }
    }

    /// Returns everything below the fleet's folder, or below a folder in it.
    pub fn items(&self, folder: &str) -> Result<Vec<Item>, CommandError> {
        let below = format!("{}{folder}", self.repository.prefix);
        let mut args = vec!["ls-tree", "-r", "-z", "-l", "--full-tree", &self.id];
        let path = below.trim_end_matches('/');
        if !path.is_empty() {
            args.extend(["--", path]);
        }
        let answer = run(&self.repository.root, &args)?
            .map_err(|why| failed(format!("git cannot list {}: {why}", self.title())))?;
        let mut items = Vec::new();
        for line in answer.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
            if items.len() == FILES_MAX {
                return Err(failed(format!("{} has more than {FILES_MAX} files", self.title())));
            }
            items.extend(self.item(line)?);
        }
        Ok(items)
    }

    fn item(&self, line: &[u8]) -> Result<Option<Item>, CommandError> {
        let odd = || failed(format!("git lists {} in a way that cannot be read", self.title()));
        let line = String::from_utf8_lossy(line);
        let (facts, path) = line.split_once('\t').ok_or_else(odd)?;
        let facts: Vec<&str> = facts.split_whitespace().collect();
        let [mode, _, _, bytes] = facts.as_slice() else { return Err(odd()) };
        let Some(path) = path.strip_prefix(&self.repository.prefix) else { return Ok(None) };
        let kind = match *mode {
            "100644" | "100755" | "100664" => ItemKind::File,
            "120000" => ItemKind::Link,
            _ => ItemKind::Other,
        };
        Ok(Some(Item { path: path.to_owned(), kind, bytes: bytes.parse().unwrap_or(0) }))
    }

    /// Returns the content of a plain file of this commit.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, CommandError> {
        let mut contents = self.read_all(&[path.to_owned()])?;
        contents.pop().flatten().ok_or_else(|| failed(format!("git has no {path} at {}", self.title())))
    }

    /// Returns the contents of files of this commit, in their order; nothing for one that is not there.
    pub fn read_all(&self, paths: &[String]) -> Result<Vec<Option<Vec<u8>>>, CommandError> {
        let names: Vec<String> =
            paths.iter().map(|path| format!("{}:{}{path}", self.id, self.repository.prefix)).collect();
        cat(&self.repository.root, &names)
    }

    /// Returns every version a file had on the way to this commit, newest first, and whether there are more than `most`.
    pub fn history(&self, path: &str, most: usize) -> Result<(Vec<OfCommit>, bool), CommandError> {
        let root = &self.repository.root;
        let (most_asked, path) = (format!("--max-count={}", most + 1), format!("{}{path}", self.repository.prefix));
        let answer = run(root, &["rev-list", "--full-history", &most_asked, &self.id, "--", &path])?
            .map_err(|why| failed(format!("git cannot list the history of {path}: {why}")))?;
        let mut ids: Vec<String> = text(answer)?.lines().map(str::to_owned).collect();
        let more = ids.len() > most;
        ids.truncate(most);
        let names: Vec<String> = ids.iter().map(|id| format!("{id}:{path}")).collect();
        let contents = cat(root, &names)?;
        Ok((ids.into_iter().zip(contents).filter_map(|(id, content)| Some((id, content?))).collect(), more))
    }
}

/// Whether a path stays where it is put: no way up, nothing absolute.
pub fn is_plain(path: &str) -> bool {
    !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

/// Returns the contents of objects, by one run of git.
fn cat(root: &Path, names: &[String]) -> Result<Vec<Option<Vec<u8>>>, CommandError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    if names.iter().any(|name| name.contains(['\n', '\0'])) {
        return Err(failed("a path has a line break in it").help("give the file another name"));
    }
    let mut child = start(root, &["cat-file", "--batch"], Stdio::piped())?;
    let question = names.join("\n") + "\n";
    let stdin = child.stdin.take();
    // both ends have a buffer only: what is asked is written while the answers are read
    let writer = std::thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(question.as_bytes())));
    let answer = finish(child)?.map_err(|why| failed(format!("git cannot read what it has: {why}")))?;
    drop(writer.join());
    let mut rest = answer.as_slice();
    let mut contents = Vec::new();
    for name in names {
        let cut = || failed(format!("git's answer about {name} was cut short")).help("try again");
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or_else(cut)?;
        let head = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 1..];
        // a path with blanks repeats in "… missing", and never ends in a number
        let size =
            head.rsplit(' ').next().and_then(|size| size.parse::<usize>().ok()).filter(|_| !head.starts_with(name));
        let Some(size) = size else {
            contents.push(None);
            continue;
        };
        let (content, after) = rest.split_at_checked(size).ok_or_else(cut)?;
        contents.push(head.contains(" blob ").then(|| content.to_vec()));
        rest = after.strip_prefix(b"\n").ok_or_else(cut)?;
    }
    Ok(contents)
}

/// Runs git and returns what it printed, or why it failed.
fn run(folder: &Path, args: &[&str]) -> Result<Result<Vec<u8>, String>, CommandError> {
    finish(start(folder, args, Stdio::null())?)
}

fn start(folder: &Path, args: &[&str], stdin: Stdio) -> Result<Child, CommandError> {
    let mut command = Command::new("git");
    // nothing is fetched, asked or run for what is looked at
    command.arg("-C").arg(folder).args(["--no-pager", "--no-replace-objects", "--literal-pathspecs"]);
    command.args(["-c", "core.fsmonitor=false", "-c", "protocol.allow=never"]).args(args);
    // a hook's own surroundings say where git was called, which need not be where the fleet is
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        command.env_remove(name);
    }
    command
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("LC_ALL", "C");
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().map_err(|error| {
        failed(format!("failed to run git: {error}")).help("install git; comparing with another version needs it")
    })
}

fn finish(mut child: Child) -> Result<Result<Vec<u8>, String>, CommandError> {
    let broken = |error: std::io::Error| failed(format!("failed to read what git says: {error}"));
    let stderr = child.stderr.take();
    let complaint = std::thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(stderr) = stderr {
            let _ = stderr.take(64 * 1024).read_to_end(&mut text); // what cannot be read is not told
        }
        String::from_utf8_lossy(&text).into_owned()
    });
    let mut answer = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(ANSWER_BYTES_MAX + 1).read_to_end(&mut answer).map_err(broken)?;
    }
    if answer.len() as u64 > ANSWER_BYTES_MAX {
        let _ = child.kill(); // it may have ended by itself
        let _ = child.wait();
        return Err(failed(format!("git has more than {} MiB to say", ANSWER_BYTES_MAX >> 20)));
    }
    let status = child.wait().map_err(broken)?;
    let complaint = complaint.join().unwrap_or_default();
    let first = complaint.lines().next().unwrap_or("git gives no reason");
    Ok(if status.success() { Ok(answer) } else { Err(claw_core::text::clean(first, 300)) })
}

fn text(bytes: Vec<u8>) -> Result<String, CommandError> {
    String::from_utf8(bytes).map_err(|_| failed("git says a name that is not UTF-8").help("rename the folder"))
}

fn failed(message: impl Into<String>) -> CommandError {
    CommandError::new(exit::INVALID, message)
}
