//! The diagram: the throughput and the latency of each server, and the CPU time per delivery for
//! various numbers of clients.

use std::fmt::Write;

use anyhow::Result;

use super::measure::{COST, Measure, Quantity, Unit};
use super::peers::Peer;
use super::report::{Report, show};

/// The measures shown as bars, each with the position of the quantity: the throughput, then the
/// latency p50 and p99.
const BARS: [(&str, usize); 4] = [("100", 0), ("1000", 0), ("quiet", 0), ("quiet", 1)];

/// Panels of bars in a row.
const PANELS: usize = 2;

/// The measures shown as lines.
const POINTS: [&str; 4] = ["10", "100", "1000", "5000"];

// Sizes in pixels.
const WIDTH: f64 = 860.0;
const MARGIN: f64 = 20.0;
const LABEL: f64 = 100.0;
const ROW: f64 = 22.0;
const BAR: f64 = 15.0;
const TITLE: f64 = 34.0;
const PANEL: f64 = 400.0;
const PLOT: f64 = 260.0;

/// Distance from the middle of a text's letters down to its baseline.
const BASELINE: f64 = 4.0;

/// Space for the number after the longest bar.
const NUMBER: f64 = 70.0;

/// Draws a report as SVG.
pub(super) fn draw(report: &Report) -> Result<String> {
    let mut out = String::new();
    let row = TITLE + ROW * count(report.peers().len());
    let bars = row * count(BARS.len().div_ceil(PANELS));
    let height = MARGIN + bars + TITLE + PLOT + 3.0 * MARGIN;
    writeln!(
        out,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/>"##
    )?;
    for (panel, (key, quantity)) in BARS.into_iter().enumerate() {
        if let Some(measure) = find(report, key) {
            let left = MARGIN + (PANEL + MARGIN) * count(panel % PANELS);
            let top = MARGIN + row * count(panel / PANELS);
            draw_bars(&mut out, report, (measure, quantity), (left, top))?;
        }
    }
    draw_lines(&mut out, report, MARGIN + bars + MARGIN)?;
    writeln!(out, "</svg>")?;
    Ok(out)
}

fn draw_bars(
    out: &mut String,
    report: &Report,
    (measure, quantity): (&Measure, usize),
    (left, top): (f64, f64),
) -> Result<()> {
    let values: Vec<(Peer, f64)> = report
        .peers()
        .iter()
        .filter_map(|peer| Some((*peer, report.median(measure, quantity, *peer)?)))
        .collect();
    let most = values.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let Quantity { what, unit } = measure.quantities[quantity];
    heading(out, left, top, &format!("{}: {what}", measure.title))?;
    for (row, (peer, value)) in values.into_iter().enumerate() {
        let top = top + TITLE + ROW * count(row);
        let width = (PANEL - LABEL - NUMBER) * value / most;
        let middle = top + BAR / 2.0 + BASELINE;
        let (start, color) = (left + LABEL, color(peer));
        let number = show(value, unit);
        writeln!(
            out,
            r#"<text x="{:.0}" y="{middle:.0}" text-anchor="end">{peer}</text>
<rect x="{start:.0}" y="{top:.0}" width="{width:.1}" height="{BAR}" fill="{color}"/>
<text x="{:.1}" y="{middle:.0}">{number}</text>"#,
            start - BASELINE,
            start + width + BASELINE,
        )?;
    }
    Ok(())
}

/// Draws the CPU time per delivery by number of clients. Both axes are logarithmic.
fn draw_lines(out: &mut String, report: &Report, top: f64) -> Result<()> {
    let title = format!(
        "{} of the server, by the number of clients (both axes logarithmic)",
        COST.what
    );
    heading(out, MARGIN, top, &title)?;
    let measures: Vec<&Measure> = POINTS.iter().filter_map(|key| find(report, key)).collect();
    let lines: Vec<(Peer, Vec<(f64, f64)>)> = report
        .peers()
        .iter()
        .map(|peer| {
            let point = |measure: &&Measure| {
                let cost = report.median(measure, COST_AT, *peer)?;
                (cost > 0.0).then(|| (count(measure.clients()).log10(), cost.log10()))
            };
            (*peer, measures.iter().filter_map(point).collect())
        })
        .collect();
    let points = || lines.iter().flat_map(|(_, points)| points);
    let (least_x, most_x) = range(points().map(|point| point.0));
    let (least_y, most_y) = range(points().map(|point| point.1));
    // Whole decades.
    let (least_y, most_y) = (least_y.floor(), most_y.ceil());
    let (left, right) = (MARGIN + LABEL, WIDTH - MARGIN - LABEL);
    let (upper, lower) = (top + TITLE, top + TITLE + PLOT);
    let x = |value: f64| {
        left + (right - left) * (value - least_x) / (most_x - least_x).max(f64::EPSILON)
    };
    let y = |value: f64| lower - (lower - upper) * (value - least_y) / (most_y - least_y).max(1.0);

    let mut decade = least_y;
    while decade <= most_y {
        let (at, number) = (y(decade), show(10_f64.powf(decade), Unit::Seconds));
        writeln!(
            out,
            r##"<path d="M{left:.0} {at:.1}H{right:.0}" stroke="#ddd"/>
<text x="{:.0}" y="{:.1}" text-anchor="end">{number}</text>"##,
            left - 2.0 * BASELINE,
            at + BASELINE,
        )?;
        decade += 1.0;
    }
    for measure in &measures {
        let at = x(count(measure.clients()).log10());
        let below = lower + MARGIN;
        let title = measure.title;
        writeln!(
            out,
            r#"<text x="{at:.1}" y="{below:.0}" text-anchor="middle">{title}</text>"#
        )?;
    }
    // The labels at the right must not overlap.
    let mut labels: Vec<(f64, Peer)> = Vec::new();
    for (peer, points) in &lines {
        let Some(last) = points.last() else { continue };
        labels.push((y(last.1), *peer));
        let color = color(*peer);
        write!(
            out,
            r#"<polyline fill="none" stroke="{color}" stroke-width="2" points=""#
        )?;
        for (clients, cost) in points {
            write!(out, "{:.1},{:.1} ", x(*clients), y(*cost))?;
        }
        writeln!(out, r#""/>"#)?;
    }
    labels.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut free = upper;
    for (wanted, peer) in labels {
        let at = wanted.max(free);
        free = at + BAR;
        writeln!(
            out,
            r#"<text x="{:.0}" y="{:.1}" fill="{}">{peer}</text>"#,
            right + 2.0 * BASELINE,
            at + BASELINE,
            color(peer)
        )?;
    }
    Ok(())
}

/// Position of the CPU time in the measures shown as lines.
const COST_AT: usize = 1;

fn find(report: &Report, key: &str) -> Option<&'static Measure> {
    report
        .measures()
        .iter()
        .find(|measure| measure.key == key)
        .copied()
}

fn heading(out: &mut String, left: f64, top: f64, title: &str) -> Result<()> {
    let baseline = top + TITLE / 2.0;
    Ok(writeln!(
        out,
        r#"<text x="{left:.0}" y="{baseline:.0}" font-weight="bold">{title}</text>"#
    )?)
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::MAX, f64::MIN), |(least, most), value| {
        (least.min(value), most.max(value))
    })
}

fn color(peer: Peer) -> &'static str {
    match peer {
        Peer::Plain => "#0b6e4f",
        Peer::Json => "#3aa675",
        Peer::History => "#7cc8a2",
        Peer::Limit => "#555555",
        Peer::Inspircd => "#1f5fa8",
        Peer::Ngircd => "#6f9fd8",
        Peer::Tokio => "#b5482a",
        Peer::Python => "#c9a227",
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few thousand at most")]
fn count(count: usize) -> f64 {
    count as f64
}
