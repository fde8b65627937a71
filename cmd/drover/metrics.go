package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/drover-io/drover/api"
)

// metricRow is one metric as people see it.
type metricRow struct{ name, kind, labels, value string }

func printMetrics(ctx context.Context, a *app, c *api.Client, who api.AgentRef, s shape) error {
	r, err := c.MetricsOf(ctx, who, "")
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // read to its end
	var view api.MetricsView
	if err := json.NewDecoder(r).Decode(&view); err != nil {
		return fmt.Errorf("read the metrics: %w", err)
	}
	var rows []metricRow
	for _, g := range view.Gauges {
		rows = append(rows, metricRow{g.Name, "gauge", labelWords(g.Labels), number(g.Value)})
	}
	for _, v := range view.Counters {
		rows = append(rows, metricRow{v.Name, "counter", labelWords(v.Labels), number(v.Value)})
	}
	for _, m := range view.Samples {
		mean := 0.0
		if m.Count > 0 {
			mean = m.Sum / float64(m.Count)
		}
		rows = append(rows, metricRow{m.Name, "sample", labelWords(m.Labels), fmt.Sprintf("%d times, mean %s", m.Count, number(mean))})
	}
	sort.SliceStable(rows, func(i, j int) bool { return rows[i].name < rows[j].name })
	return printList(a.out, s, list[metricRow]{
		items: rows, answer: view, name: func(m metricRow) string { return m.name },
		columns: []column[metricRow]{
			{head: "Name", cell: func(m metricRow) string { return m.name }},
			{head: "Kind", cell: func(m metricRow) string { return m.kind }},
			{head: "Labels", cell: func(m metricRow) string { return m.labels }},
			{head: "Value", cell: func(m metricRow) string { return m.value }},
		},
	})
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }

func labelWords(labels map[string]string) string {
	var out []string
	for _, name := range sortedKeys(labels) {
		out = append(out, name+"="+labels[name])
	}
	return orDash(strings.Join(out, " "))
}
