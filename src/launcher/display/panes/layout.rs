//! Layout of the panes: how many fit on a screen, which are visible, and in which rectangles.

use ratatui::layout::Rect;

/// Minimum columns and rows of a pane, including its border, if several panes are visible.
const MIN_SIZE: (u16, u16) = (30, 6);

/// Size in columns and rows beyond which a pane is no easier to read.
const USEFUL_SIZE: (u16, u16) = (60, 16);

/// A tile: a visible pane, and its area on the screen, including its border.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tile {
    /// The index of the pane.
    pub(crate) pane: usize,
    pub(crate) area: Rect,
}

/// Splits the screen into the area of the panes, and the status line below it.
pub(crate) fn split(screen: Rect) -> (Rect, Rect) {
    let height = screen.height.saturating_sub(1);
    let panes = Rect { height, ..screen };
    let status = Rect {
        y: screen.y + height,
        height: screen.height - height,
        ..screen
    };
    (panes, status)
}

/// Arranges `count` panes in `area`. If not all of them fit, arranges as many as fit, among them
/// the pane `focus`. If `zoomed`, arranges only the pane `focus`.
///
/// The arranged panes cover `area`. If there are several, each has at least 30 columns and 6 rows.
pub(crate) fn arrange(count: usize, area: Rect, focus: usize, zoomed: bool) -> Vec<Tile> {
    if count == 0 {
        return Vec::new();
    }
    let focus = focus.min(count - 1);
    let (shown, rows) = if zoomed { (1, 1) } else { grid(count, area) };
    let first = (focus / shown * shown).min(count - shown);
    let mut tiles = Vec::with_capacity(shown);
    for row in 0..rows {
        // If the panes cannot be divided evenly, put more panes into the lower rows. Then the
        // server's log, which comes first, is wider.
        let (begin, end) = (row * shown / rows, (row + 1) * shown / rows);
        let (y, height) = share(area.y, area.height, row, rows);
        for pane in begin..end {
            let (x, width) = share(area.x, area.width, pane - begin, end - begin);
            let area = Rect {
                x,
                y,
                width,
                height,
            };
            tiles.push(Tile {
                pane: first + pane,
                area,
            });
        }
    }
    tiles
}

/// The area inside a pane's border, or the whole area if it is too small for a border.
pub(crate) fn inside_border(area: Rect) -> Rect {
    if area.width < 4 || area.height < 3 {
        return area;
    }
    Rect {
        x: area.x + 1,
        y: area.y + 1,
        width: area.width - 2,
        height: area.height - 2,
    }
}

/// Splits the inside of the server's pane into the log and the input line below it. If there is no
/// space for both, the input line gets height 0.
pub(crate) fn log_and_line(inside: Rect) -> (Rect, Rect) {
    if inside.height < 2 {
        return (
            inside,
            Rect {
                height: 0,
                ..inside
            },
        );
    }
    split(inside)
}

/// Returns how many of `count` panes are visible at the same time, and the number of rows in which
/// they are arranged.
fn grid(count: usize, area: Rect) -> (usize, usize) {
    (2..=count)
        .rev()
        .find_map(|shown| Some((shown, best_rows(shown, area)?)))
        .unwrap_or((1, 1))
}

/// Returns the number of rows in which to arrange `shown` panes, so that they are easiest to read.
/// `None` if they do not fit.
fn best_rows(shown: usize, area: Rect) -> Option<usize> {
    let mut best = None;
    let mut best_score = 0;
    for rows in 1..=shown {
        let columns = shown.div_ceil(rows);
        let (width, height) = (
            usize::from(area.width) / columns,
            usize::from(area.height) / rows,
        );
        if width < usize::from(MIN_SIZE.0) || height < usize::from(MIN_SIZE.1) {
            continue;
        }
        let score = width.min(usize::from(USEFUL_SIZE.0)) * height.min(usize::from(USEFUL_SIZE.1));
        if score > best_score {
            best_score = score;
            best = Some(rows);
        }
    }
    best
}

/// Divides a range into `parts` of nearly equal length. Returns the start and length of the part at
/// `index`.
fn share(start: u16, length: u16, index: usize, parts: usize) -> (u16, u16) {
    let at = |index: usize| (usize::from(length) * index / parts) as u16;
    (start + at(index), at(index + 1) - at(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_size() -> impl Iterator<Item = Rect> {
        (6..=100).flat_map(|height| (20..=400).map(move |width| Rect::new(0, 0, width, height)))
    }

    #[test]
    fn panes_cover_the_screen_and_have_at_least_30_columns_and_6_rows() {
        for screen in every_size() {
            let (area, status) = split(screen);
            assert_eq!(area.height + status.height, screen.height);
            for count in [1, 2, 3, 4, 5, 6, 9, 16, 17, 65] {
                let tiles = arrange(count, area, 0, false);
                let cells: u32 = tiles.iter().map(|tile| tile.area.area()).sum();
                assert_eq!(cells, area.area(), "{count} on {screen}: {tiles:?}");
                for (index, tile) in tiles.iter().enumerate() {
                    assert_eq!(tile.area, tile.area.intersection(area), "{tiles:?}");
                    let others = &tiles[index + 1..];
                    assert!(others.iter().all(|other| !other.area.intersects(tile.area)));
                    let Rect { width, height, .. } = tile.area;
                    assert!(
                        tiles.len() == 1 || (width >= 30 && height >= 6),
                        "{tiles:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_focused_pane_is_always_visible() {
        for screen in [
            Rect::new(0, 0, 20, 6),
            Rect::new(0, 0, 80, 24),
            Rect::new(0, 0, 400, 100),
        ] {
            for count in 1..=65 {
                let sizes: Vec<usize> = (0..count)
                    .map(|focus| {
                        let tiles = arrange(count, split(screen).0, focus, false);
                        assert!(tiles.iter().any(|tile| tile.pane == focus));
                        assert!(tiles.is_sorted_by_key(|tile| tile.pane));
                        tiles.len()
                    })
                    .collect();
                assert!(sizes.iter().all(|size| *size == sizes[0]), "{sizes:?}");
            }
        }
    }

    #[test]
    fn sixteen_panes_fit_on_a_large_screen_and_six_on_a_small_one() {
        let shown =
            |count, width, height| arrange(count, Rect::new(0, 0, width, height), 0, false).len();
        assert_eq!(shown(16, 200, 60), 16);
        assert_eq!(shown(16, 80, 23), 6);
        assert_eq!(shown(4, 80, 23), 4);
        assert_eq!(shown(4, 59, 11), 1);
    }

    #[test]
    fn the_pane_of_the_server_is_wider_than_the_others() {
        let tiles = arrange(3, Rect::new(0, 0, 80, 23), 0, false);
        let areas: Vec<Rect> = tiles.iter().map(|tile| tile.area).collect();
        let expected = [
            Rect::new(0, 0, 80, 11),
            Rect::new(0, 11, 40, 12),
            Rect::new(40, 11, 40, 12),
        ];
        assert_eq!(areas, expected);
    }

    #[test]
    fn a_zoomed_pane_has_the_whole_screen() {
        let area = Rect::new(0, 0, 80, 23);
        assert_eq!(arrange(4, area, 2, true), [Tile { pane: 2, area }]);
    }
}
