PRAGMA application_id = 1919247212;
PRAGMA user_version = 1;
CREATE TABLE events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    item_id TEXT NOT NULL,
    timestamp REAL NOT NULL,
    kind TEXT NOT NULL,
    rating REAL,
    weight REAL,
    recommendation_id TEXT
);
CREATE INDEX events_by_user ON events (user_id);
CREATE INDEX events_by_item ON events (item_id);
CREATE INDEX events_of_lists ON events (timestamp, recommendation_id, item_id) WHERE recommendation_id IS NOT NULL;
CREATE TABLE impressions (
    number INTEGER PRIMARY KEY,
    recommendation_id TEXT NOT NULL UNIQUE,
    user_id TEXT,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    version TEXT NOT NULL,
    as_of_event INTEGER NOT NULL,
    policy TEXT NOT NULL,
    request TEXT NOT NULL,
    items TEXT NOT NULL,
    instead TEXT NOT NULL
);
CREATE INDEX impressions_by_user ON impressions (user_id, at) WHERE user_id IS NOT NULL;
CREATE INDEX impressions_by_time ON impressions (at);
CREATE TABLE reasons (
    impression INTEGER NOT NULL,
    item_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    UNIQUE (impression, item_id)
);
CREATE TABLE items (item_id TEXT PRIMARY KEY NOT NULL, fields TEXT NOT NULL, hidden INTEGER NOT NULL);
CREATE INDEX items_hidden ON items (item_id) WHERE hidden;
CREATE TABLE users (user_id TEXT PRIMARY KEY NOT NULL, fields TEXT NOT NULL, exclude TEXT NOT NULL);
CREATE INDEX users_with_exclusions ON users (user_id) WHERE exclude != '[]';
CREATE TABLE adapters (
    user_id TEXT PRIMARY KEY NOT NULL,
    base TEXT NOT NULL,
    as_of_event INTEGER NOT NULL,
    blob BLOB NOT NULL,
    sha256 TEXT NOT NULL
);
CREATE TABLE facts (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL);
INSERT INTO events VALUES (1, '1', 'ann', 'lamp', 1.0, 'view', NULL, NULL, NULL);
INSERT INTO events VALUES (2, '2', 'bob', 'mug', 2.5, '', 4.0, 0.5, 'x');
INSERT INTO events VALUES (3, '3', 'eve', 'mug', 3.0, '', NULL, NULL, NULL);
DELETE FROM events WHERE number = 3;
INSERT INTO impressions VALUES (
    1, 'x', 'bob', 2.0, 'recommend', 'model-1', 1, 'ranking', '{"n":2}',
    '{"item_id":["mug","lamp"],"rank":[1,2],"channel":["text",""]}', '[]'
);
INSERT INTO reasons VALUES (1, 'mug', '{"why":"so"}');
INSERT INTO items VALUES ('mug', '{"title":"Mug"}', 1);
INSERT INTO users VALUES ('ann', '{}', '["mug"]');
INSERT INTO adapters VALUES ('ann', 'base', 1, x'0102', 'hash');
INSERT INTO facts VALUES ('keys', '[1]');
