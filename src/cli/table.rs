//! Tables for people: columns as wide as their widest cell, two blanks between, no lines.

use std::fmt;

use super::output::shown;

/// In an empty cell.
const NOTHING: &str = "-";

/// Rows under a heading. The last column is not padded, so nothing trails.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
    /// Headings of columns that are left out where no row has anything in them.
    optional: &'static [&'static str],
}

impl<const N: usize> Table<N> {
    pub(crate) fn new(heading: [&str; N]) -> Self {
        Self {
            rows: vec![heading.map(str::to_owned)],
            optional: &[],
        }
    }

    /// Leaves these columns out where no row has anything in them.
    pub(crate) fn without_empty(self, headings: &'static [&'static str]) -> Self {
        Self {
            optional: headings,
            ..self
        }
    }

    /// Adds a row; an empty cell is shown as `-`.
    pub(crate) fn push(&mut self, cells: [&str; N]) {
        self.rows.push(cells.map(|cell| match cell {
            "" => NOTHING.to_owned(),
            cell => shown(cell),
        }));
    }
}

impl<const N: usize> Table<N> {
    fn left_out(&self) -> [bool; N] {
        let mut left_out = [true; N];
        if let Some((heading, rows)) = self.rows.split_first() {
            for (index, (left_out, heading)) in left_out.iter_mut().zip(heading).enumerate() {
                let is_empty = |row: &[String; N]| row.get(index).is_some_and(|c| c == NOTHING);
                *left_out = self.optional.contains(&heading.as_str()) && rows.iter().all(is_empty);
            }
        }
        left_out
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths = [0; N];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        let left_out = self.left_out();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, width), left_out) in row.iter().zip(widths).zip(left_out) {
                if !left_out {
                    line += &format!("{cell:width$}  ");
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_nothing_trails() {
        let mut table = Table::new(["DEVICE", "BY"]);
        table.push(["phone", "ana"]);
        table.push(["Bob's tablet", ""]);
        assert_eq!(
            table.to_string(),
            "DEVICE        BY\nphone         ana\nBob's tablet  -\n"
        );
    }

    #[test]
    fn a_column_without_anything_in_it_can_be_left_out() {
        let table = |person| {
            let mut table = Table::new(["DEVICE", "PERSON", "BY"]);
            table.push(["phone", "", ""]);
            table.push(["tablet", person, ""]);
            table.without_empty(&["PERSON"]).to_string()
        };
        assert_eq!(table(""), "DEVICE  BY\nphone   -\ntablet  -\n");
        assert_eq!(
            table("bob"),
            "DEVICE  PERSON  BY\nphone   -       -\ntablet  bob     -\n"
        );
    }
}
