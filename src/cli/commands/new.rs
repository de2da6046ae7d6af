//! `claw new`: an agent's lines in the fleet file. Writes only what `claw check` takes; makes nothing in the world.

mod known;
mod questions;

use clap::Args;
use claw_core::compile::is_id;
use claw_core::fleet::{SourceFile, include_patterns};
use claw_core::problem::Problem;
use claw_engine::load;
use serde_json::json;
use toml_edit::{Array, InlineTable, Value};

use self::known::Known;
use super::Outcome;
use crate::args::Global;
use crate::ask;
use crate::edit::{self, Added, Fields, Replaced};
use crate::error::CommandError;
use crate::exit;
use crate::render::{self, problems};
use crate::session::Checked;
use crate::setup::Setup;
use crate::wiring;

/// Add an agent to the fleet file
///
/// Whatever [defaults.agent] says is neither asked nor written. On a terminal claw asks for the rest, unless flags say
/// enough; elsewhere the model, version and profiles are those most agents have, and the place is the only one there is.
/// Nothing is written that `claw check` would refuse, and no other line of the file changes.
///
/// The lines go after the last agent of the fleet file. Where `include` has a pattern like "agents/*.toml" and agents lie
/// there, they go into a file of their own: agents/NAME.toml.
#[derive(Debug, Args)]
#[command(disable_version_flag = true)]
pub struct New {
    /// The agent's name: the key of its table.
    name: Option<String>,
    #[command(flatten)]
    said: Said,
    /// The file to write into, relative to the fleet file: one that it includes.
    #[arg(long, value_name = "FILE")]
    file: Option<String>,
    /// Print the lines and write nothing.
    #[arg(long)]
    dry_run: bool,
}

/// What was said of the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct Said {
    /// Where it runs: a host or a provider of the fleet.
    #[arg(long, value_name = "PLACE")]
    pub on: Option<String>,
    /// The model it thinks with: anthropic/claude-sonnet-5.
    #[arg(long)]
    pub model: Option<String>,
    /// The OpenClaw it runs, pinned: 2026.9.6.
    #[arg(long)]
    pub version: Option<String>,
    /// Its emoji; one that follows from its name unless given. "" for none.
    #[arg(long)]
    pub emoji: Option<String>,
    /// The DNS name that leads to its machine.
    #[arg(long, value_name = "NAME")]
    pub domain: Option<String>,
    /// A secret profile it may draw from; can be given several times.
    #[arg(long, value_name = "PROFILE")]
    pub secrets: Vec<String>,
    /// On a cloud: the size of its machine; given several times, the first that can be had.
    #[arg(long)]
    pub size: Vec<String>,
    /// On a cloud: where its machine stands.
    #[arg(long)]
    pub location: Option<String>,
    /// What it is for, one line.
    #[arg(long)]
    pub purpose: Option<String>,
    /// What it is known by on the machines; its name unless given.
    #[arg(long)]
    pub id: Option<String>,
    /// A folder of files to put in its workspace, relative to the fleet file.
    #[arg(long, value_name = "FOLDER")]
    pub workspace: Option<String>,
    /// The memory it may use: 2GiB unless given.
    #[arg(long)]
    pub memory: Option<String>,
}

impl Said {
    /// Refuses line breaks and other control characters: what is said here is one line each.
    fn refuse_odd_letters(&self) -> Result<(), CommandError> {
        let one = [&self.on, &self.model, &self.version, &self.emoji, &self.domain, &self.location, &self.purpose];
        let more = [&self.id, &self.workspace, &self.memory];
        let mut all = one.into_iter().chain(more).flatten().chain(&self.secrets).chain(&self.size);
        match all.find(|text| text.chars().any(char::is_control)) {
            Some(text) => Err(CommandError::usage(format!("{text:?} is not one line of plain text"))),
            None => Ok(()),
        }
    }
}

impl New {
    /// Runs it.
    pub fn run(self, global: &Global, setup: &Setup) -> Outcome {
        let old = Checked::of(load::fleet_files(&setup.fleet_file), global, setup).map_err(mend_first)?;
        let known = &Known::new(&old.fleet, &old.sources, &old.profiles);
        for word in [&self.name, &self.said.id].into_iter().flatten() {
            refuse_taken(known, word)?;
        }
        self.said.refuse_odd_letters()?;
        let file = self.file.as_deref().map(|file| named_file(&old.sources[0], &old.sources, file)).transpose()?;
        let asks = setup.stdin_terminal && setup.stderr_terminal && !global.json;
        // prices are the API's alone; without them sizes are told by their memory
        let prices = |provider: &str, location: &str| {
            wiring::prices(&old.fleet, provider, location, setup, old.vault(), global.sandbox)
        };
        let (name, said) = settle(self.name, self.said, known, &prices, asks)?;
        refuse_taken(known, said.id.as_deref().unwrap_or(&name))?;
        let id = said.id.as_deref().unwrap_or(&name);
        if !is_id(id) {
            return Err(CommandError::usage(format!("`{id}` cannot be an agent's id")).help(
                "use up to 32 lower-case letters, digits and dashes, a letter first; a name may be anything with --id",
            ));
        }
        let file = file.unwrap_or_else(|| usual_file(known, if is_id(&name) { &name } else { id }));
        let before = old.sources.iter().find(|source| source.path == file).map(|source| source.text.as_str());
        let added = edit::add_table(before.unwrap_or_default(), "agents", &name, &fields(&said))
            .map_err(|why| CommandError::failed(format!("failed to add to {file}: {why}")))?;
        let sources = replaced(&old.sources, &file, &added.text);
        let new = Checked::of((sources, Vec::new()), global, setup).map_err(would_be_invalid)?;
        if !self.dry_run {
            write(setup, &file, before, &added.text)?;
        }
        let odd: Vec<Problem> = new.warnings.into_iter().filter(|warning| is_new(warning, &old.warnings)).collect();
        if global.json {
            render::json(&json!({
                "file": file, "line": added.line, "name": name, "id": id, "lines": added.lines,
                "written": !self.dry_run, "problems": problems::to_json(&odd, &new.sources),
            }));
            return Ok(exit::DONE);
        }
        if !odd.is_empty() {
            render::err(format_args!("{}\n", problems::draw(&odd, &new.sources)));
        }
        report(&file, &name, &added, self.dry_run);
        Ok(exit::DONE)
    }
}

/// Returns name and words of the agent: asked for where somebody is there to answer and did not say enough, else
/// completed from what the fleet has.
fn settle(
    name: Option<String>,
    mut said: Said,
    known: &Known<'_>,
    prices: questions::Prices<'_>,
    asks: bool,
) -> Result<(String, Said), CommandError> {
    if known.places().is_empty() {
        return Err(CommandError::usage("the fleet has no place for agents")
            .help("add a provider or a host first: [providers.docker] is the engine of this machine"));
    }
    let mut complete = said.clone();
    let missing = complete_from(known, name.as_deref(), &mut complete);
    if asks && (said == Said::default() || !missing.is_empty()) {
        let name = questions::answer(&mut ask::terminal, known, prices, name, &mut said)?;
        return Ok((name, said));
    }
    match name {
        Some(name) if missing.is_empty() => Ok((name, complete)),
        _ => Err(incomplete(known, &missing)),
    }
}

/// Fills in what the fleet makes plain, and returns what remains to be said.
fn complete_from(known: &Known<'_>, name: Option<&str>, said: &mut Said) -> Vec<&'static str> {
    let mut missing = Vec::new();
    if name.is_none() {
        missing.push("NAME");
    }
    let mut settle = |slot: &mut Option<String>, says: bool, usual: Option<String>, flag: &'static str| {
        if slot.is_none() && !says {
            *slot = usual;
            if slot.is_none() {
                missing.push(flag);
            }
        }
    };
    settle(&mut said.on, known.says("on"), known.only_place(), "--on");
    settle(&mut said.model, known.says("model"), known.model(), "--model");
    settle(&mut said.version, known.says("version") || known.says("image"), known.version(), "--version");
    if known.cloud(said).is_some() {
        // what a machine costs is never guessed
        settle(&mut said.location, known.host_says("location"), None, "--location");
        if said.size.is_empty() && !known.host_says("size") {
            missing.push("--size");
        }
    }
    if said.secrets.is_empty() && !known.says("secrets") {
        said.secrets = known.secrets();
    }
    if said.emoji.is_none() && !known.says("emoji") {
        said.emoji = name.map(|name| known.emoji(name).to_owned());
    }
    missing
}

fn incomplete(known: &Known<'_>, missing: &[&str]) -> CommandError {
    let (last, rest) = missing.split_last().expect("something is missing");
    let named = if rest.is_empty() { (*last).to_owned() } else { format!("{} and {last}", rest.join(", ")) };
    let verb = if rest.is_empty() { "is" } else { "are" };
    let places: Vec<String> = known.places().into_iter().map(|place| place.word).collect();
    let help = if missing == ["NAME"] {
        "on a terminal, `claw new` asks".to_owned()
    } else if missing.contains(&"--on") {
        format!("the places are {}; on a terminal, `claw new` asks", places.join(", "))
    } else {
        "on a terminal, `claw new` asks; [defaults.agent] and [defaults.host] say it for all".to_owned()
    };
    CommandError::usage(format!("{named} {verb} missing")).help(help)
}

fn refuse_taken(known: &Known<'_>, word: &str) -> Result<(), CommandError> {
    match known.taken(word) {
        None => Ok(()),
        Some(taken) => {
            Err(CommandError::usage(taken).help("a name on the command line must mean one thing; take another"))
        }
    }
}

/// Returns the file that was named, as the fleet knows it.
fn named_file(main: &SourceFile, sources: &[SourceFile], file: &str) -> Result<String, CommandError> {
    let file = file.trim_start_matches("./");
    if sources.iter().any(|source| source.path == file) || load::includes(main, file) {
        return Ok(file.to_owned());
    }
    let patterns = include_patterns(main);
    let help = if patterns.is_empty() {
        format!("the fleet includes no file: add include = [\"agents/*.toml\"] to [fleet], or write into {}", main.path)
    } else {
        format!("the fleet includes {}", patterns.join(", "))
    };
    Err(CommandError::usage(format!("{file} would not be read with the fleet")).help(help))
}

/// Returns the file an agent's lines go into where nobody names one: see the command's help.
fn usual_file(known: &Known<'_>, name: &str) -> String {
    let main = &known.sources[0];
    let lives_in = |folder: &str| {
        let mut files = known.fleet.agents.keys().filter_map(|key| Some(known.fleet.tree.key(&["agents", key])?.file));
        files.any(|file| file.strip_prefix(folder).is_some_and(|rest| !rest.contains('/')))
    };
    let folders = include_patterns(main).into_iter().filter_map(|pattern| {
        let folder = pattern.trim_start_matches("./").strip_suffix("*.toml")?.to_owned();
        (folder.ends_with('/') && !folder.contains(['*', '?', '['])).then_some(folder)
    });
    let folder = folders.into_iter().find(|folder| lives_in(folder));
    folder.map_or_else(|| main.path.clone(), |folder| format!("{folder}{name}.toml"))
}

/// Returns the keys of the agent's table, in the order of the example.
fn fields(said: &Said) -> Fields {
    let text = |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(Value::from);
    let list = |all: &[String]| (!all.is_empty()).then(|| Value::from(all.iter().collect::<Array>()));
    let size = if let [one] = said.size.as_slice() { Some(one.as_str().into()) } else { list(&said.size) };
    let host = inline([("size", size), ("location", text(&said.location))]);
    let all = [
        ("id", text(&said.id)),
        ("on", text(&said.on)),
        ("domain", text(&said.domain)),
        ("host", host),
        ("version", text(&said.version)),
        ("model", text(&said.model)),
        ("secrets", list(&said.secrets)),
        ("purpose", text(&said.purpose)),
        ("emoji", text(&said.emoji)),
        ("workspace", text(&said.workspace)),
        ("resources", inline([("memory", text(&said.memory))])),
    ];
    all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

fn inline<const N: usize>(fields: [(&'static str, Option<Value>); N]) -> Option<Value> {
    let table: InlineTable = fields.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    (!table.is_empty()).then(|| table.into())
}

fn replaced(sources: &[SourceFile], file: &str, text: &str) -> Vec<SourceFile> {
    let mut sources = sources.to_vec();
    match sources.iter_mut().find(|source| source.path == file) {
        Some(source) => text.clone_into(&mut source.text),
        None => sources.push(SourceFile { path: file.to_owned(), text: text.to_owned() }),
    }
    sources
}

fn write(setup: &Setup, file: &str, before: Option<&str>, text: &str) -> Result<(), CommandError> {
    let path = setup.beside(file);
    match edit::replace(&path, before, text) {
        Ok(Replaced::Done) => Ok(()),
        Ok(Replaced::Changed) => {
            Err(CommandError::failed(format!("{file} was changed meanwhile: nothing was written"))
                .help("look at it, then run the command again"))
        }
        Err(error) => Err(CommandError::failed(format!("failed to write {}: {error}", path.display()))),
    }
}

fn is_new(warning: &Problem, old: &[Problem]) -> bool {
    !old.iter().any(|one| (one.code, &one.message) == (warning.code, &warning.message))
}

fn mend_first(error: CommandError) -> CommandError {
    if error.problems.is_empty() {
        return error;
    }
    let message = "the fleet is invalid as it is: nothing was added".to_owned();
    CommandError { message, help: Some("mend it first; `claw check` looks at it again".to_owned()), ..error }
}

fn would_be_invalid(error: CommandError) -> CommandError {
    if error.problems.is_empty() {
        return error;
    }
    CommandError { message: "with these lines the fleet would be invalid: nothing was written".to_owned(), ..error }
}

fn report(file: &str, name: &str, added: &Added, dry_run: bool) {
    if dry_run {
        added.lines.iter().for_each(render::out);
        render::err(format_args!("{file} would have this from line {}; nothing was written", added.line));
        return;
    }
    super::done(format_args!("{name} is in {file}, from line {}:\n", added.line));
    added.lines.iter().for_each(|line| render::out(format_args!("    {line}")));
    super::next(&["claw plan", &format!("commit {file}"), "claw apply"]);
}
