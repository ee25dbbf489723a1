//! The picture of a run: orders per hour at each directory, with what was wrong with it and when
//! nodes died.

use std::fmt::Write as _;
use std::path::Path;

use crate::clock::{DAY, HOUR, Moment};
use crate::directory::{Directory, Fault};
use crate::world::World;

const LEFT: i64 = 60;
const TOP: i64 = 60;
const WIDTH: i64 = 1460;
const HEIGHT: i64 = 150;
const GAP: i64 = 50;

/// Draws `world` after `length` into the file at `path`.
pub(crate) fn draw(world: &World, length: Moment, path: &Path) {
    let count = i64::try_from(world.directories.len()).expect("few directories");
    let height = TOP + count * (HEIGHT + GAP) + 30;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"28\" font-size=\"18\">Orders per hour, {} certificates</text>\n",
        LEFT + WIDTH + 30,
        world.store.rows().len(),
    );
    let most = world
        .directories
        .iter()
        .flat_map(|directory| &directory.seen.orders);
    let most = i64::from(most.copied().max().unwrap_or(0)).max(1);
    for (place, directory) in (0..).zip(&world.directories) {
        let top = TOP + place * (HEIGHT + GAP);
        panel(&mut svg, directory, length, top, most);
    }
    let bottom = TOP + count * (HEIGHT + GAP) - GAP;
    for death in &world.report.deaths {
        let x = across(*death, length);
        let _ = writeln!(
            svg,
            "<line x1=\"{x}\" x2=\"{x}\" y1=\"{TOP}\" y2=\"{bottom}\" stroke=\"#888\" \
             stroke-dasharray=\"2 4\"/>"
        );
    }
    let mut day = 0;
    while day * DAY <= length {
        let x = across(day * DAY, length);
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{day}</text>",
            bottom + 18
        );
        day += 30;
    }
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{}\">day of the run; dotted: a node dies</text>\n</svg>",
        bottom + 38
    );
    std::fs::write(path, svg).expect("the picture is written");
}

fn panel(svg: &mut String, directory: &Directory, length: Moment, top: i64, most: i64) {
    let bottom = top + HEIGHT;
    for spell in &directory.nature.spells {
        let (from, to) = (across(spell.from, length), across(spell.to, length));
        let (colour, what) = match spell.fault {
            Fault::Down => ("#f4b6b6", "down"),
            Fault::Limited => ("#f6dfa4", "limited"),
            Fault::Slow => ("#cfdcf2", "slow"),
        };
        let _ = writeln!(
            svg,
            "<rect x=\"{from}\" y=\"{top}\" width=\"{}\" height=\"{HEIGHT}\" fill=\"{colour}\"/>\n\
             <text x=\"{}\" y=\"{}\">{what}</text>",
            (to - from).max(1),
            to + 4,
            top + 14
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{}</text>\n\
         <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{most}</text>\n\
         <text x=\"{}\" y=\"{bottom}\" text-anchor=\"end\">0</text>\n\
         <path d=\"M{LEFT} {top}V{bottom}H{}\" fill=\"none\" stroke=\"#444\"/>",
        top - 8,
        directory.nature.name,
        LEFT - 6,
        top + 12,
        LEFT - 6,
        LEFT + WIDTH
    );
    let mut path = format!("M{LEFT} {bottom}");
    for (hour, orders) in (0..).zip(&directory.seen.orders) {
        let x = LEFT as f64 + WIDTH as f64 * (hour * HOUR) as f64 / length as f64;
        let y = bottom as f64 - HEIGHT as f64 * f64::from(*orders) / most as f64;
        let _ = write!(path, "L{x:.1} {y:.1}");
    }
    let _ = writeln!(
        svg,
        "<path d=\"{path}\" fill=\"none\" stroke=\"#1f5fa8\" stroke-width=\"0.6\"/>"
    );
}

fn across(moment: Moment, length: Moment) -> i64 {
    LEFT + WIDTH * moment / length
}
