//! What a provider gets from us: our metadata, and the authentication request that a browser carries to it.

use std::io::{self, Write as _};

use chrono::{DateTime, SecondsFormat, Utc};
use data_encoding::{BASE64, HEXLOWER};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};
use url::Url;

use super::ServiceProvider;
use super::element::{ASSERTION, METADATA, PROTOCOL};
use crate::directory::connection::{Binding, Saml};

const POST: &str = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST";

/// The formats of NameID that we ask for: one that lasts, or an address.
const NAME_ID_FORMATS: &[&str] = &[
    "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent",
    "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress",
];

/// The identifier of an authentication request: 128 random bits of the caller's, kept with the browser until it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(String);

impl RequestId {
    /// The identifier that these bits make.
    #[must_use]
    pub fn new(random: [u8; 16]) -> Self {
        // An XML identifier does not begin with a digit.
        Self(format!("_{}", HEXLOWER.encode(&random)))
    }

    /// As it is written, and as `InResponseTo` must be.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What comes back with a response unchanged: an opaque key to what we keep ourselves, never a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayState(String);

impl RelayState {
    /// The longest that a provider must give back (bindings, 3.4.3).
    pub const LONGEST: usize = 80;

    /// A key of letters, digits, `-` and `_`; none for anything else. What comes with a response is held to the same.
    #[must_use]
    pub fn new(key: &str) -> Option<Self> {
        let plain = |one: char| one.is_ascii_alphanumeric() || matches!(one, '-' | '_');
        let fits = (1..=Self::LONGEST).contains(&key.len()) && key.chars().all(plain);
        fits.then(|| Self(key.to_owned()))
    }

    /// The key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How a browser is sent to the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// To this URL.
    Redirect {
        /// With everything in it.
        url: String,
    },
    /// By a form that posts itself. Nothing here is escaped for HTML: whoever makes the page does that.
    Post {
        /// The form's action.
        action: String,
        /// The form's fields, by name.
        fields: [(&'static str, String); 2],
    },
}

/// Why no request could be made.
#[derive(Debug, thiserror::Error)]
pub enum NoRequest {
    /// The connection's URL is none.
    #[error("the provider's sign-in URL can not be read: read its metadata again")]
    Url(#[source] url::ParseError),
    /// It could not be written or compressed.
    #[error("the request could not be written")]
    Written(#[source] io::Error),
}

/// The authentication request, in the connection's binding.
///
/// # Errors
/// The connection's URL can not be read.
pub fn authentication(
    saml: &Saml,
    us: &ServiceProvider,
    id: &RequestId,
    relay_state: &RelayState,
    now: DateTime<Utc>,
) -> Result<Sent, NoRequest> {
    let xml = authn_request(saml, us, id, now).map_err(NoRequest::Written)?;
    let mut url = Url::parse(&saml.sso_url).map_err(NoRequest::Url)?;
    match saml.binding {
        Binding::Redirect => {
            let mut deflate = DeflateEncoder::new(Vec::new(), Compression::default());
            deflate.write_all(&xml).map_err(NoRequest::Written)?;
            let compressed = deflate.finish().map_err(NoRequest::Written)?;
            url.query_pairs_mut()
                .append_pair("SAMLRequest", &BASE64.encode(&compressed))
                .append_pair("RelayState", relay_state.as_str());
            Ok(Sent::Redirect { url: url.into() })
        }
        Binding::Post => Ok(Sent::Post {
            action: url.into(),
            fields: [
                ("SAMLRequest", BASE64.encode(&xml)),
                ("RelayState", relay_state.as_str().to_owned()),
            ],
        }),
    }
}

/// The request itself. It asks for no format of NameID by name: a provider that has another one set up for us would refuse.
fn authn_request(
    saml: &Saml,
    us: &ServiceProvider,
    id: &RequestId,
    now: DateTime<Utc>,
) -> io::Result<Vec<u8>> {
    let instant = now.to_rfc3339_opts(SecondsFormat::Secs, true);
    let mut writer = Writer::new(Vec::new());
    writer
        .create_element("samlp:AuthnRequest")
        .with_attributes([
            ("xmlns:samlp", PROTOCOL),
            ("xmlns:saml", ASSERTION),
            ("ID", id.as_str()),
            ("Version", "2.0"),
            ("IssueInstant", instant.as_str()),
            ("Destination", saml.sso_url.as_str()),
            ("ProtocolBinding", POST),
            ("AssertionConsumerServiceURL", us.acs_url.as_str()),
        ])
        .write_inner_content(|writer| {
            writer
                .create_element("saml:Issuer")
                .write_text_content(BytesText::new(&us.entity_id))?;
            writer
                .create_element("samlp:NameIDPolicy")
                .with_attribute(("AllowCreate", "true"))
                .write_empty()?;
            Ok(())
        })?;
    Ok(writer.into_inner())
}

/// Our metadata for a connection, for its provider to read.
///
/// # Errors
/// None in practice: it is written into memory.
pub fn metadata(us: &ServiceProvider) -> io::Result<String> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    writer
        .create_element("md:EntityDescriptor")
        .with_attributes([("xmlns:md", METADATA), ("entityID", us.entity_id.as_str())])
        .write_inner_content(|writer| {
            writer
                .create_element("md:SPSSODescriptor")
                .with_attributes([
                    ("AuthnRequestsSigned", "false"),
                    ("WantAssertionsSigned", "true"),
                    ("protocolSupportEnumeration", PROTOCOL),
                ])
                .write_inner_content(|writer| {
                    for format in NAME_ID_FORMATS {
                        writer
                            .create_element("md:NameIDFormat")
                            .write_text_content(BytesText::new(format))?;
                    }
                    writer
                        .create_element("md:AssertionConsumerService")
                        .with_attributes([
                            ("Binding", POST),
                            ("Location", us.acs_url.as_str()),
                            ("index", "0"),
                            ("isDefault", "true"),
                        ])
                        .write_empty()?;
                    Ok(())
                })?;
            Ok(())
        })?;
    String::from_utf8(writer.into_inner()).map_err(io::Error::other)
}
