//! Which characters a text that people type may have: those that can be seen, and those that change what is seen.
//!
//! A character that nobody sees makes two titles look alike, and one that turns the direction of writing rearranges what
//! stands beside it. Some invisible ones belong to what is visible: the joiners of emoji and of scripts such as Persian
//! and Sinhala, and variation selectors. They are taken where they do that, and nowhere else.

use icu_properties::props::{
    BidiControl, DefaultIgnorableCodePoint, Emoji, EmojiModifier, ExtendedPictographic, NoncharacterCodePoint, Script,
};
use icu_properties::{CodePointMapData, CodePointSetData};

const ZERO_WIDTH_NON_JOINER: char = '\u{200C}';
const ZERO_WIDTH_JOINER: char = '\u{200D}';
const BLACK_FLAG: char = '\u{1F3F4}';
const CANCEL_TAG: char = '\u{E007F}';
/// Looks like a space and is none.
const BRAILLE_BLANK: char = '\u{2800}';

/// Scripts whose letters joiners choose the shape of.
const JOINED: [Script; 23] = [
    Script::Adlam,
    Script::Arabic,
    Script::Bengali,
    Script::Devanagari,
    Script::Gujarati,
    Script::Gurmukhi,
    Script::HanifiRohingya,
    Script::Kannada,
    Script::Khmer,
    Script::Malayalam,
    Script::Mandaic,
    Script::Manichaean,
    Script::Mongolian,
    Script::Myanmar,
    Script::Nko,
    Script::Oriya,
    Script::PhagsPa,
    Script::Sinhala,
    Script::Syriac,
    Script::Tamil,
    Script::Telugu,
    Script::Tibetan,
    Script::Sogdian,
];

fn script(c: char) -> Script {
    CodePointMapData::<Script>::new().get(c)
}

fn is_pictographic(c: char) -> bool {
    CodePointSetData::new::<ExtendedPictographic>().contains(c)
}

fn is_ignorable(c: char) -> bool {
    CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

/// The first character that may not be where it is.
pub(super) fn unseen(text: &str) -> Option<char> {
    let chars: Vec<char> = text.chars().collect();
    (0..chars.len()).find(|at| is_unseen(&chars, *at)).map(|at| chars[at])
}

/// Whether there is anything to see in it.
pub(super) fn is_visible(text: &str) -> bool {
    text.chars().any(|c| !c.is_whitespace() && c != BRAILLE_BLANK && !is_ignorable(c))
}

fn is_unseen(chars: &[char], at: usize) -> bool {
    let c = chars[at];
    let is_never = c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{FFF9}'..='\u{FFFB}')
        || CodePointSetData::new::<BidiControl>().contains(c)
        || CodePointSetData::new::<NoncharacterCodePoint>().contains(c);
    is_never || (is_ignorable(c) && !belongs(c, &chars[..at], &chars[at + 1..]))
}

/// Whether an invisible character belongs to what stands around it.
fn belongs(c: char, before: &[char], after: &[char]) -> bool {
    let (Some(&last), next) = (before.last(), after.first()) else { return false };
    match c {
        ZERO_WIDTH_JOINER if next.is_some_and(|next| is_pictographic(*next)) => {
            let is_part = |c: &&char| {
                !matches!(**c, '\u{FE0F}' | '\u{FE0E}') && !CodePointSetData::new::<EmojiModifier>().contains(**c)
            };
            before.iter().rev().find(is_part).is_some_and(|c| is_pictographic(*c))
        }
        ZERO_WIDTH_JOINER | ZERO_WIDTH_NON_JOINER => {
            let base = before.iter().rev().map(|c| script(*c)).find(|script| *script != Script::Inherited);
            base.is_some_and(|script| JOINED.contains(&script)) && next.is_some_and(|c| JOINED.contains(&script(*c)))
        }
        '\u{FE0E}' | '\u{FE0F}' => CodePointSetData::new::<Emoji>().contains(last),
        '\u{FE00}'..='\u{FE0D}' | '\u{E0100}'..='\u{E01EF}' => {
            matches!(script(last), Script::Han | Script::Myanmar | Script::PhagsPa)
        }
        '\u{180B}'..='\u{180D}' | '\u{180F}' => script(last) == Script::Mongolian,
        '\u{E0020}'..=CANCEL_TAG => is_in_flag(c, before, after),
        _ => false,
    }
}

/// Whether a tag is one of the flag of a region: a black flag, three to six letters or digits, and the end.
fn is_in_flag(c: char, before: &[char], after: &[char]) -> bool {
    let is_tag = |c: &&char| matches!(**c, '\u{E0030}'..='\u{E0039}' | '\u{E0061}'..='\u{E007A}');
    let tags_before = before.iter().rev().take_while(is_tag).count();
    let is_after_flag = before.iter().rev().nth(tags_before) == Some(&BLACK_FLAG);
    if c == CANCEL_TAG {
        return is_after_flag && (3..=6).contains(&tags_before);
    }
    let tags_after = after.iter().take_while(is_tag).count();
    is_after_flag && is_tag(&&c) && after.get(tags_after) == Some(&CANCEL_TAG) && tags_before + tags_after < 6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_is_taken_with_what_belongs_to_it() {
        for text in [
            "Zelda : Écho de la sagesse — 100 %",
            "👨‍👩‍👧‍👦 en famille",
            "👩🏽‍🚀❤️‍🔥 1️⃣ ☎︎",
            "🏴\u{E0067}\u{E0062}\u{E0073}\u{E0063}\u{E0074}\u{E007F}",
            "می\u{200C}خواهم",
            "ක්\u{200D}රීඩා",
            "क्\u{200D}ष",
            "葛\u{E0100}城",
            "ゼルダの伝説 שלום 🇫🇷",
            "e\u{301}",
        ] {
            assert_eq!(unseen(text), None, "{text}");
            assert!(is_visible(text), "{text}");
        }
    }

    #[test]
    fn what_nobody_sees_is_found() {
        for (text, c) in [
            ("a\u{200B}b", '\u{200B}'),
            ("Zelda\u{200D}", '\u{200D}'),
            ("a\u{200D}b", '\u{200D}'),
            ("a\u{200C}b", '\u{200C}'),
            ("👨\u{200D}", '\u{200D}'),
            ("می\u{200C}", '\u{200C}'),
            ("a\u{FE0F}", '\u{FE0F}'),
            ("\u{FE0F}", '\u{FE0F}'),
            ("a\u{E0100}", '\u{E0100}'),
            ("\u{FEFF}a", '\u{FEFF}'),
            ("a\u{AD}b", '\u{AD}'),
            ("a\u{2060}b", '\u{2060}'),
            ("a\u{3164}", '\u{3164}'),
            ("a\u{115F}", '\u{115F}'),
            ("a\u{34F}b", '\u{34F}'),
            ("a\u{202E}b", '\u{202E}'),
            ("a\u{2066}b", '\u{2066}'),
            ("a\u{200F}b", '\u{200F}'),
            ("a\u{61C}b", '\u{61C}'),
            ("a\u{2028}b", '\u{2028}'),
            ("a\u{0}", '\u{0}'),
            ("a\u{85}b", '\u{85}'),
            ("a\u{E0041}b", '\u{E0041}'),
            ("🏴\u{E0067}", '\u{E0067}'),
            ("🏴\u{E007F}", '\u{E007F}'),
            ("a\u{FFFE}", '\u{FFFE}'),
        ] {
            assert_eq!(unseen(text), Some(c), "{text:?}");
        }
        assert!(!is_visible("") && !is_visible(" \u{A0}\u{3000}") && !is_visible("\u{2800}\u{2800}"));
    }
}
