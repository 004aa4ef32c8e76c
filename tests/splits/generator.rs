//! Spools of all kinds, each made from its number alone.

/// How many spools there are.
pub const COUNT: usize = VARIED + FOLDED;
/// How many spools there are with all of [`KINDS`].
const VARIED: usize = 340;
/// How many spools there are behind those with [`FOLDED_LENGTH`].
const FOLDED: usize = 24;

const FOLDED_LENGTH: &str = "a folded Content-Length";

/// What a spool is made to have. Its number modulo the length of this list says which it has first.
pub const KINDS: [&str; 34] = [
    "separators",
    "no separator",
    "a space in the separator",
    "two separators",
    "a From_ line with an odd date",
    "an odd date in the first From_ line",
    "a right Content-Length over a From_ line",
    "a Content-Length that is a little too short or too long",
    "a Content-Length to the end of the file",
    "a Content-Length to the line end at the end of the file",
    "a Content-Length over the next message",
    "two Content-Lengths",
    "CRLF",
    "CRLF and LF",
    "CR in a body",
    "cut off anywhere",
    "cut off in a header, and another message",
    "a pseudo message",
    "NUL in a body",
    "NUL in a header",
    "a long header line",
    "a long body line",
    "From_ lines one after the other",
    "text that begins with From",
    "empty lines at the start",
    "no line end at the end",
    "an unterminated From_ line at the end",
    "no header or no body",
    "a delivery broken off within a line",
    "a delivery broken off within its From_ line",
    "8-bit bytes and quotes in a From_ line",
    "a zone or remote from in a From_ line",
    "empty lines at the end",
    "no mbox",
];

/// Dates as programs have written them into From_ lines.
pub const DATES: [&str; 20] = [
    "Mon Nov 23 16: 18:08 2026",
    "Mon Nov 23 10:00:00 GMT-0700 2026",
    "Mon Nov 23 10:00:00 26",
    "Mon Nov 23 10:00:00 2026\tx",
    "Mon\tNov 23 10:00:00 2026",
    "2026-11-23 10:00:00",
    "2026-11-23T10:00:00Z",
    "Mon Nov  3 10:00:00 2026",
    "Mon Nov 3 10:00:00 2026",
    "Mon Nov 23 10:00 2026",
    "Mon, 23 Nov 2026 10:00:00 +0000",
    "Mon Nov 23 10:00:00 2026 +0000",
    "Mon Nov 23 10:00:00 +0000 2026",
    "Mon Nov 23 10:00:00 MET 2026",
    "Mon Nov 23 10:00:00 MET DST 2026",
    "23 Nov 2026 10:00:00",
    "Mo Nov 23 10:00:00 2026",
    "Mon Nov 23 25:61:61 2026",
    "Mon Nov 23 10:00:00 102",
    "today",
];

/// A small generator of numbers (splitmix64): the same from a seed everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) % end.max(1) as u64) as usize
    }

    fn one_of(&mut self, texts: &[&str]) -> String {
        texts[self.below(texts.len())].to_owned()
    }
}

/// A message of a spool that is being made.
struct Mail {
    from_line: String,
    header: String,
    /// With its line ends. The header's empty line is not part of it.
    body: String,
    separator: String,
}

impl Mail {
    fn new(number: usize, random: &mut Random) -> Self {
        let mut body = String::new();
        for line in 0..1 + random.below(4) {
            body += &random.one_of(&[
                "text\n",
                ".\n",
                "..dots\n",
                "\n",
                ">From me\n",
                "a From there\n",
            ]);
            body += &format!("line {line}\n");
        }
        Self {
            from_line: format!("From s{number}@example.org Mon Nov 23 10:00:0{number} 2026\n"),
            header: format!(
                "From: <s{number}@example.org>\nMessage-ID: <{number}@example.org>\nSubject: message {number}\n"
            ),
            body,
            separator: "\n".to_owned(),
        }
    }

    fn text(&self) -> String {
        format!(
            "{}{}\n{}{}",
            self.from_line, self.header, self.body, self.separator
        )
    }

    /// What the file has from its body on: its own and `others`.
    fn rest(&self, others: &[Mail]) -> usize {
        let others: usize = others.iter().map(|mail| mail.text().len()).sum();
        self.body.len() + self.separator.len() + others
    }
}

/// A From_ line that stands in a body, with a message behind it or none.
fn inner(random: &mut Random) -> String {
    let from = "From inner@example.org Mon Nov 23 11:00:00 2026\n";
    let before = random.one_of(&["", "before\n", "before\n\n", "\n"]);
    let after = random.one_of(&["", "\n", "Subject: inner\n\ninner\n", "text\n"]);
    format!("{before}{from}{after}")
}

/// Spool `number`, and which kind it is.
pub fn spool(number: usize) -> (&'static str, Vec<u8>) {
    let random = &mut Random(number as u64);
    let kind = match number {
        0..VARIED => KINDS[number % KINDS.len()],
        _ => FOLDED_LENGTH,
    };
    let mut mails: Vec<Mail> = (1..2 + random.below(4))
        .map(|n| Mail::new(n, random))
        .collect();
    // Where there is room, a second kind: spools are seldom odd in one way alone.
    let second = random.below(3 * KINDS.len());
    for kind in [Some(kind), KINDS[..12].get(second).copied()]
        .into_iter()
        .flatten()
    {
        vary(&mut mails, kind, random);
    }
    let text: String = mails.iter().map(Mail::text).collect();
    (kind, finish(text, kind, random))
}

/// What is done to one of the messages.
fn vary(mails: &mut [Mail], kind: &str, random: &mut Random) {
    let count = mails.len();
    let at = random.below(count);
    let (before, rest) = mails.split_at_mut(at);
    let Some((mail, others)) = rest.split_first_mut() else {
        return;
    };
    match kind {
        "no separator" => before
            .iter_mut()
            .chain([mail])
            .for_each(|mail| mail.separator.clear()),
        "a space in the separator" => mail.separator = random.one_of(&[" \n", "\t\n", " \n\n"]),
        "two separators" => mail.separator = random.one_of(&["\n\n", "\n\n\n", "\r\n\n"]),
        "a From_ line with an odd date" => {
            mail.from_line = format!("From a@b {}\n", random.one_of(&DATES))
        }
        "an odd date in the first From_ line" => {
            let first = before.first_mut().unwrap_or(mail);
            first.from_line = format!("From a@b {}\n", random.one_of(&DATES));
        }
        "a right Content-Length over a From_ line" => {
            mail.body += &inner(random);
            mail.header += &format!("Content-Length: {}\n", mail.body.len());
        }
        "a Content-Length that is a little too short or too long" => {
            mail.body += &inner(random);
            let length = (mail.body.len() + random.below(7)).saturating_sub(3);
            mail.header += &format!("Content-Length: {length}\n");
        }
        "a Content-Length to the end of the file" => {
            mail.header += &format!("Content-Length: {}\n", mail.rest(others));
        }
        "a Content-Length to the line end at the end of the file" => {
            mail.header += &format!("Content-Length: {}\n", mail.rest(others) - 1);
        }
        "a Content-Length over the next message" => {
            let next = others.get(..1).unwrap_or_default();
            let length = (mail.rest(next) + random.below(3)).saturating_sub(2);
            mail.header += &format!("Content-Length: {length}\n");
        }
        "two Content-Lengths" => {
            mail.body += &inner(random);
            let right = mail.body.len();
            let wrong = random.one_of(&["3", "99999999999999999999999", "five", "-1", ""]);
            let (one, two) = if random.below(2) == 0 {
                (wrong, right.to_string())
            } else {
                (right.to_string(), wrong)
            };
            mail.header += &format!("Content-Length: {one}\nContent-Length: {two}\n");
        }
        FOLDED_LENGTH => {
            mail.body += &inner(random);
            let length = mail.body.len().to_string();
            let (tens, ones) = length.split_at(length.len() - 1);
            let fold = random.one_of(&["\n ", "\n\t", " \n  ", "\n \n ", "\r\n "]);
            mail.header += &match random.below(4) {
                0 | 1 => format!("Content-Length:{fold}{length}\n"),
                2 => format!("Content-Length: {length}{fold}\n"),
                _ => format!("Content-Length: {tens}{fold}{ones}\n"),
            };
        }
        "CR in a body" => {
            mail.body = random.one_of(&[
                "a\rb\n",
                "a\r\rb\r\n",
                "\r\n",
                "\rFrom a@b Mon Nov 23 10:00:00 2026\n",
                "a\r",
            ])
        }
        "NUL in a body" => {
            mail.body = random.one_of(&[
                "a\0b\n",
                "\0\n",
                "\0From a@b Mon Nov 23 10:00:00 2026\n",
                "x\n\0\0\0\0",
            ])
        }
        "NUL in a header" => mail.header += &random.one_of(&["X: a\0b\n", "\0\n", "X\0Y: a\n"]),
        "a long header line" => {
            mail.header += &format!("X: {}\n", "x".repeat(100 + random.below(20_000)))
        }
        "a long body line" => {
            mail.body += &format!("{}\n", "y".repeat(1000 + random.below(20_000)))
        }
        "From_ lines one after the other" => {
            mail.from_line = mail.from_line.repeat(2 + random.below(3))
        }
        "text that begins with From" => {
            mail.body += &random.one_of(&[
                "\nFrom here on\n",
                "\nFrom \n",
                "From a@b\n",
                "\nFrom a@b c d\n",
                "\nfrom a@b Mon Nov 23 10:00:00 2026\n",
            ]);
        }
        "no header or no body" => match random.below(3) {
            0 => mail.header.clear(),
            1 => mail.body.clear(),
            _ => (mail.header, mail.body) = Default::default(),
        },
        "8-bit bytes and quotes in a From_ line" => {
            let sender = random.one_of(&[
                "\"a b\"@c",
                "\"a",
                "é@ü",
                "a b",
                "<>",
                "-",
                "a\"b c\"@d",
                "MAILER-DAEMON",
            ]);
            mail.from_line = format!("From {sender} Mon Nov 23 10:00:00 2026\n");
        }
        "a zone or remote from in a From_ line" => {
            let more = random.one_of(&[
                " remote from host",
                " +0100",
                " -0000 (x)",
                " MET",
                "  ",
                " remote from",
            ]);
            mail.from_line = format!("From a@b Mon Nov 23 10:00:00 2026{more}\n");
        }
        _ => {}
    }
}

/// What is done to the whole file.
fn finish(mut text: String, kind: &str, random: &mut Random) -> Vec<u8> {
    let more = Mail::new(9, random).text();
    let from_line = more.lines().next().unwrap_or_default();
    match kind {
        "CRLF" => text = text.replace('\n', "\r\n"),
        "CRLF and LF" => {
            let lines = text.split_inclusive('\n');
            let ended = lines.map(|line| match random.below(3) {
                0 => line.replace('\n', "\r\n"),
                _ => line.to_owned(),
            });
            text = ended.collect();
        }
        "cut off anywhere" => text.truncate(1 + random.below(text.len())),
        "cut off in a header, and another message" => {
            let at = text.rfind("Subject: ").unwrap_or(0);
            text.truncate(at + random.below(2) * "Subject: message 1\n".len());
            text += &more;
        }
        "a pseudo message" => {
            text = format!(
                "From MAILER-DAEMON Mon Nov 23 10:00:00 2026\nSubject: INTERNAL DATA\nX-IMAP: 1195658475 0000000042\nStatus: RO\n\nnotes\n\n{text}"
            );
        }
        "empty lines at the start" => {
            text = random.one_of(&["\n", "\r\n", "\n\n\n", " \n"]) + &text
        }
        "no line end at the end" => text = text.trim_end().to_owned(),
        "an unterminated From_ line at the end" => {
            text += &from_line[..from_line.len() - random.below(20)]
        }
        "a delivery broken off within a line" => text = text[..text.len() - 4].to_owned() + &more,
        "a delivery broken off within its From_ line" => {
            text += &from_line[..1 + random.below(from_line.len())];
            text += &more;
        }
        "empty lines at the end" => text += &random.one_of(&["\n", "\n\n\n", "\r\n", " \n"]),
        "no mbox" => {
            let returns = text.replace('\n', "\r");
            text = random.one_of(&[
                "",
                "\n",
                "\n\r\n",
                "Hello\n",
                "Subject: no From_ line\n\ntext\n",
                &returns,
                from_line,
            ]);
        }
        _ => {}
    }
    text.into_bytes()
}
