package agent

import (
	"strings"
)

// ConfigKey is one thing that an agent can be told.
type ConfigKey struct {
	Path    string // blocks and attribute in a file: "server.retry_join"
	Env     string // environment variable; "" means none
	Flag    string // of `drover agent`, without dashes; "" means none
	Meaning string // one line
	// field points to the value in a configuration; its type decides what is accepted.
	field func(c *Config) any
}

// IsBool reports whether the flag needs no value.
func (k ConfigKey) IsBool() bool { _, ok := k.field(&Config{}).(*bool); return ok }

// IsList reports whether the flag may be repeated.
func (k ConfigKey) IsList() bool {
	switch k.field(&Config{}).(type) {
	case *[]string, *[]int, *map[string]string:
		return true
	}
	return false
}

// name is the last part of the path.
func (k ConfigKey) name() string { return k.Path[strings.LastIndexByte(k.Path, '.')+1:] }

// ConfigKeys is the table of everything that an agent can be told: names of files, environment and flags come from it.
func ConfigKeys() []ConfigKey {
	var keys []ConfigKey
	for _, part := range [][]ConfigKey{agentKeys(), networkKeys(), serverKeys(), clientKeys(), driverKeys(), containerKeys()} {
		keys = append(keys, part...)
	}
	return keys
}

func agentKeys() []ConfigKey {
	return []ConfigKey{
		{"name", "DROVER_NODE_NAME", "node", "name of this node (default: the host name)", func(c *Config) any { return &c.Name }},
		{"datacenter", "DROVER_DATACENTER", "dc", "datacenter of this node", func(c *Config) any { return &c.Datacenter }},
		{"region", "DROVER_REGION", "region", "region of this cluster", func(c *Config) any { return &c.Region }},
		{"data_dir", "DROVER_DATA_DIR", "data-dir", "directory for all that this agent keeps, absolute", func(c *Config) any { return &c.DataDir }},
		{"log_level", "DROVER_LOG_LEVEL", "log-level", "trace, debug, info, warn or error", func(c *Config) any { return &c.LogLevel }},
		{"log_json", "DROVER_LOG_JSON", "log-json", "log in JSON", func(c *Config) any { return &c.LogJSON }},
		{"insecure", "DROVER_INSECURE", "insecure", "accept traffic in the clear on an address that others can reach",
			func(c *Config) any { return &c.Insecure }},
		{"leave_on_interrupt", "", "", "SIGINT makes the agent leave the cluster as `drover agent leave --force` does (default false: it only ends)",
			func(c *Config) any { return &c.LeaveOnInterrupt }},
		{"leave_on_terminate", "", "", "the same for SIGTERM, which service managers send for a restart, too (default false)",
			func(c *Config) any { return &c.LeaveOnTerminate }},
		{"acl.enabled", "", "", "false: there are no access rules yet, whoever reaches the ports may do everything", func(c *Config) any { return &c.ACL.Enabled }},
		{"telemetry.prometheus_metrics", "", "", "serve /v1/metrics?format=prometheus; JSON is always served", func(c *Config) any { return &c.Telemetry.PrometheusMetrics }},
	}
}

func networkKeys() []ConfigKey {
	return []ConfigKey{
		{"bind_addr", "DROVER_BIND_ADDR", "bind", "IP to listen on", func(c *Config) any { return &c.BindAddr }},
		{"addresses.http", "", "", "IP of the API instead of bind_addr", func(c *Config) any { return &c.Addresses.HTTP }},
		{"addresses.rpc", "", "", "IP of the peer traffic instead of bind_addr", func(c *Config) any { return &c.Addresses.RPC }},
		{"addresses.serf", "", "", "IP of the gossip instead of bind_addr", func(c *Config) any { return &c.Addresses.Serf }},
		{"advertise.http", "DROVER_ADVERTISE_HTTP", "", "address of the API for others", func(c *Config) any { return &c.Advertise.HTTP }},
		{"advertise.rpc", "DROVER_ADVERTISE_RPC", "", "address of the peer traffic for others", func(c *Config) any { return &c.Advertise.RPC }},
		{"advertise.serf", "DROVER_ADVERTISE_SERF", "", "address of the gossip for others", func(c *Config) any { return &c.Advertise.Serf }},
		{"ports.http", "DROVER_HTTP_PORT", "http-port", "port of the API", func(c *Config) any { return &c.Ports.HTTP }},
		{"ports.rpc", "DROVER_RPC_PORT", "rpc-port", "port of the peer traffic", func(c *Config) any { return &c.Ports.RPC }},
		{"ports.serf", "DROVER_SERF_PORT", "serf-port", "port of the gossip", func(c *Config) any { return &c.Ports.Serf }},
	}
}

func serverKeys() []ConfigKey {
	join := func(c *Config) any { return &c.Server.RetryJoin }
	interval := func(c *Config) any { return &c.Server.RetryInterval }
	attempts := func(c *Config) any { return &c.Server.RetryMax }
	return []ConfigKey{
		{"server.enabled", "DROVER_SERVER", "server", "be a server: keep the cluster's state", func(c *Config) any { return &c.Server.Enabled }},
		{"server.bootstrap_expect", "DROVER_BOOTSTRAP_EXPECT", "bootstrap-expect", "servers that found the cluster together",
			func(c *Config) any { return &c.Server.BootstrapExpect }},
		{"server.encrypt", "DROVER_ENCRYPT", "encrypt", "key of the gossip, base64 of 32 bytes", func(c *Config) any { return &c.Server.Encrypt }},
		{"server.retry_join", "DROVER_RETRY_JOIN", "retry-join", "addresses of agents of the cluster to join", join},
		{"server.retry_interval", "", "retry-interval", "time between attempts to join", interval},
		{"server.retry_max", "", "retry-max", "attempts to join, 0 for ever", attempts},
		{"server.server_join.retry_join", "", "", "the same as server.retry_join", join},
		{"server.server_join.retry_interval", "", "", "the same as server.retry_interval", interval},
		{"server.server_join.retry_max", "", "", "the same as server.retry_max", attempts},
		{"client.server_join.retry_join", "", "", "the same as server.retry_join", join},
		{"client.server_join.retry_interval", "", "", "the same as server.retry_interval", interval},
		{"client.server_join.retry_max", "", "", "the same as server.retry_max", attempts},
		{"server.raft_timeout", "", "", "silence of the leader after which another is elected", func(c *Config) any { return &c.Server.RaftTimeout }},
		{"server.lost_after", "", "", "time after which a disconnected node is down", func(c *Config) any { return &c.Server.LostAfter }},
		{"server.eviction_hold", "", "", "how long no work moves when much of a pool falls silent at once",
			func(c *Config) any { return &c.Server.EvictionHold }},
		{"server.lease_only", "", "", "for simulated nodes only, never for machines (default false): a node's lease is all the evidence of its life, gossip is not asked and nobody knocks at it",
			func(c *Config) any { return &c.Server.LeaseOnly }},
		{"server.snapshots.interval", "", "", "time between scheduled snapshots of the cluster's state, such as \"1h\"; 0, the default, for none",
			func(c *Config) any { return &c.Server.Snapshots.Interval }},
		{"server.snapshots.retain", "", "", "scheduled snapshots that are kept, the newest (default 24)", func(c *Config) any { return &c.Server.Snapshots.Retain }},
		{"server.snapshots.directory", "", "", "where they are kept, absolute (default: snapshots in data_dir)", func(c *Config) any { return &c.Server.Snapshots.Directory }},
		{"server.default_scheduler_config.scheduler_algorithm", "", "", "binpack or spread, for a new cluster; later `drover operator scheduler set-config`",
			func(c *Config) any { return &c.Server.Algorithm }},
		{"server.default_scheduler_config.memory_oversubscription_enabled", "", "", "grant tasks their memory_max, for a new cluster",
			func(c *Config) any { return &c.Server.Oversubscribe }},
		{"server.default_scheduler_config.reject_job_registration", "", "", "refuse new and changed jobs, for a new cluster",
			func(c *Config) any { return &c.Server.RejectJobs }},
	}
}

func clientKeys() []ConfigKey {
	return []ConfigKey{
		{"client.enabled", "DROVER_CLIENT", "client", "be a client: run tasks", func(c *Config) any { return &c.Client.Enabled }},
		{"client.servers", "DROVER_SERVERS", "servers", "peer addresses of servers", func(c *Config) any { return &c.Client.Servers }},
		{"client.node_class", "DROVER_NODE_CLASS", "node-class", "class of this node", func(c *Config) any { return &c.Client.NodeClass }},
		{"client.node_pool", "DROVER_NODE_POOL", "node-pool", "pool of this node", func(c *Config) any { return &c.Client.NodePool }},
		{"client.meta", "", "meta", "key=value, for constraints", func(c *Config) any { return &c.Client.Meta }},
		{"client.reserved.cpu", "", "", "MHz kept from tasks", func(c *Config) any { return &c.Client.Reserved.CPU }},
		{"client.reserved.cores", "", "", "cores kept from tasks, such as \"0-1,4\"", func(c *Config) any { return &c.Client.Reserved.Cores }},
		{"client.reserved.memory", "", "", "MiB kept from tasks", func(c *Config) any { return &c.Client.Reserved.MemoryMB }},
		{"client.reserved.disk", "", "", "MiB kept from tasks", func(c *Config) any { return &c.Client.Reserved.DiskMB }},
		{"client.reserved.reserved_ports", "", "", "ports kept from tasks, such as \"22,8000-8010\"", func(c *Config) any { return &c.Client.Reserved.Ports }},
		{"client.min_dynamic_port", "", "", "first port that tasks get", func(c *Config) any { return &c.Client.MinDynamicPort }},
		{"client.max_dynamic_port", "", "", "last port that tasks get", func(c *Config) any { return &c.Client.MaxDynamicPort }},
		{"client.detect_devices", "", "", "offer GPUs and the like that are found on the machine, beside those of device blocks",
			func(c *Config) any { return &c.Client.DetectDevices }},
		{"client.max_kill_timeout", "", "", "the longest that a task may take to end", func(c *Config) any { return &c.Client.MaxKillTimeout }},
		{"client.gc_interval", "", "", "time between looks at what nobody needs any more", func(c *Config) any { return &c.Client.GCInterval }},
		{"client.gc_disk_usage_threshold", "", "", "percent of the disk in use above which unused images go at once, 0 for never",
			func(c *Config) any { return &c.Client.GCDiskPercent }},
		{"client.gc_max_allocs", "", "", "directories of ended allocations that are kept", func(c *Config) any { return &c.Client.GCMaxAllocs }},
	}
}

func driverKeys() []ConfigKey {
	return []ConfigKey{
		{"drivers.enabled", "DROVER_DRIVERS", "drivers", "drivers to use (default: all that work here)", func(c *Config) any { return &c.Drivers.Enabled }},
		{"drivers.containerd.address", "DROVER_CONTAINERD_ADDRESS", "containerd-address", "socket of the containerd to use",
			func(c *Config) any { return &c.Drivers.ContainerdAddress }},
		{"drivers.containerd.runc", "", "", "path of runc", func(c *Config) any { return &c.Drivers.RuncPath }},
		{"drivers.containerd.plain_http", "", "", "registries spoken to without TLS", func(c *Config) any { return &c.Drivers.PlainHTTP }},
		{"drivers.exec.isolation", "", "", "namespaces or none", func(c *Config) any { return &c.Drivers.ExecIsolation }},
	}
}
