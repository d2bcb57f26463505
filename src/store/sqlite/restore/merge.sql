-- The backup (`main`) becomes what a restore leaves, told by the current database (`cur`), which is
-- empty where there is none that could tell.
--
-- Three sentences say it all. Whatever both have: the current database decides whether it is alive, and
-- how it is limited; labels and fields are the backup's. What only the backup has comes back, unless
-- what it hangs on has ended. What only the current database has stays as a row, so that the log, the
-- history and whoever tries it again find it, and has ended.
--
-- Triggers are off meanwhile, because rows that have ended come in; `RULES` in `merge.rs` looks afterwards
-- whether what they demand is true. Foreign keys, checks and unique indexes hold as ever. One row of
-- `temp.act` says when, by whom, through what, and from which day on nothing is revoked for its age
-- (`before`, or NULL).

-- Which row of the current database is which row here. Where one row is not known here, it keeps its
-- number if that is free, so that whoever follows the log is not told everything again.

CREATE TEMP TABLE mailbox_map (cur_id INTEGER PRIMARY KEY, id INTEGER NOT NULL UNIQUE, known INTEGER NOT NULL);
INSERT INTO mailbox_map
    SELECT c.id, b.id, 1 FROM cur.mailbox c
    JOIN main.mailbox b ON b.id = c.id AND b.name = c.name AND b.added = c.added;
INSERT INTO mailbox_map
    SELECT c.id, iif(EXISTS (SELECT 1 FROM main.mailbox b WHERE b.id = c.id),
        max((SELECT coalesce(max(id), 0) FROM main.mailbox), (SELECT max(id) FROM cur.mailbox))
            + row_number() OVER (ORDER BY c.id), c.id), 0
    FROM cur.mailbox c WHERE c.id NOT IN (SELECT cur_id FROM mailbox_map);

CREATE TEMP TABLE person_map (cur_id INTEGER PRIMARY KEY, id INTEGER NOT NULL UNIQUE, known INTEGER NOT NULL);
INSERT INTO person_map
    SELECT c.id, b.id, 1 FROM cur.person c
    JOIN main.person b ON b.id = c.id AND b.name = c.name AND b.added = c.added;
INSERT INTO person_map
    SELECT c.id, iif(EXISTS (SELECT 1 FROM main.person b WHERE b.id = c.id),
        max((SELECT coalesce(max(id), 0) FROM main.person), (SELECT max(id) FROM cur.person))
            + row_number() OVER (ORDER BY c.id), c.id), 0
    FROM cur.person c WHERE c.id NOT IN (SELECT cur_id FROM person_map);

CREATE TEMP TABLE access_map (cur_id INTEGER PRIMARY KEY, id INTEGER NOT NULL UNIQUE, known INTEGER NOT NULL);
INSERT INTO access_map
    SELECT c.id, b.id, 1 FROM cur.access c JOIN main.access b ON b.public_id = c.public_id;
INSERT INTO access_map
    SELECT c.id, iif(EXISTS (SELECT 1 FROM main.access b WHERE b.id = c.id),
        max((SELECT coalesce(max(id), 0) FROM main.access), (SELECT max(id) FROM cur.access))
            + row_number() OVER (ORDER BY c.id), c.id), 0
    FROM cur.access c WHERE c.id NOT IN (SELECT cur_id FROM access_map);

CREATE TEMP TABLE device_map (cur_id INTEGER PRIMARY KEY, id INTEGER NOT NULL UNIQUE, known INTEGER NOT NULL);
INSERT INTO device_map
    SELECT c.id, b.id, 1 FROM cur.device_password c
    JOIN main.device_password b ON b.public_id = c.public_id;
INSERT INTO device_map
    SELECT c.id, iif(EXISTS (SELECT 1 FROM main.device_password b WHERE b.id = c.id),
        max((SELECT coalesce(max(id), 0) FROM main.device_password), (SELECT max(id) FROM cur.device_password))
            + row_number() OVER (ORDER BY c.id), c.id), 0
    FROM cur.device_password c WHERE c.id NOT IN (SELECT cur_id FROM device_map);

-- Salts make every hash another one. A tombstone past its time has none, and is known by its number.
CREATE TEMP TABLE secret_map (cur_id INTEGER PRIMARY KEY, id INTEGER NOT NULL UNIQUE, known INTEGER NOT NULL);
INSERT OR IGNORE INTO secret_map
    SELECT c.id, b.id, 1 FROM cur.secret c JOIN device_map d ON d.cur_id = c.device_id AND d.known
    JOIN main.secret b ON b.device_id = d.id AND b.phc = c.phc;
INSERT OR IGNORE INTO secret_map
    SELECT c.id, b.id, 1 FROM cur.secret c JOIN device_map d ON d.cur_id = c.device_id AND d.known
    JOIN main.secret b ON b.device_id = d.id AND b.id = c.id AND (b.phc IS NULL OR c.phc IS NULL);
INSERT INTO secret_map
    SELECT c.id, iif(EXISTS (SELECT 1 FROM main.secret b WHERE b.id = c.id),
        max((SELECT coalesce(max(id), 0) FROM main.secret), (SELECT max(id) FROM cur.secret))
            + row_number() OVER (ORDER BY c.id), c.id), 0
    FROM cur.secret c WHERE c.id NOT IN (SELECT cur_id FROM secret_map);

-- What had ended in the backup already: the restore ends it no second time in the log.
CREATE TEMP TABLE ended_before AS
    SELECT 'mailbox' AS kind, id FROM main.mailbox WHERE removed IS NOT NULL
    UNION ALL SELECT 'person', id FROM main.person WHERE removed IS NOT NULL
    UNION ALL SELECT 'access', id FROM main.access WHERE ended IS NOT NULL
    UNION ALL SELECT 'device', id FROM main.device_password WHERE revoked IS NOT NULL
    UNION ALL SELECT 'mailbox', k.id FROM cur.mailbox c JOIN mailbox_map k ON k.cur_id = c.id WHERE c.removed IS NOT NULL
    UNION ALL SELECT 'person', k.id FROM cur.person c JOIN person_map k ON k.cur_id = c.id WHERE c.removed IS NOT NULL
    UNION ALL SELECT 'access', k.id FROM cur.access c JOIN access_map k ON k.cur_id = c.id WHERE c.ended IS NOT NULL
    UNION ALL SELECT 'device', k.id FROM cur.device_password c JOIN device_map k ON k.cur_id = c.id
        WHERE c.revoked IS NOT NULL;

-- Mailboxes. A disabled one stays disabled, one that was enabled since stays enabled.

UPDATE main.mailbox AS b SET enabled = c.enabled, removed = coalesce(b.removed, c.removed)
    FROM mailbox_map k JOIN cur.mailbox c ON c.id = k.cur_id WHERE k.known AND k.id = b.id;
UPDATE main.mailbox SET enabled = 0
    WHERE removed IS NULL AND name IN (SELECT name FROM cur.mailbox WHERE removed IS NULL AND NOT enabled);
INSERT INTO main.mailbox (id, name, enabled, added, removed, fields)
    SELECT k.id, c.name, c.enabled, c.added, coalesce(c.removed, act.at), c.fields
    FROM act, cur.mailbox c JOIN mailbox_map k ON k.cur_id = c.id AND NOT k.known;

-- Persons.

UPDATE main.person AS b SET removed = coalesce(b.removed, c.removed)
    FROM person_map k JOIN cur.person c ON c.id = k.cur_id WHERE k.known AND k.id = b.id;
INSERT INTO main.person (id, name, added, removed)
    SELECT k.id, c.name, c.added, coalesce(c.removed, act.at)
    FROM act, cur.person c JOIN person_map k ON k.cur_id = c.id AND NOT k.known;

-- Accesses: none outlives its mailbox or its person.

UPDATE main.access AS b SET ended = c.ended, ended_by = c.ended_by
    FROM access_map k JOIN cur.access c ON c.id = k.cur_id
    WHERE k.known AND k.id = b.id AND b.ended IS NULL;
INSERT INTO main.access (id, public_id, mailbox_id, person_id, given, given_by, ended, ended_by)
    SELECT k.id, c.public_id, m.id, p.id, c.given, c.given_by, coalesce(c.ended, act.at), coalesce(c.ended_by, act.actor)
    FROM act, cur.access c JOIN access_map k ON k.cur_id = c.id AND NOT k.known
    JOIN mailbox_map m ON m.cur_id = c.mailbox_id JOIN person_map p ON p.cur_id = c.person_id;
UPDATE main.access SET ended = act.at, ended_by = act.actor FROM act
    WHERE ended IS NULL AND (mailbox_id IN (SELECT id FROM main.mailbox WHERE removed IS NOT NULL)
        OR person_id IN (SELECT id FROM main.person WHERE removed IS NOT NULL));

-- Device passwords: none outlives its mailbox or its access. Which is used counts as used.

UPDATE main.device_password AS b SET
        revoked = coalesce(b.revoked, c.revoked),
        revoked_by = iif(b.revoked IS NULL, c.revoked_by, b.revoked_by),
        services = c.services, networks = c.networks, expires = c.expires,
        expires_unused_days = c.expires_unused_days, limits_changed = c.limits_changed,
        last_used = coalesce(max(b.last_used, c.last_used), b.last_used, c.last_used)
    FROM device_map k JOIN cur.device_password c ON c.id = k.cur_id WHERE k.known AND k.id = b.id;
INSERT INTO main.device_password (id, public_id, mailbox_id, access_id, label, services, networks, expires,
        expires_unused_days, limits_changed, last_used, issued, issued_by, revoked, revoked_by)
    SELECT k.id, c.public_id, m.id, a.id, c.label, c.services, c.networks, c.expires,
        c.expires_unused_days, c.limits_changed, c.last_used, c.issued, c.issued_by,
        coalesce(c.revoked, act.at), coalesce(c.revoked_by, act.actor)
    FROM act, cur.device_password c JOIN device_map k ON k.cur_id = c.id AND NOT k.known
    JOIN mailbox_map m ON m.cur_id = c.mailbox_id LEFT JOIN access_map a ON a.cur_id = c.access_id;
UPDATE main.device_password SET revoked = act.at, revoked_by = act.actor FROM act
    WHERE revoked IS NULL AND (issued < act.before
        OR mailbox_id IN (SELECT id FROM main.mailbox WHERE removed IS NOT NULL)
        OR access_id IN (SELECT id FROM main.access WHERE ended IS NOT NULL));

-- Secrets: what was replaced stays so, and what replaced it is alive. One of a device password that
-- both know, which only the backup has, was replaced where the current one has others.

UPDATE main.secret AS b SET
        ended = coalesce(b.ended, c.ended),
        valid_until = coalesce(min(b.valid_until, c.valid_until), b.valid_until, c.valid_until),
        phc = iif(c.phc IS NULL, NULL, b.phc), tag = iif(c.phc IS NULL, NULL, b.tag)
    FROM secret_map k JOIN cur.secret c ON c.id = k.cur_id WHERE k.known AND k.id = b.id;
UPDATE main.secret SET ended = act.at FROM act
    WHERE ended IS NULL AND id NOT IN (SELECT id FROM secret_map WHERE known)
        AND device_id IN (SELECT d.id FROM device_map d JOIN cur.secret c ON c.device_id = d.cur_id WHERE d.known);

CREATE TEMP TABLE newcomer AS
    SELECT k.id, d.id AS device_id, m.id AS mailbox_id, c.kind, c.format, c.tag, c.phc, c.valid_until,
        iif(b.revoked IS NULL, c.ended, coalesce(c.ended, min(act.at, coalesce(c.valid_until, act.at)))) AS ended
    FROM act, cur.secret c JOIN secret_map k ON k.cur_id = c.id AND NOT k.known
    JOIN device_map d ON d.cur_id = c.device_id JOIN mailbox_map m ON m.cur_id = c.mailbox_id
    JOIN main.device_password b ON b.id = d.id;
CREATE INDEX temp.newcomer_tag ON newcomer (mailbox_id, tag);
-- No two may have one tag: a live one goes before a tombstone, and the current database before the backup.
UPDATE main.secret AS b SET ended = coalesce(b.ended, act.at), phc = NULL, tag = NULL FROM act
    WHERE b.tag IS NOT NULL AND EXISTS (SELECT 1 FROM newcomer n
        WHERE n.mailbox_id = b.mailbox_id AND n.tag = b.tag AND n.ended IS NULL);
UPDATE newcomer AS n SET phc = NULL, tag = NULL
    WHERE n.ended IS NOT NULL AND EXISTS (SELECT 1 FROM main.secret b
        WHERE b.mailbox_id = n.mailbox_id AND b.tag = n.tag);
INSERT INTO main.secret (id, device_id, mailbox_id, kind, format, tag, phc, valid_until, ended)
    SELECT id, device_id, mailbox_id, kind, format, tag, phc, valid_until, ended FROM newcomer;

UPDATE main.secret SET ended = min(act.at, coalesce(valid_until, act.at)) FROM act
    WHERE ended IS NULL AND device_id IN (SELECT id FROM main.device_password WHERE revoked IS NOT NULL);
UPDATE main.device_password AS b SET revoked = act.at, revoked_by = act.actor FROM act
    WHERE b.revoked IS NULL
        AND NOT EXISTS (SELECT 1 FROM main.secret s WHERE s.device_id = b.id AND s.ended IS NULL);

-- Histories: of each line the one that knows more.

INSERT INTO main.used (device_id, service, address, first, last, count)
    SELECT k.id, c.service, c.address, c.first, c.last, c.count
    FROM cur.used c JOIN device_map k ON k.cur_id = c.device_id WHERE true
    ON CONFLICT DO UPDATE SET first = min(first, excluded.first), last = max(last, excluded.last),
        count = max(count, excluded.count);
INSERT INTO main.tombstone_attempt (secret_id, service, address, first, last, count, reported)
    SELECT k.id, c.service, c.address, c.first, c.last, c.count, c.reported
    FROM cur.tombstone_attempt c JOIN secret_map k ON k.cur_id = c.secret_id WHERE true
    ON CONFLICT DO UPDATE SET first = min(first, excluded.first), last = max(last, excluded.last),
        count = max(count, excluded.count),
        reported = coalesce(max(reported, excluded.reported), reported, excluded.reported);

-- The log: the lines of both, and what the restore itself has ended.

CREATE TEMP TABLE event_map (cur_id INTEGER PRIMARY KEY, id INTEGER NOT NULL UNIQUE, known INTEGER NOT NULL);
INSERT INTO event_map
    SELECT c.id, b.id, 1 FROM cur.event c JOIN main.event b ON b.id = c.id AND b.at = c.at
        AND b.actor = c.actor AND b.action = c.action AND b.label IS c.label AND b.detail IS c.detail;
INSERT INTO event_map
    SELECT c.id, iif(EXISTS (SELECT 1 FROM main.event b WHERE b.id = c.id),
        max((SELECT coalesce(max(id), 0) FROM main.event), (SELECT max(id) FROM cur.event))
            + row_number() OVER (ORDER BY c.id), c.id), 0
    FROM cur.event c WHERE c.id NOT IN (SELECT cur_id FROM event_map);
INSERT INTO main.event (id, at, actor, via, action, mailbox_id, person_id, access_id, device_id, label, detail)
    SELECT k.id, c.at, c.actor, c.via, c.action, m.id, p.id, a.id, d.id, c.label, c.detail
    FROM cur.event c JOIN event_map k ON k.cur_id = c.id AND NOT k.known
    LEFT JOIN mailbox_map m ON m.cur_id = c.mailbox_id LEFT JOIN person_map p ON p.cur_id = c.person_id
    LEFT JOIN access_map a ON a.cur_id = c.access_id LEFT JOIN device_map d ON d.cur_id = c.device_id;

INSERT INTO main.event (at, actor, via, action, mailbox_id, person_id, access_id, device_id, label)
    SELECT act.at, act.actor, act.via, 'revoked', d.mailbox_id, a.person_id, d.access_id, d.id, d.label
    FROM act, main.device_password d LEFT JOIN main.access a ON a.id = d.access_id
    WHERE d.revoked IS NOT NULL AND d.id NOT IN (SELECT id FROM ended_before WHERE kind = 'device') ORDER BY d.id;
INSERT INTO main.event (at, actor, via, action, mailbox_id, person_id, access_id)
    SELECT act.at, act.actor, act.via, 'access-taken', a.mailbox_id, a.person_id, a.id FROM act, main.access a
    WHERE a.ended IS NOT NULL AND a.id NOT IN (SELECT id FROM ended_before WHERE kind = 'access') ORDER BY a.id;
INSERT INTO main.event (at, actor, via, action, person_id)
    SELECT act.at, act.actor, act.via, 'person-removed', p.id FROM act, main.person p
    WHERE p.removed IS NOT NULL AND p.id NOT IN (SELECT id FROM ended_before WHERE kind = 'person') ORDER BY p.id;
INSERT INTO main.event (at, actor, via, action, mailbox_id)
    SELECT act.at, act.actor, act.via, 'mailbox-removed', m.id FROM act, main.mailbox m
    WHERE m.removed IS NOT NULL AND m.id NOT IN (SELECT id FROM ended_before WHERE kind = 'mailbox') ORDER BY m.id;
