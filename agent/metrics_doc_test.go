package agent

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/drover-io/drover/api"
)

// TestMetricsPage keeps docs/metrics.md equal to the table of metrics.
func TestMetricsPage(t *testing.T) {
	const path = "../docs/metrics.md"
	if *rewrite {
		if err := os.WriteFile(path, []byte(metricsPage()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != metricsPage() {
		t.Errorf("%s is stale: go test ./agent -run MetricsPage -rewrite", path)
	}
}

func metricsPage() string {
	var b strings.Builder
	b.WriteString(metricsProse)
	for _, part := range []struct{ on, title string }{
		{api.OnAgent, "Every agent"}, {api.OnServer, "Servers"}, {api.OnClient, "Machines that run work"},
	} {
		fmt.Fprintf(&b, "\n## %s\n\n| metric | type | unit | labels | meaning |\n|---|---|---|---|---|\n", part.title)
		for _, m := range Metrics() {
			if m.On != part.on {
				continue
			}
			labels := ""
			for i, l := range m.Labels {
				if i > 0 {
					labels += ", "
				}
				labels += "`" + l + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", m.Name, m.Kind, m.Unit, labels, m.Help)
		}
	}
	b.WriteString(metricsAfter)
	return b.String()
}

// TestMetricNames holds the table to Prometheus' habits: what reads a name knows what it is.
func TestMetricNames(t *testing.T) {
	name := regexp.MustCompile(`^drover_[a-z][a-z0-9_]*[a-z0-9]$`)
	seen := map[string]bool{}
	for _, m := range Metrics() {
		switch {
		case !name.MatchString(m.Name) || seen[m.Name]:
			t.Errorf("%s: no name, or twice", m.Name)
		case !slices.Contains([]string{api.KindCounter, api.KindGauge, api.KindHistogram}, m.Kind):
			t.Errorf("%s: kind %q", m.Name, m.Kind)
		case !slices.Contains([]string{api.OnAgent, api.OnServer, api.OnClient}, m.On):
			t.Errorf("%s: served by %q", m.Name, m.On)
		case (m.Kind == api.KindCounter) != strings.HasSuffix(m.Name, "_total"):
			t.Errorf("%s: counters end with _total, and nothing else does", m.Name)
		case m.Unit != "" && !strings.HasSuffix(m.Name, "_"+strings.ToLower(m.Unit)):
			t.Errorf("%s: its name does not end with its unit, %s", m.Name, m.Unit)
		case !strings.HasSuffix(m.Help, "."):
			t.Errorf("%s: help %q: want a sentence", m.Name, m.Help)
		}
		seen[m.Name] = true
	}
}

const metricsProse = `# Metrics

Every agent serves its metrics at ` + "`/v1/metrics?format=prometheus`" + ` (unless ` + "`telemetry { prometheus_metrics = false }`" + `) and as JSON at ` + "`/v1/metrics`" + `;
` + "`drover operator metrics`" + ` prints them. This page is written from the table that they are registered from, and a test compares it with what running
agents serve. Beside these there are the usual ones of the Go runtime (` + "`go_…`) and of the process (`process_…`)" + `.

` + "```yaml" + `
scrape_configs:
  - job_name: drover
    metrics_path: /v1/metrics
    params: { format: [prometheus] }
    static_configs:
      - targets: ["10.0.0.1:4646", "10.0.0.2:4646", "10.0.0.3:4646"]
` + "```" + `

What servers say of the cluster (jobs, allocations, nodes) every server says, from what it has applied: take the maximum, not the sum.
A dashboard for Grafana is ` + "`dist/grafana/drover.json`" + ` (Dashboards → New → Import).
Figures of the leader's work rise on the leader only; add them up. A histogram has three series: ` + "`_bucket`, `_sum`, `_count`" + `.
`

const metricsAfter = `
## What to be woken for

| expression | why |
|---|---|
| ` + "`max(drover_raft_leader) == 0`" + ` for 30 s | nobody leads: nothing is placed and nothing can be changed; what runs goes on running |
| ` + "`increase(drover_state_divergence_total[1h]) > 0`" + ` | servers hold different states: the one that differs has exited, or will |
| ` + "`max(drover_nodes{status=\"down\"}) > 0`" + ` for 10 min | a machine is gone |
| ` + "`max(drover_jobs_blocked) > 0`" + ` for 10 min | copies find no place: ` + "`drover job why`" + ` |
| ` + "`max(drover_eviction_guard_holding) > 0`" + ` | much of a pool fell silent at once: see [the eviction guard](operations.md#the-eviction-guard) |
| ` + "`min(drover_client_healthy) == 0`" + ` for 5 min | a machine gets no orders |
| ` + "`increase(drover_snapshot_failures_total[1h]) > 0`" + ` | a server cannot save the cluster's state: its log says why |
| ` + "`max(drover_raft_last_contact_seconds) > 10`" + ` | a server does not hear the leader |
`
