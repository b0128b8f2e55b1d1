//! The colors of members' names on this terminal.
//!
//! The server assigns each member a color slot, and a table maps slots to colors. Too few colors
//! have a contrast of 4.5 (the minimum in WCAG 2) to both black and white, so there are tables for
//! dark and for light backgrounds, and one with less contrast for unknown backgrounds. The colors
//! of the RGB tables differ more from each other than those of the tables for xterm's 256 colors.
//! The tests give the figures.
//!
//! A slot has about the same hue in the tables for dark and for light backgrounds. The colors of
//! the first slots, which small rooms use, differ most from each other.

use std::collections::HashMap;
use std::env;

use termcolor::Color;

use crate::protocol::color::ColorSlot;
use crate::protocol::event::{Answer, Event, Listed, MemberId, Welcome};
use crate::protocol::text::Text;
use crate::tty::background::Background;

/// Limit on the members to track. No room has more, but a hostile server may send any number.
const MAX_MEMBERS: usize = 20_000;

type Table = [Color; ColorSlot::COUNT];

const fn rgb(rgb: u32) -> Color {
    let [_, red, green, blue] = rgb.to_be_bytes();
    Color::Rgb(red, green, blue)
}

const DARK_RGB: Table = [
    rgb(0xb57f11),
    rgb(0x2089fa),
    rgb(0x04ef9f),
    rgb(0xfe470b),
    rgb(0xb360fc),
    rgb(0x1d998e),
    rgb(0xe2d626),
    rgb(0x5a9905),
    rgb(0xffc4a7),
    rgb(0xf3c2f3),
    rgb(0x80deff),
    rgb(0xff327f),
];

const LIGHT_RGB: Table = [
    rgb(0x96620e),
    rgb(0x0300ff),
    rgb(0x0b5945),
    rgb(0xdc0200),
    rgb(0x6a3d62),
    rgb(0x00778d),
    rgb(0x4e4f0e),
    rgb(0x027f03),
    rgb(0x723e2f),
    rgb(0xc000c4),
    rgb(0x6167ab),
    rgb(0xd3035b),
];

const DARK_256: Table = indexed([214, 69, 43, 202, 165, 66, 100, 149, 217, 183, 81, 197]);
const LIGHT_256: Table = indexed([130, 20, 23, 88, 89, 60, 58, 28, 95, 129, 27, 161]);
const UNKNOWN_256: Table = indexed([202, 105, 28, 95, 93, 31, 94, 101, 197, 201, 60, 139]);

/// The basic colors, whose actual values depend on the terminal's theme.
const BASIC_16: Table = indexed([3, 12, 10, 9, 5, 6, 11, 2, 1, 13, 14, 4]);

const fn indexed(indices: [u8; ColorSlot::COUNT]) -> Table {
    let mut table = [Color::Black; ColorSlot::COUNT];
    let mut slot = 0;
    while slot < ColorSlot::COUNT {
        table[slot] = Color::Ansi256(indices[slot]);
        slot += 1;
    }
    table
}

/// Whether a terminal with this `TERM` has fewer than 256 colors. False for `xterm`, because many
/// terminals with 256 colors use that name.
fn is_basic(term: &str) -> bool {
    matches!(term, "linux" | "ansi") || term.ends_with("-16color") || term.ends_with("-8color")
}

/// The color table for a terminal with at least 256 colors and this value of `COLORTERM`.
fn table(colorterm: &str, background: Background) -> &'static Table {
    let is_truecolor = matches!(colorterm, "truecolor" | "24bit");
    match background {
        // If the background is unknown, use the 256-color table even on a terminal with RGB colors.
        // So few colors have enough contrast to both dark and light backgrounds that RGB colors
        // would be no better.
        Background::Unknown => &UNKNOWN_256,
        Background::Dark if is_truecolor => &DARK_RGB,
        Background::Light if is_truecolor => &LIGHT_RGB,
        Background::Dark => &DARK_256,
        Background::Light => &LIGHT_256,
    }
}

/// The color slots that the server has assigned to the known members, and the table of this
/// terminal's colors for the slots.
pub struct NameColors {
    table: &'static Table,
    /// The room to which the member IDs belong.
    room: Option<Text>,
    slots: HashMap<MemberId, ColorSlot>,
}

/// Creates an empty record with the colors for an unknown background.
impl Default for NameColors {
    fn default() -> Self {
        Self {
            table: &UNKNOWN_256,
            room: None,
            slots: HashMap::new(),
        }
    }
}

impl NameColors {
    /// Chooses the color table for this terminal, according to `TERM`, `COLORTERM` and the
    /// background. Calls `ask`, which queries the terminal's background, only if the choice depends
    /// on the background.
    pub(crate) fn fit_terminal(&mut self, ask: impl FnOnce() -> Option<Background>) {
        let [term, colorterm] =
            ["TERM", "COLORTERM"].map(|name| env::var(name).unwrap_or_default());
        self.table = if is_basic(&term) {
            &BASIC_16
        } else {
            let background = ask().unwrap_or_else(Background::from_environment);
            table(&colorterm, background)
        };
    }

    /// Records the members that the server's welcome lists. Keeps members who left while the
    /// connection was lost, because the replay may contain messages from them.
    pub fn enter(&mut self, welcome: &Welcome) {
        if self.room.as_ref() != Some(&welcome.room) {
            self.slots.clear();
            self.room = Some(welcome.room.clone());
        }
        self.learn(welcome.id, welcome.color);
        self.learn_all(&welcome.online);
    }

    /// Records the colors of the listed members.
    pub(crate) fn learn_all(&mut self, members: &[Listed]) {
        for Listed { id, color, .. } in members {
            self.learn(*id, *color);
        }
    }

    fn learn(&mut self, id: MemberId, color: Option<ColorSlot>) {
        if let Some(color) = color
            && (self.slots.len() < MAX_MEMBERS || self.slots.contains_key(&id))
        {
            self.slots.insert(id, color);
        }
    }

    /// The color of a member's name. The color of an unknown member depends only on the name.
    pub fn of(&self, id: MemberId, name: &Text) -> Color {
        let slot = self.slots.get(&id).copied();
        self.table[slot
            .unwrap_or_else(|| ColorSlot::of_name(name.as_str()))
            .index()]
    }

    /// Returns the color of the name in an event, if there is a name. Records a member who joins,
    /// and forgets a member who leaves.
    pub fn event(&mut self, event: &Event) -> Option<Color> {
        match event {
            Event::Message { id, from, .. } | Event::Renamed { id, from, .. } => {
                Some(self.of(*id, from))
            }
            Event::Joined(member) => {
                self.learn(member.id, member.color);
                Some(self.of(member.id, &member.name))
            }
            Event::Left { id, name, .. } => {
                let color = self.of(*id, name);
                self.slots.remove(id);
                Some(color)
            }
            Event::Server { .. } | Event::Shutdown => None,
        }
    }

    /// Returns the color of the name in an answer, if there is a name. If the answer is a list of
    /// members, records them.
    pub fn answer(&mut self, answer: &Answer) -> Option<Color> {
        match answer {
            Answer::PrivateFrom { id, from: name, .. } | Answer::PrivateTo { id, to: name, .. } => {
                Some(self.of(*id, name))
            }
            Answer::Online { members, .. } => {
                self.learn_all(members);
                None
            }
            Answer::Welcome(_)
            | Answer::PastBegins(_)
            | Answer::PastEnds
            | Answer::Help(_)
            | Answer::Error(_)
            | Answer::Notice(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::*;

    type Rgb = [f64; 3];

    const BLACK: Rgb = [0.0; 3];
    const WHITE: Rgb = [255.0; 3];
    /// A typical "black" background of dark themes.
    const NEAR_BLACK: Rgb = [17.0; 3];
    /// Color of text on a dark background: xterm's white.
    const PALE: Rgb = [229.0; 3];
    /// The color of secondary text, `style::quiet`, which is color 243.
    const QUIET: Rgb = [118.0; 3];
    /// The colors of leaves and joins (red and green), in xterm and in VTE.
    const RED_AND_GREEN: [Rgb; 4] = [
        [205.0, 0.0, 0.0],
        [192.0, 28.0, 40.0],
        [0.0, 205.0, 0.0],
        [38.0, 162.0, 105.0],
    ];

    /// The components of a color, from 0 to 255. Indexed colors have xterm's values.
    fn components(color: Color) -> Rgb {
        match color {
            Color::Rgb(red, green, blue) => [red, green, blue].map(f64::from),
            Color::Ansi256(index @ 16..=231) => {
                [36, 6, 1].map(|step| match (index - 16) / step % 6 {
                    0 => 0.0,
                    level => 55.0 + 40.0 * f64::from(level),
                })
            }
            color => panic!("{color:?} is not the same everywhere"),
        }
    }

    fn linear(component: f64) -> f64 {
        match component / 255.0 {
            low if low <= 0.04045 => low / 12.92,
            high => ((high + 0.055) / 1.055).powf(2.4),
        }
    }

    /// The contrast ratio (WCAG 2), from 1 to 21.
    fn contrast(one: Rgb, other: Rgb) -> f64 {
        let luminance = |rgb: Rgb| {
            let [red, green, blue] = rgb.map(linear);
            0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05
        };
        let (one, other) = (luminance(one), luminance(other));
        one.max(other) / one.min(other)
    }

    /// Converts an sRGB color to CIE L*a*b*, with the white point D65.
    fn lab(rgb: Rgb) -> [f64; 3] {
        let [red, green, blue] = rgb.map(linear);
        let root = |t: f64| {
            if t > 216.0 / 24389.0 {
                t.cbrt()
            } else {
                (24389.0 / 27.0 * t + 16.0) / 116.0
            }
        };
        let x = root((0.412_456_4 * red + 0.357_576_1 * green + 0.180_437_5 * blue) / 0.95047);
        let y = root(0.212_672_9 * red + 0.715_152_2 * green + 0.072_175 * blue);
        let z = root((0.019_333_9 * red + 0.119_192 * green + 0.950_304_1 * blue) / 1.08883);
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    /// The CIEDE2000 color difference; 1 is just noticeable. Source: Sharma, Wu and Dalal, "The
    /// CIEDE2000 color-difference formula" (2005).
    fn difference(one: [f64; 3], other: [f64; 3]) -> f64 {
        let chroma_7 = |chroma: f64| {
            let seventh = chroma.powi(7);
            (seventh / (seventh + 25_f64.powi(7))).sqrt()
        };
        let mean = |one: f64, other: f64| f64::midpoint(one, other);
        let chroma = mean(one[1].hypot(one[2]), other[1].hypot(other[2]));
        let stretch = 1.0 + 0.5 * (1.0 - chroma_7(chroma));
        let polar = |[_, a, b]: [f64; 3]| {
            let a = a * stretch;
            (a.hypot(b), b.atan2(a).rem_euclid(2.0 * PI))
        };
        let ((chroma_1, hue_1), (chroma_2, hue_2)) = (polar(one), polar(other));
        let is_gray = chroma_1 * chroma_2 == 0.0;
        let turn = match hue_2 - hue_1 {
            _ if is_gray => 0.0,
            turn if turn > PI => turn - 2.0 * PI,
            turn if turn < -PI => turn + 2.0 * PI,
            turn => turn,
        };
        let hue = match () {
            () if is_gray => hue_1 + hue_2,
            () if (hue_1 - hue_2).abs() <= PI => mean(hue_1, hue_2),
            () if hue_1 + hue_2 < 2.0 * PI => mean(hue_1, hue_2) + PI,
            () => mean(hue_1, hue_2) - PI,
        };
        let (lightness, chroma) = (mean(one[0], other[0]), mean(chroma_1, chroma_2));
        let degrees = |degrees: f64| degrees.to_radians();
        let t = 1.0 - 0.17 * (hue - degrees(30.0)).cos()
            + 0.24 * (2.0 * hue).cos()
            + 0.32 * (3.0 * hue + degrees(6.0)).cos()
            - 0.20 * (4.0 * hue - degrees(63.0)).cos();
        let from_50 = (lightness - 50.0).powi(2);
        let l = (other[0] - one[0]) / (1.0 + 0.015 * from_50 / (20.0 + from_50).sqrt());
        let c = (chroma_2 - chroma_1) / (1.0 + 0.045 * chroma);
        let h =
            2.0 * (chroma_1 * chroma_2).sqrt() * (turn / 2.0).sin() / (1.0 + 0.015 * chroma * t);
        let bend = degrees(30.0) * (-((hue.to_degrees() - 275.0) / 25.0).powi(2)).exp();
        let rotation = -(2.0 * bend).sin() * 2.0 * chroma_7(chroma);
        (l * l + c * c + h * h + rotation * c * h).sqrt()
    }

    #[test]
    fn computed_color_differences_match_the_published_test_data() {
        for (one, other, expected) in [
            ([50.0, 2.6772, -79.7751], [50.0, 0.0, -82.7485], 2.0425),
            ([50.0, 2.5, 0.0], [73.0, 25.0, -18.0], 27.1492),
            ([50.0, 2.49, -0.001], [50.0, -2.49, 0.0011], 7.2195),
            (
                [22.7233, 20.0904, -46.694],
                [23.0331, 14.973, -42.5619],
                2.0373,
            ),
            (
                [6.7747, -0.2908, -2.4247],
                [5.8714, -0.0985, -2.2286],
                0.6377,
            ),
        ] {
            let found = difference(one, other);
            assert!((found - expected).abs() < 0.00005, "{found} {expected}");
        }
    }

    /// The minimum of `values`, rounded down to one decimal place.
    fn least(values: impl Iterator<Item = f64>) -> f64 {
        (values.fold(f64::INFINITY, f64::min) * 10.0).floor() / 10.0
    }

    /// The minimum difference between two colors of a table, and the minimum between any of its
    /// colors and any of `others`.
    fn differences(table: &Table, others: &[Rgb]) -> (f64, f64) {
        let labs = table.map(|color| lab(components(color)));
        let pairs = (0..labs.len()).flat_map(|one| (0..one).map(move |other| (one, other)));
        let within = least(pairs.map(|(one, other)| difference(labs[one], labs[other])));
        let to_others = labs.iter().flat_map(|&color| {
            others
                .iter()
                .map(move |&other| difference(color, lab(other)))
        });
        (within, least(to_others))
    }

    fn least_contrast(table: &Table, background: Rgb) -> f64 {
        least(
            table
                .iter()
                .map(|&color| contrast(components(color), background)),
        )
    }

    #[test]
    fn name_colors_are_distinct_and_legible_on_a_dark_background() {
        assert_eq!(differences(&DARK_RGB, &[PALE, QUIET]), (26.4, 19.6));
        assert_eq!(least_contrast(&DARK_RGB, NEAR_BLACK), 5.3);
        assert_eq!(differences(&DARK_256, &[PALE, QUIET]), (23.2, 14.7));
        assert_eq!(differences(&DARK_256, &RED_AND_GREEN).1, 13.7);
        assert_eq!(least_contrast(&DARK_256, NEAR_BLACK), 4.7);
    }

    #[test]
    fn name_colors_are_distinct_and_legible_on_a_light_background() {
        assert_eq!(differences(&LIGHT_RGB, &[BLACK, QUIET]), (21.0, 19.8));
        assert_eq!(least_contrast(&LIGHT_RGB, WHITE), 5.1);
        // A table with two grays would have a greater minimum difference between its colors (20.7),
        // but a gray name would look like secondary text, which is gray.
        assert_eq!(differences(&LIGHT_256, &[BLACK, QUIET]), (18.7, 16.8));
        assert_eq!(differences(&LIGHT_256, &RED_AND_GREEN).1, 12.8);
        assert_eq!(least_contrast(&LIGHT_256, WHITE), 4.7);
    }

    #[test]
    fn name_colors_are_distinct_and_legible_on_an_unknown_background() {
        assert_eq!(
            differences(&UNKNOWN_256, &[BLACK, PALE, QUIET]),
            (20.0, 16.4)
        );
        assert_eq!(differences(&UNKNOWN_256, &RED_AND_GREEN).1, 15.1);
        assert_eq!(least_contrast(&UNKNOWN_256, NEAR_BLACK), 3.1);
        assert_eq!(least_contrast(&UNKNOWN_256, WHITE), 3.0);
    }

    #[test]
    fn name_colors_are_legible_on_the_lightest_dark_and_darkest_light_background() {
        for (gray, background, tables) in [
            ("36", Background::Dark, [&DARK_RGB, &DARK_256]),
            ("cf", Background::Light, [&LIGHT_RGB, &LIGHT_256]),
        ] {
            let answer = format!("rgb:{gray}/{gray}/{gray}");
            assert_eq!(Background::from_answer(answer.as_bytes()), background);
            let level = f64::from(u8::from_str_radix(gray, 16).unwrap());
            for table in tables {
                assert!(least_contrast(table, [level; 3]) >= 3.0, "{background:?}");
            }
        }
    }

    #[test]
    fn no_two_color_slots_have_the_same_basic_color() {
        let indices = BASIC_16.map(|color| match color {
            Color::Ansi256(index @ 1..=15) => index,
            color => panic!("{color:?}"),
        });
        for (slot, index) in indices.iter().enumerate() {
            assert!(!indices[..slot].contains(index), "{index}");
        }
    }

    #[test]
    fn the_terminal_and_its_background_decide_which_color_table_is_used() {
        for (colorterm, background, expected) in [
            ("truecolor", Background::Dark, &DARK_RGB),
            ("24bit", Background::Light, &LIGHT_RGB),
            ("truecolor", Background::Unknown, &UNKNOWN_256),
            ("", Background::Dark, &DARK_256),
            ("yes", Background::Light, &LIGHT_256),
            ("", Background::Unknown, &UNKNOWN_256),
        ] {
            assert_eq!(
                table(colorterm, background),
                expected,
                "{colorterm} {background:?}"
            );
        }
        assert!(is_basic("linux") && is_basic("xterm-16color"));
        assert!(!is_basic("xterm") && !is_basic("xterm-256color"));
    }

    fn joined(id: u64, name: &str, color: u8) -> Event {
        Event::Joined(Listed {
            id: MemberId(id),
            name: Text::new(name),
            group: None,
            color: ColorSlot::new(color),
        })
    }

    #[test]
    fn a_name_has_the_color_of_its_members_slot_until_the_member_leaves() {
        let mut names = NameColors::default();
        let (ala, name) = (MemberId(1), Text::new("ala"));
        let unknown = names.of(ala, &name);
        let slot = UNKNOWN_256.iter().position(|color| *color == unknown);
        let other = (slot.unwrap() + 1) % ColorSlot::COUNT;
        let known = Some(UNKNOWN_256[other]);
        assert_eq!(names.event(&joined(1, "ala", other as u8)), known);
        let renamed = Event::Renamed {
            id: ala,
            from: name.clone(),
            to: Text::new("ela"),
        };
        assert_eq!(names.event(&renamed), known);
        assert_eq!(Some(names.of(ala, &Text::new("ela"))), known);
        let left = Event::Left {
            id: ala,
            name: name.clone(),
            reason: None,
        };
        assert_eq!(names.event(&left), known);
        assert_eq!(names.of(ala, &name), unknown);
    }

    #[test]
    fn name_colors_are_remembered_for_a_limited_number_of_members() {
        let mut names = NameColors::default();
        for id in 0..MAX_MEMBERS as u64 + 10 {
            names.event(&joined(id, "ala", 1));
        }
        assert_eq!(names.slots.len(), MAX_MEMBERS);
        assert_eq!(names.event(&joined(0, "ala", 2)), Some(UNKNOWN_256[2]));
    }
}
