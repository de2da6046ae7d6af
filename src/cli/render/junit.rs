//! A drift report as JUnit XML: one testcase per resource, so that CI shows drift where it shows tests.

use std::fmt::Write;

use claw_core::mask::Known;
use claw_core::plan::Plan;

use super::findings::{Category, Finding};

/// The longest text of a testcase, in bytes: some readers refuse more.
const TEXT_BYTES_MAX: usize = 4_000;

/// Returns the report. What drifted is a failure, what could not be seen an error (nobody knows whether it is right), what is
/// somebody's own is skipped, the rest passes.
pub fn draw(plan: &Plan, findings: &[Finding], unmanaged: &[(&str, &str)], now: &str, known: &Known) -> String {
    let is_error = |one: &&Finding| one.category == Category::Unknown;
    let is_failure = |one: &&Finding| !matches!(one.category, Category::Unknown | Category::Unmanaged);
    let (errors, failures) =
        (plan.unseen.len() + findings.iter().filter(is_error).count(), findings.iter().filter(is_failure).count());
    let tests = plan.unchanged.len() + findings.len() + unmanaged.len() + plan.unseen.len();
    let counts =
        format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{}\"", unmanaged.len());
    let text = |text: &str| escape(text, known);
    let mut xml = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"claw drift\" {counts}>\n");
    let now = text(now.trim_end_matches('Z'));
    let _ = writeln!(xml, "  <testsuite name=\"{}\" {counts} timestamp=\"{now}\">", text(&plan.fleet));
    let mut case = |name: &str, place: &str, result: Option<(&str, &str, &str)>| {
        let head = format!("    <testcase classname=\"{}\" name=\"{}\"", text(place), text(name));
        let _ = match result {
            None => writeln!(xml, "{head}/>"),
            Some((element, kind, detail)) => {
                let message = if detail.is_empty() { kind } else { detail };
                writeln!(xml, "{head}><{element} type=\"{kind}\" message=\"{}\"/></testcase>", text(message))
            }
        };
    };
    for (place, why) in &plan.unseen {
        case("(the whole place)", place, Some(("error", Category::Unknown.word(), why)));
    }
    for one in findings {
        let element = match one.category {
            Category::Unknown => "error",
            Category::Unmanaged => "skipped",
            _ => "failure",
        };
        case(&one.resource, &one.place, Some((element, one.category.word(), &one.detail)));
    }
    for (place, key) in unmanaged {
        case(&format!("login key {key}"), place, Some(("skipped", Category::Unmanaged.word(), "not claw's")));
    }
    for address in &plan.unchanged {
        case(&address.to_string(), &address.place, None);
    }
    xml.push_str("  </testsuite>\n</testsuites>");
    xml
}

/// Returns text that is fit for an attribute, without secrets. XML 1.0 has no way to write most control characters.
fn escape(text: &str, known: &Known) -> String {
    let masked = known.mask(text);
    let mut out = String::new();
    for letter in masked.chars() {
        if out.len() >= TEXT_BYTES_MAX {
            out.push('…');
            break;
        }
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\n' | '\t' => out.push(' '),
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => {}
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_text_and_secrets_stay_secret() {
        let known = Known::default();
        known.add("default/KEY", "hunter<2>&more");
        let finding = |category, resource: &str, detail: &str| Finding {
            category,
            resource: resource.to_owned(),
            kind: "dns",
            place: "p".to_owned(),
            detail: detail.to_owned(),
        };
        let findings = [
            finding(Category::Changed, "dns/\"/><failure>\u{1}\u{fffe}", "is hunter<2>&more\nnow"),
            finding(Category::Unknown, "dns/b", ""),
        ];
        let plan = Plan { fleet: "f".to_owned(), ..Plan::default() };
        let xml = draw(&plan, &findings, &[("p", "ssh-ed25519 AAAA me@home")], "2026-01-01T00:00:00Z", &known);
        insta::assert_snapshot!(xml, @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="claw drift" tests="3" failures="1" errors="1" skipped="1">
          <testsuite name="f" tests="3" failures="1" errors="1" skipped="1" timestamp="2026-01-01T00:00:00">
            <testcase classname="p" name="dns/&quot;/&gt;&lt;failure&gt;"><failure type="changed" message="is (default/KEY) now"/></testcase>
            <testcase classname="p" name="dns/b"><error type="unknown" message="unknown"/></testcase>
            <testcase classname="p" name="login key ssh-ed25519 AAAA me@home"><skipped type="unmanaged" message="not claw&apos;s"/></testcase>
          </testsuite>
        </testsuites>
        "#);
    }
}
