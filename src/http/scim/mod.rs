//! SCIM 2.0 (RFC 7643, RFC 7644): the customer's directory makes, changes and removes people and groups.

mod discovery;
mod filter;
mod groups;
mod page;
mod patch;
mod query;
mod schema;
pub(in crate::http) mod setup;
mod users;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Map, Value};
use url::form_urlencoded;

use self::patch::Patch;
use self::query::Query;
use self::schema::{GROUPS, PEOPLE, Resource};
use super::caller::{self, Brought, From};
use super::json;
use super::page as answers;
use super::problem::{Problem, Scim};
use super::refused::{self, is_about_the_caller};
use crate::app::App;
use crate::authn;
use crate::authn::token::{Token, Use};
use crate::crypto;
use crate::decide::authorized::{MemberRemove, ProvisioningRead};
use crate::decide::{Asker, Caller, Door, Permitted, Refused};
use crate::directory::scim::{self as kept, Misfit};
use crate::directory::{
    Body, Change, DirectoryError, Kind, Object, Ref, Row, RowId, Snapshot, people,
};
use crate::ids::TenantId;
use crate::log::Event;

/// Where it is.
pub(super) const PREFIX: &str = "/scim/v2";

/// Its routes: their description is the protocol's, and its own `Schemas`.
pub(super) fn routes() -> Router<Arc<App>> {
    let routes = Router::new()
        .route("/ServiceProviderConfig", get(config))
        .route("/ResourceTypes", get(types))
        .route("/ResourceTypes/{id}", get(one_type))
        .route("/Schemas", get(schemas))
        .route("/Schemas/{id}", get(one_schema))
        .route("/.search", post(search_all))
        .route("/Users", get(list_users).post(create_user))
        .route("/Users/.search", post(search_users))
        .route(
            "/Users/{id}",
            get(read_user)
                .put(replace_user)
                .patch(patch_user)
                .delete(delete_user),
        )
        .route("/Groups", get(list_groups).post(create_group))
        .route("/Groups/.search", post(search_groups))
        .route(
            "/Groups/{id}",
            get(read_group)
                .put(replace_group)
                .patch(patch_group)
                .delete(delete_group),
        );
    Router::new().nest(PREFIX, routes)
}

/// One call of a directory.
struct Ask {
    app: Arc<App>,
    door: Arc<Door>,
    asker: Asker,
    id: Option<String>,
    parameters: Vec<(String, String)>,
}

impl FromRequestParts<Arc<App>> for Ask {
    type Rejection = Scim;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Scim> {
        let (door, asker) = authenticate(app, parts).await?;
        let raw = RawPathParams::from_request_parts(parts, app).await;
        let raw = raw.map_err(|_| Problem::NotFound)?;
        let id = raw.iter().find(|(name, _)| *name == "id");
        let query = parts.uri.query().unwrap_or_default();
        Ok(Self {
            app: Arc::clone(app),
            door,
            asker,
            id: id.map(|(_, id)| id.to_owned()),
            parameters: form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
        })
    }
}

async fn authenticate(app: &App, parts: &Parts) -> Result<(Arc<Door>, Asker), Problem> {
    let from = From::of(&parts.extensions)?;
    let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(Problem::NoCredential)?;
    if values.next().is_some() {
        return Err(Problem::BadCredential);
    }
    let text = value.to_str().map_err(|_| Problem::BadCredential)?;
    let (scheme, token) = text.split_once(' ').ok_or(Problem::BadCredential)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Problem::NoCredential);
    }
    // A token that is none costs nothing: neither a look-up nor an entry.
    let token = Token::parse(Use::Scim, token.trim()).ok_or(Problem::BadCredential)?;
    let door = caller::organization(app, TenantId::new(token.tenant())).await?;
    let brought = Brought::of(app, from, &door, (Use::Scim.word(), token.id()));
    brought.admit()?;
    let now = chrono::Utc::now();
    let look = |snapshot: &Snapshot| authn::directory_of(snapshot, &token, now);
    match caller::found(&door, look).await? {
        Ok((token, service)) => {
            door.touch(token, now);
            let asker = from.asker(Caller::Directory { token, service });
            Ok((door, asker))
        }
        Err(why) => Err(brought.refuse(Event::ApiKeyRejected, why).await?),
    }
}

/// The body of a request: one object.
struct Sent(Map<String, Value>);

impl FromRequest<Arc<App>> for Sent {
    type Rejection = Scim;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Scim> {
        let read = json::body_of_scim(request, app.config().http.request_timeout()).await;
        read.map(Self).map_err(|problem| match problem {
            Problem::Malformed(_) => Scim::of(problem, kept::Kind::InvalidSyntax.word()),
            problem => problem.into(),
        })
    }
}

impl std::convert::From<Misfit> for Scim {
    fn from(misfit: Misfit) -> Self {
        Self::of(Problem::Malformed(misfit.why), misfit.kind.word())
    }
}

/// What a directory is told when it is refused.
fn told(refused: Refused) -> Scim {
    match refused {
        Refused::Directory(error) => of_directory(error),
        Refused::Denied(judgement, at) => {
            let is_last = judgement
                .determining
                .iter()
                .any(|one| one.id.starts_with("last_admin."));
            let problem = refused::problem(Refused::Denied(judgement, at));
            match is_last {
                true => Scim::of(
                    Problem::Malformed(problem.message().to_owned()),
                    kept::Kind::Mutability.word(),
                ),
                false => problem.into(),
            }
        }
        refused => refused::problem(refused).into(),
    }
}

fn of_directory(error: DirectoryError) -> Scim {
    let kind = match &error {
        DirectoryError::Misfit(misfit) => Some(misfit.kind),
        DirectoryError::Taken { .. } => Some(kept::Kind::Uniqueness),
        // RFC 7644, section 3.12: this goes with 400.
        DirectoryError::LastAdmin { .. } | DirectoryError::BreaksGlass { .. } => {
            let why = Problem::Malformed(error.to_string());
            return Scim::of(why, kept::Kind::Mutability.word());
        }
        DirectoryError::Invalid { .. } => Some(kept::Kind::InvalidValue),
        _ => None,
    };
    let problem = refused::problem(Refused::Directory(error));
    match kind {
        Some(kind) => Scim::of(problem, kind.word()),
        None => problem.into(),
    }
}

/// What somebody is to be, on the state that they are changed on.
type Wish<T> = Arc<dyn Fn(&Snapshot) -> Result<T, DirectoryError> + Send + Sync>;

impl Ask {
    /// Where everything is, as a directory reaches it.
    fn base(&self) -> String {
        format!("{}{PREFIX}", self.app.config().http.base_url.as_str())
    }

    fn org(&self) -> Ref {
        Ref::new(Kind::Organization, *self.door.store().id().bytes())
    }

    fn named(&self, kind: Kind) -> Result<Ref, Scim> {
        let id = self.id.as_deref().and_then(|id| Ref::of(kind, id));
        id.ok_or_else(|| Problem::NotFound.into())
    }

    /// Decides a reading.
    async fn read(&self, resource: Ref) -> Result<Permitted<ProvisioningRead>, Scim> {
        let asker = self.asker.clone();
        match self
            .door
            .permit::<ProvisioningRead>(asker, resource, Map::new())
            .await
        {
            Err(Refused::Denied(judgement, _))
                if resource.kind == Kind::User && !is_about_the_caller(&judgement) =>
            {
                Err(Problem::NotFound.into())
            }
            asked => asked.map_err(told),
        }
    }

    fn shape(&self) -> Result<query::Shape, Scim> {
        Ok(Query::of_parameters(&self.parameters)?.shape)
    }

    /// One resource, as much of it as is asked for.
    fn one(
        &self,
        resource: &'static Resource,
        whole: Map<String, Value>,
    ) -> Result<Response, Scim> {
        let shown = self.shape()?.of(resource, whole);
        Ok(answers::of_scim(&Value::Object(shown), None))
    }

    fn made(&self, resource: &'static Resource, reply: Value) -> Result<Response, Scim> {
        let whole = match reply {
            Value::Object(whole) => whole,
            _ => Map::new(),
        };
        let place = whole.get("meta").and_then(|meta| meta.get("location"));
        let place = place.and_then(Value::as_str).map(str::to_owned);
        let shown = self.shape()?.of(resource, whole);
        Ok(answers::of_scim(&Value::Object(shown), place))
    }

    /// Of what says something about the service itself, nothing is looked for.
    fn no_filter(&self) -> Result<(), Scim> {
        let asked = self
            .parameters
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("filter"));
        match asked {
            true => Err(Problem::Forbidden("this takes no filter".into()).into()),
            false => Ok(()),
        }
    }
}

async fn config(ask: Ask) -> Result<Response, Scim> {
    ask.no_filter()?;
    Ok(answers::of_scim(&discovery::config(&ask.base()), None))
}

async fn types(ask: Ask) -> Result<Response, Scim> {
    ask.no_filter()?;
    Ok(page::all(discovery::types(&ask.base())))
}

async fn schemas(ask: Ask) -> Result<Response, Scim> {
    ask.no_filter()?;
    Ok(page::all(discovery::schemas(&ask.base())))
}

async fn one_type(ask: Ask) -> Result<Response, Scim> {
    one_of(&ask, discovery::types(&ask.base()))
}

async fn one_schema(ask: Ask) -> Result<Response, Scim> {
    one_of(&ask, discovery::schemas(&ask.base()))
}

fn one_of(ask: &Ask, all: Vec<Value>) -> Result<Response, Scim> {
    let id = ask.id.as_deref();
    let is_it = |one: &Value| one.get("id").and_then(Value::as_str) == id;
    let found = all.into_iter().find(is_it).ok_or(Problem::NotFound)?;
    Ok(answers::of_scim(&found, None))
}

async fn list_users(ask: Ask) -> Result<Response, Scim> {
    let query = Query::of_parameters(&ask.parameters)?;
    listed(&ask, &[&PEOPLE], &query).await
}

async fn list_groups(ask: Ask) -> Result<Response, Scim> {
    let query = Query::of_parameters(&ask.parameters)?;
    listed(&ask, &[&GROUPS], &query).await
}

async fn search_users(ask: Ask, Sent(body): Sent) -> Result<Response, Scim> {
    listed(&ask, &[&PEOPLE], &Query::of_body(&body)?).await
}

async fn search_groups(ask: Ask, Sent(body): Sent) -> Result<Response, Scim> {
    listed(&ask, &[&GROUPS], &Query::of_body(&body)?).await
}

async fn search_all(ask: Ask, Sent(body): Sent) -> Result<Response, Scim> {
    listed(&ask, &[&PEOPLE, &GROUPS], &Query::of_body(&body)?).await
}

async fn listed(
    ask: &Ask,
    resources: &[&'static Resource],
    query: &Query,
) -> Result<Response, Scim> {
    let permitted = ask.read(ask.org()).await?;
    Ok(page::found(
        permitted.snapshot(),
        &ask.base(),
        resources,
        query,
    ))
}

async fn read_user(ask: Ask) -> Result<Response, Scim> {
    let user = ask.named(Kind::User)?;
    let permitted = ask.read(user).await?;
    let snapshot = permitted.snapshot();
    let found = snapshot.user(user).ok_or(Problem::NotFound)?;
    ask.one(&PEOPLE, users::shown(&ask.base(), user, found, snapshot))
}

async fn create_user(ask: Ask, Sent(body): Sent) -> Result<Response, Scim> {
    ask.shape()?;
    let wanted = users::wanted(&PEOPLE.read(&body)?)?;
    let id = crypto::random().map_err(|_| Problem::Internal)?;
    let (base, user) = (ask.base(), Ref::new(Kind::User, id));
    let changed = ask
        .door
        .provision(
            ask.asker.clone(),
            |snapshot| Ok(kept::people::new_needs(snapshot)),
            move |allowed, snapshot| {
                let change = kept::people::create(allowed, snapshot, (id, &wanted))?;
                Ok(with_user(change, &base, user, snapshot))
            },
        )
        .await
        .map_err(told)?;
    ask.made(&PEOPLE, changed.reply)
}

async fn replace_user(ask: Ask, Sent(body): Sent) -> Result<Response, Scim> {
    let wanted = users::wanted(&PEOPLE.read(&body)?)?;
    edit_user(&ask, Arc::new(move |_| Ok(wanted.clone()))).await
}

async fn patch_user(ask: Ask, Sent(body): Sent) -> Result<Response, Scim> {
    let user = ask.named(Kind::User)?;
    let patch = Patch::read(&PEOPLE, &body)?;
    let base = ask.base();
    let wish = move |snapshot: &Snapshot| {
        let found = snapshot.user(user).ok_or_else(|| absent(user))?;
        let now = PEOPLE.read(&users::shown(&base, user, found, snapshot))?;
        Ok(users::wanted(&patch.applied(now)?)?)
    };
    edit_user(&ask, Arc::new(wish)).await
}

async fn edit_user(ask: &Ask, wish: Wish<kept::people::Wanted>) -> Result<Response, Scim> {
    ask.shape()?;
    let (base, user) = (ask.base(), ask.named(Kind::User)?);
    let permitted = ask.read(user).await?;
    let snapshot = permitted.snapshot();
    let found = snapshot.user(user).ok_or(Problem::NotFound)?;
    let wanted = wish(snapshot).map_err(of_directory)?;
    // What changes nothing is answered and leaves no entry of a change.
    if kept::people::is_so(snapshot, user, &wanted).map_err(of_directory)? {
        return ask.one(&PEOPLE, users::shown(&base, user, found, snapshot));
    }
    let needed = Arc::clone(&wish);
    let changed = ask
        .door
        .provision(
            ask.asker.clone(),
            move |snapshot| kept::people::needs(snapshot, user, &needed(snapshot)?),
            move |allowed, snapshot| {
                let wanted = wish(snapshot)?;
                let change = kept::people::change(allowed, snapshot, (user, &wanted))?;
                Ok(with_user(change, &base, user, snapshot))
            },
        )
        .await
        .map_err(told)?;
    match changed.reply {
        Value::Object(whole) => ask.one(&PEOPLE, whole),
        _ => Err(Problem::Internal.into()),
    }
}

async fn delete_user(ask: Ask) -> Result<Response, Scim> {
    let user = ask.named(Kind::User)?;
    let permitted = ask.read(user).await?;
    permitted.snapshot().user(user).ok_or(Problem::NotFound)?;
    let changed = ask
        .door
        .change::<MemberRemove>(ask.asker.clone(), user, Map::new(), None, people::remove)
        .await
        .map_err(told)?;
    Ok(answers::gone(&changed))
}

/// A change with the person as they are from then on for its reply.
fn with_user(change: Change, base: &str, user: Ref, snapshot: &Snapshot) -> Change {
    let shown = change.rows.iter().find_map(|row| match row {
        Row::Put(RowId::Object(one), Body::Object(Object::User(person))) if *one == user => {
            Some(users::shown(base, user, person, snapshot))
        }
        _ => None,
    });
    change.reply(Value::Object(shown.unwrap_or_default()))
}

fn absent(reference: Ref) -> DirectoryError {
    DirectoryError::NotFound {
        kind: reference.kind.name(),
        id: reference.to_string(),
    }
}

async fn read_group(ask: Ask) -> Result<Response, Scim> {
    let group = ask.named(Kind::Group)?;
    let permitted = ask.read(ask.org()).await?;
    let snapshot = permitted.snapshot();
    let found = kept::directory_group(snapshot, group).ok_or(Problem::NotFound)?;
    let members = match ask.shape()?.shows("members") {
        true => groups::members(snapshot, &[group]).remove(&group),
        false => None,
    };
    let whole = groups::shown(&ask.base(), group, found, members.as_ref());
    ask.one(&GROUPS, whole)
}

async fn create_group(ask: Ask, Sent(body): Sent) -> Result<Response, Scim> {
    ask.shape()?;
    let wanted = groups::wanted(&GROUPS.read(&body)?)?;
    let id = crypto::random().map_err(|_| Problem::Internal)?;
    let reply = set_group(
        &ask,
        Ref::new(Kind::Group, id),
        Arc::new(move |_| Ok(wanted.clone())),
    )
    .await?;
    ask.made(&GROUPS, reply)
}

async fn replace_group(ask: Ask, Sent(body): Sent) -> Result<Response, Scim> {
    let wanted = groups::wanted(&GROUPS.read(&body)?)?;
    edit_group(&ask, Arc::new(move |_| Ok(wanted.clone()))).await
}

async fn patch_group(ask: Ask, Sent(body): Sent) -> Result<Response, Scim> {
    let group = ask.named(Kind::Group)?;
    let patch = Patch::read(&GROUPS, &body)?;
    let base = ask.base();
    let wish = move |snapshot: &Snapshot| {
        let found = kept::directory_group(snapshot, group).ok_or_else(|| absent(group))?;
        let members = groups::members(snapshot, &[group]).remove(&group);
        let now = GROUPS.read(&groups::shown(&base, group, found, members.as_ref()))?;
        Ok(groups::wanted(&patch.applied(now)?)?)
    };
    edit_group(&ask, Arc::new(wish)).await
}

async fn edit_group(ask: &Ask, wish: Wish<kept::groups::Wanted>) -> Result<Response, Scim> {
    ask.shape()?;
    let group = ask.named(Kind::Group)?;
    let permitted = ask.read(ask.org()).await?;
    let snapshot = permitted.snapshot();
    kept::directory_group(snapshot, group).ok_or(Problem::NotFound)?;
    let wanted = wish(snapshot).map_err(of_directory)?;
    if kept::groups::is_so(snapshot, group, &wanted).map_err(of_directory)? {
        let whole = groups::shown(&ask.base(), group, &wanted.group, Some(&wanted.members));
        return ask.one(&GROUPS, whole);
    }
    match set_group(ask, group, wish).await? {
        Value::Object(whole) => ask.one(&GROUPS, whole),
        _ => Err(Problem::Internal.into()),
    }
}

async fn set_group(ask: &Ask, group: Ref, wish: Wish<kept::groups::Wanted>) -> Result<Value, Scim> {
    let (base, needed) = (ask.base(), Arc::clone(&wish));
    let changed = ask
        .door
        .provision(
            ask.asker.clone(),
            move |snapshot| kept::groups::needs(snapshot, group, Some(&needed(snapshot)?)),
            move |allowed, snapshot| {
                let wanted = wish(snapshot)?;
                let change = kept::groups::change(allowed, snapshot, (group, Some(&wanted)))?;
                let shown = groups::shown(&base, group, &wanted.group, Some(&wanted.members));
                Ok(change.reply(Value::Object(shown)))
            },
        )
        .await;
    Ok(changed.map_err(told)?.reply)
}

async fn delete_group(ask: Ask) -> Result<Response, Scim> {
    let group = ask.named(Kind::Group)?;
    let permitted = ask.read(ask.org()).await?;
    kept::directory_group(permitted.snapshot(), group).ok_or(Problem::NotFound)?;
    let changed = ask
        .door
        .provision(
            ask.asker.clone(),
            move |snapshot| kept::groups::needs(snapshot, group, None),
            move |allowed, snapshot| kept::groups::change(allowed, snapshot, (group, None)),
        )
        .await
        .map_err(told)?;
    Ok(answers::gone(&changed))
}
