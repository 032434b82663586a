//! Takes the escape sequences out of a line, leaving text. Colours are not kept: level comes from the words.

use anstyle_parse::{DefaultCharAccumulator, Parser, Perform};

/// Receives what the terminal would draw.
struct Drawn(String);

impl Perform for Drawn {
    fn print(&mut self, c: char) {
        // U+0080..U+009F are control functions of a terminal too (U+009B is CSI); DEL draws nothing.
        if !c.is_control() {
            self.0.push(c);
        }
    }

    fn execute(&mut self, byte: u8) {
        if byte == b'\t' {
            self.0.push('\t');
        }
    }
}

/// The text of one line: every escape sequence (colour, cursor, title, hyperlink, clipboard) and every control character
/// but the tab is gone; bytes that are not UTF-8 became U+FFFD. A sequence that the line does not finish ends with it, so
/// that an unclosed one cannot swallow the lines after it.
#[must_use]
pub fn strip(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut drawn = Drawn(String::with_capacity(text.len()));
    if text.bytes().all(|byte| byte >= b' ' && byte != 0x7f) && text.is_ascii() {
        drawn.0.push_str(&text);
        return drawn.0;
    }
    let mut parser = Parser::<DefaultCharAccumulator>::new();
    for byte in text.bytes() {
        parser.advance(&mut drawn, byte);
    }
    drawn.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn colours_cursor_title_link_and_clipboard_vanish() {
        for (raw, want) in [
            (&b"\x1b[1;31merror\x1b[0m: no"[..], "error: no"),
            (b"\x1b[2K\x1b[1Gdone", "done"),
            (b"\x1b]0;a title\x07text", "text"),
            (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
            (b"\x1b]52;c;c2VjcmV0\x07after", "after"),
            (b"a\x07b\x08c\x00d\te", "abcd\te"),
            (b"\xc2\x9b31mred", "31mred"),
            (b"caf\xc3\xa9 \xf0\x9f\x98\x80 \xff", "caf\u{e9} \u{1f600} \u{fffd}"),
            (b"\x1b]0;never closed", ""),
        ] {
            assert_eq!(strip(raw), want, "{raw:?}");
        }
    }

    proptest! {
        #[test]
        fn no_control_character_but_the_tab_survives(raw in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(strip(&raw).chars().all(|c| c == '\t' || !c.is_control()));
        }

        #[test]
        fn plain_text_is_kept_as_it_is(text in "[ -~\u{e9}\u{4e2d}\u{1f600}]{0,80}") {
            prop_assert_eq!(strip(text.as_bytes()), text);
        }
    }
}
