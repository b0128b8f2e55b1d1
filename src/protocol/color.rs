//! The color slot of a member: a number that the server assigns, and that each client shows as a
//! color of its choice.

use std::fmt;

use serde::Serialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// One of twelve color slots. The server sends a slot number rather than a color, because only the
/// client knows which colors can be told apart on its background.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ColorSlot(u8);

impl ColorSlot {
    /// Number of slots: the largest number of colors that are all readable on one background and
    /// can be told apart. `tty::name_colors` has the figures.
    pub const COUNT: usize = 12;

    /// Returns the slot with this number, or `None` if the number is too large.
    pub fn new(number: u8) -> Option<Self> {
        (usize::from(number) < Self::COUNT).then_some(Self(number))
    }

    /// All slots, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..).map_while(Self::new)
    }

    /// Returns a slot for a member whose slot the client does not know: the author of a message
    /// from before the client joined, or any member if the server is an older version, which
    /// assigns no slots. A name has the same slot in every run.
    pub fn of_name(name: &str) -> Self {
        // Hash with FNV-1a, because std's hasher gives different values in different runs.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        // The remainder is less than `COUNT`, so it fits into a `u8`.
        Self((hash % Self::COUNT as u64) as u8)
    }

    /// The slot's number, less than [`ColorSlot::COUNT`].
    pub fn index(self) -> usize {
        self.0.into()
    }
}

/// Deserializes an optional slot. An invalid value becomes `None` instead of an error, because the
/// rest of the line is still usable.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<ColorSlot>, D::Error> {
    deserializer.deserialize_any(SlotVisitor)
}

/// Deserializes a slot, and skips an invalid value without storing it. An untagged enum would first
/// copy the whole value, which takes 16 times the memory of the line if the value is an array of
/// numbers.
struct SlotVisitor;

impl<'de> Visitor<'de> for SlotVisitor {
    type Value = Option<ColorSlot>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a color slot")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(u8::try_from(number).ok().and_then(ColorSlot::new))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<Self::Value, A::Error> {
        IgnoredAny.visit_seq(elements).map(|_| None)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
        IgnoredAny.visit_map(entries).map(|_| None)
    }
}
