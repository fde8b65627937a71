package agent

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/drover-io/drover/state"
)

// metrics are what an agent counts. Names begin with drover_.
type metrics struct {
	registry   *prometheus.Registry
	divergence prometheus.Counter
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		divergence: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "drover_state_divergence_total",
			Help: "Comparisons in which a server held another state than the others. Anything but 0 is an alarm.",
		}),
	}
	m.registry.MustRegister(m.divergence, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// watchServer adds the gauges of a server.
func (m *metrics) watchServer(s *server) {
	gauge := func(name, help string, read func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
	}
	gauge("drover_raft_leader", "1 while this server leads.", func() float64 { return boolGauge(s.term.Load() != nil) })
	gauge("drover_raft_applied_index", "Newest log entry applied here.", func() float64 { return float64(s.store.Snapshot().Index()) })
	gauge("drover_raft_last_contact_seconds", "Since this server heard of the leader.", func() float64 { return s.raft.LastContact().Seconds() })
	gauge("drover_raft_log_bytes", "Size of the log on disk.", func() float64 { return float64(s.raftBytes()) })
	gauge("drover_jobs", "Jobs stored.", func() float64 { return float64(s.store.Snapshot().JobCount()) })
	gauge("drover_allocations", "Allocations stored, ended ones too.", func() float64 { return float64(s.store.Snapshot().AllocCount()) })
	gauge("drover_eviction_guard_holding", "Node pools in which the eviction guard holds; known on the leader.", func() float64 {
		n := 0
		for _, p := range s.guard().Pools {
			if p.Holding {
				n++
			}
		}
		return float64(n)
	})
	m.registry.MustRegister(nodeGauge{s})
}

func boolGauge(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// nodeGauge counts the nodes by their status.
type nodeGauge struct{ s *server }

func (nodeGauge) desc() *prometheus.Desc {
	return prometheus.NewDesc("drover_nodes", "Nodes by status.", []string{"status"}, nil)
}

// Describe says what Collect sends.
func (g nodeGauge) Describe(ch chan<- *prometheus.Desc) { ch <- g.desc() }

// Collect counts the nodes of the current snapshot.
func (g nodeGauge) Collect(ch chan<- prometheus.Metric) {
	counts := map[string]int{
		state.NodeStatusInit: 0, state.NodeStatusReady: 0, state.NodeStatusDown: 0, state.NodeStatusDisconnected: 0,
	}
	for n := range g.s.store.Snapshot().Nodes() {
		counts[n.Status]++
	}
	for status, n := range counts {
		ch <- prometheus.MustNewConstMetric(g.desc(), prometheus.GaugeValue, float64(n), status)
	}
}
