//! Policies in Cedar's own format, one by one, so that the remarks between them and the lines that part those stay.
//!
//! Cedar's formatter looks for each token among all of its text, so that a file of ten thousand policies would keep it busy for hours; policy by
//! policy it takes what reading them takes. Schemas are left as they are: what Cedar writes of one has lost its remarks.

use cedar_policy_formatter::{Config, policies_str_to_pretty};

use super::builtin::parse_policies;
use super::compile::Source;
use super::error::Finding;
use super::program::STACK;

/// How wide a line is, as with Cedar's own command.
const WIDTH: usize = 80;

/// By how much what belongs to something is indented.
const INDENT: isize = 2;

/// A policy in its file's text, and what stands between it and the one before. After the last one there may be remarks alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut<'a> {
    pub(super) remarks: &'a str,
    /// From its first word to what follows its semicolon on the same line.
    pub(super) policy: &'a str,
}

/// A file's policies in Cedar's format; what they say is the same.
///
/// # Errors
/// What does not parse, or is more than a policy may be.
pub fn formatted(source: &Source) -> Result<String, Vec<Finding>> {
    let before = parse_policies(&source.name, &source.text)?;
    let text = stacker::grow(STACK, || written(source))?;
    // The formatter compares each policy with what it made of it; that none is lost is seen here.
    let after = parse_policies(&source.name, &text)?;
    let count = |set: &cedar_policy::PolicySet| (set.policies().count(), set.templates().count());
    if count(&before) != count(&after) {
        let message = "it would not say the same when formatted".to_owned();
        return Err(vec![Finding::in_file(&source.name, message)]);
    }
    Ok(text)
}

fn written(source: &Source) -> Result<String, Vec<Finding>> {
    let mut text = String::new();
    for (at, cut) in cuts(&source.text).into_iter().enumerate() {
        let remarks = remarks(cut.remarks);
        let policy = match cut.policy {
            "" => String::new(),
            policy => pretty(policy).map_err(|why| {
                let message = format!("policy {} cannot be formatted: {why}", at.saturating_add(1));
                vec![Finding::in_file(&source.name, message)]
            })?,
        };
        if remarks.is_empty() && policy.is_empty() {
            continue;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&remarks);
        // The last remarks of a file are followed by nothing.
        if policy.is_empty() {
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        text.push_str(&policy);
    }
    Ok(text)
}

/// One policy in Cedar's format, with the remarks in it and a line's end.
///
/// # Errors
/// What Cedar's formatter says.
pub(super) fn pretty(policy: &str) -> Result<String, String> {
    let config = Config {
        line_width: WIDTH,
        indent_width: INDENT,
    };
    policies_str_to_pretty(policy, &config).map_err(|error| format!("{error:#}"))
}

/// Remarks without what is around them: each on a line of its own, and one empty line where there was any.
fn remarks(text: &str) -> String {
    let mut tidy = String::new();
    let mut parted = false;
    for line in text.split_inclusive('\n') {
        let (line, ends) = (line.trim(), line.ends_with('\n'));
        if line.is_empty() {
            parted |= ends && !tidy.is_empty();
            continue;
        }
        if parted {
            tidy.push('\n');
        }
        parted = false;
        tidy.push_str(line);
        tidy.push('\n');
    }
    if parted {
        tidy.push('\n');
    }
    tidy
}

/// A file's text cut where its policies end. Meant for what parses: the semicolons outside of strings and remarks are their ends.
pub(super) fn cuts(text: &str) -> Vec<Cut<'_>> {
    let mut cuts = Vec::new();
    let (mut start, mut first) = (0_usize, None);
    let mut rest = text.char_indices().peekable();
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    while let Some((at, one)) = rest.next() {
        match one {
            '/' if rest.peek().is_some_and(|(_, next)| *next == '/') => {
                while rest.next_if(|(_, next)| *next != '\n').is_some() {}
                continue;
            }
            one if one.is_whitespace() => continue,
            '"' => {
                while let Some((_, within)) = rest.next() {
                    match within {
                        '\\' => drop(rest.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            ';' => {
                let end = at.saturating_add(1);
                let end = end.saturating_add(remark_behind(part(end, text.len())));
                while rest.next_if(|(next, _)| *next < end).is_some() {}
                let begin = first.take().unwrap_or(at);
                cuts.push(Cut {
                    remarks: part(start, begin),
                    policy: part(begin, end),
                });
                start = end;
                continue;
            }
            _ => {}
        }
        first.get_or_insert(at);
    }
    cuts.push(Cut {
        remarks: part(start, text.len()),
        policy: "",
    });
    cuts
}

/// The remarks in a text, without what marks them.
pub(super) fn remarks_in(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text.char_indices().peekable();
    while let Some((at, one)) = rest.next() {
        match one {
            '/' if rest.peek().is_some_and(|(_, next)| *next == '/') => {
                while rest.next_if(|(_, next)| *next != '\n').is_some() {}
                let end = rest.peek().map_or(text.len(), |(end, _)| *end);
                let remark = text.get(at..end).unwrap_or_default();
                found.push(remark.trim_start_matches('/').trim());
            }
            '"' => {
                while let Some((_, within)) = rest.next() {
                    match within {
                        '\\' => drop(rest.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    found
}

/// How long the remark is that stands behind a policy on its last line.
fn remark_behind(rest: &str) -> usize {
    let line = rest.split('\n').next().unwrap_or_default();
    match line.trim_start().starts_with("//") {
        true => line.trim_end().len(),
        false => 0,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source {
            name: "a.cedar".to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_text_is_cut_where_its_policies_end() {
        let text = "// a; b\n\npermit(principal, action, resource) when { \"; \\\" ;\" == \"\" }; // c; d\r\n// e\n  forbid(principal, action, resource);permit(principal, action, resource);\n// f";
        let cuts = cuts(text);
        let parts: Vec<(&str, &str)> = cuts.iter().map(|cut| (cut.remarks, cut.policy)).collect();
        assert_eq!(
            parts,
            [
                (
                    "// a; b\n\n",
                    "permit(principal, action, resource) when { \"; \\\" ;\" == \"\" }; // c; d"
                ),
                ("\r\n// e\n  ", "forbid(principal, action, resource);"),
                ("", "permit(principal, action, resource);"),
                ("\n// f", ""),
            ]
        );
        let whole: String = cuts
            .iter()
            .map(|cut| [cut.remarks, cut.policy].concat())
            .collect();
        assert_eq!(whole, text);
        assert_eq!(super::cuts("").len(), 1);
        assert_eq!(super::cuts("\"never ends; ").len(), 1);
    }

    #[test]
    fn remarks_stay_and_what_parts_them() {
        let text = "\n\n  // What this file is about.\n\n\n// And more.\n\n@id(\"a\")permit(principal,action,resource)when{principal has x&&// why\nprincipal.x==1};// behind\n// Of the next one.\nforbid(principal,action,resource);\n\n\n   // The end.\n\n";
        let once = formatted(&source(text)).unwrap();
        insta::assert_snapshot!(once, @r#"
        // What this file is about.

        // And more.

        @id("a")
        permit (principal, action, resource)
        when
        {
          principal has x && // why
          principal.x == 1
        }; // behind

        // Of the next one.
        forbid (principal, action, resource);

        // The end.
        "#);
        assert_eq!(formatted(&source(&once)).unwrap(), once);
    }

    #[test]
    fn an_empty_file_stays_empty_and_one_of_remarks_has_its_remarks() {
        assert_eq!(formatted(&source("")).unwrap(), "");
        assert_eq!(formatted(&source(" \n\n")).unwrap(), "");
        assert_eq!(
            formatted(&source("// a\n\n\n// b")).unwrap(),
            "// a\n\n// b\n"
        );
    }

    #[test]
    fn what_does_not_parse_is_said_and_what_is_too_much_never_reaches_the_formatter() {
        let refused =
            formatted(&source("permit(principal, action, resource);\npermit(")).unwrap_err();
        assert_eq!(refused.first().unwrap().line, Some(2));
        let deep = format!(
            "permit(principal, action, resource) when {{ {}true{} }};",
            "(".repeat(100_000),
            ")".repeat(100_000)
        );
        let refused = formatted(&source(&deep)).unwrap_err();
        assert!(refused.first().unwrap().message.contains("deeper"));
    }
}
