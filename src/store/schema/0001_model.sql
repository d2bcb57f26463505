-- The whole model, once: mailboxes, persons, accesses, device passwords with their secrets and uses,
-- and the audit log.
--
-- What must not happen cannot be stored. Keys, checks and unique indexes say it where they can, and
-- triggers where they cannot; a trigger here refuses and never changes anything by itself.
--
-- Rows of people and passwords are never deleted: a removed mailbox, an ended access and a revoked
-- device password stay, so that nothing later can take their place. Names are unique among the living.
--
-- Times are seconds since 1970 UTC. Columns that are usually NULL, 0 or 1 take no room in a row.

CREATE TABLE meta (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    identity BLOB    NOT NULL CHECK (length(identity) = 16), -- tells a restored file from a foreign one
    tag_key  BLOB    NOT NULL CHECK (length(tag_key) = 32),
    created  INTEGER NOT NULL
) STRICT;

CREATE TABLE mailbox (
    id      INTEGER PRIMARY KEY,
    name    TEXT    NOT NULL CHECK (length(CAST(name AS BLOB)) BETWEEN 1 AND 254),
    enabled INTEGER NOT NULL DEFAULT 1 CHECK (enabled IN (0, 1)),
    added   INTEGER NOT NULL,
    removed INTEGER,
    fields  TEXT                                             -- userdb fields of its own
) STRICT;
CREATE UNIQUE INDEX mailbox_name ON mailbox (name) WHERE removed IS NULL;

CREATE TABLE person (
    id      INTEGER PRIMARY KEY,
    name    TEXT    NOT NULL CHECK (length(CAST(name AS BLOB)) BETWEEN 1 AND 254),
    added   INTEGER NOT NULL,
    removed INTEGER
) STRICT;
CREATE UNIQUE INDEX person_name ON person (name) WHERE removed IS NULL;

CREATE TABLE access (
    id         INTEGER PRIMARY KEY,
    public_id  TEXT    NOT NULL UNIQUE CHECK (public_id GLOB 'ac-??????????'),
    mailbox_id INTEGER NOT NULL REFERENCES mailbox (id),
    person_id  INTEGER NOT NULL REFERENCES person (id),
    given      INTEGER NOT NULL,
    given_by   TEXT    NOT NULL,
    ended      INTEGER,
    ended_by   TEXT,
    UNIQUE (mailbox_id, id),                                 -- for the key of device_password
    CHECK ((ended IS NULL) = (ended_by IS NULL))
) STRICT;
CREATE UNIQUE INDEX access_living ON access (person_id, mailbox_id) WHERE ended IS NULL;

CREATE TABLE device_password (
    id                  INTEGER PRIMARY KEY,
    public_id           TEXT    NOT NULL UNIQUE CHECK (public_id GLOB 'dp-??????????'),
    mailbox_id          INTEGER NOT NULL REFERENCES mailbox (id),
    access_id           INTEGER,                             -- NULL: the mailbox owner's own
    label               TEXT    NOT NULL CHECK (length(label) BETWEEN 1 AND 64),
    services            INTEGER CHECK (services BETWEEN 1 AND 15), -- bits; NULL: every service
    networks            TEXT    CHECK (networks <> ''),      -- between commas; NULL: from everywhere
    expires             INTEGER,
    expires_unused_days INTEGER CHECK (expires_unused_days BETWEEN 1 AND 4294967295),
    limits_changed      INTEGER,
    last_used           INTEGER,                             -- the newest of its rows in `used`, for expiry
    issued              INTEGER NOT NULL,
    issued_by           TEXT    NOT NULL,
    revoked             INTEGER,
    revoked_by          TEXT,
    -- A person's device password hangs on an access to this very mailbox.
    FOREIGN KEY (access_id, mailbox_id) REFERENCES access (id, mailbox_id),
    CHECK ((revoked IS NULL) = (revoked_by IS NULL))
) STRICT;
-- Labels are unique among the active ones of a mailbox and an access, no access being one of them. Each
-- revoked one counts as different from all others, so that this index finds them too, by mailbox and by
-- label, and no second one is needed.
CREATE UNIQUE INDEX device_password_label ON device_password
    (mailbox_id, label, coalesce(access_id, 0), iif(revoked IS NULL, 0, id));

CREATE TABLE secret (
    id          INTEGER PRIMARY KEY,
    device_id   INTEGER NOT NULL REFERENCES device_password (id),
    mailbox_id  INTEGER NOT NULL,                            -- its device's, for the index of the tags
    kind        INTEGER NOT NULL CHECK (kind IN (0, 1)),     -- 1: generated here, 0: imported
    format      INTEGER NOT NULL CHECK (format >= 0),        -- of the visible form; 1: twenty letters
    tag         INTEGER CHECK (tag BETWEEN 0 AND 65535),
    phc         ANY,                                         -- packed, or a text; NULL: a tombstone past its time
    valid_until INTEGER,
    ended       INTEGER,
    CHECK (typeof(phc) IN ('null', 'text', 'blob') AND length(phc) > 0),
    CHECK (phc IS NOT NULL OR ended IS NOT NULL),
    CHECK (phc IS NOT NULL OR tag IS NULL),
    CHECK (kind = 1 OR tag IS NULL),                         -- nothing that a human chose has a tag
    CHECK (kind = 0 OR ended IS NOT NULL OR tag IS NOT NULL) -- a live one can be found
) STRICT;
CREATE UNIQUE INDEX secret_tag ON secret (mailbox_id, tag) WHERE tag IS NOT NULL;
CREATE INDEX secret_device ON secret (device_id);
-- What has ended, and what will; few rows are in it.
CREATE INDEX secret_ends ON secret (ended, valid_until)
WHERE phc IS NOT NULL AND (ended IS NOT NULL OR valid_until IS NOT NULL);

-- Good log-ins, grouped; bounded by `keep.uses`.
CREATE TABLE used (
    device_id INTEGER NOT NULL REFERENCES device_password (id),
    service   TEXT    NOT NULL,
    address   TEXT    NOT NULL,                              -- '': the peer named none
    first     INTEGER NOT NULL,
    last      INTEGER NOT NULL CHECK (last >= first),
    count     INTEGER NOT NULL CHECK (count > 0),
    PRIMARY KEY (device_id, service, address)
) STRICT, WITHOUT ROWID;

-- Attempts with a secret that had ended, grouped in the same way.
CREATE TABLE tombstone_attempt (
    secret_id INTEGER NOT NULL REFERENCES secret (id),
    service   TEXT    NOT NULL,
    address   TEXT    NOT NULL,
    first     INTEGER NOT NULL,
    last      INTEGER NOT NULL CHECK (last >= first),
    count     INTEGER NOT NULL CHECK (count > 0),
    reported  INTEGER,                                       -- when it last left an event
    PRIMARY KEY (secret_id, service, address)
) STRICT, WITHOUT ROWID;

-- The audit log. Old lines may be dropped (`keep.events`), none may be changed.
CREATE TABLE event (
    id         INTEGER PRIMARY KEY,
    at         INTEGER NOT NULL,
    actor      TEXT    NOT NULL,
    via        TEXT    NOT NULL,
    action     TEXT    NOT NULL,
    mailbox_id INTEGER REFERENCES mailbox (id),
    person_id  INTEGER REFERENCES person (id),
    access_id  INTEGER REFERENCES access (id),
    device_id  INTEGER REFERENCES device_password (id),
    label      TEXT,                                         -- as it was then
    detail     TEXT
) STRICT;

CREATE TRIGGER event_is_append_only BEFORE UPDATE ON event
BEGIN SELECT RAISE(ABORT, 'an event is never changed'); END;

-- What has ended has ended for good, and what hung on it ended before.

CREATE TRIGGER mailbox_removed_for_good BEFORE UPDATE OF removed, name ON mailbox
WHEN OLD.removed IS NOT NULL OR NEW.name <> OLD.name
BEGIN SELECT RAISE(ABORT, 'a mailbox keeps its name, and is removed for good'); END;

CREATE TRIGGER mailbox_removed_last BEFORE UPDATE OF removed ON mailbox
WHEN NEW.removed IS NOT NULL
    AND (EXISTS (SELECT 1 FROM device_password WHERE mailbox_id = NEW.id AND revoked IS NULL)
        OR EXISTS (SELECT 1 FROM access WHERE mailbox_id = NEW.id AND ended IS NULL))
BEGIN SELECT RAISE(ABORT, 'a removed mailbox has neither device passwords nor accesses'); END;

CREATE TRIGGER person_removed_for_good BEFORE UPDATE OF removed, name ON person
WHEN OLD.removed IS NOT NULL OR NEW.name <> OLD.name
BEGIN SELECT RAISE(ABORT, 'a person keeps their name, and is removed for good'); END;

CREATE TRIGGER person_removed_last BEFORE UPDATE OF removed ON person
WHEN NEW.removed IS NOT NULL
    AND EXISTS (SELECT 1 FROM access WHERE person_id = NEW.id AND ended IS NULL)
BEGIN SELECT RAISE(ABORT, 'a removed person has no access'); END;

CREATE TRIGGER access_to_the_living BEFORE INSERT ON access
WHEN EXISTS (SELECT 1 FROM mailbox WHERE id = NEW.mailbox_id AND removed IS NOT NULL)
    OR EXISTS (SELECT 1 FROM person WHERE id = NEW.person_id AND removed IS NOT NULL)
BEGIN SELECT RAISE(ABORT, 'access to or for what was removed'); END;

CREATE TRIGGER access_ended_for_good BEFORE UPDATE OF public_id, mailbox_id, person_id, ended ON access
WHEN OLD.ended IS NOT NULL OR NEW.public_id <> OLD.public_id
    OR NEW.mailbox_id <> OLD.mailbox_id OR NEW.person_id <> OLD.person_id
BEGIN SELECT RAISE(ABORT, 'an access keeps its ends, and ends for good'); END;

CREATE TRIGGER access_ended_last BEFORE UPDATE OF ended ON access
WHEN NEW.ended IS NOT NULL
    AND EXISTS (SELECT 1 FROM device_password
        WHERE mailbox_id = NEW.mailbox_id AND access_id = NEW.id AND revoked IS NULL)
BEGIN SELECT RAISE(ABORT, 'an ended access has no device password'); END;

CREATE TRIGGER device_password_for_the_living BEFORE INSERT ON device_password
WHEN EXISTS (SELECT 1 FROM mailbox WHERE id = NEW.mailbox_id AND removed IS NOT NULL)
    OR EXISTS (SELECT 1 FROM access WHERE id = NEW.access_id AND ended IS NOT NULL)
BEGIN SELECT RAISE(ABORT, 'a device password for what has ended'); END;

CREATE TRIGGER device_password_stays_where_it_is
BEFORE UPDATE OF public_id, mailbox_id, access_id ON device_password
BEGIN SELECT RAISE(ABORT, 'a device password stays with its mailbox and person'); END;

CREATE TRIGGER device_password_revoked_for_good BEFORE UPDATE OF revoked, revoked_by ON device_password
WHEN OLD.revoked IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'revoked is for good'); END;

CREATE TRIGGER device_password_revoked_last BEFORE UPDATE OF revoked ON device_password
WHEN NEW.revoked IS NOT NULL
    AND EXISTS (SELECT 1 FROM secret WHERE device_id = NEW.id AND ended IS NULL)
BEGIN SELECT RAISE(ABORT, 'a revoked device password has no live secret'); END;

CREATE TRIGGER secret_of_its_device BEFORE INSERT ON secret
WHEN NOT EXISTS (SELECT 1 FROM device_password
    WHERE id = NEW.device_id AND mailbox_id = NEW.mailbox_id AND (revoked IS NULL OR NEW.ended IS NOT NULL))
BEGIN SELECT RAISE(ABORT, 'a secret belongs to an active device password of its mailbox'); END;

CREATE TRIGGER secret_stays_where_it_is BEFORE UPDATE OF device_id, mailbox_id, kind ON secret
BEGIN SELECT RAISE(ABORT, 'a secret stays with its device password'); END;

CREATE TRIGGER secret_ended_for_good BEFORE UPDATE OF ended ON secret
WHEN OLD.ended IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'a secret ends for good'); END;
