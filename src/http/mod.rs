//! The edge: every route in one list, and what every request meets before and after its handler.

mod accepting;
mod access;
mod access_requests;
mod api_keys;
mod attempts;
mod audit;
pub mod authzen;
mod body;
mod call;
pub mod caller;
mod circles;
mod connections;
mod content;
mod cookies;
mod document;
mod events;
mod explaining;
mod export;
mod fields;
mod follow;
mod hello;
mod import;
mod incoming;
mod integrations;
mod invitations;
pub mod json;
mod keeping;
mod lines;
mod linger;
mod made;
mod memory;
mod messages;
mod organization;
mod own;
mod page;
mod people;
mod places;
mod policies;
pub mod problem;
mod refused;
pub mod request_id;
mod runs;
mod scim;
mod searching;
pub mod serve;
mod sessions;
mod shares;
mod shown;
mod signed_in;
mod signin;
pub mod sso;
mod streams;
mod system;
mod takeout;
pub mod tls;

use std::sync::Arc;

use axum::routing::get;
use axum::{Extension, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::router::UtoipaMethodRouterExt as _;
use utoipa_axum::routes;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{Uri, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};

use crate::app::App;
use attempts::Attempts;
use problem::{Plain, Problem, Scim};

/// Every route that is documented: the one list.
fn documented(attempts: Extension<Arc<Attempts>>) -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(document::without_calls())
        .routes(routes!(access::one))
        .routes(routes!(access::several))
        .routes(routes!(searching::subject))
        .routes(routes!(searching::resource))
        .routes(routes!(searching::action))
        .routes(routes!(access::metadata))
        .routes(routes!(explaining::explain))
        .routes(routes!(audit::receipt))
        .routes(routes!(audit::checkpoint))
        .routes(routes!(audit::entries))
        .routes(routes!(audit::consistency))
        .routes(routes!(audit::anchor))
        .routes(routes!(events::report))
        .routes(routes!(follow::follow))
        .routes(routes!(keeping::rotate))
        .routes(routes!(keeping::rotate_key))
        .routes(routes!(keeping::retention))
        .routes(routes!(keeping::hold))
        .routes(routes!(keeping::release))
        .routes(routes!(keeping::close, keeping::call_off))
        .routes(routes!(takeout::person))
        .routes(routes!(takeout::organization))
        .routes(routes!(takeout::request, takeout::withdraw))
        .routes(routes!(takeout::approve))
        .routes(routes!(keeping::erase))
        .routes(routes!(export::export))
        .routes(routes!(export::tile))
        .routes(routes!(organization::read, organization::update))
        .routes(routes!(people::create, people::list))
        .routes(routes!(people::read, people::update, people::delete))
        .routes(routes!(sessions::whoami, sessions::sign_out))
        .routes(routes!(sessions::list, sessions::revoke_all))
        .routes(routes!(sessions::revoke))
        .routes(routes!(sso::settings))
        .routes(routes!(sso::sessions))
        .routes(routes!(sso::enforce, sso::relax))
        .routes(routes!(sso::claim))
        .routes(routes!(sso::disclaim))
        .routes(routes!(sso::verify))
        .routes(routes!(sso::create, sso::list))
        .routes(routes!(sso::one, sso::update, sso::delete))
        .routes(routes!(sso::test))
        .routes(routes!(scim::setup::read, scim::setup::configure))
        .routes(routes!(scim::setup::create_token, scim::setup::list_tokens))
        .routes(routes!(scim::setup::delete_token))
        .routes(routes!(scim::setup::list_groups))
        .routes(routes!(sso::preview))
        .routes(routes!(import::import))
        .routes(routes!(invitations::create, invitations::list))
        .routes(routes!(invitations::read, invitations::delete))
        .routes(routes!(invitations::resend))
        .routes(routes!(invitations::accept).layer(attempts))
        .routes(routes!(circles::teams::create, circles::teams::list))
        .routes(routes!(circles::teams::read, circles::teams::delete))
        .routes(routes!(circles::teams::add))
        .routes(routes!(circles::teams::remove))
        .routes(routes!(circles::projects::create, circles::projects::list))
        .routes(routes!(circles::projects::read, circles::projects::delete))
        .routes(routes!(circles::projects::add))
        .routes(routes!(circles::projects::remove))
        .routes(routes!(made::threads::create, made::threads::list))
        .routes(routes!(
            made::threads::read,
            made::threads::update,
            made::threads::delete
        ))
        .routes(routes!(made::documents::create, made::documents::list))
        .routes(routes!(
            made::documents::read,
            made::documents::update,
            made::documents::delete
        ))
        .routes(routes!(
            made::prompt_templates::create,
            made::prompt_templates::list
        ))
        .routes(routes!(
            made::prompt_templates::read,
            made::prompt_templates::update,
            made::prompt_templates::delete
        ))
        .routes(routes!(made::tools::create, made::tools::list))
        .routes(routes!(
            made::tools::read,
            made::tools::update,
            made::tools::delete
        ))
        .routes(routes!(made::assistants::create, made::assistants::list))
        .routes(routes!(
            made::assistants::read,
            made::assistants::update,
            made::assistants::delete
        ))
        .routes(routes!(made::agents::create, made::agents::list))
        .routes(routes!(
            made::agents::read,
            made::agents::update,
            made::agents::delete
        ))
        .routes(routes!(
            content::documents::put,
            content::documents::get,
            content::documents::head,
            content::documents::delete
        ))
        .routes(routes!(content::documents::list))
        .routes(routes!(
            content::memory::put,
            content::memory::get,
            content::memory::head,
            content::memory::delete
        ))
        .routes(routes!(content::memory::list))
        .routes(routes!(
            content::prompt_templates::put,
            content::prompt_templates::get,
            content::prompt_templates::head,
            content::prompt_templates::delete
        ))
        .routes(routes!(content::prompt_templates::list))
        .routes(routes!(
            content::tools::put,
            content::tools::get,
            content::tools::head,
            content::tools::delete
        ))
        .routes(routes!(content::tools::list))
        .routes(routes!(
            content::assistants::put,
            content::assistants::get,
            content::assistants::head,
            content::assistants::delete
        ))
        .routes(routes!(content::assistants::list))
        .routes(routes!(
            content::agents::put,
            content::agents::get,
            content::agents::head,
            content::agents::delete
        ))
        .routes(routes!(content::agents::list))
        .routes(routes!(
            content::runs::put,
            content::runs::get,
            content::runs::head,
            content::runs::delete
        ))
        .routes(routes!(content::runs::list))
        .routes(routes!(runs::start))
        .routes(routes!(runs::start_named, runs::list))
        .routes(routes!(runs::read, runs::end))
        .routes(routes!(runs::cancel))
        .routes(routes!(runs::complete))
        .routes(routes!(runs::fail))
        .routes(routes!(memory::create, memory::list))
        .routes(routes!(memory::read, memory::update, memory::delete))
        .routes(routes!(integrations::create, integrations::list))
        .routes(routes!(integrations::read, integrations::delete))
        .routes(routes!(integrations::put_token))
        .routes(routes!(integrations::make_use))
        .routes(routes!(messages::post, messages::list))
        .routes(routes!(messages::read))
        .routes(routes!(shares::create, shares::list))
        .routes(routes!(shares::update, shares::delete))
        .routes(routes!(access_requests::create, access_requests::list))
        .routes(routes!(access_requests::read, access_requests::withdraw))
        .routes(routes!(access_requests::approve))
        .routes(routes!(access_requests::decline))
        .routes(routes!(api_keys::create, api_keys::list))
        .routes(routes!(api_keys::read, api_keys::delete))
        .routes(routes!(api_keys::rotate))
        .routes(routes!(policies::read, policies::replace).layer(policies::large()))
        .routes(routes!(policies::roll_back))
        .routes(
            routes!(policies::versions::create, policies::versions::list).layer(policies::large()),
        )
        .routes(routes!(
            policies::versions::read,
            policies::versions::discard
        ))
        .routes(routes!(policies::versions::difference))
        .routes(routes!(policies::checking::check))
        .routes(routes!(policies::versions::approve))
        .routes(routes!(policies::versions::activate))
        .routes(routes!(policies::rules::read, policies::rules::replace))
        .routes(routes!(policies::rules::approve))
        .routes(routes!(policies::replays::create).layer(policies::large()))
        .routes(routes!(policies::replays::check))
        .routes(routes!(
            policies::shadow::read,
            policies::shadow::replace,
            policies::shadow::end
        ))
        .routes(routes!(
            own::list_entities,
            own::write_entities,
            own::delete_entity
        ))
        .routes(routes!(system::health))
        .routes(routes!(system::ready))
}

/// The document at `/openapi.json`.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    plain(documented(Extension::default()).into_openapi())
}

/// The document as others read it: a rest of a path is written as any other part of one, since only our router tells them apart.
fn plain(mut document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    let paths = std::mem::take(&mut document.paths.paths);
    document.paths.paths = paths
        .into_iter()
        .map(|(path, item)| (path.replace("{*", "{"), item))
        .collect();
    document::finish(&mut document);
    document
}

/// The whole service as routes.
pub fn router(app: Arc<App>, counts: PrometheusHandle) -> Router {
    let attempts = Extension(Arc::new(Attempts::default()));
    let (routes, document) = documented(attempts.clone()).split_for_parts();
    // Whoever asks for it gets the same bytes: half a megabyte that nobody puts together twice.
    let document = plain(document).to_json().ok().map(Bytes::from);
    let metadata = authzen::wire::metadata_path(&app.config().http.base_url);
    let mut routes = routes
        .route("/openapi.json", get(async move || described(document)))
        .route("/metrics", get(system::counts).with_state(counts));
    routes = routes.merge(signin::routes(attempts));
    routes = routes.merge(scim::routes());
    if metadata != authzen::METADATA {
        // An identifier with a path has its metadata behind that path.
        routes = routes.route(&metadata, get(access::metadata));
    }
    let body_limit = app.config().http.body_limit;
    edge(routes.with_state(app), body_limit)
}

/// These routes with what all of them share: the body limit, `X-Request-ID`, nothing kept by a browser of who is signed in, and answers
/// of ours where no route or no method matches. Routes added to the result afterwards have none of it.
pub fn edge<S: Clone + Send + Sync + 'static>(routes: Router<S>, body_limit: usize) -> Router<S> {
    routes
        .fallback(async |uri: Uri| spoken(&uri, Problem::NotFound))
        .method_not_allowed_fallback(async |uri: Uri| spoken(&uri, Problem::MethodNotAllowed))
        .layer(DefaultBodyLimit::max(body_limit))
        .layer(from_fn(every))
}

/// What is done for every request: one layer, since each costs a request more than most of what it does.
async fn every(mut request: Request, next: Next) -> Response {
    let id = request_id::give(&mut request);
    let is_kept = !request.headers().contains_key(header::COOKIE);
    let mut response = next.run(request).await;
    id.send_back(response.headers_mut());
    if !is_kept {
        signed_in::keep_not(response.headers_mut());
    }
    response
}

/// The document that describes the API.
fn described(document: Option<Bytes>) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    match document {
        Some(document) => (json, document).into_response(),
        None => Problem::Internal.into_response(),
    }
}

/// A problem in the language of the calls under this path.
fn spoken(uri: &Uri, problem: Problem) -> Response {
    if uri.path().starts_with(authzen::PREFIX) {
        Plain(problem).into_response()
    } else if uri.path().starts_with(scim::PREFIX) {
        Scim::from(problem).into_response()
    } else {
        problem.into_response()
    }
}
