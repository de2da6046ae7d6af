//! Draws problems under the lines they are about, and gives them as JSON.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use claw_core::fleet::SourceFile;
use claw_core::problem::{Problem, Severity, line_column};
use serde_json::{Value as Json, json};

/// How many problems are drawn; the rest is counted. JSON has them all.
const DRAWN_MAX: usize = 50;

/// Returns the problems as a compiler would show them.
pub fn draw(problems: &[Problem], sources: &[SourceFile]) -> String {
    let renderer = Renderer::styled();
    let drawn = problems.iter().take(DRAWN_MAX).map(|problem| {
        let group = group(problem, sources);
        renderer.render(&[group])
    });
    let mut text = drawn.collect::<Vec<_>>().join("\n\n");
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    if problems.len() > DRAWN_MAX {
        text.push_str(&format!("\n\n… and {} more", problems.len() - DRAWN_MAX));
    }
    if errors > 0 {
        let noun = if errors == 1 { "problem" } else { "problems" };
        text.push_str(&format!("\n\n{errors} {noun}; nothing was planned"));
    }
    text
}

fn group<'a>(problem: &'a Problem, sources: &'a [SourceFile]) -> Group<'a> {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(&problem.message).id(problem.code));
    if let Some(at) = &problem.at {
        group = match sources.iter().find(|source| source.path == at.file) {
            Some(source) if at.end > 0 => {
                let end = clip(&source.text, at.start, at.end);
                group.element(
                    Snippet::source(&source.text)
                        .path(&at.file)
                        .annotation(AnnotationKind::Primary.span(at.start.min(end)..end)),
                )
            }
            _ => group.element(annotate_snippets::Origin::path(&at.file)),
        };
    }
    match &problem.help {
        Some(help) => group.element(Level::HELP.message(help)),
        None => group,
    }
}

/// Keeps an underline to the first line: a whole table is no place to look at.
fn clip(text: &str, start: usize, end: usize) -> usize {
    let end = end.min(text.len());
    text.get(start..end).and_then(|part| part.find('\n')).map_or(end, |at| start + at)
}

/// Returns the problems for machines, lines and columns from 1.
pub fn to_json(problems: &[Problem], sources: &[SourceFile]) -> Vec<Json> {
    let one = |problem: &Problem| {
        let place = problem.at.as_ref().map(|at| {
            let text = sources.iter().find(|source| source.path == at.file).map_or("", |source| source.text.as_str());
            let (line, column) = line_column(text, at.start);
            json!({ "file": at.file, "line": line, "column": column, "start": at.start, "end": at.end })
        });
        json!({
            "severity": problem.severity, "code": problem.code, "message": problem.message,
            "at": place, "help": problem.help,
        })
    };
    problems.iter().map(one).collect()
}
