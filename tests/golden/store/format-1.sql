-- A database of format 1, as the last version that wrote it left it. Made by that version; not to be changed.
PRAGMA application_id = 1415668321;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE aggregates (tab INTEGER PRIMARY KEY, aggregate BLOB NOT NULL);
INSERT INTO "aggregates" VALUES(1,X'73756D');
CREATE TABLE aside (
        id INTEGER PRIMARY KEY,                -- rising: the oldest leave first
        reason TEXT NOT NULL,
        tab TEXT NOT NULL,
        client TEXT NOT NULL,
        type TEXT NOT NULL,
        events INTEGER NOT NULL,
        partial BLOB NOT NULL
    );
INSERT INTO "aside" VALUES(1,'unknown type','tab','c1','X',3,X'7061727469616C2031');
INSERT INTO "aside" VALUES(2,'undecodable','other','c2','Gauge',4,X'7061727469616C2032');
CREATE TABLE clients (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        client TEXT NOT NULL UNIQUE,
        tabs INTEGER NOT NULL DEFAULT 0        -- the States of this client
    );
INSERT INTO "clients" VALUES(1,'c1',1);
INSERT INTO "clients" VALUES(2,'c2',1);
CREATE TABLE cluster (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "cluster" VALUES('id','00000000000000000000000000000001');
INSERT INTO "cluster" VALUES('vbuckets','8');
CREATE TABLE lanes (
        incarnation BLOB NOT NULL,             -- 16 bytes
        vbucket INTEGER NOT NULL,
        last INTEGER NOT NULL,
        checksum INTEGER NOT NULL,
        events INTEGER NOT NULL,
        touched REAL NOT NULL,
        PRIMARY KEY (incarnation, vbucket)     -- the lanes of an agent stand together: one request touches few pages
    ) WITHOUT ROWID;
INSERT INTO "lanes" VALUES(X'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA',3,3,607264868,30,1700000000.0);
INSERT INTO "lanes" VALUES(X'BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB',3,5,4098402842,50,1700000000.0);
CREATE TABLE log (key INTEGER PRIMARY KEY, appended REAL NOT NULL, events INTEGER NOT NULL, body BLOB NOT NULL);
INSERT INTO "log" VALUES(844424930131971,1700000000.0,10,X'7468697264');
INSERT INTO "log" VALUES(844424930131972,1700000000.0,10,X'62617463682035206F662062');
CREATE TABLE states (key INTEGER PRIMARY KEY, state BLOB NOT NULL);
INSERT INTO "states" VALUES(4294967296,X'30');
INSERT INTO "states" VALUES(4294967297,X'31');
INSERT INTO "states" VALUES(8589934594,X'32');
CREATE TABLE tabs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        tab TEXT NOT NULL,
        vbucket INTEGER NOT NULL,
        type TEXT,                             -- NULL while only a State or an Aggregate was written
        UNIQUE (tab, vbucket)
    );
INSERT INTO "tabs" VALUES(1,'tab',3,'TotalsCounter');
INSERT INTO "tabs" VALUES(2,'b',3,'Gauge');
CREATE TABLE vbuckets (
        vbucket INTEGER PRIMARY KEY,
        last_id INTEGER NOT NULL DEFAULT 0,    -- of the log; outlives the entries
        log_bytes INTEGER NOT NULL DEFAULT 0,  -- the bytes of the bodies in the log
        folded INTEGER NOT NULL DEFAULT 0,     -- the position
        commits INTEGER NOT NULL DEFAULT 0,
        epoch INTEGER NOT NULL DEFAULT 0,      -- the highest that was granted
        lost INTEGER NOT NULL DEFAULT 0,       -- the store's own line of the ledger
        ledger TEXT NOT NULL DEFAULT '{}'      -- the row of the ledger as be wrote it, JSON
    );
INSERT INTO "vbuckets" VALUES(0,0,0,0,0,0,0,'{}');
INSERT INTO "vbuckets" VALUES(1,0,0,0,0,0,0,'{}');
INSERT INTO "vbuckets" VALUES(2,0,0,0,0,0,0,'{}');
INSERT INTO "vbuckets" VALUES(3,4,17,2,1,1,40,'{"folded": 20}');
INSERT INTO "vbuckets" VALUES(4,0,0,0,0,0,0,'{}');
INSERT INTO "vbuckets" VALUES(5,0,0,0,0,0,0,'{}');
INSERT INTO "vbuckets" VALUES(6,0,0,0,0,0,0,'{}');
INSERT INTO "vbuckets" VALUES(7,0,0,0,0,0,0,'{}');
CREATE INDEX tabs_of_vbucket ON tabs (vbucket);
CREATE INDEX clients_gone ON clients (id) WHERE tabs = 0;
CREATE TRIGGER state_made AFTER INSERT ON states WHEN new.key & 4294967295 BEGIN
        UPDATE clients SET tabs = tabs + 1 WHERE id = new.key & 4294967295;
    END;
CREATE TRIGGER state_gone AFTER DELETE ON states WHEN old.key & 4294967295 BEGIN
        UPDATE clients SET tabs = tabs - 1 WHERE id = old.key & 4294967295;
    END;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('tabs',2);
INSERT INTO "sqlite_sequence" VALUES('clients',2);
COMMIT;
