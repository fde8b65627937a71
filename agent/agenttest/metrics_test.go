package agenttest

import (
	"context"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/drover-io/drover/agent"
	"github.com/drover-io/drover/api"
)

// served is what an agent serves to Prometheus: the kind of each metric and the names of its labels.
type served struct {
	kind   map[string]string
	labels map[string]map[string]bool
}

var (
	sample    = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? `)
	labelName = regexp.MustCompile(`([a-zA-Z_]+)="(?:[^"\\]|\\.)*"`)
)

func (c *Cluster) served(n *Node) served {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := n.API.MetricsOf(ctx, api.AgentRef{}, "prometheus")
	if err != nil {
		c.t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err := r.Close(); err != nil {
		c.t.Fatal(err)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	s := served{kind: map[string]string{}, labels: map[string]map[string]bool{}}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); strings.HasPrefix(line, "# TYPE ") {
			s.kind[f[2]], s.labels[f[2]] = f[3], map[string]bool{}
			continue
		}
		m := sample.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		name := m[1]
		for _, tail := range []string{"_bucket", "_sum", "_count"} {
			if base := strings.TrimSuffix(name, tail); s.kind[base] == api.KindHistogram {
				name = base
			}
		}
		for _, l := range labelName.FindAllStringSubmatch(m[2], -1) {
			if l[1] != "le" {
				s.labels[name][l[1]] = true
			}
		}
	}
	return s
}

// TestMetricsAreThoseOfTheTable: what running agents serve is what docs/metrics.md lists: nothing more, nothing less, with the same
// kinds and labels, on the agents that it says.
func TestMetricsAreThoseOfTheTable(t *testing.T) {
	inBubble(t, Options{Servers: 3, Clients: 1}, func(t *testing.T, c *Cluster) {
		if err := c.Run(c.Nodes[3], Job("web", 4)); err != nil {
			t.Fatal(err)
		}
		c.WaitRunning(c.Nodes[3], "web", 4, 20*time.Second)
		rows, all := map[string]api.Metric{}, map[string]bool{}
		for _, m := range agent.Metrics() {
			rows[m.Name] = m
		}
		for _, n := range c.Nodes {
			if _, err := c.nodesOf(n); err != nil { // all but the leader hand it on
				t.Fatal(err)
			}
			have := c.served(n)
			for name, kind := range have.kind {
				row, listed := rows[name]
				switch {
				case strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_"):
					continue
				case !listed:
					t.Errorf("%s serves %s, which the table does not list", n.Name, name)
					continue
				case kind != row.Kind:
					t.Errorf("%s is a %s, the table says %s", name, kind, row.Kind)
				case row.On == api.OnServer && !n.server:
					t.Errorf("%s serves %s, which the table has on servers", n.Name, name)
				}
				all[name] = true
				if got, want := slices.Sorted(maps.Keys(have.labels[name])), slices.Sorted(slices.Values(row.Labels)); !slices.Equal(got, want) {
					t.Errorf("%s has the labels %v, the table says %v", name, got, want)
				}
			}
			for name, row := range rows {
				// What counts by route begins with the first request of a kind.
				if _, ok := have.kind[name]; !ok && !slices.Contains(row.Labels, "route") && (row.On != api.OnServer || n.server) {
					t.Errorf("%s does not serve %s", n.Name, name)
				}
			}
		}
		for name := range rows {
			if !all[name] {
				t.Errorf("nobody serves %s", name)
			}
		}
	})
}

// TestMetricsMove: the figures say what happened.
func TestMetricsMove(t *testing.T) {
	inBubble(t, Options{Servers: 3, Clients: 1}, func(t *testing.T, c *Cluster) {
		if err := c.Run(c.Nodes[3], Job("web", 4)); err != nil {
			t.Fatal(err)
		}
		c.WaitRunning(c.Nodes[3], "web", 4, 20*time.Second)
		lead := c.Leader()
		for _, want := range []struct {
			name, label, value string
			least, most        float64
		}{
			{"drover_raft_leader", "", "", 1, 1}, {"drover_raft_term", "", "", 1, 100}, {"drover_raft_terms_led_total", "", "", 1, 1},
			{"drover_raft_servers", "suffrage", "voter", 3, 3}, {"drover_members", "status", "alive", 4, 4},
			{"drover_raft_commits_total", "result", "applied", 5, 1000}, {"drover_raft_commits_total", "result", "failed", 0, 0},
			{"drover_jobs", "", "", 1, 1}, {"drover_jobs_blocked", "", "", 0, 0}, {"drover_nodes", "status", "ready", 4, 4},
			{"drover_allocations", "status", "running", 4, 4}, {"drover_allocations", "status", "failed", 0, 0},
			{"drover_sched_copies_placed_total", "", "", 4, 4}, {"drover_sched_copies_stopped_total", "", "", 0, 0},
			{"drover_client_healthy", "", "", 1, 1}, {"drover_client_last_orders_seconds", "", "", 0, 5},
			{"drover_client_cpu_offered_mhz", "", "", 100, 1e6}, {"drover_build_info", "version", "test", 1, 1},
		} {
			if got := c.metric(lead, want.name, want.label, want.value); got < want.least || got > want.most {
				t.Errorf("%s{%s=%q} is %v, want %v to %v", want.name, want.label, want.value, got, want.least, want.most)
			}
		}
		cpu, memory := 0.0, 0.0
		for _, n := range c.Nodes {
			cpu += c.metric(n, "drover_client_cpu_allocated_mhz", "", "")
			memory += c.metric(n, "drover_client_memory_allocated_bytes", "", "")
		}
		if cpu != 4*20 || memory != 4*32<<20 {
			t.Errorf("allocated on all machines: %v MHz, %v bytes", cpu, memory)
		}
	})
}

// metric reads one figure of an agent, -1 when it does not serve it.
func (c *Cluster) metric(n *Node, name, label, value string) float64 {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	view, err := n.API.Metrics(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, v := range append(view.Gauges, view.Counters...) {
		if v.Name == name && (label == "" || v.Labels[label] == value) {
			return v.Value
		}
	}
	return -1
}

// TestPrometheusOff: who does not want it served is asked for nothing; JSON stays.
func TestPrometheusOff(t *testing.T) {
	off := func(_ int, c *agent.Config) { c.Telemetry.PrometheusMetrics = false }
	inBubble(t, Options{Servers: 1, Config: off}, func(t *testing.T, c *Cluster) {
		_, err := c.Nodes[0].API.MetricsOf(t.Context(), api.AgentRef{}, "prometheus")
		if err == nil || !strings.Contains(err.Error(), "telemetry { prometheus_metrics = true }") {
			t.Errorf("served all the same: %v", err)
		}
		if got := c.metric(c.Nodes[0], "drover_raft_leader", "", ""); got != 1 {
			t.Errorf("as JSON drover_raft_leader is %v", got)
		}
	})
}
