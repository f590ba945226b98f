//! Explanations of generated answers against the answers themselves and Cedar's own authorizer: what is told to hold does, what is told not
//! to does not, and what is told to be enough is.
//!
//! `PROVE=1` makes it 600 sets of policies instead of 8; `SEED=n` repeats a run.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use cedar_policy::{Authorizer, Decision, Entities, Entity, EntityUid, PolicySet};
use cedarkeep::policy::{
    Compiled, CompiledLink, Determining, Explanation, Library, Link, NEAR_MOST, Part, Question,
    Sight, Step, Truth, Type, Uid, Way, evaluate, explain,
};

use super::generator::{Maker, TEMPLATES, World};
use super::slice::Slice;
use super::world::now;
use crate::harness::chance::Chance;

const REQUESTS: usize = 60;

/// Everything may be seen.
pub const ALL: Sight<'static> = Sight {
    sees: &|_, _| true,
    named: &|uid| uid.id(),
};

fn sets() -> usize {
    match std::env::var_os("PROVE") {
        Some(_) => 600,
        None => 8,
    }
}

/// How often what was met.
#[derive(Debug, Default)]
struct Met {
    allowed: usize,
    by_links: usize,
    steps: usize,
    near: usize,
    errors: usize,
    false_parts: usize,
    true_parts: usize,
    forbidden: usize,
}

/// A generated world, and what Cedar is asked with.
struct Scene {
    library: Arc<Library>,
    compiled: Compiled,
    world: World,
    texts: BTreeMap<String, String>,
    links: Vec<CompiledLink>,
    entities: Vec<Entity>,
    all: Entities,
    slice: Slice,
}

impl Scene {
    fn new(maker: &mut Maker) -> Self {
        let world = World::new(maker);
        let entities = world.entities(maker);
        let mut texts = BTreeMap::new();
        for number in 0..(2 + maker.below(30)) {
            let id = format!("p{number}");
            texts.insert(id.clone(), world.policy(maker, &id, false));
        }
        for template in TEMPLATES {
            texts.insert(template.to_owned(), world.policy(maker, template, true));
        }
        let text: String = texts.values().map(String::as_str).collect();
        let library = Library::compile(&world.schema, &[("generated.cedar", text.as_str())]);
        let library = Arc::new(library.unwrap_or_else(|error| panic!("{error}\n{text}")));
        let links = (0..maker.below(12)).map(|number| {
            let grantee = maker.one(&["User", "Group"]);
            let ((kind, id), (of, on)) = (maker.uid(grantee), maker.uid("Thread"));
            let link = Link {
                id: format!("l{number}"),
                template: maker.one(&TEMPLATES).into(),
                principal: Uid::new(Type::named(&kind), &id),
                resource: Uid::new(Type::named(&of), &on),
                expires_at: maker.often(3).then(now),
            };
            library.link(link).unwrap()
        });
        let links: Vec<CompiledLink> = links.collect();
        let actions = library.schema().action_entities().unwrap();
        let all = entities.iter().chain(actions.iter()).cloned();
        Self {
            all: Entities::from_entities(all, None).unwrap(),
            slice: Slice::of(&entities),
            compiled: Compiled::builtin(&library),
            library,
            world,
            texts,
            links,
            entities,
        }
    }

    /// Whether Cedar says that a condition by itself holds.
    fn holds(&self, question: &Question, condition: &str) -> bool {
        let policy = format!("permit(principal, action, resource) when {{ {condition} }};");
        let policy: PolicySet = policy
            .parse()
            .unwrap_or_else(|error| panic!("{error}: {condition}"));
        let request = question.to_cedar().unwrap();
        let response = Authorizer::new().is_authorized(&request, &policy, &self.all);
        response.decision() == Decision::Allow
    }

    /// The entities with these memberships and no others.
    fn with_only(&self, steps: &[Step]) -> Slice {
        let cedar = |uid: &Uid| -> EntityUid { uid.to_cedar().unwrap() };
        let entities = self.entities.iter().map(|entity| {
            let uid = entity.uid();
            let parents = steps.iter().filter(|step| cedar(&step.child) == uid);
            let parents: HashSet<EntityUid> = parents.map(|step| cedar(&step.parent)).collect();
            let (uid, attributes, _) = entity.clone().into_inner();
            Entity::new(uid, attributes.into_iter().collect(), parents).unwrap()
        });
        Slice::of(&entities.collect::<Vec<_>>())
    }

    /// One of the policies alone, with its link.
    fn alone(&self, policy: &Determining) -> (Compiled, Vec<CompiledLink>) {
        let text = &self.texts[&*policy.id];
        let library = Library::compile(&self.world.schema, &[("alone.cedar", text.as_str())]);
        let library = Arc::new(library.unwrap());
        let links = self.links.iter().map(CompiledLink::link);
        let links = links.filter(|link| Some(&link.id) == policy.link.as_ref());
        let links: Vec<CompiledLink> = links
            .map(|link| library.link(link.clone()).unwrap())
            .collect();
        assert_eq!(links.len(), usize::from(policy.link.is_some()));
        (Compiled::builtin(&library), links)
    }

    fn check(&self, question: &Question, met: &mut Met) {
        let explanation = explain(&self.compiled, &self.links, &self.slice, question, ALL);
        let evaluation = evaluate(&self.compiled, &self.links, &self.slice, question);
        assert_eq!(explanation.evaluation, evaluation);
        assert_eq!(explanation.way.is_some(), evaluation.is_allowed());
        if let Some(way) = &explanation.way {
            assert!(evaluation.determining.contains(&way.told.policy));
            self.is_enough(question, way, met);
            // The others would do as well, each with memberships of its own.
            let others = evaluation.determining.iter();
            let others = others.filter(|one| **one != way.told.policy);
            for other in others
                .filter(|one| self.texts[&*one.id].contains(" in "))
                .take(3)
            {
                let (compiled, links) = self.alone(other);
                let alone = explain(&compiled, &links, &self.slice, question, ALL);
                self.is_enough(question, &alone.way.unwrap(), met);
            }
        }
        self.check_refusal(question, &explanation, met);
    }

    /// The policy of a way gives the same with its memberships and no others.
    fn is_enough(&self, question: &Question, way: &Way, met: &mut Met) {
        let (compiled, links) = self.alone(&way.told.policy);
        for slice in [&self.slice, &self.with_only(&way.steps)] {
            let evaluation = evaluate(&compiled, &links, slice, question);
            assert!(
                evaluation.is_allowed(),
                "{way:#?}\n{}",
                self.texts[&*way.told.policy.id]
            );
        }
        met.allowed += 1;
        met.by_links += usize::from(way.linked.is_some());
        met.steps += way.steps.len();
        self.check_parts(question, &way.told.parts, met);
    }

    fn check_refusal(&self, question: &Question, explanation: &Explanation, met: &mut Met) {
        let evaluation = &explanation.evaluation;
        let forbids: BTreeSet<_> = explanation
            .forbids
            .iter()
            .map(|one| &one.policy.id)
            .collect();
        let refusing = evaluation.determining.iter();
        let refusing: BTreeSet<_> = refusing
            .filter(|_| !evaluation.is_allowed())
            .map(|one| &one.id)
            .collect();
        assert_eq!(forbids, refusing);
        met.forbidden += usize::from(!forbids.is_empty());
        for told in &explanation.forbids {
            assert!(told.parts.iter().all(|part| part.truth == Truth::True));
            self.check_parts(question, &told.parts, met);
        }
        assert_eq!(explanation.failed.len(), evaluation.failures.len());
        for told in &explanation.failed {
            // Which part it was is always known.
            assert!(
                told.parts
                    .iter()
                    .any(|part| matches!(&part.truth, Truth::Failed(Some(why)) if !why.is_empty())),
                "{told:?}\n{}",
                self.texts[&*told.policy.id]
            );
            self.check_parts(question, &told.parts, met);
            met.errors += 1;
        }
        assert!(explanation.near.len() <= NEAR_MOST);
        assert!(explanation.left_off == 0 || explanation.near.len() == NEAR_MOST);
        let mut before = 0;
        for miss in &explanation.near {
            let against = miss.parts.len() + usize::from(miss.expired_at.is_some());
            assert!(against >= before.max(1), "{miss:?}");
            before = against;
            self.check_parts(question, &miss.parts, met);
            met.near += 1;
        }
    }

    /// Each part says of itself what Cedar says of it.
    fn check_parts(&self, question: &Question, parts: &[Part], met: &mut Met) {
        for part in parts {
            let text = part.text.as_deref().unwrap();
            let expected = part.truth == Truth::True;
            assert_eq!(self.holds(question, text), expected, "{part:#?}");
            assert!(!part.words.is_empty());
            match expected {
                true => met.true_parts += 1,
                false => met.false_parts += 1,
            }
        }
    }
}

#[test]
fn an_explanation_is_of_the_answer_and_true_in_every_part() {
    let mut chance = Chance::of_this_run("explained policies");
    let mut met = Met::default();
    for _ in 0..sets() {
        let mut maker = Maker {
            chance: chance.another(),
            pointed: false,
        };
        maker.pointed = maker.often(3);
        let scene = Scene::new(&mut maker);
        for _ in 0..REQUESTS {
            let question = scene
                .world
                .question(&mut maker, &scene.library, &scene.links);
            scene.check(&question, &mut met);
        }
    }
    println!("{} sets: {met:?}", sets());
    let counts = [
        met.allowed,
        met.near,
        met.errors,
        met.false_parts,
        met.true_parts,
        met.forbidden,
    ];
    assert!(counts.iter().all(|count| *count > 0), "{met:?}");
}
