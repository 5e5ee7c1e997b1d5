"""docker's inspect JSON of a container: same field names, same types.

Owns the translation of ``Record`` and ``ContainerConfig`` into that shape (docker API, ContainerInspect). Asks the
network for its settings and the storage driver for its description; changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.containers import summary
from engine.containers.config import DEFAULT_SHM_SIZE, ContainerConfig
from engine.containers.mounts import Mount
from engine.containers.record import Places, Record
from engine.containers.spec import MASKED_PATHS, READONLY_PATHS

if TYPE_CHECKING:
    from engine.engine import Engine


def container_json(engine: Engine, stored: Record) -> dict[str, Any]:
    """``docker inspect`` of one container, as its process is now."""
    row = summary.one(engine, stored)
    config = stored.config
    places = Places.of(engine.config, stored.id)
    arguments = config.arguments
    mode = config.network_mode
    exposed = config.exposed
    return {
        "Id": stored.id,
        "Created": stored.created,
        "Path": arguments[0] if arguments else "",
        "Args": list(arguments[1:]),
        "State": _state(stored, row),
        "Image": stored.image,
        "ResolvConfPath": str(places.directory / "resolv.conf"),
        "HostnamePath": str(places.directory / "hostname"),
        "HostsPath": str(places.directory / "hosts"),
        "LogPath": str(places.log),
        "Name": f"/{stored.name}",
        "RestartCount": stored.restart_count,
        "Driver": engine.driver.name,
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": None,
        "HostConfig": host_config_json(config, engine.containers.runtime_name),
        "GraphDriver": {"Data": engine.driver.describe(stored.id), "Name": engine.driver.name},
        "Mounts": [_mount_json(engine, mount) for mount in config.binds if mount.kind != "tmpfs"],
        "Config": config_json(config, _hostname(stored)),
        "NetworkSettings": engine.networks.settings(stored.id, mode=mode, exposed=exposed),
    }


def _state(record: Record, row: summary.ContainerSummary) -> dict[str, Any]:
    return {
        "Status": row.state,
        "Running": row.state in ("running", "paused", "restarting"),
        "Paused": row.state == "paused",
        "Restarting": row.state == "restarting",
        "OOMKilled": record.oom_killed,
        "Dead": row.state == "dead",
        "Pid": row.pid,
        "ExitCode": row.exit_code,
        "Error": row.error,
        "StartedAt": record.started_at,
        "FinishedAt": row.finished_at,
    }


def _hostname(record: Record) -> str:
    if record.config.hostname or record.config.network_mode == "host":
        return record.config.hostname
    return "" if record.config.network_mode.startswith("container:") else record.short_id


def config_json(config: ContainerConfig, hostname: str) -> dict[str, Any]:
    """The ``Config`` member: what is portable, image defaults merged in."""
    attached = config.attach_stdio
    data: dict[str, Any] = {
        "Hostname": hostname,
        "Domainname": config.domainname,
        "User": config.user,
        "AttachStdin": attached and config.stdin_open,
        "AttachStdout": attached,
        "AttachStderr": attached,
    }
    ports = sorted({*config.exposed, *(port.container for port in config.ports)}, key=_port_order)
    if ports:
        data["ExposedPorts"] = {port: {} for port in ports}
    data |= {
        "Tty": config.tty,
        "OpenStdin": config.stdin_open,
        "StdinOnce": config.stdin_once,
        "Env": list(config.environment),
        "Cmd": list(config.command) if config.command is not None else None,
    }
    if config.healthcheck:
        data["Healthcheck"] = dict(config.healthcheck)
    data |= {
        "Image": config.image,
        "Volumes": {path: {} for path in config.volumes} or None,
        "WorkingDir": config.working_dir,
        "Entrypoint": list(config.entrypoint) if config.entrypoint else None,
        "OnBuild": None,
        "Labels": dict(config.labels),
    }
    if config.stop_signal:
        data["StopSignal"] = config.stop_signal
    if config.stop_timeout is not None:
        data["StopTimeout"] = config.stop_timeout
    if config.shell is not None:
        data["Shell"] = list(config.shell)
    return data


def _port_order(text: str) -> tuple[int, str]:
    number, _, protocol = text.partition("/")
    return int(number), protocol


def host_config_json(config: ContainerConfig, runtime: str) -> dict[str, Any]:
    """The ``HostConfig`` member: what binds the container to this host."""
    from engine.network.ports import bindings_json

    written = [mount.written for mount in config.binds if mount.written]
    tmpfs = {mount.target: ",".join(mount.options) for mount in config.binds if mount.kind == "tmpfs"}
    data: dict[str, Any] = {
        "Binds": written or None,
        "ContainerIDFile": "",
        # The engine writes one kind of log; what reads inspect knows docker's name for "a file of lines".
        "LogConfig": {"Type": "json-file", "Config": {}},
        "NetworkMode": config.network_mode or "default",
        "PortBindings": bindings_json(config.ports),
        "RestartPolicy": {
            "Name": config.restart_policy.name,
            "MaximumRetryCount": config.restart_policy.max_retries,
        },
        "AutoRemove": config.auto_remove,
        "VolumeDriver": "",
        "VolumesFrom": None,
        "CapAdd": list(config.cap_add) or None,
        "CapDrop": list(config.cap_drop) or None,
        "CgroupnsMode": _cgroup_namespace(config),
        "Dns": list(config.dns),
        "DnsOptions": list(config.dns_options),
        "DnsSearch": list(config.dns_search),
        "ExtraHosts": list(config.extra_hosts) or None,
        "GroupAdd": list(config.group_add) or None,
        "IpcMode": "private",
        "Cgroup": "",
        "Links": None,
        "OomScoreAdj": config.oom_score_adj,
        "PidMode": "",
        "Privileged": config.privileged,
        "PublishAllPorts": False,
        "ReadonlyRootfs": config.read_only,
        "SecurityOpt": list(config.security_opt) or None,
        "UTSMode": "",
        "UsernsMode": "",
        "ShmSize": config.shm_size or DEFAULT_SHM_SIZE,
        "Runtime": runtime,
        "ConsoleSize": [0, 0],
        "Isolation": "",
        "CpuShares": config.cpu_shares,
        "Memory": config.mem_limit,
        "NanoCpus": config.nano_cpus,
        "CgroupParent": "",
        "BlkioWeight": 0,
        "BlkioWeightDevice": [],
        "BlkioDeviceReadBps": None,
        "BlkioDeviceWriteBps": None,
        "BlkioDeviceReadIOps": None,
        "BlkioDeviceWriteIOps": None,
        "CpuPeriod": 0,
        "CpuQuota": 0,
        "CpuRealtimePeriod": 0,
        "CpuRealtimeRuntime": 0,
        "CpusetCpus": config.cpuset_cpus,
        "CpusetMems": "",
        "Devices": [_device_json(text) for text in config.devices],
        "DeviceCgroupRules": None,
        "DeviceRequests": None,
        "KernelMemory": 0,
        "KernelMemoryTCP": 0,
        "MemoryReservation": 0,
        "MemorySwap": config.memory_swap or 2 * config.mem_limit,
        "MemorySwappiness": None,
        "OomKillDisable": False,
        "PidsLimit": config.pids_limit or None,
        "Ulimits": [{"Name": limit.name, "Hard": limit.hard, "Soft": limit.soft} for limit in config.ulimits] or None,
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
        "MaskedPaths": None if config.privileged else list(MASKED_PATHS),
        "ReadonlyPaths": None if config.privileged else list(READONLY_PATHS),
    }
    if tmpfs:
        data["Tmpfs"] = tmpfs
    if config.sysctls:
        data["Sysctls"] = dict(config.sysctls)
    if config.init:
        data["Init"] = True
    return data


def _cgroup_namespace(config: ContainerConfig) -> str:
    from engine.host import cgroups

    return "private" if cgroups.layout().kind == "v2" and not config.privileged else "host"


def _device_json(text: str) -> dict[str, str]:
    parts = text.split(":")
    inside = parts[1] if len(parts) > 1 and parts[1].startswith("/") else parts[0]
    access = parts[-1] if len(parts) > 1 and not parts[-1].startswith("/") else "rwm"
    return {"PathOnHost": parts[0], "PathInContainer": inside, "CgroupPermissions": access}


def _mount_json(engine: Engine, mount: Mount) -> dict[str, Any]:
    mode = mount.written.split(":")[2] if mount.written.count(":") == 2 else ""
    if mount.kind == "volume":
        # The path needs no row: a volume removed behind the container's back still shows where it was.
        return {
            "Type": "volume",
            "Name": mount.source,
            "Source": str(engine.volumes.directory / mount.source / "_data"),
            "Destination": mount.target,
            "Driver": "local",
            "Mode": mode or ("" if mount.anonymous else "z"),
            "RW": not mount.read_only,
            "Propagation": "",
        }
    return {
        "Type": "bind",
        "Source": mount.source,
        "Destination": mount.target,
        "Mode": mode,
        "RW": not mount.read_only,
        "Propagation": mount.propagation,
    }
