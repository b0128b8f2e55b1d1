//! Places for windows side by side on a screen, around the terminal that shows the server's log.
//!
//! All lengths are in pixels of a screen with 96 dots per inch, unless they are called device
//! pixels. On a screen with a higher resolution, letters and decorations have more device pixels.

use std::collections::BTreeSet;

use crate::launcher::display::emulator::screen::Screen;

/// Smallest size of a window that is comfortable to read, in columns and rows.
const READABLE: (i32, i32) = (40, 10);
/// Smallest size of a window that can be read with some effort, in columns and rows.
const SMALL: (i32, i32) = (30, 6);
/// Smallest size of a window that can still be used, in columns and rows.
const USABLE: (i32, i32) = (24, 4);
/// Maximum size of a window, in columns and rows.
const PREFERRED: (i32, i32) = (80, 24);

/// Approximate width and height in pixels that the decoration adds to a window. The width covers
/// both borders and a scrollbar, the height the title bar and the lower border.
const DECORATION: (i32, i32) = (26, 44);

/// Number of rows at the bottom of the launcher's terminal to leave free if windows must cover
/// other parts of it. Once the log fills the terminal, these rows show its newest lines and the
/// line that the user is typing.
const LAST_ROWS: i32 = 3;

/// Offset in pixels between windows that share a place because there is no space for more places:
/// slightly more than a title bar.
const STEP: i32 = 28;
/// Number of windows at a shared place that have different offsets. After them, the offsets repeat.
const ROUNDS: usize = 5;

/// Number of device pixels per pixel of a screen with 96 dots per inch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale(f64);

impl Scale {
    /// The scale for a resolution in dots per inch. It is limited to the range from 1 to 5, because
    /// some X servers report a wrong resolution.
    pub(crate) fn of_dpi(dpi: f64) -> Self {
        Self((dpi / 96.0).clamp(1.0, 5.0))
    }

    fn in_device_pixels(self, length: i32) -> i32 {
        (f64::from(length) * self.0).round() as i32
    }

    /// Converts a rectangle from device pixels.
    pub(crate) fn in_pixels(self, rect: Rect) -> Rect {
        let convert = |length| (f64::from(length) / self.0).round() as i32;
        Rect {
            x: convert(rect.x),
            y: convert(rect.y),
            width: convert(rect.width),
            height: convert(rect.height),
        }
    }
}

/// A size in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) width: i32,
    pub(crate) height: i32,
}

/// A rectangle on the screen, in pixels. `x` and `y` are its left and upper edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rect {
    pub(crate) x: i32,
    pub(crate) y: i32,
    pub(crate) width: i32,
    pub(crate) height: i32,
}

impl Rect {
    pub(crate) fn right(&self) -> i32 {
        self.x + self.width
    }

    pub(crate) fn bottom(&self) -> i32 {
        self.y + self.height
    }

    /// The rectangle between these edges, or `None` if it is empty.
    pub(crate) fn between(left: i32, top: i32, right: i32, bottom: i32) -> Option<Self> {
        (left < right && top < bottom).then_some(Self {
            x: left,
            y: top,
            width: right - left,
            height: bottom - top,
        })
    }

    /// The part of this rectangle that is also in `other`, or `None` if there is none.
    pub(crate) fn intersection(&self, other: &Self) -> Option<Self> {
        Self::between(
            self.x.max(other.x),
            self.y.max(other.y),
            self.right().min(other.right()),
            self.bottom().min(other.bottom()),
        )
    }

    /// Returns the parts of this rectangle outside of `hole`: up to four rectangles that do not
    /// overlap. `cut` determines their shapes.
    fn without(&self, hole: &Self, cut: Cut) -> Vec<Self> {
        let Some(hole) = self.intersection(hole) else {
            return vec![*self];
        };
        let (left, top, right, bottom) = (self.x, self.y, self.right(), self.bottom());
        let parts = match cut {
            Cut::Rows => [
                Self::between(left, top, right, hole.y),
                Self::between(left, hole.y, hole.x, hole.bottom()),
                Self::between(hole.right(), hole.y, right, hole.bottom()),
                Self::between(left, hole.bottom(), right, bottom),
            ],
            Cut::Columns => [
                Self::between(left, top, hole.x, bottom),
                Self::between(hole.x, top, hole.right(), hole.y),
                Self::between(hole.x, hole.bottom(), hole.right(), bottom),
                Self::between(hole.right(), top, right, bottom),
            ],
        };
        parts.into_iter().flatten().collect()
    }

    /// Returns how many rectangles of this size fit in this rectangle beside each other, and how
    /// many fit below each other.
    fn capacity(&self, size: Size) -> (i32, i32) {
        (self.width / size.width, self.height / size.height)
    }
}

/// A way to cut the free space around an occupied rectangle into four rectangles.
#[derive(Clone, Copy)]
enum Cut {
    /// The rectangles above and below the occupied one have the full width of the screen.
    Rows,
    /// The rectangles on the left and right have the full height of the screen.
    Columns,
}

/// A window's position and size on the screen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place {
    /// The rectangle of the window and its decoration.
    frame: Rect,
    scale: Scale,
}

impl Place {
    /// The position of the upper left corner, in device pixels.
    pub(crate) fn position(&self) -> (i32, i32) {
        let Rect { x, y, .. } = self.frame;
        (
            self.scale.in_device_pixels(x),
            self.scale.in_device_pixels(y),
        )
    }

    /// The window's size in device pixels, without the decoration.
    pub(crate) fn device_size(&self) -> Size {
        let Size { width, height } = self.size();
        Size {
            width: self.scale.in_device_pixels(width),
            height: self.scale.in_device_pixels(height),
        }
    }

    /// The window's size, without the decoration.
    fn size(&self) -> Size {
        Size {
            width: (self.frame.width - DECORATION.0).max(1),
            height: (self.frame.height - DECORATION.1).max(1),
        }
    }

    /// The window's size in columns and rows, at least one of each.
    pub(crate) fn cells(&self, cell: Size) -> (i32, i32) {
        let size = self.size();
        (
            (size.width / cell.width).max(1),
            (size.height / cell.height).max(1),
        )
    }

    /// Returns the place of a window that shares this place with `round` earlier windows. With each
    /// window, the left edge moves a step to the right, and the lower edge a step up. So the
    /// beginnings of the earlier windows' title bars stay visible, and also their last rows, which
    /// contain the prompts.
    fn shared(&self, round: usize) -> Self {
        let shift = i32::try_from(round % ROUNDS).unwrap_or(0) * STEP;
        let Rect {
            x,
            y,
            width,
            height,
        } = self.frame;
        let frame = Rect {
            x: x + shift.min(width / 2),
            y,
            width: width - shift.min(width / 2),
            height: height - shift.min(height / 2),
        };
        Self { frame, ..*self }
    }
}

/// The size of a character cell in common monospace fonts (DejaVu, Noto).
/// xterm's rows are a pixel higher than those of other emulators.
pub(crate) fn cell(points: f32) -> Size {
    let pixels = points * 96.0 / 72.0;
    Size {
        width: (pixels * 0.61).ceil() as i32,
        height: (pixels * 1.2).ceil() as i32 + 1,
    }
}

/// The size in pixels of a window with this many columns and rows, with its decoration.
fn frame_size((columns, rows): (i32, i32), cell: Size) -> Size {
    Size {
        width: columns * cell.width + DECORATION.0,
        height: rows * cell.height + DECORATION.1,
    }
}

/// The places for the windows of a session.
#[derive(Debug)]
pub(crate) struct Tiling {
    area: Rect,
    /// The parts of the launcher's terminal to leave free if possible, see [`Reservations`].
    choices: Vec<Vec<Rect>>,
    /// Whether the place of the terminal is known. If not, a place was assumed.
    is_certain: bool,
    cell: Size,
    scale: Scale,
    places: Vec<Place>,
}

impl Tiling {
    /// Finds places for `count` windows of equal size.
    ///
    /// If the space around the launcher's terminal is enough for readable windows, no window covers
    /// the terminal. Otherwise, the windows cover its right part, and leave free the beginnings of
    /// all lines and, if possible, the whole last rows. If even small windows do not fit then, they
    /// leave free only the last rows, which usually contain the line that the user types. If the
    /// place of the terminal is not known, it is assumed to be in the upper third of the screen, or
    /// on the left.
    pub(crate) fn new(screen: &Screen, cell: Size, count: usize) -> Self {
        let count = i32::try_from(count).unwrap_or(i32::MAX).max(1);
        let area = screen.area;
        let Reservations { choices, least } = Reservations::new(screen, cell);
        let found = [READABLE, SMALL].into_iter().find_map(|cells| {
            let min = frame_size(cells, cell);
            choices
                .iter()
                .find_map(|reserved| fit(area, reserved, cell, count, min))
        });
        let frames = found.unwrap_or_else(|| {
            let min = frame_size(USABLE, cell);
            // Find places for as many windows as possible. The other windows share these places.
            let places = (1..=count)
                .rev()
                .find_map(|count| fit(area, &least, cell, count, min));
            places.unwrap_or_else(|| vec![area])
        });
        Self {
            area,
            choices,
            is_certain: screen.launcher.is_some(),
            cell,
            scale: screen.scale,
            places: frames
                .into_iter()
                .map(|frame| Place {
                    frame,
                    scale: screen.scale,
                })
                .collect(),
        }
    }

    /// Returns the place for one more window. `taken` has the places of the open windows. Prefers a
    /// free place among those that were found at the start of the session. If there is none,
    /// returns a new place that covers no other window, even if the place is small or covers the
    /// right part of the launcher's terminal. If there is no such place either, returns a place
    /// that is shared with other windows.
    pub(crate) fn next(&mut self, taken: &[Place]) -> Place {
        let is_free = |place: &Place| !taken.contains(place);
        if let Some(place) = self.places.iter().copied().find(is_free) {
            return place;
        }
        let frames: Vec<Rect> = taken.iter().map(|place| place.frame).collect();
        let fit_beside = |reserved: &[Rect], cells| {
            let occupied = [reserved, &frames].concat();
            let min = frame_size(cells, self.cell);
            fit(self.area, &occupied, self.cell, 1, min)
        };
        let new = [READABLE, SMALL, USABLE].into_iter().find_map(|cells| {
            let mut choices = self.choices.iter();
            let beside = choices.find_map(|reserved| fit_beside(reserved, cells));
            // If the place of the terminal was only assumed, the terminal may be elsewhere. Cover
            // the assumed place rather than another window.
            beside.or_else(|| (!self.is_certain).then(|| fit_beside(&[], cells)).flatten())
        });
        if let Some(new) = new {
            let new = Place {
                frame: new[0],
                scale: self.scale,
            };
            self.places.push(new);
            return new;
        }
        let mut shared =
            (1..ROUNDS).flat_map(|round| self.places.iter().map(move |place| place.shared(round)));
        shared
            .find(is_free)
            .unwrap_or_else(|| self.places[taken.len() % self.places.len()])
    }
}

/// The parts of the screen that windows may have to leave free, for the launcher's terminal.
struct Reservations {
    /// The choices of what to leave free, in the order in which they are tried. The first choice
    /// that leaves enough space for the windows is used. Each choice is a set of rectangles: those
    /// of the first choice contain the whole terminal, those of the last only the beginnings of its
    /// lines.
    choices: Vec<Vec<Rect>>,
    /// The rectangles to leave free if none of `choices` leaves enough space: only the last rows of
    /// the terminal. Empty if the place of the terminal is not known.
    least: Vec<Rect>,
}

impl Reservations {
    fn new(screen: &Screen, cell: Size) -> Self {
        let area = screen.area;
        let left = |of: Rect| Rect {
            width: of.width.min(frame_size(READABLE, cell).width),
            ..of
        };
        let visible = screen.launcher.and_then(|frame| frame.intersection(&area));
        let Some(terminal) = visible else {
            let top = Rect {
                height: area.height / 3,
                ..area
            };
            return Self {
                choices: vec![vec![top], vec![left(area)]],
                least: Vec::new(),
            };
        };
        let height = terminal.height.min(LAST_ROWS * cell.height);
        let last_rows = Rect {
            y: terminal.bottom() - height,
            height,
            ..terminal
        };
        Self {
            choices: vec![
                vec![terminal],
                vec![left(terminal), last_rows],
                vec![left(terminal)],
            ],
            least: vec![last_rows],
        }
    }
}

/// Rating of a window size: three numbers, of which the first counts most and the last least:
///
/// 1. The number of cells of a window, without columns and rows beyond [`READABLE`].
/// 2. The number of all cells of a window.
/// 3. The largest number of windows that fit in a single free rectangle, because windows should
///    stay together.
type Score = (i32, i32, i32);

/// Finds places of equal size for `count` windows in `area`, outside of the rectangles `occupied`.
/// The size is the one with the highest [`Score`], from `min` to [`PREFERRED`]. Returns `None` if
/// not all windows fit.
fn fit(area: Rect, occupied: &[Rect], cell: Size, count: i32, min: Size) -> Option<Vec<Rect>> {
    let preferred = frame_size(PREFERRED, cell);
    let mut best: Option<(Score, Size, Vec<Rect>)> = None;
    for cut in [Cut::Rows, Cut::Columns] {
        let mut free = vec![area];
        for hole in occupied {
            free = free
                .iter()
                .flat_map(|rect| rect.without(hole, cut))
                .collect();
        }
        let widths = lengths(
            free.iter().map(|rect| rect.width),
            min.width,
            preferred.width,
        );
        let heights = lengths(
            free.iter().map(|rect| rect.height),
            min.height,
            preferred.height,
        );
        for width in widths {
            for &height in &heights {
                let size = Size { width, height };
                let capacities = free.iter().map(|rect| {
                    let (columns, rows) = rect.capacity(size);
                    columns * rows
                });
                if capacities.clone().sum::<i32>() < count {
                    continue;
                }
                let together = capacities.max().unwrap_or(0).min(count);
                let (columns, rows) = (width / cell.width, height / cell.height);
                // In this part of the score, count no columns and rows beyond the readable size.
                // Otherwise, many columns would make up for missing rows, and many rows for missing
                // columns.
                let readable = columns.min(READABLE.0) * rows.min(READABLE.1);
                let score: Score = (readable, columns * rows, together);
                if best.as_ref().is_none_or(|(other, ..)| *other < score) {
                    best = Some((score, size, free.clone()));
                }
            }
        }
    }
    let (_, size, free) = best?;
    Some(places(area, free, size, count))
}

/// Returns the widths (or heights) to try for windows. These are the widths of the free rectangles,
/// `totals`, divided by every number that leaves at least `min`. Widths above `max` are replaced by
/// `max`.
fn lengths(totals: impl Iterator<Item = i32>, min: i32, max: i32) -> BTreeSet<i32> {
    totals
        .flat_map(|total| (1..=total / min).map(move |parts| (total / parts).min(max)))
        .collect()
}

/// Places of this size for `count` windows in the rectangles `free`, in reading order. Within each
/// rectangle, the windows are at the edge of the screen, away from the launcher's terminal.
fn places(area: Rect, mut free: Vec<Rect>, size: Size, count: i32) -> Vec<Rect> {
    // Keep windows together: fill the rectangles in which most windows fit first.
    free.sort_by_key(|rect| {
        let (columns, rows) = rect.capacity(size);
        -(columns * rows)
    });
    let mut places: Vec<Rect> = free
        .iter()
        .flat_map(|rect| {
            let (columns, rows) = rect.capacity(size);
            let left = if rect.x == area.x {
                rect.x
            } else {
                rect.right() - columns * size.width
            };
            let top = if rect.y == area.y && rect.bottom() < area.bottom() {
                rect.y
            } else {
                rect.bottom() - rows * size.height
            };
            (0..columns * rows).map(move |index| Rect {
                x: left + index % columns * size.width,
                y: top + index / columns * size.height,
                width: size.width,
                height: size.height,
            })
        })
        .take(usize::try_from(count).unwrap_or(0))
        .collect();
    places.sort_by_key(|place| (place.y, place.x));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    const CELL: Size = Size {
        width: 9,
        height: 19,
    };

    fn rect(x: i32, y: i32, width: i32, height: i32) -> Rect {
        Rect {
            x,
            y,
            width,
            height,
        }
    }

    fn place(frame: Rect) -> Place {
        Place {
            frame,
            scale: Scale::of_dpi(96.0),
        }
    }

    fn screen(width: i32, height: i32, launcher: Option<Rect>) -> Screen {
        Screen {
            area: rect(0, 0, width, height),
            launcher,
            scale: Scale::of_dpi(96.0),
        }
    }

    fn frames(screen: &Screen, count: usize) -> Vec<Rect> {
        let tiling = Tiling::new(screen, cell(11.0), count);
        tiling.places.iter().map(|place| place.frame).collect()
    }

    fn assert_readable(frames: &[Rect]) {
        for frame in frames {
            let (columns, rows) = place(*frame).cells(CELL);
            assert!(columns >= READABLE.0 && rows >= READABLE.1, "{frames:?}");
        }
    }

    fn assert_free(frames: &[Rect], place: Rect) {
        for frame in frames {
            assert_eq!(frame.intersection(&place), None, "{frame:?} {place:?}");
        }
    }

    #[test]
    fn windows_do_not_cover_the_launchers_terminal_if_the_screen_has_room() {
        for (launcher, count) in [
            (rect(0, 0, 740, 480), 3),
            (rect(0, 0, 740, 480), 6),
            (rect(860, 0, 740, 480), 6),
            (rect(0, 520, 740, 480), 6),
            (rect(860, 520, 740, 480), 6),
            (rect(430, 0, 740, 480), 4),
            (rect(430, 260, 740, 480), 6),
            (rect(-300, -200, 740, 480), 12),
        ] {
            let frames = frames(&screen(1600, 1000, Some(launcher)), count);
            assert_eq!(frames.len(), count);
            assert_readable(&frames);
            assert_free(&frames, launcher);
        }
    }

    #[test]
    fn windows_do_not_cover_the_first_columns_of_a_large_launcher_terminal() {
        for (width, height, counts) in [
            (1024, 768, &[1, 3][..]),
            (1600, 1000, &[1, 3, 6]),
            (1920, 1080, &[1, 3, 6, 12]),
        ] {
            for launcher in [
                rect(0, 0, width, height),
                rect(10, 10, width - 20, height - 20),
                rect(140, 140, width - 300, height - 280),
            ] {
                for &count in counts {
                    let frames = frames(&screen(width, height, Some(launcher)), count);
                    assert_eq!(frames.len(), count);
                    // The first columns must be free in all rows, not only in the last ones: until
                    // the log fills the terminal, the line that the user types is further up.
                    let columns = 40 * CELL.width;
                    assert_free(
                        &frames,
                        rect(launcher.x, launcher.y, columns, launcher.height),
                    );
                }
            }
        }
    }

    #[test]
    fn many_windows_do_not_cover_the_last_rows_of_the_launchers_terminal() {
        for launcher in [
            rect(0, 0, 1024, 768),
            rect(0, 0, 740, 480),
            rect(140, 140, 740, 480),
        ] {
            for count in [12, 30, 64] {
                let frames = frames(&screen(1024, 768, Some(launcher)), count);
                let last_rows = rect(
                    launcher.x,
                    launcher.bottom() - 2 * CELL.height,
                    launcher.width,
                    2 * CELL.height,
                );
                assert_free(&frames, last_rows);
            }
        }
    }

    #[test]
    fn twelve_windows_are_readable_beside_a_maximized_terminal() {
        let frames = frames(&screen(1600, 1000, Some(rect(0, 0, 1600, 1000))), 12);
        assert_eq!(frames.len(), 12);
        assert_readable(&frames);
    }

    #[test]
    fn windows_leave_the_top_of_the_screen_free_if_the_terminals_place_is_unknown() {
        for count in [1, 3, 6] {
            let frames = frames(&screen(1600, 1000, None), count);
            assert_readable(&frames);
            assert_free(&frames, rect(0, 0, 1600, 333));
        }
    }

    #[test]
    fn windows_neither_overlap_nor_leave_the_screen() {
        for (width, height) in [(640, 480), (1366, 768), (1920, 1080), (3840, 2160)] {
            for launcher in [None, Some(rect(200, 100, 700, 400))] {
                for count in 1..=64 {
                    let mut screen = screen(width, height, launcher);
                    screen.area.x = 1600;
                    screen.area.y = 30;
                    screen.launcher = launcher.map(|frame| rect(frame.x + 1600, 30, 700, 400));
                    let frames = frames(&screen, count);
                    for (index, frame) in frames.iter().enumerate() {
                        assert_eq!(frame.intersection(&screen.area), Some(*frame));
                        assert_free(&frames[..index], *frame);
                    }
                }
            }
        }
    }

    #[test]
    fn a_later_window_takes_the_place_of_a_closed_one_and_then_free_space() {
        let terminal = rect(0, 0, 740, 480);
        let mut tiling = Tiling::new(&screen(1600, 1000, Some(terminal)), cell(11.0), 2);
        let mut taken = Vec::new();
        for _ in 0..2 {
            taken.push(tiling.next(&taken));
        }
        let closed = taken.remove(0);
        assert_eq!(tiling.next(&taken), closed);
        taken.push(closed);
        let new = tiling.next(&taken);
        let frames: Vec<Rect> = taken.iter().map(|place| place.frame).collect();
        assert_free(&frames, new.frame);
        assert_free(&[new.frame], terminal);
        assert_readable(&[new.frame]);
    }

    #[test]
    fn a_window_opened_later_covers_no_other_window_if_a_small_one_fits() {
        for (terminal, height) in [(rect(0, 0, 726, 484), 740), (rect(140, 140, 726, 484), 768)] {
            let mut tiling = Tiling::new(&screen(1024, height, Some(terminal)), cell(11.0), 3);
            let mut taken: Vec<Place> = Vec::new();
            for _ in 0..4 {
                let new = tiling.next(&taken);
                let frames: Vec<Rect> = taken.iter().map(|place| place.frame).collect();
                assert_free(&frames, new.frame);
                let (columns, rows) = new.cells(CELL);
                assert!(columns >= USABLE.0 && rows >= USABLE.1, "{new:?}");
                taken.push(new);
            }
        }
    }

    #[test]
    fn windows_have_the_same_columns_and_rows_at_every_resolution() {
        let first = |dpi, factor| {
            let scale = Scale::of_dpi(dpi);
            let device = |frame: [i32; 4]| {
                let [x, y, width, height] = frame.map(|length| length * factor);
                scale.in_pixels(rect(x, y, width, height))
            };
            let screen = Screen {
                area: device([0, 0, 1024, 740]),
                launcher: Some(device([0, 0, 726, 484])),
                scale,
            };
            Tiling::new(&screen, cell(11.0), 3).next(&[])
        };
        let usual = first(96.0, 1);
        for (dpi, factor) in [(192.0, 2), (288.0, 3), (50.0, 1)] {
            let place = first(dpi, factor);
            let (x, y) = usual.position();
            assert_eq!(place.position(), (x * factor, y * factor), "{dpi}");
            assert_eq!(place.cells(CELL), usual.cells(CELL), "{dpi}");
            let (size, usual) = (place.device_size(), usual.device_size());
            assert_eq!(size.width, usual.width * factor, "{dpi}");
            assert_eq!(size.height, usual.height * factor, "{dpi}");
        }
    }

    #[test]
    fn windows_that_must_overlap_leave_the_prompts_of_earlier_windows_visible() {
        let mut tiling = Tiling::new(&screen(1024, 768, None), cell(11.0), 6);
        let mut taken: Vec<Place> = Vec::new();
        for _ in 0..18 {
            let new = tiling.next(&taken);
            for place in &taken {
                let prompt = rect(place.frame.x, place.frame.bottom() - STEP, STEP, STEP);
                assert_free(&[new.frame], prompt);
            }
            taken.push(new);
        }
    }
}
