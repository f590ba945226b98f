//! How much a policy may be, seen in its text before Cedar's parser walks into it: that takes some frames of the stack for each bracket.

/// How long a policy may be, in bytes: nothing that a person writes is so long.
const BYTES_MOST: usize = 16 * 1024;

/// How deep its brackets may nest.
const BRACKETS_MOST: usize = 250;

/// Where a text has a policy that is too much, and why. What is no policy at all, the parser says.
pub(super) fn too_much(text: &str) -> Option<(usize, String)> {
    walk(text, ("the policy", "([{", ")]}"), BYTES_MOST)
}

/// The same of a schema, whose types nest in angles too; it may be of any length.
pub(super) fn too_deep(text: &str) -> Option<(usize, String)> {
    walk(text, ("the schema", "([{<", ")]}>"), usize::MAX)
}

fn walk(
    text: &str,
    (what, opening, closing): (&str, &str, &str),
    bytes: usize,
) -> Option<(usize, String)> {
    let (mut start, mut depth) = (0_usize, 0_usize);
    let mut rest = text.char_indices().peekable();
    while let Some((at, one)) = rest.next() {
        match one {
            '"' => {
                while let Some((_, within)) = rest.next() {
                    match within {
                        '\\' => drop(rest.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '/' if rest.peek().is_some_and(|(_, next)| *next == '/') => {
                while rest.next_if(|(_, next)| *next != '\n').is_some() {}
            }
            one if opening.contains(one) => depth = depth.saturating_add(1),
            one if closing.contains(one) => depth = depth.saturating_sub(1),
            ';' if bytes < usize::MAX => {
                start = at;
                depth = 0;
            }
            _ => {}
        }
        if depth > BRACKETS_MOST {
            let why = format!("{what} is too much: it nests deeper than {BRACKETS_MOST} levels");
            return Some((at, why));
        }
        if at.saturating_sub(start) > bytes {
            let why = format!("{what} is too much: it is longer than {bytes} bytes");
            return Some((start, why));
        }
    }
    None
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_too_much_is_found() {
        let policy = |condition: &str| {
            format!("permit(principal, action, resource) when {{ {condition} }};\n")
        };
        let deep = |levels: usize| "(".repeat(levels) + "true" + &")".repeat(levels);
        for fits in [
            String::new(),
            policy("true").repeat(10_000),
            policy(&deep(249)),
            // Brackets in strings and remarks are none.
            policy(&format!("context.x == \"{}\\\"(\"", "(".repeat(1_000))),
            format!("// {}\n{}", "(".repeat(1_000), policy("true")),
            "\"never ends".to_owned(),
        ] {
            assert_eq!(too_much(&fits), None, "{fits:.80}");
        }
        for (much, why) in [
            (policy(&deep(250)), "deeper"),
            (policy("true") + &policy(&deep(5_000)), "deeper"),
            (policy(&"true && ".repeat(3_000)), "longer"),
        ] {
            let (at, said) = too_much(&much).unwrap();
            assert!(at < much.len() && said.contains(why), "{said}");
        }
        let schema = |levels: usize| {
            let (open, close) = ("Set<".repeat(levels), ">".repeat(levels));
            format!("entity A {{ a: {open}Long{close} }};\n")
        };
        assert_eq!(too_deep(&schema(200).repeat(1_000)), None);
        assert!(too_deep(&schema(5_000)).unwrap().1.contains("the schema"));
    }
}
