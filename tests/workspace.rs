//! Seeded workspaces on a real engine: what claw puts there, what becomes the agent's own, what size does not matter.

use crate::support::{Sweep, docker, have_image, standin_fleet};

const FOLDER: &str = "/home/node/.openclaw/workspace";

fn exec(gateway: &str, script: &str) -> String {
    docker(&["exec", gateway, "sh", "-c", script]).unwrap_or_else(|| panic!("`{script}` failed"))
}

#[test]
fn seeded_files_follow_the_fleet_until_the_agent_makes_them_its_own() {
    if !have_image("docker", "claw-test/standin:1", ".ci/standin-image") {
        return;
    }
    let sweep = Sweep::new("hdseed");
    let fleet = standin_fleet("hdseed", "[agents.ann]\nworkspace = \"w\"\n");
    fleet.write("w/SOUL.md", "kind\n");
    fleet.write("w/notes/deep/plan.md", "one\n");
    fleet.claw(&["apply", "--yes"]).ok();
    fleet.claw(&["plan", "--detailed-exitcode"]).ok();
    let ann = "claw.hdseed.ann";
    assert_eq!(exec(ann, &format!("cat {FOLDER}/SOUL.md {FOLDER}/notes/deep/plan.md")), "kind\none");
    assert_eq!(exec(ann, &format!("stat -c %u:%g {FOLDER} {FOLDER}/notes/deep/plan.md")), "1000:1000\n1000:1000");

    // the agent's own large files are no concern of claw's, and a changed seed arrives beside them
    exec(ann, &format!("dd if=/dev/zero of={FOLDER}/large bs=1M count=80 2>/dev/null"));
    fleet.write("w/SOUL.md", "kind and brief\n");
    fleet.claw(&["apply", "--yes"]).ok();
    assert_eq!(exec(ann, &format!("cat {FOLDER}/SOUL.md")), "kind and brief");

    // what the agent changed is its own: nothing to do, until the fleet wants the same file to be something else
    exec(ann, &format!("echo mine >{FOLDER}/SOUL.md"));
    fleet.claw(&["plan", "--detailed-exitcode"]).ok();
    fleet.write("w/SOUL.md", "something else\n");
    let ran = fleet.claw(&["apply", "--yes"]);
    assert!([1, 4].contains(&ran.code), "{}", ran.all());
    ran.says("the agent changed SOUL.md");
    assert_eq!(exec(ann, &format!("cat {FOLDER}/SOUL.md")), "mine");
    fleet.write("w/SOUL.md", "mine\n");
    fleet.claw(&["apply", "--yes"]).ok();

    // what the fleet drops goes where the agent left it alone
    std::fs::remove_dir_all(fleet.path().join("w/notes")).unwrap();
    fleet.claw(&["apply", "--yes"]).ok();
    assert_eq!(exec(ann, &format!("test -e {FOLDER}/notes/deep/plan.md || echo gone")), "gone");
    fleet.claw(&["plan", "--detailed-exitcode"]).ok();
    fleet.claw(&["destroy", "--yes", "--allow-destroy", "ann"]).ok();
    assert_eq!(sweep.marked(), Vec::<String>::new());
}
