//! Files that programs read after claw: written without known secret values, like everything else that is printed.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use claw_core::mask::Known;

/// Adds text to a file that may have some already.
pub fn append(path: &Path, text: &str, known: &Known) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    file.write_all(known.mask(text).as_bytes())
}

/// A file that gets line after line; each is there for readers at once.
#[derive(Debug)]
pub struct Lines {
    file: File,
    known: Known,
}

impl Lines {
    /// Begins the file anew.
    pub fn create(path: &Path, known: &Known) -> io::Result<Self> {
        Ok(Self { file: File::create(path)?, known: known.clone() })
    }

    /// Returns the text without known secret values: for what is cut before it is written.
    pub fn masked(&self, text: &str) -> String {
        self.known.mask(text).into_owned()
    }

    /// Writes a line.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        let mut line = self.known.mask(text).into_owned();
        line.push('\n');
        self.file.write_all(line.as_bytes())
    }
}
