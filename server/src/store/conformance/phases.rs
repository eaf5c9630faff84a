//! Cases about what only grows: materialised positions, ranks, results, heartbeats.

use bytes::Bytes;

use super::{chunk, done, item, lane, live, register, writer};
use crate::domain::jeu::JeuId;
use crate::domain::phase::{Phase, Rank};
use crate::store::{MAX_NUMBER, PhaseRow, Store};

/// W3 is a max-register.
pub async fn materialised_only_grows(store: &dyn Store) {
    let (of, id) = (item(1, 1), lane(1, 0));
    register(store, of, id).await;
    register(store, of, lane(1, 1)).await;
    for (value, expected) in [(5, 5), (3, 5), (5, 5), (6, 6), (0, 6), (1 << 40, 1 << 40)] {
        done("advance", store.advance_materialised(of, id, value).await);
        let mut rows = done("lanes", store.lanes(of).await);
        rows.sort_by_key(|row| row.id);
        let progress: Vec<_> = rows.iter().map(|row| row.materialised).collect();
        assert_eq!(progress, [expected, 0]);
    }
}

/// W4 is a max-register.
pub async fn a_rank_only_grows(store: &dyn Store) {
    let of = item(1, 1);
    let reopened = Rank::new(1, Phase::Open);
    let raises = [
        (Rank::new(0, Phase::Open), Rank::new(0, Phase::Open)),
        (Rank::new(0, Phase::Pending), Rank::new(0, Phase::Open)),
        (reopened, reopened),
        (Rank::new(0, Phase::Final), reopened),
        (reopened, reopened),
        (Rank(MAX_NUMBER), Rank(MAX_NUMBER)),
    ];
    for (raised, expected) in raises {
        done("raise_rank", store.raise_rank(of, raised).await);
        assert_eq!(done("ranks", store.ranks(of.live).await), [PhaseRow { jeu: of.jeu, rank: expected }]);
    }
}

/// R3 reads one live.
pub async fn ranks_come_in_order_of_jeu_and_of_one_live(store: &dyn Store) {
    for jeu in [3, 1, u32::MAX, 2] {
        done("raise_rank", store.raise_rank(item(1, jeu), Rank(u64::from(jeu))).await);
    }
    done("raise_rank", store.raise_rank(item(2, 9), Rank(9)).await);
    let expected = [1, 2, 3, u32::MAX].map(|jeu| PhaseRow { jeu: JeuId(jeu), rank: Rank(u64::from(jeu)) });
    assert_eq!(done("ranks", store.ranks(live(1)).await), expected);
}

/// Two pods may finalise the same jeu; one result is the result.
pub async fn the_first_result_of_an_epoch_stays(store: &dyn Store) {
    let of = item(1, 1);
    for body in ["first", "second", "first"] {
        done("put_result", store.put_result(of, 0, chunk(body)).await);
    }
    done("put_result", store.put_result(of, 1, Bytes::new()).await);
    done("put_result", store.put_result(item(1, 2), 0, chunk("other")).await);
    assert_eq!(done("result", store.result(of, 0).await), Some(chunk("first")));
    assert_eq!(done("result", store.result(of, 1).await), Some(Bytes::new()));
    assert_eq!(done("result", store.result(of, 2).await), None);
    assert_eq!(done("result", store.result(item(1, 2), 0).await), Some(chunk("other")));
}

/// The last heartbeat of each writer, of one live.
pub async fn heartbeats_replace_each_other_per_writer_and_live(store: &dyn Store) {
    for (of_live, of_writer, body) in [(1, 1, "a"), (1, 2, "b"), (2, 1, "c"), (1, 1, "d")] {
        done("beat", store.beat(live(of_live), writer(of_writer), chunk(body)).await);
    }
    let mut beats = done("heartbeats", store.heartbeats(live(1)).await);
    beats.sort_by_key(|(of, _)| *of);
    assert_eq!(beats, [(writer(1), chunk("d")), (writer(2), chunk("b"))]);
    assert_eq!(done("heartbeats", store.heartbeats(live(2)).await), [(writer(1), chunk("c"))]);
}
