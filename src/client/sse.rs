//! Parses server-sent events (HTML standard, 9.2.6).

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// Its name; usually empty.
    pub name: String,
    /// Its id, or the last one before it.
    pub id: String,
    /// Its data.
    pub data: String,
}

/// Collects bytes, and returns complete events.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    message: Message,
}

impl Parser {
    /// Adds bytes.
    pub fn feed(&mut self, bytes: &[u8], mut complete: impl FnMut(Message)) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.take(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']), &mut complete);
            }
        }
    }

    fn take(&mut self, line: &str, complete: &mut impl FnMut(Message)) {
        if line.is_empty() {
            let message = Message { id: self.message.id.clone(), ..Message::default() };
            let done = std::mem::replace(&mut self.message, message);
            if !done.data.is_empty() || !done.name.is_empty() {
                complete(done);
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.message.name),
            "id" => value.clone_into(&mut self.message.id),
            "data" => {
                if !self.message.data.is_empty() {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(value);
            }
            // Comments and unknown fields are ignored.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(chunks: &[&str]) -> Vec<(String, String, String)> {
        let (mut parser, mut messages) = (Parser::default(), Vec::new());
        for chunk in chunks {
            parser.feed(chunk.as_bytes(), |message| messages.push((message.name, message.id, message.data)));
        }
        messages
    }

    #[test]
    fn messages_are_found_wherever_the_bytes_are_cut() {
        let text = "retry: 1000\n\n: hello\n\nid: a-1\ndata: {\"x\":\"é\"}\n\nevent: gap\ndata: 1\r\ndata: 2\r\n\r\ndata: unfinished\n";
        let expected = parsed(&[text]);
        assert_eq!(
            expected,
            [
                (String::new(), "a-1".to_owned(), "{\"x\":\"é\"}".to_owned()),
                ("gap".to_owned(), "a-1".to_owned(), "1\n2".to_owned()),
            ]
        );
        for at in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
            assert_eq!(parsed(&[&text[..at], &text[at..]]), expected, "cut at {at}");
        }
    }
}
