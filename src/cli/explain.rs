//! Why somebody may or may not do something, asked by the operator: in words, or in JSON.

use clap::Args;
use serde_json::{Map, Value};

use super::Outcome;
use super::org::door;
use super::print::Out;
use crate::app::App;
use crate::decide::{Asker, Named, Question};

/// Say why somebody may or may not do something: what forbids it, what came nearest to permitting it, or by which policies and
/// memberships it is allowed
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub(super) struct Explain {
    /// The organization
    org: String,
    /// Who, as TYPE:ID
    #[arg(long, value_name = "TYPE:ID", value_parser = named)]
    subject: Named,
    /// What they would do, as `thread.read`
    #[arg(long)]
    action: String,
    /// What they would do it to, as TYPE:ID
    #[arg(long, value_name = "TYPE:ID", value_parser = named)]
    resource: Named,
    /// Under which circumstances: the `context` of a question, a JSON object
    #[arg(long, value_name = "JSON", value_parser = object, default_value = "{}", hide_default_value = true)]
    context: Context,
}

const AFTER: &str = "\
Examples:
  cedarkeep explain acme --subject User:usr_... --action thread.read --resource Thread:thr_...
  cedarkeep explain acme --subject User:usr_... --action thread.create --resource Organization:org_... --json

Types and actions of an organization's own are named as its schema names them.
It is decided and recorded like the question itself. The operator sees every value that a policy looked at.";

/// A question's context.
#[derive(Debug, Clone)]
struct Context(Map<String, Value>);

fn object(text: &str) -> Result<Context, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(members)) => Ok(Context(members)),
        Ok(_) => Err("it must be a JSON object, as {\"purpose\": \"support\"}".to_owned()),
        Err(error) => Err(format!("it is no JSON: {error}")),
    }
}

/// A type and an id; the type may have a namespace.
fn named(text: &str) -> Result<Named, String> {
    let mut rest = text.char_indices().peekable();
    while let Some((at, one)) = rest.next() {
        if one != ':' {
            continue;
        }
        if rest.next_if(|(_, next)| *next == ':').is_some() {
            continue;
        }
        let (kind, id) = text.split_at(at);
        let id = id.strip_prefix(':').unwrap_or(id);
        if kind.is_empty() || id.is_empty() {
            break;
        }
        return Ok(Named {
            kind: kind.to_owned(),
            id: id.to_owned(),
            properties: Map::new(),
        });
    }
    Err("it must be a type and an id, as `User:usr_...` or `thread:1`".to_owned())
}

impl Explain {
    pub(super) async fn run(self, app: &App, out: &Out) -> Outcome {
        let door = door(app, &self.org).await?;
        let question = Question {
            subject: self.subject,
            action: self.action,
            action_properties: Map::new(),
            resource: self.resource,
            context: self.context.0,
        };
        let (explained, place) = door.explain(Asker::operator(), question).await?;
        let mut value = explained.to_json();
        value.insert("index".into(), place.index.into());
        value.insert("as_of".into(), place.as_of.into());
        out.say(&Value::Object(value), &explained.words.join("\n"))?;
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn a_type_may_have_a_namespace_and_an_id_may_have_colons() {
        for (text, kind, id) in [
            ("user:morty", "user", "morty"),
            ("Docs::Page:a:b", "Docs::Page", "a:b"),
            ("a::b::c:1", "a::b::c", "1"),
        ] {
            let named = named(text).unwrap();
            assert_eq!((named.kind.as_str(), named.id.as_str()), (kind, id));
        }
        for wrong in ["", "user", "user:", ":1", "a::b"] {
            named(wrong).unwrap_err();
        }
    }
}
