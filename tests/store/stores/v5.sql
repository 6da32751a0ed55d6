-- A store as the release with schema 5 wrote it. Never edited: it is what is out there.
PRAGMA user_version = 5;
BEGIN TRANSACTION;
CREATE TABLE active (
        transmitter TEXT NOT NULL, event_code TEXT NOT NULL,
        area TEXT NOT NULL, section TEXT NOT NULL, detector TEXT NOT NULL,
        since REAL NOT NULL, reference TEXT,
        PRIMARY KEY (transmitter, event_code, area, section, detector)
    ) WITHOUT ROWID;
INSERT INTO "active" VALUES('home','FA','','2','',1772340000.25,'r0');
CREATE TABLE command (
        id INTEGER PRIMARY KEY AUTOINCREMENT,   -- the order in which commands were accepted
        transmitter TEXT NOT NULL,
        request TEXT NOT NULL,                  -- alarm, restore, ping, auth
        event_code TEXT NOT NULL DEFAULT '',    -- these four: which alarm it is about ('' where not given)
        area TEXT NOT NULL DEFAULT '',
        section TEXT NOT NULL DEFAULT '',
        detector TEXT NOT NULL DEFAULT '',
        body TEXT NOT NULL,                     -- JSON: the message's fields, the warnings
        accepted_at REAL NOT NULL,              -- Unix time, s
        state TEXT NOT NULL DEFAULT 'pending',  -- pending, rejected (set aside for a person)
        unauthorized INTEGER NOT NULL DEFAULT 0,
        undelivered INTEGER NOT NULL DEFAULT 0, -- 1: the event is owed, 2: it was published
        attempts INTEGER NOT NULL DEFAULT 0,
        error TEXT NOT NULL DEFAULT '',
        reply_topic TEXT,
        correlation BLOB
    , boot TEXT NOT NULL DEFAULT '', steady REAL NOT NULL DEFAULT 0, sure INTEGER NOT NULL DEFAULT 0, mid INTEGER, digest BLOB, token BLOB);
INSERT INTO "command" VALUES(7,'home','alarm','BA','','1','','{"alarm": {"event_code": "BA", "transmitter_time": "2026-02-28 10:00:00.000", "reference": "r1", "section": "1", "section_text": "Caf\u00e9"}, "reference": "r1", "warnings": ["section_text: cut"]}',1772359200.5,'pending',0,2,6,'no receiver took it','answers/me',X'00FF','b0071d',12.5,1,11,X'AABB',X'01');
INSERT INTO "command" VALUES(8,'home','restore','FA','','','','{"alarm": {"event_code": "FR"}, "reference": null, "warnings": []}',1772359300.0,'rejected',0,0,0,'code 3',NULL,NULL,'',0.0,0,NULL,NULL,NULL);
INSERT INTO "command" VALUES(9,'home','ping','','','','','{"alarm": null, "reference": "p", "warnings": []}',1772359400.0,'pending',0,0,0,'',NULL,NULL,'',0.0,0,NULL,NULL,NULL);
CREATE TABLE edge (
        run INTEGER NOT NULL, transmitter TEXT NOT NULL,
        part TEXT NOT NULL,                     -- link, receiver/R, path/N
        at REAL NOT NULL, up INTEGER NOT NULL,
        PRIMARY KEY (run, transmitter, part, at)
    ) WITHOUT ROWID;
INSERT INTO "edge" VALUES(1,'home','link',1772340001.25,1);
INSERT INTO "edge" VALUES(1,'home','receiver/primary',1772350000.0,0);
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "fact" VALUES('synchronised machine','0badcafe');
INSERT INTO "fact" VALUES('line home','{"link": true}');
CREATE TABLE forwarded (key TEXT PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
INSERT INTO "forwarded" VALUES('GB7F20C14D05A91:alarm:9:1772340000>home',1772340000.0);
CREATE TABLE history (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        command_id INTEGER,
        transmitter TEXT NOT NULL,
        request TEXT NOT NULL,
        completed_at REAL NOT NULL,
        result TEXT NOT NULL,                   -- JSON, as published
        reply_topic TEXT,
        correlation BLOB,
        published INTEGER NOT NULL DEFAULT 0
    , token BLOB);
INSERT INTO "history" VALUES(3,5,'home','alarm',1772350000.0,'{"outcome": "accepted"}',NULL,NULL,1,NULL);
INSERT INTO "history" VALUES(4,6,'home','alarm',1772350001.0,'{"outcome": "duplicate"}','answers/me',X'01',0,NULL);
CREATE TABLE panel (guid TEXT PRIMARY KEY, content TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "panel" VALUES('GB7F20C14D05A91','{"state": {"guid": "GB7F20C14D05A91"}, "forwarded": []}');
CREATE TABLE run (id INTEGER PRIMARY KEY AUTOINCREMENT, start REAL NOT NULL, last REAL NOT NULL);
INSERT INTO "run" VALUES(1,1772340000.0,1772359200.5);
CREATE INDEX command_order ON command (transmitter, state, id);
CREATE INDEX history_owed ON history (id) WHERE published = 0;
CREATE INDEX history_last ON history (transmitter, request, id);
CREATE INDEX command_mid ON command (mid) WHERE mid IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('command',9);
INSERT INTO "sqlite_sequence" VALUES('history',4);
INSERT INTO "sqlite_sequence" VALUES('run',1);
COMMIT;
