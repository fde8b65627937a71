package agent

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/drover-io/drover/api"
)

// dashboard is what the test looks at of a Grafana dashboard.
type dashboard struct {
	Title, UID string
	Panels     []struct {
		ID      int
		Type    string
		Title   string
		GridPos struct{ H, W, X, Y int }
		Targets []struct {
			RefID, Expr string
		}
	}
	Templating struct {
		List []struct{ Name string }
	}
}

// TestDashboard: every panel of dist/grafana has a place and expressions that use only what docs/metrics.md lists, with its labels,
// and every metric that an operator is woken for is on it.
func TestDashboard(t *testing.T) {
	data, err := os.ReadFile("../dist/grafana/drover.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	if d.Title == "" || d.UID == "" || len(d.Panels) < 10 || len(d.Templating.List) != 2 {
		t.Fatalf("dashboard %q with %d panels", d.Title, len(d.Panels))
	}
	ids, used := map[int]bool{}, map[string]bool{}
	for _, p := range d.Panels {
		if g := p.GridPos; ids[p.ID] || g.H < 1 || g.W < 1 || g.X+g.W > 24 || p.Title == "" {
			t.Errorf("panel %d %q: twice, or at no place: %+v", p.ID, p.Title, g)
		}
		ids[p.ID] = true
		if (p.Type == "row") != (len(p.Targets) == 0) {
			t.Errorf("panel %q: a %s with %d expressions", p.Title, p.Type, len(p.Targets))
		}
		for _, target := range p.Targets {
			metrics, err := checkExpr(target.Expr)
			if err != nil {
				t.Errorf("panel %q: %s: %v", p.Title, target.Expr, err)
			}
			for _, m := range metrics {
				used[m] = true
			}
		}
	}
	for _, m := range Metrics() {
		if strings.Contains(metricsAfter, m.Name) && !used[m.Name] {
			t.Errorf("%s wakes people and is not on the dashboard", m.Name)
		}
	}
	metrics := regexp.MustCompile("^\\| `([^`]+)`( for .*)? \\|").FindAllStringSubmatch
	for line := range strings.Lines(metricsAfter) {
		for _, m := range metrics(line, -1) {
			if _, err := checkExpr(m[1]); err != nil {
				t.Errorf("docs/metrics.md: %s: %v", m[1], err)
			}
		}
	}
}

// TestCheckExpr: the check finds what is wrong.
func TestCheckExpr(t *testing.T) {
	for _, c := range []struct{ expr, want string }{
		{`sum by (status) (drover_nodes{job=~"$job"})`, ""},
		{`sum(drover_nodez)`, "drover_nodez"},
		{`sum(drover_nodes`, "not closed"},
		{`sum(drover_nodes))`, "closes nothing"},
		{`summ(drover_nodes)`, "summ"},
		{`sum by (result) (drover_nodes)`, "label result"},
		{`drover_nodes{result="x"}`, "label result"},
		{`rate(drover_raft_commit_seconds[5m])`, "histogram"},
		{`rate(drover_nodes[5m])`, "gauge"},
		{`sum(drover_raft_commits_total)`, "counter"},
		{`drover_nodes{status="x}`, "character"},
	} {
		_, err := checkExpr(c.expr)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.expr, err, c.want)
		}
	}
}

var (
	exprToken   = regexp.MustCompile(`^(?:\s+|"(?:[^"\\]|\\.)*"|\[(?:[0-9]+[smhd]|\$__rate_interval)\]|[0-9.]+|[a-zA-Z_][a-zA-Z0-9_]*|=~|!=|!~|==|>=|<=|[-+*/<>=(){},])`)
	exprWords   = []string{"sum", "max", "min", "count", "topk", "by", "rate", "increase", "changes", "histogram_quantile", "scalar", "time"}
	counterOnly = []string{"rate", "increase"}
)

// checkExpr says what is wrong with an expression of Prometheus, as far as the words and brackets of this repository's own go, and
// which metrics it uses.
func checkExpr(expr string) (metrics []string, err error) {
	rows := map[string]api.Metric{}
	for _, m := range Metrics() {
		rows[m.Name] = m
		if m.Kind == api.KindHistogram {
			for _, tail := range []string{"_bucket", "_sum", "_count"} {
				rows[m.Name+tail] = api.Metric{Name: m.Name, Kind: api.KindCounter, Labels: append(slices.Clone(m.Labels), "le")}
			}
		}
	}
	labels := []string{"job", "instance", "le"}
	var open []string // brackets, and the word before each
	var asked []string
	word := ""
	for rest := expr; rest != ""; {
		tok := exprToken.FindString(rest)
		if tok == "" {
			return metrics, fmt.Errorf("character %q is not understood", rest[0])
		}
		rest = rest[len(tok):]
		inBraces := len(open) > 0 && strings.HasPrefix(open[len(open)-1], "{")
		inBy := len(open) > 0 && open[len(open)-1] == "(by"
		switch m, known := rows[tok]; {
		case tok == "(" || tok == "{":
			open = append(open, tok+word)
		case tok == ")" || tok == "}":
			if len(open) == 0 || (tok == ")") != strings.HasPrefix(open[len(open)-1], "(") {
				return metrics, fmt.Errorf("%s closes nothing", tok)
			}
			open = open[:len(open)-1]
		case !regexp.MustCompile(`^[a-zA-Z_]`).MatchString(tok):
		case inBraces || inBy:
			asked = append(asked, tok)
		case strings.HasPrefix(tok, "go_") || strings.HasPrefix(tok, "process_"):
		case known:
			if err := fits(m, open); err != nil {
				return metrics, err
			}
			metrics, labels = append(metrics, m.Name), append(labels, m.Labels...)
		case !slices.Contains(exprWords, tok):
			return metrics, fmt.Errorf("%s is neither a metric of the table nor a function", tok)
		}
		if strings.TrimSpace(tok) != "" {
			word = tok
		}
	}
	if len(open) > 0 {
		return metrics, fmt.Errorf("%s is not closed", open[len(open)-1])
	}
	for _, l := range asked {
		if !slices.Contains(labels, l) {
			return metrics, fmt.Errorf("no metric in it has a label %s", l)
		}
	}
	return metrics, nil
}

// fits says whether what stands around a metric makes sense of its kind: what only rises is read by its rise.
func fits(m api.Metric, open []string) error {
	within := func(words []string) bool {
		return slices.ContainsFunc(open, func(o string) bool { return slices.Contains(words, o[1:]) })
	}
	alarm := m.Name == "drover_state_divergence_total" // its sum is the alarm
	switch {
	case m.Kind == api.KindHistogram:
		return fmt.Errorf("%s is a histogram: use its _bucket, _sum or _count", m.Name)
	case m.Kind == api.KindCounter && !within(counterOnly) && !alarm:
		return fmt.Errorf("%s is a counter: use its rate or increase", m.Name)
	case m.Kind == api.KindGauge && within(counterOnly):
		return fmt.Errorf("%s is a gauge, it has no rate", m.Name)
	}
	return nil
}
