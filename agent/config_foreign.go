package agent

// foreignKey is a name that Nomad's agent knows and this one does not.
type foreignKey struct {
	path     string
	labels   []string // of the block
	harmless bool     // ignoring it changes nothing that the user would miss: a warning
	why      string
}

// foreignKeys lists them. Whoever brings a file along learns for each what happens to it.
func foreignKeys() []foreignKey {
	keys := append(refusedKeys(), foreignContainerKeys()...)
	for why, paths := range ignoredKeys() {
		for _, path := range paths {
			keys = append(keys, foreignKey{path: path, harmless: true, why: why})
		}
	}
	return keys
}

// refusedKeys are those whose absence changes what the user gets, who may protect something for instance.
func refusedKeys() []foreignKey {
	one := []string{"name"}
	return []foreignKey{
		{path: "tls", why: "traffic is in the clear for now; remove the block, and set insecure = true if that is acceptable in your network"},
		{path: "vault", why: "there are no secrets from Vault; remove the block"},
		{path: "consul", why: "agents find each other by gossip and need no Consul; remove the block"},
		{path: "plugin_dir", why: "drivers are built in; remove it"},
		{path: "audit", why: "there is no audit log yet; remove the block"},
		{path: "keyring", labels: one, why: "there are no encrypted variables yet; remove the block"},
		{path: "sentinel", why: "there are no policies; remove the block"},
		{path: "vault_retry", why: "there are no secrets from Vault; remove it"},
		{path: "enable_syslog", why: "logs go to standard error, for systemd to keep; remove it"},
		{path: "log_file", why: "logs go to standard error, for systemd to keep; remove it"},
		{path: "server.authoritative_region", why: "there is one region; remove it"},
		{path: "server.license_path", why: "there is no license to give; remove it"},
		{path: "server.redundancy_zone", why: "there are no redundancy zones; remove it"},
		{path: "server.start_join", why: "use retry_join"},
		{path: "server.data_dir", why: "set data_dir at the top: the server's part is below it"},
		{path: "server.server_join.start_join", why: "use retry_join"},
		{path: "client.server_join.start_join", why: "use retry_join"},
		{path: "server.default_scheduler_config.preemption_config", why: "jobs do not push out others yet; remove the block"},
		{path: "server.default_scheduler_config.pause_eval_broker", why: "remove it"},
		{path: "client.alloc_dir", why: "set data_dir at the top: tasks have their directories below it"},
		{path: "client.state_dir", why: "set data_dir at the top: all state is below it"},
		{path: "client.host_volume", labels: one, why: "there are no volumes yet; remove the block"},
		{path: "client.host_network", labels: one, why: "ports are on the node's own address for now; remove the block"},
		{path: "client.chroot_env", why: "the exec driver shows tasks the machine's own files; remove the block"},
		{path: "client.options", why: "drivers are chosen with drivers { enabled = [...] }"},
		{path: "client.network_interface", why: "set advertise { rpc = \"IP\" }, which is also where tasks have their ports"},
		{path: "client.cpu_total_compute", why: "the machine is measured; to keep a part of it from tasks use reserved { cpu = … }"},
		{path: "client.memory_total_mb", why: "the machine is measured; to keep a part of it from tasks use reserved { memory = … }"},
		{path: "client.disk_total_mb", why: "the machine is measured; to keep a part of it from tasks use reserved { disk = … }"},
		{path: "client.drain_on_shutdown", why: "tasks run on when the agent stops; remove the block"},
		{path: "client.template", why: "there are no templates yet; remove the block"},
		{path: "client.artifact", why: "there are no artifacts yet; remove the block"},
	}
}

// ignoredKeys are those that concern how Nomad works inside, by why they may be left out.
func ignoredKeys() map[string][]string {
	return map[string][]string{
		"there are no access rules yet": {
			"acl.token_ttl", "acl.policy_ttl", "acl.role_ttl", "acl.replication_token", "acl.token_min_expiration_ttl", "acl.token_max_expiration_ttl",
		},
		"Drover has its own figures for this": {
			"limits", "autopilot", "rpc", "server.raft_protocol", "server.raft_multiplier", "server.raft_boltdb", "server.raft_logstore",
			"server.raft_trailing_logs", "server.raft_snapshot_threshold", "server.raft_snapshot_interval", "server.protocol_version",
			"server.num_schedulers", "server.enabled_schedulers", "server.heartbeat_grace", "server.min_heartbeat_ttl",
			"server.max_heartbeats_per_second", "server.failover_heartbeat_ttl", "server.job_gc_interval", "server.job_gc_threshold",
			"server.eval_gc_threshold", "server.batch_eval_gc_threshold", "server.deployment_gc_threshold", "server.node_gc_threshold",
			"server.csi_volume_claim_gc_threshold", "server.csi_plugin_gc_threshold", "server.acl_token_gc_threshold",
			"server.root_key_gc_interval", "server.root_key_gc_threshold", "server.root_key_rotation_threshold", "server.rejoin_after_leave",
			"server.upgrade_version", "server.non_voting_server", "server.job_max_source_size", "server.job_tracked_versions",
			"server.job_max_priority", "server.job_default_priority", "server.event_buffer_size", "server.enable_event_broker",
			"server.plan_rejection_tracker", "server.search", "server.client_introduction",
			"client.gc_inode_usage_threshold",
			"client.gc_parallel_destroys", "client.min_dynamic_user", "client.max_dynamic_user", "client.users",
			"client.preferred_address_family", "client.network_speed", "client.no_host_uuid", "client.bridge_network_hairpin_mode",
			"client.disable_remote_exec", "client.host_volumes_dir", "client.host_volume_plugin_dir",
		},
		"pods share the machine's network for now": {
			"client.cni_path", "client.cni_config_dir", "client.bridge_network_name", "client.bridge_network_subnet", "client.bridge_network_subnet_ipv6",
		},
		"there is no web interface yet": {"ui"},
		"what it does not change, nobody asks for": {
			"disable_update_check", "disable_anonymous_signature", "enable_debug", "http_api_response_headers", "reporting",
			"log_rotate_duration", "log_rotate_bytes", "log_rotate_max_files", "syslog_facility", "log_include_location",
		},
		"all metrics are at /v1/metrics": {
			"telemetry.collection_interval", "telemetry.publish_allocation_metrics", "telemetry.publish_node_metrics",
			"telemetry.disable_hostname", "telemetry.use_node_name", "telemetry.filter_default", "telemetry.prefix_filter",
			"telemetry.statsite_address", "telemetry.statsd_address", "telemetry.datadog_address", "telemetry.in_memory_collection_interval",
			"telemetry.in_memory_retention_period", "telemetry.include_alloc_metadata_in_metrics",
		},
	}
}
