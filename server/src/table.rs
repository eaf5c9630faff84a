//! Tables as CSV (RFC 4180), for programs and for spreadsheets.
//!
//! **Invariant**: no text becomes a formula, whichever of comma, semicolon and tab a spreadsheet takes for the end of a
//! cell, and what was written can be told from what is read: [`cell`] is undone by taking one apostrophe away wherever
//! it adds one.

use std::fmt::Display;

/// What a formula begins with, in the widths that spreadsheets take.
const SIGNS: [char; 10] = ['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠'];

/// What may end a cell. Others than the comma are those of spreadsheets in other languages.
const ENDS: [char; 6] = [';', ',', '\t', '|', '\n', '\r'];

/// A text as a cell: an apostrophe stands before each piece that could be read as a formula. A piece begins with the text
/// and after each of `; , | tab`; spaces, quotation marks and apostrophes before the sign change nothing.
pub(crate) fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    loop {
        let begins = rest.trim_start_matches([' ', '\u{A0}', '"', '\'']);
        if begins.starts_with(SIGNS) {
            out.push('\'');
        }
        let Some(end) = rest.find(ENDS) else {
            out.push_str(rest);
            return out;
        };
        let after = end + rest[end..].chars().next().map_or(0, char::len_utf8);
        out.push_str(&rest[..after]);
        rest = &rest[after..];
    }
}

/// A table that is being written.
pub(crate) struct Table {
    writer: csv::Writer<Vec<u8>>,
    row: Vec<String>,
}

impl Table {
    /// With these columns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn new(columns: &[&str]) -> csv::Result<Self> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(columns)?;
        Ok(Self { writer, row: Vec::with_capacity(columns.len()) })
    }

    /// Goes on with a table whose head was written before.
    pub(crate) fn going_on() -> Self {
        Self { writer: csv::Writer::from_writer(Vec::new()), row: Vec::new() }
    }

    /// Appends a cell with what somebody typed.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.row.push(cell(text));
        self
    }

    /// Appends a cell with what is ours: a number, a word, a key.
    pub(crate) fn plain(&mut self, value: impl Display) -> &mut Self {
        self.row.push(value.to_string());
        self
    }

    /// Appends a number, or nothing.
    pub(crate) fn number(&mut self, value: Option<f64>) -> &mut Self {
        self.row.push(value.map(|value| value.to_string()).unwrap_or_default());
        self
    }

    /// Ends the row.
    ///
    /// # Errors
    /// When it has not a cell for each column.
    pub(crate) fn end(&mut self) -> csv::Result<()> {
        self.writer.write_record(&self.row)?;
        self.row.clear();
        Ok(())
    }

    /// The whole table.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn finish(self) -> csv::Result<Vec<u8>> {
        self.writer.into_inner().map_err(|error| error.into_error().into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Takes away what [`cell`] adds, as `docs/data-model.md` says it.
    fn read(text: &str) -> String {
        let mut out = String::new();
        for piece in text.split_inclusive(ENDS) {
            let begins = piece.trim_start_matches([' ', '\u{A0}', '"', '\'']);
            out.push_str(if begins.starts_with(SIGNS) { piece.strip_prefix('\'').unwrap_or(piece) } else { piece });
        }
        out
    }

    #[test]
    fn a_text_cannot_become_a_formula_in_any_cell_it_may_be_cut_into() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "＝1", "  =1", "\"=1", "'=1"] {
            assert!(cell(text).starts_with('\''), "{text}");
        }
        assert_eq!(cell("a;=1+1"), "a;'=1+1");
        assert_eq!(cell("a\t@x, +2|-3"), "a\t'@x,' +2|'-3");
        assert_eq!(cell("a;\"=1"), "a;'\"=1");
        assert_eq!(cell("Zelda = bien; 3-2, a+b"), "Zelda = bien; 3-2, a+b");
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_again(text in "[-=+@;,|'\" \ta1é＝]{0,12}") {
            let written = cell(&text);
            prop_assert_eq!(read(&written), text);
            for piece in written.split(ENDS) {
                let begins = piece.trim_start_matches([' ', '\u{A0}', '"']);
                prop_assert!(!begins.starts_with(SIGNS), "{}", written);
            }
        }
    }
}
