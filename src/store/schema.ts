/** Says in the file's header that it is ours ("STLG"). */
export const APPLICATION_ID = 0x53544c47

/**
 * Steps of the schema: entry N leads from version N to N + 1. An entry never changes once it was released; the version
 * of a file is its `user_version`.
 */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE boot (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    incarnation INTEGER NOT NULL
  ) STRICT;
  INSERT INTO boot VALUES (1, 0);

  -- Unfinished jobs. position counts the records of one job from 0, so that a hole is seen; crc covers the whole row.
  CREATE TABLE record (
    sequence INTEGER PRIMARY KEY,
    job TEXT NOT NULL,
    position INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    body BLOB NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX record_by_job ON record (job, position);

  CREATE TABLE submission (
    key TEXT PRIMARY KEY,
    job TEXT NOT NULL,
    fingerprint TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX submission_by_job ON submission (job);

  -- number grows with each finished job. result is apart from summary, so that lists need not read it.
  CREATE TABLE finished (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    job TEXT NOT NULL UNIQUE,
    crc INTEGER NOT NULL,
    summary BLOB NOT NULL,
    result_crc INTEGER,
    result BLOB,
    parts INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE finished_items (
    job TEXT NOT NULL REFERENCES finished (job) ON DELETE CASCADE,
    part INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (job, part)
  ) STRICT;

  CREATE TABLE swarm (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    public_key BLOB NOT NULL,
    seed BLOB,
    chain BLOB NOT NULL,
    role TEXT NOT NULL
  ) STRICT;
  CREATE TABLE token (
    id TEXT PRIMARY KEY,
    secret BLOB NOT NULL,
    role TEXT NOT NULL,
    uses INTEGER NOT NULL,
    expires_at REAL NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE redemption (
    token TEXT NOT NULL REFERENCES token (id) ON DELETE CASCADE,
    joiner TEXT NOT NULL,
    chain BLOB NOT NULL,
    PRIMARY KEY (token, joiner)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE member (
    peer TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    addresses TEXT NOT NULL,
    last_seen REAL NOT NULL
  ) STRICT, WITHOUT ROWID;
  `
]
