//! PEM (RFC 7468): finding blocks in files people really have, and writing them strictly.
//!
//! Reading is forgiving about what surrounds and wraps the base64: text before and between blocks,
//! CRLF, lines of any width, RFC 1421 headers. It is strict about the base64 itself. Only blocks
//! that are asked for are decoded.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
const LINE_WIDTH: usize = 64;

/// One block of a PEM file, not yet decoded.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    label: &'a str,
    body: &'a [u8],
}

/// The blocks of `text` in order. A block without its END line ends the iteration.
pub(crate) fn blocks(text: &[u8]) -> impl Iterator<Item = Block<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (block, after) = next_block(rest)?;
        rest = after;
        Some(block)
    })
}

/// Whether `input`, after leading blanks, begins like a PEM file rather than like DER.
pub(crate) fn looks_like_pem(input: &[u8]) -> bool {
    input.trim_ascii_start().starts_with(DASHES)
}

impl<'a> Block<'a> {
    pub(crate) fn label(&self) -> &'a str {
        self.label
    }

    /// Whether an RFC 1421 header says that the content is encrypted (`Proc-Type: 4,ENCRYPTED`).
    pub(crate) fn is_encrypted(&self) -> bool {
        let (headers, _) = split_headers(self.body);
        headers
            .split(|byte| *byte == b'\n')
            .any(|line| line.starts_with(b"Proc-Type:") && find(line, b"ENCRYPTED").is_some())
    }

    /// The content; `None` if it is not base64.
    pub(crate) fn decode(&self) -> Option<Zeroizing<Vec<u8>>> {
        let (_, body) = split_headers(self.body);
        // Reserved up front: a reallocation would leave a copy of a private key behind.
        let mut text = Zeroizing::new(Vec::with_capacity(body.len()));
        text.extend(body.iter().filter(|byte| !byte.is_ascii_whitespace()));
        let mut decoded = Zeroizing::new(vec![0; text.len() / 4 * 3 + 3]);
        let length = STANDARD.decode_slice(&*text, &mut decoded).ok()?;
        decoded.truncate(length);
        Some(decoded)
    }
}

/// Writes one block with lines of 64 characters.
pub fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    let characters = der.len().div_ceil(3) * 4;
    let mut text = Zeroizing::new(vec![0; characters]);
    // The buffer has exactly the size that base64 with padding takes.
    let written = STANDARD.encode_slice(der, &mut text).unwrap_or(0);
    let lines = characters.div_ceil(LINE_WIDTH);
    let frame = 2 * (END.len() + label.len() + DASHES.len() + 2);
    let mut pem = Zeroizing::new(String::with_capacity(characters + lines + frame));
    for part in ["-----BEGIN ", label, "-----\n"] {
        pem.push_str(part);
    }
    for line in text.get(..written).unwrap_or_default().chunks(LINE_WIDTH) {
        pem.extend(line.iter().copied().map(char::from));
        pem.push('\n');
    }
    for part in ["-----END ", label, "-----\n"] {
        pem.push_str(part);
    }
    pem
}

fn next_block(text: &[u8]) -> Option<(Block<'_>, &[u8])> {
    let mut rest = text;
    loop {
        rest = after(rest, BEGIN)?;
        let label_length = find(rest, DASHES)?;
        let (label, behind_label) = rest.split_at_checked(label_length)?;
        // A label is one line of printable ASCII; anything else is prose that looks like a block.
        let is_label = label.iter().all(|byte| (0x20..0x7f).contains(byte));
        let Some(label) = std::str::from_utf8(label).ok().filter(|_| is_label) else {
            continue;
        };
        let behind_label = behind_label.get(DASHES.len()..)?;
        // The body ends at the next dashes, whatever they are: looking for the right END line
        // behind them would take quadratic time on hostile input.
        let body_length = find(behind_label, DASHES)?;
        let (body, end) = behind_label.split_at_checked(body_length)?;
        let Some(end) = end
            .strip_prefix(END)
            .and_then(|end| end.strip_prefix(label.as_bytes()))
            .and_then(|end| end.strip_prefix(DASHES))
        else {
            rest = end;
            continue;
        };
        return Some((Block { label, body }, end));
    }
}

/// Splits RFC 1421 headers (lines with a colon, ended by a blank line) from the base64.
fn split_headers(body: &[u8]) -> (&[u8], &[u8]) {
    // Base64 has no colon, so a body without one has no headers.
    if !body.contains(&b':') {
        return (&[], body);
    }
    for blank_line in [&b"\n\r\n"[..], b"\n\n"] {
        // The newline behind the BEGIN line must not count as the blank line.
        let start = body.len() - body.trim_ascii_start().len();
        let (lead, rest) = body.split_at(start);
        if let Some(at) = find(rest, blank_line) {
            return body.split_at(lead.len() + at);
        }
    }
    (body, &[])
}

fn after<'a>(text: &'a [u8], pattern: &[u8]) -> Option<&'a [u8]> {
    text.get(find(text, pattern)? + pattern.len()..)
}

fn find(text: &[u8], pattern: &[u8]) -> Option<usize> {
    text.windows(pattern.len())
        .position(|window| window == pattern)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    fn decoded(text: &str) -> Vec<(String, Option<Vec<u8>>)> {
        blocks(text.as_bytes())
            .map(|block| {
                (
                    block.label().to_owned(),
                    block.decode().map(|content| content.to_vec()),
                )
            })
            .collect()
    }

    #[test]
    fn reads_blocks_between_prose_and_with_any_line_ends() {
        let text = "Bag Attributes: a: b\r\n-----BEGIN ONE-----\r\nAQID\r\n-----END ONE-----\r\n\
                    issuer=x\n -----BEGIN TWO-----AQ I D\n-----END TWO-----";
        assert_eq!(
            decoded(text),
            [
                ("ONE".to_owned(), Some(vec![1, 2, 3])),
                ("TWO".to_owned(), Some(vec![1, 2, 3]))
            ]
        );
    }

    #[test]
    fn bad_base64_is_noticed_only_when_decoded() {
        assert_eq!(
            decoded("-----BEGIN X-----\nA*==\n-----END X-----"),
            [("X".to_owned(), None)]
        );
    }

    #[test]
    fn a_block_with_the_wrong_end_is_passed_over() {
        let text =
            "-----BEGIN A-----\nAQID\n-----END B-----\n-----BEGIN C-----\nAQID\n-----END C-----";
        assert_eq!(decoded(text), [("C".to_owned(), Some(vec![1, 2, 3]))]);
        assert_eq!(decoded("-----BEGIN A-----\nAQID\n"), []);
    }

    #[test]
    fn a_megabyte_of_beginnings_is_no_work() {
        let text = "-----BEGIN A-----\n".repeat(60_000);
        assert_eq!(decoded(&text), []);
        assert_eq!(decoded(&format!("{text}-----END A-----")).len(), 1);
        assert_eq!(decoded(&"-----BEGIN ".repeat(100_000)), []);
    }

    #[test]
    fn headers_are_read_and_left_out_of_the_content() {
        for newline in ["\n", "\r\n"] {
            let text = [
                "-----BEGIN K-----",
                "Proc-Type: 4,ENCRYPTED",
                "DEK-Info: AES,00",
                "",
                "AQID",
                "-----END K-----",
                "",
            ]
            .join(newline);
            let block = blocks(text.as_bytes()).next().unwrap();
            assert!(block.is_encrypted());
            assert_eq!(block.decode().unwrap().to_vec(), [1, 2, 3]);
        }
    }

    #[test]
    fn writes_lines_of_sixty_four_characters() {
        let text = encode("X", &[0; 49]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(lines.get(1).unwrap().len(), 64);
        assert_eq!(*lines.first().unwrap(), "-----BEGIN X-----");
        assert!(text.ends_with("-----END X-----\n"));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(content in proptest::collection::vec(any::<u8>(), 0..300)) {
            let text = encode("TEST DATA", &content);
            prop_assert_eq!(decoded(&text), [("TEST DATA".to_owned(), Some(content))]);
        }

        #[test]
        fn never_panics(text in "(-----(BEGIN|END) [AB]-----|[a-zA-Z:=\n\r-]{0,5}){0,12}") {
            for block in blocks(text.as_bytes()) {
                let _ = (block.is_encrypted(), block.decode());
            }
        }
    }
}
