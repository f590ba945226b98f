//! The members of a request's body: each taken by name and type, and none left over.

use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::json::{self, quoted};
use super::problem::Problem;
use crate::app::App;
use crate::directory::expiry::{End, MINUTES_MOST};
use crate::directory::made::Audience;
use crate::directory::{Kind, Ref};

/// The members that are not yet taken.
#[derive(Debug)]
pub(super) struct Fields {
    members: Map<String, Value>,
    digest: [u8; 32],
}

impl FromRequest<Arc<App>> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        json::body(request, app.config().http.request_timeout())
            .await
            .map(Self::of)
    }
}

impl Fields {
    /// Those of an object.
    pub(super) fn of(members: Map<String, Value>) -> Self {
        // Read once and strictly, so equal texts mean the same whatever space, and in whatever order, they were sent with.
        let mut sorted = Value::Object(members.clone());
        sorted.sort_all_objects();
        let digest = Sha256::digest(sorted.to_string()).into();
        Self { members, digest }
    }

    /// Those of a call that has no body.
    pub(super) fn none() -> Self {
        Self::of(Map::new())
    }

    /// SHA-256 of the body as it was read, whatever the order of its members.
    pub(super) const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// A member as it is, if it is there.
    pub(super) fn any(&mut self, member: &str) -> Option<Value> {
        self.members.remove(member)
    }

    /// A member that must be a text.
    pub(super) fn text(&mut self, member: &str) -> Result<String, Problem> {
        self.maybe_text(member)?.ok_or_else(|| missing(member))
    }

    /// A member that is a text, if it is there.
    pub(super) fn maybe_text(&mut self, member: &str) -> Result<Option<String>, Problem> {
        match self.any(member) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(member, "it must be a string")),
        }
    }

    /// A member that must be a whole number, 0 or more.
    pub(super) fn number(&mut self, member: &str) -> Result<u64, Problem> {
        self.maybe_number(member)?.ok_or_else(|| missing(member))
    }

    /// A member that is a whole number, 0 or more, if it is there.
    pub(super) fn maybe_number(&mut self, member: &str) -> Result<Option<u64>, Problem> {
        let Some(value) = self.any(member) else {
            return Ok(None);
        };
        let number = value.as_u64();
        number
            .map(Some)
            .ok_or_else(|| wrong(member, "it must be a whole number, 0 or more"))
    }

    /// A member that is true or false, if it is there.
    pub(super) fn maybe_flag(&mut self, member: &str) -> Result<Option<bool>, Problem> {
        match self.any(member) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(wrong(member, "it must be true or false")),
        }
    }

    /// A member that must be one of some words.
    pub(super) fn word<T: FromStr<Err = String>>(&mut self, member: &str) -> Result<T, Problem> {
        self.maybe_word(member)?.ok_or_else(|| missing(member))
    }

    /// A member that is one of some words, if it is there.
    pub(super) fn maybe_word<T: FromStr<Err = String>>(
        &mut self,
        member: &str,
    ) -> Result<Option<T>, Problem> {
        let text = self.maybe_text(member)?;
        text.map(|text| text.parse().map_err(|why: String| wrong(member, &why)))
            .transpose()
    }

    /// A list of texts, if it is there.
    pub(super) fn maybe_texts(&mut self, member: &str) -> Result<Option<Vec<String>>, Problem> {
        let Some(value) = self.any(member) else {
            return Ok(None);
        };
        serde_json::from_value(value)
            .map(Some)
            .map_err(|_| wrong(member, "it must be a list of strings"))
    }

    /// A member that must name something of that kind.
    pub(super) fn reference(&mut self, member: &str, kind: Kind) -> Result<Ref, Problem> {
        self.maybe_reference(member, &[kind])?
            .ok_or_else(|| missing(member))
    }

    /// A member that must name something of one of these kinds.
    pub(super) fn one_of(&mut self, member: &str, kinds: &[Kind]) -> Result<Ref, Problem> {
        self.maybe_reference(member, kinds)?
            .ok_or_else(|| missing(member))
    }

    /// A member that names something of one of these kinds, if it is there.
    pub(super) fn maybe_reference(
        &mut self,
        member: &str,
        kinds: &[Kind],
    ) -> Result<Option<Ref>, Problem> {
        let Some(text) = self.maybe_text(member)? else {
            return Ok(None);
        };
        let known = || {
            kinds
                .iter()
                .map(|kind| kind.name())
                .collect::<Vec<_>>()
                .join(", ")
        };
        let found = text
            .parse::<Ref>()
            .ok()
            .filter(|found| kinds.contains(&found.kind));
        found.map(Some).ok_or_else(|| {
            wrong(
                member,
                &format!("it must be the identifier of one of: {}", known()),
            )
        })
    }

    /// Who may read it: a group's identifier, `null` for nobody else.
    pub(super) fn maybe_audience(&mut self) -> Result<Option<Audience>, Problem> {
        if self.members.get("audience").is_some_and(Value::is_null) {
            self.members.remove("audience");
            return Ok(Some(Audience::Private));
        }
        Ok(self
            .maybe_reference("audience", &[Kind::Group])?
            .map(Audience::Members))
    }

    /// A time, if it is there and not `null`.
    pub(super) fn maybe_time(&mut self, member: &str) -> Result<Option<DateTime<Utc>>, Problem> {
        if self.members.get(member).is_some_and(Value::is_null) {
            self.members.remove(member);
        }
        let Some(text) = self.maybe_text(member)? else {
            return Ok(None);
        };
        let time = DateTime::parse_from_rfc3339(&text).map_err(|_| {
            wrong(
                member,
                "it must be a time as in `2027-01-31T00:00:00Z` (RFC 3339)",
            )
        })?;
        Ok(Some(time.with_timezone(&Utc)))
    }

    /// A number of minutes, if it is there and not `null`.
    pub(super) fn maybe_minutes(&mut self, member: &str) -> Result<Option<u32>, Problem> {
        let Some(value) = self.any(member).filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        let minutes = value.as_u64().and_then(|number| u32::try_from(number).ok());
        let minutes = minutes.filter(|minutes| *minutes > 0);
        minutes.map(Some).ok_or_else(|| {
            wrong(
                member,
                &format!("it must be a whole number of minutes, from 1 to {MINUTES_MOST}"),
            )
        })
    }

    /// When something ends, if that is said: `expires_at`, where `null` is never, or `for_minutes` from when it is made.
    pub(super) fn maybe_end(&mut self) -> Result<Option<End>, Problem> {
        let said = self.members.contains_key("expires_at");
        let at = self.maybe_time("expires_at")?;
        match (at, self.maybe_minutes("for_minutes")?) {
            (_, Some(_)) if said => Err(Problem::Malformed(
                "send `expires_at` or `for_minutes`: both say when it ends".into(),
            )),
            (_, Some(minutes)) => Ok(Some(End::After(minutes))),
            (Some(at), None) => Ok(Some(End::At(at))),
            (None, None) => Ok(said.then_some(End::Never)),
        }
    }

    /// Nothing may be left.
    pub(super) fn finish(&self) -> Result<(), Problem> {
        match self.members.keys().next() {
            None => Ok(()),
            Some(name) => Err(Problem::Malformed(format!(
                "unknown member {}",
                quoted(name)
            ))),
        }
    }
}

/// A member that is not there and must be.
pub(super) fn missing(member: &str) -> Problem {
    Problem::Malformed(format!("the member `{member}` is missing"))
}

/// A member that is not what it should be.
pub(super) fn wrong(member: &str, why: &str) -> Problem {
    Problem::Malformed(format!("`{member}`: {why}"))
}
