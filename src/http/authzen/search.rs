//! Searches on the wire: their members, their pages, and the tokens between two of them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::wire::{self, Recorded};
use crate::decide::{Named, Query, Question, Sought};
use crate::http::problem::Problem;

/// How many results a page has where nobody says.
pub const PAGE: usize = 1_000;

/// How many it may have.
pub const PAGE_MOST: usize = 10_000;

/// A search as it was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// What is looked for.
    pub query: Query,
    /// The last result that an earlier page looked at.
    pub after: Option<String>,
    /// How many results at most.
    pub limit: usize,
    /// Whether the caller said anything about pages.
    pub paged: bool,
    /// What ties a token to this search.
    digest: String,
}

/// What a token says. It is no secret and no authority: what follows is decided anew.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    /// The last result that was looked at.
    after: String,
    /// Which search it is of.
    of: String,
    limit: usize,
    /// The index of the last change that the page saw.
    as_of: u64,
}

/// Reads a search. `tenant` is whose it is: a token of another's is none.
///
/// # Errors
/// A member is missing or is not what it should be; a token of another search.
pub fn asked(mut body: Map<String, Value>, sought: Sought, tenant: &str) -> Result<Asked, Problem> {
    let page = match body.remove("page") {
        None => Map::new(),
        Some(Value::Object(page)) => page,
        Some(_) => return Err(malformed("`page` must be an object")),
    };
    body.remove("options");
    let paged = ["token", "limit"]
        .iter()
        .any(|member| page.contains_key(*member));
    let said = match page.get("limit") {
        None => None,
        Some(limit) => Some(
            limit
                .as_u64()
                .and_then(|limit| usize::try_from(limit).ok())
                .filter(|limit| (1..=PAGE_MOST).contains(limit))
                .ok_or_else(|| {
                    Problem::Malformed(format!(
                        "`page.limit` must be a number from 1 to {PAGE_MOST}"
                    ))
                })?,
        ),
    };
    // What is looked for has an id or a name that is not looked at.
    match sought {
        Sought::Subject => named_anyhow(&mut body, "subject")?,
        Sought::Resource => named_anyhow(&mut body, "resource")?,
        Sought::Action => {
            body.insert("action".to_owned(), json!({"name": "*"}));
        }
    }
    let mut asked = wire::whole(body)?;
    match sought {
        Sought::Subject => asked.subject.id.clear(),
        Sought::Resource => asked.resource.id.clear(),
        Sought::Action => asked.action.name.clear(),
    }
    let query = Query {
        sought,
        question: Question {
            subject: named(asked.subject),
            action: asked.action.name,
            action_properties: asked.action.properties,
            resource: named(asked.resource),
            context: asked.context,
        },
    };
    let digest = digest(tenant, &query);
    let token = match page.get("token") {
        None => None,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(Value::String(text)) => Some(token(text, &digest)?),
        Some(_) => return Err(malformed("`page.token` must be a string")),
    };
    let limit = match (said, &token) {
        (Some(said), Some(token)) if said != token.limit => {
            return Err(malformed(
                "`page.limit` is not that of the page before: leave it out, or begin anew without `page.token`",
            ));
        }
        (Some(said), _) => said,
        (None, Some(token)) => token.limit,
        (None, None) => PAGE,
    };
    Ok(Asked {
        query,
        after: token.map(|token| token.after),
        limit,
        paged,
        digest,
    })
}

/// The answer to a search.
#[derive(Debug, Serialize)]
pub struct Results {
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<Page>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<Value>,
    results: Vec<Value>,
}

#[derive(Debug, Serialize)]
struct Page {
    next_token: String,
    count: usize,
}

impl Results {
    /// These results, and the last that was looked at where there may be more.
    #[must_use]
    pub fn of(
        asked: &Asked,
        (results, next): (Vec<String>, Option<String>),
        recorded: Recorded,
        explained: bool,
    ) -> Self {
        let kind = match asked.query.sought {
            Sought::Subject => Some(&asked.query.question.subject.kind),
            Sought::Resource => Some(&asked.query.question.resource.kind),
            Sought::Action => None,
        };
        let token = |after: String| {
            let token = Token {
                after,
                of: asked.digest.clone(),
                limit: asked.limit,
                as_of: recorded.as_of,
            };
            // A few strings and numbers always have a JSON form.
            URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
        };
        let page = (asked.paged || next.is_some()).then(|| Page {
            count: results.len(),
            next_token: next.map(token).unwrap_or_default(),
        });
        Self {
            page,
            results: results
                .into_iter()
                .map(|one| match kind {
                    Some(kind) => json!({"type": kind, "id": one}),
                    None => json!({"name": one}),
                })
                .collect(),
            context: explained.then(|| json!({"log": recorded})),
        }
    }
}

/// Whatever id was sent, another stands for it while the members are read.
fn named_anyhow(body: &mut Map<String, Value>, member: &str) -> Result<(), Problem> {
    match body.get_mut(member) {
        Some(Value::Object(entity)) => {
            entity.insert("id".to_owned(), json!("*"));
            Ok(())
        }
        Some(_) => Err(Problem::Malformed(format!("`{member}` must be an object"))),
        None => Err(Problem::Malformed(format!("`{member}` is missing"))),
    }
}

fn named(entity: wire::Entity) -> Named {
    Named {
        kind: entity.kind,
        id: entity.id,
        properties: entity.properties,
    }
}

fn digest(tenant: &str, query: &Query) -> String {
    let question = &query.question;
    let named = |named: &Named| json!([named.kind, named.id, named.properties]);
    let mut said = json!([
        tenant,
        format!("{:?}", query.sought),
        named(&question.subject),
        [json!(question.action), json!(question.action_properties)],
        named(&question.resource),
        question.context,
    ]);
    // The order of members means nothing.
    said.sort_all_objects();
    let digest = Sha256::digest(said.to_string());
    URL_SAFE_NO_PAD.encode(digest.get(..16).unwrap_or_default())
}

fn token(text: &str, digest: &str) -> Result<Token, Problem> {
    let wrong = || {
        malformed(
            "`page.token` must be the `next_token` of a page of this very search: leave it out to begin anew",
        )
    };
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong())?;
    let token: Token = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
    let fits = token.of == digest && (1..=PAGE_MOST).contains(&token.limit);
    fits.then_some(token).ok_or_else(wrong)
}

fn malformed(what: &str) -> Problem {
    Problem::Malformed(what.to_owned())
}
