//! Something signed, and something else beside, above or below it that is not: signature wrapping.

use super::super::idp::{PLAIN, RSA, Signs, signed, swap, swap_first};
use super::Case;
use super::Craft::{Sent, Signed};

fn part<'a>(xml: &'a str, from: &str, to: &str) -> &'a str {
    let begin = xml.find(from).unwrap();
    let end = begin + xml[begin..].rfind(to).unwrap() + to.len();
    &xml[begin..end]
}

fn assertion(xml: &str) -> &str {
    part(xml, "<saml:Assertion", "</saml:Assertion>")
}

fn signature(xml: &str) -> &str {
    part(xml, "<ds:Signature ", "</ds:Signature>")
}

/// The assertion that the attacker wants to be read: another name under another identifier, and no signature.
fn evil(xml: &str) -> String {
    let plain = assertion(xml).replace(signature_or_nothing(assertion(xml)), "");
    swap(
        &swap(&plain, "\"_assertion\"", "\"_evil\""),
        "morty-c137",
        "rick-c137",
    )
}

fn signature_or_nothing(xml: &str) -> &str {
    if xml.contains("<ds:Signature ") {
        signature(xml)
    } else {
        "<nothing>"
    }
}

/// The response as the attacker wants it to be read, without its signature.
fn evil_response(xml: &str) -> String {
    let plain = swap(xml, signature(xml), "");
    swap(
        &swap(&plain, "\"_response\"", "\"_evil\""),
        "morty-c137",
        "rick-c137",
    )
}

/// The evil assertion in the place of the good one, and what is made of that.
fn around(xml: &str, made: impl Fn(&str, &str) -> String) -> String {
    swap(xml, assertion(xml), &made(&evil(xml), assertion(xml)))
}

/// The good assertion without its signature, and the signature.
fn taken_apart(good: &str) -> (String, String) {
    let signature = signature(good).to_owned();
    (swap(good, &signature, ""), signature)
}

/// A signature put behind an assertion's issuer.
fn wearing(assertion: &str, signature: &str) -> String {
    swap_first(
        assertion,
        "</saml:Issuer>",
        &format!("</saml:Issuer>{signature}"),
    )
}

fn renamed(assertion: &str) -> String {
    swap(
        &swap(assertion, "<saml:Assertion", "<saml:Original"),
        "</saml:Assertion",
        "</saml:Original",
    )
}

pub(super) const CASES: &[Case] = &[
    // The eight of Somorovsky and others, "On Breaking SAML" (2012).
    Case(
        "XSW1: the signed response inside the signature of an evil one",
        "forbidden",
        Signs::Response,
        Sent(|xml| {
            let good = swap(xml, signature(xml), "");
            let wrapped = swap(
                signature(xml),
                "</ds:Signature>",
                &format!("<ds:Object>{good}</ds:Object></ds:Signature>"),
            );
            swap_first(
                &evil_response(xml),
                "</saml:Issuer>",
                &format!("</saml:Issuer>{wrapped}"),
            )
        }),
    ),
    Case(
        "XSW2: the signed response before a detached signature",
        "ids",
        Signs::Response,
        Sent(|xml| {
            let good = swap(xml, signature(xml), "");
            swap_first(
                &evil_response(xml),
                "</saml:Issuer>",
                &format!("</saml:Issuer>{good}{}", signature(xml)),
            )
        }),
    ),
    Case(
        "XSW3: an evil assertion before the signed one",
        "assertion_count",
        Signs::Assertion,
        Sent(|xml| around(xml, |evil, good| format!("{evil}{good}"))),
    ),
    Case(
        "XSW4: the signed assertion inside an evil one",
        "assertion_count",
        Signs::Assertion,
        Sent(|xml| {
            around(xml, |evil, good| {
                swap(
                    evil,
                    "</saml:Assertion>",
                    &format!("{good}</saml:Assertion>"),
                )
            })
        }),
    ),
    Case(
        "XSW5: the signature on an evil assertion, the signed one at the end",
        "assertion_count",
        Signs::Assertion,
        Sent(|xml| {
            around(xml, |evil, good| {
                let (plain, signature) = taken_apart(good);
                format!("{}{plain}", wearing(evil, &signature))
            })
        }),
    ),
    Case(
        "XSW6: the signed assertion inside the signature of an evil one",
        "assertion_count",
        Signs::Assertion,
        Sent(|xml| {
            around(xml, |evil, good| {
                let (plain, signature) = taken_apart(good);
                wearing(
                    evil,
                    &swap(
                        &signature,
                        "</ds:Signature>",
                        &format!("{plain}</ds:Signature>"),
                    ),
                )
            })
        }),
    ),
    Case(
        "XSW7: an evil assertion in the extensions",
        "forbidden",
        Signs::Assertion,
        Sent(|xml| {
            swap(
                xml,
                "<samlp:Status>",
                &format!(
                    "<samlp:Extensions>{}</samlp:Extensions><samlp:Status>",
                    evil(xml)
                ),
            )
        }),
    ),
    Case(
        "XSW8: the signed assertion in an object of an evil one's signature",
        "forbidden",
        Signs::Assertion,
        Sent(|xml| {
            around(xml, |evil, good| {
                let (plain, signature) = taken_apart(good);
                wearing(
                    evil,
                    &swap(
                        &signature,
                        "</ds:Signature>",
                        &format!("<ds:Object>{plain}</ds:Object></ds:Signature>"),
                    ),
                )
            })
        }),
    ),
    // Variants: so that counting assertions is not all that refuses them.
    Case(
        "an evil assertion behind the signed one",
        "assertion_count",
        Signs::Assertion,
        Sent(|xml| around(xml, |evil, good| format!("{good}{evil}"))),
    ),
    Case(
        "the signed assertion under another name, inside",
        "ids",
        Signs::Assertion,
        Sent(|xml| {
            around(xml, |evil, good| {
                swap(
                    evil,
                    "</saml:Assertion>",
                    &format!("{}</saml:Assertion>", renamed(&taken_apart(good).0)),
                )
            })
        }),
    ),
    Case(
        "the signed assertion under another name, before",
        "ids",
        Signs::Assertion,
        Sent(|xml| {
            around(xml, |evil, good| {
                let (plain, signature) = taken_apart(good);
                format!("{}{}", renamed(&plain), wearing(evil, &signature))
            })
        }),
    ),
    Case(
        "the signature of the good assertion on an evil one, which is gone",
        "reference",
        Signs::Assertion,
        Sent(|xml| around(xml, |evil, good| wearing(evil, &taken_apart(good).1))),
    ),
    Case(
        "the signature on an evil assertion of the same identifier",
        "signature",
        Signs::Assertion,
        Sent(|xml| {
            around(xml, |evil, good| {
                swap(
                    &wearing(evil, &taken_apart(good).1),
                    "\"_evil\"",
                    "\"_assertion\"",
                )
            })
        }),
    ),
    Case(
        "two assertions of the same identifier, the evil one first",
        "ids",
        Signs::Assertion,
        Sent(|xml| {
            around(xml, |evil, good| {
                format!("{}{good}", swap(evil, "\"_evil\"", "\"_assertion\""))
            })
        }),
    ),
    Case(
        "two assertions of the same identifier, the evil one last",
        "ids",
        Signs::Assertion,
        Sent(|xml| {
            around(xml, |evil, good| {
                format!("{good}{}", swap(evil, "\"_evil\"", "\"_assertion\""))
            })
        }),
    ),
    Case(
        "the identifier of the signed assertion on the response",
        "ids",
        Signs::Assertion,
        Sent(|xml| swap_first(xml, "\"_response\"", "\"_assertion\"")),
    ),
    Case(
        "the identifiers of response and assertion changed over",
        "reference",
        Signs::Assertion,
        Sent(|xml| {
            swap(
                &swap(
                    &swap(xml, "ID=\"_response\"", "ID=\"_x\""),
                    "ID=\"_assertion\"",
                    "ID=\"_response\"",
                ),
                "ID=\"_x\"",
                "ID=\"_assertion\"",
            )
        }),
    ),
    Case(
        "the signed assertion in a status detail",
        "unexpected",
        Signs::Assertion,
        Sent(|xml| {
            let good = assertion(xml).to_owned();
            swap(
                &swap(xml, &good, &evil(xml)),
                "</samlp:Status>",
                &format!("<samlp:StatusDetail>{good}</samlp:StatusDetail></samlp:Status>"),
            )
        }),
    ),
    Case(
        "the signed assertion in a status message",
        "assertion_count",
        Signs::Assertion,
        Sent(|xml| {
            let good = assertion(xml).to_owned();
            swap(
                &swap(xml, &good, &evil(xml)),
                "</samlp:Status>",
                &format!("<samlp:StatusMessage>{good}</samlp:StatusMessage></samlp:Status>"),
            )
        }),
    ),
    Case(
        "the signed assertion in an attribute's value",
        "assertion_count",
        Signs::Assertion,
        Sent(|xml| {
            around(xml, |evil, good| {
                swap(evil, ">Morty Smith<", &format!(">{good}<"))
            })
        }),
    ),
    Case(
        "the signed assertion in the confirmation",
        "assertion_count",
        Signs::Assertion,
        Sent(|xml| {
            around(xml, |evil, good| {
                swap(
                    evil,
                    "<saml:SubjectConfirmationData",
                    &format!("{good}<saml:SubjectConfirmationData"),
                )
            })
        }),
    ),
    Case(
        "the signed assertion in the advice",
        "forbidden",
        Signs::Assertion,
        Sent(|xml| {
            around(xml, |evil, good| {
                swap(
                    evil,
                    "<saml:AuthnStatement",
                    &format!("<saml:Advice>{good}</saml:Advice><saml:AuthnStatement"),
                )
            })
        }),
    ),
    Case(
        "the signed assertion in the key",
        "assertion_count",
        Signs::Assertion,
        Sent(|xml| {
            around(xml, |evil, good| {
                let (plain, signature) = taken_apart(good);
                wearing(
                    evil,
                    &swap(
                        &signature,
                        "<ds:X509Data>",
                        &format!("<ds:X509Data>{plain}"),
                    ),
                )
            })
        }),
    ),
    Case(
        "the signed response in an attribute's value of an evil one",
        "ids",
        Signs::Response,
        Sent(|xml| swap(&evil_response(xml), ">Morty Smith<", &format!(">{xml}<"))),
    ),
    Case(
        "the signed response beside the evil assertion",
        "ids",
        Signs::Response,
        Sent(|xml| {
            swap_first(
                &evil_response(xml),
                "</samlp:Response>",
                &format!("{xml}</samlp:Response>"),
            )
        }),
    ),
    Case(
        "an evil response around the signed one under another name",
        "ids",
        Signs::Response,
        Sent(|xml| {
            let inner = swap(xml, "<saml:Assertion", "<saml:Original")
                .replace("</saml:Assertion", "</saml:Original");
            swap(
                &evil_response(xml),
                "</samlp:Response>",
                &format!("{inner}</samlp:Response>"),
            )
        }),
    ),
    Case(
        "an unsigned response around a response",
        "ids",
        Signs::Response,
        Sent(|xml| {
            let (open, rest) = xml.split_once("<saml:Issuer>").unwrap();
            format!(
                "{}<saml:Issuer>{}",
                swap(open, "\"_response\"", "\"_outer\""),
                swap(
                    rest,
                    "</samlp:Response>",
                    &format!("{xml}</samlp:Response>")
                )
            )
        }),
    ),
    Case(
        "an evil assertion of another namespace beside the signed one",
        "ids",
        Signs::Assertion,
        Sent(|xml| {
            around(xml, |evil, good| {
                format!(
                    "{good}{}",
                    swap(
                        evil,
                        "<saml:Assertion",
                        "<saml:Assertion xmlns:saml=\"urn:evil\""
                    )
                )
            })
        }),
    ),
    Case(
        "an evil assertion in small letters beside the signed one",
        "unexpected",
        Signs::Assertion,
        Sent(|xml| {
            around(xml, |evil, good| {
                let small = swap(
                    &swap(evil, "<saml:Assertion", "<saml:assertion"),
                    "</saml:Assertion",
                    "</saml:assertion",
                );
                format!("{good}{}", small.replace("ID=\"_evil\"", ""))
            })
        }),
    ),
    Case(
        "an evil name beside the signed one in the response",
        "unexpected",
        Signs::Assertion,
        Sent(|xml| {
            swap(
                xml,
                "</samlp:Response>",
                "<saml:Subject><saml:NameID>rick</saml:NameID></saml:Subject></samlp:Response>",
            )
        }),
    ),
    Case(
        "an evil subject that the signature does not cover, in the signature",
        "signature_shape",
        Signs::Assertion,
        Sent(|xml| {
            swap(
                xml,
                "</ds:Signature>",
                "<saml:Subject><saml:NameID>rick</saml:NameID></saml:Subject></ds:Signature>",
            )
        }),
    ),
    Case(
        "an evil assertion in the signature, which the signature leaves out",
        "assertion_count",
        Signs::Assertion,
        Sent(|xml| {
            let inner = evil(xml);
            swap(xml, "</ds:Signature>", &format!("{inner}</ds:Signature>"))
        }),
    ),
    Case(
        "a second assertion that is signed for somebody else",
        "assertion_count",
        Signs::Assertion,
        Sent(|xml| {
            let other = signed(
                &RSA,
                &swap(
                    &swap(PLAIN, "morty-c137", "rick-c137"),
                    "_assertion",
                    "_other",
                ),
                Signs::Nothing,
            );
            swap(
                xml,
                "</samlp:Response>",
                &format!("{}</samlp:Response>", assertion(&other)),
            )
        }),
    ),
    Case(
        "the assertion of another signed response put into this one",
        "signature",
        Signs::Response,
        Sent(|xml| {
            let other = signed(
                &RSA,
                &swap(PLAIN, "morty-c137", "rick-c137"),
                Signs::Response,
            );
            swap(xml, assertion(xml), assertion(&other))
        }),
    ),
    Case(
        "the signed assertion of another response in a signed response",
        "signature",
        Signs::Both,
        Sent(|xml| {
            let other = signed(&RSA, &swap(PLAIN, "morty-c137", "rick-c137"), Signs::Both);
            swap(xml, assertion(xml), assertion(&other))
        }),
    ),
    Case(
        "a response signed for another service, its assertion for ours",
        "destination",
        Signs::Both,
        Signed(|xml| {
            swap(
                xml,
                "Destination=\"https://cedarkeep",
                "Destination=\"https://evil",
            )
        }),
    ),
    Case(
        "an object that holds the signed assertion, referred to by the evil one's signature",
        "forbidden",
        Signs::Both,
        Sent(|xml| {
            let good = assertion(xml).to_owned();
            let outer = part(xml, "<ds:Signature ", "</ds:Signature><samlp:Status>")
                .trim_end_matches("<samlp:Status>")
                .to_owned();
            let wrapped = swap(
                &outer,
                "</ds:Signature>",
                &format!("<ds:Object>{good}</ds:Object></ds:Signature>"),
            );
            swap(&swap(xml, &good, &evil(xml)), &outer, &wrapped)
        }),
    ),
];
