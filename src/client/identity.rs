//! The client's own identity in the room.

use crate::protocol::event::{Event, MemberId, Welcome};
use crate::protocol::name::{folded, is_mark};
use crate::protocol::text::Text;

/// This client's member ID and name. There is a single copy, which the formatter owns.
pub struct OwnIdentity {
    pub id: MemberId,
    pub name: Text,
}

impl OwnIdentity {
    pub fn new(welcome: &Welcome) -> Self {
        Self {
            id: welcome.id,
            name: welcome.name.clone(),
        }
    }

    /// Updates the name if `event` renames this member.
    pub fn follow(&mut self, event: &Event) {
        if let Event::Renamed { id, to, .. } = event
            && *id == self.id
        {
            self.name = to.clone();
        }
    }

    /// Whether `text` contains the name as a whole word, in any case, width and Unicode form.
    pub fn is_mentioned_in(&self, text: &Text) -> bool {
        let name = folded(self.name.as_str());
        let text = folded(text.as_str());
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || is_mark(c);
        // An empty name, which a hostile server may send, is never mentioned.
        !name.is_empty()
            && text.match_indices(&name).any(|(at, _)| {
                !text[..at].ends_with(is_word) && !text[at + name.len()..].starts_with(is_word)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ala() -> OwnIdentity {
        OwnIdentity {
            id: MemberId(7),
            name: Text::new("ala"),
        }
    }

    #[test]
    fn a_mention_is_the_users_name_as_a_whole_word_in_any_case() {
        for text in ["ala", "ALA!", "hi ala, you", "@ala", "ala's"] {
            assert!(ala().is_mentioned_in(&Text::new(text)), "{text}");
        }
        for text in ["hi", "alabama", "koala", "ala_2", "żala"] {
            assert!(!ala().is_mentioned_in(&Text::new(text)), "{text}");
        }
    }

    #[test]
    fn a_mention_may_differ_from_the_users_name_in_width_and_unicode_form() {
        let own = |name: &str| OwnIdentity {
            id: MemberId(7),
            name: Text::new(name),
        };
        for (name, text) in [
            ("José", "hi Jose\u{301}!"),
            ("ala", "hi ＡＬＡ"),
            ("Weiß", "WEISS, hi"),
            ("Νίκος", "ΝΊΚΟΣ"),
            ("O'Brien", "hi O’Brien"),
            ("علی\u{200c}رضا", "علیرضا"),
        ] {
            assert!(own(name).is_mentioned_in(&Text::new(text)), "{text}");
        }
        for (name, text) in [("Jose", "Jose\u{301}"), ("Al", "AI"), ("x", "x\u{308}")] {
            assert!(!own(name).is_mentioned_in(&Text::new(text)), "{text}");
        }
    }

    #[test]
    fn after_a_rename_only_the_new_name_is_a_mention() {
        let mut own = ala();
        own.follow(&Event::Renamed {
            id: MemberId(7),
            from: Text::new("ala"),
            to: Text::new("ela"),
        });
        assert!(!own.is_mentioned_in(&Text::new("hi ala")));
        assert!(own.is_mentioned_in(&Text::new("hi ela")));
    }
}
