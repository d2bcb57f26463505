//! What is printed: one row for each goal, with the figure and whether it was met.

use std::fmt;
use std::time::{Duration, Instant};

/// Filled row by row; each is shown on standard error as soon as it is there.
#[derive(Debug)]
pub struct Table {
    rows: Vec<[String; 4]>,
    missed: usize,
    begun: Instant,
}

/// A figure against its goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    Pass,
    Miss,
    /// Another program looks after it.
    NotHere,
}

impl Met {
    pub fn when(met: bool) -> Self {
        if met { Self::Pass } else { Self::Miss }
    }
}

impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "pass",
            Self::Miss => "**miss**",
            Self::NotHere => "–",
        })
    }
}

impl Table {
    pub fn new() -> Self {
        Self {
            rows: Vec::new(),
            missed: 0,
            begun: Instant::now(),
        }
    }

    pub fn row(&mut self, what: &str, goal: &str, figure: impl fmt::Display, met: Met) {
        self.missed += usize::from(met == Met::Miss);
        let row = [
            what.to_owned(),
            goal.to_owned(),
            figure.to_string(),
            met.to_string(),
        ];
        let seconds = self.begun.elapsed().as_secs();
        eprintln!("{seconds:>4} s: {}", row.join(" | "));
        self.rows.push(row);
    }

    pub fn print(&self) {
        let heading = ["", "goal", "figure", ""].map(str::to_owned);
        print(&heading, &self.rows);
        println!("\n{} of {} missed.", self.missed, self.rows.len());
    }
}

/// A table in Markdown that can be read as it is.
pub fn print<const COLUMNS: usize>(heading: &[String; COLUMNS], rows: &[[String; COLUMNS]]) {
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
        let cells = rows.iter().chain([heading]).map(|row| &row[column]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    });
    let line = |row: &[String; COLUMNS]| {
        let cells = row.iter().zip(widths);
        let cells: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        println!("| {} |", cells.join(" | "));
    };
    line(heading);
    line(&widths.map(|width| "-".repeat(width.max(3))));
    rows.iter().for_each(line);
}

/// The middle one.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

pub fn micros(time: Duration) -> String {
    format!("{:.1} µs", time.as_secs_f64() * 1e6)
}

pub fn millis(time: Duration) -> String {
    let digits = if time < Duration::from_millis(10) {
        2
    } else {
        0
    };
    format!("{:.digits$} ms", time.as_secs_f64() * 1e3)
}

/// `12,345`.
pub fn count(figure: f64) -> String {
    let digits = format!("{figure:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
