//! What is remembered of a lake.

use alloclog::lake::seen::{Seen, remembered_hours};
use alloclog::tables::Table;

const HOUR_NS: i64 = 3_600_000_000_000;

/// Identities are hashes: as good as random.
fn identity(row: u128) -> u128 {
    row.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

#[test]
fn what_is_known_is_kept_and_read_back() {
    let mut seen = Seen::after([(Table::TaskEvents, 10)]);
    seen.about.batch = 7;
    seen.about.batch_id = "x".into();
    for row in 0..200_000u128 {
        seen.add(Table::TaskEvents, identity(row), Some(20 * HOUR_NS), 20);
    }
    seen.add(Table::Nodes, 5, None, 20);
    let mut read = Seen::from_bytes(seen.to_bytes().unwrap()).unwrap();
    assert_eq!((read.about.batch, read.about.batch_id.as_str()), (7, "x"));
    assert!((0..200_000u128).all(|row| read.meet(Table::TaskEvents, identity(row), 21)));
    assert!(read.meet(Table::Nodes, 5, 21) && !read.meet(Table::Nodes, 6, 21));
    assert!(!read.would_know(Table::TaskEvents, Some(9 * HOUR_NS)));
    assert!(!read.would_know(Table::TaskEvents, None));
    assert!(read.would_know(Table::TaskEvents, Some(10 * HOUR_NS)));
    assert!(read.would_know(Table::Sightings, None), "a table without a horizon is known whole");
}

#[test]
fn what_is_damaged_is_not_taken_for_nothing() {
    let bytes = Seen::default().to_bytes().unwrap();
    assert!(Seen::from_bytes(bytes[..bytes.len() - 1].to_vec()).is_err());
    assert!(Seen::from_bytes(Vec::new()).is_err());
}

#[test]
fn what_is_old_and_not_met_is_forgotten_and_no_longer_vouched_for() {
    let table = Table::TaskEvents;
    let hours = remembered_hours(table);
    let mut seen = Seen::default();
    seen.add(table, 1, Some(HOUR_NS), 2); // old, and not met again
    seen.add(table, 2, Some(HOUR_NS), 2); // old, and met again
    seen.add(table, 3, Some(i64::from(hours) * HOUR_NS), 2); // of late, though it was met long ago
    assert!(seen.meet(table, 2, hours + 5));
    seen.forget(hours);
    assert!(seen.meet(table, 1, hours), "nothing is forgotten before its time");
    seen.forget(2 * hours + 1);
    assert!(!seen.meet(table, 1, 3 * hours));
    assert!(seen.meet(table, 2, hours + 5));
    assert!(!seen.would_know(table, Some(HOUR_NS)));
    assert!(seen.would_know(table, Some(3 * HOUR_NS * i64::from(hours))));
}
