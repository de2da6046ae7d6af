//! The life of a fleet in chapters: what the file says in each, and what may be lost then. Told by seeds and by kills.

use super::lab::{CloudLab, FOUR, NONE};

/// One change of the file.
pub struct Chapter {
    pub name: &'static str,
    file: File,
    allow: &'static [&'static str],
}

/// What the file says.
enum File {
    /// All of it anew.
    Whole(&'static str),
    /// What it said, with these texts replaced.
    Edited(&'static [(&'static str, &'static str)]),
}

/// From nothing to nothing.
pub const STORY: [Chapter; 5] = [
    Chapter { name: "create", file: File::Whole(FOUR), allow: &[] },
    Chapter { name: "resize", file: File::Edited(&[("size = \"cpx32\"", "size = \"cpx42\"")]), allow: &[] },
    Chapter {
        name: "rename",
        file: File::Edited(&[
            ("[agents.pete]", "[agents.peter]\nid = \"pete\""),
            ("[hosts.shared]", "[hosts.common]\nid = \"shared\""),
            ("on = \"shared\"", "on = \"common\""),
            ("domain = \"joe.fleet", "domain = \"joseph.fleet"),
        ]),
        allow: &[],
    },
    Chapter {
        name: "let others in",
        file: File::Edited(&[
            ("[\"203.0.113.0/24\"]", "[\"203.0.113.0/24\", \"198.51.100.0/24\"]"),
            ("[\"203.0.113.9\"]", "[\"203.0.113.8/30\"]"),
        ]),
        allow: &[],
    },
    Chapter { name: "destroy", file: File::Whole(NONE), allow: &["pete", "judy", "shared", "joe", "mia"] },
];

impl Chapter {
    /// Has the file say what it says in this chapter.
    pub fn begin(&self, lab: &mut CloudLab) {
        match self.file {
            File::Whole(text) => lab.becomes(text),
            File::Edited(edits) => lab.edit(edits),
        };
        lab.allow(self.allow);
    }
}
