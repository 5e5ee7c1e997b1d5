"""The tables of ``state.db`` and the steps that lead from one version to the next.

Owns the SQL text only. Every JSON column holds one object; times are RFC 3339 UTC strings with nanoseconds as docker
writes them; digests are ``sha256:<hex>``.
"""

from __future__ import annotations

MIGRATIONS: tuple[str, ...] = (
    # 1: the first layout.
    """
    CREATE TABLE containers(
      id TEXT PRIMARY KEY,                       -- 64 hex digits
      name TEXT NOT NULL UNIQUE,                 -- without docker's leading slash
      created TEXT NOT NULL,
      image TEXT NOT NULL,                       -- image id
      config TEXT NOT NULL,                      -- JSON, never changed after creation
      status TEXT NOT NULL DEFAULT 'created',    -- created running paused restarting exited removing dead
      generation INTEGER NOT NULL DEFAULT 0,     -- counts starts; tells a late exit hook from a current one
      pid INTEGER NOT NULL DEFAULT 0,
      pid_start INTEGER NOT NULL DEFAULT 0,      -- start time of pid in clock ticks: pid reuse is told by it
      conmon_pid INTEGER NOT NULL DEFAULT 0,
      conmon_start INTEGER NOT NULL DEFAULT 0,
      boot_id TEXT NOT NULL DEFAULT '',
      exit_code INTEGER NOT NULL DEFAULT 0,
      error TEXT NOT NULL DEFAULT '',
      oom_killed INTEGER NOT NULL DEFAULT 0,
      started_at TEXT NOT NULL DEFAULT '0001-01-01T00:00:00Z',
      finished_at TEXT NOT NULL DEFAULT '0001-01-01T00:00:00Z',
      restart_count INTEGER NOT NULL DEFAULT 0,
      restart_delay_ms INTEGER NOT NULL DEFAULT 0,
      stopped_by_user INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE images(
      id TEXT PRIMARY KEY,                       -- digest of the config blob
      manifest TEXT NOT NULL,                    -- digest of the manifest blob
      parent TEXT NOT NULL DEFAULT '',           -- image id it was built or committed from, if still known
      created TEXT NOT NULL,
      size INTEGER NOT NULL,                     -- bytes of all unpacked layers
      chain TEXT NOT NULL DEFAULT ''             -- chain id of its top layer; empty for an image without layers
    );
    CREATE TABLE image_names(
      name TEXT PRIMARY KEY,                     -- familiar form, repository:tag
      image TEXT NOT NULL REFERENCES images(id)
    );
    CREATE TABLE layers(
      chain TEXT PRIMARY KEY,                    -- chain id (OCI image spec, "Layer ChainID")
      diff TEXT NOT NULL,                        -- diff id: digest of the uncompressed tar
      parent TEXT NOT NULL DEFAULT '',           -- chain id below, empty for a base layer
      blob TEXT NOT NULL,                        -- digest of the stored blob
      media_type TEXT NOT NULL,
      size INTEGER NOT NULL,                     -- bytes of the unpacked difference
      cache_id TEXT NOT NULL UNIQUE              -- the storage driver's directory
    );
    CREATE TABLE networks(
      id TEXT PRIMARY KEY,
      name TEXT NOT NULL UNIQUE,
      driver TEXT NOT NULL,                      -- bridge host null
      created TEXT NOT NULL,
      config TEXT NOT NULL,                      -- JSON: bridge, subnet, gateway, mtu, internal, options, labels
      state TEXT NOT NULL DEFAULT '{}'           -- JSON: which kernel link is its bridge (ifindex, boot_id)
    );
    CREATE TABLE endpoints(
      id TEXT PRIMARY KEY,
      network TEXT NOT NULL REFERENCES networks(id),
      container TEXT NOT NULL,                   -- container id, or a build step's sandbox id
      address TEXT,                              -- IPv4, no prefix; NULL while none is held
      mac TEXT NOT NULL DEFAULT '',
      host_interface TEXT NOT NULL DEFAULT '',
      interface TEXT NOT NULL DEFAULT '',        -- name inside the container
      config TEXT NOT NULL DEFAULT '{}',         -- JSON: container name, exposed ports
      attached INTEGER NOT NULL DEFAULT 1,       -- 0 while it is taken down: its rules are no longer wanted
      UNIQUE(network, address),
      UNIQUE(network, container)
    );
    CREATE TABLE port_reservations(
      container TEXT NOT NULL,
      protocol TEXT NOT NULL,                    -- tcp udp
      host_ip TEXT NOT NULL,
      host_port INTEGER NOT NULL,
      container_port INTEGER NOT NULL,
      PRIMARY KEY(protocol, host_ip, host_port)
    );
    CREATE TABLE cursors(
      name TEXT PRIMARY KEY,                     -- what is handed out in turn: host ports of a protocol
      value INTEGER NOT NULL                     -- the one handed out last
    );
    CREATE TABLE volumes(
      name TEXT PRIMARY KEY,
      driver TEXT NOT NULL DEFAULT 'local',
      created TEXT NOT NULL,
      config TEXT NOT NULL DEFAULT '{}'          -- JSON: labels, options, anonymous
    );
    CREATE TABLE build_cache(
      key TEXT PRIMARY KEY,                      -- digest over parent, instruction and content
      image TEXT NOT NULL,                       -- the newest image with the result; a whole image's row goes with it
      chain TEXT NOT NULL DEFAULT '',            -- chain id of the layer the row goes with; empty for a whole image
      used TEXT NOT NULL
    );
    CREATE TABLE firewall_rules(
      family TEXT NOT NULL,                      -- v4 v6
      table_name TEXT NOT NULL,
      chain TEXT NOT NULL,                       -- a chain we share with others (FORWARD, PREROUTING ...)
      rule TEXT NOT NULL,                        -- as iptables-save prints it, without "-A CHAIN "
      PRIMARY KEY(family, table_name, chain, rule)
    );
    CREATE TABLE journal(
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      operation TEXT NOT NULL,                   -- container.create, image.load ...
      lock_kind TEXT NOT NULL,
      lock_name TEXT NOT NULL,                   -- the entry is abandoned if and only if this lock can be taken
      intent TEXT NOT NULL,                      -- JSON: what recovery needs
      started TEXT NOT NULL
    );
    CREATE TABLE duties(
      kind TEXT NOT NULL,                        -- restart ...
      subject TEXT NOT NULL,                     -- container id
      due REAL NOT NULL,                         -- seconds since the epoch
      payload TEXT NOT NULL DEFAULT '{}',
      PRIMARY KEY(kind, subject)
    );
    CREATE TABLE events(
      seq INTEGER PRIMARY KEY AUTOINCREMENT,
      time REAL NOT NULL,                        -- seconds since the epoch
      type TEXT NOT NULL,                        -- container image network volume
      action TEXT NOT NULL,
      actor TEXT NOT NULL,                       -- id or name
      attributes TEXT NOT NULL DEFAULT '{}'
    );
    """,
)
