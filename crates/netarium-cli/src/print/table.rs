//! Tables: columns as wide as they must be, cells of one line or several, no lines drawn.

use std::fmt::Write;

use anstyle::Style as Paint;

use super::HEAD;

/// What is between two columns.
const GAP: &str = "  ";

/// A cell: its lines, each with its paint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cell(Vec<(String, Paint)>);

impl Cell {
    /// One line without paint.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(vec![(text.into(), Paint::new())])
    }

    /// One line in one paint.
    pub(crate) fn painted(text: impl Into<String>, paint: Paint) -> Self {
        Self(vec![(text.into(), paint)])
    }

    /// One line for each of `lines`.
    pub(crate) fn of_lines(lines: impl IntoIterator<Item = (String, Paint)>) -> Self {
        Self(lines.into_iter().collect())
    }

    fn width(&self) -> usize {
        self.0.iter().map(|(line, _)| width(line)).max().unwrap_or(0)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

/// A table of so many columns.
#[derive(Clone, Debug)]
pub(crate) struct Table<const COLUMNS: usize> {
    rows: Vec<[Cell; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// A table with a line of headings.
    pub(crate) fn headed(heads: [&str; COLUMNS]) -> Self {
        Self { rows: vec![heads.map(|head| Cell::painted(head, HEAD))] }
    }

    /// A table without headings.
    pub(crate) fn plain() -> Self {
        Self { rows: vec![] }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: [Cell; COLUMNS]) {
        self.rows.push(cells);
    }

    /// The table as text, `indent` spaces from the left, without the last end of line.
    pub(crate) fn render(&self, indent: usize) -> String {
        let mut widths = [0; COLUMNS];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.width().max(*width);
            }
        }
        let mut text = String::new();
        for row in &self.rows {
            let height = row.iter().map(|cell| cell.0.len()).max().unwrap_or(0);
            for line in 0..height {
                render_line(&mut text, row, line, &widths, indent);
            }
        }
        text.truncate(text.trim_end_matches('\n').len());
        text
    }
}

fn render_line(text: &mut String, row: &[Cell], line: usize, widths: &[usize], indent: usize) {
    // Spaces are owed until something follows them, so that no line ends with any.
    let mut owed = indent;
    for (cell, column) in row.iter().zip(widths) {
        let (words, paint) = match cell.0.get(line) {
            Some((words, paint)) if !words.is_empty() => (words.as_str(), *paint),
            _ => {
                owed += if *column > 0 { column + GAP.len() } else { 0 };
                continue;
            }
        };
        text.extend(std::iter::repeat_n(' ', owed));
        // Writing to a String cannot fail.
        write!(text, "{paint}{words}{paint:#}").ok();
        owed = column - width(words) + GAP.len();
    }
    text.push('\n');
}

/// How many columns of a terminal a text takes.
fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_no_line_ends_with_spaces() {
        let mut table = Table::plain();
        table.row(["node".into(), "image".into(), "services".into()]);
        table.row(["alice".into(), "host".into(), Cell::default()]);
        let lines = ["eth0 10.0.0.1/24", "eth1"].map(|line| (line.to_owned(), Paint::new()));
        table.row(["gateway-a".into(), Cell::of_lines(lines), "app".into()]);
        assert_eq!(
            table.render(0),
            "node       image             services\n\
             alice      host\n\
             gateway-a  eth0 10.0.0.1/24  app\n\
             \u{20}          eth1"
        );
    }

    #[test]
    fn a_column_that_is_empty_takes_no_room() {
        let mut table = Table::plain();
        table.row(["a".into(), Cell::default(), "b".into()]);
        assert_eq!(table.render(2), "  a  b");
    }
}
