//! An identity provider in this process, for attacks on the service as a whole: what it says is good, until an attacker touches it.

use cedarkeep::authn::saml::ServiceProvider;
use chrono::{SecondsFormat, TimeDelta, Utc};
use data_encoding::{BASE64, HEXLOWER};

use super::idp::{
    ACS, ASKED, ENTITY, PLAIN, RSA, STRANGER, Signs, US, at, now, signed_shaped, swap,
};

/// Who signs a forged response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// The provider of the connection.
    Provider,
    /// Somebody with a key of their own.
    Stranger,
    Nobody,
}

/// The metadata of the provider.
pub fn metadata() -> String {
    format!(
        concat!(
            r#"<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" xmlns:ds="http://www.w3.org/2000/09/xmldsig#" "#,
            r#"entityID="{}"><md:IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">"#,
            r#"<md:KeyDescriptor use="signing"><ds:KeyInfo><ds:X509Data><ds:X509Certificate>{}</ds:X509Certificate></ds:X509Data>"#,
            r#"</ds:KeyInfo></md:KeyDescriptor><md:SingleSignOnService "#,
            r#"Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="https://idp.citadel.example/sso"/>"#,
            r#"</md:IDPSSODescriptor></md:EntityDescriptor>"#,
        ),
        ENTITY,
        RSA.stored(),
    )
}

/// A response that is still to be signed.
pub struct Draft {
    marked: String,
    assertion: String,
}

impl Draft {
    /// What the provider says to us of somebody now, where `asked` is what it was asked, if it was.
    pub fn of(user: &str, us: &ServiceProvider, asked: Option<&str>) -> Self {
        Self::aged(user, us, asked, TimeDelta::zero())
    }

    /// The same, said so long ago.
    pub fn aged(user: &str, us: &ServiceProvider, asked: Option<&str>, age: TimeDelta) -> Self {
        let mut random = [0; 16];
        getrandom::fill(&mut random).unwrap();
        let assertion = format!("_assertion{}", HEXLOWER.encode(&random));
        let mut marked = swap(PLAIN, US, &us.entity_id);
        marked = swap(&marked, ACS, &us.acs_url);
        marked = match asked {
            Some(asked) => swap(&marked, ASKED, asked),
            None => swap(&marked, &format!(" InResponseTo=\"{ASKED}\""), ""),
        };
        marked = swap(&marked, "\"_assertion\"", &format!("\"{assertion}\""));
        marked = swap(&marked, "morty-c137", &format!("{user} of the citadel"));
        marked = swap(
            &marked,
            "morty@citadel.example",
            &format!("{user}@example.com"),
        );
        marked = swap(&marked, "Morty Smith", &format!("The one called {user}"));
        for written in [
            "2026-03-01T12:00:00Z",
            "2026-03-01T11:59:59.250Z",
            "2026-03-01T12:05:00Z",
            "2026-03-01T11:59:30Z",
            "2026-03-01T12:10:00Z",
            "2026-03-01T11:59:58Z",
        ] {
            let time = Utc::now() - age + (at(written) - now());
            let time = time.to_rfc3339_opts(SecondsFormat::Millis, true);
            marked = swap(&marked, written, &time);
        }
        Self { marked, assertion }
    }

    /// With a text in it replaced before it is signed.
    pub fn with(mut self, from: &str, to: &str) -> Self {
        self.marked = swap(&self.marked, from, to);
        self
    }

    /// The XML, with its assertion signed.
    pub fn signed(&self, signer: Signer) -> String {
        let (idp, signs) = match signer {
            Signer::Provider => (&*RSA, Signs::Assertion),
            Signer::Stranger => (&*STRANGER, Signs::Assertion),
            Signer::Nobody => (&*RSA, Signs::Nothing),
        };
        signed_shaped(idp, &self.marked, signs, |template| {
            swap(template, "#_assertion", &format!("#{}", self.assertion))
        })
    }

    /// The form field that the provider would send.
    pub fn field(&self) -> String {
        field(&self.signed(Signer::Provider))
    }
}

/// A response as it stands in a form.
pub fn field(xml: &str) -> String {
    BASE64.encode(xml.as_bytes())
}
