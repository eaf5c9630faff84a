//! Scripts and styles without what only their readers need: comments, indentation, empty lines. A third of what
//! viewers download would be comments otherwise, and a vote begins with that download.
//!
//! **Invariant**: the tokens stay, in order, and so do line ends between them, since a line end may end a statement.
//! What stands in strings, template literals and regular expressions is not looked into. Whether `/` divides after `)`
//! or begins a regular expression after `}` cannot be told without a parser: the former is assumed of the one, the
//! latter of the other, and a test of the pages compares the tokens of every module with those of a real parser.

/// Keywords after which `/` begins a regular expression; after any other word it divides.
const BEFORE_A_VALUE: [&str; 14] = [
    "await",
    "case",
    "delete",
    "do",
    "else",
    "in",
    "instanceof",
    "new",
    "of",
    "return",
    "throw",
    "typeof",
    "void",
    "yield",
];

/// A script without its comments.
pub(super) fn lean_script(text: &str) -> String {
    let mut lean = Lean::new(text);
    // Depth of braces within each `${…}` that is open, innermost last.
    let mut holes: Vec<usize> = Vec::new();
    let mut value_before = false;
    while let Some(next) = lean.peek() {
        match next {
            '/' if lean.rest().starts_with("//") => lean.skip_to("\n", false),
            '/' if lean.rest().starts_with("/*") => lean.skip_comment(),
            '/' => {
                let expression = if value_before { None } else { regex_len(lean.rest()) };
                value_before = expression.is_some();
                lean.keep(expression.unwrap_or(1));
            }
            '"' | '\'' => {
                lean.keep(string_len(lean.rest(), next));
                value_before = true;
            }
            '`' => {
                let (len, hole) = template_len(&lean.rest()[1..]);
                lean.keep(1 + len);
                if hole {
                    holes.push(0);
                }
                value_before = !hole;
            }
            '}' if holes.last() == Some(&0) => {
                holes.pop();
                let (len, hole) = template_len(&lean.rest()[1..]);
                lean.keep(1 + len);
                if hole {
                    holes.push(0);
                }
                value_before = !hole;
            }
            _ if is_word(next) => {
                let len = lean.rest().find(|c| !is_word(c)).unwrap_or(lean.rest().len());
                value_before = !BEFORE_A_VALUE.contains(&&lean.rest()[..len]);
                lean.keep(len);
            }
            _ if next.is_whitespace() => lean.space(),
            _ => {
                match (next, holes.last_mut()) {
                    ('{', Some(depth)) => *depth += 1,
                    ('}', Some(depth)) => *depth -= 1,
                    _ => {}
                }
                value_before = matches!(next, ')' | ']');
                lean.keep(next.len_utf8());
            }
        }
    }
    lean.finish()
}

/// A style sheet without its comments.
pub(super) fn lean_style(text: &str) -> String {
    let mut lean = Lean::new(text);
    while let Some(next) = lean.peek() {
        match next {
            '/' if lean.rest().starts_with("/*") => lean.skip_comment(),
            '"' | '\'' => lean.keep(string_len(lean.rest(), next)),
            'u' if lean.rest().starts_with("url(") => {
                let len = lean.rest().find(')').unwrap_or(lean.rest().len());
                lean.keep(len);
            }
            _ if next.is_whitespace() => lean.space(),
            _ => lean.keep(next.len_utf8()),
        }
    }
    lean.finish()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | '#')
}

/// Length of the string that begins `text`, with its quotes.
fn string_len(text: &str, quote: char) -> usize {
    ends_at(text, 1, |c| c == quote || c == '\n').map_or(text.len(), |end| end + 1)
}

/// Length of what follows an opening backtick or a closing brace, up to where code begins again, and whether that is
/// inside the literal (`${`).
fn template_len(text: &str) -> (usize, bool) {
    let mut from = 0;
    while let Some(end) = ends_at(text, from, |c| c == '`' || c == '$') {
        if text[end..].starts_with('`') {
            return (end + 1, false);
        }
        if text[end..].starts_with("${") {
            return (end + 2, true);
        }
        from = end + 1;
    }
    (text.len(), false)
}

/// Length of the regular expression that begins `text`, without its flags; `None` when the line ends before it does,
/// which makes `/` a division.
fn regex_len(text: &str) -> Option<usize> {
    let mut in_class = false;
    let end = ends_at(text, 1, |c| {
        match c {
            '[' => in_class = true,
            ']' => in_class = false,
            _ => {}
        }
        c == '\n' || (c == '/' && !in_class)
    })?;
    text[end..].starts_with('/').then_some(end + 1)
}

/// Where the first character is that `ends` says so of, from byte `from` on; one after a backslash is not asked about.
fn ends_at(text: &str, from: usize, mut ends: impl FnMut(char) -> bool) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip_while(|(at, _)| *at < from) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if ends(c) {
            return Some(at);
        }
    }
    None
}

/// Text on its way from what people write to what is sent.
struct Lean<'a> {
    text: &'a str,
    at: usize,
    lean: String,
    /// What separates the next token from the last one.
    gap: Gap,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    None,
    Space,
    Line,
}

impl<'a> Lean<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0, lean: String::with_capacity(text.len()), gap: Gap::None }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Takes over so many bytes as they are.
    fn keep(&mut self, len: usize) {
        if !self.lean.is_empty() {
            match self.gap {
                Gap::None => {}
                Gap::Space => self.lean.push(' '),
                Gap::Line => self.lean.push('\n'),
            }
        }
        self.gap = Gap::None;
        self.lean.push_str(&self.rest()[..len]);
        self.at += len;
    }

    /// Leaves out white space, and remembers whether a line ended.
    fn space(&mut self) {
        let len = self.rest().find(|c: char| !c.is_whitespace()).unwrap_or(self.rest().len());
        self.skip(len);
    }

    fn skip(&mut self, len: usize) {
        let gap = if self.rest()[..len].contains('\n') { Gap::Line } else { Gap::Space };
        self.gap = self.gap.max(gap);
        self.at += len;
    }

    /// Leaves out everything before `end`, or that as well.
    fn skip_to(&mut self, end: &str, with_it: bool) {
        let len = self.rest().find(end).map_or(self.rest().len(), |at| if with_it { at + end.len() } else { at });
        self.skip(len);
    }

    fn skip_comment(&mut self) {
        self.skip_to("*/", true);
    }

    fn finish(mut self) -> String {
        self.lean.push('\n');
        self.lean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn script(text: &str, expected: &str) {
        assert_eq!(lean_script(text), format!("{expected}\n"));
    }

    #[test]
    fn comments_and_indentation_go_and_line_ends_stay() {
        script(
            "// @ts-check\n/** Says\n * what. */\nlet a = 1; // one\n\n  let b /* two */ = 2",
            "let a = 1;\nlet b = 2",
        );
        script("return /** @type {T} */ (x)\n", "return (x)");
        script("a /* x\n */ b", "a\nb");
        script("a/**/b", "a b");
        script("", "");
    }

    #[test]
    fn what_looks_like_a_comment_in_a_string_or_a_template_stays() {
        for text in [
            r#"x = "https://a.b/*c*/";"#,
            r#"x = 'it\'s // not';"#,
            r#"x = "a\\"; y = "//";"#,
            "x = `${base}//a /* b */\n    ${f(`//${1}`)}  // c`;",
            "x = `a${{ b: { c: 1 } }}//`;",
            "x = `$ ${a}$`; y = `//`;",
            "x = `\\`//`;",
        ] {
            script(text, text);
        }
        script("x = `${a /* b */}//`; // c", "x = `${a }//`;");
    }

    #[test]
    fn regular_expressions_are_told_from_divisions() {
        for text in [
            r#"x.replace(/"/g, "//");"#,
            r"x.match(/https?:\/\/\S+/);",
            "x = /[/*]/.test(y);",
            "return /'/.test(y);",
            "if (/`/.test(y)) z();",
        ] {
            script(text, text);
        }
        script("x = a / b; // c / d", "x = a / b;");
        script("x = (a + b) / 2; y = c[0] / 2; // half", "x = (a + b) / 2; y = c[0] / 2;");
        script("x = 4 / 2 // \"\ny = '//'", "x = 4 / 2\ny = '//'");
    }

    #[test]
    fn what_never_ends_is_kept_to_its_end() {
        for text in ["x = `abc ${d", "x = `//", "x = \"//"] {
            script(text, text);
        }
        script("x /* y", "x");
    }

    #[test]
    fn styles_lose_their_comments_only() {
        let text = "/* one */\n:root {\n  --a: \"/* b */\"; /* c */\n  background: url(data:x/*y);\n}\n\na  b { c: d }";
        let expected = ":root {\n--a: \"/* b */\";\nbackground: url(data:x/*y);\n}\na b { c: d }\n";
        assert_eq!(lean_style(text), expected);
    }
}
