use ropewalk_scoring::{ScoringLimits, router};

use crate::world::{Answered, host, post_json};

/// The runtime has one thread, so that the second request comes while the first is read: off that thread, since it is
/// long.
#[tokio::test]
async fn tables_beyond_the_memory_that_there_is_are_refused_until_others_are_answered() {
    let long = format!("{}{{\"x\": [3, 1, 2]}}", " ".repeat(70_000));
    let router = router(host(&["m=matrix"]).await, ScoringLimits { table_bytes: 4 << 20, ..ScoringLimits::default() });
    let ask = || post_json(&router, "/predict/m", long.clone());
    let (first, second) = tokio::join!(ask(), ask());
    assert_eq!(first.status, 200, "{}", first.text);
    let refusal = second.refusal(503, "TEMPORARILY_UNAVAILABLE");
    assert!(refusal.starts_with("tables that are being scored take up the 4194304 bytes"), "{refusal}");
    assert_eq!(second.headers["retry-after"], "1");
    let Answered { status, text, .. } = ask().await;
    assert_eq!(status, 200, "what was answered gave its room back: {text}");
}
