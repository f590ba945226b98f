//! Why an answer is what it is, asked by the operator at the machine.

use serde_json::Value;

use crate::harness::server::Site;

/// Morty of the todo scenario, who is an editor.
const MORTY: &str = "user:CiRmZDE2MTRkMy1jMzlhLTQ3ODEtYjdiZC04Yjk2ZjVhNTEwMGQSBWxvY2Fs";

#[test]
fn the_operator_is_told_why_in_words_and_in_json() {
    let site = Site::sqlite();
    site.create_todo_org("todo");
    let ask = |action: &str, more: &[&str]| {
        let mut arguments = vec!["explain", "todo", "--subject", MORTY, "--action", action];
        arguments.extend(["--resource", "todo:1"]);
        arguments.extend(more);
        site.done(&arguments)
    };
    let words = ask("can_create_todo", &[]);
    assert!(
        words.contains("may do “can_create_todo” to this todo."),
        "{words}"
    );
    assert!(
        words.contains("Editors and admins may create todos"),
        "{words}"
    );
    assert!(words.contains("is in the role editor."), "{words}");
    let words = ask("can_update_todo", &[]);
    assert!(words.contains("nothing permits it."), "{words}");
    assert!(
        words.contains("“Editors may change and delete their own todos” would permit it, but this todo has no ownerID"),
        "{words}"
    );
    let told: Value = serde_json::from_str(&ask("can_update_todo", &["--json"])).unwrap();
    assert_eq!(told["outcome"], "not_permitted");
    assert_eq!(told["why"][0]["near_misses"][0]["id"], "todo.own");
    let told: Value = serde_json::from_str(&ask(
        "can_create_todo",
        &["--json", "--context", "{\"a\": 1}"],
    ))
    .unwrap();
    assert_eq!(
        told["why"][0]["because"]["memberships"][0]["parent"]["id"],
        "editor"
    );
    // Each is an entry.
    let log = site.done(&[
        "audit",
        "query",
        "todo",
        "--event",
        "decision.made",
        "--json",
    ]);
    assert_eq!(log.matches("\"explanation\"").count(), 4, "{log}");
    site.verify("todo");
    for (arguments, why) in [
        (
            vec![
                "--subject",
                "morty",
                "--action",
                "a",
                "--resource",
                "todo:1",
            ],
            "a type and an id",
        ),
        (
            vec![
                "--subject",
                MORTY,
                "--action",
                "fly",
                "--resource",
                "todo:1",
            ],
            "no action `fly`",
        ),
        (
            vec![
                "--subject",
                MORTY,
                "--action",
                "can_create_todo",
                "--resource",
                "todo:1",
                "--context",
                "[]",
            ],
            "a JSON object",
        ),
    ] {
        let mut all = vec!["explain", "todo"];
        all.extend(arguments);
        let refused = site.refused(&all);
        assert!(refused.contains(why), "{refused}");
    }
    let help = site.done(&["explain", "--help"]);
    assert!(
        help.contains("--subject <TYPE:ID>") && help.contains("Examples:"),
        "{help}"
    );
}
