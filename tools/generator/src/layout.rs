//! How the header reads: cbindgen's output is turned into what a person would have written. Short
//! comments take one line, prototypes are filled to the line's width, constants have the suffix of
//! their type, and a heading opens the functions of each source file. Nothing here changes what a
//! declaration means; the conformance test compares the result.

use crate::abi::Abi;
use std::collections::HashMap;

const WIDTH: usize = 100;

pub fn arrange(text: &str, abi: &Abi) -> String {
    let text = prototypes(&short_comments(text));
    let text = text.lines().map(|line| constant(line, abi)).collect::<Vec<_>>().join("\n");
    headings(&constant_groups(&field_comments(&text)), abi) + "\n"
}

/// `/**`, one line and ` */` become `/* one line */`; other comments lose the second star.
fn short_comments(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut out = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        let indent = &line[..line.len() - line.trim_start().len()];
        if line.trim() != "/**" {
            out.push(line.to_string());
            at += 1;
            continue;
        }
        let body = lines.get(at + 1).and_then(|next| next.trim_start().strip_prefix("* "));
        let ends = lines.get(at + 2).is_some_and(|next| next.trim() == "*/");
        match body {
            Some(body) if ends && indent.len() + body.len() + 6 <= WIDTH => {
                out.push(format!("{indent}/* {body} */"));
                at += 3;
            }
            _ => {
                out.push(format!("{indent}/*"));
                at += 1;
            }
        }
    }
    out.join("\n")
}

/// Joins each prototype's lines and fills them again. `struct` goes where a typedef has the name.
fn prototypes(text: &str) -> String {
    let mut out = Vec::new();
    let mut pending = String::new();
    for line in text.lines() {
        let line = match line.trim_start() {
            start if start.starts_with("typedef struct") => line.to_string(),
            // Types of functions come before what they are called with.
            "struct aio_ctx;" | "struct aio_trace_event;" => line.to_string(),
            _ if line.starts_with("typedef ") && line.contains("(*") => line.to_string(),
            _ if line.ends_with("AIO_NOEXCEPT;") => line.to_string(),
            _ => line.replace("struct aio_", "aio_"),
        };
        let begins = line.starts_with("aio_") || line.starts_with(|c: char| c.is_ascii_lowercase());
        let is_prototype = begins && line.contains('(') && !line.starts_with("typedef");
        if !pending.is_empty() || is_prototype {
            if !pending.is_empty() {
                pending.push(' ');
            }
            pending += line.trim();
            if pending.ends_with(';') {
                out.extend(fill(&pending));
                pending.clear();
            }
            continue;
        }
        out.push(line);
    }
    assert!(pending.is_empty(), "a prototype ends with a semicolon: {pending}");
    out.join("\n")
}

fn fill(prototype: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for part in prototype.split_inclusive(", ") {
        let last = lines.last_mut().expect("there is a line");
        if !last.is_empty() && last.len() + part.trim_end().len() > WIDTH {
            lines.push(format!("        {part}"));
        } else {
            last.push_str(part);
        }
    }
    lines.iter().map(|line| line.trim_end().to_string()).collect()
}

/// An unsigned constant gets its suffix and a negative one parentheses.
fn constant(line: &str, abi: &Abi) -> String {
    let Some((name, value)) = line.strip_prefix("#define ").and_then(|l| l.split_once(' ')) else {
        return line.to_string();
    };
    let value = match abi.constant_type(name).as_deref() {
        Some("u32") => suffixed(value, "u"),
        Some("u64") => suffixed(value, "ull"),
        Some(_) if value.starts_with('-') => format!("({value})"),
        _ => return line.to_string(),
    };
    format!("#define {name} {value}")
}

/// `value` with `suffix` at each number that has none.
fn suffixed(value: &str, suffix: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut out = String::new();
    let mut rest = value;
    while let Some(first) = rest.chars().next() {
        let end = if is_word(first) { rest.find(|c| !is_word(c)).unwrap_or(rest.len()) } else { 1 };
        let (word, after) = rest.split_at(end);
        out += word;
        if first.is_ascii_digit() && !word.ends_with(['u', 'l', 'U', 'L']) {
            out += suffix;
        }
        rest = after;
    }
    out
}

/// Puts a field's short comment behind it, where the line has room.
fn field_comments(text: &str) -> String {
    let mut out: Vec<String> = Vec::new();
    for line in text.lines() {
        let comment = out.last().map_or("", |line| line.trim());
        let is_comment = comment.starts_with("/* ") && comment.ends_with(" */");
        let is_field = line.starts_with("    ") && line.ends_with(';');
        if is_comment && is_field && line.len() + 1 + comment.len() <= WIDTH {
            let joined = format!("{line} {comment}");
            out.pop();
            out.push(joined);
        } else {
            out.push(line.to_string());
        }
    }
    out.join("\n")
}

/// Puts related constants (of one prefix, or all negative) one below the other; their comments
/// stand behind them if each has room there, and before them if not.
fn constant_groups(text: &str) -> String {
    let paragraphs: Vec<&str> = text.split("\n\n").collect();
    let mut out: Vec<String> = Vec::new();
    let mut at = 0;
    while at < paragraphs.len() {
        let name = group_of(paragraphs[at]);
        let same = paragraphs[at..].iter().take_while(|other| group_of(other) == name).count();
        if name.is_empty() {
            out.push(paragraphs[at].to_string());
            at += 1;
            continue;
        }
        let group = &paragraphs[at..at + same];
        let behind: Option<Vec<String>> = group.iter().map(|constant| behind(constant)).collect();
        out.push(match behind {
            Some(lines) => lines.join("\n"),
            None => group.join("\n"),
        });
        at += same;
    }
    out.join("\n\n")
}

/// A constant with its comment behind it, if that is one line and fits.
fn behind(paragraph: &str) -> Option<String> {
    let (comment, define) = match paragraph.split_once('\n') {
        Some((comment, define)) => (format!(" {comment}"), define),
        None => (String::new(), paragraph),
    };
    (!define.contains('\n') && define.len() + comment.len() <= WIDTH)
        .then(|| format!("{define}{comment}"))
}

/// What related constants have in common; empty for a paragraph that is no (commented) constant.
fn group_of(paragraph: &str) -> String {
    let define = paragraph.lines().last().unwrap_or_default();
    let is_commented = paragraph.starts_with("/*") && paragraph.matches("/*").count() == 1;
    let Some(rest) = define.strip_prefix("#define AIO_") else { return String::new() };
    if !is_commented && paragraph.contains('\n') {
        return String::new();
    }
    let (name, value) = rest.split_once(' ').unwrap_or((rest, ""));
    if value.starts_with("(-") {
        return "negative".to_string();
    }
    name.split('_').next().unwrap_or_default().to_string()
}

/// Puts the name of the source file before its first function (and that function's comment).
fn headings(text: &str, abi: &Abi) -> String {
    let sections: HashMap<String, &str> =
        abi.functions.iter().map(|f| (f.signature.ident.to_string(), f.section.as_str())).collect();
    let mut out: Vec<String> = Vec::new();
    let mut current = "";
    for line in text.lines() {
        let name = line.split_once('(').map(|(before, _)| before);
        let name = name.and_then(|before| before.rsplit([' ', '*']).next());
        let section = name.and_then(|name| sections.get(name)).copied().unwrap_or(current);
        if section != current && !line.starts_with([' ', '#']) {
            current = section;
            let at = out.iter().rposition(|line| line.is_empty()).map_or(0, |at| at + 1);
            let rule = "-".repeat(WIDTH - 12 - section.len());
            out.insert(at, format!("/* ---- {section} {rule} */\n"));
        }
        out.push(line.to_string());
    }
    out.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_of_one_line_takes_one_line() {
        assert_eq!(short_comments("    /**\n     * Small.\n     */"), "    /* Small. */");
        assert_eq!(
            short_comments("/**\n * One.\n *\n * Two.\n */"),
            "/*\n * One.\n *\n * Two.\n */"
        );
    }

    #[test]
    fn a_prototype_is_filled_to_the_width() {
        let narrow = "int32_t aio_ctx_run(struct aio_ctx *ctx);";
        assert_eq!(prototypes(narrow), "int32_t aio_ctx_run(aio_ctx *ctx);");
        let argument = "const struct sockaddr *addr";
        let tall =
            format!("int32_t aio_x(int b,\n    {argument},\n    {argument},\n    {argument});");
        let filled = format!("int32_t aio_x(int b, {argument}, {argument},\n        {argument});");
        assert_eq!(prototypes(&tall), filled);
    }

    #[test]
    fn a_typedef_keeps_its_tag() {
        let text = "typedef struct aio_info {\n    uint32_t size;\n} aio_info;";
        assert_eq!(prototypes(text), text);
    }

    #[test]
    fn a_field_has_its_short_comment_behind_it() {
        let text = "typedef struct s {\n    /* F. */\n    int f;\n    int g;\n} s;";
        let expected = "typedef struct s {\n    int f; /* F. */\n    int g;\n} s;";
        assert_eq!(field_comments(text), expected);
    }

    #[test]
    fn related_constants_stand_together() {
        let text = "/* One. */\n#define AIO_A_X 1u\n\n/* Two. */\n#define AIO_A_Y 2u\n\n\
                    /* Other. */\n#define AIO_B_X 1u\n\n/* S. */\ntypedef struct s s;";
        let expected = "#define AIO_A_X 1u /* One. */\n#define AIO_A_Y 2u /* Two. */\n\n\
                        #define AIO_B_X 1u /* Other. */\n\n/* S. */\ntypedef struct s s;";
        assert_eq!(constant_groups(text), expected);
    }

    #[test]
    fn a_long_comment_puts_all_of_its_group_before() {
        let long = format!("/* {} */", "x".repeat(90));
        let text = format!("/* One. */\n#define AIO_A_X 1u\n\n{long}\n#define AIO_A_Y 2u");
        let expected = format!("/* One. */\n#define AIO_A_X 1u\n{long}\n#define AIO_A_Y 2u");
        assert_eq!(constant_groups(&text), expected);
    }

    #[test]
    fn numbers_get_the_suffix_of_their_type() {
        assert_eq!(suffixed("(1 << 16)", "u"), "(1u << 16u)");
        assert_eq!(suffixed("0x40", "u"), "0x40u");
        assert_eq!(suffixed("UINT64_MAX", "ull"), "UINT64_MAX");
        assert_eq!(suffixed("7u", "u"), "7u");
    }
}
