//! AuthZEN's documents: what is read, what is refused, and how little an answer says.

use axum::http::{HeaderMap, HeaderValue};
use cedarkeep::config::BaseUrl;
use cedarkeep::http::authzen::wire::{
    Asked, Decision, Decisions, Detail, Determining, EXPANDED_LIMIT, Explained, ITEMS_LIMIT, Kind,
    Metadata, Question, Recorded, Semantic, evaluation, evaluations, header_detail, metadata_path,
};
use cedarkeep::http::json;
use cedarkeep::http::problem::Problem;
use serde_json::{Map, Value, json as j};

fn body(value: Value) -> Map<String, Value> {
    // Through the text, as it comes from a caller.
    json::object(value.to_string().as_bytes()).unwrap()
}

fn whole() -> Value {
    j!({
        "subject": {"type": "User", "id": "alice"},
        "action": {"name": "read"},
        "resource": {"type": "record", "id": "record-1"},
    })
}

/// The whole request with the member at this path replaced, or removed.
fn with(path: &[&str], value: Option<Value>) -> Map<String, Value> {
    let mut request = whole();
    let (last, above) = path.split_last().unwrap();
    let mut at = &mut request;
    for name in above {
        at = &mut at[*name];
    }
    let members = at.as_object_mut().unwrap();
    match value {
        Some(value) => members.insert((*last).to_owned(), value),
        None => members.remove(*last),
    };
    body(request)
}

fn one(request: Map<String, Value>) -> Result<Question, String> {
    // Both paths read it alike: a batch without items is one evaluation.
    let single = evaluation(request.clone()).map(|(question, _)| question);
    let batch = evaluations(request).map(|(asked, _)| match asked {
        Asked::One(question) => *question,
        Asked::Batch { .. } => panic!("no items, no batch"),
    });
    assert_eq!(single, batch);
    single.map_err(|problem| {
        assert_eq!(problem.status(), 400);
        problem.message().to_owned()
    })
}

fn batch(request: Value) -> (Vec<Result<Question, Problem>>, Semantic) {
    match evaluations(body(request)).unwrap().0 {
        Asked::Batch { items, semantic } => (items, semantic),
        Asked::One(_) => panic!("not a batch"),
    }
}

fn batch_refused(request: Value) -> String {
    let problem = evaluations(body(request)).unwrap_err();
    assert_eq!(problem.status(), 400);
    problem.message().to_owned()
}

#[test]
fn a_whole_request_is_read() {
    let mut request = whole();
    request["subject"]["properties"] = j!({"department": "Sales"});
    request["action"]["properties"] = j!({"soft": true});
    request["resource"]["properties"] = j!({"status": "archived", "deep": {"a": [1]}});
    request["context"] = j!({"time": "2025-06-27T18:03-07:00"});
    let question = one(body(request)).unwrap();
    assert_eq!(
        (question.subject.kind.as_str(), question.subject.id.as_str()),
        ("User", "alice")
    );
    assert_eq!(
        (
            question.resource.kind.as_str(),
            question.resource.id.as_str()
        ),
        ("record", "record-1")
    );
    assert_eq!(question.action.name, "read");
    assert_eq!(question.subject.properties["department"], "Sales");
    assert_eq!(question.action.properties["soft"], true);
    assert_eq!(question.resource.properties["deep"]["a"], j!([1]));
    assert_eq!(question.context["time"], "2025-06-27T18:03-07:00");
}

#[test]
fn trap_1_a_missing_or_mistyped_member_is_400_and_named() {
    for path in [
        &["subject"][..],
        &["action"],
        &["resource"],
        &["subject", "type"],
        &["subject", "id"],
        &["action", "name"],
        &["resource", "type"],
        &["resource", "id"],
    ] {
        let name = path.join(".");
        assert_eq!(
            one(with(path, None)).unwrap_err(),
            format!("`{name}` is missing")
        );
        for wrong in [j!(null), j!(7), j!([]), j!(true)] {
            let message = one(with(path, Some(wrong))).unwrap_err();
            assert!(
                message.starts_with(&format!("`{name}` must be a")),
                "{message}"
            );
        }
    }
    for path in [
        &["context"][..],
        &["subject", "properties"],
        &["action", "properties"],
        &["resource", "properties"],
    ] {
        for wrong in [j!(null), j!("x"), j!([])] {
            let message = one(with(path, Some(wrong))).unwrap_err();
            assert!(
                message.starts_with(&format!("`{}` must be an object", path.join("."))),
                "{message}"
            );
        }
    }
}

#[test]
fn trap_2_an_evaluation_needs_the_ids_that_a_search_would_ignore() {
    assert!(one(with(&["subject", "id"], None)).is_err());
    assert!(one(with(&["resource", "id"], None)).is_err());
}

#[test]
fn trap_4_and_5_unknown_members_and_any_context_are_nobodys_error() {
    let plain = one(body(whole())).unwrap();
    let mut request = whole();
    request["extra"] = j!({"a": 1});
    request["subject"]["extra"] = j!(1);
    request["action"]["extra"] = j!([]);
    request["resource"]["extra"] = j!(null);
    assert_eq!(one(body(request)).unwrap(), plain);
    let mut request = whole();
    request["context"] = j!({"time": "not a time", "ip": [1, {"x": null}], "": 0});
    let question = one(body(request)).unwrap();
    assert_eq!(
        Question {
            context: Map::new(),
            ..question
        },
        plain
    );
}

#[test]
fn names_are_bounded_and_seen() {
    for (wrong, says) in [
        (j!(""), "must not be empty"),
        (
            j!("a".repeat(1025)),
            "is 1025 bytes long, at most 1024 are taken",
        ),
        (
            j!("é".repeat(513)),
            "is 1026 bytes long, at most 1024 are taken",
        ),
        (j!("a\u{0}"), "must not hold the control character U+0000"),
        (j!("a\nb"), "must not hold the control character U+000A"),
        (j!("a\u{85}"), "must not hold the control character U+0085"),
        (
            j!("\u{202e}gpj.exe"),
            "must not hold the control character U+202E",
        ),
        (
            j!("a\u{2066}b"),
            "must not hold the control character U+2066",
        ),
        (
            j!("a\u{200f}"),
            "must not hold the control character U+200F",
        ),
    ] {
        for path in [
            ["subject", "type"],
            ["subject", "id"],
            ["action", "name"],
            ["resource", "type"],
            ["resource", "id"],
        ] {
            assert_eq!(
                one(with(&path, Some(wrong.clone()))).unwrap_err(),
                format!("`{}` {says}", path.join("."))
            );
        }
    }
    for right in [
        "a".repeat(1024),
        "Zoë 👩‍💻 عربي".to_owned(),
        " ".to_owned(),
        "a:b/c\"d\\".to_owned(),
    ] {
        assert_eq!(
            one(with(&["subject", "id"], Some(j!(right))))
                .unwrap()
                .subject
                .id,
            right
        );
    }
}

#[test]
fn an_empty_batch_is_one_evaluation() {
    let mut request = whole();
    request["evaluations"] = j!([]);
    assert!(matches!(
        evaluations(body(request)).unwrap().0,
        Asked::One(_)
    ));
    assert_eq!(
        batch_refused(j!({"evaluations": []})),
        "`subject` is missing"
    );
    assert_eq!(batch_refused(j!({})), "`subject` is missing");
}

#[test]
fn a_member_of_an_item_replaces_the_default_whole() {
    let mut request = whole();
    request["subject"]["properties"] = j!({"a": 1});
    request["context"] = j!({"top": 1});
    request["evaluations"] = j!([
        {},
        {"subject": {"type": "User", "id": "bob"}, "context": {"own": 2}},
        {"action": {"name": "write"}, "context": {}},
    ]);
    let (items, semantic) = batch(request);
    let items: Vec<Question> = items.into_iter().map(Result::unwrap).collect();
    assert_eq!(semantic, Semantic::ExecuteAll);
    assert_eq!(items[0].subject.properties["a"], 1);
    assert_eq!(items[0].context["top"], 1);
    assert_eq!(items[1].subject.id, "bob");
    assert!(
        items[1].subject.properties.is_empty(),
        "nothing of the default is left"
    );
    assert_eq!(items[1].context, *j!({"own": 2}).as_object().unwrap());
    assert_eq!(items[2].action.name, "write");
    assert!(items[2].context.is_empty());
}

#[test]
fn defaults_that_no_item_uses_may_be_anything() {
    let request = j!({
        "subject": {}, "resource": {}, "action": 7, "context": {},
        "evaluations": [whole(), whole()],
    });
    assert!(batch(request).0.iter().all(Result::is_ok));
}

#[test]
fn a_broken_item_is_its_own_answer_and_keeps_its_place() {
    let mut without = whole();
    without.as_object_mut().unwrap().remove("resource");
    let (items, _) = batch(
        j!({"evaluations": [whole(), without, 7, {"context": null}, whole()], "subject": {"id": "a"}}),
    );
    let messages: Vec<_> = items
        .iter()
        .map(|item| item.as_ref().err().map(Problem::message))
        .collect();
    assert_eq!(
        messages,
        [
            None,
            Some("`evaluations[1].resource` is missing"),
            Some("`evaluations[2]` must be an object"),
            Some("`evaluations[3].subject.type` is missing"),
            None,
        ]
    );
    let (items, _) = batch(j!({"evaluations": [{}], "context": {}}));
    assert_eq!(
        items[0].as_ref().unwrap_err().message(),
        "`evaluations[0].subject` is missing"
    );
}

#[test]
fn what_is_wrong_with_the_batch_itself_is_400() {
    for (evaluations, says) in [
        (j!(null), "`evaluations` must be an array"),
        (j!({}), "`evaluations` must be an array"),
    ] {
        assert_eq!(batch_refused(j!({"evaluations": evaluations})), says);
    }
    assert_eq!(
        batch_refused(j!({"evaluations": [{}], "options": 1})),
        "`options` must be an object"
    );
    for semantic in [
        j!("execute_some"),
        j!(""),
        j!("EXECUTE_ALL"),
        j!(1),
        j!(null),
    ] {
        let refused =
            batch_refused(j!({"evaluations": [{}], "options": {"evaluations_semantic": semantic}}));
        assert!(
            refused.starts_with("`options.evaluations_semantic` must be"),
            "{refused}"
        );
    }
}

#[test]
fn a_batch_ends_at_a_thousand_items_and_before_it_grows_in_here() {
    let of = |count: usize, context: &str| {
        let mut request = whole();
        request["context"] = j!({"big": context});
        request["evaluations"] = Value::Array(vec![j!({}); count]);
        request
    };
    assert_eq!(batch(of(ITEMS_LIMIT, "")).0.len(), ITEMS_LIMIT);
    assert_eq!(
        batch_refused(of(ITEMS_LIMIT + 1, "")),
        "`evaluations` has 1001 items, at most 1000 are taken"
    );
    let big = "x".repeat(EXPANDED_LIMIT / ITEMS_LIMIT);
    assert!(batch_refused(of(ITEMS_LIMIT, &big)).contains("send smaller batches"));
    assert_eq!(batch(of(ITEMS_LIMIT / 2, &big)).0.len(), ITEMS_LIMIT / 2);
}

#[test]
fn semantics_end_a_batch_where_the_text_says() {
    for (name, semantic, on_deny, on_permit) in [
        ("execute_all", Semantic::ExecuteAll, false, false),
        ("deny_on_first_deny", Semantic::DenyOnFirstDeny, true, false),
        (
            "permit_on_first_permit",
            Semantic::PermitOnFirstPermit,
            false,
            true,
        ),
    ] {
        let (_, read) =
            batch(j!({"evaluations": [{}], "options": {"evaluations_semantic": name, "other": 1}}));
        assert_eq!(read, semantic);
        assert_eq!(
            (read.ends_after(false), read.ends_after(true)),
            (on_deny, on_permit),
            "{name}"
        );
    }
}

#[test]
fn detail_is_given_only_when_it_is_asked_for() {
    let detail = |options: Value| {
        let mut request = whole();
        request["options"] = options;
        let single = evaluation(body(request.clone())).map(|(_, detail)| detail);
        let batch = evaluations(body(request)).map(|(_, detail)| detail);
        assert_eq!(single, batch);
        single.map_err(|problem| problem.message().to_owned())
    };
    assert_eq!(evaluation(body(whole())).unwrap().1, Detail::Minimal);
    assert_eq!(detail(j!({})), Ok(Detail::Minimal));
    assert_eq!(detail(j!({"explain": false, "x": 1})), Ok(Detail::Minimal));
    assert_eq!(detail(j!({"explain": true})), Ok(Detail::Explained));
    assert_eq!(
        detail(j!({"explain": "yes"})),
        Err("`options.explain` must be true or false".to_owned())
    );

    let header = |value: &'static [u8]| {
        let mut headers = HeaderMap::new();
        headers.insert("Cedarkeep-Explain", HeaderValue::from_bytes(value).unwrap());
        header_detail(&headers).ok()
    };
    assert_eq!(
        (header(b"true"), header(b"True")),
        (Some(Detail::Explained), Some(Detail::Explained))
    );
    assert_eq!(
        (header(b"false"), header(b"1"), header(b"\xff")),
        (Some(Detail::Minimal), None, None)
    );
    assert_eq!(header_detail(&HeaderMap::new()), Ok(Detail::Minimal));
    assert!(Detail::Explained > Detail::Minimal);
}

#[test]
fn options_of_one_evaluation_that_are_not_ours_are_not_looked_at() {
    let mut request = whole();
    request["options"] = j!("anything");
    assert!(evaluation(body(request)).is_ok());
}

fn text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

#[test]
fn an_answer_says_no_more_than_the_decision() {
    assert_eq!(text(&Decision::minimal(true)), r#"{"decision":true}"#);
    assert_eq!(text(&Decision::minimal(false)), r#"{"decision":false}"#);
    let batch = Decisions {
        evaluations: vec![Decision::minimal(true), Decision::minimal(false)],
    };
    assert_eq!(
        text(&batch),
        r#"{"evaluations":[{"decision":true},{"decision":false}]}"#
    );
}

#[test]
fn a_broken_item_is_a_deny_with_its_error() {
    let failed = Decision::failed(&Problem::Malformed(
        "`evaluations[1].resource` is missing".to_owned(),
    ));
    assert!(!failed.decision());
    assert_eq!(
        text(&failed),
        r#"{"decision":false,"context":{"error":{"status":400,"message":"`evaluations[1].resource` is missing"}}}"#
    );
}

#[test]
fn an_explained_answer_names_policies_and_its_place_in_the_log() {
    let why = |kind| Explained {
        kind,
        policies: vec![
            Determining {
                id: "guardrail.archived".to_owned(),
                reason: Some("archived".to_owned()),
            },
            Determining {
                id: "own".to_owned(),
                reason: None,
            },
        ],
        log: Recorded {
            log: "cedarkeep.local/t/x/1".to_owned(),
            index: 7,
            as_of: 3,
            leaf_hash: "AAAA".to_owned(),
            checkpoint_size: 8,
        },
    };
    let rest = concat!(
        r#""policies":[{"id":"guardrail.archived","reason":"archived"},{"id":"own"}],"#,
        r#""log":{"log":"cedarkeep.local/t/x/1","index":7,"as_of":3,"leaf_hash":"AAAA","checkpoint_size":8}}}"#
    );
    let deny = text(&Decision::explained(false, why(Some(Kind::NotPermitted))));
    assert_eq!(
        deny,
        format!(r#"{{"decision":false,"context":{{"kind":"not_permitted",{rest}"#)
    );
    let permit = text(&Decision::explained(true, why(None)));
    assert_eq!(permit, format!(r#"{{"decision":true,"context":{{{rest}"#));
    assert_eq!(
        [Kind::Forbidden, Kind::Error, Kind::PlanRequired].map(|kind| text(&kind)),
        [r#""forbidden""#, r#""error""#, r#""plan_required""#]
    );
}

#[test]
fn trap_7_metadata_is_built_from_the_configured_url_alone() {
    let base = BaseUrl::try_from("https://pdp.example.com/".to_owned()).unwrap();
    assert_eq!(
        text(&Metadata::of(&base)),
        concat!(
            r#"{"policy_decision_point":"https://pdp.example.com","#,
            r#""access_evaluation_endpoint":"https://pdp.example.com/access/v1/evaluation","#,
            r#""access_evaluations_endpoint":"https://pdp.example.com/access/v1/evaluations","#,
            r#""search_subject_endpoint":"https://pdp.example.com/access/v1/search/subject","#,
            r#""search_resource_endpoint":"https://pdp.example.com/access/v1/search/resource","#,
            r#""search_action_endpoint":"https://pdp.example.com/access/v1/search/action"}"#
        )
    );
    assert_eq!(metadata_path(&base), "/.well-known/authzen-configuration");
    let below = BaseUrl::try_from("https://example.com/pdp".to_owned()).unwrap();
    assert_eq!(
        metadata_path(&below),
        "/.well-known/authzen-configuration/pdp"
    );
}
