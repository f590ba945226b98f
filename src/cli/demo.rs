//! The demo organization: made once, by decisions like anybody's, and three calls to try.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Outcome;
use super::api_key::key;
use super::org::{create, join};
use super::print::Out;
use crate::app::App;
use crate::crypto;
use crate::decide::authorized::{
    AgentCreate, AssistantCreate, DocumentUpload, IntegrationConnect, MemoryWrite,
    ProjectAddMember, ProjectCreate, PromptTemplateCreate, TeamAddMember, TeamCreate, ThreadCreate,
    ThreadShare, ToolCreate,
};
use crate::decide::{Acting, Asker, Caller, Door, Named, Question, Refused, Until};
use crate::directory::circle::{self, CircleIds, Place};
use crate::directory::expiry::End;
use crate::directory::integration::{self, Connection};
use crate::directory::made::{self, Audience, Creates, New};
use crate::directory::object::{Level, Plan, Role, Scope};
use crate::directory::share::{self, Grant};
use crate::directory::{Kind, Object, Ref, memory};

type Failed = Box<dyn std::error::Error + Send + Sync>;

const SLUG: &str = "demo";

/// Everything that a key may be used for: this is a demo.
const SCOPES: &[Scope] = Scope::ALL;

/// Makes the demo at the first start; says the calls to try.
pub(super) async fn greet(app: &Arc<App>, out: &Out, ca: Option<&Path>) -> Outcome {
    if app.control().find(&SLUG.parse()?).await?.is_some() {
        out.say(
            &json!({ "demo": SLUG, "made": false }),
            "the demo organization is there already; its key was shown when it was made, and\n\
             `cedarkeep key create demo --name again` makes another",
        )?;
        return Ok(());
    }
    let id = create(app, SLUG, ("Cedarkeep Demo", Plan::Enterprise), "").await?;
    let door = app.door(id).await?;
    let made = Demo::make(&door).await?;
    let base = app.config().http.base_url.as_str();
    let trust = ca
        .map(|ca| format!("--cacert {} ", ca.display()))
        .unwrap_or_default();
    let bearer = format!("-H 'Authorization: Bearer {}'", made.key);
    let ask = |subject: Ref, action: &str, resource: Ref| {
        let body = json!({
            "subject": { "type": "User", "id": subject.to_string() }, "action": { "name": action },
            "resource": { "type": resource.kind.name(), "id": resource.to_string() },
        });
        format!(
            "curl -sS {trust}{base}/access/v1/evaluation \\\n  {bearer} \\\n  -H 'Content-Type: application/json' \
             -H 'Cedarkeep-Explain: true' \\\n  -d '{body}'"
        )
    };
    let receipt = format!(
        "curl -sS {trust}{base}/v1/audit/receipts/{} \\\n  {bearer} \\\n  -H 'Cedarkeep-Acting-User: {}'",
        made.receipt, made.admin
    );
    let allow = ask(made.member, "thread.read", made.thread);
    let deny = ask(made.viewer, "thread.post", made.thread);
    out.say(
        &json!({ "demo": SLUG, "made": true, "api": base, "ca": ca, "key": made.key, "allow": allow, "deny": deny, "receipt": receipt }),
        &format!(
            "\nmade the demo organization `{SLUG}`\n\nAPI:     {base}\nCA:      {}\nAPI key: {} (shown once)\n\n\
             # Mia, a Member, may read the thread that was shared with her\n{allow}\n\n\
             # Vic, a Viewer, may not post to it; the answer says why\n{deny}\n\n\
             # the receipt of a decision, which anybody can verify offline\n{receipt}\n",
            ca.map_or_else(|| "the system's".to_owned(), |ca| ca.display().to_string()),
            made.key,
        ),
    )?;
    Ok(())
}

/// What the calls to try are about.
struct Demo {
    key: String,
    admin: Ref,
    member: Ref,
    viewer: Ref,
    thread: Ref,
    receipt: u64,
}

/// A key that acts for somebody.
struct As<'a> {
    door: &'a Door,
    key: Ref,
    service: Ref,
}

impl As<'_> {
    fn user(&self, user: Ref) -> Asker {
        let acting = Some(Acting { user, agent: None });
        Asker {
            caller: Caller::Key {
                key: self.key,
                service: self.service,
                acting,
            },
            request_id: None,
            client: None,
            purpose: None,
        }
    }

    async fn circle<A: circle::CreatesCircle>(
        &self,
        by: Ref,
        parent: Ref,
        name: &'static str,
    ) -> Result<Ref, Failed> {
        let ids = CircleIds {
            circle: crypto::random()?,
            members: crypto::random()?,
            leads: crypto::random()?,
        };
        let made = Ref::new(A::KIND, ids.circle);
        self.door
            .change::<A>(
                self.user(by),
                parent,
                Map::new(),
                None,
                move |by, snapshot| circle::create_circle(by, snapshot, ids, name),
            )
            .await?;
        Ok(made)
    }

    async fn add<A: circle::AddsMember>(&self, by: Ref, to: Ref, user: Ref) -> Result<(), Failed> {
        self.door
            .change::<A>(self.user(by), to, Map::new(), None, move |by, snapshot| {
                circle::add_member(by, snapshot, user, Place::Member)
            })
            .await?;
        Ok(())
    }

    async fn make<A: Creates>(
        &self,
        by: Ref,
        parent: Ref,
        name: &str,
        audience: Audience,
    ) -> Result<Ref, Failed> {
        let new = New {
            id: crypto::random()?,
            agent: crypto::random()?,
            name: name.into(),
            audience,
        };
        let made = Ref::new(A::KIND, new.id);
        self.door
            .change::<A>(
                self.user(by),
                parent,
                Map::new(),
                None,
                move |by, snapshot| made::create(by, snapshot, &new),
            )
            .await?;
        Ok(made)
    }

    async fn share(&self, by: Ref, thread: Ref, grantee: Ref, level: Level) -> Result<(), Failed> {
        let (id, grant) = (
            crypto::random()?,
            Grant {
                grantee,
                level,
                until: End::Never,
            },
        );
        let member = match grantee.kind {
            Kind::Group => "grantee_group",
            Kind::AgentDefinition => "grantee_agent",
            _ => "grantee",
        };
        let context =
            object(json!({ member: { "type": grantee.kind.name(), "id": grantee.to_string() } }));
        self.door
            .change::<ThreadShare>(self.user(by), thread, context, None, move |by, snapshot| {
                share::share(by, snapshot, id, &grant)
            })
            .await?;
        Ok(())
    }

    async fn remember(&self, by: Ref, at: Ref, name: &'static str) -> Result<(), Failed> {
        let id = crypto::random()?;
        self.door
            .change::<MemoryWrite>(self.user(by), at, Map::new(), None, move |by, snapshot| {
                memory::write_new(by, snapshot, id, name)
            })
            .await?;
        Ok(())
    }

    async fn connect(
        &self,
        by: Ref,
        name: &str,
        provider: &str,
        audience: Audience,
    ) -> Result<(), Failed> {
        let org = Ref::new(Kind::Organization, *self.door.store().id().bytes());
        let connection = Connection {
            id: crypto::random()?,
            name: name.into(),
            provider: provider.into(),
            audience,
        };
        self.door
            .change::<IntegrationConnect>(
                self.user(by),
                org,
                Map::new(),
                None,
                move |by, snapshot| integration::connect(by, snapshot, &connection),
            )
            .await?;
        Ok(())
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

impl Demo {
    async fn make(door: &Door) -> Result<Self, Failed> {
        let org = Ref::new(Kind::Organization, *door.store().id().bytes());
        let (key_ref, shown) = key(door, "demo back end", SCOPES, None).await?;
        let admin = join(door, "Ada Admin", "ada@demo.example", Role::Admin).await?;
        let member = join(door, "Mia Member", "mia@demo.example", Role::Member).await?;
        let other = join(door, "Max Member", "max@demo.example", Role::Member).await?;
        let viewer = join(door, "Vic Viewer", "vic@demo.example", Role::Viewer).await?;
        let world = door.glance();
        let service = match world.snapshot().object(key_ref).map(|stored| &stored.value) {
            Some(Object::ApiKey(stored)) => stored.service,
            _ => return Err("the demo's key is not there".into()),
        };
        let everybody = Audience::Members(world.snapshot().organization()?.members);
        let act = As {
            door,
            key: key_ref,
            service,
        };

        let team = act.circle::<TeamCreate>(admin, org, "Research").await?;
        for user in [member, other] {
            act.add::<TeamAddMember>(admin, team, user).await?;
        }
        let project = act.circle::<ProjectCreate>(other, team, "Launch").await?;
        act.add::<ProjectAddMember>(other, project, member).await?;
        let thread = act
            .make::<ThreadCreate>(other, project, "Launch plan", Audience::Private)
            .await?;
        let open = act
            .make::<ThreadCreate>(member, org, "Welcome", everybody)
            .await?;
        act.share(other, thread, member, Level::Editor).await?;
        act.share(other, thread, viewer, Level::Viewer).await?;
        act.make::<DocumentUpload>(member, thread, "Budget", Audience::Private)
            .await?;
        act.make::<PromptTemplateCreate>(member, org, "Summary", everybody)
            .await?;
        act.make::<ToolCreate>(member, org, "Calculator", everybody)
            .await?;
        act.make::<AssistantCreate>(other, team, "Researcher", Audience::Private)
            .await?;
        let agent = act
            .make::<AgentCreate>(other, team, "Reader", Audience::Private)
            .await?;
        act.share(other, thread, agent, Level::Viewer).await?;
        act.remember(member, thread, "What was agreed").await?;
        act.remember(member, project, "Terms of the project")
            .await?;
        act.remember(member, team, "How the team works").await?;
        act.remember(member, member, "What Mia prefers").await?;
        act.remember(admin, org, "Who we are").await?;
        act.connect(admin, "Calendar", "calendar", everybody)
            .await?;
        act.connect(admin, "Payroll", "payroll", Audience::Private)
            .await?;

        let asker = Asker {
            caller: Caller::Key {
                key: key_ref,
                service,
                acting: None,
            },
            request_id: None,
            client: None,
            purpose: None,
        };
        let question = Question {
            subject: Named::of(viewer),
            action: "thread.read".into(),
            action_properties: Map::new(),
            resource: Named::of(open),
            context: Map::new(),
        };
        let answers = door.answers(asker, vec![question], Until::All).await?;
        let answer = answers.into_iter().next().ok_or(Refused::Unavailable)??;
        let receipt = answer.recorded().index;
        Ok(Self {
            key: shown.expose().to_owned(),
            admin,
            member,
            viewer,
            thread,
            receipt,
        })
    }
}
