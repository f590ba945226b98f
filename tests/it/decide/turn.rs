//! Turns: who is alone has all, who is not has a part, waiting is in order, those that ask little first, and nobody who gives up takes a
//! turn along.

use std::sync::Arc;
use std::time::Duration;

use cedarkeep::decide::Refused;
use cedarkeep::decide::turn::{Turn, Turns};
use cedarkeep::ids::TenantId;

const PATIENCE: Duration = Duration::from_millis(500);

/// Two tenants that have both asked, on two processors: 16 questions are under way for both.
async fn two() -> (Arc<Turn>, Arc<Turn>) {
    two_where_wait(4).await
}

/// The same where so many may wait.
async fn two_where_wait(waiting: usize) -> (Arc<Turn>, Arc<Turn>) {
    let turns = Turns::new(2, waiting);
    let [one, other] = [1, 2].map(|id| turns.of(TenantId::new([id; 16])));
    // Who is active is counted every tenth of a second.
    for _ in 0..2 {
        for turn in [&one, &other] {
            drop(turn.take(1, PATIENCE).await.unwrap());
        }
        tokio::time::sleep(Duration::from_millis(120)).await;
    }
    drop(one.take(1, PATIENCE).await.unwrap());
    (one, other)
}

#[tokio::test]
async fn who_is_alone_has_all_of_the_node() {
    let turns = Turns::new(1, 4);
    let turn = turns.of(TenantId::new([1; 16]));
    let mut taken = Vec::new();
    for _ in 0..5_000 {
        taken.push(turn.take(1, PATIENCE).await.unwrap());
    }
}

#[tokio::test]
async fn beyond_its_part_a_tenant_waits_and_another_does_not() {
    let (one, other) = two().await;
    let mut taken = Vec::new();
    for _ in 0..16 {
        taken.push(one.take(1, PATIENCE).await.unwrap());
    }
    let waits = tokio::spawn({
        let one = Arc::clone(&one);
        async move { one.take(1, PATIENCE).await.map(drop) }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waits.is_finished());
    drop(other.take(1, PATIENCE).await.unwrap());
    taken.pop();
    waits.await.unwrap().unwrap();
}

#[tokio::test]
async fn waiting_is_in_order_and_ends_with_patience() {
    let (one, _other) = two().await;
    // A call of more questions than a part is alone.
    let all = one.take(1_000, PATIENCE).await.unwrap();
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    for number in 0..4 {
        let (one, order) = (Arc::clone(&one), Arc::clone(&order));
        waiting.push(tokio::spawn(async move {
            let turn = one.take(10, PATIENCE).await;
            order.lock().unwrap().push(number);
            turn.map(drop)
        }));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // No more than four may wait.
    assert!(matches!(one.take(1, PATIENCE).await, Err(Refused::Busy)));
    drop(all);
    for one in waiting {
        one.await.unwrap().unwrap();
    }
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3]);

    let all = one.take(16, PATIENCE).await.unwrap();
    assert!(matches!(one.take(1, PATIENCE).await, Err(Refused::Busy)));
    drop(all);
    drop(one.take(16, PATIENCE).await.unwrap());
}

#[tokio::test]
async fn who_gives_up_takes_no_turn_along() {
    let (one, _other) = two().await;
    for _ in 0..100 {
        let all = one.take(16, PATIENCE).await.unwrap();
        let gives_up = tokio::spawn({
            let one = Arc::clone(&one);
            async move { one.take(16, PATIENCE).await.map(drop) }
        });
        tokio::task::yield_now().await;
        gives_up.abort();
        drop(all);
    }
    drop(one.take(16, PATIENCE).await.unwrap());
}

#[tokio::test]
async fn what_asks_much_is_bounded_by_its_questions_and_what_asks_little_is_not() {
    let turns = Turns::new(1, 8_192);
    let turn = turns.of(TenantId::new([1; 16]));
    for _ in 0..8 {
        drop(turn.take(1_000, PATIENCE).await.unwrap());
    }
    let mut under_way = Vec::new();
    for _ in 0..8 {
        under_way.push(turn.take(1_000, PATIENCE).await.unwrap());
    }
    // As many questions as this may be under way, and four times as many under way and waiting.
    let mut waiting = Vec::new();
    for _ in 0..24 {
        let turn = Arc::clone(&turn);
        waiting.push(tokio::spawn(async move {
            turn.take(1_000, 20 * PATIENCE).await.map(drop)
        }));
        tokio::task::yield_now().await;
    }
    let now = Duration::ZERO;
    assert!(matches!(turn.take(1_000, now).await, Err(Refused::Busy)));
    drop(turn.take(1, now).await.unwrap());
    drop(under_way);
    for one in waiting {
        one.await.unwrap().unwrap();
    }
    // A call that asks more than all that is left is alone.
    drop(turn.take(100_000, now).await.unwrap());
}

#[tokio::test]
async fn who_asks_little_is_ahead_of_who_asks_much() {
    let (one, _other) = two_where_wait(1_000).await;
    let all = one.take(1_000, PATIENCE).await.unwrap();
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut waiting = Vec::new();
    for weight in [100, 16, 200, 1] {
        let (one, order) = (Arc::clone(&one), Arc::clone(&order));
        waiting.push(tokio::spawn(async move {
            let turn = one.take(weight, PATIENCE).await;
            order.lock().unwrap().push(weight);
            turn.map(drop)
        }));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(all);
    for one in waiting {
        one.await.unwrap().unwrap();
    }
    assert_eq!(*order.lock().unwrap(), [16, 1, 100, 200]);
}

#[tokio::test]
async fn what_takes_too_long_is_less_at_a_time_until_it_does_not() {
    let turns = Turns::new(1, 8_192);
    let turn = turns.of(TenantId::new([1; 16]));
    let (none, long) = (Duration::ZERO, Duration::from_secs(60));
    let room = async || {
        let mut taken = Vec::new();
        while let Ok(one) = turn.take(1_000, none).await {
            taken.push(one);
        }
        taken
    };
    // One after the other, until it is known how long they take.
    drop(turn.take(1_000, long).await.unwrap());
    assert_eq!(room().await.len(), 2);
    for _ in 0..8 {
        drop(turn.take(1_000, long).await.unwrap());
    }
    // Whatever they take is longer than no patience.
    let mut sizes = Vec::new();
    for _ in 0..5 {
        sizes.push(room().await.len());
    }
    assert_eq!(sizes, [8, 4, 2, 1, 1]);
}

#[tokio::test]
async fn who_asks_much_waits_for_no_gap_between_those_who_ask_little() {
    let (one, _other) = two_where_wait(1_000).await;
    // Somebody who asks little is under way at any moment.
    let mut under_way = one.take(1, PATIENCE).await.unwrap();
    let much = tokio::spawn({
        let one = Arc::clone(&one);
        async move { one.take(100, PATIENCE).await.map(drop) }
    });
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let next = one.take(1, PATIENCE).await.unwrap();
        drop(std::mem::replace(&mut under_way, next));
    }
    much.await.unwrap().unwrap();
}
