//! authorized_keys: claw's block in it, and everything else, which is somebody's. Text in, text out.

use std::collections::{BTreeMap, BTreeSet};

use claw_core::provider::access::{CONTROL, FROM};
use claw_core::ssh::PublicKey;
use claw_core::text::clean;
use claw_core::value::{Fields, Value};

/// The field with the people who may log in: name → key.
pub const OPERATORS: &str = "operators";
/// The field with keys that nobody but claw may have put there; empty where it is asked for.
pub const OTHERS: &str = "others";
/// The field that says the block was changed by hand.
pub const EDITED: &str = "edited";

/// Who may log in, as claw's block says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// claw's own keys.
    pub control: BTreeSet<PublicKey>,
    /// People's keys by their names.
    pub operators: BTreeMap<String, PublicKey>,
    /// The ranges they may come from; from anywhere when empty.
    pub from: Vec<String>,
}

/// An authorized_keys file, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// claw's block; `None` where there is none.
    pub block: Option<Block>,
    /// Whether somebody changed it by hand.
    pub edited: bool,
    /// The keys outside it, as people know them: fingerprint or kind, and comment.
    pub others: Vec<String>,
    /// The lines outside it, as they stand.
    rest: Vec<String>,
}

impl Keys {
    /// Takes a file apart.
    pub fn read(text: &str, fleet: &str) -> Self {
        let mut keys = Self::default();
        let mut inside = false;
        let mut strays: Vec<&str> = Vec::new();
        for line in text.lines() {
            if line.trim() == begin(fleet) {
                inside = true;
                keys.edited |= keys.block.is_some();
                keys.block.get_or_insert_default();
            } else if inside && line.trim() == end(fleet) {
                inside = false;
                strays.clear();
            } else if inside {
                if !keys.take(line) {
                    strays.push(line);
                }
            } else {
                keys.keep(line);
            }
        }
        // a block without its end has no say in what somebody wrote below it
        keys.edited |= inside;
        strays.into_iter().for_each(|line| keys.keep(line));
        keys
    }

    fn keep(&mut self, line: &str) {
        self.others.extend(describe(line));
        self.rest.push(line.to_owned());
    }

    /// Takes a line of the block, and returns whether claw wrote it.
    fn take(&mut self, line: &str) -> bool {
        let Some(block) = &mut self.block else { return false };
        let Some(entry) = entry(line) else {
            self.edited |= !line.trim().is_empty();
            return false;
        };
        let first = block.control.is_empty() && block.operators.is_empty();
        self.edited |= !first && block.from != entry.from;
        block.from = entry.from;
        let fresh = match entry.operator {
            Some(name) => block.operators.insert(name, entry.key).is_none(),
            None => block.control.insert(entry.key),
        };
        self.edited |= !fresh;
        true
    }

    /// Returns the file with another block, or without one; what stands outside stays, unless nobody else may log in.
    pub fn with(&self, fleet: &str, block: Option<&Block>, exclusive: bool) -> String {
        let mut lines: Vec<String> =
            self.rest.iter().filter(|line| !exclusive || describe(line).is_none()).cloned().collect();
        if let Some(block) = block {
            lines.push(begin(fleet));
            let from =
                if block.from.is_empty() { String::new() } else { format!("from=\"{}\" ", block.from.join(",")) };
            lines.extend(block.control.iter().map(|key| format!("{from}{key} claw")));
            lines.extend(block.operators.iter().map(|(name, key)| format!("{from}{key} claw:{name}")));
            lines.push(end(fleet));
        }
        lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

impl Block {
    /// Returns the block as plans compare it.
    pub fn fields(&self) -> Fields {
        let control = self.control.iter().map(|key| (key.fingerprint(), Value::from(key.to_string())));
        let operators = self.operators.iter().map(|(name, key)| (name.clone(), Value::from(key.to_string())));
        let mut fields =
            Fields::from([(CONTROL.to_owned(), Value::map(control)), (OPERATORS.to_owned(), Value::map(operators))]);
        if !self.from.is_empty() {
            let ranges = self.from.iter().map(|text| Value::from(text.as_str())).collect();
            fields.insert(FROM.to_owned(), Value::List(ranges));
        }
        fields
    }

    /// Returns the block a plan asks for.
    pub fn of(fields: &Fields) -> Self {
        let keys = |name: &str| -> BTreeMap<String, PublicKey> {
            let Some(Value::Map(map)) = fields.get(name) else { return BTreeMap::new() };
            let keys = map.iter().filter_map(|(name, value)| Some((name.clone(), value.as_text()?.parse().ok()?)));
            keys.collect()
        };
        let from = match fields.get(FROM) {
            Some(Value::List(ranges)) => ranges.iter().filter_map(Value::as_text).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        Self { control: keys(CONTROL).into_values().collect(), operators: keys(OPERATORS), from }
    }
}

fn begin(fleet: &str) -> String {
    format!("# claw begin {fleet}: written by claw, changes are put right by the next apply")
}

fn end(fleet: &str) -> String {
    format!("# claw end {fleet}")
}

/// A line of the block.
struct Entry {
    from: Vec<String>,
    key: PublicKey,
    operator: Option<String>,
}

/// Reads a line claw wrote; `None` for any other.
fn entry(line: &str) -> Option<Entry> {
    let (from, rest) = match line.strip_prefix("from=\"") {
        Some(rest) => {
            let (ranges, rest) = rest.split_once("\" ")?;
            (ranges.split(',').map(str::to_owned).collect(), rest)
        }
        None => (Vec::new(), line),
    };
    let key: PublicKey = rest.parse().ok()?;
    let comment = rest.splitn(3, ' ').nth(2)?;
    let operator = match comment {
        "claw" => None,
        other => Some(other.strip_prefix("claw:")?.to_owned()),
    };
    // written back, it is the same: nothing was added that this reading passes over
    let same = rest == format!("{key} {comment}");
    same.then_some(Entry { from, key, operator })
}

/// Returns how people know the key on a line; `None` where there is none.
fn describe(line: &str) -> Option<String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let at = ["ssh-", "ecdsa-", "sk-"].iter().filter_map(|kind| line.find(kind)).min();
    let text = &line[at.unwrap_or(0)..];
    let comment = clean(text.splitn(3, ' ').nth(2).unwrap_or_default(), 60);
    let name = match text.parse::<PublicKey>() {
        Ok(key) => key.fingerprint(),
        Err(_) => clean(text.split(' ').next().unwrap_or_default(), 60),
    };
    Some(if comment.is_empty() { name } else { format!("{name} {comment}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIoFXjWAMTYQe9aHHV9ccGY9aFkkFGtDN1G5BG0gQvzx";
    const B: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICXvU3dt1jlxSwQeBLnr4ufPoLw6sfaWiOOk8ejxuMWQ";

    fn block(from: &[&str]) -> Block {
        Block {
            control: [A.parse().expect("a key")].into(),
            operators: [("petr".to_owned(), B.parse().expect("a key"))].into(),
            from: from.iter().map(|text| (*text).to_owned()).collect(),
        }
    }

    fn read(text: &str) -> Keys {
        Keys::read(text, "k7f3")
    }

    #[test]
    fn a_block_is_read_as_it_was_written_and_the_rest_stays() {
        let theirs = format!("# mine\ncommand=\"backup\" {B} backup@nas\n\nssh-rsa AAAAB3Nz old@pc\n");
        for from in [&[][..], &["203.0.113.0/24", "192.0.2.7"][..]] {
            let text = read(&theirs).with("k7f3", Some(&block(from)), false);
            let keys = read(&text);
            assert!(text.starts_with(&theirs), "{text}");
            assert_eq!((keys.block.as_ref(), keys.edited), (Some(&block(from)), false), "{text}");
            assert_eq!(keys.with("k7f3", Some(&block(from)), false), text, "written again it is the same");
            assert_eq!(keys.with("k7f3", None, false), theirs, "without it, what was there before");
            assert_eq!(Block::of(&block(from).fields()), block(from));
        }
        assert_eq!(read(&theirs).others.len(), 2);
        assert!(read(&theirs).others[0].ends_with(" backup@nas"));
        assert_eq!(read(&theirs).others[1], "ssh-rsa old@pc");
    }

    #[test]
    fn an_exclusive_file_keeps_comments_and_nobody_elses_key() {
        let text = read(&format!("# mine\n{B} old\n")).with("k7f3", Some(&block(&[])), true);
        assert!(text.starts_with("# mine\n") && read(&text).others.is_empty(), "{text}");
    }

    #[test]
    fn a_block_of_another_fleet_is_somebody_elses() {
        let text = Keys::default().with("other", Some(&block(&[])), false);
        let keys = read(&text);
        assert_eq!((keys.block.clone(), keys.others.len()), (None, 2));
    }

    #[test]
    fn a_block_that_lost_its_end_does_not_swallow_what_stands_below() {
        let text = Keys::default().with("k7f3", Some(&block(&[])), false).replace("# claw end k7f3\n", "");
        let keys = read(&format!("{text}ssh-rsa AAAAB3Nz old@pc\n"));
        assert!(keys.edited);
        assert_eq!(keys.others, ["ssh-rsa old@pc"]);
        assert!(keys.with("k7f3", Some(&block(&[])), false).contains("ssh-rsa AAAAB3Nz old@pc\n"));
    }

    #[test]
    fn what_was_changed_by_hand_shows() {
        let text = Keys::default().with("k7f3", Some(&block(&["192.0.2.7"])), false);
        let changes: [(&str, String); 5] = [
            ("an option", text.replacen("from=", "command=\"sh\",from=", 1)),
            ("another range for one", text.replacen("192.0.2.7", "0.0.0.0/0", 1)),
            ("a line of theirs", text.replace("# claw end", &format!("{B} mallory\n# claw end"))),
            ("no end", text.replace("# claw end k7f3\n", "")),
            ("twice", format!("{text}{text}")),
        ];
        for (what, changed) in changes {
            assert_ne!(changed, text);
            assert!(read(&changed).edited, "{what}:\n{changed}");
            assert_eq!(read(&changed).with("k7f3", Some(&block(&["192.0.2.7"])), false), text, "{what}");
        }
    }
}
