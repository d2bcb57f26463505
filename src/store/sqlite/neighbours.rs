//! What stands next to the place in an index where something was looked for in vain: whether that can be
//! believed.
//!
//! A search goes wrong where it compares with a damaged entry, or where an entry is not in its place, and it
//! ends beside that one. So if the next two entries on either side are in order, and say the same as the rows that
//! they lead to, nothing was missed for one damaged entry. Not noticed by this: a whole page of an index that is
//! passed over, and damage to where a page says its entries stand.

use rusqlite::Row;

use super::super::Error;

/// The next two entries on one side, with what their rows say; of the index alone for the inner query.
macro_rules! side {
    ($before:literal, $columns:literal, $keys:literal, $table:literal, $same:literal, $where:literal, $order:literal) => {
        concat!(
            "SELECT ",
            $before,
            ", coalesce(t.",
            $same,
            ", 0), ",
            $keys,
            " FROM (SELECT id, ",
            $columns,
            " FROM ",
            $table,
            " WHERE ",
            $where,
            " ORDER BY ",
            $order,
            " LIMIT 2) n LEFT JOIN ",
            $table,
            " t ON t.id = n.id"
        )
    };
}

/// Next to the name `?1` of a mailbox: before it, behind it, or in its very place. Nearest first, on each side.
/// Fewer at the ends.
pub(in crate::store) const OF_NAME: &str = concat!(
    side!(
        "1",
        "name",
        "n.name",
        "mailbox",
        "name = n.name",
        "name <= ?1 AND removed IS NULL",
        "name DESC"
    ),
    " UNION ALL ",
    side!(
        "0",
        "name",
        "n.name",
        "mailbox",
        "name = n.name",
        "name >= ?1 AND removed IS NULL",
        "name"
    ),
);

/// Next to the tag `?2` among those of the mailbox `?1`, a name that was found.
pub(in crate::store) const OF_TAG: &str = concat!(
    side!(
        "1",
        "mailbox_id, tag",
        "n.mailbox_id, n.tag",
        "secret",
        "mailbox_id = n.mailbox_id AND t.tag = n.tag",
        "(mailbox_id, tag) <= (SELECT coalesce(max(id), -1), ?2 FROM mailbox
            WHERE name = ?1 AND removed IS NULL) AND tag IS NOT NULL",
        "mailbox_id DESC, tag DESC"
    ),
    " UNION ALL ",
    side!(
        "0",
        "mailbox_id, tag",
        "n.mailbox_id, n.tag",
        "secret",
        "mailbox_id = n.mailbox_id AND t.tag = n.tag",
        "(mailbox_id, tag) >= (SELECT coalesce(max(id), -1), ?2 FROM mailbox
            WHERE name = ?1 AND removed IS NULL) AND tag IS NOT NULL",
        "mailbox_id, tag"
    ),
);

/// An entry of an index.
#[derive(Debug)]
pub(in crate::store) struct Neighbour<K> {
    is_before: bool,
    /// Its row says the same.
    is_whole: bool,
    key: K,
}

/// A row of [`OF_NAME`].
pub(in crate::store) fn of_name(row: &Row<'_>) -> Result<Neighbour<String>, Error> {
    neighbour(row, row.get(2))
}

/// A row of [`OF_TAG`].
pub(in crate::store) fn of_tag(row: &Row<'_>) -> Result<Neighbour<(i64, i64)>, Error> {
    let key = row.get(2).and_then(|mailbox| Ok((mailbox, row.get(3)?)));
    neighbour(row, key)
}

fn neighbour<K>(row: &Row<'_>, key: rusqlite::Result<K>) -> Result<Neighbour<K>, Error> {
    let damaged = |_| Error::undecodable("an index");
    Ok(Neighbour {
        is_before: row.get(0).map_err(damaged)?,
        is_whole: row.get(1).map_err(damaged)?,
        key: key.map_err(damaged)?,
    })
}

/// Whether nothing was missed beside these.
pub(in crate::store) fn are_whole<K: Ord>(neighbours: &[Neighbour<K>]) -> bool {
    let in_order = |pair: &[Neighbour<K>]| match pair {
        [nearer, farther] if nearer.is_before == farther.is_before => match nearer.is_before {
            true => nearer.key > farther.key,
            false => nearer.key < farther.key,
        },
        _ => true,
    };
    neighbours.iter().all(|neighbour| neighbour.is_whole) && neighbours.windows(2).all(in_order)
}
