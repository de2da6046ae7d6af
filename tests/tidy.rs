//! House rules that a machine can hold.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Fleet, repository};

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|found| found == ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Returns the names of a crate's own dependencies, without those of its tests.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(repository().join(manifest)).unwrap();
    let after = text.split("\n[dependencies]").nth(1).unwrap_or_default();
    let section = after.split("\n[").next().unwrap_or_default();
    section
        .lines()
        .filter_map(|line| line.split(['.', '=', ' ']).next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn crates_import_only_what_the_map_allows() {
    let table: [(&str, &[&str]); 9] = [
        ("src/core/Cargo.toml", &[]),
        ("src/engine/Cargo.toml", &["claw-core"]),
        ("src/vault/Cargo.toml", &["claw-core"]),
        ("src/net/Cargo.toml", &[]),
        ("src/sim/Cargo.toml", &["claw-core"]),
        ("providers/openclaw/Cargo.toml", &["claw-core", "claw-vault", "claw-net"]),
        ("providers/docker/Cargo.toml", &["claw-core", "claw-vault", "claw-net", "claw-openclaw"]),
        ("providers/hetzner/Cargo.toml", &["claw-core", "claw-vault", "claw-net"]),
        ("providers/host/Cargo.toml", &["claw-core", "claw-vault", "claw-net"]),
    ];
    for (manifest, allowed) in table {
        let found = dependencies(manifest);
        assert!(!found.is_empty(), "{manifest} has dependencies");
        let own: Vec<&String> = found.iter().filter(|name| name.starts_with("claw-")).collect();
        for name in own {
            assert!(allowed.contains(&name.as_str()), "{manifest} may not import {name}");
        }
    }
}

#[test]
fn the_thinking_half_cannot_reach_the_world() {
    let found = dependencies("src/core/Cargo.toml");
    for name in ["tokio", "hyper", "reqwest", "bollard", "russh", "jiff", "rand", "getrandom", "futures-util"] {
        assert!(!found.contains(name), "core may not import {name}");
    }
    for file in files(&repository().join("src/core/src"), "rs") {
        let text = fs::read_to_string(&file).unwrap();
        for word in ["std::fs", "std::net", "std::env", "std::time", "std::thread", "std::process", "println!"] {
            assert!(!text.contains(word), "{} uses {word}", file.display());
        }
    }
}

#[test]
fn vendors_are_named_by_their_own_crate_and_the_wiring_only() {
    for folder in ["src/cli", "src/engine", "src/core", "src/sim"] {
        for file in files(&repository().join(folder), "rs") {
            if file.ends_with("wiring.rs") || file.components().any(|part| part.as_os_str() == "wiring") {
                continue;
            }
            let text = fs::read_to_string(&file).unwrap();
            for word in ["claw_docker", "claw_hetzner", "claw_host", "bollard", "reqwest", "russh", "claw_openclaw"] {
                assert!(!text.contains(word), "{} names {word}", file.display());
            }
        }
    }
}

#[test]
fn only_the_last_writer_writes_to_standard_streams() {
    // that there is a terminal may be asked, and bars are drawn of texts that were masked
    let terminal = ["ProgressDrawTarget::stderr()", "stdout().is_terminal()", "stderr().is_terminal()"];
    for folder in ["src", "providers"] {
        for file in files(&repository().join(folder), "rs") {
            let is_test = file.components().any(|part| part.as_os_str() == "tests");
            if is_test || file.ends_with("tests.rs") || file.ends_with("render.rs") {
                continue;
            }
            let text = fs::read_to_string(&file).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
            let text = terminal.iter().fold(text, |text, allowed| text.replace(allowed, ""));
            for word in ["println!", "print!(", "dbg!", "stdout()", "stderr()"] {
                let word_is_there = text.lines().any(|line| line.contains(word) && !line.contains(".use_stderr()"));
                assert!(!word_is_there, "{} uses {word}: `render` masks secrets", file.display());
            }
            if !file.ends_with("secret.rs") {
                assert!(!text.contains("render::unmasked"), "{} prints what is not masked", file.display());
            }
        }
    }
}

#[test]
fn petgraph_is_used_in_one_file() {
    let users: Vec<PathBuf> = ["src", "providers", "tests"]
        .iter()
        .flat_map(|folder| files(&repository().join(folder), "rs"))
        .filter(|file| fs::read_to_string(file).unwrap().contains("use petgraph"))
        .filter(|file| !file.ends_with("tidy.rs"))
        .collect();
    assert_eq!(users, [repository().join("src/core/src/graph.rs")]);
}

#[test]
fn every_file_says_what_it_is_for_and_stays_readable() {
    for folder in ["src", "providers"] {
        for file in files(&repository().join(folder), "rs") {
            let text = fs::read_to_string(&file).unwrap();
            assert!(text.starts_with("//!"), "{} does not begin with its duty", file.display());
            let lines = text.split("#[cfg(test)]").next().unwrap_or_default().lines().count();
            assert!(lines <= 500, "{} has {lines} lines", file.display());
        }
    }
}

#[test]
fn the_committed_schemas_are_fresh() {
    for of in ["fleet", "plan", "event"] {
        let made = Fleet::empty().claw(&["schema", of]).ok().stdout;
        let committed = fs::read_to_string(repository().join(format!("schemas/{of}.schema.json"))).unwrap();
        assert_eq!(made, committed, "run: claw schema {of} > schemas/{of}.schema.json");
    }
    assert_eq!(Fleet::empty().claw(&["schema"]).ok().stdout, Fleet::empty().claw(&["schema", "fleet"]).ok().stdout);
}

/// The example with everything that is commented out taken in.
fn uncommented(text: &str) -> String {
    let is_toml = |line: &str| {
        line.starts_with('[')
            || line.split_once('=').is_some_and(|(key, _)| {
                let key = key.trim();
                !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
            })
    };
    let lines = text.lines().map(|line| line.strip_prefix("# ").filter(|bare| is_toml(bare)).unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_file_shows_every_key_and_none_that_does_not_work() {
    let text = fs::read_to_string(repository().join("fleet.toml.example")).unwrap();
    let all = uncommented(&text);
    let source = claw_core::fleet::SourceFile { path: "fleet.toml.example".into(), text: all.clone() };
    let (fleet, problems) = claw_core::fleet::load(&[source]);
    assert_eq!(problems, [], "every key of the example is known");
    assert!(fleet.is_some());
    let schema = claw_core::fleet::fleet_schema();
    let tables = std::iter::once(&schema).chain(schema["definitions"].as_object().unwrap().values());
    let keys: BTreeSet<&String> =
        tables.filter_map(|table| table["properties"].as_object()).flat_map(|map| map.keys()).collect();
    for key in keys {
        let shown = all.lines().any(|line| {
            let code = line.split('#').next().unwrap_or_default();
            code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == key)
        });
        assert!(shown, "fleet.toml.example does not show `{key}`");
    }
}

#[test]
fn the_example_file_is_what_init_writes_and_it_is_valid() {
    let fleet = Fleet::empty();
    fleet.claw(&["init", "--name", "new"]).ok();
    fleet.claw(&["check"]).ok();
    assert!(fleet.read("fleet.toml").contains("# [agents.joseph]"), "the comments are kept");
}

#[test]
fn every_example_plans_to_its_golden_file() {
    for entry in fs::read_dir(repository().join("examples")).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        assert!(folder.join("README.md").exists(), "{name} has a README");
        let plan = Fleet::example(&name).claw(&["plan", "--sandbox"]).ok().stdout;
        let golden = folder.join("plan.txt");
        if std::env::var_os("CLAW_UPDATE").is_some() {
            fs::write(&golden, &plan).unwrap();
        }
        assert_eq!(plan, fs::read_to_string(&golden).unwrap_or_default(), "run: CLAW_UPDATE=1 cargo test golden");
    }
}

#[test]
fn no_test_file_is_forgotten() {
    let main = fs::read_to_string(repository().join("tests/main.rs")).unwrap();
    for entry in fs::read_dir(repository().join("tests")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("main.rs") {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            assert!(main.contains(&format!("mod {name};")), "tests/main.rs does not take in {name}.rs");
        }
    }
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let text = fs::read_to_string(repository().join("Cargo.toml")).unwrap();
    let section = text.split("[workspace.dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    for line in section.lines().filter(|line| line.contains('=') && !line.starts_with("claw-")) {
        let name = line.split(['=', ' ']).next().unwrap();
        let obvious = ["serde", "serde_json"].contains(&name);
        assert!(obvious || line.contains('#'), "{name} does not say what it is for");
    }
}
