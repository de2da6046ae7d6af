//! The host's own way back: what a change would replace is saved, and a process of the host's own puts it back unless a
//! fresh login confirms the change in time. Needs no connection, and survives a boot.

use crate::script::{FOLDER, RELOAD_SSHD, put_file, unit};

/// How long the host waits for a confirmation, in seconds: a login takes one, a slow link ten.
pub const WAIT_SECONDS: u64 = 45;
/// How long arming and the change itself may take, in seconds: well below what the host waits, so that no change comes
/// after its undoing.
pub const CHANGE_SECONDS_MAX: u64 = 20;
/// What `undo` prints when it put something back.
pub const UNDONE: &str = "put back";

/// The unit that undoes at boot what was never confirmed.
const UNIT: &str = "[Unit]
Description=Undoes a change of SSH that nobody confirmed (claw)
Before=ssh.service sshd.service

[Service]
Type=oneshot
ExecStart=/bin/sh /var/lib/claw/rollback/undo boot

[Install]
WantedBy=multi-user.target
";

/// Saves files, and has the host put them back by itself unless it hears the token from a fresh login in time. What an
/// earlier run armed and nobody confirmed is undone first. `also` is run when files are put back, for what is no file.
///
/// Whoever confirms or undoes takes the change first, by a rename: only one of them gets it. What was not there before is
/// marked as such: a saved copy that is missing removes nothing.
pub fn arm(token: &str, paths: &[&str], also: &str) -> String {
    format!("{}{}", unit("claw-rollback", UNIT), arm_below(FOLDER, RELOAD_SSHD, token, paths, also))
}

fn arm_below(own: &str, reload: &str, token: &str, paths: &[&str], also: &str) -> String {
    let folder = format!("{own}/rollback");
    let (mut save, mut restore) = (String::new(), String::new());
    for (number, path) in paths.iter().enumerate() {
        let saved = format!("{folder}/{token}.{number}");
        save.push_str(&format!(
            "if [ -e {path} ]; then cp -p {path} {saved}; sync {saved}; else : >{saved}.absent; sync {saved}.absent; fi\n"
        ));
        restore.push_str(&format!(
            "if [ -e {saved} ]; then cp -p {saved} {path}.claw-old && sync {path}.claw-old && mv -f {path}.claw-old {path}\n\
             elif [ -e {saved}.absent ]; then rm -f {path}; fi\n"
        ));
    }
    let undo = format!(
        "#!/bin/sh\n\
         # Written by claw. Puts back what a change that nobody confirmed had replaced.\n\
         cd {folder} || exit 0\n\
         if [ \"${{1:-}}\" = boot ]; then [ ! -e armed ] || mv -f armed undoing; [ -e undoing ] || exit 0\n\
         else [ \"$(cat armed 2>/dev/null)\" = \"${{1:-}}\" ] && mv armed undoing 2>/dev/null || exit 0; fi\n\
         {restore}{also}\nrm -f undoing {token}.*\n{reload}[ \"${{1:-}}\" = boot ] || reload_sshd\necho '{UNDONE}'\n"
    );
    format!(
        "mkdir -p {folder}; chmod 700 {own} {folder}\n\
         exec 9>{folder}/lock; flock -w 10 9 || {{ echo 'another claw changes this host' >&2; exit 74; }}\n\
         if [ -e {folder}/armed ] || [ -e {folder}/undoing ]; then /bin/sh {folder}/undo boot >/dev/null; fi\n\
         rm -f {folder}/t*.*\n{save}{}\
         printf %s {token} >{folder}/new; sync {folder}/new; mv -f {folder}/new {folder}/armed; sync {folder}\n\
         setsid nohup /bin/sh -c 'sleep {WAIT_SECONDS}; exec /bin/sh {folder}/undo {token}' </dev/null >/dev/null 2>&1 9>&- &\n",
        put_file(&format!("{folder}/undo"), "700", &undo),
    )
}

/// Confirms a change from a fresh login; fails where the host has undone it already.
pub fn confirm(token: &str) -> String {
    format!(
        "cd {FOLDER}/rollback; [ \"$(cat armed 2>/dev/null)\" = {token} ] && mv armed confirmed 2>/dev/null || \
         {{ echo 'the host has undone the change' >&2; exit 3; }}; rm -f confirmed {token}.*"
    )
}

/// Undoes whatever waits for a confirmation that will not come.
pub fn settle() -> String {
    let folder = format!("{FOLDER}/rollback");
    format!(
        "[ ! -e {folder}/armed ] || /bin/sh {folder}/undo \"$(cat {folder}/armed)\" >/dev/null\n\
         [ ! -e {folder}/undoing ] || /bin/sh {folder}/undo boot >/dev/null\n"
    )
}

/// Undoes a change at once; prints whether there was anything to undo.
pub fn undo(token: &str) -> String {
    format!("/bin/sh {FOLDER}/rollback/undo {token}")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;

    /// Runs a script in a folder that stands for the host's root.
    fn run(root: &std::path::Path, script: &str) -> (bool, String) {
        let moved = script.replace(FOLDER, &root.display().to_string());
        let output = Command::new("sh").args(["-c", &format!("set -eu; {moved}")]).output().expect("a shell");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn change(root: &std::path::Path, token: &str, file: &str, text: &str) {
        // the timer of these tests never fires: what it would run is run by hand
        let script = arm_below(&root.display().to_string(), "reload_sshd() { :; }\n", token, &[file], ":")
            .replace("setsid nohup", ": ");
        let (well, said) = run(root, &format!("{script}printf %s '{text}' >{file}"));
        assert!(well, "{said}");
    }

    #[test]
    fn what_nobody_confirms_is_put_back_once_and_what_is_confirmed_stays() {
        let root = tempfile::tempdir().expect("a folder");
        let file = root.path().join("keys");
        let name = file.display().to_string();
        fs::write(&file, "before").expect("written");
        change(root.path(), "t1", &name, "after");
        assert_eq!(run(root.path(), &undo("t1")).1.trim(), UNDONE);
        assert_eq!(fs::read_to_string(&file).expect("there"), "before");
        assert_eq!(run(root.path(), &undo("t1")).1, "", "there is nothing more to undo");
        assert!(!run(root.path(), &confirm("t1")).0, "what was undone cannot be confirmed");

        change(root.path(), "t2", &name, "after");
        assert_eq!(run(root.path(), &undo("t1")).1, "", "the timer of an earlier change has no say");
        assert!(run(root.path(), &confirm("t2")).0);
        assert_eq!(run(root.path(), &undo("t2")).1, "", "what was confirmed stays");
        assert_eq!(fs::read_to_string(&file).expect("there"), "after");
    }

    #[test]
    fn what_was_not_there_before_is_removed_and_a_lost_copy_removes_nothing() {
        let root = tempfile::tempdir().expect("a folder");
        let file = root.path().join("drop-in");
        let name = file.display().to_string();
        change(root.path(), "t1", &name, "after");
        run(root.path(), &undo("boot"));
        assert!(!file.exists());
        change(root.path(), "t2", &name, "after");
        fs::remove_file(root.path().join("rollback/t2.0.absent")).expect("it is there");
        run(root.path(), &undo("t2"));
        assert!(file.exists());
    }

    #[test]
    fn a_change_armed_over_one_that_nobody_confirmed_goes_back_to_before_both() {
        let root = tempfile::tempdir().expect("a folder");
        let file = root.path().join("keys");
        let name = file.display().to_string();
        fs::write(&file, "before").expect("written");
        change(root.path(), "t1", &name, "first");
        change(root.path(), "t2", &name, "second");
        run(root.path(), &undo("t2"));
        assert_eq!(fs::read_to_string(&file).expect("there"), "before");
    }
}
