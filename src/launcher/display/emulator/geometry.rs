//! Places for windows side by side on an X11 screen. On Wayland, programs cannot choose the
//! positions of their windows.

use std::process::{Command, Stdio};

/// Minimum columns of text for a readable window.
const MIN_COLUMNS: u32 = 50;
/// Minimum rows of text for a usable window.
const MIN_ROWS: u32 = 6;
/// Preferred size of a window, in columns and rows. Windows are smaller on a small screen.
const PREFERRED: (u32, u32) = (80, 24);

/// Approximate width and height, in pixels, that the window decoration adds to a window. The width
/// is that of both borders and a scrollbar. The height is that of the title bar and the lower
/// border.
const DECORATION: (u32, u32) = (26, 44);

/// Offset between successive windows that share a place, in pixels. Slightly more than the height
/// of a title bar.
const STEP: u32 = 28;
/// Number of windows that share a place before the offsets repeat. The largest offset is less than
/// the minimum height of a window, so that no window completely covers a window in the row above.
const ROUNDS: u32 = 5;

/// A size in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// A window's position and size on the screen, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Distance from the left edge of the screen to the window with its decoration.
    pub(crate) x: u32,
    /// Distance from the top edge of the screen to the window with its decoration.
    pub(crate) y: u32,
    /// Size of the window without its decoration.
    pub(crate) size: Size,
}

impl Place {
    /// The size in columns and rows, which are at least 1.
    pub(crate) fn cells(&self, cell: Size) -> (u32, u32) {
        (
            (self.size.width / cell.width).max(1),
            (self.size.height / cell.height).max(1),
        )
    }
}

/// Returns the place of the window at `index`, which is one of `places`. If there are more windows
/// than places, windows share places at different offsets. Returns `None` if `places` is empty.
pub(crate) fn place(places: &[Place], index: usize) -> Option<Place> {
    let first = places.get(index.checked_rem(places.len())?)?;
    let round = u32::try_from(index / places.len()).unwrap_or(u32::MAX);
    let shift = round % ROUNDS * STEP;
    // Shift windows up, so that the prompt in the bottom line of each window stays visible. At the
    // top of the screen, shift windows to the right instead, and make them narrower.
    let up = shift.min(first.y);
    let aside = shift - up;
    Some(Place {
        x: first.x + aside,
        y: first.y - up,
        size: Size {
            width: first.size.width.saturating_sub(aside),
            height: first.size.height,
        },
    })
}

/// The size of a character cell in common monospace fonts (DejaVu, Noto) of this size, at 96 pixels
/// per inch.
pub(crate) fn cell(points: f32) -> Size {
    let pixels = points * 96.0 / 72.0;
    Size {
        width: (pixels * 0.61).ceil() as u32,
        height: (pixels * 1.2).ceil() as u32,
    }
}

/// Returns places for `count` windows. They fill the screen from the bottom up, because the
/// terminal with the server's log is usually near the top.
pub(crate) fn tile(screen: Size, cell: Size, count: usize) -> Vec<Place> {
    let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
    let readable = screen.width / (MIN_COLUMNS * cell.width + DECORATION.0);
    let mut columns = readable.clamp(1, count);
    // Prefer windows that are too narrow to windows that are too low to show a prompt.
    let min_height = MIN_ROWS * cell.height + DECORATION.1;
    while columns < count && screen.height / count.div_ceil(columns) < min_height {
        columns += 1;
    }
    let rows = count.div_ceil(columns);
    let preferred = Size {
        width: PREFERRED.0 * cell.width + DECORATION.0,
        height: PREFERRED.1 * cell.height + DECORATION.1,
    };
    // Leave the upper third of the screen to the log, unless the windows would be too low.
    let lower = (screen.height * 2 / 3 / rows).max(min_height);
    let slot = Size {
        width: (screen.width / columns).min(preferred.width),
        height: (screen.height / rows).min(lower).min(preferred.height),
    };
    (0..count)
        .map(|index| Place {
            x: index % columns * slot.width,
            y: screen
                .height
                .saturating_sub((rows - index / columns) * slot.height),
            size: Size {
                width: slot.width.saturating_sub(DECORATION.0),
                height: slot.height.saturating_sub(DECORATION.1),
            },
        })
        .collect()
}

/// The size of the X11 screen, or of the primary monitor if there are several. `None` if neither
/// xrandr nor xdpyinfo is installed.
pub(crate) fn screen() -> Option<Size> {
    std::env::var_os("DISPLAY")?;
    output_of("xrandr", &["--current"])
        .and_then(|text| parse_xrandr(&text))
        .or_else(|| output_of("xdpyinfo", &[]).and_then(|text| parse_xdpyinfo(&text)))
}

fn output_of(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    String::from_utf8(output.stdout).ok()
}

/// Parses a line such as `eDP-1 connected primary 1920x1080+0+0 (normal …`.
fn parse_xrandr(text: &str) -> Option<Size> {
    let connected = || text.lines().filter(|line| line.contains(" connected "));
    connected()
        .filter(|line| line.contains(" primary "))
        .chain(connected())
        .find_map(|line| {
            line.split(' ')
                .find_map(|word| parse_size(word.split('+').next()?))
        })
}

/// Parses a line such as `  dimensions:    1600x1000 pixels (…`.
fn parse_xdpyinfo(text: &str) -> Option<Size> {
    let line = text.lines().find(|line| line.contains("dimensions:"))?;
    line.split_whitespace().find_map(parse_size)
}

fn parse_size(text: &str) -> Option<Size> {
    let (width, height) = text.split_once('x')?;
    Some(Size {
        width: width.parse().ok()?,
        height: height.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCREEN: Size = Size {
        width: 1600,
        height: 1000,
    };

    #[test]
    fn three_windows_fit_side_by_side_on_a_usual_screen() {
        let places = tile(SCREEN, cell(11.0), 3);
        assert!(places.iter().all(|place| place.y == places[0].y));
        assert!(
            places
                .iter()
                .all(|place| place.cells(cell(11.0)).0 >= MIN_COLUMNS)
        );
    }

    #[test]
    fn the_top_third_stays_free_for_the_log_if_windows_are_still_readable() {
        for (points, count) in [(11.0, 3), (11.0, 6), (18.0, 3), (18.0, 4)] {
            let places = tile(SCREEN, cell(points), count);
            for place in places {
                assert!(
                    place.y >= SCREEN.height / 3,
                    "{count} of {points}: {place:?}"
                );
                assert!(place.cells(cell(points)).1 >= MIN_ROWS, "{place:?}");
            }
        }
    }

    #[test]
    fn windows_neither_overlap_nor_leave_the_screen() {
        for (width, height) in [(800, 600), (1366, 768), (1920, 1080), (3840, 2160)] {
            for count in 1..=64 {
                let screen = Size { width, height };
                let places = tile(screen, cell(11.0), count);
                assert_eq!(places.len(), count);
                for (index, a) in places.iter().enumerate() {
                    let (right, bottom) = corner(a);
                    assert!(right <= width && bottom <= height, "{count} {a:?}");
                    for b in &places[..index] {
                        let apart = corner(b).0 <= a.x
                            || right <= b.x
                            || corner(b).1 <= a.y
                            || bottom <= b.y;
                        assert!(apart, "{count} on {screen:?}: {a:?} {b:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn later_windows_are_offset_from_earlier_ones_and_stay_on_the_screen() {
        for (width, height) in [(800, 600), (1366, 768), (1920, 1080)] {
            for count in 1..=9 {
                let screen = Size { width, height };
                let places = tile(screen, cell(11.0), count);
                let given: Vec<Place> = (0..count * ROUNDS as usize)
                    .filter_map(|number| place(&places, number))
                    .collect();
                assert_eq!(given[..count], places);
                for (index, a) in given.iter().enumerate() {
                    let (right, bottom) = corner(a);
                    assert!(right <= width && bottom <= height, "{count} {a:?}");
                    for b in &given[..index] {
                        assert_ne!((a.x, a.y), (b.x, b.y), "{count} on {screen:?}");
                    }
                }
            }
        }
        assert_eq!(place(&[], 3), None);
    }

    fn corner(place: &Place) -> (u32, u32) {
        (
            place.x + place.size.width + DECORATION.0,
            place.y + place.size.height + DECORATION.1,
        )
    }

    #[test]
    fn the_screen_size_is_read_from_either_tool() {
        let size = |width, height| Some(Size { width, height });
        let xrandr = "Screen 0: minimum 320 x 200, current 3520 x 1080\n\
            HDMI-1 connected 1600x900+1920+0 (normal left) 443mm x 249mm\n\
            eDP-1 connected primary 1920x1080+0+0 (normal left) 344mm x 194mm\n   1920x1080 60.0*+\n";
        assert_eq!(parse_xrandr(xrandr), size(1920, 1080));
        assert_eq!(
            parse_xrandr("screen connected 1600x1000+0+0 0mm x 0mm"),
            size(1600, 1000)
        );
        assert_eq!(parse_xrandr("eDP-1 disconnected"), None);
        let xdpyinfo = "screen #0:\n  dimensions:    1600x1000 pixels (406x254 millimeters)\n";
        assert_eq!(parse_xdpyinfo(xdpyinfo), size(1600, 1000));
    }
}
