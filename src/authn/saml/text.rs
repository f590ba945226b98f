//! A SAML document as text: what must hold of it before any parser sees it, and the one strict parse.

use roxmltree::{Document, ParsingOptions};

use super::refusal::SamlRefusal;

/// The most bytes of a form field `SAMLResponse`, in base 64.
pub const LONGEST: usize = 512 * 1024;

/// The most elements of a response.
pub const MOST_ELEMENTS: usize = 8_000;

/// The most levels of elements.
pub const DEEPEST: usize = 24;

/// The most attributes of one element, namespace declarations among them.
pub const MOST_ATTRIBUTES: usize = 32;

/// The most bytes of an attribute's value, a namespace's name among them: canonicalization may write one again at each element.
pub const LONGEST_VALUE: usize = 1024;

/// The text inside a form field: UTF-8 that has no markup but elements.
pub(super) fn of_field(field: &str) -> Result<String, SamlRefusal> {
    if field.len() > LONGEST {
        return Err(SamlRefusal::TooLarge { limit: LONGEST });
    }
    // Several texts in base 64 one after the other would be taken for one.
    if field.trim_end_matches('=').contains('=') {
        return Err(SamlRefusal::Base64);
    }
    let bytes = data_encoding::BASE64
        .decode(field.as_bytes())
        .map_err(|_| SamlRefusal::Base64)?;
    let text = String::from_utf8(bytes).map_err(|_| SamlRefusal::Encoding)?;
    if text.chars().any(is_no_character) {
        return Err(SamlRefusal::Encoding);
    }
    // The engine's parser heeds a declaration's encoding and ours does not: neither sees one.
    without_declaration(&text).map(str::to_owned)
}

/// A character that XML 1.0 does not know, or a byte order mark, which is markup of an encoding and not of a text.
const fn is_no_character(one: char) -> bool {
    match one {
        '\t' | '\n' | '\r' => false,
        '\u{feff}' | '\u{fffe}' | '\u{ffff}' => true,
        _ => one < ' ',
    }
}

/// The text behind its XML declaration, where that is of XML 1.0 and, if it names an encoding, of UTF-8.
fn without_declaration(text: &str) -> Result<&str, SamlRefusal> {
    let Some(rest) = text.strip_prefix("<?xml ") else {
        return Ok(text);
    };
    let (declaration, rest) = rest.split_once("?>").ok_or(SamlRefusal::Markup)?;
    let words: Vec<String> = declaration
        .split_ascii_whitespace()
        .map(|word| word.replace('\'', "\"").to_ascii_lowercase())
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["version=\"1.0\""]
        | ["version=\"1.0\"", "encoding=\"utf-8\""]
        | [
            "version=\"1.0\"",
            "encoding=\"utf-8\"",
            "standalone=\"no\"" | "standalone=\"yes\"",
        ] => Ok(rest),
        ["version=\"1.0\"", ..] => Err(SamlRefusal::Encoding),
        _ => Err(SamlRefusal::Markup),
    }
}

/// The document that a text is, of at most as much as is read. It stands before the engine's parser, which mends what is not
/// well-formed and knows document types.
pub(super) fn parse(text: &str) -> Result<Document<'_>, SamlRefusal> {
    if text.contains("<!") || text.contains("<?") {
        return Err(SamlRefusal::Markup);
    }
    measure(text, &OF_A_RESPONSE).map_err(|what| SamlRefusal::TooComplex { what })?;
    // Text between elements is a node, too.
    let nodes = u32::try_from(MOST_ELEMENTS * 2 + 2).unwrap_or(u32::MAX);
    let options = ParsingOptions {
        allow_dtd: false,
        nodes_limit: nodes,
        entity_resolver: None,
    };
    Document::parse_with_options(text, options).map_err(|refusal| match refusal {
        roxmltree::Error::NodesLimitReached => SamlRefusal::TooComplex { what: "elements" },
        _ => SamlRefusal::Xml,
    })
}

/// How much of a document is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) elements: usize,
    pub(super) levels: usize,
    /// Of one element.
    pub(super) attributes: usize,
    /// The bytes of one attribute's value.
    pub(super) value: usize,
}

const OF_A_RESPONSE: Limits = Limits {
    elements: MOST_ELEMENTS,
    levels: DEEPEST,
    attributes: MOST_ATTRIBUTES,
    value: LONGEST_VALUE,
};

/// What is no element although it begins like one, and how that ends.
const NO_ELEMENTS: &[(&str, &str)] = &[("!--", "-->"), ("![CDATA[", "]]>"), ("?", "?>")];

/// Counts elements, levels and attributes without building anything, since a parser takes quadratic time for many attributes;
/// says of what there is too much. Where the text is not well-formed the numbers are rough, and the parser will say so.
pub(super) fn measure(text: &str, limits: &Limits) -> Result<(), &'static str> {
    let (mut elements, mut levels) = (0_usize, 0_usize);
    let mut rest = text;
    while let Some((_, tag)) = rest.split_once('<') {
        let other = NO_ELEMENTS
            .iter()
            .find_map(|(open, close)| tag.strip_prefix(open).map(|behind| (behind, close)));
        if let Some((behind, close)) = other {
            rest = behind.split_once(close).map_or("", |(_, rest)| rest);
            continue;
        }
        let (length, empty) = measure_tag(tag, limits)?;
        if tag.starts_with('/') {
            levels = levels.saturating_sub(1);
        } else {
            elements += 1;
            levels += 1;
        }
        if elements > limits.elements {
            return Err("elements");
        }
        if levels > limits.levels {
            return Err("levels");
        }
        if empty {
            levels = levels.saturating_sub(1);
        }
        rest = tag.get(length..).unwrap_or_default();
    }
    Ok(())
}

/// The length of a tag up to its `>`, and whether it is one of an empty element.
fn measure_tag(tag: &str, limits: &Limits) -> Result<(usize, bool), &'static str> {
    let (mut attributes, mut value) = (0_usize, 0_usize);
    let mut quote = None;
    let mut before = 0_u8;
    for (at, byte) in tag.bytes().enumerate() {
        match (quote, byte) {
            (Some(open), _) if byte == open => quote = None,
            (Some(_), _) => value += 1,
            (None, b'"' | b'\'') => {
                quote = Some(byte);
                value = 0;
            }
            (None, b'=') => attributes += 1,
            (None, b'>') => return Ok((at + 1, before == b'/')),
            (None, _) => {}
        }
        if attributes > limits.attributes {
            return Err("attributes of one element");
        }
        if value > limits.value {
            return Err("bytes of an attribute");
        }
        before = byte;
    }
    Ok((tag.len(), false))
}
