//! The color slot of a member: a number that the server assigns, and that each client shows as a
//! color of its choice.

use serde::de::{Deserializer, IgnoredAny};
use serde::{Deserialize, Serialize};

/// One of twelve slots. A number and not a color, because only the client knows which colors can be
/// told apart on its background.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ColorSlot(u8);

impl ColorSlot {
    /// The most colors that can be told apart while each is readable on its background. See the
    /// figures in `tty::name_colors`.
    pub const COUNT: usize = 12;

    /// `None` if there is no such slot.
    pub fn new(number: u8) -> Option<Self> {
        (usize::from(number) < Self::COUNT).then_some(Self(number))
    }

    /// All slots, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..).map_while(Self::new)
    }

    /// The slot for a name whose member is unknown: one that wrote before this client joined, or a
    /// member of a server that assigns no slots. The same in every run.
    pub fn of_name(name: &str) -> Self {
        // FNV-1a, since std's hasher differs from run to run.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        // Less than `COUNT`.
        Self((hash % Self::COUNT as u64) as u8)
    }

    /// The slot's number, less than [`ColorSlot::COUNT`].
    pub fn index(self) -> usize {
        self.0.into()
    }
}

/// Reads a slot. An invalid value counts as no slot, because the line is still usable without it.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<ColorSlot>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Field {
        Number(u8),
        Other(IgnoredAny),
    }
    Ok(match Field::deserialize(deserializer)? {
        Field::Number(number) => ColorSlot::new(number),
        Field::Other(_) => None,
    })
}
