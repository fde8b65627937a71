package agent

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/gossip"
	"github.com/drover-io/drover/state"
)

// metrics are what an agent counts. Their names, labels and meanings are the table of Metrics; a name that is not in it is
// refused by the registry.
type metrics struct {
	registry *prometheus.Registry
	rows     []api.Metric

	reloads       *prometheus.CounterVec
	divergence    prometheus.Counter
	commits       *prometheus.CounterVec
	commitSeconds prometheus.Observer
	termsLed      prometheus.Counter

	backupFailures prometheus.Counter
	passSeconds    prometheus.Observer
	placed         prometheus.Counter
	stopped        prometheus.Counter
	refused        prometheus.Counter
}

// Results of reading the configuration anew, and of a proposal.
const (
	reloadApplied = "applied"
	reloadRefused = "refused"

	commitApplied = "applied"
	commitRefused = "refused"
	commitFailed  = "failed"
)

func newMetrics(version string) *metrics {
	m := &metrics{registry: prometheus.NewRegistry(), rows: Metrics()}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.reloads = m.counter("drover_config_reloads_total", reloadApplied, reloadRefused)
	m.counts("drover_build_info", func() map[string]int { return map[string]int{version: 1} })
	return m
}

func (m *metrics) row(name string) api.Metric { return api.MetricNamed(m.rows, name) }

func (m *metrics) gauge(name string, read func() float64) {
	m.registry.MustRegister(m.row(name).GaugeFunc(read))
}

// counter registers a counter. The values given of its one label begin at 0, so that their first rise is seen.
func (m *metrics) counter(name string, values ...string) *prometheus.CounterVec {
	c := m.row(name).Counter()
	for _, v := range values {
		c.WithLabelValues(v)
	}
	m.registry.MustRegister(c)
	return c
}

func (m *metrics) histogram(name string, buckets ...float64) prometheus.Observer {
	h := m.row(name).Histogram(buckets...)
	m.registry.MustRegister(h)
	return h.WithLabelValues()
}

// counts registers a gauge with one label, counted when it is asked for.
func (m *metrics) counts(name string, read func() map[string]int) {
	m.registry.MustRegister(countGauge{m.row(name).Desc(), read})
}

// watchMembers adds what gossip knows.
func (m *metrics) watchMembers(list func() []gossip.Member) {
	m.counts("drover_members", func() map[string]int {
		counts := map[string]int{string(gossip.Alive): 0, string(gossip.Dead): 0, string(gossip.Left): 0}
		for _, x := range list() {
			counts[string(x.Status)]++
		}
		return counts
	})
}

// countApplied adds the bytes of the log, and returns what counts an entry. It is registered before the log is opened, which
// replays it.
func (m *metrics) countApplied() func(data []byte) {
	bytes := m.counter("drover_raft_applied_bytes_total", state.Kinds()...)
	return func(data []byte) { bytes.WithLabelValues(state.KindOf(data)).Add(float64(len(data))) }
}

// watchServer adds what a server counts.
func (m *metrics) watchServer(s *server) {
	m.divergence = m.counter("drover_state_divergence_total").WithLabelValues()
	m.commits = m.counter("drover_raft_commits_total", commitApplied, commitRefused, commitFailed)
	m.commitSeconds = m.histogram("drover_raft_commit_seconds", .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5)
	m.termsLed = m.counter("drover_raft_terms_led_total").WithLabelValues()
	m.passSeconds = m.histogram("drover_sched_pass_seconds", .0005, .001, .005, .01, .05, .1, .5, 1, 5)
	m.placed = m.counter("drover_sched_copies_placed_total").WithLabelValues()
	m.stopped = m.counter("drover_sched_copies_stopped_total").WithLabelValues()
	m.refused = m.counter("drover_sched_refused_total").WithLabelValues()

	m.watchBackups(&s.backups)
	m.gauge("drover_raft_leader", func() float64 { return boolGauge(s.term.Load() != nil) })
	m.gauge("drover_raft_term", func() float64 { return float64(s.raft.Term()) })
	m.gauge("drover_raft_applied_index", func() float64 { return float64(s.store.Snapshot().Index()) })
	m.gauge("drover_raft_commit_index", func() float64 { return float64(s.raft.CommitIndex()) })
	m.gauge("drover_raft_last_contact_seconds", func() float64 { return s.raft.LastContact().Seconds() })
	m.gauge("drover_raft_log_bytes", func() float64 { return float64(s.raftBytes()) })
	m.counts("drover_raft_servers", func() map[string]int {
		counts := map[string]int{"voter": 0, "nonvoter": 0}
		for _, p := range s.raft.Peers() {
			if p.Voter {
				counts["voter"]++
			} else {
				counts["nonvoter"]++
			}
		}
		return counts
	})
	m.gauge("drover_state_level", func() float64 { return float64(s.store.Snapshot().Level()) })
	m.gauge("drover_state_restore_generation", func() float64 { return float64(s.store.Snapshot().Generation()) })
	m.gauge("drover_jobs", func() float64 { return float64(s.store.Snapshot().JobCount()) })
	m.gauge("drover_jobs_blocked", func() float64 { return float64(blockedJobs(s.store.Snapshot())) })
	m.counts("drover_allocations", func() map[string]int { return allocsByStatus(s.store.Snapshot()) })
	m.counts("drover_nodes", func() map[string]int { return nodesByStatus(s.store.Snapshot()) })
	m.gauge("drover_eviction_guard_holding", func() float64 {
		n := 0
		for _, p := range s.guard().Pools {
			if p.Holding {
				n++
			}
		}
		return float64(n)
	})
}

// watchBackups adds what a server says of its scheduled snapshots.
func (m *metrics) watchBackups(b *backups) {
	m.backupFailures = m.counter("drover_snapshot_failures_total").WithLabelValues()
	m.gauge("drover_snapshot_last_success_timestamp_seconds", func() float64 {
		newest, _, _ := b.stats()
		return float64(max(newest.UnixMilli(), 0)) / 1000
	})
	m.gauge("drover_snapshot_files", func() float64 {
		_, count, _ := b.stats()
		return float64(count)
	})
	m.gauge("drover_snapshot_bytes", func() float64 {
		_, _, size := b.stats()
		return float64(size)
	})
}

// watchClient adds what a machine that runs work counts.
func (m *metrics) watchClient(c *client) {
	started := time.Now()
	m.gauge("drover_client_healthy", func() float64 { return boolGauge(c.health() == nil) })
	m.gauge("drover_client_last_orders_seconds", func() float64 {
		last := c.lastOrders()
		if last.IsZero() {
			last = started
		}
		return time.Since(last).Seconds()
	})
	m.gauge("drover_client_allocations", func() float64 { return float64(len(c.runner.Found())) })
	m.gauge("drover_client_allocations_running", func() float64 { return float64(len(c.runner.Running())) })
	m.gauge("drover_client_cpu_offered_mhz", func() float64 { return float64(c.offered().CPU) })
	m.gauge("drover_client_cpu_allocated_mhz", func() float64 { return float64(c.promised().CPU) })
	m.gauge("drover_client_memory_offered_bytes", func() float64 { return float64(c.offered().MemoryMB) * (1 << 20) })
	m.gauge("drover_client_memory_allocated_bytes", func() float64 { return float64(c.promised().MemoryMB) * (1 << 20) })
}

// committed counts a proposal.
func (m *metrics) committed(start time.Time, result string) {
	m.commits.WithLabelValues(result).Inc()
	if result != commitFailed {
		m.commitSeconds.Observe(time.Since(start).Seconds())
	}
}

// planned counts what a plan came to.
func (m *metrics) planned(r state.PlanResult) {
	m.placed.Add(float64(r.Placed))
	m.stopped.Add(float64(r.Stopped))
	m.refused.Add(float64(len(r.Dropped)))
}

func blockedJobs(snap *state.Snapshot) int {
	n := 0
	for j := range snap.Jobs() {
		if j.Blocked != nil {
			n++
		}
	}
	return n
}

func allocsByStatus(snap *state.Snapshot) map[string]int {
	counts := map[string]int{
		state.ClientPending: 0, state.ClientRunning: 0, state.ClientComplete: 0, state.ClientFailed: 0, state.ClientLost: 0, state.ClientUnknown: 0,
	}
	for status, n := range snap.CountByStatus() {
		counts[status] = n
	}
	return counts
}

func nodesByStatus(snap *state.Snapshot) map[string]int {
	counts := map[string]int{
		state.NodeStatusInit: 0, state.NodeStatusReady: 0, state.NodeStatusDown: 0, state.NodeStatusDisconnected: 0,
	}
	for n := range snap.Nodes() {
		counts[n.Status]++
	}
	return counts
}

func boolGauge(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// countGauge is a gauge with one label.
type countGauge struct {
	desc *prometheus.Desc
	read func() map[string]int
}

// Describe says what Collect sends.
func (g countGauge) Describe(ch chan<- *prometheus.Desc) { ch <- g.desc }

// Collect counts.
func (g countGauge) Collect(ch chan<- prometheus.Metric) {
	for label, n := range g.read() {
		ch <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, float64(n), label)
	}
}
