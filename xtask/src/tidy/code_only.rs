//! Rust source without what is not code: comments and the insides of literals become spaces.
//!
//! Lines and columns stay where they are, so that a finding can be named by its line. This is no parser: it knows
//! just enough not to take a quotation for the thing quoted.

/// Blanks comments, strings and character literals.
pub(crate) fn code_only(source: &str) -> String {
    let mut rest = source;
    let mut code = String::with_capacity(source.len());
    let mut after_word = false;
    while let Some(first) = rest.chars().next() {
        let literal =
            if after_word { quoted_length(rest) } else { raw_length(rest).or_else(|| quoted_length(rest)) };
        let length = comment_length(rest).or(literal);
        let (taken, left) = rest.split_at(length.unwrap_or(first.len_utf8()));
        match length {
            Some(_) => code.extend(taken.chars().map(|char| if char == '\n' { '\n' } else { ' ' })),
            None => code.push(first),
        }
        after_word = length.is_none() && (first.is_alphanumeric() || first == '_');
        rest = left;
    }
    code
}

fn comment_length(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if !text.starts_with("/*") {
        return None;
    }
    // Block comments nest.
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(next) = text.get(at..).filter(|next| !next.is_empty()) {
        let step = match next {
            _ if next.starts_with("/*") => {
                depth += 1;
                2
            }
            _ if next.starts_with("*/") => {
                depth -= 1;
                2
            }
            _ => next.chars().next().map_or(1, char::len_utf8),
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    Some(at)
}

/// `r"…"`, `r#"…"#`, and the same behind `b` or `c`.
fn raw_length(text: &str) -> Option<usize> {
    let marked = text.strip_prefix(['b', 'c']).unwrap_or(text).strip_prefix('r')?;
    let hashes = marked.len() - marked.trim_start_matches('#').len();
    let inside = marked[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    Some(text.len() - inside.len() + length)
}

/// `"…"` or `'…'`; a lifetime is neither.
fn quoted_length(text: &str) -> Option<usize> {
    let quote = text.chars().next().filter(|first| matches!(first, '"' | '\''))?;
    let mut chars = text.char_indices().skip(1);
    if quote == '\'' {
        let mut ahead = text.chars().skip(1);
        let (inside, after) = (ahead.next()?, ahead.next()?);
        if inside != '\\' && after != '\'' {
            return None;
        }
    }
    while let Some((at, char)) = chars.next() {
        match char {
            '\\' => drop(chars.next()),
            _ if char == quote => return Some(at + 1),
            _ => {}
        }
    }
    Some(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: &str, code: &str) {
        assert_eq!(code_only(source), code);
    }

    #[test]
    fn code_stays_as_it_is() {
        check("fn f<'a>(x: &'a str) -> u8 { b + 1 }", "fn f<'a>(x: &'a str) -> u8 { b + 1 }");
    }

    #[test]
    fn comments_become_spaces() {
        check("a // todo\nb", "a        \nb");
        check("a /* x /* y */ z */ b", "a                   b");
    }

    #[test]
    fn literals_become_spaces() {
        check(r#"f("a \" b", 'x', '\'')"#, "f(        ,    ,     )");
        check("f(r#\"a\" b\"#)", "f(         )");
        check("for\"x\"", "for   ");
    }

    #[test]
    fn lines_are_kept() {
        assert_eq!(code_only("\"one\ntwo\"\n/* three\n*/").lines().count(), 4);
    }

    #[test]
    fn an_open_end_ends_the_text() {
        check("\"abc", "    ");
        check("/* abc", "      ");
    }
}
