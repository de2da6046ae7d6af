//! Asks a person, question by question: a line of text, one of several, some of several. Knows no fleet; secrets are asked
//! for elsewhere.

use std::io::BufRead;

use tokio::sync::oneshot;

use crate::commands;
use crate::error::CommandError;
use crate::render::{self, table};

/// Shows a text and returns the line that is answered; an error where there is no answer.
pub type Ask<'a> = &'a mut dyn FnMut(&str) -> Result<String, CommandError>;

/// What leaves an optional thing out.
pub const NOTHING: &str = "-";

/// One of several answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The answer.
    pub word: String,
    /// What a person should know of it.
    pub note: String,
}

impl Choice {
    /// Returns a choice.
    pub fn new(word: impl Into<String>, note: impl Into<String>) -> Self {
        Self { word: word.into(), note: note.into() }
    }
}

/// Asks at the terminal: shown on standard error, answered on standard input. ^C and the end of the input are errors.
pub fn terminal(prompt: &str) -> Result<String, CommandError> {
    render::prompt(prompt);
    let (sender, receiver) = oneshot::channel();
    // a read cannot be taken back: after ^C the thread goes on waiting, and ends with the process
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line);
        drop(sender.send(read.map(|bytes| (bytes > 0).then_some(line))));
    });
    let answer = commands::wait(async {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => None,
            read = receiver => read.ok(),
        }
    })?;
    match answer {
        Some(Ok(Some(line))) => Ok(line),
        Some(Err(error)) => Err(CommandError::failed(format!("failed to read the answer: {error}"))),
        None | Some(Ok(None)) => {
            render::err("");
            Err(CommandError::failed("no answer: nothing was written"))
        }
    }
}

/// Asks for a text until `check` takes it. Nothing typed means the default, and where there is none nothing at all if
/// that is allowed; `-` means nothing as well.
pub fn text(
    ask: Ask<'_>,
    question: &str,
    default: Option<&str>,
    optional: bool,
    check: &dyn Fn(&str) -> Result<(), String>,
) -> Result<Option<String>, CommandError> {
    let mut complaint = String::new();
    loop {
        let line = ask(&format!("{complaint}{}", prompt(question, default)))?;
        let answer = line.trim();
        if answer.chars().any(char::is_control) {
            complaint = "An answer is plain text, without arrow keys and the like.\n".to_owned();
            continue;
        }
        let answer = if answer.is_empty() { default.unwrap_or_default() } else { answer };
        if optional && (answer.is_empty() || answer == NOTHING) {
            return Ok(None);
        }
        let found = if answer.is_empty() { Err("This needs an answer.".to_owned()) } else { check(answer) };
        match found {
            Ok(()) => return Ok(Some(answer.to_owned())),
            Err(why) => complaint = format!("{why}\n"),
        }
    }
}

/// Asks for one of several, by number or word. With `open`, any other word is an answer as well.
pub fn one_of(
    ask: Ask<'_>,
    (title, question): (&str, &str),
    choices: &[Choice],
    default: Option<&str>,
    open: bool,
) -> Result<String, CommandError> {
    let check = |answer: &str| match word(choices, answer) {
        Some(_) => Ok(()),
        None if open && answer.parse::<usize>().is_err() => Ok(()),
        None => Err(format!("`{answer}` is none of them.")),
    };
    let mut shown = Some(list(title, choices));
    let mut with_list = |prompt: &str| ask(&format!("{}{prompt}", shown.take().unwrap_or_default()));
    let answer = text(&mut with_list, question, default, false, &check)?.unwrap_or_default();
    Ok(word(choices, &answer).map_or(answer, str::to_owned))
}

/// Asks for some of several, by numbers or words between commas.
pub fn some_of(
    ask: Ask<'_>,
    (title, question): (&str, &str),
    choices: &[Choice],
    default: &[String],
) -> Result<Vec<String>, CommandError> {
    let parts = |answer: &str| -> Vec<String> {
        answer.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
    };
    let check = |answer: &str| match parts(answer).iter().find(|part| word(choices, part).is_none()) {
        Some(part) => Err(format!("`{part}` is none of them.")),
        None => Ok(()),
    };
    let mut shown = Some(list(title, choices));
    let mut with_list = |prompt: &str| ask(&format!("{}{prompt}", shown.take().unwrap_or_default()));
    let default = if default.is_empty() { NOTHING.to_owned() } else { default.join(", ") };
    let answer = text(&mut with_list, question, Some(&default), true, &check)?.unwrap_or_default();
    let mut words = Vec::new();
    for part in parts(&answer) {
        let found = word(choices, &part).map_or(part.clone(), str::to_owned);
        if !words.contains(&found) {
            words.push(found);
        }
    }
    Ok(words)
}

fn prompt(question: &str, default: Option<&str>) -> String {
    default.map_or_else(|| format!("{question}: "), |default| format!("{question} [{default}]: "))
}

fn list(title: &str, choices: &[Choice]) -> String {
    let row = |(at, choice): (usize, &Choice)| vec![format!("{:>4}", at + 1), choice.word.clone(), choice.note.clone()];
    let rows: Vec<Vec<String>> = choices.iter().enumerate().map(row).collect();
    format!("\n{title}:\n{}\n", table::columns(&rows))
}

/// Returns the choice that a number or a word means.
fn word<'a>(choices: &'a [Choice], answer: &str) -> Option<&'a str> {
    let by_word = choices.iter().find(|choice| choice.word == answer);
    let by_number = || choices.get(answer.parse::<usize>().ok()?.checked_sub(1)?);
    by_word.or_else(by_number).map(|choice| choice.word.as_str())
}
