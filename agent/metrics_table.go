package agent

import "github.com/drover-io/drover/api"

// Metrics is the list of everything that /v1/metrics serves, the Go runtime's and the process's own aside. What agents count is
// registered from it, and docs/metrics.md is written from it.
func Metrics() []api.Metric {
	list := append(agentMetrics(), serverMetrics()...)
	list = append(list, leaderMetrics()...)
	list = append(list, clientMetrics()...)
	return append(list, api.Metrics()...)
}

func agentMetrics() []api.Metric {
	return []api.Metric{
		{Name: "drover_build_info", Kind: api.KindGauge, Labels: []string{"version"}, On: api.OnAgent, Help: "Always 1; the label is the version of the agent."},
		{Name: "drover_config_reloads_total", Kind: api.KindCounter, Labels: []string{"result"}, On: api.OnAgent,
			Help: "Times that the configuration was read anew (SIGHUP): applied, or refused because it was wrong."},
		{Name: "drover_members", Kind: api.KindGauge, Labels: []string{"status"}, On: api.OnAgent,
			Help: "Agents that gossip knows, this one included: alive, dead (stopped answering) or left (said so)."},
	}
}

func serverMetrics() []api.Metric {
	status := []string{"status"}
	return []api.Metric{
		{Name: "drover_raft_leader", Kind: api.KindGauge, On: api.OnServer, Help: "1 while this server leads."},
		{Name: "drover_raft_term", Kind: api.KindGauge, On: api.OnServer, Help: "The term of Raft; it grows with every election."},
		{Name: "drover_raft_applied_index", Kind: api.KindGauge, On: api.OnServer, Help: "Newest log entry applied here."},
		{Name: "drover_raft_commit_index", Kind: api.KindGauge, On: api.OnServer, Help: "Newest log entry that this server knows to be committed."},
		{Name: "drover_raft_last_contact_seconds", Kind: api.KindGauge, Unit: "seconds", On: api.OnServer,
			Help: "Since this server heard of the leader; 0 on the leader."},
		{Name: "drover_raft_log_bytes", Kind: api.KindGauge, Unit: "bytes", On: api.OnServer, Help: "Size of the log on disk."},
		{Name: "drover_raft_applied_bytes_total", Kind: api.KindCounter, Labels: []string{"kind"}, On: api.OnServer,
			Help: "Bytes of the log entries that this server has applied since its agent was started, by kind of command; what it replays at its start included."},
		{Name: "drover_raft_servers", Kind: api.KindGauge, Labels: []string{"suffrage"}, On: api.OnServer,
			Help: "Servers of the Raft configuration: voter or nonvoter."},
		{Name: "drover_raft_commits_total", Kind: api.KindCounter, Labels: []string{"result"}, On: api.OnServer,
			Help: "Commands that this server proposed as the leader: applied, refused (by the state, with a reason), or failed (not committed, or nobody knows)."},
		{Name: "drover_raft_commit_seconds", Kind: api.KindHistogram, Unit: "seconds", On: api.OnServer,
			Help: "From the proposal of a command on the leader until it was applied there."},
		{Name: "drover_state_divergence_total", Kind: api.KindCounter, On: api.OnServer,
			Help: "Comparisons in which a server held another state than the others. Anything but 0 is an alarm."},
		{Name: "drover_state_level", Kind: api.KindGauge, On: api.OnServer, Help: "The cluster's level, see upgrading.md."},
		{Name: "drover_state_restore_generation", Kind: api.KindGauge, On: api.OnServer, Help: "Grows when a backup is restored or the cluster is recovered."},
		{Name: "drover_snapshot_last_success_timestamp_seconds", Kind: api.KindGauge, Unit: "seconds", On: api.OnServer,
			Help: "When this server's newest scheduled snapshot was taken, or found to be unchanged still, in seconds since 1970; 0 without one."},
		{Name: "drover_snapshot_failures_total", Kind: api.KindCounter, On: api.OnServer, Help: "Scheduled snapshots that failed; the log says why."},
		{Name: "drover_snapshot_files", Kind: api.KindGauge, On: api.OnServer, Help: "Scheduled snapshots that this server keeps."},
		{Name: "drover_snapshot_bytes", Kind: api.KindGauge, Unit: "bytes", On: api.OnServer, Help: "Their size, together."},
		{Name: "drover_jobs", Kind: api.KindGauge, On: api.OnServer, Help: "Jobs stored."},
		{Name: "drover_jobs_blocked", Kind: api.KindGauge, On: api.OnServer, Help: "Jobs of which copies cannot be placed; drover job why says why."},
		{Name: "drover_allocations", Kind: api.KindGauge, Labels: status, On: api.OnServer,
			Help: "Allocations stored: pending, running, complete, failed, lost (its machine is down) or unknown (its machine is out of touch)."},
		{Name: "drover_nodes", Kind: api.KindGauge, Labels: status, On: api.OnServer, Help: "Machines: initializing, ready, disconnected or down."},
	}
}

func leaderMetrics() []api.Metric {
	return []api.Metric{
		{Name: "drover_raft_terms_led_total", Kind: api.KindCounter, On: api.OnServer, Help: "Terms that this server has led since its agent was started."},
		{Name: "drover_eviction_guard_holding", Kind: api.KindGauge, On: api.OnServer, Help: "Node pools in which the eviction guard holds; known on the leader, 0 elsewhere."},
		{Name: "drover_sched_pass_seconds", Kind: api.KindHistogram, Unit: "seconds", On: api.OnServer,
			Help: "One pass of the leader over what should run: deciding and committing; passes that found nothing to do included."},
		{Name: "drover_sched_copies_placed_total", Kind: api.KindCounter, On: api.OnServer, Help: "Copies that plans of this leader placed."},
		{Name: "drover_sched_copies_stopped_total", Kind: api.KindCounter, On: api.OnServer, Help: "Copies that plans of this leader stopped."},
		{Name: "drover_sched_refused_total", Kind: api.KindCounter, On: api.OnServer,
			Help: "Parts of plans that were refused because the state had moved on; they are planned again."},
	}
}

func clientMetrics() []api.Metric {
	return []api.Metric{
		{Name: "drover_client_healthy", Kind: api.KindGauge, On: api.OnClient, Help: "1 while this machine gets its orders from the servers."},
		{Name: "drover_client_last_orders_seconds", Kind: api.KindGauge, Unit: "seconds", On: api.OnClient,
			Help: "Since this machine last got orders; since its agent was started before the first."},
		{Name: "drover_client_allocations", Kind: api.KindGauge, On: api.OnClient, Help: "Allocations found on this machine, those with ended tasks included."},
		{Name: "drover_client_allocations_running", Kind: api.KindGauge, On: api.OnClient, Help: "Allocations on this machine that have running tasks."},
		{Name: "drover_client_cpu_offered_mhz", Kind: api.KindGauge, Unit: "MHz", On: api.OnClient, Help: "CPU that this machine offers its tasks, reserved parts taken off."},
		{Name: "drover_client_cpu_allocated_mhz", Kind: api.KindGauge, Unit: "MHz", On: api.OnClient, Help: "CPU of it that allocations with running tasks hold."},
		{Name: "drover_client_memory_offered_bytes", Kind: api.KindGauge, Unit: "bytes", On: api.OnClient,
			Help: "Memory that this machine offers its tasks, reserved parts taken off."},
		{Name: "drover_client_memory_allocated_bytes", Kind: api.KindGauge, Unit: "bytes", On: api.OnClient, Help: "Memory of it that allocations with running tasks hold."},
	}
}
