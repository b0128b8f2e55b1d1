//! What a reader of the conversation has to be told besides: the day, whether it is the past, and whether they are called.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::protocol::event::{Event, MemberId, Welcome};
use crate::protocol::text::Text;

/// Where the reader is in the conversation, and who they are.
pub struct Conversation {
    zone: TimeZone,
    /// The day that a reader takes a time to be of.
    day: Date,
    /// Who this client is.
    own: Option<(MemberId, Text)>,
    in_past: bool,
}

impl Conversation {
    pub fn new(zone: TimeZone, now: Timestamp) -> Self {
        Self {
            day: now.to_zoned(zone.clone()).date(),
            zone,
            own: None,
            in_past: false,
        }
    }

    /// Learns who the reader is.
    pub fn enter(&mut self, welcome: &Welcome) {
        self.own = Some((welcome.id, welcome.name.clone()));
    }

    pub fn is_own(&self, id: MemberId) -> bool {
        self.own.as_ref().is_some_and(|(own, _)| *own == id)
    }

    /// Whether the past begins or ends with an event that is `replay`, or not; which, it tells.
    pub fn turn(&mut self, replay: bool) -> Option<bool> {
        (replay != std::mem::replace(&mut self.in_past, replay)).then_some(replay)
    }

    /// The day of `time`, where it is another one than before.
    pub fn new_day(&mut self, time: Timestamp) -> Option<Date> {
        let date = time.to_zoned(self.zone.clone()).date();
        (date != std::mem::replace(&mut self.day, date)).then_some(date)
    }

    /// The time of day, as `10:00`.
    pub fn clock(&self, time: Timestamp) -> String {
        let time = time.to_zoned(self.zone.clone());
        time.strftime("%H:%M").to_string()
    }

    /// Learns the reader's new name.
    pub fn follow(&mut self, event: &Event) {
        if let (Event::Renamed { id, to, .. }, Some((own, name))) = (event, &mut self.own)
            && id == own
        {
            *name = to.clone();
        }
    }

    /// Whether another member says the reader's name.
    pub fn calls(&self, event: &Event) -> bool {
        event.author().is_some_and(|(id, _)| !self.is_own(id))
            && event.text().is_some_and(|text| self.is_called_in(text))
    }

    /// Whether `text` has the reader's name in it, as a word, in any case.
    fn is_called_in(&self, text: &Text) -> bool {
        let Some((_, name)) = &self.own else {
            return false;
        };
        let (name, text) = (name.as_str().to_lowercase(), text.as_str().to_lowercase());
        // The name may come from a server that lies.
        !name.is_empty()
            && text.match_indices(&name).any(|(at, _)| {
                let goes_on = |c: char| c.is_alphanumeric() || c == '_';
                !text[..at].ends_with(goes_on) && !text[at + name.len()..].starts_with(goes_on)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `ala`, member 7, follows.
    fn conversation() -> Conversation {
        let noon = "2026-01-31T12:00:00Z".parse().unwrap();
        let mut conversation = Conversation::new(TimeZone::UTC, noon);
        conversation.own = Some((MemberId(7), Text::new("ala")));
        conversation
    }

    #[test]
    fn the_reader_is_called_by_their_name_as_a_word_in_any_case() {
        for text in ["ala", "ALA!", "hi ala, you", "@ala", "ala's"] {
            assert!(conversation().is_called_in(&Text::new(text)), "{text}");
        }
        for text in ["hi", "alabama", "koala", "ala_2", "żala"] {
            assert!(!conversation().is_called_in(&Text::new(text)), "{text}");
        }
    }

    #[test]
    fn the_reader_is_called_by_the_name_after_a_rename() {
        let mut conversation = conversation();
        conversation.follow(&Event::Renamed {
            id: MemberId(7),
            from: Text::new("ala"),
            to: Text::new("ela"),
        });
        assert!(!conversation.is_called_in(&Text::new("hi ala")));
        assert!(conversation.is_called_in(&Text::new("hi ela")));
    }

    #[test]
    fn a_day_is_told_once() {
        let mut conversation = conversation();
        let mut day = |time: &str| conversation.new_day(time.parse().unwrap());
        assert_eq!(day("2026-01-31T23:59:00Z"), None);
        assert_eq!(day("2026-02-01T00:01:00Z"), "2026-02-01".parse().ok());
        assert_eq!(day("2026-02-01T00:02:00Z"), None);
    }
}
